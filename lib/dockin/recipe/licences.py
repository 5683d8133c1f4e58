# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Licences of images, from SPDX expressions in their labels to LICENSE and LIC_FILES_CHKSUM of a recipe.

Expressions: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/. What a label says is believed only where
OE-core has that licence's text; anything else is UNREVIEWED, a licence of this layer's own that no release warns of.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

UNREVIEWED = "LicenseRef-Dockin-Unreviewed"
"""Name of the licence, and of the file in licenses/, for what nobody has looked at."""

# What SPDX has deprecated, but images still say; each means exactly the same.
_RENAMED = {
    f"{family}-{version}{old}": f"{family}-{version}{new}"
    for family, numbers in {
        "AGPL": ("1.0", "3.0"),
        "GPL": ("1.0", "2.0", "3.0"),
        "LGPL": ("2.0", "2.1", "3.0"),
        "GFDL": ("1.1", "1.2", "1.3"),
    }.items()
    for version in numbers
    for old, new in (("", "-only"), ("+", "-or-later"))
}
_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9.+:-]+)")
# No expression that a person wrote is longer, or has more parentheses.
_LONGEST = 500
_MOST_PARENTHESES = 20


class _Unknown(Exception):
    """An expression that can't be understood, or names a licence that is not known."""


@dataclass(frozen=True)
class Licence:
    """What a recipe says of its licence."""

    expression: str
    checksums: tuple[str, ...]
    """For LIC_FILES_CHKSUM."""


@dataclass(frozen=True)
class _Term:
    """One licence, or several joined by an operator."""

    operator: str
    parts: tuple[typing.Any, ...]


@dataclass(frozen=True)
class Table:
    """The licences that a release of OE-core knows."""

    checksum: typing.Callable[[str], str]
    """Gives the md5 sum of a licence's text, by its SPDX name; "" for what is not known or deprecated."""
    unreviewed: str
    """The md5 sum of UNREVIEWED's text."""
    words: bool = False
    """Whether LICENSE is written with AND and OR, as OE-core's master wants, instead of & and |."""

    def combine(self, labels: list[str]) -> Licence:
        """Return the licence of what has all these labels, each an SPDX expression or not."""
        terms: list[typing.Any] = []
        for label in labels:
            term = self._parse(label)
            parts = term.parts if isinstance(term, _Term) and term.operator == "AND" else (term,)
            terms += [part for part in parts if part not in terms]
        whole = terms[0] if len(terms) == 1 else _Term("AND", tuple(terms))
        return Licence(self._render(whole), tuple(self._file(name) for name in dict.fromkeys(_names(whole))))

    def _parse(self, label: str) -> typing.Any:
        try:
            return _Parser(label, self.checksum).run()
        except _Unknown:
            return UNREVIEWED

    def _render(self, term: typing.Any, outer: str = "") -> str:
        if isinstance(term, str):
            return term
        sign = f" {term.operator} " if self.words else {"AND": " & ", "OR": " | "}[term.operator]
        text = sign.join(self._render(part, term.operator) for part in term.parts)
        return f"({text})" if outer and outer != term.operator else text

    def _file(self, name: str) -> str:
        if name == UNREVIEWED:
            return f"file://${{DOCKIN_LAYERDIR}}/licenses/{UNREVIEWED};md5={self.unreviewed}"
        return f"file://${{COMMON_LICENSE_DIR}}/{name};md5={self.checksum(name)}"


class _Parser:
    """Reads an expression; OR binds weaker than AND."""

    def __init__(self, text: str, checksum: typing.Callable[[str], str]) -> None:
        self.checksum = checksum
        self.tokens: list[str] = []
        position = 0
        text = text.strip()
        if len(text) > _LONGEST or text.count("(") > _MOST_PARENTHESES:
            raise _Unknown
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise _Unknown
            self.tokens.append(match[1])
            position = match.end()

    def run(self) -> typing.Any:
        term = self._several("OR", lambda: self._several("AND", self._single))
        if self.tokens:
            raise _Unknown
        return term

    def _several(self, operator: str, operand: typing.Callable[[], typing.Any]) -> typing.Any:
        parts = [operand()]
        while self.tokens and self.tokens[0].upper() == operator:
            self.tokens.pop(0)
            part = operand()
            if part not in parts:
                parts.append(part)
        return parts[0] if len(parts) == 1 else _Term(operator, tuple(parts))

    def _single(self) -> typing.Any:
        token = self.tokens.pop(0) if self.tokens else ""
        if token == "(":
            term = self._several("OR", lambda: self._several("AND", self._single))
            if not self.tokens or self.tokens.pop(0) != ")":
                raise _Unknown
            return term
        name = _RENAMED.get(token, token)
        if not name or not self.checksum(name):
            raise _Unknown
        return name


def _names(term: typing.Any) -> typing.Iterator[str]:
    if isinstance(term, str):
        yield term
    else:
        for part in term.parts:
            yield from _names(part)
