# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""systemd units that load image archives at boot, and drop-ins for the runtime's own units: their names and texts.

Each image gets a service, wanted by dockin-preload.target, which runs the command dockin-preload. The package of that name
has the target and the command.
Syntax: https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.image.reference import ImageReference
from dockin.target import runtimes

PREFIX = "dockin-preload-"
TARGET = "dockin-preload.target"
HELPER = "/usr/bin/dockin-preload"
DROP_IN = "dockin-preload.conf"

# systemd's UNIT_NAME_MAX includes the final NUL; file systems allow 255 too.
_MAX_NAME = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Text that needs no quotes in a unit.
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")
_DIRECTORY = re.compile(r"(?:/[A-Za-z0-9._+-]+)+")

_TEMPLATE = """\
# Made by meta-dockin for {canonical}.
# Settings for all images go into /etc/systemd/system/{prefix}.service.d/*.conf.

[Unit]
Description=Load {name} into {title}
Documentation={documentation}
{engine}{after}Before={target}
RequiresMountsFor={mounts}

[Service]
Type=oneshot
# Runs once per boot, and stays active so that other units can require it.
RemainAfterExit=yes
ExecStart={command}
# The command has its own time limit, which excludes the wait for other loads.
TimeoutStartSec=infinity
# Data of this boot, which the units of all images share.
RuntimeDirectory={runtime_directory}
RuntimeDirectoryPreserve=yes

{environment}{sandbox}
[Install]
# Wanted, not required: a failed load does not stop the others.
WantedBy={wanted_by}
"""

# containerd does not report its data directory: the preload syncs this one, and checks its space.
_CONTAINERD_ROOT = """\
Environment={}
"""

# Wants, not Requires: the unit can be installed without the runtime, and loads its image when that is there. PartOf and
# WantedBy: whenever the runtime is restarted, all units run again, also failed ones.
_ENGINE = """\
Wants={service}
After={service}
PartOf={service}
"""

# After without Requires: a failed load does not prevent others.
_AFTER = """\
After={unit}
"""

# In /usr, which is read-only, only the archive is removed; the data-root may be anywhere else, also in /home. The filter
# forbids system calls instead of allowing them, because the client may use newer ones than systemd knows.
_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=full
ReadWritePaths={archives}
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
"""

# CAP_DAC_OVERRIDE is for a data-root of a remapped user (userns-remap).
_CLIENT_SANDBOX = """\
# It only uses the runtime's socket, and writes into the data-root and beside the archive.
UMask=0077
CapabilityBoundingSet=CAP_DAC_OVERRIDE
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallFilter=~@mount
"""

# Without a daemon, the command started here is the runtime itself: it unpacks layers with owners, capabilities, devices
# (which ProtectClock would forbid, too) and whiteouts, in a mount namespace of its own.
_ENGINE_SANDBOX = """\
# It unpacks the image's layers itself.
UMask=0022
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP \\
    CAP_SETGID CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT
RestrictNamespaces=mnt
"""

_MOUNT_DROP_IN = """\
# Made by meta-dockin: on a read-only root, a later mount of volatile-binds above this one would hide it.
[Unit]
After={services}
"""


class InvalidUnit(DockinError):
    """The given values do not allow a unit."""


def unit_name(reference: ImageReference) -> str:
    """Return the file name of an image's preload unit: dockin-preload-busybox-1.36.1.service.

    Raises InvalidUnit for a reference that is too long for a unit name.
    """
    name = f"{PREFIX}{reference.stem}.service"
    if len(name) > _MAX_NAME:
        raise InvalidUnit(
            f"Invalid image reference {reference.canonical!r}: its unit's name would have {len(name)} characters,"
            f" systemd allows {_MAX_NAME}; give the image a shorter tag or repository name"
        )
    return name


@dataclass(frozen=True)
class Preload:
    """A recipe's settings for its preload units."""

    runtime: runtimes.Runtime = runtimes.DOCKER
    data_root: str = runtimes.DOCKER.data_root
    """The runtime's directory for images, whose file system must be mounted first."""
    image_store: str = ""
    """The directory of an additional image store, for a runtime with such stores."""
    flush: bool = True
    """Whether the archive is removed after its image is loaded."""
    prune: bool = False
    """Whether an image is removed that the loaded one replaces."""
    keep_previous: bool = False
    """Whether prune keeps the previous image."""
    helper: str = HELPER
    """Path of the installed command dockin-preload."""

    @property
    def options(self) -> list[str]:
        """The options of the command."""
        options = ["--flush" if self.flush else "--keep"]
        if self.prune:
            options += ["--prune", *(["--keep-previous"] if self.keep_previous else [])]
        return options


def render_unit(reference: ImageReference, info_path: str, preload: Preload, after: ImageReference | None = None) -> str:
    """Return the text of an image's preload unit.

    info_path is the image information file on the target, beside its archive. after is the image that is loaded before.
    Raises InvalidUnit for a path that is invalid in a unit.
    """
    check_path(info_path, "image information file")
    check_path(preload.data_root, "data-root")
    check_path(preload.helper, "command")
    if not _PLAIN.fullmatch(preload.helper):
        raise InvalidUnit(
            f"Invalid path {preload.helper!r} of the command: systemd takes no spaces, quotes, '$' or '%' in a program's"
            " path; check bindir"
        )
    service = preload.runtime.service
    archives = posixpath.dirname(info_path)
    mounts = [archives, preload.data_root]
    if preload.image_store and preload.runtime.has_image_stores:
        mounts.append(check_path(preload.image_store, "image store"))
    return _TEMPLATE.format(
        canonical=reference.tagged.canonical,
        prefix=PREFIX,
        name=escape(reference.tagged.familiar),
        title=preload.runtime.title,
        documentation=escape("file:" + urllib.parse.quote(info_path)),
        engine=_ENGINE.format(service=service) if service else "",
        after=_AFTER.format(unit=unit_name(after)) if after else "",
        target=TARGET,
        mounts=" ".join(map(quote, mounts)),
        command=" ".join([preload.helper, "load", *preload.options, quote_argument(info_path)]),
        runtime_directory=PREFIX.rstrip("-"),
        environment=_CONTAINERD_ROOT.format(quote(f"DOCKIN_CONTAINERD_ROOT={preload.data_root}"))
        if preload.runtime is runtimes.CONTAINERD
        else "",
        # The dash: the directory may be missing, for example beside a data-root made at build time.
        sandbox=(_CLIENT_SANDBOX if service else _ENGINE_SANDBOX) + _SANDBOX.format(archives=quote("-" + archives)),
        wanted_by=" ".join(filter(None, [TARGET, service])),
    )


def render_drop_in(directory: str) -> str:
    """Return the text of a drop-in that makes a service wait for the file system of a directory.

    Raises InvalidUnit for a path that is invalid in a unit.
    """
    check_path(directory, "data-root")
    return f"""\
# Made by meta-dockin: before a late mount, the service would write below the mount point.
# A file of the same name in /etc/systemd/system, in the same directory, replaces this one.
[Unit]
RequiresMountsFor={quote(directory)}
"""


def render_mount_drop_ins(directory: str, binds: str) -> dict[str, str]:
    """Return drop-ins of mount units, by the unit's name, for file systems mounted at a directory or above it.

    binds is VOLATILE_BINDS of OE-core's recipe volatile-binds: lines with source and mount point, used on a read-only
    root file system. A file system below such a mount point has to be mounted later, and neither unit says so.
    """
    services: dict[str, list[str]] = {}
    for line in binds.replace("\\n", "\n").splitlines():
        what, _, where = line.strip().partition(" ")
        top = where.strip().rstrip("/")
        if not top or not directory.startswith(f"{top}/"):
            continue
        place = top
        for name in directory[len(top) + 1 :].split("/"):
            place += "/" + name
            services.setdefault(f"{_escape_path(place)}.mount", []).append(what[1:].replace("/", "-") + ".service")
    return {unit: _MOUNT_DROP_IN.format(services=" ".join(names)) for unit, names in services.items()}


def _escape_path(path: str) -> str:
    """Return a path as in a unit's name, like systemd-escape --path."""
    name = "".join(
        "-" if char == "/" else char if char.isalnum() or char in ":_." else f"\\x{ord(char):02x}" for char in path[1:]
    )
    return f"\\x2e{name[1:]}" if name.startswith(".") else name


def check_directory(variable: str, value: str) -> str:
    """Return a directory on the target from a variable, if FILES, a list of patterns, can contain it unquoted.

    Raises InvalidUnit.
    """
    if not _DIRECTORY.fullmatch(value) or posixpath.normpath(value) != value:
        raise InvalidUnit(
            f"Invalid {variable} = {value!r}: expected an absolute path like /data/docker, whose components have letters,"
            " digits, '.', '_', '+' and '-'"
        )
    return value


def escape(text: str) -> str:
    """Return text with doubled %, which introduces systemd's specifiers in nearly every setting."""
    return text.replace("%", "%%")


def quote(word: str) -> str:
    """Return a word of a list in a unit, with %, quotes, backslashes and spaces escaped."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(escaped)}"'


def quote_argument(word: str) -> str:
    """Return an argument of a command line: as quote(), with $ escaped too."""
    return quote(word).replace("$", "$$")


def check_path(path: str, what: str) -> str:
    """Return an absolute path if it is valid in a unit. Raises InvalidUnit."""
    if _CONTROL.search(path):
        raise InvalidUnit(f"Invalid path {path!r} of the {what}: a unit can't hold control characters; rename it")
    if not path.startswith("/") or posixpath.normpath(path) != path:
        raise InvalidUnit(f"Invalid path {path!r} of the {what}: expected an absolute path without '//', '.' and '..'")
    return path
