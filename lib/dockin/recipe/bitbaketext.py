# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake files as text: their statements, and from which place in which file each character of a value comes.

For tools that change recipes: BitBake's own parser keeps values, not places. What is read are assignments, includes,
inherits and where code begins and ends; https://docs.yoctoproject.org/bitbake/bitbake-user-manual/bitbake-user-manual-metadata.html
"""

from __future__ import annotations

import ast
import collections
import collections.abc
import itertools
import re
import textwrap
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
_PYTHON = re.compile(r"(?:fakeroot\s+)?(?:python[\s(]|def\s|async\s)")
_COMMENT = re.compile(r"^[ \t]*#[^\n]*", re.MULTILINE)
# Methods that change a variable, with the name where it is written out: as "T", or as "T:" with more behind it. Then an
# item of the datastore, and what inherits a class.
_CHANGE = re.compile(
    r"""\b(?:set|append|prepend|del)Var(?:Flags?)?\b(?:\s*\(\s*["'](?P<name>[\w.+/-]+)(?:["']\s*[,)]|:))?"""
    r"""|\brenameVar\b|\bd\s*\[[^\]\n]*\]\s*\+?=(?!=)|\bBBHandler\.inherit\b"""
)
# What code may do with the datastore otherwise: ask, or leave it to functions that only ask.
_METHODS = re.compile(r"(?:get|set|append|prepend|del)Var(?:Flags?)?|renameVar|expand|createCopy|keys")
_READERS = re.compile(r"bb\.utils\.(?:contains|contains_any|filter)|bb\.data\.(?:createCopy|inherits_class)|oe\.utils\.\w+")
_ANYTHING = ("eval", "exec", "globals", "locals", "vars")
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


def changed(statement: Statement, text: str) -> typing.Iterator[tuple[str, int]]:
    """Yield what a statement changes: variables with their overrides, and the lines; "" is any variable.

    text is that of its file. Python code is not run, also that in a value: what counts is which names it gives to setVar and
    the like, whatever it does with them; code in comments is passed over.
    """
    if statement.word in ("", "unset"):
        yield ("" if "${" in statement.variable.partition(":")[0] else statement.variable), statement.line
    code = text[statement.start : statement.end]
    if is_python(statement, text) or (statement.word != "code" and "${@" in code):
        for match in _CHANGE.finditer(_COMMENT.sub(lambda comment: " " * len(comment[0]), code)):
            yield match["name"] or "", line_of(text, statement.start + match.start())
        if any(map(_gives_away, _python(statement, code))):
            yield "", statement.line


def _python(statement: Statement, code: str) -> typing.Iterator[str]:
    """Yield the Python code in a statement: that of a function, or the expressions in ${@…}."""
    if statement.word != "code":
        values = (match[1] for match in _EXPRESSION.finditer(statement.value.characters))
        yield from (value[1:].strip() for value in values if value.startswith("@"))
    elif _DEFINITION.match(code):
        yield code
    else:
        body = code.partition("\n")[2].rstrip()[:-1]
        yield f"if True:\n{body}" if body.strip() else ""


def _gives_away(code: str) -> bool:
    """Tell whether code gives the datastore to what may change it, or can't be read."""
    try:
        tree = ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    harmless: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            harmless.update([id(node.value)] if _METHODS.fullmatch(node.attr) else [])
        elif isinstance(node, ast.Subscript):
            harmless.update([] if isinstance(node.ctx, ast.Del) else [id(node.value)])
        elif isinstance(node, ast.Compare):
            harmless.update(map(id, node.comparators))
        elif isinstance(node, ast.Call) and _READERS.fullmatch(ast.unparse(node.func)):
            harmless.update(id(argument) for argument in (*node.args, *(one.value for one in node.keywords)))
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return any(node.id in _ANYTHING or (node.id == "d" and id(node) not in harmless) for node in names)


def is_python(statement: Statement, text: str) -> bool:
    """Tell whether a statement of a file with a text is a Python function."""
    return statement.word == "code" and bool(_PYTHON.match(text, statement.start))


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


def replaced(text: Text, value: collections.abc.Callable[[str], Text | None]) -> Text:
    """Return a text in which value has given what stands for the inside of each ${…}; what it gives None for stays."""
    parts = []
    end = 0
    for match in _EXPRESSION.finditer(text.characters):
        found = value(match[1])
        parts += [text[end : match.start()], text[match.start() : match.end()] if found is None else found]
        end = match.end()
    return joined([*parts, text[end:]])


class Scope:
    """The variables that assignments without overrides give, as BitBake would have them once all files are read.

    Known is what begins with a = or := or is preset: to what else the others add, or whether ?= and ??= count, says the
    configuration.
    """

    def __init__(self) -> None:
        self._presets: dict[str, Text] = {}
        self._assignments: dict[str, list[Statement]] = collections.defaultdict(list)
        self._values: dict[str, Text | None] = {}
        """Of variables that were asked for since their last assignment."""
        self._left = MOST_EXPANDED

    def preset(self, name: str, value: Text) -> None:
        """Give a variable its value before any assignment."""
        self._presets[name] = value

    def assign(self, statement: Statement) -> None:
        """Take an assignment: to NAME, NAME:append or NAME:prepend, with := only of what is not to be expanded."""
        name = statement.variable.partition(":")[0]
        self._assignments[name].append(statement)
        self._values.pop(name, None)

    def value(self, name: str) -> Text | None:
        """Return a variable's value, not expanded; None where it is not known."""
        if name not in self._values:
            self._values[name] = self._value(name)
        return self._values[name]

    def is_assigned(self, name: str) -> bool:
        """Tell whether anything is assigned to a variable."""
        return bool(self._assignments.get(name))

    def _value(self, name: str) -> Text | None:
        # In parts: it takes as long to add the thousandth as the first.
        parts = collections.deque([self._presets[name]]) if name in self._presets else None
        before: collections.deque[Text] = collections.deque()
        after: list[Text] = []
        for one in self._assignments.get(name, ()):
            override, space = one.variable.partition(":")[2], plain(" " if one.operator in ("+=", "=+") else "")
            if override == "append":
                after.append(one.value)
            elif override == "prepend":
                before.appendleft(one.value)
            elif one.operator in ("=", ":="):
                parts = collections.deque([one.value])
            elif parts is not None and one.operator in ("+=", ".="):
                parts.extend((space, one.value))
            elif parts is not None and one.operator in ("=+", "=."):
                parts.extendleft((space, one.value))
        return joined([*before, *parts, *after]) if parts is not None else None

    def expand(self, text: Text, known: collections.abc.Callable[[str], bool] = lambda name: True, depth: int = 0) -> Text:
        """Return a text with the values of variables that are known; what is left has ${…}."""

        def value(name: str) -> Text | None:
            found = self.value(name) if known(name) and depth <= _MAX_DEPTH and not self.is_too_long(name) else None
            if found is None:
                return None
            found = self.expand(found, known, depth + 1)
            # An empty one costs as well.
            self._left -= len(found.characters) + 1
            return found

        return replaced(text, value)

    def is_too_long(self, name: str) -> bool:
        """Tell whether a variable is not expanded because all that was expanded is too long already."""
        return self._left <= 0 and not (name in self._presets and name not in self._assignments)


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
