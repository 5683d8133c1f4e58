# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the tests of the tier share: a bench for each release, a registry with images, and one large build.

The build has every recipe that a test looks at the packages of, since starting BitBake takes longer than a
recipe does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dockin.recipe import source
from support import cache, images, oe, registry as registries

PLATFORMS = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")

SINGLE = """
inherit dockin
SRC_URI = "docker://busybox;tag=1.36.1"
SRC_URI[sha256sum] = "@BUSYBOX@"
"""

# An image of Docker Hub, one of a registry with a port, and files of the recipe's own.
SEVERAL = """
inherit dockin
SRC_URI = "docker://docker.io/library/busybox;tag=1.36.1;name=busybox \\
           docker://@REGISTRY@/team/app;tag=v1;digest=sha256:@APP@ \\
           file://compose.yml file://several.service"
SRC_URI[busybox.sha256sum] = "@BUSYBOX@"
FILES_OF_RECIPE = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
do_install:append() {
    install -d ${D}${datadir}/${BPN}
    install -m 0644 ${FILES_OF_RECIPE}/compose.yml ${D}${datadir}/${BPN}/
    install -m 0644 ${FILES_OF_RECIPE}/several.service ${D}${systemd_system_unitdir}/
}
SYSTEMD_PACKAGES += "${PN}"
SYSTEMD_SERVICE:${PN} = "several.service"
"""

COMPOSE = "services: {web: {image: 'busybox:1.36.1'}}\n"
SERVICE = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"

# Two things in one recipe where they have nothing to do with each other: every recipe takes seconds.
RECIPES = {
    "single": SINGLE,
    "several": SEVERAL,
    "registry-layers": SINGLE + 'DOCKIN_LAYERS = "registry"\n',
    "zstd-kept": SINGLE + """
COMPRESSION_TYPE = "zstd"
DOCKIN_PRELOAD_FLUSH = "0"
DOCKIN_PRELOAD_PRUNE = "1"
DOCKIN_PRELOAD_KEEP_PREVIOUS = "1"
DOCKIN_SIZE_BUDGET = "1G"
""",
    "gzip-asleep": SINGLE + """
COMPRESSION_TYPE = "gzip"
SYSTEMD_AUTO_ENABLE:${PN}-preload = "disable"
DOCKIN_RUNTIME = "podman"
""",
    "plain-arm64": SINGLE.replace("1.36.1", "1.36.1;platform=linux/arm64/v8") + """
COMPRESSION_TYPE = "none"
DOCKIN_RUNTIME = "containerd"
DOCKIN_DATAROOT_DIR = "/data/containerd"
""",
    # No pin, and a type of compression of the user's own.
    "bzip2-unpinned": """
inherit dockin
SRC_URI = "docker://busybox;tag=1.36.1"
COMPRESSION_TYPE = "bz2"
COMPRESSION_CMD:bz2 = "bzip2 -k -9 -c"
COMPRESSION_RDEPENDS:bz2 = "bzip2"
""",
}
DEMOS = ("hello-world", "compose-example")
UNPINNED = r"busybox:1\.36\.1 is not pinned"


# The release on which all tests run; where it is not among those that are tested, the newest of them.
FULL_RELEASE = "wrynose"
# What differs between releases: parse, fetch, unpack, package, the life of a recipe, refresh, status, signatures, images.
CONTRACT = ("test_bed", "test_check_layer", "test_devtool", "test_images", "test_packages", "test_refresh",
            "test_signatures", "test_sources", "test_status")


def pytest_collection_modifyitems(config, items):
    """Leave out releases of a test: all but one with a mark "release", and of other tests those that are no CONTRACT.

    With DOCKIN_ALL=1 (make test-all) only those with a mark, which say that nothing differs.
    """
    names = [str(one) for one in cache.releases()]
    full = FULL_RELEASE if FULL_RELEASE in names else names[-1]
    everything = cache.everything()

    def is_other(item):
        mark, parameters = item.get_closest_marker("release"), getattr(getattr(item, "callspec", None), "params", {})
        if "release" not in parameters:
            return False
        name = str(parameters["release"])
        if mark:
            return name != mark.args[0]
        return name != full and not everything and item.path.stem not in CONTRACT

    others = [item for item in items if is_other(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if not is_other(item)]


@pytest.fixture(scope="session", params=cache.releases(), ids=str)
def release(request):
    return request.param


@pytest.fixture(scope="session")
def bench(release):
    try:
        made = oe.Bench(release)
    except oe.Unavailable as reason:
        pytest.skip(f"unavailable: {reason}")
    with made:
        yield made


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    with registries.Registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def busybox(registry):
    """An index of several platforms, in the registry as library/busybox:1.36.1; small, as nobody runs it."""
    index = images.index([platform_image("busybox", platform) for platform in PLATFORMS], attestations=True)
    registry.push(index, "library/busybox", "1.36.1")
    return index


@pytest.fixture(scope="session")
def app(registry):
    """A single manifest in Docker's own form, in the registry as team/app:v1."""
    manifest = images.image([images.layer({"app": "app\n"})], "linux/amd64", form="docker")
    registry.push(manifest, "team/app", "v1")
    return manifest


def platform_image(name, platform):
    """Return a small image with two layers, one of them the same for every platform."""
    common = images.layer({f"etc/{name}": "common\n" * 1000})
    return images.image([common, images.layer({"etc/platform": platform * 1000})], platform)


@dataclass(frozen=True)
class Shop:
    """A bench, the registry, and what recipes need to fetch its images as docker.io's."""

    bench: oe.Bench
    registry: registries.Registry
    busybox: images.Index
    app: images.Manifest
    settings: str

    def build(self, name, local_conf="", **options):
        """Return a build directory that takes docker.io for our registry."""
        return self.bench.build(name, self.settings + local_conf, **options)

    def recipe(self, name):
        """Return the text of one of RECIPES with the registry and the pins filled in."""
        text = RECIPES[name]
        values = {"REGISTRY": self.registry.address, "BUSYBOX": self.busybox.hex, "APP": self.app.hex}
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text

    def add(self, build, *names):
        """Write recipes of RECIPES into a build directory."""
        for name in names:
            files = {"compose.yml": COMPOSE, "several.service": SERVICE} if name == "several" else None
            build.recipe(f"{name}_1.0.bb", self.recipe(name), files)

    def serve_demos(self, build):
        """Push an image of our own for each that the demos name, and pin the demos to those in a build directory."""
        pushed = {("library/busybox", "1.36.1"): self.busybox}
        for demo in DEMOS:
            recipe = (self.bench.layer / "recipes-demo" / "dockin" / f"{demo}_1.0.bb").read_text()
            words = recipe.replace('"', " ").split()
            pins = []
            for entry in source.parse_src_uri(" ".join(word for word in words if source.is_docker(word))):
                reference = entry.reference
                name = (reference.repository, reference.tag)
                if name not in pushed:
                    pushed[name] = images.index([platform_image(reference.stem, one) for one in PLATFORMS])
                    self.registry.push(pushed[name], *name)
                made = pushed[name]
                pins.append(f'SRC_URI[{entry.pin_flag}] = "{made.hex}"\n')
            assert pins, f"no image in {demo}"
            build.recipe(f"{demo}_%.bbappend", "".join(pins))


@pytest.fixture(scope="session")
def shop(bench, registry, busybox, app):
    conf = registries.write_registries_conf(bench.root / "registries.conf", registry.address)
    bench.account.own(conf)
    settings = f'DOCKIN_REGISTRIES_CONF = "{conf}"\nDOCKIN_TLS_VERIFY = "0"\n'
    return Shop(bench, registry, busybox, app, settings)


@dataclass(frozen=True)
class Built:
    """The large build: its directory, and what BitBake said."""

    build: oe.Build
    result: oe.Result


@pytest.fixture(scope="session")
def built(shop):
    build = shop.build("packages")
    shop.add(build, *RECIPES)
    shop.serve_demos(build)
    return Built(build, build.bitbake("-k", *RECIPES, *DEMOS, timeout=600))
