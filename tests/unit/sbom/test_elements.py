# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.sbom.elements: what a bill of materials says of an image."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from dockin.image import reference
from dockin.sbom import elements
from dockin.target.imageinfo import ImageInformation
from dockin.target.unpacked import Attached, UnpackedImage

MANIFEST, INDEX = "sha256:" + "1" * 64, "sha256:" + "2" * 64
INFORMATION = ImageInformation(
    reference="docker.io/library/busybox:1.36.1",
    name="busybox:1.36.1",
    platform="linux/arm64/v8",
    runtime="docker",
    archive="busybox-1.36.1.tar.xz",
    archive_size=1,
    unpacked_size=2,
    layers_size=3,
    image_id="sha256:" + "3" * 64,
    manifest_digest=MANIFEST,
    source_digest=INDEX,
)


@pytest.mark.parametrize(
    ("text", "architecture", "expected"),
    [
        ("busybox:1.36.1", "amd64", "pkg:oci/busybox@{}?arch=amd64&repository_url=docker.io/library/busybox&tag=1.36.1"),
        ("ghcr.io/org/team/app:v1", "", "pkg:oci/app@{}?repository_url=ghcr.io/org/team/app&tag=v1"),
        ("host:5000/app", "arm", "pkg:oci/app@{}?arch=arm&repository_url=host:5000/app"),
        ("[::1]:5000/my_app:x-1.0_a", "", "pkg:oci/my_app@{}?repository_url=%5B::1%5D:5000/my_app&tag=x-1.0_a"),
    ],
)
def test_purl(text, architecture, expected):
    assert elements.purl(reference.parse(text), INDEX, architecture) == expected.format(INDEX)


def unpacked(source_digest, attached=()):
    return UnpackedImage("docker.io/library/busybox:1.36.1", "linux/arm64/v8", image_id=INFORMATION.image_id,
                         manifest_digest="sha256:" + "5" * 64, registry_digest=MANIFEST, source_digest=source_digest,
                         unpacked_size=2, layers_size=3, attached=attached)


def test_image_of_an_index():
    assert elements.from_registry(unpacked(INDEX)) == elements.Element(
        name="docker.io/library/busybox",
        version="1.36.1",
        sha256="1" * 64,
        purls=(
            f"pkg:oci/busybox@{MANIFEST}?arch=arm64&repository_url=docker.io/library/busybox&tag=1.36.1",
            f"pkg:oci/busybox@{INDEX}?repository_url=docker.io/library/busybox&tag=1.36.1",
        ),
        download_location=f"docker://docker.io/library/busybox@{INDEX}",
    )


def test_image_without_an_index():
    found = elements.from_registry(unpacked(MANIFEST))
    assert found.purls == (f"pkg:oci/busybox@{MANIFEST}?arch=arm64&repository_url=docker.io/library/busybox&tag=1.36.1",)
    assert found.download_location == f"docker://docker.io/library/busybox@{MANIFEST}"


def test_image_from_a_source_tree():
    """docker save wrote it, and no registry has it."""
    assert elements.from_source_tree(INFORMATION) == elements.Element("docker.io/library/busybox", "1.36.1", "1" * 64)


def test_bills_that_are_attached():
    bill = Attached("busybox-1.36.1.spdx.json", "application/spdx+json", "4" * 64, f"docker://docker.io/b@{INDEX}")
    assert elements.from_registry(unpacked(INDEX, (bill,))).attached == (bill,)
    assert elements.comment(bill).endswith(
        f"fetched as busybox-1.36.1.spdx.json (application/spdx+json, sha256:{'4' * 64})")


def test_where_images_are():
    assert elements.place("/var/lib/docker", "docker", False) == "In Docker's data-root /var/lib/docker"
    assert elements.place("/data", "docker", True) == "In Docker's data-root /data, in the partition image dockin-ext4"
    assert elements.place("/usr/lib/containers/storage", "podman", False) == (
        "In Podman's image store /usr/lib/containers/storage")
    assert elements.place("/data", "containerd", False) == "In containerd's image store /data"


def archive_of(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w|") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), 1_500_000_000, 0o640
            tar.addfile(member, io.BytesIO(content))
    data.seek(0)
    return data


def index_of(files):
    return {"documents": [{"filename": name, "sha1": hashlib.sha1(content).hexdigest()} for name, content in files.items()]}


@pytest.mark.parametrize("indent", [None, 4])
def test_document_in_an_archive_is_replaced(indent):
    """All else, and the order, stay; the index, indented with SPDX_PRETTY, has the new document's digest."""
    before = {"image.spdx.json": b"{}", "other.spdx.json": b'{"name": "other"}'}
    after = {**before, "image.spdx.json": b'{"name": "image"}' * 1000}
    new = io.BytesIO()
    index = json.dumps(index_of(before), indent=indent).encode()
    elements.replace(archive_of({**before, "index.json": index}), new, "image.spdx.json", after["image.spdx.json"])
    new.seek(0)
    with tarfile.open(fileobj=new) as tar:
        members = tar.getmembers()
        found = {member.name: tar.extractfile(member).read() for member in members}
    assert json.loads(found.pop("index.json")) == index_of(after)
    assert list(found.items()) == list(after.items())
    assert {(member.mtime, member.mode) for member in members} == {(1_500_000_000, 0o640)}
