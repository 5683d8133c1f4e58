# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The layer's variables for access to registries, from a BitBake datastore or from a recipe's text."""

from __future__ import annotations

import os
import shlex
import typing

from dockin import defaults
from dockin.errors import DockinError
from dockin.image import platforms
from dockin.registry import skopeo

GetVar = typing.Callable[[str], typing.Optional[str]]
"""Returns a variable's expanded value, None if it is not set: a datastore's getVar."""

_TRUTH = {"y": True, "yes": True, "1": True, "true": True, "n": False, "no": False, "0": False, "false": False}


def options(getvar: GetVar, authfile: str = "") -> skopeo.Options:
    """Return the options for registry access; authfile overrides DOCKIN_AUTHFILE. Raises DockinError."""
    command = defaults.value(getvar, "FETCHCMD_docker")
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
    """Return whether registries need valid certificates. Raises DockinError for a value that is no boolean to BitBake."""
    value = defaults.value(getvar, "DOCKIN_TLS_VERIFY")
    try:
        return _TRUTH[value.lower()]
    except KeyError:
        raise DockinError(f"Invalid DOCKIN_TLS_VERIFY = {value!r}: 1 or 0 is expected") from None


def user_first(getvar: GetVar) -> GetVar:
    """Return a getvar in which the user's environment overrides DOCKIN_RESOLVER."""
    return lambda name: (os.environ.get(name) if name == "DOCKIN_RESOLVER" else None) or getvar(name)


def target_platform(getvar: GetVar) -> platforms.Platform:
    """Return the platform of images without their own: DOCKIN_PLATFORM, or the machine's. Raises DockinError."""
    if getvar("DOCKIN_PLATFORM"):
        return platforms.parse(getvar("DOCKIN_PLATFORM") or "")
    if not getvar("TARGET_ARCH"):
        raise DockinError("No platform: neither DOCKIN_PLATFORM nor TARGET_ARCH is set")
    return platforms.from_target(
        getvar("TARGET_ARCH") or "", getvar("TUNE_FEATURES") or "", getvar("MACHINEOVERRIDES") or ""
    )
