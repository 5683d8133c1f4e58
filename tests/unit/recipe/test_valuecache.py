# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Values kept from one call to the next: never any that do not hold."""

from __future__ import annotations

import os

import pytest

from dockin.recipe.valuecache import ValueCache

VALUES = {"SRC_URI": "docker://busybox", "B": None}
LONG_AGO = (10**9, 10**9)


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / name for name in ("a.bb", "base.bbclass")]
    for path in found:
        path.write_text("text\n")
        os.utime(path, LONG_AGO)
    return [*map(str, found), str(tmp_path / "local.conf")]  # the last is one that BitBake has looked for in vain


@pytest.fixture
def kept(tmp_path, files):
    """Return a function that opens the cache, in which one recipe is."""
    path = str(tmp_path / "cache.json")
    cache = ValueCache(path, {"MACHINE": "qemuarm"})
    cache.put("/a.bb", ["x.bbappend"], files, VALUES)
    cache.save()
    return lambda key="qemuarm": ValueCache(path, {"MACHINE": key})


def test_nothing_changed(kept):
    assert kept().get("/a.bb", ["x.bbappend"]) == VALUES


def test_what_is_not_there(kept):
    assert kept().get("/b.bb", []) == {}


def test_another_key(kept):
    assert kept("qemux86").get("/a.bb", ["x.bbappend"]) == {}


@pytest.mark.parametrize("appends", [[], ["x.bbappend", "y.bbappend"]])
def test_other_appends(kept, appends):
    assert kept().get("/a.bb", appends) == {}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_that_changed_or_came(kept, files, number):
    with open(files[number], "a") as file:
        file.write("more\n")
    assert kept().get("/a.bb", ["x.bbappend"]) == {}


def test_a_file_that_went(kept, files):
    os.unlink(files[1])
    assert kept().get("/a.bb", ["x.bbappend"]) == {}


def test_a_file_that_may_change_unseen_is_not_believed(tmp_path, files):
    os.utime(files[0])
    cache = ValueCache(str(tmp_path / "cache.json"), {})
    cache.put("/a.bb", [], files, VALUES)
    assert cache.get("/a.bb", []) == {}


def test_a_new_state_of_a_file_leaves_no_old_values_of_others(kept, files):
    with open(files[1], "a") as file:
        file.write("more\n")
    os.utime(files[1], (2 * 10**9 // 2 + 5, 10**9 + 5))
    cache = kept()
    cache.put("/b.bb", [], files[1:], {"SRC_URI": "new"})
    cache.save()
    assert kept().get("/a.bb", ["x.bbappend"]) == {}
    assert kept().get("/b.bb", []) == {"SRC_URI": "new"}


@pytest.mark.parametrize("text", [
    "", "{", "[]", "1", '{"format": 1}', '{"format": 2, "key": {}, "files": {}, "recipes": {}}'])
def test_a_damaged_file_is_no_error(tmp_path, files, text):
    path = tmp_path / "cache.json"
    path.write_text(text)
    cache = ValueCache(str(path), {})
    assert cache.get("/a.bb", []) == {}
    cache.put("/a.bb", [], files, VALUES)
    cache.save()
    assert ValueCache(str(path), {}).get("/a.bb", []) == VALUES


def test_a_link_of_somebody_else_is_not_followed(tmp_path, files):
    good = tmp_path / "good"
    good.write_text("good")
    (tmp_path / f"cache.json.{os.getpid()}").symlink_to(good)
    cache = ValueCache(str(tmp_path / "cache.json"), {})
    cache.put("/a.bb", [], files, VALUES)
    cache.save()
    assert good.read_text() == "good"
    cache.save()
    assert ValueCache(str(tmp_path / "cache.json"), {}).get("/a.bb", []) == VALUES


def test_a_place_that_can_t_be_written_is_no_error(files):
    cache = ValueCache("/nonexistent/cache.json", {})
    cache.put("/a.bb", [], files, VALUES)
    cache.save()
