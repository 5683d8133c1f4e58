# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""One recipe, one pin, several machines: each gets the image of its platform."""

from __future__ import annotations

import pytest

from dockin.target import imageinfo

# multiconfig: its configuration, platform, architecture of the package. One of them is without systemd.
MACHINES = {
    "x86": ('MACHINE = "qemux86-64"\nINIT_MANAGER = "sysvinit"', "linux/amd64", "amd64"),
    "arm64": ('MACHINE = "qemuarm64"', "linux/arm64/v8", "arm64"),
    "arm": ('MACHINE = "qemuarm"', "linux/arm/v7", "armhf"),
}
PATH = "/usr/share/dockin/archive/busybox-1.36.1.image"


@pytest.fixture(scope="module")
def machines(shop):
    """A build directory with the packages of all machines."""
    build = shop.build("machines")
    build.multiconfig(**{name: conf for name, (conf, _, _) in MACHINES.items()})
    shop.add(build, "single")
    build.bitbake(*(f"mc:{name}:single" for name in MACHINES)).ok()
    return build


@pytest.mark.parametrize("name", MACHINES)
def test_image_of_the_platform(machines, busybox, name):
    _, platform, architecture = MACHINES[name]
    deb = machines.deb("single", name)
    found = imageinfo.parse(deb.read(PATH).decode(), PATH)
    assert found.platform == platform
    assert found.image_id == busybox.manifest(platform).config.digest
    assert found.source_digest == busybox.digest
    assert deb.control["Architecture"] == architecture


def test_without_systemd_there_are_archives_alone(machines):
    deb = machines.deb("single", "x86")
    assert [path.rsplit("/", 1)[1] for path in deb.files] == ["busybox-1.36.1.image", "busybox-1.36.1.tar.xz"]
    assert deb.recommends == []
    assert "single-preload" in machines.deb("single", "arm64").recommends
    # What stands for systemd itself has a file there.
    files = [path for name, one in machines.debs("x86").items() if name != "systemd" for path in one.files]
    assert [path for path in files if "/systemd/" in path] == []


def test_one_file_a_platform_in_the_download_directory(machines, busybox):
    slugs = [platform.replace("/", "-") for _, platform, _ in MACHINES.values()]
    assert sorted(path.name for path in machines.downloads.glob("docker_*.tar")) == sorted(
        f"docker_sha256-{busybox.hex}_{slug}.tar" for slug in slugs)


def test_the_common_layer_is_fetched_once(machines, shop, busybox):
    """The images of the platforms share a layer; how the machines' fetches meet is up to chance, so the second
    machine is a build of its own."""
    [common] = set.intersection(*({blob.digest for blob in busybox.manifest(platform).layers}
                                  for _, platform, _ in MACHINES.values()))
    build = shop.build("second-machine", 'MACHINE = "qemuarm"\n')
    build.downloads.mkdir()
    shop.bench.account.own(build.downloads)
    name = f"docker_sha256-{busybox.hex}_linux-amd64.tar"
    (build.downloads / name).write_bytes((machines.downloads / name).read_bytes())
    shop.add(build, "single")
    with shop.registry.recording() as requests:
        build.bitbake("-c", "fetch", "single").ok()
    manifest = busybox.manifest("linux/arm/v7")
    # The config is asked for once more, before anything else is.
    fetched = [digest for digest in requests.blobs() if digest != manifest.config.digest]
    assert fetched == [layer.digest for layer in manifest.layers if layer.digest != common]
