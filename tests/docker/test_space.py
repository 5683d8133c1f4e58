# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What loads take of a real file system, by the store, beside what dockin.target.space plans at build time."""

from __future__ import annotations

import dataclasses
import os
import threading

import pytest

from dockin.image import archive
from dockin.target import space
from support import docker, images
from support.installed import Shelf
from support.target import MIB, NO_SPACE, Target

# The engines' databases and directories, which no plan counts, took 0.2 MB beyond what it says; what the images' blobs take
# is ten times the tolerance or more, so a plan without them, or with them where they go, is far off.
TOLERANCE = 2 * MIB


class Disk:
    """The file system of a daemon's data; a context manager that samples what is taken of it beyond what was at first."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.path = f"{daemon.directory}/data"
        self.most = self.first = self.filler = 0
        self.first = self.taken()

    def _look(self):
        found = os.statvfs(f"/proc/{self.daemon.first}/root{self.path}")
        return (found.f_blocks - found.f_bfree) * found.f_frsize - self.first

    def taken(self):
        self.daemon.run(["sync"])
        return self._look()

    def limit(self, size):
        """Leave so much of it, counted from what was taken at first, by a file that takes the rest."""
        filler = f"{self.path}/filler"
        self.daemon.run(["rm", "-f", filler])
        self.first -= self.filler
        self.daemon.run(["sync"])
        free = int(self.daemon.run(["df", "-k", "--output=avail", self.path]).stdout.split()[-1])
        kept = (size - self.taken()) // 1024
        self.daemon.run(["fallocate", "-l", f"{free - kept}k", filler])
        self.filler = int(self.daemon.run(["du", "-k", filler]).stdout.split()[0]) * 1024
        self.first += self.filler

    def _sample(self):
        while not self._done.wait(0.001):
            self.most = max(self.most, self._look())

    def __enter__(self):
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


@pytest.mark.parametrize("layers", [archive.DECOMPRESSED, archive.REGISTRY])
@pytest.mark.parametrize(("kind", "runtime"), [
    (docker.OLDER_CLASSIC, "docker"), (docker.CONTAINERD, "docker"), (docker.CONTAINERD, "containerd")], ids=str)
def test_what_is_planned_is_needed_and_is_enough(kind, runtime, layers, busybox):
    """Two images that share nothing, of which a third compresses to nothing; archives are in the same file system."""
    with docker.start(kind=kind) as daemon:
        target, disk = Target(daemon, "dash"), Disk(daemon)
        root = {"DOCKIN_CONTAINERD_ROOT": f"{daemon.data_root}/containerd/daemon"} if runtime == "containerd" else {}
        loads, infos = [], []
        daemon.run(["mkdir", f"{disk.path}/archives"])
        for _ in range(2):
            shelf = Shelf(daemon, busybox)
            files = {"filler": os.urandom(20 * MIB) + bytes(10 * MIB)}
            # Already compressed layers can't be compressed again: beside them the archive has no compression.
            installed = shelf.install(images.image([images.layer(files)]), layers=layers,
                                      compression="none" if layers == archive.REGISTRY else "gzip")
            information = dataclasses.replace(installed.information, runtime=runtime)
            installed.info.write_text(information.render())
            loads.append(space.Load(information, flush=True, store=kind.store))
            daemon.run(["mv", str(installed.archive), str(installed.info), f"{disk.path}/archives"])
            infos.append(f"{disk.path}/archives/{installed.info.name}")
        planned = space.plan(loads)
        assert abs(disk.taken() - planned.archive_size) < TOLERANCE
        # The second load is what needs most, on all stores.
        disk.limit(planned.peak_size - TOLERANCE)
        output = target("load", "--flush", *infos, status=NO_SPACE, **root)
        assert "loaded in" in output and "too little space" in output
        disk.limit(planned.peak_size + TOLERANCE)
        with disk:
            target("load", "--flush", *infos, **root)
        most, final = disk.most, disk.taken()
        print(f"planned peak {planned.peak_size} final {planned.final_size}, seen {most} and {final}")
        assert abs(final - planned.final_size) < TOLERANCE
        # The reserve of the neediest load, which nothing takes; and what a thread that looks now and then may miss.
        reserve = max(space.load_need(load.image) - load.image.unpacked_size - load.image.layers_size for load in loads)
        assert planned.peak_size - reserve - 2 * TOLERANCE < most < planned.peak_size
