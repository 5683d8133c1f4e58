# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The directory of one layer in a data-root: a layer's tar, unpacked for overlayfs as by Docker.

A whiteout (.wh.NAME) becomes a character device 0:0, and an opaque directory (.wh..wh..opq) gets an attribute. The layer
cannot leave its directory by absolute names, '..' or links: each component of a path is opened by itself and never
through a link, and links are followed by reading them. For the meaning of whiteouts, see
https://github.com/opencontainers/image-spec/blob/main/layer.md and https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
import typing

from dockin.errors import DockinError
from dockin.image import layertar
from dockin.store import deeptree

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_CAPABILITY = "security.capability"
# These attributes tell overlayfs what a layer hides, moves or stores only in part. Archives have whiteouts for that: an
# attribute from an image could lead to other files, or make one unreadable. containerd also drops trusted.*.
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
# Mode of a directory without an entry in the layer: Docker's, with umask 022.
_IMPLIED_MODE = 0o755
# The kernel's limits.
_MAX_LINKS = 40
_MAX_PATH = 4095
# Most directories that are opened for all entries: a fixed number, and so many for each entry.
_MAX_STEPS, _MAX_STEPS_EACH = 1_000_000, 100
_MAX_TIME = 1 << 63

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {layertar.CHARACTER: stat.S_IFCHR, layertar.BLOCK: stat.S_IFBLK, layertar.FIFO: stat.S_IFIFO}


class InvalidEntry(DockinError):
    """An entry of a layer cannot be unpacked."""


class Place(typing.NamedTuple):
    """The place of an entry."""

    parent: int
    """Descriptor of its directory, open until the next entry is placed."""
    leaf: bytes
    """Name there; empty for the layer's own directory."""
    path: bytes
    """The path of both together, without links, relative to the layer's directory."""
    direct: bool
    """Whether this path is the name of the entry, with no link on the way."""


class Tree:
    """A layer's directory while it is unpacked; a context manager.

    Owners, devices and attributes need root or pseudo.
    """

    _early_links = True
    """Whether times of links may be before 1970."""

    def __init__(self, path: str, epoch: int, keep_capabilities: bool = False, without: tuple[str, ...] = ()) -> None:
        """path is an empty directory; epoch, in seconds, is the time of everything without a time in the layer.

        keep_capabilities: a hard link's entry keeps its file's capability, as with Podman; with Docker it removes it.
        without: extended attributes that the runtime drops.
        """
        self._path = path
        self._epoch = epoch * 10**9
        self._keep_capabilities = keep_capabilities
        self._without = _OVERLAY_XATTRS + without
        self._directories: dict[bytes, int] = {b"": self._epoch}
        self._files: dict[bytes, int] = {}
        self._parent: tuple[bytes, int, bytes, bool] | None = None
        self._steps = _MAX_STEPS
        self.lost: set[int] = set()
        """Numbers of the members whose content a later member replaced."""

    def __enter__(self) -> Tree:
        self._root = os.open(self._path, _DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_parent()
        os.close(self._root)

    def place(self, member: layertar.Member) -> Place:
        """Return the place of a member, and make the directories above it. Raises InvalidEntry, OSError."""
        return self._place(member.name, create=True)

    def add(self, member: layertar.Member, place: Place, content: typing.Iterable[bytes]) -> None:
        """Unpack a member to its place. Raises InvalidEntry, OSError and what content raises."""
        if not place.leaf:
            self._add_root(member)
            return
        # A whiteout's own name is not looked up: it may be longer than a file name.
        old = None if is_whiteout(place.leaf) else self._look(place)
        if old and not (stat.S_ISDIR(old.st_mode) and member.type == layertar.DIRECTORY):
            self._remove(place, old)
        if place.leaf == _OPAQUE:
            self._add_opaque(place)
        elif is_whiteout(place.leaf):
            self._add_whiteout(member, place)
        elif member.type == layertar.DIRECTORY:
            self._add_directory(member, place, old)
        elif member.type == layertar.REGULAR:
            self._add_file(member, place, content)
        elif member.type == layertar.LINK:
            self._add_link(member, place)
        else:
            if member.type == layertar.SYMLINK:
                os.symlink(member.target, place.leaf, dir_fd=place.parent)
            else:
                os.mknod(place.leaf, _KINDS[member.type] | 0o600, _device(member), dir_fd=place.parent)
            self._describe(member, place)

    def finish(self) -> int:
        """Set the times of directories, which every entry in them changes; return the size for Docker, in bytes."""
        self._forget_parent()
        for path, mtime in self._directories.items():
            name, slash, leaf = path.rpartition(b"/")
            parent = deeptree.open_directory(self._root, name)
            try:
                os.utime(leaf or b".", ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(parent)
        return self._size()

    # Paths

    def _place(self, name: bytes, create: bool) -> Place:
        if b"\0" in name or len(name) > _MAX_PATH:
            raise InvalidEntry(f"its path has a NUL, or more than {_MAX_PATH} bytes")
        clean = posixpath.normpath(b"/" + name).lstrip(b"/")
        above, _, leaf = clean.rpartition(b"/")
        if self._parent is None or self._parent[0] != above or not self._parent[3]:
            self._forget_parent()
            self._parent = (above, *self._walk(above, create))
        _, descriptor, path, direct = self._parent
        outside = posixpath.normpath(name or b".").startswith(b"../")
        whole = path + b"/" + leaf if path else leaf
        if len(whole) > _MAX_PATH:
            raise InvalidEntry(f"its path has more than {_MAX_PATH} bytes without the links in it")
        return Place(descriptor, leaf, whole, direct and not outside)

    def _walk(self, path: bytes, create: bool) -> tuple[int, bytes, bool]:
        """Return a descriptor of a directory, its path without links, and whether that is the given path."""
        # Each name with whether it is in the path itself, or in a link's target: only the path's own directories are made.
        left = [(name, True) for name in path.split(b"/")[::-1]]
        here: list[bytes] = []
        descriptor = os.dup(self._root)
        links = 0
        self._steps += _MAX_STEPS_EACH
        try:
            while left:
                name, given = left.pop()
                self._steps -= 1
                if self._steps < 0:
                    raise InvalidEntry("its path, with the links in it, leads through too many directories")
                if name == b"..":
                    here = here[:-1]
                    self._steps -= len(here)
                    descriptor = self._instead(descriptor, deeptree.open_directory(self._root, b"/".join(here)))
                elif name not in (b"", b"."):
                    target = self._enter(descriptor, name)
                    if target is None:
                        self._make_implied(descriptor, name, b"/".join([*here, name]), create and given)
                        target = os.open(name, _DIRECTORY, dir_fd=descriptor)
                    if isinstance(target, int):
                        here.append(name)
                        descriptor = self._instead(descriptor, target)
                        continue
                    links += 1
                    if links > _MAX_LINKS:
                        raise InvalidEntry("too many links in its path")
                    left += [(name, False) for name in target.split(b"/")[::-1]]
                    if target.startswith(b"/"):
                        here = []
                        descriptor = self._instead(descriptor, os.dup(self._root))
            return descriptor, b"/".join(here), not links
        except BaseException:
            os.close(descriptor)
            raise

    @staticmethod
    def _instead(old: int, new: int) -> int:
        os.close(old)
        return new

    @staticmethod
    def _enter(directory: int, name: bytes) -> int | bytes | None:
        """Return a descriptor of the directory with a name, a link's target, or None for anything else and for nothing."""
        try:
            return os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        try:
            return os.readlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
        return None

    def _make_implied(self, directory: int, name: bytes, path: bytes, create: bool) -> None:
        """Make a directory that the path of an entry needs, if it does not exist."""
        whiteout = False
        with contextlib.suppress(FileNotFoundError):
            whiteout = _is_whiteout_device(os.stat(name, dir_fd=directory, follow_symlinks=False))
            if not whiteout:
                raise InvalidEntry(f"{layertar.printable(path)} in its path is no directory")
        if not create:
            raise InvalidEntry(f"{layertar.printable(path)} in its path is not in this layer")
        if whiteout:
            os.unlink(name, dir_fd=directory)
        os.mkdir(name, 0o700, dir_fd=directory)
        self._directories[path] = self._epoch
        with _opened(name, directory) as made:
            self._describe_implied(made, path)
            if whiteout:
                os.setxattr(made, _OPAQUE_XATTR, b"y")

    def _describe_implied(self, made: int, path: bytes) -> None:
        """Set owner, mode and attributes of a directory that no entry of the layer describes yet."""
        os.fchown(made, 0, 0)
        os.fchmod(made, _IMPLIED_MODE)

    def _forget_parent(self) -> None:
        if self._parent:
            os.close(self._parent[1])
            self._parent = None

    @staticmethod
    def _look(place: Place) -> os.stat_result | None:
        try:
            return os.stat(place.leaf, dir_fd=place.parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    # Entries

    def _add_root(self, member: layertar.Member) -> None:
        """Describe the layer's own directory, if the entry is called "/"; Docker ignores "." and "./"."""
        if member.type != layertar.DIRECTORY:
            raise InvalidEntry("the root directory can't be anything else")
        if not member.name.startswith(b"/"):
            return
        self._describe_open(member, self._root)
        self._directories[b""] = _time(member.mtime)

    def _add_directory(self, member: layertar.Member, place: Place, old: os.stat_result | None) -> None:
        if not old or not stat.S_ISDIR(old.st_mode):
            os.mkdir(place.leaf, 0o700, dir_fd=place.parent)
        with _opened(place.leaf, place.parent) as made:
            self._describe_open(member, made)
            if old and not stat.S_ISDIR(old.st_mode):
                # A whiteout or a file of the same layer was here: lower layers' content stays hidden. Docker loses the
                # whiteout.
                os.setxattr(made, _OPAQUE_XATTR, b"y")
        self._directories[place.path] = _time(member.mtime)

    def _add_file(self, member: layertar.Member, place: Place, content: typing.Iterable[bytes]) -> None:
        descriptor = os.open(place.leaf, _NEW_FILE, 0o600, dir_fd=place.parent)
        with open(descriptor, "wb", buffering=0) as file:
            if member.extents is None:
                for data in content:
                    _write(file, data)
            else:
                _write_extents(file, member, content)
            self._describe_open(member, descriptor)
            os.utime(descriptor, ns=self._times(member))
        if member.stored:
            self._files[place.path] = member.number

    def _add_link(self, member: layertar.Member, place: Place) -> None:
        """Make a hard link. As with Docker, its entry also sets owner, mode and time of the link's target."""
        if not member.target:
            raise InvalidEntry("a hard link to nothing")
        parent, leaf, path = os.dup(place.parent), place.leaf, place.path
        try:
            target = self._place(member.target, create=False)
            found = self._look(target)
            if not found or _is_whiteout_device(found):
                name = layertar.printable(member.target)
                raise InvalidEntry(f"a hard link to {name}, which is not in this layer; Docker needs it there")
            os.link(target.leaf, leaf, src_dir_fd=target.parent, dst_dir_fd=parent, follow_symlinks=False)
            here = Place(parent, leaf, path, True)
            kept = self._take_capability(member, here) if stat.S_ISREG(found.st_mode) else None
            self._describe(member, here, found.st_mode)
            if kept:
                _set_attribute(b"/proc/self/fd/%d/%s" % (parent, leaf), _CAPABILITY, kept)
        finally:
            os.close(parent)

    def _attributes(self, member: layertar.Member) -> typing.Iterator[tuple[str, bytes]]:
        for name, value in sorted((os.fsdecode(name), value) for name, value in member.xattrs.items()):
            if not name.startswith(self._without):
                yield name, value

    def _take_capability(self, member: layertar.Member, place: Place) -> bytes | None:
        """Remove the capability of a file that a hard link's entry does not mention; return it if it has to be restored.

        The kernel drops it when an owner is set; pseudo does not.
        """
        if _CAPABILITY.encode() in member.xattrs:
            return None
        with _opened(place.leaf, place.parent, os.O_RDONLY) as file, contextlib.suppress(OSError):
            value = os.getxattr(file, _CAPABILITY)
            os.removexattr(file, _CAPABILITY)
            return value if self._keep_capabilities else None
        return None

    def _add_opaque(self, place: Place) -> None:
        """Hide what lower layers have in the directory of a place."""
        os.setxattr(place.parent, _OPAQUE_XATTR, b"y")

    def _add_whiteout(self, member: layertar.Member, place: Place) -> None:
        """Hide the name in lower layers; this layer's own content stays."""
        hidden = hidden_place(place)
        old = self._look(hidden)
        if old is None:
            os.mknod(hidden.leaf, stat.S_IFCHR, os.makedev(0, 0), dir_fd=hidden.parent)
            os.chown(hidden.leaf, member.uid, member.gid, dir_fd=hidden.parent, follow_symlinks=False)
            os.utime(hidden.leaf, ns=(self._epoch, self._epoch), dir_fd=hidden.parent, follow_symlinks=False)
        elif stat.S_ISDIR(old.st_mode):
            with _opened(hidden.leaf, hidden.parent) as directory:
                os.setxattr(directory, _OPAQUE_XATTR, b"y")

    def _times(self, member: layertar.Member) -> tuple[int, int]:
        """Return atime and mtime in nanoseconds, with no atime before the mtime."""
        atime = member.mtime if member.atime is None else max(member.atime, member.mtime)
        # Docker allows links to have times before 1970.
        early = self._early_links and member.type == layertar.SYMLINK and -_MAX_TIME < member.mtime < 0
        before = member.mtime if early else 0
        return _time(atime, before), _time(member.mtime, before)

    def _describe(self, member: layertar.Member, place: Place, mode: int = 0) -> None:
        """Set owner, attributes, mode and time without opening; mode has the type of a hard link's target."""
        leaf, parent = place.leaf, place.parent
        link = stat.S_ISLNK(mode) if mode else member.type == layertar.SYMLINK
        os.chown(leaf, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        path = b"/proc/self/fd/%d/%s" % (parent, leaf)
        for name, value in self._attributes(member):
            # The kernel has user.* only for files and directories; Docker ignores them on others.
            if stat.S_ISREG(mode) or not name.startswith("user."):
                _set_attribute(path, name, value)
        if not link:
            os.chmod(leaf, member.mode, dir_fd=parent)
        if not link or member.type == layertar.SYMLINK:
            os.utime(leaf, ns=self._times(member), dir_fd=parent, follow_symlinks=False)

    def _describe_open(self, member: layertar.Member, descriptor: int) -> None:
        """Set owner, attributes and mode, in an order in which none resets another."""
        os.fchown(descriptor, member.uid, member.gid)
        for name, value in self._attributes(member):
            _set_attribute(descriptor, name, value)
        os.fchmod(descriptor, member.mode)

    def _remove(self, place: Place, old: os.stat_result) -> None:
        """Remove what a later entry replaces."""
        if stat.S_ISDIR(old.st_mode):
            above = place.path[: len(place.path) - len(place.leaf)]
            # Only removed paths are looked up: a layer may replace as many directories as it has.
            for path in deeptree.remove(place.parent, place.leaf):
                self._forget(above + path)
        else:
            os.unlink(place.leaf, dir_fd=place.parent)
            self._forget(place.path)

    def _forget(self, path: bytes) -> None:
        self._directories.pop(path, None)
        if path in self._files:
            self.lost.add(self._files.pop(path))

    def _size(self) -> int:
        """Return the bytes of all files and links, each hard-linked file once."""
        total = 0
        seen: set[tuple[int, int]] = set()
        for _, _, entries in deeptree.walk(self._root):
            for found in entries.values():
                inode = found.st_dev, found.st_ino
                if stat.S_ISDIR(found.st_mode) or inode in seen:
                    continue
                if found.st_nlink > 1:
                    seen.add(inode)
                total += found.st_size
        return total


def hidden_place(place: Place) -> Place:
    """Return the place that a whiteout hides."""
    hidden = place._replace(leaf=place.leaf[len(_WHITEOUT) :])
    if hidden.leaf in (b"", b".", b".."):
        raise InvalidEntry("a whiteout of no name")
    return hidden


def is_whiteout(leaf: bytes) -> bool:
    """Tell whether an entry of this name is a whiteout or marks an opaque directory, and is no file itself."""
    return leaf.startswith(_WHITEOUT)


@contextlib.contextmanager
def _opened(name: bytes, directory: int, flags: int = _DIRECTORY) -> typing.Iterator[int]:
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(file: typing.Any, data: bytes) -> None:
    """Write all of data: a raw file may write only a part at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _write_extents(file: typing.Any, member: layertar.Member, content: typing.Iterable[bytes]) -> None:
    """Write a sparse file; its holes take no space."""
    pieces = iter(content)
    data = b""
    for offset, length in member.extents or ():
        file.seek(offset)
        while length:
            data = data or next(pieces)
            _write(file, data[:length])
            length, data = length - len(data[:length]), data[length:]
    file.truncate(member.size)


def _set_attribute(where: int | bytes, name: str, value: bytes) -> None:
    try:
        if isinstance(where, int):
            os.setxattr(where, name, value)
        else:
            os.setxattr(where, name, value, follow_symlinks=False)
    except OSError as error:
        raise InvalidEntry(
            f"its attribute {name!r} can't be set: {error.strerror}; it takes a file system that has such attributes,"
            " and root or pseudo"
        ) from error


def _is_whiteout_device(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(0, 0)


def _device(member: layertar.Member) -> int:
    """Return a device number; the kernel has 12 bits for the major and 20 for the minor number."""
    major, minor = member.device
    return os.makedev(major & 0xFFF, minor & 0xFFFFF)


def _time(nanoseconds: int, otherwise: int = 0) -> int:
    """Return a time; a time before 1970 or after 2262 becomes otherwise, which is 1970 for Docker."""
    return nanoseconds if 0 <= nanoseconds < _MAX_TIME else otherwise
