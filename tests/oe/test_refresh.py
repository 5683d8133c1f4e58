# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""devtool refresh-docker, bitbake-layers dockin-refresh and scripts/dockin: one engine, on each release."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dockin.recipe import bitbaketext, recipefile, textreader, yoctolayers
from support import account, faults, images, oe, packages, registry as registries

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "dockin"

LAYER_CONF = """\
BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/recipes/*.bb ${LAYERDIR}/recipes/*.bbappend"
BBFILE_COLLECTIONS += "pins"
BBFILE_PATTERN_pins = "^${LAYERDIR}/"
LAYERSERIES_COMPAT_pins = "@SERIES@"
LAYERDEPENDS_pins = "core dockin"
"""

HEAD = '''\
SUMMARY = "An image"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"
inherit dockin
'''

# Every file, with PIN where the digest is that moves.
FILES = {
    "recipes/plain_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/app;tag=v${PV}"\nSRC_URI[sha256sum] = "PIN"\n',
    "recipes/plain_2.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/app;tag=v1.0;digest=sha256:PIN"\n',
    "recipes/shared_1.0.bb": HEAD + "require inc/shared.inc\n",
    "inc/shared.inc": 'SRC_URI = "docker://${MIRROR_OF_MINE}/team/app;tag=v1.0"\nSRC_URI[sha256sum] = "PIN"\n',
    "recipes/added_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/still;tag=v1;digest=sha256:STILL"\n',
    "recipes/added_%.bbappend": 'SRC_URI += "docker://REGISTRY/team/app;tag=v1.0;name=more"\n'
                                'SRC_URI[more.sha256sum] = "PIN"\n',
    "recipes/hidden_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/still;tag=v1;digest=sha256:STILL"\n'
                                    "inherit hidden\n",
    "recipes/down_1.0.bb": HEAD + 'SRC_URI = "docker://DOWN/team/app;tag=v1;digest=sha256:STILL"\n',
    # What the text says is not what is built: for local.conf, or for a class.
    "recipes/weak_1.0.bb": HEAD + 'TAG_OF_MINE ?= "v1.0"\nSRC_URI = "docker://REGISTRY/team/app;tag=${TAG_OF_MINE}"\n'
                                  'SRC_URI[sha256sum] = "PIN"\n',
    "recipes/gone_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/app;tag=v1.0;digest=sha256:PIN '
                                  'docker://REGISTRY/team/still;tag=v1;digest=sha256:STILL"\ninherit gone\n',
    "classes/gone.bbclass": 'SRC_URI:remove = "docker://REGISTRY/team/app;tag=v1.0;digest=sha256:PIN"\n',
    "recipes/flag_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/app;tag=v1.0"\ninherit flag\n',
    "classes/flag.bbclass": 'SRC_URI[sha256sum] = "PIN"\n',
    # For this machine, SRC_URI is another one.
    "recipes/machine_1.0.bb": HEAD + 'SRC_URI = "docker://REGISTRY/team/app;tag=v1.0;digest=sha256:PIN"\n'
                                     'SRC_URI:qemux86-64 = "docker://REGISTRY/team/still;tag=v1;digest=sha256:STILL"\n',
    "classes/hidden.bbclass": 'SRC_URI += "docker://REGISTRY/team/app;tag=v1.0;name=hidden"\n'
                              'SRC_URI[hidden.sha256sum] = "PIN"\n',
}

# Recipes with one pin for all, of which the third is for no machine here.
PAIR = {
    "inc/pair.inc": 'SRC_URI[sha256sum] = "PIN"\n',
    "recipes/pair-named_1.0.bb": HEAD + 'require inc/pair.inc\nSRC_URI = "docker://REGISTRY/team/app;tag=v1.0"\n',
    "recipes/pair-other_1.0.bb": HEAD + 'require inc/pair.inc\nSRC_URI = "docker://${MIRROR_OF_MINE}/team/TAG"\n',
    "recipes/pair-skipped_1.0.bb": HEAD + 'require inc/pair.inc\nSRC_URI = "docker://REGISTRY/team/TAG"\n'
                                          'COMPATIBLE_MACHINE = "none"\n',
}


@dataclass(frozen=True)
class Desk:
    """A build with a layer of recipes, and a registry in which tags move."""

    build: oe.Build
    registry: registries.Registry
    layer: Path
    digests: list[str]
    other: str
    """What v2 of team/app stands for."""
    down: str
    """Address of a registry that does not answer."""

    def fill(self, digest):
        """Write the layer with this digest as the pin that moves."""
        for name, text in FILES.items():
            self.path(name).write_text(self.text(text, digest))

    def text(self, text, digest):
        still = self.registry.tag_digest("team/still", "v1")
        words = {"REGISTRY": self.registry.address, "DOWN": self.down, "PIN": digest[7:], "STILL": still[7:]}
        return re.sub("|".join(words), lambda found: words[found[0]], text)

    def path(self, name):
        return self.layer / name

    def script(self, *arguments):
        return subprocess.run([sys.executable, "-B", str(SCRIPT), *arguments], cwd=self.layer, capture_output=True,
                              env={**self.build.environment, "DOCKIN_TLS_VERIFY": "0"}, text=True, timeout=120, check=False)


def push_versions(server):
    """Push what v1.0 of team/app stands for first, and then; return the digests."""
    contents = [images.index([images.image([images.layer({"app": name})], "linux/amd64")]) for name in ("one", "two")]
    return [server.push(content, "team/app", "v1.0") for content in contents]


@pytest.fixture(scope="module")
def desk(bench):
    layer = bench.folder("meta-pins")
    bench.write(layer / "conf" / "layer.conf", LAYER_CONF.replace("@SERIES@", bench.series))
    for name in FILES:
        bench.write(layer / name, "")
    build = bench.build("pins", layers=[bench.layer, layer])
    home = bench.folder("pins-home")
    bench.write(home / ".gitconfig", oe.GIT_CONFIG)
    for folder in (home, layer):
        account.ordinary().own_folders(folder)
    build.environment["HOME"] = str(home)
    with registries.Registry(bench.root / "pins-registry") as server:
        digests = push_versions(server)
        server.push(images.index([images.image([images.layer({"still": "one"})], "linux/amd64")]), "team/still", "v1")
        server.move_tag("team/app", "v1.0", digests[0])
        other = server.push(images.index([images.image([images.layer({"app": "2"})], "linux/amd64")]), "team/app", "v2")
        build.local_conf(f'DOCKIN_TLS_VERIFY = "0"\nMIRROR_OF_MINE = "{server.address}"\nMACHINE = "qemux86-64"\n'
                         'TAG_OF_MINE = "v2"\n')
        yield Desk(build, server, layer, digests, other, faults.closed_address())


def states(document):
    return {(image["file"], image["tag"]): image["status"] for image in document["images"]}


def test_refresh(desk):
    old, new = desk.digests
    desk.fill(old)
    result = desk.build.run("devtool", "refresh-docker", "plain", "shared", "added", "--check")
    assert result.returncode == 0, result.output
    desk.registry.move_tag("team/app", "v1.0", new)
    reports = {}
    for tool, command in (("devtool", ("devtool", "refresh-docker")), ("layers", ("bitbake-layers", "dockin-refresh"))):
        report = desk.build.path / f"{tool}.json"
        result = desk.build.run(*command, "--check", "--json", "--output", str(report))
        # hidden can't be refreshed: its image stands in a class. The layer's own recipes, with images of Docker Hub, are not
        # looked at.
        assert result.returncode == 4, result.output
        reports[tool] = json.loads(report.read_text())
    assert reports["devtool"]["images"] == reports["layers"]["images"]
    found = states(reports["devtool"])
    assert found["classes/hidden.bbclass", None] == "error"
    # For this machine, that is all; what another one has is told of.
    assert [note for note in reports["devtool"]["notes"] if "recipes/machine_1.0.bb is not in SRC_URI for this" in note]
    assert found["recipes/machine_1.0.bb", "v1"] == "current"
    moved = ["recipes/plain_1.0.bb", "recipes/plain_2.0.bb", "inc/shared.inc", "recipes/added_%.bbappend"]
    assert {name for (name, _), status in found.items() if status == "stale"} == {*moved, "recipes/weak_1.0.bb"}
    assert {image["recipe"]: image["error"]["kind"] for image in reports["layers"]["images"] if image["error"]} == {
        **dict.fromkeys(("hidden", "flag"), "unsupported-expression"), "down": "network"}
    assert {image["arch"] for image in reports["devtool"]["images"]} == {"amd64"}

    # Without BitBake, two variables are not known, nor what classes and overrides make of SRC_URI.
    done = desk.script("check", "--json", "--platform", "linux/amd64")
    assert done.returncode == 4, done.stdout + done.stderr
    alone = states(json.loads(done.stdout))
    assert (alone["inc/shared.inc", None], alone["recipes/down_1.0.bb", "v1"]) == ("error", "error")
    assert {name for (name, _), status in alone.items() if status == "stale"} == set(moved) - {"inc/shared.inc"}
    names = ("hidden", "gone", "flag", "machine", "weak")
    unknown = ["classes/hidden.bbclass", *(f"recipes/{name}_1.0.bb" for name in names)]
    assert {name: alone[name, None] for name in unknown} == dict.fromkeys(unknown, "error")

    assert desk.build.run("devtool", "refresh-docker").returncode == 4
    pins = {**dict.fromkeys(moved, new), "recipes/weak_1.0.bb": desk.other}
    for name, text in FILES.items():
        assert desk.path(name).read_text() == desk.text(text, pins.get(name, old)), name
    assert not (desk.build.path / "workspace").exists()


@pytest.mark.release("scarthgap")
@pytest.mark.parametrize("sharing", ["other", "skipped"])
def test_a_recipe_that_is_not_named_keeps_its_pin(desk, sharing):
    old, new = desk.digests
    desk.fill(old)
    desk.registry.move_tag("team/app", "v1.0", new)
    names = [name for name in PAIR if name.endswith(("pair.inc", "named_1.0.bb", f"{sharing}_1.0.bb"))]
    try:
        for name in names:
            desk.build.bench.write(desk.path(name), desk.text(PAIR[name].replace("TAG", "app;tag=v2"), old))
            account.ordinary().own_folders(desk.layer)
        result = desk.build.run("devtool", "refresh-docker", "pair-named")
        assert result.returncode == 1 and "pair-" in result.output and "its own tag and pin" in result.output, result.output
        assert desk.path("inc/pair.inc").read_text() == desk.text(PAIR["inc/pair.inc"], old)
    finally:
        for name in names:
            desk.path(name).unlink(missing_ok=True)


@pytest.mark.release("scarthgap")
def test_commit_and_errors(desk):
    old, new = desk.digests
    desk.fill(old)
    desk.registry.move_tag("team/app", "v1.0", new)
    git = ("git", "-C", str(desk.layer))
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
        desk.build.run(*git, *arguments).ok()
    desk.build.run("bitbake-layers", "dockin-refresh", "--commit", "plain", "added").ok()
    log = desk.build.run(*git, "log", "--format=%s").output
    for name in ("plain", "added"):
        assert f"{name}: refresh v1.0 digest {old[7:14]} -> {new[7:14]}" in log
    assert "nobody" in desk.build.run("devtool", "refresh-docker", "nobody").failed("No recipe with images").output
    assert desk.build.run("bitbake-layers", "dockin-refresh", "--jobs", "0").returncode == 2
    assert desk.build.run("devtool", "refresh-docker", "--jobs", "0").returncode == 2
    plain = desk.build.run("bitbake-layers", "-q", "dockin-refresh", "--check", "plain")
    assert plain.returncode == 0, plain.output


@pytest.mark.release("scarthgap")
@pytest.mark.parametrize("command", [("devtool", "refresh-docker"), ("bitbake-layers", "dockin-refresh")],
                         ids=lambda command: command[0])
def test_half_of_the_registries_are_down(desk, command):
    """Exit code 4, and the pins of the others are written."""
    old, new = desk.digests
    desk.fill(old)
    with registries.Registry(desk.build.bench.root / f"{command[0]}-half") as second:
        assert push_versions(second) == [old, new]
        hosts = {"one": desk.registry.address, "two": second.address, "three": desk.down, "four": faults.closed_address()}
        paths = {name: desk.path(f"recipes/half-{name}_1.0.bb") for name in hosts}
        texts = {name: f'{HEAD}SRC_URI = "docker://{host}/team/app;tag=v1.0;digest={old}"\n' for name, host in hosts.items()}
        desk.registry.move_tag("team/app", "v1.0", new)
        try:
            for name, path in paths.items():
                desk.build.bench.write(path, texts[name])
            account.ordinary().own_folders(desk.layer)
            for options in (["--check"], []):
                report = desk.build.path / "half.json"
                result = desk.build.run(*command, *options, "half-*", "--json", "--output", str(report))
                assert result.returncode == 4, result.output
                found = json.loads(report.read_text())["images"]
                done = "stale" if options else "updated"
                assert {one["recipe"][5:]: one["status"] for one in found} == {
                    "one": done, "two": done, "three": "error", "four": "error"}
                assert {one["error"]["kind"] for one in found if one["error"]} == {"network"}
                written = new if not options else old
                for name, path in paths.items():
                    digest = written if name in ("one", "two") else old
                    assert path.read_text() == texts[name].replace(old, digest)
        finally:
            for path in paths.values():
                path.unlink(missing_ok=True)


@pytest.mark.release("scarthgap")
def test_pin_that_is_gone(desk):
    """Exit code 5, of both front-ends."""
    lost = images.index([images.image([images.layer({"lost": "one"})], "linux/amd64")])
    digest = desk.registry.push(lost, "team/lost", "v1")
    path = desk.path("recipes/lost_1.0.bb")
    text = f'{HEAD}SRC_URI = "docker://{desk.registry.address}/team/lost;tag=v1;digest={digest}"\n'
    try:
        desk.build.bench.write(path, text)
        desk.registry.delete_manifest("team/lost", digest)
        for command in (("devtool", "refresh-docker"), ("bitbake-layers", "dockin-refresh", "--check")):
            result = desk.build.run(*command, "lost")
            assert result.returncode == 5, result.output
        assert path.read_text() == text
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Demo:
    """A build with a copy of the layer, whose compose-example has its images in a registry on loopback."""

    build: oe.Build
    registry: registries.Registry
    folder: Path

    @property
    def recipe(self):
        return self.folder / "compose-example_1.0.bb"


@pytest.fixture
def demo(bench, tmp_path, request):
    name = request.node.originalname.replace("_", "-")
    layer = bench.copy_layer(name)
    folder = layer / "recipes-demo" / "dockin"
    with registries.Registry(tmp_path) as server:
        changes = {"docker.io/library/busybox": f"{server.address}/library/busybox",
                   "image: busybox": f"image: {server.address}/library/busybox"}
        recipe = folder / "compose-example_1.0.bb"
        for tag, entry in (("1.36.1", "probe"), ("1.37.0", "web"), ("1.38.0", "")):
            content = images.index([images.image([images.layer({"tag": tag})], "linux/amd64")])
            digest = server.push(content, "library/busybox", tag)
            pin = re.search(rf'SRC_URI.{entry}.sha256sum. = "(.*)"', recipe.read_text()) if entry else None
            if pin:
                changes[pin[1]] = digest[7:]
            changes[packages.unit(f"busybox:{tag}")] = packages.unit(f"{server.address}/library/busybox:{tag}")
        for path in (recipe, folder / "files" / "compose.yml", folder / "files" / "compose-example.service"):
            text = path.read_text()
            for old, new in changes.items():
                text = text.replace(old, new)
            bench.write(path, text)
        bench.account.own_folders(layer)
        yield Demo(bench.build(name, 'DOCKIN_TLS_VERIFY = "0"\nMACHINE = "qemux86-64"\n', layers=[layer]), server, folder)


def named(recipe):
    """Return the images of a recipe, as Docker and Compose name them."""
    return [image.source.reference.tagged.familiar for image in textreader.read(str(recipe)).images]


def test_the_compose_example_is_upgraded_and_built(demo):
    """The new tag is in the recipe, in its Compose file and in what its service requires, and BitBake packages that."""
    demo.build.run("devtool", "refresh-docker", "--upgrade", "minor", "compose-example").ok()
    names = named(demo.recipe)
    assert f"{demo.registry.address}/library/busybox:1.38.0" in names and len(set(names)) == 2
    demo.build.bitbake("compose-example").ok()
    deb, preload = (demo.build.deb(name) for name in ("compose-example", "compose-example-preload"))
    [compose] = [path for path in deb.files if path.endswith("/compose.yml")]
    [service] = [path for path in deb.files if path.endswith("/compose-example.service")]
    assert sorted(re.findall(r"image: (\S+)", deb.read(compose).decode())) == sorted(names)
    units = {packages.unit(name) for name in names}
    for key in ("Requires", "After"):
        lines = re.findall(rf"^{key}=(.*)", deb.read(service).decode(), re.MULTILINE)
        assert set(" ".join(lines).split()) == units | {"docker.service"}
    assert units <= {path.rpartition("/")[2] for path in preload.files}


@pytest.mark.release("wrynose")
def test_a_digest_in_the_compose_file_is_refreshed_and_built(demo):
    busybox = f"{demo.registry.address}/library/busybox"
    old = demo.registry.tag_digest("library/busybox", "1.37.0")
    compose = demo.folder / "files" / "compose.yml"
    compose.write_text(compose.read_text().replace("busybox:1.37.0", f"busybox:1.37.0@{old}"))
    demo.recipe.write_text(demo.recipe.read_text() + 'DOCKIN_LAYERS = "registry"\n')
    content = images.index([images.image([images.layer({"tag": "1.37.0 again"})], "linux/amd64")])
    new = demo.registry.push(content, "library/busybox", "1.37.0")
    demo.build.run("devtool", "refresh-docker", "compose-example").ok()
    demo.build.bitbake("compose-example").ok()
    deb = demo.build.deb("compose-example")
    [path] = [path for path in deb.files if path.endswith("/compose.yml")]
    assert re.findall(r"image: (\S+)", deb.read(path).decode()) == [f"{busybox}:1.37.0@{new}", f"{busybox}:1.36.1"]
    assert f"source_digest={new}" in deb.read(next(one for one in deb.files if one.endswith("1.37.0.image"))).decode()


def test_classes_that_leave_images_alone(release):
    """OE-core's, wherever it has them, assign nothing that recipes have their images from."""
    files = {path.stem: path for path in release.oecore.path.glob("meta/classes*/*.bbclass")}
    names = [name for name in yoctolayers.HARMLESS if not name.startswith("dockin")]
    assert len(names) > 5
    for name in names:
        path = str(files[name])
        text = recipefile.load(path)
        for statement in bitbaketext.statements(path, text):
            changed = {variable.partition(":")[0] for variable, _ in bitbaketext.changed(statement, text)}
            assert not changed & {"SRC_URI", "PV", "PN", "BPN", "P", "BP"}, f"{name}:{statement.line}"
