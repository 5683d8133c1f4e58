# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The repositories from which a distribution accepts images: the patterns in DOCKIN_LICENSE_ACCEPTED.

    docker.io/library/*  registry.example.com/team/**  ghcr.io/org/app

A pattern is compared with the full registry and repository. '*' matches any text without a '/', '**' any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dockin.errors import DockinError
from dockin.image.reference import ImageReference

VARIABLE = "DOCKIN_LICENSE_ACCEPTED"

_REGISTRY = re.compile(r"localhost|[^.:*]*[.:*].*")
_PATTERN = re.compile(r"(?:[A-Za-z0-9.*-]+|\[[0-9A-Fa-f:]+\])(?::[0-9*]+)?(?:/[a-z0-9._*-]+)+|\*\*")


class InvalidPattern(DockinError):
    """DOCKIN_LICENSE_ACCEPTED has an invalid pattern."""


def parse(value: str) -> list[re.Pattern[str]]:
    """Return the patterns in a value of DOCKIN_LICENSE_ACCEPTED as regular expressions. Raises InvalidPattern."""
    for pattern in value.split():
        if not _PATTERN.fullmatch(pattern):
            raise InvalidPattern(
                f"Invalid pattern {pattern!r} in {VARIABLE}: write <registry>/<repository>, the repository in lower case,"
                " without a tag, with '*' for any text in a component and '**' for any text"
            )
        if not _REGISTRY.fullmatch(pattern.partition("/")[0]):
            raise InvalidPattern(
                f"Invalid pattern {pattern!r} in {VARIABLE}: it names no registry; for Docker Hub write"
                f" 'docker.io/{pattern}'"
            )
    # Hosts are compared without case.
    return [re.compile(_expression(pattern), re.IGNORECASE) for pattern in value.split()]


def refusal(references: Iterable[ImageReference], value: str) -> str:
    """Return why a recipe with these images is not accepted; "" if it is. Raises InvalidPattern.

    value is that of DOCKIN_LICENSE_ACCEPTED; an empty one accepts nothing.
    """
    patterns = parse(value)
    names = sorted({one.name for one in references if not any(pattern.fullmatch(one.name) for pattern in patterns)})
    if not names:
        return ""
    return (
        f"Has images of {', '.join(map(repr, names))}, which your {VARIABLE} = {' '.join(value.split())!r} does not accept:"
        " find out the licences of the software in them, and add the repository there if you may ship it"
    )


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
