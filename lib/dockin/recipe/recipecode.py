# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Python code in recipes, as text: which variables it changes. It is not run, so what they become is not known."""

from __future__ import annotations

import re
import typing

# The first argument: a literal, alone or with more behind it as in "RDEPENDS:" + name; or anything else.
_CHANGE = re.compile(
    r"""\b(?P<method>set|append|prepend|del|rename)Var(?:Flags?)?\s*\(\s*
    (?:[rRfFuU]{0,2}(?P<quote>["'])(?P<name>[^"']*)(?P=quote)(?P<end>\s*[,)])?)?""",
    re.VERBOSE,
)
# Or not a call of its own, as in f = d.setVar, or getattr(d, "setVar").
_ANY = re.compile(
    r"\bd\s*\[[^\]\n]*\]\s*\+?=(?!=)|\b(?:set|append|prepend|del|rename)Var(?:Flags?)?\b(?!\s*\()|\bBBHandler\.inherit\b"
)
_COMMENT = re.compile(r"^[ \t]*#[^\n]*", re.MULTILINE)


class Change(typing.NamedTuple):
    """A place where code changes a variable or its flags."""

    name: str
    """The variable without overrides; "" where it can be any."""
    offset: int


def changes(code: str) -> list[Change]:
    """Return where code changes variables, in its order; code in comments is passed over."""
    text = _COMMENT.sub(lambda match: " " * len(match[0]), code)
    found = [Change(_name(match), match.start()) for match in _CHANGE.finditer(text)]
    found += [Change("", match.start()) for match in _ANY.finditer(text)]
    return sorted(found, key=lambda change: change.offset)


def _name(match: re.Match[str]) -> str:
    """Return the changed variable, if it is written out."""
    if match["method"] == "rename" or match["name"] is None:
        return ""
    base, colon, _ = match["name"].partition(":")
    written = bool(colon or match["end"]) and not re.search(r"[${}%]", base)
    return base if written else ""
