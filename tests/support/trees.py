# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Data-roots of Docker's classic store, read so that two can be compared whoever wrote them. Needs root.

    trees.read(path) == trees.read(other)

What Docker chooses at random, cache-ids and links, is replaced by the chain IDs that it stands for.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import os
import stat

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STORE = "image/overlay2"


@dataclass(frozen=True)
class Entry:
    """A file of a tree, whatever its type."""

    mode: int
    """With the type."""
    owner: tuple[int, int]
    device: int
    size: int
    links: int
    content: str | bytes
    """Digest of a regular file, target of a link."""
    xattrs: tuple[tuple[str, bytes], ...]
    mtime: int = field(compare=False)
    """Nanoseconds."""


def entry(path: bytes) -> Entry:
    """Return what there is to know of a file."""
    status = os.lstat(path)
    content: str | bytes = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    names = sorted(os.listxattr(path, follow_symlinks=False))
    directory = stat.S_ISDIR(status.st_mode)
    return Entry(
        status.st_mode, (status.st_uid, status.st_gid), status.st_rdev, 0 if directory else status.st_size,
        0 if directory else status.st_nlink, content,
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names), status.st_mtime_ns,
    )


def walk(top: bytes) -> dict[bytes, Entry]:
    """Return all entries below a directory and itself, as b"", by their path."""
    found = {b"": entry(top)}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            # overlayfs lists a whiteout in a directory that no lower layer has, although it is not there.
            with contextlib.suppress(FileNotFoundError):
                found[os.path.relpath(path, top)] = entry(path)
    return found


@dataclass
class Layer:
    """A layer in a data-root."""

    notes: dict[str, str]
    """By file name, without the cache-id."""
    split: list[tuple[str, bytes]]
    """What tar-split.json.gz says, its segments put together: ("raw", bytes), (name and size, checksum)."""
    home: dict[str, Any]
    """By name: the files beside diff/, with the chain IDs in place of links; their modes and owners."""
    files: dict[bytes, Entry]
    """Below diff/."""


@dataclass
class Root:
    """A data-root."""

    layers: dict[str, Layer]
    """By chain ID."""
    configs: dict[str, bytes]
    names: dict[str, str]
    """Image IDs by name:tag or name@digest."""
    distribution: dict[str, Any]
    modes: dict[str, int]
    """Of the directories that both make, and of files of theirs."""


def read(path: Path) -> Root:
    """Return the content of a data-root."""
    store = path / STORE
    folders = {folder.name: folder for folder in (store / "layerdb/sha256").iterdir() if len(folder.name) == 64}
    chains = {(folder / "cache-id").read_text(): chain for chain, folder in folders.items()}
    links = {link.name: chains[os.readlink(link).split("/")[1]]
             for link in (path / "overlay2/l").iterdir() if os.readlink(link).split("/")[1] in chains}
    layers = {chain: _layer(path, folder, links) for chain, folder in folders.items()}
    configs = {file.name: file.read_bytes() for file in (store / "imagedb/content/sha256").iterdir()}
    names = json.loads((store / "repositories.json").read_text())["Repositories"]
    distribution = {}
    for file in sorted((store / "distribution").rglob("*")):
        if file.is_file():
            text = file.read_text()
            distribution[str(file.relative_to(store))] = json.loads(text) if text.startswith("[") else text
    looked_at = ["", "image", STORE, f"{STORE}/imagedb", f"{STORE}/imagedb/content", f"{STORE}/imagedb/content/sha256",
                 f"{STORE}/imagedb/metadata", f"{STORE}/imagedb/metadata/sha256", f"{STORE}/layerdb",
                 f"{STORE}/layerdb/sha256", f"{STORE}/distribution", f"{STORE}/repositories.json", "overlay2", "overlay2/l",
                 *(f"{STORE}/imagedb/content/sha256/{name}" for name in configs),
                 *(f"{STORE}/layerdb/sha256/{name}" for name in folders)]
    modes = {name: stat.S_IMODE((path / name).lstat().st_mode) for name in looked_at}
    for name, family in names.items():
        assert all(key.startswith((name + ":", name + "@")) for key in family), names
    flat = {key: value for family in names.values() for key, value in family.items()}
    return Root(layers, configs, flat, distribution, modes)


def _layer(path: Path, folder: Path, links: dict[str, str]) -> Layer:
    notes = {file.name: file.read_text() for file in folder.iterdir() if not file.name.endswith(".gz")}
    cache = path / "overlay2" / notes.pop("cache-id")
    home: dict[str, Any] = {}
    for file in (cache, *cache.iterdir()):
        status = file.lstat()
        content = file.read_text() if file.is_file() else None
        if file.name == "link":
            content = links[str(content)]
        elif file.name == "lower":
            content = [links[text.partition("/")[2]] for text in str(content).split(":")]  # type: ignore[assignment]
        home["" if file == cache else file.name] = status.st_mode, status.st_uid, status.st_gid, content
    home["tar-split"] = stat.S_IMODE((folder / "tar-split.json.gz").stat().st_mode)
    return Layer(notes, split((folder / "tar-split.json.gz").read_bytes()), home, walk(bytes(cache / "diff")))


def split(data: bytes) -> list[tuple[str, bytes]]:
    """Return what a tar-split file says, its segments put together: ("raw", bytes), (name and size, checksum)."""
    found: list[tuple[str, bytes]] = []
    for position, line in enumerate(gzip.decompress(data).splitlines()):
        one = json.loads(line)
        assert one["position"] == position
        payload = base64.b64decode(one["payload"] or "")
        if one["type"] == 2:
            if found and found[-1][0] == "raw":
                payload = found.pop()[1] + payload
            found += [("raw", payload)] if payload else []
        else:
            name = one.get("name") or base64.b64decode(one["name_raw"]).decode("utf-8", "surrogateescape")
            found.append((f"{name!r} {one.get('size', 0)}", payload))
    return found


def snapshot(root: Path) -> dict[str, tuple[int, int, int, Any]]:
    """Return everything in a tree, which any user may read: type and mode, size, time in nanoseconds, and content."""
    found: dict[str, tuple[int, int, int, Any]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            size = 0 if path.is_dir() else status.st_size
            found[str(path.relative_to(root))] = status.st_mode, size, status.st_mtime_ns, content
    return found
