# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The configuration of Docker or Podman in a root file system, for the images written into it.

The module oe is OE-core's, and only a build has it.
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
    """Raise DockinError if the root file system's Docker would not use a data-root, or its units wait for another one.

    folders are the directories of units on the target, that of packages first.
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
    """Name an additional image store in the storage.conf that Podman reads, and remove it from that of users.

    data_root is for a new storage.conf. Raises DockinError, OSError.
    """
    ours, text = True, storageconf.default(data_root)
    # Podman before 6 reads the first existing file, and no directory of further files.
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
    """Return the text of a target's file in a root file system, None if it does not exist; links are followed inside."""
    import oe.path

    try:
        with open(oe.path.realpath(rootfs + path, rootfs), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
