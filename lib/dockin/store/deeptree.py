# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Directory trees of any depth: a layer may be deeper than os.walk() and shutil.rmtree() can go.

Before Python 3.12, those need a stack frame for each level, and fail on paths that are longer than the kernel's limit;
os.fwalk() keeps a file descriptor for each level.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Longest path that the kernel accepts.
_MAX_PATH = 4095


def walk(root: int, top: bytes = b"") -> typing.Iterator[tuple[bytes, int, dict[bytes, os.stat_result]]]:
    """Yield each directory of a tree, upper ones first: its path, a descriptor, and its entries by name.

    top and the paths are relative to the directory of the descriptor root. A directory that is listed is visited after the
    next step; links are not followed. Raises OSError.
    """
    left = [top]
    while left:
        path = left.pop()
        with opened(root, path) as directory:
            names = map(os.fsencode, os.listdir(directory))
            found = {name: os.stat(name, dir_fd=directory, follow_symlinks=False) for name in sorted(names)}
            yield path, directory, found
        left += [path + b"/" + name if path else name for name, entry in found.items() if stat.S_ISDIR(entry.st_mode)]


def remove(root: int, top: bytes) -> list[bytes]:
    """Remove a directory and its content; return the paths of all, relative to root's. Raises OSError."""
    folders, files = [], []
    for path, directory, found in walk(root, top):
        folders.append(path)
        for name, entry in found.items():
            if not stat.S_ISDIR(entry.st_mode):
                os.unlink(name, dir_fd=directory)
                files.append(path + b"/" + name)
    for path in reversed(folders):
        above, _, name = path.rpartition(b"/")
        with opened(root, above) as directory:
            os.rmdir(name, dir_fd=directory)
    return [*folders, *files]


@contextlib.contextmanager
def opened(root: int, path: bytes) -> typing.Iterator[int]:
    """Open a directory as open_directory() does, and close it."""
    descriptor = open_directory(root, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_directory(root: int, path: bytes) -> int:
    """Return a descriptor of a directory, by a path without links relative to root's. Raises OSError."""
    descriptor = os.dup(root)
    try:
        while path:
            piece, path = path, b""
            if len(piece) > _MAX_PATH:
                cut = piece.rindex(b"/", 0, _MAX_PATH)
                piece, path = piece[:cut], piece[cut + 1 :]
            below = os.open(piece, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
