# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes that BitBake has parsed: the datastore says what their images, tags and pins are, its history where they stand.

The text of a file is read only around the lines that the history names, for the place of a literal. An image whose entry,
or pin, does not stand there exactly once is a problem with file and line.
"""

from __future__ import annotations

import collections
import collections.abc
import os
import re
import typing

from dockin.recipe import bitbaketext, source
from dockin.recipe.bitbaketext import Statement, Text
from dockin.recipe.entryreader import PREFIX, VARIABLE, EntryReader, Pin, flag_of, flags_of_other, shown_entry
from dockin.recipe.recipefile import Image, Recipe, texts_of_name
from dockin.recipe.yoctolayers import layer_of

_USE = re.compile(r"""\$\{([^${}@]+)\}|\bgetVar\(\s*["']([^"']+)""")
_ALONE = re.compile(r"\$\{([^${}@]+)\}")
_LITERAL_SCHEME = re.compile(r"[a-z0-9]+://")

DataStore = typing.Any
"""BitBake's datastore of a recipe, with its history, or what gets its answers from a server."""


def read(
    path: str, d: DataStore, texts: collections.abc.Mapping[str, str],
    named: collections.abc.Callable[[str], str] = os.path.normpath,
) -> Recipe:
    """Return a recipe with its images.

    texts are those of its own files, with appends and includes, by path; named returns the path of a file as these have it
    from what BitBake calls it.
    """
    recipe = Recipe(path, d.getVar("PN"), layer_of(path), files=dict(texts), expected=True)
    _Reader(recipe, d, named).read()
    return recipe


class _Reader(EntryReader):
    """Reads one recipe."""

    def __init__(self, recipe: Recipe, d: DataStore, named: collections.abc.Callable[[str], str]) -> None:
        super().__init__(recipe)
        self._d = d
        self._named = named
        self._shown: set[str] = set()
        """The words of assignments from which SRC_URI has its entries."""
        self._expanding: set[str] = set()
        own = (one for path in recipe.files for one in self.statements(path) if not one.word and not one.flag)
        self._overrides = {one.variable: one for one in own if ":" in one.variable}
        """Assignments of the recipe's own files with overrides, by the variable with them."""
        self._conditional: dict[str, list[str]] = collections.defaultdict(list)
        """All variables with overrides that the datastore has, by the variable without them."""
        for name in d:
            if ":" in name:
                self._conditional[name.partition(":")[0]].append(name)

    def read(self) -> None:
        recipe = self.recipe
        entries = (self._d.getVar(VARIABLE) or "").split()
        places = self._places(VARIABLE)
        absent = list(self._absent())
        words = [bitbaketext.plain(entry) for entry in [*entries, *absent] if not source.is_docker(entry)]
        recipe.words += words
        self.others = {flag: word.characters for word in reversed(words) for flag in flags_of_other(word.characters)}
        # What code gives for another configuration is not known.
        recipe.words += [bitbaketext.plain(word) for word in self._lists() if "${@" in word and "file://" not in word]
        for entry in filter(source.is_docker, absent):
            recipe.words.append(bitbaketext.plain(entry))
            shown = f"{shown_entry(entry)} in {recipe.shown(recipe.path)}"
            recipe.notes.append(f"{shown} is not in SRC_URI for this configuration")
            self._keep_pin(entry, entries)
        images = [self._image(entry, places[entry]) for entry in entries if source.is_docker(entry)]
        recipe.images = self.with_places(images)

    def pin(self, flag: str) -> Pin:
        value = self._d.getVarFlag(VARIABLE, flag) or ""
        found = [one for one in self.flag_statements(flag) if self._expand(one.value.characters) == value]
        if not value and not found:
            return Pin()
        if len(found) != 1:
            last = self._last(self._history(VARIABLE, flag))
            return Pin(value, None, f"is {value!r} by {last}, not by one literal: write the 64 hex digits out in one place")
        if found[0].path not in self.recipe.files:
            return Pin(value, None, f"stands in a class or the configuration, {self.where(found[0])}: move it to the recipe")
        return Pin(value, found[0])

    def flag_statements(self, flag: str) -> list[Statement]:
        found = self._statements(VARIABLE, flags=True)
        return [one for one in found if not flag or self._expand(one.flag) == flag]

    def _image(self, entry: str, places: list[tuple[Statement, Text]]) -> Image:
        """Return the image of an entry, of which all places are known where it may come from."""
        recipe, shown = self.recipe, shown_entry(entry)
        if len(places) != 1:
            what = "stands in more than one place" if places else "stands in no assignment as it is"
            last = self._last(self._history(VARIABLE, ""))
            problem = f"{shown} {what}, SRC_URI was changed last by {last}: write the whole entry out in the recipe, once"
            return Image(recipe.path, 1, shown, None, problem=problem, pins=self.pins_of(entry))
        statement, word = places[0]
        if statement.path not in recipe.files:
            problem = f"{shown} stands in a class or the configuration: only recipes, includes and appends are changed"
            return Image(statement.path, statement.line, shown, None, problem=problem, pins=self.pins_of(entry))
        text = self._expanded(word)
        text = text if text.characters == entry else bitbaketext.plain(entry)
        # One pin can't be right for two images.
        varying, hidden = self._varying(word.characters, set()), self._hidden()
        problem = f"{shown} is another image for other configurations, by {varying}: write it out" if varying else ""
        if hidden and not problem:
            problem = f"{shown} is perhaps not all that SRC_URI has for other configurations, by {hidden}: edit by hand"
        assert word.place
        return self.image(text, word.place, problem)

    def _places(self, variable: str) -> dict[str, list[tuple[Statement, Text]]]:
        """Return, by entry, the words of assignments that may give it; a word that is a variable is looked for in that."""
        found: dict[str, list[tuple[Statement, Text]]] = collections.defaultdict(list)
        written = [(one, word) for one in self._statements(variable) for word in one.value.split()]
        words = bitbaketext.plain(self._d.getVar(variable, False) or "").split()
        for raw in dict.fromkeys(word.characters for word in words):
            self._shown.add(raw)
            expanded = self._expand(raw)
            alone = _ALONE.fullmatch(raw)
            if alone and PREFIX in expanded:
                for entry, places in self._places(alone[1]).items():
                    found[entry] += places
            else:
                found[expanded] += [(one, word) for one, word in written if word.characters == raw]
        return found

    def _absent(self) -> typing.Iterator[str]:
        """Yield the entries that the recipe's own files give SRC_URI for another configuration."""
        own = [one for path in self.recipe.files for one in self.statements(path) if not one.word and not one.flag]
        own = [one for one in own if one.variable.partition(":")[0] == VARIABLE]
        kinds = {one.variable: one.variable.split(":")[1] if ":" in one.variable else "" for one in own}
        replaced = not {*kinds.values()} <= {"", "append", "prepend", "remove"}
        for statement in own:
            # Without an override that takes its place, what is not there now is so for all.
            if kinds[statement.variable] != "remove" and (replaced or ":" in statement.variable):
                for word in statement.value.split():
                    if word.characters not in self._shown:
                        yield from self._expand(word.characters).split()

    def _keep_pin(self, entry: str, entries: list[str]) -> None:
        """Record the pin of an entry that is not in SRC_URI now: no other image may change it."""
        if entry not in entries:
            self.others.setdefault(flag_of(entry), entry)

    def _expand(self, text: str) -> str:
        """Return what BitBake makes of a text; the text itself where that fails, as it may for another configuration's."""
        try:
            return str(self._d.expand(text))
        except Exception:  # noqa: BLE001  what BitBake raises differs with what is wrong
            return text

    def _expanded(self, word: Text) -> Text:
        """Return a word with its variables expanded, and where all comes from, as far as that is plain."""
        return bitbaketext.replaced(word, self._value)

    def _value(self, name: str) -> Text:
        value = self._expand("${" + name + "}")
        found = [] if name.startswith("@") else self._statements(name)
        of_name = texts_of_name(self.recipe.path).get(name)
        if of_name and of_name.characters == value and not any(one.path in self.recipe.files for one in found):
            return of_name
        if len(found) == 1 and found[0].path in self.recipe.files and name not in self._expanding:
            self._expanding.add(name)
            text = self._expanded(found[0].value)
            self._expanding.discard(name)
            if text.characters == value:
                return text
        return bitbaketext.plain(value)

    def _varying(self, text: str, done: set[str]) -> str:
        """Return what gives a variable that is used in a text, or in what that is made of, another value elsewhere."""
        for name in (match[1] or match[2] for match in _USE.finditer(text)):
            if name in done:
                continue
            done.add(name)
            for variable, statement in self._overrides.items():
                if variable.partition(":")[0] == name and variable.partition(":")[2] not in ("append", "prepend"):
                    return f"{variable} at {self.where(statement)}"
            found = next((self._changed_at(variable) for variable, _ in self._other_values(name)), "")
            found = found or self._varying(self._d.getVar(name, False) or "", done)
            if found:
                return found
        return ""

    def _other_values(self, name: str) -> typing.Iterator[tuple[str, str]]:
        """Yield the values that a variable has, or gets added or removed, for some configurations only, with their names."""
        for variable in self._conditional.get(name, ()):
            if self._is_conditional(variable.split(":")[1:]):
                yield variable, self._d.getVar(variable, False) or ""
        for how in (":append", ":prepend", ":remove"):
            for value, override in self._d.getVarFlag(name, how, False) or ():
                if override and self._is_conditional(override.split(":")):
                    yield f"{name}{how}:{override}", value

    def _is_conditional(self, overrides: list[str]) -> bool:
        """Tell whether overrides are for some configurations, and not for all or for other recipes alone."""
        own = f"pn-{self.recipe.name}"
        return any(one != own for one in overrides) and not any(one.startswith("pn-") and one != own for one in overrides)

    def _changed_at(self, variable: str) -> str:
        """Return a variable with overrides and the last place that sets it, as a message has them."""
        name, _, overrides = variable.partition(":")
        exact = self._history(variable, "")
        for how in ("append", "prepend", "remove"):
            if overrides.startswith(how + ":"):
                op = f":{how}[{overrides[len(how) + 1 :]}]"
                exact = exact or [one for one in self._history(name) if one.get("op") == op]
        return f"{variable} at {self._last(exact)}"

    def _lists(self) -> list[str]:
        """Return the words of SRC_URI, and of what the recipe adds to it elsewhere, that may stand for any entries."""
        own = [one.value.characters for name, one in self._overrides.items() if name.partition(":")[0] == VARIABLE]
        words = bitbaketext.plain(" ".join([self._d.getVar(VARIABLE, False) or "", *own])).split()
        texts = (word.characters for word in words)
        return [text for text in texts if "${" in text and not _LITERAL_SCHEME.match(text)]

    def _hidden(self) -> str:
        """Return what may give SRC_URI images for other configurations that are not known here, "" if nothing does."""
        own = (one for path in self.recipe.files for one in self.statements(path))
        told = {word.characters for one in own if one.variable.partition(":")[0] == VARIABLE for word in one.value.split()}
        names, done = [VARIABLE, *_used(self._lists())], set()
        while names:
            name = names.pop()
            if name in done:
                continue
            done.add(name)
            for variable, value in self._other_values(name):
                for word in value.split():
                    is_file = word.startswith("file://") and "${" not in word
                    if not is_file and not (name == VARIABLE and word in told):
                        return self._changed_at(variable)
            if name != VARIABLE:
                names += _used([self._d.getVar(name, False) or ""])
        return ""

    def _history(self, variable: str, flag: str | None = None) -> list[dict[str, typing.Any]]:
        """Return the changes of a variable itself for "", of one of its flags, or by default of all."""
        history = self._d.varhistory.variable(variable)
        return [one for one in history if one.get("file") and flag in (None, one.get("flag", ""))]

    def _last(self, history: list[dict[str, typing.Any]]) -> str:
        """Return the place of the last change, as a message has it."""
        if not history:
            return "no assignment"
        return f"{self.recipe.shown(self._named(history[-1]['file']))}:{history[-1].get('line')}"

    def _statements(self, variable: str, flags: bool = False) -> list[Statement]:
        """Return the assignments to a variable, or to its flags, to which the history leads."""
        own = (one.variable for path in self.recipe.files for one in self.statements(path))
        names = dict.fromkeys([variable, *(name for name in own if name.partition(":")[0] == variable)])
        places = dict.fromkeys(
            (self._named(one["file"]), one["line"]) for name in names for one in self._history(name) if one.get("line"))
        return [
            one
            for path, line in places
            if path in self.recipe.files or os.path.isfile(path)
            for one in self.statements(path)
            if one.variable in names and not one.word and bool(one.flag) == flags
            # BitBake names the last line.
            and one.line <= line <= bitbaketext.line_of(self.text(path), one.end - 1)
        ]


def _used(texts: collections.abc.Iterable[str]) -> list[str]:
    """Return the names of variables that are used in texts."""
    return [match[1] or match[2] for text in texts for match in _USE.finditer(text)]
