# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers as directories: which of their files count for a recipe besides its own, where no BitBake tells."""

from __future__ import annotations

import collections
import collections.abc
import fnmatch
import os
import pathlib
import re
import typing

from dockin import bitbaketext, knownclasses

APPEND = ".bbappend"
CLASS = ".bbclass"
RECIPE = ".bb"

_ASSIGNMENT = re.compile(
    r"""^(?:export[ \t]+)?(?P<name>[\w\-+.${}/~]+)(?P<overrides>(?::[\w\-+.${}/~]+)*)
    [ \t]*(?::|\?\?|\?|\+|\.)?=[+.]?[ \t]*["']""",
    re.MULTILINE | re.VERBOSE,
)


class Assignment(typing.NamedTuple):
    """An assignment in a layer's configuration."""

    overrides: list[str]
    path: str
    line: int


def layer_of(path: str) -> str:
    """Return the root of the layer that a file is in, "" if it is in none."""
    for parent in pathlib.Path(path).parents:
        if (parent / "conf" / "layer.conf").is_file():
            return str(parent)
    return ""


def layers_of(paths: collections.abc.Iterable[str]) -> list[str]:
    """Return the roots of the layers that files and directories are in, and of those that directories have in them."""
    found = []
    for path in map(os.path.abspath, paths):
        found.append(layer_of(os.path.join(path, "recipe") if os.path.isdir(path) else path))
        configurations = walk(path, ("layer.conf",)) if os.path.isdir(path) else ()
        found += [layer_of(configuration) for configuration in configurations]
    return [root for root in dict.fromkeys(found) if root]


def walk(directory: str, endings: tuple[str, ...]) -> typing.Iterator[str]:
    """Yield the files below a directory whose names end so; nothing hidden, and nothing of build directories in it."""
    for root, directories, names in os.walk(directory):
        built = (name for name in directories if os.path.isfile(os.path.join(root, name, "conf", "bblayers.conf")))
        skipped = set(built)
        directories[:] = sorted(name for name in directories if not name.startswith(".") and name not in skipped)
        for name in sorted(names):
            if name.endswith(endings) and not name.startswith("."):
                yield os.path.join(root, name)


def settings(root: str) -> dict[str, str]:
    """Return all that a layer's conf/layer.conf gives to each variable."""
    path = os.path.join(root, "conf", "layer.conf")
    try:
        text = pathlib.Path(path).read_text("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for statement in bitbaketext.statements(path, text):
        if statement.variable and not statement.flag:
            value = statement.value.characters.replace("${LAYERDIR}", root)
            found[statement.variable] = f"{found.get(statement.variable, '')} {value}"
    return found


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


class Layers:
    """The layers that are at hand. What is in others is not known."""

    def __init__(self, roots: collections.abc.Iterable[str]) -> None:
        """roots are the layers' directories; one that is "" is passed over."""
        self.roots = list({os.path.realpath(root): root for root in roots if root}.values())
        self._assignments: dict[str, list[Assignment]] | None = None
        self._appends: list[str] | None = None
        self._optional: set[str] = set()
        # OpenEmbedded's own is known by its classes' names; its configuration is what recipes begin with.
        self._others = [root for root in self.roots if not os.path.isfile(os.path.join(root, "conf", "bitbake.conf"))]

    def classes(self, name: str) -> list[str]:
        """Return the files of a class, the first of which BitBake takes; none of a class whose name is enough."""
        if name in knownclasses.OWN:
            return []
        roots = self._others if name in knownclasses.HARMLESS else self.roots
        folders = ("classes-recipe", "classes")
        candidates = (os.path.join(root, folder, name + CLASS) for root in roots for folder in folders)
        return [path for path in candidates if os.path.isfile(path)]

    def appends(self) -> list[str]:
        """Return the appends that BBFILES of their layers take in, or may take in."""
        if self._appends is None:
            self._appends = [path for root in self.roots for path in self._appends_of(root)]
        return self._appends

    def is_optional(self, path: str) -> bool:
        """Tell whether an append counts only where another layer is, too."""
        return path in self._optional

    def _appends_of(self, root: str) -> typing.Iterator[str]:
        known = settings(root)
        always = known.get("BBFILES", "")
        # collection:pattern, or !collection:pattern
        sometimes = " ".join(entry.partition(":")[2] for entry in known.get("BBFILES_DYNAMIC", "").split())
        for path in walk(root, (APPEND,)):
            if not always.strip() or "${" in always + sometimes or is_recipe_place(always, path):
                yield path
            elif is_recipe_place(sometimes, path):
                self._optional.add(path)
                yield path

    def assignments(self) -> dict[str, list[Assignment]]:
        """Return what the configurations assign, by the variable's name without overrides."""
        if self._assignments is None:
            self._assignments = collections.defaultdict(list)
            for root in self._others:
                for path in walk(os.path.join(root, "conf"), (".conf", ".inc")):
                    self._add(path)
        return self._assignments

    def _add(self, path: str) -> None:
        assert self._assignments is not None
        try:
            text = pathlib.Path(path).read_text("utf-8", "replace")
        except OSError:
            return
        for match in _ASSIGNMENT.finditer(text):
            overrides = match["overrides"].split(":")[1:]
            line = text.count("\n", 0, match.start()) + 1
            self._assignments[match["name"]].append(Assignment(overrides, path, line))
