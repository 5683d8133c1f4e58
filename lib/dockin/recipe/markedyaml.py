# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""One YAML document as dicts, lists and texts that know where they stand. PyYAML parses it, and is imported here alone.

Every scalar is a text, as Compose decides itself what "22:22" or "yes" is. Anchors, aliases and merge keys mean what they
mean to Compose's own parser; what could mean something else there is refused: several documents, duplicate keys, tags.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError

Node = typing.Union["Scalar", "list[typing.Any]", "dict[str, typing.Any]"]

_DEEPEST = 100
_MOST_REPEATED = 200_000
_CORE = "tag:yaml.org,2002:"
_CORE_TAGS = tuple(_CORE + name for name in ("str", "int", "bool", "null", "float", "map", "seq"))
_NULLS = ("", "~", "null", "Null", "NULL")


class InvalidYaml(DockinError):
    """A text is no YAML, or something of YAML that is not accepted."""


class NoYaml(InvalidYaml):
    """PyYAML is not installed."""


class Scalar(str):
    """The text of a scalar; that of a null is ""."""

    line: int
    """From 1."""
    spot: tuple[int, int] | None
    """Where in the document the text stands letter by letter, None where it does so nowhere, as with escapes."""
    is_null: bool


def parse(text: str, path: str) -> Node:
    """Return the document in a text; path is for messages. An empty document is "". Raises InvalidYaml."""
    try:
        import yaml
    except ImportError as error:
        raise NoYaml(f"Reading {path} needs PyYAML: install python3-yaml") from error

    class Loader(yaml.BaseLoader):
        """Gives up where nodes are nested too deep, before Python does."""

        depth = 0

        def compose_node(self, parent: typing.Any, index: int) -> typing.Any:
            """Return the next node."""
            self.depth += 1
            if self.depth > _DEEPEST:
                mark = typing.cast(typing.Any, self).peek_event().start_mark
                raise yaml.MarkedYAMLError(problem="collections are nested too deep", problem_mark=mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        root = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        if str(error.context).startswith("expected a single document"):
            raise InvalidYaml(f"{where}: a second document starts: keep one") from error
        if mark and text[mark.index : mark.index + 1] == "\t":
            raise InvalidYaml(f"{where}: a tab stands outside of quotes: write spaces") from error
        raise InvalidYaml(f"{where}: {', '.join(filter(None, (error.context, error.problem)))}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidYaml(f"{path}:{line}: the character U+{error.character:04X} has no place in YAML") from error
    except (ValueError, OverflowError) as error:
        raise InvalidYaml(f"{path}: an escape stands for no character") from error
    return _Values(text, path).of(root) if root else _scalar("", 1, None, True)


@dataclass
class _Values:
    """Makes values of nodes, each of them once: what aliases name is shared."""

    text: str
    path: str
    done: dict[int, Node | None] = field(default_factory=dict)
    """By the node; None while it is made."""
    sizes: dict[int, int] = field(default_factory=dict)
    """By the node, how many nodes it is, with those that aliases name written out."""
    size: int = 0
    repeated: int = 0
    """How many of them only aliases make."""

    def of(self, node: typing.Any) -> Node:
        if id(node) in self.done:
            known = self.done[id(node)]
            if known is None:
                raise self._error(node, "an alias is part of what it stands for")
            self.size += self.sizes[id(node)]
            self.repeated += self.sizes[id(node)]
            if self.repeated > _MOST_REPEATED:
                raise self._error(node, f"aliases make more than {_MOST_REPEATED} values of this and others: use fewer")
            return known
        before = self.size
        self.size += 1
        self.done[id(node)] = None
        if node.tag not in _CORE_TAGS:
            if node.tag in ("!reset", "!override"):
                why = "is for a file that is merged into another one: merge them with 'docker compose config'"
            else:
                why = "is not understood: write the file without it"
            raise self._error(node, f"the tag {node.tag!r} {why}")
        value: Node
        if node.id == "mapping":
            value = self._mapping(node)
        elif node.id == "sequence":
            value = [self.of(one) for one in node.value]
        else:
            value = self._text(node)
        self.done[id(node)] = value
        self.sizes[id(node)] = self.size - before
        return value

    def _mapping(self, node: typing.Any) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: list[Node] = []
        seen = set()
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                raise self._error(key_node, "a key is a collection: write a text")
            key, value = self.of(key_node), self.of(value_node)
            if key_node.value in seen:
                raise self._error(key_node, f"the key {key_node.value!r} is there twice")
            seen.add(key_node.value)
            if key_node.value == "<<" and key_node.style is None:
                merged = value if isinstance(value, list) else [value]
                if not all(isinstance(other, dict) for other in merged):
                    raise self._error(value_node, "'<<' takes mappings")
            else:
                found[typing.cast(str, key)] = value
        for other in typing.cast("list[dict[str, Node]]", merged):
            for name, value in other.items():
                found.setdefault(name, value)
        return found

    def _text(self, node: typing.Any) -> Scalar:
        value, start, end = node.value, node.start_mark.index, node.end_mark.index
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self._error(node, "an escape stands for no character") from error
        if node.style is None and value in _NULLS:
            return _scalar("", node.start_mark.line + 1, None, True)
        # A node starts with its anchor and its tag.
        end -= 0 if node.style is None else 1
        start = max(start, end - len(value))
        literal = node.style in (None, "'", '"') and self.text[start:end] == value
        return _scalar(value, node.start_mark.line + 1, (start, end) if literal else None)

    def _error(self, node: typing.Any, message: str) -> InvalidYaml:
        return InvalidYaml(f"{self.path}:{node.start_mark.line + 1}: {message}")


def _scalar(value: str, line: int, spot: tuple[int, int] | None, is_null: bool = False) -> Scalar:
    scalar = Scalar(value)
    scalar.line, scalar.spot, scalar.is_null = line, spot, is_null
    return scalar
