# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the boot tests ship: images and the recipes of them, and how to tell that a system has such an image."""

from __future__ import annotations

from dockin.image import archive
from dockin.target import imageinfo, runtimes
from support import images, machine, packages
from support.packages import Content, Recipe, System

BUSYBOX, WEB = "docker.io/library/busybox:1.36.1", "docker.io/library/busybox:1.37.0"
APP, KEPT, OFF, LARGE, POD, PULLED = (
    f"registry.example.com/team/{name}:v1" for name in ("app", "kept", "off", "large", "pod", "pulled"))
RENAMED = "registry.example.com/team/kept:v2"

# What the preload says when it has loaded an image, and only then.
LOADED = r"\bloaded in [0-9]+ s\b"


def contents() -> dict[str, Content]:
    """Return images by short names; "app-2" is a later one under the tag of "app", and so on."""
    base, host = images.busybox_layer(), images.host_architecture()
    zeros = images.layer({"srv/zeros": bytes(64 << 20)})

    def image(word: str, *more: images.Layer) -> Content:
        return images.index([images.image([base, images.layer({"word": f"{word}\n"}), *more], command=("cat", "/word"))])

    return {
        "busybox": images.busybox("1.36.1", [host]),
        "web": images.busybox("1.37.0", [host]),
        "app": image("first"),
        "app-2": image("second"),
        "kept": image("kept"),
        "off": image("off"),
        "pulled": image("pulled"),
        "pulled-2": image("pulled second"),
        # Loading it takes long enough to be interrupted.
        "large": image("large", zeros),
        "large-2": image("large second", zeros),
    }


def recipes(content: dict[str, Content]) -> list[Recipe]:
    """Return recipes of them, of all but the large ones."""
    busybox = content["busybox"]
    return [
        Recipe("apps", {BUSYBOX: busybox, APP: content["app"]}),
        Recipe("apps", {BUSYBOX: busybox, APP: content["app-2"]}, version="2.0"),
        Recipe("kept", {KEPT: content["kept"]}, flush=False),
        Recipe("kept", {RENAMED: content["kept"]}, version="2.0", flush=False),
        Recipe("pulled", {PULLED: content["pulled"]}, layers=archive.REGISTRY),
        Recipe("off", {OFF: content["off"]}, enabled=False),
        Recipe("pods", {BUSYBOX: busybox, POD: content["app"]}, runtime=runtimes.PODMAN),
    ]


def systems() -> list[System]:
    """Return root file systems with images in a data-root: one in it, and one in a partition of its own, beside archives.

    The third has a store of Podman's.
    """
    return [
        System("whole", ["apps", "kept", "pulled"], ["ext4"]),
        System("parted", ["apps", "kept", "pulled"], ["ext4", "dockin-ext4"],
               'DOCKIN_DATAROOT_KEEP_ARCHIVES = "1"\n'),
        System("podded", ["pods"], ["squashfs"], 'DOCKIN_RUNTIME = "podman"\nIMAGE_FEATURES += "read-only-rootfs"\n'),
    ]


def has(system: machine.System, name: str) -> bool:
    """Tell whether a system has an image under its name; fail if that is another than its package wants."""
    found = system.images().get(packages.familiar(name))
    if found is None:
        return False
    path = packages.info(name)
    wanted = imageinfo.parse(system.output("cat", path), path)
    # The containerd store may know it by the registry's index.
    assert found in (wanted.image_id, wanted.manifest_digest, wanted.source_digest), f"{name} is {found}, wanted is {wanted}"
    return True
