# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Whether a recipe name is free, from the text of the layers' files: asking BitBake means to parse all recipes.

Where it looks for recipes is what collect_bbfiles() in bitbake/lib/bb/cooker.py does.
"""

from __future__ import annotations

import collections.abc
import fnmatch
import glob
import os
import pathlib
import re

# What makes names of packages that no text has.
_COMPUTED = ("PACKAGES_DYNAMIC", "do_split_packages")


def recipe_files(bbfiles: str) -> list[str]:
    """Return the recipe files that BBFILES stands for, those that BBMASK leaves out, too."""
    found: dict[str, None] = {}
    for entry in bbfiles.split():
        if os.path.isdir(entry):
            paths = [os.path.join(root, name) for root, _, names in os.walk(entry) for name in names]
        else:
            paths = glob.glob(entry)
        found.update(dict.fromkeys(path for path in sorted(paths) if path.endswith(".bb")))
    return list(found)


def is_recipe_place(bbfiles: str, path: str) -> bool:
    """Tell whether BBFILES takes in a file, which need not be there."""
    parts = os.path.normpath(path).split(os.sep)
    for entry in bbfiles.split():
        patterns = os.path.normpath(entry).split(os.sep)
        if os.path.isdir(entry):
            if parts[: len(patterns)] == patterns:
                return True
        elif len(parts) == len(patterns) and all(map(_fits, parts, patterns)):
            return True
    return False


def _fits(part: str, pattern: str) -> bool:
    """Tell what glob does: a '*' stays within a directory, and stands for no dot at the start."""
    return fnmatch.fnmatchcase(part, pattern) and (not part.startswith(".") or pattern.startswith("."))


def certainly_free(pn: str, recipes: collections.abc.Iterable[str]) -> bool:
    """Tell whether none of the recipe files provides a name, as recipe or as package; False where only BitBake knows.

    Looked at are the files and the .inc files beside them.
    """
    directories: dict[str, bool] = {}
    for path in recipes:
        name = os.path.basename(path).partition("_")[0]
        name = name[: -len(".bb")] if name.endswith(".bb") else name
        if name == pn:
            return False
        directory = os.path.dirname(path)
        # ${PN}-docker of a recipe busybox is busybox-docker, too.
        suffix = pn[len(name) :] if pn.startswith(name + "-") else ""
        included = directories.setdefault(directory, False)
        if not _silent(path, pn, suffix):
            return False
        if not included or suffix:
            directories[directory] = True
            if not all(_silent(str(inc), pn, suffix) for inc in pathlib.Path(directory).glob("*.inc")):
                return False
    return True


def _silent(path: str, pn: str, suffix: str) -> bool:
    """Tell whether a file has neither the name, as a word of its own, nor what could become it."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    word = rf"(?<![A-Za-z0-9.+_-]){re.escape(pn)}(?:-preload)?(?![A-Za-z0-9.+_-])"
    if pn in text and re.search(word, text):
        return False
    return not (suffix and any(word in text for word in (suffix, *_COMPUTED)))
