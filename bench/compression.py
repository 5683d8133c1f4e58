#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The table one needs to choose COMPRESSION_TYPE and DOCKIN_LAYERS: time and memory of the build, size, time of the
load.

    bench/compression.py [--release wrynose] [--megabytes 150]

The image has 8 layers of files of this machine's /usr. do_compile compresses the archive in a real build; memory is
the peak of the proportional set size with all that the task starts. The archive is then loaded into a real Docker,
whose data are on a tmpfs: of three loads into an empty store the fastest. Needs root.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, docker, images, measure, oe, registry  # noqa: E402

TYPES = ("xz", "zstd", "gzip", "none")
MODES = ("decompressed", "registry")
LOADS = 3
# The class's own xz, and cheaper ones that are as reproducible: a single thread, a lower level.
MORE = {"xz1": "xz -f -k -9 -T1 -c", "xz6": "xz -f -k -6 -T0 -c"}
RECIPE = """
inherit dockin
SRC_URI = "docker://{address}/bench/middle;tag=1"
SRC_URI[sha256sum] = "{digest}"
COMPRESSION_TYPE = "{kind}"
DOCKIN_LAYERS = "{mode}"
COMPRESSION_RDEPENDS:{kind} = ""
"""


def load_seconds(daemon: docker.Daemon, archive: Path, name: str) -> float:
    """Return the seconds of docker load of an archive into an empty store, the fastest of some."""
    inside = daemon.directory / archive.name
    shutil.copy(archive, inside)
    seconds = []
    for _ in range(LOADS):
        started = time.monotonic()
        daemon.docker("load", "--quiet", "--input", str(inside))
        seconds.append(time.monotonic() - started)
        daemon.docker("image", "rm", name)
    inside.unlink()
    return min(seconds)


def main() -> int:
    """Build, load and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="wrynose", choices=[str(release) for release in cache.releases()])
    parser.add_argument("--megabytes", type=int, default=150)
    options = parser.parse_args()
    [release] = [release for release in cache.releases() if str(release) == options.release]
    image = images.image([images.busybox_layer(), *measure.layers(8, options.megabytes << 20)], "linux/amd64")
    kinds = {kind: docker.Daemon(kind) for kind in docker.KINDS}
    with oe.Bench(release) as bench, registry.Registry(bench.root / "registry") as server:
        digest = server.push(image, "bench/middle", "1").partition(":")[2]
        extra = "".join(f'COMPRESSION_CMD:{kind} = "{command}"\n' for kind, command in MORE.items())
        build = bench.build("compression", f'DOCKIN_TLS_VERIFY = "0"\nINHERIT += "buildstats"\n{extra}')
        cases = [(kind, mode) for mode in MODES for kind in (*TYPES, *MORE)]
        for kind, mode in cases:
            text = RECIPE.format(address=server.address, digest=digest, kind=kind, mode=mode)
            build.recipe(f"{kind}-{mode}_1.bb", text)
        build.bitbake("-c", "unpack", *(f"{kind}-{mode}" for kind, mode in cases), timeout=1800).ok()
        name = f"{server.address}/bench/middle:1"
        heads = "".join(f"{'load ' + str(kind):>26}" for kind in kinds)
        print(f"{'layers':14}{'type':6}{'compress':>12}{'CPU':>12}{'memory':>9}{'archive':>10}{heads}")
        for kind, mode in cases:
            recipe = f"{kind}-{mode}"
            build.bitbake(recipe, "-c", "configure", timeout=1800).ok()
            cost, _ = measure.task(build, recipe, "compile", memory=True)
            [archive] = [path for path in (build.work(recipe) / "build").iterdir() if ".tar" in path.name]
            loads = ""
            for one, daemon in kinds.items():
                with daemon:
                    readable = one.reads_zstd or kind != "zstd"
                    loads += f"{load_seconds(daemon, archive, name):24.2f} s" if readable else f"{'not read':>26}"
            print(f"{mode:14}{kind:6}{cost.seconds:10.1f} s{cost.cpu:10.1f} s{cost.memory / 1e6:6.0f} MB"
                  f"{archive.stat().st_size / 1e6:7.1f} MB{loads}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
