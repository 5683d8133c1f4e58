# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Completion in the shell, by argcomplete's protocol: a command line goes in by the environment, words come out by fd 8."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time

from pathlib import Path

import pytest

from dockin.refresh import completion
from support import images, oe, registry as registries

SCRIPT = oe.LAYER / "scripts" / "dockin-complete"
FILES = {
    "conf/layer.conf": 'BBFILES += "${LAYERDIR}/recipes-*/*/*.bb"\n'
                       'BBFILES_DYNAMIC += "core:${LAYERDIR}/dynamic-layers/core/*/*.bb \\\n'
                       '    nowhere:${LAYERDIR}/dynamic-layers/nowhere/*/*.bb"\n',
    "recipes-containers/app/app-docker_1.0.bb": "inherit dockin\n",
    "recipes-containers/app/other_1.0.bb": "inherit systemd\n",
    "recipes-containers/app/two-docker_2.bb": "inherit systemd dockin\n",
    "recipes-containers/app/three-docker_3.bb": "require ${BPN}.inc\n",
    "recipes-containers/app/three-docker.inc": "inherit dockin\n",
    "recipes-containers/app/four-docker_4.bb": "inherit \\\n    four\n",
    "classes-recipe/four.bbclass": "inherit dockin\n",
    "dynamic-layers/core/app/dynamic-docker_1.bb": "inherit dockin\n",
    "dynamic-layers/nowhere/app/nowhere-docker_1.bb": "inherit dockin\n",
}
WORDBREAKS = " \t\n\"'><=;|&(:"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with registries.Registry(tmp_path_factory.mktemp("completion")) as server:
        image = images.index([images.image([images.layer({"a": "b"})], "linux/amd64")])
        for tag in ("1.36.1", "1.37.0", "latest"):
            server.push(image, "team/app", tag)
        yield server


@pytest.fixture
def shell(release, hub, tmp_path):
    """Return a function that completes a command line as a shell does."""
    if release.unavailable:
        pytest.skip(f"unavailable: {release.unavailable}")
    layer = tmp_path / "meta-mine"
    for name, text in FILES.items():
        path = layer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    registries_conf = tmp_path / ".config" / "containers" / "registries.conf"
    registries_conf.parent.mkdir(parents=True)
    registries_conf.write_text(f'[[registry]]\nlocation = "{hub.address}"\ninsecure = true\n')
    conf = tmp_path / "conf" / "bblayers.conf"
    conf.parent.mkdir()
    conf.write_text(f'BBLAYERS ?= " \\\n  {release.oecore.path}/meta \\\n  {oe.LAYER} \\\n  ${{TOPDIR}}/meta-mine \\\n"\n')

    def complete(line):
        path = f"{release.bitbake.path}/bin:{release.oecore.path}/scripts:{os.environ['PATH']}"
        environment = {
            "PATH": path, "HOME": str(tmp_path), "BUILDDIR": str(tmp_path), "LANG": "C.UTF-8", "IFS": "\013",
            "_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_TYPE": "9",
            "_ARGCOMPLETE_COMP_WORDBREAKS": WORDBREAKS, "COMP_LINE": line, "COMP_POINT": str(len(line)),
        }
        # The shell's function redirects fd 8 to what it captures, and 9 (argcomplete's debugging) to nowhere.
        argv = ["bash", "-c", 'exec 8>&1 9>/dev/null 1>/dev/null; exec "$@"', "-", sys.executable, str(SCRIPT)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return [word.strip() for word in done.stdout.split("\013") if word.strip()]

    return complete


def test_devtool(shell, hub):
    words = shell("devtool ")
    assert {"add-docker", "add", "build", "finish", "modify"} <= set(words)
    assert {"--tag", "--digest", "--layer", "--compose", "--no-pin"} <= set(shell("devtool add-docker --"))
    assert sorted(shell(f"devtool add-docker {hub.address}/team/app --tag 1.3")) == ["1.36.1", "1.37.0"]
    options = "-q --color never add-docker --no-pin"
    assert sorted(shell(f"devtool {options} {hub.address}/team/app --tag 1.3")) == ["1.36.1", "1.37.0"]
    # A ':' ends a word for bash: it has the rest already.
    assert shell(f"devtool add-docker {hub.address}/team/app:1.36") == ["1.36.1"]


def test_bitbake_layers(shell):
    assert {"dockin-status", "show-recipes", "add-layer"} <= set(shell("bitbake-layers "))
    assert {"--remote", "--json", "--check", "--image"} <= set(shell("bitbake-layers dockin-status --"))
    found = set(shell("bitbake-layers dockin-status "))
    ours = {"hello-world", "compose-example"}
    assert {"app-docker", "two-docker", "three-docker", "four-docker", "dynamic-docker", *ours} <= found
    assert not {"other", "busybox", "nowhere-docker"} & found


def test_a_registry_that_does_not_answer_costs_no_more_than_its_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and never says a word
        start = time.monotonic()
        arguments = argparse.Namespace(image=f"127.0.0.1:{silent.getsockname()[1]}/team/app")
        assert completion.tags("", arguments) == []
        assert time.monotonic() - start < 2 * completion.SECONDS


def test_layers_are_found_without_bitbake(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "conf" / "bblayers.conf").write_text('BBLAYERS = "${TOPDIR}/a"\nBBLAYERS += "/nonexistent"\n')
    assert completion.layers(str(tmp_path)) == [str(tmp_path / "a")]
    assert completion.layers(str(Path("/nonexistent"))) == []
