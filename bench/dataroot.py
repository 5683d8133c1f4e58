#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A data-root written at build time: what writing it takes, and what it saves on the target.

    bench/dataroot.py [--images small,middle,large]

The image has 8 layers of files of this machine's /usr. Written is from an uncompressed archive and from compressed ones, by
root, and under pseudo as do_rootfs does; memory is the largest resident set. Then Docker is started, by a tmpfs and without
network, on the data-root, or on an empty one into which dockin-preload loads the archive, until a container has run;
and what either takes on the flash: files of the data-root, or the archive besides until it is flushed. Needs root.

Goal: at most 100 MB of memory, whatever the size of the image.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time

from dataclasses import replace
from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from dockin import dataroot  # noqa: E402
from support import docker, images, installed, measure  # noqa: E402

SIZES = {"small": 20, "middle": 150, "large": 600}  # megabytes unpacked
MOST_MEMORY = 100e6
NAME = "bench/app:1"
HELPER = LAYER / "recipes-support/dockin-preload/files/dockin-preload"
WRITE = f"""
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(LAYER / "lib")!r})
from dockin import dataroot
dataroot.write(sys.argv[1], [dataroot.read_source(sys.argv[2])], scratch=sys.argv[3])
with open("/proc/self/status") as status, open(sys.argv[3] + "/peak", "w") as peak:
    peak.write(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""
# As recipes do it by default, and the two that are cheaper to read.
PACK = {"none": (), "xz": ("xz", "-9", "-T0", "-c"), "zstd": ("zstd", "-q", "-19", "-T0", "-c")}


def pack(one: installed.Installed, kind: str) -> installed.Installed:
    """Return the same image with its archive compressed."""
    if kind == "none":
        return one
    target = one.archive.with_name(f"{one.archive.name}.{kind}")
    with open(target, "wb") as packed:
        subprocess.run([*PACK[kind], str(one.archive)], stdout=packed, check=True)
    folder = one.info.parent / kind
    folder.mkdir()
    described = replace(one.information, archive=target.name, archive_size=target.stat().st_size)
    target.rename(folder / target.name)
    (folder / one.info.name).write_text(described.render())
    return installed.Installed(folder / one.info.name, described, one.config_digest, one.top_digest)


def write(folder: Path, info: Path, pseudo: bool) -> measure.Cost:
    """Write a data-root; return what it took."""
    root = folder / "docker"
    argv = [sys.executable, "-c", WRITE, str(root), str(info), str(folder)]
    if pseudo:
        program = Path(shutil.which("pseudo") or "/usr/bin/pseudo")
        start = ["env", f"PSEUDO_PREFIX={program.parent.parent}", f"PSEUDO_LOCALSTATEDIR={folder}/pseudo", str(program)]
        subprocess.run([*start, "true"], check=True)  # its server starts
        argv = [*start, *argv]
    cost = measure.program(argv)
    if pseudo:
        subprocess.run([*start, "-S"], check=True, stderr=subprocess.DEVNULL)
    shutil.rmtree(root)
    # The largest resident set that a parent is told of may be the parent's own, from before exec().
    return replace(cost, memory=int((folder / "peak").read_text()) * 1024)


def run(daemon: docker.Daemon, *preload: str) -> float:
    """Return the seconds from the start of Docker until a container has run."""
    started = time.monotonic()
    daemon.start()
    if preload:
        daemon.run(["/bin/busybox", "sh", *preload], timeout=300)
    daemon.docker("run", "--rm", "--pull", "never", "--network", "none", NAME, "true")
    return time.monotonic() - started


def target(kind: docker.Kind, made: dict[str, installed.Installed]) -> None:
    """Print what the target needs, prebuilt and loaded."""
    for way in ("prebuilt", *made):
        with docker.Daemon(kind=kind, data_size="4g") as daemon:
            daemon.stop()
            root = Path(f"/proc/{daemon.first}/root{daemon.data_root}")
            shutil.rmtree(root)
            before = 0
            preload: tuple[str, ...] = ()
            if way == "prebuilt":
                dataroot.write(str(root), [dataroot.read_source(str(made["none"].info))])
            else:
                if way == "zstd" and not kind.reads_zstd:
                    continue
                folder = shutil.copytree(made[way].info.parent, daemon.directory / "archives",
                                         ignore=lambda folder, names: {*PACK} & {*names})
                before = made[way].information.archive_size
                helper = str(shutil.copy(HELPER, daemon.directory))
                preload = (helper, "load", "--flush", f"{folder}/{made[way].info.name}")
            seconds = run(daemon, *preload)
            used = subprocess.run(["du", "-sb", str(root)], check=True, capture_output=True, text=True).stdout
            after = int(used.split()[0])
            shipped = before or after
            print(f"    {kind!s:18}{way:10} a container has run after {seconds:6.2f} s; shipped {shipped / 1e6:7.1f} MB,"
                  f" then {after / 1e6:7.1f} MB", flush=True)


def main() -> int:
    """Measure and print; return 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="small,middle,large", help=",".join(SIZES))
    missed = False
    for name in parser.parse_args().images.split(","):
        content = images.image([images.busybox_layer(), *measure.layers(8, SIZES[name] << 20)])
        with measure.scratch() as scratch:
            folder = Path(scratch)
            plain = installed.install(folder / "archives", content, NAME)
            made = {kind: pack(plain, kind) for kind in PACK}
            megabytes = plain.information.layers_size / 1e6
            print(f"{name}: {megabytes:.0f} MB in 9 layers")
            for kind, one in made.items():
                for pseudo in (False, True):
                    cost = write(folder, one.info, pseudo)
                    missed = missed or cost.memory > MOST_MEMORY
                    print(f"    written from {kind:5}{'under pseudo' if pseudo else 'by root':14}{cost}"
                          f" {cost.seconds / megabytes * 100:6.2f} s for 100 MB", flush=True)
            for kind_ in docker.KINDS:
                if kind_.store == "classic":
                    target(kind_, made)
    print(f"goal: at most {MOST_MEMORY / 1e6:.0f} MB of memory: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
