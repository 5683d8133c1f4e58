# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Image information files: what a target and the tools know of an installed image, beside its archive.

Text, one key=value a line, the value up to the end of the line, no quoting; '#' starts a comment line. Read on the target by
dockin-preload, a shell script: no value holds anything that a reference, a digest or a number can't hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from dockin.errors import DockinError

FORMAT = "1"
SUFFIX = ".image"

_HEADER = "# Image information written by meta-dockin; read by dockin-preload.\n"
_VALUE = re.compile(r"[A-Za-z0-9:/@._+\[\]-]+")
_SIZE = re.compile(r"[0-9]{1,19}")


class InvalidInformation(DockinError):
    """An image information file can't be read."""


@dataclass(frozen=True)
class ImageInformation:
    """The keys of an image information file, in its order. Sizes are decimal numbers of bytes."""

    reference: str
    """Canonical: docker.io/library/busybox:1.36.1"""
    name: str
    """Familiar, the name in Docker: busybox:1.36.1"""
    platform: str
    """linux/arm64/v8"""
    archive: str
    """File name of the archive beside this file."""
    archive_size: int
    unpacked_size: int
    """Of the archive without its compression."""
    layers_size: int
    """Of all layers, uncompressed: what they take up once loaded."""
    image_id: str
    """Digest of the config: .Id on Docker's classic stores."""
    manifest_digest: str
    """Digest of the manifest in the archive: .Id on the containerd store."""
    source_digest: str
    """What was fetched: the pin, an index or manifest digest in the registry."""

    def render(self) -> str:
        """Return the text of the file. Raises InvalidInformation for a value that it can't hold."""
        lines = [_HEADER, f"format={FORMAT}\n"]
        for field in fields(self):
            value = str(getattr(self, field.name))
            if not _VALUE.fullmatch(value):
                raise InvalidInformation(f"Invalid {field.name} = {value!r}: it can't stand in an image information file")
            lines.append(f"{field.name}={value}\n")
        return "".join(lines)


def parse(text: str, path: str) -> ImageInformation:
    """Return the content of an image information file; keys that are not known are passed over.

    path names the file in messages. Raises InvalidInformation.
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not line.startswith("#") and equals:
            values[key] = value
    if values.get("format") != FORMAT:
        raise InvalidInformation(f"Unsupported image information file {path}: format {values.get('format')!r}, not {FORMAT}")
    arguments: dict[str, str | int] = {}
    for field in fields(ImageInformation):
        value = values.get(field.name, "")
        sized = field.name.endswith("_size")
        if not (_SIZE if sized else _VALUE).fullmatch(value):
            raise InvalidInformation(f"Damaged image information file {path}: {field.name} = {value!r}")
        arguments[field.name] = int(value) if sized else value
    return ImageInformation(**arguments)  # type: ignore[arg-type]
