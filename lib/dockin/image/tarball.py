# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Image tarballs: one image of one platform in one self-contained file of DL_DIR.

A tar with an OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md) that has only one
platform:

    oci-layout
    index.json                  names the top document: the digest of the pin or the tag
    blobs/sha256/<top>          index, byte-exact as in the registry (absent if the top is the manifest)
    blobs/sha256/<manifest>     byte-exact
    blobs/sha256/<config>       byte-exact
    blobs/sha256/<layer>        each once, compressed as in the registry

If bills of materials were requested (lib/dockin/image/attachments.py), index.json also names the manifests of the
attachments, and the tar has these and the bills. Such a file has another name.

The same image gives the same bytes from any source. Mirrors serve such files too, so nothing in one is trusted before the
chain of top document, manifest, config and layers has been hashed, and nothing is extracted by a name in the tar.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import tarfile
import typing
from dataclasses import dataclass, field, replace

from dockin.errors import DockinError
from dockin.image import attachments as image_attachments, manifests, platforms
from dockin.image.reference import ImageReference, is_digest

PREFIX = "docker_"
SUFFIX = ".tar"
# A file name has at most 255 bytes, and BitBake appends to it.
_MAX_SUBJECT = 160
CHUNK = 1 << 20
MAX_MEMBERS = 50_000
"""Most members of a tarball: more than the largest manifest can name."""

_BLOBS = "blobs/sha256/"
_LAYOUT_NAME = "oci-layout"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_NAME = "index.json"


class InvalidTarball(DockinError):
    """An image tarball is damaged, incomplete or not the requested one."""

    def __init__(self, message: str, actual: str = "invalid") -> None:
        """actual is the hex digest found in place of the expected one, for the name of the renamed file."""
        super().__init__(message)
        self.actual = actual


@dataclass(frozen=True)
class Image:
    """One platform's image with all its documents, verified against each other by digest."""

    digest: str
    """Of the top document, an index or a manifest: what a pin names."""
    top: bytes
    manifest_digest: str
    manifest_bytes: bytes
    manifest: manifests.Manifest
    config_bytes: bytes
    config: manifests.Config
    attachments: tuple[image_attachments.Attachment, ...] = ()
    """The attachments with bills of materials."""
    consulted: typing.Mapping[str, bytes] = field(default_factory=dict)
    """Other documents read to choose the image, by digest: manifests and configs of entries that state no platform."""

    @property
    def documents(self) -> dict[str, bytes]:
        """Digest and bytes of the top document, manifest, config, consulted and attachments, in the order of the tarball."""
        return {
            self.digest: self.top,
            self.manifest_digest: self.manifest_bytes,
            self.manifest.config.digest: self.config_bytes,
            **self.consulted,
            **{one.digest: one.data for one in self.attachments},
        }

    @property
    def subject(self) -> image_attachments.Subject:
        """The image as the subject of attachments."""
        return image_attachments.Subject(self.digest, manifests.parse(self.top), self.manifest_digest)

    @property
    def blobs(self) -> tuple[manifests.Descriptor, ...]:
        """Config, layers and bills of materials, each once, in the order of the tarball. Raises InvalidAttachment."""
        bills = [document for _, document, _ in image_attachments.documents(self.attachments)]
        return tuple({blob.digest: blob for blob in (*self.manifest.blobs, *bills)}.values())


@dataclass(frozen=True)
class Extent:
    """The place of a blob in a file."""

    path: str
    offset: int
    size: int


def file_name(reference: ImageReference, slug: str, sbom: image_attachments.Wanted | None = None) -> str:
    """Return the name in DL_DIR for a reference, a platform's slug and the requested bills of materials.

    With a pin it has only the digest and the platform, so that every mirror has the image under the same name. Without a
    pin it has the whole reference, with '+' and '=' for '/' and ':', which no reference has.
    """
    if reference.digest:
        subject = reference.digest.replace(":", "-")
    else:
        # The host is in lower case, because BitBake may pass it on so.
        name = replace(reference, registry=reference.registry.lower()).canonical
        # An IPv6 address loses its brackets: bb.utils.remove() interprets a path as a pattern.
        subject = re.sub(r"[\[\]]", "", name).replace("/", "+").replace(":", "=")
        if len(subject) > _MAX_SUBJECT:
            subject = hashlib.sha256(name.encode()).hexdigest()
    more = ""
    if sbom:
        more = "_sbom" + (f"-{hashlib.sha256(' '.join(sbom.pins).encode()).hexdigest()[:12]}" if sbom.pins else "")
    return f"{PREFIX}{subject}_{slug}{more}{SUFFIX}"


def blob_name(digest: str) -> str:
    """Return a blob's path in an OCI image layout: blobs/sha256/<hex>."""
    return _BLOBS + digest.partition(":")[2]


def read(path: str) -> dict[str, Extent]:
    """Return the blobs of an image tarball by the digests in its member names. Raises InvalidTarball, OSError.

    Only headers are read. A member that no image tarball has (link, device, other name, sparse file) is an error.
    """
    return {_claimed(name): extent for name, extent in _members(path).items() if name.startswith(_BLOBS)}


def find_blobs(directory: str) -> dict[str, list[Extent]]:
    """Return the claimed places of blobs in a directory's image tarballs, by digest.

    Unreadable files are skipped. One file's claim may be wrong and another's right.
    """
    found: dict[str, list[Extent]] = {}
    for path in sorted(pathlib.Path(directory).glob(f"{PREFIX}*{SUFFIX}")):
        try:
            blobs = read(str(path))
        except (InvalidTarball, OSError):
            continue
        for digest, extent in blobs.items():
            found.setdefault(digest, []).append(extent)
    return found


def chunks(extent: Extent) -> typing.Iterator[bytes]:
    """Yield the bytes of an extent. Raises OSError, and InvalidTarball if the file is too short."""
    with open(extent.path, "rb") as file:
        file.seek(extent.offset)
        left = extent.size
        while left > 0:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise InvalidTarball(f"Damaged image tarball {extent.path}: it ends before its last blob")
            left -= len(chunk)
            yield chunk


def verified_chunks(extent: Extent, blob: manifests.Descriptor) -> typing.Iterator[bytes]:
    """Yield the bytes of a blob. Raises OSError, and InvalidTarball, at the end also for a mismatch."""
    if extent.size != blob.size:
        raise InvalidTarball(f"{blob.digest} in {extent.path} has {extent.size} bytes, its manifest says {blob.size}")
    hasher = hashlib.sha256()
    for chunk in chunks(extent):
        hasher.update(chunk)
        yield chunk
    actual = "sha256:" + hasher.hexdigest()
    if actual != blob.digest:
        raise _mismatch("blob", blob.digest, actual)


def copy_blob(source: Extent, blob: manifests.Descriptor, target: str) -> None:
    """Copy a blob into a file of its own, and verify it on the way. Raises InvalidTarball, OSError."""
    with open(target, "wb") as file:
        for chunk in verified_chunks(source, blob):
            file.write(chunk)


def is_blob(extent: Extent, blob: manifests.Descriptor) -> bool:
    """Tell whether an extent has the blob, by size and digest. Raises OSError."""
    try:
        for _ in verified_chunks(extent, blob):
            pass
    except InvalidTarball:
        return False
    return True


def resolve(
    digest: str, top: bytes, wanted: platforms.Platform, read_blob: typing.Callable[[manifests.Descriptor], bytes]
) -> tuple[manifests.Descriptor, bytes, manifests.Manifest]:
    """Return the wanted platform's manifest: its descriptor, bytes and content.

    top is the index or manifest with the digest; read_blob returns the bytes for a descriptor of an index.
    Raises InvalidManifest, PlatformError, InvalidTarball and what read_blob raises.
    """
    document = manifests.parse(top)
    if isinstance(document, manifests.Manifest):
        return manifests.Descriptor(document.media_type, digest, len(top)), top, document
    descriptor = choose(document, wanted, read_blob)
    data, manifest = _read_manifest(descriptor, read_blob)
    if not isinstance(manifest, manifests.Manifest):
        raise manifests.InvalidManifest(f"Unsupported index {digest}: its entry {descriptor.digest} is an index again")
    return descriptor, data, manifest


def choose(
    index: manifests.Index, wanted: platforms.Platform, read_blob: typing.Callable[[manifests.Descriptor], bytes]
) -> manifests.Descriptor:
    """Return the wanted platform's entry of an index; for entries without a platform their configs are read.

    read_blob is called for an entry's manifest, then for its config. Raises as resolve().
    """

    def look(entry: manifests.Descriptor) -> platforms.Platform | None:
        if entry.media_type not in manifests.MANIFEST_TYPES:
            return None
        try:
            _, manifest = _read_manifest(entry, read_blob)
        except manifests.NotAnImage:
            if len(index.manifests) == 1:
                raise
            return None
        if not isinstance(manifest, manifests.Manifest):
            return None
        config = manifests.parse_config(_read_config(manifest, read_blob))
        return platforms.Platform(config.os, config.architecture, config.variant)

    return index.select(wanted, look)


def _read_manifest(
    descriptor: manifests.Descriptor, read_blob: typing.Callable[[manifests.Descriptor], bytes]
) -> tuple[bytes, manifests.Index | manifests.Manifest]:
    data = read_blob(descriptor)
    _check_document(data, descriptor, "manifest")
    return data, manifests.parse(data)


def _read_config(manifest: manifests.Manifest, read_blob: typing.Callable[[manifests.Descriptor], bytes]) -> bytes:
    data = read_blob(manifest.config)
    _check_document(data, manifest.config, "config")
    return data


def check_bytes(data: bytes, digest: str, what: str) -> None:
    """Raise InvalidTarball, with both digests, unless the bytes have the digest."""
    actual = manifests.digest_of(data)
    if actual != digest:
        raise _mismatch(what, digest, actual)


def make_image(
    digest: str,
    top: bytes,
    wanted: platforms.Platform,
    read_blob: typing.Callable[[manifests.Descriptor], bytes],
) -> Image:
    """Return the verified chain of documents from the top down to the config, which has to fit the platform.

    Raises InvalidManifest, PlatformError, InvalidTarball and what read_blob raises.
    """
    consulted: dict[str, bytes] = {}

    def read(blob: manifests.Descriptor) -> bytes:
        if blob.digest not in consulted:
            consulted[blob.digest] = read_blob(blob)
        return consulted[blob.digest]

    descriptor, manifest_bytes, manifest = resolve(digest, top, wanted, read)
    config_bytes = _read_config(manifest, read)
    config = manifests.parse_config(config_bytes)
    platforms.check(wanted, config.os, config.architecture, config.variant, entry=descriptor.platform)
    _check_entries(top, descriptor.digest, manifest)
    if len(config.diff_ids) != len(manifest.layers):
        raise manifests.InvalidManifest(
            f"Invalid image {descriptor.digest}: {len(manifest.layers)} layers in the manifest,"
            f" {len(config.diff_ids)} in the config"
        )
    return Image(digest, top, descriptor.digest, manifest_bytes, manifest, config_bytes, config, consulted=consulted)


def _check_entries(top: bytes, chosen: str, manifest: manifests.Manifest) -> None:
    """Raise InvalidManifest if a blob of the image is also another entry of its index: containerd could run that entry."""
    index = manifests.parse(top)
    entries = {entry.digest for entry in index.manifests} if isinstance(index, manifests.Index) else set()
    blobs = {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
    both = (entries - {chosen}) & blobs
    if both:
        raise manifests.InvalidManifest(
            f"Invalid image {chosen}: its blob {min(both)} is also an entry of its index; its publisher has to rebuild it"
        )


def load(path: str, wanted: platforms.Platform, pin: str | None, sbom: image_attachments.Wanted | None = None) -> Image:
    """Return the image in a tarball, checked against its pin, its platform and the requested bills of materials.

    All documents are hashed, from the pin (or the tarball's top document) on, and no other attachments are accepted.
    Layers and bills of materials are not read. Raises InvalidTarball naming both digests, InvalidManifest,
    InvalidAttachment, PlatformError, OSError.
    """
    members = _members(path)
    digest, *more = _read_names(path, members)

    def read_blob(blob: manifests.Descriptor) -> bytes:
        return _read_member(members, blob_name(blob.digest), manifests.MAX_CONFIG_SIZE, path)

    top = _read_member(members, blob_name(digest), manifests.MAX_MANIFEST_SIZE, path)
    check_bytes(top, digest, "index or manifest")
    image = make_image(digest, top, wanted, read_blob)
    if pin and image.digest != pin:
        raise _mismatch("image", pin, image.digest)
    if not sbom:
        if more:
            raise InvalidTarball(f"Not an image tarball {path}: its index.json does not name one image")
        return image
    subject, found = image.subject, []
    for digest in more:
        data = _read_member(members, blob_name(digest), manifests.MAX_MANIFEST_SIZE, path)
        check_bytes(data, digest, "manifest of an attachment")
        found.append(image_attachments.attach(subject, digest, data))
    image_attachments.check(subject, found, sbom)
    return replace(image, attachments=tuple(found))


def verify(path: str, wanted: platforms.Platform, pin: str | None, sbom: image_attachments.Wanted | None = None) -> Image:
    """Return the image in a tarball as load() does, with its layers and bills of materials hashed. Raises as load()."""
    image = load(path, wanted, pin, sbom)
    blobs = read(path)
    # The config was hashed with the manifest.
    for blob in image.blobs[1:]:
        if blob.digest not in blobs:
            raise InvalidTarball(f"Incomplete image tarball {path}: layer {blob.digest} is missing")
        for _ in verified_chunks(blobs[blob.digest], blob):
            pass
    return image


def read_bills(path: str, image: Image) -> typing.Iterator[tuple[image_attachments.Attachment, str, bytes]]:
    """Yield the bills of materials in a tarball: the attachment, media type and bytes of each.

    Raises InvalidTarball, InvalidAttachment, OSError.
    """
    blobs = read(path)
    for attachment, document, media_type in image_attachments.documents(image.attachments):
        if document.digest not in blobs:
            raise InvalidTarball(f"Incomplete image tarball {path}: {document.digest} is missing")
        data = b"".join(verified_chunks(blobs[document.digest], document))
        yield attachment, media_type, image_attachments.extract(document, data, image.subject)


def write(path: str, image: Image, layers: dict[str, Extent]) -> None:
    """Write the tarball of an image; layers has the places of all layers and bills of materials.

    Each is hashed while it is copied. Raises InvalidTarball with both digests, and OSError; the caller removes an incomplete
    file.
    """
    with open(path, "wb") as file:
        tar = TarWriter(file)
        tar.add(_LAYOUT_NAME, _LAYOUT)
        tar.add(_INDEX_NAME, _names(image))
        for digest, data in image.documents.items():
            tar.add(blob_name(digest), data)
        for blob in image.blobs:
            if blob.digest not in image.documents:
                tar.stream(blob_name(blob.digest), verified_chunks(layers[blob.digest], blob))
        tar.close()


class TarWriter:
    """Writes a tar in one pass, also files of unknown size. Its bytes do not depend on the host."""

    def __init__(self, file: typing.BinaryIO) -> None:
        self._file = file

    def add(self, name: str, data: bytes) -> None:
        """Write a file."""
        self.stream(name, [data])

    def stream(self, name: str, chunks: typing.Iterable[bytes]) -> int:
        """Write a file from chunks; return its size in bytes. Raises what chunks raises."""
        start = self._file.tell()
        self._file.write(bytes(tarfile.BLOCKSIZE))
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        for chunk in chunks:
            self._file.write(chunk)
            info.size += len(chunk)
        self._file.write(bytes(-info.size % tarfile.BLOCKSIZE))
        end = self._file.tell()
        self._file.seek(start)
        # GNU format: a size above 8 GiB fits into the one block that was reserved for the header.
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end)
        return info.size

    def close(self) -> None:
        """End the tar as tar does: two blocks of zeros, padded to a record."""
        end = self._file.tell()
        self._file.write(bytes(_end(end) - end))


def _claimed(name: str) -> str:
    """Return the digest in a blob's member name: sha256:<hex>."""
    return "sha256:" + name[len(_BLOBS) :]


def _names(image: Image) -> bytes:
    """Return index.json: the top document and the attachments."""
    top = {"mediaType": manifests.parse(image.top).media_type, "digest": image.digest, "size": len(image.top)}
    more = [
        {"mediaType": manifests.OCI_MANIFEST, "digest": one.digest, "size": len(one.data)} for one in image.attachments
    ]
    return json.dumps({"schemaVersion": 2, "manifests": [top, *more]}, separators=(",", ":")).encode()


def _end(offset: int) -> int:
    """Return the size of a tar whose end mark starts at an offset: two blocks of zeros, padded to a record."""
    end = offset + 2 * tarfile.BLOCKSIZE
    return end + -end % tarfile.RECORDSIZE


def _members(path: str) -> dict[str, Extent]:
    """Return the place of each member by name; only headers are read. Raises InvalidTarball, OSError.

    tarfile would follow extensions that an image tarball never has (long names, PAX, sparse files), with any memory that
    they demand, and would take a damaged header, or a cut between two members, for the end.
    """
    size = os.path.getsize(path)
    if not os.path.isfile(path):  # opening a FIFO would wait for its writer
        raise InvalidTarball(f"Not an image tarball {path}: it is no regular file")
    members: dict[str, Extent] = {}
    with open(path, "rb") as file:
        while True:
            header = file.read(tarfile.BLOCKSIZE)
            if header == bytes(tarfile.BLOCKSIZE):
                break
            try:
                info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise InvalidTarball(f"Damaged image tarball {path}: {error} at byte {file.tell() - len(header)}") from error
            extent = Extent(path, file.tell(), info.size)
            _check_member(info, extent, size, members)
            members[info.name] = extent
            file.seek(info.size + -info.size % tarfile.BLOCKSIZE, os.SEEK_CUR)
        expected = _end(file.tell() - tarfile.BLOCKSIZE)
        if size != expected or any(file.read(tarfile.RECORDSIZE + tarfile.BLOCKSIZE)):
            raise InvalidTarball(f"Damaged image tarball {path}: {size} bytes, expected {expected} with zeros at the end")
    return members


def _check_member(info: tarfile.TarInfo, extent: Extent, size: int, members: dict[str, Extent]) -> None:
    if info.type != tarfile.REGTYPE:
        raise InvalidTarball(f"Not an image tarball {extent.path}: {info.name!r} is no regular file")
    if len(members) >= MAX_MEMBERS:
        raise InvalidTarball(f"Not an image tarball {extent.path}: it has more than {MAX_MEMBERS} members")
    if info.name in members:
        raise InvalidTarball(f"Not an image tarball {extent.path}: {info.name!r} is there twice")
    known = info.name in (_LAYOUT_NAME, _INDEX_NAME)
    if not known and not (info.name.startswith(_BLOBS) and is_digest(_claimed(info.name))):
        raise InvalidTarball(f"Not an image tarball {extent.path}: it has a member {info.name!r}")
    if extent.size < 0 or extent.offset + extent.size > size:
        raise InvalidTarball(f"Damaged image tarball {extent.path}: it ends in {info.name!r}")


def _read_member(members: dict[str, Extent], name: str, limit: int, path: str) -> bytes:
    extent = members.get(name)
    if extent is None:
        raise InvalidTarball(f"Incomplete image tarball {path}: {name} is missing")
    if extent.size > limit:
        raise InvalidTarball(f"Invalid image tarball {path}: {name} has {extent.size} bytes, at most {limit} are accepted")
    return b"".join(chunks(extent))


def _read_names(path: str, members: dict[str, Extent]) -> list[str]:
    """Return the digests in index.json: the top document, then the attachments."""
    data = _read_member(members, _INDEX_NAME, manifests.MAX_MANIFEST_SIZE, path)
    index = manifests.parse(data)
    digests = [entry.digest for entry in index.manifests] if isinstance(index, manifests.Index) else []
    if not 1 <= len(digests) <= 1 + 2 * image_attachments.MAX_ATTACHED or len(set(digests)) != len(digests):
        raise InvalidTarball(f"Not an image tarball {path}: its index.json does not name one image")
    return digests


def _check_document(data: bytes, descriptor: manifests.Descriptor, what: str) -> None:
    check_bytes(data, descriptor.digest, what)
    if len(data) != descriptor.size:
        raise manifests.InvalidManifest(
            f"Invalid image: the {what} {descriptor.digest} has {len(data)} bytes, {descriptor.size} are stated"
        )


def _mismatch(what: str, expected: str, actual: str) -> InvalidTarball:
    return InvalidTarball(f"Checksum mismatch: the {what} has {actual}, expected {expected}", actual.partition(":")[2])
