# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""One docker:// entry of a recipe: where its tag and its pin stand, or why they can't be changed.

Both readers know the entry, and for each of its characters the place in a file that it comes from.
"""

from __future__ import annotations

import re
import typing
from dataclasses import replace

from dockin.errors import DockinError
from dockin.recipe import bitbaketext, source
from dockin.recipe.bitbaketext import Place, Spot, Statement, Text
from dockin.recipe.recipefile import Image, Recipe, load, values_of_name

PREFIX = source.SCHEME + "://"
VARIABLE = "SRC_URI"
INCLUDING = ("require", "include", "include_all")
_DIGEST = re.compile(r"(?P<literal>(?:(?<=;)digest=|@)sha256:(?P<hex>[0-9a-f]{64}))(?=;|$)")
_TAG = re.compile(r";tag=(?P<parameter>[^;]+)|(?<=[a-z0-9]):(?P<inline>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?=[;@]|$)")
_HEX = re.compile(r"[0-9a-f]{64}")
_LOGIN = re.compile(r"(?<=docker://)[^;\s]*@(?!sha256:)")
_PARAMETER = re.compile(r";([^;=]*)=[^;]*")
_QUERY = re.compile(r"([?#]|%3F|%23)[^;]+", re.IGNORECASE)
_SCHEME = re.compile(r"((?<![a-z0-9])[a-z0-9]+|\})://")
# Entries of these have their checksum in a flag of SRC_URI: bitbake/lib/bb/fetch2/__init__.py, FetchData.configure_checksum.
_CHECKED = ("http", "https", "ftp", "ftps", "sftp", "s3", "az", "crate", "gs", "gomod", "npm", "}")
_NAME = re.compile(r";name=([^;]*)")
# As bitbake.conf has them: ${GNU_MIRROR}/x.tgz.
_OF_MIRROR = re.compile(r"\$\{\w*MIRROR\}/")


class Pin(typing.NamedTuple):
    """What a flag of SRC_URI says."""

    value: str = ""
    statement: Statement | None = None
    """The assignment that says so; None where there is none, or none that can be changed."""
    problem: str = ""


class EntryReader:
    """Makes images of the entries of one recipe. A subclass knows the entries, and what their pins are."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.others: dict[str, str] = {}
        """The entries that have, or may have, another checksum in a flag of SRC_URI, by the flag."""
        self._parsed: dict[str, list[Statement]] = {}
        self._texts: dict[str, str] = {}

    def pin(self, flag: str) -> Pin:
        """Return what a flag of SRC_URI says; the statement is in one of the recipe's own files."""
        raise NotImplementedError

    def flag_statements(self, flag: str) -> list[Statement]:
        """Return the assignments to a flag of SRC_URI, of all flags for ""."""
        raise NotImplementedError

    def statements(self, path: str) -> list[Statement]:
        """Return the statements of a file, which is read if it is none of the recipe's own."""
        if path not in self._parsed:
            self._parsed[path] = list(bitbaketext.statements(path, self.text(path)))
        return self._parsed[path]

    def text(self, path: str) -> str:
        """Return the text of a file."""
        if path not in self._texts:
            self._texts[path] = self.recipe.files[path] if path in self.recipe.files else load(path)
        return self._texts[path]

    def where(self, statement: Statement) -> str:
        """Return the place of a statement, as a message has it."""
        return f"{self.recipe.shown(statement.path)}:{statement.line}"

    def image(self, word: Text, place: Place, problem: str = "") -> Image:
        """Return the image of an entry, which stands at a place of one of the recipe's files."""
        line = bitbaketext.line_of(self.recipe.files[place.path], place.offset)
        shown = shown_entry(word.characters)
        pins = self.pins_of(word.characters)
        image = Image(place.path, line, shown, word.place, problem=problem, pins=pins, entry=word)
        if problem:
            return image
        try:
            return self._with_pin(image, word, source.parse_entry(word.characters))
        except DockinError as error:
            return replace(image, problem=str(error))

    def pins_of(self, entry: str) -> tuple[Spot, ...]:
        """Return where the pin of an entry that may not be understood can stand."""
        flag = flag_of(entry)
        found = self.flag_statements("" if "${" in flag or PREFIX not in entry else flag)
        spots = (statement.value.spot for statement in found if statement.path in self.recipe.files)
        return tuple(filter(None, spots))

    def _with_pin(self, image: Image, word: Text, parsed: source.DockerSource) -> Image:
        """Return the image with its pin and tag. Raises DockinError."""
        spots: list[Spot] = []
        problem = ""
        inline = _DIGEST.search(word.characters)
        if inline:
            # With what stands before it: the key and the digits are one literal, or the digits come from somewhere else.
            if word[inline.start("literal") : inline.end("literal")].spot:
                spot = word[inline.start("hex") : inline.end("hex")].spot
                assert spot
                spots.append(spot)
            else:
                problem = f"the digest in {word.characters} is built from variables; write it out"
        pin = self.pin(parsed.pin_flag)
        where = f"{VARIABLE}[{parsed.pin_flag}]"
        if pin.statement:
            where += f" at {self.where(pin.statement)}"
        if (pin.value or pin.statement) and parsed.pin_flag in self.others:
            other = shown_entry(self.others[parsed.pin_flag])
            return replace(image, problem=f"{where} is the checksum of {other}, too: give {image.text} a ;name= of its own")
        if pin.problem:
            problem = f"{where} {pin.problem}"
        elif pin.statement:
            problem = problem or self._unchangeable(pin.statement, where)
            if _HEX.fullmatch(pin.statement.value.characters) and pin.statement.value.spot:
                spots.append(pin.statement.value.spot)
        pinned = parsed.pinned(pin.value)
        tag = self._tag(word)
        return replace(
            image,
            source=pinned,
            problem=problem,
            pins=image.pins if problem else tuple(spots),
            tag=tag.spot if tag and tag.spot and tag.spot.path in self.recipe.files else None,
            **self._tag_by_name(tag),
        )

    @staticmethod
    def _unchangeable(flag: Statement, where: str) -> str:
        """Return why an assignment to a flag can't get another pin, "" if it can."""
        if flag.operator not in ("=", ":=", "?=", "??="):
            return f"{where} is put together with {flag.operator}; write the 64 hex digits out in one place"
        if not flag.value:
            return f"{where} is empty: write the 64 hex digits of the digest, or remove it"
        if "${" in flag.value.characters:
            return f"{where} is built from variables ({flag.value.characters}); write the 64 hex digits out"
        return ""

    @staticmethod
    def _tag_by_name(tag: Text | None) -> dict[str, typing.Any]:
        """Return what an image has to say of a tag that the recipe's name gives: the whole version, once."""
        piece = tag.file_name if tag else None
        if not tag or not piece or tag.characters[piece.start : piece.end] != values_of_name(piece.path).get("PV"):
            return {}
        return {
            "tag_file": piece.path,
            "tag_around": (tag.characters[: piece.start], tag.characters[piece.end :]),
        }

    @staticmethod
    def _tag(word: Text) -> Text | None:
        match = _TAG.search(word.characters, len(PREFIX))
        if not match:
            return None
        group = "parameter" if match["parameter"] else "inline"
        return word[match.start(group) : match.end(group)]

    def with_places(self, images: list[Image]) -> list[Image]:
        """Add to the images that are not pinned where a pin can be put in."""
        result = []
        flags = [*self.others, *(image.source.pin_flag for image in images if image.source)]
        unknown = any(image.source is None for image in images)
        unknown = unknown or any(may_be_image(word.characters) for word in self.recipe.words)
        for image in images:
            if image.source is None or image.source.reference.digest or image.problem:
                result.append(image)
                continue
            unique = flags.count(image.source.pin_flag) == 1 and not unknown
            place, text = self._below(image) if unique else self._behind(image)
            result.append(replace(image, pin_place=place, pin_text=text))
        return result

    def _below(self, image: Image) -> tuple[Spot | None, str]:
        """Return the place of a line SRC_URI[…sha256sum]: below the assignment; in the recipe where the tag is its own."""
        assert image.source
        statement = self._statement_of(image)
        if image.path != self.recipe.path and image.tag is None:
            own = [one for one in self.statements(self.recipe.path) if one.word in INCLUDING]
            statement = own[-1] if own else statement
        if statement is None:
            return None, ""
        text = self.recipe.files[statement.path]
        newline = "\r\n" if "\r\n" in text else "\n"
        missing = "" if text[: statement.end].endswith("\n") else newline
        line = f'{missing}{VARIABLE}[{image.source.pin_flag}] = "{{hex}}"{newline}'
        return Spot(statement.path, statement.end, statement.end), line

    def _behind(self, image: Image) -> tuple[Spot | None, str]:
        """Return the place of a parameter: behind the entry, whose flag other entries have too."""
        if image.place is None:
            return None, ""
        text = self.recipe.files[image.path]
        match = re.compile(r"[^\s\"'\\]+").match(text, image.place.offset)
        if not match:
            return None, ""
        return Spot(image.path, match.end(), match.end()), ";digest=sha256:{hex}"

    def _statement_of(self, image: Image) -> Statement | None:
        if image.place is None:
            return None
        offset = image.place.offset
        return next((one for one in self.statements(image.path) if one.start <= offset < one.end), None)


def shown_entry(entry: str) -> str:
    """Return an entry as it may be printed: without a login, a query, and values of parameters that there are not."""

    def value(match: re.Match[str]) -> str:
        return match[0] if match[1] in source.PARAMETERS else f";{match[1]}=…"

    return _QUERY.sub(r"\1…", _PARAMETER.sub(value, _LOGIN.sub("…@", entry)))


def may_be_image(entry: str) -> bool:
    """Tell whether an entry may be an image, or several entries, as it is built from what is not known."""
    schemes = {*_SCHEME.findall(entry)} - {"}"}
    return "${" in entry and schemes <= {source.SCHEME} and not _OF_MIRROR.match(entry)


def flags_of_other(entry: str) -> list[str]:
    """Return the flag of SRC_URI in which an entry that is no image has, or may have, its checksum; none if it has none."""
    schemes = _SCHEME.findall(entry)
    if source.SCHEME in schemes or not ("${" in entry if not schemes else any(one in _CHECKED for one in schemes)):
        return []
    return [flag_of(entry)]


def flag_of(entry: str) -> str:
    """Return the flag of SRC_URI for the checksum of an entry, whatever that is."""
    name = _NAME.search(entry)
    return f"{name[1]}.sha256sum" if name else "sha256sum"
