# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""YAML as people write it by hand in Compose files, read into dicts, lists and strings.

BitBake's hosts need not have a YAML library. Scalars stay strings, and of YAML 1.2 (https://yaml.org/spec/1.2.2/) what
Compose files have is understood: block and flow collections, plain, quoted and block scalars, comments, anchors, aliases
and merge keys. Complex keys, tags other than YAML's own, and several documents are errors: nothing is guessed at.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from dockin.errors import DockinError

Node = typing.Union[str, "list[typing.Any]", "dict[str, typing.Any]"]

_KEY = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'"""
    r"""|(?:[^\s\-?:,\[\]{}#&*!|>'"%@`]|[-?:](?=\S))(?:[^:#]|:(?=\S)|(?<=\S)#)*?)\s*:(?=\s|$)"""
)
_PROPERTY = re.compile(r"(?:&(?P<anchor>[^\s,\[\]{}]+)|(?P<tag>!\S*))(?:\s+|$)")
_ALIAS = re.compile(r"\*([^\s,\[\]{}]+)")
_BLOCK = re.compile(r"[|>](?:[+-]?[1-9]?|[1-9][+-]?)$")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_CORE_TAGS = ("!!str", "!!int", "!!bool", "!!null", "!!float", "!!map", "!!seq")


class InvalidYaml(DockinError):
    """A text is no YAML, or more of YAML than is understood."""


@dataclass
class _Line:
    number: int
    indent: int
    text: str
    """Without indentation and line end; with its comment."""


def parse(text: str, path: str) -> Node:
    """Return the document in a text; path is for messages. An empty document is "". Raises InvalidYaml."""
    try:
        return _Parser(text, path).document()
    except RecursionError as error:
        raise InvalidYaml(f"{path}: collections are nested too deep") from error


class _Parser:
    """Reads blocks line by line, and flow collections character by character."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.anchors: dict[str, Node] = {}
        self.raw = text.lstrip("\ufeff").splitlines()
        self.position = 0

    def document(self) -> Node:
        line = self._peek()
        if line and line.indent == 0 and re.match(r"---(\s|$)", line.text):
            rest = line.text[3:].strip()
            if rest and not rest.startswith("#"):
                raise self._error(line, "write the document's content on a line of its own, below '---'")
            self.position += 1
            line = self._peek()
        if line is None:
            return ""
        node = self._block(line.indent)
        line = self._peek()
        if line:
            if line.text.startswith("---"):
                raise self._error(line, "a second document starts: keep one")
            raise self._error(line, "its indentation fits nothing above it")
        return node

    # ------------------------------------------------------------------------ lines

    def _peek(self) -> _Line | None:
        """Return the next line with content, None at the end of the document."""
        while self.position < len(self.raw):
            raw = self.raw[self.position]
            text = raw.lstrip(" ")
            if text.startswith("\t") and text.strip() and not text.strip().startswith("#"):
                raise InvalidYaml(f"{self.path}:{self.position + 1}: a tab in the indentation: YAML wants spaces")
            indent = len(raw) - len(text)
            text = text.rstrip()
            if text and not text.startswith("#") and not (self.position == 0 and text.startswith("%")):
                if indent == 0 and re.match(r"\.\.\.(\s|$)", text):
                    return None
                return _Line(self.position + 1, indent, text)
            self.position += 1
        return None

    def _error(self, line: _Line | int, message: str) -> InvalidYaml:
        number = line if isinstance(line, int) else line.number
        return InvalidYaml(f"{self.path}:{number}: {message}")

    # ------------------------------------------------------------------------ blocks

    def _block(self, indent: int) -> Node:
        """Return the node whose first line is the next one, with this indentation."""
        line = self._peek()
        assert line
        if re.match(r"-(\s|$)", line.text):
            return self._sequence(indent)
        if _KEY.match(line.text) or _merge(line.text):
            return self._mapping(indent)
        self.position += 1
        return self._value(line, line.text, indent - 1)

    def _sequence(self, indent: int) -> list[Node]:
        found: list[Node] = []
        while True:
            line = self._peek()
            if not line or line.indent != indent or not re.match(r"-(\s|$)", line.text):
                if line and line.indent > indent:
                    raise self._error(line, "its indentation fits nothing above it")
                return found
            rest = line.text[1:].lstrip()
            inner = indent + len(line.text) - len(rest)
            if re.match(r"-(\s|$)", rest) or _KEY.match(rest) or _merge(rest):
                # A collection starts behind the dash: as if it stood on a line of its own.
                self.raw[self.position] = " " * inner + rest
                found.append(self._block(inner))
            else:
                self.position += 1
                found.append(self._value(line, rest, indent))

    def _mapping(self, indent: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: list[Node] = []
        while True:
            line = self._peek()
            if not line or line.indent != indent:
                if line and line.indent > indent:
                    raise self._error(line, "its indentation fits nothing above it")
                break
            match = _KEY.match(line.text)
            if not match:
                if re.match(r"-(\s|$)", line.text):
                    break
                raise self._error(line, "expected 'key: value'")
            key = self._scalar(line, match["key"])
            if key in found:
                raise self._error(line, f"the key {key!r} is there twice")
            self.position += 1
            rest = line.text[match.end() :].strip()
            value = self._value(line, rest, indent, mapping=True)
            if key == "<<":
                merged += value if isinstance(value, list) else [value]
            else:
                found[key] = value
        for other in merged:
            if not isinstance(other, dict):
                raise self._error(line.number if line else len(self.raw), "'<<' takes mappings")
            for key, value in other.items():
                found.setdefault(key, value)
        return found

    def _value(self, line: _Line, text: str, indent: int, mapping: bool = False) -> Node:
        """Return the node of which text is the start, in a line that is passed already; indent is its parent's."""
        text, anchor = self._properties(line, text)
        if text.startswith("#"):
            text = ""
        if not text:
            node = self._below(indent, mapping)
        elif text[0] in "|>" and _BLOCK.match(_COMMENT.sub("", text)):
            node = self._block_scalar(_COMMENT.sub("", text), indent)
        elif text[0] in "[{":
            node = self._flow_value(line, text)
        elif text[0] in "\"'":
            node = self._quoted(line, text)
        elif text[0] == "*":
            match = _ALIAS.match(text)
            if not match or _COMMENT.sub("", text[match.end() :]).strip():
                raise self._error(line, f"expected an alias, not {text!r}")
            node = self._alias(line.number, match[1])
        elif text[0] in "?%@`" and (text[0] != "?" or re.match(r"\?(\s|$)", text)):
            raise self._error(line, f"not understood here: {text[:20]!r}; put quotes around it")
        else:
            node = self._plain(text, indent)
        if anchor:
            self.anchors[anchor] = node
        return node

    def _properties(self, line: _Line, text: str) -> tuple[str, str]:
        """Split off anchor and tag."""
        anchor = ""
        while True:
            match = _PROPERTY.match(text)
            if not match:
                return text, anchor
            if match["tag"] and match["tag"] not in _CORE_TAGS:
                raise self._error(line, f"the tag {match['tag']!r} is not understood: write the file without it")
            anchor = match["anchor"] or anchor
            text = text[match.end() :]

    def _below(self, indent: int, mapping: bool) -> Node:
        """Return the node on the lines below a key or dash, "" if there is none."""
        line = self._peek()
        if line and line.indent > indent:
            return self._block(line.indent)
        # A sequence may stand right below its key.
        if line and mapping and line.indent == indent and re.match(r"-(\s|$)", line.text):
            return self._sequence(indent)
        return ""

    # ------------------------------------------------------------------------ scalars

    def _plain(self, text: str, indent: int) -> str:
        """Return a plain scalar, which goes on in lines that are indented deeper."""
        parts = [_COMMENT.sub("", text).strip()]
        ended = parts[0] != text.strip()
        while not ended:
            line = self._peek()
            if not line or line.indent <= indent:
                break
            if _KEY.match(line.text):
                raise self._error(line, "'key: value' below a value: check the indentation")
            part = _COMMENT.sub("", line.text).strip()
            ended = part != line.text
            parts.append(part)
            self.position += 1
        if re.search(r":\s", parts[0]) and len(parts) == 1 and re.search(r"\S:\s", text):
            raise self._error(self.position, f"':' within the value {parts[0]!r}: put quotes around it")
        return "" if parts in (["~"], ["null"]) else " ".join(parts)

    def _quoted(self, line: _Line, text: str) -> str:
        """Return a quoted scalar, which may go on over lines."""
        whole = text
        while True:
            match = _quoted_at(whole, 0)
            if match:
                break
            if self.position >= len(self.raw):
                raise self._error(line, "a quoted value has no end")
            # Lines fold to a space; an empty line to a line end.
            more = self.raw[self.position].strip()
            whole = whole.rstrip() + (" " + more if more else "\n")
            self.position += 1
        rest = whole[len(match) :]
        if _COMMENT.sub("", rest).strip():
            raise self._error(line, f"unexpected text after a quoted value: {rest.strip()!r}")
        return self._scalar(line, match)

    def _scalar(self, line: _Line, text: str) -> str:
        """Return the value of a key or a scalar on one line."""
        if text.startswith("'"):
            return text[1:-1].replace("''", "'")
        if text.startswith('"'):
            return _ESCAPE.sub(lambda match: self._unescape(line, match), text[1:-1])
        return text.strip()

    def _unescape(self, line: _Line, match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            return chr(int(code, 16))
        if match[4] not in _ESCAPES:
            raise self._error(line, f"unknown escape {match[0]!r}")
        return _ESCAPES[match[4]]

    def _block_scalar(self, head: str, indent: int) -> str:
        explicit = re.search(r"[1-9]", head)
        width = max(indent, 0) + int(explicit[0]) if explicit else 0
        lines: list[str] = []
        while self.position < len(self.raw):
            raw = self.raw[self.position].rstrip()
            here = len(raw) - len(raw.lstrip(" "))
            if raw and not width:
                if here <= indent:
                    break
                width = here
            if raw and here < width:
                break
            lines.append(raw[width:])
            self.position += 1
        while lines and not lines[-1]:
            lines.pop()
        text = "\n".join(lines) if head[0] == "|" else " ".join(filter(None, lines))
        return text + ("" if "-" in head or not text else "\n")

    # ------------------------------------------------------------------------ flow collections

    def _flow_value(self, line: _Line, text: str) -> Node:
        """Return a flow collection, which may go on over lines."""
        while True:
            flow = _Flow(self, line, text)
            try:
                node = flow.node()
            except _Unfinished:
                if self.position >= len(self.raw):
                    raise self._error(line, f"{text[0]!r} has no end") from None
                text = _COMMENT.sub("", text) + " " + self.raw[self.position].strip()
                self.position += 1
                continue
            if _COMMENT.sub("", " " + text[flow.position :]).strip():
                raise self._error(line, f"unexpected text after {text[: flow.position]!r}")
            return node

    def _alias(self, number: int, name: str) -> Node:
        if name not in self.anchors:
            raise self._error(number, f"no anchor &{name} above *{name}")
        return self.anchors[name]


class _Unfinished(Exception):
    """A flow collection goes on in the next line."""


class _Flow:
    """Reads one flow collection: [a, b], {a: b}."""

    _PLAIN = re.compile(r"(?:[^\s,\[\]{}:#]|:(?=[^\s,\[\]{}])|(?<=\S)#|\s(?=[^\s,\[\]{}#:]))+")

    def __init__(self, parser: _Parser, line: _Line, text: str) -> None:
        self.parser = parser
        self.line = line
        self.text = text
        self.position = 0

    def node(self) -> Node:
        start = self._next()
        if start == "[":
            return self._list()
        if start == "{":
            return self._dict()
        return self._scalar()

    def _next(self) -> str:
        """Return the next character that is no space."""
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        if self.position >= len(self.text) or self.text[self.position] == "#":
            raise _Unfinished
        return self.text[self.position]

    def _list(self) -> list[Node]:
        found: list[Node] = []
        self.position += 1
        while self._next() != "]":
            found.append(self.node())
            self._separator("]")
        self.position += 1
        return found

    def _dict(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        self.position += 1
        while self._next() != "}":
            key = self.node()
            value: Node = ""
            if self._next() == ":":
                self.position += 1
                if self._next() not in ",}":
                    value = self.node()
            if not isinstance(key, str) or key in found:
                raise self.parser._error(self.line, f"{key!r} can't be a key here")
            found[key] = value
            self._separator("}")
        self.position += 1
        return found

    def _separator(self, end: str) -> None:
        character = self._next()
        if character == ",":
            self.position += 1
        elif character != end:
            raise self.parser._error(self.line, f"expected ',' or {end!r} before {self.text[self.position:][:20]!r}")

    def _scalar(self) -> Node:
        rest = self.text[self.position :]
        if rest[0] in "\"'":
            match = _quoted_at(self.text, self.position)
            if not match:
                raise _Unfinished
            self.position += len(match)
            return self.parser._scalar(self.line, match)
        alias = _ALIAS.match(rest)
        if alias:
            self.position += alias.end()
            return self.parser._alias(self.line.number, alias[1])
        plain = self._PLAIN.match(rest)
        if not plain or rest[0] in "&!|>%@`":
            raise self.parser._error(self.line, f"not understood here: {rest[:20]!r}; put quotes around it")
        self.position += plain.end()
        value = plain[0].strip()
        return "" if value in ("~", "null") else value


def _merge(text: str) -> bool:
    return bool(re.match(r"<<\s*:(\s|$)", text))


def _quoted_at(text: str, position: int) -> str:
    """Return the quoted scalar that starts at a position, with its quotes; "" if it has no end."""
    pattern = r"'(?:[^']|'')*'" if text[position] == "'" else r'"(?:[^"\\]|\\.)*"'
    match = re.compile(pattern, re.DOTALL).match(text, position)
    return match[0] if match else ""
