# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Archives from "docker save" of Docker 25 or later, by which a user has replaced the layer's own after devtool modify.

The image ID and digests are computed from the file, because the target compares them.
"""

from __future__ import annotations

import os
import tarfile
import typing
from dataclasses import replace

from dockin.errors import DockinError
from dockin.image import archive, foreignjson, manifests, platforms
from dockin.target.imageinfo import ImageInformation

_BLOBS = "blobs/sha256/"


class InvalidArchive(DockinError):
    """An archive cannot be described."""


def describe(path: str, information: ImageInformation) -> ImageInformation:
    """Return the information for the archive at path; information describes the image that it has to contain.

    Raises DockinError, also for an archive of another name or platform; OSError.
    """
    try:
        with tarfile.open(path) as tar:
            return _describe(tar, path, information)
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArchive(f"{path} is no archive of 'docker save': {error}") from error


def _describe(tar: tarfile.TarFile, path: str, information: ImageInformation) -> ImageInformation:
    entry = find_entry(read_member(tar, "manifest.json", path), path, information.name)
    config = read_member(tar, entry["Config"], path)
    image_id = manifests.digest_of(config)
    parsed = manifests.parse_config(config)
    wanted, found = platforms.parse(information.platform), platforms.Platform(parsed.os, parsed.architecture, parsed.variant)
    if not wanted.accepts(found):
        raise InvalidArchive(f"{path} has an image for {found}, {wanted} is wanted: save one for that platform")
    layers_size = 0
    for name in entry["Layers"]:
        layers_size += archive.unpacked_size(member_chunks(tar, name, path), name)
    digest = manifests.digest_of(find_manifest(tar, path, image_id)[1])
    return replace(
        information,
        image_id=image_id,
        manifest_digest=digest,
        source_digest=digest if image_id != information.image_id else information.source_digest,
        unpacked_size=os.path.getsize(path),
        layers_size=layers_size,
    )


def find_entry(data: bytes, path: str, name: str) -> foreignjson.Object:
    """Return an image's entry, by its familiar name, in the document manifest.json. Raises InvalidArchive."""
    found: list[foreignjson.Object] = [entry for entry in _read(data, path) if name in (entry.get("RepoTags") or [])]
    if not found:
        raise InvalidArchive(f"{path} has no image {name}: tag it so in Docker, and save it under that name")
    if len(found) > 1:
        raise InvalidArchive(f"{path} has {len(found)} images {name}: save the one that is meant")
    return found[0]


def find_manifest(tar: tarfile.TarFile, path: str, image_id: str) -> tuple[bytes, bytes]:
    """Return an image's top document in index.json (an index or its manifest), and its manifest with the config.

    Raises DockinError, OSError.
    """
    try:
        if "index.json" not in tar.getnames():
            raise InvalidArchive(f"{path} has no index.json: save it with Docker 25 or later")
        for top in _read(read_member(tar, "index.json", path), path)["manifests"]:
            data = _blob(tar, top["digest"], path)
            document = manifests.parse(data)
            children = document.manifests if isinstance(document, manifests.Index) else ()
            for digest in [top["digest"], *(child.digest for child in children)]:
                if _BLOBS + digest[7:] not in tar.getnames():
                    continue
                found = _blob(tar, digest, path)
                manifest = manifests.parse(found)
                if isinstance(manifest, manifests.Manifest) and manifest.config.digest == image_id:
                    return data, found
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArchive(f"{path} is no archive of 'docker save': {error}") from error
    raise InvalidArchive(f"{path}: no manifest in index.json is that of the image in manifest.json")


def _read(data: bytes, path: str) -> typing.Any:
    return foreignjson.loads(data, lambda text: InvalidArchive(f"{path} is no archive of 'docker save': {text}"))


def _blob(tar: tarfile.TarFile, digest: str, path: str) -> bytes:
    data = read_member(tar, _BLOBS + digest[7:], path)
    if manifests.digest_of(data) != digest:
        raise InvalidArchive(f"{path} is damaged: {digest} is {manifests.digest_of(data)}")
    return data


def read_member(tar: tarfile.TarFile, name: str, path: str) -> bytes:
    """Return a document in an archive; path is for messages. Raises InvalidArchive, OSError."""
    return b"".join(member_chunks(tar, name, path, manifests.MAX_CONFIG_SIZE))


def member_chunks(tar: tarfile.TarFile, name: str, path: str, limit: int = 0) -> typing.Iterator[bytes]:
    """Yield a file in an archive, of at most limit bytes unless that is 0. Raises InvalidArchive, OSError."""
    try:
        member = tar.getmember(name)
    except KeyError as error:
        raise InvalidArchive(f"{path} is no archive of 'docker save': it has no {name}") from error
    file = tar.extractfile(member)
    if file is None or (limit and member.size > limit):
        raise InvalidArchive(f"{path} is no archive of 'docker save': {name} is no file of a fitting size")
    with file:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                return
            yield chunk
