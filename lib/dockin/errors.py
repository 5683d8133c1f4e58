# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The root of the errors that the pure modules raise.

Pure code raises DockinError or a leaf of it, defined beside what it is about; the message names the value, the rule and
the remedy. The edges translate it once: the fetcher into ParameterError or FetchError with the URL, the class
into bb.fatal with recipe and variable, the command line tools into their own.
"""

import re

_SECRETS = (
    # What a server has seen in a header, however it quotes it; not "Bearer realm" or "basic authentication".
    re.compile(
        r"((?:\b|%20)(?:basic|bearer)(?:\s|[+:=]|%20|%3A|%3D)+[\"'\\]*)"
        r"(?!(?:auth|authentication|authorization|challenge|credentials?|realm|scheme|tokens?)(?:[\s=:,;)\"'\]]|\.?(?:\s|$)))"
        r"[^\s\"',;`)\]}]+",
        re.IGNORECASE,
    ),
    re.compile(r"(authorization[\"']?\s*[:=]\s*[\[\"']*(?:token\s)?)(?!(?:basic|bearer)\b)[^\s\"',;`)\]}]+", re.IGNORECASE),
    # A token that says itself what it is, after whatever words.
    re.compile(r"(\b)eyJ[^\s\"',;`)\]}]{18,}"),
    # Parameters, and the same in JSON.
    re.compile(
        r"((?:passw(?:or)?d|secret|(?<![a-z])[a-z]{1,20}_token|identitytoken)(?:=|[\"']\s*:\s*)[\"']?)[^\s\"'&,;`)\]}]+",
        re.IGNORECASE,
    ),
)


_SHORTEST_KNOWN = 6
"""In characters: a shorter password would be struck out of words that it is a part of."""

_known: set[str] = set()


def know_secret(*values: str) -> None:
    """Have without_secrets() strike out values of a login that this process has read."""
    _known.update(value for value in values if len(value) >= _SHORTEST_KNOWN)


def one_line(text: str) -> str:
    """Return a text of somebody else's as one line that does nothing to a terminal, and has nothing that UTF-8 has not."""
    return "".join(character if character.isprintable() else " " for character in text)


def readable(text: str) -> str:
    """Return a text with parts of somebody else's, which keeps its lines, but for those is as one_line() gives it."""
    return "\n".join(map(one_line, text.split("\n")))


def without_secrets(text: str) -> str:
    """Return a text of somebody else's without the logins in it: there are servers that repeat what was sent to them.

    It is for words of registries and skopeo, where they come in: in a sentence of ours "basic" may be a name.
    """
    # The longer first, as one may begin with another.
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, "…")
    for pattern in _SECRETS:
        text = pattern.sub(r"\1…", text)
    return text


class DockinError(Exception):
    """Something that the user gave, or that was fetched, breaks a rule. The message may quote it, whatever it has."""

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(message))
