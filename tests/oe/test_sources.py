# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake's ways to obtain a source: whichever it is, the archive has the same bytes."""

from __future__ import annotations

import shutil

from dataclasses import dataclass

import pytest

from support import oe, registry as registries

ARCHIVE = "busybox-1.36.1.tar.xz"
INFORMATION = "busybox-1.36.1.image"

# Each with a download directory of its own, and with no other way to the image than the one it is named after.
WAYS = {
    "from-registry": "",
    "from-http": """
PREMIRRORS = "docker://.*/.* @HTTP@/"
BB_FETCH_PREMIRRORONLY = "1"
DOCKIN_REGISTRIES_CONF = "/nowhere"
""",
    "from-file": """
PREMIRRORS = "docker://.*/.* file://@FILES@/"
BB_NO_NETWORK = "1"
DOCKIN_REGISTRIES_CONF = "/nowhere"
""",
    "from-docker-mirror": """
PREMIRRORS = "docker://docker.io/(.*) docker://@REGISTRY@/cache/\\1"
BB_FETCH_PREMIRRORONLY = "1"
""",
    # A file copied by hand, without the mark of a finished fetch.
    "from-downloads": """
BB_NO_NETWORK = "1"
DOCKIN_REGISTRIES_CONF = "/nowhere"
""",
    # xz divides its work by the processors there are; what comes out must not tell.
    "on-one-processor": """
python one_processor() {
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
}
do_compile[prefuncs] += "one_processor"
""",
}


def product(build, recipe):
    """Return the bytes of what do_compile made."""
    folder = build.work(recipe) / "build"
    return (folder / ARCHIVE).read_bytes(), (folder / INFORMATION).read_bytes()


@dataclass(frozen=True)
class Obtained:
    """A build directory with the recipes of WAYS compiled, and what the two mirrors were asked for."""

    build: oe.Build
    paths: set[str]
    requests: registries.Requests


@pytest.fixture(scope="module")
def obtained(shop, built, image_file):
    shop.registry.push(shop.busybox, "cache/library/busybox", "1.36.1")
    build = shop.build("sources")
    own = build.path / "downloads-of-from-downloads"
    own.mkdir()
    shutil.copy(image_file, own)
    shop.bench.account.own_folders(own)
    with registries.FileServer(image_file.parent) as mirror, shop.registry.recording() as requests:
        for name, text in WAYS.items():
            recipe = shop.recipe("single") + text + 'DL_DIR = "${TOPDIR}/downloads-of-${PN}"\n'
            build.recipe(f"{name}_1.0.bb", recipe.replace("@HTTP@", mirror.url)
                         .replace("@FILES@", str(image_file.parent)).replace("@REGISTRY@", shop.registry.address))
        build.bitbake("-c", "compile", *WAYS).ok()
        paths = {request.path for request in mirror.log}
    return Obtained(build, paths, requests)


@pytest.fixture(scope="module")
def image_file(built, busybox):
    """The file in the download directory of the large build."""
    return built.build.downloads / f"docker_sha256-{busybox.hex}_linux-amd64.tar"


@pytest.mark.parametrize("way", WAYS)
def test_same_bytes_whatever_the_source(built, obtained, image_file, way):
    """The same as in another build directory, too."""
    deb = built.build.deb("single")
    folder = "/usr/share/dockin/archive"
    assert product(obtained.build, way) == (deb.read(f"{folder}/{ARCHIVE}"), deb.read(f"{folder}/{INFORMATION}"))
    own = obtained.build.path / f"downloads-of-{way}" / image_file.name
    assert own.read_bytes() == image_file.read_bytes()


def test_each_went_its_way(obtained, image_file):
    assert f"/{image_file.name}" in obtained.paths
    repositories = {request.path.split("/manifests/")[0] for request in obtained.requests if request.is_manifest}
    assert repositories == {"/v2/library/busybox", "/v2/cache/library/busybox"}


def test_mirror_rules_and_the_sanity_check(shop):
    """OE-core warns of docker:// in mirror variables, whose schemes it lists; docs/howto/mirrors.md has what it takes."""
    form = 'PREMIRRORS:append = " {} http://localhost/ "\n'
    build = shop.build("mirror-rules", form.format("(docker|gs)://.*/.*"))
    build.bitbake("-p").ok()
    build.local_conf(form.format("docker://.*/.*"))
    build.bitbake("-p").ok(r"Invalid protocol \(docker\) in PREMIRRORS")


def test_runall_checkuri_and_cleanall(shop, registry, busybox):
    build = shop.build("tasks")
    shop.add(build, "single", "several")
    with registry.recording() as requests:
        result = build.bitbake("--runall=fetch", "several", "single").ok()
    # They share an image, and fetch it at the same time.
    blobs = {blob.digest for manifest in busybox.manifests() for blob in (*manifest.layers, manifest.config)}
    fetched = [digest for digest in requests.blobs() if digest in blobs]
    wanted = busybox.manifest("linux/amd64")
    assert sorted(fetched) == sorted(blob.digest for blob in (*wanted.layers, wanted.config))
    assert "do_fetch" in result.tasks("several") & result.tasks("single")
    assert not {"do_unpack", "do_compile"} & result.tasks()
    assert len(list(build.downloads.glob("docker_*.tar"))) == 2
    assert "do_checkuri" in build.bitbake("-c", "checkuri", "several", "single").ok().tasks("several")
    build.bitbake("-c", "cleanall", "several").ok()
    assert list(build.downloads.glob("docker_*")) == []
