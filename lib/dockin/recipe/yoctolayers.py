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

from dockin.recipe import bitbaketext
from dockin.recipe.bitbaketext import Statement

APPEND = ".bbappend"
CLASS = ".bbclass"
RECIPE = ".bb"
OWN = str(pathlib.Path(__file__).resolve().parents[3])
"""The root of this layer itself."""
MAX_FILE = 4 << 20
"""Bytes of a file that is read."""

# Variables of the configuration with classes that all recipes inherit: base.bbclass and bitbake.conf.
_FOR_ALL = ("INHERIT", "INHERIT_DISTRO", "USER_CLASSES")
_CLASS_NAME = re.compile(r"[\w+.-]+")
_OWN_CLASSES = ("dockin", "dockin-code", "dockin-dataroot", "dockin-sbom")
HARMLESS = frozenset([
    *_OWN_CLASSES, "allarch", "bin_package", "deploy", "features_check", "nopackages", "pkgconfig", "systemd",
    "update-alternatives", "update-rc.d", "useradd",
])
"""Classes of this layer and of OE-core that leave SRC_URI, PV and a recipe's names alone."""


Texts = collections.abc.Mapping[str, typing.Optional[str]]
"""Texts that count instead of those of files, by real path; None for a file that is no longer there."""


class Looked(typing.NamedTuple):
    """A statement of a file that is only looked at."""

    statement: Statement
    text: str
    """That of its file."""
    missing: str = ""
    """What the statement takes in that is not at hand, or that may be one of several files."""


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


def class_names(text: str) -> list[str]:
    """Return the names of classes that the operand of an inherit has, and those that code in it may have."""
    return _CLASS_NAME.findall(text)


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
        self._appends: list[str] | None = None
        self._optional: set[str] = set()
        self._configured: list[Looked] | None = None
        self._layer_of: dict[str, str] = {}
        # OpenEmbedded's own configuration is what recipes begin with.
        self._others = [root for root in self.roots if not os.path.isfile(os.path.join(root, "conf", "bitbake.conf"))]

    def hold(self, path: str) -> bool:
        """Tell whether a file really is in one of the layers and places: what a link or an include names need not be."""
        real = os.path.realpath(path)
        return any(real == place or real.startswith(place.rstrip("/") + "/") for place in self.places)

    def included(self, name: str, path: str, texts: Texts | None = None) -> list[str]:
        """Return the files that an include in a file may mean: the one beside it, or those of all layers, its own first.

        With texts, files are as if they had those.
        """

        def is_file(candidate: str) -> bool:
            real = os.path.realpath(candidate)
            return texts[real] is not None if texts and real in texts else os.path.isfile(candidate)

        directory = os.path.dirname(path)
        if directory not in self._layer_of:
            self._layer_of[directory] = layer_of(path)
        folders = dict.fromkeys([directory, self._layer_of[directory] or directory, *self.roots])
        candidates = {os.path.realpath(one): one for one in (os.path.normpath(os.path.join(at, name)) for at in folders)}
        found = [candidate for candidate in candidates.values() if is_file(candidate)]
        return found[:1] if found and found[0] == os.path.normpath(os.path.join(directory, name)) else found

    def classes(self, name: str) -> list[str]:
        """Return the files of a class, of which BitBake takes one; none of this layer's, nor OE-core's of HARMLESS."""
        if name in _OWN_CLASSES:
            return []
        roots = self._others if name in HARMLESS else self.roots
        kinds = ("classes-recipe", "classes-global", "classes")
        candidates = (os.path.join(root, kind, name + CLASS) for root in roots for kind in kinds)
        return [path for path in candidates if os.path.isfile(path)]

    def look_at(self, path: str, done: set[str], texts: Texts | None = None) -> typing.Iterator[Looked]:
        """Yield the statements of a class or a file of the configuration, and of what it takes in that is not done yet.

        With texts, files are read as if they had those.
        """
        real = os.path.realpath(path)
        if real in done:
            return
        done.add(real)
        try:
            known = texts.get(real) if texts else None
            text = (content(path) if known is None else known) if self.hold(path) else None
        except OSError:
            text = None
        if text is None:
            yield Looked(Statement(path, 0, 0, 1), "", path)
            return
        for statement in bitbaketext.statements(path, text):
            found, missing = self._taken_in(statement)
            yield Looked(statement, text, missing)
            for one in found:
                yield from self.look_at(one, done, texts)

    def _taken_in(self, statement: Statement) -> tuple[list[str], str]:
        """Return the files that a statement takes in, and what of it is not at hand or not known."""
        words = [word.characters for word in statement.value.split()]
        if statement.variable.partition(":")[0] in _FOR_ALL:
            # Code often chooses these classes, so all names count. Other layers' classes are unknown here, like local.conf.
            names = class_names(statement.value.characters)
            return [path for name in names for path in self.classes(name)], ""
        if statement.word in ("", "unset", "code"):
            return [], ""
        if statement.word.startswith("inherit"):
            places = {word: self.classes(word) for word in words}
            known = {word: len(found) == 1 or (not found and word in HARMLESS) for word, found in places.items()}
            lost = [f"the class {word}" for word in places if not known[word]]
            names = [name for word in words for name in class_names(word)]
            return [path for name in names for path in self.classes(name)], ", ".join(lost)
        layer = self._layer_of.setdefault(os.path.dirname(statement.path), layer_of(statement.path))
        files = {word: self.included(word.replace("${LAYERDIR}", layer), statement.path) for word in words}
        lost = [word for word, found in files.items() if len(found) != 1 or statement.word == "include_all"]
        return [path for found in files.values() for path in found], ", ".join(lost)

    def configured(self) -> list[Looked]:
        """Return the statements of the layers' configuration, and of the classes at hand that it has all recipes inherit."""
        if self._configured is None:
            done: set[str] = set()
            files = (path for root in self._others for path in walk(os.path.join(root, "conf"), (".conf", ".inc")))
            found = (looked for path in files for looked in self.look_at(path, done))
            core = tuple(root + "/" for root in self.roots if root not in self._others)
            self._configured = [looked for looked in found if not looked.statement.path.startswith(core)]
        return self._configured

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
