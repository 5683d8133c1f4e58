# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A refreshed recipe on a device without network: what Docker has after its archives' load is what Compose asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dockin.image import archive
from dockin.recipe import textreader
from support import docker

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "dockin"
RECIPE = '''\
inherit dockin
SRC_URI = "docker://{name};tag=1.37.0;name=app file://compose.yml"
SRC_URI[app.sha256sum] = "{pin}"
'''
COMPOSE = """\
services:
  app:
    image: {image}
    pull_policy: never
    network_mode: none
"""


class Layer:
    """A layer with a recipe of one image and its Compose file, and what the registry has for it, in memory too."""

    def __init__(self, shelf, server, digest):
        self.server = server
        self.name = f"{server.address}/refreshed/app{shelf.number}"
        self.folder = shelf.directory / "meta-site"
        self.shelf = shelf
        self.contents = {}
        pin = self.push("old", "1.37.0")
        self.recipe = self.folder / "app_1.0.bb"
        self.compose = self.folder / "files" / "compose.yml"
        self.compose.parent.mkdir(parents=True)
        self.recipe.write_text(RECIPE.format(name=self.name, pin=pin[7:]))
        self.compose.write_text(COMPOSE.format(image=f"{self.name}:1.37.0" + (f"@{pin}" if digest else "")))

    def push(self, word, tag):
        content = self.shelf.image(word)
        self.contents[content.digest] = content
        return self.server.push(content, self.name.partition("/")[2], tag)

    def refresh(self, *options):
        environment = {**os.environ, "DOCKIN_TLS_VERIFY": "0"}
        argv = [sys.executable, "-B", str(SCRIPT), "refresh", *options, str(self.folder)]
        subprocess.run(argv, env=environment, check=True, timeout=60)

    def install(self, **options):
        """Install what the recipe has now; return that."""
        [image] = textreader.read(str(self.recipe)).images
        reference = image.source.reference
        return self.shelf.install(self.contents[reference.digest], reference.tagged.canonical, **options)


def compose(daemon, layer, *command):
    return daemon.run(["docker", "compose", "--project-name", "app", "--file", str(layer.compose), *command], check=False)


def look(daemon, layer, word):
    """Expect that Compose finds the image of the file, that of the word, without a network."""
    shown = compose(daemon, layer, "config", "--images")
    assert shown.returncode == 0, shown.stderr
    [name] = shown.stdout.split()
    assert daemon.run_image(name) == layer.shelf.output(word)
    done = compose(daemon, layer, "up", "--abort-on-container-exit")
    try:
        assert done.returncode == 0 and layer.shelf.output(word) in done.stdout, done.stdout + done.stderr
    finally:
        compose(daemon, layer, "down")
    return name


@pytest.mark.parametrize("daemon", [docker.NEWER_CLASSIC, docker.CONTAINERD], ids=str, indirect=True)
def test_an_upgraded_tag(shelf, daemon, server):
    layer = Layer(shelf, server, digest=False)
    layer.push("new", "1.38.0")
    layer.refresh("--upgrade", "minor")
    daemon.docker("load", "--input", str(layer.install().archive))
    assert look(daemon, layer, "new") == f"{layer.name}:1.38.0"


@pytest.mark.parametrize("daemon", [docker.CONTAINERD], ids=str, indirect=True)
@pytest.mark.parametrize("upgrade", [False, True], ids=["same tag", "upgrade"])
def test_a_digest_in_the_compose_file(shelf, daemon, server, upgrade):
    layer = Layer(shelf, server, digest=True)
    tag = "1.38.0" if upgrade else "1.37.0"
    digest = layer.push("new", tag)
    layer.refresh(*(["--upgrade", "minor"] if upgrade else []))
    daemon.docker("load", "--input", str(layer.install(layers=archive.REGISTRY).archive))
    assert look(daemon, layer, "new") == f"{layer.name}:{tag}@{digest}"


@pytest.mark.parametrize("daemon", [docker.CONTAINERD], ids=str, indirect=True)
def test_the_digest_of_before_would_not_be_found(shelf, daemon, server):
    """Why the Compose file has to follow."""
    layer = Layer(shelf, server, digest=True)
    before = layer.compose.read_text()
    layer.push("new", "1.37.0")
    layer.refresh()
    layer.compose.write_text(before)
    daemon.docker("load", "--input", str(layer.install(layers=archive.REGISTRY).archive))
    done = compose(daemon, layer, "up", "--abort-on-container-exit")
    assert done.returncode != 0 and "No such image" in done.stderr, done.stderr
