# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Common parts of the writers of image stores: a directory of complete files, and a layer before it is written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError
from dockin.image import archive, reference
from dockin.store import deeptree, layertree
from dockin.target import dockersave
from dockin.target.imageinfo import ImageInformation

RECORDS = "dockin"
"""Directory of dockin-preload's records, which make it do nothing."""


class InvalidDataRoot(DockinError):
    """Images cannot be written into a data-root; the message names the image, layer and entry concerned."""


@dataclass
class Unpacked:
    """A layer that was unpacked."""

    size: int = 0
    """Bytes of its files and links, each hard-linked file once."""
    tar_size: int = 0
    """Bytes of its tar."""
    uids: set[int] = field(default_factory=set)
    gids: set[int] = field(default_factory=set)
    """Owners of its entries, except whiteouts."""


class Unpack(typing.Protocol):
    """Unpacks a layer into an empty tree, writes its tar-split file to a path if one is given, and returns a description.

    Raises DockinError, OSError.
    """

    def __call__(self, tree: layertree.Tree, split: str = "") -> Unpacked:
        """Unpack the layer."""


@dataclass(frozen=True)
class Blob:
    """A layer as stored in an archive."""

    digest: str
    size: int
    magic: bytes
    """Its first bytes, which tell its compression."""


class ArchivedImage:
    """An image in an open archive."""

    def __init__(self, information: ImageInformation, tar: tarfile.TarFile, path: str, has_digest: bool = True) -> None:
        """has_digest tells whether the digest by which it was pulled names only this image."""
        self.information = information
        self.has_digest = has_digest
        self.path = path
        self._tar = tar

    def read(self, member: str) -> bytes:
        """Return a document. Raises InvalidArchive, OSError."""
        return dockersave.read_member(self._tar, member, self.path)

    def layer(self, member: str, diff_id: str) -> typing.Iterator[bytes]:
        """Yield a layer's tar without checking its digest. Raises DockinError, OSError."""
        return archive.decompress(self.chunks(member), diff_id)

    def manifest(self) -> tuple[bytes, bytes]:
        """Return the image's top document in the archive's index.json (an index or its manifest), and its manifest.

        Raises DockinError, OSError.
        """
        return dockersave.find_manifest(self._tar, self.path, self.information.image_id)

    def chunks(self, member: str) -> typing.Iterator[bytes]:
        """Yield a layer as it lies here. Raises DockinError, OSError."""
        return dockersave.member_chunks(self._tar, member, self.path)

    def blob(self, member: str) -> Blob:
        """Return a layer as stored here, after reading all of it. Raises DockinError if its name has another digest."""
        hasher, size, magic = hashlib.sha256(), 0, b""
        for data in self.chunks(member):
            hasher.update(data)
            size += len(data)
            magic = magic or data[:6]
        digest = "sha256:" + hasher.hexdigest()
        named = named_digest(member)
        if named and named != digest:
            raise self.error(f"layer {named} has {digest}: the archive is damaged")
        return Blob(digest, size, magic)

    def error(self, reason: str) -> InvalidDataRoot:
        """Return an error that names the image."""
        return InvalidDataRoot(f"{self.information.name}: {reason}")


class Folder:
    """The directory of an image store, except the content of its layers."""

    def __init__(self, path: str, epoch: int) -> None:
        """epoch, in seconds, is the time of all files here. Raises InvalidDataRoot, OSError."""
        self.path = path
        self.epoch = epoch
        if os.path.islink(path):
            raise InvalidDataRoot(f"{path} is a link, to {os.readlink(path)!r}: give the directory itself")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)

    def at(self, name: str) -> str:
        """Return the path of a name in this directory."""
        return os.path.join(self.path, name) if name else self.path

    def make_directory(self, name: str, mode: int) -> None:
        """Make a directory if it does not exist."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.at(name), 0o700)
            os.chmod(self.at(name), mode)

    def remove_directory(self, name: str) -> None:
        """Remove a directory, if it exists and can be removed."""
        with contextlib.suppress(OSError):
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                deeptree.remove(root, os.fsencode(name))
            finally:
                os.close(root)

    def write_file(self, name: str, content: bytes | str | typing.Iterator[bytes], mode: int = 0o644) -> None:
        """Write a complete file or none."""
        content = content.encode() if isinstance(content, str) else content
        new = self.at(name) + ".new"
        with open(new, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.writelines([content] if isinstance(content, bytes) else content)
        os.replace(new, self.at(name))

    def write_json(self, name: str, document: object, mode: int = 0o644) -> None:
        """Write a document, without spaces."""
        self.write_file(name, json.dumps(document, separators=(",", ":")), mode)

    def read_json(self, name: str, otherwise: typing.Any) -> typing.Any:
        """Return the document in a file, or otherwise if there is none."""
        try:
            with open(self.at(name), "rb") as file:
                return json.load(file)
        except FileNotFoundError:
            return otherwise

    def make_link(self, name: str, target: str) -> None:
        """Make a symbolic link, and replace an existing one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.at(name))
        os.symlink(target, self.at(name))

    def set_times(self, layers: str, content: str) -> None:
        """Set the time of everything to the epoch, except what is in <layers>/*/<content>."""
        for folder, folders, files in os.walk(self.path):
            if os.path.dirname(folder) == self.at(layers):
                folders[:] = [name for name in folders if name != content]
            for name in (*folders, *files):
                self._set_time(os.path.join(folder, name))
        self._set_time(self.path)

    def _set_time(self, path: str) -> None:
        os.utime(path, (self.epoch, self.epoch), follow_symlinks=False)


def named_digest(member: str) -> str:
    """Return the digest in a member's name blobs/sha256/<hex>; "" for any other name."""
    prefix, _, name = member.rpartition("/")
    digest = "sha256:" + name
    return digest if prefix == "blobs/sha256" and reference.is_digest(digest) else ""


def hex_of(digest: str) -> str:
    """Return a digest without its "sha256:"."""
    return digest.partition(":")[2]
