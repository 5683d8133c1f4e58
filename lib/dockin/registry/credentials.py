# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The login for an image: from the files that skopeo reads, in its order, and from credential helpers.

What is found is kept in objects that do not show it. A helper is a program docker-credential-NAME:
https://github.com/docker/docker-credential-helpers#development
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import json
import os
import shutil
import subprocess
import threading
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError, know_secret
from dockin.registry import logins

HELPER_SECONDS = 60
# What a helper calls a user whose secret is a token to be exchanged, not a password.
_TOKEN_USER = "<token>"


class CredentialError(DockinError):
    """A login file or a credential helper can't be used."""


@dataclass(frozen=True)
class Login:
    """A user and a password, or an identity token; only where they come from is shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    origin: str = ""

    def __post_init__(self) -> None:
        know_secret(self.password, self.identity_token, self.basic.partition(" ")[2])

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode(errors="surrogateescape")).decode()


class Credentials:
    """Logins of one user; each is looked up once. Thread-safe."""

    def __init__(self, authfile: str, environment: collections.abc.Mapping[str, str]) -> None:
        self.paths = logins.candidates(authfile, environment, os.getuid())
        self._environment = dict(environment)
        self._found: dict[tuple[str, str], Login | None] = {}
        self._lock = threading.Lock()

    def find(self, registry: str, repository: str) -> Login | None:
        """Return the login for a repository, None where there is none. Raises CredentialError."""
        with self._lock:
            key = (registry, repository)
            if key not in self._found:
                self._found[key] = self._find(registry, repository)
            return self._found[key]

    def describe(self, registry: str) -> str:
        """Return where logins were looked for and what is there, in words; nothing secret."""
        return logins.describe(self.paths, registry)

    def _find(self, registry: str, repository: str) -> Login | None:
        for path in self.paths:
            try:
                file = logins.read(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise CredentialError(f"Can't read the login file {path}: {error.strerror}") from error
            except ValueError as error:
                raise CredentialError(f"Invalid login file {path}: {error}; write it with 'skopeo login'") from error
            login = self._in_file(file, registry, repository)
            if login:
                return login
        return None

    def _in_file(self, file: logins.LoginFile, registry: str, repository: str) -> Login | None:
        helper = file.helper(registry)
        if helper:
            return self._ask(*helper, file.path)
        entry = file.entry(registry, repository)
        return _decode(entry, file.path, registry) if entry else None

    def _ask(self, helper: str, server: str, path: str) -> Login | None:
        name = f"docker-credential-{helper}"
        program = shutil.which(name, path=self._environment.get("PATH"))
        if not program:
            raise CredentialError(f"{path} names the credential helper {helper!r}, but there is no program {name} on PATH")
        try:
            done = subprocess.run(
                [program, "get"],
                input=server.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                timeout=HELPER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CredentialError(f"{name} did not answer within {HELPER_SECONDS} s") from None
        except OSError as error:
            raise CredentialError(f"{name} can't be run: {error.strerror}") from error
        if done.returncode:
            if b"credentials not found" in done.stdout:
                return None
            raise CredentialError(f"{name} get failed for {server} with exit code {done.returncode}")
        try:
            answer = json.loads(done.stdout)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            raise CredentialError(f"{name} get printed no JSON with Username and Secret for {server}") from None
        if user == _TOKEN_USER:
            return Login("", "", secret, name)
        return Login(user, secret, "", name)


def _decode(entry: dict[str, typing.Any], path: str, registry: str) -> Login | None:
    """Return the login in an entry of auths, None where it has none, as beside a credential store.

    As skopeo: line ends in the base64 don't matter, and what has no colon is no login.
    """
    token = entry.get("identitytoken")
    text = entry.get("auth")
    if isinstance(text, str) and text:
        try:
            data = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            raise CredentialError(
                f"Invalid login for {registry} in {path}: no base64 of user:password; log in again"
            ) from None
        user, colon, password = data.decode(errors="surrogateescape").partition(":")
        return Login(user, password.strip("\0"), str(token or ""), path) if colon else None
    if isinstance(token, str) and token:
        return Login("", "", token, path)
    return None
