# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images as elements of a software bill of materials.

Package URLs: https://github.com/package-url/purl-spec, type oci.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.parse
from dataclasses import dataclass
from typing import IO

from dockin.image import platforms, reference
from dockin.image.reference import ImageReference
from dockin.recipe import source
from dockin.target import runtimes
from dockin.target.imageinfo import ImageInformation
from dockin.target.unpacked import Attached, UnpackedImage


@dataclass(frozen=True)
class Element:
    """One image in a package, as an element of an SPDX document."""

    name: str
    """docker.io/library/busybox"""
    version: str
    """The tag."""
    sha256: str
    """Of the registry's manifest, which identifies one platform's image; 64 hex digits."""
    purls: tuple[str, ...] = ()
    """Of the manifest, then of the index if there is one; empty for an image that is in no registry."""
    download_location: str = ""
    """docker://docker.io/library/busybox@sha256:…, as for skopeo; "" for an image that is in no registry."""
    attached: tuple[Attached, ...] = ()


def from_registry(image: UnpackedImage) -> Element:
    """Return the element for a registry's image. Raises DockinError."""
    named = reference.parse(image.reference)
    purls = [purl(named, image.registry_digest, platforms.parse(image.platform).architecture)]
    if image.source_digest != image.registry_digest:
        purls.append(purl(named, image.source_digest))
    location = f"{source.SCHEME}://{named.name}@{image.source_digest}"
    return Element(named.name, named.tag or "", _hex(image.registry_digest), tuple(purls), location, image.attached)


def from_source_tree(information: ImageInformation) -> Element:
    """Return the element for an image that is in no registry, but in devtool's source tree."""
    named = reference.parse(information.reference)
    return Element(named.name, named.tag or "", _hex(information.manifest_digest))


def comment(bill: Attached) -> str:
    """Return a document's comment on a bill of materials that was fetched with an image."""
    return (
        f"Bill of materials that is attached to the image in its registry; fetched as {bill.file} ({bill.media_type},"
        f" sha256:{bill.sha256})"
    )


def place(directory: str, runtime: str, partition: bool) -> str:
    """Return a document's comment on the place of a root file system's images on the target."""
    stores = {runtimes.PODMAN.name: "Podman's image store", runtimes.CONTAINERD.name: "containerd's image store"}
    what = stores.get(runtime, "Docker's data-root")
    return f"In {what} {directory}" + (", in the partition image dockin-ext4" if partition else "")


def replace(old: IO[bytes], new: IO[bytes], name: str, document: bytes) -> None:
    """Copy an archive of create-spdx 2.2, an uncompressed tar, and replace the document in one file.

    Its index.json, the last file, has the SHA-1 of each document.
    """
    with tarfile.open(fileobj=old, mode="r|") as before, tarfile.open(fileobj=new, mode="w|") as after:
        for member in before:
            content: IO[bytes] | None = before.extractfile(member)
            if member.name == name:
                content, member.size = io.BytesIO(document), len(document)
            elif member.name == "index.json" and content:
                index = json.load(content)
                for one in index["documents"]:
                    if one["filename"] == name:
                        one["sha1"] = hashlib.sha1(document).hexdigest()
                data = json.dumps(index, sort_keys=True).encode()
                content, member.size = io.BytesIO(data), len(data)
            after.addfile(member, content)


def purl(named: ImageReference, digest: str, architecture: str = "") -> str:
    """Return the package URL of an index or of one platform's manifest, which has an architecture.

    pkg:oci/busybox@sha256:…?arch=arm64&repository_url=docker.io/library/busybox&tag=1.36.1
    """
    qualifiers = {"arch": architecture, "repository_url": named.name, "tag": named.tag or ""}
    query = "&".join(f"{key}={_quote(value)}" for key, value in qualifiers.items() if value)
    return f"pkg:oci/{_quote(named.repository.rpartition('/')[2])}@{_quote(digest)}?{query}"


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _quote(text: str) -> str:
    # Versions of the specification before ECMA-427 wrote %3A for the colon; their readers accept both.
    return urllib.parse.quote(text, safe="/:")
