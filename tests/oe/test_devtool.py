# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""devtool add-docker, and that core's own subcommands work on what it makes: the tools themselves, on each release."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile

from dataclasses import dataclass
from pathlib import Path

import pytest

from dockin.image import archive, platforms, reference, tarball
from dockin.target import imageinfo
from support import account, images, installed, oe, registry as registries, spdx

PLATFORMS = ("linux/amd64", "linux/arm64/v8")
LABELS = {
    "org.opencontainers.image.title": "The App",
    "org.opencontainers.image.description": "Serves \"pages\"\nof ${TMPDIR}",
    "org.opencontainers.image.url": "https://app.example/",
    "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
}
LAYER_CONF = """
BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/recipes-*/*/*.bb ${LAYERDIR}/recipes-*/*/*.bbappend"
BBFILE_COLLECTIONS += "mine"
BBFILE_PATTERN_mine = "^${LAYERDIR}/"
BBFILE_PRIORITY_mine = "7"
BBFILE_PATTERN_IGNORE_EMPTY_mine = "1"
LAYERSERIES_COMPAT_mine = "@SERIES@"
"""
COMPOSE = """\
name: shop
x-common: &common
  restart: unless-stopped
services:
  web:
    <<: *common
    image: @REGISTRY@/team/app:${TAG:-1.0.0}
  probe:
    image: "@REGISTRY@/team/tool"   # the latest
"""


def content(name, labels=None):
    """Return an index with a small image for each platform; name makes it another one."""
    return images.index([
        images.image([images.layer({"etc/name": f"{name} {platform}"})], platform, labels=labels) for platform in PLATFORMS
    ])


@dataclass(frozen=True)
class Desk:
    """A build directory with a layer of the user's own, and the images that the registry has."""

    bench: oe.Bench
    build: oe.Build
    registry: registries.Registry
    layer: Path
    app: images.Index
    newer: images.Index
    tool: images.Index

    @property
    def image(self):
        return f"{self.registry.address}/team/app"

    @property
    def workspace(self):
        return self.build.path / "workspace"

    def devtool(self, *arguments, timeout=300):
        return self.build.run("devtool", *arguments, timeout=timeout)

    def left(self):
        """Return what there is of recipes in the workspace and in the layer."""
        places = [self.workspace / name for name in ("recipes", "appends", "sources")] + [self.layer]
        return sorted(str(path) for place in places for path in place.rglob("*") if ".git" not in path.parts)


@pytest.fixture(scope="module")
def market(bench):
    """A registry of these tests' own, in which tags move."""
    with registries.Registry(bench.root / "market") as server:
        yield server


@pytest.fixture(scope="module")
def desk(bench, market):
    registry, address = market, market.address
    app, newer, tool = content("app", LABELS), content("newer", LABELS), content("tool")
    registry.push(app, "team/app", "1.0.0")
    registry.push(newer, "team/app", "1.1.0")
    registry.push(content("other", {}), "team/app", "1.1.0-alpine")
    registry.push(tool, "team/tool", "latest")
    registry.push(images.index([images.image([images.layer({"x": "y"})], "linux/s390x")]), "team/mainframe", "1.0")
    layer = bench.folder("meta-mine")
    bench.write(layer / "conf" / "layer.conf", LAYER_CONF.replace("@SERIES@", bench.series))
    build = bench.build("desk", layers=[bench.layer, layer])
    # devtool check-upgrade-status knows none of the layer's variables: what is special of a registry is in the home.
    home = bench.folder("desk-home")
    conf = f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    bench.write(home / ".config" / "containers" / "registries.conf", conf)
    bench.write(home / ".gitconfig", oe.GIT_CONFIG)
    account.ordinary().own_folders(home)
    build.environment["HOME"] = str(home)
    return Desk(bench, build, registry, layer, app, newer, tool)


def expected_recipe(desk, operator):
    words = f"MIT {operator} Apache-2.0"
    mit, apache = (
        hashlib.md5((desk.bench.core / "meta/files/common-licenses" / name).read_bytes()).hexdigest()
        for name in ("MIT", "Apache-2.0")
    )
    return f"""\
SUMMARY = "The App as a Docker image"
DESCRIPTION = "Serves 'pages' of {{TMPDIR}}"
HOMEPAGE = "https://app.example/"
LICENSE = "{words}"
LIC_FILES_CHKSUM = " \\
    file://${{COMMON_LICENSE_DIR}}/MIT;md5={mit} \\
    file://${{COMMON_LICENSE_DIR}}/Apache-2.0;md5={apache} \\
"

inherit dockin

SRC_URI = "docker://{desk.image};tag=${{PV}}"
SRC_URI[sha256sum] = "{desk.app.hex}"
"""


def save(image, name, path):
    """Write an image as docker save does."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.tar"
        platform = platforms.parse("linux/amd64")
        installed.write_tarball(source, image, platform)
        loaded = tarball.load(str(source), platform, None)
        archive.assemble(str(source), loaded, name, archive.DECOMPRESSED, str(path))


def status_of(desk, recipe, *options):
    """Return what dockin-status says of a recipe's only image."""
    path = desk.build.path / "status.json"
    path.unlink(missing_ok=True)
    desk.build.run("bitbake-layers", "dockin-status", recipe, "--json", "--output", str(path), *options).ok()
    [image] = json.loads(path.read_text())["images"]
    return image


@pytest.mark.timeout(1500)
def test_life_of_a_recipe(release, desk):
    build = desk.build
    # add-docker
    assert desk.devtool("add-docker", f"docker://{desk.image}", "--tag", "1.0.0").ok()
    recipe = desk.workspace / "recipes" / "app-docker" / "app-docker_1.0.0.bb"
    operator = "OR" if release.name == "master" else "|"
    text = recipe.read_text()
    assert text == expected_recipe(desk, operator)

    # What core's subcommands say of it
    assert re.search(rf"^app-docker: .*\({recipe}\)$", desk.devtool("status").ok().output, re.M)
    assert str(recipe) in desk.devtool("find-recipe", "app-docker").ok().output.splitlines()
    build.environment["VISUAL"] = build.environment["EDITOR"] = "cat"
    assert desk.app.hex in desk.devtool("edit-recipe", "app-docker").ok().output
    assert "Latest version: 1.1.0" in desk.devtool("latest-version", "app-docker").ok().output
    assert re.search(r"^app-docker +1\.0\.0 +1\.1\.0 ", desk.devtool("check-upgrade-status", "app-docker").ok().output, re.M)

    # build, and what then can be said of it
    before = status_of(desk, "app-docker")
    assert (before["fetched"], before["packaged"]) == (False, None)
    desk.devtool("build", "app-docker").ok()
    files = desk.devtool("deploy-target", "-n", "app-docker", "root@device").ok().output
    stem = f"{desk.registry.address}-team-app-1.0.0".replace(":", "-")
    assert f"/usr/share/dockin/archive/{stem}.tar.xz" in files
    build.bitbake("app-docker").ok()
    built = status_of(desk, "app-docker", "--remote")
    assert (built["layer"], built["fetched"], built["notes"]) == ("workspace", True, [])
    assert built["packaged"]["source_digest"] == desk.app.digest
    assert built["archive"] == f"/usr/share/dockin/archive/{stem}.tar.xz"
    assert (built["remote"]["state"], built["remote"]["created"]) == ("current", images.CREATED)

    # finish: the recipe is in the layer as it was written, and nothing is lost
    desk.devtool("update-recipe", "app-docker").ok()
    assert recipe.read_text() == text
    desk.devtool("finish", "app-docker", "meta-mine").ok()
    [finished] = desk.layer.rglob("*.bb")
    assert (finished.name, finished.read_text()) == ("app-docker_1.0.0.bb", text)
    assert "app-docker" not in desk.devtool("status").ok().output

    # The tag moves; the build does not, until the recipe is refreshed.
    moved = content("moved", LABELS)
    desk.registry.push(moved, "team/app", "1.0.0")
    found = build.run("bitbake-layers", "dockin-status", "app-docker", "--check")
    assert found.returncode == 3 and f"moved to {moved.hex[:7]}" in found.output, found.output
    desk.devtool("refresh-docker", "app-docker").ok()
    assert finished.read_text() == text.replace(desk.app.hex, moved.hex)
    build.bitbake("app-docker").ok()
    deb = build.deb("app-docker")
    name = f"/usr/share/dockin/archive/{stem}.image"
    assert imageinfo.parse(deb.read(name).decode(), name).source_digest == moved.digest

    # upgrade: new tag, new pin
    desk.devtool("upgrade", "app-docker", "--version", "1.1.0").ok()
    upgraded = desk.workspace / "recipes" / "app-docker" / "app-docker_1.1.0.bb"
    assert upgraded.read_text() == text.replace(desk.app.hex, desk.newer.hex)
    desk.devtool("reset", "--remove-work", "app-docker").ok()

    # modify: the archive is in the source tree, and is what gets packaged
    desk.devtool("modify", "app-docker").ok()
    saved = desk.workspace / "sources" / "app-docker" / f"{stem}.tar"
    assert saved.is_file()
    own = images.image([images.layer({"etc/name": "made on this desk"})], "linux/amd64")
    save(own, reference.parse(f"{desk.image}:1.0.0"), saved)
    build.bitbake("app-docker").ok()
    deb = build.deb("app-docker")
    assert f"/usr/share/dockin/archive/{stem}.tar.xz" in deb.files
    assert imageinfo.parse(deb.read(name).decode(), name).image_id == own.config.digest
    modified = status_of(desk, "app-docker")
    assert (modified["image"], modified["fetched"]) == (f"{desk.image}:1.0.0", None)
    assert modified["notes"] == [f"its archive is taken from {saved.parent}"]
    desk.devtool("reset", "--remove-work", "app-docker").ok()
    assert finished.read_text() == text.replace(desk.app.hex, moved.hex)
    assert not list((desk.workspace / "appends").iterdir())
    # The name is free for the tests that follow.
    shutil.rmtree(finished.parent.parent)


@pytest.mark.timeout(900)
def test_standard_add(release, desk):
    """devtool add of a docker:// address ends in the recipe of add-docker, with the archive as its source."""
    desk.registry.push(desk.app, "team/app", "1.0.0")
    text = expected_recipe(desk, "OR" if release.name == "master" else "|")
    # What BitBake takes for no address at all since 2.18 can be given here, as after docker pull.
    desk.devtool("add", f"docker://{desk.image}:1.0.0").ok()
    recipe = desk.workspace / "recipes" / "app-docker" / "app-docker_1.0.0.bb"
    assert recipe.read_text() == text
    stem = f"{desk.registry.address}-team-app-1.0.0".replace(":", "-")
    tree = desk.workspace / "sources" / "app-docker"
    assert {path.name for path in tree.iterdir()} == {".git", *(f"{stem}.{end}" for end in ("image.json", "tar"))}
    desk.build.bitbake("app-docker").ok()
    name = f"/usr/share/dockin/archive/{stem}.image"
    read = imageinfo.parse(desk.build.deb("app-docker").read(name).decode(), name)
    assert read.image_id == desk.app.manifest(PLATFORMS[0]).config.digest
    desk.devtool("finish", "--remove-work", "app-docker", "meta-mine").ok()
    [finished] = desk.layer.rglob("app-docker*.bb")
    assert finished.read_text() == text
    finished.unlink()
    finished.parent.rmdir()


@pytest.mark.release("master")
@pytest.mark.timeout(600)
def test_recipetool(desk):
    build = desk.build
    place = desk.bench.folder("recipetool")
    address = f"docker://{desk.registry.address}/team/tool"
    # The tag is no version: what recipetool would guess is not.
    created = build.run("recipetool", "create", "-o", str(place), address).ok()
    desk.devtool("add-docker", address, "--layer", "meta-mine").ok()
    [written] = desk.layer.rglob("tool-docker_1.0.bb")
    assert (place / "tool-docker_1.0.bb").read_text() == written.read_text(), created.output
    before = desk.left()
    for arguments, message in [
        (["docker://127.0.0.1:1/team/app"], "could not be reached"),
        ([f"{address};nonsense=1"], "Unknown parameter 'nonsense'"),
        ([f"{address};name=app"], "needs no name; leave it out"),
        ([address, "--binary"], "--binary with docker://.*: an image is installed as it is"),
        ([address, "--name", "x", "--version", "2.0"], "Version '2.0' with the tag 'latest', .*: choose .* by ;tag="),
        ([address, "--outfile", str(place / "tool.bb")], "give a directory, or a file NAME_VERSION.bb"),
        ([address, "--name", "tool-native"], "Invalid recipe name 'tool-native': images are for the target"),
        ([address], "tool-docker is taken: .*choose another name with --name"),
    ]:
        result = build.run("recipetool", "create", *arguments).failed(message)
        assert "Traceback" not in result.output, result.output
        assert desk.left() == before
    shutil.rmtree(written.parent)


@pytest.mark.release("scarthgap")
@pytest.mark.timeout(900)
def test_compose_file(release, desk):
    compose = desk.build.path / "compose.yml"
    desk.bench.write(compose, COMPOSE.replace("@REGISTRY@", desk.registry.address))
    desk.registry.push(desk.app, "team/app", "1.0.0")
    desk.devtool("add-docker", "--compose", str(compose)).ok()
    directory = desk.workspace / "recipes" / "shop-docker"
    text = (directory / "shop-docker_1.0.bb").read_text()
    assert f'SRC_URI[web.sha256sum] = "{desk.app.hex}"\nSRC_URI[probe.sha256sum] = "{desk.tool.hex}"\n' in text
    assert "LicenseRef-Dockin-Unreviewed" in text
    desk.build.bitbake("shop-docker").ok()
    deb = desk.build.deb("shop-docker")
    assert deb.read("/usr/share/shop-docker/compose.yml").decode() == compose.read_text()
    unit = deb.read("/usr/lib/systemd/system/shop-docker.service").decode()
    loads = {path.rsplit("/", 1)[1] for path in desk.build.deb("shop-docker-preload").files if path.endswith(".service")}
    assert len(loads) == 2
    for key in ("Requires", "After"):
        named = " ".join(re.findall(rf"^{key}=(.*)$", unit, re.M)).split()
        assert loads <= set(named)
    assert "--file /usr/share/shop-docker/compose.yml up" in unit
    files = {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    desk.devtool("finish", "--remove-work", "shop-docker", "meta-mine").ok()
    moved = {path.name: path.read_bytes() for path in (desk.layer / "recipes-shop-docker").rglob("*") if path.is_file()}
    assert moved == files
    assert sorted(files) == ["compose.yml", "shop-docker.service", "shop-docker_1.0.bb"]


@pytest.mark.release("wrynose")
@pytest.mark.timeout(900)
def test_compose_recipe_of_a_layer(desk):
    """upgrade, modify and reset of a recipe with several images and files of its own; and externalsrc for all recipes."""
    desk.registry.push(desk.app, "team/app", "1.0.0")
    compose = desk.build.path / "store.yml"
    desk.bench.write(compose, COMPOSE.replace("@REGISTRY@", desk.registry.address).replace("shop", "store"))
    build = desk.bench.build("store", 'INHERIT += "externalsrc"\n', layers=[desk.bench.layer, desk.layer])
    build.environment["HOME"] = desk.build.environment["HOME"]
    build.run("devtool", "add-docker", "--compose", str(compose)).ok()
    build.run("devtool", "build", "store-docker").ok()
    build.run("devtool", "finish", "--remove-work", "store-docker", "meta-mine").ok()
    directory = desk.layer / "recipes-store-docker"
    [recipe] = directory.rglob("*.bb")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    build.run("devtool", "upgrade", "store-docker", "--version", "2.0").ok()
    upgraded = build.path / "workspace" / "recipes" / "store-docker" / "store-docker_2.0.bb"
    # Of names that have no version in their tags devtool knows nothing, and adds a pin for the first image, which none uses.
    lines = [line for line in upgraded.read_text().splitlines() if line != f'SRC_URI[sha256sum] = "{desk.app.hex}"']
    assert lines == recipe.read_text().splitlines()
    build.run("devtool", "reset", "--remove-work", "store-docker").ok()

    build.run("devtool", "modify", "store-docker").ok()
    tree = build.path / "workspace" / "sources" / "store-docker"
    stems = [f"{desk.registry.address}-team-{name}".replace(":", "-") for name in ("app-1.0.0", "tool-latest")]
    saved = tree / f"{stems[0]}.tar"
    assert all((tree / f"{stem}.tar").is_file() for stem in stems)
    own = images.image([images.layer({"etc/name": "made on this desk"})], "linux/amd64")
    save(own, reference.parse(f"{desk.image}:1.0.0"), saved)
    build.run("devtool", "build", "store-docker").ok()
    build.bitbake("store-docker").ok()
    deb = build.deb("store-docker")
    assert deb.read("/usr/share/store-docker/store.yml").decode() == compose.read_text()
    name = f"/usr/share/dockin/archive/{stems[0]}.image"
    assert imageinfo.parse(deb.read(name).decode(), name).image_id == own.config.digest
    # What is in the source tree may be in no registry.
    assert {(one.location, one.purls) for one in spdx.in_package(build, "store-docker")} == {("", ())}
    found = build.run("bitbake-layers", "-q", "dockin-status", "store-docker", "--json", "--output", "status.json").ok()
    listed = json.loads((build.path / "status.json").read_text())["images"]
    assert {one["notes"][0] for one in listed} == {f"its archive is taken from {tree}"} and len(listed) == 2, found.output
    build.run("devtool", "reset", "--remove-work", "store-docker").ok()
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    shutil.rmtree(directory)


@pytest.mark.release("master")
@pytest.mark.timeout(600)
def test_into_a_layer(desk):
    text = {}
    for name in ("meta-mine", str(desk.layer)):
        # Not made as a workspace recipe: none is needed.
        desk.devtool("add-docker", f"{desk.registry.address}/team/tool", "--layer", name, "--compression", "none").ok()
        recipe = desk.layer / "recipes-containers" / "tool-docker" / "tool-docker_1.0.bb"
        text[name] = recipe.read_text()
        again = desk.devtool("add-docker", f"{desk.registry.address}/team/tool", "--layer", name)
        again.failed("is there already: nothing is overwritten")
        assert recipe.read_text() == text[name]
        recipe.unlink()
        recipe.parent.rmdir()
    # The same input gives the same file.
    assert len(set(text.values())) == 1
    assert 'COMPRESSION_TYPE = "none"' in text["meta-mine"]
    assert 'LICENSE = "LicenseRef-Dockin-Unreviewed"' in text["meta-mine"]


@pytest.mark.release("wrynose")
@pytest.mark.timeout(600)
def test_login(desk):
    login = registries.Login("builder", "correct-horse-battery")
    with registries.Registry(desk.bench.root / "private", login=login) as private:
        private.push(desk.tool, "team/secret", "1.0")
        # It has no TLS: that is said for this command, in an environment as of a CI job.
        conf = desk.bench.root / "private.conf"
        desk.bench.write(conf, f'[[registry]]\nlocation = "{private.address}"\ninsecure = true\n')
        authfile = desk.bench.root / "auth.json"
        desk.bench.write(authfile, login.auth_json(private.address))
        build = desk.bench.build("login", f'DOCKIN_REGISTRIES_CONF = "{conf}"\n', layers=[desk.bench.layer, desk.layer])
        command = ["devtool", "add-docker", f"{private.address}/team/secret:1.0", "--layer", "meta-mine"]
        before = desk.left()
        offline = desk.bench.build("offline", 'BB_NO_NETWORK = "1"\n', layers=[desk.bench.layer, desk.layer])
        offline.run(*command).failed("BB_NO_NETWORK is set: a registry has to be asked")
        result = build.run(*command).failed(f"log in with 'skopeo login {private.address}'")
        assert "Traceback" not in result.output and desk.left() == before
        result = build.run(*command, "--authfile", str(authfile)).ok()
        assert login.password not in result.output
        recipe = desk.layer / "recipes-containers" / "secret-docker" / "secret-docker_1.0.bb"
        assert desk.tool.hex in recipe.read_text() and "auth" not in recipe.read_text()
        recipe.unlink()
        recipe.parent.rmdir()


@pytest.mark.release("scarthgap")
@pytest.mark.timeout(900)
def test_refusals(desk):
    """A clear error, and no half-made recipe."""
    before = desk.left()
    address = desk.registry.address
    for name, arguments, message in [
        ("hello-world", [f"{desk.image}:1.0.0"], r"hello-world is taken: .*hello-world_1\.0\.bb provides it"),
        ("Upper", [f"{desk.image}:1.0.0"], "Invalid recipe name 'Upper'"),
        ("fresh", [f"{desk.image}:1.0.0", "--tag", "2"], r"Two tags: '1\.0\.0' in .*--tag '2'; keep one"),
        ("fresh", [f"{desk.image}:9.9"], "the registry has no such tag"),
        ("fresh", [f"{address}/team/mainframe:1.0"], "linux/s390x"),
        ("fresh", ["127.0.0.1:1/team/app"], "could not be reached"),
        ("fresh", [f"{desk.image}:1.0.0", "--compression", "brotli"], "COMPRESSION_TYPE"),
        ("fresh", [f"{desk.image}:1.0.0", "--layer", "/nonexistent"], "No layer /nonexistent"),
        ("fresh", [f"{desk.image}:1.0.0", "--no-pin", "--digest", desk.app.digest], "--no-pin, but sha256:"),
        ("fresh", [f"{desk.image}:1.0.0@{desk.app.digest}", "--no-pin"], "--no-pin, but sha256:"),
        # A name is refused before the registry is asked, which does not answer here.
        ("hello-world", ["127.0.0.1:1/team/app"], r"hello-world is taken"),
        ("fresh", [f"{desk.image}:1.0.0", "--authfile", 'my "auth".json'], "can't hold such a path"),
        ("fresh", [], "Give an IMAGE or --compose FILE"),
    ]:
        result = desk.devtool("add-docker", *arguments, "--recipe-name", name).failed(message)
        assert "Traceback" not in result.output, result.output
        assert desk.left() == before
    broken = desk.layer / "recipes-containers" / "broken" / "broken_1.0.bb"
    desk.bench.write(broken, "inherit nosuchclass\n")
    result = desk.devtool("add-docker", f"{desk.image}:1.0.0", "--recipe-name", "fresh")
    shutil.rmtree(broken.parent)
    result.failed("Could not inherit file classes/nosuchclass", "Whether fresh is free is not known: BitBake can't parse")
    assert "Traceback" not in result.output, result.output
