# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The layer's variables as the tools need them, whoever reads them: a BitBake datastore or a recipe's text."""

from __future__ import annotations

import os
import shlex
import typing

from dockin.errors import DockinError
from dockin.image import platforms
from dockin.registry import skopeo

GetVar = typing.Callable[[str], typing.Optional[str]]
"""Gives a variable's expanded value, None where it is not set: a datastore's getVar."""

_TRUTH = {"y": True, "yes": True, "1": True, "true": True, "n": False, "no": False, "0": False, "false": False}


def options(getvar: GetVar, authfile: str = "") -> skopeo.Options:
    """Return how registries are to be asked; authfile goes before DOCKIN_AUTHFILE. Raises DockinError."""
    command = getvar("FETCHCMD_docker") or "skopeo"
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise DockinError(f"Invalid FETCHCMD_docker = {command!r}: no command ({error})") from error
    return skopeo.Options(
        argv,
        authfile or getvar("DOCKIN_AUTHFILE") or "",
        getvar("DOCKIN_CERT_DIR") or "",
        getvar("DOCKIN_POLICY") or "",
        getvar("DOCKIN_REGISTRIES_CONF") or "",
        getvar("DOCKIN_REGISTRIES_D") or "",
        tls_verify(getvar),
    )


def tls_verify(getvar: GetVar) -> bool:
    """Return whether registries need valid certificates. Raises DockinError where BitBake would see no boolean."""
    value = getvar("DOCKIN_TLS_VERIFY") or "1"
    try:
        return _TRUTH[value.lower()]
    except KeyError:
        raise DockinError(f"Invalid DOCKIN_TLS_VERIFY = {value!r}: 1 or 0 is expected") from None


def user_first(getvar: GetVar) -> GetVar:
    """Return a getvar in which DOCKIN_RESOLVER of the user's environment goes before the configuration's."""
    return lambda name: (os.environ.get(name) if name == "DOCKIN_RESOLVER" else None) or getvar(name)


def target_platform(getvar: GetVar) -> platforms.Platform:
    """Return the platform of images without one of their own: DOCKIN_PLATFORM's, or the machine's. Raises DockinError."""
    if getvar("DOCKIN_PLATFORM"):
        return platforms.parse(getvar("DOCKIN_PLATFORM") or "")
    if not getvar("TARGET_ARCH"):
        raise DockinError("No platform: neither DOCKIN_PLATFORM nor TARGET_ARCH is set")
    return platforms.from_target(
        getvar("TARGET_ARCH") or "", getvar("TUNE_FEATURES") or "", getvar("MACHINEOVERRIDES") or ""
    )
