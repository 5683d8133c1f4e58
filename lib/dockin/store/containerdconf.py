# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which containerd keeps a target's images, where, and in which namespace: by the files of a root file system.

Docker takes the containerd whose socket it finds when it starts, or starts one of its own. Of config.toml only the key root
is understood, as Python can't read TOML before 3.11.
Formats: https://github.com/containerd/containerd/blob/main/docs/man/containerd-config.toml.5.md and
https://docs.docker.com/reference/cli/dockerd/
"""

from __future__ import annotations

import posixpath
import re
import typing

from dockin.errors import DockinError
from dockin.target import runtimes

CONFIG = "/etc/containerd/config.toml"
MORE_CONFIG = "/etc/containerd/conf.d/*.toml"
DOCKER_NAMESPACE = "moby"
NAMESPACE = "default"

_SOCKET = "/run/containerd/containerd.sock"
_OWN = "containerd/daemon"
_ROOT = re.compile(r"\s*root\s*=\s*(.*)")
_STRING = re.compile(r"""(["'])([^"'\\]+)\1\s*(?:#.*)?""")
_TABLE = re.compile(r"\s*\[")


class UnknownStore(DockinError):
    """It can't be told where a target's containerd looks for images."""


class Place(typing.NamedTuple):
    """A store on the target."""

    directory: str
    """The containerd's root."""
    namespace: str


def of_docker(
    settings: dict[str, typing.Any], data_root: str, docker: str | None, containerd: str | None, configs: dict[str, str]
) -> Place:
    """Return where Docker, with its containerd store, looks for images. Raises UnknownStore.

    settings are those of daemon.json. docker and containerd are the texts of both services' units, None for one that isn't
    installed; configs are the texts of containerd's files, by path.
    """
    def told(name: str) -> str:
        return _one(name, [*_options(docker, name), settings.get(name)])

    address = told("containerd").removeprefix("unix://")
    if address not in ("", _SOCKET):
        raise UnknownStore(
            f"Docker is told of a containerd at {address}, of which it is not known where it keeps images: use that at"
            f' {_SOCKET}, or set DOCKIN_DATAROOT = "0"')
    embedded = (settings.get("features") or {}).get("embedded-containerd")
    if address or docker is not None and containerd is not None and not embedded:
        directory = root(containerd, configs)
    else:
        directory = posixpath.join(data_root, _OWN)
    return Place(directory, told("containerd-namespace") or DOCKER_NAMESPACE)


def root(containerd: str | None, configs: dict[str, str]) -> str:
    """Return the root of a containerd that is a service. Raises UnknownStore."""
    other = _one("config", _options(containerd, "config") + _options(containerd, "c"))
    if other not in ("", CONFIG):
        raise UnknownStore(f"containerd is told of its file {other}, which is not read here: use {CONFIG}")
    found = _options(containerd, "root")
    for path, text in configs.items():
        found += _roots(text, path)
    return _one("root", found) or runtimes.CONTAINERD.data_root


def _roots(text: str, path: str) -> list[str]:
    """Return the values of the key root before the first table. Raises UnknownStore for one that is no plain string."""
    found = []
    for line in text.splitlines():
        if _TABLE.match(line):
            break
        if key := _ROOT.match(line):
            value = _STRING.fullmatch(key[1].strip())
            if not value:
                raise UnknownStore(
                    f"{path} has {line.strip()!r}: write it as a plain string, such as root = \"/data/containerd\"")
            found.append(posixpath.normpath(value[2]))
    return found


def _options(units: str | None, name: str) -> list[str]:
    """Return the values of a program's option in units."""
    lines = [line for line in (units or "").splitlines() if not line.lstrip().startswith(("#", ";"))]
    return re.findall(rf"""\s--?{name}(?:=|\s+)["']?([^\s"'\\]+)""", "\n".join(lines))


def _one(name: str, values: typing.Iterable[typing.Any]) -> str:
    """Return the only value of a setting, empty for none. Raises UnknownStore for several."""
    found = sorted({value for value in values if value})
    if len(found) > 1:
        raise UnknownStore(f"The root file system has several values for {name!r} ({', '.join(found)}): leave one of them")
    return found[0] if found else ""
