# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where the files of a recipe name its images beside SRC_URI: Compose files, units, scripts, the recipe's own text.

Those places follow when an image gets another tag or digest. In a Compose file what Compose takes for an image counts; in
any other, what stands there as a name with a tag, as the unit of a preload, or as the digits of a pin, but in comments.
"""

from __future__ import annotations

import collections.abc
import contextlib
import glob
import os
import re
import typing
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.image import reference
from dockin.image.reference import ImageReference
from dockin.recipe import bitbaketext, compose
from dockin.recipe.recipefile import Recipe, values_of_name
from dockin.recipe.yoctolayers import CLASS, walk
from dockin.target import units

_LOCAL = "file://"
_YAML = (".yml", ".yaml")
_ENV = ".env"
_LONGEST = 1 << 20
_MOST = 200
_RUN = re.compile(r"[\w./:@-]+")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST = "sha256:"
_UNIT = ".service"


Images = collections.abc.Mapping[int, ImageReference]
"""The images of a recipe, with their pins, by their number."""


class Unsure(DockinError):
    """It can't be told what a file names, or it can't be changed."""


@dataclass(frozen=True)
class Mention:
    """A place in a file that names images of a recipe."""

    path: str
    where: str
    """The place, as a message has it."""
    text: str
    owners: tuple[int, ...]
    """Which of the recipe's images."""
    start: int = -1
    """Where the text stands, -1 where it does so nowhere letter by letter."""

    def renewed(self, old: ImageReference, new: ImageReference) -> str:
        """Return the text for an image that had been another one. Raises Unsure."""
        if old == new:
            return self.text
        if _HEX.fullmatch(self.text):
            return (new.digest or "").partition(":")[2] or self.text
        if self.text.startswith(units.PREFIX):
            return units.unit_name(new)[: None if self.text.endswith(_UNIT) else -len(_UNIT)]
        name, at, digest = self.text.partition("@")
        if old.tag == new.tag and not at:
            return self.text
        if at and digest not in (old.digest, new.digest):
            raise Unsure(f"{self.where} names the digest {digest}, which is not the pin: write that, or the tag alone")
        if self.start < 0:
            raise Unsure(f"{self.where} names it by {self.text!r}: write it out")
        colon = name.rfind(":")
        if colon > name.rfind("/"):
            name = f"{name[:colon]}:{new.tag}"
        elif old.tag != new.tag:
            raise Unsure(f"{self.where} names {self.text!r} without a tag")
        return f"{name}@{new.digest}" if at else name


def files(recipe: Recipe) -> dict[str, str]:
    """Return the texts of what the file:// entries of a recipe name, by path, as far as they are beside its files."""
    found: dict[str, str] = {}
    for file in _paths(recipe):
        if _is_outside(recipe, file) or len(found) >= _MOST or file in found:
            continue
        if os.path.isfile(file) and os.path.getsize(file) <= _LONGEST:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found[file] = _read(file)
    return found


def _paths(recipe: Recipe) -> typing.Iterator[str]:
    """Yield what the file:// entries of a recipe may name; of directories the files, if they are not elsewhere."""
    words = [word.characters for word in recipe.words]
    wanted = [word[len(_LOCAL) :].partition(";")[0] for word in words if word.startswith(_LOCAL)]
    for name in filter(lambda name: name and "${" not in name, wanted):
        for path in _candidates(recipe, name):
            yield from walk(path, ("",)) if os.path.isdir(path) and not _is_outside(recipe, path) else [path]


def _is_outside(recipe: Recipe, path: str) -> bool:
    return recipe.layers is not None and not recipe.layers.hold(path)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _candidates(recipe: Recipe, name: str) -> typing.Iterator[str]:
    """Yield where a file can be: in the directories of FILESPATH beside the recipe's files, and in those of overrides."""
    if name.startswith("/"):
        if recipe.layer and name.startswith(recipe.layer + "/"):
            yield name
        return
    for directory in _directories(recipe):
        yield os.path.normpath(os.path.join(directory, name))
    for place in sorted(folders(recipe)):
        yield os.path.normpath(os.path.join(place, name))
        yield from sorted(glob.iglob(os.path.join(glob.escape(place), "*", glob.escape(name))))


def folders(recipe: Recipe) -> set[str]:
    """Return the directories of FILESPATH that there are beside the files of a recipe, whatever is in them."""
    values = values_of_name(recipe.path)
    names = {f"{values['BPN']}-{values.get('PV', '')}", values["BPN"], values["PN"], "files"}
    return {place for one in _directories(recipe) for name in names if os.path.isdir(place := os.path.join(one, name))}


def _directories(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(os.path.dirname(path) for path in recipe.files if not path.endswith(CLASS)))


def find(recipe: Recipe, beside: collections.abc.Mapping[str, str], images: Images, tags: bool) -> list[Mention]:
    """Return where a recipe's files and those beside it name its images; in Compose files, without tags, by digest alone.

    Raises Unsure.
    """
    for path in _paths(recipe):
        if _is_outside(recipe, path) and os.path.exists(path):
            raise Unsure(f"{recipe.shown(path)} may name it, and is not read: it leads out of its layer")
    search = _Search(images, recipe.shown)
    given: compose.Variables = {}
    for path, text in beside.items():
        if path.endswith(_ENV):
            with contextlib.suppress(DockinError):
                given.update(compose.variables(text, path))
    own = {path: text for path, text in recipe.files.items() if not path.endswith(CLASS)}
    found = [one for path, text in own.items() for one in search.words(path, text, False)]
    for path, text in beside.items():
        in_compose = None
        if path.endswith(_YAML):
            in_compose = search.compose(path, text, given) if tags or _DIGEST in text else []
        found += search.words(path, text, True) if in_compose is None else in_compose
    return found


class _Search:
    """Looks for the images of a recipe."""

    def __init__(self, images: Images, shown: typing.Callable[[str], str]) -> None:
        self._shown = shown
        self._names: dict[ImageReference, tuple[int, ...]] = {}
        self._units: dict[str, tuple[int, ...]] = {}
        self._pins: dict[str, tuple[int, ...]] = {}
        for number, image in images.items():
            self._names[image.tagged] = (*self._names.get(image.tagged, ()), number)
            with contextlib.suppress(units.InvalidUnit):
                unit = units.unit_name(image)
                for name in (unit, unit[: -len(_UNIT)]):
                    self._units[name] = (*self._units.get(name, ()), number)
            if image.digest:
                pin = image.digest.partition(":")[2]
                self._pins[pin] = (*self._pins.get(pin, ()), number)

    def words(self, path: str, text: str, pins: bool) -> list[Mention]:
        """Return the mentions in a file that is not known to be anything special, but for those in comments."""
        found = []
        for run in _RUN.finditer(text):
            word = run[0].rstrip("./:@-")
            start = run.start() + word.rfind("//") + 2 if "//" in word else run.start()
            word = word[start - run.start() :]
            line_start = text.rfind("\n", 0, start) + 1
            if text[line_start:start].lstrip().startswith("#"):
                continue
            owners = self._units.get(word, ()) or (self._named(word) if ":" in word else ())
            if owners:
                found.append(Mention(path, self._where(path, text, start), word, owners, start))
                continue
            for pin in _HEX.finditer(word) if pins else ():
                if pin[0] in self._pins:
                    place = start + pin.start()
                    found.append(Mention(path, self._where(path, text, place), pin[0], self._pins[pin[0]], place))
        return found

    def compose(self, path: str, text: str, given: compose.Variables) -> list[Mention] | None:
        """Return the mentions in a Compose file, None for what is none."""
        repositories = {name.repository.rpartition("/")[2]: name for name in self._names}
        if not any(repository in text for repository in repositories):
            return []
        found = []
        try:
            names = compose.names(text, path, given)
        except DockinError as error:
            raise Unsure(str(error)) from error
        for scalar, image in names if names is not None else ():
            if image is None:
                # A variable that has no value here may stand for anything.
                for name in (name for repository, name in repositories.items() if repository in scalar):
                    found.append(Mention(path, f"{self._shown(path)}:{scalar.line}", scalar, self._names[name]))
                continue
            tagged = image.tagged if image.tag else ImageReference(image.registry, image.repository, reference.DEFAULT_TAG)
            owners = self._names.get(tagged, ())
            if owners:
                literal = scalar.spot is not None and "$" not in scalar
                start = scalar.spot[0] if literal and scalar.spot else -1
                found.append(Mention(path, f"{self._shown(path)}:{scalar.line}", scalar, owners, start))
        return None if names is None else found

    def _where(self, path: str, text: str, offset: int) -> str:
        return f"{self._shown(path)}:{bitbaketext.line_of(text, offset)}"

    def _named(self, word: str) -> tuple[int, ...]:
        with contextlib.suppress(DockinError):
            return self._names.get(reference.parse(word).tagged, ())
        return ()
