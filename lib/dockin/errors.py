# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The root of the errors that the pure modules raise.

Pure code raises DockinError or a leaf of it, defined beside what it is about; the message names the value, the rule and
the remedy. The edges translate it once: the fetcher into ParameterError or FetchError with the URL, the class
into bb.fatal with recipe and variable, the command line tools into their own.
"""


def one_line(text: str) -> str:
    """Return a text of somebody else's as one line that does nothing to a terminal, and has nothing that UTF-8 has not."""
    return "".join(character if character.isprintable() else " " for character in text)


def readable(text: str) -> str:
    """Return a text with parts of somebody else's, which keeps its lines, but for those is as one_line() gives it."""
    return "\n".join(map(one_line, text.split("\n")))


class DockinError(Exception):
    """Something that the user gave, or that was fetched, breaks a rule. The message may quote it, whatever it has."""

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(message))
