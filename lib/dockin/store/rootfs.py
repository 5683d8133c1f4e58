# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The place of a data-root in a root file system during the build.

The data-root is written beside the root file system, as a tree of its own, and moved to its place afterwards.
"""

from __future__ import annotations

import os

from dockin.errors import DockinError


class InvalidPlace(DockinError):
    """Nothing can be put at a path of the root file system."""


def find(rootfs: str, path: str, remedy: str) -> str:
    """Return the path in a root file system for one on the target. Raises InvalidPlace if a link leads elsewhere.

    On the build host an absolute link would lead out of the root file system.
    """
    place = rootfs
    for name in path.strip("/").split("/"):
        place = os.path.join(place, name)
        if os.path.islink(place):
            raise InvalidPlace(
                f"{path}: {place[len(rootfs):]} is a link to {os.readlink(place)} in the root file system; {remedy}")
    return place


def free_place(rootfs: str, target: str) -> str:
    """Return the path of a store in a root file system. Raises InvalidPlace for a link or other files there."""
    remedy = "set DOCKIN_DATAROOT_DIR, or with Podman DOCKIN_IMAGESTORE_DIR, to another directory"
    place = find(rootfs, target, remedy)
    if os.path.isdir(place) and os.listdir(place):
        raise InvalidPlace(
            f"{target} in the root file system is not empty ({', '.join(sorted(os.listdir(place))[:3])}): images can't be"
            f" put there; leave out the package that fills it, or {remedy}")
    return place


def take_out(tree: str, rootfs: str, target: str) -> None:
    """Move a data-root out of its place again, if an earlier put_in() has moved it there."""
    place = rootfs + target
    if os.path.isdir(place + "/dockin") and not os.path.exists(tree):
        os.rename(place, tree)


def put_in(tree: str, rootfs: str, target: str, partition: bool, epoch: int) -> None:
    """Move a data-root to its place, or make an empty directory there as the mount point of a partition.

    epoch is the time of directories that are made for it. Raises InvalidPlace, OSError.
    """
    place = free_place(rootfs, target)
    parent, made = os.path.dirname(place), []
    while not os.path.isdir(parent):
        made.append(parent)
        parent = os.path.dirname(parent)
    before = os.stat(parent)
    for folder in reversed(made):
        os.mkdir(folder)
    if partition:
        os.makedirs(place, exist_ok=True)
        os.chmod(place, 0o710)
        made.insert(0, place)
    else:
        os.rename(tree, place)
    for folder in made:
        os.utime(folder, (epoch, epoch))
    os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
