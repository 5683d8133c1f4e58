# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers as directories: which of their files count for a recipe besides its own, where no BitBake tells."""

from __future__ import annotations

import collections
import collections.abc
import os
import pathlib
import re
import typing

from dockin import knownclasses

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


class Layers:
    """The layers that are at hand. What is in others is not known."""

    def __init__(self, roots: collections.abc.Iterable[str]) -> None:
        """roots are the layers' directories; one that is "" is passed over."""
        self.roots = list({os.path.realpath(root): root for root in roots if root}.values())
        self._assignments: dict[str, list[Assignment]] | None = None
        self._appends: list[str] | None = None
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
        """Return all appends."""
        if self._appends is None:
            self._appends = [path for root in self.roots for path in walk(root, (APPEND,))]
        return self._appends

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
