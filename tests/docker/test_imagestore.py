# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Additional image stores that dockin writes, beside those that Podman writes, and Podman on them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time

from dataclasses import dataclass
from pathlib import Path

import pytest

from dockin.store import podman as store_podman, writer
from support import docker, images, installed, layers, podman, target

EPOCH = 1_600_000_000
HOUR = 3600 * 10**9
# What Podman does not load, and dockin writes: among others attributes of devices and links.
REFUSED = {"attributes", "attributes of links", *layers.BEYOND}


def name_of(case):
    return "team/" + case.replace(" ", "-").replace("'", "").lower() + ":1"


def install(daemon, content, name, **options):
    made = installed.install(daemon.directory / "archives", content, name, **options)
    made.rewrite(runtime="podman")
    return made


def outside(daemon, path):
    """Return how a daemon's path is called from here."""
    return Path(f"/proc/{daemon.first}/root{path}")


@dataclass
class Pair:
    """The same images in two stores of one file system."""

    tars: dict[str, list[bytes]]
    podmans: podman.Store
    ours: podman.Store
    started: int
    refused: dict[str, str]
    """What Podman said of the images that it could not load."""


@pytest.fixture(scope="module")
def beside():
    """The system with Podman."""
    with docker.start(kind=docker.CONTAINERD) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def pair(beside):
    engine = podman.Podman(beside)
    started = time.time_ns()
    made, tars, refused = {}, {}, {}
    for case, make in {**layers.AWKWARD, **layers.BEYOND}.items():
        content = make()
        one = install(beside, images.image(content), name_of(case))
        done = beside.run(["podman", "load", "--quiet", "--input", str(one.archive)], check=False)
        if done.returncode:
            refused[case] = done.stderr
        else:
            made[case], tars[case] = one, [layer.tar for layer in content]
    base, top = images.busybox_layer("gzip"), images.layer({"word": "hello\n"}, "zstd")
    registrys = {"manifest": images.image([base, top]), "index": images.index([images.image([base, top, top])])}
    for case, content in registrys.items():
        made[case] = install(beside, content, name_of(case), layers="registry")
        tars[case] = []
        engine("load", "--input", str(made[case].archive))
    tree = outside(beside, beside.data_root.parent / "ours")
    writer.write(str(tree), [writer.read_source(str(one.info)) for one in made.values()], EPOCH)
    return Pair(tars, podman.read(outside(beside, engine.root)), podman.read(tree), started, refused)


def ids(tars):
    found = []
    for tar in tars:
        found.append(store_podman.OverlayStore.layer_id(found[-1] if found else "", images.sha256(tar)))
    return found


@pytest.mark.parametrize("case", [case for case in layers.AWKWARD if case not in REFUSED])
def test_layers_are_as_podman_unpacks_them(pair, case):
    for layer in ids(pair.tars[case]):
        theirs, ours = pair.podmans.layers[layer], pair.ours.layers[layer]
        assert ours.files == theirs.files
        for path, entry in theirs.files.items():
            timeless = pair.started <= entry.mtime < pair.started + HOUR
            expected = EPOCH * 10**9 if timeless else entry.mtime
            assert ours.files[path].mtime == expected, path
        assert ours.notes == theirs.notes
        # Podman before 5.8 does not know that file.
        expected = {**theirs.home, **({"lower-layers": theirs.home["lower"]} if "lower" in theirs.home else {})}
        assert ours.home == expected and theirs.home.get("lower-layers") in (None, expected.get("lower-layers"))
        if case not in layers.OTHER_NOTES:
            assert ours.split == theirs.split


def test_what_podman_can_not_load(pair):
    assert {*pair.refused} == REFUSED


def test_everything_else_is_as_podman_notes_it(pair):
    assert pair.ours.layers.keys() == pair.podmans.layers.keys()
    assert pair.ours.images == pair.podmans.images
    assert pair.ours.documents == pair.podmans.documents
    # Podman 5.8 and later open a directory, in one that is closed.
    assert pair.podmans.modes["overlay"] in (0o700, 0o755) and pair.podmans.modes[""] == 0o700
    assert pair.ours.modes == {**pair.podmans.modes, "overlay": 0o700}


@dataclass
class Prebuilt:
    """Podman with an empty store of its own, and one of dockin's on a read-only file system."""

    engine: podman.Podman
    place: str
    installed: dict[str, installed.Installed]
    diff_ids: dict[str, list[str]]

    def listed(self):
        """Return the IDs of all images by name, and what is read-only."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}} {{.ReadOnly}}"
        lines = self.engine("image", "ls", "--no-trunc", "--format", form).splitlines()
        return {name: (image, read_only) for name, image, read_only in map(str.split, lines)}

    def own(self):
        """Return how many layers Podman's own store has."""
        found = self.engine.shell(f"cat {self.engine.root}/overlay-layers/layers.json 2>/dev/null || echo '[]'")
        return len(json.loads(found))

    def save(self, name):
        """Return the digests of the layers that "podman save" writes."""
        path = self.engine.daemon.directory / "saved.tar"
        self.engine("save", "--quiet", "--output", str(path), name)
        with tarfile.open(path) as tar:
            [entry] = json.load(tar.extractfile("manifest.json"))
            digests = [images.sha256(tar.extractfile(layer).read()) for layer in entry["Layers"]]
        path.unlink()
        return digests


@pytest.fixture(scope="module", params=["squashfs", "ext4"])
def prebuilt(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    maker = {"squashfs": ["mksquashfs", "{tree}", "{image}", "-quiet", "-no-progress"],
             "ext4": ["mkfs.ext4", "-q", "-b", "4096", "-i", "4096", "-d", "{tree}", "{image}", "64m"]}[request.param]
    if not shutil.which(maker[0]):
        pytest.skip(f"unavailable: there is no {maker[0]} on this machine: run `make setup`")
    with docker.start(kind=docker.CONTAINERD) as daemon:
        contents = {case: images.image(make()) for case, make in {**layers.AWKWARD, **layers.BEYOND}.items()}
        base = images.busybox_layer("gzip")
        for word in ("app", "other"):
            top = images.layer({"word": f"{word}\n", "etc/.wh.group": "", "tmp/.wh..wh..opq": ""}, "gzip")
            contents[word] = images.image([base, top], command=("cat", "/word"))
        made = {case: install(daemon, content, name_of(case)) for case, content in contents.items()}
        index = images.index([contents["app"]])
        made["pinned"] = install(daemon, index, "registry.example.com/team/app:1", layers="registry")
        old_form = images.image([base, images.layer({"word": "old\n"}, "gzip")], form="docker")
        made["old form"] = install(daemon, old_form, "registry.example.com/team/old:1", layers="registry")
        tree, image = folder / "tree", folder / "image"
        writer.write(str(tree), [writer.read_source(str(one.info)) for one in made.values()], EPOCH)
        argv = [word.format(tree=tree, image=image) for word in maker]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=60)
        place = f"{daemon.directory}/prebuilt"
        daemon.run(["mkdir", place])
        shutil.move(image, daemon.directory / "store.image")
        daemon.run(["mount", "-o", "ro,loop", f"{daemon.directory}/store.image", place])
        diff_ids = {case: json.loads(content.config.data)["rootfs"]["diff_ids"] for case, content in contents.items()}
        yield Prebuilt(podman.Podman(daemon, [place]), place, made, diff_ids)
        daemon.run(["umount", place])


def test_podman_lists_what_was_written(prebuilt):
    expected = {one.information.reference: (one.information.image_id, "true") for one in prebuilt.installed.values()}
    assert prebuilt.listed() == expected
    for one in prebuilt.installed.values():
        assert f"sha256:{prebuilt.engine('image', 'inspect', '--format', '{{.Id}}', one.name)}" == one.information.image_id
    pinned = prebuilt.installed["pinned"]
    name = f"{pinned.name.rpartition(':')[0]}@{pinned.top_digest}"
    assert f"sha256:{prebuilt.engine('image', 'inspect', '--format', '{{.Id}}', name)}" == pinned.information.image_id
    assert "dockin test layer 1" in prebuilt.engine("history", "--format", "{{.CreatedBy}}", "--no-trunc", name_of("app"))
    assert prebuilt.own() == 0


def test_podman_saves_the_very_layers(prebuilt):
    for case, diff_ids in prebuilt.diff_ids.items():
        assert prebuilt.save(name_of(case)) == diff_ids, case


def test_images_are_mounted(prebuilt):
    for word in ("app", "other"):
        assert prebuilt.engine.mounted(name_of(word), "cat word; ls -A tmp etc").split() == [
            word, "etc:", "passwd", "tmp:"]
    assert prebuilt.engine.mounted(prebuilt.installed["old form"].name, "cat word") == "old"
    assert prebuilt.own() == 0


def test_a_second_load_copies_nothing(prebuilt):
    one = prebuilt.installed["app"]
    prebuilt.engine("load", "--quiet", "--input", str(one.archive))
    assert prebuilt.own() == 0
    assert prebuilt.listed()[one.information.reference][0] == one.information.image_id


def test_layers_serve_other_images(prebuilt):
    """Of an image that is loaded only what the store doesn't have goes to Podman's own; one can be built on it, too."""
    base = images.busybox_layer("gzip")
    more = install(prebuilt.engine.daemon, images.image([base, images.layer({"word": "more\n"})]), "team/more:1")
    prebuilt.engine("load", "--quiet", "--input", str(more.archive))
    assert prebuilt.own() == 1
    assert prebuilt.engine.mounted(more.name, "cat word") == "more"
    folder = prebuilt.engine.daemon.directory / "build"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {name_of('app')}\nCOPY Dockerfile /word\n")
    prebuilt.engine("build", "--quiet", "--network", "none", "--tag", "built", str(folder))
    assert prebuilt.engine.mounted("built", "head -c 4 word") == "FROM"
    prebuilt.engine("image", "rm", "built", more.name)
    assert prebuilt.own() == 0


def test_a_name_that_moves_and_comes_back(prebuilt):
    one, other = prebuilt.installed["app"], prebuilt.installed["other"]
    prebuilt.engine("tag", other.information.image_id[7:], one.information.reference)
    assert prebuilt.engine.mounted(one.name, "cat word") == "other"
    prebuilt.engine("tag", one.information.image_id[7:], one.information.reference)
    assert prebuilt.engine.mounted(one.name, "cat word") == "app"
    assert prebuilt.own() == 0


def test_the_preload_has_nothing_to_do(prebuilt):
    """What the build wrote is recorded in the store, and comes back under a name that went to another image."""
    daemon, one, other = prebuilt.engine.daemon, prebuilt.installed["app"], prebuilt.installed["other"]
    command = target.Target(daemon, "busybox")

    def preload(*arguments, **options):
        return command(*arguments, DOCKIN_IMAGE_STORE=prebuilt.place, **options)

    archive = one.archive.read_bytes()
    output = preload("load", "--flush", "--prune", one.info, other.info)
    assert output.count("is loaded and recorded, nothing to do") == 2 and "flushed the archive" in output
    assert not one.archive.exists()
    prebuilt.engine("tag", other.information.image_id[7:], one.information.reference)
    assert '"state": "other"' in preload("status", "--json", one.info, status=target.FAILED)
    # Nothing is left to load it from.
    assert "is the image of an earlier time again" in preload("load", "--flush", "--prune", one.info)
    assert prebuilt.engine.mounted(one.name, "cat word") == "app"
    assert "nothing to do" in preload("load", "--flush", "--prune", one.info)
    assert '"state": "loaded"' in preload("status", "--json", one.info)
    # A store that Podman does not know of says nothing.
    one.archive.write_bytes(archive)
    prebuilt.engine.shell("sed -i.old /additional/d /etc/containers/storage.conf")
    assert "loaded in" in preload("load", one.info)
    assert prebuilt.own() == 2
    prebuilt.engine("image", "rm", one.name)
    prebuilt.engine.shell("mv /etc/containers/storage.conf.old /etc/containers/storage.conf")


def test_a_newer_image_of_a_package_and_the_way_back(prebuilt):
    """As an update of a root file system, and its rollback, leave the store behind."""
    daemon, one = prebuilt.engine.daemon, prebuilt.installed["other"]
    command = target.Target(daemon, "dash")
    options = ("load", "--prune", "--keep-previous")
    newer = installed.install(daemon.directory / "newer", images.image(
        [images.busybox_layer("gzip"), images.layer({"word": "newer\n"})]), one.name)
    newer.rewrite(runtime="podman")
    for made, text in ((newer, "loaded in"), (one, "of an earlier time again"), (newer, "of an earlier time again"),
                       (one, "of an earlier time again")):
        assert text in command(*options, made.info, DOCKIN_IMAGE_STORE=prebuilt.place)
        assert prebuilt.engine.mounted(one.name, "cat word") == ("newer" if made is newer else "other")
        assert "nothing to do" in command(*options, made.info, DOCKIN_IMAGE_STORE=prebuilt.place)
