# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The rules for retries of the client and skopeo: which failures, how many, and after how long.

The user's number (DOCKIN_FETCH_RETRIES) limits each rule.
"""

from __future__ import annotations

import random
import socket

STATUSES = {408, 429, 499, 500, 502, 503, 504, 522}
"""HTTP statuses of temporary faults."""
LONGEST_WAIT = 60
"""Seconds. A registry that demands a longer wait is not asked again in this run."""

SILENT = "silent"
"""The kind of a failure after a time limit without an answer; a retry costs the limit again."""

# skopeo has waited for a rate limit itself, up to minutes, before it failed.
_ONCE = ("rate-limited", SILENT)
_OFTEN = ("server", "network")

# Seconds before the first retry. The delay doubles for each further retry up to the longest, with a random part that
# spreads parallel requests.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


def of_skopeo(kind: str, most: int) -> int:
    """Return the number of retries for a call of skopeo that failed with a kind of skopeo.py's."""
    if kind in _OFTEN:
        return most
    return min(most, 1) if kind in _ONCE else 0


def of_client(cause: BaseException | None, most: int) -> int:
    """Return the number of retries for a request that failed by a connection error, or with one of STATUSES."""
    if isinstance(cause, socket.timeout):
        # A silent server has cost the whole time limit.
        return min(most, 1)
    if isinstance(cause, (ConnectionRefusedError, socket.gaierror)):
        # Nothing listens, or the name does not exist: that seldom passes within seconds.
        return min(most, 2)
    return most


def delay(attempt: int) -> float:
    """Return the seconds before a retry, of which the first is number 0."""
    return min(_FIRST_DELAY * 2.0**attempt, _LONGEST_DELAY) * random.uniform(0.5, 1.5)
