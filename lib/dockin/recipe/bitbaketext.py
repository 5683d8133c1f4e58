# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake files as text: their statements, and from which place in which file each character of a value comes.

For tools that change recipes: BitBake's own parser keeps values, not places. What is read are assignments, includes,
inherits and where code begins and ends; https://docs.yoctoproject.org/bitbake/bitbake-user-manual/bitbake-user-manual-metadata.html
"""

from __future__ import annotations

import collections
import collections.abc
import itertools
import re
import typing
from dataclasses import dataclass, field

_MAX_DEPTH = 50
MOST_EXPANDED = 1 << 20
"""Characters that the variables of one recipe may become, all together: values can double with each line."""

_ASSIGNMENT = re.compile(
    r"""^(?:export\s+)?
    (?P<variable>[a-zA-Z0-9\-_+.${}/~:]+?)
    (?:\[(?P<flag>[a-zA-Z0-9\-_+.${}@/]+)\])?
    \s*(?P<operator>:=|\?\?=|\?=|\+=|=\+|=\.|\.=|=)\s*
    (?P<quote>['"])(?P<value>.*)(?P=quote)$""",
    re.VERBOSE | re.DOTALL,
)
_INCLUDE = re.compile(r"^(?P<word>require|include_all|include|inherit_defer|inherit)\s+(?P<path>\S.*)$")
_UNSET = re.compile(r"^unset\s+(?P<variable>[a-zA-Z0-9\-_+.${}/~]+)(?:\[(?P<flag>[a-zA-Z0-9\-_+.@]+)\])?$")
_FUNCTION = re.compile(r"^(?:(?:python|fakeroot)(?=[\s(])\s*)*(?:[\w.\-+{}$:]+\s*)?\(\s*\)\s*\{$")
_DEFINITION = re.compile(r"^(?:async\s+)?def\s")
_IN_DEFINITION = re.compile(r"\s|$|#")
# As BitBake reads them, a brace within code goes to the next that closes one. Code that does not end goes to the text's end:
# it is then in no time that grows with its square.
_EXPRESSION = re.compile(r"\$\{(@(?:\{[^}]*(?:\}|\Z)|[^{}])+|[a-zA-Z0-9\-_+./~:]+(?=\}))(?:\}|\Z)")
_WORD = re.compile(r"(?:\$\{@(?:\{[^{}]*\}|[^{}])+\}|\S)+")


class Place(typing.NamedTuple):
    """Where a character stands."""

    path: str
    offset: int
    """In characters from the start of the file; FILE_NAME where it is from the file's name."""


FILE_NAME = -1
"""The offset of a character that a file's name gives, as that of a recipe gives PV."""


@dataclass(frozen=True)
class Spot:
    """A piece of a file."""

    path: str
    start: int
    end: int


class Piece(typing.NamedTuple):
    """The piece of a text that the name of a file gives."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A string that knows where its characters come from; None for those that stand in no file."""

    characters: str
    places: tuple[Place | None, ...]

    def __add__(self, other: Text) -> Text:
        return Text(self.characters + other.characters, self.places + other.places)

    def __getitem__(self, part: slice) -> Text:
        return Text(self.characters[part], self.places[part])

    def __bool__(self) -> bool:
        return bool(self.characters)

    def split(self) -> list[Text]:
        """Return the words; what stands in ${@…} is in one with it, whatever spaces it has."""
        return [self[match.start() : match.end()] for match in _WORD.finditer(self.characters)]

    @property
    def unknown(self) -> str:
        """What stands in the first ${…}, "" if there is none."""
        match = _EXPRESSION.search(self.characters)
        return match[1] if match else ""

    @property
    def spot(self) -> Spot | None:
        """The one piece of a file that the text is, None where it is put together or stands in none."""
        first = self.places[0] if self.places else None
        if first is None or first.offset == FILE_NAME:
            return None
        wanted = (Place(first.path, first.offset + number) for number in range(len(self.places)))
        if any(place != expected for place, expected in zip(self.places, wanted)):
            return None
        return Spot(first.path, first.offset, first.offset + len(self.places))

    @property
    def file_name(self) -> Piece | None:
        """The piece that the name of a file gives, None where none does or several are."""
        marks = [place.path if place and place.offset == FILE_NAME else None for place in self.places]
        start = next((number for number, path in enumerate(marks) if path), None)
        if start is None:
            return None
        path = marks[start]
        end = len(marks) - next(number for number, found in enumerate(reversed(marks)) if found)
        return Piece(str(path), start, end) if marks[start:end] == [path] * (end - start) else None

    def count_from(self, source: Spot | str) -> int:
        """Return how many characters come from a spot, or from the name of the file with a path."""
        if isinstance(source, str):
            return sum(place == (source, FILE_NAME) for place in self.places)
        inside = range(source.start, source.end)
        return sum(place.path == source.path and place.offset in inside for place in self.places if place)

    @property
    def place(self) -> Place | None:
        """The place of the first character that has one in a file."""
        return next((place for place in self.places if place and place.offset != FILE_NAME), None)


def joined(texts: collections.abc.Iterable[Text]) -> Text:
    """Return texts as one: + copies all that there is already each time."""
    several = list(texts)
    places = itertools.chain.from_iterable(one.places for one in several)
    return Text("".join(one.characters for one in several), tuple(places))


def plain(characters: str) -> Text:
    """Return a text that stands in no file."""
    return Text(characters, (None,) * len(characters))


@dataclass(frozen=True)
class Statement:
    """A statement of a file: an assignment, an include, an inherit, an unset, or a piece of code."""

    path: str
    start: int
    end: int
    """Offset behind the statement and its line end."""
    line: int
    word: str = ""
    """require, include, include_all, inherit, inherit_defer, unset, or code; empty for an assignment."""
    variable: str = ""
    flag: str = ""
    operator: str = ""
    value: Text = field(default=Text("", ()))


def line_of(text: str, offset: int) -> int:
    """Return the number of the line that an offset is in, from 1."""
    return text.count("\n", 0, offset) + 1


def statements(path: str, text: str) -> typing.Iterator[Statement]:
    """Yield the statements of a file, in their order. text has the file's own line ends."""
    parts: list[Text] = []
    start = first_line = 0
    code: _Code | None = None
    offset = 0
    for number, line in enumerate(re.findall(r"[^\n]*\n|[^\n]+$", text), 1):
        stripped = line.rstrip()
        begin, offset = offset, offset + len(line)
        if code:
            if code.has(stripped):
                code.lines.append(line)
                if code.ends(stripped):
                    yield code.statement(offset)
                    code = None
                continue
            yield code.statement(begin)
            code = None
        if stripped.startswith("#"):
            # Also where BitBake does not take it, between two lines of a value.
            continue
        if not any(parts):
            start, first_line = begin, number
        own = Text(stripped, tuple(Place(path, begin + index) for index in range(len(stripped))))
        if stripped.endswith("\\"):
            parts.append(own[:-1])
            continue
        logical, parts = joined([*parts, own]), []
        code = _begins_code(path, start, first_line, logical.characters)
        if code is None:
            statement = _statement(path, start, offset, first_line, logical)
            if statement:
                yield statement
    if code:
        yield code.statement(offset)


class Scope:
    """The variables that assignments give, without overrides, as BitBake would have them at the end of the file.

    A variable in doubt keeps its value, but is not expanded where the value has to be sure.
    """

    def __init__(
        self, lookup: collections.abc.Callable[[str], str | None] | None = None, compares: bool = True
    ) -> None:
        """lookup returns what is known from elsewhere: the value for the inside of a ${…}, or None.

        compares tells whether that is compared with what assignments give.
        """
        self._compares = compares
        self._lookup = lookup or (lambda name: None)
        self._values: dict[str, _Value] = {}
        self._presets: dict[str, _Value] = {}
        self._weak: dict[str, _Value] = {}
        self._before: dict[str, _Value] = collections.defaultdict(_Value)
        self._after: dict[str, _Value] = collections.defaultdict(_Value)
        self._left = MOST_EXPANDED
        self.doubts: dict[str, str] = {}
        """What else a variable may be, by its name: how it goes on after "which"."""
        self.overridden: dict[str, str] = {}
        """The same of overrides, which an unset takes away, too."""
        self.configured: dict[str, str] = {}
        """The same of defaults from elsewhere, which an assignment takes the place of."""
        self.elsewhere = False
        """Whether what is at once expanded stands in another file than the recipe: BitBake takes PV from its name then."""
        self.unread = ""
        """What may have changed any variable, as it is not read: how it goes on after "which"; "" if all is."""

    def preset(self, name: str, value: Text, by_file: bool = True) -> None:
        """Give a variable its value before any assignment; by_file tells whether that is from the recipe's file name."""
        self._values[name] = _Value(value)
        if by_file:
            self._presets[name] = self._values[name]

    def is_preset(self, name: str) -> bool:
        """Tell whether a variable has still the value that it was given before any assignment."""
        return name in self._presets and self._values.get(name) is self._presets[name]

    def assign(self, statement: Statement) -> None:
        """Take an assignment to a variable without flag; one that depends on an override is passed over."""
        name, *overrides = statement.variable.split(":")
        value = statement.value
        if overrides == ["append"]:
            self._after[name].parts.append(value)
        elif overrides == ["prepend"]:
            self._before[name].parts.appendleft(value)
        elif not overrides:
            self._operate(name, statement.operator, value)

    def unset(self, name: str) -> None:
        """Forget a variable, with its overrides as BitBake does."""
        for values in (self._values, self._weak, self._before, self._after):
            values.pop(name, None)
        for reasons in (self.overridden, self.configured):
            reasons.pop(name, None)

    def doubt(self, name: str) -> str:
        """Return why a variable's value is not sure, "" if it is."""
        reasons = (self.doubts.get(name), self.overridden.get(name), self.configured.get(name), self.unread)
        if self.elsewhere and self.is_preset(name):
            return "BitBake has from the name of the file in which it is expanded"
        if self._left <= 0 and not self.is_preset(name):
            return f"is not expanded here, as the recipe's variables become more than {MOST_EXPANDED} characters"
        return next(filter(None, reasons), "")

    def left_in(self, text: Text) -> str:
        """Return a variable in doubt that an expanded text still has, "" if there is none."""
        names = (match[1] for match in _EXPRESSION.finditer(text.characters))
        return next((name for name in names if not name.startswith("@") and self.doubt(name)), "")

    def value(self, name: str) -> Text | None:
        """Return a variable's value, not expanded; None where no assignment gives one."""
        found = self._values.get(name, self._weak.get(name))
        values = [one for one in (self._before.get(name), found, self._after.get(name)) if one is not None]
        return joined(part for one in values for part in one.parts) if values else None

    def expand(self, text: Text) -> Text:
        """Return a text with each ${…} that is known replaced; the others stay, and those in doubt."""
        return self._expand(text, 0, False)

    def guess(self, text: Text) -> Text:
        """Return what expand() does, but as if all was read: for names, of which only what there is counts."""
        unread, self.unread = self.unread, ""
        try:
            return self.expand(text)
        finally:
            self.unread = unread

    def expand_at_end(self, text: Text) -> Text:
        """Return what expand() does, once all files are read: what is known from elsewhere to be other is then in doubt."""
        return self._expand(text, 0, True)

    def _expand(self, text: Text, depth: int, at_end: bool) -> Text:
        parts = []
        end = 0
        for match in _EXPRESSION.finditer(text.characters):
            value = self._expression(match[1], depth, at_end)
            parts += [text[end : match.start()], text[match.start() : match.end()] if value is None else value]
            end = match.end()
        return joined([*parts, text[end:]])

    def _expression(self, name: str, depth: int, at_end: bool) -> Text | None:
        """Return what is known to stand for the inside of a ${…}."""
        if self.doubt(name):
            return None
        value = None if name.startswith("@") or depth > _MAX_DEPTH else self.value(name)
        known = self._lookup(name) if value is None or (at_end and self._compares) else None
        if value is None:
            return None if known is None else plain(known)
        value = self._expand(value, depth + 1, at_end)
        # An empty one costs as well.
        self._left -= len(value.characters) + 1
        if known is not None and "${" not in value.characters and known != value.characters:
            self.doubts[name] = f"is {value.characters!r} in the text and {known!r} for BitBake"
            return None
        return value

    def _operate(self, name: str, operator: str, value: Text) -> None:
        if operator == ":=":
            value = self.expand(value)
        if operator in ("=", ":="):
            self.configured.pop(name, None)
            self._values[name] = _Value(value)
        elif operator == "?=":
            self._values.setdefault(name, _Value(value))
        elif operator == "??=":
            self._weak[name] = _Value(value)
        else:
            if name not in self._values or self.is_preset(name):
                # A preset stays what it is, to be told from this.
                self._values[name] = _Value(*self._values.get(name, _Value()).parts)
            parts, space = self._values[name].parts, plain(" " if operator in ("+=", "=+") else "")
            if operator in ("=+", "=."):
                parts.extendleft((space, value))
            else:
                parts.extend((space, value))


class _Value:
    """A variable's value, in parts: it takes as long to add the thousandth as the first."""

    def __init__(self, *parts: Text) -> None:
        self.parts = collections.deque(parts)


@dataclass
class _Code:
    """A function that is being read."""

    path: str
    start: int
    line: int
    braces: bool
    lines: list[str]

    def has(self, stripped: str) -> bool:
        """Tell whether a line belongs to it."""
        return self.braces or bool(_IN_DEFINITION.match(stripped))

    def ends(self, stripped: str) -> bool:
        """Tell whether a line that belongs to it is its last."""
        return self.braces and stripped == "}"

    def statement(self, end: int) -> Statement:
        """Return the function as a statement."""
        return Statement(self.path, self.start, end, self.line, "code", value=plain("".join(self.lines)))


def _begins_code(path: str, start: int, line: int, logical: str) -> _Code | None:
    if _FUNCTION.match(logical):
        return _Code(path, start, line, True, [logical + "\n"])
    if _DEFINITION.match(logical):
        return _Code(path, start, line, False, [logical + "\n"])
    return None


def _statement(path: str, start: int, end: int, line: int, logical: Text) -> Statement | None:
    match = _ASSIGNMENT.match(logical.characters)
    if match:
        return Statement(
            path,
            start,
            end,
            line,
            variable=match["variable"],
            flag=match["flag"] or "",
            operator=match["operator"],
            value=logical[match.start("value") : match.end("value")],
        )
    match = _UNSET.match(logical.characters)
    if match:
        return Statement(path, start, end, line, "unset", match["variable"], match["flag"] or "")
    match = _INCLUDE.match(logical.characters)
    if match:
        return Statement(path, start, end, line, match["word"], value=logical[match.start("path") : match.end("path")])
    return None
