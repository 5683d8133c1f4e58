# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""JSON as real programs of Go's read it: nothing that dockin takes is something else for Docker or skopeo."""

from __future__ import annotations

import json
import subprocess

import pytest

from dockin.errors import DockinError
from dockin.image import manifests, reference, tarball
from support import docker, images, readings

LAYER = images.layer({"word": "hello\n"}, "none")
ARCHITECTURE = images.host_architecture().split("/")[1]
CONFIG = readings.config(ARCHITECTURE, [LAYER.diff_id])
SHOWN = [change for change in (*readings.CONFIGS, *readings.ORDINARY) if change.runs]
SHOW = '{"architecture": {{json .Architecture}}, "os": {{json .Os}}, "labels": {{json .Config.Labels}}}'


def write(path, name, config, beside=None):
    """Write the archive of an image whose config may be anything, as both of Docker's stores read it.

    Its manifest names another config, too, if there is one beside: as "Config".
    """
    digest, layer = images.sha256(config), LAYER.blob("oci")
    manifest = images.manifest(images.Blob(images.OCI_CONFIG, config), [layer], images.host_architecture())
    if beside is not None:
        other = images.Blob(images.OCI_CONFIG, beside)
        content = {**json.loads(manifest.data), "Config": other.descriptor()}
        manifest = images.Manifest(images.OCI_MANIFEST, images.to_json(content), other)
    entry = {"Config": tarball.blob_name(digest), "RepoTags": [name], "Layers": [tarball.blob_name(layer.digest)]}
    annotations = {"io.containerd.image.name": reference.parse(name).canonical, "org.opencontainers.image.ref.name": "1"}
    index = {"schemaVersion": 2, "manifests": [manifest.descriptor(annotations=annotations)]}
    with open(path, "wb") as file:
        tar = tarball.TarWriter(file)
        for blob in {layer.data, config, manifest.data, manifest.config.data}:
            tar.add(tarball.blob_name(images.sha256(blob)), blob)
        tar.add("manifest.json", images.to_json([entry]))
        tar.add("index.json", images.to_json(index))
        tar.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        tar.close()
    return manifest


def inspect(folder, document, media_type, others):
    """Have skopeo show the image of an index or manifest: its exit code and what it says."""
    blobs = {document, LAYER.blob("oci").data, *others}
    entry = {"mediaType": media_type, "digest": images.sha256(document), "size": len(document)}
    with open(folder / "archive.tar", "wb") as file:
        tar = tarball.TarWriter(file)
        for blob in blobs:
            tar.add(tarball.blob_name(images.sha256(blob)), blob)
        tar.add("index.json", images.to_json({"schemaVersion": 2, "manifests": [entry]}))
        tar.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        tar.close()
    argv = ["skopeo", "inspect", f"oci-archive:{folder}/archive.tar"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    # The digest is of the document itself.
    return done.returncode, {**json.loads(done.stdout), "Digest": ""} if done.returncode == 0 else None


def ours(change):
    """Return what dockin reads, None where it refuses the document; that is so for those that are not ordinary."""
    try:
        found = manifests.parse_config(change.of(CONFIG))
    except DockinError:
        assert change not in readings.ORDINARY
        return None
    assert change in readings.ORDINARY
    return {"architecture": found.architecture, "os": found.os, "labels": found.labels}


def check(change, status, output):
    """Compare what a program reads, or that it fails, with what dockin does."""
    expected, theirs = ours(change), None
    if status == 0:
        read = {key.lower(): value for key, value in json.loads(output).items()}
        theirs = {"architecture": read["architecture"], "os": read["os"], "labels": read["labels"] or {}}
    if expected is not None:
        assert theirs == expected
    else:
        # Not refused for nothing: it is a failure, or another image than the one that a plain reader sees.
        assert theirs != {"architecture": ARCHITECTURE, "os": "linux", "labels": {"a": "b"}}


def test_docker(shelf, daemon):
    shelf.directory.mkdir()
    # Docker 29 loads an image without a look at its config's rootfs.
    shown = [change for change in SHOWN if daemon.kind.major < 29 or not change.name.startswith("RootFS")]
    for number, change in enumerate(shown):
        archive, name = shelf.directory / f"{number}.tar", shelf.name(f"{number}")
        shelf.names.add(name)
        write(archive, name, change.of(CONFIG))
        commands = f"docker load --quiet --input {archive} >&2 && docker image inspect --format '{SHOW}' {name}"
        done = daemon.run(["sh", "-c", commands], check=False)
        check(change, done.returncode, done.stdout)


@pytest.mark.parametrize("daemon", [docker.CONTAINERD], ids=str, indirect=True)
def test_a_config_beside_the_config(shelf, daemon):
    """Docker shows the one of the manifest's "Config", which a plain reader does not look at."""
    shelf.directory.mkdir()
    shelf.names.add(shelf.name())
    archive = shelf.directory / "archive.tar"
    manifest = write(archive, shelf.name(), CONFIG, CONFIG.replace(b'"b"', b'"other"'))
    daemon.docker("load", "--input", str(archive))
    assert daemon.docker("image", "inspect", "--format", "{{.Config.Labels.a}}", shelf.name()) == "other"
    with pytest.raises(manifests.InvalidManifest, match="take its key 'Config' for 'config'"):
        manifests.parse(manifest.data)


# Of rootfs it shows nothing.
@pytest.mark.parametrize("change", [change for change in SHOWN if not change.name.startswith("RootFS")], ids=str)
def test_skopeo(tmp_path, change):
    write(tmp_path / "archive.tar", "team/app:1", change.of(CONFIG))
    done = subprocess.run(["skopeo", "inspect", f"oci-archive:{tmp_path}/archive.tar"], capture_output=True, text=True)
    check(change, done.returncode, done.stdout)


@pytest.mark.parametrize("change", [change for change in (*readings.MANIFESTS, *readings.INDEXES) if change.runs], ids=str)
def test_skopeo_on_manifests_and_indexes(tmp_path, change):
    """What dockin refuses is no image for skopeo, or another one."""
    manifest = images.image([LAYER], images.host_architecture())
    document, media_type, others = manifest.data, images.OCI_MANIFEST, [manifest.config.data]
    if change in readings.INDEXES:
        document, media_type, others = images.index([manifest]).data, images.OCI_INDEX, [manifest.data, *others]
    document = readings.compact(json.loads(document))
    status, plain = inspect(tmp_path, document, media_type, others)
    assert status == 0 and manifests.parse(document)
    assert inspect(tmp_path, change.of(document), media_type, others) != (0, plain)
    with pytest.raises(DockinError):
        manifests.parse(change.of(document))
