#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Time to unpack a layer in which each of many directories, with a file in it, is replaced by a file.

    bench/layertree.py [--directories 10000 100000]

The time is to grow with their number, not with its square: 100,000 are to take seconds. Needs root.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from dockin.image import layertar  # noqa: E402
from dockin.store import layertree  # noqa: E402
from support import layers  # noqa: E402


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directories", type=int, nargs="+", default=[10_000, 100_000], help="(default: %(default)s)")
    print("| directories replaced | seconds of the processor | each, in µs |\n|---|---|---|")
    for number in parser.parse_args().directories:
        seconds = unpack(number)
        print(f"| {number} | {seconds:.1f} | {seconds / number * 1e6:.0f} |", flush=True)
    return 0


def unpack(number: int) -> float:
    """Return the seconds of the processor that a layer of so many directories takes."""
    names = [f"d{index}" for index in range(number)]
    tar = layers.tar(*((f"{name}/in", {}, b"x") for name in names), *((name, {}, b"file") for name in names))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        reader = layertar.Reader([tar])
        with layertree.Tree(folder, 0) as tree:
            while member := reader.next():
                tree.add(member, tree.place(member), reader.content())
            tree.finish()
        return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
