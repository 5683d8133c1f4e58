# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What scripts/setup writes before tests run beside each other."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import shutil

from pathlib import Path

import pytest

from support import cache
from support.fetching import LIBRARIES

TREE = Path(__file__).resolve().parent.parent.parent
TABLES = Path("bb", "pysh", "pyshtables.py")


@pytest.fixture
def setup():
    """scripts/setup as a module."""
    loader = importlib.machinery.SourceFileLoader("dockin_setup", str(TREE / "scripts" / "setup"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("dockin_setup", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_no_test_is_the_first_to_use_a_library(library):
    if library.unavailable:
        pytest.skip(f"unavailable: {library.unavailable}")
    assert ast.parse((library.path / TABLES).read_text()).body


@pytest.mark.parametrize("half", [None, "_tabversion = '3.10'\n_lr_action_items = {'NAME':(["], ids=["none", "half"])
def test_tables_are_written_once_and_whole(setup, tmp_path, half):
    source = next(library.path for library in LIBRARIES if library.path.is_relative_to(cache.directory() / "venv"))
    library, stamp = tmp_path / "lib", tmp_path / "prepared"
    shutil.copytree(source / "bb", library / "bb", ignore=shutil.ignore_patterns(TABLES.name, "__pycache__"))
    if half:
        (library / TABLES).write_text(half)
    setup.prepare(library, [library / "bb"], stamp, "first")
    written = (library / TABLES).stat()
    assert "_lr_action_items" in {node.id for node in ast.walk(ast.parse((library / TABLES).read_text()))
                                  if isinstance(node, ast.Name)}
    assert list((library / "bb" / "__pycache__").glob("__init__.*.pyc"))
    setup.prepare(library, [library / "bb"], stamp, "first")
    assert (library / TABLES).stat() == written
    setup.prepare(library, [library / "bb"], stamp, "second")
    assert (library / TABLES).stat().st_mtime_ns > written.st_mtime_ns


def test_every_library_is_prepared_by_the_setup(setup, monkeypatch, tmp_path):
    """All that main() does, but for what needs apt and the network."""
    for name in ("packages", "locale", "check_skopeo", "venv"):
        monkeypatch.setattr(setup, name, lambda *_: None)
    monkeypatch.setattr(setup, "prepare_cache", lambda: tmp_path)
    monkeypatch.setattr(setup, "checkouts", lambda releases: [])
    prepared = []
    monkeypatch.setattr(setup, "prepare", lambda library, *_: prepared.append(library))
    assert setup.main() == 0
    wanted = [release.bitbake.path / "lib" for release in cache.releases()]
    assert prepared[1:] == wanted and prepared[0].is_relative_to(cache.directory() / "venv")


def test_a_library_that_cannot_be_prepared_is_said(setup, tmp_path):
    (tmp_path / "bb" / "pysh").mkdir(parents=True)
    for package in ("bb", "bb/pysh"):
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "bb" / "pysh" / "pyshyacc.py").write_text("")
    with pytest.raises(setup.SetupError, match="did not write .*pyshtables.py"):
        setup.prepare(tmp_path, [tmp_path], tmp_path / "prepared", "x")
    assert not (tmp_path / "prepared").exists()
