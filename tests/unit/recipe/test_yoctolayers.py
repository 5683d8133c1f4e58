# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers as directories."""

from __future__ import annotations

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
