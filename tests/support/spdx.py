# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the documents that OE-core's create-spdx wrote, 2.2 or 3.0, say of the images in packages."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """What a bill of materials says of an image in a package."""

    package: str
    name: str
    version: str
    location: str
    """Where it was downloaded from; "" or NOASSERTION for none."""
    sha256: str
    purls: tuple[str, ...]
    bills: tuple[tuple[str, str], ...] = ()
    """Bills of materials that came with it: where each is in the registry, and the name of its file."""


_FILE = re.compile(r"fetched as (\S+) ")


def _in_22(document):
    """Return the images in a document of SPDX 2.2."""
    elements = {element["SPDXID"]: element for element in document.get("packages", ())}
    found = set()
    for relationship in document.get("relationships", ()):
        image = elements.get(relationship["relatedSpdxElement"])
        if image and relationship["relationshipType"] == "CONTAINS":
            [checksum] = [one["checksumValue"] for one in image["checksums"] if one["algorithm"] == "SHA256"]
            references = {("PACKAGE-MANAGER", "purl"): [], ("OTHER", "sbom"): []}
            for one in image["externalRefs"]:
                references[one["referenceCategory"], one["referenceType"]].append(one["referenceLocator"])
            purls, bills = map(tuple, references.values())
            files = _FILE.findall(image.get("sourceInfo", ""))
            assert len(files) == len(bills)
            found.add(Named(elements[relationship["spdxElementId"]]["name"], image["name"], image["versionInfo"],
                            image["downloadLocation"], checksum, purls, tuple(zip(bills, files))))
    return found


def _in_30(document):
    """Return the images in a document of SPDX 3.0."""
    elements = {one["spdxId"]: one for one in document["@graph"] if one["type"] == "software_Package"}
    found = set()
    for relationship in document["@graph"]:
        if relationship.get("relationshipType") != "contains":
            continue
        for image in filter(None, map(elements.get, relationship["to"])):
            assert image["software_primaryPurpose"] == "container"
            [checksum] = [one["hashValue"] for one in image["verifiedUsing"] if one["algorithm"] == "sha256"]
            purls = tuple(one["identifier"] for one in image.get("externalIdentifier", ()))
            assert purls[:1] == tuple(filter(None, [image.get("software_packageUrl")]))
            bills = tuple((*one["locator"], *_FILE.findall(one["comment"])) for one in image.get("externalRef", ()))
            found.add(Named(elements[relationship["from"]]["name"], image["name"], image["software_packageVersion"],
                            image.get("software_downloadLocation", ""), checksum, purls, bills))
    return found


def in_package(build, package):
    """Return the images in the document of a package."""
    folder = build.tmp() / "deploy" / "spdx"
    for path in folder.glob(f"2.2/*/packages/{package}.spdx.json"):
        return _in_22(json.loads(path.read_text()))
    [path] = folder.glob(f"3.*/*/packages/package-{package}.spdx.json")
    return _in_30(json.loads(path.read_text()))


def in_image(build, image):
    """Return the images in the bill of materials of a root file system."""
    folder = build.image(image, "manifest").parent
    for path in folder.glob(f"{image}-*.rootfs.spdx.tar.zst"):
        data = subprocess.run(["zstd", "-dc", str(path.resolve())], check=True, capture_output=True, timeout=60).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            documents = [json.load(tar.extractfile(member)) for member in tar if member.name != "index.json"]
        return set().union(*map(_in_22, documents))
    [path] = {path.resolve() for path in folder.glob(f"{image}-*.rootfs.spdx.json")}
    return _in_30(json.loads(path.read_text()))
