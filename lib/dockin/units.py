# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""systemd units that load image archives into Docker at boot: their names and their text.

One service an image, wanted by dockin-preload.target; the work is done by the command dockin-preload. The package of
that name has both.
Syntax: https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse

from dockin.errors import DockinError
from dockin.reference import ImageReference

PREFIX = "dockin-preload-"
TARGET = "dockin-preload.target"
HELPER = "/usr/bin/dockin-preload"
# The default of 90 s would kill the load of a large image on slow flash. Loads go one after another, so the
# last one also waits for those before it.
START_TIMEOUT = "2h"

# UNIT_NAME_MAX of systemd counts the final NUL; file systems allow 255 too.
_MAX_NAME = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What stands in a unit without quotes and means itself.
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")
_TIMEOUT = re.compile(r"infinity|(?:[0-9]+(?:us|ms|s|min|h|d)?)(?: [0-9]+(?:us|ms|s|min|h|d)?)*")

# No mount is hidden or made read-only below: Docker's data-root may be anywhere, and the archive is removed from where
# it was installed. CAP_DAC_OVERRIDE is for a data-root that belongs to a remapped user (userns-remap). No filter of
# system calls: the docker client, in Go, uses those of its own age and not of systemd's.
_TEMPLATE = """\
# Made by meta-dockin for {canonical}.
# Settings for all images go into /etc/systemd/system/{prefix}.service.d/*.conf.

[Unit]
Description=Load {name} into Docker
Documentation={documentation}
Requires=docker.service
After=docker.service
Before={target}
RequiresMountsFor={directory}

[Service]
Type=oneshot
# Done once a boot; stays active so that other units can require it.
RemainAfterExit=yes
ExecStart={command}
TimeoutStartSec={timeout}

# It talks to Docker's socket, and writes into Docker's data-root and beside the archive: nothing else.
UMask=0077
CapabilityBoundingSet=CAP_DAC_OVERRIDE
NoNewPrivileges=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
# Wanted, not required: an image that fails to load does not keep the others from the target.
WantedBy={target}
"""


class InvalidUnit(DockinError):
    """A unit can't be written for what was given."""


def unit_name(reference: ImageReference) -> str:
    """Return the file name of an image's preload unit: dockin-preload-busybox-1.36.1.service.

    Raises InvalidUnit for a reference that is too long for one.
    """
    name = f"{PREFIX}{reference.stem}.service"
    if len(name) > _MAX_NAME:
        raise InvalidUnit(
            f"Invalid image reference {reference.canonical!r}: its unit's name would have {len(name)} characters,"
            f" systemd allows {_MAX_NAME}; give the image a shorter tag or repository name"
        )
    return name


def render_unit(
    reference: ImageReference,
    info_path: str,
    flush: bool,
    helper: str = HELPER,
    timeout: str = START_TIMEOUT,
) -> str:
    """Return the text of an image's preload unit.

    info_path is the image information file on the target, beside its archive; flush says whether the archive is removed once
    the image is loaded; helper is the installed command dockin-preload, timeout a systemd time span.
    Raises InvalidUnit for a path or a time span that can't stand in a unit.
    """
    check_path(info_path, "image information file")
    check_path(helper, "command")
    if not _PLAIN.fullmatch(helper):
        raise InvalidUnit(
            f"Invalid path {helper!r} of the command: systemd takes no spaces, quotes, '$' or '%' in a program's"
            " path; check bindir"
        )
    if not _TIMEOUT.fullmatch(timeout):
        raise InvalidUnit(f"Invalid start timeout {timeout!r}: expected a systemd time span as 30min, 2h or infinity")
    command = [helper, "load", "--flush" if flush else "--keep", quote_argument(info_path)]
    return _TEMPLATE.format(
        canonical=reference.tagged.canonical,
        prefix=PREFIX,
        name=escape(reference.tagged.familiar),
        documentation=escape("file:" + urllib.parse.quote(info_path)),
        target=TARGET,
        directory=quote(posixpath.dirname(info_path)),
        command=" ".join(command),
        timeout=timeout,
    )


def escape(text: str) -> str:
    """Return text with its % doubled: they introduce systemd's specifiers in nearly every setting."""
    return text.replace("%", "%%")


def quote(word: str) -> str:
    """Return a word of a list as it stands in a unit: %, quotes, backslashes and spaces mean themselves."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(escaped)}"'


def quote_argument(word: str) -> str:
    """Return an argument of a command line: as quote(), and $ introduces no variable either."""
    return quote(word).replace("$", "$$")


def check_path(path: str, what: str) -> str:
    """Return an absolute path that can stand in a unit. Raises InvalidUnit."""
    if _CONTROL.search(path):
        raise InvalidUnit(f"Invalid path {path!r} of the {what}: a unit can't hold control characters; rename it")
    if not path.startswith("/") or posixpath.normpath(path) != path:
        raise InvalidUnit(f"Invalid path {path!r} of the {what}: expected an absolute path without '//', '.' and '..'")
    return path
