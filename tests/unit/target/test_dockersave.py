# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Archives that somebody else has made, in place of ours."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tarfile

import pytest

from dockin.image import archive, platforms, reference, tarball
from dockin.target import dockersave, imageinfo
from support import images, installed, layers

NAME = reference.parse("busybox:1.36.1")
AMD64 = platforms.parse("linux/amd64")
LAYERS = [images.layer({"a": "first\n"}), images.layer({"b": "second\n"}, "none")]
IMAGE = images.image(LAYERS, "linux/amd64")
OTHER = images.image([images.layer({"c": "own\n"})], "linux/amd64")


def assembled(folder, content, mode):
    source = folder / "source.tar"
    installed.write_tarball(source, content, AMD64)
    image = tarball.load(str(source), AMD64, None)
    path = folder / "busybox-1.36.1.tar"
    result = archive.assemble(str(source), image, NAME, mode, str(path))
    return path, result, imageinfo.ImageInformation(
        NAME.canonical, NAME.familiar, "linux/amd64", "docker", path.name, result.size, result.size, result.layers_size,
        image.manifest.config.digest, result.manifest_digest, image.digest)


def change(path, edit, drop=()):
    """Write an archive anew with its files edited: edit takes and gives {name: bytes}."""
    with tarfile.open(path) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar}
    files = {name: data for name, data in edit(files).items() if name not in drop}
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
@pytest.mark.parametrize("content", [IMAGE, images.index([IMAGE, images.image(LAYERS, "linux/arm64/v8")])])
def test_our_own_archive_is_what_it_was(tmp_path, content, mode):
    path, _, wanted = assembled(tmp_path, content, mode)
    assert dockersave.describe(str(path), wanted) == wanted


def test_another_image_of_the_same_name(tmp_path):
    _, _, wanted = assembled(tmp_path, IMAGE, archive.DECOMPRESSED)
    path, result, own = assembled(tmp_path, OTHER, archive.DECOMPRESSED)
    found = dockersave.describe(str(path), wanted)
    assert (found.image_id, found.manifest_digest) == (OTHER.config.digest, result.manifest_digest)
    assert (found.layers_size, found.unpacked_size) == (own.layers_size, path.stat().st_size)
    # It came from no registry: what is in the archive is all there is to name.
    assert found.source_digest == found.manifest_digest
    assert (found.reference, found.platform) == (wanted.reference, wanted.platform)


def test_a_sparse_file_counts_with_its_holes(tmp_path):
    sparse = images.Layer(layers.gnu_tar({"hole": (1 << 30, {})}, "--format=gnu"))
    _, _, wanted = assembled(tmp_path, IMAGE, archive.DECOMPRESSED)
    path, _, _ = assembled(tmp_path, images.image([sparse], "linux/amd64"), archive.REGISTRY)
    assert dockersave.describe(str(path), wanted).layers_size == (1 << 30) + 512


def renamed(files):
    [entry] = json.loads(files["manifest.json"])
    return {**files, "manifest.json": json.dumps([{**entry, "RepoTags": ["other:1"]}]).encode()}


def damaged(files):
    top = json.loads(files["index.json"])["manifests"][0]["digest"]
    return {**files, f"blobs/sha256/{top[7:]}": b"{}"}


@pytest.mark.parametrize("edit, drop, message", [
    (renamed, (), "has no image busybox:1.36.1: tag it so in Docker"),
    (damaged, (), "is damaged"),
    (dict, ("index.json",), "has no index.json: save it with Docker 25 or later"),
    (dict, ("manifest.json",), "is no archive of 'docker save': it has no manifest.json"),
    (lambda files: {**files, "manifest.json": b"[]"}, (), "has no image busybox:1.36.1"),
    (lambda files: {**files, "manifest.json": b"{"}, (), "is no archive of 'docker save'"),
    (lambda files: {**files, "manifest.json": b"[1]"}, (), "is no archive of 'docker save'"),
    (lambda files: {**files, "index.json": b"[]"}, (), "is no archive of 'docker save'"),
    (lambda files: {**files, "index.json": b'{"manifests": []}'}, (), "no manifest in index.json"),
])
def test_errors(tmp_path, edit, drop, message):
    path, _, wanted = assembled(tmp_path, IMAGE, archive.DECOMPRESSED)
    change(path, edit, drop)
    with pytest.raises(dockersave.InvalidArchive, match=re.escape(message)):
        dockersave.describe(str(path), wanted)


def test_wrong_platform(tmp_path):
    path, _, wanted = assembled(tmp_path, IMAGE, archive.DECOMPRESSED)
    with pytest.raises(dockersave.InvalidArchive, match="has an image for linux/amd64, linux/arm/v7 is wanted"):
        dockersave.describe(str(path), dataclasses.replace(wanted, platform="linux/arm/v7"))


def test_no_tar(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"no tar")
    _, _, wanted = assembled(tmp_path, IMAGE, archive.DECOMPRESSED)
    with pytest.raises(dockersave.InvalidArchive, match="is no archive"):
        dockersave.describe(str(path), wanted)
