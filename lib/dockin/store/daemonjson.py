# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker's daemon.json: checks that Docker will use images that were written at build time.

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
_SNAPSHOTTER = "overlayfs"
_FEATURE = "containerd-snapshotter"
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
    if _typed(features, _FEATURE, bool):
        raise _error(
            f"features.{_FEATURE}", True, "Docker's containerd store does not see a data-root of the classic one",
            'set DOCKIN_RUNTIME_STORE = "containerd", so that images are written for that, or leave it out')
    _check_driver(settings, _DRIVER)
    _check_place(settings, data_root, set_elsewhere)


def check_containerd(
    text: str | None, data_root: str, set_elsewhere: bool, by_default: bool
) -> dict[str, typing.Any]:
    """Return the settings. Raises InvalidDaemonJson if Docker would not use images in containerd.

    by_default tells whether this Docker uses containerd for a new data-root, as since 29; the others are as in check().
    """
    settings = _parse(text or "{}")
    features = _typed(settings, "features", dict)
    if not _typed(features, _FEATURE, bool) and (_FEATURE in features or not by_default):
        raise InvalidDaemonJson(
            'Docker is not told to keep images in containerd, for which DOCKIN_RUNTIME_STORE = "containerd" has them'
            f' written: install {PATH} with {{"features": {{"{_FEATURE}": true}}}}')
    for key in ("containerd", "containerd-namespace"):
        _typed(settings, key, str)
    _check_driver(settings, _SNAPSHOTTER)
    _check_place(settings, data_root, set_elsewhere)
    return settings


def _check_driver(settings: dict[str, typing.Any], expected: str) -> None:
    """Raise InvalidDaemonJson if Docker uses another storage driver."""
    driver = _typed(settings, "storage-driver", str)
    if driver not in ("", expected):
        raise _error("storage-driver", driver, f"a data-root is written for {expected!r} alone",
                     f"leave it out, or {_NO_DATA_ROOT}")


def _check_place(settings: dict[str, typing.Any], data_root: str, set_elsewhere: bool) -> None:
    """Raise InvalidDaemonJson if Docker uses another directory."""
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
