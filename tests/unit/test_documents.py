# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Documents and code never disagree on what there is to set, to call and to read."""

import argparse
import ast
import dataclasses
import functools
import importlib.machinery
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

from dockin import exitcodes
from dockin.image import reference, tarball
from dockin.recipe import source, versions
from dockin.refresh import command as refresh_command, status
from dockin.registry import remedies, skopeo
from dockin.target import imageinfo, runtimes, units

from support import helper

LAYER = Path(__file__).resolve().parents[2]
REFERENCE = (LAYER / "docs" / "reference.md").read_text()
DOCUMENTS = sorted([*LAYER.glob("docs/**/*.md"), *LAYER.glob("*.md")])

# Set by the class itself, not by users.
INTERNAL = {
    "DOCKIN_ARCHIVE_SUFFIX",
    "DOCKIN_COMPRESSION_CMD",
    "DOCKIN_COMPRESSION_RDEPENDS",
    "DOCKIN_DATAROOT_INHERITED",
    "DOCKIN_DATAROOT_WORKDIR",
    "DOCKIN_IMAGEDIR",
    "DOCKIN_REFERENCES",
    "DOCKIN_SBOMDIR",
    "DOCKIN_SBOM_SUBDIR",
    "DOCKIN_STEMS",
}
# Documented by OE-core or BitBake.
FOREIGN = {"SYSTEMD_AUTO_ENABLE", "FETCHCMD_docker"}
# Of the layer's own tests and demo: CONTRIBUTING.md. Of contrib/gitlab: what one has to set there.
TEST_SETTINGS = {
    "DOCKIN_ALL", "DOCKIN_CACHE", "DOCKIN_KEEP", "DOCKIN_RELEASES", "DOCKIN_REPOSITORY", "DOCKIN_URL",
    "DOCKIN_PUSH_TOKEN", "DOCKIN_BRANCH", "DOCKIN_OPTIONS", "DOCKIN_SUITE",
}


def documented_in_metadata() -> set[str]:
    files = (*LAYER.glob("classes/*.bbclass"), LAYER / "conf" / "layer.conf")
    return {name for file in files for name in re.findall(r"^(\w+)\[doc\]", file.read_text(), re.MULTILINE)}


def rows(heading: str, under: str = "") -> list[str]:
    """The first cells of the tables below a heading of the reference, down to the next one of its level.

    Of several code spans in a cell each is one. Where the heading occurs twice, under is one above the wanted.
    """
    text = REFERENCE.partition(f"\n{under}\n")[2] if under else REFERENCE
    level = heading.partition(" ")[0]
    section = re.split(rf"\n#{{1,{len(level)}}} ", text.split(f"\n{heading}\n")[1])[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a command, --help left out."""
    return {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}


def added_options(file: str, function: str, variable: str = "parser") -> set[str]:
    """The options that a function of a plugin, which only its host can import, adds to the parser in a variable."""
    tree = ast.parse((LAYER / "lib" / file / "dockin.py").read_text())
    [body] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    name = f"{variable}.add_argument"
    calls = [node for node in ast.walk(body) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]
    words = [argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)]
    assert words, f"{function} adds nothing to {variable}"
    return {word for word in words if word.startswith("-")}


def script_parser(*command: str) -> argparse.ArgumentParser:
    """The parser of scripts/dockin, or of one of its commands."""
    loader = importlib.machinery.SourceFileLoader("dockin_script", str(LAYER / "scripts" / "dockin"))
    spec = importlib.util.spec_from_loader("dockin_script", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    parser: argparse.ArgumentParser = module.make_parser()
    for name in command:
        [choices] = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        parser = choices[name]
    return parser


@pytest.fixture(scope="module")
def preload_help() -> str:
    argv = ["sh", "-s", "--", "--help"]
    return subprocess.run(argv, check=True, input=helper.text(), stdout=subprocess.PIPE, text=True).stdout


# ------------------------------------------------------------------------------------------------ the reference


def test_variables_of_the_reference_are_those_with_doc() -> None:
    assert {row.partition(":")[0] for row in rows("## Variables")} == documented_in_metadata() - INTERNAL | FOREIGN


def test_variables_that_the_code_reads_are_documented() -> None:
    text = "".join(file.read_text() for file in [*LAYER.glob("lib/**/*.py"), *LAYER.glob("classes/*.bbclass")])
    call = r"""(?:getVar|_number|to_boolean)\((?:d, )?["'](DOCKIN_\w+|COMPRESSION_TYPE|FETCHCMD_docker)["']"""
    read = set(re.findall(call, text))
    assert read, "the pattern finds nothing any more"
    assert read - {"DOCKIN_LAYERDIR"} <= documented_in_metadata() | FOREIGN


def defaults() -> dict[str, str]:
    """What the metadata set with ?= or ??= and as plain text, by name."""
    files = (*LAYER.glob("classes/*.bbclass"), LAYER / "conf" / "layer.conf")
    found = [pair for file in files for pair in re.findall(r'^(\w+) \?\??= "([^"@]*)"$', file.read_text(), re.MULTILINE)]
    return dict(found)


def test_defaults_of_the_reference_are_those_of_the_metadata() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", REFERENCE, re.MULTILINE))
    known = defaults()
    shared = set(told) & set(known)
    assert len(shared) > 10
    assert {name: told[name] for name in shared} == {name: known[name] for name in shared}


def test_parameters_of_the_reference_are_those_of_the_parser() -> None:
    assert set(rows("### Parameters")) == set(source.PARAMETERS)


def test_options_of_refresh() -> None:
    parser = argparse.ArgumentParser()
    refresh_command.add_arguments(parser)
    told = rows("### devtool refresh-docker, bitbake-layers dockin-refresh, scripts/dockin refresh")
    # What other layers have, BitBake knows.
    alone = {"--layer"}
    assert set(told) == options(parser) | alone == options(script_parser("refresh")) == options(script_parser("check"))
    # The plugins add nothing of their own.
    assert not added_options("devtool", "_register_refresh")
    assert not added_options("bblayers", "register_commands", "refresh")


def test_options_of_add_docker() -> None:
    assert set(rows("### devtool add-docker")) == added_options("devtool", "register_commands")


def test_options_of_status() -> None:
    assert set(rows("### bitbake-layers dockin-status")) == added_options("bblayers", "register_commands", "status")
    assert set(rows("### scripts/dockin status")) == options(script_parser("status"))


def test_the_script_has_no_other_commands() -> None:
    [action] = [one for one in script_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    for name in action.choices:
        assert f"scripts/dockin {name}" in REFERENCE
    assert set(re.findall(r"^    scripts/dockin (\w+)", REFERENCE, re.MULTILINE)) == set(action.choices)


def test_values_of_options() -> None:
    for option, values in {"--upgrade": versions.LEVELS, "--index-changes": refresh_command.findings.INDEX_CHANGES,
                           "--commit": refresh_command.gitcommit.UNITS}.items():
        [line] = re.findall(rf"^\| `{option}` \| (.*)$", REFERENCE, re.MULTILINE)
        assert set(values) <= set(re.findall(r"`(\w+)`", line)), option


def test_options_of_the_ci_helper() -> None:
    text = (LAYER / "contrib" / "refresh-branch").read_text()
    usage = "".join(line for line in text.splitlines(keepends=True)[:20] if line.startswith("#   "))
    assert set(rows("### contrib/refresh-branch")) == set(re.findall(r"--\w[\w-]*", usage))


def test_exit_codes_of_the_tools() -> None:
    values = {str(value) for name, value in vars(exitcodes).items() if name.isupper()}
    table = REFERENCE.split("\n## Exit codes\n")[1].split("`dockin-preload`:\n")[0]
    assert set(re.findall(r"^\| `(\d)` \|", table, re.MULTILINE)) == values


def test_exit_codes_of_the_preload(preload_help: str) -> None:
    table = REFERENCE.split("\nOf `dockin-preload`:\n")[1].split("\n## ")[0]
    usage = preload_help[preload_help.index("\nexit "):]
    told = set(re.findall(r"^\| `(\d)` \|", table, re.MULTILINE))
    assert told == set(re.findall(r"(?:^exit|^|  ) +(\d)  ", usage, re.MULTILINE))


def test_options_states_and_environment_of_the_preload(preload_help: str) -> None:
    told = rows("### dockin-preload")
    assert {row for row in told if row.startswith("-")} == set(re.findall(r"--[a-z-]+", preload_help))
    environment = preload_help[preload_help.index("\nenvironment\n"):preload_help.index("\nexit ")]
    assert {row for row in told if row.isupper()} == set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", environment))
    states = preload_help[preload_help.index("\nstate "):preload_help.index("\nenvironment\n")]
    words = set(re.sub(r"\([^)]*\)|\nstate", "", states).replace(",", " ").split())
    assert {row for row in told if row.islower() and not row.startswith("-")} == words


def test_keys_of_information_files() -> None:
    sentence = REFERENCE.split("The keys of an information file: ")[1].split(".\n")[0]
    keys = [field.name for field in dataclasses.fields(imageinfo.ImageInformation)]
    assert re.findall(r"`(\w+)`", sentence) == ["format", *keys]


def file_names() -> list[str]:
    """Names of files as the code makes them."""
    image = reference.parse("busybox:1.36.1")
    pinned = dataclasses.replace(image, digest="sha256:" + 64 * "0")
    downloads = [tarball.file_name(pinned, "linux-arm-v7"), tarball.file_name(image, "linux-amd64")]
    archives = "/usr/share/dockin/archive/"
    system = "/usr/lib/systemd/system/"
    return [
        *downloads,
        f"{archives}{image.stem}{imageinfo.SUFFIX}",
        f"{archives}{image.stem}.tar.xz",
        units.HELPER,
        system + units.unit_name(image),
        system + units.TARGET,
        *(f"{system}{service}.d/{units.DROP_IN}" for service in runtimes.waiting_services(runtimes.DOCKER, "/data")),
        f"core-image-minimal-qemux86-64.rootfs{status.DATA_ROOT_REPORT}",
    ]


@pytest.mark.parametrize("name", file_names())
def test_files_of_the_reference_are_named_as_in_the_code(name: str) -> None:
    # <…> is any text, […] is there or not.
    escaped = [re.escape(row).replace(r"\[", "(?:").replace(r"\]", ")?") for row in rows("## Files")]
    patterns = [re.sub(r"<[^>]*>", "[^/]+", row) for row in escaped]
    assert any(re.fullmatch(pattern, name) for pattern in patterns)


# ------------------------------------------------------------------------------------------------ messages

TROUBLESHOOTING = (LAYER / "docs" / "troubleshooting.md").read_text()
SKOPEO_SAYS = "skopeo says"


def python_messages(text: str) -> list[str]:
    """The strings of Python code; what is put into them is "…"."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.append("".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
    return found


def metadata_messages(text: str) -> list[str]:
    """The same of Python in a class."""
    joined = re.sub(r'"\s*\n\s*"', "", text)
    return re.sub(r"%[sdr]", "…", joined).replace('\\"', '"').splitlines()


def shell_messages(text: str) -> list[str]:
    """The same of a shell script, in which words that follow each other are printed with a space between them."""
    joined = re.sub(r'"\s*\\\n\s*"', " ", text.replace("$PROGRAM", "dockin-preload"))
    return re.sub(r"\$\([^()]*\)|\$\{[^{}]*\}|\$[\w*@]+", "…", joined).splitlines()


@functools.cache
def messages_of_the_code() -> list[str]:
    """All of them, and other strings."""
    found = [one for path in LAYER.glob("lib/**/*.py") for one in python_messages(path.read_text())]
    found += [one for path in LAYER.glob("classes/*.bbclass") for one in metadata_messages(path.read_text())]
    return found + shell_messages(helper.text())


def quoted(skopeos: bool) -> list[str]:
    """The messages in the tables of the troubleshooting page: the layer's, or those of skopeo."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", TROUBLESHOOTING, re.MULTILINE):
        if table.startswith(f"| {SKOPEO_SAYS} |") == skopeos:
            found += re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    return found


@pytest.mark.parametrize("message", quoted(skopeos=False))
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("…")))
    assert any(pattern.search(one) for one in messages_of_the_code())


def test_how_messages_are_found() -> None:
    assert "no … in " in python_messages('x = f"no {a} in "')
    assert "one … three" in python_messages('x = ("one "\n     f"{b} three")')
    assert shell_messages('fail 1 "$name: $(df "$a") of" \\\n    "$b"') == ['fail 1 "…: … of …"']
    assert len(quoted(skopeos=False)) > 40


@pytest.mark.parametrize("words", quoted(skopeos=True))
def test_words_of_skopeo_are_understood(words: str) -> None:
    kind = skopeo.classify(f"time=x level=fatal msg={json.dumps(words)}").kind
    assert remedies.remedy(kind, "registry.example", "", skopeo.Options())


# ------------------------------------------------------------------------------------------------ all documents


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(LAYER)))
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_each_document_is_linked_from_the_readme_or_from_one_that_is() -> None:
    reached, left = set(), {LAYER / "README.md"}
    while left:
        path = left.pop()
        reached.add(path)
        links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", path.read_text())
        left |= {(path.parent / link).resolve() for link in links if not link.startswith("http")} - reached
    assert set(DOCUMENTS) <= reached


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(LAYER)))
def test_variables_and_options_that_are_named_exist(path: Path) -> None:
    text = path.read_text()
    known = documented_in_metadata() | set(rows("### dockin-preload")) | FOREIGN | set(TEST_SETTINGS)
    assert set(re.findall(r"\bDOCKIN_\w+", text)) <= known


COMMANDS = {
    "devtool add-docker": "### devtool add-docker",
    "devtool refresh-docker": "### devtool refresh-docker, bitbake-layers dockin-refresh, scripts/dockin refresh",
    "bitbake-layers dockin-refresh": "### devtool refresh-docker, bitbake-layers dockin-refresh, scripts/dockin refresh",
    "bitbake-layers dockin-status": "### bitbake-layers dockin-status",
    "dockin check": "### devtool refresh-docker, bitbake-layers dockin-refresh, scripts/dockin refresh",
    "dockin refresh": "### devtool refresh-docker, bitbake-layers dockin-refresh, scripts/dockin refresh",
    "dockin status": "### scripts/dockin status",
    "dockin-preload load": "### dockin-preload",
    "dockin-preload status": "### dockin-preload",
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(LAYER)))
def test_options_in_command_lines_exist(path: Path) -> None:
    # Without fenced blocks, which are diagrams.
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [*re.findall(r"`([^`]+)`", text), *re.findall(r"^ {4,}(?:[$#] )?(.*)$", text, re.MULTILINE)]
    for command, heading in COMMANDS.items():
        told = set(rows(heading))
        for line in lines:
            _, found, arguments = line.partition(command + " ")
            used = set(re.findall(r"(?<!\S)-{1,2}[a-z][\w-]*", arguments.split(" -- ")[0]))
            assert not found or used <= told, line


def test_the_readme_stays_short() -> None:
    assert len((LAYER / "README.md").read_text().splitlines()) <= 110


@pytest.mark.parametrize("recipe", sorted(LAYER.glob("recipes-demo/*/*.bb")), ids=lambda path: path.name)
def test_demo_recipes_pin_every_image(recipe: Path) -> None:
    text = recipe.read_text()
    assert len(re.findall(r"docker://", text)) == len(re.findall(r'SRC_URI\[(?:\w+\.)?sha256sum\] = "[0-9a-f]{64}"', text))


def named_tests() -> list[str]:
    """Return the tests that the page about faults names, each as file::test; one without a file is in the one before."""
    found, file = [], ""
    for row in re.findall(r"^\| .* \| .* \| (.*) \|$", (LAYER / "docs" / "faults.md").read_text(), re.MULTILINE):
        for name in re.findall(r"`([\w./…]+(?:::\w+)?)`", row):
            path, _, test = name.rpartition("::")
            file = (path if "/" in path else f"tests/fetcher/{path}") if path else file
            found.append(f"{file}::{test}")
    return found


@pytest.mark.parametrize("name", named_tests())
def test_a_fault_has_the_tests_that_the_page_names(name: str) -> None:
    path, _, test = name.partition("::")
    assert re.search(rf"^def {re.escape(test).replace('…', '.*')}\(", (LAYER / path).read_text(), re.MULTILINE)


def test_every_fault_has_tests() -> None:
    rows = [line for line in (LAYER / "docs" / "faults.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) > 30 and all("::test_" in row for row in rows[1:])
