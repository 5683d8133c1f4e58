# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes with images as BitBake has parsed them: what the front-ends in devtool and bitbake-layers refresh.

The text is read as scripts/dockin reads it, so that the result is the same; BitBake adds the values that the text does not
have, the appends and the includes of other layers, and the machine's platform.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import os
import typing

from dockin.errors import DockinError
from dockin.image import platforms
from dockin.recipe import includes, recipefile, source
from dockin.recipe.recipefile import Image, Recipe
from dockin.recipe.yoctolayers import is_own
from dockin.refresh import engine
from dockin.refresh.engine import Task
from dockin.registry import settings

_CLASS = "dockin.bbclass"


def multiconfigs(tinfoil: typing.Any) -> list[str]:
    """Return the names of the configurations, of which the first has none."""
    return ["", *(tinfoil.config_data.getVar("BBMULTICONFIG") or "").split()]


def class_recipes(tinfoil: typing.Any, multiconfig: str) -> list[tuple[str, str]]:
    """Return name and file, as BitBake names it, of the recipes that inherit the class in a configuration, all versions."""
    cache = tinfoil.cooker.recipecaches[multiconfig]
    names = cache.pkg_fn
    return [
        (names[file_name], file_name)
        for file_name, classes in sorted(cache.inherits.items())
        if any(os.path.basename(path) == _CLASS for path in classes)
    ]


def plain_path(file_name: str) -> str:
    """Return the path of a file that BitBake names with a class or configuration before it: mc:arm:/x.bb."""
    return file_name[file_name.index("/") :]


def read_tasks(tinfoil: typing.Any, patterns: list[str], platform: platforms.Platform | None = None) -> list[Task]:
    """Return the recipes that inherit the class, all versions of them; patterns are names, which may have * and ?.

    Their neighbours, with which they share a file, are among the tasks, as not to be examined. Raises DockinError for a
    pattern that fits none.
    """
    unmatched = set(patterns)
    tasks: dict[str, Task] = {}
    others: dict[str, str] = {}
    for multiconfig in multiconfigs(tinfoil):
        for name, file_name in class_recipes(tinfoil, multiconfig):
            fitting = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
            unmatched.difference_update(fitting)
            path = plain_path(file_name)
            if not fitting and patterns:
                others.setdefault(path, file_name)
            elif path not in tasks:
                task = _task(tinfoil, file_name, path, platform)
                tasks[path] = dataclasses.replace(task, aside=not patterns and is_own(path))
    if unmatched:
        names = ", ".join(sorted(unmatched))
        raise DockinError(f"No recipe with images is called {names}: bitbake-layers dockin-status lists all there are")
    found = list(tasks.values())
    return found + _neighbours(tinfoil, found, others)


def _neighbours(tinfoil: typing.Any, tasks: list[Task], others: dict[str, str]) -> list[Task]:
    """Return the tasks of recipes that share a file with those; others are recipes by path, as BitBake names them."""
    if not tasks:
        return []
    search = _folders(tinfoil.config_data)
    pairs = [(path, _appends(tinfoil, file_name)) for path, file_name in others.items()]
    # Of what this configuration skips, as recipes for other machines, BitBake has no values: the text has to do.
    pairs += [(plain_path(file_name), []) for file_name in tinfoil.get_skipped_recipes()]
    found = []
    for path, appends in engine.neighbours(pairs, tasks, includes.Includes(search)):
        # What can't be read shows no pin.
        with contextlib.suppress(recipefile.RecipeError):
            known = path in others
            task = _task(tinfoil, others[path], path) if known else Task(recipefile.read(path, appends, search))
            found.append(dataclasses.replace(task, examined=False))
    return engine.neighbouring(found, tasks)


def _folders(d: typing.Any) -> list[str]:
    """Return the directories in which a datastore looks for includes."""
    return [folder for folder in (d.getVar("BBPATH") or "").split(":") if folder]


def _appends(tinfoil: typing.Any, file_name: str) -> list[str]:
    return sorted(tinfoil.get_file_appends(file_name), key=os.path.basename)


def _task(tinfoil: typing.Any, file_name: str, path: str, platform: platforms.Platform | None = None) -> Task:
    d = tinfoil.parse_recipe_file(file_name)

    def lookup(name: str) -> str | None:
        if not name.startswith("@"):
            value = d.getVar(name)
            return None if value is None else str(value)
        value = d.expand("${" + name + "}")
        return None if "${" in value else str(value)

    recipe = recipefile.read(path, _appends(tinfoil, file_name), _folders(d), lookup)
    recipe.name = d.getVar("PN")
    _compare(recipe, d)
    if platform is None:
        try:
            platform = settings.target_platform(d.getVar)
        except DockinError:
            platform = None
    return Task(recipe, platform)


def _compare(recipe: Recipe, d: typing.Any) -> None:
    """Make a problem of each image in which text and BitBake differ: classes, code and configuration change SRC_URI, too."""
    built = _built(d)
    overrides = set((d.getVar("OVERRIDES") or "").split(":"))
    replaced = any(overrides.issuperset(names) for names in recipe.replacing)
    recipe.images = [_compared(image, d, built, replaced) for image in recipe.images] + _unseen(recipe, built)


def _built(d: typing.Any) -> dict[source.DockerSource, str]:
    """Return the images that BitBake sees, without their pins, and how they stand there."""
    found = {}
    for entry in (d.getVar("SRC_URI") or "").split():
        if source.is_docker(entry):
            # One that breaks a rule does so in the text, too.
            with contextlib.suppress(DockinError):
                found[_unpinned(source.parse_entry(entry))] = entry
    return found


def _unpinned(image: source.DockerSource) -> source.DockerSource:
    return dataclasses.replace(image, reference=image.reference.tagged)


def _compared(image: Image, d: typing.Any, built: dict[source.DockerSource, str], replaced: bool) -> Image:
    if image.problem or not image.source:
        return image
    if not image.conditional and not replaced and _unpinned(image.source) not in built:
        # externalsrc, as of devtool modify, takes images out of SRC_URI; the class has kept their names.
        kept = (d.getVar("DOCKIN_REFERENCES") or "").split() if d.getVar("EXTERNALSRC") else []
        if image.source.reference.tagged.canonical not in kept:
            problem = f"{image.text} is not in BitBake's SRC_URI: a class, code or the configuration has changed it"
            return dataclasses.replace(image, problem=problem)
    flag = image.source.pin_flag
    value = d.getVarFlag("SRC_URI", flag)
    if value and "sha256:" + value != image.source.reference.digest:
        problem = f"SRC_URI[{flag}] is {value!r} for BitBake, and not so in the recipe's text: write it there"
        return dataclasses.replace(image, problem=problem)
    return image


def _unseen(recipe: Recipe, built: dict[source.DockerSource, str]) -> list[Image]:
    """Return, as problems, the images that BitBake sees and the text does not show: from classes, code or configuration."""
    shown = {image.source.reference.tagged for image in recipe.images if image.source}
    found = []
    for image, entry in built.items():
        if image.reference.tagged not in shown:
            problem = f"{entry} stands in no text of the recipe: a class, code or the configuration has put it into SRC_URI"
            found.append(Image(recipe.path, 1, entry, None, problem=problem))
    return found
