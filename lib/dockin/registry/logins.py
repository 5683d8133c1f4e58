# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where a registry login is looked for: the files, their order, and what each has for an image.

Order and matching: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import collections.abc
import json
import os
import typing
from dataclasses import dataclass

HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
HUB_KEY = "https://index.docker.io/v1/"
"""The name of Docker Hub in Docker's own files and credential helpers."""


@dataclass(frozen=True)
class LoginFile:
    """A login file's content; never shown."""

    path: str
    auths: dict[str, typing.Any]
    helpers: dict[str, typing.Any]
    store: str
    """Docker's helper for all registries that nothing else is said of. skopeo does not ask it, so nothing here does."""

    def entry(self, registry: str, repository: str) -> dict[str, typing.Any] | None:
        """Return the entry of auths for a repository: the longest path that it begins with, then the host alone."""
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
        """Return the credential helper for a registry and the name by which it knows it."""
        names = (registry, HUB_KEY, *HUB_HOSTS) if _host(registry) == HUB_HOSTS[0] else (registry,)
        return next(((str(self.helpers[name]), name) for name in names if self.helpers.get(name)), None)


def candidates(authfile: str, environment: collections.abc.Mapping[str, str], uid: int) -> list[str]:
    """Return the login files in the order in which skopeo looks into them.

    authfile is DOCKIN_AUTHFILE; where it or REGISTRY_AUTH_FILE is set, it is the only one.
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
    """Return a login file's content. Raises OSError, ValueError where it is no JSON object."""
    with open(path, encoding="utf-8") as file:
        try:
            document = json.load(file)
        except (ValueError, RecursionError):
            # It may quote the file.
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
    """Return what the login files have for a registry, in words; never anything secret of them."""
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
    # An empty entry is what docker login leaves beside the login in a credential store.
    if any(value and _host(key) == _host(registry) for key, value in file.auths.items()):
        return f"has a login for {registry}"
    if file.store:
        return f"its credsStore {file.store!r} is not asked by skopeo: log in with 'skopeo login'"
    return f"no login for {registry}"


def _host(key: str) -> str:
    """Return the host of a key of auths, which may be a URL, a host or a host with a path; Docker Hub has several."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0]
    return HUB_HOSTS[0] if host in HUB_HOSTS else host


def _is_host(key: str) -> bool:
    """Tell whether a key of auths is for a whole registry: a host, or a URL, whose path Docker ignores."""
    return "://" in key or "/" not in key
