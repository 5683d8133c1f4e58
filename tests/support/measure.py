# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the benchmarks share: images of this machine's files, and what a task or a program costs."""

from __future__ import annotations

import io
import itertools
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import images, oe


@dataclass(frozen=True)
class Cost:
    """What something took: seconds on the clock and of the CPU, bytes of memory at its peak."""

    seconds: float
    cpu: float
    memory: int
    sampled: bool = False
    """Whether memory was looked at all the time, which makes everything slower."""

    def __str__(self) -> str:
        return f"{self.seconds:7.2f} s {self.cpu:7.2f} s CPU {self.memory / 1e6:7.0f} MB"


# What a parent is told of a child's largest resident set may be the parent's own, from before exec(): images are held here.
_LAUNCHER = """
import os, resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.call(sys.argv[2:])
seconds = time.monotonic() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), b"%d %f %f %d" % (code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))
"""


def program(argv: Sequence[str], output: Path | None = None) -> Cost:
    """Run a program, its output into a file if one is named; return what it and its children took.

    memory is the largest resident set of one process. One below that of a small Python, 10 MB, is not seen.
    """
    reader, writer = os.pipe()
    with open(reader, "rb") as answer, open(output or os.devnull, "wb") as stdout:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writer), *argv]
        subprocess.run(launcher, stdin=subprocess.DEVNULL, stdout=stdout, pass_fds=[writer], check=True)
        os.close(writer)
        code, seconds, cpu, memory = answer.read().split()
    if int(code):
        raise SystemExit(f"{' '.join(argv)} failed with exit code {int(code)}")
    return Cost(float(seconds), float(cpu), int(memory))


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of seconds, each for itself, and the peak of memory.

    Runs in which memory was looked at all the time are slower: their seconds count only where there are no others.
    """
    timed = [cost for cost in costs if not cost.sampled] or costs
    return Cost(statistics.median(cost.seconds for cost in timed), statistics.median(cost.cpu for cost in timed),
                max(cost.memory for cost in costs))


def repeat(run: Callable[[], Cost], runs: int, enough: float = 60) -> tuple[Cost, int]:
    """Run something several times, but not again once enough seconds are over; return the median, and of how many."""
    costs = [run()]
    while len(costs) < runs and sum(cost.seconds for cost in costs) < enough:
        costs.append(run())
    return median(costs), len(costs)


class Goals:
    """What a benchmark is to reach: each is printed where it is known, and the exit status says whether all are met."""

    def __init__(self) -> None:
        self._missed: list[str] = []
        self._count = 0

    def at_most(self, what: str, value: float, most: float, unit: str = "") -> None:
        """Print a goal, and whether it is met."""
        met = value <= most
        self._count += 1
        if not met:
            self._missed.append(what)
        print(f"  goal {'met' if met else 'MISSED'}: {what} {value:.4g}{unit}, at most {most:.4g}{unit}", flush=True)

    def status(self) -> int:
        """Print the sum of it; return the exit status."""
        if self._missed:
            print(f"{len(self._missed)} of {self._count} goals MISSED: {'; '.join(self._missed)}")
        else:
            print(f"all {self._count} goals met")
        return 1 if self._missed else 0


def task(build: oe.Build, recipe: str, name: str, memory: bool = False) -> tuple[Cost, float]:
    """Run one task of a recipe and return what it took by OE-core's buildstats, and the seconds of the whole bitbake.

    The build directory needs INHERIT += "buildstats". memory, of task and what it starts, is the peak of the proportional
    set size where it is asked for, else 0: to look all the time makes the rest slower.
    """
    sampler = Sampler(build.path)
    if memory:
        sampler.start()
    result = build.bitbake(recipe, "-c", name, timeout=3600).ok()
    sampler.done.set()
    newest = max(build.tmp().glob(f"buildstats/*/{recipe}-*/do_{name}"), key=lambda path: path.stat().st_mtime_ns)
    values = dict(line.split(": ", 1) for line in newest.read_text().splitlines() if ": " in line)
    cpu = sum(float(values[f"{who} ru_{kind}time"]) for who in ("rusage", "Child rusage") for kind in "us")
    if memory:
        sampler.join()
        if not sampler.peaks:
            raise SystemExit(f"no process of do_{name} was seen: run this as root")
    peak = sum(sampler.peaks.values())
    return Cost(float(values["Elapsed time"].split()[0]), cpu, peak, sampled=memory), result.seconds


class Sampler(threading.Thread):
    """Records the peak of the memory of the tasks that BitBake's worker runs, by program; needs root."""

    def __init__(self, build: Path) -> None:
        super().__init__(daemon=True)
        self.build = build
        self.peaks: dict[str, int] = {}
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until done is set."""
        while not self.done.wait(0.05):
            sums: dict[str, int] = {}
            for name, size in _task_processes(self.build):
                sums[name] = sums.get(name, 0) + size
            for name, size in sums.items():
                self.peaks[name] = max(self.peaks.get(name, 0), size)


def _task_processes(build: Path) -> Iterator[tuple[str, int]]:
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
    workers = {pid for pid, name in names.items() if "bitbake-worker" in name and _works_in(pid, build)
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
            yield os.path.basename(names[pid].split(" ")[0]) or "task", size


def _works_in(pid: int, directory: Path) -> bool:
    """Tell whether a process has its working directory there."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == directory
    except OSError:
        return False


def layers(count: int, size: int, skip: int = 0) -> list[images.Layer]:
    """Return layers of files that Debian's packages have put into /usr, size bytes in all; other files with another skip."""
    found = (Path(root, name) for root, _, names in sorted(os.walk("/usr")) for name in sorted(names))
    files = itertools.islice((path for path in found if path.is_file() and not path.is_symlink()), skip, None)
    made = []
    for _ in range(count):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for file in files:
                info = tarfile.TarInfo(str(file).lstrip("/"))
                info.size = file.stat().st_size
                if info.size > size // count:
                    continue
                with file.open("rb") as data:
                    tar.addfile(info, data)
                if stream.tell() >= size // count:
                    break
        made.append(images.Layer(stream.getvalue(), "gzip"))
    return made


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary directory on the disk where the benches' build directories are."""
    return tempfile.TemporaryDirectory(prefix="dockin-bench-")
