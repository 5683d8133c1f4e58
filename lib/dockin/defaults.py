# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Defaults of variables, for where no class of the layer has set them: recipes of others with images, and scripts/dockin."""

from __future__ import annotations

import typing

DEFAULTS = {
    "DOCKIN_FETCH_RETRIES": "3",
    "DOCKIN_FETCH_SBOM": "0",
    "DOCKIN_FETCH_TIMEOUT": "300",
    "DOCKIN_LAYERS": "decompressed",
    "DOCKIN_PIN": "warn",
    "DOCKIN_RESOLVER": "auto",
    "DOCKIN_TLS_VERIFY": "1",
    "FETCHCMD_docker": "skopeo",
}


def value(getvar: typing.Callable[[str], str | None], name: str) -> str:
    """Return a variable's value, or its default where it is not set or empty."""
    return getvar(name) or DEFAULTS[name]
