# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which failures are worth another try, how many, and after how long: the rules for the client and for skopeo.

The user's number (DOCKIN_FETCH_RETRIES) is the most that each rule allows.
"""

from __future__ import annotations

import random
import socket

STATUSES = {408, 429, 499, 500, 502, 503, 504, 522}
"""What an answer to the client has of a fault that may pass."""
LONGEST_WAIT = 60
"""Seconds; a registry that wants a longer one is not asked again in this run."""

SILENT = "silent"
"""The kind of a failure where nothing was heard until a time limit, which another try costs once more."""

# skopeo has waited for a rate limit itself, up to minutes, before it gives up.
_ONCE = ("rate-limited", SILENT)
_OFTEN = ("server", "network")

# Seconds before the first retry; doubled for each further one up to the longest, and varied so that parallel requests
# spread out.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


def of_skopeo(kind: str, most: int) -> int:
    """Return how often a call of skopeo is tried again that failed in a way of skopeo.py's."""
    if kind in _OFTEN:
        return most
    return min(most, 1) if kind in _ONCE else 0


def of_client(cause: BaseException | None, most: int) -> int:
    """Return how often a request is tried again that failed by an error of its connection, or by one of STATUSES."""
    if isinstance(cause, socket.timeout):
        # Silence has cost the whole time limit.
        return min(most, 1)
    if isinstance(cause, (ConnectionRefusedError, socket.gaierror)):
        # Nothing listens there, or there is no such name: seldom for seconds only.
        return min(most, 2)
    return most


def delay(attempt: int) -> float:
    """Return the seconds to wait before a retry, of which the first is number 0."""
    return min(_FIRST_DELAY * 2.0**attempt, _LONGEST_DELAY) * random.uniform(0.5, 1.5)
