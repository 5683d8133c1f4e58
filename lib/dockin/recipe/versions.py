# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Tags that are versions: which one follows another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dockin.errors import DockinError

# The longest tag that there can be; what a registry lists may be anything.
_LONGEST = 128
_NUMBER = re.compile(r"[0-9]+")
# A year with month, day and time of day as far as they are there.
_DATE = re.compile(r"20[0-9]{2}(?:[0-9]{2}){0,5}")
_YEAR_LENGTH = 4
_VERSION_TAG = re.compile(r"(?P<prefix>v?)(?P<version>[0-9]+(?:\.[0-9]+)*)(?P<suffix>(?:[-_+.][A-Za-z].*)?)")


@dataclass(frozen=True)
class VersionTag:
    """A tag taken apart: v1.36.1-alpine is v, 1.36.1, -alpine."""

    prefix: str
    version: str
    suffix: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version, to compare by."""
        return _numbers(self.version)


def parse(tag: str) -> VersionTag | None:
    """Return a tag's parts, None if it is no version (latest, bookworm, a commit)."""
    match = _VERSION_TAG.fullmatch(tag) if len(tag) <= _LONGEST else None
    return VersionTag(match["prefix"], match["version"], match["suffix"]) if match else None


def matching(tags: list[str], regex: str) -> list[str]:
    """Return the tags in which a regular expression is found. Raises DockinError for a malformed one."""
    compiled = _compile(regex, "expression for tags")
    return [tag for tag in tags if compiled.search(tag)]


def newest(tags: list[str], current: str, regex: str = "") -> str:
    """Return the version of the newest tag that could replace the current one, "" if there is none.

    regex is UPSTREAM_CHECK_REGEX: what its group pver matches is the version. Without it a tag fits that has the current
    one's prefix, suffix and number of components, of the same form, so that 1.36.1-musl does not become 1.37, 1.37.0-glibc
    or 20240923.1.0-musl; where the current tag is no version, plain versions of two components or more. Raises DockinError
    for a malformed regex.
    """
    if regex:
        versions = _matches(tags, regex)
    else:
        pattern = parse(current)
        found = [version for version in map(parse, tags) if version and _fits(version, pattern)]
        versions = [version.version for version in found]
    return max(versions, key=_numbers, default="")


LEVELS = ("patch", "minor", "major")
"""How far an upgrade may go."""


def upgrades(tags: list[str], current: str, level: str, regex: str = "") -> list[str]:
    """Return the tags above the current one that differ at most in their patch, minor or major number, the newest first.

    They have the same prefix, suffix and number of components, of the same form, so that no 1.36.1-musl becomes 1.37.0, no
    release a pre-release, and no 3 a 20240923; regex chooses among tags. Raises DockinError for a malformed regex.
    """
    pattern = parse(current)
    if regex:
        tags = matching(tags, regex)
    if pattern is None:
        return []
    kept = {"patch": 2, "minor": 1, "major": 0}[level]
    candidates = {
        tag: version.numbers
        for tag, version in ((tag, parse(tag)) for tag in tags)
        if version
        and _fits(version, pattern)
        and version.numbers[:kept] == pattern.numbers[:kept]
        and version.numbers > pattern.numbers
    }
    return sorted(sorted(candidates), key=lambda tag: candidates[tag], reverse=True)


def is_exact(tag: str) -> bool:
    """Tell whether a tag looks like one release, which should never stand for anything else: 1.36.1, v2.0.0-alpine."""
    version = parse(tag)
    return version is not None and len(version.numbers) >= 3


def _fits(candidate: VersionTag, pattern: VersionTag | None) -> bool:
    if pattern is None:
        return not candidate.suffix and len(candidate.numbers) > 1
    return (candidate.prefix, candidate.suffix, len(candidate.numbers)) == (
        pattern.prefix,
        pattern.suffix,
        len(pattern.numbers),
    ) and all(_may_follow(*pair, place == 0) for place, pair in enumerate(zip(candidate.numbers, pattern.numbers)))


def _may_follow(candidate: int, current: int, leads: bool) -> bool:
    """Tell whether a number may stand where another one stood: no date for a count, no commit or build for a version.

    The number that leads a version has at most three digits, those behind it at most five, as 10.0.17763 has. What is
    counted further gains a digit at a time. A year alone is one only where it leads: 24.8.4.2048 ends with a build. Beside
    another number of four digits it need not be one: 2001 comes after 1998.
    """
    new, old = str(candidate), str(current)
    if len(new) == len(old) == _YEAR_LENGTH:
        return True
    fits = len(new) <= max(3 if leads else 5, len(old) + 1)
    return fits and _date_length(new, leads) == _date_length(old, leads)


def _date_length(number: str, leads: bool) -> int:
    return len(number) if _DATE.fullmatch(number) and (leads or len(number) > _YEAR_LENGTH) else 0


def _matches(tags: list[str], regex: str) -> list[str]:
    compiled = _compile(regex, "UPSTREAM_CHECK_REGEX")
    if "pver" not in compiled.groupindex:
        raise DockinError(f"Invalid UPSTREAM_CHECK_REGEX = {regex!r}: it has no group (?P<pver>…) that matches the version")
    matches = [compiled.search(tag) for tag in tags if len(tag) <= _LONGEST]
    return [match["pver"] for match in matches if match and match["pver"]]


def _compile(regex: str, what: str) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise DockinError(f"Invalid {what} {regex!r}: no regular expression ({error})") from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBER.findall(version)))
