# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker's daemon.json: checks that Docker will use a data-root that was written at build time.

Format: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
"""

from __future__ import annotations

import json
import posixpath
import typing

from dockin.errors import DockinError
from dockin.target import runtimes

PATH = "/etc/docker/daemon.json"

_DRIVER = "overlay2"
_NO_DATA_ROOT = 'set DOCKIN_DATAROOT = "0", so that archives are loaded at first boot'


class InvalidDaemonJson(DockinError):
    """Docker would not see the images; the message names the setting that prevents it."""


def check(text: str | None, data_root: str, set_elsewhere: bool = False) -> None:
    """Raise InvalidDaemonJson if Docker would not use a classic data-root with overlay2.

    text is the file's, None if there is none; data_root is the directory of the images. set_elsewhere says that Docker
    gets its data-root on its command line, so that a file without one proves nothing.
    """
    settings = _parse(text or "{}")
    features = _typed(settings, "features", dict)
    if _typed(features, "containerd-snapshotter", bool):
        raise _error(
            "features.containerd-snapshotter", True, "Docker's containerd store does not see a data-root of the classic one",
            'set DOCKIN_RUNTIME_STORE = "containerd", so that archives are loaded at first boot, or leave it out')
    driver = _typed(settings, "storage-driver", str)
    if driver not in ("", _DRIVER):
        raise _error("storage-driver", driver, f"a data-root is written for {_DRIVER!r} alone",
                     f"leave it out, or {_NO_DATA_ROOT}")
    if user := _typed(settings, "userns-remap", str):
        raise _error("userns-remap", user, "Docker keeps images for that user in another directory, with other owners",
                     f"leave it out, or {_NO_DATA_ROOT}")
    # Docker before 23 also read the older key.
    named = _typed(settings, "data-root", str) or _typed(settings, "graph", str)
    if named and posixpath.normpath(named) != data_root:
        raise _error("data-root", named, f"the images are written into DOCKIN_DATAROOT_DIR = {data_root!r}",
                     "set both to the same directory, DOCKIN_DATAROOT_DIR in the configuration, for all recipes")
    if not named and not set_elsewhere and data_root != runtimes.DOCKER.data_root:
        raise InvalidDaemonJson(
            f"Docker is not told of DOCKIN_DATAROOT_DIR = {data_root!r}, and would look in {runtimes.DOCKER.data_root}:"
            f' install {PATH} with {{"data-root": "{data_root}"}}')


def _parse(text: str) -> dict[str, typing.Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDaemonJson(f"{PATH} is no JSON, so that Docker will not start: {error}") from error
    if not isinstance(settings, dict):
        raise InvalidDaemonJson(f"{PATH} has {settings!r} where an object belongs, so that Docker will not start")
    return settings


def _typed(settings: dict[str, typing.Any], key: str, kind: type) -> typing.Any:
    """Return a setting, empty if it is missing. Raises InvalidDaemonJson for one of another type."""
    value = settings.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InvalidDaemonJson(f"{PATH} has {key} = {json.dumps(value)}, so that Docker will not start: correct its type")
    return value


def _error(key: str, value: object, rule: str, remedy: str) -> InvalidDaemonJson:
    return InvalidDaemonJson(f"{PATH} in the root file system has {key} = {json.dumps(value)}: {rule}; {remedy}")
