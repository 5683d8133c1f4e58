# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""JSON that others have written: read so that no program which gets the same bytes reads something else in them.

skopeo, Docker, containerd and Podman are written in Go. Its encoding/json (https://pkg.go.dev/encoding/json#Unmarshal) takes
a key that it looks for in upper and lower case alike, U+017F for an s and U+212A for a k; of several such keys the last one
counts. In strings it replaces what is no Unicode. Python's json looks for the very key, and takes NaN, Infinity, halves of
surrogate pairs and any depth that its stack allows. So a document with "architecture" and "Architecture" would be checked as
one image and run as another. Here whatever the two may read differently is an error.

It is for what is checked here and used by such a program. A registry's lists of tags, tokens and words about an error are
used here alone, and read as Python's json does: one odd tag is not to lose the list.
"""

from __future__ import annotations

import collections
import json
import math
import typing

from dockin.errors import DockinError

MAX_DEPTH = 64
"""Of arrays and objects in each other; images have 5, Go takes 10000."""
_MAX_DIGITS = 20
"""Characters of an integer: all that 64 bits can hold have at most so many."""

Failure = typing.Callable[[str], DockinError]
"""Makes an error of what is wrong, a phrase."""


class Object(dict[str, typing.Any]):
    """A JSON object. Asked for a key, it raises an error if Go would take another one for it.

    Maps with keys of the publisher's choice, which Go does not fold either, are read by items() instead.
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
        """Return the value of a key, or the default where there is none."""
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
    """Return the value in some bytes, its objects as Object. Raises what failure makes, also later, of an object's keys."""

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
    # lower() makes a k of U+212A. No key that is looked for has other letters than ASCII's.
    return key.lower().replace("\u017f", "s")


def _check(value: object, depth: int) -> None:
    """Raise ValueError for a string that is no Unicode, and for what is nested too deeply."""
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
