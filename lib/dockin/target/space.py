# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The space that images need on a target: as archives, during their loads, and afterwards.

During a load, every store holds the unpacked archive and the unpacked layers, as measured on Docker 20.10 and 26.1 (classic
and containerd store) and on containerd. On a classic store only the layers stay; the containerd store and containerd also
keep the archive's content as blobs. dockin-preload requires the same space before a load. All sizes are in bytes. Layers
that images share count for each image: the result is enough space, not the exact size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.target import runtimes
from dockin.target.imageinfo import ImageInformation

# Reserve for the file system's blocks and the runtime's own files: a fraction of the written bytes, and a fixed part.
RESERVE_DIVISOR = 16
RESERVE_SIZE = 8 << 20

_BUDGET = re.compile(r"([1-9][0-9]{0,14})([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class InvalidBudget(DockinError):
    """DOCKIN_SIZE_BUDGET is no size."""


@dataclass(frozen=True)
class Load:
    """The load of an image on the target."""

    image: ImageInformation
    flush: bool
    """Whether the archive is removed after its image is loaded."""
    store: str = runtimes.CLASSIC_STORE
    """One of runtimes.STORES; only matters for Docker."""

    @property
    def stay_size(self) -> int:
        """The bytes that the runtime keeps."""
        blobs = runtimes.keeps_blobs(self.image.runtime, self.store)
        return self.image.layers_size + (self.image.unpacked_size if blobs else 0)

    @property
    def rank(self) -> tuple[bool, int]:
        """A sort key for the order that needs the least space.

        Loads that leave more space free than before come first, by ascending need, because each makes room for the next.
        The others follow, those first that give back most of what they took. On classic stores no other order needs
        less, apart from the reserve. On stores that keep blobs, a load gives back at most its archive: there the order
        is only optimal for images with the same compression.
        """
        image = self.image
        if self.flush and image.archive_size > image.layers_size:
            return False, image.unpacked_size + image.layers_size
        return True, -image.unpacked_size - (image.archive_size if self.flush else 0)


@dataclass(frozen=True)
class Plan:
    """The space that several images need, with archives and data-root on one file system, loaded one after another."""

    order: tuple[ImageInformation, ...]
    """The order of the loads on the target."""
    archive_size: int
    unpacked_size: int
    peak_size: int
    """The most that is occupied at any time."""
    final_size: int
    """The space that is occupied after all loads."""


def load_need(image: ImageInformation) -> int:
    """Return the free space that the load of an image requires."""
    written = image.unpacked_size + image.layers_size
    return written + written // RESERVE_DIVISOR + RESERVE_SIZE


def plan_images(images: Iterable[ImageInformation], flush: bool, store: str) -> Plan:
    """Return the plan for images that are loaded in the same way, see Load."""
    return plan([Load(image, flush, store) for image in images])


def plan(loads: Sequence[Load]) -> Plan:
    """Return the plan for loads, in the order of Load.rank."""
    ordered = sorted(loads, key=lambda load: load.rank)
    order = tuple(load.image for load in ordered)
    taken = peak = archives = sum(image.archive_size for image in order)
    for load in ordered:
        peak = max(peak, taken + load_need(load.image))
        taken += load.stay_size - (load.image.archive_size if load.flush else 0)
    return Plan(order, archives, sum(image.unpacked_size for image in order), peak, taken)


def parse_budget(text: str) -> int | None:
    """Return a budget in bytes, None for an empty one. Raises InvalidBudget."""
    if not text:
        return None
    match = _BUDGET.fullmatch(text)
    if not match:
        raise InvalidBudget(
            f"Invalid DOCKIN_SIZE_BUDGET = {text!r}: expected a number of bytes above 0, or one with K, M or G behind it"
            " for KiB, MiB or GiB, such as 512M"
        )
    return int(match[1]) * _UNITS[match[2]]


def budget_error(planned: Plan, budget: str) -> str:
    """Return the error for images that need more than a budget at their peak, "" if they don't.

    Raises InvalidBudget.
    """
    most = parse_budget(budget)
    if most is None or planned.peak_size <= most:
        return ""
    return "\n".join([
        f"The images need {planned.peak_size} bytes at the peak of their loads, DOCKIN_SIZE_BUDGET = {budget!r} allows"
        f" {most}: {planned.peak_size - most} too many. They are loaded in this order:",
        *(f"  {describe(image)}" for image in planned.order),
        f"All archives, {planned.archive_size} bytes, are there at the start; {planned.final_size} bytes stay once all are"
        " loaded. Take smaller images, spread them over recipes with budgets of their own, or raise the budget if the target"
        " has the space.",
    ])


def describe_plan(planned: Plan) -> str:
    """Return the sizes of a plan for a task's log."""
    return (f"Archives: {planned.archive_size} bytes, {planned.unpacked_size} unpacked; at the peak of the loads:"
            f" {planned.peak_size}, once all are loaded: {planned.final_size}")


def describe(image: ImageInformation) -> str:
    """Return the sizes of an image for a task's log."""
    return (f"{image.archive}: {image.archive_size} bytes, {image.unpacked_size} unpacked, {image.layers_size} in layers,"
            f" {load_need(image)} to be free for the load")
