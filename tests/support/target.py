# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The target's command dockin-preload beside a daemon, run by the shells that targets have.

    preload = Target(daemon, "busybox")
    preload("load", "--flush", installed.info)      # returns what it printed

busybox: ash with busybox's own applets. dash: with only those programs on PATH that OE-core's busybox has, and a sync that
takes no options, as that one.
"""

from __future__ import annotations

import os
import time

from support import helper, images

PROGRAMS = ("bzip2", "cat", "dd", "df", "find", "gzip", "mkdir", "mv", "od", "rm", "sed", "sha256sum", "sleep", "sort",
            "stat", "tar", "tr", "wc")
# Debian's busybox lacks flock; the others belong to the image's packages.
OTHERS = ("ctr", "docker", "flock", "podman", "xz", "zstd")
OK, FAILED, USAGE, BAD_INFO, NO_DOCKER, NO_SPACE, NO_ARCHIVE = range(7)
MIB = 1 << 20


def filler(shelf, size):
    """Return a layer that makes an image as large as a test needs it."""
    return images.layer({"filler": f"{shelf.number}".encode() + os.urandom(size)}, "none")


def wait_for(condition, seconds=30):
    """Return the first true value of condition()."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not after {seconds} s"
        time.sleep(0.01)
    return value


class Target:
    """Runs dockin-preload beside a daemon, as a target's shell does."""

    def __init__(self, daemon, shell):
        self.daemon = daemon
        self.shell = shell
        self.directory = daemon.directory / f"target-{shell}"
        if not self.directory.exists():
            self._make()

    def _make(self):
        self.directory.mkdir()
        helper.write(self.directory)
        programs = self.directory / "bin"
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).symlink_to("/bin/busybox")
        for name in OTHERS:
            (programs / name).symlink_to(f"/usr/bin/{name}")
        # As of OE-core's busybox: CONFIG_FEATURE_SYNC_FANCY is not set.
        self.script("sync", 'exec /bin/busybox sync')

    def script(self, name, text, folder="bin"):
        """Put a shell script on PATH, in front of a program of its name if folder is not "bin"."""
        path = self.directory / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/dash\n{text}\n")
        path.chmod(0o755)
        return path.parent

    def argv(self, *arguments):
        shell = ["/bin/busybox", "sh"] if self.shell == "busybox" else ["/bin/dash"]
        return [*shell, str(self.directory / helper.NAME), *map(str, arguments)]

    def environment(self, first=None, **extra):
        path = f"{self.directory}/bin"
        return {**self.daemon.environment(), "PATH": f"{first}:{path}" if first else path,
                "CONTAINERD_ADDRESS": self.daemon.containerd_socket, **extra}

    def __call__(self, *arguments, status=OK, first=None, **environment):
        """Run it; check the exit status and that nothing unprintable comes out; return what it printed."""
        done = self.daemon.run(self.argv(*arguments), check=False, env=self.environment(first, **environment))
        assert done.returncode == status, done.stdout + done.stderr
        for line in (done.stdout + done.stderr).split("\n"):
            assert line.isprintable(), repr(line)
        return done.stdout + done.stderr

    def exists(self, path):
        return self.daemon.run(["test", "-e", str(path)], check=False).returncode == 0

    def record(self, installed):
        return self.daemon.data_root / "dockin" / installed.info.stem

    def marker(self, installed):
        return self.daemon.data_root / "dockin" / f".{installed.info.stem}.loading"

    def brought(self, installed):
        return self.daemon.data_root / "dockin" / f".{installed.info.stem}.brought"
