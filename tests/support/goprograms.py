# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker and containerd of tests/programs.ini, made by Go from its module proxy and kept in the cache.

    goprograms.directory()                      # for the tests: the programs, or Unavailable

    PYTHONPATH=tests python3 -m support.goprograms      # makes them: nine minutes of CPU time, then nothing

Where they can't be had, for want of Go or as the module proxy gives no answer, a note beside them says why. A newer Go or
network is tried again by the next call.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

from pathlib import Path

from support import cache
from support.account import Unavailable

PROGRAMS_FILE = Path(__file__).resolve().parent.parent / "programs.ini"
SECONDS = 2400

# What go prints where a module can't be had, or is for a newer Go; everything else is a fault in here.
_NOT_TO_BE_HAD = re.compile(r"dial tcp|proxyconnect|TLS handshake|(?:connection|i/o) time|: (?:4\d\d|5\d\d) [A-Z]"
                            r"|unexpected EOF|requires go >=|toolchain not available|module lookup disabled")


class ProgramsError(Exception):
    """Go could not make a program for a reason that is not the network's."""


def directory() -> Path:
    """Return the directory with the programs. Raises Unavailable where they are not to be had, or were not made yet."""
    path = _path()
    if are_made():
        return path
    note = _note(path)
    reason = note.read_text().strip() if note.exists() else "they are not made yet: run `make programs`"
    raise Unavailable(f"Docker and containerd of {PROGRAMS_FILE.name}: {reason}")


def are_made() -> bool:
    """Return whether the programs are there."""
    return _path().exists()


def make() -> Path:
    """Make the programs if the cache lacks them; return their directory. Raises Unavailable, ProgramsError."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            try:
                _make(path)
            except Unavailable as reason:
                _note(path).write_text(f"{reason}\n")
                raise
            _note(path).unlink(missing_ok=True)
    return path


def _path() -> Path:
    """Return where the programs are: the name tells of what, so that other versions are made beside those in use."""
    return cache.directory() / "go" / hashlib.sha256(PROGRAMS_FILE.read_bytes()).hexdigest()[:8]


def _note(path: Path) -> Path:
    return path.with_suffix(".unavailable")


def _make(path: Path) -> None:
    """Make all programs under another name, and rename that when they are complete."""
    # Where Go's own packages put it, as sudo may have another PATH.
    go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin:/usr/lib/go/bin")
    if not go:
        raise Unavailable("there is no Go on this machine")
    pins = configparser.ConfigParser()
    pins.read_string(PROGRAMS_FILE.read_text())
    work, new = path.with_suffix(".work"), path.with_suffix(".new")
    for folder in (work, new):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    # -modcacherw: so that all of it can be removed.
    environment = {**os.environ, "HOME": str(work), "GOPATH": str(work), "GOCACHE": str(work / "build"), "GOBIN": str(new),
                   "GOMODCACHE": str(work / "mod"), "GOFLAGS": "-modcacherw -trimpath -buildvcs=false", "CGO_ENABLED": "0"}
    end = time.monotonic() + SECONDS
    try:
        for name in pins.sections():
            pin = pins[name]
            argv, place = [go, "install", *shlex.split(pin["options"])], work
            if "requirements" in pin:
                place = _unpack(go, pin, work / name, environment, end)
                argv += ["-mod=readonly", *(f"./{package}" for package in pin["packages"].split())]
            else:
                argv += [f"{pin['module']}/{package}@{pin['version']}" for package in pin["packages"].split()]
            _run(argv, place, environment, end)
        new.rename(path)
    finally:
        for folder in (work, new):
            shutil.rmtree(folder, ignore_errors=True)


def _unpack(go: str, pin: configparser.SectionProxy, folder: Path, environment: dict[str, str], end: float) -> Path:
    """Copy a module to a folder, with its file of requirements as its go.mod; return the folder."""
    module = f"{pin['module']}@{pin['version']}"
    source = json.loads(_run([go, "mod", "download", "-json", module], folder.parent, environment, end))["Dir"]
    shutil.copytree(source, folder)
    requirements = folder / pin["requirements"]
    requirements.with_suffix(".sum").rename(folder / "go.sum")
    requirements.rename(folder / "go.mod")
    return folder


def _run(argv: list[str], folder: Path, environment: dict[str, str], end: float) -> str:
    """Run go; return what it printed. Raises Unavailable, ProgramsError."""
    try:
        done = subprocess.run(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=end - time.monotonic(), check=False)
    except subprocess.TimeoutExpired:
        raise ProgramsError(f"{' '.join(argv)}: not finished after {SECONDS} s in all") from None
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if not line.startswith("go: downloading")]
        message = f"{' '.join(argv)}: {' / '.join(words[-4:])}"
        raise Unavailable(message) if _NOT_TO_BE_HAD.search(message) else ProgramsError(message)
    return done.stdout


def main() -> int:
    """Make the programs; return the exit status, which is 0 also where they are not to be had."""
    started = time.monotonic()
    try:
        path = make()
    except Unavailable as reason:
        print(f"programs: unavailable: {reason}")
        return 0
    except ProgramsError as error:
        print(f"programs: {error}", file=sys.stderr)
        return 1
    print(f"programs: {', '.join(sorted(program.name for program in path.iterdir()))} in place in {path}"
          f" ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
