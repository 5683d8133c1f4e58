# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The configuration of Docker, containerd or Podman in a root file system, for the images written into it.

The module oe is OE-core's, and only a build has it.
"""

from __future__ import annotations

import glob
import os
import typing

from dockin.errors import DockinError
from dockin.store import containerdconf, daemonjson, rootfs as place_in, storageconf
from dockin.target import runtimes, units


class OtherDataRoot(DockinError):
    """The packages of the image were built for another data-root."""


def check_docker(rootfs: str, directory: str, folders: typing.Sequence[str]) -> None:
    """Raise DockinError if the root file system's Docker would not use a data-root, or its units wait for another one.

    folders are the directories of units on the target, that of packages first.
    """
    _check_packages(rootfs, runtimes.DOCKER.service, directory, folders)
    text, _ = _units(rootfs, runtimes.DOCKER.service, folders)
    daemonjson.check(_text(rootfs, daemonjson.PATH), directory, "--data-root" in text)


def find_store(
    rootfs: str, runtime: str, directory: str, folders: typing.Sequence[str], by_default: bool
) -> containerdconf.Place:
    """Return the containerd store that a root file system's Docker, or containerd itself, uses.

    directory is DOCKIN_DATAROOT_DIR; folders are as for check_docker(); by_default tells whether this Docker uses containerd
    for a new data-root. Raises DockinError if the runtime would not see the images, if the packages are for another
    directory, and if the store is not known.
    """
    _check_packages(rootfs, runtimes.RUNTIMES[runtime].service, directory, folders)
    text, installed = _units(rootfs, runtimes.CONTAINERD.service, folders)
    service = text if installed else None
    paths = sorted(glob.glob(glob.escape(rootfs) + containerdconf.MORE_CONFIG))
    paths = [containerdconf.CONFIG, *(path[len(rootfs):] for path in paths)]
    configs = {path: _text(rootfs, path) or "" for path in paths}
    if runtime == runtimes.DOCKER.name:
        text, installed = _units(rootfs, runtimes.DOCKER.service, folders)
        settings = daemonjson.check_containerd(
            _text(rootfs, daemonjson.PATH), directory, "--data-root" in text, by_default)
        return containerdconf.of_docker(settings, directory, text if installed else None, service, configs)
    root = containerdconf.root(service, configs)
    if root != directory:
        raise OtherDataRoot(
            f"containerd has its root in {root}, but DOCKIN_DATAROOT_DIR is {directory!r}: set it in the configuration,"
            " for all recipes")
    return containerdconf.Place(root, containerdconf.NAMESPACE)


def _check_packages(rootfs: str, service: str, directory: str, folders: typing.Sequence[str]) -> None:
    """Raise OtherDataRoot if the packages make a service wait for another directory."""
    drop_in = f"{folders[0]}/{service}.d/{units.DROP_IN}"
    waited = _text(rootfs, drop_in)
    if waited not in (None, units.render_drop_in(directory)):
        raise OtherDataRoot(
            f"the image recipe has DOCKIN_DATAROOT_DIR = {directory!r}, but its packages were built for another ({drop_in}"
            f" says {(waited or '').split()[-1]}): set it in the configuration, for all recipes")


def _units(rootfs: str, service: str, folders: typing.Sequence[str]) -> tuple[str, bool]:
    """Return the texts of a service's unit and drop-ins, joined, and whether the unit is installed."""
    places = [f"{rootfs}{folder}/{service}" for folder in folders]
    mains = [place for place in places if os.path.lexists(place)]
    drop_ins = [path for place in places for path in glob.glob(glob.escape(place) + ".d/*.conf")]
    return "\n".join(_text(rootfs, path[len(rootfs):]) or "" for path in (*mains, *drop_ins)), bool(mains)


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
