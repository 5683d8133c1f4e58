# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The settings of registries.conf for a registry, as far as a client without mirrors needs them.

Format: https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md. It is TOML, which Python cannot
parse before 3.11: only the relevant lines are read. Any other setting makes a registry special, and special registries are
left to skopeo.
"""

from __future__ import annotations

import collections.abc
import os
import pathlib
import re
from dataclasses import dataclass, field

from dockin.errors import DockinError

_TABLE = re.compile(r"\s*\[+([A-Za-z0-9_.\"'\s-]+)\]+\s*(?:#.*)?")
_PAIR = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=(.*)""")
_STRING = re.compile(r"""(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?""")
_PLAIN_KEYS = {"prefix", "location", "insecure"}


@dataclass(frozen=True)
class Route:
    """How to reach a registry."""

    insecure: bool = False
    """Without a valid certificate, or without TLS."""
    special: str = ""
    """Why only skopeo can reach it; "" if any client can."""


@dataclass
class _Entry:
    """One [[registry]] table."""

    values: dict[str, str] = field(default_factory=dict)
    mirrors: bool = False

    @property
    def prefix(self) -> str:
        return self.values.get("prefix") or self.values.get("location", "")

    @property
    def route(self) -> Route:
        location = self.values.get("location", self.prefix)
        if self.mirrors:
            return Route(special=f"registries.conf has mirrors of {self.prefix}")
        if location != self.prefix:
            return Route(special=f"registries.conf replaces {self.prefix} by {location}")
        others = sorted(set(self.values) - _PLAIN_KEYS)
        if others:
            return Route(special=f"registries.conf sets {', '.join(others)} for {self.prefix}")
        return Route(insecure=self.values.get("insecure") == "true")


class RegistriesConf:
    """A user's registries.conf files."""

    def __init__(self, file: str, environment: collections.abc.Mapping[str, str]) -> None:
        """file replaces the user's and the system's files, unless it is "". Raises DockinError."""
        self._entries: list[_Entry] = []
        self._special = ""
        for path in _files(file, environment):
            self._read(path)

    def route(self, registry: str, repository: str) -> Route:
        """Return how to reach a repository; the longest prefix decides."""
        if self._special:
            return Route(special=self._special)
        name = f"{registry}/{repository}"
        fitting = [entry for entry in self._entries if _is_prefix(entry.prefix, name)]
        # Of two entries with one prefix, the last one read counts.
        best = max(enumerate(fitting), key=lambda pair: (len(pair[1].prefix), pair[0]), default=None)
        return best[1].route if best else Route()

    def _read(self, path: str) -> None:
        table = ""
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DockinError(f"Can't read {path}, the configuration of registries: {error.strerror}") from error
        for line in text.splitlines():
            header = _TABLE.fullmatch(line)
            pair = _PAIR.fullmatch(line)
            if header:
                table = "".join(header[1].split())
                if table == "registry":
                    self._entries.append(_Entry())
                elif table.startswith("registry.") and self._entries:
                    self._entries[-1].mirrors = True
                elif table.startswith("registries."):
                    self._special = f"{path} has the old form, [{table}]"
            elif pair and table == "registry":
                self._entries[-1].values[pair[1]] = _value(pair[2].strip())
                if pair[1] == "mirror":
                    self._entries[-1].mirrors = True
            elif pair and not table and pair[1] in ("registry", "credential-helpers"):
                self._special = f"{path} sets {pair[1]}"


def _files(file: str, environment: collections.abc.Mapping[str, str]) -> list[str]:
    """Return the files that skopeo reads, in its order."""
    chosen = file or environment.get("CONTAINERS_REGISTRIES_CONF", "")
    config = environment.get("XDG_CONFIG_HOME", "") or os.path.join(environment.get("HOME", ""), ".config")
    user = os.path.join(config, "containers/registries.conf")
    system = "/etc/containers/registries.conf"
    mains = [chosen] if chosen else [path for path in (user, system) if os.path.isfile(path)][:1]
    if chosen:
        directories = []
    else:
        directories = ["/etc/containers/registries.conf.d", os.path.join(config, "containers/registries.conf.d")]
    drop_ins = [str(path) for directory in directories for path in sorted(pathlib.Path(directory).glob("*.conf"))]
    return mains + drop_ins


def _value(text: str) -> str:
    string = _STRING.fullmatch(text)
    if string:
        return string[1] if string[1] is not None else string[2]
    return text.partition("#")[0].strip()


def _is_prefix(prefix: str, name: str) -> bool:
    """Tell whether a prefix (host, host/path or *.domain) matches an image's name."""
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return bool(prefix) and (name == prefix or name.startswith((prefix + "/", prefix + ":", prefix + "@")))
