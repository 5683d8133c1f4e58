# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The same archives and the same command with Podman and with containerd alone (ctr), in place of Docker."""

from __future__ import annotations

import json
import time

import pytest

from dockin.image import archive
from support import docker, images, podman
from support.installed import COMPRESSIONS, Shelf
from support.target import FAILED, NO_ARCHIVE, NO_DOCKER, NO_SPACE, Target


def reboot(daemon):
    """Boot again, with all on the disk."""
    daemon.run(["sync"])
    daemon.cut_power()
    # What is in memory, such as Podman's locks; cut_power() keeps it.
    daemon.run(["sh", "-c", "rm -rf /run/containers /run/libpod /dev/shm/libpod*"])
    daemon.start()


class Podman(podman.Podman):
    """What the tests ask of Podman itself."""

    name = "podman"

    def id(self, installed):
        return installed.information.image_id

    def read(self, reference):
        """Return the file /word of an image."""
        return self.mounted(reference, "cat word")

    def remove(self, reference):
        self("image", "rm", reference)

    def tag(self, reference, other):
        self("tag", reference, other)

    def ids(self):
        listed = self("image", "ls", "--all", "--quiet", "--no-trunc").split()
        return {f"sha256:{found.removeprefix('sha256:')}" for found in listed}


class Containerd:
    """What the tests ask of containerd itself, by ctr."""

    name = "containerd"

    def __init__(self, daemon):
        self.daemon = daemon
        self.root = f"{daemon.data_root}/containerd/daemon"
        self.ctr = ["ctr", "--address", daemon.containerd_socket]

    def id(self, installed):
        return installed.information.manifest_digest

    def read(self, reference):
        place = f"{self.daemon.directory}/mounted"
        mount = f"mkdir -p {place} && {' '.join(self.ctr)} images mount --rw {reference} {place} >/dev/null"
        unmount = f"{' '.join(self.ctr)} images unmount --rm {place} >/dev/null"
        return self.daemon.run(["sh", "-c", f"{mount} && cat {place}/word && {unmount}"]).stdout.strip()

    def remove(self, reference):
        self.daemon.run([*self.ctr, "images", "rm", "--sync", reference])

    def tag(self, reference, other):
        self.daemon.run([*self.ctr, "images", "tag", "--force", reference, other])

    def ids(self):
        listed = self.daemon.run(["sh", "-c", f"{' '.join(self.ctr)} images ls | tail -n +2"]).stdout.splitlines()
        return {line.split()[2] for line in listed}


RUNTIMES = (Podman, Containerd)


@pytest.fixture(scope="module", params=RUNTIMES, ids=lambda kind: kind.name)
def engine(request):
    # containerd is the one that Docker starts, of which Docker uses another namespace.
    with docker.start(kind=docker.CONTAINERD) as daemon:
        yield request.param(daemon)


class Bench:
    """The command for one runtime, and images for it."""

    def __init__(self, engine, busybox):
        self.engine = engine
        self.shelf = Shelf(engine.daemon, busybox)
        self.target = Target(engine.daemon, "busybox" if engine.name == "podman" else "dash")

    def install(self, word="hello", tag="1", **options):
        content = self.shelf.image(word, **({"compression": "gzip"} if "layers" in options else {}))
        installed = self.shelf.install(content, self.shelf.name(tag), **options)
        installed.info.write_text(installed.info.read_text() + f"runtime={self.engine.name}\n")
        return installed

    def __call__(self, *arguments, **options):
        return self.target(*arguments, DOCKIN_CONTAINERD_ROOT=f"{self.engine.daemon.data_root}/containerd/daemon", **options)

    def read(self, installed):
        return self.engine.read(installed.information.reference)


@pytest.fixture
def bench(engine, busybox):
    return Bench(engine, busybox)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_is_loaded_recorded_and_flushed(bench, engine, compression):
    installed = bench.install(compression=compression)
    output = bench("load", "--flush", installed.info)
    assert "loaded in" in output and not installed.archive.exists()
    assert bench.read(installed) == bench.shelf.output()
    assert engine.id(installed) in engine.ids()
    record = f"{engine.root}/dockin/{installed.info.stem}"
    assert f"id={engine.id(installed)}\n" in engine.daemon.run(["cat", record]).stdout
    assert bench("load", "--flush", installed.info) == f"{installed.name}: is loaded and recorded, nothing to do\n"
    state = json.loads(bench("status", "--json", installed.info))["images"][0]
    assert (state["runtime"], state["state"], state["recorded"]) == (engine.name, "loaded", True)
    # Docker has nothing of it.
    assert engine.daemon.docker("image", "ls", "--quiet", installed.name) == ""


def test_an_image_without_layers(bench, engine):
    bench("load", bench.install(tag="other").info)
    content = images.image([], labels={"number": f"{bench.shelf.number}"})
    installed = bench.shelf.install(content, bench.shelf.name("none"))
    installed.rewrite(runtime=engine.name)
    output = bench("load", installed.info)
    assert "loaded in" in output and "damaged" not in output
    assert bench("load", installed.info) == f"{installed.name}: is loaded and recorded, nothing to do\n"


def test_the_registrys_layers(bench):
    installed = bench.install(layers=archive.REGISTRY)
    bench("load", installed.info)
    assert bench.read(installed) == bench.shelf.output()
    assert "nothing to do" in bench("load", installed.info)


@pytest.mark.parametrize("engine", [Containerd], ids=["containerd"], indirect=True)
def test_an_index_of_which_only_another_platform_is_there(bench, engine, monkeypatch):
    """Somebody has pulled the image for another machine: the name has the index's digest, and not the wanted image."""
    here, other = images.host_architecture(), "linux/s390x"
    layers = [images.Layer(bench.shelf.busybox.tar, "gzip"), images.layer({"word": f"{bench.shelf.output()}\n"}, "gzip")]
    content = images.index([images.image(layers, here), images.image(layers[1:], other)])
    installed = bench.shelf.install(content, layers=archive.REGISTRY)
    directory, bench.shelf.directory = bench.shelf.directory, bench.shelf.directory / "other"
    monkeypatch.setattr(images, "host_architecture", lambda: other)
    foreign = bench.shelf.install(content, layers=archive.REGISTRY)
    monkeypatch.undo()
    bench.shelf.directory = directory
    installed.rewrite(runtime=engine.name)
    assert foreign.information.source_digest == installed.information.source_digest
    engine.daemon.run([*engine.ctr, "images", "import", "--platform", other, str(foreign.archive)])
    assert foreign.information.source_digest in engine.ids()
    assert '"state": "other"' in bench("status", "--json", installed.info, status=FAILED)
    assert "loaded in" in bench("load", "--flush", installed.info)
    assert bench.read(installed) == bench.shelf.output()
    assert "nothing to do" in bench("load", "--flush", installed.info)


def test_removed_replaced_and_moved_images(bench, engine):
    installed = bench.install()
    other = bench.install("other", "other")
    bench("load", installed.info, other.info)
    engine.remove(installed.information.reference)
    assert '"state": "missing"' in bench("status", "--json", installed.info, status=FAILED)
    assert "loaded in" in bench("load", installed.info)
    engine.tag(other.information.reference, installed.information.reference)
    assert '"state": "other"' in bench("status", "--json", installed.info, status=FAILED)
    bench("load", installed.info)
    assert bench.read(installed) == bench.shelf.output()
    engine.remove(installed.information.reference)
    installed.archive.unlink()
    output = bench("load", installed.info, status=NO_ARCHIVE)
    assert f"{engine.name} pull {installed.information.reference}" in output


def test_a_new_digest_and_the_way_back(bench, engine):
    options = ("--flush", "--prune", "--keep-previous")
    versions = {}
    for word in ("first", "second", "third"):
        bench.shelf.directory = engine.daemon.directory / f"{bench.shelf.number}-{word}"
        versions[word] = bench.install(word)
    bench("load", *options, versions["first"].info)
    bench("load", *options, versions["second"].info)
    assert "of an earlier time again" in bench("load", *options, versions["first"].info)
    assert bench.read(versions["first"]) == bench.shelf.output("first")
    bench("load", *options, versions["third"].info)
    assert bench.read(versions["third"]) == bench.shelf.output("third")
    found = engine.ids()
    assert engine.id(versions["second"]) not in found
    assert {engine.id(versions["first"]), engine.id(versions["third"])} <= found


def test_layers_of_an_earlier_boot_that_no_record_has(bench, engine):
    """Its files are empty, as after a power cut, and a further load would take its layers for whole."""
    installed = bench.install()
    bench("load", installed.info)
    record = f"{engine.root}/dockin/{installed.info.stem}"
    notes = [record, f"{engine.root}/dockin/.{installed.info.stem}.brought"]
    text = bench.shelf.output()
    engine.daemon.run(["sh", "-c", f': >"$(grep -rlx "{text}" {engine.root} --include word)"'])
    assert bench.read(installed) == ""
    engine.daemon.run(["rm", *notes])
    reboot(engine.daemon)
    assert "has damaged files" in bench("load", "--flush", installed.info)
    assert bench.read(installed) == text
    assert not installed.archive.exists()
    # Whole, it is only recorded.
    engine.daemon.run(["rm", *notes])
    reboot(engine.daemon)
    output = bench("load", "--flush", installed.info)
    assert "checking its files" in output and "loaded in" not in output
    assert "nothing to do" in bench("load", installed.info)


def test_an_image_that_was_removed_and_came_again_is_another(bench, engine):
    """With the digest that is recorded, but not with the files."""
    installed = bench.install()
    bench("load", installed.info)
    engine.remove(installed.information.reference)
    assert "loaded in" in bench("load", installed.info)
    record = f"{engine.root}/dockin/{installed.info.stem}"
    saved = engine.daemon.run(["cat", record]).stdout
    time.sleep(1.1)  # containerd's files are told apart by inode and second
    engine.remove(installed.information.reference)
    assert "loaded in" in bench("load", installed.info)
    assert engine.daemon.run(["cat", record]).stdout != saved
    engine.daemon.run(["sh", "-c", f"cat >{record} <<'END'\n{saved}END"])
    assert "nothing to do" not in bench("load", installed.info)


@pytest.mark.parametrize("engine", [Containerd], ids=["containerd"], indirect=True)
def test_a_container_of_the_name_keeps_the_earlier_image(bench, engine):
    """Made before the update, under the name that is the new image's now; one that was made after it keeps nothing."""
    first = bench.install("first")
    bench("load", first.info)
    holder = f"docker.io/library/dockin-previous:{engine.id(first)[7:]}"
    engine.tag(first.information.reference, holder)
    engine.daemon.run([*engine.ctr, "containers", "create", first.information.reference, "old"])
    bench.shelf.directory = engine.daemon.directory / f"{bench.shelf.number}-second"
    second = bench.install("second")
    assert "stays for the container(s) old" in bench("load", "--prune", second.info)
    assert engine.id(first) in engine.ids()
    engine.daemon.run([*engine.ctr, "containers", "create", second.information.reference, "new"])
    engine.daemon.run([*engine.ctr, "containers", "rm", "old"])
    assert "removed its earlier image" in bench("load", "--prune", second.info)
    assert engine.id(first) not in engine.ids()
    engine.daemon.run([*engine.ctr, "containers", "rm", "new"])


def test_no_answer_and_no_command(bench, engine):
    installed = bench.install()
    empty = bench.shelf.directory / "empty"
    empty.mkdir()
    command = "podman" if engine.name == "podman" else "ctr"
    assert f"there is no command '{command}'" in bench("load", installed.info, status=NO_DOCKER, PATH=str(empty))
    if engine.name == "containerd":
        output = bench("load", installed.info, status=NO_DOCKER, CONTAINERD_ADDRESS="/nowhere", DOCKIN_PRELOAD_WAIT="1")
        assert "containerd did not answer within 1 s" in output


def test_too_little_space(bench):
    installed = bench.install()
    installed.rewrite(unpacked_size=10 ** 13)
    installed.info.write_text(installed.info.read_text() + f"runtime={bench.engine.name}\n")
    assert "too little space in" in bench("load", installed.info, status=NO_SPACE)


@pytest.mark.parametrize("compression", ["none", "xz"])
def test_an_archive_that_ends_too_early_is_damaged(bench, engine, compression):
    """With the right size; what is read of it comes to an early end."""
    installed = bench.install(compression=compression)
    installed.damage_archive(compression, runtime=engine.name)
    output = bench("load", "--flush", installed.info, status=FAILED)
    assert f"of {installed.archive} failed: " in output
    assert "went away" not in output
    # busybox's xz does not verify all checksums, so the archive may seem good, and is tried once more.
    assert output.count(f"{installed.name}: loading {installed.archive}") <= (2 if compression == "xz" else 1)
    assert installed.archive.exists()


def test_an_unknown_runtime_is_refused(bench):
    installed = bench.install()
    installed.info.write_text(installed.info.read_text().replace(f"runtime={bench.engine.name}", "runtime=lxc"))
    assert "invalid runtime 'lxc'" in bench("load", installed.info, status=3)
