# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake's ways to obtain a source: whichever it is, the archive has the same bytes."""

from __future__ import annotations

import shutil

from dataclasses import dataclass

import pytest

from support import oe, pages, registry as registries

ARCHIVE = "busybox-1.36.1.tar.xz"
INFORMATION = "busybox-1.36.1.image"
PAGE = "howto/mirrors.md"

# Each with a download directory of its own, and with no other way to the image than the one it is named after.
WAYS = {
    "from-registry": "",
    "from-http": pages.example(PAGE, "A mirror of all sources", 1, {"https://mirror.example.com/downloads": "@HTTP@"}) + """
BB_FETCH_PREMIRRORONLY = "1"
DOCKIN_REGISTRIES_CONF = "/nowhere"
""",
    "from-file": """
PREMIRRORS = "docker://.*/.* file://@FILES@/"
BB_NO_NETWORK = "1"
DOCKIN_REGISTRIES_CONF = "/nowhere"
""",
    # A pull-through cache, by a rule of BitBake's and by skopeo's configuration.
    "from-cache-by-rule": pages.example(PAGE, "A pull-through cache", 3, {"cache.example.com:5000": "@CACHE@"}) + """
BB_FETCH_PREMIRRORONLY = "1"
DOCKIN_REGISTRIES_CONF = ""
""",
    "from-cache": pages.example(
        PAGE, "A pull-through cache", 2, {"/path/to/layer/conf/images/registries.conf": "@CACHE_CONF@"}) + """
DOCKIN_TLS_VERIFY = "1"
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
    cached: registries.Requests


@pytest.fixture(scope="module")
def cache(shop, tmp_path_factory):
    """A pull-through cache of the registry."""
    with registries.Registry(tmp_path_factory.mktemp("cache"), proxy=shop.registry) as server:
        yield server


@pytest.fixture(scope="module")
def obtained(shop, built, image_file, cache):
    build = shop.build("sources")
    conf = build.path / "registries.conf"
    location = 'location = "cache.example.com:5000"'
    here = f'location = "{cache.address}"\ninsecure = true'
    shop.bench.write(conf, pages.example(PAGE, "A pull-through cache", 1, {location: here}))
    own = build.path / "downloads-of-from-downloads"
    own.mkdir()
    shutil.copy(image_file, own)
    shop.bench.account.own_folders(own)
    with registries.FileServer(image_file.parent) as mirror, cache.recording() as cached:
        values = {"HTTP": mirror.url, "FILES": image_file.parent, "CACHE": cache.address, "CACHE_CONF": conf}
        for name, text in WAYS.items():
            recipe = shop.recipe("single") + text + 'DL_DIR = "${TOPDIR}/downloads-of-${PN}"\n'
            for key, value in values.items():
                recipe = recipe.replace(f"@{key}@", str(value))
            build.recipe(f"{name}_1.0.bb", recipe)
        build.bitbake("-c", "compile", *WAYS).ok()
        paths = {request.path for request in mirror.log}
    return Obtained(build, paths, cached)


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


def test_each_went_its_way(obtained, image_file, busybox):
    assert f"/{image_file.name}" in obtained.paths
    # Two recipes have asked the cache, each for all of the image.
    for layer in busybox.manifest("linux/amd64").layers:
        assert obtained.cached.blobs().count(layer.digest) == 2
    assert obtained.cached.manifests().count(busybox.digest) == 2


def test_own_mirrors_and_the_sanity_check(shop, registry, built, image_file):
    """The layer adds a rule to own-mirrors. OE-core warns of docker:// in mirror variables, whose schemes it lists."""
    with registries.FileServer(image_file.parent) as mirror, registry.recording() as requests:
        values = {"https://mirror.example.com/downloads": mirror.url}
        build = shop.build("own-mirrors", pages.example(PAGE, "A mirror of all sources", 0, values))
        shop.add(build, "single")
        build.bitbake("-c", "fetch", "single").ok()
        assert (build.downloads / image_file.name).read_bytes() == image_file.read_bytes()
    assert not requests
    build.local_conf('PREMIRRORS:append = " docker://.*/.* http://localhost/ "\n')
    build.bitbake("-p").ok(r"Invalid protocol \(docker\) in PREMIRRORS")


def test_runall_checkuri_and_cleanall(shop, registry, busybox):
    build = shop.build("tasks")
    shop.add(build, "single", "several")
    with registry.recording() as requests:
        result = build.bitbake("--runall=fetch", "several", "single").ok()
    # They share an image, and fetch it at the same time.
    layers = {layer.digest for manifest in busybox.manifests() for layer in manifest.layers}
    fetched = [digest for digest in requests.blobs() if digest in layers]
    assert sorted(fetched) == sorted(layer.digest for layer in busybox.manifest("linux/amd64").layers)
    assert "do_fetch" in result.tasks("several") & result.tasks("single")
    assert not {"do_unpack", "do_compile"} & result.tasks()
    assert len(list(build.downloads.glob("docker_*.tar"))) == 2
    assert "do_checkuri" in build.bitbake("-c", "checkuri", "several", "single").ok().tasks("several")
    build.bitbake("-c", "cleanall", "several").ok()
    assert list(build.downloads.glob("docker_*")) == []
