# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes as text beside what BitBake makes of them: scripts/dockin writes pins by what the text is sure of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import bbrun

HERE = Path(__file__).resolve().parent


LIBRARIES = list(enumerate(bbrun.libraries()))


@pytest.mark.parametrize("count", [120, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize(("number", "library"), LIBRARIES, ids=[str(library) for _, library in LIBRARIES])
def test_what_the_text_is_sure_of_bitbake_has_so(number, library, count):
    """Random recipes with operators, overrides, includes, classes, appends and code; two machines each.

    Each library has recipes of its own.
    """
    if library.unavailable:
        pytest.skip(f"unavailable: {library.unavailable}")
    command = [sys.executable, "-B", str(HERE / "compare_text.py"), str(library.path), str(HERE.parent.parent / "lib")]
    argv = [*command, str(20261128 + number), str(count)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=1000)
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert outcome["sure"] > count // 3 and outcome["doubtful"] > count // 3
