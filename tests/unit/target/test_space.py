# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.target.space: what images need on a target, against all orders in which they could be loaded."""

from __future__ import annotations

import dataclasses
import itertools
import re
from unittest import mock

import pytest

from dockin.target import space
from dockin.target.imageinfo import ImageInformation
from support import helper
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
DIGEST = "sha256:" + "a" * 64


def image(archive, unpacked, layers, name="x", runtime="docker"):
    return ImageInformation(f"docker.io/library/{name}:1", f"{name}:1", "linux/amd64", runtime, f"{name}.tar.xz", archive,
                            unpacked, layers, DIGEST, DIGEST, DIGEST)


def peak(order):
    """Return what is taken at most by loads in this order, and at the end: one step after the other."""
    disk = {("archive", number): load.image.archive_size for number, load in enumerate(order)}
    most = sum(disk.values())
    for number, load in enumerate(order):
        disk["load"] = space.load_need(load.image)
        most = max(most, sum(disk.values()))
        del disk["load"]
        disk["layers", number] = load.image.layers_size
        if load.store == "containerd":
            disk["blobs", number] = load.image.unpacked_size
        if load.flush:
            del disk["archive", number]
    return most, sum(disk.values())


SIZES = st.integers(0, 9).map(lambda number: number * 4 * MIB)
IMAGES = st.builds(image, SIZES, SIZES, SIZES)


def loads_of(*stores):
    return st.lists(st.builds(space.Load, IMAGES, st.booleans(), st.sampled_from(stores)), max_size=5)


def in_order(planned, loads):
    """Return the loads in the plan's order: their images are the very same objects."""
    return [next(load for load in loads if load.image is one) for one in planned.order]


@settings(deadline=None, max_examples=300)
@given(loads_of("classic"))
def test_no_order_needs_less(loads):
    """Of the space that is used; of what is asked for beyond that, the reserve, the order takes no notice."""
    with mock.patch.object(space, "RESERVE_DIVISOR", 1 << 60):
        assert space.plan(loads).peak_size == min(peak(order)[0] for order in itertools.permutations(loads))
    written = max((load.image.unpacked_size + load.image.layers_size for load in loads), default=0)
    least = min(peak(order)[0] for order in itertools.permutations(loads))
    assert least <= space.plan(loads).peak_size <= least + written // 16


@settings(deadline=None, max_examples=300)
@given(loads_of("classic", "containerd"))
def test_the_plan_is_what_its_order_needs(loads):
    planned = space.plan(loads)
    order = in_order(planned, loads)
    assert sorted(map(repr, order)) == sorted(map(repr, loads))
    assert (planned.peak_size, planned.final_size) == peak(order)


def test_the_order_matters():
    """What a wrong order would cost, so that the tests above compare different numbers."""
    images = [image(0, 90 * MIB, 10 * MIB, "a"), image(0, 50 * MIB, 50 * MIB, "b"), image(80 * MIB, 9 * MIB, 9 * MIB, "c")]
    loads = [space.Load(one, flush=True) for one in images]
    peaks = {peak(order)[0] for order in itertools.permutations(loads)}
    assert len(peaks) > 2
    planned = space.plan(loads)
    assert [one.name for one in planned.order] == ["c:1", "a:1", "b:1"]
    assert planned.peak_size == min(peaks)


def test_one_image():
    one = image(10 * MIB, 32 * MIB, 32 * MIB)
    flushed, kept = space.plan([space.Load(one, flush=True)]), space.plan([space.Load(one, flush=False)])
    assert (flushed.archive_size, flushed.unpacked_size) == (10 * MIB, 32 * MIB)
    assert flushed.peak_size == (10 + 64 + 4 + 8) * MIB == kept.peak_size
    assert (flushed.final_size, kept.final_size) == (32 * MIB, 42 * MIB)


@pytest.mark.parametrize(("runtime", "store", "blobs"), [
    ("docker", "classic", False), ("docker", "containerd", True), ("containerd", "classic", True),
    ("podman", "classic", False), ("podman", "containerd", False)])
def test_where_blobs_stay(runtime, store, blobs):
    """Two images of 64 MiB in layers, archives of 20 and 16 MiB, 64 and 32 MiB when unpacked; numbers by hand."""
    one = image(20 * MIB, 64 * MIB, 64 * MIB, "a", runtime)
    two = image(16 * MIB, 32 * MIB, 64 * MIB, "b", runtime)
    planned = space.plan([space.Load(two, True, store), space.Load(one, True, store)])
    assert planned.order == (one, two)
    # In the second load: its archive, what the first left, 96 that are written, and 6 + 8 in reserve.
    assert planned.peak_size == (254 if blobs else 190) * MIB
    assert planned.final_size == (224 if blobs else 128) * MIB


def test_an_order_that_is_not_the_best_for_blobs():
    """The target goes by one rule for all stores, and so does the plan; numbers by hand."""
    one, two = image(0, 160 * MIB, 160 * MIB, "a"), image(80 * MIB, 96 * MIB, 96 * MIB, "b")
    one, two = space.Load(one, True, "containerd"), space.Load(two, True, "containerd")
    planned = space.plan([one, two])
    assert (planned.order, planned.peak_size) == ((two.image, one.image), (192 + 320 + 20 + 8) * MIB)
    one = dataclasses.replace(one, image=image(0, 192 * MIB, 192 * MIB, "a"))
    planned = space.plan([one, two])
    assert (planned.order, planned.peak_size) == ((one.image, two.image), (80 + 384 + 192 + 12 + 8) * MIB)
    assert peak([two, one])[0] == (192 + 384 + 24 + 8) * MIB


def test_no_image():
    assert space.plan([]) == space.Plan((), 0, 0, 0, 0)


def test_the_target_asks_for_the_same():
    """dockin-preload's own sum, in KiB, from its text: what fits the plan is loaded there."""
    text = helper.text()
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
    planned = space.plan([space.Load(one, True) for one in (image(10, 20 * MIB, 30 * MIB, "a"), image(7, 8, 9, "b"))])
    assert space.budget_error(planned, str(planned.peak_size)) == ""
    assert space.budget_error(planned, "") == ""
    error = space.budget_error(planned, str(planned.peak_size - 1))
    lines = error.splitlines()
    assert f"need {planned.peak_size} bytes" in lines[0] and f"DOCKIN_SIZE_BUDGET = '{planned.peak_size - 1}'" in lines[0]
    assert " 1 too many" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:3]] == [one.archive for one in planned.order]
    need = 50 * MIB + 50 * MIB // 16 + 8 * MIB
    assert f"a.tar.xz: 10 bytes, {20 * MIB} unpacked, {30 * MIB} in layers, {need} to be free" in error
    assert f"{planned.final_size} bytes stay" in lines[-1] and "raise the budget" in lines[-1]


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("store", ["classic", "containerd"])
def test_images_that_are_loaded_in_the_same_way(flush, store):
    found = [image(5 * MIB, 20 * MIB, 20 * MIB, "a"), image(6 * MIB, 10 * MIB, 9 * MIB, "b")]
    planned = space.plan_images(found, flush, store)
    assert planned == space.plan([space.Load(one, flush, store) for one in found])
    assert space.describe_plan(planned) == (
        f"Archives: {11 * MIB} bytes, {30 * MIB} unpacked; at the peak of the loads: {planned.peak_size}, once all are"
        f" loaded: {planned.final_size}")
