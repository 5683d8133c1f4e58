# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The size of a partition for a directory tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockin.store import deeptree, partition


def test_every_inode_takes_a_block_and_hard_links_take_one_together(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4097))
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-folder").symlink_to("folder")
    os.link(tmp_path / "file", tmp_path / "again")
    assert partition.content_size(str(tmp_path)) == 4096 * (2 + 1 + 1 + 1 + 2)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder that is on a disk where tmp_path may be in memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="dockin-unit-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("place", ["tmp_path", "on_disk"])
def test_the_host_has_no_part_in_the_size_of_a_directory(request: pytest.FixtureRequest, place: str) -> None:
    """There it may have been larger once, or be counted in bytes; as many names always take as many blocks."""
    tmp_path: Path = request.getfixturevalue(place)
    for number in range(1000):
        (tmp_path / f"{number:0200}").touch()
    assert 1000 + 208_000 // 4096 < partition.content_size(str(tmp_path)) // 4096 < 1000 + 208_000 // 3800 + 2
    for path in tmp_path.iterdir():
        path.unlink()
    assert partition.content_size(str(tmp_path)) == 4096


def test_a_tree_deeper_than_the_stack_and_longer_than_a_path(tmp_path: Path) -> None:
    made = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("ab", dir_fd=made)
        below = os.open("ab", os.O_RDONLY, dir_fd=made)
        os.close(made)
        made = below
    os.close(made)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        assert partition.content_size(str(tmp_path)) == 4096 * 3001
        deeptree.remove(root, b"ab")
    finally:
        os.close(root)
    assert not list(tmp_path.iterdir())


def test_holes_take_no_blocks(tmp_path: Path) -> None:
    """As in the lastlog of many an image: hundreds of gigabytes, of which a few bytes are there."""
    with open(tmp_path / "lastlog", "wb") as file:
        file.write(b"x" * 5000)
        file.seek(100 << 30)
        file.write(b"x")
        file.truncate(300 << 30)
    assert partition.content_size(str(tmp_path)) <= 4096 * (3 + 1)


@pytest.mark.parametrize("extra", [0, 1024, 5000])
def test_whole_mebibytes_with_room_for_more(tmp_path: Path, extra: int) -> None:
    assert partition.size_kib(str(tmp_path), extra) == max(1, -(-(extra + 6) // 1024)) * 1024


@pytest.mark.parametrize("kind", ["links", "empty", "large", "sparse"])
def test_the_tree_fits(tmp_path: Path, kind: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(20 if kind == "large" else 4000):
        path = tree / str(number)
        if kind == "links":
            path.symlink_to("x" * 100)
        elif kind == "sparse":
            path.touch()
            os.truncate(path, 1 << 30 if number < 20 else 0)
        else:
            path.write_bytes(os.urandom(1 << 20) if kind == "large" else b"")
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(partition.size_kib(str(tree), 0) << 10)
    argv = ["mkfs.ext4", "-q", "-F", "-i", "4096", "-m", "0", "-d", str(tree), str(image)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, text=True,
                          env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    assert done.returncode == 0, done.stdout
