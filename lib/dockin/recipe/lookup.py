# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a new recipe needs of the build's configuration and of the registry: for devtool add-docker and recipetool create."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys

import bb.utils

from dockin.errors import DockinError
from dockin.recipe import licences as licence_rules, newrecipe
from dockin.registry import resolver, settings

_LICENCES = pathlib.Path(__file__).resolve().parents[3] / "licenses"


def check_free(pn, tinfoil, option):
    """
    Refuse a name that no recipe can have, or that a recipe or a package of any configured layer has.

    option is where the user gives another one. Parses all recipes. Raises DockinError.
    """
    import bb.tinfoil
    import oe.recipeutils

    reason = oe.recipeutils.validate_pn(pn)
    if reason:
        raise DockinError(f"{reason}; give another one with {option}")
    try:
        tinfoil.parse_recipes()
    except bb.tinfoil.TinfoilUIException as error:
        raise DockinError(f"Whether {pn} is free is not known: BitBake can't parse all recipes, see above") from error
    remedy = f"choose another name with {option}, as {pn}-image; one of them would hide the other"
    best = tinfoil.find_best_provider(pn)
    if best and len(best) > 3 and best[3]:
        raise DockinError(f"Recipe name {pn} is taken: {best[3]} provides it; {remedy}")
    for fn, skipped in tinfoil.get_skipped_recipes().items():
        if pn == getattr(skipped, "pn", None):
            raise DockinError(f"Recipe name {pn} is taken: {fn} has it, which this configuration skips; {remedy}")
    for package in (pn, f"{pn}-preload"):
        providers, _ = tinfoil.get_runtime_providers(package)
        if providers:
            raise DockinError(f"Recipe name {pn} is taken: {providers[0]} makes a package {package}; {remedy}")


def lookup(references, platforms, getvar, authfile=""):
    """
    Return the images from their registries, in the order of the references; a platform of None is the machine's.

    authfile goes before DOCKIN_AUTHFILE. Raises DockinError.
    """
    if bb.utils.to_boolean(getvar("BB_NO_NETWORK")):
        raise DockinError("BB_NO_NETWORK is set: a registry has to be asked for a new recipe; unset it for this command")
    options = settings.options(getvar, os.path.abspath(authfile) if authfile else "")
    if None in platforms:
        default = settings.target_platform(getvar)
        platforms = [platform or default for platform in platforms]
    mode = settings.user_first(getvar)("DOCKIN_RESOLVER")
    with resolver.Resolver(options, dict(os.environ), mode) as registries:
        return [registries.image(reference, platform) for reference, platform in zip(references, platforms)]


def described(reference, image, platform=None, pinned=True):
    """Return what newrecipe needs of an image that lookup() has found."""
    return newrecipe.Image(dataclasses.replace(reference, digest=image.digest), image.config, pinned, platform)


def licences(getvar):
    """Return the table of the licences that this OE-core knows."""
    texts = pathlib.Path(getvar("COMMON_LICENSE_DIR") or "")
    known = set()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        listed = json.loads((texts.parent / "spdx-licenses.json").read_text(encoding="utf-8"))["licenses"]
        known = {entry["licenseId"] for entry in listed if not entry["isDeprecatedLicenseId"]}

    def checksum(name):
        path = texts / name
        return hashlib.md5(path.read_bytes()).hexdigest() if name in known and path.is_file() else ""

    unreviewed = hashlib.md5((_LICENCES / licence_rules.UNREVIEWED).read_bytes()).hexdigest()
    # Since this module is there, LICENSE is an SPDX expression.
    words = any((pathlib.Path(path) / "oe" / "spdx_license.py").is_file() for path in sys.path)
    return licence_rules.Table(checksum, unreviewed, words)
