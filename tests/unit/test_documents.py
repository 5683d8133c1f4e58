# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""README and code never disagree on what there is to set."""

import re
from pathlib import Path

import pytest

from dockin import source

LAYER = Path(__file__).resolve().parents[2]

# Set by the class itself, not by users.
INTERNAL = {
    "DOCKIN_ARCHIVE_SUFFIX",
    "DOCKIN_COMPRESSION_CMD",
    "DOCKIN_COMPRESSION_RDEPENDS",
    "DOCKIN_DATAROOT_WORKDIR",
    "DOCKIN_IMAGEDIR",
    "DOCKIN_REFERENCES",
    "DOCKIN_STEMS",
}
# Documented by OE-core or BitBake.
FOREIGN = {"SYSTEMD_AUTO_ENABLE", "FETCHCMD_docker"}


def documented_in_metadata() -> set[str]:
    files = (*LAYER.glob("classes/*.bbclass"), LAYER / "conf" / "layer.conf")
    return {name for file in files for name in re.findall(r"^(\w+)\[doc\]", file.read_text(), re.MULTILINE)}


def rows(heading: str) -> list[str]:
    """The first cells of the table below a heading of README.md."""
    section = (LAYER / "README.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_variables_of_readme_are_those_with_doc() -> None:
    assert {row.partition(":")[0] for row in rows("Variables")} - FOREIGN == documented_in_metadata() - INTERNAL


def test_variables_that_the_code_reads_are_documented() -> None:
    text = "".join(file.read_text() for file in [*LAYER.glob("lib/**/*.py"), *LAYER.glob("classes/*.bbclass")])
    call = r"""(?:getVar|_number|to_boolean)\((?:d, )?["'](DOCKIN_\w+|COMPRESSION_TYPE|FETCHCMD_docker)["']"""
    read = set(re.findall(call, text))
    assert read, "the pattern finds nothing any more"
    assert read - {"DOCKIN_LAYERDIR"} <= documented_in_metadata() | FOREIGN


def test_parameters_of_readme_are_those_of_the_parser() -> None:
    assert set(rows("SRC_URI")) == set(source.PARAMETERS)


def imported(module: str) -> set[str]:
    """The layer's modules that one of them needs, itself included."""
    found: set[str] = set()
    left = {module}
    while left:
        found |= left
        texts = [(LAYER / "lib" / "dockin" / f"{name}.py").read_text() for name in left]
        names = re.findall(r"^from dockin(?:\.(\w+))? import ([\w, ]+)$", "\n".join(texts), re.MULTILINE)
        left = {word for of, words in names for word in ([of] if of else words.replace(",", " ").split())} - found
    return found


@pytest.mark.parametrize("module", ["dataroot", "partition"])
def test_tasks_depend_on_all_code_that_writes_a_data_root(module: str) -> None:
    text = (LAYER / "classes" / "dockin-dataroot.bbclass").read_text().replace("\\\n", " ")
    known = [set(names.split()) for names in re.findall(r"dockin_code\('([^']+)'", text)]
    assert imported(module) in known


@pytest.mark.parametrize("recipe", sorted(LAYER.glob("recipes-demo/*/*.bb")), ids=lambda path: path.name)
def test_demo_recipes_pin_every_image(recipe: Path) -> None:
    text = recipe.read_text()
    assert len(re.findall(r"docker://", text)) == len(re.findall(r'SRC_URI\[(?:\w+\.)?sha256sum\] = "[0-9a-f]{64}"', text))
