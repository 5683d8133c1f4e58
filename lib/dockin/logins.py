# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where a registry login is looked for: the files and their order, for error messages; skopeo reads them itself.

Order: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import collections.abc
import json
import os


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


def describe(paths: list[str], registry: str) -> str:
    """Return what the login files have for a registry, in words; never anything secret of them."""
    return ", ".join(f"{path} ({_state(path, registry)})" for path in paths)


def _state(path: str, registry: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return "not there"
    except OSError as error:
        return str(error.strerror)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(document, dict):
        return "no JSON object"
    helpers, auths = document.get("credHelpers"), document.get("auths")
    if isinstance(helpers, dict) and registry in helpers:
        return f"asks the credential helper {helpers[registry]!r} for {registry}"
    # An empty entry is what docker login leaves beside the login in a credential store.
    if isinstance(auths, dict) and any(value and _host(key) == _host(registry) for key, value in auths.items()):
        return f"has a login for {registry}"
    if document.get("credsStore"):
        return f"asks the credential helper {document['credsStore']!r}"
    return f"no login for {registry}"


def _host(key: str) -> str:
    """Return the host of a key of auths, which may be a URL, a host or a host with a path; Docker Hub has several."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host
