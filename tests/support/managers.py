# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Package managers on a machine: dpkg, rpm, and what opkg does with packages.

    manager = managers.make("rpm", one)              # one: a Machine that is off, or on
    manager.install_offline(*files)                  # as an image build does
    manager.install(system, *files)                  # on the running machine; the same for an upgrade
    manager.remove(system, "apps-preload", "apps")

dpkg is Debian's, in the machine. rpm is this machine's, copied there with its libraries. opkg is in no distribution that
the tests can have: its packages are taken apart by dpkg-deb, which knows their format, and their scripts run with the
arguments and in the order of opkg 0.6.3 (opkg_install_pkg, opkg_remove_pkg and opkg_configure, in libopkg's opkg_install.c,
opkg_remove.c and opkg_configure.c of https://git.yoctoproject.org/opkg).
"""

from __future__ import annotations

import re
import shutil
import subprocess

from collections.abc import Sequence
from pathlib import Path

from support.account import Unavailable
from support.machine import COMMAND_SECONDS, Machine, System

PLACE = "/var/tmp/packages"


class Dpkg:
    """Debian's own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def install_offline(self, *files: Path) -> None:
        """Install packages on a machine that is off."""
        self.machine.install(*files)

    def install(self, system: System, *files: Path) -> None:
        """Install packages, or upgrade to them."""
        _run(system, "dpkg", "--force-unsafe-io", "--install", *self.machine.copy_in(files, PLACE))

    def remove(self, system: System, *names: str) -> None:
        """Remove packages, that which needs others before them."""
        _run(system, "dpkg", "--force-unsafe-io", "--remove", *names)

    def installed(self, system: System) -> set[str]:
        """Return the names of the packages that are installed, with all that belongs to that."""
        listed = system.output("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n")
        return {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}


class Rpm:
    """This machine's rpm. Raises Unavailable where there is none."""

    FOLDER = "/opt/rpm"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        program = shutil.which("rpm")
        if not program:
            raise Unavailable("there is no rpm on this machine: run `make setup`")
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True).stdout
        # With its own C library, which may be a newer one than the machine's.
        libraries = [Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+)", listed, re.M)]
        machine.copy_in([Path(program), *libraries], self.FOLDER)
        shutil.copytree("/usr/lib/rpm", machine.path(self.FOLDER) / "config", dirs_exist_ok=True)
        [loader] = [path.name for path in libraries if path.name.startswith("ld-")]
        self._rpm = [f"{self.FOLDER}/{loader}", "--library-path", self.FOLDER, f"{self.FOLDER}/rpm",
                     "--dbpath=/var/lib/rpm"]
        self._environment = {"RPM_CONFIGDIR": f"{self.FOLDER}/config"}

    def _install(self, files: Sequence[Path]) -> list[str]:
        # What they need is here, but not known to rpm; a package that is there is installed again, as dpkg does.
        options = ["--upgrade", "--replacepkgs", "--nodeps", "--ignorearch", "--nosignature"]
        return [*self._rpm, *options, *self.machine.copy_in(files, PLACE)]

    def install_offline(self, *files: Path) -> None:
        """Install packages on a machine that is off."""
        self.machine.chroot(*self._install(files), env={"D": "/", **self._environment})
        self.machine.chroot("systemctl", "--quiet", "--root=/", "--preset-mode=enable-only", "preset-all")

    def install(self, system: System, *files: Path) -> None:
        """Install packages, or upgrade to them."""
        _run(system, *self._install(files), env=self._environment)

    def remove(self, system: System, *names: str) -> None:
        """Remove packages."""
        # It says of each archive that was flushed that it is not there.
        _run(system, *self._rpm, "--erase", "--nodeps", *names, env=self._environment,
             expected=r"warning: file \S+\.tar\.xz: remove failed: No such file or directory\n")

    def installed(self, system: System) -> set[str]:
        """Return the names of the packages that are installed."""
        done = system.run(*self._rpm, "--query", "--all", "--queryformat=%{NAME}\n", env=self._environment)
        return set(done.stdout.split())


class Opkg:
    """What opkg does with packages, their scripts and their files."""

    STATE = "/var/lib/opkg"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def install_offline(self, *files: Path) -> None:
        """Install packages on a machine that is off."""
        for argv in self._install(files):
            self.machine.chroot(*argv, env={"D": "/"})
        self.machine.chroot("systemctl", "--quiet", "--root=/", "--preset-mode=enable-only", "preset-all")

    def install(self, system: System, *files: Path) -> None:
        """Install packages, or upgrade to them: the scripts after the installation run when all have their files."""
        for argv in self._install(files):
            _run(system, *argv)

    def remove(self, system: System, *names: str) -> None:
        """Remove packages, that which needs others before them."""
        for name in names:
            _run(system, "sh", "-c", _OPKG_REMOVE, "sh", f"{self.STATE}/{name}")

    def installed(self, system: System) -> set[str]:
        """Return the names of the packages that are installed."""
        return set(system.output("ls", self.STATE).split())

    def _install(self, files: Sequence[Path]) -> list[list[str]]:
        paths = self.machine.copy_in(files, PLACE)
        names = [file.name.split("_")[0] for file in files]
        unpack = [["sh", "-c", _OPKG_UNPACK, "sh", path, f"{self.STATE}/{name}"] for path, name in zip(paths, names)]
        return unpack + [["sh", "-c", _OPKG_CONFIGURE, "sh", f"{self.STATE}/{name}"] for name in names]


# What all three begin with. A package's folder has its scripts, the list of its files, and its version. The scripts may have
# no "#!": opkg has a shell run them.
_OPKG = """
set -e
run() { [ ! -e "$1" ] || { script="$1"; shift; sh -c "$script $*"; }; }
# Removes the files in the list $1 that are not in the list $2.
drop() { sort "$1" | comm -23 - "$2" | while read -r path; do rm -f "/$path"; done; }
"""

# $1: the package; $2: its folder.
_OPKG_UNPACK = _OPKG + """
new=$(mktemp -d)
dpkg-deb --control "$1" "$new/control"
dpkg-deb --fsys-tarfile "$1" > "$new/data.tar"
tar -tf "$new/data.tar" | grep -v '/$' | sort > "$new/control/list"
sed -n 's/^Version: //p' "$new/control/control" > "$new/control/version"
chmod -f 0755 "$new/control/p"* || true
if [ -e "$2" ]; then
    run "$2/prerm" upgrade "$(cat "$new/control/version")"
    run "$new/control/preinst" upgrade "$(cat "$2/version")"
    run "$2/postrm" upgrade "$(cat "$new/control/version")"
    drop "$2/list" "$new/control/list"
    drop "$2/list" /dev/null
    rm -r "$2"
else
    run "$new/control/preinst" install
fi
mkdir -p "${2%/*}"
cp -r "$new/control" "$2"
tar -C / --keep-directory-symlink -xpf "$new/data.tar"
rm -r "$new"
"""

_OPKG_CONFIGURE = _OPKG + 'run "$1/postinst" configure\n'

_OPKG_REMOVE = _OPKG + """
run "$1/prerm" remove
drop "$1/list" /dev/null
sed 's|/[^/]*$||' "$1/list" | sort -ru | while read -r folder; do rmdir "/$folder" 2> /dev/null || true; done
run "$1/postrm" remove
rm -r "$1"
"""

def make(kind: str, machine: Machine) -> Dpkg | Rpm | Opkg:
    """Return the manager of packages of a kind, one of packages.KINDS. Raises Unavailable."""
    if kind == "deb":
        return Dpkg(machine)
    return Rpm(machine) if kind == "rpm" else Opkg(machine)


def _run(system: System, *argv: str, env: dict[str, str] | None = None, expected: str = "$^") -> None:
    """Run a manager, which must have nothing to complain of but what matches expected."""
    done = system.run(*argv, env=env)
    output = re.sub(expected, "", done.stdout + done.stderr)
    assert not re.search(r"warning|error|fail", output, re.I), output
