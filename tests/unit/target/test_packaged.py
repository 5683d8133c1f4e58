# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.target.packaged: information files and units beside compressed archives."""

from __future__ import annotations

import dataclasses
import gzip

import pytest

from dockin.errors import DockinError
from dockin.image import archive, platforms, reference, tarball
from dockin.target import imageinfo, packaged, runtimes, units, unpacked
from support import images, installed

AMD64 = platforms.parse("linux/amd64")
NAMES = [reference.parse("busybox:1.36.1"), reference.parse("host:5000/team/app:v1")]
CONTENT = [images.image([images.layer({"a": "first\n"})], "linux/amd64"),
           images.image([images.layer({"b": "second\n" * 90000})], "linux/amd64")]


def unpack(folder, content, name):
    """Write what do_unpack does; return its description."""
    source = folder / "source.tar"
    image = installed.write_tarball(source, content, AMD64)
    result = archive.assemble(str(source), tarball.load(str(source), AMD64, None), name, archive.DECOMPRESSED,
                              str(folder / f"{name.stem}.tar"))
    source.unlink()
    made = unpacked.UnpackedImage(name.canonical, "linux/amd64", content.config.digest, result.manifest_digest,
                                  image.manifest_digest, image.digest, result.size, result.layers_size)
    (folder / f"{name.stem}.image.json").write_text(made.render())
    return made


@pytest.fixture
def archives(tmp_path):
    """What do_unpack and the compression of do_compile leave."""
    plain, build = tmp_path / "plain", tmp_path / "build"
    plain.mkdir()
    build.mkdir()
    for name, content in zip(NAMES, CONTENT):
        unpack(plain, content, name)
        (build / f"{name.stem}.tar.gz").write_bytes(gzip.compress((plain / f"{name.stem}.tar").read_bytes()))
    return packaged.Archives(str(plain), str(build), "/usr/share/dockin/archive", ".tar.gz", "gzip", external=False)


def test_each_image_gets_a_file_and_a_unit(archives, tmp_path):
    preload = units.Preload(runtime=runtimes.PODMAN)
    found = packaged.write(archives, NAMES, preload)
    for name, content, information in zip(NAMES, CONTENT, found):
        image = unpacked.read(f"{archives.unpacked}/{name.stem}.image.json")
        size = (tmp_path / "build" / f"{name.stem}.tar.gz").stat().st_size
        assert information == imageinfo.ImageInformation(
            name.canonical, name.familiar, "linux/amd64", "podman", f"{name.stem}.tar.gz", size, image.unpacked_size,
            image.layers_size, content.config.digest, image.manifest_digest, content.digest)
        assert imageinfo.read(tmp_path / "build" / f"{name.stem}.image") == information
    # The larger image is loaded first: no load leaves more free than it found.
    for name, after in zip(NAMES, (NAMES[1], None)):
        text = units.render_unit(name, f"/usr/share/dockin/archive/{name.stem}.image", preload, after)
        assert (tmp_path / "build" / units.unit_name(name)).read_text() == text
    names = {f"{name.stem}{suffix}" for name in NAMES for suffix in (".tar.gz", ".image")}
    assert {path.name for path in (tmp_path / "build").iterdir()} == names | {units.unit_name(name) for name in NAMES}


def test_an_archive_that_no_target_reads(archives, tmp_path):
    (tmp_path / "build" / f"{NAMES[1].stem}.tar.gz").write_bytes(b"base64")
    message = f"^{NAMES[1].stem}.tar.gz: targets can't read what COMPRESSION_CMD:gzip has written: it has to be xz"
    with pytest.raises(packaged.InvalidPackage, match=message):
        packaged.write(archives, NAMES, units.Preload())


def test_an_archive_of_a_users_own_is_read_only_in_a_source_tree(archives, tmp_path):
    name, own = NAMES[0], CONTENT[1]
    described = (tmp_path / "plain" / f"{name.stem}.image.json").read_text()
    made = unpack(tmp_path / "plain", own, name)
    (tmp_path / "plain" / f"{name.stem}.image.json").write_text(described)
    external = dataclasses.replace(archives, external=True)
    assert packaged.write(archives, NAMES, units.Preload())[0].image_id == CONTENT[0].config.digest
    [found, other] = packaged.write(external, NAMES, units.Preload())
    assert (found.image_id, found.manifest_digest, found.source_digest, found.unpacked_size, found.layers_size) == (
        made.image_id, made.manifest_digest, made.manifest_digest, made.unpacked_size, made.layers_size)
    assert other.image_id == CONTENT[1].config.digest


def test_the_images_of_a_source_tree(archives, tmp_path):
    (tmp_path / "plain" / "package.json").write_text("{}")
    assert packaged.external_references(archives.unpacked) == NAMES
    assert packaged.external_references(str(tmp_path / "nothing")) == []
    (tmp_path / "plain" / "x.image.json").write_text("{}")
    with pytest.raises(DockinError, match=r"Damaged description of an image, .*/x\.image\.json"):
        packaged.external_references(archives.unpacked)
