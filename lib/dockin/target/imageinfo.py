# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Image information files: descriptions of installed images, beside their archives, for the target and the tools.

A file is text with lines key=value, without quoting; '#' starts a comment line. dockin-preload, a shell script, reads it on
the target: a value has only characters of references, digests and numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from dockin.errors import DockinError
from dockin.image.reference import is_digest
from dockin.target import runtimes

FORMAT = "1"
SUFFIX = ".image"

_HEADER = "# Image information written by meta-dockin; read by dockin-preload.\n"
_RECORD_HEADER = "# dockin-preload: this image is on the disk, whole\n"
_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VALUE = re.compile(r"[A-Za-z0-9:/@._+\[\]-]+")


class InvalidInformation(DockinError):
    """An image information file cannot be read."""


@dataclass(frozen=True)
class ImageInformation:
    """The keys of an image information file, in its order. Sizes are decimal numbers of bytes."""

    reference: str
    """Canonical: docker.io/library/busybox:1.36.1"""
    name: str
    """Familiar, the name in Docker: busybox:1.36.1"""
    platform: str
    """linux/arm64/v8"""
    runtime: str
    """Name of the runtime that loads it; docker if the key is missing."""
    archive: str
    """File name of the archive beside this file."""
    archive_size: int
    unpacked_size: int
    """Size of the archive without its compression."""
    layers_size: int
    """Unpacked size of all layers, in blocks of 4 KiB, with the holes of sparse files."""
    image_id: str
    """Digest of the config: .Id on Docker's classic stores."""
    manifest_digest: str
    """Digest of the manifest in the archive: .Id on the containerd store."""
    source_digest: str
    """Digest of the fetched index or manifest in the registry: the pin."""

    def render(self) -> str:
        """Return the text of the file. Raises InvalidInformation for an invalid value."""
        lines = [_HEADER, f"format={FORMAT}\n"]
        for field in fields(self):
            value = str(getattr(self, field.name))
            if not _is_valid(field.name, value):
                raise InvalidInformation(f"Invalid {field.name} = {value!r}: it can't stand in an image information file")
            lines.append(f"{field.name}={value}\n")
        return "".join(lines)

    def render_record(self, found_id: str, layers: Sequence[str], made: str = "") -> str:
        """Return the text of dockin-preload's record that the image is complete in the runtime's store.

        found_id is its .Id there: on a classic store the image_id. layers are the names of its layers' directories, the
        top one last, which change whenever the image is re-created; so does made, by default the top layer.
        """
        values = {"format": FORMAT, "reference": self.reference, "name": self.name, "id": found_id}
        values.update({key: getattr(self, key) for key in ("image_id", "manifest_digest", "source_digest")})
        values.update({"made": made or "".join(layers[-1:]), "layers": " ".join(layers)})
        return _RECORD_HEADER + "".join(f"{key}={value}\n" for key, value in values.items())


def parse(text: str, path: str) -> ImageInformation:
    """Return the content of an image information file; unknown keys are ignored.

    path is for messages. Raises InvalidInformation.
    """
    values: dict[str, str] = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidInformation(f"Damaged image information file {path}: {line!r} is no line of the form key=value")
        values[key] = value
    if values.get("format") != FORMAT:
        raise InvalidInformation(f"Unsupported image information file {path}: format {values.get('format')!r}, not {FORMAT}")
    arguments: dict[str, str | int] = {}
    for field in fields(ImageInformation):
        value = values.get(field.name, runtimes.DOCKER.name if field.name == "runtime" else "")
        if not _is_valid(field.name, value):
            raise InvalidInformation(f"Damaged image information file {path}: {field.name} = {value!r}")
        arguments[field.name] = int(value) if _is_size(field.name) else value
    return ImageInformation(**arguments)  # type: ignore[arg-type]


def read(path: str | os.PathLike[str]) -> ImageInformation:
    """Return the content of the image information file at path. Raises InvalidInformation, OSError."""
    with open(path, encoding="utf-8") as file:
        return parse(file.read(), os.fspath(path))


def _is_size(key: str) -> bool:
    return key.endswith("_size")


def _is_valid(key: str, value: str) -> bool:
    """Tell whether a key can have a value, by the same rules as dockin-preload."""
    if key == "runtime":
        return value in runtimes.RUNTIMES
    if key == "image_id" or key.endswith("_digest"):
        return is_digest(value)
    rule = _SIZE if _is_size(key) else _FILE_NAME if key == "archive" else _VALUE
    return bool(rule.fullmatch(value))
