# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.tarball: an image tarball is the same for everybody, and nothing in it is believed unseen."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import tracemalloc

import pytest

from dockin.errors import DockinError
from dockin.image import manifests, platforms, reference, tarball
from dockin.image.manifests import Descriptor, InvalidManifest
from dockin.image.platforms import PlatformError
from dockin.image.tarball import Extent, InvalidTarball
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import images, installed

# The machine may be busy. The files of tmp_path are written anew by each example.
SETTINGS = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
AMD64 = platforms.parse("linux/amd64")
BLOBS = "blobs/sha256/"
OTHER = "sha256:" + "0" * 64

FIRST = images.layer({"etc/motd": "first\n", "bin/x": images.Entry(bytes(range(256)) * 9)})
SECOND = images.layer({"etc/motd": "second\n"}, "none")
SINGLE = images.image([FIRST, SECOND], "linux/amd64")
ARM = images.image([images.layer({"etc/motd": "arm\n"})], "linux/arm/v7")
INDEX = images.index([ARM, SINGLE], attestations=True)


@pytest.fixture
def path(tmp_path):
    """The place of an image tarball."""
    return tmp_path / "docker_test_linux-amd64.tar"


def members(content=INDEX, child=SINGLE):
    """Return the files of a good image tarball, by name."""
    blobs = [content, child, child.config, *child.layers]
    index = {"schemaVersion": 2, "manifests": [content.descriptor()]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    return {**files, **{BLOBS + blob.hex: blob.data for blob in blobs}}


def pack(path, files, form=tarfile.GNU_FORMAT):
    """Write a tar of files: a dict, or pairs of a name or TarInfo and bytes, so that names can repeat."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = info.size or len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def verify(path, pin=INDEX.digest):
    return tarball.verify(str(path), AMD64, pin)


def refused(path, said="", error=InvalidTarball):
    """Expect that a file is refused; return the message."""
    with pytest.raises(error) as caught:
        verify(path)
    assert said in str(caught.value)
    return str(caught.value)


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox:1.36.1", "docker_docker.io+library+busybox=1.36.1_linux-amd64.tar"),
        ("host:5000/a/b:v1", "docker_host=5000+a+b=v1_linux-amd64.tar"),
        (f"busybox:1.36.1@{OTHER}", f"docker_sha256-{'0' * 64}_linux-amd64.tar"),
        (f"ghcr.io/other/name@{OTHER}", f"docker_sha256-{'0' * 64}_linux-amd64.tar"),
    ],
)
def test_file_name(text, name):
    assert tarball.file_name(reference.parse(text), "linux-amd64") == name


def test_file_name_of_a_long_reference():
    texts = ["registry.example/" + "a" * 230 + f":{tag}" for tag in ("x", "y", "x" * 128)]
    names = {tarball.file_name(reference.parse(text), "linux-amd64") for text in texts}
    assert len(names) == len(texts)
    assert all(re.fullmatch(r"docker_[0-9a-f]{64}_linux-amd64\.tar", name) for name in names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("h:5000/a:v", "h/5000/a:v"),
        ("a/b:c", "a-b:c"),
        ("a_b:c", "a/b:c"),
        ("docker.io/a:b", "docker.io/a:b_"),
    ],
)
def test_file_names_differ(one, other):
    slug = "linux-amd64"
    assert tarball.file_name(reference.parse(one), slug) != tarball.file_name(reference.parse(other), slug)


# The same image, the same bytes


def test_the_file_is_what_the_docstring_says(path):
    image = installed.write_tarball(path, INDEX, AMD64)
    with tarfile.open(path) as tar:
        infos = tar.getmembers()
        files = {info.name: tar.extractfile(info).read() for info in infos}
    order = [INDEX, SINGLE, SINGLE.config, *SINGLE.layers]
    assert list(files) == ["oci-layout", "index.json", *(BLOBS + blob.hex for blob in order)]
    assert list(files.values())[2:] == [blob.data for blob in order]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files["index.json"]) == {"schemaVersion": 2, "manifests": [INDEX.descriptor()]}
    for info in infos:
        assert (info.type, info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname) == (
            tarfile.REGTYPE, 0o644, 0, 0, 0, "", "",
        )
    assert path.stat().st_size % tarfile.RECORDSIZE == 0
    assert image == verify(path) == tarball.load(str(path), AMD64, None)


def test_a_single_manifest_is_its_own_top(path):
    installed.write_tarball(path, SINGLE, AMD64)
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert names[2:] == [BLOBS + blob.hex for blob in (SINGLE, SINGLE.config, *SINGLE.layers)]
    image = verify(path, SINGLE.digest)
    assert image.digest == image.manifest_digest == SINGLE.digest


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_round_trip(path, form, compression):
    layers = [images.layer({"a": "1"}, compression), images.filler_layer("b", tarball.CHUNK + 1, compression)]
    built = images.index([images.image(layers, "linux/amd64", form)], form)
    image = installed.write_tarball(path, built, AMD64)
    assert verify(path, built.digest) == image
    (child,) = built.children
    for digest, extent in tarball.read(str(path)).items():
        assert b"".join(tarball.chunks(extent)) == built.blobs()[digest].data
    assert image.manifest_bytes == child.data and image.config_bytes == child.config.data


def test_same_bytes_from_any_source(path, tmp_path):
    """Blobs in files of their own or in other tarballs, at other offsets, written later and by another process."""
    installed.write_tarball(path, INDEX, AMD64)
    one = path.read_bytes()

    shuffled = list(members().items())
    random.Random(1).shuffle(shuffled)
    source = pack(tmp_path / "other.tar", shuffled)
    os.utime(source, (1, 1))
    image = tarball.load(str(source), AMD64, None)
    two = tmp_path / "two.tar"
    tarball.write(str(two), image, tarball.read(str(source)))
    assert two.read_bytes() == one

    three = tmp_path / "three.tar"
    code = (
        "import sys; from dockin.image import platforms, tarball; source, target = sys.argv[1:];"
        "wanted = platforms.parse('linux/amd64');"
        "tarball.write(target, tarball.load(source, wanted, None), tarball.read(source))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, source, three], env=environment, check=True, timeout=60, umask=0o077)
    assert three.read_bytes() == one


def test_layers_listed_twice_are_stored_once(path):
    built = images.image([FIRST, SECOND, FIRST], "linux/amd64")
    installed.write_tarball(path, built, AMD64)
    assert len(tarball.read(str(path))) == 4
    assert len(verify(path, built.digest).manifest.layers) == 3


# Wrong digests at every level


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        (INDEX, "index or manifest"),
        (SINGLE, "manifest"),
        (SINGLE.config, "config"),
        (SINGLE.layers[0], "blob"),
        (SINGLE.layers[1], "blob"),
    ],
    ids=["index", "manifest", "config", "first layer", "last layer"],
)
@pytest.mark.parametrize("damage", ["one bit", "blank", "other"])
def test_wrong_bytes(path, blob, what, damage):
    data = bytearray(blob.data)
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    elif damage == "blank":
        data[-1:] = b" "
    else:
        data[:] = ARM.data[: len(data)].ljust(len(data))
    pack(path, {**members(), BLOBS + blob.hex: bytes(data)})
    with pytest.raises(InvalidTarball) as caught:
        verify(path)
    actual = images.sha256(bytes(data))
    assert str(caught.value) == f"Checksum mismatch: the {what} has {actual}, expected {blob.digest}"
    assert caught.value.actual == actual[7:]


@pytest.mark.parametrize(
    "blob", [INDEX, SINGLE, SINGLE.config, *SINGLE.layers], ids=["index", "manifest", "config", "layer", "last layer"]
)
@pytest.mark.parametrize("damage", ["missing", "short", "long", "empty"])
def test_missing_or_wrong_size(path, blob, damage):
    files = members()
    name = BLOBS + blob.hex
    if damage == "missing":
        del files[name]
    else:
        files[name] = {"short": blob.data[:-1], "long": blob.data + b"\0", "empty": b""}[damage]
    pack(path, files)
    assert blob.hex in refused(path)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_missing_documents_of_the_layout(path, name):
    files = members()
    del files[name]
    pack(path, files)
    if name == "index.json":
        refused(path, "index.json is missing")
    else:
        verify(path)  # nothing of the image is in it


def test_the_top_is_not_the_pin(path):
    """The chain is good, but it is another image's: the right platform's manifest without its index, say."""
    installed.write_tarball(path, SINGLE, AMD64)
    message = refused(path, "Checksum mismatch: the image has")
    assert SINGLE.digest in message and INDEX.digest in message


@pytest.mark.parametrize("pin", [None, SINGLE.digest], ids=["unpinned", "pinned"])
def test_a_good_chain_needs_no_pin(path, pin):
    installed.write_tarball(path, SINGLE, AMD64)
    assert verify(path, pin).digest == SINGLE.digest


@pytest.mark.parametrize(
    ("index", "error", "said"),
    [
        (b"", InvalidManifest, "no JSON"),
        (b"{}", InvalidManifest, "schemaVersion is None"),
        (SINGLE.data, InvalidTarball, "does not name one image"),
        ({"schemaVersion": 2, "manifests": []}, InvalidTarball, "does not name one image"),
        (
            {"schemaVersion": 2, "manifests": [INDEX.descriptor(), INDEX.descriptor()]},
            InvalidTarball,
            "does not name one image",
        ),
        ({"schemaVersion": 2, "manifests": [ARM.descriptor()]}, InvalidTarball, f"{BLOBS}{ARM.hex} is missing"),
        ({"schemaVersion": 2, "manifests": [SINGLE.descriptor()]}, InvalidTarball, "Checksum mismatch: the image has"),
        ({"schemaVersion": 2, "manifests": [SINGLE.config.descriptor()]}, InvalidManifest, "schemaVersion is None"),
        ({"schemaVersion": 2, "manifests": [SINGLE.layers[0].descriptor()]}, InvalidManifest, "no JSON"),
        (
            {"schemaVersion": 2, "manifests": [{**INDEX.descriptor(), "digest": "sha256:../../index.json"}]},
            InvalidManifest,
            "is no digest",
        ),
        pytest.param(b" " * (manifests.MAX_MANIFEST_SIZE + 1), InvalidTarball, "at most 4194304", id="too big"),
    ],
)
def test_index_json_names_something_else(path, index, error, said):
    data = index if isinstance(index, bytes) else json.dumps(index).encode()
    pack(path, {**members(), "index.json": data})
    refused(path, said, error)


def test_documents_of_absurd_size_are_not_read(path):
    """Sparse on the disk: reading it would take memory and time."""
    top = bytes(manifests.MAX_MANIFEST_SIZE + 1)
    built = images.Blob(manifests.OCI_INDEX, top)
    index = {"schemaVersion": 2, "manifests": [built.descriptor()]}
    pack(path, {"index.json": json.dumps(index).encode(), BLOBS + built.hex: top})
    refused(path, "at most 4194304 are accepted")


# Wrong images with right digests


def tarball_of(path, content, child):
    """Write a tarball whose digests are right, whatever its image is."""
    return pack(path, members(content, child))


@pytest.mark.parametrize(
    ("stated", "config", "said"),
    [
        ("linux/amd64", {"architecture": "arm64"}, "built for linux/arm64"),
        ("linux/amd64", {"os": "windows"}, "built for windows/amd64"),
        ("linux/amd64", {"architecture": ""}, "does not say what it is built for"),
        ("linux/amd64", {"variant": "v3"}, "built for linux/amd64/v3"),
    ],
)
def test_a_config_of_another_platform(path, stated, config, said):
    child = images.image([FIRST], stated, config=config)
    built = images.index([child])
    tarball_of(path, built, child)
    with pytest.raises(PlatformError, match=re.escape(said)):
        verify(path, built.digest)
    # Nor without an index.
    tarball_of(path, child, child)
    with pytest.raises(PlatformError, match=re.escape(said)):
        verify(path, child.digest)


def test_an_index_without_the_platform(path):
    installed.write_tarball(path, INDEX, AMD64)
    with pytest.raises(PlatformError, match="No image for linux/riscv64 in the index"):
        tarball.verify(str(path), platforms.parse("linux/riscv64"), INDEX.digest)


def test_another_platform_of_the_index_is_not_there(path):
    installed.write_tarball(path, INDEX, AMD64)
    with pytest.raises(InvalidTarball, match=f"Incomplete image tarball .*{ARM.hex} is missing"):
        tarball.verify(str(path), platforms.parse("linux/arm/v7"), INDEX.digest)


def test_the_variant_of_the_index_counts_where_the_config_has_none(path):
    child = images.image([FIRST], "linux/arm/v5", config={"variant": ""})
    built = images.index([child])
    tarball_of(path, built, child)
    assert tarball.verify(str(path), platforms.parse("linux/arm/v5"), built.digest).digest == built.digest


def test_an_index_in_an_index(path):
    inner = images.index([SINGLE])
    outer = images.index([images.Manifest(inner.media_type, inner.data, platform="linux/amd64")])
    pack(path, {**members(inner), **members(outer)})
    with pytest.raises(InvalidManifest, match="is an index again"):
        verify(path, outer.digest)


def test_more_layers_than_the_config_knows(path):
    child = images.image([FIRST, SECOND], "linux/amd64", config={"rootfs": {"type": "layers", "diff_ids": [FIRST.diff_id]}})
    tarball_of(path, child, child)
    with pytest.raises(InvalidManifest, match="2 layers in the manifest, 1 in the config"):
        verify(path, child.digest)


@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
@pytest.mark.parametrize("wrong", [-1, 1, 1 << 40])
def test_a_stated_size_is_wrong(path, what, wrong):
    """The digest is right, the size is not: Docker would refuse the image on the target."""
    document = json.loads(SINGLE.data)
    if what == "layer":
        document["layers"][0]["size"] += wrong
    elif what == "config":
        document["config"]["size"] += wrong
    child = images.Manifest(SINGLE.media_type, images.to_json(document), SINGLE.config, SINGLE.layers)
    document = json.loads(images.index([child]).data)
    if what == "manifest":
        document["manifests"][0]["size"] += wrong
    built = images.Index(INDEX.media_type, images.to_json(document))
    tarball_of(path, built, child)
    with pytest.raises(DockinError, match=r"has \d+ bytes"):
        verify(path, built.digest)


# Half files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a good tarball."""
    path = tmp_path_factory.mktemp("whole") / "docker_whole.tar"
    installed.write_tarball(path, INDEX, AMD64)
    return path.read_bytes()


def test_no_part_of_a_file_is_accepted(path, whole):
    path.write_bytes(whole)
    verify(path)
    blocks = range(0, len(whole), tarfile.BLOCKSIZE)
    cuts = {cut for block in blocks for cut in (block - 1, block, block + 1, block + 100)}
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidTarball):
            verify(path)
        with pytest.raises(InvalidTarball):
            tarball.read(str(path))


@pytest.mark.parametrize(
    "addition",
    [b"\0", b"x", bytes(512), bytes(tarfile.RECORDSIZE), b"x" * tarfile.RECORDSIZE],
    ids=["zero", "byte", "block", "record of zeros", "record"],
)
def test_nothing_stands_after_the_end(path, whole, addition):
    path.write_bytes(whole + addition)
    refused(path, f"{len(whole) + len(addition)} bytes, expected {len(whole)}")


def test_nothing_is_hidden_after_the_end_mark(path, whole):
    path.write_bytes(whole[:-1] + b"x")
    refused(path, "with zeros at the end")


def test_no_byte_can_change_what_is_read(path, whole):
    """Each flip is found, or it is where nothing is read: in the padding."""
    path.write_bytes(whole)
    image, good = verify(path), tarball.read(str(path))
    layers = {digest: b"".join(tarball.chunks(extent)) for digest, extent in good.items()}
    accepted = 0
    for place in range(0, len(whole), 41):
        data = bytearray(whole)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            again = verify(path)
        except DockinError:
            continue
        accepted += 1
        assert again == image
        found = tarball.read(str(path))
        assert {digest: b"".join(tarball.chunks(extent)) for digest, extent in found.items()} == layers
    assert accepted < len(whole) // 41 / 4


@pytest.mark.parametrize("size", [0, 1, 511, 512, 10240])
@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_no_tar(path, size, byte):
    path.write_bytes(byte * size)
    refused(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none.tar")
    with pytest.raises(tarball.InvalidTarball, match="no regular file"):
        verify(tmp_path)


# Members that no image tarball has


def info(name, kind=tarfile.REGTYPE, link="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (info("../../etc/cron.d/x"), "it has a member '../../etc/cron.d/x'"),
        (info("/etc/passwd"), "it has a member '/etc/passwd'"),
        (info(BLOBS + "../../../x"), "it has a member"),
        (info("./" + BLOBS + "0" * 64), "it has a member"),
        (info(BLOBS + "0" * 63), "it has a member"),
        (info(BLOBS + "0" * 65), "it has a member"),
        (info(BLOBS + "A" * 64), "it has a member"),
        (info(BLOBS + "0" * 64 + "\n"), "it has a member"),
        (info("blobs/sha512/" + "0" * 128), "is no regular file"),  # a long name, which GNU tar puts into a member
        (info("index.json/"), "it has a member 'index.json/'"),
        (info("manifest.json"), "it has a member 'manifest.json'"),
        (info("a\nb"), r"'a\nb'"),
        (info("\udcff"), r"'\udcff'"),
        (info("blobs", tarfile.DIRTYPE), "'blobs' is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.SYMTYPE, "/etc/shadow"), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.LNKTYPE, "index.json"), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.CHRTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.BLKTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.FIFOTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.CONTTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.GNUTYPE_SPARSE), "is no regular file"),
        (info(BLOBS + "0" * 64, b"V"), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.XHDTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.XGLTYPE), "is no regular file"),
        (info(BLOBS + "0" * 64, tarfile.GNUTYPE_LONGLINK), "is no regular file"),
    ],
    ids=lambda value: f"{value.type.decode()} {value.name!a}" if isinstance(value, tarfile.TarInfo) else "",
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_foreign_members(path, bad, said, first):
    extra = [(bad, b"")]
    files = list(members().items())
    pack(path, extra + files if first else files + extra)
    refused(path, said)
    with pytest.raises(InvalidTarball):
        tarball.read(str(path))


@pytest.mark.parametrize("name", ["index.json", "oci-layout", BLOBS + INDEX.hex, BLOBS + SINGLE.layers[0].hex])
def test_duplicate_members(path, name):
    """The second could be read where the first was verified."""
    files = members()
    pack(path, [*files.items(), (name, files[name])])
    refused(path, f"{name!r} is there twice")


@pytest.mark.parametrize("key", ["path", "size", "GNU.sparse.major", "GNU.sparse.size", "linkpath", "comment"])
def test_pax_headers_are_not_followed(path, key):
    made = info("index.json")
    made.pax_headers = {key: "1"}
    pack(path, [(made, members()["index.json"])], tarfile.PAX_FORMAT)
    refused(path, "is no regular file")


def header(size, kind=tarfile.REGTYPE, name="index.json"):
    """Return a header that states a size, whatever follows."""
    return info(name, kind, size=size).tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [1, 512, 1 << 33, 1 << 62, 1 << 80, -1, -512, -(1 << 62)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_absurd_sizes(path, size, kind):
    path.write_bytes(header(size, kind) + bytes(512 if size == 1 << 33 else 0))
    refused(path)


def test_a_huge_blob_is_found_without_reading_it(path):
    """More than the 8 GiB that fit into a header's octal digits; sparse on the disk."""
    size = 9 << 30
    with open(path, "wb") as file:
        file.write(header(size, name=BLOBS + "0" * 64))
        file.truncate(512 + size + -(512 + size) % tarfile.RECORDSIZE + tarfile.RECORDSIZE)
    expected = 512 + size + 1024
    expected += -expected % tarfile.RECORDSIZE
    os.truncate(path, expected)
    assert tarball.read(str(path)) == {OTHER: Extent(str(path), 512, size)}


# Reading, checking and copying blobs


@pytest.fixture
def blob_file(tmp_path):
    """A file with a blob in the middle, its descriptor and its extent."""
    data = bytes(range(256)) * 20_000
    file = tmp_path / "file"
    file.write_bytes(b"before" + data + b"after")
    return data, Descriptor(manifests.OCI_LAYER, images.sha256(data), len(data)), Extent(str(file), 6, len(data))


def test_chunks(blob_file):
    data, _, extent = blob_file
    chunks = list(tarball.chunks(extent))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= tarball.CHUNK and len(chunks) > 1
    assert list(tarball.chunks(Extent(extent.path, 6, 0))) == []


def test_chunks_of_a_file_that_is_too_short(blob_file):
    data, _, extent = blob_file
    with pytest.raises(InvalidTarball, match="ends before its last blob"):
        list(tarball.chunks(Extent(extent.path, 6, len(data) + 6)))


@pytest.mark.parametrize(
    ("digest", "size", "said"),
    [
        (OTHER, None, f"expected {OTHER}"),
        (None, 1, "its manifest says 1"),
        (None, 1 << 40, "its manifest says"),
    ],
)
def test_a_wrong_blob_is_neither_copied_nor_good(blob_file, tmp_path, digest, size, said):
    _, good, extent = blob_file
    wrong = Descriptor(good.media_type, digest or good.digest, size or good.size)
    assert tarball.is_blob(extent, good) and not tarball.is_blob(extent, wrong)
    with pytest.raises(InvalidTarball, match=re.escape(said)) as caught:
        tarball.copy_blob(extent, wrong, str(tmp_path / "copy"))
    assert good.digest in str(caught.value)
    tarball.copy_blob(extent, good, str(tmp_path / "copy"))
    assert images.sha256((tmp_path / "copy").read_bytes()) == good.digest


@pytest.mark.parametrize("damage", ["bytes", "size", "file too short"])
def test_a_wrong_layer_is_not_written(path, tmp_path, damage):
    installed.write_tarball(path, SINGLE, AMD64)
    image, extents = verify(path, SINGLE.digest), tarball.read(str(path))
    layer = SINGLE.layers[1]
    bad = tmp_path / "layer"
    bad.write_bytes(bytes(layer.size - (damage == "file too short")))
    extents[layer.digest] = Extent(str(bad), 0, layer.size + (damage == "size"))
    with pytest.raises(InvalidTarball) as caught:
        tarball.write(str(tmp_path / "new.tar"), image, extents)
    if damage == "bytes":
        assert layer.digest in str(caught.value) and images.sha256(bytes(layer.size)) in str(caught.value)
    # What is left of it is refused as well.
    refused(tmp_path / "new.tar")


# Blobs in other tarballs


def test_blobs_are_found_in_other_tarballs(tmp_path):
    other = images.image([FIRST, images.layer({"etc/motd": "other\n"})], "linux/amd64")
    installed.write_tarball(tmp_path / "docker_one_linux-amd64.tar", INDEX, AMD64)
    installed.write_tarball(tmp_path / "docker_two_linux-amd64.tar", other, AMD64)
    found = tarball.find_blobs(str(tmp_path))
    assert found.keys() > {FIRST.blob("oci").digest, other.layers[1].digest, SINGLE.config.digest}
    assert len(found[FIRST.blob("oci").digest]) == 2
    for digest, extents in found.items():
        for extent in extents:
            assert images.sha256(b"".join(tarball.chunks(extent))) == digest


def test_each_place_of_a_blob_is_given(tmp_path, whole):
    for name in "cab":
        (tmp_path / f"docker_{name}.tar").write_bytes(whole)
    paths = [str(tmp_path / f"docker_{name}.tar") for name in "abc"]
    assert [extent.path for extent in tarball.find_blobs(str(tmp_path))[SINGLE.digest]] == paths


def test_damaged_tarballs_are_no_hit(tmp_path, whole):
    digest = SINGLE.layers[0].digest
    (tmp_path / "docker_a.tar").write_bytes(b"")
    (tmp_path / "docker_b.tar").write_bytes(whole[:-1])
    (tmp_path / "docker_c.tar").write_bytes(b"x" * 10240)
    (tmp_path / "docker_d.tar").symlink_to("nowhere")
    (tmp_path / "docker_e.tar").mkdir()
    os.mkfifo(tmp_path / "docker_e2.tar")
    pack(tmp_path / "docker_f.tar", [(info(BLOBS + digest[7:], tarfile.SYMTYPE, "/etc/passwd"), b"")])
    assert not tarball.find_blobs(str(tmp_path))
    (tmp_path / "docker_z.tar").write_bytes(whole)
    assert [extent.path for extent in tarball.find_blobs(str(tmp_path))[digest]] == [str(tmp_path / "docker_z.tar")]


def test_a_false_claim_is_found_out(tmp_path):
    """Only headers are read in searching: who takes the blob has to hash it, and does."""
    layer = SINGLE.layers[0]
    pack(tmp_path / "docker_a.tar", {**members(), BLOBS + layer.hex: bytes(layer.size)})
    [extent] = tarball.find_blobs(str(tmp_path))[layer.digest]
    blob = manifests.Descriptor(layer.media_type, layer.digest, layer.size)
    assert not tarball.is_blob(extent, blob)
    with pytest.raises(InvalidTarball, match=layer.digest):
        tarball.copy_blob(extent, blob, str(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["docker_x.tar.part", "docker_x.tar_bad-checksum_invalid", "x.tar", "docker_x.tar.done"])
def test_only_image_tarballs_are_looked_into(tmp_path, whole, name):
    (tmp_path / name).write_bytes(whole)
    assert not tarball.find_blobs(str(tmp_path))


def test_no_directory(tmp_path):
    assert not tarball.find_blobs(str(tmp_path / "none"))


def test_a_directory_name_is_no_pattern(tmp_path, whole):
    directory = tmp_path / "a[b]*?"
    directory.mkdir()
    (directory / "docker_a.tar").write_bytes(whole)
    assert SINGLE.digest in tarball.find_blobs(str(directory))


# Properties


def try_all(path):
    """Read a file in every way: each returns something, or raises DockinError."""
    for attempt in (
        lambda: tarball.read(str(path)),
        lambda: tarball.load(str(path), AMD64, None),
        lambda: verify(path, None),
    ):
        try:
            attempt()
        except DockinError:
            continue
    tarball.find_blobs(str(path.parent))


@SETTINGS
@given(st.binary(max_size=2000))
def test_any_bytes(path, data):
    path.write_bytes(data)
    try_all(path)


@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(["index.json", "oci-layout", BLOBS + "0" * 64]), st.text(max_size=120)),
            st.binary(max_size=4) | st.just(SINGLE.data),
        ),
        max_size=4,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.data(),
)
def test_any_tar(path, files, form, data):
    pack(path, [(name.replace("\0", "") or "x", content) for name, content in files], form)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try_all(path)


@SETTINGS
@given(st.data())
def test_any_damage(path, whole, data):
    """Whatever is damaged or cut off, what is accepted is the image, whole."""
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    copy = bytearray(whole[:cut])
    for _ in range(data.draw(st.integers(1, 3))):
        if copy:
            copy[data.draw(st.integers(0, len(copy) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(copy)
    try:
        image = verify(path)
    except DockinError:
        return
    assert cut == len(whole)
    assert image.documents == {blob.digest: blob.data for blob in (INDEX, SINGLE, SINGLE.config)}


# Entries of an index that state no platform

SILENT = {name: images.image([images.layer({"etc/motd": name})], name) for name in (
    "linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/s390x")}
CHART = images.manifest(images.Blob("application/vnd.cncf.helm.config.v1+json", b"{}"), [], "")


def silent(names):
    """Return an index: of amd64 an image that says so, of -amd64 one that does not; an attestation of the first, a chart."""
    children, stated = [], []
    for name in names.split():
        platform = "linux/" + name.lstrip("-")
        children.append(CHART if name == "chart" else SILENT.get(platform) or images.attestation(children[0]))
        stated.append(platform if name == platform[6:] and name != "chart" else "")
    return images.index(children, platforms=stated)


@pytest.mark.parametrize(("names", "wanted", "position", "looked_at"), [
    ("-amd64", "amd64", 0, 1),
    ("-amd64 -attestation", "amd64", 0, 1),
    ("-arm/v7 -attestation", "arm/v7", 0, 1),
    ("-amd64 -arm/v7", "arm/v7", 1, 2),
    ("-arm/v5 -arm/v7 -arm/v6", "arm/v7", 1, 3),
    ("-arm/v7 -arm/v5", "arm/v6", 1, 2),
    ("-amd64 -amd64", "amd64", 0, 1),
    ("-amd64 amd64", "amd64", 1, 0),
    ("arm/v5 -arm/v7", "arm/v7", 0, 0),
    ("s390x -arm/v7", "arm/v7", 1, 1),
    ("chart -amd64", "amd64", 1, 1),
])
def test_entries_without_a_platform(path, names, wanted, position, looked_at):
    """Those that state one go first, as in containerd; of the others all are looked at, and kept with the image."""
    content, platform = silent(names), platforms.parse("linux/" + wanted)
    image = installed.write_tarball(path, content, platform)
    assert image.manifest_digest == content.children[position].digest
    configs = {child.config.digest for child in content.children} & image.documents.keys()
    assert len(configs | {image.manifest.config.digest}) == max(looked_at, 1)
    assert tarball.verify(str(path), platform, content.digest) == image
    if looked_at > 1:
        other = next(child for child in content.children if child.digest != image.manifest_digest)
        files = members(content, content.children[position])
        assert BLOBS + other.hex not in files
        pack(path, files)
        # Another one could be chosen there.
        with pytest.raises(InvalidTarball, match=f"{other.hex} is missing|{other.config.hex} is missing"):
            tarball.verify(str(path), platform, content.digest)


@pytest.mark.parametrize(("names", "error", "said"), [
    ("-amd64", PlatformError, "No image for linux/arm/v7 in the index: it has linux/amd64"),
    ("-amd64 -s390x -attestation", PlatformError, "it has linux/amd64, linux/s390x"),
    ("-amd64 s390x", PlatformError, "it has linux/amd64, linux/s390x"),
    ("chart", manifests.NotAnImage, "an artifact such as a chart"),
    ("chart chart", PlatformError, "it has no image"),
])
def test_no_entry_without_a_platform_that_fits(path, names, error, said):
    with pytest.raises(error, match=said):
        installed.write_tarball(path, silent(names), platforms.parse("linux/arm/v7"))


def test_more_entries_without_a_platform_than_are_looked_at():
    content = silent("-amd64 " * (manifests.MAX_CONFIGS_READ + 1))
    with pytest.raises(InvalidManifest, match="101 entries state no platform, at most 100 are read"):
        tarball.make_image(content.digest, content.data, AMD64, pytest.fail)


def test_as_many_entries_without_a_platform_as_are_looked_at(path):
    content = silent("-amd64 " * manifests.MAX_CONFIGS_READ)
    assert installed.write_tarball(path, content, AMD64).manifest_digest == content.children[0].digest


# Memory


def peak(function, *arguments):
    """Return the most memory that a call had at once, in bytes."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_layers(path, tmp_path):
    size = 64 << 20
    layer = tmp_path / "layer"
    with open(layer, "wb") as file:
        file.truncate(size)
    digest = images.sha256(layer.read_bytes())
    document = json.loads(SINGLE.data)
    document["layers"][0].update(digest=digest, size=size)
    built = images.Manifest(SINGLE.media_type, images.to_json(document))
    blobs = {built.digest: built.data, SINGLE.config.digest: SINGLE.config.data}
    image = tarball.make_image(built.digest, built.data, AMD64, lambda blob: blobs[blob.digest])
    second = tmp_path / "second"
    second.write_bytes(SINGLE.layers[1].data)
    extents = {
        digest: Extent(str(layer), 0, size),
        SINGLE.layers[1].digest: Extent(str(second), 0, SINGLE.layers[1].size),
    }
    limit = 4 * tarball.CHUNK
    assert peak(tarball.write, str(path), image, extents) < limit
    assert peak(tarball.verify, str(path), AMD64, built.digest) < limit
    extent = tarball.read(str(path))[digest]
    assert peak(tarball.copy_blob, extent, image.manifest.layers[0], str(tmp_path / "copy")) < limit


@pytest.mark.parametrize("blob", ["config", "layer"])
@pytest.mark.parametrize("about", [{"os": "linux", "architecture": "s390x"}, {"architecture": "386"}])
def test_a_blob_that_is_another_entry_of_the_index_is_refused(blob, about):
    """A layer may be any text. As a manifest, with another layer as its config, containerd would run it."""
    own = images.image([images.layer({"own": "own\n"})], "linux/amd64")
    digest = own.config.digest if blob == "config" else own.layers[0].digest
    document = json.loads(images.index([own]).data)
    document["manifests"].insert(0, {**document["manifests"][0], "digest": digest, "platform": about})
    top = json.dumps(document).encode()
    blobs = own.blobs()
    with pytest.raises(manifests.InvalidManifest, match=f"its blob {digest} is also an entry of its index"):
        tarball.make_image(images.sha256(top), top, AMD64, lambda one: blobs[one.digest].data)


def test_an_entry_without_an_os_is_one_of_linux():
    """containerd takes the machine's own os there, and of two entries of one platform the first."""
    first, second = (images.image([images.layer({"word": word})], "linux/amd64") for word in ("first", "second"))
    document = json.loads(images.index([first, second]).data)
    del document["manifests"][0]["platform"]["os"]
    top = json.dumps(document).encode()
    blobs = {**first.blobs(), **second.blobs()}
    image = tarball.make_image(images.sha256(top), top, AMD64, lambda one: blobs[one.digest].data)
    assert image.manifest_digest == first.digest
