# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""do_compile's files beside the compressed archives of a recipe: an image information file and a unit for each image."""

from __future__ import annotations

import os
import pathlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.image import archive, reference
from dockin.image.reference import ImageReference
from dockin.target import dockersave, imageinfo, space, units, unpacked
from dockin.target.imageinfo import ImageInformation
from dockin.target.units import Preload


class InvalidPackage(DockinError):
    """A target could not load an archive."""


@dataclass(frozen=True)
class Archives:
    """The directories and the compression of a recipe's archives."""

    unpacked: str
    """Directory of the uncompressed archives: do_unpack's, or a source tree of devtool."""
    build: str
    """Directory of the compressed archives."""
    installed: str
    """Directory of the compressed archives on the target."""
    suffix: str
    """Of the compressed archives, such as .tar.xz."""
    compression: str
    """The value of COMPRESSION_TYPE."""
    external: bool
    """Whether a user may have replaced uncompressed archives."""


def write(archives: Archives, references: Sequence[ImageReference], preload: Preload) -> list[ImageInformation]:
    """Write information files and units, and return the content of the information files. Raises DockinError, OSError."""
    loads: dict[ImageReference, space.Load] = {}
    for one in references:
        information = _information(archives, one, preload)
        _write(archives, one.stem + imageinfo.SUFFIX, information.render())
        loads[one] = space.Load(information, preload.flush)
    earlier = None
    for one in sorted(loads, key=lambda one: loads[one].rank):
        installed = posixpath.join(archives.installed, one.stem + imageinfo.SUFFIX)
        _write(archives, units.unit_name(one), units.render_unit(one, installed, preload, earlier))
        earlier = one
    return [load.image for load in loads.values()]


def external_references(folder: str) -> list[ImageReference]:
    """Return the references of the images in a source tree of devtool. Raises DockinError."""
    paths = sorted(pathlib.Path(folder).glob("*" + unpacked.SUFFIX))
    return [reference.parse(unpacked.read(str(path)).reference) for path in paths]


def _information(archives: Archives, one: ImageReference, preload: Preload) -> ImageInformation:
    """Return the information on an image and its archive."""
    path = os.path.join(archives.build, one.stem + archives.suffix)
    with open(path, "rb") as file:
        if not archive.is_loadable(file.read(512)):
            raise InvalidPackage(
                f"{os.path.basename(path)}: targets can't read what COMPRESSION_CMD:{archives.compression} has written: it"
                " has to be xz, zstd, gzip, bzip2 or a plain tar")
    plain = os.path.join(archives.unpacked, one.stem)
    image = unpacked.read(plain + unpacked.SUFFIX)
    information = ImageInformation(
        reference=image.reference,
        name=reference.parse(image.reference).familiar,
        platform=image.platform,
        runtime=preload.runtime.name,
        archive=os.path.basename(path),
        archive_size=os.path.getsize(path),
        unpacked_size=image.unpacked_size,
        layers_size=image.layers_size,
        image_id=image.image_id,
        manifest_digest=image.manifest_digest,
        source_digest=image.source_digest,
    )
    return dockersave.describe(plain + ".tar", information) if archives.external else information


def _write(archives: Archives, name: str, text: str) -> None:
    pathlib.Path(archives.build, name).write_text(text, encoding="utf-8")
