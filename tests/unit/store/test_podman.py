# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Additional image stores: the files that Podman will look for. What Podman makes of them: tests/docker."""

from __future__ import annotations

import json
import os
import stat

from dataclasses import replace

import pytest

from dockin.store import writer
from dockin.store.podman import MAX_LAYERS, OverlayStore, link_id
from dockin.store.writer import InvalidDataRoot
from support import images, installed, layers
from support.fixtures import like_root  # noqa: F401
from support.trees import snapshot

EPOCH = 1_700_000_000
BASE = images.layer({"etc/motd": "hello\n", "bin/sh": images.Entry(b"#!"), "lib": images.Symlink("usr/lib")}, "gzip")
UPPER = images.layer({"etc/motd": "changed\n", "srv/data": "x" * 5000}, "none")

pytestmark = pytest.mark.usefixtures("like_root")


def install(tmp_path, content, name="team/app:1", **options):
    made = installed.install(tmp_path / "archives", content, name, **options)
    made.rewrite(runtime="podman")
    return made


def write(root, *made):
    return writer.write(str(root), [writer.read_source(str(one.info)) for one in made], EPOCH)


def documents(root):
    """Return the entries of layers.json and images.json, by ID."""
    found = [json.loads((root / name).read_text()) for name in ("overlay-layers/layers.json", "overlay-images/images.json")]
    return tuple({entry["id"]: entry for entry in entries} for entries in found)


def test_files(tmp_path):
    content = images.image([BASE, UPPER])
    made = install(tmp_path, content, layers="registry")
    root = tmp_path / "store"
    base = BASE.diff_id[7:]
    upper = images.sha256(f"{base}+{UPPER.diff_id[7:]}".encode())[7:]
    assert write(root, made) == {base: 15, upper: 5008}
    found, listed = documents(root)
    owners = {"uidset": [0], "gidset": [0]}
    blob = BASE.blob("oci")
    assert found == {
        base: {"id": base, "created": "2023-11-14T22:13:20Z", "compressed-diff-digest": blob.digest,
               "compressed-size": blob.size, "diff-digest": BASE.diff_id, "diff-size": len(BASE.tar), "compression": 2,
               **owners},
        upper: {"id": upper, "parent": base, "created": "2023-11-14T22:13:20Z", "compressed-diff-digest": UPPER.diff_id,
                "compressed-size": len(UPPER.tar), "diff-digest": UPPER.diff_id, "diff-size": len(UPPER.tar), **owners},
    }
    [image] = listed.values()
    config, manifest = made.config_digest, content.digest
    assert (image["id"], image["digest"], image["layer"]) == (config[7:], manifest, upper)
    assert image["names"] == image["names-history"] == ["docker.io/team/app:1"]
    assert image["big-data-digests"] == {"manifest": manifest, f"manifest-{manifest}": manifest, config: config}
    folder = root / "overlay-images" / config[7:]
    assert sorted(images.sha256(file.read_bytes()) for file in folder.iterdir()) == sorted([config, manifest, manifest])
    assert (root / "overlay" / upper / "lower").read_text() == f"l/{link_id(base)}"
    assert (root / "overlay" / upper / "lower-layers").read_text() == base
    assert (root / "overlay/l" / link_id(upper) / "srv/data").read_text() == "x" * 5000
    assert sorted(os.listdir(root / "overlay" / base)) == ["diff", "empty", "link", "merged", "work"]
    record = (root / "dockin/team-app-1").read_text()
    layers = [f"{layer}.{link_id(layer)}" for layer in (base, upper)]
    assert record == made.information.render_record(made.config_digest, layers)
    assert record.endswith(f"\nmade={layers[1]}\nlayers={' '.join(layers)}\n")


@pytest.mark.parametrize("compression", installed.COMPRESSIONS)
def test_the_same_bytes_from_any_compression_and_in_any_steps(tmp_path, compression):
    contents = [images.image([BASE, UPPER]), images.image([BASE])]
    made = [install(tmp_path / compression, content, f"team/{number}:1", compression=compression)
            for number, content in enumerate(contents)]
    plain = [install(tmp_path / "plain", content, f"team/{number}:1") for number, content in enumerate(contents)]
    write(tmp_path / "one", *plain)
    for one in made:
        write(tmp_path / "two", one)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    times = {status[2] for name, status in snapshot(tmp_path / "one").items() if "/diff/" not in name}
    assert times == {EPOCH * 10**9}


def test_a_name_moves_to_a_later_image_and_one_image_has_several(tmp_path):
    root = tmp_path / "store"
    first = install(tmp_path / "a", images.image([BASE]))
    write(root, first)
    second = install(tmp_path / "b", images.image([BASE, UPPER]))
    assert len(write(root, second)) == 1
    write(root, install(tmp_path / "c", images.image([BASE, UPPER]), "team/app:latest"))
    _, listed = documents(root)
    assert "names" not in listed[first.config_digest[7:]]
    assert listed[second.config_digest[7:]]["names"] == ["docker.io/team/app:latest", "docker.io/team/app:1"]


@pytest.mark.parametrize(("created", "written"), [
    ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
    ("2024-01-02T03:04:05.120000Z", "2024-01-02T03:04:05.12Z"),
    ("2024-01-02T03:04:05.1234567891+02:00", "2024-01-02T03:04:05.123456789+02:00"),
    ("0001-01-01T00:00:00Z", None),
    ("2024-13-02T03:04:05Z", None),
    ("yesterday", None),
    (None, None),
])
def test_when_an_image_was_made(tmp_path, created, written):
    """A time that Podman can't read would make it refuse the whole store."""
    content = images.image([BASE])
    config = json.loads(content.config.data)
    data = images.to_json({**config, "created": created} if created is not None else
                          {key: value for key, value in config.items() if key != "created"})
    manifest = json.loads(content.data)
    manifest["config"].update(digest=images.sha256(data), size=len(data))
    content = replace(content, config=images.Blob(content.config.media_type, data), data=images.to_json(manifest))
    write(tmp_path / "store", install(tmp_path, content))
    [image] = documents(tmp_path / "store")[1].values()
    assert image["created"] == (written or "2023-11-14T22:13:20Z")


@pytest.mark.skipif(os.geteuid() != 0, reason="unavailable: owners need root")
def test_a_layers_directory_is_as_that_of_the_layer_below(tmp_path):
    base = layers.layer(("/", {**layers.DIRECTORY, "mode": 0o751, "uid": 9, "gid": 8}), ("a", {}, b"x"))
    root = tmp_path / "store"
    written = write(root, install(tmp_path, images.image([base, UPPER])))
    found = [(root / "overlay" / layer / "diff").stat() for layer in written]
    assert [(stat.S_IMODE(one.st_mode), one.st_uid, one.st_gid) for one in found] == [(0o751, 9, 8)] * 2


@pytest.mark.parametrize("compression", installed.COMPRESSIONS)
def test_a_damaged_archive(tmp_path, compression):
    """Wherever it is damaged, nothing of the layer is left."""
    content = images.image([BASE, images.filler_layer("f", 200_000)])
    made = install(tmp_path, content, compression=compression)
    data = bytearray(made.archive.read_bytes())
    data[len(data) // 2] ^= 1
    made.archive.write_bytes(data)
    root = tmp_path / "store"
    with pytest.raises(Exception, match="damaged|Damaged|decompress|Corrupt|corrupt"):
        write(root, made)
    kept, listed = documents(root)
    assert not listed
    assert {*os.listdir(root / "overlay")} == {"l", *kept}
    assert {*os.listdir(root / "overlay/l")} == {link_id(layer) for layer in kept}
    splits = {f"{layer}.tar-split.gz" for layer in kept}
    assert {*os.listdir(root / "overlay-layers")} == {"layers.json", "layers.lock", *splits}


def test_a_store_that_podman_has_used(tmp_path):
    (tmp_path / "store/overlay-containers").mkdir(parents=True)
    with pytest.raises(InvalidDataRoot, match="has overlay-containers/: Podman has used this store"):
        write(tmp_path / "store", install(tmp_path, images.image([BASE])))


def test_layer_ids():
    """As github.com/containers/container-libs has them, image/storage, layerID."""
    assert OverlayStore.layer_id("", BASE.diff_id) == BASE.diff_id[7:]
    assert OverlayStore.layer_id("a" * 64, BASE.diff_id) == images.sha256(f"{'a' * 64}+{BASE.diff_id[7:]}".encode())[7:]
    assert len(link_id("a" * 64)) == 26 and link_id("a" * 64).isalnum()
    assert MAX_LAYERS == 500
