# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Image references: [registry/]repository[:tag][@digest], parsed once and normalised as by Docker.

The grammar is that of https://pkg.go.dev/github.com/distribution/reference. sha256 is the only digest algorithm, because
registries use it and a recipe can pin it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace

from dockin.errors import DockinError

DEFAULT_REGISTRY = "docker.io"
_HUB = (DEFAULT_REGISTRY, "index.docker.io")
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# Of registry and repository together; https://github.com/distribution/reference/blob/main/reference.go
MAX_NAME_LENGTH = 255

_SHORT = 7

_DOMAIN_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"library/[0-9a-f]{64}")

_logger = logging.getLogger("BitBake.Fetcher.Docker")


class InvalidReference(DockinError):
    """An image reference, tag or digest violates the grammar."""


@dataclass(frozen=True)
class ImageReference:
    """A normalised image reference; make one with parse()."""

    registry: str
    """Host, with port if any: docker.io, host:5000, [::1]:5000. It keeps its spelling: Docker and skopeo distinguish
    MyACR.azurecr.io from myacr.azurecr.io in logins, certs.d, registries.conf and image names."""
    repository: str
    """Path in the registry: library/busybox."""
    tag: str | None = None
    digest: str | None = None
    """sha256:<64 hex digits> of an index or a manifest."""

    @property
    def name(self) -> str:
        """Registry and repository: docker.io/library/busybox."""
        return f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """The full reference: docker.io/library/busybox:1.36.1@sha256:…"""
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        """The form that Docker lists and accepts: busybox:1.36.1, ghcr.io/org/app:v1."""
        name = self.repository
        if name.startswith(DEFAULT_NAMESPACE + "/") and name.count("/") == 1:
            name = name[len(DEFAULT_NAMESPACE) + 1 :]
        if _split_registry(name) != (self.registry, self.repository):
            name = self.name
        return name + self._suffix

    @property
    def tagged(self) -> ImageReference:
        """The reference without its digest: the image's name in Docker."""
        return replace(self, digest=None)

    @property
    def pinned(self) -> ImageReference:
        """The reference without its tag if it has a digest: skopeo accepts no tag beside a digest, and the pin decides."""
        return replace(self, tag=None) if self.digest else self

    @property
    def stem(self) -> str:
        """The part of file and unit names that is made from the tagged name: busybox-1.36.1, host-5000-team-app-v1.

        It has only characters that need no quoting in a shell, a unit name or a URL: A-Z a-z 0-9 . _ -
        """
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.tagged.familiar).strip("-")

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.canonical


def parse(text: str) -> ImageReference:
    """Return the normalised reference for an argument of "docker pull".

    A missing registry is docker.io, and a single component on docker.io gets library/ before it. A missing tag stays None.
    Raises InvalidReference.
    """
    if "://" in text:
        scheme = text.partition("://")[0]
        raise InvalidReference(f"Invalid image reference: it takes no scheme, write it without {scheme + '://'!r}")
    rest, at, digest = text.partition("@")
    if at and ("/" in digest or not digest.startswith("sha")):
        # The message leaves out the value, which may be a password.
        raise InvalidReference(
            "Invalid image reference: '@' is followed by a digest, sha256:…; user and password have no place in it, log in"
            " with 'skopeo login REGISTRY'"
        )
    if "?" in text or "#" in text:
        # The message leaves out the query and fragment, too.
        raise InvalidReference("Invalid image reference: '?' and '#' have no place in it")
    if at:
        check_digest(digest, text)
    tag = None
    slash, colon = rest.rfind("/"), rest.rfind(":")
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
        check_tag(tag, text)
    if not rest:
        raise InvalidReference(f"Invalid image reference {text!r}: it names no repository, as busybox or ghcr.io/org/app do")
    registry, repository = _split_registry(rest)
    _check_name(registry, repository, text)
    return ImageReference(registry, repository, tag, digest or None)


def is_digest(text: str) -> bool:
    """Tell whether a text is sha256:<64 lower-case hex digits>."""
    return bool(_DIGEST.fullmatch(text))


def short(digest: str) -> str:
    """Return the first 7 hex digits of a digest; "" for none."""
    return digest.partition(":")[2][:_SHORT]


def check_tag(tag: str, context: str) -> str:
    """Return a valid tag; context is the user's text, for the message. Raises InvalidReference."""
    if not _TAG.fullmatch(tag):
        raise InvalidReference(
            f"Invalid tag {tag!r} in {context!r}: a tag has 1 to 128 letters, digits, '_', '.' and '-',"
            " and starts with none of the last two"
        )
    return tag


def tags_in(names: object, repository: str) -> list[str]:
    """Return the tags in a registry's list; null is an empty list. Raises TypeError if it is no list.

    Registries also list other names: digests, paths, tags by older rules, null. They are skipped.
    """
    if names is None:
        return []
    if not isinstance(names, list):
        raise TypeError(f"a list of tags is expected, not {type(names).__name__}")
    tags = [name for name in names if isinstance(name, str) and _TAG.fullmatch(name)]
    if len(tags) < len(names):
        _logger.debug("%s: %d of %d names in the list of tags are no tags", repository, len(names) - len(tags), len(names))
    return tags


def check_digest(digest: str, context: str) -> str:
    """Return a valid digest, sha256:<64 lower-case hex digits>. Raises InvalidReference."""
    if not is_digest(digest):
        raise InvalidReference(
            f"Invalid digest {digest!r} in {context!r}: a digest is 'sha256:' and 64 lower-case hex digits"
        )
    return digest


def _split_registry(name: str) -> tuple[str, str]:
    """Split off the registry by Docker's rule: the first component, if it has a '.' or ':' or is localhost."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry in _HUB:
        registry = DEFAULT_REGISTRY
        if "/" not in repository:
            repository = f"{DEFAULT_NAMESPACE}/{repository}"
    return registry, repository


def _check_name(registry: str, repository: str, context: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise InvalidReference(f"Invalid registry {registry!r} in {context!r}: expected a host name, with :port if need be")
    if registry != DEFAULT_REGISTRY and registry.lower() in _HUB:
        raise InvalidReference(f"Invalid registry {registry!r} in {context!r}: for Docker Hub write {DEFAULT_REGISTRY!r}")
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if component != component.lower() and _COMPONENT.fullmatch(component.lower()):
            raise InvalidReference(f"Invalid repository {repository!r} in {context!r}: write it in lower case")
        raise InvalidReference(
            f"Invalid repository {repository!r} in {context!r}: components between '/' have lower-case letters and"
            " digits, with single '.', '_', '__' or any '-' between them"
        )
    if len(registry) + 1 + len(repository) > MAX_NAME_LENGTH:
        raise InvalidReference(
            f"Invalid repository {repository!r} in {context!r}: registry and repository have at most"
            f" {MAX_NAME_LENGTH} characters together"
        )
    if registry == DEFAULT_REGISTRY and _IMAGE_ID.fullmatch(repository):
        raise InvalidReference(
            f"Invalid repository in {context!r}: 64 hex digits are an image ID to Docker; for a pin write"
            " ;digest=sha256:… or SRC_URI[sha256sum]"
        )
