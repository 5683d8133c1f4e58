# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Podman's additional image store, read-only and named in storage.conf, as after "podman load" into Podman's own store.

    overlay-images/images.json, images.lock       images: name, digests, uppermost layer
    overlay-images/<image ID>/                    config, manifest and index as they are in the archive
    overlay-layers/layers.json, layers.lock       layers: parent, digests, sizes, owners
    overlay-layers/<layer ID>.tar-split.gz
    overlay/<layer ID>/, overlay/l/               the layers' directories

Format: https://github.com/containers/container-libs (storage/images.go, storage/layers.go, storage/drivers/overlay;
image/storage has the IDs)
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import os
import re
import stat
import typing

from dockin.image import manifests, reference
from dockin.store import base, layertree
from dockin.store.base import ArchivedImage, Folder, InvalidDataRoot, hex_of

# https://github.com/containers/container-libs, maxDepth
MAX_LAYERS = 500

_IMAGES = "overlay-images/images.json"
_LAYERS = "overlay-layers/layers.json"
# Podman's modes.
_DIRECTORIES = {
    "": 0o700,
    "overlay": 0o700,
    "overlay/l": 0o755,
    "overlay-images": 0o700,
    "overlay-layers": 0o700,
    base.RECORDS: 0o700,
}
# Podman opens these even on a read-only file system. Their content records changes, of which there are none.
_LOCKS = ("overlay-images/images.lock", "overlay-layers/layers.lock")
# Podman's numbers of compressions, by a layer's first bytes.
_COMPRESSIONS = {b"\x1f\x8b": 2, b"\x28\xb5\x2f\xfd": 4}
# Mode of a layer's own directory; the next layer inherits that of the one below.
_BASE_MODE = 0o555
# Podman labels files by the host's rules, and ignores an image's labels.
_WITHOUT = ("security.selinux",)
_PLAIN_KEY = re.compile(r"[a-z0-9.]+")


class OverlayStore:
    """An additional image store."""

    max_layers = MAX_LAYERS
    layers = "overlay"
    """Directory of the layers' directories."""
    content = "diff"
    """Where the files of a layer are in its directory."""

    def __init__(self, folder: Folder) -> None:
        """Make the content of every store. Raises InvalidDataRoot, OSError."""
        self._folder = folder
        for used in ("overlay-containers", "libpod"):
            if os.path.lexists(folder.at(used)):
                raise InvalidDataRoot(
                    f"{folder.path} has {used}/: Podman has used this store, so nothing can be added to it")
        for name, mode in _DIRECTORIES.items():
            folder.make_directory(name, mode)
        for name in _LOCKS:
            folder.write_file(name, b"")
        for name in (_LAYERS, _IMAGES):
            if not os.path.lexists(folder.at(name)):
                folder.write_json(name, [], 0o600)

    @staticmethod
    def layer_id(parent: str, diff_id: str) -> str:
        """Return the ID of a layer on a parent, 64 hex digits; "" is the parent of the base."""
        return hashlib.sha256(f"{parent}+{hex_of(diff_id)}".encode()).hexdigest() if parent else hex_of(diff_id)

    @staticmethod
    def record(image: ArchivedImage, layers: list[str]) -> str:
        """Return dockin-preload's record of an image; layers are IDs."""
        names = [f"{layer}.{link_id(layer)}" for layer in layers]
        return image.information.render_record(image.information.image_id, names)

    def has_layer(self, layer: str) -> bool:
        """Tell whether a layer exists."""
        return any(other["id"] == layer for other in self._folder.read_json(_LAYERS, []))

    def write_layer(
        self, chain: list[str], diff_id: str, unpack: base.Unpack, image: ArchivedImage, member: str
    ) -> int:
        """Write the last layer of a chain of IDs; return its size in bytes."""
        root, layer = self._folder, chain[-1]
        home, split = f"overlay/{layer}", f"overlay-layers/{layer}.tar-split.gz"
        try:
            # An interrupted run may have left parts of it.
            root.remove_directory(home)
            root.make_directory(home, 0o700)
            self._make_diff(home, chain)
            tree = layertree.Tree(root.at(f"{home}/diff"), root.epoch, keep_capabilities=True, without=_WITHOUT)
            found = unpack(tree, root.at(split))
            os.chmod(root.at(split), 0o600)
            root.write_file(f"{home}/link", link_id(layer))
            root.make_link(f"overlay/l/{link_id(layer)}", f"../{layer}/diff")
            for name in ("work", "merged", *(["empty"] if len(chain) == 1 else [])):
                root.make_directory(f"{home}/{name}", 0o700)
            if len(chain) > 1:
                root.write_file(f"{home}/lower", ":".join(f"l/{link_id(below)}" for below in chain[-2::-1]))
                # Podman 5.8 and later prefer this to lower.
                root.write_file(f"{home}/lower-layers", ":".join(chain[-2::-1]))
            blob = image.blob(member)
            compression = next((number for magic, number in _COMPRESSIONS.items() if blob.magic.startswith(magic)), 0)
            entry = {
                "id": layer,
                "parent": chain[-2] if len(chain) > 1 else "",
                "created": self._now(),
                "compressed-diff-digest": blob.digest,
                "compressed-size": blob.size,
                "diff-digest": diff_id,
                "diff-size": found.tar_size,
                "compression": compression,
                "uidset": sorted(found.uids),
                "gidset": sorted(found.gids),
            }
            root.write_json(_LAYERS, [*root.read_json(_LAYERS, []), _without_empty(entry)], 0o600)
        except BaseException:
            root.remove_directory(home)
            for name in (split, f"overlay/l/{link_id(layer)}"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(root.at(name))
            raise
        return found.size

    def _make_diff(self, home: str, chain: list[str]) -> None:
        """Make a layer's directory, with mode and owner of the one below."""
        self._folder.make_directory(f"{home}/diff", _BASE_MODE)
        if len(chain) > 1:
            below = os.stat(self._folder.at(f"overlay/{chain[-2]}/diff"))
            os.chown(self._folder.at(f"{home}/diff"), below.st_uid, below.st_gid)
            os.chmod(self._folder.at(f"{home}/diff"), stat.S_IMODE(below.st_mode))

    def write_image(self, image: ArchivedImage, config: bytes, layers: typing.Iterable[tuple[str, str]], top: str) -> None:
        """Write everything but the layers: config, manifests, and the name.

        top is the ID of the uppermost layer; layers is not used.
        """
        described = image.information
        image_id, name = hex_of(described.image_id), reference.parse(described.reference).tagged.canonical
        index, manifest = image.manifest()
        documents = {described.image_id: config}
        for data in (index, manifest):
            documents[f"manifest-{manifests.digest_of(data)}"] = data
        documents["manifest"] = manifest
        self._folder.make_directory(f"overlay-images/{image_id}", 0o700)
        for key, data in documents.items():
            self._folder.write_file(f"overlay-images/{image_id}/{_file_name(key)}", data, 0o600)
        images = self._folder.read_json(_IMAGES, [])
        names, history = [name], [name]
        for other in images:
            if other["id"] == image_id:
                names += [old for old in other.get("names", []) if old != name]
                history += [old for old in other["names-history"] if old != name]
            else:
                other["names"] = [old for old in other.get("names", []) if old != name]
        entry = {
            "id": image_id,
            "digest": manifests.digest_of(index),
            "names": names,
            "names-history": history,
            "layer": top,
            "metadata": "{}",
            "big-data-names": list(documents),
            "big-data-sizes": {key: len(documents[key]) for key in sorted(documents)},
            "big-data-digests": {key: manifests.digest_of(documents[key]) for key in sorted(documents)},
            "created": _created(config) or self._now(),
        }
        if any(other["id"] == image_id for other in images):
            images = [entry if other["id"] == image_id else other for other in images]
        else:
            images.append(entry)
        self._folder.write_json(_IMAGES, [_without_empty(one) for one in images], 0o600)

    def _now(self) -> str:
        return datetime.datetime.fromtimestamp(self._folder.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def link_id(layer: str) -> str:
    """Return the short name of a layer's directory in overlay/l/, 26 characters A-Z and 2-7 derived from its ID."""
    return base64.b32encode(hashlib.sha256(f"dockin overlay {layer}".encode()).digest())[:26].decode()


def _without_empty(entry: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """Return an entry in Podman's form, without empty values and zeros."""
    return {key: value for key, value in entry.items() if value}


def _file_name(key: str) -> str:
    """Return the file name of a document."""
    return key if _PLAIN_KEY.fullmatch(key) else "=" + base64.b64encode(key.encode()).decode()


def _created(config: bytes) -> str:
    """Return an image's creation time in Podman's form, "" if Podman cannot read the config's."""
    value = manifests.parse_config(config).created
    match, moment = manifests.TIME.fullmatch(value), manifests.moment(value)
    # Year 1 stands for a missing time in Podman.
    if not match or not moment or moment.year == 1:
        return ""
    fraction = (match[2] or "")[:9].rstrip("0")
    return f"{match[1]}{'.' + fraction if fraction else ''}{match[3] if moment.utcoffset() else 'Z'}"
