# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Stores of containerd that dockin writes, beside those that Docker makes of the same images, and Docker started on them.

Each with a containerd that Docker starts, and with one beside it, as systemd starts it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import pickle
import shutil
import stat
import subprocess
import tarfile
import time

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dockin.store import containerd, docker as store_docker, writer
from support import account, cache, docker, images, installed, layers, registry, snapshots, target, trees

EPOCH = 1_600_000_000
TREE = Path(__file__).resolve().parents[2]
HOUR = 3600 * 10**9
NAMESPACE = "moby"
APP, OTHER, PULLED = "app", "other", "pulled"


def name_of(case):
    return "team/" + case.replace(" ", "-").replace("'", "").lower() + ":1"


def write(root, made, namespaces=(NAMESPACE,)):
    make = functools.partial(containerd.ContainerdStore, byteorder="little", namespaces=namespaces)
    root.parent.mkdir(parents=True, exist_ok=True)
    writer.write(str(root), [writer.read_source(str(one.info)) for one in made], EPOCH, make_store=make)


def root_of(daemon):
    """Return the path of the containerd's root, as it is called from here."""
    place = "containerd" if daemon.system_containerd else "docker/containerd/daemon"
    return Path(f"/proc/{daemon.first}/root{daemon.directory}/data/{place}")


def quiesce(daemon):
    """End the daemons, with all that they have written on the disk."""
    daemon.run(["sync"])
    daemon.cut_power()


def ctr(daemon, *arguments, namespace=NAMESPACE):
    return daemon.run(["ctr", "--address", daemon.containerd_socket, "--namespace", namespace, *arguments]).stdout


ENGINES = {"own": False, "system": True} if cache.everything() else {"system": True}


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def engine(request):
    """A Docker with a containerd of its own, or with the system's."""
    with docker.start(kind=docker.CONTAINERD, system_containerd=request.param) as running:
        running.run(["ip", "link", "set", "lo", "up"])
        yield running


@pytest.fixture
def shelf(engine, busybox):
    return installed.Shelf(engine, busybox)


@dataclass
class Pair:
    """The same images in two stores of one file system."""

    tars: dict[str, list[images.Layer]]
    dockers: snapshots.Store
    ours: snapshots.Store
    started: int
    refused: set[str]


@pytest.fixture(scope="module")
def pair(engine):
    """All awkward images, loaded by Docker, and written by dockin beside it."""
    root = root_of(engine)
    started = time.time_ns()
    contents = {case: make() for case, make in {**layers.AWKWARD, **layers.BEYOND}.items()}
    made, refused = {}, set()
    for case, content in contents.items():
        one = installed.install(engine.directory / "archives", images.image(content), name_of(case))
        done = engine.run(["docker", "load", "--quiet", "--input", str(one.archive)], check=False)
        # Docker 29 takes that for no failure.
        if done.returncode or "Error unpacking" in done.stdout + done.stderr:
            refused.add(case)
            engine.docker("image", "rm", one.name, check=False)
        else:
            made[case] = one
    quiesce(engine)
    write(root.with_name("ours"), made.values())
    theirs, ours = (snapshots.read(path, NAMESPACE) for path in (root, root.with_name("ours")))
    yield Pair(contents, theirs, ours, started, refused)
    shutil.rmtree(root)
    shutil.rmtree(root.with_name("ours"))


def chains(content):
    found = []
    for layer in content:
        found.append(store_docker.chain_id(found[-1] if found else "", layer.diff_id))
    return found


@pytest.mark.parametrize("case", [*layers.AWKWARD, *layers.BEYOND])
def test_layers_are_as_containerd_unpacks_them(pair, case):
    if case in pair.refused:
        assert case in (*layers.BEYOND, *layers.LOOSE)
        return
    times: dict[bytes, int] = {}
    for chain in chains(pair.tars[case]):
        theirs, ours = pair.dockers.tree(chain), pair.ours.tree(chain)
        if case == "replaced entries" and b"e" in ours:
            # A directory in the place of a file of its own layer: hides what is below with dockin alone.
            ours[b"e"] = theirs[b"e"]
        assert ours == theirs
        for path, entry in theirs.items():
            # What containerd gave no time has the time of the load: here that of a lower layer, from which all else is.
            timeless = pair.started <= entry.mtime < pair.started + HOUR
            without = times.get(path, EPOCH * 10**9) if path and stat.S_ISDIR(entry.mode) else EPOCH * 10**9
            assert ours[path].mtime == (without if timeless else entry.mtime), path
        times.update({path: entry.mtime for path, entry in ours.items() if stat.S_ISDIR(entry.mode)})
        folders = pair.ours.folders[chain], pair.dockers.folders[chain]
        assert trees.entry(bytes(folders[0])) == trees.entry(bytes(folders[1]))
        assert trees.entry(bytes(folders[0] / "work")) == trees.entry(bytes(folders[1] / "work"))


def test_databases_are_as_docker_leaves_them(pair):
    ours, theirs = pair.ours, pair.dockers
    assert ours.images == theirs.images
    assert ours.snapshots == {chain: theirs.snapshots[chain] for chain in ours.snapshots}
    # Of a layer that several images have Docker has told the digest of what is in it now and then only.
    uncompressed = "containerd.io/uncompressed"
    for store in (ours, theirs):
        for one in store.blobs.values():
            one.get("labels", {}).pop(uncompressed, None)
    described = {digest: one.get("labels") or {} for digest, one in ours.blobs.items()}
    assert described == {digest: theirs.blobs[digest].get("labels") or {} for digest in ours.blobs}
    assert {key: one["size"] for key, one in ours.blobs.items()} == {key: theirs.blobs[key]["size"] for key in ours.blobs}
    assert ours.files == {digest: theirs.files[digest] for digest in ours.files}
    # The size is in blocks of ext4, of which large attributes take one of their own.
    for chain, one in ours.details.items():
        size = theirs.details[chain].pop("size") - one.pop("size")
        assert size in (0, 4096, 8192), chain
        assert one == theirs.details[chain]
    assert ours.modes == {**theirs.modes, "": 0o700}


@dataclass
class Prebuilt:
    """A Docker that was started on a store of dockin's."""

    daemon: docker.Daemon
    installed: dict[str, installed.Installed]
    contents: dict[str, list[images.Layer]]
    server: registry.Registry
    root: Path
    written: snapshots.Store
    """What it was before Docker started."""

    def ids(self):
        """Return the IDs of all images by name, as Docker lists them."""
        lines = self.daemon.docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return dict(line.split() for line in lines)

    def state(self):
        """Return the digests of blobs and the keys of snapshots that there are, and the snapshots' directories."""
        blobs = sorted(path.name for path in (self.root / snapshots.BLOBS).iterdir())
        keys = sorted(line.split()[0] for line in ctr(self.daemon, "snapshots", "ls").splitlines()[1:])
        return blobs, keys, sorted(path.name for path in (self.root / snapshots.SNAPSHOTTER / "snapshots").iterdir())


@pytest.fixture(scope="module")
def prebuilt(engine, pair, busybox, tmp_path_factory):
    """The awkward images, two that run, and one of a registry in the daemon's network."""
    folder = tmp_path_factory.mktemp("registry")
    base = images.Layer(busybox.tar, "gzip")
    pulled = images.image([base, images.layer({"word": "pulled\n"})], command=("cat", "/word"))
    updated = images.image([base, images.layer({"word": "updated\n"})], command=("cat", "/word"))
    with registry.Registry(folder) as server:
        server.push(images.index([pulled]), "team/app", "1")
        server.push(updated, "team/app", "2")
    with registry.Registry(folder, prefix=("nsenter", "--target", str(engine.first), "--net", "--")) as server:
        directory = engine.directory / "more"
        contents = dict(pair.tars)
        made = {case: installed.install(directory, images.image(layers_of), name_of(case))
                for case, layers_of in contents.items()}
        for word in (APP, OTHER):
            contents[word] = [busybox, images.layer({"word": f"{word}\n", "etc/.wh.group": "", "tmp/.wh..wh..opq": ""})]
            content = images.image(contents[word], command=("cat", "/word"))
            made[word] = installed.install(directory, content, name_of(word))
        contents[PULLED] = [busybox, images.layer({"word": "pulled\n"})]
        made[PULLED] = installed.install(
            directory, images.index([pulled]), f"{server.address}/team/app:1", layers="registry")
        root = root_of(engine)
        shutil.rmtree(root, ignore_errors=True)
        write(root, made.values())
        written = snapshots.read(root, NAMESPACE)
        engine.start()
        yield Prebuilt(engine, made, contents, server, root, written)


def expected(prebuilt):
    return {one.name: one.top_digest if case == PULLED else one.information.manifest_digest
            for case, one in prebuilt.installed.items()}


def read(prebuilt):
    """Return what is in the store when Docker has ended; it is started again."""
    quiesce(prebuilt.daemon)
    found = snapshots.read(prebuilt.root, NAMESPACE)
    prebuilt.daemon.start()
    return found


def test_a_pull_of_the_same_changes_nothing(prebuilt):
    prebuilt.daemon.docker("pull", prebuilt.installed[PULLED].name)
    assert replace(read(prebuilt), modes={}) == replace(prebuilt.written, modes={})


def test_docker_lists_what_was_written(prebuilt):
    assert prebuilt.ids() == expected(prebuilt)
    for case, one in prebuilt.installed.items():
        found = json.loads(prebuilt.daemon.docker("image", "inspect", one.name))[0]
        assert found["RootFS"]["Layers"] == [layer.diff_id for layer in prebuilt.contents[case]]
        assert found["RepoDigests"] == [f"{one.name.rpartition(':')[0]}@{expected(prebuilt)[one.name]}"]


def test_containerd_finds_them_whole(prebuilt):
    lines = ctr(prebuilt.daemon, "images", "check").splitlines()[1:]
    assert len(lines) == len(prebuilt.installed)
    for line in lines:
        assert "complete (" in line and line.split()[-1] == "true", line


def test_containers_see_the_merged_tree(prebuilt):
    before = prebuilt.state()
    for case in (APP, OTHER, PULLED):
        name = prebuilt.installed[case].name
        assert prebuilt.daemon.run_image(name) == case
        assert prebuilt.daemon.run_image(f"{name.rpartition(':')[0]}@{expected(prebuilt)[name]}") == case
    assert prebuilt.daemon.run_image(name_of(APP), "ls", "-A", "/etc", "/tmp").split() == [
        "/etc:", "hostname", "hosts", "mtab", "passwd", "resolv.conf", "/tmp:"]
    # Containers have been removed, which lets containerd look for what nothing refers to.
    assert prebuilt.state() == before


def test_docker_saves_the_very_layers(prebuilt):
    path = prebuilt.daemon.directory / "saved.tar"
    prebuilt.daemon.docker("save", "--output", str(path), name_of(APP), name_of(OTHER))
    with tarfile.open(path) as tar:
        for entry in json.load(tar.extractfile("manifest.json")):
            case = next(case for case in (APP, OTHER) if name_of(case) in entry["RepoTags"])
            assert [images.sha256(tar.extractfile(layer).read()) for layer in entry["Layers"]] == [
                layer.diff_id for layer in prebuilt.contents[case]]
    path.unlink()


def test_a_second_load_changes_nothing(prebuilt):
    before = prebuilt.ids(), prebuilt.state()[1:]
    for case in (APP, "whiteouts"):
        prebuilt.daemon.docker("load", "--input", str(prebuilt.installed[case].archive))
    assert (prebuilt.ids(), prebuilt.state()[1:]) == before


def test_the_preload_has_nothing_to_do(prebuilt, shelf):
    """Archives are flushed like loaded ones; a later image takes the place of the one that the build has written."""
    preload = target.Target(prebuilt.daemon, "dash")
    place = str(prebuilt.root)[len(f"/proc/{prebuilt.daemon.first}/root"):]
    environment = {"DOCKIN_CONTAINERD_ROOT": place}
    one = prebuilt.installed[APP]
    archive = one.archive.read_bytes()
    assert f"{one.name}: is loaded and recorded, nothing to do" in preload("load", "--flush", one.info, **environment)
    assert not one.archive.exists()
    one.archive.write_bytes(archive)
    before = prebuilt.ids()
    shelf.directory = one.info.parent
    later = shelf.install(shelf.image("later"), one.name)
    assert later.info == one.info
    output = preload("load", "--prune", later.info, **environment)
    assert "loaded in" in output
    # Before 28 Docker's containerd store drops an image with its name.
    assert ("removed its earlier image" in output) == prebuilt.daemon.kind.keeps_unnamed
    assert prebuilt.daemon.run_image(one.name) == shelf.output("later")
    # The very image again, but from its archive: it has to be proved like any.
    one.info.write_text(one.information.render())
    one.archive.write_bytes(archive)
    output = preload("load", "--prune", one.info, **environment)
    assert "loaded in" in output
    assert prebuilt.ids() == before
    prebuilt.daemon.run(["rm", "-r", str(prebuilt.daemon.data_root / "dockin")])
    assert "nothing to do" not in preload("load", one.info, **environment)


def test_pull_over_it(prebuilt):
    """What is there is up to date; of an update only what has changed is fetched."""
    one = prebuilt.installed[PULLED]
    before = prebuilt.ids(), prebuilt.state()[1:]
    assert prebuilt.server.blobs_of(lambda: prebuilt.daemon.docker("pull", one.name)) == set()
    assert (prebuilt.ids(), prebuilt.state()[1:]) == before
    updated = one.name[:-1] + "2"
    assert len(prebuilt.server.blobs_of(lambda: prebuilt.daemon.docker("pull", updated))) == 2  # config and upper layer
    assert prebuilt.daemon.run_image(updated) == "updated"
    assert prebuilt.daemon.run_image(one.name) == "pulled"
    prebuilt.daemon.docker("image", "rm", updated)
    assert (prebuilt.ids(), prebuilt.state()[1:]) == before


def test_images_are_removed_and_loaded_again(prebuilt):
    """What another image needs of their layers stays, all else goes."""
    one = prebuilt.installed[APP]
    before = prebuilt.state()
    base, top = chains(prebuilt.contents[APP])
    prebuilt.daemon.docker("image", "rm", one.name)
    _, keys, _ = prebuilt.state()
    assert keys == sorted({*before[1]} - {top}) and base in keys
    assert prebuilt.daemon.run_image(name_of(OTHER)) == OTHER
    prebuilt.daemon.docker("load", "--input", str(one.archive))
    assert prebuilt.state()[1] == before[1]
    assert prebuilt.daemon.run_image(one.name) == APP


def test_after_a_power_cut(prebuilt):
    prebuilt.daemon.cut_power()
    prebuilt.daemon.start()
    assert prebuilt.ids() == expected(prebuilt)
    assert prebuilt.daemon.run_image(name_of(OTHER)) == OTHER


def test_a_pull_leaves_the_same(prebuilt):
    """Where nothing is: the image, its blobs and their labels. After all that was done above the databases are sound."""
    one = prebuilt.installed[PULLED]
    before = prebuilt.written
    for name in prebuilt.ids():
        prebuilt.daemon.docker("image", "rm", name)
    assert [*prebuilt.state()] == [[], [], []]
    prebuilt.daemon.docker("pull", one.name)
    found = read(prebuilt)
    assert found.images == {one.name: before.images[one.name]}
    assert found.blobs == {digest: before.blobs[digest] for digest in found.blobs}
    assert len(found.blobs) == 5
    assert prebuilt.daemon.run_image(one.name) == "pulled"


def test_namespaces_of_containerd(engine, prebuilt):
    """For ctr, and as a CRI has them: each has its images, in the same directories, which go with the last."""
    quiesce(engine)
    shutil.rmtree(prebuilt.root)
    spaces = ("default", "k8s.io")
    write(prebuilt.root, [prebuilt.installed[APP], prebuilt.installed[PULLED]], spaces)
    engine.start()
    assert prebuilt.ids() == {}
    name = "docker.io/" + name_of(APP)
    folders = Path(prebuilt.root, snapshots.SNAPSHOTTER, "snapshots")
    assert len([*folders.iterdir()]) == 3
    for space in spaces:
        found = [line.split() for line in ctr(engine, "images", "check", namespace=space).splitlines()[1:]]
        names = [line[0] for line in found]
        # The CRI of a containerd names the images of its namespace by their IDs as well.
        named = {one for one in names if not one.startswith("sha256:")}
        assert named == {name, prebuilt.installed[PULLED].name}
        assert {line[-1] for line in found} == {"true"} and all("complete" in line for line in found)
        # A mount, as for a container, which ctr can't give the control groups of this test bed.
        engine.run(["mkdir", "-p", "/run/seen"])
        ctr(engine, "images", "mount", name, "/run/seen", namespace=space)
        assert engine.run(["cat", "/run/seen/word"]).stdout == f"{APP}\n"
        ctr(engine, "images", "unmount", "--rm", "/run/seen", namespace=space)
        ctr(engine, "images", "rm", "--sync", *names, namespace=space)
        assert not ctr(engine, "snapshots", "ls", namespace=space).splitlines()[1:]
        assert len([*folders.iterdir()]) == (3 if space == spaces[0] else 0)
    assert not [*Path(prebuilt.root, snapshots.BLOBS).iterdir()]


# Runs as an ordinary user under pseudo; arguments: root, information files.
UNDER_PSEUDO = """
import functools, pickle, sys
from pathlib import Path
from dockin.store import containerd, writer
from support import snapshots
root, *infos = sys.argv[1:]
make = functools.partial(containerd.ContainerdStore, byteorder="little", namespaces=["moby"])
writer.write(root, [writer.read_source(info) for info in infos], %d, make_store=make)
store = snapshots.read(Path(root), "moby")
sys.stdout.buffer.write(pickle.dumps(({chain: store.tree(chain) for chain in store.folders}, store.details, store.modes)))
"""


def test_under_pseudo_as_by_root(tmp_path):
    """As do_rootfs runs: also what is copied from lower layers."""
    pseudo = shutil.which("pseudo")
    if not pseudo:
        pytest.skip("unavailable: there is no pseudo on this machine: run `make setup`")
    user = account.ordinary()
    with contextlib.ExitStack() as stack:
        folder = user.temporary_folder("dockin-pseudo-")
        stack.callback(shutil.rmtree, folder)
        made = [installed.install(folder / "archives", images.image(make()), name_of(case))
                for case, make in layers.AWKWARD.items()]
        write(tmp_path / "store", made)
        store = snapshots.read(tmp_path / "store", NAMESPACE)
        for name in ("lib/dockin", "tests/support"):
            shutil.copytree(TREE / name, folder / name)
        environment = {"PATH": user.path(), "PSEUDO_LOCALSTATEDIR": str(folder / "pseudo"), "HOME": str(folder),
                       "PYTHONPATH": f"{folder}/lib:{folder}/tests", "PYTHONDONTWRITEBYTECODE": "1"}
        options = {"cwd": folder, "env": environment, "user": user.uid, "group": user.gid, "extra_groups": [], "timeout": 60}
        stack.callback(subprocess.run, [pseudo, "-S"], stderr=subprocess.DEVNULL, **options)
        argv = [pseudo, "python3", "-c", UNDER_PSEUDO % EPOCH, str(folder / "store"), *(str(one.info) for one in made)]
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, **options)
    found, details, modes = pickle.loads(done.stdout)
    assert {chain: seen_by_pseudo(tree) for chain, tree in found.items()} == {
        chain: seen_by_pseudo(store.tree(chain)) for chain in store.folders}
    assert (details, modes) == (store.details, store.modes)


def seen_by_pseudo(tree):
    """Return a tree without what Python can't see under pseudo: see test_dataroot.py."""
    return {path: replace(entry, device=entry.device & 0xFFFFFFFF,
                          xattrs=tuple((name, value[:128]) for name, value in entry.xattrs)) for path, entry in tree.items()}
