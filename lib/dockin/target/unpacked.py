# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""do_unpack's descriptions beside each archive: an image before its archive is compressed, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from dockin.errors import DockinError

SUFFIX = ".image.json"

_REMEDY = "unpack the image again"


class InvalidDescription(DockinError):
    """The description of an unpacked image cannot be read."""


@dataclass(frozen=True)
class Attached:
    """A publisher's bill of materials that was fetched with an image."""

    file: str
    """Its name in the package and in the deploy directory: busybox-1.36.1.spdx.json"""
    media_type: str
    sha256: str
    """Of the file, 64 hex digits."""
    location: str
    """docker://docker.io/library/busybox@sha256:…, the manifest that lists the file."""


@dataclass(frozen=True)
class UnpackedImage:
    """An image that is unpacked as an uncompressed archive. Sizes are in bytes."""

    reference: str
    """Canonical, without a digest: docker.io/library/busybox:1.36.1"""
    platform: str
    """linux/arm64/v8"""
    image_id: str
    """Digest of the config."""
    manifest_digest: str
    """Digest of the manifest in the archive."""
    registry_digest: str
    """Digest of the manifest in the registry."""
    source_digest: str
    """Digest of the fetched index, or of the manifest if the registry has no index."""
    unpacked_size: int
    layers_size: int
    attached: tuple[Attached, ...] = ()

    def render(self) -> str:
        """Return the image as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def parse(text: str, path: str) -> UnpackedImage:
    """Return the image from render()'s text; path is for messages. Raises InvalidDescription."""
    try:
        values = json.loads(text)
        wrong = {key for key, value in values.items() if key != "attached" and type(value) is not _type_of(key)}
        if wrong:
            raise ValueError(f"unexpected {', '.join(sorted(wrong))}")
        attached = tuple(Attached(**one) for one in values["attached"])
        return UnpackedImage(**{**values, "attached": attached})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidDescription(f"Damaged description of an image, {path}: {error}; {_REMEDY}") from error


def read(path: str) -> UnpackedImage:
    """Return the image in a file. Raises InvalidDescription."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDescription(f"Can't read the description of an image, {path}: {error}; {_REMEDY}") from error


def _type_of(key: str) -> type:
    return int if key.endswith("_size") else str
