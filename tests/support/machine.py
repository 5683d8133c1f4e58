# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Throw-away Debian machines that boot for real, under systemd-nspawn, as often as a test wants.

    with machine.Machine(rootfs.OLDER) as one:
        one.install(*debs)                      # offline, as an image build installs packages
        with one.boot() as system:              # the first boot; returns when systemd says that it is done
            system.run("docker", "run", "--rm", "--network", "none", "busybox:1.36.1", "true")
        assert not system.faults()              # what the journal and the console have stays readable after it
        with one.boot() as system:              # the second boot, of the same disk
            system.kill()                       # or its end at this very instant

The disk of a machine is an overlay on a root file system of the cache (support.rootfs), with a tmpfs above it, so
that a new machine costs a tenth of a second. Docker's and containerd's data lie beside the root file system, as
on a data partition: an overlay can't hold the overlays that they make. That is an ext4 file system, whose power can be
cut. The machine has a network of its own that leads nowhere, a cgroup of its own, and may not touch the clock or the
modules of this machine's kernel.

All mounts and processes are in namespaces that one process holds. It ends at the latest when the test's process does,
even by SIGKILL, and with it the machine; nothing is left mounted. Needs root.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import filesystem, rootfs
from support.rootfs import Unavailable

PROGRAMS = ("systemd-nspawn", "nsenter", "unshare", "setpriv", "mount", "chroot", "mkfs.ext4")
BOOT_SECONDS = 90
STOP_SECONDS = 60
COMMAND_SECONDS = 60
INSTALL_SECONDS = 120
DISK = "2g"  # the most that one machine's disk may hold, in memory

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}

# What OE-core's package names stand for is in Debian under other names, or in docker.io itself.
PROVIDED = ("docker", "docker-moby", "virtual-containerd", "xz")

# First process of the namespaces. $1: a folder, $2: the root file system, $3: size of the disk. Ends when its standard
# input does.
_HOLD = """
set -e
mount -t tmpfs -o "mode=0755,size=$3" tmpfs "$1"
cd "$1"
mkdir lower upper work root data
mount --bind "$2" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
truncate -s "$3" disk
mkfs.ext4 -q -m 0 -E lazy_itable_init=1,lazy_journal_init=1 disk
mount -o loop disk data
mkdir data/docker data/containerd data/containers
mount -t tmpfs -o mode=0755 tmpfs /run
echo ready
exec cat
"""

# $1: the folder. What still uses the data has been killed and goes at once.
_REMOUNT = """
cd "$1" && for _ in 1 2 3 4 5 6 7 8 9; do
    umount data && exec mount -o loop disk data
    sleep 0.1
done
exit 1
"""

# $1: a cgroup; the rest: the command that is to run in it.
_IN_CGROUP = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'

_STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
_STARTED = "39f53479d3a045ac8e11786248231fbf"
_FAILED_START = "be02cf6855d2428ba40df7e9d022f03d"

# What systemd says of units and their files that are wrong.
_FAULTS = re.compile(r"ordering cycle|Failed to (?:start|enqueue|load|parse)|Unknown (?:key|section|lvalue)|"
                     r"[Ii]gnoring|not executable|bad unit file")
# What it says where a controller is not in cgroups of version 2, as this machine has it in version 1.
_NO_CONTROLLER = re.compile(r"Failed to read \S+ for control group .*, ignoring: No data available")
# A line of the console that the journal has as well.
_FORWARDED = re.compile(r"^\S+\[[0-9]+\]: ")


class MachineError(AssertionError):
    """A machine or a command in it did not do what it should; str() has what there is to see."""


# ------------------------------------------------------------------------------------------ the journal


@dataclass(frozen=True)
class Entry:
    """A line of the journal."""

    unit: str
    """Whose process wrote it or, of a line of systemd's own, whom it is about."""
    identifier: str
    message: str
    priority: int
    seconds: float
    """Since this machine's kernel started: monotonic, and the same clock for all machines."""
    message_id: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:.3f} {self.identifier}[{self.unit}] {self.message}"


class Journal(list[Entry]):
    """The journal of one boot, in order, with the questions that tests ask."""

    @classmethod
    def parse(cls, text: str) -> Journal:
        """Return what `journalctl -o json` printed."""
        return cls(_entry(json.loads(line)) for line in text.splitlines())

    def of(self, unit: str) -> list[str]:
        """Return what a unit's processes wrote."""
        return [entry.message for entry in self if entry.unit == unit and entry.identifier != "systemd"]

    def grep(self, pattern: str, unit: str = "") -> list[Entry]:
        """Return the lines, of a unit if one is named, that a regular expression is found in."""
        return [entry for entry in self if unit in ("", entry.unit) and re.search(pattern, entry.message)]

    def starting(self, unit: str) -> float:
        """Return when systemd began to start a unit."""
        return self._when(unit, _STARTING)

    def started(self, unit: str) -> float:
        """Return when systemd had a unit up: its notification came, or its oneshot process had ended well."""
        return self._when(unit, _STARTED)

    def has_started(self, unit: str) -> bool:
        """Tell whether a unit got up in this boot."""
        return any(entry.unit == unit and entry.message_id == _STARTED for entry in self)

    def text(self) -> str:
        """Return it as a person reads it."""
        return "\n".join(map(str, self))

    def _when(self, unit: str, message_id: str) -> float:
        for entry in self:
            if entry.unit == unit and entry.message_id == message_id:
                return float(entry.seconds)
        raise MachineError(f"the journal does not have {unit} {'starting' if message_id == _STARTING else 'started'}")


def _entry(fields: Mapping[str, Any]) -> Entry:
    message = fields.get("MESSAGE") or ""
    if isinstance(message, list):  # not UTF-8, or with control characters
        message = bytes(message).decode(errors="replace")
    moment = fields.get("_SOURCE_MONOTONIC_TIMESTAMP") or fields["__MONOTONIC_TIMESTAMP"]
    return Entry(fields.get("UNIT") or fields.get("_SYSTEMD_UNIT") or "", fields.get("SYSLOG_IDENTIFIER") or "",
                 message, int(fields.get("PRIORITY", 6)), int(moment) / 1e6, fields.get("MESSAGE_ID") or "")


# ------------------------------------------------------------------------------------------ the machine


class Machine:
    """A Debian machine with a disk of its own; a context manager. Raises Unavailable where none can be had."""

    def __init__(self, suite: str, disk: str = DISK) -> None:
        for program in PROGRAMS:
            if not shutil.which(program):
                raise Unavailable(f"there is no {program} on this machine: run `make setup`")
        self.suite = suite
        self.lower = rootfs.debian(suite)
        self.cgroups = _cgroup_mount()
        self.disk = disk
        self.docker_data = "/var/lib/docker"  # where the folder for Docker's data is in the machine, from the start
        self.systems: list[System] = []

    def __enter__(self) -> Machine:
        self.folder = Path(tempfile.mkdtemp(prefix="dockin-machine-"))
        try:
            self._hold()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The root file system, to look at and to write into between boots. Absolute links lead astray: see path()."""
        return Path(f"/proc/{self._first}/root{self.folder}/root")

    @property
    def data(self) -> Path:
        """The folder with Docker's data-root, "docker", containerd's, "containerd", and Podman's, "containers"."""
        return Path(f"/proc/{self._first}/root{self.folder}/data")

    def path(self, path: str) -> Path:
        """Return the place of an absolute path of the machine, itself not a link, in this one."""
        place = self.root / path.lstrip("/")
        assert not place.is_symlink(), f"{path} is a link"
        return place

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def mount(self, image: Path, place: str) -> None:
        """Mount a file system image, itself and no copy of it, in a folder beside the root, such as "data/docker"."""
        folder = f"{self.folder}/{place}"
        self.outside("mkdir", "-p", folder)
        self.outside("mount", "-o", "loop", str(image), folder)

    def outside(self, *argv: str) -> None:
        """Run a command of this machine's where the machine's disk is mounted, in its folder."""
        done = subprocess.run(self.inside(*argv), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise MachineError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")

    def chroot(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = INSTALL_SECONDS) -> str:
        """Run a command on the disk of the machine, which is off; return its output."""
        done = subprocess.run(
            self.inside("chroot", f"{self.folder}/root", *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, check=False,
            env={**ENVIRONMENT, **(env or {})})
        if done.returncode != 0:
            raise MachineError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def copy_in(self, files: Sequence[Path], folder: str) -> list[str]:
        """Copy files into a folder of the machine; return their paths there."""
        place = self.path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, place)
        return [f"{folder}/{file.name}" for file in files]

    def install(self, *debs: Path) -> str:
        """Install packages offline, as OE-core's do_rootfs does; return dpkg's output.

        Their scripts run with $D set, which tells them that the machine is off, and then presets are applied. What
        the packages depend on must be there, be among them, or be PROVIDED.
        """
        names = self.copy_in([*debs, self._distribution()], "/var/tmp/debs")
        # Nothing here has to survive a power cut, and dpkg's sync would flush all of this machine's disks.
        output = self.chroot("dpkg", "--force-unsafe-io", "--install", *names, env={"D": "/"})
        self.chroot("rm", "-r", "/var/tmp/debs")
        self.chroot("systemctl", "--quiet", "--root=/", "--preset-mode=enable-only", "preset-all")
        return output

    def boot(self, read_only: bool = False, seconds: float = BOOT_SECONDS, wait: bool = True,
             options: Sequence[str] = ()) -> System:
        """Switch the machine on; return the System, by default when systemd has done all it had to at boot.

        read_only: the root file system is read-only, and /var a new tmpfs on every boot; Docker's data-root is
        neither. options are systemd-nspawn's. Use the System as a context manager, which switches it off.
        """
        assert not any(system.is_running for system in self.systems), "the machine is on"
        system = System(self, len(self.systems) + 1, [*(["--volatile=state"] if read_only else []), *options])
        self.systems.append(system)
        try:
            system.start()
            if wait:
                system.wait_until_up(seconds)
        except BaseException:
            system.kill()
            raise
        return system

    def close(self) -> None:
        """Switch it off at once if it is on, and throw it away."""
        for system in self.systems:
            system.kill()
        holder = getattr(self, "_holder", None)
        if holder:
            assert holder.stdin and holder.stdout
            holder.stdin.close()
            holder.stdout.close()
            try:
                holder.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                holder.kill()
                holder.wait(STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def inside(self, *argv: str) -> list[str]:
        """Return the command that runs argv where the machine's disk is mounted."""
        return ["nsenter", f"--target={self._first}", "--mount", "--pid", "--", *argv]

    def inside_run(self, *argv: str) -> None:
        """Run a command where the machine's disk is mounted."""
        subprocess.run(self.inside(*argv), stdin=subprocess.DEVNULL, check=True, timeout=COMMAND_SECONDS)

    def _hold(self) -> None:
        # When this process dies, setpriv's signal ends unshare, and that its child.
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                "--kill-child", "--mount-proc", "--", "sh", "-c", _HOLD, "sh", str(self.folder), str(self.lower), self.disk]
        with tempfile.TemporaryFile() as errors:
            self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            env=ENVIRONMENT)
            assert self._holder.stdout
            if self._holder.stdout.readline() != b"ready\n":
                errors.seek(0)
                reason = errors.read().decode(errors="replace").strip()
                raise Unavailable(f"a machine's disk can't be mounted here, in a namespace: {reason}")
        self._first = _children(self._holder.pid)[0]

    def _distribution(self) -> Path:
        """Make a package that provides what the packages of a target depend on and Debian calls by other names."""
        name = "dockin-test-distribution"
        package = self.folder / f"{name}.deb"
        if not package.exists():
            tree = self.folder / name
            (tree / "DEBIAN").mkdir(parents=True)
            (tree / "DEBIAN" / "control").write_text(
                f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: dockin tests <tests@localhost>\n"
                f"Provides: {', '.join(PROVIDED)}\nDescription: names that OE-core has for what is in Debian\n")
            subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(package)], check=True,
                           stdout=subprocess.DEVNULL, timeout=INSTALL_SECONDS)
        return package


# ------------------------------------------------------------------------------------------ a boot of it


@dataclass
class System:
    """A machine that is, or was, on: one boot of it. Made by Machine.boot(); a context manager."""

    machine: Machine
    number: int
    options: list[str]
    journal: Journal = field(default_factory=Journal)
    """Of this boot, as read at power_off(), or by read_journal() before."""
    state: str = ""
    """What systemd said when it had booted: running, or degraded if a unit failed."""

    def __post_init__(self) -> None:
        self.name = f"dockin-boot-{secrets.token_hex(8)}"  # a valid host name, and for nspawn unique on this machine
        self.console_file = self.machine.folder / f"console-{self.number}"
        self.cgroup = self.machine.cgroups / self.name
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> System:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if self.is_running:
                if kind is None:
                    self.power_off()
                else:
                    self._show()
        finally:
            self.kill()

    @property
    def is_running(self) -> bool:
        """Tell whether the machine is on."""
        return self._process is not None and self._process.poll() is None

    @property
    def console(self) -> str:
        """What came on the console so far: all of the journal, and what systemd prints when it shuts down."""
        return self.console_file.read_text(errors="replace") if self.console_file.exists() else ""

    def faults(self) -> list[str]:
        """Return what systemd said, in this boot that is over, of failed starts, ordering cycles and faulty unit files.

        What it finds wrong before journald runs, as cycles are, is on the console alone.
        """
        assert not self.is_running and self.journal, "the journal is read when the machine is switched off"
        early = itertools.takewhile(lambda line: not _FORWARDED.match(line), self.console.splitlines())
        found = [line for line in early if _FAULTS.search(line)] + [
            entry.message for entry in self.journal if entry.identifier == "systemd"
            and (entry.message_id == _FAILED_START or _FAULTS.search(entry.message))]
        return [line for line in found if not _NO_CONTROLLER.search(line)]

    def start(self) -> None:
        """Switch it on; return when its systemd runs."""
        self.cgroup.mkdir()
        disk = self.machine.folder
        nspawn = [
            "systemd-nspawn", f"--directory={disk}/root", f"--machine={self.name}", "--hostname=dockin", "--boot",
            "--register=no", "--keep-unit", "--settings=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            "--private-network", "--console=read-only", "--capability=all",
            "--drop-capability=CAP_SYS_MODULE,CAP_SYS_TIME", "--system-call-filter=add_key keyctl bpf",
            f"--bind={disk}/data/docker:{self.machine.docker_data}", f"--bind={disk}/data/containerd:/var/lib/containerd",
            f"--bind={disk}/data/containers:/var/lib/containers",
            *self.options, "systemd.show_status=no", "systemd.log_color=no", "systemd.journald.forward_to_console=1",
            "systemd.journald.max_level_console=info",
        ]
        argv = ["sh", "-c", _IN_CGROUP, "sh", str(self.cgroup), *self.machine.inside(*nspawn)]
        # Containers can't run in it with cgroups of version 1.
        environment = {**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with open(self.console_file, "wb") as console:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                                             env=environment)
        self._poll(self._find_leader, BOOT_SECONDS, "its systemd")

    def wait_until_up(self, seconds: float = BOOT_SECONDS) -> str:
        """Wait until systemd has done all it had to at boot; return its state: running or degraded."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.is_running:
            # It can't be asked before it has made its socket.
            answer = self.run("systemctl", "is-system-running", "--wait", check=False,
                              timeout=max(end - time.monotonic(), 1)).stdout.strip()
            if answer in ("running", "degraded"):
                self.state = answer
                return answer
            time.sleep(0.05)
        self._show()
        raise MachineError(f"the machine was not up after {seconds} s; its console ended:\n{self._tail()}")

    def run(self, *argv: str, check: bool = True, timeout: float = COMMAND_SECONDS,
            env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root; a failure is a MachineError unless not check."""
        # timeout(1) runs inside and ends what it started; the one of subprocess would leave it there.
        done = subprocess.run(
            self.inside("timeout", "--kill-after=2", str(timeout), *argv), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout + 10, check=False,
            env={**ENVIRONMENT, **(env or {})})
        if check and done.returncode:
            raise MachineError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def inside(self, *argv: str) -> list[str]:
        """Return the command that runs one in the machine, as root."""
        return ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
                "--wd", "--", *argv]

    def networked(self, *argv: str) -> list[str]:
        """Return the command that runs one of this computer's in the machine's network, such as a server on its loopback."""
        return ["nsenter", f"--target={self._leader}", "--net", "--", *argv]

    def output(self, *argv: str) -> str:
        """Run a command in the machine; return its output without the last newline."""
        return self.run(*argv).stdout.rstrip("\n")

    def run_image(self, name: str, *command: str) -> str:
        """Run a container of an image that must be there; return its output."""
        return self.output("docker", "run", "--rm", "--pull", "never", "--network", "none", name, *command)

    def images(self) -> dict[str, str]:
        """Return the .Id of each of Docker's images by its name."""
        listed = self.output("docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        return dict(line.split(" ", 1) for line in listed.splitlines())  # type: ignore[misc]

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit."""
        listed = self.output("systemctl", "show", f"--property={','.join(properties)}", unit)
        return dict(line.split("=", 1) for line in listed.splitlines())  # type: ignore[misc]

    def failed_units(self) -> list[str]:
        """Return the names of the units that failed."""
        listed = self.output("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full")
        return sorted(line.split()[0] for line in listed.splitlines())

    def exists(self, path: str) -> bool:
        """Tell whether the machine, as it is now, has a file."""
        return self.run("test", "-e", path, check=False).returncode == 0

    def read_journal(self) -> Journal:
        """Read the journal of this boot so far, whole; keep it."""
        self.run("journalctl", "--sync")
        self.journal = Journal.parse(self.output("journalctl", "--boot", "--no-pager", "--output=json"))
        return self.journal

    def power_off(self) -> None:
        """Read the journal, then shut the machine down in order."""
        self.read_journal()
        self.run("systemctl", "poweroff")
        assert self._process
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise MachineError(f"no power-off within {STOP_SECONDS} s; its console ended:\n{self._tail()}") from None
        self._release()

    def kill(self) -> None:
        """End every process of the machine at once, as a power cut does; what they wrote stays on its disk."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # The first process of the machine: with it the kernel ends its whole PID namespace. Then what nspawn is.
            for pid in (self._leader, *_children(self._process.pid), self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    if pid:
                        os.kill(pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)
        self._release()

    def cut_power(self) -> None:
        """As kill(), and of Docker's and containerd's data only what was on the disk at this instant is left."""
        filesystem.shut_down(self.machine.data)
        self.kill()
        done = subprocess.run(self.machine.inside("sh", "-c", _REMOUNT, "sh", str(self.machine.folder)),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              timeout=COMMAND_SECONDS, check=False)
        if done.returncode:
            raise MachineError(f"the data can't be mounted again: {done.stderr}")

    def _find_leader(self) -> bool:
        """Look for the machine's first process; true once it is systemd, in the machine's own root."""
        assert self._process
        if self._process.poll() is not None:
            raise MachineError(f"systemd-nspawn ended with {self._process.returncode}:\n{self._tail()}")
        for nspawn in _children(self._process.pid):  # nsenter's only child
            for child in _children(nspawn):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{child}/exe").endswith("/systemd"):
                        self._leader = child
        return self._leader != 0

    def _poll(self, condition: Any, seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise MachineError(f"{what} was not there after {seconds} s; the console ended:\n{self._tail()}")
            time.sleep(0.01)

    def _release(self) -> None:
        """Wait until the machine has no process left and remove its cgroups."""
        end = time.monotonic() + STOP_SECONDS
        while is_populated(self.cgroup):
            if time.monotonic() > end:
                raise MachineError(f"processes of the machine are left in {self.cgroup}")
            time.sleep(0.01)
        remove_cgroups(self.cgroup)

    def _tail(self) -> str:
        return "\n".join(self.console.splitlines()[-40:])

    def _show(self) -> None:
        """Print, for the report of a test that fails, what there is to see."""
        print(f"--- console of {self.name}, boot {self.number}, to its end\n{self._tail()}")
        with contextlib.suppress(MachineError, subprocess.TimeoutExpired):
            print(self.run("systemctl", "status", "--no-pager", "--lines=0", "docker.service", "dockin-preload*",
                           check=False, timeout=10).stdout)
            for unit in self.failed_units():
                print(self.run("systemctl", "status", "--no-pager", "--full", unit, check=False, timeout=10).stdout)


def _children(pid: int) -> list[int]:
    """Return the processes that a process without threads has started, and that still are."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _cgroup_mount() -> Path:
    """Return where cgroups of version 2 are mounted. Raises Unavailable."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            place = Path(fields[4])
            if os.access(place, os.W_OK) and not os.statvfs(place).f_flag & os.ST_RDONLY:
                return place
    raise Unavailable("a machine needs cgroups of version 2, which are not mounted here, or read-only")


def is_populated(cgroup: Path) -> bool:
    """Tell whether a cgroup, or one below it, has a process."""
    events = cgroup / "cgroup.events"
    return events.exists() and "populated 1" in events.read_text()


def remove_cgroups(cgroup: Path) -> None:
    """Remove a machine's cgroup, and what nspawn made beside it where systemd has a hierarchy of version 1."""
    for top in (cgroup, cgroup.parent.parent / "systemd" / cgroup.name):
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)
