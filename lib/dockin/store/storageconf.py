# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""storage.conf, which names an additional image store for Podman; edited as text, so that everything else is preserved.

Only the needed part of TOML is parsed, because Python cannot parse TOML before 3.11; ambiguous text is an error.
Format: https://github.com/containers/container-libs/blob/main/storage/docs/containers-storage.conf.5.md
"""

from __future__ import annotations

import re
import typing

from dockin.errors import DockinError

_TABLE = re.compile(r"\s*\[([A-Za-z0-9_.\s-]+)\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*(.*)", re.DOTALL)
# A string, a comment, or any other character.
_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'|#[^\n]*|[^"\'#]')
_STORES = "additionalimagestores"


class InvalidStorageConf(DockinError):
    """No image store can be added to a storage.conf."""


def default(graphroot: str) -> str:
    """Return a storage.conf for a target that has none."""
    return f"""\
# Made by meta-dockin: see containers-storage.conf(5).
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "{graphroot}"

[storage.options]
"""


def add_store(text: str, store: str, path: str) -> str:
    """Return the text of a storage.conf with one more image store, or unchanged if it has the store.

    path is for messages. Raises InvalidStorageConf.
    """
    lines = text.splitlines(keepends=True)
    options = None
    for table, key, start, end in _scan(lines, path):
        if (table, key) == ("storage.options", ""):
            options = start
        elif (table, key) == ("storage.options", _STORES):
            return "".join(lines[:start]) + _with_store(lines[start:end], store, path) + "".join(lines[end:])
    entry = f'{_STORES} = ["{store}"]\n'
    if options is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}\n[storage.options]\n{entry}"
    head = "".join(lines[: options + 1])
    return f"{head}{'' if head.endswith(chr(10)) else chr(10)}{entry}" + "".join(lines[options + 1 :])


def for_users(text: str, store: str, path: str, ours: bool) -> str:
    """Return a file that removes add_store's store for users' own Podman, because the store is closed to users.

    Podman 6 applies storage.conf to users, and reads such a file from storage.rootless.conf.d/; earlier ones do neither.
    ours: the storage.conf is default()'s, whose directories are root's. Raises InvalidStorageConf.
    """
    lines = text.splitlines(keepends=True)
    stores = [piece for table, key, start, end in _scan(lines, path) if (table, key) == ("storage.options", _STORES)
              for piece in _strings("".join(lines[start:end])) if piece[1:-1] != store]
    # Empty: Podman's default.
    roots = '[storage]\nrunroot = ""\ngraphroot = ""\n\n' if ours else ""
    return f"""\
# Made by meta-dockin: a user's own Podman can't read root's image store, and keeps its data elsewhere.
{roots}[storage.options]
{_STORES} = [{", ".join(stores)}]
"""


def _scan(lines: list[str], path: str) -> typing.Iterator[tuple[str, str, int, int]]:
    """Yield table, key ("" for a table's head), and the numbers of the first line and of the one after the last."""
    table, number = "", 0
    while number < len(lines):
        line, end = lines[number], number + 1
        if match := _TABLE.fullmatch(line.rstrip("\r\n")):
            table = re.sub(r"\s", "", match[1])
            yield table, "", number, end
        elif match := _KEY.fullmatch(line):
            end = _end_of_value(lines, number, path)
            if (table, match[1]) == ("storage", "driver"):
                _check_driver(match[2] + "".join(lines[number + 1 : end]), path)
            elif (table, match[1]) in (("", "storage"), ("storage", "options")):
                raise _error(path, f"line {number + 1} has {match[1]!r} as a value: [storage.options] has to be a table")
            yield table, match[1], number, end
        elif line.strip() and not line.lstrip().startswith("#"):
            raise _error(path, f"line {number + 1}, {line.strip()!r}, is not understood")
        number = end


def _end_of_value(lines: list[str], number: int, path: str) -> int:
    """Return the number of the line after a value; an array can have several lines."""
    depth = 0
    for end in range(number, len(lines)):
        if '"""' in lines[end] or "'''" in lines[end]:
            raise _error(path, f"line {end + 1} has a string of several lines")
        for piece in _PIECE.findall(lines[end]):
            depth += (piece == "[") - (piece == "]")
        if depth <= 0:
            return end + 1
    raise _error(path, f"the array in line {number + 1} does not end")


def _with_store(lines: list[str], store: str, path: str) -> str:
    """Return the lines of the array of stores with one more, as the first."""
    text = "".join(lines)
    strings = [piece[1:-1] for piece in _strings(text)]
    if store in strings:
        return text
    start = text.index("=") + 1
    rest = text[start:].lstrip()
    if not rest.startswith("["):
        raise _error(path, f"{_STORES} is no array")
    opened = len(text) - len(rest) + 1
    return f'{text[:opened]}"{store}"{", " if strings else ""}{text[opened:]}'


def _strings(text: str) -> list[str]:
    """Return the strings in a value, as written."""
    return [piece for piece in _PIECE.findall(text) if piece[0] in "\"'"]


def _check_driver(value: str, path: str) -> None:
    """Raise InvalidStorageConf for a driver without such stores; by default Podman uses overlay if possible."""
    name = value.partition("#")[0].strip().strip("\"'")
    if name not in ("", "overlay", "overlay2"):
        raise _error(path, f"the driver is {name!r}: only 'overlay' can use the store")


def _error(path: str, reason: str) -> InvalidStorageConf:
    return InvalidStorageConf(f"{path}: {reason}; an additional image store can't be added to it")
