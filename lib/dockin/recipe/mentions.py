# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where the files of a recipe name its images beside SRC_URI: Compose files, units, scripts, the recipe's own text.

Those places follow when an image gets another tag or digest: what stands in a text as a name with a tag, as the unit of a
preload or a file of the layer, or as the digits of a pin, but in comments; in a Compose file also what Compose takes for an
image. A tag that stands apart from the name can't follow.
"""

from __future__ import annotations

import collections.abc
import contextlib
import glob
import os
import re
import typing
from dataclasses import dataclass, replace

from dockin.errors import DockinError
from dockin.image import reference
from dockin.image.reference import ImageReference
from dockin.recipe import bitbaketext, compose, markedyaml
from dockin.recipe.recipefile import Recipe, values_of_name
from dockin.recipe.yoctolayers import CLASS, walk
from dockin.target import units

_LOCAL = re.compile(r"(?<![\w+])file://([^\s;'\"]*)")
# What a recipe has as the directory of FILESEXTRAPATHS or FILESPATH, or as a file that a task takes from there.
_WRITTEN = re.compile(r"\$\{(?:THISDIR|FILE_DIRNAME)\}/([^\s:;,'\")]+)")
_YAML = (".yml", ".yaml")
_ENV = ".env"
_LONGEST = 1 << 20
_MOST = 200
_RUN = re.compile(r"[\w./:@-]+")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST = "sha256:"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
# What a text has at its left margin that is a Compose file, be it a damaged one.
_SERVICES = re.compile(r"""^\ufeff?(["']?)services\1\s*:""", re.MULTILINE)
# Names of files that the layer installs for an image; in a recipe, the name of an archive may be that of any tarball.
_SUFFIXES = r"\.(?:image|json|spdx|cdx|syft)\b"
_SUFFIXES_BESIDE = r"\.(?:image|json|spdx|cdx|syft|tar)\b"


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
        if self.text == old.stem:
            return new.stem
        name, at, digest = self.text.partition("@")
        if old.tag == new.tag and not at:
            return self.text
        if at and digest not in (old.digest, new.digest):
            raise Unsure(f"{self.where} names the digest {digest}, which is not the pin: write that, or the tag alone")
        if self.text == old.tag:
            raise Unsure(f"{self.where} has the tag {old.tag} apart from the name: write both as one word or change both")
        if self.start < 0:
            raise Unsure(f"{self.where} names it by {self.text!r}: write it out")
        colon = name.rfind(":")
        if colon > name.rfind("/"):
            # Where the pin tells whose it is, the tag may be another one.
            name = f"{name[:colon]}:{new.tag}" if name[colon + 1 :] == old.tag else name
        elif old.tag != new.tag and not at:
            raise Unsure(f"{self.where} names {self.text!r} without a tag")
        return f"{name}@{new.digest}" if at else name


def files(recipe: Recipe) -> dict[str, str]:
    """Return the texts of what the file:// entries of a recipe name, by path, as far as they are beside its files.

    With them is what its texts name as ${THISDIR}/… or ${FILE_DIRNAME}/….
    """
    found: dict[str, str] = {}
    own = set(map(os.path.realpath, recipe.files))
    for file in [*_paths(recipe), *_written(recipe)]:
        if _is_outside(recipe, file) or len(found) >= _MOST or file in found or os.path.realpath(file) in own:
            continue
        if os.path.isfile(file) and os.path.getsize(file) <= _LONGEST:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found[file] = _read(file)
    return found


def unseen(recipe: Recipe) -> str:
    """Return a note that names the file:// entries of which no file is found, "" if there are none."""
    missing = [name for name in _names(recipe) if not name or not any(map(os.path.exists, _candidates(recipe, name)))]
    if not missing:
        return ""
    which = ", ".join(f"file://{name}" for name in missing)
    return f"{recipe.shown(recipe.path)}: no file is found here for {which}: change by hand what names an image there"


def _names(recipe: Recipe) -> list[str]:
    """Return what file:// entries of a recipe name, with those in expressions of Python."""
    return list(dict.fromkeys(name for word in recipe.words for name in _LOCAL.findall(word.characters)))


def _paths(recipe: Recipe) -> typing.Iterator[str]:
    """Yield what the file:// entries of a recipe may name; of directories the files, if they are not elsewhere."""
    for name in filter(None, _names(recipe)):
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
    places = {os.path.join(one, name) for one in _directories(recipe) for name in names} | set(_written(recipe))
    return set(filter(os.path.isdir, places))


def _written(recipe: Recipe) -> list[str]:
    """Return the paths in a recipe's texts that start with the directory of one of its files."""
    values = values_of_name(recipe.path)
    texts = [text for path, text in recipe.files.items() if not path.endswith(CLASS)]
    names = dict.fromkeys(name for text in texts for name in _WRITTEN.findall(text))
    known = [_VARIABLE.sub(lambda use: values.get(str(use[1]), str(use[0])), name) for name in names]
    return [os.path.normpath(os.path.join(one, name)) for one in _directories(recipe) for name in known]


def _directories(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(os.path.dirname(path) for path in recipe.files if not path.endswith(CLASS)))


def find(recipe: Recipe, beside: collections.abc.Mapping[str, str], images: Images, tags: bool) -> list[Mention]:
    """Return where a recipe's files and those beside it name its images; with tags, as they are to become others.

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
        found += search.beside(path, text, given, tags)
    return found


def _words(text: str) -> typing.Iterator[tuple[int, str]]:
    """Yield what may be a name in a text, with its place, but what is in comments."""
    for run in _RUN.finditer(text):
        word = run[0].rstrip("./:@-")
        # Behind the scheme of a URL, or in the default of a variable.
        cut = max(word.rfind("//"), word.rfind(":-"))
        start = run.start() + (cut + 2 if cut >= 0 else 0)
        line_start = text.rfind("\n", 0, start) + 1
        if not text[line_start:start].lstrip().startswith("#"):
            yield start, word[start - run.start() :]


class _Search:
    """Looks for the images of a recipe."""

    def __init__(self, images: Images, shown: typing.Callable[[str], str]) -> None:
        self._shown = shown
        self._names: dict[ImageReference, tuple[int, ...]] = {}
        self._stems: dict[str, tuple[int, ...]] = {}
        self._pins: dict[str, tuple[int, ...]] = {}
        for number, image in images.items():
            for name in dict.fromkeys((image.tagged, image.pinned)):
                self._names[name] = (*self._names.get(name, ()), number)
            self._stems[image.stem] = (*self._stems.get(image.stem, ()), number)
            if image.digest:
                pin = image.digest.partition(":")[2]
                self._pins[pin] = (*self._pins.get(pin, ()), number)
        # Without images, what fits nowhere.
        stems = "|".join(map(re.escape, self._stems)) or "(?!)"
        self._units = re.compile(rf"(?<![\w.-]){units.PREFIX}({stems})(?=\.service\b|$)")
        self._own_files = re.compile(rf"(?<![\w.-])({stems})(?={_SUFFIXES})")
        self._files = re.compile(rf"(?<![\w.-])({stems})(?={_SUFFIXES_BESIDE})")

    def words(self, path: str, text: str, beside: bool) -> list[Mention]:
        """Return the mentions in a text, whatever it is; those by pin, and of archives, in one beside the recipe alone."""
        found = []

        def add(owners: tuple[int, ...], word: str, start: int) -> None:
            found.append(Mention(path, self._where(path, text, start), word, owners, start))

        for start, word in _words(text):
            owners = self._named(word) if ":" in word else ()
            if owners:
                add(owners, word, start)
                continue
            patterns = [self._units]
            if not text.endswith(("http://", "https://"), 0, start):
                patterns.append(self._files if beside else self._own_files)
            for match in (match for pattern in patterns for match in pattern.finditer(word)):
                add(self._stems[match[1]], match[1], start + match.start(1))
            for pin in _HEX.finditer(word) if beside else ():
                if pin[0] in self._pins:
                    add(self._pins[pin[0]], pin[0], start + pin.start())
        return found

    def beside(self, path: str, text: str, given: compose.Variables, tags: bool) -> list[Mention]:
        """Return the mentions in a file that a recipe names. Raises Unsure."""
        found = self._compose(path, text, given) if path.endswith(_YAML) and (tags or _DIGEST in text) else []
        spots = [range(one.start, one.start + len(one.text)) for one in found if one.start >= 0]
        found += [one for one in self.words(path, text, True) if not any(one.start in spot for spot in spots)]
        return found + (self._apart(path, text) if tags else [])

    def _apart(self, path: str, text: str) -> list[Mention]:
        """Return the tags that stand alone in a text that has the repository alone, too; a number may be anything."""
        words = [(start, word.lstrip("./:@-")) for start, word in _words(text)]
        there = {word for _, word in words}
        found = []
        for image, owners in self._names.items():
            spelled = (image.name, replace(image, tag=None).familiar)
            if image.tag and not image.tag.isdigit() and not there.isdisjoint(spelled):
                places = (start for start, word in words if word == image.tag)
                found += [Mention(path, self._where(path, text, start), image.tag, owners) for start in places]
        return found

    def _compose(self, path: str, text: str, given: compose.Variables) -> list[Mention]:
        """Return what Compose takes for images in a Compose file, none in what is none."""
        tagged = (name for name in self._names if not name.digest)
        parts = [(name, part) for name in tagged for part in (name.repository.rpartition("/")[2], f"}}:{name.tag}")]
        if not any(part in text for _, part in parts):
            return []
        try:
            names = compose.names(text, self._shown(path), given)
        except markedyaml.NoYaml:
            raise
        except DockinError as error:
            if not _SERVICES.search(text):
                return []
            raise Unsure(str(error)) from error
        found = []
        for scalar, image in names or ():
            literal = image and scalar.spot is not None and "$" not in scalar
            start = scalar.spot[0] if literal and scalar.spot else -1
            if image:
                latest = replace(image, tag=image.tag or reference.DEFAULT_TAG, digest=None)
                owners = {self._owners(image) or self._names.get(latest, ())}
            else:
                # A variable that has no value here may stand for anything.
                owners = {self._names[name] for name, part in parts if part in scalar}
            where = f"{self._shown(path)}:{scalar.line}"
            found += [Mention(path, where, scalar, one, start) for one in sorted(filter(None, owners))]
        return found

    def _where(self, path: str, text: str, offset: int) -> str:
        return f"{self._shown(path)}:{bitbaketext.line_of(text, offset)}"

    def _named(self, word: str) -> tuple[int, ...]:
        with contextlib.suppress(DockinError):
            return self._owners(reference.parse(word))
        return ()

    def _owners(self, image: ImageReference) -> tuple[int, ...]:
        """Return the images of a tag, else of a pin in the same repository."""
        return self._names.get(image.tagged) or self._names.get(image.pinned, ())
