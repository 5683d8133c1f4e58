# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Podman beside a daemon of tests/support/docker.py, and its image stores, read so that two can be compared. Needs root.

    podman.read(path) == podman.read(other)

What Podman chooses at random, the links, is replaced by the layer IDs that it stands for.
"""

from __future__ import annotations

import base64
import json
import os
import stat

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from support import docker, trees

CONFIGURATION = """\
[storage]
driver = "overlay"
graphroot = "{root}"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = [{stores}]
"""


class Podman:
    """Podman with a store of its own, and maybe additional ones."""

    def __init__(self, daemon: docker.Daemon, stores: Sequence[str] = ()) -> None:
        self.daemon = daemon
        self.root = f"{daemon.directory}/data/podman"
        text = CONFIGURATION.format(root=self.root, stores=", ".join(map(json.dumps, stores)))
        self.shell(f"mkdir -p /etc/containers && cat >/etc/containers/storage.conf <<'END'\n{text}END")

    def shell(self, script: str) -> str:
        """Run a script beside the daemon; return what it prints."""
        return self.daemon.run(["sh", "-ec", script]).stdout

    def __call__(self, *arguments: str) -> str:
        """Run a command of Podman's; return what it prints, without the last newline."""
        return self.daemon.run(["podman", *arguments]).stdout.rstrip("\n")

    def mounted(self, image: str, script: str) -> str:
        """Run a script in the root directory of a container of an image; return what it prints.

        The container is not started: crun runs none where cgroups of both versions are in use.
        """
        container = self("create", "--quiet", "--pull", "never", "--network", "none", image, "true").splitlines()[-1]
        try:
            return self.shell(f"cd \"$(podman mount {container})\"; {script}").strip()
        finally:
            self("rm", container)


@dataclass
class Layer:
    """A layer in a store."""

    notes: dict[str, Any]
    """Its entry in layers.json, without the time of its making."""
    split: list[tuple[str, bytes]]
    """What trees.split() returns."""
    home: dict[str, Any]
    """By name: the files beside diff/, with IDs in place of links; their modes and owners."""
    files: dict[bytes, trees.Entry]
    """Below diff/."""


@dataclass
class Store:
    """An image store."""

    layers: dict[str, Layer]
    images: dict[str, dict[str, Any]]
    """Entries of images.json by ID."""
    documents: dict[str, bytes]
    """By image ID and key."""
    modes: dict[str, int]


def read(path: Path) -> Store:
    """Return the content of a store."""
    entries = json.loads((path / "overlay-layers/layers.json").read_text())
    links = {link.name: os.readlink(link).split("/")[1] for link in (path / "overlay/l").iterdir()}
    layers = {entry["id"]: _layer(path, entry, links) for entry in entries}
    images = {entry["id"]: entry for entry in json.loads((path / "overlay-images/images.json").read_text())}
    documents = {}
    looked_at = ["", "overlay", "overlay/l", "overlay-images", "overlay-layers", "overlay-images/images.json",
                 "overlay-images/images.lock", "overlay-layers/layers.json", "overlay-layers/layers.lock",
                 *(f"overlay-layers/{name}.tar-split.gz" for name in layers), *(f"overlay-images/{name}" for name in images)]
    for name in images:
        for file in (path / "overlay-images" / name).iterdir():
            key = base64.b64decode(file.name[1:]).decode() if file.name.startswith("=") else file.name
            documents[f"{name}/{key}"] = file.read_bytes()
            looked_at.append(str(file.relative_to(path)))
    modes = {name: stat.S_IMODE((path / name).lstat().st_mode) for name in looked_at}
    # What is nobody's would be a fault as well.
    assert {*os.listdir(path / "overlay")} - {"l", ".has-mount-program", "tempdirs"} == {*layers}
    return Store(layers, images, documents, modes)


def _layer(path: Path, entry: dict[str, Any], links: dict[str, str]) -> Layer:
    folder = path / "overlay" / entry["id"]
    home: dict[str, Any] = {}
    for file in (folder, *folder.iterdir()):
        status = file.lstat()
        content: Any = file.read_text() if file.is_file() else None
        if file.name == "link":
            content = links[content]
        elif file.name == "lower":
            content = [links[text.partition("/")[2]] for text in content.split(":")]
        elif file.name == "lower-layers":
            content = content.split(":")
        home["" if file == folder else file.name] = status.st_mode, status.st_uid, status.st_gid, content
    notes = {key: value for key, value in entry.items() if key != "created"}
    split = trees.split((path / "overlay-layers" / f"{entry['id']}.tar-split.gz").read_bytes())
    return Layer(notes, split, home, trees.walk(bytes(folder / "diff")))
