# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Real Docker daemons of two Debian suites, each in namespaces and on a data-root of its own.

    with docker.start(kind=docker.OLDER_CLASSIC) as daemon:
        daemon.docker("load", "--input", archive)
        daemon.run(["sh", "-c", "…"])           # any command beside the daemon

The programs are those of tests/support/rootfs.py. A daemon gets an overlay on that, an ext4 file system of its own for its
data, whose power can be cut, no network, and a PID namespace: whatever is left in it ends with its first process, also when
the tests are killed. `directory` has the same path inside and outside. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import pytest

from support import cache, filesystem, rootfs
from support.rootfs import Unavailable

START_SECONDS = 60
STOP_SECONDS = 15
COMMAND_SECONDS = 60

class DaemonError(Exception):
    """A daemon or a command beside it did not do what it should; str() has what it printed."""


@dataclass(frozen=True)
class Kind:
    """A Docker to test with. str() is its name, for test ids."""

    suite: str
    """One of rootfs.SUITES."""
    store: str
    """"classic" (graph driver overlay2) or "containerd" (its image store, snapshotter overlayfs)."""

    def __str__(self) -> str:
        return f"{self.suite}-{self.store}"

    @property
    def reads_zstd(self) -> bool:
        """Docker takes zstd, outside or for layers, since 23."""
        return self.major >= 23

    @property
    def is_strict(self) -> bool:
        """Docker 28 does not unpack everything as those before it do: layers.LOOSE."""
        return self.major >= 28

    @property
    def keeps_unnamed(self) -> bool:
        """An image whose name goes to another stays: in the classic store, and since 28 in containerd's (not in 26.1)."""
        return self.store == "classic" or self.major >= 28

    @property
    def major(self) -> int:
        """The least version."""
        return rootfs.SUITES[self.suite].docker[0]


NO_NETWORK = {"iptables": False, "ip6tables": False, "bridge": "none"}
STORE_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "classic": {"storage-driver": "overlay2"},
    "containerd": {"storage-driver": "overlayfs", "features": {"containerd-snapshotter": True}},
}

OLDER_CLASSIC = Kind(rootfs.OLDER, "classic")
NEWER_CLASSIC = Kind(rootfs.NEWER, "classic")
CONTAINERD = Kind(rootfs.NEWER, "containerd")
CLASSICS = tuple(dict.fromkeys((OLDER_CLASSIC, NEWER_CLASSIC))) if cache.everything() else (OLDER_CLASSIC,)
KINDS = (*CLASSICS, CONTAINERD)

# Runs as root of new mount, PID and network namespaces; arguments: root file system, directory, the size of the data's file
# system, which is in memory, but as a disk's, and whether it is to be a tmpfs instead.
# Ends with exec, so that the new root's shell is the namespace's first process and reaps what others leave.
_ENTER = r"""
set -e
lower=$1 work=$2 size=$3 volatile=$4
root=$work/root
mkdir -p "$work/upper" "$work/work" "$root" "$work/data"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
# As targets have it. Podman 6 takes no cgroups of version 1, and crun runs no containers with both.
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/var/tmp"
mkdir -p "$root$work"
mount --bind "$work" "$root$work"
mkdir "$root$work/disk"
mount -t tmpfs -o mode=0700 tmpfs "$root$work/disk"
truncate -s "$size" "$root$work/disk/image"
mkfs.ext4 -q -m 0 -E lazy_itable_init=1,lazy_journal_init=1 "$root$work/disk/image"
[ "$volatile" ] || mount -o loop "$root$work/disk/image" "$root$work/data"
[ ! "$volatile" ] || mount -t tmpfs -o "size=$size,mode=0755" tmpfs "$root$work/data"
exec chroot "$root" /bin/sh -c 'echo >"$0/ready"; while :; do sleep 3600 & wait; done' "$work"
"""


# $1: where the disk is mounted, $2: the disk, $3: a file with the ID of the next boot.
_REMOUNT = """
set -e
while read -r _ place _ options _; do
    # What is mounted there, and overlays elsewhere on layers that are there.
    case $place,$options in "$1"/* | *"=$1"/*) umount -l "$place" || : ;; esac
done </proc/mounts
# A process that was killed may have a file open for a moment yet.
tries=0
until umount "$1"; do
    [ "$tries" -lt 100 ]
    sleep 0.1
    tries=$((tries + 1))
done
# What was unmounted lazily may have the file system yet, as the power cut has left it, and mount would take that.
tries=0
while [ "$(losetup -j "$2")" ] && [ "$tries" -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
mount -o loop "$2" "$1"
mount --bind "$3" /proc/sys/kernel/random/boot_id
"""


def start(**options: Any) -> Daemon:
    """Return a daemon that runs; skip the test where it can't be had. Takes what Daemon takes."""
    try:
        return Daemon(**options).__enter__()
    except Unavailable as error:
        pytest.skip(f"unavailable: {error}")


class Daemon:
    """A Docker daemon in namespaces of its own; a context manager.

    `data_size` is the size of the file system that holds its data, in the form that truncate(1) takes; with `volatile` that
    is a tmpfs. With `system_containerd` a containerd runs beside the daemon, as systemd starts one on many targets, instead
    of below it. `settings` are in daemon.json in place of those that choose the kind's store; they may change later.
    """

    def __init__(self, kind: Kind, data_size: str = "1g", system_containerd: bool = False,
                 volatile: bool = False, settings: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.data_size = data_size
        self.system_containerd = system_containerd
        self.volatile = volatile
        self.settings = settings
        self.version = ""
        self._namespace: subprocess.Popen[bytes] | None = None
        self.first = 0
        """PID, as it is outside, of the first process in the namespaces."""
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Daemon:
        if self._namespace:
            return self  # of start()
        for program in ("unshare", "nsenter", "setpriv", "mkfs.ext4", "losetup"):
            if not shutil.which(program):
                raise Unavailable(f"there is no {program} on this machine: run `make setup`")
        lower = rootfs.debian(self.kind.suite)
        # Short, as the path of a socket has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="dockin-docker-"))
        try:
            self._enter(lower)
            self.start()
            self._check_version()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def data_root(self) -> Path:
        """The daemon's data-root, as it is called inside; outside there is an empty directory."""
        return self.directory / "data" / "docker"

    @property
    def containerd_socket(self) -> str:
        """The socket of the containerd that has the images."""
        if self.system_containerd:
            return "/run/containerd/containerd.sock"
        return f"{self.directory}/exec/containerd/containerd.sock"

    def environment(self) -> dict[str, str]:
        """Return the environment of a command beside the daemon."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "DOCKER_HOST": f"unix://{self.directory}/docker.sock",
        }

    def run(self, argv: Sequence[str], check: bool = True, timeout: float = COMMAND_SECONDS,
            env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command beside the daemon, as root, its output captured; a failure is a DaemonError unless not check."""
        done = subprocess.run(
            self._inside(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", timeout=timeout, check=False, env={**self.environment(), **(env or {})},
        )
        if check and done.returncode:
            raise DaemonError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a command beside the daemon; it ends with the daemon's namespaces at the latest."""
        options.setdefault("env", self.environment())
        process = subprocess.Popen(self._inside(argv), stdin=subprocess.DEVNULL, **options)
        self._started.append(process)
        return process

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker client of the daemon's own suite; return its output without the last newline."""
        return self.run(["docker", *arguments], check=check).stdout.rstrip("\n")

    def run_image(self, name: str, *command: str) -> str:
        """Run a container of an image that must be there; return what it prints. A failure is a DaemonError."""
        # On a machine with much to do Docker 26 now and then loses all output of a container that ends at once, attached
        # or in `docker logs`: the exit status is 0 and nothing is printed. So silence alone is not believed.
        for _ in range(5):
            output = self.docker("run", "--rm", "--pull", "never", "--network", "none", name, *command)
            if output:
                return output
        return ""

    def start(self) -> None:
        """Start the daemon on its data-root; return when it answers."""
        if self.system_containerd:
            self._start_containerd()
        settings = STORE_SETTINGS[self.kind.store] if self.settings is None else self.settings
        (self.directory / "daemon.json").write_text(json.dumps({**NO_NETWORK, **settings}))
        work = self.directory
        argv = ["dockerd", "--config-file", f"{work}/daemon.json", "--data-root", str(self.data_root),
                "--exec-root", f"{work}/exec", "--pidfile", f"{work}/docker.pid", "--host", f"unix://{work}/docker.sock",
                "--cgroup-parent", f"/{work.name}"]
        with open(work / "docker.log", "ab") as log:
            daemon = self.popen(argv, stdout=log, stderr=subprocess.STDOUT)
        self._wait(lambda: self._answers() or daemon.poll() is not None, "dockerd")
        if not self._answers():
            raise DaemonError(f"dockerd of {self.kind} ended:\n{self._log()}")

    def stop(self, signal: str = "TERM") -> None:
        """Stop the daemon, or kill it; its data stay."""
        pid = (self.directory / "docker.pid").read_text().strip()
        self.run(["sh", "-c", f"kill -{signal} {pid}"])
        self._wait(lambda: self.run(["test", "-d", f"/proc/{pid}"], check=False).returncode != 0, "the end of dockerd")

    def cut_power(self) -> None:
        """End everything but the namespaces at once; of the data, what was not written to the disk yet is lost.

        The data are there again, as the disk has them, for start(), and the kernel says that it is another boot.
        """
        filesystem.shut_down(f"/proc/{self.first}/root{self.directory}/data")
        self._kill_all()
        boot_id = self.directory / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        self.run(["sh", "-c", _REMOUNT, "sh", f"{self.directory}/data", f"{self.directory}/disk/image",
                  str(boot_id)])

    def _kill_all(self) -> None:
        """Kill every process in the namespaces but their first."""
        while left := [pid for pid in self.processes() if pid != self.first and not self._is_zombie(pid)]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def processes(self) -> dict[int, list[str]]:
        """Return the processes in the daemon's namespaces: PID, as it is outside, and argv."""
        namespace = os.readlink(f"/proc/{self.first}/ns/pid")
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns" / "pid") == namespace:
                    found[int(process.name)] = (process / "cmdline").read_text(errors="replace").split("\0")[:-1]
            except OSError:
                pass  # it ended meanwhile
        return found

    def close(self) -> None:
        """End everything in the namespaces and remove the directory."""
        if self._namespace:
            # --kill-child ends the first process, and with it all others.
            self._namespace.kill()
            self._namespace.wait(STOP_SECONDS)
            self._namespace = None
        for process in self._started:
            process.kill()
            process.wait(STOP_SECONDS)
        self._remove_cgroups()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _enter(self, lower: Path) -> None:
        """Make the namespaces and their file systems."""
        # When this process dies, setpriv's signal ends unshare, and that its child.
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child",
                "--propagation", "private", "sh", "-c", _ENTER, "sh", str(lower), str(self.directory), self.data_size,
                "yes" if self.volatile else ""]
        log = self.directory / "namespace.log"
        with open(log, "wb") as output:
            self._namespace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        namespace, ready = self._namespace, self.directory / "ready"
        self._wait(lambda: ready.exists() or namespace.poll() is not None, "its namespaces")
        if not ready.exists():
            raise Unavailable(f"namespaces for a Docker daemon can't be made: {log.read_text().strip()}")
        children = Path(f"/proc/{namespace.pid}/task/{namespace.pid}/children").read_text().split()
        self.first = int(children[0])

    def _remove_cgroups(self) -> None:
        """Remove what the containers left: a hierarchy a controller with cgroup v1, one in all with v2."""
        mount, name = Path("/sys/fs/cgroup"), self.directory.name
        for top in (*mount.glob(name), *mount.glob(f"*/{name}")):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # still busy: an empty cgroup does no harm

    @staticmethod
    def _is_zombie(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    def _inside(self, argv: Sequence[str]) -> list[str]:
        # By its path: it is looked up on the PATH of the command otherwise.
        return [shutil.which("nsenter") or "nsenter", "--target", str(self.first),
                "--mount", "--pid", "--net", "--root", "--wd", "--", *argv]

    def _start_containerd(self) -> None:
        socket = "/run/containerd/containerd.sock"
        # That of a containerd that was killed would be taken for the new one's.
        self.run(["rm", "-f", socket])
        with open(self.directory / "containerd.log", "ab") as log:
            self.popen(["containerd", "--root", f"{self.directory}/data/containerd"], stdout=log,
                       stderr=subprocess.STDOUT)
        self._wait(lambda: self.run(["test", "-S", socket], check=False).returncode == 0, "containerd")

    def _answers(self) -> bool:
        return self.run(["docker", "version"], check=False).returncode == 0

    def _wait(self, condition: Any, what: str) -> None:
        end = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise DaemonError(f"{what} of {self.kind} not ready after {START_SECONDS} s:\n{self._log()}")
            time.sleep(0.05)

    def _log(self) -> str:
        log = self.directory / "docker.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log.exists() else "(no log)"

    def _check_version(self) -> None:
        self.version = self.docker("version", "--format", "{{.Server.Version}}")
        minimum, below = rootfs.SUITES[self.kind.suite].docker
        if not minimum <= int(self.version.partition(".")[0]) < below:
            raise Unavailable(f"Debian {self.kind.suite} has Docker {self.version}, the tests of {self.kind} need"
                              f" at least {minimum} and less than {below}")
