# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.space: what images need on a target, against all orders in which they could be loaded."""

from __future__ import annotations

import itertools
import pathlib
import re

import pytest

from dockin import space
from dockin.information import ImageInformation
from hypothesis import given, settings
from hypothesis import strategies as st

HELPER = pathlib.Path(__file__).resolve().parents[2] / "recipes-support/dockin-preload/files/dockin-preload"
MIB = 1 << 20
DIGEST = "sha256:" + "a" * 64


def image(archive, unpacked, layers, name="x"):
    return ImageInformation(f"docker.io/library/{name}:1", f"{name}:1", "linux/amd64", "docker", f"{name}.tar.xz", archive,
                            unpacked, layers, DIGEST, DIGEST, DIGEST)


def peak(order):
    """Return what is taken at most by (image, flush) pairs, and at the end: one step after the other."""
    disk = {("archive", number): one.archive_size for number, (one, _) in enumerate(order)}
    most = sum(disk.values())
    for number, (one, flush) in enumerate(order):
        disk["load"] = space.load_need(one)
        most = max(most, sum(disk.values()))
        del disk["load"]
        disk["layers", number] = one.layers_size
        if flush:
            del disk["archive", number]
    return most, sum(disk.values())


SIZES = st.integers(0, 9).map(lambda number: number * 4 * MIB)
IMAGES = st.lists(st.builds(image, SIZES, SIZES, SIZES), max_size=3)


@settings(deadline=None, max_examples=300)
@given(IMAGES, IMAGES)
def test_no_order_needs_less(flushed, kept):
    planned = space.plan(flushed, kept)
    pairs = [(one, True) for one in flushed] + [(one, False) for one in kept]
    assert sorted(planned.order, key=repr) == sorted([*flushed, *kept], key=repr)
    outcomes = {peak(order) for order in itertools.permutations(pairs)}
    assert planned.peak_size == min(outcomes)[0]
    assert {planned.final_size} == {final for _, final in outcomes}
    assert any(tuple(one for one, _ in order) == planned.order and peak(order)[0] == planned.peak_size
               for order in itertools.permutations(pairs))


def test_the_order_matters():
    """What a wrong order would cost, so that the test above compares different numbers."""
    images = [image(0, 90 * MIB, 10 * MIB, "a"), image(0, 50 * MIB, 50 * MIB, "b"), image(80 * MIB, 9 * MIB, 9 * MIB, "c")]
    peaks = {peak([(one, True) for one in order])[0] for order in itertools.permutations(images)}
    assert len(peaks) > 2
    planned = space.plan(images)
    assert [one.name for one in planned.order] == ["c:1", "a:1", "b:1"]
    assert planned.peak_size == min(peaks)


def test_one_image():
    one = image(10 * MIB, 32 * MIB, 32 * MIB)
    planned = space.plan([one])
    assert (planned.archive_size, planned.unpacked_size) == (10 * MIB, 32 * MIB)
    assert planned.peak_size == (10 + 64 + 4 + 8) * MIB == space.plan([], [one]).peak_size
    assert (planned.final_size, space.plan([], [one]).final_size) == (32 * MIB, 42 * MIB)


def test_no_image():
    assert space.plan([]) == space.Plan((), 0, 0, 0, 0)


def test_the_target_asks_for_the_same():
    """dockin-preload's own sum, in KiB, from its text: what fits the plan is loaded there."""
    text = HELPER.read_text()
    [divisor, reserve] = re.search(r"needed=\$\(\(\$2 \+ \$2 / ([0-9]+) \+ ([0-9]+)\)\)", text).groups()
    assert (int(divisor), int(reserve) * 1024) == (space.RESERVE_DIVISOR, space.RESERVE_SIZE)


@pytest.mark.parametrize(("text", "size"), [
    ("", None), ("1", 1), ("123456789", 123456789), ("4K", 4096), ("512M", 512 << 20), ("2G", 2 << 30)])
def test_budgets(text, size):
    assert space.parse_budget(text) == size


@pytest.mark.parametrize("text", ["0", "-1", "1.5G", "1 G", "1MB", "1MiB", "1g", "G", "many", "١", "1T", "1\n", "9" * 16])
def test_what_is_no_budget(text):
    with pytest.raises(space.InvalidBudget, match=re.escape(f"Invalid DOCKIN_SIZE_BUDGET = {text!r}: expected")):
        space.parse_budget(text)


def test_over_budget():
    planned = space.plan([image(10, 20 * MIB, 30 * MIB, "a"), image(7, 8, 9, "b")])
    assert space.budget_error(planned, str(planned.peak_size)) == ""
    assert space.budget_error(planned, "") == ""
    error = space.budget_error(planned, str(planned.peak_size - 1))
    lines = error.splitlines()
    assert f"need {planned.peak_size} bytes" in lines[0] and f"DOCKIN_SIZE_BUDGET = '{planned.peak_size - 1}'" in lines[0]
    assert " 1 too many" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:3]] == [one.archive for one in planned.order]
    need = 50 * MIB + 50 * MIB // 16 + 8 * MIB
    assert f"a.tar.xz: 10 bytes, {20 * MIB} unpacked, {30 * MIB} once loaded, {need} to be free" in error
    assert f"{planned.final_size} bytes stay" in lines[-1] and "raise the budget" in lines[-1]
