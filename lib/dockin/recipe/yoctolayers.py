# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers as directories: which of their files count for a recipe besides its own, where no BitBake tells."""

from __future__ import annotations

import collections
import collections.abc
import errno
import fnmatch
import glob
import os
import pathlib
import re
import stat
import typing

from dockin.recipe import bitbaketext, knownclasses, recipecode

APPEND = ".bbappend"
CLASS = ".bbclass"
RECIPE = ".bb"
OWN = str(pathlib.Path(__file__).resolve().parents[3])
"""The root of this layer itself."""
MAX_FILE = 4 << 20
"""Bytes of a file that is read."""

# Blanks, which may be a continuation that is taken out, around an operator.
_OPERATOR = r"[ \t\v]*(?::|\?\?|\?|\+|\.)?=[+.]?[ \t\v]*"
_ASSIGNMENT = re.compile(
    rf"""^(?:export[ \t]+)?(?P<name>[\w\-+.${{}}/~]+)(?P<overrides>(?::[\w\-+.${{}}/~]+)*){_OPERATOR}["']""", re.MULTILINE
)
_CONTINUATION = re.compile(r"\\[ \t]*\r?\n")
_TAKING = re.compile(r"^(?P<word>require|include_all|include|inherit_defer|inherit)[ \t]+(?P<names>.+)$", re.MULTILINE)
# What base.bbclass and bitbake.conf take the classes from that all recipes inherit.
_FOR_ALL = ("INHERIT", "INHERIT_DISTRO", "USER_CLASSES")
_INHERITED = re.compile(
    rf"""^(?:{"|".join(_FOR_ALL)})(?::(?!remove)[^\s=]+)?{_OPERATOR}(["'])(?P<names>.*)\1""", re.MULTILINE
)
# A class for some configurations only, as it is usually written.
_STRING = r"""\s*["'][^"']*["']\s*,"""
_CLASS = _STRING.replace("[^\"']*", "([^\"']*)")
_CHOICE = re.compile(
    rf"\$\{{@bb\.utils\.(?:filter\({_STRING}{_CLASS}|contains(?:_any)?\({_STRING}{_STRING}{_CLASS}{_CLASS})\s*d\s*\)\}}"
)


class Assignment(typing.NamedTuple):
    """An assignment in a layer's configuration, or in a class that it has all recipes inherit."""

    overrides: list[str]
    path: str
    line: int


class Configured(typing.NamedTuple):
    """Something else in those files: a variable that code changes, or what is not at hand, as "the class x"."""

    name: str
    path: str
    line: int


def content(path: str) -> str:
    """Return the text of a layer's file, whatever its bytes. Raises OSError.

    A link in a checkout may lead to a device or FIFO, of which reading does not end; a file of /proc has the size 0.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    if state.st_size > MAX_FILE:
        raise OSError(errno.EFBIG, f"it has {state.st_size} bytes, at most {MAX_FILE} are read", path)
    with open(path, "rb") as file:
        return file.read(state.st_size).decode("utf-8", "surrogateescape")


def class_names(word: str) -> tuple[list[str], bool]:
    """Return the classes that a word behind inherit may name, and whether it surely names them."""
    if "${" not in word:
        return [word], True
    chosen = _CHOICE.fullmatch(word)
    names = [name for group in chosen.groups("") for name in group.split()] if chosen else [word]
    return names, False


def layer_of(path: str) -> str:
    """Return the root of the layer that a file is in, "" if it is in none."""
    for parent in pathlib.Path(path).parents:
        if (parent / "conf" / "layer.conf").is_file():
            return str(parent)
    return ""


def is_own(path: str) -> bool:
    """Tell whether a file or directory is in this layer itself, or is its root."""
    real = os.path.realpath(path)
    return real == OWN or layer_of(real) == OWN


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
    """Return all that a layer's conf/layer.conf gives to each variable, whatever the overrides."""
    path = os.path.join(root, "conf", "layer.conf")
    try:
        text = content(path)
    except OSError:
        return {}
    found: dict[str, str] = {}
    for statement in bitbaketext.statements(path, text):
        if statement.variable and not statement.flag:
            value = statement.value.characters.replace("${LAYERDIR}", root)
            name = statement.variable.partition(":")[0]
            found[name] = f"{found.get(name, '')} {value}"
    return found


def taken_in(bbfiles: str, ending: str) -> list[str]:
    """Return the files with an ending that BBFILES takes in, as BitBake does: of directories, or patterns of files."""
    found: set[str] = set()
    for entry in bbfiles.split():
        paths = walk(entry, (ending,)) if os.path.isdir(entry) else glob.iglob(entry)
        found.update(os.path.normpath(path) for path in paths if path.endswith(ending))
    return sorted(found)


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


def around(paths: collections.abc.Iterable[str], others: collections.abc.Iterable[str] = ()) -> Layers:
    """Return the layers of files and directories, and others; a file in no layer is at hand with what is beside it."""
    paths, others = list(paths), list(others)
    beside = [os.path.dirname(os.path.abspath(path)) for path in paths if os.path.isfile(path) and not layer_of(path)]
    return Layers([*layers_of(paths), *layers_of(others)], [*paths, *others, *beside])


class Layers:
    """The layers that are at hand. What is in others is not known."""

    def __init__(self, roots: collections.abc.Iterable[str], places: collections.abc.Iterable[str] = ()) -> None:
        """roots are the layers' directories; one that is "" is passed over. places are files and directories beside them."""
        self.roots = list({os.path.realpath(root): root for root in roots if root}.values())
        self.places = [*map(os.path.realpath, [*self.roots, *places])]
        self._assignments: dict[str, list[Assignment]] | None = None
        self._changes: list[Configured] = []
        self._missing: list[Configured] = []
        self._appends: list[str] | None = None
        self._optional: set[str] = set()
        # OpenEmbedded's own is known by its classes' names; its configuration is what recipes begin with.
        self._others = [root for root in self.roots if not os.path.isfile(os.path.join(root, "conf", "bitbake.conf"))]

    def hold(self, path: str) -> bool:
        """Tell whether a file really is in one of the layers and places: what a link or an include names need not be."""
        real = os.path.realpath(path)
        return any(real == place or real.startswith(place.rstrip("/") + "/") for place in self.places)

    def classes(self, name: str, folder: str = "classes-recipe") -> list[str]:
        """Return the files of a class, the first of which BitBake takes; none of a class whose name is enough.

        folder is classes-global for one that all recipes inherit.
        """
        if name in knownclasses.OWN:
            return []
        roots = self._others if name in knownclasses.HARMLESS else self.roots
        candidates = (os.path.join(root, kind, name + CLASS) for root in roots for kind in (folder, "classes"))
        return [path for path in candidates if os.path.isfile(path)]

    def appends(self) -> list[str]:
        """Return the appends that BBFILES of their layers take in, or may take in."""
        if self._appends is None:
            self._appends = [path for root in self.roots for path in self._appends_of(root)]
        return self._appends

    def is_optional(self, path: str) -> bool:
        """Tell whether an append counts only where another layer is, too."""
        return os.path.realpath(path) in self._optional

    def _appends_of(self, root: str) -> typing.Iterator[str]:
        known = settings(root)
        always = known.get("BBFILES", "")
        # collection:pattern, or !collection:pattern
        sometimes = " ".join(entry.partition(":")[2] for entry in known.get("BBFILES_DYNAMIC", "").split())
        if not always.strip() or "${" in always + sometimes:
            yield from walk(root, (APPEND,))
            return
        taken = taken_in(always, APPEND)
        yield from taken
        for path in sorted(set(taken_in(sometimes, APPEND)).difference(taken)):
            self._optional.add(os.path.realpath(path))
            yield path

    def assignments(self) -> dict[str, list[Assignment]]:
        """Return what the configurations assign, by the variable's name without overrides.

        With them what they include, and the classes that they have all recipes inherit.
        """
        if self._assignments is None:
            self._assignments = collections.defaultdict(list)
            done: set[str] = set()
            for root in self._others:
                for path in walk(os.path.join(root, "conf"), (".conf", ".inc")):
                    self._add(path, root, done)
        return self._assignments

    def changes(self) -> list[Configured]:
        """Return the variables that code of classes changes that all recipes inherit; "" is any."""
        self.assignments()
        return self._changes

    def missing(self) -> list[Configured]:
        """Return what the configurations take in, as classes that all recipes inherit, and that is not at hand."""
        self.assignments()
        return self._missing

    def _add(self, path: str, root: str, done: set[str]) -> None:
        """Take notice of a file of the configuration, in the layer with a root."""
        assert self._assignments is not None
        if os.path.realpath(path) in done:
            return
        done.add(os.path.realpath(path))
        if not self.hold(path):
            self._missing.append(Configured("the file", path, 1))
            return
        try:
            text = content(path)
        except OSError:
            return
        # Of as many lines, for their numbers.
        joined = _CONTINUATION.sub("\v", text)
        for match in _ASSIGNMENT.finditer(joined):
            overrides = match["overrides"].split(":")[1:]
            self._assignments[match["name"]].append(Assignment(overrides, path, _line(joined, match.start())))
        if path.endswith(CLASS):
            for change in recipecode.changes(text):
                self._changes.append(Configured(change.name, path, bitbaketext.line_of(text, change.offset)))
        for match in _TAKING.finditer(joined):
            names = _words(match["names"].partition("#")[0])
            if match["word"].startswith("inherit"):
                self._add_classes(names, path, _line(joined, match.start()), root, done)
            else:
                self._add_included(names, path, root, done)
        for match in _INHERITED.finditer(joined):
            self._add_classes(_words(match["names"]), path, _line(joined, match.start()), root, done)

    def _add_included(self, names: list[str], path: str, root: str, done: set[str]) -> None:
        for name in names:
            for folder in (os.path.dirname(path), *self._others):
                candidate = os.path.normpath(os.path.join(folder, name.replace("${LAYERDIR}", root)))
                if os.path.isfile(candidate):
                    self._add(candidate, root, done)

    def _add_classes(self, words: list[str], path: str, line: int, root: str, done: set[str]) -> None:
        # What those are is read where it is assigned.
        words = [word for word in words if word not in (f"${{{name}}}" for name in _FOR_ALL)]
        for name in (name for word in words for name in class_names(word)[0]):
            found = self.classes(name, "classes-global")
            for file in found:
                self._add(file, root, done)
            if not found and name not in knownclasses.HARMLESS:
                self._missing.append(Configured(f"the class {name}", path, line))


def _words(text: str) -> list[str]:
    return [word.characters for word in bitbaketext.plain(text).split()]


def _line(joined: str, offset: int) -> int:
    """Return the number of the line that an offset is in, of a text with \\v for continuations."""
    return 1 + joined.count("\n", 0, offset) + joined.count("\v", 0, offset)
