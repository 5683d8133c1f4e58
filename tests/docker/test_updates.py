# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""New digests under the same tag: the earlier image goes or stays as asked; and several loads, one after another."""

from __future__ import annotations


import pytest

from support import docker
from support.installed import Shelf
from support.target import MIB, NO_ARCHIVE, NO_SPACE, OK, Target, filler, wait_for

DAEMONS = (docker.OLDER_CLASSIC, docker.CONTAINERD)


def ids(daemon):
    """Return the IDs of all images."""
    return set(daemon.docker("image", "ls", "--all", "--quiet", "--no-trunc").split())


def image_id(daemon, installed):
    """Return the ID that an image has in a daemon."""
    known = installed.information
    return known.image_id if daemon.kind.store == "classic" else known.manifest_digest


class Slots:
    """Root file systems of an A/B system, each with its own version of an image under the same name."""

    def __init__(self, shelf, preload):
        self.shelf, self.preload = shelf, preload
        self.directory = shelf.directory
        self.slots = {}

    def boot(self, version, *options, status=OK):
        """Boot the slot with a version, which is written if it is new; return the command's output."""
        self.shelf.directory = self.directory / version
        if version not in self.slots:
            self.slots[version] = self.shelf.install(self.shelf.image(version))
        self.installed = self.slots[version]
        return self.preload("load", "--flush", *options, self.installed.info, status=status)

    def id(self, version):
        return image_id(self.shelf.daemon, self.slots[version])

    @property
    def runs(self):
        """What a container of the name prints, without the test's number."""
        return self.shelf.daemon.run_image(self.installed.name).split()[0]


@pytest.fixture
def slots(shelf, preload):
    return Slots(shelf, preload)


def test_the_earlier_image_is_removed(slots, shelf, daemon):
    other = shelf.install(shelf.image("other"), shelf.name("other"))
    daemon.docker("load", "--input", str(other.archive))
    slots.boot("first")
    slots.boot("second", "--prune")
    assert slots.runs == "second"
    assert slots.id("first") not in ids(daemon)
    assert {slots.id("second"), image_id(daemon, other)} <= ids(daemon)
    # Its archive is gone with the first slot's flush: what going back needs is --keep-previous.
    assert "its archive" in slots.boot("first", "--prune", status=NO_ARCHIVE)
    assert slots.id("second") in ids(daemon), "an image was removed for one that is not there"


def test_going_back_to_the_previous_image_needs_no_archive(slots, daemon):
    options = ("--prune", "--keep-previous")
    slots.boot("first", *options)
    slots.boot("second", *options)
    assert {slots.id("first"), slots.id("second")} <= ids(daemon)
    output = slots.boot("first", *options)
    assert "is the image of an earlier time again" in output and "loaded in" not in output
    assert slots.runs == "first"
    assert {slots.id("first"), slots.id("second")} <= ids(daemon)
    slots.boot("second", *options)
    assert slots.runs == "second"
    slots.boot("third", *options)
    assert slots.runs == "third"
    assert {slots.id("second"), slots.id("third")} <= ids(daemon)
    assert slots.id("first") not in ids(daemon)
    assert "nothing to do" in slots.boot("third", *options)
    slots.boot("third", "--prune")
    assert slots.id("second") not in ids(daemon) and slots.runs == "third"


def test_an_earlier_image_in_use_is_removed_when_it_is_not(slots, daemon):
    options = ("--prune", "--keep-previous")
    slots.boot("first", *options)
    user = daemon.docker("create", "--network", "none", slots.installed.name)
    slots.boot("second", *options)
    output = slots.boot("third", *options)
    assert "stays for the container(s)" in output
    assert slots.id("first") in ids(daemon)
    assert "stays for the container(s)" in slots.boot("third", *options)
    assert daemon.docker("start", "--attach", user).split()[0] == "first"
    daemon.docker("rm", user)
    assert f"removed its earlier image {slots.id('first')}" in slots.boot("third", *options)
    assert slots.id("first") not in ids(daemon)


def test_what_others_brought_or_named_stays(slots, shelf, daemon):
    """A tag moved by hand to an image of the user's, and an earlier image that got another name."""
    theirs = shelf.install(shelf.image("theirs"), shelf.name("theirs"))
    daemon.docker("load", "--input", str(theirs.archive))
    slots.boot("first", "--prune")
    daemon.docker("tag", slots.installed.name, "kept:1")
    daemon.docker("tag", theirs.name, slots.installed.name)
    slots.boot("second", "--prune")
    assert slots.runs == "second"
    assert {image_id(daemon, theirs), slots.id("first")} <= ids(daemon)
    assert daemon.run_image("kept:1") and daemon.run_image(theirs.name)
    daemon.docker("image", "rm", "kept:1")


def test_an_image_that_a_build_recorded_counts_as_brought_and_one_found_does_not(slots, shelf, daemon, preload):
    slots.boot("first")
    daemon.run(["rm", str(preload.brought(slots.installed))])
    slots.boot("second", "--prune")
    assert slots.id("first") not in ids(daemon)
    # One that the user loaded before its package came is recorded and stays, where Docker does not drop it by itself.
    shelf.directory = slots.directory / "third"
    slots.slots["third"] = third = shelf.install(shelf.image("third"))
    daemon.docker("load", "--input", str(third.archive))
    slots.boot("third", "--prune")
    slots.boot("fourth", "--prune")
    assert slots.runs == "fourth"
    assert (slots.id("third") in ids(daemon)) == daemon.kind.keeps_unnamed


def test_a_power_cut_before_the_removal_is_repaired_at_the_next_boot(slots, shelf, daemon, preload):
    slots.boot("first")
    first = slots.id("first")
    daemon.docker("tag", slots.installed.name, f"dockin-previous:{first[7:]}")  # so that the containerd store has it, too
    slots.boot("second")
    assert first in ids(daemon)
    output = slots.boot("second", "--prune")
    assert f"removed its earlier image {first}" in output and "loaded in" not in output
    assert first not in ids(daemon)
    assert slots.runs == "second"


def test_an_archive_that_was_replaced_meanwhile_is_not_flushed(shelf, daemon):
    """A package is upgraded while its image loads: the new archive waits for the unit's next start."""
    target = Target(daemon, "dash")
    installed = shelf.install(shelf.image())
    new = shelf.directory / "new"
    first = target.script(
        "docker", f'{target.directory}/bin/docker "$@"; status=$?; [ "$1" != load ] || '
        f"{{ /bin/cp {installed.archive} {new}; /bin/mv {new} {installed.archive}; }}\nexit $status", "upgrade")
    output = target("load", "--flush", installed.info, first=first)
    assert "has been replaced meanwhile" in output
    assert installed.archive.exists()
    target("load", "--flush", installed.info)
    assert not installed.archive.exists()


def test_a_data_root_that_is_wiped_or_restored(busybox):
    """The record goes and comes with the images."""
    for kind in DAEMONS:
        with docker.start(kind=kind) as daemon:
            target, shelf = Target(daemon, "dash"), Shelf(daemon, busybox)
            installed = shelf.install(shelf.image())
            target("load", installed.info)
            data, saved = str(daemon.data_root), f"{daemon.data_root}.saved"
            daemon.stop()
            daemon.run(["mv", data, saved])
            daemon.start()
            assert "loaded in" in target("load", installed.info)
            daemon.stop()
            daemon.run(["sh", "-c", f'rm -r "{data}" && mv "{saved}" "{data}"'])
            daemon.start()
            assert target("load", installed.info) == f"{installed.name}: is loaded and recorded, nothing to do\n"
            assert daemon.run_image(installed.name) == shelf.output()


def test_a_volatile_data_root_keeps_the_archives(busybox):
    for kind in DAEMONS:
        with docker.start(kind=kind, volatile=True) as daemon:
            target, shelf = Target(daemon, "dash"), Shelf(daemon, busybox)
            installed = shelf.install(shelf.image())
            output = target("load", "--flush", installed.info)
            assert "the archive stays" in output and "is on tmpfs" in output
            assert installed.archive.exists()
            assert "the archive stays" in target("load", "--flush", installed.info)
            # Nor is it known that it is none.
            first = target.script("df", 'case "$*" in "-P -- "*) printf "a\\n/b 1 1 1 1%% /there is none\\n"; exit ;; esac\n'
                                        f'exec {target.directory}/bin/df "$@"', "nowhere")
            assert "/proc/mounts does not name" in target("load", "--flush", installed.info, first=first)
            assert installed.archive.exists()
            daemon.stop()
            daemon.run(["sh", "-c", f'rm -r "{daemon.data_root}"'])
            daemon.start()
            assert "loaded in" in target("load", "--flush", installed.info)
            assert daemon.run_image(installed.name) == shelf.output()


def test_what_a_data_root_is_stored_on(shelf, daemon):
    """Mounts of all kinds, told by the kernel's own list; only that the data-root is on one of them is not so."""
    target = Target(daemon, "dash")
    mount = f"{daemon.directory}/medium"
    daemon.run(["mkdir", "-p", mount])
    first = target.script("df", f'case "$*" in\n"-P -- {daemon.data_root}"*) printf "a\\nb 1 1 1 1%% {mount}\\n"; exit ;;\n'
                                f'esac\nexec {target.directory}/bin/df "$@"', "elsewhere")

    def overlay(folder):
        daemon.run(["mkdir", "-p", f"{folder}/upper", f"{folder}/work"])
        return ["-t", "overlay", "-o", f"lowerdir=/usr,upperdir={folder}/upper,workdir={folder}/work", "overlay"]

    installed = shelf.install(shelf.image())
    target("load", installed.info)
    for options, medium in (
        (overlay("/run/overlay"), "tmpfs"),
        # No such device can be had everywhere, but a file system that names one as its source.
        (["-t", "proc", "/dev/ram0"], "/dev/ram0"),
        (["-t", "proc", "/dev/zram1"], "/dev/zram1"),
        (overlay(f"{daemon.directory}/data/overlay"), None),
    ):
        daemon.run(["mount", *options, mount])
        try:
            output = target("load", "--flush", installed.info, first=first)
        finally:
            daemon.run(["umount", mount])
        if medium:
            assert f"is on {medium}, which may not outlast this boot" in output
        else:
            assert "flushed the archive" in output
        assert installed.archive.exists() == bool(medium)


@pytest.fixture
def tight(busybox):
    """A classic daemon and two images that fit only if the large one is loaded first."""
    with docker.start(kind=docker.OLDER_CLASSIC, data_size="160m") as daemon:
        target, shelf = Target(daemon, "busybox"), Shelf(daemon, busybox)
        small, large = (shelf.install(shelf.image(word, extra=[filler(shelf, size * MIB)]), shelf.name(word))
                        for word, size in (("small", 16), ("large", 40)))
        needed = (large.information.unpacked_size + large.information.layers_size) // 1024
        free = int(daemon.run(["df", "-k", "--output=avail", str(daemon.data_root)]).stdout.split()[-1])
        daemon.run(["fallocate", "-l", f"{free - needed - needed // 16 - 12288}k", f"{daemon.directory}/data/filler"])
        yield daemon, target, small, large


def test_the_wrong_order_does_not_fit(tight):
    daemon, target, small, large = tight
    target("load", small.info)
    assert "too little space" in target("load", large.info, status=NO_SPACE)


def test_the_images_of_one_call_are_loaded_in_its_order(tight):
    daemon, target, small, large = tight
    target("load", large.info, small.info)
    assert daemon.run_image(small.name) and daemon.run_image(large.name)


def test_a_load_waits_for_the_one_that_runs(tight):
    daemon, target, small, _ = tight
    records = daemon.data_root / "dockin"
    daemon.run(["mkdir", "-p", str(records)])
    holder = daemon.popen(["flock", str(records / ".lock"), "sleep", "600"])
    run = daemon.popen(target.argv("load", small.info), env=target.environment())
    wait_for(lambda: daemon.run(["pidof", "flock"]).stdout.split()[1:])
    assert run.poll() is None and not daemon.docker("image", "ls", "--quiet", small.name)
    daemon.run(["sh", "-c", "kill $(pidof sleep)"], check=False)
    holder.wait(10)
    assert run.wait(60) == OK
    assert daemon.run_image(small.name)
