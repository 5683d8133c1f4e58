# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Data-roots: the files that Docker will look for, as any user may write them. What Docker makes of them: tests/docker."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile

import pytest

from dockin.store import docker, writer
from dockin.store.rootfs import InvalidPlace
from dockin.store.writer import InvalidDataRoot
from dockin.target import imageinfo
from support import images, installed, layers
from support.fixtures import like_root  # noqa: F401
from support.trees import snapshot

EPOCH = 1_700_000_000

pytestmark = pytest.mark.usefixtures("like_root")


def install(tmp_path, content, name="team/app:1", **options):
    return installed.install(tmp_path / "archives", images.image(content), name, **options)


def sources(*made):
    return [writer.read_source(str(one.info)) for one in made]


def read_layer(root, chain):
    """Return what Docker notes of a layer, and its tar-split entries."""
    folder = root / "image/overlay2/layerdb/sha256" / chain[7:]
    notes = {path.name: path.read_text() for path in folder.iterdir() if not path.name.endswith(".gz")}
    lines = gzip.decompress((folder / "tar-split.json.gz").read_bytes()).splitlines()
    return notes, [json.loads(line) for line in lines]


def reassemble(root, chain):
    """Return a layer's tar as Docker writes it again."""
    notes, entries = read_layer(root, chain)
    diff = root / "overlay2" / notes["cache-id"] / "diff"
    tar = b""
    for entry in entries:
        if entry["type"] == 2:
            tar += base64.b64decode(entry["payload"])
        elif entry.get("size"):
            data = (diff / entry["name"]).read_bytes()
            assert len(data) == entry["size"]
            tar += data
    return tar


BASE = images.layer({"etc/motd": "hello\n", "bin/sh": images.Entry(b"#!"), "lib": images.Symlink("usr/lib")})
UPPER = images.layer({"etc/motd": "changed\n", "srv/data": "x" * 5000})


def test_files(tmp_path):
    made = install(tmp_path, [BASE, UPPER])
    root = tmp_path / "docker"
    added = writer.write(str(root), sources(made), EPOCH)
    upper = docker.chain_id(BASE.diff_id, UPPER.diff_id)
    assert added == {BASE.diff_id: 6 + 2 + 7, upper: 8 + 5000}

    store = root / "image/overlay2"
    assert json.loads((store / "repositories.json").read_text()) == {"Repositories": {"team/app": {
        "team/app:1": made.config_digest, f"team/app@{made.top_digest}": made.config_digest}}}
    config = (store / "imagedb/content/sha256" / made.config_digest[7:]).read_bytes()
    assert images.sha256(config) == made.config_digest

    base_id, upper_id = docker.cache_id(BASE.diff_id), docker.cache_id(upper)
    notes, _ = read_layer(root, BASE.diff_id)
    assert notes == {"cache-id": base_id, "diff": BASE.diff_id, "size": "15"}
    notes, _ = read_layer(root, upper)
    assert notes == {"cache-id": upper_id, "diff": UPPER.diff_id, "size": "5008", "parent": BASE.diff_id}
    assert reassemble(root, BASE.diff_id) == BASE.tar
    assert reassemble(root, upper) == UPPER.tar

    base_link, upper_link = docker.link_id(BASE.diff_id), docker.link_id(upper)
    assert (root / "overlay2" / base_id / "link").read_text() == base_link
    assert (root / "overlay2" / upper_id / "lower").read_text() == f"l/{base_link}"
    assert sorted(os.listdir(root / "overlay2" / base_id)) == ["committed", "diff", "link"]
    assert sorted(os.listdir(root / "overlay2" / upper_id)) == ["diff", "link", "lower", "work"]
    assert (root / "overlay2/l" / upper_link / "srv/data").read_text() == "x" * 5000
    record = (root / "dockin/team-app-1").read_text()
    assert record == made.information.render_record(made.config_digest, [base_id, upper_id])
    assert record.endswith(f"\nmade={upper_id}\nlayers={base_id} {upper_id}\n")


def test_the_names_docker_looks_for():
    """Cache-ids are of 64 hex digits, links of 26 characters that a mount option can hold."""
    assert len(docker.cache_id(BASE.diff_id)) == 64
    assert len(docker.link_id(BASE.diff_id)) == 26
    assert docker.link_id(BASE.diff_id).isalnum()
    # https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    chain = "sha256:" + hashlib.sha256(f"{BASE.diff_id} {UPPER.diff_id}".encode()).hexdigest()
    assert docker.chain_id(BASE.diff_id, UPPER.diff_id) == chain


@pytest.mark.parametrize("compression", installed.COMPRESSIONS)
def test_the_same_bytes_from_any_compression(tmp_path, compression):
    plain = install(tmp_path, [BASE, UPPER])
    packed = installed.install(tmp_path / "packed", images.image([BASE, UPPER]), "team/app:1", compression=compression)
    writer.write(str(tmp_path / "one"), sources(plain), EPOCH)
    writer.write(str(tmp_path / "two"), sources(packed), EPOCH)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_times_follow_the_epoch_or_the_layer(tmp_path):
    root = tmp_path / "docker"
    writer.write(str(root), sources(install(tmp_path, [BASE])), EPOCH)
    times = {name: stat_[2] for name, stat_ in snapshot(root).items()}
    cache = f"overlay2/{docker.cache_id(BASE.diff_id)}"
    assert times.pop(f"{cache}/diff") == EPOCH * 10**9
    assert {time for name, time in times.items() if name.startswith(f"{cache}/diff")} == {images.MTIME * 10**9}
    assert {time for name, time in times.items() if not name.startswith(f"{cache}/diff")} == {EPOCH * 10**9}
    assert root.stat().st_mtime == EPOCH


def test_images_in_one_go_or_one_by_one(tmp_path):
    other = images.layer({"other": "2"})
    made = [install(tmp_path, [BASE, UPPER]), install(tmp_path, [BASE, other], "team/other:1"),
            install(tmp_path, [BASE, UPPER], "team/app:latest")]
    added = writer.write(str(tmp_path / "one"), sources(*made), EPOCH)
    assert len(added) == 3
    counts = [len(writer.write(str(tmp_path / "two"), sources(one), EPOCH)) for one in made]
    assert counts == [2, 1, 0]
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert writer.write(str(tmp_path / "two"), sources(*made), EPOCH) == {}
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_a_tag_moves_to_a_later_image(tmp_path):
    root = tmp_path / "docker"
    writer.write(str(root), sources(install(tmp_path / "a", [BASE])), EPOCH)
    later = install(tmp_path / "b", [BASE, UPPER])
    writer.write(str(root), sources(later), EPOCH)
    names = json.loads((root / "image/overlay2/repositories.json").read_text())["Repositories"]["team/app"]
    assert names["team/app:1"] == later.config_digest
    assert len(names) == 3


def test_layers_as_the_registry_has_them(tmp_path):
    """What "docker pull" notes of each, once for all images of a repository: so it knows them again in another image."""
    made = [
        install(tmp_path, [BASE, images.Layer(UPPER.tar, "none")], f"registry.example/team/app:{tag}", layers="registry")
        for tag in (1, 2)
    ]
    root = tmp_path / "docker"
    writer.write(str(root), sources(*made), EPOCH)
    folder = root / "image/overlay2/distribution"
    digest = BASE.blob("oci").digest
    assert (folder / "diffid-by-digest/sha256" / digest[7:]).read_text() == BASE.diff_id
    assert json.loads((folder / "v2metadata-by-diffid/sha256" / BASE.diff_id[7:]).read_text()) == [
        {"Digest": digest, "SourceRepository": "registry.example/team/app", "HMAC": ""}]


@pytest.mark.parametrize("name", ["replaced entries", "sparse of GNU tar"])
def test_tars_that_docker_could_not_write_again(tmp_path, name):
    """Readers refuse a name that comes twice, and know no holes: such content is in the tar-split file itself."""
    content = layers.BEYOND[name]()
    root = tmp_path / "docker"
    writer.write(str(root), sources(install(tmp_path, content)), EPOCH)
    chain = ""
    for layer in content:
        chain = docker.chain_id(chain, layer.diff_id)
        names = [os.path.normpath(entry["name"]) for entry in read_layer(root, chain)[1] if entry["type"] == 1]
        assert len(names) == len(set(names))
        assert reassemble(root, chain) == layer.tar


def test_two_images_of_one_name(tmp_path):
    one, two = install(tmp_path / "a", [BASE]), install(tmp_path / "b", [UPPER])
    with pytest.raises(InvalidDataRoot, match=f"Two images are called team/app:1: {one.config_digest} and"):
        writer.write(str(tmp_path / "docker"), sources(one, two))


def test_two_platforms_of_one_index(tmp_path):
    """Its digest is a name of neither; what one image alone has is."""
    one, two, other = install(tmp_path, [BASE]), install(tmp_path, [UPPER], "team/app:1-32"), install(
        tmp_path, [BASE, UPPER], "team/other:1")
    for made in (two, other):
        made.rewrite(source_digest=one.top_digest)
    writer.write(str(tmp_path / "docker"), sources(one, two, other))
    names = json.loads((tmp_path / "docker/image/overlay2/repositories.json").read_text())["Repositories"]
    assert names == {
        "team/app": {"team/app:1": one.config_digest, "team/app:1-32": two.config_digest},
        "team/other": {"team/other:1": other.config_digest, f"team/other@{one.top_digest}": other.config_digest}}


def test_a_data_root_that_docker_has_used(tmp_path):
    root = tmp_path / "docker"
    made = install(tmp_path, [BASE])
    writer.write(str(root), sources(made))
    (root / "image/overlay2/layerdb/sha256" / BASE.diff_id[7:] / "cache-id").write_text("1234")
    with pytest.raises(InvalidDataRoot, match="Docker has used this data-root"):
        writer.write(str(root), sources(made))


def test_not_a_data_root_of_ours(tmp_path):
    made = sources(install(tmp_path, [BASE]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidDataRoot, match="link is a link, to '.*elsewhere': give the directory itself"):
        writer.write(str(tmp_path / "link"), made)
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "used" / "containers").mkdir(parents=True)
    with pytest.raises(InvalidDataRoot, match="has containers/: Docker has used this data-root"):
        writer.write(str(tmp_path / "used"), made)


def test_an_image_for_another_runtime(tmp_path):
    made = install(tmp_path, [BASE])
    made.rewrite(runtime="containerd")
    with pytest.raises(InvalidDataRoot, match="team/app:1 is for containerd, which has no data-root"):
        writer.write(str(tmp_path / "docker"), sources(made))
    other = install(tmp_path, [BASE], "team/other:1")
    made.rewrite(runtime="podman")
    with pytest.raises(InvalidDataRoot, match="team/app:1 is for podman, team/other:1 is for docker"):
        writer.write(str(tmp_path / "docker"), sources(made, other))


def test_images_in_a_root_file_system(tmp_path):
    made = install(tmp_path, [BASE])
    path = "/archives/" + made.info.name
    assert writer.read_sources(str(tmp_path), [path], "docker") == sources(made)
    message = "^the package with team/app:1 has it for docker, but the image recipe has DOCKIN_RUNTIME = 'podman': set it"
    with pytest.raises(InvalidDataRoot, match=message):
        writer.read_sources(str(tmp_path), [path], "podman")
    (tmp_path / "share").symlink_to("/archives")
    with pytest.raises(InvalidPlace, match="/share is a link to /archives in the root file system; set docker_archivedir"):
        writer.read_sources(str(tmp_path), ["/share/" + made.info.name], "docker")


def test_an_archive_that_is_a_fifo(tmp_path):
    made = install(tmp_path, [BASE])
    made.archive.unlink()
    os.mkfifo(made.archive)
    with pytest.raises(InvalidDataRoot, match="is no regular file"):
        writer.write(str(tmp_path / "docker"), sources(made))


def lines(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_an_archive_of_another_image(tmp_path):
    one, two = install(tmp_path / "a", [BASE]), install(tmp_path / "b", [UPPER])
    two.archive.write_bytes(one.archive.read_bytes())
    with pytest.raises(InvalidDataRoot, match=f"has the image {one.config_digest}, not {two.config_digest}"):
        writer.write(str(tmp_path / "docker"), sources(two))


@pytest.mark.parametrize("compression", installed.COMPRESSIONS)
def test_a_damaged_archive(tmp_path, compression):
    """Wherever it is damaged, nothing of the layer is left."""
    made = install(tmp_path, [BASE, images.filler_layer("f", 200_000)], compression=compression)
    data = bytearray(made.archive.read_bytes())
    data[len(data) // 2] ^= 1
    made.archive.write_bytes(data)
    root = tmp_path / "docker"
    with pytest.raises(Exception, match="damaged|Damaged|decompress|Corrupt|corrupt"):
        writer.write(str(root), sources(made))
    assert not [name for name in lines(root) if ".new" in name]
    kept = [docker.cache_id("sha256:" + name) for name in os.listdir(root / "image/overlay2/layerdb/sha256")]
    assert sorted(os.listdir(root / "overlay2")) == sorted(["l", *kept])
    assert not (root / "image/overlay2/repositories.json").exists()


def test_a_layer_that_was_compressed_again(tmp_path):
    """Its content is the image's, but Docker would be told a digest of the registry's that it has not."""
    made = install(tmp_path, [BASE], layers="registry")
    blob = BASE.blob("oci")
    other = gzip.compress(BASE.tar, 1, mtime=1)
    with tarfile.open(made.archive) as old, tarfile.open(tmp_path / "new.tar", "w") as new:
        for member in old:
            data = old.extractfile(member).read() if member.isfile() else b""
            if member.name.endswith(blob.hex):
                data = other
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    os.replace(tmp_path / "new.tar", made.archive)
    with pytest.raises(InvalidDataRoot, match=f"layer {blob.digest} has {images.sha256(other)}: the archive is damaged"):
        writer.write(str(tmp_path / "docker"), sources(made))


@pytest.mark.parametrize(
    "content", [b"", b"no archive", bytes(10240), b"\xfd7zXZ\0nothing", b"BZh91AY&SYnothing", b"\x1f\x8bx"]
)
def test_no_archive(tmp_path, content):
    made = install(tmp_path, [BASE])
    made.archive.write_bytes(content)
    with pytest.raises(writer.DockinError, match=made.archive.name):
        writer.write(str(tmp_path / "docker"), sources(made))


def test_too_many_layers(tmp_path):
    most = docker.MAX_LAYERS
    layers = [images.layer({"n": str(number)}, "none") for number in range(most + 1)]
    assert len(writer.write(str(tmp_path / "most"), sources(install(tmp_path / "a", layers[1:])))) == most
    with pytest.raises(InvalidDataRoot, match="126 layers, its config says 126; at most 125 are possible"):
        writer.write(str(tmp_path / "docker"), sources(install(tmp_path / "b", layers)))


def test_modes(tmp_path):
    """Nobody but its owner gets into a data-root, whatever the umask: it has setuid programs, on the build host as well."""
    old = os.umask(0)
    try:
        writer.write(str(tmp_path / "docker"), sources(install(tmp_path, [BASE])))
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE(found[0]) for name, found in snapshot(tmp_path / "docker").items()}
    assert modes["image"] == modes["dockin"] == modes["overlay2/l"] == 0o700
    assert modes["image/overlay2/repositories.json"] == modes["dockin/team-app-1"] == 0o600
    assert modes["overlay2"] == 0o710
    assert stat.S_IMODE((tmp_path / "docker").stat().st_mode) == 0o700


def test_a_deep_layer_that_is_damaged(tmp_path):
    """Nothing is left of it, though shutil.rmtree() does not get down there."""
    made = install(tmp_path, [BASE, layers.layer(("a/" * 2000 + "f", {}, b"x"), ("other", layers.hard("nothing")))])
    root = tmp_path / "docker"
    with pytest.raises(InvalidDataRoot, match="entry 'other': a hard link to 'nothing'"):
        writer.write(str(root), sources(made))
    assert sorted(os.listdir(root / "overlay2")) == sorted(["l", docker.cache_id(BASE.diff_id)])


def test_a_source_without_its_archive(tmp_path):
    made = install(tmp_path, [BASE])
    made.archive.unlink()
    with pytest.raises(InvalidDataRoot, match=r"team/app:1: its archive /\S+\.tar is gone: let nothing remove it"):
        writer.write(str(tmp_path / "docker"), sources(made))
    made.info.write_text("format=2\n")
    with pytest.raises(imageinfo.InvalidInformation):
        writer.read_source(str(made.info))
