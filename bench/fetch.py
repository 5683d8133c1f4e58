#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Fetching and assembling beside plain skopeo, and what a digest bump downloads.

    bench/fetch.py [--release wrynose] [--runs 3] [--images small,middle,large]

Ours is a task of a real build: do_fetch, with all that it verifies, and do_unpack, which assembles the archive. Plain
skopeo is `skopeo copy docker://… docker-archive:…`, and for the assembling the same from a local dir:. Of several
runs the median counts; BitBake's server stays between them, as it does for users. Memory is the peak of the proportional
set size of the task with all that it starts, in a run of its own; of skopeo the largest resident set. The second tag has
one of the layers changed. Needs root. "huge", 3 GB, takes 12 GB of memory, for the images.

Goals: do_fetch at most 1.15 times as long as skopeo with the large image, and at most as long from the second tag on;
at most 64 KiB more than the changed pieces downloaded; assembling no slower, with less than 100 MB. The
small image's times are those of starting skopeo three times, and no goal.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, images, measure, oe, registry  # noqa: E402
from support.measure import Cost  # noqa: E402

SIZES = {"small": (1, 5), "middle": (8, 150), "large": (8, 600), "huge": (8, 3000)}  # layers, megabytes unpacked
MOST_TIMES = 1.15
MOST_BYTES_MORE = 64 << 10
MOST_MEMORY = 100  # MB
RECIPE = """
inherit dockin
SRC_URI = "docker://{address}/bench/{name};tag={tag}"
SRC_URI[sha256sum] = "{digest}"
"""


class Contest:
    """One image in a registry, fetched by us and by skopeo."""

    def __init__(self, name: str, build: oe.Build, server: registry.Registry, scratch: Path, runs: int) -> None:
        self.name, self.build, self.server, self.scratch, self.runs = name, build, server, scratch, runs
        count, megabytes = SIZES[name]
        made = measure.layers(count, megabytes << 20)
        other = measure.layers(1, (megabytes << 20) // count, skip=20000)
        self.unpacked = sum(len(layer.tar) for layer in made)
        first = images.image(made, "linux/amd64")
        second = images.image([*made[:-1], *other], "linux/amd64")
        self.tags = {"1": images.index([first]), "2": images.index([second])}
        for tag, index in self.tags.items():
            digest = server.push(index, f"bench/{name}", tag).partition(":")[2]
            build.recipe(f"{name}-{tag}_1.bb", RECIPE.format(address=server.address, name=name, tag=tag, digest=digest))
        self.pulled = sum(blob.size for blob in self.tags["1"].blobs().values())
        known = self.tags["1"].blobs()
        self.limit = sum(blob.size for digest, blob in self.tags["2"].blobs().items() if digest not in known)

    def fetch(self, tag: str, prepare: list[str]) -> tuple[Cost, float, int]:
        """Fetch a tag several times, each time after cleanall of prepare; return costs, seconds of bitbake, bytes."""
        costs, whole, received = [], [], 0
        for number in range(self.runs + 1):
            self.build.bitbake("-c", "cleanall", *prepare).ok()
            with self.server.recording() as requests:
                cost, seconds = measure.task(self.build, f"{self.name}-{tag}", "fetch", memory=number == self.runs)
            costs.append(cost)
            whole.append(seconds)
            received = requests.total_bytes()
        return measure.median(costs), statistics.median(whole), received

    def skopeo(self, source: str) -> tuple[Cost, int]:
        """Let skopeo write an archive of a source several times; return costs and bytes."""
        costs, received = [], 0
        target = self.scratch / "archive.tar"
        for _ in range(self.runs):
            target.unlink(missing_ok=True)
            with self.server.recording() as requests:
                costs.append(measure.program(
                    ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"docker-archive:{target}:bench:1"]))
            received = requests.total_bytes()
        target.unlink()
        return measure.median(costs), received

    def run(self, goals: measure.Goals) -> None:
        """Measure and print."""
        address = f"docker://{self.server.address}/bench/{self.name}"
        count, _ = SIZES[self.name]
        print(f"{self.name}: {self.unpacked / 1e6:.0f} MB in {count} layers, {self.pulled / 1e6:.1f} MB pulled", flush=True)
        both = [f"{self.name}-1", f"{self.name}-2"]
        # What is not of the image, and comes behind do_fetch, is done before.
        self.build.bitbake(*both, "-c", "prepare_recipe_sysroot", timeout=1800).ok()
        for tag, prepare in (("1", both), ("2", both[1:])):
            if tag == "2":
                self.build.bitbake(both[0], "-c", "fetch").ok()
            ours, whole, received = self.fetch(tag, prepare)
            theirs, all_bytes = self.skopeo(f"{address}:{tag}")
            ratio = ours.seconds / theirs.seconds
            which = "first" if tag == "1" else "second"
            print(f"  do_fetch, {which:6} tag {ours}  {received / 1e6:7.2f} MB received; all of bitbake {whole:.1f} s")
            print(f"  skopeo copy          {theirs}  {all_bytes / 1e6:7.2f} MB received; ratio of times {ratio:.2f}")
            # Of a small image the time is that of programs that start: skopeo three times more.
            if self.name != "small":
                most = MOST_TIMES if tag == "1" else 1
                goals.at_most(f"{self.name}: do_fetch of the {which} tag / skopeo copy", ratio, most)
            if tag == "2":
                print(f"  the changed pieces have {self.limit} bytes")
                goals.at_most(f"{self.name}: received more than that", received - self.limit, MOST_BYTES_MORE, " bytes")
        assembled = measure.median([self.unpack(memory=number == self.runs) for number in range(self.runs + 1)])
        local = self.scratch / "dir"
        subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"{address}:1", f"dir:{local}"], check=True)
        copied, _ = self.skopeo(f"dir:{local}")
        subprocess.run(["rm", "-rf", str(local)], check=True)
        ratio = assembled.seconds / copied.seconds
        print(f"  do_unpack            {assembled}")
        print(f"  skopeo copy dir:     {copied}  ratio of times {ratio:.2f}")
        goals.at_most(f"{self.name}: do_unpack / skopeo copy dir:", ratio, 1)
        goals.at_most(f"{self.name}: memory of do_unpack", assembled.memory / 1e6, MOST_MEMORY, " MB")

    def unpack(self, memory: bool) -> Cost:
        """Assemble the archive anew."""
        self.build.bitbake("-c", "clean", f"{self.name}-1").ok()
        self.build.bitbake("-c", "prepare_recipe_sysroot", f"{self.name}-1").ok()
        return measure.task(self.build, f"{self.name}-1", "unpack", memory)[0]


def main() -> int:
    """Measure, print, and return whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="wrynose", choices=[str(release) for release in cache.releases()])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", default="small,middle,large", help=", ".join(SIZES))
    options = parser.parse_args()
    [release] = [release for release in cache.releases() if str(release) == options.release]
    goals = measure.Goals()
    conf = 'DOCKIN_TLS_VERIFY = "0"\nCOMPRESSION_TYPE = "none"\nINHERIT += "buildstats"\n'
    with oe.Bench(release) as bench, registry.Registry(bench.root / "registry") as server, measure.scratch() as scratch:
        build = bench.build("fetch", conf, resident=True)
        for name in options.images.split(","):
            Contest(name, build, server, Path(scratch), options.runs).run(goals)
    return goals.status()


if __name__ == "__main__":
    sys.exit(main())
