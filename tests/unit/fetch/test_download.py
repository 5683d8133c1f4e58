# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.fetch.download: how often it looks into DL_DIR. What it downloads is for the fetcher's tests, from a registry."""

from __future__ import annotations

import collections
import pathlib

import pytest

from dockin.fetch import download
from dockin.image import platforms, reference, tarball
from dockin.registry import skopeo
from support import images, installed

AMD64 = platforms.parse("linux/amd64")
SHARED = images.layer({"etc/motd": "shared\n"})
THERE = images.image([SHARED, images.layer({"bin/x": "there"})], "linux/amd64")
NEW = images.image([SHARED, images.layer({"bin/x": "new"}), images.layer({"bin/y": "new"})], "linux/amd64")


class Session:
    """Has one image."""

    options = skopeo.Options()

    def __init__(self, content):
        self.blobs = {blob.digest: blob.data for blob in content.blobs().values()}
        self.copied = []

    def inspect(self, named):
        return self.blobs[named.digest]

    def config(self, named):
        manifest = tarball.manifests.parse(self.blobs[named.digest])
        return self.blobs[manifest.config.digest]

    def run(self, argv, begin, progress):
        begin()
        folder = pathlib.Path(argv[argv.index("--dest-shared-blob-dir") + 1], "sha256")
        for digest, data in self.blobs.items():
            path = folder / digest.partition(":")[2]
            if not path.exists():
                path.write_bytes(data)
                self.copied.append(digest)
        progress()


@pytest.mark.parametrize("content", [NEW, images.index([NEW])], ids=["manifest", "index"])
def test_each_file_in_dl_dir_is_read_once(tmp_path, monkeypatch, content):
    for name in ("a", "b"):
        installed.write_tarball(tmp_path / f"docker_{name}_linux-amd64.tar", THERE, AMD64)
    reads = collections.Counter()
    read = tarball.read

    def counted(path):
        reads[pathlib.Path(path).name] += 1
        return read(path)

    monkeypatch.setattr(tarball, "read", counted)
    session = Session(content)
    target = tmp_path / "docker_new_linux-amd64.tar"
    named = reference.parse(f"ghcr.io/org/app@{content.digest}")
    download.Download(named, AMD64, None, str(target), session, lambda *_: None).run()
    assert reads == {"docker_a_linux-amd64.tar": 1, "docker_b_linux-amd64.tar": 1}
    assert SHARED.blob("oci").digest not in session.copied and NEW.layers[1].digest in session.copied
    tarball.verify(str(target), AMD64, content.digest)
