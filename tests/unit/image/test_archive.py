# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.archive: from an image tarball to what docker load reads, whatever the layers' compression."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tracemalloc
import zlib

import pytest

from dockin.errors import DockinError
from dockin.image import archive, attachments, platforms, reference, tarball
from dockin.image.archive import DECOMPRESSED, REGISTRY, InvalidLayer
from dockin.image.tarball import InvalidTarball
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import images, installed, layers

# The machine may be busy.
SETTINGS = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
AMD64 = platforms.parse("linux/amd64")
BLOBS = "blobs/sha256/"
NAME = reference.parse("ghcr.io/org/app:v1")
STEP = 4 << 20

FIRST = images.layer({"etc/motd": "first\n", "bin/x": images.Entry(bytes(range(256)) * 9)})
SECOND = images.layer({"etc/motd": "second\n"}, "none")
THIRD = images.layer({"etc/motd": "third\n"}, "zstd")
# What they take up unpacked: a header and a block for each file and directory.
FIRST_SIZE, SECOND_SIZE, THIRD_SIZE = 4 * (512 + 4096), 2 * (512 + 4096), 2 * (512 + 4096)


@dataclasses.dataclass
class Made:
    """An assembled archive, read back."""

    path: pathlib.Path
    archive: archive.Archive
    infos: list[tarfile.TarInfo]
    files: dict[str, bytes]

    def json(self, name):
        return json.loads(self.files[name])

    def blob(self, digest):
        return self.files[BLOBS + digest[7:]]


def assemble(folder, content, mode, name=NAME, source=None):
    """Assemble an image's archive and read it back."""
    source = source or folder / "docker_image.tar"
    if not source.exists():
        installed.write_tarball(source, content, AMD64)
    image = tarball.load(str(source), AMD64, None)
    target = folder / f"{mode}.tar"
    result = archive.assemble(str(source), image, name, mode, str(target))
    with tarfile.open(target) as tar:
        infos = tar.getmembers()
        files = {info.name: tar.extractfile(info).read() for info in infos}
    assert len(files) == len(infos), "a name is there twice"
    return Made(target, result, infos, files)


def blob(data, compression="gzip"):
    """A layer's blob of any bytes."""
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
    return images.Blob(images.OCI_LAYER + suffix, data)


def image_of(*layers):
    """Return an image of pairs: a blob, and what the config says that it is uncompressed."""
    diff_ids = [diff_id for _, diff_id in layers]
    config = images.image([], "linux/amd64", config={"rootfs": {"type": "layers", "diff_ids": diff_ids}}).config
    return images.manifest(config, [one for one, _ in layers], "linux/amd64")


def deflated(data, level=6, flush=zlib.Z_FINISH):
    """Return a gzip stream."""
    packer = zlib.compressobj(level, wbits=31)
    return packer.compress(data) + packer.flush(flush) + (packer.flush() if flush != zlib.Z_FINISH else b"")


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, check=True, capture_output=True, timeout=60).stdout


GOOD = deflated(FIRST.tar)
TWICE = deflated(GOOD)
ZSTD = zstd(FIRST.tar)
OTHER = "sha256:" + "0" * 64
# A layer's blob, and what the config says of it.
FINE = (blob(GOOD), FIRST.diff_id)


# The archive is what the docstring says


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("top", ["index", "manifest"])
def test_the_archive_read_back(tmp_path, top, form, mode):
    layers = [FIRST, SECOND, THIRD]
    child = images.image(layers, "linux/amd64", form)
    content = images.index([images.image([SECOND], "linux/arm/v7", form), child], form) if top == "index" else child
    made = assemble(tmp_path, content, mode)

    for name, data in made.files.items():
        if name.startswith(BLOBS):
            assert images.sha256(data) == "sha256:" + name[len(BLOBS):]
    assert json.loads(made.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    (entry,) = made.json("manifest.json")
    assert entry.keys() == {"Config", "RepoTags", "Layers"}
    assert entry["RepoTags"] == ["ghcr.io/org/app:v1"]
    assert made.files[entry["Config"]] == child.config.data
    kept = [layer.blob(form).data for layer in layers]
    assert [made.files[name] for name in entry["Layers"]] == (kept if mode == REGISTRY else [layer.tar for layer in layers])

    index = made.json("index.json")
    (named,) = index["manifests"]
    assert (index["schemaVersion"], index["mediaType"]) == (2, images.OCI_INDEX)
    assert named["annotations"] == {
        "io.containerd.image.name": "ghcr.io/org/app:v1",
        "org.opencontainers.image.ref.name": "v1",
    }
    data = made.blob(named["digest"])
    assert named["size"] == len(data)
    document = json.loads(data)
    assert named["mediaType"] == document["mediaType"]
    if mode == REGISTRY:
        assert data == content.data
        assert made.blob(child.digest) == child.data
        assert made.archive.manifest_digest == child.digest
        expected = {content.digest, child.digest, child.config.digest, *(images.sha256(data) for data in kept)}
    else:
        assert made.archive.manifest_digest == named["digest"]
        assert document["mediaType"] == images.OCI_MANIFEST and document["schemaVersion"] == 2
        assert document["config"] == {
            "mediaType": images.OCI_CONFIG, "digest": child.config.digest, "size": child.config.size,
        }
        assert document["layers"] == [
            {"mediaType": images.OCI_LAYER, "digest": layer.diff_id, "size": len(layer.tar)} for layer in layers
        ]
        expected = {named["digest"], child.config.digest, *(layer.diff_id for layer in layers)}
    assert {name for name in made.files if name.startswith(BLOBS)} == {BLOBS + digest[7:] for digest in expected}
    assert made.files.keys() - {BLOBS + digest[7:] for digest in expected} == {"manifest.json", "index.json", "oci-layout"}

    assert made.archive.size == made.path.stat().st_size
    assert made.archive.size % tarfile.RECORDSIZE == 0
    assert made.archive.layers_size == FIRST_SIZE + SECOND_SIZE + THIRD_SIZE
    for info in made.infos:
        assert (info.type, info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname) == (
            tarfile.REGTYPE, 0o644, 0, 0, 0, "", "",
        )


@pytest.mark.parametrize(
    ("text", "tag", "name", "tag_only"),
    [
        ("busybox:1.36.1", "busybox:1.36.1", "docker.io/library/busybox:1.36.1", "1.36.1"),
        ("docker.io/org/app:v1", "org/app:v1", "docker.io/org/app:v1", "v1"),
        ("host:5000/app:v1", "host:5000/app:v1", "host:5000/app:v1", "v1"),
        ("library/a/b:v1", "library/a/b:v1", "docker.io/library/a/b:v1", "v1"),
        ("busybox:1@sha256:" + "0" * 64, "busybox:1", "docker.io/library/busybox:1", "1"),
    ],
)
def test_names(tmp_path, text, tag, name, tag_only):
    made = assemble(tmp_path, images.image([SECOND], "linux/amd64"), DECOMPRESSED, reference.parse(text))
    assert made.json("manifest.json")[0]["RepoTags"] == [tag]
    assert made.json("index.json")["manifests"][0]["annotations"] == {
        "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag_only,
    }


@pytest.mark.parametrize("mode", ["", "Registry", "decompress", "gzip\n"])
def test_unknown_mode(mode, tmp_path):
    said = f"Invalid DOCKIN_LAYERS = {mode!r}: expected 'decompressed' or 'registry'"
    with pytest.raises(DockinError, match=re.escape(said)):
        assemble(tmp_path, images.image([SECOND], "linux/amd64"), mode)
    assert not list(tmp_path.glob(f"{mode}.tar"))


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_no_layers(tmp_path, mode):
    made = assemble(tmp_path, images.image([], "linux/amd64"), mode)
    assert made.json("manifest.json")[0]["Layers"] == []
    assert made.archive.layers_size == 0


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_layers_listed_twice_are_stored_once(tmp_path, mode):
    made = assemble(tmp_path, images.image([FIRST, SECOND, FIRST], "linux/amd64"), mode)
    layers = made.json("manifest.json")[0]["Layers"]
    assert len(layers) == 3 and layers[0] == layers[2] != layers[1]
    assert made.archive.layers_size == 2 * FIRST_SIZE + SECOND_SIZE


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_two_blobs_of_one_content(tmp_path, mode):
    """The same layer, once as gzip packs it and once as zstd does."""
    one, other = blob(GOOD), blob(ZSTD, "zstd")
    made = assemble(tmp_path, image_of((one, FIRST.diff_id), (other, FIRST.diff_id)), mode)
    layers = made.json("manifest.json")[0]["Layers"]
    expected = [one.digest, other.digest] if mode == REGISTRY else [FIRST.diff_id] * 2
    assert layers == [BLOBS + digest[7:] for digest in expected]
    assert made.archive.layers_size == 2 * FIRST_SIZE


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_one_blob_under_two_media_types(tmp_path, mode):
    """The bytes decide on the compression, not the type, which may be wrong."""
    one, other = blob(GOOD), blob(GOOD, "none")
    made = assemble(tmp_path, image_of((one, FIRST.diff_id), (other, FIRST.diff_id)), mode)
    assert made.archive.layers_size == 2 * FIRST_SIZE
    assert len(set(made.json("manifest.json")[0]["Layers"])) == 1


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_an_empty_layer(tmp_path, mode):
    diff_id = images.sha256(b"")
    packed, plain = blob(deflated(b"")), blob(b"", "none")
    assert assemble(tmp_path, image_of((packed, diff_id)), mode).archive.layers_size == 0
    other = tmp_path / "docker_b.tar"
    assert assemble(tmp_path, image_of((plain, diff_id)), mode, source=other).archive.layers_size == 0


# The same image, the same bytes


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_same_bytes_again(tmp_path, mode):
    content = images.index([images.image([FIRST, SECOND, THIRD], "linux/amd64")])
    one = assemble(tmp_path, content, mode).path.read_bytes()
    # Blobs in another order, another name of the file, another time, process, umask, time zone and hash seed.
    other = tmp_path / "elsewhere"
    other.mkdir()
    with tarfile.open(tmp_path / "docker_image.tar") as tar, tarfile.open(other / "docker_x.tar", "w") as shuffled:
        for info in reversed(tar.getmembers()):
            shuffled.addfile(info, tar.extractfile(info))
    os.utime(other / "docker_x.tar", (1, 1))
    code = (
        "import sys; from dockin.image import archive, platforms, reference, tarball; source, mode, target = sys.argv[1:];"
        "image = tarball.load(source, platforms.parse('linux/amd64'), None);"
        "archive.assemble(source, image, reference.parse('ghcr.io/org/app:v1'), mode, target)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", code, other / "docker_x.tar", mode, other / "made.tar"],
        env=environment, check=True, timeout=60, umask=0o077,
    )
    assert (other / "made.tar").read_bytes() == one


def test_decompressed_archives_do_not_depend_on_the_compression(tmp_path):
    """Of the layers, that is: the config is the same, hence the image."""
    made = set()
    for compression in ("gzip", "zstd", "none"):
        folder = tmp_path / compression
        folder.mkdir()
        content = images.image([images.layer({"a": "b"}, compression)], "linux/amd64")
        made.add(assemble(folder, content, DECOMPRESSED).path.read_bytes())
    assert len(made) == 1


# Layers that are not what they should be


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
@pytest.mark.parametrize(
    ("layers", "bad", "actual", "expected"),
    [
        ([(blob(GOOD), OTHER)], GOOD, FIRST.diff_id, OTHER),
        ([(blob(FIRST.tar, "none"), OTHER)], FIRST.tar, FIRST.diff_id, OTHER),
        ([FINE, (blob(GOOD), OTHER)], GOOD, FIRST.diff_id, OTHER),
        ([FINE, (blob(SECOND.tar, "none"), FIRST.diff_id)], SECOND.tar, SECOND.diff_id, FIRST.diff_id),
        ([(blob(ZSTD, "zstd"), SECOND.diff_id)], ZSTD, FIRST.diff_id, SECOND.diff_id),
    ],
    ids=["gzip", "plain", "the same blob again", "another blob", "zstd"],
)
def test_wrong_diff_ids(tmp_path, layers, bad, actual, expected, mode):
    with pytest.raises(InvalidLayer) as caught:
        assemble(tmp_path, image_of(*layers), mode)
    said = f"the uncompressed layer {images.sha256(bad)} has {actual}, the config says {expected}"
    assert str(caught.value) == "Checksum mismatch: " + said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(GOOD[:-1], "its gzip stream ends too early", id="last byte"),
        pytest.param(GOOD[:-8], "its gzip stream ends too early", id="no trailer"),
        pytest.param(GOOD[:20], "its gzip stream ends too early", id="half"),
        pytest.param(GOOD[:2], "its gzip stream ends too early", id="magic only"),
        pytest.param(GOOD[:3] + b"\xff" + GOOD[4:], "Damaged layer", id="flags"),
        pytest.param(GOOD[:40] + bytes([GOOD[40] ^ 1]) + GOOD[41:], "Damaged layer", id="one bit"),
        pytest.param(GOOD[:-8] + bytes(4) + GOOD[-4:], "incorrect data check", id="checksum"),
        pytest.param(GOOD[:-4] + bytes(4), "incorrect length check", id="length"),
        pytest.param(GOOD + b"x", "gzip stream ends too early", id="a byte more"),
        pytest.param(GOOD + b"garbage after the end", "incorrect header check", id="garbage"),
        pytest.param(GOOD + GOOD[:-1], "its gzip stream ends too early", id="half a second member"),
        pytest.param(GOOD + bytes(9) + b"x" * 20, "incorrect header check", id="garbage after zeros"),
        pytest.param(b"\x1f\x8b\x07" + GOOD[3:], "unknown compression method", id="method"),
        pytest.param(TWICE, "its tar is damaged at byte", id="compressed twice"),
        pytest.param(deflated(FIRST.tar[:3000]), "it ends within", id="half a tar"),
        pytest.param(ZSTD[:-1], "zstd can't decompress it: ", id="zstd last byte"),
        pytest.param(ZSTD[:5], "zstd can't decompress it: ", id="zstd half"),
        pytest.param(ZSTD + b"garbage", "zstd can't decompress it: ", id="zstd garbage"),
        pytest.param(ZSTD[:30] + bytes([ZSTD[30] ^ 1]) + ZSTD[31:], "zstd can't decompress it: ", id="zstd one bit"),
        pytest.param(ZSTD[:4], "zstd can't decompress it: ", id="zstd magic only"),
    ],
)
@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_damaged_layers(tmp_path, data, said, mode):
    """Damaged as they were pushed: the blob's digest is right."""
    damaged = blob(data)
    with pytest.raises(InvalidLayer, match=re.escape(said)) as caught:
        assemble(tmp_path, image_of((damaged, FIRST.diff_id)), mode)
    assert damaged.digest in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_blob_damaged_in_the_tarball(tmp_path, mode, compression):
    """Since it was fetched: unpacking comes later, maybe much later."""
    layer = images.layer({"a": "b" * 5000, "c": "d"}, compression)
    content = images.image([layer], "linux/amd64")
    source = tmp_path / "docker_a.tar"
    installed.write_tarball(source, content, AMD64)
    (stored,) = content.layers
    extent = tarball.read(str(source))[stored.digest]
    with open(source, "r+b") as file:
        file.seek(extent.offset + extent.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(DockinError, match=stored.digest):
        assemble(tmp_path, content, mode, source=source)


def test_a_blob_that_changed_but_not_its_content(tmp_path):
    """Another gzip of the same layer: the registry's digests would name what is not there."""
    content = image_of((blob(GOOD), FIRST.diff_id))
    source = tmp_path / "docker_a.tar"
    installed.write_tarball(source, content, AMD64)
    extent = tarball.read(str(source))[content.layers[0].digest]
    with open(source, "r+b") as file:
        file.seek(extent.offset + 4)
        file.write(b"\1\2\3\4")  # the time in gzip's header
    with pytest.raises(InvalidTarball, match=f"Checksum mismatch.*expected {content.layers[0].digest}"):
        assemble(tmp_path, content, REGISTRY, source=source)
    assert assemble(tmp_path, content, DECOMPRESSED, source=source).archive.layers_size == FIRST_SIZE


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_a_missing_layer(tmp_path, mode):
    content = images.image([FIRST, SECOND], "linux/amd64")
    source = tmp_path / "docker_a.tar"
    installed.write_tarball(source, content, AMD64)
    image = tarball.load(str(source), AMD64, None)
    other = tmp_path / "docker_b.tar"
    installed.write_tarball(other, images.image([FIRST], "linux/amd64"), AMD64)
    target = tmp_path / "made.tar"
    with pytest.raises(InvalidTarball, match=f"layer {content.layers[1].digest} is missing"):
        archive.assemble(str(other), image, NAME, mode, str(target))
    assert not target.exists()


def test_no_program_zstd(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidLayer, match="is compressed with zstd: install the program zstd on this host"):
        assemble(tmp_path, image_of((blob(ZSTD, "zstd"), FIRST.diff_id)), DECOMPRESSED)


# Decompression


def decompress(data, chunk=1 << 20):
    """Return what the layer is uncompressed, read in chunks of a size."""
    chunks = (data[start:start + chunk] for start in range(0, len(data), chunk))
    return b"".join(archive.decompress(chunks, "sha256:x"))


TEXT = b"layer " * 1000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\x1f", b"\x1f", id="one byte"),
        pytest.param(TEXT, TEXT, id="plain"),
        pytest.param(deflated(TEXT), TEXT, id="gzip"),
        pytest.param(deflated(TEXT, 0), TEXT, id="gzip stored"),
        pytest.param(deflated(TEXT, 9, zlib.Z_SYNC_FLUSH), TEXT, id="gzip flushed"),
        pytest.param(deflated(b""), b"", id="gzip of nothing"),
        pytest.param(deflated(b"") + deflated(TEXT), TEXT, id="empty member first"),
        pytest.param(deflated(TEXT) + deflated(b"more") + deflated(b""), TEXT + b"more", id="members"),
        pytest.param(deflated(TEXT) + b"\0", TEXT, id="a zero after it"),
        pytest.param(deflated(TEXT) + bytes(100_000), TEXT, id="zeros after it"),
        pytest.param(deflated(TEXT) + bytes(7) + deflated(b"more") + bytes(9), TEXT + b"more", id="zeros between"),
        pytest.param(gzip.compress(TEXT, mtime=5), TEXT, id="gzip with time"),
        pytest.param(zstd(TEXT), TEXT, id="zstd"),
        pytest.param(zstd(TEXT) + zstd(b"more"), TEXT + b"more", id="zstd frames"),
        pytest.param(zstd(b""), b"", id="zstd of nothing"),
        pytest.param(zstd(TEXT) + b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip", TEXT, id="zstd with a skippable frame"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstd(TEXT), TEXT, id="a skippable frame first"),
        pytest.param(b"\x5f\x2a\x4d\x18\0\0\0\0" * 2 + zstd(TEXT), TEXT, id="two of them, of the last kind"),
        pytest.param(b"\x50\x2a\x4d\x18\0\0\0\0", b"", id="nothing but a skippable frame"),
        pytest.param(b"\x60\x2a\x4d\x18\0\0\0\0", b"\x60\x2a\x4d\x18\0\0\0\0", id="no skippable frame"),
        pytest.param(deflated(deflated(TEXT)), deflated(TEXT), id="gzip in gzip"),
        pytest.param(b"BZh91AY&SY", b"BZh91AY&SY", id="bzip2 is no layer compression"),
    ],
)
@pytest.mark.parametrize("chunk", [4, 1000, 1 << 20])
def test_decompressed(data, expected, chunk):
    assert decompress(data, chunk) == expected


def test_unpacked_size():
    assert archive.unpacked_size(iter([GOOD[:99], GOOD[99:]]), "a.tar.gz") == FIRST_SIZE
    with pytest.raises(InvalidLayer, match="Damaged layer a.tar.gz: its gzip stream ends too early"):
        archive.unpacked_size(iter([GOOD[:-1]]), "a.tar.gz")
    with pytest.raises(InvalidLayer, match="Damaged layer a.tar.gz: its tar is damaged at byte 512: "):
        archive.unpacked_size(iter([TEXT]), "a.tar.gz")


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_a_sparse_file_counts_with_its_holes(tmp_path, mode):
    """Docker writes them as zeros: 1 GiB from a tar of 10 KiB."""
    sparse = images.Layer(layers.gnu_tar({"hole": (1 << 30, {})}, "--format=posix"))
    assert len(sparse.tar) == 10240
    made = assemble(tmp_path, images.image([sparse], "linux/amd64"), mode)
    assert made.archive.layers_size == (1 << 30) + 512


def test_what_pzstd_writes():
    """Each of its frames follows a skippable one that says how long it is."""
    content = TEXT * 500
    done = subprocess.run(["pzstd", "-q", "-p", "4", "-c"], input=content, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"\x50\x2a\x4d\x18")
    assert decompress(done.stdout) == content


def test_zstd_window_is_bounded():
    """The program needs as much memory as the window that a frame asks for: 128 MiB, as zstd --long takes, and no more."""

    def windowed(log):
        command = ["zstd", "-q", "-c", f"--long={log}"]
        return subprocess.run(command, input=TEXT, capture_output=True, check=True, timeout=60).stdout

    assert decompress(windowed(27)) == TEXT
    with pytest.raises(InvalidLayer, match="sha256:x: .* window of more than 128 MiB"):
        decompress(windowed(28))


def test_many_small_members_take_no_quadratic_time():
    """A copy of the rest of a chunk for each member took twenty times as long in large chunks as in small ones."""
    member = deflated(b"x")
    data = member * (3 * tarball.CHUNK // len(member))

    def seconds(chunk):
        started = time.process_time()
        assert decompress(data, chunk) == b"x" * (len(data) // len(member))
        return time.process_time() - started

    assert seconds(tarball.CHUNK) < 5 * seconds(4096) + 0.1


def test_gzip_with_a_name_and_a_comment():
    """All of the optional fields of a header."""
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\x02\0ab" + b"layer.tar\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    assert decompress(head + deflated(TEXT)[10:], 4) == TEXT


@pytest.mark.parametrize("size", [STEP - 1, STEP, STEP + 1, 2 * STEP, 3 * STEP - 1])
@pytest.mark.parametrize("level", [0, 9])
def test_output_at_the_border_of_a_step(size, level):
    block = hashlib.sha256(b"x").digest() * 32
    content = (block * (size // len(block) + 1))[:size]
    assert decompress(deflated(content, level)) == content


# A layer's content by number, and how it is packed.
LAYERS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["gzip", "none", "zstd"])), max_size=6)


@settings(deadline=None, max_examples=40)
@given(LAYERS, st.sampled_from(archive.LAYER_MODES))
def test_any_image_gives_its_archive(chosen, mode):
    """Layers of any compression, repeated, also with other bytes for the same content: each where the config says."""
    content = images.image([images.layer({"etc/number": str(number)}, packing) for number, packing in chosen])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = assemble(folder, content, mode)
        again = folder / "again.tar"
        image = tarball.load(str(folder / "docker_image.tar"), AMD64, None)
        archive.assemble(str(folder / "docker_image.tar"), image, NAME, mode, str(again))
        assert again.read_bytes() == made.path.read_bytes()
        assert again.stat().st_size == made.archive.size
    for name, data in made.files.items():
        assert not name.startswith(BLOBS) or name == BLOBS + hashlib.sha256(data).hexdigest()
    [entry] = made.json("manifest.json")
    assert made.files[entry["Config"]] == content.config.data
    plain = [b"".join(archive.decompress(iter([made.files[layer]]), layer)) for layer in entry["Layers"]]
    assert plain == [images.layer({"etc/number": str(number)}).tar for number, _ in chosen]
    assert made.archive.layers_size == len(plain) * SECOND_SIZE


# Content, how often it is repeated, level, zeros after it.
PARTS = st.tuples(st.binary(max_size=80), st.integers(1, 60), st.integers(0, 9), st.integers(0, 3))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(PARTS, min_size=1, max_size=4),
    st.integers(1, 300),
    st.data(),
)
def test_any_split_gives_what_gzip_gives(parts, step, data):
    """Members of any content and level, zeros after each, in chunks cut anywhere, with steps of any length."""
    stream = b"".join(deflated(content * times, level) + bytes(zeros) for content, times, level, zeros in parts)
    places = sorted(data.draw(st.lists(st.integers(2, len(stream)), max_size=12)))
    chunks = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_STEP", step)
        pieces = list(archive.decompress(iter(chunks), "sha256:x"))
        assert b"".join(pieces) == gzip.decompress(stream)
        assert all(0 < len(piece) <= step for piece in pieces)
        # Nor does a cut go unnoticed, but where only zeros are lost.
        cut = data.draw(st.integers(2, len(stream)))
        with contextlib.suppress(InvalidLayer):
            assert b"".join(archive.decompress(iter([stream[:cut]]), "sha256:x")) in whole_members(parts, cut)


def whole_members(parts, cut):
    """Return what may come of a stream cut at a place: the members that are whole, if none is halved."""
    end, content = 0, b""
    for part, times, level, zeros in parts:
        if cut == end:
            break
        end += len(deflated(part * times, level))
        content += part * times
        if end <= cut <= end + zeros:
            return [content]
        end += zeros
    return [content] if cut == end else []


@SETTINGS
@given(st.binary(), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]))
def test_any_bytes_are_decompressed_or_refused(data, magic):
    with contextlib.suppress(DockinError):
        decompress(magic + data, 16)


@settings(deadline=None, max_examples=15)
@given(st.binary(max_size=100))
def test_any_zstd_bytes_are_decompressed_or_refused(data):
    with contextlib.suppress(DockinError):
        decompress(b"\x28\xb5\x2f\xfd" + data)


@pytest.mark.parametrize("error", [InvalidTarball("half"), OSError(5, "Input/output error")])
def test_an_error_in_reading_is_told_from_damage(error):
    """It happens in the thread that feeds zstd."""

    def chunks():
        yield zstd(os.urandom(1 << 20))[:500_000]
        raise error

    with pytest.raises(type(error), match=re.escape(str(error))):
        list(archive.decompress(chunks(), "sha256:x"))


def test_nothing_is_left_of_a_reader_that_stops(tmp_path):
    """Neither the program nor the thread, although there would be much more to read."""
    before = threading.active_count()
    data = zstd(os.urandom(1 << 20)) * 20
    content = archive.decompress((data[start:start + 65536] for start in range(0, len(data), 65536)), "sha256:x")
    assert next(content)
    assert threading.active_count() == before + 1
    content.close()
    assert threading.active_count() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_nothing_is_left_where_there_is_no_space(tmp_path, compression):
    """Of the thread that is ahead with decompressing."""
    content = images.image([images.layer({"a": os.urandom(8 << 20)}, compression)], "linux/amd64")
    source = tmp_path / "docker_a.tar"
    installed.write_tarball(source, content, AMD64)
    image = tarball.load(str(source), AMD64, None)
    before = threading.active_count()
    try:
        archive.assemble(str(source), image, NAME, DECOMPRESSED, "/dev/full")
    except OSError as error:
        assert error.errno == errno.ENOSPC
    else:
        pytest.fail("it was written")
    assert threading.active_count() == before


# Memory


SIZE = 64 << 20


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """The tarball of an image with a layer of a few kilobytes that is SIZE bytes uncompressed."""
    content = images.layer({"zeros": bytes(SIZE)}).tar
    source = tmp_path_factory.mktemp("bomb") / "docker_bomb.tar"
    installed.write_tarball(source, image_of((blob(deflated(content, 1)), images.sha256(content))), AMD64)
    return source


@pytest.mark.parametrize("mode", archive.LAYER_MODES)
def test_memory_does_not_grow_with_the_layer(tmp_path, bomb, mode):
    image = tarball.load(str(bomb), AMD64, None)
    tracemalloc.start()
    try:
        result = archive.assemble(str(bomb), image, NAME, mode, str(tmp_path / "made.tar"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.layers_size == SIZE + 512
    assert peak < 5 * STEP


# A size that does not fit into octal digits


class CountingFile:
    """A file that keeps the blocks at the start of each member, and nothing of the rest."""

    def __init__(self):
        self.place, self.kept = 0, {}

    def tell(self):
        return self.place

    def seek(self, place):
        self.place = place

    def write(self, data):
        if len(data) == tarfile.BLOCKSIZE:
            self.kept[self.place] = bytes(data)
        self.place += len(data)


def test_a_layer_above_8_gib():
    file = CountingFile()
    size = 9 << 30
    piece = memoryview(bytes(64 << 20))
    written = tarball.TarWriter(file).stream(BLOBS + "0" * 64, (piece for _ in range(size // len(piece))))
    assert written == size and file.tell() == 512 + size
    info = tarfile.TarInfo.frombuf(file.kept[0], "utf-8", "strict")
    assert (info.name, info.size, info.type) == (BLOBS + "0" * 64, size, tarfile.REGTYPE)


def test_a_manifest_that_is_attached_is_not_in_the_archive(tmp_path):
    """containerd would choose among the manifests that it finds, of which one alone has been verified."""
    own = images.image([images.layer({"own": "own\n"})], "linux/amd64")
    index = images.index([own, images.attestation(own)])
    source = tmp_path / "docker_image.tar"
    installed.write_tarball(source, index, AMD64)
    image = tarball.load(str(source), AMD64, None)
    [entry] = attachments.attestations(image.subject)
    beside = attachments.attach(image.subject, entry.digest, index.blobs()[entry.digest].data)
    image = dataclasses.replace(image, attachments=(beside,))
    archive.assemble(str(source), image, NAME, REGISTRY, str(tmp_path / "archive.tar"))
    with tarfile.open(tmp_path / "archive.tar") as tar:
        names = {name for name in tar.getnames() if name.startswith(BLOBS)}
    kept = (index.digest, own.digest, own.config.digest, *(layer.digest for layer in own.layers))
    assert names == {tarball.blob_name(digest) for digest in kept}
