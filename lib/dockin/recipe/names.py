# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Whether a recipe name is free, from the text of the layers' files: asking BitBake means to parse all recipes.

Where it looks for recipes is what collect_bbfiles() in bitbake/lib/bb/cooker.py does.
"""

from __future__ import annotations

import collections.abc
import glob
import os
import re

from dockin.recipe import includes
from dockin.recipe.yoctolayers import content, walk

# What makes names of packages that no text has.
_COMPUTED = ("PACKAGES_DYNAMIC", "do_split_packages", "${PN}-${", "${BPN}-${")
_SHARED = (".inc", ".bbappend", ".bbclass")
_INHERIT = re.compile(r"^[ \t]*inherit(?:_defer)?[ \t]+(.+)$", re.MULTILINE)


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


def shared_files(layers: collections.abc.Iterable[str], bbpath: collections.abc.Iterable[str] = ()) -> list[str]:
    """Return the files of layers that recipes can be made of besides their own: includes, appends and classes.

    Classes are also looked for in bbpath, the directories of BBPATH.
    """
    found: set[str] = set()
    for layer in layers:
        # Nothing of a layer is in a build directory in it, and much else.
        found.update(walk(layer, _SHARED))
    for directory in bbpath:
        found.update(glob.glob(os.path.join(glob.escape(directory), "classes*", "*.bbclass")))
    return sorted(found)


def certainly_free(
    pn: str,
    recipes: collections.abc.Iterable[str],
    shared: collections.abc.Iterable[str],
    search: collections.abc.Sequence[str] = (),
) -> bool:
    """Tell whether none of the recipe files provides a name, as recipe or as package; False where only BitBake knows.

    shared are the other files that they may be made of, as shared_files() gives them; search are directories in which
    includes are looked for.
    """
    texts = {path: _text(path) for path in shared}
    own = []
    for path in recipes:
        name = os.path.basename(path).partition("_")[0]
        name = name[: -len(".bb")] if name.endswith(".bb") else name
        if name == pn or not _silent(_text(path), pn):
            return False
        if pn.startswith(name + "-"):
            own.append((path, name))
    if not all(_silent(text, pn) for text in texts.values()):
        return False
    including = includes.Includes(search)
    return all(_makes_no_package(path, name, pn, texts, including) for path, name in own)


def _makes_no_package(path: str, name: str, pn: str, texts: dict[str, str | None], including: includes.Includes) -> bool:
    """Tell whether a recipe of which a name is an extension has no package of that: ${PN}-docker of busybox."""
    suffix = pn[len(name) :]
    starts = (f"{name}_", f"{name}.")
    appends = [one for one in texts if one.endswith(".bbappend") and os.path.basename(one).startswith(starts)]
    made_of = including.of(path, appends)
    classes = _classes(made_of.texts.values(), texts)
    if not made_of.whole or classes is None:
        return False
    parts = [*made_of.texts.values(), *classes]
    return not any(word in part for part in parts for word in (suffix, *_COMPUTED))


def _classes(parts: collections.abc.Iterable[str], texts: dict[str, str | None]) -> list[str] | None:
    """Return the texts of the classes that texts inherit, also by others; None where the name of one is computed."""
    waiting = list(parts)
    found: dict[str, str] = {}
    while waiting:
        for line in _INHERIT.findall(waiting.pop().replace("\\\n", " ")):
            if "$" in line:
                return None
            for path in (path for name in line.split() for path in texts if path.endswith(f"/{name}.bbclass")):
                if path not in found:
                    found[path] = texts[path] or ""
                    waiting.append(found[path])
    return list(found.values())


def _text(path: str) -> str | None:
    """Return a file's text, None where it can't be read."""
    try:
        return content(path)
    except OSError:
        return None


def _silent(text: str | None, pn: str) -> bool:
    """Tell whether a text, which could be read, does not have a name as a word of its own."""
    word = rf"(?<![A-Za-z0-9.+_-]){re.escape(pn)}(?:-preload)?(?![A-Za-z0-9.+_-])"
    return text is not None and not (pn in text and re.search(word, text))
