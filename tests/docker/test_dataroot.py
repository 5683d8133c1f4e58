# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Data-roots that dockin writes, beside those that Docker writes, and Docker started on them."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import subprocess
import tarfile
import time

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dockin.store import docker as store_docker, writer
from support import account, docker, helper, images, installed, layers, registry, rootfs, trees

DAEMONS = docker.CLASSICS
EPOCH = 1_600_000_000

TREE = Path(__file__).resolve().parents[2]
TAR_SECONDS = 120
HOUR = 3600 * 10**9


@dataclass
class Pair:
    """The same images in two data-roots of one file system."""

    kind: docker.Kind
    tars: dict[str, list[bytes]]
    dockers: trees.Root
    ours: trees.Root
    started: int
    refused: dict[str, str]
    """What Docker said of the images that it could not load."""


def name_of(case):
    return "team/" + case.replace(" ", "-").replace("'", "").lower() + ":1"


def install(daemon, content, name, **options):
    return installed.install(daemon.directory / "archives", images.image(content, **options), name)


def outside(daemon, path):
    """Return how a daemon's path is called from here."""
    return Path(f"/proc/{daemon.first}/root{path}")


@pytest.fixture(scope="module")
def pair(request):
    """All awkward images, loaded by a daemon of its own, and written by dockin beside it."""
    with docker.start(kind=request.param) as daemon:
        started = time.time_ns()
        made, tars, refused = {}, {}, {}
        for case, make in {**layers.AWKWARD, **layers.BEYOND}.items():
            content = make()
            one = install(daemon, content, name_of(case))
            done = daemon.run(["docker", "load", "--quiet", "--input", str(one.archive)], check=False)
            if done.returncode:
                refused[case] = done.stderr
            else:
                made[case], tars[case] = one, [layer.tar for layer in content]
        tree = outside(daemon, daemon.data_root.parent / "ours")
        writer.write(str(tree), [writer.read_source(str(one.info)) for one in made.values()], EPOCH)
        yield Pair(request.param, tars, trees.read(outside(daemon, daemon.data_root)), trees.read(tree), started, refused)


@dataclass
class Prebuilt:
    """A daemon that was started on a data-root of dockin's."""

    daemon: docker.Daemon
    installed: dict[str, installed.Installed]
    diff_ids: dict[str, list[str]]
    server: registry.Registry
    root: Path
    """The data-root, as it is called from here."""
    written: trees.Root
    """What it was before Docker started."""

    def names(self):
        """Return the IDs of all images by name, as Docker lists them."""
        lines = self.daemon.docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return dict(line.split() for line in lines)

    def inspect(self, name, template):
        return self.daemon.docker("image", "inspect", "--format", template, name)

    def save(self, *names):
        """Return the digests of the layers that "docker save" writes, by the image's name."""
        path = self.daemon.directory / "saved.tar"
        self.daemon.docker("save", "--output", str(path), *names)
        found = {}
        with tarfile.open(path) as tar:
            for entry in json.load(tar.extractfile("manifest.json")):
                digests = [images.sha256(tar.extractfile(layer).read()) for layer in entry["Layers"]]
                found.update(dict.fromkeys(entry["RepoTags"], digests))
        path.unlink()
        return found

    def layers(self):
        return sorted(path.name for path in (self.root / trees.STORE / "layerdb/sha256").iterdir())


PULLED, UPDATED, STEERED = "pulled", "updated", "steered"


@pytest.fixture(scope="module")
def prebuilt(request, busybox, tmp_path_factory):
    """The awkward images, images that run, and one of a registry in the daemon's network."""
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(docker.start(kind=request.param))
        daemon.stop()
        daemon.run(["ip", "link", "set", "lo", "up"])
        folder = tmp_path_factory.mktemp("registry")
        base = images.Layer(busybox.tar, "gzip")
        pulled = images.image([base, images.layer({"word": "pulled\n"})], command=("cat", "/word"))
        updated = images.image([base, images.layer({"word": "updated\n"})], command=("cat", "/word"))
        with registry.Registry(folder) as server:
            server.push(images.index([pulled]), "team/app", "1")
            server.push(updated, "team/app", "2")
        enter = ("nsenter", "--target", str(daemon.first), "--net", "--")
        server = stack.enter_context(registry.Registry(folder, prefix=enter))

        contents = {case: make() for case, make in {**layers.AWKWARD, **layers.BEYOND}.items()}
        made = {case: install(daemon, content, name_of(case)) for case, content in contents.items()}
        for word in ("app", "other"):
            contents[word] = [busybox, images.layer({"word": f"{word}\n", "etc/.wh.group": "", "tmp/.wh..wh..opq": ""})]
            made[word] = install(daemon, contents[word], name_of(word), command=("cat", "/word"))
        # Attributes by which overlayfs would hide what is below, look elsewhere, or take a file for a part of one.
        contents[STEERED] = [busybox, layers.layer(
            ("bin", {**layers.DIRECTORY, **layers.xattrs(trusted__overlay__opaque=b"y")}),
            ("word", layers.xattrs(trusted__overlay__metacopy=b"", user__overlay__metacopy=b""), b"steered\n"),
            ("tmp", {**layers.DIRECTORY, **layers.xattrs(trusted__overlay__redirect=b"/etc")}))]
        made[STEERED] = install(daemon, contents[STEERED], name_of(STEERED), command=("cat", "/word"))
        contents[PULLED] = [busybox, images.layer({"word": "pulled\n"})]
        made[PULLED] = installed.install(daemon.directory / "archives", images.index([pulled]),
                                         f"{server.address}/team/app:1", layers="registry")
        root = outside(daemon, daemon.data_root)
        shutil.rmtree(root)
        writer.write(str(root), [writer.read_source(str(one.info)) for one in made.values()], EPOCH)
        written = trees.read(root)
        daemon.start()
        diff_ids = {case: [layer.diff_id for layer in content] for case, content in contents.items()}
        yield Prebuilt(daemon, made, diff_ids, server, root, written)


def pytest_generate_tests(metafunc):
    for name in {"pair", "prebuilt"} & set(metafunc.fixturenames):
        metafunc.parametrize(name, DAEMONS, ids=str, indirect=True, scope="module")


def chains(diff_ids):
    found = []
    for diff_id in diff_ids:
        found.append(store_docker.chain_id(found[-1] if found else "", diff_id))
    return [chain[7:] for chain in found]


@pytest.mark.parametrize("case", layers.AWKWARD)
def test_layers_are_as_docker_unpacks_them(pair, case):
    if case in layers.LOOSE and pair.kind.is_strict:
        # KeyError: it was not loaded.
        with pytest.raises((AssertionError, KeyError)):
            compare_layers(pair, case)
    else:
        compare_layers(pair, case)


def compare_layers(pair, case):
    for chain in chains(map(images.sha256, pair.tars[case])):
        theirs, ours = pair.dockers.layers[chain], pair.ours.layers[chain]
        assert ours.files == theirs.files
        for path, entry in theirs.files.items():
            # What Docker gave no time has the time of the load.
            timeless = pair.started <= entry.mtime < pair.started + HOUR
            expected = EPOCH * 10**9 if timeless else entry.mtime
            assert ours.files[path].mtime == expected, path
        assert ours.notes == theirs.notes
        assert ours.home == theirs.home
        if case not in layers.OTHER_NOTES:
            assert ours.split == theirs.split


def test_everything_else_is_as_docker_notes_it(pair):
    # Of those that it refused Docker has the base.
    assert pair.ours.layers.keys() == pair.dockers.layers.keys()
    assert pair.ours.configs == pair.dockers.configs
    assert {**pair.ours.modes, "": 0o710} == pair.dockers.modes
    # Docker forgets the digests when it loads; those of a pull are compared below.
    assert {name: value for name, value in pair.ours.names.items() if "@" not in name} == pair.dockers.names
    assert len(pair.ours.names) == 2 * len(pair.dockers.names)


def test_what_docker_can_not_load(pair):
    """Those images are among the prebuilt ones, which are listed, saved and run."""
    assert {*pair.refused} == {*layers.BEYOND, *(("ways up", "through links") if pair.kind.is_strict else ())}


def expected(prebuilt):
    return {one.name: one.config_digest for one in prebuilt.installed.values()}


def test_docker_lists_what_was_written(prebuilt):
    assert prebuilt.names() == expected(prebuilt)
    for case, one in prebuilt.installed.items():
        assert json.loads(prebuilt.inspect(one.name, "{{json .RootFS.Layers}}")) == prebuilt.diff_ids[case]
        assert prebuilt.inspect(one.name, "{{.RepoDigests}}") == f"[{one.name.rpartition(':')[0]}@{one.top_digest}]"


def test_docker_saves_the_very_layers(prebuilt):
    saved = prebuilt.save(*expected(prebuilt))
    assert saved == {one.name: prebuilt.diff_ids[case] for case, one in prebuilt.installed.items()}


def test_containers_see_the_merged_tree(prebuilt):
    for case in ("app", "other"):
        name = name_of(case)
        assert prebuilt.daemon.run_image(name) == case
        assert prebuilt.daemon.run_image(name, "ls", "-A", "/etc", "/tmp").split() == [
            "/etc:", "hostname", "hosts", "mtab", "passwd", "resolv.conf", "/tmp:"]
        pinned = f"{name.rpartition(':')[0]}@{prebuilt.installed[case].top_digest}"
        assert prebuilt.daemon.run_image(pinned) == case


def test_an_image_does_not_steer_overlayfs(prebuilt):
    assert prebuilt.daemon.run_image(name_of(STEERED)) == "steered"
    assert prebuilt.daemon.run_image(name_of(STEERED), "ls", "-A", "/tmp") == ".keep"


def test_history_and_size(prebuilt):
    name = name_of("app")
    assert prebuilt.daemon.docker("history", "--format", "{{.CreatedBy}}", name).splitlines() == [
        "dockin test layer 1", "dockin test layer 0"]
    size = sum(int(Path(prebuilt.root, trees.STORE, "layerdb/sha256", chain, "size").read_text())
               for chain in chains(prebuilt.diff_ids["app"]))
    assert int(prebuilt.inspect(name, "{{.Size}}")) == size > 1_000_000


def test_the_preload_has_nothing_to_do(prebuilt):
    """The records are what its own shell writes, and archives are flushed like loaded ones."""
    command = helper.write(Path(prebuilt.daemon.directory))

    def preload(*arguments):
        return prebuilt.daemon.run(["/bin/busybox", "sh", str(command), "load", *map(str, arguments)]).stdout.splitlines()

    one = prebuilt.installed["app"]
    archive = one.archive.read_bytes()
    assert preload("--flush", one.info)[0] == f"{one.name}: is loaded and recorded, nothing to do"
    assert not one.archive.exists()
    one.archive.write_bytes(archive)
    record = Path(prebuilt.root, "dockin", one.info.stem)
    ours = record.read_text()
    record.unlink()
    assert not any("loaded in" in line for line in preload(one.info))
    assert record.read_text() == ours


def test_a_second_load_changes_nothing(prebuilt):
    before = prebuilt.layers(), prebuilt.names()
    for case in ("app", "whiteouts"):
        prebuilt.daemon.docker("load", "--input", str(prebuilt.installed[case].archive))
    assert (prebuilt.layers(), prebuilt.names()) == before


def test_images_are_built_on_it(prebuilt):
    folder = prebuilt.daemon.directory / "build"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(f"FROM {name_of('app')}\nRUN cat /word /word > /twice && rm /etc/passwd\n")
    argv = ["docker", "build", "--network", "none", "--tag", "built", str(folder)]
    prebuilt.daemon.run(argv, env={"DOCKER_BUILDKIT": "0"})
    assert prebuilt.daemon.run_image("built", "sh", "-c", "cat /twice; ls /etc/passwd 2>&1; true") == (
        "app\napp\nls: /etc/passwd: No such file or directory")
    *below, _ = prebuilt.save("built")["built:latest"]
    assert below == prebuilt.diff_ids["app"]
    prebuilt.daemon.docker("image", "rm", "built")
    assert prebuilt.names() == expected(prebuilt)


def test_images_are_removed_and_loaded_again(prebuilt):
    """What another image needs of their layers stays, all else goes."""
    one, other = prebuilt.installed["app"], prebuilt.installed["other"]
    base, app = chains(prebuilt.diff_ids["app"])
    before = prebuilt.layers()
    cache = store_docker.cache_id("sha256:" + app)
    assert (prebuilt.root / "overlay2" / cache).exists()
    prebuilt.daemon.docker("image", "rm", one.name)
    assert prebuilt.layers() == sorted({*before} - {app})
    assert not (prebuilt.root / "overlay2" / cache).exists()
    assert not (prebuilt.root / "overlay2/l" / store_docker.link_id("sha256:" + app)).is_symlink()
    assert prebuilt.daemon.run_image(other.name) == "other"
    prebuilt.daemon.docker("load", "--input", str(one.archive))
    assert prebuilt.layers() == before
    assert prebuilt.daemon.run_image(one.name) == "app"


def test_pull_over_it(prebuilt):
    """What is there is up to date; of an update only what has changed is fetched."""
    one = prebuilt.installed[PULLED]
    before = prebuilt.layers(), prebuilt.names()
    assert prebuilt.server.blobs_of(lambda: prebuilt.daemon.docker("pull", one.name)) == set()
    assert (prebuilt.layers(), prebuilt.names()) == before
    updated = one.name[:-1] + "2"
    blobs = prebuilt.server.blobs_of(lambda: prebuilt.daemon.docker("pull", updated))
    assert len(blobs) == 2  # config and upper layer
    assert prebuilt.daemon.run_image(updated) == "updated"
    assert prebuilt.daemon.run_image(one.name) == "pulled"
    prebuilt.daemon.docker("image", "rm", updated)
    assert (prebuilt.layers(), prebuilt.names()) == before


def test_a_pull_leaves_the_same_notes(prebuilt):
    """Names with digests, and the layers' digests: written by Docker, after the image was removed and pulled."""
    one = prebuilt.installed[PULLED]
    prebuilt.daemon.docker("image", "rm", one.name)
    distribution = prebuilt.root / trees.STORE / "distribution"
    shutil.rmtree(distribution)
    distribution.mkdir(mode=0o700)
    prebuilt.daemon.docker("pull", one.name)
    after = trees.read(prebuilt.root)
    assert after.distribution == prebuilt.written.distribution
    assert {name: after.names[name] for name in prebuilt.written.names if name.startswith("127.")} == {
        one.name: one.config_digest, f"{one.name[:-2]}@{one.top_digest}": one.config_digest}
    # Docker has opened the top for those who may pass.
    assert prebuilt.written.modes[""] == 0o700
    assert after.modes == {**prebuilt.written.modes, "": 0o710}


def test_after_a_restart(prebuilt):
    prebuilt.daemon.stop()
    prebuilt.daemon.start()
    assert prebuilt.names() == expected(prebuilt)
    assert prebuilt.save(*expected(prebuilt)) == {
        one.name: prebuilt.diff_ids[case] for case, one in prebuilt.installed.items()}
    for case in ("app", "other"):
        assert prebuilt.daemon.run_image(name_of(case)) == case


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """A layer's tar with a whole Debian, some hundred MB; not in memory."""
    path = tmp_path_factory.mktemp("debian") / "layer.tar"
    root = rootfs.debian(rootfs.NEWER)
    argv = ["tar", "-c", "--xattrs", "--xattrs-include=*", "--format=posix", "--pax-option=delete=ctime", "-f", path, "."]
    subprocess.run(argv, cwd=root, check=True, timeout=TAR_SECONDS)
    yield path
    path.unlink()


@pytest.mark.parametrize("kind", [docker.NEWER_CLASSIC], ids=str)
def test_a_whole_system(kind, debian, tmp_path):
    one = installed.install_layers(tmp_path, [debian], "team/debian:1")
    with docker.start(kind=kind, data_size="3g") as daemon:
        started = time.time_ns()
        archive = shutil.move(one.archive, daemon.directory)
        daemon.docker("load", "--input", str(archive))
        theirs = trees.read(outside(daemon, daemon.data_root))
        root = outside(daemon, daemon.data_root.parent / "ours")
        writer.write(str(root), [writer.read_source(str(one.info))._replace(archive=archive)], EPOCH)
        ours = trees.read(root)
    assert ours.layers == theirs.layers
    (layer,), (same,) = ours.layers.values(), theirs.layers.values()
    assert len(layer.files) > 5000
    wrong = {path for path, entry in layer.files.items() if entry.mtime != same.files[path].mtime}
    assert wrong == {b""}  # no entry but "./", which Docker passes over
    assert started <= same.files[b""].mtime


# Runs as an ordinary user under pseudo; arguments: data-root, information files.
UNDER_PSEUDO = """
import os, pickle, sys
from pathlib import Path
from dockin.store import writer as dataroot
from support import trees
root, *infos = sys.argv[1:]
dataroot.write(root, [dataroot.read_source(info) for info in infos], %d)
sys.stdout.buffer.write(pickle.dumps(trees.read(Path(root))))
"""


def test_under_pseudo_as_by_root(tmp_path):
    """As do_rootfs runs: an ordinary user, for whom pseudo keeps owners, devices and attributes."""
    pseudo = shutil.which("pseudo")
    if not pseudo:
        pytest.skip("unavailable: there is no pseudo on this machine: run `make setup`")
    user = account.ordinary()
    with contextlib.ExitStack() as stack:
        folder = user.temporary_folder("dockin-pseudo-")
        stack.callback(shutil.rmtree, folder)
        infos = [installed.install(folder / "archives", images.image(make()), name_of(case)).info
                 for case, make in layers.AWKWARD.items()]
        writer.write(str(tmp_path / "docker"), [writer.read_source(str(info)) for info in infos], EPOCH)
        for name in ("lib/dockin", "tests/support"):
            shutil.copytree(TREE / name, folder / name)
        environment = {"PATH": user.path(), "PSEUDO_LOCALSTATEDIR": str(folder / "pseudo"), "HOME": str(folder),
                       "PYTHONPATH": f"{folder}/lib:{folder}/tests", "PYTHONDONTWRITEBYTECODE": "1"}
        options = {"cwd": folder, "env": environment, "user": user.uid, "group": user.gid, "extra_groups": [], "timeout": 60}
        stack.callback(subprocess.run, [pseudo, "-S"], stderr=subprocess.DEVNULL, **options)
        argv = [pseudo, "python3", "-c", UNDER_PSEUDO % EPOCH, str(folder / "docker"), *map(str, infos)]
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, **options)
    assert seen_by_pseudo(pickle.loads(done.stdout)) == seen_by_pseudo(trees.read(tmp_path / "docker"))


def seen_by_pseudo(root):
    """Return a data-root without what Python can't see under pseudo.

    pseudo's getxattr() gives no ERANGE, so Python reads 128 bytes and takes what its memory holds for the rest; and a device
    number of 32 bits, the kernel's, comes with a sign. What is stored is right: mke2fs asks for the size first.
    """
    for layer in root.layers.values():
        layer.files = {
            path: replace(entry, device=entry.device & 0xFFFFFFFF,
                          xattrs=tuple((name, value[:128]) for name, value in entry.xattrs))
            for path, entry in layer.files.items()}
    return root
