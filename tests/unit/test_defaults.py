# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Defaults that Python has are those of the classes, and values that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dockin.defaults import DEFAULTS, value
from dockin.image import archive
from dockin.registry import resolver

LAYER = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_class_has_no_other_default(name):
    texts = [path.read_text() for path in (*LAYER.glob("classes/*.bbclass"), LAYER / "conf" / "layer.conf")]
    assignment = re.compile(rf'^{name} \?\??= "(.*)"', re.MULTILINE)
    assert {found for text in texts for found in assignment.findall(text)} <= {DEFAULTS[name]}


def test_defaults_are_among_the_values():
    assert DEFAULTS["DOCKIN_LAYERS"] in archive.LAYER_MODES and DEFAULTS["DOCKIN_RESOLVER"] in resolver.MODES


def test_what_is_set_counts():
    assert value({"DOCKIN_PIN": "require"}.get, "DOCKIN_PIN") == "require"
    assert value({"DOCKIN_PIN": ""}.get, "DOCKIN_PIN") == value({}.get, "DOCKIN_PIN") == "warn"
