# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The readers that are fuzzed (tests/fuzz, `make fuzz`), on some inputs of every run."""

from __future__ import annotations

import struct

import pytest

from fuzz import chains, targets
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module", autouse=True)
def scratch():
    yield
    targets.remove_scratch()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_takes_its_seeds(name):
    for seed in targets.TARGETS[name].seeds:
        assert targets.run(name, seed)


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_damaged_input_is_taken_or_refused(name, data):
    """Pieces of a good input are replaced, doubled or cut out."""
    text = data.draw(st.sampled_from(targets.TARGETS[name].seeds))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        pieces = [b'"', b"{", b"[", b"\n", b"\0", b"${", text[start:end] * 2]
        other = data.draw(st.binary(max_size=4) | st.sampled_from(pieces))
        text = text[:start] + other + text[end:]
    targets.run(name, text)


@pytest.mark.parametrize("number", range(len(chains.PIECES)), ids=lambda number: "-".join(
    (chains.PIECES[number][0], chains.PIECES[number][1].__name__)))
@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=24))
def test_damage_below_right_digests(number, program):
    """Each piece of an image is damaged in turn, in another way for each program; what is above it fits."""
    targets.run("chain", bytes([number]) + program)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 511), st.integers(0, 255)), max_size=4))
def test_headers_with_right_sums(changes):
    targets.run("headers", b"".join(struct.pack(">BHB", *change) for change in changes))
