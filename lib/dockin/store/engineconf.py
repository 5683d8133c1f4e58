# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a root file system tells Docker or Podman of the images that are written for it.

The module oe is OE-core's: a build has it.
"""

from __future__ import annotations

import glob
import os
import typing

from dockin.errors import DockinError
from dockin.store import daemonjson, rootfs as place_in, storageconf
from dockin.target import runtimes, units


class OtherDataRoot(DockinError):
    """The packages of the image were built for another data-root."""


def check_docker(rootfs: str, directory: str, folders: typing.Sequence[str]) -> None:
    """Raise DockinError where a root file system's Docker would not use a data-root, or its units wait for another.

    folders are where units are on the target, that of packages first.
    """
    service = runtimes.DOCKER.service
    drop_in = f"{folders[0]}/{service}.d/{units.DROP_IN}"
    waited = _text(rootfs, drop_in)
    if waited not in (None, units.render_drop_in(directory)):
        raise OtherDataRoot(
            f"the image recipe has DOCKIN_DATAROOT_DIR = {directory!r}, but its packages were built for another ({drop_in}"
            f" says {(waited or '').split()[-1]}): set it in the configuration, for all recipes")
    patterns = [glob.escape(f"{rootfs}{folder}/{service}") + files for folder in folders for files in ("", ".d/*.conf")]
    paths = [path[len(rootfs):] for pattern in patterns for path in glob.glob(pattern)]
    told = any("--data-root" in (_text(rootfs, path) or "") for path in paths)
    daemonjson.check(_text(rootfs, daemonjson.PATH), directory, told)


def add_image_store(rootfs: str, sysconfdir: str, datadir: str, store: str, data_root: str) -> None:
    """Name an additional image store in the storage.conf that Podman reads, and not in that of users.

    data_root is for a storage.conf that is not there yet. Raises DockinError, OSError.
    """
    ours, text = True, storageconf.default(data_root)
    # Before Podman 6 one of them counts, the first that is there, and no directory of further files is read.
    for folder in (sysconfdir, datadir):
        path = folder + "/containers/storage.conf"
        place = place_in.find(rootfs, path, "install a file there, to which the image store can be added")
        if os.path.exists(place):
            with open(place, encoding="utf-8") as file:
                ours, text = False, file.read()
            break
    files = {
        "storage.conf": storageconf.add_store(text, store, path),
        "storage.rootless.conf.d/50-dockin.conf": storageconf.for_users(text, store, path, ours),
    }
    for name, content in files.items():
        place = f"{rootfs}{sysconfdir}/containers/{name}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(place, 0o644)


def _text(rootfs: str, path: str) -> str | None:
    """Return what a file on the target has in a root file system, None where it isn't there; links are followed in that."""
    import oe.path

    try:
        with open(oe.path.realpath(rootfs + path, rootfs), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
