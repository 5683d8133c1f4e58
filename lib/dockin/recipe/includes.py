# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which files recipes are made of, from include and inherit lines alone: quick enough to look through whole layers."""

from __future__ import annotations

import collections.abc
import os
import re
from dataclasses import dataclass, field

from dockin.recipe import knownclasses, recipefile, yoctolayers

_INCLUDE = re.compile(r"^(require|include_all|include|inherit_defer|inherit)[ \t]+(.+)$", re.MULTILINE)
_CONTINUATION = re.compile(r"\\[ \t]*\r?\n")
_VARIABLE = re.compile(r"\$\{(PN|BPN|PV)\}")


@dataclass
class Files:
    """A recipe's files, as far as they are known."""

    texts: dict[str, str] = field(default_factory=dict)
    """Text of each file, by path; the recipe's own is the first."""
    whole: bool = True
    """False where the name of an included file is built from variables that the recipe's name does not give."""

    @property
    def uses_class(self) -> bool:
        """Whether one of the files inherits the class."""
        return any(map(recipefile.uses_class, self.texts.values()))


class Includes:
    """Reads recipes; each file only once."""

    def __init__(self, search: collections.abc.Sequence[str] = (), others: collections.abc.Sequence[str] = ()) -> None:
        """search and others are directories in which includes are looked for before and after the file's layer."""
        self._search = list(search)
        self._others = list(others)
        self._texts: dict[str, str] = {}
        self._layers: dict[str, str] = {}

    def of(self, recipe: str, appends: collections.abc.Iterable[str] = ()) -> Files:
        """Return the files of a recipe. What can't be read is left out: whoever needs it will say so."""
        files = Files()
        for path in (recipe, *appends):
            self._add(files, path, recipefile.values_of_name(recipe))
        return files

    def _add(self, files: Files, path: str, values: dict[str, str]) -> None:
        if path in files.texts:
            return
        text = files.texts[path] = self._text(path)
        for word, line in _INCLUDE.findall(_CONTINUATION.sub(" ", text)):
            for name in _VARIABLE.sub(lambda match: values.get(match[1], match[0]), line.partition("#")[0]).split():
                if word.startswith("inherit"):
                    places = self._classes(name, path)
                elif "${" in name:
                    files.whole = False
                    continue
                else:
                    places = self._find(name, path, word)
                for found in places:
                    self._add(files, found, values)

    def _text(self, path: str) -> str:
        if path not in self._texts:
            try:
                self._texts[path] = recipefile.load(path)
            except recipefile.RecipeError:
                self._texts[path] = ""
        return self._texts[path]

    def _classes(self, name: str, path: str) -> list[str]:
        """Return the file of a class, if it is one of a layer and not known to leave images alone."""
        if name in knownclasses.HARMLESS:
            return []
        folders = [os.path.join(folder, kind) for folder in self._folders(path) for kind in ("classes-recipe", "classes")]
        candidates = (os.path.join(folder, name + yoctolayers.CLASS) for folder in folders)
        return [candidate for candidate in candidates if os.path.isfile(candidate)][:1]

    def _find(self, name: str, path: str, word: str) -> list[str]:
        """Return what an include takes in: the first file of a name, or with include_all each."""
        folders = self._folders(path)
        if word != "include_all":
            folders.insert(0, os.path.dirname(path))
        candidates = dict.fromkeys(os.path.normpath(os.path.join(folder, name)) for folder in folders)
        found = [candidate for candidate in candidates if candidate in self._texts or os.path.isfile(candidate)]
        return found if word == "include_all" else found[:1]

    def _folders(self, path: str) -> list[str]:
        """Return where what a file takes in is looked for, beside what stands beside it."""
        directory = os.path.dirname(path)
        if directory not in self._layers:
            self._layers[directory] = yoctolayers.layer_of(path)
        layer = self._layers[directory]
        return [*self._search, *([layer] if layer else []), *self._others]
