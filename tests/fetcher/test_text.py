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


@pytest.mark.parametrize("library", bbrun.libraries(), ids=str)
def test_what_the_text_is_sure_of_bitbake_has_so(library):
    """Random recipes with operators, overrides, includes, classes, appends and code; two machines each."""
    if library.unavailable:
        pytest.skip(f"unavailable: {library.unavailable}")
    command = [sys.executable, "-B", str(HERE / "compare_text.py"), str(library.path), str(HERE.parent.parent / "lib")]
    done = subprocess.run([*command, "20261128", "400"], check=True, capture_output=True, text=True, timeout=300)
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert outcome["sure"] > 200 and outcome["doubtful"] > 200
