# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Compose files: which images they use, for a recipe that installs them all.

The format: https://github.com/compose-spec/compose-spec/blob/main/spec.md. The file goes onto the target as it is, and
Docker Compose reads it there; here only what decides about images is read, and what could mean another image on the
target is refused.
"""

from __future__ import annotations

import os
import pathlib
import re
import typing
from dataclasses import dataclass

from dockin import newrecipe, plainyaml, platforms, reference
from dockin.errors import DockinError
from dockin.reference import ImageReference

_LONGEST = 1 << 20
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<sign>:?[-?+])(?P<other>[^}]*))?\})"
)


class InvalidCompose(DockinError):
    """A Compose file can't become a recipe."""


@dataclass(frozen=True)
class ServiceImage:
    """An image and the first service that uses it."""

    service: str
    reference: ImageReference
    platform: platforms.Platform | None
    """What the file says, None where it leaves it to the machine."""


@dataclass(frozen=True)
class ComposeFile:
    """What matters of a Compose file."""

    project: str
    path: str
    text: str
    images: tuple[ServiceImage, ...]
    keep_layers: bool
    """Whether an image is named by digest."""
    notes: tuple[str, ...]
    """What the user should know."""

    @property
    def file_name(self) -> str:
        """The file's own name."""
        return os.path.basename(self.path)


def read(path: str) -> ComposeFile:
    """Return what matters of a Compose file. Raises DockinError."""
    try:
        data = pathlib.Path(path).read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InvalidCompose(f"Can't read the Compose file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidCompose(f"Invalid Compose file {path}: it is no text in UTF-8") from error
    if len(data) > _LONGEST:
        raise InvalidCompose(f"Invalid Compose file {path}: it has {len(data)} bytes, at most {_LONGEST} are accepted")
    return parse(text, path)


def parse(text: str, path: str) -> ComposeFile:
    """Return what matters of a Compose file's text. Raises DockinError."""
    document = plainyaml.parse(text, path)
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict) or not document["services"]:
        raise InvalidCompose(f"Invalid Compose file {path}: it has no services")
    if document.get("include"):
        raise InvalidCompose(f"{path} includes other files: merge them with 'docker compose config', and take its output")
    services: dict[str, typing.Any] = document["services"]
    images: dict[tuple[ImageReference, typing.Any], ServiceImage] = {}
    notes: list[str] = []
    for name in services:
        found = _image(services, name, path)
        images.setdefault((found.reference, found.platform), found)
        notes += _notes(_service(services, name, path), name, path)
    notes += _file_notes(document, path)
    ordered = tuple(images.values())
    by_digest = any(image.reference.digest for image in ordered)
    return ComposeFile(_project(document, path), path, text, ordered, by_digest, tuple(dict.fromkeys(notes)))


def compose(file: ComposeFile, images: list[newrecipe.Image]) -> newrecipe.Composition:
    """Return what a recipe is to install: the file with its images, which are in the order of file.images."""
    services = tuple(newrecipe.Service(one.service, image) for one, image in zip(file.images, images))
    return newrecipe.Composition(file.project, file.file_name, file.text, services, file.keep_layers)


def _service(services: dict[str, typing.Any], name: str, path: str) -> dict[str, typing.Any]:
    service = services[name]
    if not isinstance(service, dict):
        raise InvalidCompose(f"Invalid Compose file {path}: service {name} is no mapping")
    return service


def _image(services: dict[str, typing.Any], name: str, path: str) -> ServiceImage:
    """Return a service's image, which it may have of another service that it extends."""
    seen = [name]
    service = _service(services, name, path)
    platform = service.get("platform")
    while not service.get("image") and service.get("extends"):
        base = service["extends"]
        if isinstance(base, dict) and base.get("file"):
            raise InvalidCompose(
                f"{path}: service {name} extends one of {base['file']}: merge them with 'docker compose config'"
            )
        base = base.get("service", "") if isinstance(base, dict) else base
        if base not in services or base in seen:
            raise InvalidCompose(f"{path}: service {name} extends {base!r}, which is not there or extends it itself")
        seen.append(base)
        service = _service(services, base, path)
        platform = platform or service.get("platform")
    image = service.get("image")
    if not isinstance(image, str) or not image:
        why = "is built from source" if service.get("build") else "has no image"
        raise InvalidCompose(f"{path}: service {name} {why}: push its image to a registry, and name it with 'image:'")
    parsed = reference.parse(_expand(image, f"{path}: image of service {name}"))
    tagged = ImageReference(parsed.registry, parsed.repository, parsed.tag or reference.DEFAULT_TAG, parsed.digest)
    wanted = _expand(str(platform), f"{path}: platform of service {name}") if platform else ""
    return ServiceImage(name, tagged, platforms.parse(wanted) if wanted else None)


def _expand(text: str, what: str) -> str:
    """Return a value with its variables expanded as on a target that sets none of them."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["sign"] in ("-", ":-"):
            return match["other"]
        if match["sign"] in ("+", ":+"):
            return ""
        name = match["plain"] or match["name"]
        raise InvalidCompose(f"{what}: {text!r} needs the variable {name}: write it out, or as ${{{name}:-default}}")

    expanded = _VARIABLE.sub(value, text)
    if "${" in expanded:
        raise InvalidCompose(f"{what}: can't expand {text!r}: write it out")
    return expanded


def _project(document: dict[str, typing.Any], path: str) -> str:
    """Return the project's name as Compose makes it: the file's, or its directory's."""
    name = document.get("name") or ""
    if name:
        name = _expand(str(name), f"{path}: name")
    else:
        directory = os.path.basename(os.path.dirname(os.path.abspath(path))).lower()
        name = re.sub(r"[^a-z0-9_-]", "", directory).lstrip("_-")
    if not _PROJECT.fullmatch(name):
        raise InvalidCompose(f"{path}: no project name: add 'name: …', of lower-case letters, digits, '-' and '_'")
    return name


def _notes(service: dict[str, typing.Any], name: str, path: str) -> list[str]:
    """Return what of a service will not be as the user may think."""
    notes = []
    if service.get("pull_policy") in ("always", "build", "daily", "weekly"):
        notes.append(f"{path}: service {name} has pull_policy {service['pull_policy']}: without network it will not start")
    paths: list[object] = []
    for entry in _entries(service.get("env_file")):
        paths.append(entry.get("path") if isinstance(entry, dict) else entry)
    for volume in _entries(service.get("volumes")):
        source = volume.get("source") if isinstance(volume, dict) else str(volume).partition(":")[0]
        paths.append(source if str(source).startswith(".") else None)
    return notes + [_missing(path, str(found)) for found in paths if found and not str(found).startswith("/")]


def _file_notes(document: dict[str, typing.Any], path: str) -> list[str]:
    found = []
    for kind in ("configs", "secrets"):
        entries = document.get(kind)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and entry.get("file") and not str(entry["file"]).startswith("/"):
                found.append(_missing(path, str(entry["file"])))
    return found


def _entries(value: object) -> list[typing.Any]:
    return value if isinstance(value, list) else [value] if value else []


def _missing(path: str, name: str) -> str:
    return f"{path} refers to {name}: add it to SRC_URI, and install it beside the file in do_install:append"
