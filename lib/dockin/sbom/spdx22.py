# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Adds images to the SPDX 2.2 documents of OE-core's create-spdx. The module oe is OE-core's, and only a build has it."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import typing

from dockin.sbom import elements
from dockin.sbom.elements import Element


@contextlib.contextmanager
def changed(path: pathlib.Path, indent: int | None) -> typing.Iterator[typing.Any]:
    """Yield the document in a file, an oe.spdx.SPDXDocument, and write it back afterwards."""
    import oe.sbom

    document, _ = oe.sbom.read_doc(path)
    yield document
    path.write_bytes(_rendered(document, indent))


def add_images(document: typing.Any, package: str, images: typing.Iterable[Element]) -> None:
    """Add images to the document of a package, which contains them."""
    import oe.sbom
    import oe.spdx

    for number, element in enumerate(images, 1):
        image = oe.spdx.SPDXPackage(
            SPDXID=f"SPDXRef-Image-{number}", name=element.name, versionInfo=element.version,
            downloadLocation=element.download_location or "NOASSERTION")
        image.checksums.append(oe.spdx.SPDXChecksum(algorithm="SHA256", checksumValue=element.sha256))
        for purl in element.purls:
            image.externalRefs.append(oe.spdx.SPDXExternalReference(
                referenceCategory="PACKAGE-MANAGER", referenceType="purl", referenceLocator=purl))
        for one in element.attached:
            image.externalRefs.append(oe.spdx.SPDXExternalReference(
                referenceCategory="OTHER", referenceType="sbom", referenceLocator=one.location))
        if element.attached:
            image.sourceInfo = "; ".join(elements.comment(one) for one in element.attached)
        document.packages.append(image)
        document.add_relationship(oe.sbom.get_package_spdxid(package), "CONTAINS", image)


def add_data_root(
    document: typing.Any,
    rootfs: str,
    packages: typing.Iterable[str],
    find: typing.Callable[[str], pathlib.Path],
    comment: str,
) -> None:
    """Add to an image recipe's document that its root file system, called rootfs there, contains the packages' images.

    find returns the file of a package's document by its namespace.
    """
    import oe.sbom

    namespaces = {one.externalDocumentId: one.spdxDocument for one in document.externalDocumentRefs}
    for package in packages:
        reference = f"DocumentRef-{package}"
        described, _ = oe.sbom.read_doc(find(namespaces[reference]))
        for image in described.packages:
            if oe.sbom.get_package_spdxid(package) != image.SPDXID:
                document.add_relationship(
                    oe.sbom.get_image_spdxid(rootfs), "CONTAINS", f"{reference}:{image.SPDXID}", comment=comment)


def replace_in_archive(archive: str, document: typing.Any, indent: int | None) -> None:
    """Replace a document in create-spdx's compressed archive of all documents of an image."""
    import bb.compress.zstd

    with bb.compress.zstd.open(archive, "r") as old, bb.compress.zstd.open(archive + ".new", "w") as new:
        elements.replace(old, new, document.name + ".spdx.json", _rendered(document, indent))
    os.rename(archive + ".new", archive)


def _rendered(document: typing.Any, indent: int | None) -> bytes:
    data = io.BytesIO()
    document.to_json(data, sort_keys=True, indent=indent)
    return data.getvalue()
