# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a shell can complete on the tools' command lines: recipes with images, images, tags. For argcomplete, if installed.

Completion must be quick and never fail: recipes are looked for in the text of the layers' files, without BitBake, and a
registry has SECONDS to answer. The functions have argcomplete's form, https://kislyuk.github.io/argcomplete/.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import threading
import typing

from dockin.errors import DockinError
from dockin.recipe import newrecipe, recipefile, textreader, yoctolayers as at_hand
from dockin.registry import resolver, settings

SECONDS = 2.0
"""How long a registry may take to list the tags."""

_LAYERS = re.compile(r'^[ \t]*BBLAYERS\s*(?:\?=|\+=|:?=)\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE | re.DOTALL)
_MOST_TAGS = 200


def recipes(prefix: str, **_: object) -> list[str]:
    """Return the names of recipes that use the class, of the build directory in BUILDDIR."""
    return sorted(name for name in _recipes(layers(os.environ.get("BUILDDIR", ""))) if name.startswith(prefix))


def tags(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the tags of the image that the command line names already."""
    image = getattr(parsed_args, "image", None) or _image_in(os.environ.get("COMP_LINE", ""))
    return [tag for tag in _tags(image) if tag.startswith(prefix)]


def images(prefix: str, **_: object) -> list[str]:
    """Return the image with each of its tags, once a ':' follows its name."""
    name, colon, tag = prefix.rpartition(":")
    if not colon or "/" in tag or not name.strip("/"):
        return []
    return [f"{name}:{found}" for found in _tags(name) if found.startswith(tag)]


def layers(build_directory: str) -> list[str]:
    """Return the directories of the layers in conf/bblayers.conf of a build directory."""
    try:
        text = pathlib.Path(build_directory, "conf", "bblayers.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    values = " ".join(_LAYERS.findall(text)).replace("\\\n", " ").replace("${TOPDIR}", build_directory)
    return [path for path in values.split() if os.path.isdir(path)]


def _image_in(line: str) -> str:
    """Return the image of a command line: argcomplete keeps an optional argument to itself while an option is typed."""
    _, _, behind = f" {line} ".partition(" add-docker ")
    words = iter(behind.split())
    for word in words:
        if not word.startswith("-"):
            return word
        if "=" not in word and word not in ("--no-pin", "--help", "-h"):
            next(words, "")
    return ""


def _recipes(directories: list[str]) -> set[str]:
    """Return the recipes that the layers' BBFILES and, for the collections that there are, BBFILES_DYNAMIC take in."""
    settings_of = {directory: at_hand.settings(directory) for directory in directories}
    collections = {name for values in settings_of.values() for name in values.get("BBFILE_COLLECTIONS", "").split()}
    scanner = textreader.Scanner(at_hand.Layers(directories))
    found = set()
    for values in settings_of.values():
        patterns = values.get("BBFILES", "").split()
        for entry in values.get("BBFILES_DYNAMIC", "").split():
            wanted, _, pattern = entry.partition(":")
            if wanted.startswith("!") != (wanted.lstrip("!") in collections):
                patterns.append(pattern)
        for path in at_hand.taken_in(" ".join(patterns), at_hand.RECIPE):
            if scanner.of(path).uses_class:
                found.add(recipefile.values_of_name(path)["PN"])
    return found


def _tags(image: str) -> list[str]:
    """Return an image's tags, the newest names last as the registry lists them; none where it takes too long to ask."""
    answer: list[str] = []

    def ask() -> None:
        try:
            reference = newrecipe.image_reference(image)
            environment = dict(os.environ)
            options = settings.options(environment.get)
            mode = environment.get("DOCKIN_RESOLVER")
            with resolver.Resolver(options, environment, mode, timeout=SECONDS, retries=0) as resolving:
                answer.extend(resolving.tags(reference))
        except (DockinError, OSError):
            pass  # there is nothing to complete then

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answer[-_MOST_TAGS:] if not thread.is_alive() else []


def attach(action: argparse.Action, completer: typing.Callable[..., list[str]]) -> None:
    """Let argcomplete, if it comes by, complete an option or argument."""
    action.completer = completer  # type: ignore[attr-defined]
