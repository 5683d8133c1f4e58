# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker data-roots written without Docker: what "docker load" leaves in /var/lib/docker on the classic store overlay2.

    images = [dataroot.read_source(path) for path in ("/usr/share/dockin/archive/busybox-1.36.1.image", …)]
    dataroot.write("…/rootfs/var/lib/docker", images, epoch)

    image/overlay2/repositories.json                 image IDs by name:tag and name@digest
    image/overlay2/imagedb/content/sha256/<ID>       configs
    image/overlay2/layerdb/sha256/<chain ID>/        layers: diff, parent, size, cache-id, tar-split.json.gz
    image/overlay2/distribution/                     digests that layers have in registries, where known
    overlay2/<cache-id>/, overlay2/l/                the layers' directories
    dockin/<stem>                                    records: dockin-preload has nothing to do

What is written follows from the images and the epoch alone, cache-ids and times included; only the compression in
tar-split.json.gz is the host's zlib's. It takes root or pseudo.
Format: https://github.com/moby/moby (daemon/internal/layer, daemon/internal/image, daemon/graphdriver/overlay2)
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import functools
import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import typing
from dataclasses import replace

from dockin import archive, information, layertar, layertree, manifests, reference, runtimes, savedarchive, tarball, tarsplit
from dockin.errors import DockinError
from dockin.information import ImageInformation

# https://github.com/moby/moby, maxLayerDepth
MAX_LAYERS = 125

_STORE = "image/overlay2"
_LAYERS = f"{_STORE}/layerdb/sha256"
_REPOSITORIES = f"{_STORE}/repositories.json"
# Modes as Docker makes them.
_DIRECTORIES = {
    "": 0o710,
    "image": 0o700,
    _STORE: 0o700,
    f"{_STORE}/imagedb": 0o700,
    f"{_STORE}/imagedb/content": 0o700,
    f"{_STORE}/imagedb/content/sha256": 0o700,
    f"{_STORE}/imagedb/metadata": 0o700,
    f"{_STORE}/imagedb/metadata/sha256": 0o700,
    f"{_STORE}/layerdb": 0o700,
    _LAYERS: 0o755,
    f"{_STORE}/distribution": 0o700,
    "overlay2": 0o710,
    "overlay2/l": 0o700,
    "dockin": 0o700,
}
_DISTRIBUTION_DIRECTORIES = tuple(
    f"{_STORE}/distribution/{name}" for name in ("diffid-by-digest", "v2metadata-by-diffid")
)
_XZ_MAGIC = b"\xfd7zXZ\0"
_BZIP2_MAGIC = b"BZh"


class InvalidDataRoot(DockinError):
    """Images can't be written into a data-root; names image, layer and entry as far as they are concerned."""


class Source(typing.NamedTuple):
    """An image to write, and the archive that it is in."""

    stem: str
    """Name of the record: that of the image information file without its suffix."""
    information: ImageInformation
    archive: str
    """Path of what "docker load" would read, with whatever compression."""


def read_source(path: str) -> Source:
    """Return the image of an image information file and the archive beside it. Raises DockinError, OSError."""
    with open(path, encoding="utf-8") as file:
        described = information.parse(file.read(), path)
    stem = os.path.basename(path)[: -len(information.SUFFIX)]
    return Source(stem, described, os.path.join(os.path.dirname(path), described.archive))


def write(
    data_root: str, sources: typing.Iterable[Source], epoch: int = 0, scratch: str | None = None
) -> dict[str, int]:
    """Write images into a data-root; return chain ID and size, in bytes, of each layer that was not there before.

    data_root is made where it isn't there; what is in it has to be this function's, and the images are added. A name that is
    there for another image goes over to the new one. epoch, in seconds since 1970, is the time of all that the images give
    none (SOURCE_DATE_EPOCH). scratch is the directory for an archive while it is decompressed, the host's by default.
    Raises DockinError, OSError; the data-root then has no part of a layer or image, but maybe whole ones.
    """
    root = _Root(data_root, epoch)
    added: dict[str, int] = {}
    names: dict[str, str] = {}
    for source in sources:
        if source.information.runtime != runtimes.DOCKER.name:
            raise InvalidDataRoot(f"{source.information.name} is for {source.information.runtime}, which has no data-root")
        for name in _names(source.information):
            if names.setdefault(name, source.information.image_id) != source.information.image_id:
                raise InvalidDataRoot(f"Two images are called {name}: {names[name]} and {source.information.image_id}")
        try:
            with _opened(source, scratch) as tar:
                _Image(root, source, tar).write(added)
        except tarfile.TarError as error:
            raise InvalidDataRoot(f"{source.archive} is no archive that 'docker load' can read: {error}") from error
    root.set_times()
    return added


def cache_id(chain_id: str) -> str:
    """Return the name of a layer's directory in overlay2/, 64 hex digits, which follows from its chain ID."""
    return hashlib.sha256(f"dockin overlay2 {chain_id}".encode()).hexdigest()


def link_id(chain_id: str) -> str:
    """Return the short name of a layer's directory in overlay2/l/, 26 characters A-Z and 2-7."""
    return base64.b32encode(bytes.fromhex(cache_id(chain_id)))[:26].decode()


def chain_id(parent: str, diff_id: str) -> str:
    """Return the chain ID of a layer on a parent's, empty for the base."""
    return manifests.digest_of(f"{parent} {diff_id}".encode()) if parent else diff_id


class _Root:
    """A data-root's own files and directories, all that is not in a layer."""

    def __init__(self, path: str, epoch: int) -> None:
        self.path = path
        self.epoch = epoch
        if os.path.islink(path):
            raise InvalidDataRoot(f"{path} is a link, to {os.readlink(path)!r}: give the directory itself")
        if os.path.lexists(self.at("containers")):
            raise InvalidDataRoot(f"{path} has containers/: Docker has used this data-root, so nothing can be added to it")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        for name, mode in _DIRECTORIES.items():
            self.make_directory(name, mode)

    def at(self, name: str) -> str:
        return os.path.join(self.path, name) if name else self.path

    def make_directory(self, name: str, mode: int) -> None:
        """Make a directory where it isn't there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.at(name), 0o700)
            os.chmod(self.at(name), mode)

    def write_file(self, name: str, content: bytes | str, mode: int = 0o644) -> None:
        """Write a file: a whole one or none."""
        new = self.at(name) + ".new"
        with open(new, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content if isinstance(content, bytes) else content.encode())
        os.replace(new, self.at(name))

    def read_json(self, name: str, otherwise: typing.Any) -> typing.Any:
        """Return the document in a file, otherwise where there is none."""
        try:
            with open(self.at(name), "rb") as file:
                return json.load(file)
        except FileNotFoundError:
            return otherwise

    def set_times(self) -> None:
        """Give everything that is in no layer the time of the epoch."""
        for top in ("image", "overlay2", "dockin"):
            for folder, folders, files in os.walk(self.at(top), topdown=True):
                if os.path.dirname(folder) == self.at("overlay2"):
                    folders[:] = [name for name in folders if name != "diff"]
                for name in (*folders, *files):
                    self._set_time(os.path.join(folder, name))
            self._set_time(self.at(top))
        self._set_time(self.path)

    def _set_time(self, path: str) -> None:
        os.utime(path, (self.epoch, self.epoch), follow_symlinks=False)


class _Image:
    """An image on its way from its archive into a data-root."""

    def __init__(self, root: _Root, source: Source, tar: tarfile.TarFile) -> None:
        self._root = root
        self._source = source
        self._information = source.information
        self._tar = tar

    def write(self, added: dict[str, int]) -> None:
        """Write layers, config, names and record, in this order; note in added what was not there."""
        config, diff_ids, members = self._documents()
        chain: list[str] = []
        for diff_id, member in zip(diff_ids, members):
            chain.append(chain_id(chain[-1] if chain else "", diff_id))
            if not self._has_layer(chain[-1]):
                added[chain[-1]] = self._write_layer(chain, diff_id, member)
            self._note_registry(diff_id, member)
        self._root.write_file(f"{_STORE}/imagedb/content/sha256/{_hex(self._information.image_id)}", config, 0o600)
        self._add_names()
        record = self._information.render_record(self._information.image_id)
        self._root.write_file(f"dockin/{self._source.stem}", record, 0o600)

    def _documents(self) -> tuple[bytes, tuple[str, ...], list[str]]:
        """Return the config, and the diff IDs and names in the archive of the layers."""
        path = self._source.archive
        try:
            document = json.loads(savedarchive.read_member(self._tar, "manifest.json", path))
            entry = savedarchive.find_entry(document, path, self._information.name)
            config = savedarchive.read_member(self._tar, str(entry["Config"]), path)
            members = [str(member) for member in entry["Layers"]]
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._error(f"{path} is no archive of 'docker save': {error}") from error
        if manifests.digest_of(config) != self._information.image_id:
            raise self._error(f"{path} has the image {manifests.digest_of(config)}, not {self._information.image_id}")
        diff_ids = manifests.parse_config(config).diff_ids
        if len(diff_ids) != len(members) or len(members) > MAX_LAYERS:
            raise self._error(
                f"{path} has {len(members)} layers, its config says {len(diff_ids)}; Docker takes at most {MAX_LAYERS}"
            )
        return config, diff_ids, members

    def _has_layer(self, chain: str) -> bool:
        """Tell whether a layer is there. Raises InvalidDataRoot for one that somebody else wrote."""
        path = self._root.at(f"{_LAYERS}/{_hex(chain)}/cache-id")
        try:
            with open(path, encoding="utf-8") as file:
                found = file.read()
        except FileNotFoundError:
            return False
        if found != cache_id(chain):
            raise self._error(f"{path} has {found!r}: Docker has used this data-root, so nothing can be added to it")
        return True

    def _write_layer(self, chain: list[str], diff_id: str, member: str) -> int:
        """Write the last layer of a chain; return its size."""
        root, cache = self._root, cache_id(chain[-1])
        home, link = f"overlay2/{cache}", root.at(f"overlay2/l/{link_id(chain[-1])}")
        notes = f"{_LAYERS}/{_hex(chain[-1])}"
        try:
            for name, mode in ((home, 0o710), (f"{home}/diff", 0o755), (f"{notes}.new", 0o700)):
                # What an interrupted run left.
                shutil.rmtree(root.at(name), ignore_errors=True)
                root.make_directory(name, mode)
            size = self._unpack(diff_id, member, root.at(f"{home}/diff"), root.at(f"{notes}.new/tar-split.json.gz"))
            root.write_file(f"{home}/link", link_id(chain[-1]))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)
            os.symlink(f"../{cache}/diff", link)
            if len(chain) > 1:
                root.make_directory(f"{home}/work", 0o700)
                root.write_file(f"{home}/lower", ":".join(f"l/{link_id(below)}" for below in chain[-2::-1]))
                root.write_file(f"overlay2/{cache_id(chain[-2])}/committed", b"", 0o600)
                root.write_file(f"{notes}.new/parent", chain[-2])
            for name, value in (("cache-id", cache), ("diff", diff_id), ("size", str(size))):
                root.write_file(f"{notes}.new/{name}", value)
            os.rename(root.at(f"{notes}.new"), root.at(notes))
        except BaseException:
            shutil.rmtree(root.at(home), ignore_errors=True)
            shutil.rmtree(root.at(f"{notes}.new"), ignore_errors=True)
            raise
        return size

    def _unpack(self, diff_id: str, member: str, directory: str, split: str) -> int:
        """Unpack a layer; write its tar-split file; return its size."""
        raw: set[int] = set()
        with layertree.Tree(directory, self._root.epoch) as tree:
            self._read_layer(diff_id, member, split, raw, tree)
            if tree.lost - raw:
                # Entries replaced by later ones, which a tar-split file can't refer to: seldom, and worth a second reading.
                raw |= tree.lost
                self._read_layer(diff_id, member, split, raw, None)
            return tree.finish()

    def _read_layer(
        self, diff_id: str, member: str, path: str, raw: set[int], tree: layertree.Tree | None
    ) -> None:
        """Unpack a layer if there is a tree, and write the tar-split file at path.

        raw has the numbers of the entries whose content goes into that file, because it can't be found again in the tree;
        more are added.
        """
        hasher = hashlib.sha256()
        with open(path, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            split = tarsplit.Writer(file)
            reader = layertar.Reader(_hashed(self._layer_chunks(member, diff_id), hasher))
            while True:
                with self._errors_of(diff_id):
                    entry = reader.next()
                    split.segment(reader.raw())
                if entry is None:
                    break
                with self._errors_of(diff_id, entry):
                    _read_entry(reader, entry, split, raw, tree)
            with self._errors_of(diff_id):
                for data in reader.rest():
                    split.segment(data)
            split.close()
        if "sha256:" + hasher.hexdigest() != diff_id:
            raise self._error(f"layer {diff_id} has sha256:{hasher.hexdigest()}: the archive is damaged")

    @contextlib.contextmanager
    def _errors_of(self, diff_id: str, entry: layertar.Member | None = None) -> typing.Iterator[None]:
        """Let errors name the image, the layer and its entry."""
        try:
            yield
        except (DockinError, OSError, tarfile.TarError, RecursionError) as error:
            where = f", entry {layertar.printable(entry.name)}" if entry else ""
            raise self._error(f"layer {diff_id}{where}: {_reason(error)}") from error

    def _layer_chunks(self, member: str, diff_id: str) -> typing.Iterator[bytes]:
        return archive.decompress(savedarchive.member_chunks(self._tar, member, self._source.archive), diff_id)

    def _note_registry(self, diff_id: str, member: str) -> None:
        """Note the digest that a layer has in its registry, if it is in the archive as it was pulled.

        By it "docker pull" of another image knows that the layer is there, and fetches only what is not.
        """
        prefix, _, digest = member.rpartition("/")
        digest = "sha256:" + digest
        if prefix != "blobs/sha256" or not reference.is_digest(digest) or digest == diff_id:
            return
        hasher = hashlib.sha256()
        for _ in _hashed(savedarchive.member_chunks(self._tar, member, self._source.archive), hasher):
            pass
        if "sha256:" + hasher.hexdigest() != digest:
            raise self._error(f"layer {digest} has sha256:{hasher.hexdigest()}: the archive is damaged")
        for name in _DISTRIBUTION_DIRECTORIES:
            self._root.make_directory(name, 0o755)
            self._root.make_directory(f"{name}/sha256", 0o755)
        by_digest, by_diff_id = _DISTRIBUTION_DIRECTORIES
        self._root.write_file(f"{by_digest}/sha256/{_hex(digest)}", diff_id)
        path = f"{by_diff_id}/sha256/{_hex(diff_id)}"
        repository = reference.parse(self._information.reference).name
        note = {"Digest": digest, "SourceRepository": repository, "HMAC": ""}
        notes = [other for other in self._root.read_json(path, []) if other != note]
        self._root.write_file(path, json.dumps([*notes, note], separators=(",", ":")))

    def _add_names(self) -> None:
        repositories = self._root.read_json(_REPOSITORIES, {"Repositories": {}})
        family = replace(reference.parse(self._information.reference), tag=None, digest=None).familiar
        names = repositories["Repositories"].setdefault(family, {})
        names.update(dict.fromkeys(_names(self._information), self._information.image_id))
        self._root.write_file(_REPOSITORIES, json.dumps(repositories, separators=(",", ":"), sort_keys=True), 0o600)

    def _error(self, reason: str) -> InvalidDataRoot:
        return InvalidDataRoot(f"{self._information.name}: {reason}")


def _read_entry(
    reader: layertar.Reader, entry: layertar.Member, split: tarsplit.Writer, raw: set[int], tree: layertree.Tree | None
) -> None:
    """Read a layer's entry, as _read_layer() reads all."""
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
    """Open an archive so that its members can be read in any order: decompressed into a temporary file if need be."""
    path = source.archive
    with contextlib.ExitStack() as stack:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for its other end
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
    """Yield an archive without its compression: all that docker load knows."""
    opener = lzma.open if head.startswith(_XZ_MAGIC) else bz2.open if head.startswith(_BZIP2_MAGIC) else None
    with opener(file) if opener else contextlib.nullcontext(file) as plain:
        chunks = iter(functools.partial(plain.read, tarball.CHUNK), b"")
        try:
            yield from archive.decompress(chunks, path)
        except (lzma.LZMAError, EOFError, OSError) as error:
            raise InvalidDataRoot(f"{path} can't be decompressed: {_reason(error)}") from error


def _hashed(chunks: typing.Iterable[bytes], hasher: typing.Any) -> typing.Iterator[bytes]:
    for data in chunks:
        hasher.update(data)
        yield data


def _names(described: ImageInformation) -> tuple[str, str]:
    """Return the names that Docker finds an image by after a pull: with its tag, and with the digest it was pulled by."""
    named = reference.parse(described.reference).tagged
    return named.familiar, replace(named, tag=None, digest=described.source_digest).familiar


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _reason(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"{error.strerror}: owners, devices and attributes take root, or pseudo"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
