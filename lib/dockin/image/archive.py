# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Archives: the input of "docker load", assembled from an image tarball, with the same bytes on any host.

One tar is both an OCI image layout and Docker's own format, as "docker save" writes it since Docker 25:

    blobs/sha256/<hex>   index (only with registry layers), manifest, config, layers
    manifest.json        read by the classic stores: config, layers and name
    index.json           read by the containerd store: the manifest (or the registry's index), and its name
    oci-layout

Formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md and
https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
import json
import re
import subprocess
import tempfile
import threading
import typing
import zlib
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.image import layersize, layertar, manifests, tarball
from dockin.image.reference import ImageReference

DECOMPRESSED = "decompressed"
REGISTRY = "registry"
LAYER_MODES = (DECOMPRESSED, REGISTRY)

_GZIP_MAGIC = b"\x1f\x8b"
# A zstd frame, or a skippable frame, with which pzstd begins: RFC 8878, 3.1. Docker detects zstd in the same way.
_ZSTD_MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
# Other compressions of a whole archive that docker load and podman load can read.
XZ_MAGIC = b"\xfd7zXZ\0"
BZIP2_MAGIC = b"BZh"
# Largest output of one step of the decompressor: it bounds memory for any input.
_STEP = 4 << 20
# Largest input of one step: at the end of each gzip member zlib returns a copy of the rest.
_PIECE = 16 << 10
_ZSTD_WINDOW = 128
"""Largest window of a zstd frame in MiB, which the program needs as memory: the usual limit, and that of `zstd --long`."""


class InvalidLayer(DockinError):
    """A layer is unreadable, or does not match the config."""


@dataclass(frozen=True)
class Archive:
    """An assembled archive."""

    manifest_digest: str
    """Of the manifest in the archive: the registry's, or a new one for decompressed layers."""
    size: int
    """Bytes of the uncompressed archive."""
    layers_size: int
    """Unpacked size of all layers in bytes, as layersize counts it."""


def check_mode(mode: str) -> str:
    """Return a valid value of DOCKIN_LAYERS. Raises DockinError."""
    if mode not in LAYER_MODES:
        raise DockinError(f"Invalid DOCKIN_LAYERS = {mode!r}: expected {' or '.join(map(repr, LAYER_MODES))}")
    return mode


def assemble(source: str, image: tarball.Image, reference: ImageReference, mode: str, target: str) -> Archive:
    """Write the archive of the image in the image tarball source; return a description of it.

    reference names the image in Docker. mode is one of LAYER_MODES: "decompressed" lets the outer compression work on the
    layers' content, "registry" keeps the layers' bytes, and so the registry's digests.
    Raises InvalidLayer, InvalidTarball, OSError; target is then incomplete.
    """
    check_mode(mode)
    blobs = tarball.read(source)
    missing = [layer.digest for layer in image.manifest.layers if layer.digest not in blobs]
    if missing:
        raise tarball.InvalidTarball(f"Incomplete image tarball {source}: layer {missing[0]} is missing")
    with open(target, "wb") as file:
        writer = tarball.TarWriter(file)
        if mode == REGISTRY:
            layers, layers_size = _keep_layers(writer, image, blobs)
            top = _keep_documents(writer, image)
            manifest_digest = image.manifest_digest
        else:
            layers, layers_size = _decompress_layers(writer, image, blobs)
            top = _write_manifest(writer, image, layers)
            manifest_digest = str(top["digest"])
        writer.add(tarball.blob_name(image.manifest.config.digest), image.config_bytes)
        writer.add("manifest.json", _json([_docker_entry(image, reference, [layer.digest for layer in layers])]))
        writer.add("index.json", _json(_oci_index(top, reference)))
        writer.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        writer.close()
        return Archive(manifest_digest, file.tell(), layers_size)


def unpacked_size(chunks: typing.Iterator[bytes], name: str) -> int:
    """Return the unpacked size of a layer with any compression; name is for messages. Raises InvalidLayer."""
    meter = layersize.Meter()
    _exhaust(_measured(decompress(chunks, name), name, meter))
    return meter.size


def _decompress_layers(
    writer: tarball.TarWriter, image: tarball.Image, blobs: dict[str, tarball.Extent]
) -> tuple[list[manifests.Descriptor], int]:
    """Write each layer once, uncompressed; return the layers in the image's order, and their unpacked size."""
    tar_sizes: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for layer, diff_id in _layers(image):
        meter = layersize.Meter()
        content = _content(blobs[layer.digest], layer, diff_id, meter)
        if diff_id in sizes:
            # The archive has the same layer, from another compression: only check this one against the config.
            _exhaust(content)
        else:
            tar_sizes[diff_id] = writer.stream(tarball.blob_name(diff_id), content)
        sizes[diff_id] = meter.size
    diff_ids = image.config.diff_ids
    layers = [manifests.Descriptor(manifests.OCI_LAYER, diff_id, tar_sizes[diff_id]) for diff_id in diff_ids]
    return layers, sum(sizes[diff_id] for diff_id in diff_ids)


def _keep_layers(
    writer: tarball.TarWriter, image: tarball.Image, blobs: dict[str, tarball.Extent]
) -> tuple[list[manifests.Descriptor], int]:
    """Write each layer once, with the registry's bytes; return the layers, and their unpacked size."""
    sizes: dict[str, int] = {}
    for layer, diff_id in _layers(image):
        extent = blobs[layer.digest]
        if layer.digest not in sizes:
            writer.stream(tarball.blob_name(layer.digest), tarball.verified_chunks(extent, layer))
        meter = layersize.Meter()
        _exhaust(_content(extent, layer, diff_id, meter))
        sizes[layer.digest] = meter.size
    return list(image.manifest.layers), sum(sizes[layer.digest] for layer in image.manifest.layers)


def _layers(image: tarball.Image) -> typing.Iterable[tuple[manifests.Descriptor, str]]:
    """Return the layers with their uncompressed digests, each pair once."""
    return dict.fromkeys(zip(image.manifest.layers, image.config.diff_ids))


def _keep_documents(writer: tarball.TarWriter, image: tarball.Image) -> dict[str, object]:
    """Write index and manifest byte-exact, without the index's other entries; return the descriptor of the top document.

    The containerd store accepts an index of which only one platform is there, and then knows the image by the index
    digest, as after a pull (measured with Docker 26.1). Among several entries without a platform it would find the first
    one or none: then the manifest is the top document.
    """
    documents = {image.digest: image.top, image.manifest_digest: image.manifest_bytes}
    top, index = image.digest, manifests.parse(image.top)
    if isinstance(index, manifests.Index) and len(index.manifests) > 1:
        [platform, *_] = [entry.platform for entry in index.manifests if entry.digest == image.manifest_digest]
        if platform is None:
            top = image.manifest_digest
            del documents[image.digest]
    for digest, data in documents.items():
        writer.add(tarball.blob_name(digest), data)
    return {"mediaType": manifests.parse(documents[top]).media_type, "digest": top, "size": len(documents[top])}


def _write_manifest(
    writer: tarball.TarWriter, image: tarball.Image, layers: list[manifests.Descriptor]
) -> dict[str, object]:
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
    writer.add(tarball.blob_name(digest), data)
    return {"mediaType": manifests.OCI_MANIFEST, "digest": digest, "size": len(data)}


def _docker_entry(image: tarball.Image, reference: ImageReference, layers: list[str]) -> dict[str, object]:
    return {
        "Config": tarball.blob_name(image.manifest.config.digest),
        "RepoTags": [reference.tagged.familiar],
        "Layers": [tarball.blob_name(digest) for digest in layers],
    }


def _oci_index(top: dict[str, object], reference: ImageReference) -> dict[str, object]:
    # containerd reads the first annotation as the image's name; the second is the OCI's, a tag.
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


def _content(
    extent: tarball.Extent, layer: manifests.Descriptor, diff_id: str, meter: layersize.Meter
) -> typing.Iterator[bytes]:
    """Yield a layer's uncompressed tar, and measure it.

    Raises InvalidLayer, at the end also for a tar without the diff_id.
    """
    hasher = hashlib.sha256()
    for chunk in _measured(_ahead(decompress(tarball.chunks(extent), layer.digest)), layer.digest, meter):
        hasher.update(chunk)
        yield chunk
    actual = "sha256:" + hasher.hexdigest()
    if actual != diff_id:
        raise InvalidLayer(
            f"Checksum mismatch: the uncompressed layer {layer.digest} has {actual}, the config says {diff_id}"
        )


def _measured(chunks: typing.Iterator[bytes], digest: str, meter: layersize.Meter) -> typing.Iterator[bytes]:
    """Yield a layer's tar, and measure it. Raises InvalidLayer for a tar that Docker could not read."""
    try:
        yield from meter.watch(chunks)
    except layertar.InvalidLayerTar as error:
        raise InvalidLayer(f"Damaged layer {digest}: {error}") from error


def _ahead(chunks: typing.Iterator[bytes]) -> typing.Iterator[bytes]:
    """Yield chunks while a thread makes the next ones: zlib and hashlib release Python's lock."""

    def take() -> list[bytes]:
        """Return the next chunks, a few MiB at most; an empty list at the end."""
        taken: list[bytes] = []
        size = 0
        while size < tarball.CHUNK:
            chunk = next(chunks, None)
            if chunk is None:
                break
            taken.append(chunk)
            size += len(chunk)
        return taken

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(take)
        while True:
            taken = coming.result()
            if not taken:
                return
            coming = pool.submit(take)
            yield from taken


def _exhaust(chunks: typing.Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def is_loadable(head: bytes) -> bool:
    """Tell whether targets can read an archive whose first 512 bytes are head: a tar, perhaps compressed."""
    compressed = head.startswith((_GZIP_MAGIC, XZ_MAGIC, BZIP2_MAGIC)) or _ZSTD_MAGIC.match(head)
    return bool(compressed) or head[257:262] == b"ustar"


def decompress(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield a layer's tar from any compression. Like Docker, go by the bytes and not by the media type.

    digest is for messages. Raises InvalidLayer and what chunks raises.
    """
    first = next(chunks, b"")
    rest = itertools.chain([first], chunks)
    if first.startswith(_GZIP_MAGIC):
        return _gunzip(rest, digest)
    if _ZSTD_MAGIC.match(first):
        return _unzstd(rest, digest)
    return rest


def _gunzip(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield the content of a gzip stream of any number of members, which zeros may follow."""
    decoder = None
    try:
        for data in _pieces(chunks):
            while data:
                if decoder is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decoder = zlib.decompressobj(wbits=31)
                content = decoder.decompress(data, _STEP)
                # Any number of members may be empty: yield no empty chunk, because callers collect chunks.
                if content:
                    yield content
                if decoder.eof:
                    data, decoder = decoder.unused_data, None
                else:
                    data = decoder.unconsumed_tail
    except zlib.error as error:
        raise InvalidLayer(f"Damaged layer {digest}: {error}") from error
    if decoder is not None:
        raise InvalidLayer(f"Damaged layer {digest}: its gzip stream ends too early")


def _pieces(chunks: typing.Iterable[bytes]) -> typing.Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]


def _unzstd(chunks: typing.Iterator[bytes], digest: str) -> typing.Iterator[bytes]:
    """Yield the content of a zstd stream by the program zstd, because Python has zstd only since 3.14.

    OE-core has the program in HOSTTOOLS.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            argv = ["zstd", "-dcq", f"--memory={_ZSTD_WINDOW}MB"]
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        except FileNotFoundError as error:
            raise InvalidLayer(f"Layer {digest} is compressed with zstd: install the program zstd on this host") from error
        assert process.stdin and process.stdout
        failures: list[BaseException] = []
        feeder = threading.Thread(target=_feed, args=(chunks, process.stdin, failures), daemon=True)
        feeder.start()
        try:
            yield from iter(functools.partial(process.stdout.read, tarball.CHUNK), b"")
            feeder.join()
            if failures:
                raise failures[0]
            if process.wait() != 0:
                errors.seek(0)
                reason = errors.read().decode(errors="replace").strip()
                if "too much memory" in reason:
                    raise InvalidLayer(
                        f"Unsupported layer {digest}: it has a zstd window of more than {_ZSTD_WINDOW} MiB, and"
                        " reading it takes as much memory; compress it again without --long=28 or more"
                    )
                raise InvalidLayer(f"Damaged layer {digest}: zstd can't decompress it: {reason}")
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
