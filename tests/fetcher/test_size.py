# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""3 GB of layers, fetched and unpacked: the right archive, in memory that does not grow with the image."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
import zlib

from dataclasses import dataclass
from pathlib import Path

import pytest

from support import images

pytestmark = [pytest.mark.long, pytest.mark.one_library, pytest.mark.timeout(900)]

LAYERS = 6
SIZE = 512 << 20
CHUNK = 1 << 20
MOST_MEMORY = 100 << 20
SECONDS = 300
DISK = 20 << 30  # in the registry, as blobs and as tarball in DL_DIR, as archive; and some room


@dataclass(frozen=True)
class Layer:
    """A layer in a file, as it would be too large for the memory of a test."""

    path: Path
    media_type: str
    digest: str
    size: int
    diff_id: str

    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def pieces(number):
    """Yield the tar of a layer: one file of zeros, of a name of its own."""
    info = tarfile.TarInfo(f"srv/zeros-{number}")
    info.size, info.mtime = SIZE, images.MTIME
    yield info.tobuf(tarfile.GNU_FORMAT)
    for _ in range(SIZE // CHUNK):
        yield bytes(CHUNK)
    yield bytes(2 * tarfile.BLOCKSIZE)


def make(directory, number, compression):
    path = directory / f"{compression}-{number}"
    whole, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    pack = zlib.compressobj(1, wbits=31) if compression == "gzip" else None
    with path.open("wb") as file:
        for piece in pieces(number):
            whole.update(piece)
            piece = pack.compress(piece) if pack else piece
            packed.update(piece)
            size += file.write(piece)
        if pack:
            rest = pack.flush()
            packed.update(rest)
            size += file.write(rest)
    if compression == "zstd":
        squeezed = path.with_suffix(".zst")
        subprocess.run(["zstd", "-q", "-1", "--rm", str(path), "-o", str(squeezed)], check=True, timeout=120)
        path, data = squeezed, squeezed.read_bytes()
        packed, size = hashlib.sha256(data), len(data)
    suffix = "" if compression == "none" else f"+{compression}"
    return Layer(path, images.OCI_LAYER + suffix, f"sha256:{packed.hexdigest()}", size, f"sha256:{whole.hexdigest()}")


def push(server, repository, layers):
    """Push an image of layers that are in files, as streams, and return its manifest's digest."""
    about = {"rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
    config = images.image([], "linux/amd64", config=about).config
    manifest = images.to_json({
        "schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    })
    client = server.client()
    for layer in layers:
        with layer.path.open("rb") as file:
            client.push_stream(repository, layer.digest, layer.size, file)
        layer.path.unlink()
    client.push_blob(repository, config)
    digest = client.push_manifest(repository, images.Blob(images.OCI_MANIFEST, manifest), "v1")
    client.close()
    return digest


def measured(job):
    """Return the outcome of a job, and the peak of the memory of all its processes, shared pages shared out."""
    peak, started = 0, time.monotonic()
    while job.alive() and time.monotonic() - started < SECONDS:
        peak = max(peak, sum(_memory(job.pid)))
        time.sleep(0.05)
    return job.wait(1), peak, time.monotonic() - started


def _memory(session):
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(") ")[2].split()[3]) == session:
                rollup = path.with_name("smaps_rollup").read_text()
                yield next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            continue


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_three_gigabytes(bench, own_server, tmp_path, compression):
    if shutil.disk_usage(tmp_path).free < DISK:
        pytest.skip(f"unavailable: {DISK >> 30} GB of room in {tmp_path}")
    layers = [make(tmp_path, number, compression) for number in range(LAYERS)]
    digest = push(own_server, "size/app", layers)
    url = f"docker://{own_server.address}/size/app;tag=v1"
    folder = bench.directory / "unpack"
    for step in (("fetch",), ("unpack", str(folder))):
        outcome, peak, seconds = measured(bench.begin(url, step, pin=digest))
        print(f"{compression} {step[0]}: {seconds:.1f} s, {peak / 1e6:.0f} MB")
        assert outcome.error_type is None, outcome.text
        assert peak < MOST_MEMORY
    (archive,) = folder.rglob("*.tar")
    with tarfile.open(archive) as tar:
        [entry] = json.load(tar.extractfile("manifest.json"))
        assert entry["Layers"] == [f"blobs/sha256/{layer.diff_id[7:]}" for layer in layers]
        for member in tar:
            if member.name.startswith("blobs/"):
                assert member.name == "blobs/sha256/" + _sha256(tar.extractfile(member))
    assert archive.stat().st_size >= LAYERS * SIZE


def _sha256(file: io.BufferedReader) -> str:
    hasher = hashlib.sha256()
    while chunk := file.read(CHUNK):
        hasher.update(chunk)
    return hasher.hexdigest()
