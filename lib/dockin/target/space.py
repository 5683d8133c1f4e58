# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Space that images need on a target: as archives, while they are loaded, and afterwards.

What a load needs was measured on Docker 20.10 and 26.1, classic stores and containerd store, and on containerd alone: while
it runs, the unpacked archive and the unpacked layers are held, on all of them. On a classic store the layers stay; the
containerd store and containerd keep all of it, as what is in the archive are their blobs. dockin-preload asks for the same
before a load. All sizes are in bytes. Layers that images share are counted for each: what is meant is room enough, not the
last byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.target import runtimes
from dockin.target.imageinfo import ImageInformation

# For the file system's blocks and the engine's own notes: a part of what is written, and some.
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
    """Whether the archive is removed once the image is loaded."""
    store: str = runtimes.CLASSIC_STORE
    """Of runtimes.STORES; counts where the image's runtime is Docker."""

    @property
    def stay_size(self) -> int:
        """What the engine keeps."""
        blobs = runtimes.keeps_blobs(self.image.runtime, self.store)
        return self.image.layers_size + (self.image.unpacked_size if blobs else 0)

    @property
    def rank(self) -> tuple[bool, int]:
        """A sort key for the order that needs the least space.

        Loads that leave more free than they found come first, the smallest need before the others, as each makes room for
        the next. Of the rest, the more a load gives back of what it took, the earlier it comes. On classic stores no other
        order needs less, but for what RESERVE_DIVISOR adds. Where blobs stay, a load gives back no more than its archive,
        and this is the best order only of images that compress alike.
        """
        image = self.image
        if self.flush and image.archive_size > image.layers_size:
            return False, image.unpacked_size + image.layers_size
        return True, -image.unpacked_size - (image.archive_size if self.flush else 0)


@dataclass(frozen=True)
class Plan:
    """What several images need together, archives and data-root on one file system, loaded one after another."""

    order: tuple[ImageInformation, ...]
    """The order in which the target loads."""
    archive_size: int
    unpacked_size: int
    peak_size: int
    """The most that is taken at any time."""
    final_size: int
    """What is taken when all are loaded."""


def load_need(image: ImageInformation) -> int:
    """Return what must be free for an image to be loaded."""
    written = image.unpacked_size + image.layers_size
    return written + written // RESERVE_DIVISOR + RESERVE_SIZE


def plan_images(images: Iterable[ImageInformation], flush: bool, store: str) -> Plan:
    """Return what images need that are loaded in the same way, as Load has it."""
    return plan([Load(image, flush, store) for image in images])


def plan(loads: Sequence[Load]) -> Plan:
    """Return what images need.

    They are loaded in the order of Load.rank.
    """
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
    """Return what there is to say where images need more than a budget at their peak, "" where they don't.

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
    """Return the sizes of a plan as they stand in a task's log."""
    return (f"Archives: {planned.archive_size} bytes, {planned.unpacked_size} unpacked; at the peak of the loads:"
            f" {planned.peak_size}, once all are loaded: {planned.final_size}")


def describe(image: ImageInformation) -> str:
    """Return the sizes of an image as they stand in a task's log."""
    return (f"{image.archive}: {image.archive_size} bytes, {image.unpacked_size} unpacked, {image.layers_size} in layers,"
            f" {load_need(image)} to be free for the load")
