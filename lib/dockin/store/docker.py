# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker's classic image store with the storage driver overlay2, as after "docker load" or "docker pull".

    image/overlay2/repositories.json                 image IDs by name:tag and name@digest
    image/overlay2/imagedb/content/sha256/<ID>       configs
    image/overlay2/layerdb/sha256/<chain ID>/        layers: diff, parent, size, cache-id, tar-split.json.gz
    image/overlay2/distribution/                     digests that layers have in registries, where known
    overlay2/<cache-id>/, overlay2/l/                the layers' directories

Format: https://github.com/moby/moby (daemon/internal/layer, daemon/internal/image, daemon/graphdriver/overlay2)
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import typing
from dataclasses import replace

from dockin.image import manifests, reference
from dockin.store import base, layertree
from dockin.store.base import ArchivedImage, Folder, InvalidDataRoot, hex_of

# https://github.com/moby/moby, maxLayerDepth
MAX_LAYERS = 125

_STORE = "image/overlay2"
_LAYERS = f"{_STORE}/layerdb/sha256"
_REPOSITORIES = f"{_STORE}/repositories.json"
# Docker's modes, except the top directory's, which excludes the group: on the build host a layer's setuid programs belong to
# the builder, also under pseudo, and other users must not reach them. Docker opens the top directory at each start.
_DIRECTORIES = {
    "": 0o700,
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
    base.RECORDS: 0o700,
}
_DISTRIBUTION_DIRECTORIES = tuple(
    f"{_STORE}/distribution/{name}" for name in ("diffid-by-digest", "v2metadata-by-diffid")
)


class ClassicStore:
    """A data-root of Docker."""

    max_layers = MAX_LAYERS
    layers = "overlay2"
    """Directory of the layers' directories."""
    content = "diff"
    """Where the files of a layer are in its directory."""

    def __init__(self, folder: Folder) -> None:
        """Make the content of every data-root. Raises InvalidDataRoot, OSError."""
        self._folder = folder
        if os.path.lexists(folder.at("containers")):
            raise InvalidDataRoot(
                f"{folder.path} has containers/: Docker has used this data-root, so nothing can be added to it")
        for name, mode in _DIRECTORIES.items():
            folder.make_directory(name, mode)

    @staticmethod
    def layer_id(parent: str, diff_id: str) -> str:
        """Return the ID of a layer on a parent; "" is the parent of the base."""
        return chain_id(parent, diff_id)

    @staticmethod
    def record(image: ArchivedImage, layers: list[str]) -> str:
        """Return dockin-preload's record of an image; layers are IDs."""
        return image.information.render_record(image.information.image_id, list(map(cache_id, layers)))

    def has_layer(self, chain: str) -> bool:
        """Tell whether a layer exists. Raises InvalidDataRoot for one that somebody else wrote."""
        path = self._folder.at(f"{_LAYERS}/{hex_of(chain)}/cache-id")
        try:
            with open(path, encoding="utf-8") as file:
                found = file.read()
        except FileNotFoundError:
            return False
        if found != cache_id(chain):
            raise InvalidDataRoot(f"{path} has {found!r}: Docker has used this data-root, so nothing can be added to it")
        return True

    def write_layer(
        self, chain: list[str], diff_id: str, unpack: base.Unpack, image: ArchivedImage, member: str
    ) -> int:
        """Write the last layer of a chain of IDs; return its size in bytes."""
        root, cache = self._folder, cache_id(chain[-1])
        home, notes = f"overlay2/{cache}", f"{_LAYERS}/{hex_of(chain[-1])}"
        try:
            for name, mode in ((home, 0o710), (f"{home}/diff", 0o755), (f"{notes}.new", 0o700)):
                # An interrupted run may have left parts of it.
                root.remove_directory(name)
                root.make_directory(name, mode)
            split = root.at(f"{notes}.new/tar-split.json.gz")
            size = unpack(layertree.Tree(root.at(f"{home}/diff"), root.epoch), split).size
            os.chmod(split, 0o644)
            root.write_file(f"{home}/link", link_id(chain[-1]))
            root.make_link(f"overlay2/l/{link_id(chain[-1])}", f"../{cache}/diff")
            if len(chain) > 1:
                root.make_directory(f"{home}/work", 0o700)
                root.write_file(f"{home}/lower", ":".join(f"l/{link_id(below)}" for below in chain[-2::-1]))
                root.write_file(f"overlay2/{cache_id(chain[-2])}/committed", b"", 0o600)
                root.write_file(f"{notes}.new/parent", chain[-2])
            for name, value in (("cache-id", cache), ("diff", diff_id), ("size", str(size))):
                root.write_file(f"{notes}.new/{name}", value)
            os.rename(root.at(f"{notes}.new"), root.at(notes))
        except BaseException:
            root.remove_directory(home)
            root.remove_directory(f"{notes}.new")
            raise
        return size

    def write_image(self, image: ArchivedImage, config: bytes, layers: typing.Iterable[tuple[str, str]], top: str) -> None:
        """Write everything but the layers: config, names, and the layers' digests in their registry.

        layers are diff IDs and names in the archive; top is the ID of the uppermost layer.
        """
        for diff_id, member in layers:
            self._note_registry(image, diff_id, member)
        self._folder.write_file(f"{_STORE}/imagedb/content/sha256/{hex_of(image.information.image_id)}", config, 0o600)
        self._add_names(image)

    def _note_registry(self, image: ArchivedImage, diff_id: str, member: str) -> None:
        """Write a layer's digest in its registry, if the archive has the layer as it was pulled.

        It tells "docker pull" of another image that the layer exists, so that only missing ones are downloaded.
        """
        digest = base.named_digest(member)
        if not digest or digest == diff_id:
            return
        image.blob(member)
        for name in _DISTRIBUTION_DIRECTORIES:
            self._folder.make_directory(name, 0o755)
            self._folder.make_directory(f"{name}/sha256", 0o755)
        by_digest, by_diff_id = _DISTRIBUTION_DIRECTORIES
        self._folder.write_file(f"{by_digest}/sha256/{hex_of(digest)}", diff_id)
        path = f"{by_diff_id}/sha256/{hex_of(diff_id)}"
        repository = reference.parse(image.information.reference).name
        note = {"Digest": digest, "SourceRepository": repository, "HMAC": ""}
        notes = [other for other in self._folder.read_json(path, []) if other != note]
        self._folder.write_json(path, [*notes, note])

    def _add_names(self, image: ArchivedImage) -> None:
        """Add the names under which Docker finds an image after a pull: by its tag, and by the pulled digest."""
        repositories = self._folder.read_json(_REPOSITORIES, {"Repositories": {}})
        named = reference.parse(image.information.reference).tagged
        family = replace(named, tag=None, digest=None)
        names = repositories["Repositories"].setdefault(family.familiar, {})
        names[named.familiar] = image.information.image_id
        if image.has_digest:
            names[replace(family, digest=image.information.source_digest).familiar] = image.information.image_id
        self._folder.write_file(_REPOSITORIES, json.dumps(repositories, separators=(",", ":"), sort_keys=True), 0o600)


def cache_id(chain: str) -> str:
    """Return the name of a layer's directory in overlay2/, 64 hex digits derived from its chain ID."""
    return hashlib.sha256(f"dockin overlay2 {chain}".encode()).hexdigest()


def link_id(chain: str) -> str:
    """Return the short name of a layer's directory in overlay2/l/, 26 characters A-Z and 2-7."""
    return base64.b32encode(bytes.fromhex(cache_id(chain)))[:26].decode()


def chain_id(parent: str, diff_id: str) -> str:
    """Return the chain ID of a layer on a parent; "" is the parent of the base."""
    return manifests.digest_of(f"{parent} {diff_id}".encode()) if parent else diff_id
