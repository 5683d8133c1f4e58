# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is said of what no pin covers, and how to pin it, as DOCKIN_PIN wants."""

from __future__ import annotations

import logging
import typing

import bb.event

from bb.fetch2 import FetchError
from bb.fetch2 import MissingChecksumEvent
from bb.fetch2 import NoChecksumError

from dockin.image import tarball
from dockin.image.platforms import Platform

_logger = logging.getLogger("BitBake.Fetcher.Docker")

CHOICES = ("warn", "require", "ignore")
"""Values of DOCKIN_PIN."""


def _choice(ud: typing.Any, d: typing.Any) -> str:
    """Return what DOCKIN_PIN says of what is not pinned."""
    choice = d.getVar("DOCKIN_PIN") or "warn"
    if choice not in CHOICES:
        raise FetchError(f"Invalid DOCKIN_PIN = {choice!r}: expected {', '.join(map(repr, CHOICES))}", ud.url)
    # devtool upgrade asks for the event alone, whatever the recipe's own choice.
    return "ignore" if d.getVar("BB_STRICT_CHECKSUM") == "ignore" else choice


def report_pin(ud: typing.Any, d: typing.Any, digest: str) -> None:
    """Say what the pin of an image without one would be: to devtool upgrade by an event, to the user as DOCKIN_PIN wants."""
    if ud.source.reference.digest:
        return
    choice = _choice(ud, d)
    checksum = digest.partition(":")[2]
    line = f'SRC_URI[{ud.source.pin_flag}] = "{checksum}"'
    if choice == "require":
        raise NoChecksumError(line, ud.url)
    bb.event.fire(MissingChecksumEvent(ud.url, sha256sum=checksum), d)
    if choice == "warn":
        _logger.warning(
            "%s is not pinned: what a tag stands for changes. To get the same image each time, add to the recipe:\n%s",
            ud.source.reference.familiar,
            line,
        )


def report_platform(ud: typing.Any, d: typing.Any, image: tarball.Image, machine: Platform | None) -> None:
    """Say of an image that ;platform= names, and that is not for the machine, how to show that it is meant.

    That is by the pin of its manifest. An index serves all machines, of which not all may run it.
    """
    if not ud.source.platform or ud.source.reference.digest == image.manifest_digest:
        return
    if machine is None or machine.accepts(ud.source.platform):
        return
    flag = ud.source.pin_flag
    line = f'SRC_URI[{flag}] = "{image.manifest_digest.partition(":")[2]}"'
    if ud.source.reference.digest and not d.getVarFlag("SRC_URI", flag):
        line = f";digest={image.manifest_digest}"
    _logger.warning(
        "%s is built for %s, which its ;platform= names, and the machine is of %s. If the machine runs it, pin the image of"
        " this platform alone:\n%s",
        ud.source.reference.tagged.familiar,
        str(ud.source.platform),
        str(machine),
        line,
    )


def unpinned_sbom(ud: typing.Any, d: typing.Any, image: tarball.Image) -> str:
    """Return the line that pins the bills of materials that the image's pin does not cover, "" where none is wanted.

    With DOCKIN_PIN = "require" there may be none of those.
    """
    listed = [one.digest for one in image.attachments if not one.in_index]
    choice = _choice(ud, d)
    if not listed or not ud.source.reference.digest or ud.sbom.pins or choice == "ignore":
        return ""
    line = f'SRC_URI[{ud.source.sbom_flag}] = "{" ".join(sorted(listed))}"'
    if choice == "require":
        raise NoChecksumError(line, ud.url)
    return line


def report_sbom(ud: typing.Any, d: typing.Any, image: tarball.Image) -> None:
    """Say of bills of materials that the image's pin does not cover how to pin them, as DOCKIN_PIN wants."""
    line = unpinned_sbom(ud, d, image)
    if not line:
        return
    _logger.warning(
        "The bill of materials of %s is not covered by its pin: the registry may attach another one, or none, the next time."
        " To get the same each time, add to the recipe:\n%s",
        ud.source.reference.tagged.familiar,
        line,
    )
