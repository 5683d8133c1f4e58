# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Size of a partition with a directory tree in it."""

from __future__ import annotations

import contextlib
import os
import stat

BLOCK = 4096
ALIGNMENT_KIB = 1024

# Of ext4 with an inode for every 4096 bytes (6.3 %) and a journal as mke2fs has it (12.5 % at most).
_OVERHEAD = 1.3


def content_size(tree: str) -> int:
    """Return the bytes that a tree takes up in a file system: whole blocks, and one at least for each inode."""
    seen: set[tuple[int, int]] = set()
    blocks = 0
    for folder, folders, files in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in (*files, *_links(folder, folders)))):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            sized = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
            blocks += max(1, _blocks(path, found)) if sized else 1
    return blocks * BLOCK


def _blocks(path: str, found: os.stat_result) -> int:
    """Return the blocks of a directory, or of a file without its holes: mke2fs makes them again."""
    whole = -(-found.st_size // BLOCK)
    if not stat.S_ISREG(found.st_mode) or found.st_blocks * 512 >= found.st_size:
        return whole
    # The number of its blocks does not tell: the host's file system may compress.
    blocks, end = 0, 0
    with open(path, "rb", buffering=0) as file, contextlib.suppress(OSError):  # ENXIO after the last data
        while end < found.st_size:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            blocks += -(-end // BLOCK) - start // BLOCK
    return blocks


def size_kib(tree: str, extra_kib: int) -> int:
    """Return the KiB of an ext4 file system that has a tree and room for extra_kib more; whole MiB."""
    needed = int(content_size(tree) * _OVERHEAD) // 1024 + 1 + extra_kib
    return -(-needed // ALIGNMENT_KIB) * ALIGNMENT_KIB


def _links(folder: str, folders: list[str]) -> list[str]:
    """Return the names of links to directories, which os.walk() has among the directories."""
    return [name for name in folders if os.path.islink(os.path.join(folder, name))]
