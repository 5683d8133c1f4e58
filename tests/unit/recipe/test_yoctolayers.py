# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers as directories."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dockin.recipe import yoctolayers


@pytest.mark.parametrize("entry, path, expected", [
    ("recipes*/*/*.bb", "recipes-x/app/app_1.bb", True),
    ("recipes*/*/*.bb", "recipes-x/app/deep/app_1.bb", False),
    ("recipes*/*.bb", "recipes-x/app/app_1.bb", False),
    ("**/*.bb", "recipes-x/app/app_1.bb", False),
    ("recipes-x/app/*.bb", "recipes-x/app/../app/app_1.bb", True),
    ("recipes*/*/*.bb", "recipes-x/.app/app_1.bb", False),
    ("recipes-x", "recipes-x/app/app_1.bb", True),
    ("recipes-x/", "recipes-x/app/deep/app_1.bb", True),
    ("recipes-x", "recipes-xy/app/app_1.bb", False),
    ("other/*/*.bb recipes-[xy]/app/app_?.bb", "recipes-x/app/app_1.bb", True),
    ("", "recipes-x/app/app_1.bb", False),
])
def test_where_bitbake_looks_for_recipes(tmp_path, entry, path, expected):
    """The rule for files that are not there, and for those that are."""
    bbfiles = " ".join(f"{tmp_path}/{one}" for one in entry.split())
    file = tmp_path / path
    file.resolve().parent.mkdir(parents=True)
    assert yoctolayers.is_recipe_place(bbfiles, str(file)) is expected
    file.resolve().touch()
    assert any(file.samefile(found) for found in yoctolayers.taken_in(bbfiles, yoctolayers.RECIPE)) is expected


def test_classes_that_leave_images_alone_are_documented():
    """The list of OE-core's in docs/tools.md."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "tools.md").read_text()
    listed = re.search(r"These classes of OE-core are\s+known:(.*?)\.\n", text, re.DOTALL)
    assert set(re.findall(r"`([^`]+)`", listed[1])) == {one for one in yoctolayers.HARMLESS if not one.startswith("dockin")}
