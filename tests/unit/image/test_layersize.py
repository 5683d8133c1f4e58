# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.layersize: what a layer takes up, against what is there once it is unpacked."""

from __future__ import annotations

import os
import stat

import pytest

from dockin.image import layersize, layertar
from dockin.store import layertree
from support import images, layers

HEADER, BLOCK = 512, 4096


def measure(tar, chunk=1 << 20):
    """Return what a layer takes up, read in chunks of a size."""
    meter = layersize.Meter()
    chunks = [tar[start:start + chunk] for start in range(0, len(tar), chunk)]
    assert list(meter.watch(iter(chunks))) == chunks
    return meter.size


def unpack(tar, folder):
    """Unpack a layer; return the number of its entries, and the blocks of its files, holes included, and directories."""
    folder.mkdir()
    count = 0
    with layertree.Tree(str(folder), 0) as tree:
        reader = layertar.Reader([tar])
        while True:
            member = reader.next()
            if member is None:
                break
            tree.add(member, tree.place(member), reader.content())
            count += 1
        tree.finish()
    found = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            status = os.lstat(os.path.join(root, name))
            blocks = -(-status.st_size // BLOCK) if stat.S_ISREG(status.st_mode) else stat.S_ISDIR(status.st_mode)
            found[status.st_ino] = blocks
    return count, sum(found.values())


@pytest.mark.parametrize("case", {**layers.AWKWARD, **layers.BEYOND})
def test_no_layer_takes_more(tmp_path, case):
    if os.geteuid() != 0:
        pytest.skip("unavailable: needs root, for owners and devices")
    for number, layer in enumerate({**layers.AWKWARD, **layers.BEYOND}[case]()):
        count, blocks = unpack(layer.tar, tmp_path / str(number))
        assert measure(layer.tar) >= count * HEADER + blocks * BLOCK


@pytest.mark.parametrize(("members", "blocks"), [
    ([], 0),
    ([("empty", {})], 0),
    ([("one", {}, b"x"), ("block", {}, bytes(BLOCK)), ("more", {}, bytes(BLOCK + 1))], 4),
    ([("d", layers.DIRECTORY), ("d/e", layers.DIRECTORY), ("d/e/f", {}), ("d/e/g", {})], 2),
    ([("./d/", layers.DIRECTORY), ("./d/e/f", {}), ("/d/e/../e//g", {}), ("d/h/i", {})], 3),
    ([("a/" * 1000 + "f", {})], 1000),
    ([("short", layers.link("t" * 59)), ("long", layers.link("t" * 60))], 1),
    ([("a", {}, b"x"), ("b", layers.hard("a")), ("null", layers.device("c", 1, 3)), ("fifo", layers.FIFO)], 1),
    ([("a", layers.xattrs(user__a=b"x"), b"x")], 2),
])
def test_what_takes_blocks(members, blocks):
    tar = layers.layer(*members).tar
    assert measure(tar) == len(members) * HEADER + blocks * BLOCK
    assert measure(tar, 100) == measure(tar)


@pytest.mark.parametrize("options", [
    ["--format=gnu"], ["--format=posix", "--sparse-version=0.0"], ["--format=posix", "--sparse-version=0.1"],
    ["--format=posix", "--sparse-version=1.0"],
], ids=" ".join)
def test_holes_count_as_zeros(options):
    """A terabyte in a tar of 20 KiB, in each of the forms in which a tar can say so."""
    tar = layers.gnu_tar({"hole": (1 << 40, {BLOCK: b"data"}), "end": (BLOCK, {BLOCK - 4: b"data"})}, *options)
    assert len(tar) <= 20480
    assert measure(tar) == (1 << 40) + BLOCK + 2 * HEADER


def test_a_usual_image_takes_what_its_tar_takes():
    tar = images.busybox_layer().tar
    assert len(tar) <= measure(tar) < 1.02 * len(tar)


def test_a_damaged_tar():
    tar = layers.layer(("a", {}, b"x")).tar
    with pytest.raises(layertar.InvalidLayerTar, match="it ends within"):
        measure(tar[:700])
