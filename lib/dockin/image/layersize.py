# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a layer takes up unpacked, counted while its tar passes.

The length of the tar does not tell: Docker writes the holes of a sparse file as zeros, a file system gives whole blocks, and
one path may name a thousand directories.
"""

from __future__ import annotations

import os
import posixpath
import typing

from dockin.image import layertar

BLOCK = 4096
"""Of ext4 and most others, in bytes."""
# An entry's header in the tar is about as long as an inode and a name in a directory.
_HEADER = 512
# Longest target of a symbolic link that ext4 keeps in the inode.
_IN_INODE = 59


class Meter:
    """Counts one layer."""

    def __init__(self) -> None:
        """Begin a layer."""
        self.size = 0
        """Bytes that the entries read so far take up: holes count as zeros, and content in whole blocks."""
        self._before: list[bytes] = []

    def watch(self, chunks: typing.Iterable[bytes]) -> typing.Iterator[bytes]:
        """Yield a tar as it is, and count what is in it. Raises InvalidLayerTar and what chunks raises."""
        passed: list[bytes] = []

        def noted() -> typing.Iterator[bytes]:
            for chunk in chunks:
                passed.append(chunk)
                yield chunk

        def taken() -> list[bytes]:
            data = passed[:]
            passed.clear()
            return data

        reader = layertar.Reader(noted())
        while True:
            member = reader.next()
            yield from taken()
            if member is None:
                break
            self.size += _HEADER + BLOCK * (self._directories(member) + _blocks(member))
            for _ in reader.content():
                yield from taken()
        for _ in reader.rest():
            yield from taken()

    def _directories(self, member: layertar.Member) -> int:
        """Return how many directories of a path no entry may describe: those that the path before does not have."""
        path = posixpath.normpath(b"/" + member.name).strip(b"/").split(b"/")
        known = os.path.commonprefix([path[:-1], self._before])
        self._before = path
        return len(path) - 1 - len(known)


def _blocks(member: layertar.Member) -> int:
    attributes = 1 if member.xattrs else 0
    if member.type == layertar.REGULAR:
        return attributes + -(-member.size // BLOCK)
    if member.type == layertar.SYMLINK:
        return attributes + (len(member.target) > _IN_INODE)
    return attributes + (member.type == layertar.DIRECTORY)
