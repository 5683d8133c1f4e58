# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Foreign JSON, parsed so that every program which reads the same bytes sees the same document.

skopeo, Docker, containerd and Podman are written in Go. Its encoding/json (https://pkg.go.dev/encoding/json#Unmarshal)
ignores the case of a key, reads U+017F as s and U+212A as k, and uses the last of several such keys. In strings it replaces
invalid Unicode. Python's json compares keys exactly, and accepts NaN, Infinity, halves of surrogate pairs and any nesting
that its stack allows. A document with "architecture" and "Architecture" would therefore be checked as one image and run as
another. This module refuses every document that the two may read differently.

Use it for documents that are checked here and used by such a program. Tag lists, tokens and error messages of registries are
used only here, and are parsed by Python's json: one odd tag must not lose the list.
"""

from __future__ import annotations

import collections
import json
import math
import typing

from dockin.errors import DockinError

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects; images have 5, Go accepts 10000."""
_MAX_DIGITS = 20
"""Longest integer in characters: enough for every 64-bit integer."""

Failure = typing.Callable[[str], DockinError]
"""Makes an error from a phrase that says what is wrong."""


class Object(dict[str, typing.Any]):
    """A JSON object, which raises an error on access to a key that Go would find under another spelling.

    Read maps with the publisher's own keys by items() instead: Go does not fold those.
    """

    def __init__(self, pairs: list[tuple[str, typing.Any]], failure: Failure) -> None:
        super().__init__(pairs)
        self._failure = failure
        if len(self) != len(pairs):
            twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise failure(f"the key {twice[:80]!r} stands twice in one object")

    def __getitem__(self, key: str) -> typing.Any:
        self._check(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._check(key)
        return super().__contains__(key)

    def get(self, key: str, default: typing.Any = None) -> typing.Any:
        """Return the value of a key, or the default if there is none."""
        self._check(key)
        return super().get(key, default)

    def _check(self, key: object) -> None:
        wanted = _fold(str(key))
        for other in self:
            if other != key and _fold(other) == wanted:
                raise self._failure(
                    f"Docker and skopeo take its key {other!r} for {key!r}; have its publisher spell it {key!r}, once"
                )


def loads(data: bytes, failure: Failure) -> typing.Any:
    """Parse bytes, with objects as Object. Raises failure's error, for keys also later on access."""

    def refuse(text: str) -> typing.NoReturn:
        raise failure(f"no JSON ({text[:80]} is no number that all programs read)")

    def integer(text: str) -> int:
        return int(text) if len(text) <= _MAX_DIGITS else refuse(text)

    def fraction(text: str) -> float:
        return float(text) if math.isfinite(float(text)) else refuse(text)

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: Object(pairs, failure),
            parse_constant=refuse,
            parse_int=integer,
            parse_float=fraction,
        )
        _check(value, 0)
    except (ValueError, RecursionError) as error:
        raise failure(f"no JSON ({error})") from error
    return value


def _fold(key: str) -> str:
    # lower() turns U+212A into k. All requested keys are ASCII.
    return key.lower().replace("\u017f", "s")


def _check(value: object, depth: int) -> None:
    """Raise ValueError for a string with invalid Unicode, and for nesting that is too deep."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a string in it has half of a surrogate pair") from None
    elif isinstance(value, (dict, list)):
        if depth == MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        for inner in value:
            _check(inner, depth + 1)
        if isinstance(value, dict):
            for inner in value.values():
                _check(inner, depth + 1)
