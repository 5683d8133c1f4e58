# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The archive in real Docker daemons: whatever the layers were, it loads, has the right digests, and runs."""

from __future__ import annotations

import pytest

from dockin.image import archive
from support import images
from support.installed import COMPRESSIONS


def identity(daemon, name):
    """Return .Id and the RepoDigests of an image in a daemon."""
    image_id, *digests = daemon.docker(
        "image", "inspect", "--format", "{{.Id}}{{range .RepoDigests}} {{.}}{{end}}", name).split(" ")
    return image_id, digests


def expect(installed, daemon, layers):
    """Return what identity() must give for an installed image."""
    if daemon.kind.store == "classic":
        return installed.config_digest, []
    digest = installed.information.manifest_digest if layers == archive.DECOMPRESSED else installed.top_digest
    return digest, [f"{installed.name.partition(':')[0]}@{digest}"]


@pytest.mark.parametrize("layers", archive.LAYER_MODES)
@pytest.mark.parametrize("inside", ["none", "gzip", "zstd"])
def test_layers_load_and_run(shelf, daemon, inside, layers):
    installed = shelf.install(shelf.image(compression=inside), layers=layers)
    done = daemon.run(["docker", "load", "--quiet", "--input", str(installed.archive)], check=False)
    if inside == "zstd" and layers == archive.REGISTRY and not daemon.kind.reads_zstd:
        # A limit of Docker before 23, which README.md tells.
        assert done.returncode != 0
        return
    assert done.stdout == f"Loaded image: {installed.name}\n"
    assert identity(daemon, installed.name) == expect(installed, daemon, layers)
    assert daemon.run_image(installed.name) == shelf.output()


@pytest.mark.parametrize("outside", COMPRESSIONS)
def test_outside_compression_loads(shelf, daemon, outside):
    installed = shelf.install(shelf.image(), compression=outside)
    done = daemon.run(["docker", "load", "--quiet", "--input", str(installed.archive)], check=False)
    if outside == "zstd" and not daemon.kind.reads_zstd:
        assert done.returncode != 0
        return
    assert done.stdout == f"Loaded image: {installed.name}\n"
    assert daemon.run_image(installed.name) == shelf.output()


@pytest.mark.parametrize("layers", archive.LAYER_MODES)
def test_a_layer_listed_twice(shelf, daemon, layers):
    twice = images.layer({"twice": "2\n"})
    installed = shelf.install(shelf.image(extra=[twice, images.layer({"between": "\n"}), twice]), layers=layers)
    daemon.docker("load", "--input", str(installed.archive))
    assert identity(daemon, installed.name) == expect(installed, daemon, layers)
    assert daemon.run_image(installed.name, "cat", "/word", "/twice") == f"{shelf.output()}\n2"


def test_one_tar_in_two_compressions(shelf, daemon):
    """Two blobs of the registry that hold the same layer: one diff ID, two digests."""
    tar = images.layer({"same": "same\n"}).tar
    both = [images.Layer(tar, "gzip"), images.Layer(tar, "none")]
    for layers in archive.LAYER_MODES:
        installed = shelf.install(shelf.image(extra=both), shelf.name(layers), layers=layers)
        daemon.docker("load", "--input", str(installed.archive))
        assert daemon.run_image(installed.name, "cat", "/same") == "same"


def test_registry_layers_keep_the_index_digest(shelf, daemon):
    """With the registry's own index in the archive, of which one platform is there, image@digest works offline."""
    own = shelf.image()
    other = images.image([images.layer({"other": "other\n"})], platform="linux/mips64le")
    index = images.index([other, own])
    installed = shelf.install(index, layers=archive.REGISTRY)
    daemon.docker("load", "--input", str(installed.archive))
    assert identity(daemon, installed.name) == expect(installed, daemon, archive.REGISTRY)
    assert daemon.run_image(installed.name) == shelf.output()
    pinned = f"{installed.name.partition(':')[0]}@{index.digest}"
    if daemon.kind.store == "containerd":
        assert daemon.run_image(pinned) == shelf.output()
    else:
        # A classic store forgets the registry's digests: why DOCKIN_LAYERS is not enough there.
        assert daemon.run(["docker", "image", "inspect", pinned], check=False).returncode != 0


@pytest.mark.parametrize("layers", archive.LAYER_MODES)
def test_entries_without_a_platform(shelf, daemon, layers):
    """Docker would find the first one or none in such an index, so the archive names the manifest."""
    own, other = shelf.image(), images.image([images.layer({"other": "other\n"})], platform="linux/mips64le")
    index = images.index([other, own, images.attestation(own)], platforms=["", "", "unknown/unknown"])
    installed = shelf.install(index, layers=layers)
    daemon.docker("load", "--input", str(installed.archive))
    if daemon.kind.store == "containerd":
        assert identity(daemon, installed.name)[0] == installed.information.manifest_digest
    assert daemon.run_image(installed.name) == shelf.output()


@pytest.mark.parametrize("kind", ["application/octet-stream", ""])
def test_config_of_an_unusual_type(shelf, daemon, kind):
    own = shelf.image()
    config = images.Blob(kind, own.config.data)
    for layers in archive.LAYER_MODES:
        installed = shelf.install(images.manifest(config, own.layers, own.platform), shelf.name(layers), layers=layers)
        daemon.docker("load", "--input", str(installed.archive))
        assert daemon.run_image(installed.name) == shelf.output()


@pytest.mark.parametrize("registry", ["host.example:5000", "MyACR.example", "myacr.example"])
def test_name_with_registry(shelf, daemon, registry):
    """Docker keeps the case of the host, and tells names by it."""
    installed = shelf.install(shelf.image(), f"{registry}/team/app{shelf.number}:v1")
    daemon.docker("load", "--input", str(installed.archive))
    assert daemon.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", installed.name) == installed.name
    assert daemon.run_image(installed.name) == shelf.output()


def test_docker_saves_what_was_loaded(shelf, daemon):
    """An image that loads but can't be saved or pushed again is not whole."""
    installed = shelf.install(shelf.image())
    daemon.docker("load", "--input", str(installed.archive))
    saved = shelf.directory / "saved.tar"
    daemon.docker("save", "--output", str(saved), installed.name)
    daemon.docker("image", "rm", installed.name)
    daemon.docker("load", "--input", str(saved))
    assert daemon.run_image(installed.name) == shelf.output()
