#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A build in which nothing has changed, and what parsing a recipe with many images costs.

    bench/rebuild.py [--release wrynose] [--runs 5] [--parses 20]

Parsing is BitBake's own parse of one recipe file, without its cache, many times in one process: with 20 images, with
one, and a recipe of OE-core's kind that unpacks one file and installs it. Of all the median counts.

Goals: nothing unchanged is run again or asked of the registry; 20 images are parsed in at most 1.5 times the plain recipe's
time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, images, measure, oe, registry  # noqa: E402

MOST_TIMES = 1.5
PLAIN = """
inherit systemd
SRC_URI = "https://downloads.example.com/plain.tar.gz"
SRC_URI[sha256sum] = "{pin}"
SYSTEMD_SERVICE:${{PN}} = "plain.service"
do_install() {{
    install -D -m 0644 ${{UNPACKDIR}}/plain ${{D}}${{datadir}}/plain
}}
"""
PARSE = """
import statistics
import time

answer = {}
for name, file in json.loads(sys.argv[1]).items():
    tinfoil.parse_recipe_file(file, appends=False)
    times = []
    for _ in range(int(sys.argv[2])):
        started = time.monotonic()
        tinfoil.parse_recipe_file(file, appends=False)
        times.append(time.monotonic() - started)
    answer[name] = statistics.median(times)
"""


def recipe(address: str, pin: str, count: int) -> str:
    """Return a recipe with so many images."""
    entries = " ".join(f"docker://{address}/bench/app{number};tag=1.0;name=i{number}" for number in range(count))
    pins = "".join(f'SRC_URI[i{number}.sha256sum] = "{pin}"\n' for number in range(count))
    return f'inherit dockin\nSRC_URI = "{entries}"\n{pins}'


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="wrynose", choices=[str(release) for release in cache.releases()])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--parses", type=int, default=20)
    options = parser.parse_args()
    [release] = [release for release in cache.releases() if str(release) == options.release]
    content = images.image([images.layer({"a": "b"})], "linux/amd64")
    goals = measure.Goals()
    with oe.Bench(release) as bench, registry.Registry(bench.root / "registry") as server:
        for number in range(20):
            pin = server.push(content, f"bench/app{number}", "1.0").partition(":")[2]
        build = bench.build("rebuild", 'DOCKIN_TLS_VERIFY = "0"\n')
        build.recipe("twenty_1.0.bb", recipe(server.address, pin, 20))
        first = build.bitbake("twenty", timeout=1800).ok()
        with server.recording() as requests:
            again = [build.bitbake("twenty").ok() for _ in range(options.runs)]
        seconds = statistics.median(result.seconds for result in again)
        tasks = sum(len(result.tasks()) for result in again)
        print(f"20 images, built to packages: first {first.seconds:.1f} s, again {seconds:.1f} s, {tasks} tasks run again,"
              f" {len(requests)} requests to the registry")
        goals.at_most("tasks run again", tasks, 0)
        goals.at_most("requests", len(requests), 0)
        texts = {"20 images": recipe(server.address, pin, 20), "1 image": recipe(server.address, pin, 1),
                 "plain": PLAIN.format(pin=pin)}
        files = {}
        for number, (name, text) in enumerate(texts.items()):
            files[name] = str(build.recipe(f"parse-{number}_1.0.bb", text))
        found = build.tinfoil(PARSE, json.dumps(files), str(options.parses), timeout=600)
        plain = found["plain"]
        for name, seconds in found.items():
            print(f"parse of a recipe, {name:10} {1000 * seconds:7.1f} ms  {seconds / plain:5.2f} times the plain one")
        goals.at_most("parse of 20 images / plain", found["20 images"] / plain, MOST_TIMES)
    return goals.status()


if __name__ == "__main__":
    sys.exit(main())
