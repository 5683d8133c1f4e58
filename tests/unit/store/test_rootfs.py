# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.store.rootfs: the place of a data-root in a root file system."""

from __future__ import annotations

import os

import pytest

from dockin.store import rootfs
from dockin.store.rootfs import InvalidPlace

TARGET = "/var/lib/docker"
EPOCH = 1600000000


@pytest.fixture
def root(tmp_path):
    """A root file system beside a data-root, as do_image finds both: with times that are all the same."""
    (tmp_path / "tree" / "dockin").mkdir(parents=True)
    folder = tmp_path / "rootfs"
    folder.mkdir()
    os.utime(folder, (EPOCH, EPOCH))
    return folder


def times(*folders):
    return {int(folder.stat().st_mtime) for folder in folders}


@pytest.mark.parametrize("partition", [False, True])
@pytest.mark.parametrize("there", ["", "var/lib", "var/lib/docker"])
def test_put_in_and_taken_out(root, tmp_path, there, partition):
    (root / there).mkdir(parents=True, exist_ok=True)
    for folder in (root / "var/lib/docker", root / "var/lib", root / "var", root):
        if folder.exists():
            os.utime(folder, (EPOCH, EPOCH))
    tree = str(tmp_path / "tree")
    os.utime(tree, (EPOCH, EPOCH))
    rootfs.put_in(tree, str(root), TARGET, partition, EPOCH)
    place = root / "var/lib/docker"
    assert os.path.exists(tree) == partition
    assert [path.name for path in place.iterdir()] == ([] if partition else ["dockin"])
    assert not partition or place.stat().st_mode & 0o777 == 0o710
    assert times(root, root / "var", root / "var/lib", place) == {EPOCH}
    rootfs.take_out(tree, str(root), TARGET)
    assert os.path.isdir(tree + "/dockin") and not (place / "dockin").exists()


def test_nothing_is_taken_out_of_a_place_that_is_not_ours(root, tmp_path):
    tree = tmp_path / "gone"
    (root / "var/lib/docker/mine").mkdir(parents=True)
    rootfs.take_out(str(tree), str(root), TARGET)
    assert not tree.exists()


def test_what_a_package_has_put_there_is_not_taken_for_the_data_root(root, tmp_path):
    (root / "var/lib/docker/dockin").mkdir(parents=True)
    tree = str(tmp_path / "tree")
    rootfs.take_out(tree, str(root), TARGET)
    with pytest.raises(InvalidPlace, match=r"is not empty \(dockin\)"):
        rootfs.put_in(tree, str(root), TARGET, False, EPOCH)


def test_a_place_that_is_taken(root):
    for name in ("b", "a", "d", "c"):
        (root / "var/lib/docker" / name).mkdir(parents=True)
    with pytest.raises(InvalidPlace, match=r"^/var/lib/docker in the root file system is not empty \(a, b, c\): images"):
        rootfs.free_place(str(root), TARGET)


@pytest.mark.parametrize("link", ["var", "var/lib", "var/lib/docker"])
def test_a_link_leads_elsewhere(root, link):
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to("/data")
    with pytest.raises(InvalidPlace, match=f"^/var/lib/docker: /{link} is a link to /data in the root file system; set"):
        rootfs.free_place(str(root), TARGET)


def test_a_file_by_its_path_on_the_target(root):
    assert rootfs.find(str(root), "/usr/share/x.image", "a remedy") == f"{root}/usr/share/x.image"
