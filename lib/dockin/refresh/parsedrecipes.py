# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes with images as BitBake has parsed them: what the front-ends in devtool and bitbake-layers refresh.

An edit is confirmed by BitBake, too: it parses the recipe once more, from shadows of the layers with the new texts in them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import os
import re
import tempfile
import typing

from dockin.errors import DockinError
from dockin.image import platforms
from dockin.recipe import parsedreader, textreader
from dockin.recipe.recipefile import Recipe, RecipeError, is_own_file, load
from dockin.recipe.yoctolayers import Layers, Texts, is_own
from dockin.refresh import engine
from dockin.refresh.confirmation import Unconfirmed
from dockin.refresh.engine import Task
from dockin.registry import settings

_CLASS = "dockin.bbclass"
_EXTERNAL = re.compile(r"^inherit externalsrc$", re.MULTILINE)


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
                task = read_task(tinfoil, file_name, platform)
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
    layers = Layers(_layers(tinfoil))
    pairs = [(path, _appends(tinfoil, file_name)) for path, file_name in others.items()]
    # Of what this configuration skips, as recipes for other machines, BitBake has no values: the text has to do.
    pairs += [(plain_path(file_name), []) for file_name in tinfoil.get_skipped_recipes()]
    found = []
    for path, appends in engine.neighbours(pairs, tasks, layers):
        # What can't be read shows no pin.
        with contextlib.suppress(RecipeError):
            known = path in others
            task = read_task(tinfoil, others[path]) if known else Task(textreader.read(path, appends, layers))
            found.append(dataclasses.replace(task, examined=False))
    return engine.neighbouring(found, tasks)


def _layers(tinfoil: typing.Any) -> list[str]:
    return (tinfoil.config_data.getVar("BBLAYERS") or "").split()


def _appends(tinfoil: typing.Any, file_name: str) -> list[str]:
    return sorted(tinfoil.get_file_appends(file_name), key=os.path.basename)


def read_task(tinfoil: typing.Any, file_name: str, platform: platforms.Platform | None = None) -> Task:
    """Return a recipe, by its file as BitBake names it; platform is by default the machine's. Raises DockinError."""
    # After devtool modify an append of its workspace has the sources elsewhere, and SRC_URI has no images.
    workspace = tinfoil.config_data.getVar("BBFILE_PATTERN_workspacelayer")
    appends = [
        one
        for one in tinfoil.get_file_appends(file_name)
        if not (workspace and re.match(workspace, one) and _EXTERNAL.search(load(one)))
    ]
    parse = _Parser(tinfoil, file_name, appends)
    if platform is None:
        with contextlib.suppress(DockinError):
            platform = settings.target_platform(parse.d.getVar)
    return Task(parse.recipe, platform)


class _Parser:
    """Has BitBake parse a recipe, as it is and as it would be with other texts in its files."""

    def __init__(self, tinfoil: typing.Any, file_name: str, appends: list[str]) -> None:
        path = os.path.normpath(plain_path(file_name))
        self._tinfoil = tinfoil
        self._prefix = file_name[: file_name.index("/")]
        self._known: dict[object, Recipe] = {}
        self._appends = appends
        self.d = self._parse(file_name, appends)
        self.recipe = self._read(self.d, path, os.path.normpath)
        self.recipe.again = self._again

    def _parse(self, file_name: str, appends: list[str], config_data: typing.Any = None) -> typing.Any:
        tracking, self._tinfoil.tracking = self._tinfoil.tracking, True
        try:
            return self._tinfoil.parse_recipe_file(file_name, appendlist=appends, config_data=config_data)
        except Exception as error:  # what BitBake raises for a bad recipe differs with the release
            raise DockinError(f"BitBake can't parse {plain_path(file_name)}: {error}") from error
        finally:
            self._tinfoil.tracking = tracking

    def _read(self, d: typing.Any, path: str, named: typing.Callable[[str], str]) -> Recipe:
        configuration = set((self._tinfoil.config_data.getVar("BBINCLUDED") or "").split())
        included = (one for one in (d.getVar("BBINCLUDED") or "").split() if one not in configuration and is_own_file(one))
        # What was looked for and is not there is among them.
        texts = {named(one): load(one) for one in included if os.path.isfile(one)}
        return parsedreader.read(path, d, texts, named)

    def _again(self, texts: Texts, renamed: str) -> Recipe:
        """Return the recipe with other texts. Raises DockinError where BitBake can't parse it then."""
        recipe = self.recipe
        changed = {path: texts[os.path.realpath(path)] for path in recipe.files if os.path.realpath(path) in texts}
        if not changed and not renamed:
            return recipe
        if renamed:
            changed[renamed] = texts[os.path.realpath(renamed)]
        key = tuple(changed.items())
        if key not in self._known:
            self._known[key] = self._parsed_with(changed, renamed)
        return self._known[key]

    def _parsed_with(self, changed: dict[str, str | None], renamed: str) -> Recipe:
        with tempfile.TemporaryDirectory(prefix="dockin-") as folder:
            # With real directories for all of the recipe's files: from a link, '..' would lead out of the shadows.
            shadows = _Shadows(folder, _layers(self._tinfoil), {**self.recipe.files, **changed})
            config_data = self._tinfoil.config_data.createCopy()
            config_data.enableTracking()
            config_data.setVar("BBPATH", ":".join(map(shadows.of, (config_data.getVar("BBPATH") or "").split(":"))))
            appends = [shadows.of(one) for one in textreader.appends_left(self._appends, renamed)]
            path = renamed or self.recipe.path
            try:
                d = self._parse(self._prefix + shadows.of(path), appends, None if self._prefix else config_data)
            except DockinError as error:
                raise DockinError(shadows.shown(str(error))) from error
            # BBINCLUDED has paths without '..', and so not those that were opened.
            parsed = {os.path.realpath(one) for one, *_ in d.getVar("__depends", False) or ()}
            for one, text in changed.items():
                if os.path.realpath(one) in parsed or (text is not None and os.path.realpath(shadows.of(one)) not in parsed):
                    names = self.recipe.shown(self.recipe.path), self.recipe.shown(one)
                    raise Unconfirmed("{} takes {} in by a path that can't be tried out: edit it by hand".format(*names))
            return self._read(d, path, shadows.real)


class _Shadows:
    """Copies of layers with other texts in some files; all else in them is a link to what is there."""

    def __init__(self, folder: str, layers: list[str], texts: dict[str, str | None]) -> None:
        """texts are by path; None is a file that is not there."""
        self._roots: dict[str, str] = {}
        places = [*map(os.path.normpath, layers), *map(os.path.dirname, texts)]
        while texts:
            root = next(place for place in places if any(path.startswith(place + "/") for path in texts))
            self._roots[root] = os.path.join(folder, str(len(self._roots)), os.path.basename(root))
            self._make(root, {path: text for path, text in texts.items() if path.startswith(root + "/")})
            texts = {path: text for path, text in texts.items() if not path.startswith(root + "/")}

    def _make(self, directory: str, texts: dict[str, str | None]) -> None:
        """Make the shadow of a directory, in which there are files with other texts."""
        os.makedirs(self.of(directory))
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            below = {one: text for one, text in texts.items() if one.startswith(path + "/")}
            if below:
                self._make(path, below)
            elif path not in texts:
                os.symlink(path, self.of(path))
        for path, text in texts.items():
            if text is not None and os.path.dirname(path) == directory:
                with open(self.of(path), "wb") as file:
                    file.write(text.encode("utf-8", "surrogateescape"))

    def of(self, path: str) -> str:
        """Return the path of a file's shadow, or its own where it has none."""
        return self._swapped(os.path.normpath(path) if path else path, self._roots.items())

    def real(self, path: str) -> str:
        """Return the path of the file of which one may be a shadow."""
        return self._swapped(os.path.normpath(path), ((shadow, layer) for layer, shadow in self._roots.items()))

    def shown(self, message: str) -> str:
        """Return a message with the files' own paths."""
        for layer, shadow in self._roots.items():
            message = message.replace(shadow, layer)
        return message

    @staticmethod
    def _swapped(path: str, pairs: typing.Iterable[tuple[str, str]]) -> str:
        for old, new in pairs:
            if path == old or path.startswith(old + "/"):
                return new + path[len(old) :]
        return path
