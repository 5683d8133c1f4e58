# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""containerd's image store with the snapshotter overlayfs, as "docker load" or "docker pull" leaves it.

    io.containerd.metadata.v1.bolt/meta.db         images, blobs and snapshots of each namespace
    io.containerd.content.v1.content/blobs/sha256/ indexes, manifests, configs and layers as they are in the archive
    io.containerd.snapshotter.v1.overlayfs/        metadata.db, and snapshots/<number>/fs with the layers unpacked

containerd removes what is not referred to: labels of blobs lead from the image's target to its snapshots. An image whose
archive has the registry's own manifest gets what a pull leaves, any other what a load leaves.
Format: https://github.com/containerd/containerd (core/metadata/buckets.go, core/snapshots/storage/bolt.go,
plugins/snapshots/overlay, plugins/content/local)
"""

from __future__ import annotations

import os
import re
import stat
import struct
import typing

from dockin.image import manifests, reference
from dockin.store import base, bolt, deeptree, partition, snapshottree
from dockin.store.base import ArchivedImage, Folder, InvalidDataRoot, hex_of
from dockin.store.docker import chain_id

# The kernel mounts 500 on each other, and a container adds one.
MAX_LAYERS = 499

_SNAPSHOTTER = "overlayfs"
_METADATA = "io.containerd.metadata.v1.bolt"
_BLOBS = "io.containerd.content.v1.content/blobs/sha256"
_SNAPSHOTS = f"io.containerd.snapshotter.v1.{_SNAPSHOTTER}"
_LAYERS = f"{_SNAPSHOTS}/snapshots"
# Modes as containerd makes them.
_DIRECTORIES = {
    "": 0o700,
    _METADATA: 0o711,
    "io.containerd.content.v1.content": 0o755,
    "io.containerd.content.v1.content/blobs": 0o755,
    _BLOBS: 0o755,
    _SNAPSHOTS: 0o700,
    _LAYERS: 0o700,
    base.RECORDS: 0o700,
}
# containerd 2 makes it 4 at its first start, and changes nothing else of what is here.
_SCHEMA_VERSION = 3
_COMMITTED = b"\x03"
# Seconds before 1970.
_YEAR_1 = 62135596800
# Key and value of a label together.
_MAX_LABEL = 4096
# Bytes of a link's target that ext4 keeps in the inode.
_MAX_FAST_LINK = 59


class ContainerdStore:
    """A root directory of containerd."""

    max_layers = MAX_LAYERS
    layers = _LAYERS
    """Directory of the layers' directories."""
    content = "fs"
    """Where the files of a layer are in its directory."""

    def __init__(self, folder: Folder, byteorder: str, namespaces: typing.Sequence[str]) -> None:
        """byteorder, of the target, is little or big. Each of the namespaces gets the images.

        Raises InvalidDataRoot, also for a store that containerd has used; OSError.
        """
        self._folder = folder
        self._byteorder = byteorder
        self._namespaces = [name.encode() for name in namespaces]
        for name, mode in _DIRECTORIES.items():
            folder.make_directory(name, mode)
        self._meta = self._read(f"{_METADATA}/meta.db")
        self._snapshots = self._read(f"{_SNAPSHOTS}/metadata.db")
        self._snapshots.bucket(b"v1", b"snapshots")
        top = self._meta.bucket(b"v1")
        top[b"version"] = _varint(_SCHEMA_VERSION)
        if others := top.keys() - {b"version", *self._namespaces}:
            raise InvalidDataRoot(
                f"{folder.path} has images in the namespace {min(others).decode()}: write all with the same ones")
        now = struct.pack(">BqiH", 1, folder.epoch + _YEAR_1, 0, 0xFFFF)
        self._times = {b"createdat": now, b"updatedat": now}

    def _read(self, name: str) -> bolt.Bucket:
        """Return the tree in a database, an empty one where it is not there yet."""
        try:
            with open(self._folder.at(name), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return bolt.Bucket()
        try:
            found = bolt.parse(data, self._byteorder)
            if bolt.render(found, self._byteorder) == data:
                return found
        except bolt.InvalidDatabase:
            pass
        raise InvalidDataRoot(
            f"{self._folder.at(name)} was not written here: containerd has used this store, so nothing can be added to it")

    def _save(self) -> None:
        # Snapshots that meta.db does not have are removed, those that only meta.db has are errors.
        self._folder.write_file(f"{_SNAPSHOTS}/metadata.db", bolt.render(self._snapshots, self._byteorder), 0o600)
        self._folder.write_file(f"{_METADATA}/meta.db", bolt.render(self._meta, self._byteorder), 0o644)

    @staticmethod
    def layer_id(parent: str, diff_id: str) -> str:
        """Return the ID of a layer on a parent's, empty for the base."""
        return chain_id(parent, diff_id)

    def record(self, image: ArchivedImage, layers: list[str]) -> str:
        """Return the record of an image for dockin-preload, which keeps the layers in it when it repairs other images.

        The time of the image's config is the epoch until the image is loaded again.
        """
        index, _ = image.manifest()
        names = [f"{layer}.built" for layer in layers]
        return image.information.render_record(manifests.digest_of(index), names, f"built.{self._folder.epoch}")

    def has_layer(self, chain: str) -> bool:
        """Tell whether a layer is there."""
        return chain.encode() in self._keys(self._namespaces[0])

    def _keys(self, namespace: bytes) -> bolt.Bucket:
        """Return a namespace's snapshots by chain ID."""
        return self._meta.bucket(b"v1", namespace, b"snapshots", _SNAPSHOTTER.encode())

    def write_layer(
        self, chain: list[str], diff_id: str, unpack: base.Unpack, image: ArchivedImage, member: str
    ) -> int:
        """Write the last layer of a chain of IDs; return its size in bytes."""
        root = self._folder
        number = self._snapshots.bucket(b"v1", b"snapshots").sequence + 1
        home = f"{_LAYERS}/{number}"
        lower = [root.at(f"{_LAYERS}/{self._number(below)}/fs") for below in chain[-2::-1]]
        try:
            # What an interrupted run left.
            root.remove_directory(home)
            for name, mode in ((home, 0o700), (f"{home}/fs", 0o755), (f"{home}/work", 0o711)):
                root.make_directory(name, mode)
            size = unpack(snapshottree.Tree(root.at(f"{home}/fs"), root.epoch, lower)).size
            inodes, usage = _usage(root.at(f"{home}/fs"))
        except BaseException:
            root.remove_directory(home)
            raise
        self._snapshots.bucket(b"v1", b"snapshots").sequence = number
        for namespace in self._namespaces:
            self._add_snapshot(namespace, number, [one.encode() for one in chain[-2:]], inodes, usage)
        return size

    def _number(self, chain: str) -> int:
        """Return the number of a layer's directory, which is in the snapshot's name, too."""
        name = self._keys(self._namespaces[0]).bucket(chain.encode())[b"name"]
        assert isinstance(name, bytes)
        return int(name.split(b"/")[1])

    def _add_snapshot(self, namespace: bytes, number: int, chain: list[bytes], inodes: int, usage: int) -> None:
        """Add to both databases the last of one or two layers, which are given by chain ID."""
        keys = self._keys(namespace)
        keys.sequence = number
        name = b"%s/%d/%s" % (namespace, number, chain[-1])
        snapshot = keys.bucket(chain[-1])
        snapshot.update({**self._times, b"name": name})
        details = self._snapshots.bucket(b"v1", b"snapshots", name)
        details.update({**self._times, b"id": _uvarint(number), b"kind": _COMMITTED, b"inodes": _varint(inodes),
                        b"size": _varint(usage)})
        if len(chain) == 1:
            return
        below = keys.bucket(chain[0])
        snapshot[b"parent"] = chain[0]
        below.bucket(b"children")[chain[-1]] = b""
        details[b"parent"] = below[b"name"]
        pair = _uvarint(self._number(chain[0].decode())) + b"\0" + _uvarint(number)
        self._snapshots.bucket(b"v1", b"parents")[pair] = name

    def write_image(self, image: ArchivedImage, config: bytes, layers: typing.Iterable[tuple[str, str]], top: str) -> None:
        """Write what is no layer's directory: blobs with their labels, and the name.

        layers are diff IDs and names in the archive; top is the ID of the uppermost layer.
        """
        index, manifest = image.manifest()
        described, layers = manifests.parse(manifest), list(layers)
        assert isinstance(described, manifests.Manifest)
        if len(described.layers) != len(layers):
            raise image.error(f"its manifest has {len(described.layers)} layers, its config {len(layers)}")
        target = manifests.digest_of(index)
        pulled = target == image.information.source_digest
        source = image.information.reference if pulled else ""
        labels = {"config": described.config.digest}
        labels.update({f"l.{number}": layer.digest for number, layer in enumerate(described.layers)})
        self._add_blob(manifest, source, _references(labels))
        listed = manifests.parse(index)
        if isinstance(listed, manifests.Index):
            children = {f"m.{number}": child.digest for number, child in enumerate(listed.manifests)}
            self._add_blob(index, source, _references(children))
        self._add_blob(config, source, {f"containerd.io/gc.ref.snapshot.{_SNAPSHOTTER}": top} if top else {})
        for layer, (diff_id, member) in zip(described.layers, layers):
            self._write_layer_blob(image, layer, member)
            self._note_blob(layer.digest, layer.size, source, {"containerd.io/uncompressed": diff_id})
        self._add_name(image, listed.media_type, target, len(index), pulled)
        self._save()

    def _add_name(self, image: ArchivedImage, media_type: str, digest: str, size: int, pulled: bool) -> None:
        named = reference.parse(image.information.reference).tagged
        for namespace in self._namespaces:
            entry = bolt.Bucket(self._times)
            entry.bucket(b"target").update({**_encoded({"digest": digest, "mediatype": media_type}), b"size": _varint(size)})
            if not pulled:
                entry.bucket(b"annotations").update(_encoded({
                    "io.containerd.image.name": named.canonical, "org.opencontainers.image.ref.name": named.tag or ""}))
            self._meta.bucket(b"v1", namespace, b"images")[named.canonical.encode()] = entry

    def _add_blob(self, data: bytes, source: str, labels: dict[str, str]) -> None:
        digest = manifests.digest_of(data)
        self._folder.write_file(f"{_BLOBS}/{hex_of(digest)}", data, 0o444)
        self._note_blob(digest, len(data), source, labels)

    def _write_layer_blob(self, image: ArchivedImage, layer: manifests.Descriptor, member: str) -> None:
        path = f"{_BLOBS}/{hex_of(layer.digest)}"
        if os.path.lexists(self._folder.at(path)):
            return
        blob = image.blob(member)
        if (blob.digest, blob.size) != (layer.digest, layer.size):
            raise image.error(
                f"layer {layer.digest}, {layer.size} bytes, has {blob.digest}, {blob.size} bytes: the archive is damaged")
        self._folder.write_file(path, image.chunks(member), 0o444)

    def _note_blob(self, digest: str, size: int, source: str, labels: dict[str, str]) -> None:
        """Note a blob; source is the name of an image in the registry that has it, or empty."""
        for namespace in self._namespaces:
            entry = self._meta.bucket(b"v1", namespace, b"content", b"blob", digest.encode())
            entry.update({**self._times, b"size": _varint(size)})
            if labels:
                entry.bucket(b"labels").update(_encoded(labels))
            if source:
                _add_source(entry.bucket(b"labels"), source)


def _add_source(labels: bolt.Bucket, name: str) -> None:
    """Add a repository to those that a registry has a blob in."""
    named = reference.parse(name)
    host = re.sub(":[0-9]+$", "", named.registry).strip("[]")
    key = f"containerd.io/distribution.source.{host}".encode()
    before = labels.get(key)
    repositories = {named.repository.encode(), *(before.split(b",") if isinstance(before, bytes) else ())}
    value = b",".join(sorted(repositories))
    if len(key + value) <= _MAX_LABEL:
        labels[key] = value


def _references(digests: dict[str, str]) -> dict[str, str]:
    """Return the labels by which a blob keeps others."""
    return {f"containerd.io/gc.ref.content.{key}": digest for key, digest in digests.items()}


def _usage(path: str) -> tuple[int, int]:
    """Return the inodes of a layer's directory and the bytes that they take in ext4: containerd fills holes."""
    inodes, blocks = 1, 1
    seen: set[tuple[int, int]] = set()
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _, _, entries in deeptree.walk(root):
            for found in entries.values():
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
                inodes += 1
                if stat.S_ISDIR(found.st_mode):
                    blocks += 1
                elif not stat.S_ISLNK(found.st_mode) or found.st_size > _MAX_FAST_LINK:
                    blocks += -(-found.st_size // partition.BLOCK)
    finally:
        os.close(root)
    return inodes, blocks * partition.BLOCK


def _encoded(values: dict[str, str]) -> dict[bytes, bytes | bolt.Bucket]:
    return {key.encode(): value.encode() for key, value in values.items()}


def _uvarint(number: int) -> bytes:
    """Return a number as Go's PutUvarint writes it: seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _varint(number: int) -> bytes:
    """Return a number that is not negative as Go's PutVarint writes it."""
    return _uvarint(number << 1)
