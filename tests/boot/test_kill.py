# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A first boot that is hit at a random instant, again and again; after each, a fresh boot puts everything right.

The victims: the command, dockerd, the whole machine, and the whole machine with what was not on its disk yet. `make test`
makes a few runs, `make kill-test` a hundred. The seed is printed; DOCKIN_KILL_SEED and DOCKIN_KILL_RUNS set it and the
number of runs.
"""

from __future__ import annotations

import collections
import os
import random
import secrets
import shutil
import signal
import time

from pathlib import Path

import pytest

from support import images, packages

SHORT_RUNS, LONG_RUNS = 6, 104
STORES = (("bookworm", "classic"), ("trixie", "containerd"))
VICTIMS = ("command", "dockerd", "machine", "power")
NAMES = ("registry.example.com/kill/one:v1", "registry.example.com/kill/other:v1")
SUM = "find /data -type f | sort | xargs sha256sum | sha256sum"
LOAD_SECONDS = 60


def content():
    """Return two images that share a layer, of files of many sizes, whose loads last a while."""
    source = random.Random("files")

    def files(name, count):
        return images.layer(
            {f"data/{name}/{number}": source.randbytes(source.randrange(1, 250000)) for number in range(count)}, "none")

    base = [images.busybox_layer(), files("shared", 60)]
    return {name: images.image([*base, files("one", 60), files("two", 60)], command=("true",)) for name in NAMES}


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    return packages.make(tmp_path_factory.mktemp("kill"), [packages.Recipe("killed", content())])["killed"]


class Field:
    """A machine that is given back its first boot, and what is known of it from outside."""

    def __init__(self, one, saved):
        self.one, self.saved = one, saved
        self.seconds = 0.0
        self.right = {}
        for name in NAMES:
            shutil.copy2(one.path(packages.archive(name)), saved)
        self.learn()

    def reset(self):
        """Make the next boot a first one: no image, no record, the archives there."""
        for place in ("docker", "containerd"):
            self.one.inside_run("sh", "-c", f"rm -rf {self.one.folder}/data/{place}/*")
        for name in NAMES:
            archive = self.one.path(packages.archive(name))
            shutil.copy2(self.saved / archive.name, archive)
        self.one.inside_run("sync")

    def learn(self):
        """Boot once undisturbed: how long the loads last, and what the files of the images are."""
        with self.one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            self.right = {name: system.run_image(packages.familiar(name), "sh", "-c", SUM) for name in NAMES}
            units = [packages.unit(name) for name in NAMES]
            journal = system.read_journal()
            self.seconds = max(map(journal.started, units)) - min(map(journal.starting, units))
            system.kill()

    def note(self, stem, suffix=""):
        place = self.one.data / "docker" / "dockin"
        return (place / f".{stem}.{suffix}" if suffix else place / stem).exists()

    def look(self):
        """Return how far each image is, as the disk says; fail if an archive is gone before its image is recorded."""
        found = []
        for name in NAMES:
            stem = Path(packages.info(name)).stem
            # In this order: the archive goes after the record has come.
            flushed = not self.one.path(packages.archive(name)).exists()
            recorded, loading = self.note(stem), self.note(stem, "loading")
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
        """Boot again: all images are there and whole, recorded and flushed."""
        with self.one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", []), system.read_journal().text()
            for name in NAMES:
                assert system.run_image(packages.familiar(name), "sh", "-c", SUM) == self.right[name], name
            assert self.look() == ("flushed", "flushed")
            system.kill()


def campaign(make_machine, debs, tmp_path, runs):
    seed = os.environ.get("DOCKIN_KILL_SEED") or secrets.token_hex(4)
    print(f"seed {seed} (DOCKIN_KILL_SEED)", flush=True)
    source = random.Random(seed)
    fields = []
    for suite, store in STORES:
        one = make_machine(suite, store)
        one.install(*debs)
        saved = tmp_path / store
        saved.mkdir()
        fields.append(Field(one, saved))
    hits, stages = collections.Counter(), collections.Counter()
    for run in range(runs):
        # Every victim on every store, in turn.
        field, victim = fields[run % 2], VICTIMS[(run + run // len(VICTIMS)) % len(VICTIMS)]
        delay = source.uniform(0, field.seconds * 1.4)
        field.reset()
        stage = field.hit(victim, delay)
        hits[victim] += 1
        stages[" + ".join(sorted(stage))] += 1
        print(f"run {run}: {field.one.suite}, {victim} after {delay:.2f} s, images {stage}", flush=True)
        field.check()
    print(f"{runs} runs, victims {dict(hits)}, images then {dict(stages)}, {runs} ended right, seed {seed}", flush=True)
    return stages


def test_a_few_runs(make_machine, debs, tmp_path):
    campaign(make_machine, debs, tmp_path, SHORT_RUNS)


@pytest.mark.long
def test_a_hundred_runs(make_machine, debs, tmp_path, capfd):
    with capfd.disabled():
        stages = campaign(make_machine, debs, tmp_path, int(os.environ.get("DOCKIN_KILL_RUNS", LONG_RUNS)))
    assert any("loading" in stage for stage in stages)
