# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Boots with images to load, hit at a random instant, again and again; after each, a fresh boot puts everything right.

The victims: the command, dockerd, the whole machine, and the whole machine with what was not on its disk yet. What is
loaded: the images of a first boot, or of an update, whose packages have other images of the same names (and
DOCKIN_PRELOAD_PRUNE). In each third run the boot after the hit is hit as well, if it has something to load. `make test`
makes a few runs, `make kill-test` a hundred. The seed is printed; DOCKIN_KILL_SEED and DOCKIN_KILL_RUNS set it and the
number of runs.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
import re
import secrets
import shutil
import signal
import time

from pathlib import Path

import pytest

from support import images, packages, rootfs

SHORT_RUNS, LONG_RUNS = 8, 104
STORES = ((rootfs.OLDER, "classic"), (rootfs.NEWER, "containerd"))
VICTIMS = ("command", "dockerd", "machine", "power")
KINDS = ("first boot", "update")
NAMES = ("registry.example.com/kill/one:v1", "registry.example.com/kill/other:v1")
SUM = "find /data -type f | sort | xargs sha256sum | sha256sum"
PLACES = ("docker", "containerd")
LOAD_SECONDS = 60
UNITS = tuple(map(packages.unit, NAMES))


def content(version):
    """Return two images that share a layer, with each other and with those of other versions, whose loads last a while."""
    shared, own = random.Random("shared"), random.Random(version)

    def files(source, name, count):
        return images.layer(
            {f"data/{name}/{number}": source.randbytes(source.randrange(1, 250000)) for number in range(count)}, "none")

    base = [images.busybox_layer(), files(shared, "shared", 60)]
    return {
        name: images.image([*base, files(own, "one", 60), files(own, "two", 60)], command=("true",)) for name in NAMES}


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Packages of two versions, the older first."""
    recipes = [packages.Recipe("killed", content(version), version, prune=True) for version in ("1.0", "2.0")]
    return list(packages.make(tmp_path_factory.mktemp("kill"), recipes).values())


class Field:
    """A machine that is given back the moment before a boot, and what is known of it from outside."""

    def __init__(self, one, saved, versions):
        """Install the versions one after the other; the images of all but the last are loaded before it comes."""
        self.one, self.saved = one, saved
        saved.mkdir()
        for number, debs in enumerate(versions):
            if number:
                self.boot_undisturbed()
            one.install(*debs)
        # On the same file system, and on the disk before anything is hit.
        self.in_data("mkdir before && cp -a docker containerd before/ && sync")
        for name in NAMES:
            shutil.copy2(one.path(packages.archive(name)), saved)
        self.boot_undisturbed()

    def in_data(self, command):
        self.one.inside_run("sh", "-ec", f"cd {self.one.folder}/data && {command}")

    def reset(self):
        """Make the next boot the one before which all is as it was kept."""
        for place in PLACES:
            self.in_data(f"rm -rf {place}/* {place}/.[!.]* && cp -a before/{place}/. {place}/")
        for name in NAMES:
            archive = self.one.path(packages.archive(name))
            shutil.copy2(self.saved / archive.name, archive)
        self.one.inside_run("sync")

    def boot_undisturbed(self):
        """Learn how long the loads last, what the files of the images are, and which images there are then."""
        with self.one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            self.right, self.images = self.sums(system), self.ids(system)
            journal = system.read_journal()
            self.seconds = max(map(journal.started, UNITS)) - min(map(journal.starting, UNITS))
            system.power_off()

    @staticmethod
    def sums(system):
        return {name: system.run_image(packages.familiar(name), "sh", "-c", SUM) for name in NAMES}

    @staticmethod
    def ids(system):
        return set(system.output("docker", "image", "ls", "--all", "--quiet", "--no-trunc").split())

    def is_recorded(self, name):
        """Tell whether there is a record of the image that is wanted now: an update finds one of the image before."""
        wanted = re.findall(r"sha256:[0-9a-f]{64}", self.one.path(packages.info(name)).read_text())
        try:
            record = (self.one.data / "docker" / "dockin" / Path(packages.info(name)).stem).read_text()
        except FileNotFoundError:
            return False
        return any(digest in record for digest in wanted)

    def look(self):
        """Return how far each image is, as the disk says; fail if an archive is gone before its image is recorded."""
        found = []
        for name in NAMES:
            stem = Path(packages.info(name)).stem
            # In this order: the archive goes after the record has come.
            flushed = not self.one.path(packages.archive(name)).exists()
            recorded = self.is_recorded(name)
            loading = (self.one.data / "docker" / "dockin" / f".{stem}.loading").exists()
            assert recorded or not flushed, f"the archive of {name} was flushed, and there is no record"
            found.append("flushed" if flushed else "recorded" if recorded else "loading" if loading else "waiting")
        return tuple(found)

    def hit(self, victim, delay):
        """Boot, and hit the victim after a delay from the first start of a unit; return how far the images were."""
        with self.one.boot(wait=False) as system:
            end = time.monotonic() + LOAD_SECONDS
            while "Starting dockin-preload-" not in system.console:
                assert time.monotonic() < end, "no unit starts"
                time.sleep(0.005)
            time.sleep(delay)
            before = self.look()
            if victim == "machine":
                system.kill()
            elif victim == "power":
                system.cut_power()
            else:
                self.kill(system, "dockin-preload" if victim == "command" else "dockerd")
                system.wait_until_up()
                self.look()
                system.kill()
        self.look()
        return before

    @staticmethod
    def kill(system, word):
        """Kill all processes of the machine whose program, or script, has that name."""
        for folder, _, _ in os.walk(system.cgroup):
            try:
                for pid in Path(folder, "cgroup.procs").read_text().split():
                    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2]
                    if any(os.path.basename(argument).decode() == word for argument in arguments):
                        os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass  # it ended meanwhile

    def check(self):
        """Boot again: all images are there and whole, recorded and flushed, and no other image is."""
        with self.one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", []), system.read_journal().text()
            assert self.sums(system) == self.right
            assert self.look() == ("flushed", "flushed")
            assert self.ids(system) == self.images, system.read_journal().text()
            system.kill()


def campaign(make_machine, versions, tmp_path, runs, places):
    """Make the runs in places, which are kinds with a store; return how often a hit met a load that was in progress."""
    seed = os.environ.get("DOCKIN_KILL_SEED") or secrets.token_hex(4)
    print(f"seed {seed} (DOCKIN_KILL_SEED)", flush=True)
    source = random.Random(seed)
    fields = {
        (kind, suite): Field(make_machine(suite, store), tmp_path / f"{kind}-{store}", versions[-1 - KINDS.index(kind):])
        for kind, (suite, store) in places
    }
    for (kind, suite), field in fields.items():
        print(f"{kind}, {suite}: {field.seconds:.2f} s undisturbed, {len(field.images)} images", flush=True)
        assert len(field.images) == len(NAMES), "an update's earlier images are not pruned"
    # Every victim on every field, in turn.
    turns = itertools.cycle(itertools.product(VICTIMS, fields.items()))
    hits, stages, loading = collections.Counter(), collections.Counter(), collections.Counter()
    for run, (victim, (name, field)) in zip(range(runs), turns):
        field.reset()
        for again in range(2 if run % 3 == 2 else 1):
            struck = source.choice(VICTIMS) if again else victim
            delay = source.uniform(0, field.seconds * 1.1)
            stage = field.hit(struck, delay)
            hits[struck] += 1
            stages[" + ".join(sorted(stage))] += 1
            loading[struck] += "loading" in stage
            which = f"{run}{' again' * again}: {', '.join(name)}"
            print(f"run {which}, {struck} after {delay:.2f} s, images {stage}", flush=True)
            if set(stage) == {"flushed"}:
                break  # the next boot has nothing to do
        field.check()
    print(f"{runs} runs, all ended right; hits {dict(hits)}, of them in a load {dict(loading)}; images then {dict(stages)}; "
          f"seed {seed}", flush=True)
    return loading


def test_a_few_runs(make_machine, versions, tmp_path):
    campaign(make_machine, versions, tmp_path, SHORT_RUNS, zip(KINDS, STORES))


@pytest.mark.long
def test_a_hundred_runs(make_machine, versions, tmp_path, capfd):
    with capfd.disabled():
        runs = int(os.environ.get("DOCKIN_KILL_RUNS", LONG_RUNS))
        loading = campaign(make_machine, versions, tmp_path, runs, itertools.product(KINDS, STORES))
    assert all(loading[victim] for victim in VICTIMS), loading
