# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The size of a partition for a directory tree."""

from __future__ import annotations

import errno
import os
import stat
import typing

from dockin.store import deeptree

BLOCK = 4096
ALIGNMENT_KIB = 1024

# ext4's directories, in bytes: an entry with a name of 255 bytes, and the checksum of a block.
_LONGEST_ENTRY, _CHECKSUM = 264, 12

# ext4's overhead with an inode for every 4096 bytes (6.3 %) and mke2fs's default journal (12.5 % at most).
_OVERHEAD = 1.3


def content_size(tree: str) -> int:
    """Return the bytes of a tree in ext4: in whole blocks, at least one for each inode.

    The result does not depend on the file system that the tree is in.
    """
    seen: set[tuple[int, int]] = set()
    blocks = 0
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _, directory, entries in deeptree.walk(root):
            blocks += _blocks_of_names(entries)
            for name, found in entries.items():
                inode = found.st_dev, found.st_ino
                if not stat.S_ISDIR(found.st_mode) and inode not in seen:
                    seen.add(inode)
                    blocks += max(1, _blocks(name, directory, found)) if stat.S_ISREG(found.st_mode) else 1
    finally:
        os.close(root)
    return blocks * BLOCK


def _blocks_of_names(names: typing.Iterable[bytes]) -> int:
    """Return the blocks of a directory, each with its checksum, space for the longest name, and two names always."""
    size = 24 + sum(8 + -(-len(name) // 4) * 4 for name in names)
    return -(-size // (BLOCK - _LONGEST_ENTRY - _CHECKSUM)) if size > BLOCK - _CHECKSUM else 1


def _blocks(name: bytes, directory: int, found: os.stat_result) -> int:
    """Return the blocks of a file without its holes, which mke2fs preserves."""
    whole = -(-found.st_size // BLOCK)
    if found.st_blocks * 512 >= found.st_size:
        return whole
    # The file's own number of blocks is no help: the host's file system may compress.
    blocks, end = 0, 0
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        while end < found.st_size:
            start = os.lseek(file, end, os.SEEK_DATA)
            end = os.lseek(file, start, os.SEEK_HOLE)
            blocks += -(-end // BLOCK) - start // BLOCK
    except OSError as error:
        if error.errno != errno.ENXIO:  # after the last data
            raise
    finally:
        os.close(file)
    return blocks


def size_kib(tree: str, extra_kib: int) -> int:
    """Return the KiB of an ext4 file system for a tree and extra_kib of free space, in whole MiB."""
    needed = int(content_size(tree) * _OVERHEAD) // 1024 + 1 + extra_kib
    return -(-needed // ALIGNMENT_KIB) * ALIGNMENT_KIB
