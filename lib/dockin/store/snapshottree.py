# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The directory of one layer in a containerd store: a layer's tar unpacked as containerd unpacks it.

It differs from Docker's own way in what a layer does not say itself. A directory that only the paths of entries imply is
a copy of that of the nearest lower layer. Entries for the layer's own directory, attributes trusted.*, and times of links
before 1970 are left out. Whiteouts in the base layer leave nothing.
Format: https://github.com/containerd/containerd (pkg/archive/tar.go, path.go)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import typing

from dockin.image import layertar
from dockin.store import deeptree, layertree

_TRUSTED = "trusted."
_LIBC = ctypes.CDLL(None, use_errno=True)
# XATTR_SIZE_MAX and XATTR_LIST_MAX
_MAX_ATTRIBUTE = 1 << 16


class Tree(layertree.Tree):
    """A snapshot's directory while it is unpacked; a context manager."""

    _early_links = False

    def __init__(self, path: str, epoch: int, lower: typing.Sequence[str]) -> None:
        """path and epoch are as in layertree; lower are the directories of the layers below, nearest first."""
        super().__init__(path, epoch, without=(_TRUSTED,))
        self._lower = lower

    def _add_root(self, member: layertar.Member) -> None:
        pass

    def _add_opaque(self, place: layertree.Place) -> None:
        if self._lower:
            super()._add_opaque(place)

    def _add_whiteout(self, member: layertar.Member, place: layertree.Place) -> None:
        if self._lower:
            super()._add_whiteout(member, place)
            return
        hidden = layertree.hidden_place(place)
        if old := self._look(hidden):
            self._remove(hidden, old)

    def _describe_implied(self, made: int, path: bytes) -> None:
        super()._describe_implied(made, path)
        for layer in self._lower:
            with contextlib.ExitStack() as stack:
                root = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, root)
                try:
                    source = stack.enter_context(deeptree.opened(root, path))
                except OSError as error:
                    if error.errno == errno.ENOENT:
                        continue
                    if error.errno in (errno.ENOTDIR, errno.ELOOP):
                        return
                    raise
                found = os.fstat(source)
                os.fchown(made, found.st_uid, found.st_gid)
                os.fchmod(made, stat.S_IMODE(found.st_mode))
                for name in _read_attribute(_LIBC.flistxattr, source).split(b"\0")[:-1]:
                    if not name.startswith(_TRUSTED.encode()):
                        os.setxattr(made, name, _read_attribute(_LIBC.fgetxattr, source, name))
                self._directories[path] = found.st_mtime_ns
                return


def _read_attribute(function: typing.Any, *arguments: typing.Any) -> bytes:
    """Return what a function of the C library writes into a buffer.

    os.getxattr() and os.listxattr() begin with a small buffer, and under pseudo, which reports no ERANGE, end with that.
    """
    buffer = ctypes.create_string_buffer(_MAX_ATTRIBUTE)
    size: int = function(*arguments, buffer, len(buffer))
    if size < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return buffer.raw[:size]
