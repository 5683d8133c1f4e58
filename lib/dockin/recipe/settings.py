# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a recipe and an image recipe may set: what the classes check when BitBake parses one."""

from __future__ import annotations

import typing

from dockin.errors import DockinError
from dockin.image import archive, attachments, platforms
from dockin.target import runtimes, space, units

_SWITCH = ("0", "1")
_TYPE_PREFIX = "COMPRESSION_CMD:"

GetVar = typing.Callable[[str], "str | None"]
"""Returns the value of a variable."""


class InvalidSetting(DockinError):
    """A variable has a value that is none of those it may have."""


def check_choice(variable: str, value: str | None, choices: typing.Collection[str]) -> None:
    """Raise InvalidSetting where a variable has none of some values."""
    if value not in choices:
        raise InvalidSetting(f"Invalid {variable} = {value!r}: expected {', '.join(map(repr, choices))}")


def check_recipe(get: GetVar, variables: typing.Iterable[str]) -> None:
    """Check the settings of a recipe with images; variables are the names of all that are set. Raises DockinError."""
    types = sorted(name[len(_TYPE_PREFIX):] for name in variables if name.startswith(_TYPE_PREFIX))
    choices = {
        "DOCKIN_LAYERS": archive.LAYER_MODES,
        "DOCKIN_FETCH_SBOM": attachments.CHOICES,
        "DOCKIN_PRELOAD_FLUSH": _SWITCH,
        "DOCKIN_PRELOAD_PRUNE": _SWITCH,
        "DOCKIN_PRELOAD_KEEP_PREVIOUS": _SWITCH,
        "DOCKIN_RUNTIME": tuple(runtimes.RUNTIMES),
        "DOCKIN_RUNTIME_STORE": runtimes.STORES,
        "COMPRESSION_TYPE": types,
    }
    for variable, values in choices.items():
        check_choice(variable, get(variable), values)
    for variable in ("docker_archivedir", "DOCKIN_DATAROOT_DIR", "DOCKIN_IMAGESTORE_DIR"):
        units.check_directory(variable, get(variable) or "")
    space.parse_budget(get("DOCKIN_SIZE_BUDGET") or "")
    if platform := get("DOCKIN_PLATFORM"):
        platforms.parse(platform)


def check_image(get: GetVar) -> None:
    """Check the settings of an image recipe with the class dockin-dataroot. Raises DockinError."""
    for variable, choices in (
        ("DOCKIN_DATAROOT", _SWITCH), ("DOCKIN_RUNTIME_STORE", runtimes.STORES), ("DOCKIN_DATAROOT_KEEP_ARCHIVES", _SWITCH),
    ):
        if get(variable) not in choices:
            raise InvalidSetting(f"Invalid {variable} = {get(variable)!r}: expected {' or '.join(choices)}")
    space_kib = get("DOCKIN_DATAROOT_EXTRA_SPACE") or ""
    if not space_kib.isdigit():
        raise InvalidSetting(f"Invalid DOCKIN_DATAROOT_EXTRA_SPACE = {space_kib!r}: expected a number of KiB")
    runtimes.parse(get("DOCKIN_RUNTIME") or "")
    for variable in ("DOCKIN_DATAROOT_DIR", "DOCKIN_IMAGESTORE_DIR"):
        units.check_directory(variable, get(variable) or "")
    for variable in ("INC_RPM_IMAGE_GEN", "INC_IPK_IMAGE_GEN"):
        if get(variable) == "1":
            raise InvalidSetting(f"{variable} = '1' keeps a root file system of which the archives are gone: unset it")
