# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A recipe from SRC_URI to ${D} with BitBake's parser and task code, and the demo's registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import bbrun, images, registry
from support.imagefiles import documents

RECIPE = """
SUMMARY = "An image"
LICENSE = "CLOSED"
inherit dockin
SRC_URI = "docker://{address}/recipe/app;tag=${{PV}}"
SRC_URI[sha256sum] = "{pin}"
"""
TASKS = ("do_fetch", "do_unpack", "do_compile", "do_install")


@pytest.fixture
def content(server, image):
    made = images.index([image("recipe"), image("recipe-arm", "linux/arm/v7")], attestations=True)
    server.push(made, "recipe/app", "1.2.3")
    return made


def run(bench, recipe, *tasks, **variables):
    """Run tasks of a recipe; return (outcome, build directory)."""
    build = bench.directory / "build"
    path = bench.directory / "app-image_1.2.3.bb"
    path.write_text(recipe)
    settings = {"TOPDIR": str(build), "DL_DIR": str(bench.dl_dir), "DOCKIN_TLS_VERIFY": "0", **variables}
    steps = [["parse", str(path)], *(["task", task] for task in tasks)]
    job = bbrun.Job(settings, steps, bench.environment)
    return bench.runner.run(job, bench.directory / "recipe-job"), build


def test_recipe_to_installed_files(bench, server, content):
    outcome, build = run(bench, RECIPE.format(address=server.address, pin=content.hex), *TASKS)
    assert outcome.error is None, outcome.text
    assert not outcome.warnings
    installed = {str(path.relative_to(build)) for path in build.rglob("image/**/*") if path.is_file()}
    stem = server.address.replace(":", "-") + "-recipe-app-1.2.3"
    root = "tmp/work/app-image/1.2.3/image/usr"
    assert installed == {
        f"{root}/share/dockin/archive/{stem}.tar.xz",
        f"{root}/share/dockin/archive/{stem}.image",
        f"{root}/lib/systemd/system/dockin-preload-{stem}.service",
    }
    assert content.digest in documents(bench.only_file())


def test_recipe_without_its_image(bench, server, content):
    outcome, _ = run(bench, RECIPE.format(address=server.address, pin="0" * 64), *TASKS)
    assert outcome.error is not None
    assert "no such tag or digest" in outcome.text
    assert f"{server.address}/recipe/app" in outcome.text
    assert "do_unpack" not in str(outcome.values)


def test_recipe_with_an_error_does_not_parse(bench, server, content):
    recipe = RECIPE.format(address=server.address, pin=content.hex) + 'COMPRESSION_TYPE = "lzma2"\n'
    outcome, _ = run(bench, recipe)
    assert outcome.error is not None
    assert "COMPRESSION_TYPE" in outcome.text
    assert "'lzma2'" in outcome.text


# Commands that write an archive, and whether a target reads it.
OWN_TYPES = {"bzip2 -1 -c": True, "gzip -1 -n -c": True, "cat": True, "base64": False, "head -c 100": False}


@pytest.mark.one_library
@pytest.mark.parametrize("command", OWN_TYPES)
def test_a_compression_of_ones_own(bench, server, content, command):
    recipe = RECIPE.format(address=server.address, pin=content.hex)
    recipe += f'COMPRESSION_TYPE = "own"\nCOMPRESSION_CMD:own = "{command}"\n'
    outcome, _ = run(bench, recipe, *TASKS)
    if OWN_TYPES[command]:
        assert outcome.error is None, outcome.text
    else:
        assert "targets can't read what COMPRESSION_CMD:own has written" in outcome.text
        assert "do_install" not in outcome.values


@pytest.mark.one_library
def test_as_the_demo_calls_it(bench, server, image):
    made = images.index([image("called", images.host_architecture())])
    server.push(made, "recipe/called", "1.2.3")
    recipe = bench.directory / "app-image_1.2.3.bb"
    text = RECIPE.format(address=server.address, pin=made.hex).replace("recipe/app", "recipe/called")
    recipe.write_text(text)
    build = bench.directory / "build"
    outcome = bbrun.run_recipe(recipe, build, TASKS, {"DOCKIN_TLS_VERIFY": "0"}, bench.runner.library)
    assert outcome.error is None, outcome.text
    assert len(list(build.rglob("image/usr/share/dockin/archive/*.tar.xz"))) == 1


@pytest.mark.one_library
def test_registry_of_the_demo(runner, tmp_path):
    """As a script: serves until it is told to stop, and stands for docker.io."""
    folder, ready = tmp_path / "hub", tmp_path / "ready"
    tests = Path(registry.__file__).resolve().parent.parent
    command = [sys.executable, "-m", "support.registry", "--directory", str(folder), "--ready", str(ready)]
    command += ["--image", "library/busybox:1.36.1", "--image", "library/hello-world:latest"]
    environment = {**os.environ, "PYTHONPATH": str(tests), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address = process.stdout.readline().strip()
            digests = json.loads((folder / "digests.json").read_text())
            job = bbrun.Job(
                {
                    "DL_DIR": str(tmp_path / "downloads"),
                    "SRC_URI": "docker://busybox;tag=1.36.1;name=a docker://hello-world;name=b",
                    "DOCKIN_REGISTRIES_CONF": str(folder / "registries.conf"),
                },
                environment={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
                flags={
                    "SRC_URI": {
                        "a.sha256sum": digests["library/busybox:1.36.1"].partition(":")[2],
                        "b.sha256sum": digests["library/hello-world:latest"].partition(":")[2],
                    }
                },
            )
            outcome = runner.run(job, tmp_path / "job")
            assert ready.read_text().strip() == address
        finally:
            process.terminate()
            process.wait(20)
    assert outcome.error is None, outcome.text
    assert len(list((tmp_path / "downloads").glob("*.tar"))) == 2


def test_builder_gives_the_same_bytes():
    """Pins of the demo and of tests are computed from images that are built anew each time."""
    assert images.busybox().digest == images.busybox().digest
    platforms = {child.platform for child in images.busybox().children}
    assert {"linux/amd64", "linux/arm/v7", "linux/arm64/v8", "unknown/unknown"} <= platforms
