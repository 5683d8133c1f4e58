# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""docker:// entries of SRC_URI: what a recipe says about one image, parsed once.

    docker://[registry/]repository[;tag=TAG][;digest=sha256:HEX][;name=NAME][;platform=OS/ARCH[/VARIANT]]

Tag and digest may also stand in the reference itself behind a '/'. Without one BitBake takes what follows the colon of
docker://busybox:1.36 for a port, and says no more than that it is none.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace

from dockin.errors import DockinError
from dockin.image import platforms, reference
from dockin.image.reference import ImageReference

SCHEME = "docker"
_PREFIX = SCHEME + "://"

DEVTOOL_MARK = "type=git-dependency"
"""What devtool modify puts behind every entry but the first, whatever it is: openembedded-core, devtool/standard.py."""

PARAMETERS = ("tag", "digest", "name", "platform")
"""What may follow the reference, each as ;parameter=value."""

_NAME = re.compile(r"[A-Za-z0-9_.+-]+")


class InvalidSource(DockinError):
    """A docker:// entry, or what belongs to it, breaks a rule."""


@dataclass(frozen=True)
class DockerSource:
    """One docker:// entry of SRC_URI; make one with parse_entry()."""

    reference: ImageReference
    """Always with a tag (the name on the target), with a digest if the entry has one."""
    name: str | None = None
    """The value of ;name=, which selects the SRC_URI flag of the pin."""
    platform: platforms.Platform | None = None
    """The value of ;platform=; None means the target's."""

    @property
    def pin_flag(self) -> str:
        """The flag of SRC_URI that holds the pin: sha256sum or NAME.sha256sum."""
        return f"{self.name}.sha256sum" if self.name else "sha256sum"

    @property
    def sbom_flag(self) -> str:
        """The flag of SRC_URI that holds the digests of attached bills of materials: sbom or NAME.sbom."""
        return f"{self.name}.sbom" if self.name else "sbom"

    @property
    def url(self) -> str:
        """The entry with its reference written out, so that mirror rules and BB_ALLOWED_NETWORKS see the real host."""
        ref = self.reference
        parts = [_PREFIX + ref.name, f"tag={ref.tag}"]
        if ref.digest:
            parts.append(f"digest={ref.digest}")
        if self.name:
            parts.append(f"name={self.name}")
        if self.platform:
            parts.append(f"platform={self.platform}")
        return ";".join(parts)

    def pinned(self, sha256sum: str | None) -> DockerSource:
        """Return the source with the pin of its SRC_URI flag (64 hex digits, None or "" if there is none).

        Raises InvalidSource for a malformed flag and where entry and flag disagree.
        """
        if not sha256sum:
            return self
        digest = "sha256:" + sha256sum
        if not reference.is_digest(digest):
            raise InvalidSource(
                f"Invalid SRC_URI[{self.pin_flag}] = {sha256sum!r} of {self.reference.familiar}: it holds the digest's"
                " 64 lower-case hex digits, without 'sha256:'"
            )
        if self.reference.digest and self.reference.digest != digest:
            raise InvalidSource(
                f"Two pins for {self.reference.tagged.familiar} that differ: digest {self.reference.digest} in SRC_URI and"
                f" SRC_URI[{self.pin_flag}] = {sha256sum!r}; keep one of them"
            )
        return replace(self, reference=replace(self.reference, digest=digest))


def is_docker(entry: str) -> bool:
    """Tell whether an entry of SRC_URI is ours."""
    return entry.startswith(_PREFIX)


def parse_entry(entry: str) -> DockerSource:
    """Return what a docker:// entry of SRC_URI says. Raises InvalidSource, InvalidReference or PlatformError."""
    if not is_docker(entry):
        raise InvalidSource(f"Invalid entry {entry!r}: it does not start with {_PREFIX!r}")
    text, *parameters = entry.split(";")
    # BitBake's encodeurl() writes the ':' of a tag and the '@' of a digest as %3A and %40: recipetool, archiver.
    text = urllib.parse.unquote(text[len(_PREFIX) :]).rstrip("/")
    ref = reference.parse(text)
    values = _parameters(parameters, entry)
    name = values.get("name")
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidSource(f"Invalid name {name!r} in {entry!r}: a name has letters, digits, '_', '.', '+' and '-'")
    platform = platforms.parse(values["platform"]) if "platform" in values else None
    return DockerSource(
        ImageReference(
            ref.registry,
            ref.repository,
            _tag(ref, values, entry),
            _digest(ref, values, entry),
        ),
        name,
        platform,
    )


def parse_src_uri(src_uri: str) -> list[DockerSource]:
    """Return the images of an expanded SRC_URI, in its order; other entries are passed over.

    Raises what parse_entry() raises, and InvalidSource where two images would have the same archive, where one registry is
    spelled in two ways, or where BitBake could not read the entry.
    """
    entries = [entry for entry in src_uri.split() if is_docker(entry)]
    sources = [parse_entry(entry) for entry in entries]
    for entry, source in zip(entries, sources):
        host = entry[len(_PREFIX) :].partition(";")[0]
        if "/" not in host.rstrip("/") and (":" in host or "@" in host):
            raise InvalidSource(
                f"Invalid entry {entry!r}: without a '/' BitBake takes what follows ':' or '@' for a port or a host;"
                f" write {source.url}"
            )
    first: dict[str, DockerSource] = {}
    spelled: dict[str, str] = {}
    for source in sources:
        registry = source.reference.registry
        if spelled.setdefault(registry.lower(), registry) != registry:
            raise InvalidSource(
                f"Two spellings of one registry in SRC_URI, {spelled[registry.lower()]!r} and {registry!r}: Docker takes"
                " them for two, and their images for others; use the one that you log in with"
            )
        other = first.setdefault(source.reference.stem, source)
        if other is not source:
            raise InvalidSource(
                f"Two images with one archive name {source.reference.stem!r} in SRC_URI: {other.url} and {source.url};"
                " put one of them into a recipe of its own"
            )
    return sources


def pin_sources(sources: list[DockerSource], flags: dict[str, str]) -> list[DockerSource]:
    """Return the sources with their pins; flags are those of SRC_URI.

    Raises InvalidSource, also where one flag would pin two images.
    """
    owner: dict[str, DockerSource] = {}
    for source in sources:
        other = owner.setdefault(source.pin_flag, source)
        if other is not source and flags.get(source.pin_flag):
            raise InvalidSource(
                f"One pin SRC_URI[{source.pin_flag}] for two images, {other.reference.tagged.familiar} and"
                f" {source.reference.tagged.familiar}: give each entry its own ;name="
            )
    return [source.pinned(flags.get(source.pin_flag)) for source in sources]


def _parameters(parameters: list[str], entry: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for parameter in filter(None, parameters):
        if parameter == DEVTOOL_MARK:
            continue
        key, equals, value = parameter.partition("=")
        if key not in PARAMETERS:
            # The entry is shown without its parameters: this one may be a password.
            raise InvalidSource(
                f"Unknown parameter {key!r} in {entry.partition(';')[0]!r}: docker:// takes "
                + ", ".join(f";{p}=" for p in PARAMETERS)
            )
        if not equals or not value:
            raise InvalidSource(f"Parameter {key!r} without a value in {entry!r}: write ;{key}=VALUE or leave it out")
        if "?" in value or "#" in value:
            raise InvalidSource(f"Invalid value of {key!r} in {entry.partition(';')[0]!r}: '?' and '#' have no place in it")
        if key in values:
            raise InvalidSource(f"Parameter {key!r} stands twice in {entry!r}: keep one")
        values[key] = value
    return values


def _tag(ref: ImageReference, values: dict[str, str], entry: str) -> str:
    if ref.tag and "tag" in values:
        raise InvalidSource(
            f"Two tags in {entry!r}: {ref.tag!r} in the reference and ;tag={values['tag']}; keep ;tag="
        )
    return reference.check_tag(values.get("tag") or ref.tag or reference.DEFAULT_TAG, entry)


def _digest(ref: ImageReference, values: dict[str, str], entry: str) -> str | None:
    if ref.digest and "digest" in values:
        raise InvalidSource(f"Two digests in {entry!r}: one in the reference and one as ;digest=; keep ;digest=")
    digest = values.get("digest") or ref.digest
    return reference.check_digest(digest, entry) if digest else None
