# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Random recipes that are refreshed, as BitBake reads them before and after, and labels in new recipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import bbrun

HERE = Path(__file__).resolve().parent


LIBRARIES = list(enumerate(bbrun.libraries()))


@pytest.mark.parametrize("count", [120, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize(("number", "library"), LIBRARIES, ids=[str(library) for _, library in LIBRARIES])
def test_bitbake_reads_no_wrong_pin_after_a_refresh(number, library, count):
    """Random recipes with operators, overrides, includes, classes, appends and code; two machines each.

    They are refreshed as scripts/dockin does, from the text, and as devtool does, for one of the machines. Each library has
    recipes of its own.
    """
    if library.unavailable:
        pytest.skip(f"unavailable: {library.unavailable}")
    command = [sys.executable, "-B", str(HERE / "compare_text.py"), str(library.path), str(HERE.parent.parent / "lib")]
    argv = [*command, str(20261128 + number), str(count)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=1700)
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert outcome["text updated"] > count // 16 and outcome["text problems"] > count // 3
    assert outcome["parsed updated"] > count // 4 and outcome["parsed problems"] > count // 8
    assert outcome["text upgraded"] > count // 16 and outcome["parsed upgraded"] > count // 4


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
