#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The table one needs to choose COMPRESSION_TYPE and DOCKIN_LAYERS: time and memory of the build, size, time of loads.

    bench/compression.py [--release wrynose] [--megabytes 150] [--runs 3] [--only "xz,xz -6 -T0"] [--no-loads]

The image has 8 layers of files of this machine's /usr. Archives come from do_unpack of a real build, commands from the
class, and they are run as do_compile does. Runs are repeated up to three times, or until 90 s are over; the medians
count. Memory is the largest resident set of the command. The archive is then loaded into a real Docker, whose data-root
is an ext4 file system in memory, three times or until 6 s are over, into an empty store; medians. Needs root.

Goals: of the class's types, xz with decompressed layers makes the smallest archive (that is why it is the default), and
zstd loads faster.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, docker, images, measure, oe, registry  # noqa: E402

TYPES = ("xz", "zstd", "gzip", "none")
MODES = ("decompressed", "registry")
# Other commands for the class's types, all of them reproducible: lower levels with smaller dictionaries, smaller blocks for
# more threads, a zstd that looks back further than its level does.
MORE = {
    "xz -9 -T1": "xz -f -k -9 -T1 -c",
    "xz -8 -T0": "xz -f -k -8 -T0 -c",
    "xz -7 -T0": "xz -f -k -7 -T0 -c",
    "xz -6 -T0": "xz -f -k -6 -T0 -c",
    "xz -9 64 MiB": "xz -f -k -9 -T0 --block-size=64MiB -c",
    "zstd long": "zstd -f -k -q -19 --long=27 -T0 -c",
}
MADE_BY_DEFAULT = ("xz -6 -T0", "zstd long")
SECONDS = 90
LOAD_SECONDS = 6
RECIPE = """
inherit dockin
SRC_URI = "docker://{address}/bench/middle;tag=1"
SRC_URI[sha256sum] = "{digest}"
DOCKIN_LAYERS = "{mode}"
"""


def loads(daemon: docker.Daemon, archive: Path, name: str, runs: int) -> tuple[measure.Cost, int]:
    """Return what docker load of an archive into an empty store takes (seconds alone), and of how many runs that is."""
    inside = daemon.directory / archive.name
    shutil.copy(archive, inside)

    def once() -> measure.Cost:
        started = time.monotonic()
        daemon.run(["docker", "load", "--quiet", "--input", str(inside)], timeout=600)
        seconds = time.monotonic() - started
        daemon.docker("image", "rm", name)
        return measure.Cost(seconds, 0, 0)

    found = measure.repeat(once, runs, LOAD_SECONDS)
    inside.unlink()
    return found


class Table:
    """Archives and what they cost."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder = folder
        self.runs = runs
        self.archives: dict[tuple[str, str], Path] = {}
        self.loads: dict[tuple[str, str, str], float] = {}

    def compress(self, plain: Path, mode: str, kind: str, command: str) -> None:
        """Compress an archive and print the line of it."""
        target = self.folder / f"{mode}-{kind.replace(' ', '')}"
        argv = ["sh", "-c", f"exec {command} {shlex.quote(str(plain))}"]
        cost, count = measure.repeat(lambda: measure.program(argv, target), self.runs, SECONDS)
        self.archives[mode, kind] = target
        print(f"{mode:14}{kind:13}{count:5}{cost.seconds:9.1f} s{cost.cpu:9.1f} s{cost.memory / 1e6:9.0f} MB"
              f"{target.stat().st_size / 1e6:9.1f} MB", flush=True)

    def load(self, name: str, megabytes: int) -> None:
        """Load each archive into each Docker, and print a table."""
        counts = []
        for kind in docker.KINDS:
            with docker.Daemon(kind, data_size=f"{megabytes * 4 // 1024 + 2}g") as daemon:
                for mode, way in self.archives:
                    if not way.startswith("zstd") or kind.reads_zstd:
                        cost, count = loads(daemon, self.archives[mode, way], name, self.runs)
                        self.loads[mode, way, str(kind)] = cost.seconds
                        counts.append(count)
        print(f"\ndocker load, median of {min(counts)} to {max(counts)} runs")
        print(f"{'layers':14}{'type':13}" + "".join(f"{kind!s:>21}" for kind in docker.KINDS))
        for mode, way in self.archives:
            seconds = (self.loads.get((mode, way, str(kind))) for kind in docker.KINDS)
            columns = ("not read" if one is None else f"{one:.2f} s" for one in seconds)
            print(f"{mode:14}{way:13}" + "".join(f"{column:>21}" for column in columns))
        sys.stdout.flush()


def main() -> int:
    """Build, compress, load, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="wrynose", choices=[str(release) for release in cache.releases()])
    parser.add_argument("--megabytes", type=int, default=150)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help=f"types, of {', '.join([*TYPES, *MORE])}")
    parser.add_argument("--no-loads", action="store_true", help="only compress")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [*TYPES, *MADE_BY_DEFAULT]
    [release] = [release for release in cache.releases() if str(release) == options.release]
    # docker load takes images without a program as well; nothing is run.
    made = measure.layers(8, options.megabytes << 20)
    image = images.image(made, "linux/amd64")
    goals = measure.Goals()
    with oe.Bench(release) as bench, registry.Registry(bench.root / "registry") as server, measure.scratch() as scratch:
        digest = server.push(image, "bench/middle", "1").partition(":")[2]
        build = bench.build("compression", 'DOCKIN_TLS_VERIFY = "0"\n', resident=True)
        plain = {}
        for mode in MODES:
            build.recipe(f"{mode}_1.bb", RECIPE.format(address=server.address, digest=digest, mode=mode))
            build.bitbake("-c", "unpack", mode, timeout=1800).ok()
            [plain[mode]] = build.work(mode).glob("**/docker-images/*.tar")
        commands = {kind: build.getvar(f"COMPRESSION_CMD:{kind}", MODES[0]) for kind in TYPES} | MORE
        print(f"{sum(len(layer.tar) for layer in made) / 1e6:.0f} MB in {len(made)} layers")
        print(f"{'layers':14}{'type':13}{'runs':>5}{'time':>11}{'CPU':>11}{'memory':>12}{'archive':>12}", flush=True)
        table = Table(Path(scratch), options.runs)
        for mode in MODES:
            for kind in wanted:
                if mode == MODES[0] or kind in TYPES:
                    table.compress(plain[mode], mode, kind, commands[kind])
        sizes = {case: path.stat().st_size for case, path in table.archives.items() if case[1] in TYPES}
        default = MODES[0], TYPES[0]
        others = [size for case, size in sizes.items() if case != default]
        if not options.no_loads:
            table.load(f"{server.address}/bench/middle:1", options.megabytes)
        if default in sizes and others:
            goals.at_most("xz archive / smallest of the other types", sizes[default] / min(others), 1)
        for kind_ in docker.KINDS:
            both = [table.loads.get((MODES[0], way, str(kind_))) for way in ("zstd", "xz")]
            if both[0] and both[1]:
                goals.at_most(f"{kind_}: load of zstd / load of xz", both[0] / both[1], 1)
    return goals.status()


if __name__ == "__main__":
    sys.exit(main())
