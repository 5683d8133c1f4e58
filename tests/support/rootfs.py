# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Debian root file systems with systemd and Docker, made once and kept in the cache.

    lower = rootfs.debian(rootfs.OLDER)     # 20 s the first time, then at once; never to be written into

The tests ask for an older and a newer suite, or for BOTH. The newer one is `go`, with the newest Docker, where its programs
were made, and else Debian 13; with $DOCKIN_ALL it is Debian 13, and the tier `newest` has the other. $DOCKIN_SUITE, which
`make newer-test` and `make newest-test` set, has one for all, such as Debian's next release.

As on a target made by OE-core, installed units start only if a preset of their package says so, which only what Debian
enabled at once gets around; the machine ID is empty, so that no boot is a "first boot" to systemd, at which it would
apply presets by itself. No timer starts anything of Debian's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess

from dataclasses import dataclass
from pathlib import Path

from support import cache, goprograms
from support.account import Unavailable

SECONDS = 600

_COMMON = ("systemd", "systemd-sysv", "dbus", "docker.io", "xz-utils", "zstd", "iproute2", "iptables", "busybox-static")
# And Compose as a plugin of the client.
_NEWER = (*_COMMON, "docker-cli", "docker-compose", "podman", "crun")


@dataclass(frozen=True)
class Suite:
    """A root file system of Debian: its packages, and what is expected of it."""

    packages: tuple[str, ...]
    docker: tuple[int, int]
    """The lowest major version of Docker that it may have, and the first that it may not."""
    archives: tuple[str, ...] = ()
    """The suites of Debian that it is made of, where that is not the one of its name."""
    go: bool = False
    """Whether programs of support.goprograms stand in place of Debian's."""


SUITES = {
    # Docker 20.10, systemd 252
    "bookworm": Suite(_COMMON, (20, 21)),
    # Docker 26.1, systemd 257, Podman 5.4
    "trixie": Suite(_NEWER, (26, 28)),
    # As it was when it was tried: Docker 28.5, systemd 262, Podman 5.8
    "forky": Suite(_NEWER, (28, 99)),
    # And with Podman 6.1
    "experimental": Suite((*_NEWER, "podman/experimental", "golang-github-containers-common/experimental"), (28, 99),
                          ("sid", "experimental")),
    # Docker 29.8, containerd 2.4, on trixie; its runc knows no time namespaces, which Docker 29 makes.
    "go": Suite((*_NEWER, "erofs-utils", "runc/forky"), (29, 99), ("trixie", "forky"), go=True),
}
_chosen = os.environ.get("DOCKIN_SUITE")
if _chosen and _chosen not in SUITES:
    raise ValueError(f"DOCKIN_SUITE: no suite {_chosen}: there are {', '.join(SUITES)}")
_newer = "go" if goprograms.are_made() and not cache.everything() else "trixie"
OLDER, NEWER = (_chosen, _chosen) if _chosen else ("bookworm", _newer)
BOTH = tuple(dict.fromkeys((OLDER, NEWER)))

# Run by mmdebstrap with the new root as $1.
_FINISH = """
set -e
systemctl --quiet --root="$1" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
: > "$1/etc/machine-id"
rm -f "$1/var/lib/dbus/machine-id" "$1/etc/resolv.conf" "$1/etc/hostname"
rm "$1/lib/systemd/system-preset/"*.preset
mkdir -p "$1/etc/systemd/system-preset" "$1/var/lib/docker" "$1/var/lib/containerd"
echo 'disable *' > "$1/etc/systemd/system-preset/99-default.preset"
"""

# What apt prints when the archive can't be reached; everything else is a fault in here.
_NO_NETWORK = re.compile(r"Could not (?:resolve|connect|wait)|Temporary failure|Unable to connect|Failed to fetch|"
                         r"Connection (?:refused|timed out|failed)|does not have a Release file")


class RootfsError(Exception):
    """mmdebstrap failed for a reason that is not the network's."""


def debian(suite: str) -> Path:
    """Return the root file system of one of SUITES, made now if the cache lacks it. Raises Unavailable, RootfsError."""
    if os.geteuid() != 0:
        raise Unavailable("a root file system needs root: run the tests as root")
    if not shutil.which("mmdebstrap"):
        raise Unavailable("there is no mmdebstrap on this machine: run `make setup`")
    folder = cache.directory() / "rootfs"
    folder.mkdir(parents=True, exist_ok=True)
    # The name tells what is in it, so that a changed recipe makes a new one beside those in use.
    programs = goprograms.directory() if SUITES[suite].go else None
    parts = [*SUITES[suite].packages, _FINISH, *([programs.name] if programs else [])]
    recipe = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    path = folder / f"{suite}-{recipe[:8]}"
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _bootstrap(suite, path, programs)
    return path


def _bootstrap(suite: str, path: Path, programs: Path | None) -> None:
    """Make a root file system, with other programs of a directory, under another name, and rename it when it is complete."""
    new = path.with_name(f"{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    finish = path.with_name(f"{path.name}.finish")
    finish.write_text(_FINISH)
    archives = SUITES[suite].archives or (suite,)
    # The index of a suite that moves is valid for a week; a mirror that is behind will do.
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"',
            f'--aptopt=APT::Default-Release "{archives[0]}"', f"--include={','.join(SUITES[suite].packages)}",
            f'--customize-hook=sh "{finish}" "$1"', archives[0], str(new)]
    if len(archives) > 1:
        argv += [f"deb http://deb.debian.org/debian {name} main" for name in archives]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=SECONDS, check=False)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        status, output = -1, f"Unable to connect in time: not finished after {SECONDS} s"
    finally:
        finish.unlink(missing_ok=True)
    if status != 0:
        shutil.rmtree(new, ignore_errors=True)
        last = " / ".join(output.strip().splitlines()[-6:])
        if _NO_NETWORK.search(output):
            raise Unavailable(f"Debian {suite} can't be fetched by mmdebstrap: {last}")
        raise RootfsError(f"mmdebstrap could not make a root file system of Debian {suite}: {last}")
    for program in programs.iterdir() if programs else ():
        [place] = [found for found in (new / "usr/bin" / program.name, new / "usr/sbin" / program.name) if found.exists()]
        shutil.copy(program, place)
    new.chmod(0o755)
    new.rename(path)
