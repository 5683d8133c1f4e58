# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Stores of containerd, read so that two can be compared whoever wrote them. Trees of layers need root.

    snapshots.read(path, "moby") == snapshots.read(other, "moby")

Numbers of snapshots are replaced by the chain IDs that they stand for, and times are left out.
"""

from __future__ import annotations

import stat

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockin.store import bolt

from support import trees

META = "io.containerd.metadata.v1.bolt/meta.db"
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
DETAILS = f"{SNAPSHOTTER}/metadata.db"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
DIRECTORIES = ("io.containerd.metadata.v1.bolt", "io.containerd.content.v1.content",
               "io.containerd.content.v1.content/blobs", BLOBS, SNAPSHOTTER, f"{SNAPSHOTTER}/snapshots")
TIMES = ("createdat", "updatedat")
SIZES = ("size", "inodes")


@dataclass
class Store:
    """What is in a store."""

    images: dict[str, Any]
    """Image names with targets and annotations."""
    blobs: dict[str, Any]
    """Size and labels by digest."""
    snapshots: dict[str, Any]
    """Parent and children by chain ID."""
    details: dict[str, Any]
    """What the snapshotter notes of each, by chain ID."""
    folders: dict[str, Path]
    """The snapshots' directories by chain ID."""
    files: dict[str, tuple[int, bytes]]
    """Mode and content of blobs by hexadecimal digest."""
    modes: dict[str, int]

    def tree(self, chain: str) -> dict[bytes, trees.Entry]:
        """Return the files of a layer."""
        return trees.walk(bytes(self.folders[chain] / "fs"))


def read(path: Path, namespace: str, byteorder: str = "little") -> Store:
    """Return what a store has of a namespace; it must not be in use."""
    meta = _plain(database(path / META, byteorder)[b"v1"])
    details = _plain(database(path / DETAILS, byteorder)[b"v1"])
    mine = meta[namespace]
    snapshots = mine.get("snapshots", {}).get("overlayfs", {})
    named = {one["name"]: chain for chain, one in snapshots.items()}
    by_chain, folders = {}, {}
    for name, one in details["snapshots"].items():
        if name in named:
            folders[named[name]] = path / SNAPSHOTTER / "snapshots" / str(_number(one.pop("id").encode("latin-1")))
            by_chain[named[name]] = {key: named[value] if key == "parent" else value for key, value in one.items()}
    for one in snapshots.values():
        one.pop("name")
    blobs = mine["content"]["blob"]
    files = {blob.name: (stat.S_IMODE(blob.stat().st_mode), blob.read_bytes()) for blob in (path / BLOBS).iterdir()}
    modes = {name: stat.S_IMODE((path / name).stat().st_mode) for name in ("", *DIRECTORIES, META, DETAILS)}
    return Store(mine["images"], blobs, snapshots, by_chain, folders, files, modes)


def database(path: Path, byteorder: str = "little") -> bolt.Bucket:
    """Return the tree in a database."""
    return bolt.parse(path.read_bytes(), byteorder)


def _plain(value: Any, key: str = "") -> Any:
    """Return buckets as dictionaries by text, numbers as such, and no times."""
    if isinstance(value, bolt.Bucket):
        names = {name: name.decode("latin-1") for name in value}
        return {names[name]: _plain(below, names[name]) for name, below in value.items() if names[name] not in TIMES}
    return _number(value) >> 1 if key in SIZES else value.decode("latin-1")


def _number(value: bytes) -> int:
    """Return the number that Go's PutUvarint has written."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(value))
