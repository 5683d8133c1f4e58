#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the preload costs on the target: beside plain `docker load`, and at a boot at which there is nothing to load.

    bench/preload.py [--size 150] [--runs 3] [--images 20]

The data-root is an ext4 file system in memory, so that a disk's speed hides nothing. For each of Docker's stores one archive
(MiB of random files, xz) is loaded by turns with `docker load`, with `docker load` and `sync`, and by dockin-preload,
which also checks space, syncs, records and flushes; medians. Then a machine with many images boots twice. Needs root.

Goals: dockin-preload takes at most 1.25 times as long as `docker load`, the image being of the middle size; where there is
nothing to load, the units take at most 0.1 s each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import docker, images, installed, machine, measure, packages, rootfs, target  # noqa: E402

FILE = 100_000
MOST_TIMES = 1.25
MOST_SECONDS_EACH = 0.1


def content(mib: int) -> installed.Content:
    """Return an image with so many MiB of random files in eight layers."""
    count = (mib << 20) // FILE // 8
    layers = [images.layer({f"data/{number}/{name}": os.urandom(FILE) for name in range(count)}, "none")
              for number in range(8)]
    return images.image([images.busybox_layer(), *layers])


def load(kind: docker.Kind, ready: Path, runs: int) -> dict[str, float]:
    """Return the seconds of each way to load, on one kind of Docker."""
    with docker.Daemon(kind=kind, data_size="2g") as daemon:
        preload = target.Target(daemon, "busybox")
        folder = daemon.directory / "archives"
        shutil.copytree(ready, folder)
        [info], [archive] = folder.glob("*.image"), folder.glob("*.tar.xz")
        ways = {
            "docker load": ["docker", "load", "--quiet", "--input", str(archive)],
            "docker load, sync": ["sh", "-c", f"docker load --quiet --input {archive} && sync -f {daemon.data_root}"],
            "dockin-preload": preload.argv("load", "--flush", info),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(runs + 1):
            for way, argv in ways.items():
                shutil.copy(ready / archive.name, archive)
                started = time.monotonic()
                daemon.run(argv, env=preload.environment() if way == "dockin-preload" else None, timeout=600)
                times[way].append(time.monotonic() - started)
                daemon.docker("image", "rm", "bench/app:1")
                daemon.run(["sh", "-c", f"rm -rf {daemon.data_root}/dockin; sync -f {daemon.data_root}"])
        # The first of each makes what later ones find, as the kernel's caches.
        return {way: statistics.median(all_of[1:]) for way, all_of in times.items()}


def boots(suite: str, store: str, count: int) -> tuple[float, float]:
    """Return from the start of the first unit to the end of the last, at a first boot and at the next one."""
    base = images.busybox_layer()
    recipe = packages.Recipe("many", {
        f"registry.example.com/team/app{number}:v1": images.image([base, images.layer({"word": f"{number}\n"})])
        for number in range(count)})
    units = [packages.unit(name) for name in recipe.images]
    found = []
    with tempfile.TemporaryDirectory() as folder, machine.Machine(suite) as one:
        if store == "containerd":
            one.write("/etc/docker/daemon.json", json.dumps({"features": {"containerd-snapshotter": True}}))
        one.install(*packages.make(Path(folder), [recipe])["many"])
        for _ in range(2):
            with one.boot(seconds=300) as system:
                assert (system.state, system.failed_units()) == ("running", [])
                journal = system.read_journal()
                found.append(max(map(journal.started, units)) - min(map(journal.starting, units)))
    return found[0], found[1]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=150)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=20)
    options = parser.parse_args()
    goals = measure.Goals()
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "archives"
        installed.install(ready, content(options.size), "bench/app:1", compression="xz")
        for kind in docker.KINDS:
            times = load(kind, ready, options.runs)
            plain = times["docker load"]
            columns = (f"{way} {seconds:.2f} s ({seconds / plain:.2f})" for way, seconds in times.items())
            print(f"{kind!s:20}" + "   ".join(columns))
            goals.at_most(f"{kind}: dockin-preload / docker load", times["dockin-preload"] / plain, MOST_TIMES)
    for suite, store in ((rootfs.OLDER, "classic"), (rootfs.NEWER, "containerd")):
        first, next_one = boots(suite, store, options.images)
        print(f"{suite}-{store}: {options.images} units, loading {first:.1f} s, nothing to do {next_one:.1f} s")
        goals.at_most(f"{suite}-{store}: a unit with nothing to do", next_one / options.images, MOST_SECONDS_EACH, " s")
    return goals.status()


if __name__ == "__main__":
    sys.exit(main())
