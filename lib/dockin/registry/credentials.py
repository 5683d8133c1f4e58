# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The login for an image, from skopeo's login files in skopeo's order, and from credential helpers.

Logins are in objects that do not print them. For the order of the files, and the choice of an entry, see
https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md. A helper is a program docker-credential-NAME:
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

HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
HUB_KEY = "https://index.docker.io/v1/"
"""Docker Hub's name in Docker's own files and credential helpers."""

HELPER_SECONDS = 60
# The user name of a helper's answer whose secret is an identity token, not a password.
_TOKEN_USER = "<token>"


class CredentialError(DockinError):
    """A login file or a credential helper cannot be used."""


@dataclass(frozen=True)
class Login:
    """A user and a password, or an identity token; printed only with their origin."""

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


@dataclass(frozen=True)
class LoginFile:
    """A login file's content; never printed."""

    path: str
    auths: dict[str, typing.Any]
    helpers: dict[str, typing.Any]
    store: str
    """Docker's helper for all registries without another entry. skopeo does not ask it, so this module does not either."""

    def entry(self, registry: str, repository: str) -> dict[str, typing.Any] | None:
        """Return a repository's entry in auths: that of the longest path prefix, or of the host."""
        path = f"{registry}/{repository}" if repository else registry
        while path:
            value = self.auths.get(path)
            if isinstance(value, dict):
                return value
            path = path.rpartition("/")[0]
        for key, value in self.auths.items():
            if _host(key) == _host(registry) and _is_host(key) and isinstance(value, dict):
                return value
        return None

    def helper(self, registry: str) -> tuple[str, str] | None:
        """Return the credential helper of a registry, and the helper's name for the registry."""
        names = (registry, HUB_KEY, *HUB_HOSTS) if _host(registry) == HUB_HOSTS[0] else (registry,)
        return next(((str(self.helpers[name]), name) for name in names if self.helpers.get(name)), None)


class Credentials:
    """Logins of one user; each is looked up once. Thread-safe."""

    def __init__(self, authfile: str, environment: collections.abc.Mapping[str, str]) -> None:
        self.paths = candidates(authfile, environment, os.getuid())
        self._environment = dict(environment)
        self._found: dict[tuple[str, str], Login | None] = {}
        self._lock = threading.Lock()

    def find(self, registry: str, repository: str) -> Login | None:
        """Return the login for a repository, None if there is none. Raises CredentialError."""
        with self._lock:
            key = (registry, repository)
            if key not in self._found:
                self._found[key] = self._find(registry, repository)
            return self._found[key]

    def describe(self, registry: str) -> str:
        """Return a text about the searched login files, without secrets."""
        return describe(self.paths, registry)

    def _find(self, registry: str, repository: str) -> Login | None:
        for path in self.paths:
            try:
                file = read(path)
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

    def _in_file(self, file: LoginFile, registry: str, repository: str) -> Login | None:
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


def candidates(authfile: str, environment: collections.abc.Mapping[str, str], uid: int) -> list[str]:
    """Return the login files in skopeo's order.

    authfile is DOCKIN_AUTHFILE; if it or REGISTRY_AUTH_FILE is set, it is the only file.
    """
    chosen = authfile or environment.get("REGISTRY_AUTH_FILE", "")
    if chosen:
        return [chosen]
    home = environment.get("HOME", "") or os.path.expanduser("~")
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    config = environment.get("XDG_CONFIG_HOME", "") or os.path.join(home, ".config")
    docker = environment.get("DOCKER_CONFIG", "") or os.path.join(home, ".docker")
    return [
        os.path.join(runtime, "containers/auth.json") if runtime else f"/run/containers/{uid}/auth.json",
        os.path.join(config, "containers/auth.json"),
        os.path.join(docker, "config.json"),
    ]


def read(path: str) -> LoginFile:
    """Return a login file's content. Raises OSError, and ValueError if it is no JSON object."""
    with open(path, encoding="utf-8") as file:
        try:
            document = json.load(file)
        except (ValueError, RecursionError):
            # The original message may quote the file.
            raise ValueError("no JSON") from None
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    auths, helpers, store = (document.get(key) for key in ("auths", "credHelpers", "credsStore"))
    return LoginFile(
        path,
        auths if isinstance(auths, dict) else {},
        helpers if isinstance(helpers, dict) else {},
        store if isinstance(store, str) else "",
    )


def describe(paths: list[str], registry: str) -> str:
    """Return a text about the login files' entries for a registry, without secrets."""
    return ", ".join(f"{path} ({_state(path, registry)})" for path in paths)


def _state(path: str, registry: str) -> str:
    try:
        file = read(path)
    except FileNotFoundError:
        return "not there"
    except OSError as error:
        return str(error.strerror)
    except ValueError as error:
        return str(error)
    helper = file.helper(registry)
    if helper:
        return f"asks the credential helper {helper[0]!r} for {registry}"
    # docker login leaves an empty entry beside a login in a credential store.
    if any(value and _host(key) == _host(registry) for key, value in file.auths.items()):
        return f"has a login for {registry}"
    if file.store:
        return f"its credsStore {file.store!r} is not asked by skopeo: log in with 'skopeo login'"
    return f"no login for {registry}"


def _host(key: str) -> str:
    """Return the host in a key of auths: a URL, a host or a host with a path; Docker Hub has several."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0]
    return HUB_HOSTS[0] if host in HUB_HOSTS else host


def _is_host(key: str) -> bool:
    """Tell whether a key of auths is for a whole registry: a host, or a URL, whose path Docker ignores."""
    return "://" in key or "/" not in key


def _decode(entry: dict[str, typing.Any], path: str, registry: str) -> Login | None:
    """Return the login in an entry of auths, None if it has none, as beside a credential store.

    As in skopeo, line ends in the base64 are ignored, and a text without a colon is no login.
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
