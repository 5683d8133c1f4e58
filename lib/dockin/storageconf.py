# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""storage.conf, by which Podman knows of an additional image store; changed as text, so that all else stays as it is.

Of TOML only what is needed is understood, and what could mean something else is an error: Python can't read it before 3.11.
Format: https://github.com/containers/container-libs/blob/main/storage/docs/containers-storage.conf.5.md
"""

from __future__ import annotations

import re

from dockin.errors import DockinError

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.\s-]+?)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*(.*)", re.DOTALL)
# Up to a string's end, a comment's end, or any other character.
_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[^"\'#]')
_STORES = "additionalimagestores"


class InvalidStorageConf(DockinError):
    """A storage.conf has something to which no image store can be added."""


def default(graphroot: str) -> str:
    """Return a file for a target that has none."""
    return f"""\
# Made by meta-dockin: see containers-storage.conf(5).
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "{graphroot}"

[storage.options]
"""


def add_store(text: str, store: str, path: str) -> str:
    """Return the text of a storage.conf with an image store more; the same if that is there.

    path names the file in messages. Raises InvalidStorageConf.
    """
    lines = text.splitlines(keepends=True)
    table, options, number = "", None, 0
    while number < len(lines):
        line = lines[number]
        if match := _TABLE.fullmatch(line.rstrip("\r\n")):
            table = re.sub(r"\s", "", match[1])
            if table == "storage.options":
                options = number
        elif match := _KEY.fullmatch(line):
            end = _end_of_value(lines, number, path)
            value = match[2] + "".join(lines[number + 1 : end])
            if (table, match[1]) == ("storage", "driver"):
                _check_driver(value, path)
            elif (table, match[1]) in (("", "storage"), ("storage", "options")):
                raise _error(path, f"line {number + 1} has {match[1]!r} as a value: [storage.options] has to be a table")
            elif (table, match[1]) == ("storage.options", _STORES):
                return "".join(lines[:number]) + _with_store(lines[number:end], store, path) + "".join(lines[end:])
            number = end - 1
        elif line.strip() and not line.lstrip().startswith("#"):
            raise _error(path, f"line {number + 1}, {line.strip()!r}, is not understood")
        number += 1
    entry = f'{_STORES} = ["{store}"]\n'
    if options is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}\n[storage.options]\n{entry}"
    head = "".join(lines[: options + 1])
    return f"{head}{'' if head.endswith(chr(10)) else chr(10)}{entry}" + "".join(lines[options + 1 :])


def _end_of_value(lines: list[str], number: int, path: str) -> int:
    """Return the number of the line after a value, which an array can have several of."""
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
    """Return the lines of the array of stores with one more, as its first."""
    text = "".join(lines)
    pieces = _PIECE.findall(text)
    strings = [piece[1:-1] for piece in pieces if piece[0] in "\"'"]
    if store in strings:
        return text
    start = text.index("=") + 1
    rest = text[start:].lstrip()
    if not rest.startswith("["):
        raise _error(path, f"{_STORES} is no array")
    opened = len(text) - len(rest) + 1
    return f'{text[:opened]}"{store}"{", " if strings else ""}{text[opened:]}'


def _check_driver(value: str, path: str) -> None:
    """Raise InvalidStorageConf for a driver that does not know the store; without one Podman takes overlay where it can."""
    name = value.partition("#")[0].strip().strip("\"'")
    if name not in ("", "overlay", "overlay2"):
        raise _error(path, f"the driver is {name!r}: only 'overlay' can use the store")


def _error(path: str, reason: str) -> InvalidStorageConf:
    return InvalidStorageConf(f"{path}: {reason}; an additional image store can't be added to it")
