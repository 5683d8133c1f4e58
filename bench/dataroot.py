#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A data-root written at build time: what writing it takes, and what it saves on the target.

    bench/dataroot.py [--images middle,large] [--runs 3] [--kinds none,xz,zstd]

The image has 8 layers of files of this machine's /usr. It is written from an uncompressed archive and from compressed ones,
by root, and under pseudo as do_rootfs does; memory is the largest resident set. Then a Debian with Docker 26.1 (classic
store) is booted, with the data-root, or with the preload's package and an empty one, until a unit ordered behind the
preload has run a container; and what each way takes on the flash, archives included: as shipped, at the peak, for which
the file system is looked at while the machine boots, and afterwards. In brackets: what has to be there for the preload to
begin, which keeps a reserve. Runs are repeated up to three times, or until 20 s are over; the medians count, and the highest
peak. Needs root.

Of the large image only the uncompressed archive is taken, unless --kinds says more: xz -9 would take minutes.

Goals: at most 100 MB of memory, whatever the size of the image; a container runs no later with the data-root than with the
fastest preload, and no way takes less flash in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from dataclasses import replace
from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from dockin.store import writer  # noqa: E402
from dockin.target import space  # noqa: E402
from support import images, installed, machine, measure, packages, rootfs  # noqa: E402

SIZES = {"small": 20, "middle": 150, "large": 600}  # megabytes unpacked
KINDS = {"small": ("none", "xz", "zstd"), "middle": ("none", "xz", "zstd"), "large": ("none",)}
MOST_MEMORY = 100
SECONDS = 20
SUITE = rootfs.NEWER
NAME = "bench/app:1"
CLASS = (LAYER / "classes" / "dockin.bbclass").read_text()
WRITE = f"""
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(LAYER / "lib")!r})
from dockin.store import writer as dataroot
dataroot.write(sys.argv[1], [dataroot.read_source(sys.argv[2])], scratch=sys.argv[3])
"""
UNIT = f"""[Unit]
Wants=dockin-preload.target
After=dockin-preload.target docker.service
[Service]
Type=oneshot
ExecStart=/usr/bin/docker run --rm --pull never --network none {NAME} true
[Install]
WantedBy=multi-user.target
"""


def pack(one: installed.Installed, kind: str) -> installed.Installed:
    """Return the same image with its archive compressed as the class does it, in a folder of its own; print the cost."""
    folder = one.info.parent / kind
    folder.mkdir()
    target = folder / f"{one.archive.name}.{kind}"
    if kind == "none":
        target = folder / one.archive.name
        os.link(one.archive, target)
    else:
        [command] = re.findall(rf'^COMPRESSION_CMD:{kind} \?= "(.*)"', CLASS, re.MULTILINE)
        cost = measure.program([*command.split(), str(one.archive)], target)
        print(f"  {command:28}{cost}  {target.stat().st_size / 1e6:.1f} MB", flush=True)
    described = replace(one.information, archive=target.name, archive_size=target.stat().st_size)
    (folder / one.info.name).write_text(described.render())
    return installed.Installed(folder / one.info.name, described, one.config_digest, one.top_digest)


def write(folder: Path, info: Path, pseudo: bool) -> measure.Cost:
    """Write a data-root; return what it took."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        argv = [sys.executable, "-c", WRITE, f"{scratch}/docker", str(info), scratch]
        start = []
        if pseudo:
            program = Path(shutil.which("pseudo") or "/usr/bin/pseudo")
            # A database of its own: a number of an inode that comes again would be a fault to pseudo.
            start = ["env", f"PSEUDO_PREFIX={program.parent.parent}", f"PSEUDO_LOCALSTATEDIR={scratch}/pseudo",
                     str(program)]
            subprocess.run([*start, "true"], check=True)  # its server starts
        cost = measure.program([*start, *argv])
        if pseudo:
            subprocess.run([*start, "-S"], check=True, stderr=subprocess.DEVNULL)
        return cost


def boot(made: dict[str, installed.Installed], runs: int) -> tuple[dict[str, float], dict[str, int]]:
    """Print what the target needs with the data-root and with each archive; return seconds and final bytes of each way."""
    seconds, final = {}, {}
    size = 3 * next(iter(made.values())).information.layers_size
    with tempfile.TemporaryDirectory() as folder, machine.Machine(SUITE, disk=f"{size + (1 << 30)}") as one:
        # The package of a tiny image of that name: archive and information file are put into it for each boot.
        recipe = packages.Recipe("bench", {NAME: images.image([images.layer({"a": "b"})])})
        one.install(*packages.make(Path(folder), [recipe])["bench"])
        one.write("/etc/systemd/system/bench.service", UNIT)
        one.chroot("systemctl", "--quiet", "enable", "bench.service")
        for way in ("prebuilt", *made):
            source = made.get(way) or next(iter(made.values()))
            planned = space.plan([space.Load(source.information, flush=True)])
            peaks: list[int] = []
            cost, count = measure.repeat(functools.partial(_boot, one, source, way == "prebuilt", peaks), runs, SECONDS)
            du = ["du", "-sb", str(one.data / "docker")]
            used = subprocess.run(du, check=True, capture_output=True, text=True).stdout
            seconds[way], final[way] = cost.seconds, int(used.split()[0])
            shipped, needed = (planned.archive_size, planned.peak_size) if way in made else (final[way], final[way])
            print(f"  {way:10} a container has run {cost.seconds:6.2f} s after power-on (median of {count});"
                  f" {shipped / 1e6:7.1f} MB shipped, {max(peaks) / 1e6:7.1f} MB at the peak (has to be there:"
                  f" {needed / 1e6:.1f}), {final[way] / 1e6:7.1f} MB then", flush=True)
    return seconds, final


class Flash(threading.Thread):
    """Records the peak of what a machine holds, in bytes: blocks of the file system of Docker's data, and archives."""

    def __init__(self, one: machine.Machine) -> None:
        """The data must be empty."""
        super().__init__(daemon=True)
        self._data, self._archives = one.data, one.path(packages.ARCHIVES)
        self.done = threading.Event()
        self.peak = 0
        self._empty = self._used()

    def run(self) -> None:
        """Look until done is set."""
        while not self.done.wait(0.01):
            archives = 0
            for archive in self._archives.glob("*.tar*"):
                with contextlib.suppress(FileNotFoundError):  # it goes when it is loaded
                    archives += archive.stat().st_size
            self.peak = max(self.peak, archives + self._used() - self._empty)

    def _used(self) -> int:
        found = os.statvfs(self._data)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


def _boot(one: machine.Machine, source: installed.Installed, prebuilt: bool, peaks: list[int]) -> measure.Cost:
    """Boot once, from a fresh state; return the seconds until the container has run, add to peaks the bytes at the peak."""
    fresh = 'for one in docker containerd; do rm -rf "$0/data/$one"; mkdir "$0/data/$one"; done'
    one.outside("sh", "-ec", fresh, str(one.folder))
    archives = one.path(packages.ARCHIVES)
    for old in archives.iterdir():
        old.unlink()
    flash = Flash(one)
    shutil.copy(source.info, archives)
    if prebuilt:
        writer.write(str(one.data / "docker"), [writer.read_source(str(source.info))])
    else:
        shutil.copy(source.archive, archives)
    flash.start()
    started = time.monotonic()
    with one.boot(seconds=300) as system:
        assert (system.state, system.failed_units()) == ("running", []), system.read_journal().text()
        flash.done.set()
        flash.join()
        peaks.append(flash.peak)
        return measure.Cost(system.read_journal().started("bench.service") - started, 0, 0)


def main() -> int:
    """Measure and print; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="middle,large", help=",".join(SIZES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", help="compressions, none first")
    options = parser.parse_args()
    goals = measure.Goals()
    for name in options.images.split(","):
        content = images.image([images.busybox_layer(), *measure.layers(7, SIZES[name] << 20)])
        with measure.scratch() as scratch:
            folder = Path(scratch)
            plain = installed.install(folder / "archives", content, NAME)
            megabytes = plain.information.layers_size / 1e6
            print(f"{name}: {megabytes:.0f} MB in 8 layers", flush=True)
            made = {kind: pack(plain, kind) for kind in (options.kinds.split(",") if options.kinds else KINDS[name])}
            most = 0
            for kind, one in made.items():
                for pseudo in (False, True):
                    writing = functools.partial(write, folder, one.info, pseudo)
                    cost, count = measure.repeat(writing, options.runs, SECONDS)
                    most = max(most, cost.memory)
                    print(f"  written from {kind:5}{'under pseudo' if pseudo else 'by root':14}{cost}"
                          f" {cost.seconds / megabytes * 100:6.2f} s for 100 MB (median of {count})", flush=True)
            goals.at_most(f"{name}: memory", most / 1e6, MOST_MEMORY, " MB")
            seconds, final = boot(made, options.runs)
            fastest = min(value for way, value in seconds.items() if way != "prebuilt")
            goals.at_most(f"{name}: a container runs, prebuilt / fastest preload", seconds["prebuilt"] / fastest, 1)
            least = min(value for way, value in final.items() if way != "prebuilt")
            goals.at_most(f"{name}: flash in the end, prebuilt / preload", final["prebuilt"] / least, 1.01)
    return goals.status()


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
