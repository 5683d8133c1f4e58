# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Peak memory and time of fetching, assembling and compressing a large image, in a real build.

    bench/memory.py [--release wrynose] [--megabytes 500] [--layers 8] [--compression xz]

The image is made of this machine's /usr, so that it compresses as real ones do. Memory is the proportional set size (PSS) of
the task's process and what it starts (skopeo, xz), sampled every 50 ms; needs root, as it looks at another user's processes.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
import tempfile
import threading
import time

from collections.abc import Iterator
from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import cache, images, oe, registry  # noqa: E402

TASKS = ("fetch", "unpack", "compile", "package_write_deb")
RECIPE = """
inherit dockin
SRC_URI = "docker://{address}/bench/large;tag=1"
SRC_URI[sha256sum] = "{digest}"
"""


class Sampler(threading.Thread):
    """Records the peak of the memory of the tasks that BitBake's worker runs."""

    def __init__(self, build: Path) -> None:
        super().__init__(daemon=True)
        self.build = build
        self.peaks: dict[str, int] = {}
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until done is set."""
        while not self.done.wait(0.05):
            sums: dict[str, int] = {}
            for name, size in task_processes(self.build):
                sums[name] = sums.get(name, 0) + size
            for name, size in sums.items():
                self.peaks[name] = max(self.peaks.get(name, 0), size)


def task_processes(build: Path) -> Iterator[tuple[str, int]]:
    """Yield program and PSS in bytes of the processes below the bitbake-worker of a build directory."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(") ", 1)
                names[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parents[int(entry.name)] = int(fields[1].split()[1])
            except (OSError, IndexError):
                continue
    workers = {pid for pid, name in names.items() if "bitbake-worker" in name and works_in(pid, build)
               and "bitbake-worker" not in names.get(parents.get(pid, 0), "")}
    for pid in parents:
        above, line = parents[pid], [pid]
        while above and above not in workers:
            line.append(above)
            above = parents.get(above, 0)
        if above:
            try:
                rollup = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
            except OSError:
                continue
            size = next((int(x.split()[1]) * 1024 for x in rollup.splitlines() if x.startswith("Pss:")), 0)
            program = os.path.basename(names[pid].split(" ")[0]) or "task"
            yield ("task (Python)" if "bitbake-worker" in names[pid] or program.startswith("python") else program), size


def works_in(pid: int, directory: Path) -> bool:
    """Tell whether a process has its working directory there."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == directory
    except OSError:
        return False


def layers(count: int, size: int) -> list[images.Layer]:
    """Return layers of this machine's files, size bytes in all."""
    files = (Path(root, name) for root, dirs, names in sorted(os.walk("/usr")) for name in sorted(names))
    made = []
    for _ in range(count):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for file in files:
                if file.is_file() and not file.is_symlink():
                    info = tarfile.TarInfo(str(file).lstrip("/"))
                    info.size = file.stat().st_size
                    with file.open("rb") as data:
                        tar.addfile(info, data)
                if stream.tell() > size // count:
                    break
        made.append(images.Layer(stream.getvalue(), "gzip"))
    return made


def main() -> int:
    """Build, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="wrynose")
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--compression", default="xz")
    options = parser.parse_args()
    release = next(one for one in cache.releases() if one.name == options.release)
    made = layers(options.layers, options.megabytes << 20)
    image = images.image([images.busybox_layer(), *made])
    unpacked = sum(len(layer.tar) for layer in made)
    pulled = sum(blob.size for blob in image.blobs().values())
    print(f"image: {len(made)} layers, {unpacked / 1e6:.0f} MB unpacked, {pulled / 1e6:.0f} MB in the registry")
    with (
        tempfile.TemporaryDirectory() as directory,
        registry.Registry(Path(directory)) as server,
        oe.Bench(release) as bench,
    ):
        digest = server.push(image, "bench/large", "1")
        build = bench.build("memory", f'DOCKIN_TLS_VERIFY = "0"\nCOMPRESSION_TYPE = "{options.compression}"')
        build.recipe("large_1.bb", RECIPE.format(address=server.address, digest=digest.partition(":")[2]))
        for task in TASKS:
            if task == TASKS[1]:
                # What is not of the image, and comes behind do_fetch, is done before the other tasks are looked at.
                build.bitbake("large", "-c", "prepare_recipe_sysroot").ok()
            sampler = Sampler(build.path)
            sampler.start()
            started = time.monotonic()
            build.bitbake("large", "-c", task, timeout=1800).ok()
            seconds = time.monotonic() - started
            sampler.done.set()
            sampler.join()
            peaks = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sorted(sampler.peaks.items()) if size > 5e6)
            print(f"{task:18} {seconds:6.1f} s  peak: {peaks}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
