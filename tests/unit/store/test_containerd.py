# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""containerd's store: the databases, blobs and layers that containerd will look for. What it makes of them: tests/docker."""

from __future__ import annotations

import functools
import os

import pytest

from dockin.store import containerd, writer
from dockin.store.docker import chain_id
from dockin.store.writer import InvalidDataRoot
from support import images, installed, layers, snapshots
from support.fixtures import like_root  # noqa: F401
from support.trees import snapshot

EPOCH = 1_700_000_000
BASE = images.layer({"etc/motd": "hello\n", "bin/sh": images.Entry(b"#!"), "lib": images.Symlink("usr/lib")}, "gzip")
UPPER = images.layer({"etc/motd": "changed\n", "srv/data": "x" * 5000}, "none")
CHAIN = [BASE.diff_id, chain_id(BASE.diff_id, UPPER.diff_id)]

pytestmark = pytest.mark.usefixtures("like_root")


def install(tmp_path, content, name="team/app:1", **options):
    return installed.install(tmp_path / "archives", content, name, **options)


def write(root, *made, byteorder="little", namespaces=("moby",), epoch=EPOCH):
    make = functools.partial(containerd.ContainerdStore, byteorder=byteorder, namespaces=namespaces)
    return writer.write(str(root), [writer.read_source(str(one.info)) for one in made], epoch, make_store=make)


def refers(**digests):
    return {f"containerd.io/gc.ref.content.{key.replace('_', '.')}": digest for key, digest in digests.items()}


def test_an_image_as_docker_pull_leaves_it(tmp_path):
    """With the layers that the registry has."""
    content = images.image([BASE, UPPER])
    index = images.index([content])
    made = install(tmp_path, index, "registry.example.com:5000/team/app:1", layers="registry")
    root = tmp_path / "store"
    assert write(root, made) == {CHAIN[0]: 15, CHAIN[1]: 5008}
    found = snapshots.read(root, "moby")
    assert found.images == {"registry.example.com:5000/team/app:1": {
        "target": {"digest": index.digest, "mediatype": index.media_type, "size": len(index.data)}}}
    source = {"containerd.io/distribution.source.registry.example.com": "team/app"}
    base, upper = (layer.blob("oci") for layer in (BASE, UPPER))
    assert found.blobs == {
        index.digest: {"size": len(index.data), "labels": {**source, **refers(m_0=content.digest)}},
        content.digest: {"size": len(content.data), "labels": {
            **source, **refers(config=content.config.digest, l_0=base.digest, l_1=upper.digest)}},
        content.config.digest: {"size": content.config.size, "labels": {
            **source, "containerd.io/gc.ref.snapshot.overlayfs": CHAIN[1]}},
        base.digest: {"size": base.size, "labels": {**source, "containerd.io/uncompressed": BASE.diff_id}},
        upper.digest: {"size": upper.size, "labels": {**source, "containerd.io/uncompressed": UPPER.diff_id}},
    }
    blobs = {**index.blobs(), index.digest: index}
    assert found.files == {digest[7:]: (0o444, blobs[digest].data) for digest in found.blobs}
    assert found.snapshots == {CHAIN[0]: {"children": {CHAIN[1]: ""}}, CHAIN[1]: {"parent": CHAIN[0]}}
    assert found.details == {
        CHAIN[0]: {"kind": "\3", "inodes": 6, "size": 5 * 4096},
        CHAIN[1]: {"kind": "\3", "inodes": 5, "size": 6 * 4096, "parent": CHAIN[0]}}
    assert (found.folders[CHAIN[1]] / "fs/srv/data").read_text() == "x" * 5000
    assert found.modes == {
        "": 0o700, "io.containerd.metadata.v1.bolt": 0o711, "io.containerd.content.v1.content": 0o755,
        "io.containerd.content.v1.content/blobs": 0o755, snapshots.BLOBS: 0o755, snapshots.SNAPSHOTTER: 0o700,
        f"{snapshots.SNAPSHOTTER}/snapshots": 0o700, snapshots.META: 0o644, snapshots.DETAILS: 0o600}
    # The time of the blobs says that the image was not loaded since. A repair keeps the layers that a record has.
    record = (root / "dockin" / made.info.stem).read_text()
    assert record == made.information.render_record(
        index.digest, [f"{chain}.built" for chain in CHAIN], "built.1700000000")
    assert record.endswith(f"\nmade=built.1700000000\nlayers={CHAIN[0]}.built {CHAIN[1]}.built\n")
    assert {path.stat().st_mtime for path in (root / snapshots.BLOBS).iterdir()} == {EPOCH}


def test_an_image_as_docker_load_leaves_it(tmp_path):
    """With a manifest of our own, and names of the archive."""
    made = install(tmp_path, images.image([BASE, UPPER]))
    write(tmp_path / "store", made)
    found = snapshots.read(tmp_path / "store", "moby")
    [(name, image)] = found.images.items()
    assert name == "docker.io/team/app:1" and image["target"]["digest"] == made.information.manifest_digest
    assert image["annotations"] == {
        "io.containerd.image.name": "docker.io/team/app:1", "org.opencontainers.image.ref.name": "1"}
    assert {digest: one["labels"] for digest, one in found.blobs.items()} == {
        made.information.manifest_digest: refers(config=made.config_digest, l_0=BASE.diff_id, l_1=UPPER.diff_id),
        made.config_digest: {"containerd.io/gc.ref.snapshot.overlayfs": CHAIN[1]},
        BASE.diff_id: {"containerd.io/uncompressed": BASE.diff_id},
        UPPER.diff_id: {"containerd.io/uncompressed": UPPER.diff_id}}


def test_numbers_and_times(tmp_path):
    """By the sequences containerd numbers the next snapshots: on an image's number a container would remove its layer."""
    write(tmp_path, install(tmp_path, images.image([BASE, UPPER])))
    meta = snapshots.database(tmp_path / snapshots.META)[b"v1"]
    details = snapshots.database(tmp_path / snapshots.DETAILS)[b"v1"]
    keys = meta[b"moby"][b"snapshots"][b"overlayfs"]
    first, second = (b"moby/%d/%s" % (number, chain.encode()) for number, chain in enumerate(CHAIN, 1))
    assert [keys[chain.encode()][b"name"] for chain in CHAIN] == [first, second]
    assert (keys.sequence, details[b"snapshots"].sequence) == (2, 2)
    assert details[b"snapshots"][second][b"id"] == b"\2" and [*details[b"parents"].items()] == [(b"\1\0\2", second)]
    assert meta[b"version"] == b"\6"
    # Go's time.MarshalBinary of 2023-11-14 22:13:20 UTC
    assert keys[CHAIN[0].encode()][b"createdat"] == bytes.fromhex("010000000edce5e800 00000000 ffff")


def test_images_share_blobs_and_layers(tmp_path):
    """By content, whatever the compression of a layer, and each repository of a host is noted."""
    other = images.image([BASE, images.layer({"other": "x"})])
    plain = images.image([images.Layer(BASE.tar, "none"), UPPER])
    contents = {"team/app:1": images.image([BASE, UPPER]), "team/other:1": other, "team/plain:1": plain, "a/b:1": other}
    made = [install(tmp_path, content, name, layers="registry") for name, content in contents.items()]
    root = tmp_path / "store"
    assert len(write(root, *made)) == 3
    found = snapshots.read(root, "moby")
    assert len(found.images) == 4 and len(found.folders) == 3
    assert len(found.snapshots[BASE.diff_id]["children"]) == 2
    source = "containerd.io/distribution.source.docker.io"
    assert found.blobs[BASE.blob("oci").digest]["labels"][source] == "a/b,team/app,team/other"
    assert found.blobs[BASE.diff_id]["labels"] == {source: "team/plain", "containerd.io/uncompressed": BASE.diff_id}


def test_too_many_repositories(tmp_path):
    """containerd takes no label of more than 4096 bytes."""
    made = [install(tmp_path, images.image([BASE]), f"{letter * 100}/{'x' * 100}:{number}", layers="registry")
            for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    write(tmp_path / "store", *made)
    label = snapshots.read(tmp_path / "store", "moby").blobs[BASE.blob("oci").digest]["labels"]
    repositories = label["containerd.io/distribution.source.docker.io"].split(",")
    assert repositories == [f"{letter * 100}/{'x' * 100}" for letter in "abcdefghijklmnopqrstuvwxyz"[: len(repositories)]]
    assert len(repositories) == (4096 - 43) // 202


def test_several_namespaces_share_directories(tmp_path):
    made = install(tmp_path, images.image([BASE, UPPER]))
    root = tmp_path / "store"
    write(root, made, namespaces=("k8s.io", "default"))
    one, other = (snapshots.read(root, name) for name in ("k8s.io", "default"))
    assert one == other and len(one.folders) == 2
    assert len(os.listdir(root / snapshots.SNAPSHOTTER / "snapshots")) == 2
    with pytest.raises(InvalidDataRoot, match="has images in the namespace default: write all with the same ones"):
        write(root, made, namespaces=("moby",))


def test_a_name_goes_over_to_another_image(tmp_path):
    first = install(tmp_path, images.image([BASE]))
    write(tmp_path / "store", first)
    second = install(tmp_path, images.image([UPPER]))
    write(tmp_path / "store", second)
    [image] = snapshots.read(tmp_path / "store", "moby").images.values()
    assert image["target"]["digest"] == second.information.manifest_digest


def test_one_by_one_is_the_same_as_at_once(tmp_path):
    made = [install(tmp_path, images.image([BASE, images.layer({word: word})]), f"team/{word}:1") for word in "abc"]
    write(tmp_path / "once", *made)
    for one in made:
        write(tmp_path / "steps", one)
    write(tmp_path / "big", *made, byteorder="big")
    assert snapshot(tmp_path / "once") == snapshot(tmp_path / "steps")
    assert (snapshots.read(tmp_path / "big", "moby", "big").snapshots
            == snapshots.read(tmp_path / "once", "moby").snapshots)


def test_an_image_without_layers(tmp_path):
    made = install(tmp_path, images.image([]))
    write(tmp_path / "store", made)
    found = snapshots.read(tmp_path / "store", "moby")
    assert found.blobs.keys() == {made.information.manifest_digest, made.config_digest} and not found.folders
    assert "labels" not in found.blobs[made.config_digest]


@pytest.mark.parametrize("name", [snapshots.META, snapshots.DETAILS])
@pytest.mark.parametrize("change", ["used", "damaged", "other order"])
def test_a_store_that_containerd_has_used(tmp_path, name, change):
    made = install(tmp_path, images.image([BASE]))
    write(tmp_path / "store", made, byteorder="big" if change == "other order" else "little")
    path = tmp_path / "store" / name
    data = bytearray(path.read_bytes())
    if change == "used":
        # As by the next transaction.
        data[5000] ^= 1
    elif change == "damaged":
        data[4 * 4096 : 5 * 4096] = bytes(4096)
    path.write_bytes(data)
    if change == "other order":
        write(tmp_path / "little", made)
        other = snapshots.META if name == snapshots.DETAILS else snapshots.DETAILS
        (tmp_path / "store" / other).write_bytes((tmp_path / "little" / other).read_bytes())
    with pytest.raises(InvalidDataRoot, match=f"{name} was not written here: containerd has used this store"):
        write(tmp_path / "store", made)


@pytest.mark.parametrize("compression", installed.COMPRESSIONS)
def test_a_damaged_archive(tmp_path, compression):
    """Wherever it is damaged, no part of an image is left."""
    first = install(tmp_path, images.image([BASE]), "team/first:1")
    content = images.image([BASE, images.filler_layer("f", 200_000)])
    made = install(tmp_path, content, compression=compression)
    data = bytearray(made.archive.read_bytes())
    data[len(data) // 2] ^= 1
    made.archive.write_bytes(data)
    root = tmp_path / "store"
    with pytest.raises(Exception, match="damaged|Damaged|decompress|Corrupt|corrupt"):
        write(root, first, made)
    found = snapshots.read(root, "moby")
    assert [*found.images] == ["docker.io/team/first:1"] and [*found.folders] == [BASE.diff_id]
    assert os.listdir(root / snapshots.SNAPSHOTTER / "snapshots") == ["1"]
    assert len(found.files) == 3


def test_hostile_layers_stay_inside(tmp_path):
    hostile = layers.layer(("../up", {}, b"x"), ("out", layers.link("/")), ("out/in", {}, b"y"), ("etc/.wh.gone", {}))
    write(tmp_path / "store", install(tmp_path, images.image([BASE, hostile])))
    assert sorted(os.listdir(tmp_path)) == ["archives", "store"]
    found = snapshots.read(tmp_path / "store", "moby")
    [top] = {*found.folders} - {BASE.diff_id}
    fs = found.folders[top] / "fs"
    assert sorted(os.listdir(fs)) == ["etc", "in", "out", "up"] and os.readlink(fs / "out") == "/"
