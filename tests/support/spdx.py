# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the documents that OE-core's create-spdx wrote, 2.2 or 3.0, say of the images in packages."""

from __future__ import annotations

import hashlib
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
        if relationship.get("relationshipType") != "contains" or _is_rootfs(elements[relationship["from"]]):
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


def texts_of_package(build, package):
    """Return what the document of a package says of the package in words, and its home page."""
    folder = build.tmp() / "deploy" / "spdx"
    # In 2.2 it is the recipe that has them.
    patterns = (f"2.2/*/recipes/recipe-{package}.spdx.json", f"3.*/*/packages/package-{package}.spdx.json")
    [document] = [json.loads(path.read_text()) for pattern in patterns for path in folder.glob(pattern)]
    keys = ("summary", "description", "homepage", "software_homePage")
    elements = [one for one in document.get("packages", document.get("@graph")) if one.get("name") == package]
    return {element[key] for element in elements for key in keys if key in element}


def in_package(build, package):
    """Return the images in the document of a package."""
    folder = build.tmp() / "deploy" / "spdx"
    for path in folder.glob(f"2.2/*/packages/{package}.spdx.json"):
        return _in_22(json.loads(path.read_text()))
    [path] = folder.glob(f"3.*/*/packages/package-{package}.spdx.json")
    return _in_30(json.loads(path.read_text()))


def in_image(build, image):
    """Return the images in the bill of materials of a root file system."""
    documents = _of_image(build, image)
    return _in_30(documents[0]) if "@graph" in documents[0] else set().union(*map(_in_22, documents))


def in_data_root(build, image):
    """Return (name, SHA-256 of the manifest, comment) of each image that a root file system's element contains."""
    documents = _of_image(build, image)
    if "@graph" in documents[0]:
        elements = {one["spdxId"]: one for one in documents[0]["@graph"] if one["type"] == "software_Package"}
        found = [(elements[to], relationship["comment"]) for relationship in documents[0]["@graph"]
                 if relationship.get("relationshipType") == "contains" and _is_rootfs(elements[relationship["from"]])
                 for to in relationship["to"] if to in elements]
        return sorted((one["name"], one["verifiedUsing"][0]["hashValue"], comment) for one, comment in found)
    elements = {f"DocumentRef-{document['name']}:{one['SPDXID']}": one
                for document in documents for one in document.get("packages", ())}
    [rootfs] = [document for document in documents if document["name"].startswith(f"{image}-")
                and document["packages"][0]["SPDXID"] == f"SPDXRef-Image-{document['name']}"]
    found = [(elements[one["relatedSpdxElement"]], one["comment"]) for one in rootfs["relationships"]
             if one["relationshipType"] == "CONTAINS" and "comment" in one]
    assert {one["spdxElementId"] for one in rootfs["relationships"] if "comment" in one} <= {rootfs["packages"][0]["SPDXID"]}
    return sorted((one["name"], one["checksums"][0]["checksumValue"], comment) for one, comment in found)


def _is_rootfs(element):
    return element.get("software_primaryPurpose") == "archive"


def _of_image(build, image):
    """Return the documents of a root file system's bill of materials: one of SPDX 3.0, or several of 2.2."""
    folder = build.image(image, "manifest").parent
    for path in folder.glob(f"{image}-*.rootfs.spdx.tar.zst"):
        data = subprocess.run(["zstd", "-dc", str(path.resolve())], check=True, capture_output=True, timeout=60).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        index = json.loads(files.pop("index.json"))["documents"]
        assert {one["filename"]: one["sha1"] for one in index} == {
            name: hashlib.sha1(content).hexdigest() for name, content in files.items()}
        return list(map(json.loads, files.values()))
    [path] = {path.resolve() for path in folder.glob(f"{image}-*.rootfs.spdx.json")}
    return [json.loads(path.read_text())]
