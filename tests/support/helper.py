# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The target's command dockin-preload, joined from its parts as the recipe's do_compile joins them."""

from __future__ import annotations

import pathlib

NAME = "dockin-preload"
FILES = pathlib.Path(__file__).resolve().parents[2] / "recipes-support" / NAME / "files"


def text() -> str:
    """Return the command's text."""
    return "".join(part.read_text() for part in sorted((FILES / NAME).glob("*.sh")))


def write(directory: pathlib.Path) -> pathlib.Path:
    """Write the command, executable, into a directory, and return its path."""
    path = directory / NAME
    path.write_text(text())
    path.chmod(0o755)
    return path
