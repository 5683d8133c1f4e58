# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes read without BitBake, by scripts/dockin: literals, and what plain assignments make of them.

What is read are the recipe, its appends and includes, in the layers at hand: assignments to NAME, NAME:append and
NAME:prepend, and the variables PN, BPN and PV of the file's name. All else that may change SRC_URI or a variable that is
used there is not evaluated: overrides, :remove, unset, Python code, classes, the configuration. The image is then a problem
with file and line, and never guessed at.
"""

from __future__ import annotations

import collections
import collections.abc
import os
import re
import typing
from dataclasses import dataclass, field, replace

from dockin.recipe import bitbaketext
from dockin.recipe.bitbaketext import Place, Scope, Statement, Text
from dockin.recipe.entryreader import (
    INCLUDING,
    PREFIX,
    VARIABLE,
    EntryReader,
    Pin,
    flags_of_other,
    may_be_image,
    shown_entry,
)
from dockin.recipe.recipefile import (
    INCLUDE,
    Image,
    Recipe,
    RecipeError,
    is_own_file,
    load,
    recipes_in,
    texts_of_name,
    values_of_name,
)
from dockin.recipe.yoctolayers import APPEND, HARMLESS, RECIPE, Layers, Looked, Texts, around, class_names, layer_of, walk

REMEDY = "use devtool refresh-docker"
_MISSING = "is not at hand"
_PIN = re.compile(r"^SRC_URI\[[^\]]*sha256sum\]", re.MULTILINE)
_HEX = re.compile(r"[0-9a-f]{64}")
_INHERITS = re.compile(r"^[^\S\n]*inherit(?:_defer)?[^\S\n](?:.*[^\S\n])?dockin(?:\s|$)", re.MULTILINE)
_TAKES_IN = re.compile(r"^(require|include_all|include|inherit_defer|inherit)[ \t]+(.+)$", re.MULTILINE)
_CONTINUATION = re.compile(r"\\[ \t]*\r?\n")
_OF_NAME = re.compile(r"\$\{(PN|BPN|PV)\}")
_ENTRY = re.compile(r"docker://[^\s\"'\\]*")
# The variables of which BitBake has the name of the recipe, and where files are.
_PLACES = ("FILE", "BBPATH")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_MAX_INCLUDES = 100


class Outside(RecipeError):
    """A recipe's file is a link that leads out of the layers at hand."""


@dataclass
class Files:
    """A recipe's files, as far as they are known without reading their assignments."""

    texts: dict[str, str] = field(default_factory=dict)
    """Text of each file, by path; the recipe's own is the first."""
    whole: bool = True
    """False where a file can't be read, or is included by a name that the recipe's name does not give."""

    @property
    def uses_class(self) -> bool:
        """Whether one of the files inherits the class."""
        return any(map(uses_class, self.texts.values()))


class Scanner:
    """Finds which files recipes are made of, by their include and inherit lines; quick enough for whole layers."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._read: dict[str, tuple[str | None, list[tuple[str, str]]]] = {}
        """Text of each file, None where it can't be read, and what it takes in."""

    def of(self, recipe: str, appends: collections.abc.Iterable[str] = ()) -> Files:
        """Return the files of a recipe."""
        files = Files()
        for path in (recipe, *appends):
            self._add(files, path, values_of_name(recipe))
        return files

    def _add(self, files: Files, path: str, values: dict[str, str]) -> None:
        if path in files.texts:
            return
        text, taken = self._text(path)
        files.texts[path] = text or ""
        files.whole = files.whole and text is not None
        for word, line in taken:
            for name in _OF_NAME.sub(lambda match: values.get(match[1], match[0]), line.partition("#")[0]).split():
                files.whole = files.whole and "${" not in name
                if word.startswith("inherit"):
                    found = [path for one in class_names(name) for path in self._layers.classes(one)]
                else:
                    found = self._layers.included(name, path)[: None if word == "include_all" else 1]
                for one in found:
                    self._add(files, one, values)

    def _text(self, path: str) -> tuple[str | None, list[tuple[str, str]]]:
        if path not in self._read:
            try:
                text = load(path)
                self._read[path] = text, _TAKES_IN.findall(_CONTINUATION.sub(" ", text))
            except RecipeError:
                self._read[path] = None, []
        return self._read[path]


Found = tuple[str, list[str]]
"""The path of a recipe, and of its appends; or of an append or include whose recipe is not at hand."""


def find(paths: collections.abc.Sequence[str], layers: Layers | None = None) -> tuple[list[Found], list[Found]]:
    """Return the recipes that paths ask for, and the others in the layers at hand, by default those of paths.

    Asked for is a recipe in paths, or with an append there, if it may name an image, and in any case what paths name: a
    recipe, or for an append or include the recipes that have it. Raises RecipeError for a path that is not there.
    """
    layers = layers or around(paths)
    scanner = Scanner(layers)
    named = [os.path.abspath(path) for path in paths]
    # In no layer, what is beside it: what is below that may be anything, as in somebody's home directory.
    loose = {os.path.dirname(path) for path in named if os.path.isfile(path) and not layer_of(path)}
    beside = [path for directory in sorted(loose) for path in recipes_in(directory)]
    asked: list[Found] = []
    others: list[Found] = []
    included = {os.path.realpath(path): path for path in named if path.endswith(INCLUDE)}
    unused = dict(included)
    for path, appends in _recipes([*paths, *beside], layers):
        if path in included.values():
            continue
        files = scanner.of(path, appends)
        users = included.keys() & set(map(os.path.realpath, files.texts))
        for user in users:
            unused.pop(user, None)
        explicit = users or not {path, *appends}.isdisjoint(named)
        inside = any(one.startswith(place.rstrip("/") + "/") for one in (path, *appends) for place in named)
        (asked if explicit or (inside and _may_name_image(files)) else others).append((path, appends))
    return [*asked, *((path, []) for path in unused.values())], others


def _recipes(paths: list[str], layers: Layers) -> list[Found]:
    """Return the recipes in files, directories and layers with their appends, and the appends that have none."""
    # By what they really are, as links lead to one file by several paths; its name has the version, so it counts.
    recipes: dict[tuple[str, str], str] = {}
    appends: dict[tuple[str, str], str] = {}

    def add(found: str) -> None:
        kind = appends if found.endswith(APPEND) else recipes
        kind.setdefault((os.path.realpath(found), os.path.basename(found)), found)

    for path in paths:
        full = os.path.abspath(path)
        if os.path.isdir(full):
            for found in walk(full, (RECIPE, APPEND)):
                add(found)
        elif os.path.isfile(full):
            if not full.endswith((RECIPE, APPEND, INCLUDE)):
                raise RecipeError(f"Not a recipe: {path!r}; give files {RECIPE}, {APPEND}, {INCLUDE} or directories")
            add(full)
        else:
            raise RecipeError(f"There is no {path!r}: give recipes or directories with recipes")
    for path in (*layers.appends(), *(found for root in layers.roots for found in walk(root, (RECIPE,)))):
        add(path)
    loose = sorted(appends.values())
    result = []
    for recipe in sorted(recipes.values()):
        own = [append for append in sorted(appends.values()) if _appends_to(append, recipe)]
        loose = [append for append in loose if append not in own]
        result.append((recipe, own))
    return result + [(append, []) for append in loose]


def read(
    path: str,
    appends: collections.abc.Sequence[str] = (),
    layers: Layers | None = None,
    texts: Texts | None = None,
) -> Recipe:
    """Return a recipe with its images.

    layers are those at hand, by default the recipe's. With texts it is read as it would be with those in its files. Raises
    RecipeError.
    """
    at_hand = layers or around([path])

    def again(texts: Texts, renamed: str) -> Recipe:
        return read(renamed or path, appends_left(appends, renamed), at_hand, texts)

    recipe = _Reader(path, at_hand, texts or {}).read(appends)
    recipe.again = again
    return recipe


def uses_class(text: str) -> bool:
    """Tell whether a file's text inherits the class."""
    return bool(_INHERITS.search(_CONTINUATION.sub(" ", text)))


def appends_left(appends: collections.abc.Iterable[str], renamed: str) -> list[str]:
    """Return the appends that a recipe still has under another name; "" is its own."""
    return [append for append in appends if not renamed or _appends_to(append, renamed)]


class _Reader(EntryReader):
    """Reads one recipe."""

    def __init__(self, path: str, layers: Layers, texts: Texts) -> None:
        super().__init__(Recipe(path, "", layer_of(path), layers=layers))
        self.path = path
        self.texts = texts
        self.layers = layers
        self.scope = Scope()
        self.flags: dict[str, list[Statement]] = collections.defaultdict(list)
        self.unread: list[tuple[Statement, str]] = []
        """What is not read and may have entries of images, and the text of its file."""
        self.not_included: tuple[Statement, str] | None = None
        """An include that is not read, and why."""
        self.doubt = ""
        """Why no image is known, "" if there is no reason."""
        self.open = ""
        """Why no variable is known."""
        self.doubts: dict[str, str] = {}
        """Why variables are not known, by their names."""
        self.named: list[tuple[Text, str]] = []
        """The names of included files as they are written, and as they were expanded."""
        self.by_append: dict[str, Statement] = {}
        """An assignment in an append, by the variable."""
        self.for_some: list[str] = []
        """By what files are added for some machines only: append, prepend."""
        self.joined: list[tuple[Statement, str]] = []
        """What adds to SRC_URI without a space between, and by which of the two."""
        self.includes = 0
        self.done: set[str] = set()
        """Classes that were looked at, by real path."""

    def read(self, appends: collections.abc.Sequence[str]) -> Recipe:
        for name, value in texts_of_name(self.path).items():
            self.scope.preset(name, value)
        # As bitbake.conf has them.
        self.scope.preset("P", bitbaketext.plain("${PN}-${PV}"))
        self.scope.preset("BP", bitbaketext.plain("${BPN}-${PV}"))
        self.scope.preset(VARIABLE, bitbaketext.plain(""))
        if not self.path.endswith(RECIPE):
            what = "is for" if self.path.endswith(APPEND) else "is in"
            self.open = f"the recipe that {self.recipe.shown(self.path)} {what} {_MISSING}"
        self._file(self.path)
        for append in appends:
            self._file(append)
        self.recipe.name = self._name()
        for looked in self.layers.configured():
            self._configured(looked)
        for written, name in self.named:
            if self.scope.expand(written, self._is_known).characters != name:
                self._lose(f"it includes {written.characters}, of which a variable is changed")
        for statement, how in self.joined:
            if how in self.for_some:
                self._lose(f"{self.where(statement)} joins what it adds to the files of an override")
        self.recipe.images = self._images()
        self._expect_images()
        return self.recipe

    def pin(self, flag: str) -> Pin:
        found = self.flag_statements(flag)
        if len(found) > 1:
            other = self.where(found[1])
            return Pin("", found[0], f"is not the only one, {other} sets it, too: keep one of them, or {REMEDY}")
        value = self.scope.expand(found[0].value, self._is_known).characters if found else ""
        return Pin("" if "${" in value else value, found[0] if found else None)

    def flag_statements(self, flag: str) -> list[Statement]:
        return self.flags.get(flag, []) if flag else [one for several in self.flags.values() for one in several]

    def _images(self) -> list[Image]:
        value = self.scope.value(VARIABLE)
        assert value is not None
        words = self.scope.expand(value, self._is_known).split()
        self.others = {flag: word.characters for word in reversed(words) for flag in flags_of_other(word.characters)}
        self.recipe.words += [word for word in words if PREFIX not in word.characters]
        unread = [image for one in self.unread for image in self._unread_images(*one)]
        named = unread or self._inherits() or any(PREFIX in word.characters for word in words)
        images: dict[object, Image] = {}
        for word in words:
            if PREFIX not in word.characters and not (named and may_be_image(word.characters)):
                continue
            if word.place is None:
                self._lose("its text stands in no file")
            else:
                image = self.image(word, word.place, self._problem(word))
                images.setdefault((image.place, image.text), image)
        return self.with_places([*images.values(), *unread])

    def _inherits(self) -> bool:
        return any(map(uses_class, self.recipe.files.values()))

    def _problem(self, word: Text) -> str:
        """Return why an entry is not known, "" if it is."""
        shown = shown_entry(word.characters)
        name = word.unknown
        if name and not name.startswith("@"):
            return f"{shown} is built from ${{{name}}}, which is not known here{self._why(name)}: write it out, or {REMEDY}"
        if name or not word.characters.startswith(PREFIX):
            return f"{shown} is built from code or from parts, which is not known here: write it out, or {REMEDY}"
        return self._not_known(shown) if self.doubt else ""

    def _not_known(self, shown: str, where: str = "") -> str:
        layer = "name its layer with --layer, or " if self.doubt.endswith(_MISSING) else ""
        reason = self.doubt or (f"{where} is not read" if where else "it stands in Python code")
        return f"{shown} is not known here: {reason}; {layer}{REMEDY}"

    def _why(self, name: str) -> str:
        reason = self.doubts.get(name) or self.open
        if not reason and self.scope.is_assigned(name) and self.scope.value(name) is None:
            reason = "no assignment with = gives its value"
        if not reason and self.scope.is_too_long(name):
            reason = f"the recipe's variables become more than {bitbaketext.MOST_EXPANDED} characters"
        return f", as {reason}" if reason else ""

    def _unread_images(self, statement: Statement, text: str) -> typing.Iterator[Image]:
        """Yield the entries of images in a statement that is not read."""
        for match in _ENTRY.finditer(text, statement.start, statement.end):
            shown = shown_entry(match[0])
            line = bitbaketext.line_of(text, match.start())
            place = Place(statement.path, match.start())
            problem = self._not_known(shown, "" if bitbaketext.is_python(statement, text) else self.where(statement))
            yield Image(statement.path, line, shown, place, problem=problem, pins=self.pins_of(match[0]))

    def _expect_images(self) -> None:
        """Note where no image is found, though there should be one."""
        recipe = self.recipe
        pins = [flag for flag in self.flag_statements("") if _HEX.fullmatch(flag.value.characters)]
        lone = bool(pins) and not self.scope.is_assigned(VARIABLE) and self.path.endswith(APPEND)
        recipe.expected = lone or self._inherits()
        if recipe.images or not recipe.expected:
            return
        if lone:
            recipe.notes.append(
                f"{self.where(pins[0])}: this may be an image's pin: the recipe that it is for is not among those given"
            )
        elif self.not_included:
            include, why = self.not_included
            problem = f"the recipe inherits dockin, but shows no image, and {why}: {REMEDY}"
            recipe.images = [Image(include.path, include.line, include.value.characters, None, problem=problem)]
        elif not recipe.notes:
            recipe.notes.append(f"{recipe.shown(self.path)}: it inherits dockin, but its text shows no image")

    def _name(self) -> str:
        return self.scope.expand(bitbaketext.plain("${PN}")).characters

    def _is_known(self, name: str) -> bool:
        return not (name.startswith("@") or name in self.doubts or self.open)

    def _lose(self, reason: str) -> None:
        """Record why no image is known."""
        self.doubt = self.doubt or reason

    def _change(self, variable: str, where: str, verb: str = "changes", configured: bool = False) -> None:
        """Record a variable that something changes which is not read; "" for any."""
        name = variable.partition(":")[0]
        if name in ("", VARIABLE) or (name in _PLACES and not configured):
            self._lose(f"{where} {verb} {variable or 'variables whose names are not written out'}")
        for one in ("PN", "BPN") if name == "PN" else (name,):
            self.doubts.setdefault(one, f"{where} {verb} {variable}")

    def _configured(self, looked: Looked) -> None:
        """Record a statement of the layers' configuration."""
        if looked.missing:
            # Files that the configuration includes from other layers are as unknown as local.conf.
            if looked.statement.word not in INCLUDING:
                self.open = self.open or f"{looked.missing} at {self.where(looked.statement)} {_MISSING}"
            return
        for variable, line in bitbaketext.changed(looked.statement, looked.text):
            recipes = [override for override in variable.split(":") if override.startswith("pn-") and "$" not in override]
            # What is for another recipe alone does not matter.
            if "PN" in self.doubts or all(override == f"pn-{self.recipe.name}" for override in recipes):
                self._change(variable, f"{self.recipe.shown(looked.statement.path)}:{line}", configured=True)

    def _file(self, path: str) -> None:
        """Take the statements of a file and of those it includes. Raises Outside for the recipe itself."""
        shown = self.recipe.shown(path)
        if not self.layers.hold(path):
            real = os.path.realpath(path)
            what = "it" if real == path else real
            reason = f"is not read: {what} is outside of the paths given, their layers and those of --layer"
            if path == self.path:
                raise Outside(f"{shown} {reason}")
            self.recipe.notes.append(f"{self.recipe.shown(self.path)}: {shown} {reason}")
            self._lose(f"{path} is outside of the layers at hand")
            return
        known = self.texts.get(os.path.realpath(path))
        text = self.recipe.files[path] = load(path) if known is None else known
        if _LONE_RETURN.search(text):
            self.open = self.open or f"{shown} has a carriage return within a line, which ends it for BitBake"
            self._lose(self.open)
        if not is_own_file(path):
            self._lose(f"{shown} is no recipe, include or append")
        optional = self.layers.is_optional(path)
        for statement in bitbaketext.statements(path, text):
            if optional:
                self._look(Looked(statement, text))
            elif statement.word in INCLUDING:
                self._include(statement)
            elif statement.word.startswith("inherit"):
                self._inherit(statement)
            elif statement.word or not self._is_read(statement):
                self._look(Looked(statement, text))
            elif statement.flag:
                if statement.variable == VARIABLE:
                    self.flags[statement.flag].append(statement)
            else:
                self._assign(statement, text)

    def _is_read(self, statement: Statement) -> bool:
        """Tell whether an assignment is one of those that are evaluated."""
        name, colon, override = statement.variable.partition(":")
        value = statement.value.characters
        if name in _PLACES or (colon and not override) or statement.flag.startswith("_"):
            return False
        if "${" in name + statement.flag or (statement.operator == ":=" and "${" in value):
            return False
        if not override:
            # Of SRC_URI, bitbake.conf has the default.
            return bool(statement.flag) or not (name == VARIABLE and statement.operator in ("?=", "??="))
        how, _, override = override.partition(":")
        # For some machine: what only adds files leaves the images as they are, and their checksums.
        files = name == VARIABLE and _are_files(value, how)
        return how in ("append", "prepend") and statement.operator == "=" and not statement.flag and (not override or files)

    def _assign(self, statement: Statement, text: str) -> None:
        name, _, override = statement.variable.partition(":")
        if name == "PN":
            # BPN is made of it by code.
            self.doubts.setdefault("BPN", f"{self.where(statement)} changes PN")
        if "${@" in statement.value.characters:
            for variable, line in bitbaketext.changed(statement, text):
                if variable != statement.variable:
                    self._change(variable, f"Python code at {self.recipe.shown(statement.path)}:{line}")
        if statement.path.endswith(APPEND):
            other = self.by_append.setdefault(name, statement)
            adds = [bool(":" in one.variable or one.operator in ("+=", "=+", ".=", "=.")) for one in (other, statement)]
            if other.path != statement.path and not (name == VARIABLE and all(adds)):
                # BitBake's order of them is that of the layers' priorities.
                self._change(name, f"{self.where(other)} and {self.where(statement)}", "both change")
        how, _, override = override.partition(":")
        if name == VARIABLE and how:
            end = statement.value.characters[:1] if how == "append" else statement.value.characters[-1:]
            self.for_some += [how] if override else []
            self.joined += [] if end.isspace() else [(statement, how)]
        self.scope.assign(replace(statement, variable=f"{name}:{how}" if how else name))

    def _look(self, looked: Looked) -> None:
        """Record what a statement changes that is not evaluated."""
        statement, text, missing = looked
        if missing:
            self._lose(f"{missing} at {self.where(statement)} {_MISSING}")
            return
        where = self.recipe.shown(statement.path)
        for variable, line in bitbaketext.changed(statement, text):
            self._change(variable, f"{'Python code at ' if statement.word == 'code' else ''}{where}:{line}")
        if statement.word == "" and statement.variable == VARIABLE and statement.flag:
            self.flags[statement.flag].append(statement)
        elif statement.word != "code" or bitbaketext.is_python(statement, text):
            self.unread.append((statement, text))

    def _include(self, statement: Statement) -> None:
        self.includes += 1
        where = self.where(statement)
        if self.includes > _MAX_INCLUDES:
            raise RecipeError(f"{where}: files include each other without end")
        if "${" in statement.value.characters and statement.path != self.path:
            # BitBake has PV from the name of the file in which it is expanded.
            self._lose(f"{statement.value.characters} at {where} is made of variables, and not in the recipe itself")
        value = self.scope.expand(statement.value)
        self.named.append((statement.value, value.characters))
        for text in value.split():
            self.recipe.words.append(text)
            name = text.characters
            if "${" in name:
                self.recipe.notes.append(f"{where}: {name} is not read: its name is not known here")
                self._lose_include(statement, f"{name} at {where} is not read")
                continue
            found = self.layers.included(name, statement.path, self.texts)
            for path in found[:1]:
                self._file(path)
            if statement.word == "include_all":
                self.recipe.notes.append(f"{where}: {name} of other layers is not read")
                self._lose_include(statement, f"{name} of other layers at {where} is not read")
            elif not found:
                self.recipe.notes.append(f"{where}: there is no {name} beside the file or in the layers at hand")
                self._lose_include(statement, f"{name} at {where} {_MISSING}")
            elif len(found) > 1:
                self._lose(f"{name} at {where} is in more than one layer")

    def _lose_include(self, statement: Statement, reason: str) -> None:
        self.not_included = self.not_included or (statement, reason)
        self._lose(reason)

    def _inherit(self, statement: Statement) -> None:
        """Look at the classes that are at hand, also at those that code may choose."""
        where = self.where(statement)
        value = self.scope.expand(statement.value)
        self.named.append((statement.value, value.characters))
        for word in value.split():
            found = self.layers.classes(word.characters)
            if not found and word.characters not in HARMLESS:
                self._lose(f"the class {word.characters} at {where} {_MISSING}")
            if len(found) > 1:
                self._lose(f"the class {word.characters} at {where} is there more than once")
            for path in [path for name in class_names(word.characters) for path in self.layers.classes(name)]:
                for looked in self.layers.look_at(path, self.done, self.texts):
                    if looked.text:
                        self.recipe.files[looked.statement.path] = looked.text
                    self._look(looked)


def _are_files(value: str, how: str) -> bool:
    """Tell whether a value is file:// entries, of which none is joined to another entry: how is append or prepend."""
    end = value[:1] if how == "append" else value[-1:]
    return end.isspace() and "${" not in value and all(word.startswith("file://") for word in value.split())


def _appends_to(append: str, recipe: str) -> bool:
    """Tell what BitBake does, for which a % and all behind it stand for anything."""
    start, percent, _ = os.path.basename(append)[: -len(APPEND)].partition("%")
    own = os.path.splitext(os.path.basename(recipe))[0]
    return own.startswith(start) if percent else own == start


def _may_name_image(files: Files) -> bool:
    """Tell whether files may name an image; what is not at hand may."""
    found = (PREFIX in text or uses_class(text) or (path.endswith(APPEND) and _PIN.search(text))
             for path, text in files.texts.items())
    return not files.whole or any(found)
