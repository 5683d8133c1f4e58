# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What an image says of itself, from the registry to packages of all kinds: it stays text, and runs nothing."""

from __future__ import annotations

import re
import subprocess

import pytest

from dockin.image import manifests, reference
from dockin.recipe import licences, newrecipe
from support import deb, hostile, images, spdx

LABEL = "org.opencontainers.image."
KINDS = ("rpm", "deb", "ipk")
PACKAGES = 200
DIGEST = "sha256:" + "a" * 64

# A recipe without images, with a text as older versions of this layer wrote it into recipes with some.
EXPANDED = """
SUMMARY = "%(touch @MARK@) of old"
INHIBIT_DEFAULT_DEPS = "1"
ALLOW_EMPTY:${PN} = "1"
"""


@pytest.fixture(scope="module")
def build(shop):
    return shop.build("texts", f'PACKAGE_CLASSES = "{" ".join(f"package_{kind}" for kind in KINDS)}"\n')


def labels(text):
    keys = ("title", "description", "licenses", "url", "documentation", "source", "version", "vendor", "authors")
    return {LABEL + key: text for key in keys}


def packaged(path, kind):
    """Return summary and description of a package, without the blanks, which the classes fold."""
    form = "%{SUMMARY}\n%{DESCRIPTION}"
    # dpkg-deb reads .ipk packages as well.
    argv = ["rpm", "-qp", "--qf", form, str(path)] if kind == "rpm" else ["dpkg-deb", "--field", str(path)]
    text = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    if kind != "rpm":
        text = deb.strict_fields(text)["Description"]
    return "".join(text.split())


def texts_of(number, text):
    """Return the lines of the recipe for an image with such labels, for a package of their own, and its name."""
    config = manifests.Config("linux", "amd64", "", (), labels(text), "")
    image = newrecipe.Image(reference.parse(f"team/app:1.0@{DIGEST}"), config)
    head = newrecipe.for_image(image, "app", licences.Table(lambda name: "", "0" * 32)).text.partition("LICENSE")[0]
    return re.sub(r"^([A-Z]+) =", rf"\1:${{PN}}-{number} =", head, flags=re.M)


@pytest.mark.timeout(900)
def test_hostile_labels_in_packages_of_all_kinds(bench, build):
    """By OE-core's own classes, rpmbuild and dpkg-deb; and opkg-build, where there is one (support/oe_conf.py)."""
    folder = bench.folder("hostile-marks")
    mark, control = folder / "mark", folder / "control"
    lines = [texts_of(number, hostile.aim(text, mark)) for number, text in enumerate(hostile.texts(20261201, PACKAGES))]
    names = [f"${{PN}}-{number}" for number in range(PACKAGES)]
    empty = "".join(f'ALLOW_EMPTY:{name} = "1"\n' for name in names)
    build.recipe("hostile_1.0.bb", f'INHIBIT_DEFAULT_DEPS = "1"\nPACKAGES = "{" ".join(names)}"\n{empty}{"".join(lines)}')
    # That this rpmbuild expands what it is given, so that the test can fail.
    build.recipe("expanded_1.0.bb", EXPANDED.replace("@MARK@", str(control)))
    build.bitbake("hostile", "expanded", timeout=800).ok()
    assert control.exists() and not mark.exists()
    variables = [f"{variable}:hostile-{number}" for variable in ("SUMMARY", "DESCRIPTION") for number in range(PACKAGES)]
    variables.append("DESCRIPTION")
    values = build.tinfoil(
        "d = tinfoil.parse_recipe('hostile')\n"
        "answer = {name: d.getVar(name) for name in sys.argv[1:]}", *variables, config_only=False)
    for number in range(PACKAGES):
        title, description = values[f"SUMMARY:hostile-{number}"], values[f"DESCRIPTION:hostile-{number}"]
        for kind in KINDS:
            wanted = "".join(f"{title} {description or values['DESCRIPTION']}".split())
            assert packaged(build.package(f"hostile-{number}", kind), kind) == wanted


@pytest.mark.timeout(900)
def test_hostile_labels_from_the_registry_to_packages(bench, shop, build):
    """devtool add-docker on an image that has all of it in each label, and a build of what that writes."""
    folder = bench.folder("label-marks")
    mark = folder / "mark"
    text = hostile.aim("Nice app %(touch @MARK@) %{lua:io.open('@MARK@', 'w')} ${@os.system('touch @MARK@')} $(touch @MARK@)"
                       " `touch @MARK@`\n%prep\ntouch @MARK@\n\x1b[2J\u202e <img src=x onerror=alert(1)>", mark)
    addresses = {"url": "https://evil.example/%(touch+x)", "source": "https://evil.example/ok"}
    others = {LABEL + key: value for key, value in {"title": "Nice app %(id)", **addresses}.items()}
    image = images.image([images.layer({"app": "hostile\n"})], "linux/amd64", labels={**labels(text), **others})
    shop.registry.push(image, "team/hostile", "1.0")
    build.run("devtool", "add-docker", f"{shop.registry.address}/team/hostile:1.0").ok()
    recipe = (build.path / "workspace" / "recipes" / "hostile-docker" / "hostile-docker_1.0.bb").read_text()
    assert "%" not in recipe and 'HOMEPAGE = "https://evil.example/ok"' in recipe
    build.bitbake("hostile-docker").ok()
    assert not mark.exists()
    for kind in KINDS:
        for name in ("hostile-docker", "hostile-docker-preload"):
            assert packaged(build.package(name, kind), kind).startswith("Niceapp(id)asaDockerimage")
    said = spdx.texts_of_package(build, "hostile-docker")
    assert {"Nice app (id) as a Docker image", "https://evil.example/ok"} <= said
    assert all("%(" not in one and "${" not in one and one.isprintable() for one in said)
