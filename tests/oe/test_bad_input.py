# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Wrong recipes and settings get an error that names value, rule and remedy: when parsed, where that can be known."""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import re
import secrets
import subprocess
import threading

import pytest

from support import images, registry as registries

HEX = "0123456789abcdef" * 4
PIN = f'SRC_URI[sha256sum] = "{HEX}"\n'


def recipe(entry, more=""):
    return f'inherit dockin\nSRC_URI = "{entry}"\n{more}'


# id: recipe, what its error says
BAD = {
    "upper-case": (recipe("docker://org/App;tag=1"), r"Invalid repository 'org/App' .*lower case"),
    "bad-tag": (recipe("docker://busybox;tag=-1"), r"Invalid tag '-1' .*: a tag has"),
    "shell-tag": (recipe("docker://busybox;tag=$(reboot)"), r"Invalid tag '\$\(reboot\)'"),
    "percent-tag": (recipe("docker://busybox;tag=1%i"), r"Invalid tag '1%i'"),
    "quoted-tag": (recipe("docker://busybox;tag=1'x"), r"Invalid tag \"1'x\""),
    "shell-repository": (recipe("docker://org/a`reboot`"), r"Invalid repository 'org/a`reboot`'"),
    "short-digest": (recipe("docker://busybox;digest=sha256:12"), r"Invalid digest 'sha256:12' .*64"),
    "other-digest": (recipe("docker://busybox;digest=sha512:12"), r"Invalid digest 'sha512:12'"),
    "upper-case-digest": (recipe("docker://busybox;digest=sha256:" + HEX.upper()), r"Invalid digest .*lower-case"),
    "pin-with-prefix": (recipe("docker://busybox", f'SRC_URI[sha256sum] = "sha256:{HEX}"\n'),
                        r"Invalid SRC_URI\[sha256sum\] .*without 'sha256:'"),
    "two-tags": (recipe("docker://docker.io/library/busybox:1.36;tag=1.37"), r"Two tags in .*keep ;tag="),
    "two-tags-without-a-slash": (recipe("docker://busybox:1.36;tag=1.37"), r"Two tags in .*keep ;tag="),
    "tag-without-a-slash": (recipe("docker://busybox:1.36"), r"Invalid entry .*write docker://docker.io/library/busybox;tag="),
    "not-a-truth-value": (recipe("docker://busybox", 'DOCKIN_TLS_VERIFY = "perhaps"\n'), r"Invalid DOCKIN_TLS_VERIFY"),
    "not-a-number": (recipe("docker://busybox", 'DOCKIN_FETCH_RETRIES = "many"\n'), r"Invalid DOCKIN_FETCH_RETRIES"),
    "two-pins": (recipe("docker://busybox;digest=sha256:" + HEX[::-1], PIN), r"Two pins .*differ.*keep one"),
    "unknown-parameter": (recipe("docker://busybox;tga=1"), r"Unknown parameter 'tga'.*;tag="),
    "branch-parameter": (recipe("docker://busybox;branch=main"), r"Unknown parameter 'branch'"),
    "empty-parameter": (recipe("docker://busybox;tag="), r"'tag' without a value"),
    "unknown-platform": (recipe("docker://busybox;platform=linux/z80"), r"Invalid platform 'linux/z80'.*known are"),
    "half-a-platform": (recipe("docker://busybox;platform=arm64"), r"Invalid platform 'arm64'.*<os>/<arch"),
    "other-system": (recipe("docker://busybox;platform=windows/amd64"), r"Invalid platform 'windows/amd64'"),
    "bad-dockin-platform": (recipe("docker://busybox", 'DOCKIN_PLATFORM = "linux/z80"\n'),
                            r"Invalid platform 'linux/z80'"),
    "same-archive": (recipe("docker://org/app docker://org-app;name=other"), r"[Tt]wo .*'org-app-latest'"),
    "two-spellings": (recipe("docker://MyACR.azurecr.io/a docker://myacr.azurecr.io/b"), r"Two spellings of one registry"),
    "one-pin-for-two": (recipe("docker://one docker://two", PIN), r"One pin .*;name="),
    "unknown-compression": (recipe("docker://busybox", 'COMPRESSION_TYPE = "rar"\n'),
                            r"COMPRESSION_TYPE = 'rar'.*'xz'"),
    "unknown-layers": (recipe("docker://busybox", 'DOCKIN_LAYERS = "flat"\n'), r"DOCKIN_LAYERS = 'flat'.*registry"),
    "unknown-pin-choice": (recipe("docker://busybox", 'DOCKIN_PIN = "yes"\n'), r"DOCKIN_PIN = 'yes'.*require"),
    "unknown-flush": (recipe("docker://busybox", 'DOCKIN_PRELOAD_FLUSH = "maybe"\n'),
                      r"DOCKIN_PRELOAD_FLUSH = 'maybe'.*'1'"),
    "unknown-prune": (recipe("docker://busybox", 'DOCKIN_PRELOAD_PRUNE = "yes"\n'),
                      r"DOCKIN_PRELOAD_PRUNE = 'yes'.*'1'"),
    "unknown-keep-previous": (recipe("docker://busybox", 'DOCKIN_PRELOAD_KEEP_PREVIOUS = "2"\n'),
                              r"DOCKIN_PRELOAD_KEEP_PREVIOUS = '2'.*'1'"),
    "unknown-runtime": (recipe("docker://busybox", 'DOCKIN_RUNTIME = "rkt"\n'),
                        r"DOCKIN_RUNTIME = 'rkt'.*'docker', 'podman', 'containerd'"),
    "relative-dataroot": (recipe("docker://busybox", 'DOCKIN_DATAROOT_DIR = "docker"\n'),
                          r"DOCKIN_DATAROOT_DIR = 'docker'.*absolute path"),
    "unknown-store": (recipe("docker://busybox", 'DOCKIN_RUNTIME_STORE = "vfs"\n'),
                      r"DOCKIN_RUNTIME_STORE = 'vfs'.*'classic', 'containerd'"),
    "bad-budget": (recipe("docker://busybox", 'DOCKIN_SIZE_BUDGET = "1.5G"\n'),
                   r"DOCKIN_SIZE_BUDGET = '1.5G'.*such as 512M"),
    "relative-archivedir": (recipe("docker://busybox", 'docker_archivedir = "archive"\n'),
                            r"docker_archivedir.*'archive'"),
    # FILES and unit files could not hold it.
    "space-in-archivedir": (recipe("docker://busybox", 'docker_archivedir = "/my archives"\n'),
                            r"docker_archivedir.*'/my archives'"),
    "pattern-without-registry": (recipe("docker://busybox", 'DOCKIN_LICENSE_ACCEPTED = "library/*"\n'),
                                 r"Invalid pattern 'library/\*' in DOCKIN_LICENSE_ACCEPTED.*'docker\.io/library/\*'"),
    "no-image": ('inherit dockin\nSRC_URI = "file://compose.yml"\n', r"no docker:// entry"),
    # As older versions of devtool add-docker have copied it from labels: rpmbuild would run it.
    "macro-in-summary": (recipe("docker://busybox", 'SUMMARY = "Nice app %(id > /tmp/mark) as a Docker image"\n'),
                         r"Invalid SUMMARY = 'Nice app %\(id > /tmp/mark\) as .*rpmbuild runs.*remove each '%'"),
    "macro-in-description": (recipe("docker://busybox", 'DESCRIPTION = "%{lua:x}"\n'),
                             r"Invalid DESCRIPTION = '%\{lua:x\}': .*remove each '%'"),
    "macro-in-homepage": (recipe("docker://busybox", 'HOMEPAGE = "https://a.example/%(id)"\n'),
                          r"Invalid HOMEPAGE = 'https://a\.example/%\(id\)': .*; give another address"),
    "macro-of-a-package": (recipe("docker://busybox", 'SUMMARY:${PN}-preload = "100 %"\n'),
                           r"Invalid SUMMARY:macro-of-a-package-preload = '100 %'"),
    "macro-appended": (recipe("docker://busybox", 'DESCRIPTION:append = " 100 %"\n'), r"Invalid DESCRIPTION = '.* 100 %'"),
    "macro-set-last": (recipe("docker://busybox", 'python () {\n    d.setVar("SUMMARY", "100 %")\n}\n'),
                       r"Invalid SUMMARY = '100 %'"),
    "long-name": (recipe("docker://" + "a" * 240 + ";tag=" + "b" * 120), r"characters"),
}

# As users may write them, and right.
GOOD = {
    "short": recipe("docker://hello-world", PIN),
    "port": recipe("docker://localhost:5000/team/app;tag=v1", PIN),
    "digest-parameter": recipe("docker://busybox;tag=1.36.1;digest=sha256:" + HEX),
    "same-pin-twice": recipe("docker://busybox;digest=sha256:" + HEX, PIN),
    "trailing-slash": recipe("docker://ghcr.io/org/app/;tag=v1", PIN),
    "tag-in-path": recipe("docker://ghcr.io/org/app:v1", PIN),
    "platform": recipe("docker://busybox;platform=linux/arm/v7", PIN),
    "two-names": recipe("docker://one;name=one docker://two;name=two"),
    "external": recipe("docker://busybox", PIN + 'inherit externalsrc\nEXTERNALSRC = "/nowhere"\n'),
}


@pytest.fixture(scope="module")
def parsed(shop):
    recipes = {name: text for name, (text, _) in BAD.items()}
    return shop.build("bad-input").parse({**recipes, **GOOD}, "SRC_URI", "DOCKIN_PLATFORM")


@pytest.mark.parametrize("name", BAD)
def test_bad_recipe_has_one_clear_error(parsed, name):
    found = parsed[name]
    assert found.values == {}, "it was parsed"
    text = "\n".join(found.errors)
    assert re.search(BAD[name][1], text, re.DOTALL), text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", GOOD)
def test_good_recipe_is_parsed_in_silence(parsed, name):
    assert (parsed[name].errors, parsed[name].warnings) == ([], [])
    assert parsed[name].values["DOCKIN_PLATFORM"] == "linux/amd64"


def test_the_user_sees_recipe_and_reason(shop):
    build = shop.build("bad-recipe")
    build.recipe("broken_1.0.bb", recipe("docker://busybox;tga=1"))
    result = build.bitbake("broken").failed(r"broken.*Unknown parameter 'tga'")
    assert "Traceback" not in result.output


def test_machine_without_a_platform_skips_the_recipe(shop):
    parsed = shop.build("no-platform", 'MACHINE = "qemuppc"\n').parse({
        "skipped": recipe("docker://busybox", PIN),
        "parameter": recipe("docker://busybox;platform=linux/ppc64", PIN),
        "variable": recipe("docker://busybox", PIN + 'DOCKIN_PLATFORM = "linux/ppc64"\n'),
    }, "__SKIPPED")
    reason = parsed["skipped"].values["__SKIPPED"]
    assert re.search("'powerpc'.*;platform=.*DOCKIN_PLATFORM", reason)
    for name, found in parsed.items():
        assert (found.errors, found.warnings) == ([], [])
        assert name == "skipped" or not found.values["__SKIPPED"]


def test_images_that_are_not_accepted_skip_the_recipe(shop):
    build = shop.build("accepted", 'DOCKIN_LICENSE_ACCEPTED = "docker.io/library/* registry.example.com/team/*"\n')
    refused = recipe("docker://busybox;name=one docker://ghcr.io/org/app;tag=v1;name=two")
    parsed = build.parse({
        "accepted": recipe("docker://busybox;name=one docker://registry.example.com/team/app;name=two"),
        "refused": refused,
        "all": recipe("docker://ghcr.io/org/app", 'DOCKIN_LICENSE_ACCEPTED:append = " **"\n'),
        "none": recipe("docker://busybox", 'DOCKIN_LICENSE_ACCEPTED = ""\n'),
    }, "__SKIPPED")
    assert all((found.errors, found.warnings) == ([], []) for found in parsed.values())
    reasons = {name: found.values["__SKIPPED"] for name, found in parsed.items()}
    assert not reasons["accepted"] and not reasons["all"]
    assert re.match(r"Has images of 'ghcr\.io/org/app', which your DOCKIN_LICENSE_ACCEPTED = 'docker", reasons["refused"])
    assert re.match(r"Has images of 'docker\.io/library/busybox', .* = '' does not accept", reasons["none"])

    build.recipe("refused_1.0.bb", refused)
    build.bitbake("refused").failed(r"refused was skipped: Has images of 'ghcr\.io/org/app'")


def test_host_without_skopeo(shop):
    build = shop.build("no-skopeo")
    tools = shop.bench.folder("tools-without-skopeo")
    for folder in reversed(shop.bench.account.path().split(":")):
        for name in os.listdir(folder):
            if name != "skopeo":
                (tools / name).unlink(missing_ok=True)
                (tools / name).symlink_to(os.path.join(folder, name))
    build.environment["PATH"] = f"{shop.bench.bitbake / 'bin'}:{shop.bench.core / 'scripts'}:{tools}"
    build.recipe("single_1.0.bb", recipe("docker://busybox", PIN))
    build.bitbake("single").failed(r"(?s)required tools .*skopeo")


def test_too_large_for_the_budget(shop):
    build = shop.build("budget", 'DOCKIN_SIZE_BUDGET = "8M"\n')
    shop.add(build, "several")
    # At the target's edge, not the archives', and before an image could be made of the packages.
    error = r"(?s)need [0-9]+ bytes .*DOCKIN_SIZE_BUDGET = '8M' allows 8388608.*busybox-1.36.1.tar.xz.*raise the budget"
    result = build.bitbake("several").failed(error)
    assert "Traceback" not in result.output
    assert "team-app-v1.tar.xz: " in result.output
    build.local_conf('DOCKIN_SIZE_BUDGET = "12M"\nDOCKIN_RUNTIME_STORE = "classic"')
    result = build.bitbake("several").ok()
    assert result.tasks("several") <= {"do_package_qa", "do_build"}, "another budget costs another build"
    # Docker's containerd store keeps what the unpacked archives hold.
    sizes = r"Archives: [0-9]+ bytes, ([0-9]+) unpacked; .*, once all are loaded: ([0-9]+)"
    [(unpacked, classic)] = re.findall(sizes, build.log("several", "do_package_qa"))
    build.local_conf('DOCKIN_RUNTIME_STORE = "containerd"')
    result = build.bitbake("several").ok()
    assert result.tasks("several") <= {"do_package_qa", "do_build"}, "another store costs another build"
    [(_, kept)] = re.findall(sizes, build.log("several", "do_package_qa"))
    assert int(kept) == int(classic) + int(unpacked)


# Of this run alone: the command lines of all processes are searched for it.
LOGIN = registries.Login("ci", secrets.token_hex(16))


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A registry that wants a password."""
    with registries.Registry(tmp_path_factory.mktemp("locked"), login=LOGIN) as server:
        server.push(images.image([images.layer({"a": "b"})], "linux/amd64"), "team/app", "v1")
        yield server


# recipe: what do_fetch says. @…@ is filled in.
UNFETCHABLE = {
    "no-digest": (recipe("docker://busybox", PIN), HEX + r".*manifest unknown.*correct it in SRC_URI"),
    "no-tag": (recipe("docker://busybox;tag=nope", 'DOCKIN_PIN = "ignore"\n'), r"busybox:nope.*no such tag"),
    "no-platform": (recipe("docker://busybox;tag=1.36.1;platform=linux/s390x",
                           'SRC_URI[sha256sum] = "@BUSYBOX@"\n'),
                    r"linux/s390x.*linux/arm64/v8"),
    "no-login": (recipe("docker://@LOCKED@/team/app;tag=v1"),
                 r"(unauthorized|authentication required).*skopeo login @LOCKED@.*auth\.json"),
    "no-answer": (recipe("docker://@CLOSED@/team/app;tag=v1"), r"@CLOSED@.*could not be reached"),
    "no-pin": (recipe("docker://busybox;tag=1.36.1", 'DOCKIN_PIN = "require"\n'),
               r'SRC_URI\[sha256sum\] = "@BUSYBOX@"'),
    "no-network": (recipe("docker://busybox;tag=1.36.1", PIN + 'BB_NO_NETWORK = "1"\n'),
                   r"NetworkAccess.*docker\.io/library/busybox"),
    "no-such-host": (recipe("docker://busybox;tag=1.36.1", PIN + 'BB_ALLOWED_NETWORKS = "example.com"\n'),
                     r"docker://docker\.io/library/busybox"),
    "checked": (recipe("docker://busybox;tag=gone"), r"docker://busybox;tag=gone'. URL doesn't work"),
}


@pytest.fixture(scope="module")
def fetched(shop, locked, tmp_path_factory):
    """The outcome of fetching all of UNFETCHABLE in one go."""
    with registries.Registry(tmp_path_factory.mktemp("closed")) as server:
        closed = server.address
    values = {"@LOCKED@": locked.address, "@CLOSED@": closed, "@BUSYBOX@": shop.busybox.hex}
    build = shop.build("unfetchable", 'DOCKIN_FETCH_RETRIES = "0"\n')
    for name, (text, _) in UNFETCHABLE.items():
        build.recipe(f"{name}_1.0.bb", fill(text, values))
    targets = [f"{name}:do_{'checkuri' if name == 'checked' else 'fetch'}" for name in UNFETCHABLE]
    return build, build.bitbake("-k", *targets), values


def fill(text, values):
    for key, value in values.items():
        text = text.replace(key, value)
    return text


@pytest.mark.parametrize("name", UNFETCHABLE)
def test_what_is_not_to_be_had(fetched, name):
    _, result, values = fetched
    result.failed()
    text = "\n".join(error for error in result.errors if error.startswith(f"{name}-1.0-r0 "))
    wanted = fill(UNFETCHABLE[name][1], {key: re.escape(value) for key, value in values.items()})
    assert re.search(wanted, text, re.DOTALL), text
    assert "Traceback" not in text


def test_a_pin_that_is_required_is_so_for_what_is_there_already(fetched):
    build, _, _ = fetched
    # It had to be fetched for its digest to be known; nothing else left a file.
    assert [path.name for path in build.downloads.glob("*.tar")] == [
        "docker_docker.io+library+busybox=1.36.1_linux-amd64.tar"]
    build.bitbake("-c", "fetch", "no-pin").failed(r"SRC_URI\[sha256sum\]")


def command_lines():
    """Return those of all processes of this machine, which any user can see."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes())
    return found


def plain(path):
    """Return the content of a file; that of signatures and shared state is compressed."""
    data = path.read_bytes()
    if data[:4] != b"\x28\xb5\x2f\xfd":
        return data
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, timeout=60, check=True).stdout


def test_a_login_is_seen_nowhere(shop, locked):
    """Not in a command line while the registry is asked, nor in a log, signature, package, DL_DIR or the shared state."""
    authfile = shop.bench.root / "locked.json"
    shop.bench.write(authfile, LOGIN.auth_json(locked.address))
    build = shop.build("unseen-login", f'DOCKIN_AUTHFILE = "{authfile}"\nSSTATE_DIR = "${{TOPDIR}}/sstate"\n')
    build.recipe("locked_1.0.bb", recipe(f"docker://{locked.address}/team/app;tag=v1", 'DOCKIN_PIN = "ignore"\n'))
    seen, done = set(), threading.Event()

    def look():
        while not done.wait(0.02):
            seen.update(command_lines())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        build.bitbake("locked").ok()
        build.bitbake("-S", "none", "locked").ok()
    finally:
        done.set()
        looking.join()
    assert any(b"skopeo" in line and str(authfile).encode() in line for line in seen), "it was not looked at in time"
    login = f"{LOGIN.user}:{LOGIN.password}".encode()
    forms = [LOGIN.password.encode(), base64.b64encode(login)]
    # BitBake's server removes its lock when it ends, which may be now.
    files = [path for path in build.path.rglob("*")
             if path.is_file() and not path.is_symlink() and path.name != "bitbake.lock"]
    assert {"do_fetch", "do_unpack"} <= {path.name.split(".")[2] for path in files if ".sigdata." in path.name}
    assert any(path.name.endswith(".tar.zst") for path in files)
    for secret in forms:
        assert not [line for line in seen if secret in line]
        assert not [path for path in files if secret in plain(path)]
