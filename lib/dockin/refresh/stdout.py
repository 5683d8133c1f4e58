# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Standard output for a command's own output alone: BitBake and its tools print there, too."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import typing


@contextlib.contextmanager
def reserved() -> typing.Iterator[typing.TextIO]:
    """Give the real standard output, while all else that is printed there goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(os.dup(kept), "w", encoding="utf-8", errors="surrogateescape") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def take_bytes(*streams: typing.TextIO) -> None:
    """Have streams print text as UTF-8 whatever the locale, and bytes of recipes that are no UTF-8 as they are."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
