#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Time of the tools beside core's own, in one build directory with all of OE-core's recipes and some with images.

    bench/tools.py [--release wrynose] [--recipes 20] [--runs 5]

devtool add-docker is to take at most 2 s more than devtool status, bitbake-layers dockin-status at most 2 s more than
bitbake-layers show-recipes. BitBake's server stays between commands, and its cache of recipes is filled, as in daily work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, images, measure, oe, registry  # noqa: E402

RECIPE = """
inherit dockin
SRC_URI = "docker://{address}/bench/app;tag=1.0"
SRC_URI[sha256sum] = "{pin}"
"""
MOST_SECONDS_MORE = 2.0
PARSE_SECONDS = 1800


def main() -> int:
    """Measure, print a table, and return whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", default="wrynose", choices=[str(release) for release in cache.releases()])
    parser.add_argument("--recipes", type=int, default=20, help="recipes with an image (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each command; the median counts (default: %(default)s)")
    options = parser.parse_args()
    [release] = [release for release in cache.releases() if str(release) == options.release]
    with oe.Bench(release) as bench, registry.Registry(bench.root / "registry") as server:
        content = images.index([images.image([images.layer({"a": "b"})], "linux/amd64")])
        pin = server.push(content, "bench/app", "1.0").partition(":")[2]
        build = bench.build("tools", 'DOCKIN_TLS_VERIFY = "0"\n', recipes=[""])
        for number in range(options.recipes):
            build.recipe(f"image-{number}_1.0.bb", RECIPE.format(address=server.address, pin=pin))
        build.environment["BB_SERVER_TIMEOUT"] = "120"
        timed(build, ["bitbake-layers", "show-recipes"])  # fills the cache
        timed(build, ["devtool", "status"])  # makes the workspace
        add = ["devtool", "add-docker", f"{server.address}/bench/app:1.0", "--recipe-name"]
        found = {
            "devtool status": [timed(build, ["devtool", "status"]) for _ in range(options.runs)],
            "devtool add-docker": [timed(build, [*add, f"new-{number}"]) for number in range(options.runs)],
            "bitbake-layers show-recipes": [timed(build, ["bitbake-layers", "show-recipes"]) for _ in range(options.runs)],
            "bitbake-layers dockin-status": [timed(build, ["bitbake-layers", "dockin-status"]) for _ in range(options.runs)],
        }
    for name, seconds in found.items():
        print(f"{name:<30} median {statistics.median(seconds):6.2f} s   all {' '.join(f'{one:.2f}' for one in seconds)}")
    status, added, shown, listed = (statistics.median(seconds) for seconds in found.values())
    goals = measure.Goals()
    goals.at_most("add-docker - status", added - status, MOST_SECONDS_MORE, " s")
    goals.at_most("dockin-status - show-recipes", listed - shown, MOST_SECONDS_MORE, " s")
    return goals.status()


def timed(build: oe.Build, argv: list[str]) -> float:
    """Run a command and return its seconds, without the wait for BitBake's server to end."""
    build.bench.account.own_folders(build.path / "conf")
    build.bench.account.own_folders(build.test_layer)
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        code = build._run(argv, output, PARSE_SECONDS)
        seconds = time.monotonic() - start
        output.seek(0)
        if code != 0:
            raise SystemExit(f"{' '.join(argv)} failed:\n{output.read().decode(errors='replace')[-4000:]}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
