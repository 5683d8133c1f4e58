# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The layer's regular expressions, found in its code, and lines on which one that backtracks takes very long.

The lines are made of the expression itself: what it begins with, many times over what one of its repetitions takes, and an
end that it does not take.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import itertools
import operator
import pathlib
import random
import re
import signal
import sys
import typing

if sys.version_info >= (3, 11):
    from re import _constants as constants, _parser as parser
else:
    import sre_constants as constants
    import sre_parse as parser

PACKAGE = pathlib.Path(importlib.import_module("dockin").__file__).parent
_REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT)
_LOOKS = (constants.ASSERT, constants.ASSERT_NOT)
_CATEGORIES = {
    constants.CATEGORY_DIGIT: "7", constants.CATEGORY_NOT_DIGIT: "x", constants.CATEGORY_SPACE: " \n",
    constants.CATEGORY_NOT_SPACE: "x", constants.CATEGORY_WORD: "x_", constants.CATEGORY_NOT_WORD: " ",
}
_METHODS = ("match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")


class Pattern(typing.NamedTuple):
    """A regular expression and what is called of it."""

    name: str
    """Module, and name or line."""
    compiled: re.Pattern
    methods: tuple[str, ...]


def found() -> tuple[list[Pattern], list[str]]:
    """Return the expressions of all modules, and the places of those that are put together only when they are needed."""
    patterns, computed = [], []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["dockin", *path.relative_to(PACKAGE).with_suffix("").parts]
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        patterns += _named(module, tree)
        more, rest = _written(module, tree)
        patterns += more
        computed += rest
    return patterns, computed


def _named(module: typing.Any, tree: ast.Module) -> typing.Iterator[Pattern]:
    """Yield the expressions that are attributes of a module or of its classes, also within tuples and tables."""
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    for holder in (module, *classes):
        for name, value in vars(holder).items():
            methods = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _METHODS
                       and name in (getattr(node.value, "id", ""), getattr(node.value, "attr", ""))}
            for pattern in _within(value):
                yield Pattern(f"{module.__name__}.{name}", pattern, tuple(sorted(methods)) or ("search",))


def _within(value: object) -> typing.Iterator[re.Pattern]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (tuple, list, set, frozenset)):
        for item in value:
            yield from _within(item)
    elif isinstance(value, dict):
        yield from _within(list(value.items()))


def _written(module: typing.Any, tree: ast.Module) -> tuple[list[Pattern], list[str]]:
    """Return the expressions of calls of re within functions, and the places of those that are no literals."""
    patterns, computed = [], []
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.Lambda)):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or getattr(getattr(node.func, "value", None), "id", "") != "re":
                continue
            if node.func.attr not in (*_METHODS, "compile"):
                continue
            place = f"{module.__name__}:{function.name if isinstance(function, ast.FunctionDef) else node.lineno}"
            if isinstance(node.args[0], ast.Constant):
                names = [part.attr for rest in (*node.args[1:], *node.keywords) for part in ast.walk(rest)
                         if isinstance(part, ast.Attribute) and part.attr in re.RegexFlag.__members__]
                flags = functools.reduce(operator.or_, (re.RegexFlag[name] for name in names), 0)
                compiled = re.compile(node.args[0].value, flags)
                patterns.append(Pattern(place, compiled, ("search" if node.func.attr == "compile" else node.func.attr,)))
            else:
                computed.append(place)
    return patterns, computed


def hostile_lines(pattern: re.Pattern, length: int, chance: random.Random) -> typing.Iterator[str | bytes]:
    """Yield endless lines of about such a length for an expression, at first each beginning with each repetition."""
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    tree = parser.parse(pattern.pattern, flags)
    characters = sorted(set(_characters(tree)))
    heads = [_sample(tree[:end], chance) for end in range(1, len(tree) + 1)]
    begins = list(dict.fromkeys(["", *heads, *_before_repeats(tree, "", chance)]))
    bodies = list(dict.fromkeys(sample for body in _bodies(tree) for sample in _several(body, chance)))
    pumps = list(dict.fromkeys([*characters, *bodies, _sample(tree, chance)]))
    pairs = list(dict.fromkeys(map("".join, itertools.product(pumps, repeat=2))))
    ends = ["", "\0", "\0" + "\n"]

    def line(begin: str, pump: str, end: str) -> str | bytes:
        text = begin + pump * (length // max(1, len(pump))) + end
        return text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text

    ordered = [(begin, pump, end) for begin, pump, end in itertools.product(begins, pumps, ends[1:]) if pump]
    for begin, pump, end in chance.sample(ordered, len(ordered)):
        yield line(begin, pump, end)
    while True:
        # What a line is made of is a few pumps, not one alone.
        pump = chance.choice(pairs if chance.random() < 0.5 else pumps) or "x"
        if chance.random() < 0.3:
            pump += "".join(chance.choices(pumps, k=chance.randrange(1, 4)))
        begin = chance.choice(begins) + ("" if chance.random() < 0.7 else _sample(tree, chance))
        yield line(begin, pump, chance.choice(ends) or chance.choice(characters or ["x"]))


def _sample(tree: typing.Iterable, chance: random.Random) -> str:
    """Return a text that a piece of an expression takes; what is asserted around it is passed over."""
    text = ""
    for operation, argument in tree:
        if operation is constants.LITERAL:
            text += chr(argument)
        elif operation in (constants.NOT_LITERAL, constants.ANY, constants.IN):
            text += chance.choice(_of([(operation, argument)]) or ["x"])
        elif operation is constants.BRANCH:
            text += _sample(chance.choice(argument[1]), chance)
        elif operation is constants.SUBPATTERN:
            text += _sample(argument[-1], chance)
        elif operation in _REPEATS:
            least, most, body = argument
            text += "".join(_sample(body, chance) for _ in range(chance.randint(least, min(int(most), least + 2))))
    return text


def _several(tree: typing.Iterable, chance: random.Random) -> list[str]:
    """Return texts that a piece of an expression takes: of a short one all that matter, such as \\" of \\\\., else some."""
    tree = list(tree)
    found = list(dict.fromkeys([*_choices(tree), *(_sample(tree, chance) for _ in range(4))]))
    return [sample for sample in chance.sample(found, min(len(found), 16)) if sample]


def _choices(tree: list) -> list[str]:
    """Return what a piece of at most two characters can be made of, branch by branch; nothing for a longer one."""
    if len(tree) == 1 and tree[0][0] in (constants.BRANCH, constants.SUBPATTERN):
        return [choice for body in _inner(*tree[0]) for choice in _choices(list(body))]
    characters = (constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN)
    if len(tree) > 2 or any(one[0] not in characters for one in tree):
        return []
    return list(map("".join, itertools.product(*(_of([one]) for one in tree))))


def _of(tree: typing.Iterable) -> list[str]:
    """Return characters that a character or class of an expression takes."""
    operation, argument = next(iter(tree))
    if operation is constants.LITERAL:
        return [chr(argument)]
    if operation in (constants.NOT_LITERAL, constants.ANY):
        return ["x", " ", "{", '"'] if operation is constants.ANY else ["x" if argument != ord("x") else "y"]
    taken: list[str] = []
    negated = argument[0][0] is constants.NEGATE
    for kind, value in argument:
        if kind is constants.LITERAL:
            taken.append(chr(value))
        elif kind is constants.RANGE:
            taken += [chr(value[0]), chr(value[1])]
        elif kind is constants.CATEGORY:
            taken += _CATEGORIES[value]
    if negated:
        return [character for character in 'x7 -/.:"\'{}$@,' if character not in taken]
    return taken


def _characters(tree: typing.Iterable) -> typing.Iterator[str]:
    """Yield the characters that stand in an expression, and some of each class."""
    for operation, argument in tree:
        if operation in (constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN):
            yield from _of([(operation, argument)])
            if operation is constants.NOT_LITERAL:
                yield chr(argument)
        for body in _inner(operation, argument):
            yield from _characters(body)


def _inner(operation: typing.Any, argument: typing.Any) -> list:
    if operation is constants.BRANCH:
        return list(argument[1])
    if operation is constants.SUBPATTERN or operation in _LOOKS:
        return [argument[-1]]
    if operation in _REPEATS:
        return [argument[2]]
    return []


def _bodies(tree: typing.Iterable) -> typing.Iterator[list]:
    """Yield what is repeated in an expression, outer repetitions first."""
    for operation, argument in tree:
        if operation in _REPEATS and argument[1] > 1:
            yield list(argument[2])
        for body in _inner(operation, argument):
            yield from _bodies(body)


def _before_repeats(tree: typing.Iterable, begin: str, chance: random.Random) -> typing.Iterator[str]:
    """Yield texts that lead to each repetition."""
    for item in tree:
        operation, argument = item
        if operation in _REPEATS:
            yield begin
        if operation not in _LOOKS:
            for body in _inner(operation, argument):
                yield from _before_repeats(body, begin, chance)
        begin += _sample([item], chance)


class TooLong(Exception):
    """An expression needs more time than any that does not backtrack."""


@contextlib.contextmanager
def seconds_of_processor(limit: float) -> typing.Iterator[None]:
    """Raise TooLong once this process has had so much time of the processor: however busy the machine is."""

    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def run(pattern: Pattern, line: str | bytes) -> None:
    """Do with a line what the layer does with an expression."""
    for method in pattern.methods:
        function = getattr(pattern.compiled, method)
        if method in ("sub", "subn"):
            function(line[:0], line)
        elif method == "finditer":
            for _ in function(line):
                pass
        else:
            function(line)
