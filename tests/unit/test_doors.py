# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The packages of lib/dockin import each other in one direction only."""

from __future__ import annotations

import graphlib
import re
import subprocess
import sys

import pytest

from support import doors

ORDER = (
    ("errors", "exitcodes", "defaults"), ("image",), ("registry",), ("target",), ("store",), ("recipe",), ("refresh",),
    ("sbom",), ("fetch",), ("dockerfetcher", "bbimports"),
)
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
IMPORTS = doors.all_imports()
LAYER = doors.PACKAGE.parents[1]


def backward(imports: dict[str, set[str]]) -> list[str]:
    """Return the imports that go against the order."""
    return [f"{module} imports {other}" for module, others in sorted(imports.items()) for other in sorted(others)
            if LEVELS[doors.room(other)] > LEVELS[doors.room(module)]]


def test_each_package_has_a_place_in_the_order() -> None:
    assert {doors.room(module) for module in doors.modules()} <= set(LEVELS)
    assert len(IMPORTS) > 50 and sum(map(len, IMPORTS.values())) > 150


def test_no_package_imports_one_that_comes_later() -> None:
    assert not backward(IMPORTS)


def test_no_modules_import_each_other() -> None:
    assert list(graphlib.TopologicalSorter(doors.all_imports(types=False)).static_order())


@pytest.mark.parametrize("text", [
    "from dockin.recipe import source", "from dockin.recipe.source import parse_entry", "import dockin.recipe.source",
    "def f():\n    from dockin.recipe import source", "if typing.TYPE_CHECKING:\n    import dockin.recipe.source"])
def test_an_import_against_the_order_is_seen(text: str) -> None:
    assert backward({"image.platforms": doors.imports(text)}) == ["image.platforms imports recipe.source"]


def test_imports_in_a_circle_are_seen() -> None:
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_the_picture_shows_the_imports() -> None:
    command = [sys.executable, str(LAYER / "scripts" / "doors")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == "graph TD" and "    store --> target" in lines
    assert len(lines) == len(set(lines)) > 15


def test_the_order_is_documented() -> None:
    section = (LAYER / "CONTRIBUTING.md").read_text().partition("\n## Where code is\n")[2].partition("\n## ")[0]
    rows = [tuple(re.findall(r"`(\w+)`", cell)) for cell in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)]
    there = {doors.room(module) for module in doors.modules()}
    assert rows == [rooms for rooms in ORDER if set(rooms) <= there]
