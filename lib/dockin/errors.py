# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The base class of the pure modules' errors.

Pure code raises DockinError or a subclass, defined beside its subject; the message names the value, the rule and the
remedy. The callers at the edge translate it once: the fetcher into ParameterError or FetchError with the URL, the class
into bb.fatal with recipe and variable, the command line tools into their own errors.
"""

import re

_SECRETS = (
    # A header's value that a server quotes in any form; not "Bearer realm" or "basic authentication".
    re.compile(
        r"((?:\b|%20)(?:basic|bearer)(?:\s|[+:=]|%20|%3A|%3D)+[\"'\\]*)"
        r"(?!(?:auth|authentication|authorization|challenge|credentials?|realm|scheme|tokens?)(?:[\s=:,;)\"'\]]|\.?(?:\s|$)))"
        r"[^\s\"',;`)\]}]+",
        re.IGNORECASE,
    ),
    re.compile(r"(authorization[\"']?\s*[:=]\s*[\[\"']*(?:token\s)?)(?!(?:basic|bearer)\b)[^\s\"',;`)\]}]+", re.IGNORECASE),
    # A JSON Web Token, which its beginning identifies, after any text.
    re.compile(r"(\b)eyJ[^\s\"',;`)\]}]{18,}"),
    # Parameters, also in JSON.
    re.compile(
        r"((?:passw(?:or)?d|secret|(?<![a-z])[a-z]{1,20}_token|identitytoken)(?:=|[\"']\s*:\s*)[\"']?)[^\s\"'&,;`)\]}]+",
        re.IGNORECASE,
    ),
)


_SHORTEST_KNOWN = 6
"""In characters: a shorter password would also be removed from words that contain it."""

_known: set[str] = set()


def know_secret(*values: str) -> None:
    """Have without_secrets() remove the values of a login that this process has read."""
    _known.update(value for value in values if len(value) >= _SHORTEST_KNOWN)


def one_line(text: str) -> str:
    """Return foreign text as one line without control characters and invalid Unicode."""
    return "".join(character if character.isprintable() else " " for character in text)


def readable(text: str) -> str:
    """Return text with foreign parts: each of its lines as one_line() returns it."""
    return "\n".join(map(one_line, text.split("\n")))


def without_secrets(text: str) -> str:
    """Return foreign text without logins: some servers repeat what they received.

    Use it for messages of registries and skopeo where they are received: in a message of this layer "basic" may be a name.
    """
    # Longer secrets first, because one may begin with another.
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, "…")
    for pattern in _SECRETS:
        text = pattern.sub(r"\1…", text)
    return text


class DockinError(Exception):
    """A value of the user, or a fetched document, violates a rule. The message may quote it, with any characters."""

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(message))
