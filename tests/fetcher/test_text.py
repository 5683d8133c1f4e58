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


@pytest.mark.parametrize("count", [2000, pytest.param(50_000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize(("number", "library"), LIBRARIES, ids=[str(library) for _, library in LIBRARIES])
def test_hostile_labels_are_text_to_bitbake(tmp_path, number, library, count):
    """What an image's labels say becomes values of three variables, in which nothing is left to be expanded."""
    if library.unavailable:
        pytest.skip(f"unavailable: {library.unavailable}")
    command = [sys.executable, "-B", str(HERE / "parse_labels.py"), str(library.path), str(HERE.parent.parent / "lib")]
    argv = [*command, str(20261201 + number), str(count)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=1000, cwd=tmp_path)
    assert json.loads(done.stdout) == {"parsed": count, "wrong": []}
