# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""do_unpack for a file in DL_DIR: writes the archive for docker load, and a description of the image."""

from __future__ import annotations

import collections
import hashlib
import os
import pathlib

from dockin.errors import DockinError
from dockin.image import archive, attachments, tarball
from dockin.image.platforms import Platform
from dockin.image.reference import ImageReference
from dockin.recipe import source
from dockin.target import unpacked

SBOM_SUBDIR = "sbom"
"""Directory of bills of materials attached to images, below that of the archives."""


def write(
    path: str,
    image: tarball.Image,
    reference: ImageReference,
    platform: Platform,
    sbom: attachments.Wanted | None,
    layers: str,
    target: str,
) -> None:
    """Write the archive target, and beside it the image's description and its bills. Raises DockinError, OSError.

    path is the file in DL_DIR from which image was read; layers is one of archive.LAYER_MODES.
    """
    directory = os.path.dirname(target)
    result = archive.assemble(path, image, reference, layers, target)
    bills = _write_bills(path, image, reference, os.path.join(directory, SBOM_SUBDIR)) if sbom else ()
    if sbom and sbom.required and not bills:
        raise DockinError(f"{path} has no bill of materials, which DOCKIN_FETCH_SBOM = 'require' asks for")
    text = _description(reference, platform, image, result, bills).render()
    pathlib.Path(directory, reference.stem + unpacked.SUFFIX).write_text(text, encoding="ascii")


def _write_bills(
    path: str, image: tarball.Image, reference: ImageReference, directory: str
) -> tuple[unpacked.Attached, ...]:
    """Write the image's bills of materials into a directory; return their descriptions."""
    bills = []
    numbers: collections.Counter[str] = collections.Counter()
    for attachment, media_type, data in tarball.read_bills(path, image):
        os.makedirs(directory, exist_ok=True)
        suffix = attachments.SUFFIXES[media_type]
        numbers[suffix] += 1
        name = attachments.file_name(reference.stem, suffix, numbers[suffix])
        pathlib.Path(directory, name).write_bytes(data)
        location = f"{source.SCHEME}://{reference.name}@{attachment.digest}"
        bills.append(unpacked.Attached(name, media_type, hashlib.sha256(data).hexdigest(), location))
    return tuple(bills)


def _description(
    reference: ImageReference,
    platform: Platform,
    image: tarball.Image,
    result: archive.Archive,
    bills: tuple[unpacked.Attached, ...],
) -> unpacked.UnpackedImage:
    """Return the description of an archive that is not compressed yet."""
    return unpacked.UnpackedImage(
        reference=reference.tagged.canonical,
        platform=str(platform),
        image_id=image.manifest.config.digest,
        manifest_digest=result.manifest_digest,
        registry_digest=image.manifest_digest,
        source_digest=image.digest,
        unpacked_size=result.size,
        layers_size=result.layers_size,
        attached=bills,
    )
