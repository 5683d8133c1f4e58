# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Who runs builds, and what of this machine he can reach: BitBake refuses root, so root needs a user."""

from __future__ import annotations

import functools
import os
import pwd
import stat
import subprocess
import sys
import tempfile

from dataclasses import dataclass
from pathlib import Path

NAME = "dockin-build"
SYSTEM_PATH = ("/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Unavailable(Exception):
    """A part that tests need can't be had on this machine; str() says which, why and what to do."""


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def other(self) -> bool:
        """True if that is somebody else than who runs the tests."""
        return self.uid != os.geteuid()

    def own(self, path: Path) -> None:
        """Give a file or folder to the account, readable for all."""
        bits = 0o555 if path.is_dir() else 0o444
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits | stat.S_IWUSR)
        if self.other:
            os.chown(path, self.uid, self.gid)

    def own_folders(self, top: Path) -> None:
        """Give a folder and all folders in it to the account, so that it can make files there."""
        for folder, _, _ in os.walk(top):
            self.own(Path(folder))

    def reaches(self, folder: Path) -> bool:
        """Return True if the account may enter a folder and all above it."""
        return all(self._enters(one) for one in (folder.resolve(), *folder.resolve().parents))

    def path(self) -> str:
        """Return a PATH for its commands: ours, without folders it can't reach and without our venv."""
        venv = Path(sys.prefix) / "bin" if sys.prefix != sys.base_prefix else None
        folders = [*os.environ.get("PATH", "").split(":"), *SYSTEM_PATH]
        wanted = [one for one in folders if one.startswith("/") and Path(one) != venv and Path(one).is_dir()]
        return ":".join(dict.fromkeys(one for one in wanted if self.reaches(Path(one))))

    def temporary_folder(self, prefix: str) -> Path:
        """Make a temporary folder that belongs to the account, in a place that it can reach."""
        for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):
            if place.is_dir() and self.reaches(place):
                folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
                self.own(folder)
                return folder
        place = Path(tempfile.gettempdir())
        raise Unavailable(f"user '{self.name}' can't reach {place}: set TMPDIR to a folder that it can")

    def _enters(self, folder: Path) -> bool:
        try:
            info = folder.stat()
        except OSError:
            return False
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        return bool(info.st_mode & (stat.S_IXGRP if info.st_gid == self.gid else stat.S_IXOTH))


@functools.cache
def ordinary() -> Account:
    """Return who runs the builds: we; for root the user "dockin-build", which is made where it is not."""
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        _make()
        entry = pwd.getpwnam(NAME)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make() -> None:
    argv = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    argv += ["--shell", "/usr/sbin/nologin", "--comment", "builds of meta-dockin's tests", NAME]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in (0, 9):  # 9: somebody else was quicker
        raise Unavailable(f"BitBake refuses root, and user '{NAME}' can't be made: {done.stderr.strip()}")
