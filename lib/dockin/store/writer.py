# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Writes image stores for Docker and Podman without running either, as after a load of the same archives.

    images = [writer.read_source(path) for path in ("/usr/share/dockin/archive/busybox-1.36.1.image", …)]
    writer.write("…/rootfs/var/lib/docker", images, epoch)

The images' runtime decides: a data-root of Docker's classic store (docker.py), or an additional image store for Podman
(podman.py). Callers choose the store of containerd (containerd.py), which Docker can use, too. In each, dockin/<stem> is the
record that makes dockin-preload do nothing.

The output depends only on the images and the epoch, including random names and times; only the compression of tar-split
files is that of the host's zlib. Writing needs root or pseudo.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import hashlib
import lzma
import os
import stat
import tarfile
import tempfile
import typing
from dataclasses import replace

from dockin.errors import DockinError
from dockin.image import archive, layertar, manifests, reference, tarball
from dockin.store import base, containerd, docker, layertree, podman, rootfs, tarsplit
from dockin.store.base import ArchivedImage, InvalidDataRoot, Unpacked
from dockin.target import dockersave, imageinfo, runtimes
from dockin.target.imageinfo import ImageInformation

_Store = typing.Union[docker.ClassicStore, podman.OverlayStore, containerd.ContainerdStore]
MakeStore = typing.Callable[[base.Folder], _Store]
"""Makes a store of a directory."""
_STORES: dict[str, MakeStore] = {
    runtimes.DOCKER.name: docker.ClassicStore,
    runtimes.PODMAN.name: podman.OverlayStore,
}


class Source(typing.NamedTuple):
    """An image to write, and its archive."""

    stem: str
    """Name of the record: that of the image information file without its suffix."""
    information: ImageInformation
    archive: str
    """Path of the archive, with any compression that "docker load" can read."""


def read_source(path: str) -> Source:
    """Return the image of an image information file, with the archive beside it. Raises DockinError, OSError."""
    described = imageinfo.read(path)
    stem = os.path.basename(path)[: -len(imageinfo.SUFFIX)]
    return Source(stem, described, os.path.join(os.path.dirname(path), described.archive))


def read_sources(root: str, paths: typing.Iterable[str], runtime: str) -> list[Source]:
    """Return the images of information files in a root file system, by the files' paths on the target.

    Raises DockinError, also for an image that is packaged for another runtime; OSError.
    """
    remedy = "set docker_archivedir to the directory that it leads to"
    sources = [read_source(rootfs.find(root, path, remedy)) for path in paths]
    for described in (source.information for source in sources):
        if described.runtime != runtime:
            raise InvalidDataRoot(
                f"the package with {described.name} has it for {described.runtime}, but the image recipe has"
                f" DOCKIN_RUNTIME = {runtime!r}: set it for all recipes")
    return sources


def write(
    data_root: str, sources: typing.Iterable[Source], epoch: int = 0, scratch: str | None = None,
    make_store: MakeStore | None = None,
) -> dict[str, int]:
    """Write images into a store; return ID and size, in bytes, of each layer that was new.

    data_root is created, or has to be from an earlier call; the images are added. A name of another image is moved to
    the new one. epoch, in seconds since 1970, is the time of everything without a time in the images
    (SOURCE_DATE_EPOCH). scratch is the directory for a decompressed archive, by default the host's. make_store makes
    another store than that of the images' runtime. Raises DockinError, OSError; the store then has no partial layer or
    image, but perhaps complete ones.
    """
    sources = list(sources)
    runtime = _runtime(sources)
    make_store = make_store or _STORES.get(runtime)
    if not make_store:
        raise InvalidDataRoot(f"{sources[0].information.name} is for {runtime}, which has no data-root")
    folder = base.Folder(data_root, epoch)
    store = make_store(folder)
    added: dict[str, int] = {}
    tagged = _images_by_name(sources, _name_with_tag)
    pulled = _images_by_name(sources, _name_with_digest)
    for name, images in tagged.items():
        if len(images) > 1:
            raise InvalidDataRoot(f"Two images are called {name}: {' and '.join(images)}")
    for source in sources:
        # Docker knows only one platform's image by the digest of an index.
        has_digest = len(pulled[_name_with_digest(source.information)]) == 1
        try:
            with _opened(source, scratch) as tar:
                image = ArchivedImage(source.information, tar, source.archive, has_digest)
                record = store.record(image, _Image(store, image).write(added))
        except tarfile.TarError as error:
            raise InvalidDataRoot(f"{source.archive} is no archive that 'docker load' can read: {error}") from error
        folder.write_file(f"{base.RECORDS}/{source.stem}", record, 0o600)
    folder.set_times(store.layers, store.content)
    return added


def _runtime(sources: typing.Sequence[Source]) -> str:
    """Return the images' runtime, Docker for no images. Raises InvalidDataRoot for several."""
    found = {source.information.runtime: source.information.name for source in sources}
    if len(found) > 1:
        said = ", ".join(f"{name} is for {runtime}" for runtime, name in found.items())
        raise InvalidDataRoot(f"{said}: an image store is one runtime's")
    return next(iter(found), runtimes.DOCKER.name)


class _Image:
    """An image that is copied from its archive into a store."""

    def __init__(self, store: _Store, image: ArchivedImage) -> None:
        self._store = store
        self._image = image

    def write(self, added: dict[str, int]) -> list[str]:
        """Write layers, then everything else; add new layers to added. Return the IDs of the image's layers."""
        config, layers = self._documents()
        chain: list[str] = []
        for diff_id, member in layers:
            chain.append(self._store.layer_id(chain[-1] if chain else "", diff_id))
            if not self._store.has_layer(chain[-1]):
                unpack = functools.partial(self._unpack, diff_id, member)
                added[chain[-1]] = self._store.write_layer(chain, diff_id, unpack, self._image, member)
        self._store.write_image(self._image, config, layers, chain[-1] if chain else "")
        return chain

    def _documents(self) -> tuple[bytes, list[tuple[str, str]]]:
        """Return the config, and the layers' diff IDs and names in the archive."""
        image, wanted = self._image, self._image.information.image_id
        try:
            entry = dockersave.find_entry(image.read("manifest.json"), image.path, image.information.name)
            config = image.read(str(entry["Config"]))
            members = [str(member) for member in entry["Layers"]]
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise image.error(f"{image.path} is no archive of 'docker save': {error}") from error
        if manifests.digest_of(config) != wanted:
            raise image.error(f"{image.path} has the image {manifests.digest_of(config)}, not {wanted}")
        diff_ids = manifests.parse_config(config).diff_ids
        most = self._store.max_layers
        if len(diff_ids) != len(members) or len(members) > most:
            raise image.error(f"{image.path} has {len(members)} layers, its config says {len(diff_ids)}; at most {most} are"
                              " possible")
        return config, list(zip(diff_ids, members))

    def _unpack(self, diff_id: str, member: str, tree: layertree.Tree, split: str = "") -> Unpacked:
        """Unpack a layer, as base.Unpack."""
        raw: set[int] = set()
        with tree:
            found = self._read_layer(diff_id, member, split, raw, tree)
            if tree.lost - raw:
                # A tar-split file cannot refer to entries that later ones replaced: seldom, and worth reading the layer
                # again.
                raw |= tree.lost
                self._read_layer(diff_id, member, split, raw, None)
            found.size = tree.finish()
            return found

    def _read_layer(
        self, diff_id: str, member: str, path: str, raw: set[int], tree: layertree.Tree | None
    ) -> Unpacked:
        """Unpack a layer if there is a tree, and write the tar-split file to path unless that is empty.

        raw has the numbers of the entries whose content goes into that file, because the tree does not have it; further
        numbers are added.
        """
        hasher, found = hashlib.sha256(), Unpacked()
        with open(path or os.devnull, "wb") as file:
            split = tarsplit.Writer(file) if path else tarsplit.Discard()
            reader = layertar.Reader(_hashed(self._image.layer(member, diff_id), hasher, found))
            while True:
                with self._errors_of(diff_id):
                    entry = reader.next()
                    split.segment(reader.raw())
                if entry is None:
                    break
                with self._errors_of(diff_id, entry):
                    _read_entry(reader, entry, split, raw, tree)
                if not layertree.is_whiteout(os.path.basename(os.path.normpath(entry.name))):
                    found.uids.add(entry.uid)
                    found.gids.add(entry.gid)
            with self._errors_of(diff_id):
                for data in reader.rest():
                    split.segment(data)
            split.close()
        if "sha256:" + hasher.hexdigest() != diff_id:
            raise self._image.error(f"layer {diff_id} has sha256:{hasher.hexdigest()}: the archive is damaged")
        return found

    @contextlib.contextmanager
    def _errors_of(self, diff_id: str, entry: layertar.Member | None = None) -> typing.Iterator[None]:
        """Make errors name the image, the layer and its entry."""
        try:
            yield
        except (DockinError, OSError, tarfile.TarError, RecursionError) as error:
            where = f", entry {layertar.printable(entry.name)}" if entry else ""
            raise self._image.error(f"layer {diff_id}{where}: {_reason(error)}") from error


def _read_entry(
    reader: layertar.Reader, entry: layertar.Member, split: tarsplit.Writer | tarsplit.Discard, raw: set[int],
    tree: layertree.Tree | None,
) -> None:
    """Read one entry of a layer, as _read_layer() reads all."""
    place = tree.place(entry) if tree else None
    lost = place and (not place.direct or layertree.is_whiteout(place.leaf))
    if entry.stored and (lost or entry.extents is not None or not split.can_add(entry.name)):
        raw.add(entry.number)
    checksum = 0

    def content() -> typing.Iterator[bytes]:
        nonlocal checksum
        for data in reader.content():
            if entry.number in raw:
                split.segment(data)
            else:
                checksum = tarsplit.crc64(data, checksum)
            yield data

    chunks = content()
    if tree and place:
        tree.add(entry, place, chunks)
    for _ in chunks:
        pass
    if entry.number not in raw and split.can_add(entry.name):
        split.file(entry.name, entry.stored, checksum)


@contextlib.contextmanager
def _opened(source: Source, scratch: str | None) -> typing.Iterator[tarfile.TarFile]:
    """Open an archive for reading its members in any order, after decompressing it into a temporary file if needed."""
    path = source.archive
    with contextlib.ExitStack() as stack:
        if not os.path.exists(path):
            raise InvalidDataRoot(f"{source.information.name}: its archive {path} is gone: let nothing remove it, such as"
                                  " a function in ROOTFS_POSTPROCESS_COMMAND; it is removed after its image is written")
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for its writer
            raise InvalidDataRoot(f"{source.information.name}: {path} is no regular file")
        file: typing.IO[bytes] = stack.enter_context(open(path, "rb"))
        head = file.read(512)
        file.seek(0)
        if not (head[257:262] == b"ustar" or head[:512] == bytes(512)):
            plain = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            for data in _decompress(file, head, path):
                plain.write(data)
            plain.seek(0)
            file = plain
        yield stack.enter_context(tarfile.open(fileobj=file, mode="r:"))


def _decompress(file: typing.IO[bytes], head: bytes, path: str) -> typing.Iterator[bytes]:
    """Yield an uncompressed archive from any compression that docker load knows."""
    opener = lzma.open if head.startswith(archive.XZ_MAGIC) else bz2.open if head.startswith(archive.BZIP2_MAGIC) else None
    with opener(file) if opener else contextlib.nullcontext(file) as plain:
        chunks = iter(functools.partial(plain.read, tarball.CHUNK), b"")
        try:
            yield from archive.decompress(chunks, path)
        except (lzma.LZMAError, EOFError, OSError) as error:
            raise InvalidDataRoot(f"{path} can't be decompressed: {_reason(error)}") from error


def _hashed(chunks: typing.Iterable[bytes], hasher: typing.Any, found: Unpacked) -> typing.Iterator[bytes]:
    for data in chunks:
        hasher.update(data)
        found.tar_size += len(data)
        yield data


def _name_with_tag(described: ImageInformation) -> str:
    return reference.parse(described.reference).tagged.familiar


def _name_with_digest(described: ImageInformation) -> str:
    return replace(reference.parse(described.reference), tag=None, digest=described.source_digest).familiar


def _images_by_name(
    sources: typing.Iterable[Source], name_of: typing.Callable[[ImageInformation], str]
) -> dict[str, list[str]]:
    """Return the IDs of the images that have a name, each once."""
    found: dict[str, list[str]] = {}
    for source in sources:
        images = found.setdefault(name_of(source.information), [])
        if source.information.image_id not in images:
            images.append(source.information.image_id)
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"{error.strerror}: owners, devices and attributes need root or pseudo"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
