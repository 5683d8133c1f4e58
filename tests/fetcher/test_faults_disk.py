# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Disks that are full or read-only: an error that says so, and nothing that was good in DL_DIR is lost."""

import contextlib
import os
import subprocess

import pytest

from support import images, sudo
from support.imagefiles import documents

pytestmark = pytest.mark.one_library

MEGABYTE = 1 << 20


class Disk:
    """A file system of a fixed size in memory."""

    def __init__(self, path):
        self.path = path

    def mount(self, size):
        options = f"size={size},mode=0777,uid={os.getuid()}"
        subprocess.run(sudo.command("mount", "-t", "tmpfs", "-o", options, "none", str(self.path)), check=True, timeout=20)

    def remount(self, options):
        subprocess.run(sudo.command("mount", "-o", f"remount,{options}", str(self.path)), check=True, timeout=20)

    def unmount(self):
        subprocess.run(sudo.command("umount", str(self.path)), check=True, timeout=20)


@pytest.fixture
def disk(tmp_path):
    """An empty directory that is a small file system of its own."""
    if os.geteuid() != 0 and not sudo.works():
        pytest.skip("unavailable: a small file system to fill up: only root, or sudo without a password, can mount one")
    path = tmp_path / "disk"
    path.mkdir()
    made = Disk(path)
    made.mount(6 * MEGABYTE)
    with contextlib.ExitStack() as stack:
        stack.callback(made.unmount)
        yield made


def address(server, name="app"):
    return f"docker://{server.address}/disk/{name};tag=v1"


def state(directory):
    """Return name and content of the files of a directory, what a failed fetch keeps for the next one left out."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def small(faulty):
    content = images.image([images.filler_layer("disk-small", 100_000)])
    faulty.add(content, "disk/small", "v1")
    return content


def test_dl_dir_full_in_the_middle(bench, faulty, disk, small):
    """What was there stays; with room again the fetch succeeds, and asks only for what it could not keep."""
    content = images.image([images.filler_layer(f"disk-{number}", 2 * MEGABYTE) for number in range(4)])
    faulty.add(content, "disk/app", "v1")
    variables = {"DL_DIR": str(disk.path), "DOCKIN_FETCH_RETRIES": "3"}
    bench.fetch(address(faulty, "small"), small.digest, **variables)
    before = {name: data for name, data in state(disk.path).items() if name.endswith(".tar")}
    outcome = bench.refuse(address(faulty), "disk/app", pin=content.digest, **variables)
    assert "no space left" in outcome.text.lower()
    assert {name: data for name, data in state(disk.path).items() if name.endswith(".tar")} == before
    disk.remount(f"size={40 * MEGABYTE}")
    faulty.log.clear()
    bench.fetch(address(faulty), content.digest, **variables)
    (made,) = [path for path in disk.path.glob("*.tar") if content.hex in path.name]
    assert set(documents(made)) == set(content.blobs())
    assert len(set(faulty.log.blobs())) < len(content.blobs()) - 1, "what had arrived was kept"
    assert not list(disk.path.glob("*.part*"))


def test_dl_dir_full_when_the_tarball_is_put_together(bench, faulty, disk):
    """The blobs fit, the tarball of them beside does not."""
    content = images.image([images.filler_layer("disk-once", 4 * MEGABYTE)])
    faulty.add(content, "disk/app", "v1")
    outcome = bench.refuse(address(faulty), "disk/app", pin=content.digest, DL_DIR=str(disk.path))
    assert "no space left" in outcome.text.lower()
    assert not list(disk.path.glob("*.tar"))
    disk.remount(f"size={20 * MEGABYTE}")
    faulty.log.clear()
    bench.fetch(address(faulty), content.digest, DL_DIR=str(disk.path))
    assert content.layers[0].digest not in faulty.log.blobs(), "the layer was there"


def test_work_directory_full(bench, faulty, disk):
    """A bomb, or just a large image: no half archive that a later task could take for a whole one."""
    content = images.image([images.layer({"srv/zeros": bytes(16 * MEGABYTE)})])
    faulty.add(content, "disk/app", "v1")
    outcome = bench.run(address(faulty), ("fetch",), ("unpack", str(disk.path)), pin=content.digest)
    assert outcome.error_type == "UnpackError", outcome.text
    assert "no space left" in outcome.text.lower()
    assert not [path for path in disk.path.rglob("*") if path.is_file()]
    assert bench.only_file().exists()


def test_dl_dir_that_is_read_only(bench, faulty, disk, small):
    """BitBake wants to lock a file there, as for any fetcher, and says so; what is there stays."""
    bench.fetch(address(faulty, "small"), small.digest, DL_DIR=str(disk.path))
    before = state(disk.path)
    disk.remount("ro")
    outcome = bench.run(address(faulty, "small"), pin=small.digest, DL_DIR=str(disk.path))
    assert outcome.error is not None
    assert str(disk.path) in outcome.text, outcome.text
    assert state(disk.path) == before


def test_read_only_mirror(bench, faulty, disk, small):
    """A DL_DIR of others, mounted read-only, serves as a source mirror."""
    bench.fetch(address(faulty, "small"), small.digest, DL_DIR=str(disk.path))
    disk.remount("ro")
    faulty.log.clear()
    bench.fetch(address(faulty, "small"), small.digest, PREMIRRORS=f"docker://.*/.* file://{disk.path}/")
    assert not faulty.log
    assert set(documents(bench.only_file().resolve())) == set(small.blobs())
