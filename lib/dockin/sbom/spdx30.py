# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Adds images to the SPDX 3.0 documents of OE-core's create-spdx. The module oe is OE-core's, and only a build has it."""

from __future__ import annotations

import contextlib
import pathlib
import typing

from dockin.sbom import elements
from dockin.sbom.elements import Element


@contextlib.contextmanager
def changed(d: typing.Any, folder: str, arch: str, place: str, name: str) -> typing.Iterator[typing.Any]:
    """Yield the document <folder>/<arch>/<place>/<name>, an oe.sbom30.ObjectSet, and write it back afterwards.

    Only OE-core's functions read variables of d.
    """
    import oe.sbom30

    deployed = pathlib.Path(folder)
    path = oe.sbom30.jsonld_arch_path(d, arch, place, name, deploydir=deployed)
    document = oe.sbom30.load_jsonld(d, path, required=True)
    yield document
    oe.sbom30.write_recipe_jsonld_doc(d, document, place, deployed, create_spdx_id_links=False)


def add_images(document: typing.Any, package: str, images: typing.Iterable[Element]) -> None:
    """Add images to the document of a package, which contains them."""
    import oe.spdx30

    kind = oe.spdx30.ExternalIdentifierType.packageUrl
    added = []
    for number, element in enumerate(images, 1):
        image = document.add(oe.spdx30.software_Package(
            _id=document.new_spdxid("package", package, "image", str(number)), creationInfo=document.doc.creationInfo,
            name=element.name, software_packageVersion=element.version,
            software_primaryPurpose=oe.spdx30.software_SoftwarePurpose.container))
        image.verifiedUsing.append(oe.spdx30.Hash(
            algorithm=oe.spdx30.HashAlgorithm.sha256, hashValue=element.sha256))
        if element.download_location:
            image.software_downloadLocation = element.download_location
            image.software_packageUrl = element.purls[0]
        for purl in element.purls:
            image.externalIdentifier.append(
                oe.spdx30.ExternalIdentifier(externalIdentifierType=kind, identifier=purl))
        for one in element.attached:
            image.externalRef.append(oe.spdx30.ExternalRef(
                externalRefType=oe.spdx30.ExternalRefType.other, locator=[one.location], contentType=one.media_type,
                comment=elements.comment(one)))
        added.append(image)
    document.new_relationship(
        [document.find_root(oe.spdx30.software_Package)], oe.spdx30.RelationshipType.contains, added)


def add_data_root(d: typing.Any, document: typing.Any, packages: typing.Iterable[str], comment: str) -> None:
    """Add to a root file system's document that it contains the images of packages.

    Only OE-core's functions read variables of d.
    """
    import oe.sbom30
    import oe.spdx30

    images: list[str] = []
    for package in packages:
        described, _ = oe.sbom30.find_jsonld(d, "packages", "package-" + package, required=True)
        images += [oe.sbom30.get_element_link_id(one) for one in described.foreach_type(oe.spdx30.software_Package)
                   if one.software_primaryPurpose == oe.spdx30.software_SoftwarePurpose.container]
    [relationship] = document.new_relationship(
        [document.find_root(oe.spdx30.software_Package)], oe.spdx30.RelationshipType.contains, sorted(images))
    relationship.comment = comment
