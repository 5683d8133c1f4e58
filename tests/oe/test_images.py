# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Root file systems, as do_rootfs makes them of packages with images."""

from __future__ import annotations

import tarfile

import pytest

WANTS = "/etc/systemd/system/"
# scarthgap makes no machine-id.
OF_THE_IMAGE = {"/bin", "/lib", "/sbin", "/etc/machine-id", "/etc/timestamp", "/etc/version"}

IMAGE = """
inherit image
IMAGE_INSTALL = "{packages}"
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "{types}"
"""

# An image whose unit nobody starts, in a place of its own, compressed by a type of the user's own.
ASLEEP = """
inherit dockin
SRC_URI = "docker://team/app;tag=v1;digest=sha256:{app.hex}"
SYSTEMD_AUTO_ENABLE:${{PN}}-preload = "disable"
docker_archivedir = "/data/archives"
COMPRESSION_TYPE = "bz2"
COMPRESSION_CMD:bz2 = "bzip2 -k -9 -c"
COMPRESSION_RDEPENDS:bz2 = "bzip2"
"""


@pytest.fixture(scope="session")
def images(shop, app):
    """The build directory of the images "device": packages of two recipes."""
    build = shop.build("images")
    shop.add(build, "several")
    build.recipe("asleep_1.0.bb", ASLEEP.format(app=app))
    build.recipe("device_1.0.bb", IMAGE.format(packages="several asleep", types="tar"))
    build.bitbake("device").ok()
    return build


def files(build, image):
    """Return the members but folders of an image's tar, by absolute path."""
    with tarfile.open(build.image(image, "tar")) as tar:
        return {member.name[1:]: member for member in tar if not member.isdir()}


def packages(build, image):
    """Return the names of an image's packages."""
    return [line.split()[0] for line in build.image(image, "manifest").read_text().splitlines()]


def test_a_root_file_system_has_the_packages_files(images):
    installed = packages(images, "device")
    assert {"several", "several-preload", "asleep", "asleep-preload", "dockin-preload", "docker", "xz"} <= set(installed)
    found = files(images, "device")
    for path, member in ((path, member) for name in installed for path, member in images.deb(name).members.items()):
        assert (found[path].mode, found[path].size) == (member.mode, member.size)
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    from_packages = {path for name in installed for path in images.deb(name).members}
    assert {path for path in set(found) - from_packages if not path.startswith(WANTS)} <= OF_THE_IMAGE


def test_units_are_enabled_by_their_presets(images, shop):
    enabled = {path[len(WANTS):] for path in files(images, "device") if path.startswith(WANTS)}
    stem = shop.registry.address.replace(":", "-")
    assert enabled == {
        "multi-user.target.wants/dockin-preload.target",
        "multi-user.target.wants/several.service",
        "dockin-preload.target.wants/dockin-preload-busybox-1.36.1.service",
        f"dockin-preload.target.wants/dockin-preload-{stem}-team-app-v1.service",
        "docker.service.wants/dockin-preload-busybox-1.36.1.service",
        f"docker.service.wants/dockin-preload-{stem}-team-app-v1.service",
    }
