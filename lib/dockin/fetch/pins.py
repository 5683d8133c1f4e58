# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Reports on images, platforms and bills of materials that no pin covers, with the line that pins them, by DOCKIN_PIN."""

from __future__ import annotations

import logging
import typing

import bb.event

from bb.fetch2 import FetchError
from bb.fetch2 import MissingChecksumEvent
from bb.fetch2 import NoChecksumError

from dockin import defaults
from dockin.image import tarball
from dockin.image.platforms import Platform

_logger = logging.getLogger("BitBake.Fetcher.Docker")

CHOICES = ("warn", "require", "ignore")
"""Values of DOCKIN_PIN."""


def _choice(ud: typing.Any, d: typing.Any) -> str:
    """Return how to report what is not pinned: the value of DOCKIN_PIN. Raises FetchError."""
    choice = defaults.value(d.getVar, "DOCKIN_PIN")
    if choice not in CHOICES:
        raise FetchError(f"Invalid DOCKIN_PIN = {choice!r}: expected {', '.join(map(repr, CHOICES))}", ud.url)
    # devtool upgrade needs only the event, whatever the recipe sets.
    return "ignore" if d.getVar("BB_STRICT_CHECKSUM") == "ignore" else choice


def report_pin(ud: typing.Any, d: typing.Any, digest: str) -> None:
    """Report the pin of an unpinned image: to devtool upgrade by an event, to the user by DOCKIN_PIN."""
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
            "%s is not pinned, and its tag may move. To get the same image each time, add to the recipe:\n%s",
            ud.source.reference.familiar,
            line,
        )


def report_platform(ud: typing.Any, d: typing.Any, image: tarball.Image, machine: Platform | None) -> None:
    """Warn about an image of a ;platform= that is not the machine's, and print the pin that confirms it.

    That pin is the manifest's digest: an index serves all machines, and not all of them may run this platform.
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
        "%s is built for %s, the platform of its ;platform=, but the machine is %s. If the machine runs it, pin the"
        " manifest of this platform:\n%s",
        ud.source.reference.tagged.familiar,
        str(ud.source.platform),
        str(machine),
        line,
    )


def unpinned_sbom(ud: typing.Any, d: typing.Any, image: tarball.Image) -> str:
    """Return the line that pins the bills of materials that the image's pin does not cover; "" if there are none.

    With DOCKIN_PIN = "require" such bills are an error.
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
    """Report how to pin the bills of materials that the image's pin does not cover, by DOCKIN_PIN."""
    line = unpinned_sbom(ud, d, image)
    if not line:
        return
    _logger.warning(
        "The bill of materials of %s is not covered by the image's pin: next time the registry may have another one, or"
        " none. To get the same one each time, add to the recipe:\n%s",
        ud.source.reference.tagged.familiar,
        line,
    )
