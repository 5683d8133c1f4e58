# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Archives: what "docker load" reads, assembled from an image tarball, with the same bytes on any host.

One tar that is both an OCI image layout and Docker's own format, as "docker save" writes it since Docker 25:

    blobs/sha256/<hex>   index (only with registry layers), manifest, config, layers
    manifest.json        read by the classic stores: config, layers and name
    index.json           read by the containerd store: the manifest (or the registry's index), and its name
    oci-layout

Formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md and
https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import tarfile
import threading
import typing
import zlib
from dataclasses import dataclass

from dockin import manifests, tarball
from dockin.errors import DockinError
from dockin.reference import ImageReference

DECOMPRESSED = "decompressed"
REGISTRY = "registry"
LAYER_MODES = (DECOMPRESSED, REGISTRY)

_BLOBS = "blobs/sha256/"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Longest output of one step of the decompressor, so that memory stays flat whatever the input.
_STEP = 4 << 20


class InvalidLayer(DockinError):
    """A layer's content is not what the config says, or can't be read."""


@dataclass(frozen=True)
class Archive:
    """What there is to know about an assembled archive."""

    manifest_digest: str
    """Of the manifest in the archive: the registry's, or with decompressed layers our own."""
    size: int
    """Bytes of the archive, not compressed."""
    layers_size: int
    """Bytes of all uncompressed layers: what they take up once loaded."""


def check_mode(mode: str) -> str:
    """Return the value of DOCKIN_LAYERS if it is one. Raises DockinError."""
    if mode not in LAYER_MODES:
        raise DockinError(f"Invalid DOCKIN_LAYERS = {mode!r}: expected {' or '.join(map(repr, LAYER_MODES))}")
    return mode


def assemble(source: str, image: tarball.Image, reference: ImageReference, mode: str, target: str) -> Archive:
    """Write the archive of an image that lies in the image tarball source; return what it is.

    reference names the image in Docker. mode is one of LAYER_MODES: "decompressed" lets the outer compression see the
    layers' content, "registry" keeps them, and with them the digests that the registry knows.
    Raises InvalidLayer, InvalidTarball, OSError; target is then not complete.
    """
    check_mode(mode)
    blobs = tarball.read(source)
    missing = [layer.digest for layer in image.manifest.layers if layer.digest not in blobs]
    if missing:
        raise tarball.InvalidTarball(f"Incomplete image tarball {source}: layer {missing[0]} is missing")
    with open(target, "wb") as file:
        writer = _TarWriter(file)
        if mode == REGISTRY:
            layers, layers_size = _keep_layers(writer, image, blobs)
            top = _keep_documents(writer, image)
            manifest_digest = image.manifest_digest
        else:
            layers, layers_size = _decompress_layers(writer, image, blobs)
            top = _write_manifest(writer, image, layers)
            manifest_digest = str(top["digest"])
        writer.add(_BLOBS + image.manifest.config.digest[7:], image.config_bytes)
        writer.add("manifest.json", _json([_docker_entry(image, reference, [layer.digest for layer in layers])]))
        writer.add("index.json", _json(_oci_index(top, reference)))
        writer.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        writer.close()
        return Archive(manifest_digest, file.tell(), layers_size)


def _decompress_layers(
    writer: _TarWriter, image: tarball.Image, blobs: dict[str, tarball.Extent]
) -> tuple[list[manifests.Descriptor], int]:
    """Write each layer once, uncompressed; return them in the image's order and the sum of their sizes."""
    sizes: dict[str, int] = {}
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids):
        if diff_id not in sizes:
            hasher = hashlib.sha256()
            content = _tee(_decompress(tarball.chunks(blobs[layer.digest]), layer.digest), hasher)
            sizes[diff_id] = writer.stream(_BLOBS + diff_id[7:], content)
            _check_diff_id(layer, diff_id, hasher.hexdigest())
    layers = [manifests.Descriptor(manifests.OCI_LAYER, diff_id, sizes[diff_id]) for diff_id in image.config.diff_ids]
    return layers, sum(layer.size for layer in layers)


def _keep_layers(
    writer: _TarWriter, image: tarball.Image, blobs: dict[str, tarball.Extent]
) -> tuple[list[manifests.Descriptor], int]:
    """Write each layer once, as the registry has it; return them and the sum of their uncompressed sizes."""
    sizes: dict[str, int] = {}
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids):
        if layer.digest in sizes:
            continue
        writer.stream(_BLOBS + layer.digest[7:], tarball.chunks(blobs[layer.digest]))
        hasher, sizes[layer.digest] = hashlib.sha256(), 0
        for chunk in _tee(_decompress(tarball.chunks(blobs[layer.digest]), layer.digest), hasher):
            sizes[layer.digest] += len(chunk)
        _check_diff_id(layer, diff_id, hasher.hexdigest())
    return list(image.manifest.layers), sum(sizes[layer.digest] for layer in image.manifest.layers)


def _keep_documents(writer: _TarWriter, image: tarball.Image) -> dict[str, object]:
    """Write index and manifest byte-exact; return the descriptor of the top.

    The containerd store takes an index of which it has only one platform, and knows the image by the index digest then,
    as after a pull: measured with Docker 26.1.
    """
    for digest, data in image.documents.items():
        if digest != image.manifest.config.digest:
            writer.add(_BLOBS + digest[7:], data)
    media_type = manifests.parse(image.top).media_type
    return {"mediaType": media_type, "digest": image.digest, "size": len(image.top)}


def _write_manifest(writer: _TarWriter, image: tarball.Image, layers: list[manifests.Descriptor]) -> dict[str, object]:
    """Write a manifest for the uncompressed layers; return its descriptor."""
    config = image.manifest.config
    data = _json(
        {
            "schemaVersion": 2,
            "mediaType": manifests.OCI_MANIFEST,
            "config": {"mediaType": manifests.OCI_CONFIG, "digest": config.digest, "size": len(image.config_bytes)},
            "layers": [{"mediaType": x.media_type, "digest": x.digest, "size": x.size} for x in layers],
        }
    )
    digest = manifests.digest_of(data)
    writer.add(_BLOBS + digest[7:], data)
    return {"mediaType": manifests.OCI_MANIFEST, "digest": digest, "size": len(data)}


def _docker_entry(image: tarball.Image, reference: ImageReference, layers: list[str]) -> dict[str, object]:
    return {
        "Config": _BLOBS + image.manifest.config.digest[7:],
        "RepoTags": [reference.tagged.familiar],
        "Layers": [_BLOBS + digest[7:] for digest in layers],
    }


def _oci_index(top: dict[str, object], reference: ImageReference) -> dict[str, object]:
    # containerd takes the first annotation as the image's name; the second is the OCI's, a tag.
    annotations = {
        "io.containerd.image.name": reference.tagged.canonical,
        "org.opencontainers.image.ref.name": reference.tag or "",
    }
    return {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_INDEX,
        "manifests": [{**top, "annotations": annotations}],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _check_diff_id(layer: manifests.Descriptor, diff_id: str, actual: str) -> None:
    if diff_id != "sha256:" + actual:
        raise InvalidLayer(
            f"Checksum mismatch: the uncompressed layer {layer.digest} has sha256:{actual}, the config says {diff_id}"
        )


def _tee(chunks: typing.Iterable[bytes], hasher: typing.Any) -> typing.Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def _decompress(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield a layer's tar, whatever its compression; like Docker, believe the bytes and not the media type."""
    first = next(chunks, b"")
    rest = _chain(first, chunks)
    if first.startswith(_GZIP_MAGIC):
        return _gunzip(rest, digest)
    if first.startswith(_ZSTD_MAGIC):
        return _unzstd(rest, digest)
    return rest


def _chain(first: bytes, chunks: typing.Iterator[bytes]) -> typing.Iterator[bytes]:
    yield first
    yield from chunks


def _gunzip(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield the content of a gzip stream of any number of members; zeros may follow."""
    decoder = None
    data = b""
    try:
        for chunk in chunks:
            data += chunk
            while data:
                if decoder is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decoder = zlib.decompressobj(wbits=31)
                yield decoder.decompress(data, _STEP)
                data = decoder.unconsumed_tail
                if decoder.eof:
                    data = decoder.unused_data
                    decoder = None
        while decoder is not None and not decoder.eof:
            rest = decoder.decompress(b"", _STEP)
            if not rest:
                raise InvalidLayer(f"Damaged layer {digest}: its gzip stream ends too early")
            yield rest
    except zlib.error as error:
        raise InvalidLayer(f"Damaged layer {digest}: {error}") from error


def _unzstd(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield the content of a zstd stream, through the program zstd: Python has it only since 3.14.

    OE-core has it among its HOSTTOOLS.
    """
    try:
        process = subprocess.Popen(
            ["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise InvalidLayer(f"Layer {digest} is compressed with zstd: install the program zstd on this host") from error
    assert process.stdin and process.stdout
    failures: list[BaseException] = []
    feeder = threading.Thread(target=_feed, args=(chunks, process.stdin, failures), daemon=True)
    feeder.start()
    try:
        while True:
            chunk = process.stdout.read(tarball.CHUNK)
            if not chunk:
                break
            yield chunk
        feeder.join()
        if failures:
            raise failures[0]
        if process.wait() != 0:
            raise InvalidLayer(f"Damaged layer {digest}: zstd can't decompress it")
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
        feeder.join()


def _feed(chunks: typing.Iterator[bytes], stdin: typing.IO[bytes], failures: list[BaseException]) -> None:
    """Write chunks to a process that may end before it has read them all."""
    try:
        with contextlib.suppress(BrokenPipeError), stdin:
            for chunk in chunks:
                stdin.write(chunk)
    except (OSError, DockinError) as error:
        failures.append(error)


class _TarWriter:
    """Writes a tar in one pass, also of files whose size is known only at their end."""

    def __init__(self, file: typing.BinaryIO) -> None:
        self._file = file

    def add(self, name: str, data: bytes) -> None:
        self.stream(name, iter([data]))

    def stream(self, name: str, chunks: typing.Iterable[bytes]) -> int:
        """Write a file of these chunks; return its size in bytes."""
        start = self._file.tell()
        self._file.write(bytes(tarfile.BLOCKSIZE))
        size = 0
        for chunk in chunks:
            self._file.write(chunk)
            size += len(chunk)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        end = self._file.tell()
        self._file.seek(start)
        # GNU format: a size above 8 GiB stays within the one block that was left for the header.
        self._file.write(tarball.member(name, size).tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end)
        return size

    def close(self) -> None:
        """End the tar as tar does: two blocks of zeros, filled up to a record."""
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
