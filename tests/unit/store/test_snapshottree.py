# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A layer unpacked as containerd unpacks it, where that differs from Docker. All awkward layers: tests/docker."""

from __future__ import annotations

import functools
import os
import stat

import pytest

from dockin.store import containerd, writer
from dockin.store.docker import chain_id
from support import images, installed, layers, snapshots

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unavailable: owners and attributes trusted.* need root")

EPOCH = 1_700_000_000


@pytest.fixture
def unpack(tmp_path):
    """Return the directories of layers by their tars, the base first."""

    def unpack(*content):
        made = installed.install(tmp_path / "archives", images.image(content), "team/app:1")
        make = functools.partial(containerd.ContainerdStore, byteorder="little", namespaces=["moby"])
        writer.write(str(tmp_path / "store"), [writer.read_source(str(made.info))], EPOCH, make_store=make)
        chain, found = "", []
        for layer in content:
            chain = chain_id(chain, layer.diff_id)
            found.append(snapshots.read(tmp_path / "store", "moby").folders[chain] / "fs")
        return found

    return unpack


def describe(path):
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns // 10**9


def test_implied_directories_are_those_of_the_nearest_lower_layer(unpack):
    root = {**layers.DIRECTORY, "mode": 0o700, "uid": 3, "gid": 4, "mtime": 5}
    attributes = layers.xattrs(user__word=b"value" * 99, trusted__word=b"secret")
    *_, top = unpack(
        layers.layer(("root", {**root, "mode": 0o1777}), ("tmp", {**layers.DIRECTORY, "mode": 0o1777, "mtime": 6})),
        layers.layer(("root", {**root, **attributes}), ("a", {}, b"no directory"), ("link", layers.link("tmp"))),
        layers.layer(("root/x", {}, b"x"), ("tmp/y/z", {}, b"y"), ("a/b", {}, b"z"), ("link/c", {}, b"c")))
    assert describe(top / "root") == (0o700, 3, 4, 5)
    assert os.listxattr(top / "root") == ["user.word"] and os.getxattr(top / "root", "user.word") == b"value" * 99
    assert describe(top / "tmp") == (0o1777, 0, 0, 6)
    for name in ("tmp/y", "a", "link"):
        assert describe(top / name) == (0o755, 0, 0, EPOCH)


def test_the_layers_own_directory_has_no_entry(unpack):
    root = {**layers.DIRECTORY, "mode": 0o700, "uid": 3}
    for top in unpack(layers.layer(("/", root), ("x", {}, b"x")), layers.layer(("./", root), ("y", {}, b"y"))):
        assert describe(top) == (0o755, 0, 0, EPOCH)


def test_whiteouts_in_the_base_leave_nothing(unpack):
    content = (("etc", layers.DIRECTORY), ("etc/.wh..wh..opq", {}), ("own", {}, b"x"), (".wh.own", {}), (".wh.other", {}))
    base, upper = unpack(layers.layer(*content), layers.layer(*content[:2], ("more", {}, b"y"), *content[4:]))
    assert sorted(os.listdir(base)) == ["etc"] and not os.listxattr(base / "etc")
    assert sorted(os.listdir(upper)) == ["etc", "more", "other"]
    assert stat.S_ISCHR((upper / "other").stat().st_mode) and os.listxattr(upper / "etc") == ["trusted.overlay.opaque"]


def test_early_times_of_links(unpack):
    [base] = unpack(layers.layer(("link", {**layers.link("x"), "mtime": -5}), ("file", {"mtime": -5}, b"")))
    assert [describe(base / name)[3] for name in ("link", "file")] == [0, 0]
