# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The unpacked size of a layer, counted while its tar is read.

The length of the tar does not tell it: Docker writes the holes of a sparse file as zeros, file systems allocate whole
blocks, and one path may imply a thousand directories.
"""

from __future__ import annotations

import os
import posixpath
import typing

from dockin.image import layertar

BLOCK = 4096
"""Block size of ext4 and most others, in bytes."""
# A tar header is about as large as an inode and its name in a directory.
_HEADER = 512
# Longest symbolic link that ext4 stores in the inode.
_IN_INODE = 59


class Meter:
    """Counts the size of one layer."""

    def __init__(self) -> None:
        """Begin a layer."""
        self.size = 0
        """Bytes of the entries read so far: with holes as zeros, and in whole blocks."""
        self._before: list[bytes] = []

    def watch(self, chunks: typing.Iterable[bytes]) -> typing.Iterator[bytes]:
        """Yield a tar unchanged, and count the size of its entries. Raises InvalidLayerTar and what chunks raises."""
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
        """Return how many directories of a path may have no entry: those that the previous path does not have."""
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
