# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The test bed itself: what the other tests rely on to fail when they must."""

from __future__ import annotations

import os
import time

import pytest

from support import cache, oe

# One release is enough: they differ in OE-core, not in the bed.
pytestmark = pytest.mark.parametrize("release", cache.releases()[:1], ids=str, indirect=True, scope="session")

def test_warnings_and_errors_fail(bench):
    build = bench.build("bed-messages", layers=[])
    build.recipe("warns_1.0.bb", 'python () {\n    bb.warn("take care\\nof this")\n}\n')
    result = build.bitbake("-p")
    assert result.warnings == [w for w in result.warnings if w.endswith("take care\nof this")] != []
    with pytest.raises(oe.BuildFailed, match="warned"):
        result.ok()
    result.ok("take care")
    with pytest.raises(oe.BuildFailed, match="no warning"):
        result.ok("take care", "something else")
    build.recipe("fails_1.0.bb", 'python () {\n    bb.fatal("wrong")\n}\n')
    result = build.bitbake("-p").failed("wrong$")
    with pytest.raises(oe.BuildFailed, match="failed"):
        result.ok()
    with pytest.raises(oe.BuildFailed, match="no error"):
        result.failed("right")


def test_a_time_limit_leaves_nothing_behind(bench):
    build = bench.build("bed-limit", layers=[])
    build.recipe("sleeps_1.0.bb", 'INHIBIT_DEFAULT_DEPS = "1"\ndo_fetch() {\n    sleep 120\n}\n')
    start = time.monotonic()
    result = build.bitbake("sleeps", timeout=8)
    assert result.returncode is None
    assert time.monotonic() - start < 60
    # What was killed is not gone at once where the processors are busy.
    end = time.monotonic() + 10
    while (left := [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _in(pid, build.path)]):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    with pytest.raises(oe.BuildFailed, match="took too long"):
        result.ok()


def _in(pid, folder):
    """Tell whether a process is about a folder."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(folder) in file.read()
    except OSError:
        return False
