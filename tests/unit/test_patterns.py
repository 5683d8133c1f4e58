# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Regular expressions: none takes a time that grows faster than what it reads, whatever that is."""

from __future__ import annotations

import itertools
import pathlib
import random
import re

import pytest

from dockin.recipe import bitbaketext, textreader
from support import patterns

FOUND, COMPUTED = patterns.found()
# One that backtracks needs a hundred times as long, or does not end. It is time of the processor, not of the clock.
LENGTH, SECONDS = 40_000, 0.5
LINES = 120
# Expressions that are put together when they are needed, and why they can't hurt.
HARMLESS = {
    "dockin.target.acceptance:parse": "the user's own patterns of repositories, for names of at most 255 characters",
    "dockin.refresh.command:_regex": "the user's own, of the command line",
    "dockin.recipe.mentions:__init__": "names of the recipe's images, escaped, one of several and nothing repeated",
    "dockin.refresh.parsedrecipes:read_task": "the BBFILE_PATTERN of devtool's workspace, for the paths of its appends",
    "dockin.store.containerdconf:_options": "the module's own names of options; what is repeated begins behind one of them",
    "dockin.recipe.versions:_compile": "the recipe's own UPSTREAM_CHECK_REGEX, for tags of at most 128 characters",
}


def is_slow(pattern, lines, seconds=SECONDS):
    """Return the first of some hostile lines that an expression needs too long for, None if there is none."""
    for line in itertools.islice(patterns.hostile_lines(pattern.compiled, LENGTH, random.Random(1)), lines):
        try:
            with patterns.seconds_of_processor(seconds):
                patterns.run(pattern, line)
        except patterns.TooLong:
            return line
    return None


@pytest.mark.parametrize("pattern", FOUND, ids=lambda pattern: pattern.name)
def test_expression_takes_hostile_lines(pattern):
    line = is_slow(pattern, LINES)
    assert line is None, f"{line[:60]!r}…{line[-20:]!r}"


@pytest.mark.long
@pytest.mark.parametrize("pattern", FOUND, ids=lambda pattern: pattern.name)
def test_expression_takes_many_hostile_lines(pattern):
    line = is_slow(pattern, 1 + 100_000 // len(FOUND))
    assert line is None, f"{line[:60]!r}…{line[-20:]!r}"


BAD = {
    "nested": (r"\$\{(@(?:\{.*?\}|[^{}])+|[a-z]+)\}", "finditer"),
    "twice the same": (r"\s*\[\s*([a-z.\s-]+?)\s*\]", "fullmatch"),
    "in a loop": (r"(?:a|aa)+b", "match"),
    "optional in between": (r"x*y?x*z", "match"),
    "from each place": (r"[a-z]+://", "search"),
    "unclosed string": (r'"(?:[^"\\]|\\.)*"|.', "findall"),
    "bytes": (rb"(?:[0-9]+,?)*x", "match"),
}
# Expressions that the layer once had. Each has to be seen with what the layer's own have to pass.
ONCE = {
    "acceptance": (r"localhost|.*[.:*].*", "fullmatch"),
    "bitbaketext function": (r"^(?:(?:python|fakeroot)(?=[\s(])\s*)*[\w.\-+{}$:]*\s*\(\s*\)\s*\{$", "match"),
    # "${@{}{}{}{", of which fourteen pairs were enough.
    "bitbaketext code": (r"\$\{(@(?:\{.*?\}|[^{}])+|[a-zA-Z0-9\-_+./~:]+)\}", "finditer"),
    "completion": (r'(?ms)^\s*BBLAYERS\s*(?:\?=|\+=|:?=)\s*"((?:[^"\\]|\\.)*)"', "findall"),
    "recipefile inherit": (r"(?m)^\s*inherit(?:_defer)?\s(?:.*\s)?dockin(?:\s|$)", "search"),
    "recipefile scheme": (r"([a-z0-9]+|\})://", "finditer"),
    "registriesconf table": (r"\s*\[+\s*([A-Za-z0-9_.\"' -]+?)\s*\]+\s*(?:#.*)?", "fullmatch"),
    "registriesconf pair": (r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=\s*(.*?)\s*""", "fullmatch"),
    "registry": (r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', "findall"),
    "storageconf table": (r"\s*\[\s*([A-Za-z0-9_.\s-]+?)\s*\]\s*(?:#.*)?", "fullmatch"),
    "storageconf piece": (r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[^"\'#]', "findall"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_expressions_are_seen(case):
    expression, method = BAD[case]
    assert is_slow(patterns.Pattern(case, re.compile(expression), (method,)), 100, 0.3) is not None


@pytest.mark.parametrize("case", ONCE)
def test_expressions_that_the_layer_once_had_are_seen(case):
    expression, method = ONCE[case]
    assert is_slow(patterns.Pattern(case, re.compile(expression), (method,)), LINES) is not None


def test_each_expression_is_found():
    assert set(COMPUTED) <= set(HARMLESS)
    # No other code of the layer has some.
    others = [path for folder in ("lib", "classes") for path in (patterns.PACKAGE.parent.parent / folder).rglob("*")
              if path.suffix in (".py", ".bbclass") and patterns.PACKAGE not in path.parents]
    assert len(others) > 5
    uses = re.compile(r"^\s*(?:import re\b|from re import)|\bre\.[a-z]+\(", re.MULTILINE)
    assert not [path for path in others if uses.search(path.read_text())]
    written = sum(len(re.findall(r"\bre\.(?:compile|sub|match|fullmatch|search|findall|split)\(", path.read_text()))
                  for path in pathlib.Path(patterns.PACKAGE).rglob("*.py"))
    assert len(FOUND) + len(COMPUTED) >= written


@pytest.mark.parametrize("value, unknown", [
    ("${PV}", "PV"), ("a${PV", ""), ("${@d.getVar('X')}", "@d.getVar('X')"), ("${@{'a': 1}['a']}x", "@{'a': 1}['a']"),
    ("${@{'a': {'b': 1}}['a']}", "@{'a': {'b': 1}"), ("${@{1} if x else {2}} ${PV}", "@{1} if x else {2}"), ("${}", ""),
    ("${@}", ""), ("${@x", "@x"), ("${@{x", "@{x"), ("${@{x}", "@{x}"), ("$${PV}", "PV"), ("${a b}", ""),
])
def test_what_is_not_known_of_a_value(value, unknown):
    """Code that does not end is unknown as well: it is nothing that a value could be taken from."""
    assert bitbaketext.plain(value).unknown == unknown


@pytest.mark.parametrize("begin, repeated, end", [("${@", "{}", "{"), ("", "${@{", ""), ("", "${@{a}", ""), ("", "${", "")])
def test_recipe_whose_code_does_not_end(tmp_path, begin, repeated, end):
    """A line that looks like the beginnings of much code."""
    path = tmp_path / "x_1.bb"
    path.write_text(f'X = "{begin}{repeated * 20_000}{end}"\ninherit dockin\nSRC_URI = "docker://busybox;tag=1"\n')
    with patterns.seconds_of_processor(20):
        textreader.read(str(path))
