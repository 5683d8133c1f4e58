# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Compose files: which images they use, for a recipe that installs them all.

The format: https://github.com/compose-spec/compose-spec/blob/main/spec.md. The file goes onto the target as it is, and
Docker Compose reads it there; here only what decides about images is read, and what could mean another image on the
target is refused.
"""

from __future__ import annotations

import collections.abc
import contextlib
import os
import pathlib
import re
import typing
from dataclasses import dataclass, replace

from dockin.errors import DockinError
from dockin.image import platforms, reference
from dockin.image.reference import ImageReference
from dockin.recipe import markedyaml, newrecipe
from dockin.recipe.markedyaml import Scalar

_LONGEST = 1 << 18
_LONGEST_VALUE = 4096
_MOST_EXTENDED = 100
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_IMAGE_VOLUME = "image"
_HOOKS = ("pre_start", "post_start", "pre_stop")
# A use of a variable, and what stands behind its name in braces.
_USE = re.compile(r"\$(?:\$|(?P<brace>\{)?(?P<name>[A-Za-z_]\w*)(?P<sign>:?[-+])?)")
_ENV_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][\w.-]*)\s*[=:](?P<value>.*)")
# In quotes nothing that Compose would read as something else; without them, up to a comment.
_ENV_VALUE = re.compile(r"""(?:'([^']*)'|"([^"\\$]*)"|([^'"\\$#\s](?:[^'"\\$\s]|\s+(?![\s#]))*|))\s*(?:#.*)?""")
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<sign>:?[-?+])(?P<other>[^}]*))?\})"
)


Variables = dict[str, typing.Optional[str]]
"""Values by the name, None for one that is there and not known."""


class InvalidCompose(DockinError):
    """A Compose file can't become a recipe."""


@dataclass(frozen=True)
class ServiceImage:
    """An image and what uses it first."""

    service: str
    """The service, or web-volume-1 for what is no service's own image."""
    reference: ImageReference
    platform: platforms.Platform | None
    """What the file says, None where it leaves it to the machine."""
    text: Scalar
    """How the file names it."""
    mounted: bool = False
    """Whether a volume has it, which can't state a platform."""


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
    env_text: str = ""
    """What is to be installed as .env beside it."""

    @property
    def file_name(self) -> str:
        """The file's own name."""
        return os.path.basename(self.path)


def read(path: str, env_file: str = "") -> ComposeFile:
    """Return what matters of a Compose file; env_file is what is to be its .env on the target. Raises DockinError."""
    env_text = _load(env_file, "env file") if env_file else ""
    given, used = variables(env_text, env_file), uses(env_text, env_file)
    found = parse(_load(path, "Compose file"), path, given, used)
    beside = os.path.join(os.path.dirname(path), ".env")
    notes = found.notes
    if env_file:
        notes = tuple(note for note in notes if note not in [_missing(path, name) for name in (".env", "./.env")])
        notes += (f"{env_file} becomes part of the recipe and of the image, with what passwords it has",)
    elif os.path.isfile(beside):
        notes += (f"{path} has a .env beside it, which is not installed: --env-file {beside} installs it",)
    return replace(found, notes=notes, env_text=env_text)


def _load(path: str, what: str) -> str:
    try:
        data = pathlib.Path(path).read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InvalidCompose(f"Can't read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidCompose(f"Invalid {what} {path}: it is no text in UTF-8") from error
    if len(data) > _LONGEST:
        raise InvalidCompose(f"Invalid {what} {path}: it has {len(data)} bytes, at most {_LONGEST} are accepted")
    return text


def variables(text: str, path: str) -> Variables:
    """Return the variables that an env file sets. Raises InvalidCompose."""
    found: Variables = {}
    for name, written in _assignments(text, path):
        value = _ENV_VALUE.fullmatch(written) if "\n" not in written else None
        found[name] = "".join(filter(None, value.groups())) if value else None
    return found


def uses(text: str, path: str) -> set[str]:
    """Return the variables that the values in an env file use without a default. Raises InvalidCompose."""
    found: set[str] = set()
    for _, written in _assignments(text, path):
        if not written.startswith("'"):
            value = re.sub(r"\\.", "", written)
            found.update(_used(value[1:].partition('"')[0] if value.startswith('"') else value.partition(" #")[0]))
    return found


def _assignments(text: str, path: str) -> typing.Iterator[tuple[str, str]]:
    """Yield the names in an env file, and what is written as their values. Raises InvalidCompose."""
    lines = iter(enumerate(text.lstrip("\ufeff").splitlines(), 1))
    for number, line in lines:
        line = line.strip()
        match = _ENV_LINE.fullmatch(line)
        if not match:
            if line and not line.startswith("#") and not re.fullmatch(r"[A-Za-z_][\w.-]*", line):
                raise InvalidCompose(f"{path}:{number}: expected NAME=value")
            continue
        written = [match["value"].strip()]
        quote = written[0][:1]
        if quote in ("'", '"') and quote not in written[0][1:]:
            # It goes on to the line with the other quote.
            for _, more in lines:
                written.append(more)
                if quote in more:
                    break
        yield match["name"], "\n".join(written)


def parse(
    text: str, path: str, given: Variables | None = None, used: collections.abc.Iterable[str] = ()
) -> ComposeFile:
    """Return what matters of a Compose file's text.

    given are the variables that have a value, used those that are needed beside the file's own. Raises DockinError.
    """
    given = given or {}
    document = markedyaml.parse(text, path)
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict) or not document["services"]:
        raise InvalidCompose(f"Invalid Compose file {path}: it has no services")
    if document.get("include"):
        raise InvalidCompose(f"{path} includes other files: merge them with 'docker compose config', and take its output")
    services: dict[str, typing.Any] = document["services"]
    images: dict[str, ServiceImage] = {}
    spelled: dict[str, str] = {}
    notes: list[str] = []
    of_services = {name: list(_images(services, name, path, given)) for name in services}
    own = {one.reference: one.platform for found in of_services.values() for one in found if not one.mounted}
    for name in services:
        for found in of_services[name]:
            found = replace(found, platform=own.get(found.reference)) if found.mounted else found
            registry = found.reference.registry
            if spelled.setdefault(registry.lower(), registry) != registry:
                raise InvalidCompose(
                    f"{path}:{found.text.line}: {registry} is {spelled[registry.lower()]} in another case, which Docker"
                    " takes for two registries: use the one that you log in with"
                )
            first = images.setdefault(found.reference.stem, found)
            if (first.reference, first.platform) != (found.reference, found.platform):
                raise InvalidCompose(
                    f"{path}:{found.text.line}: {_shown(found)} would be in one archive with {_shown(first)} of line"
                    f" {first.text.line}: name one image in the same way everywhere, and with one platform"
                )
        notes += _notes(_service(services, name, path), name, path)
    if not images:
        raise InvalidCompose(f"{path}: no service has an image")
    notes += _file_notes(document, path)
    missing = sorted({*_needed(document), *used}.difference(given))
    if missing:
        notes.append(
            f"{path} leaves {', '.join(missing)} to its environment, where nothing gives a value: write it into a file that"
            " --env-file FILE installs as .env beside the Compose file, or write it out"
        )
    ordered = tuple(images.values())
    by_digest = any(image.reference.digest for image in ordered)
    return ComposeFile(_project(document, path, given), path, text, ordered, by_digest, tuple(dict.fromkeys(notes)))


def names(text: str, path: str, given: Variables) -> list[tuple[Scalar, ImageReference | None]] | None:
    """Return the texts that name images, with what they name if that is known; None of what is no Compose file.

    Raises InvalidYaml.
    """
    document = markedyaml.parse(text, path)
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict):
        return None
    found: dict[int, tuple[Scalar, ImageReference | None]] = {}
    for service in filter(lambda service: isinstance(service, dict), services.values()):
        volumes = [one for one in _entries(service.get("volumes")) if isinstance(one, dict)]
        hooks = [one for hook in _HOOKS for one in _entries(service.get(hook)) if isinstance(one, dict)]
        texts = [service.get("image"), *(one.get("image") for one in hooks)]
        texts += [one.get("source") for one in volumes if one.get("type") == _IMAGE_VOLUME]
        for one in texts:
            if isinstance(one, Scalar) and one:
                named = None
                with contextlib.suppress(DockinError):
                    named = reference.parse(_expand(one, path, given))
                found[id(one)] = one, named
    return list(found.values())


def compose(file: ComposeFile, images: list[newrecipe.Image]) -> newrecipe.Composition:
    """Return what a recipe is to install: the file with its images, which are in the order of file.images."""
    services = tuple(newrecipe.Service(one.service, image) for one, image in zip(file.images, images))
    return newrecipe.Composition(file.project, file.file_name, file.text, services, file.keep_layers, file.env_text)


def _shown(image: ServiceImage) -> str:
    return image.reference.familiar + (f" for {image.platform}" if image.platform else "")


def _service(services: dict[str, typing.Any], name: str, path: str) -> dict[str, typing.Any]:
    service = services[name]
    if not isinstance(service, dict):
        raise InvalidCompose(f"Invalid Compose file {path}: service {name} is no mapping")
    return service


def _images(
    services: dict[str, typing.Any], name: str, path: str, given: Variables
) -> typing.Iterator[ServiceImage]:
    """Yield the images of a service: its own, which it may have of another that it extends, and those beside it."""
    seen = [name]
    service = own = _service(services, name, path)
    while service.get("extends"):
        base = service["extends"]
        if isinstance(base, dict) and base.get("file"):
            raise InvalidCompose(
                f"{path}: service {name} extends one of {base['file']}: merge them with 'docker compose config'"
            )
        base = base.get("service", "") if isinstance(base, dict) else base
        if not isinstance(base, str) or base not in services or base in seen:
            raise InvalidCompose(f"{path}: service {name} extends {base!r}, which is not there or extends it itself")
        seen.append(base)
        if len(seen) > _MOST_EXTENDED:
            raise InvalidCompose(f"{path}: service {name} extends more than {_MOST_EXTENDED} others in a row: write it out")
        service = {**_service(services, base, path), **{key: value for key, value in service.items() if key != "extends"}}
    platform = service.get("platform")
    if service.get("image") or not service.get("provider"):
        why = "is built from source" if service.get("build") else "has no image"
        remedy = f"{path}: service {name} {why}: push its image to a registry, and name it with 'image:'"
        yield _image(service.get("image"), name, f"service {name}", remedy, platform, path, given)
    for number, volume in enumerate(_entries(own.get("volumes")), 1):
        if isinstance(volume, dict) and volume.get("type") == _IMAGE_VOLUME:
            what, text = f"volume {number} of service {name}", volume.get("source")
            image = _image(text, f"{name}-volume-{number}", what, f"{path}: {what} has no source", None, path, given)
            yield replace(image, mounted=True)
    for hook in _HOOKS:
        for number, entry in enumerate(_entries(own.get(hook)), 1):
            if isinstance(entry, dict) and "image" in entry:
                what, text = f"{hook} {number} of service {name}", entry["image"]
                yield _image(text, f"{name}-{hook}-{number}", what, f"{path}: {what} has no image", platform, path, given)


def _image(
    text: object, name: str, what: str, without: str, platform: object, path: str, given: Variables
) -> ServiceImage:
    if not isinstance(text, Scalar) or not text:
        raise InvalidCompose(without)
    parsed = reference.parse(_expand(text, f"{path}:{text.line}: image of {what}", given))
    tagged = ImageReference(parsed.registry, parsed.repository, parsed.tag or reference.DEFAULT_TAG, parsed.digest)
    wanted = _expand(str(platform), f"{path}: platform of {what}", given) if platform else ""
    return ServiceImage(name, tagged, platforms.parse(wanted) if wanted else None, text)


def _expand(text: str, what: str, given: Variables) -> str:
    """Return a value with its variables expanded as on a target that sets none of them but those given."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["plain"] or match["name"]
        sign = match["sign"] or ""
        known = given.get(name)
        if name in given and known is None:
            raise InvalidCompose(f"{what}: the env file's value of {name} is not understood: write it without quotes and $")
        is_set = bool(known) if sign.startswith(":") else known is not None
        if sign in ("-", ":-"):
            return known or "" if is_set else match["other"]
        if sign in ("+", ":+"):
            return match["other"] if is_set else ""
        if known is None or not (is_set or not sign):
            raise InvalidCompose(f"{what}: {text!r} needs the variable {name}: write it out, or as ${{{name}:-default}}")
        return known

    if len(text) > _LONGEST_VALUE:
        raise InvalidCompose(f"{what}: it has {len(text)} characters, at most {_LONGEST_VALUE} are accepted")
    expanded = _VARIABLE.sub(value, text)
    if "${" in expanded:
        raise InvalidCompose(f"{what}: can't expand {text!r}: write it out")
    return expanded


def _used(text: str) -> typing.Iterator[str]:
    """Return the variables that a text uses without a default."""
    found = _USE.finditer(text)
    return (use["name"] for use in found if use["name"] and not (use["brace"] and use["sign"]))


def _needed(document: dict[str, typing.Any]) -> typing.Iterator[str]:
    """Yield the variables that the file uses without a default."""
    seen: set[int] = set()
    left: list[object] = [document]
    while left:
        node = left.pop()
        if isinstance(node, str):
            yield from _used(node)
        elif id(node) not in seen:
            # What aliases name is there once.
            seen.add(id(node))
            left += node.values() if isinstance(node, dict) else typing.cast("list[object]", node)
    for service in document["services"].values():
        environment = service.get("environment")
        if isinstance(environment, dict):
            yield from (name for name, value in environment.items() if isinstance(value, Scalar) and value.is_null)
        else:
            yield from (entry for entry in _entries(environment) if isinstance(entry, str) and "=" not in entry)
    for section in map(document.get, ("configs", "secrets")):
        for entry in section.values() if isinstance(section, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("environment"), Scalar):
                yield entry["environment"]


def _project(document: dict[str, typing.Any], path: str, given: Variables) -> str:
    """Return the project's name as Compose makes it: the file's, or its directory's."""
    name = document.get("name") or ""
    if name:
        name = _expand(str(name), f"{path}: name", given)
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
    provider = service.get("provider")
    if provider:
        kind = provider.get("type") if isinstance(provider, dict) else provider
        what = f"the provider {kind!r}, which the target has to have"
        if service.get("image"):
            notes.append(f"{path}: service {name} has an image and {what}: Compose asks that, and runs nothing of the image")
        else:
            notes.append(f"{path}: service {name} has no image, but {what}")
    paths: list[object] = []
    for entry in _entries(service.get("env_file")) + _entries(service.get("label_file")):
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
    models = document.get("models")
    for name, entry in models.items() if isinstance(models, dict) else ():
        model = entry.get("model") if isinstance(entry, dict) else ""
        found.append(f"{path}: {model or name} is a model and no image: it is not installed, and Docker would pull it")
    return found


def _entries(value: object) -> list[typing.Any]:
    return value if isinstance(value, list) else [value] if value else []


def _missing(path: str, name: str) -> str:
    return f"{path} refers to {name}: add it to SRC_URI, and install it beside the file in do_install:append"
