# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images with one damaged piece and right digests all the way above it: what a registry that means ill can serve.

An input is a program: its first byte chooses the piece, the others damage it. With damage that leaves the chain whole, the
reader gets behind the hashes, to the code that a flipped bit never reaches.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib

from dataclasses import dataclass
from typing import Any

import zstandard

from support import images

FILES = images.layer({"etc/motd": "words\n" * 50, "bin/x": images.Entry(b"x" * 99), "etc/link": images.Symlink("motd")})
LAYERS = {packing: images.Layer(FILES.tar, packing).blob("oci") for packing in ("gzip", "zstd", "none")}
_ABOUT = images.image([], "linux/amd64", labels={"org.opencontainers.image.licenses": "MIT"}).config.data
_LIMIT = 1 << 22  # bytes that a layer of ours is unpacked to, to know its diff_id
_BLOBS = "blobs/sha256/"

# What stands in place of a value: wrong types, borders, and words that mean something elsewhere.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1 << 31, 1 << 63, 10**30, 0.5, float("inf"), float("nan"), "", "x", "x" * 300,
    "\x1b[2J\n", "\ud800", "linux", "windows", "unknown", "amd64", "arm", "v7",
    "../../etc/passwd", "sha256:" + "0" * 64, "sha256:" + "A" * 64, "sha512:" + "0" * 128, "sha256:",
    [], {}, [[]], [None], [{}], {"": ""}, images.OCI_INDEX, images.OCI_MANIFEST, images.DOCKER_MANIFEST,
    images.OCI_CONFIG, images.DOCKER_CONFIG, images.OCI_LAYER, images.OCI_LAYER + "+gzip",
    images.DOCKER_LAYER + ".gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar", "application/octet-stream",
)
KEYS = ("schemaVersion", "mediaType", "manifests", "config", "layers", "digest", "size", "platform", "os", "architecture",
        "variant", "rootfs", "diff_ids", "history", "urls", "data", "annotations", "Labels", "created", "tag", "fsLayers")


class Choices:
    """Numbers out of an input, and what is left of it; zeros when it has ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, limit: int) -> int:
        """Return a number below limit."""
        found = self._data[self._place : self._place + 1] or b"\0"
        self._place += 1
        return found[0] % limit

    def rest(self) -> bytes:
        """Return the bytes that no number was made of."""
        return self._data[self._place :]


@dataclass(frozen=True)
class Chain:
    """An image: its top's digest and all its pieces, each under the digest that it has."""

    top: str
    blobs: dict[str, bytes]


def make(data: bytes) -> Chain:
    """Return the image that an input describes."""
    choices = Choices(data)
    piece, damage = PIECES[choices.number(len(PIECES))]
    layers = []
    for packing, layer in LAYERS.items():
        if packing == piece:
            layers.append(images.Blob(layer.media_type, damage(layer.data, choices)))
        elif packing != "zstd":  # it takes a process each time
            layers.append(layer)
    about = json.loads(_ABOUT)
    about["rootfs"]["diff_ids"] = [_diff_id(layer.data) for layer in layers]

    def document(name: str, value: Any, media_type: str) -> images.Blob:
        content = json.dumps(value).encode()
        return images.Blob(media_type, damage(content, choices) if piece == name else content)

    config = document("config", about, images.OCI_CONFIG)
    manifest = document("manifest", {
        "schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }, images.OCI_MANIFEST)
    entry = manifest.descriptor(platform={"os": "linux", "architecture": "amd64"})
    other = {**entry, "digest": "sha256:" + "1" * 64, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}
    index = document("index", {
        "schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [other, entry],
    }, images.OCI_INDEX)
    return Chain(index.digest, {blob.digest: blob.data for blob in (index, manifest, config, *layers)})


def pack(chain: Chain, headers: bytes = b"") -> bytes:
    """Return the image tarball of an image.

    Each four bytes of headers change one of a member's header: number of the member, place (two bytes), the new value.
    """
    index = {"schemaVersion": 2, "manifests": [
        {"mediaType": images.OCI_INDEX, "digest": chain.top, "size": len(chain.blobs[chain.top])}]}
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    members.update((_BLOBS + digest[len("sha256:"):], data) for digest, data in chain.blobs.items())
    stream = io.BytesIO()
    places = []
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            places.append(stream.tell())
            tar.addfile(info, io.BytesIO(data))
    packed = bytearray(stream.getvalue())
    for start in range(0, len(headers) - len(headers) % 4, 4):
        member, place, value = struct.unpack(">BHB", headers[start : start + 4])
        where = places[member % len(places)]
        packed[where + place % tarfile.BLOCKSIZE] = value
        # The sum of the header's bytes, its own field taken for blanks: right, so that the reader goes on.
        block = packed[where : where + tarfile.BLOCKSIZE]
        packed[where + 148 : where + 156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    return bytes(packed)


def as_it_is(data: bytes, choices: Choices) -> bytes:
    """Put what is left of the input in place of a piece."""
    return choices.rest()


def restructured(data: bytes, choices: Choices) -> bytes:
    """Change values, keys and structure of a JSON document, up to seven times; it stays JSON, and the chain below whole."""
    value = json.loads(data)
    for _ in range(choices.number(8)):
        nodes = list(_nodes(value))
        container, key = nodes[choices.number(len(nodes))]
        action = choices.number(6)
        if action == 0:
            del container[key]
        elif action == 1 and isinstance(container, list):
            container.append(container[key])
        elif action == 1:
            container[KEYS[choices.number(len(KEYS))]] = container[key]
        elif action == 2:
            other, name = nodes[choices.number(len(nodes))]
            container[key] = json.loads(json.dumps(other[name]))
        elif action == 3:
            container[key] = {KEYS[choices.number(len(KEYS))]: container[key]}
        elif action == 4 and isinstance(container[key], str):
            text = container[key]
            container[key] = text[: choices.number(len(text) + 1)] + chr(choices.number(256)) + text[choices.number(80):]
        else:
            container[key] = VALUES[choices.number(len(VALUES))]
        if not isinstance(value, dict) or not list(_nodes(value)):
            break
    return json.dumps(value).encode()


def repacked(data: bytes, choices: Choices) -> bytes:
    """Put a gzip, or a zstd, of what is left of the input in place of a layer, in members of any length and zeros."""
    made = b""
    for _ in range(1 + choices.number(4)):
        start, zeros, skipped = choices.number(256), choices.number(3), choices.number(2)
        content = FILES.tar[start:] if choices.number(2) else choices.rest()
        if data.startswith(b"\x1f\x8b"):
            made += gzip.compress(content, 1, mtime=0) + bytes(zeros)
        else:
            made += b"\x5a\x2a\x4d\x18\x02\0\0\0ab" * skipped + zstandard.compress(content, 1)
    return made


# A piece and how it is damaged.
PIECES = (
    ("index", as_it_is), ("manifest", as_it_is), ("config", as_it_is),
    ("index", restructured), ("manifest", restructured), ("config", restructured),
    ("gzip", as_it_is), ("zstd", as_it_is), ("none", as_it_is),
    ("gzip", repacked), ("zstd", repacked),
)


# No change for restructured(), the whole tar in one member for repacked().
_NO_DAMAGE = bytes(4) + b"\1" + bytes(3)


def seeds() -> tuple[bytes, ...]:
    """Return an input for each way to damage a piece, that leaves it as it is: all of them are good images."""
    whole = make(b"\x03\0")
    (entry,) = [entry for entry in json.loads(whole.blobs[whole.top])["manifests"] if entry["digest"] in whole.blobs]
    manifest = whole.blobs[entry["digest"]]
    config = whole.blobs[json.loads(manifest)["config"]["digest"]]
    pieces = {"index": whole.blobs[whole.top], "manifest": manifest, "config": config}
    pieces.update((packing, layer.data) for packing, layer in LAYERS.items())
    return tuple(
        bytes([number]) + (pieces[name] if damage is as_it_is else _NO_DAMAGE)
        for number, (name, damage) in enumerate(PIECES)
    )


def unpacked(data: bytes) -> bytes | None:
    """Return what a layer is without its compression, by other code than the layer's; None where that refuses it."""
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as plain:
                return plain.read(_LIMIT)
        if data.startswith(b"\x28\xb5\x2f\xfd") or data[1:4] == b"\x2a\x4d\x18" and 0x50 <= data[0] <= 0x5F:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=True)
            return bytes(reader.read(_LIMIT))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, MemoryError):
        return None
    return data


def _diff_id(data: bytes) -> str:
    content = unpacked(data)
    return "sha256:" + hashlib.sha256(data if content is None else content).hexdigest()


def _nodes(value: Any) -> Any:
    """Yield container and key of each value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _nodes(inner)
