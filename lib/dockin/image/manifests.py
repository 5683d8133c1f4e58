# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Indexes, manifests and configs of registries. They are foreign, so each is checked while it is parsed.

Formats: https://github.com/opencontainers/image-spec (image-index.md, manifest.md, config.md) and Docker's schema 2,
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

import datetime
import hashlib
import re
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError
from dockin.image import foreignjson, platforms, reference

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
# The other types are of images that Docker 1.10 pushed, or that registries changed. Docker and skopeo accept them too.
_CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "application/json", "text/html", "")
_LAYER_TYPE = re.compile(
    r"application/vnd\.oci\.image\.layer\.v1\.tar(\+(gzip|zstd))?"
    r"|application/vnd\.docker\.image\.rootfs\.diff\.tar(\.(gzip|zstd))?"
)

# RFC 3339, with a fraction of any length: date and time, fraction, offset.
TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,30}))?(Z|[+-][0-9]{2}:[0-9]{2})")
_BLANKS = re.compile(rb"[ \t\n\r]+")
_DIFF_IDS = re.compile(rb'"diff_ids":\[([^]]*)\]')

MAX_MANIFEST_SIZE = 4 << 20
"""Bytes; the limit of containers/image and Docker's registry for an index or a manifest."""
MAX_CONFIG_SIZE = 4 << 20
"""Bytes; the limit of containers/image. A config has history and labels, usually some kilobytes."""

MAX_CONFIGS_READ = 100
"""Entries of one index whose configs are read because they state no platform; each costs two requests."""

REFERENCE_TYPE = "vnd.docker.reference.type"
ATTESTATION = "attestation-manifest"
"""Value of BuildKit's annotation of an index entry that is an attestation."""


class InvalidManifest(DockinError):
    """A fetched index, manifest or config violates its format, or is not supported."""


class NotAnImage(InvalidManifest):
    """A manifest describes something other than an image, such as a chart."""


@dataclass(frozen=True)
class Descriptor:
    """A blob, as an index or manifest describes it."""

    media_type: str
    digest: str
    size: int
    """Bytes."""
    platform: platforms.Platform | None = None
    """In an index: the entry's platform; None if it states none. An attestation's is unknown/unknown."""
    artifact_type: str = field(default="", compare=False)
    """In a list of referrers: the stated type; "" if none is stated."""
    annotations: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Index:
    """A multi-platform list."""

    media_type: str
    manifests: tuple[Descriptor, ...]

    def select(
        self, wanted: platforms.Platform, look: typing.Callable[[Descriptor], platforms.Platform | None]
    ) -> Descriptor:
        """Return the manifest that fits the platform best. Raises PlatformError, InvalidManifest and what look raises.

        If no stated platform fits, look tells the platforms of the other entries; None for an entry that is no image.
        """
        found = [entry.platform for entry in self.manifests]
        if not any(platform and wanted.accepts(platform) for platform in found):
            if found.count(None) > MAX_CONFIGS_READ:
                raise InvalidManifest(
                    f"Unsupported index: {found.count(None)} entries state no platform, at most {MAX_CONFIGS_READ} are read"
                )
            found = [entry.platform or look(entry) for entry in self.manifests]
        return self.manifests[platforms.select(wanted, found)]


@dataclass(frozen=True)
class Manifest:
    """One platform's image: its config and its layers, the base first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each once, in a fixed order."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())


@dataclass(frozen=True)
class Artifact:
    """A manifest that is attached to an image, and is no image itself."""

    artifact_type: str
    """Its artifactType, or else the type of its config."""
    subject: Descriptor | None
    """The index or manifest to which it is attached; None for BuildKit's attestations, which an index names."""
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Config:
    """The parts of an image's config that the layer uses."""

    os: str
    architecture: str
    variant: str
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers, base first."""
    labels: dict[str, str]
    created: str
    """A time that moment() can read; "" if the config states none."""


def digest_of(data: bytes) -> str:
    """Return sha256:<hex> of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def moment(text: str) -> datetime.datetime | None:
    """Return an RFC 3339 time to the second, None for anything else."""
    match = TIME.fullmatch(text)
    try:
        # Python before 3.11 accepts neither Z nor nine digits of a fraction.
        return datetime.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")) if match else None
    except ValueError:
        return None


def is_schema_1(data: bytes) -> bool:
    """Tell whether bytes are a schema 1 manifest, whose digest does not cover all of its bytes."""
    try:
        return _load(data, MAX_MANIFEST_SIZE, "manifest").get("schemaVersion") == 1
    except InvalidManifest:
        return False


def parse(data: bytes) -> Index | Manifest:
    """Return the index or manifest in bytes. Raises InvalidManifest."""
    document = _load(data, MAX_MANIFEST_SIZE, "manifest")
    version = document.get("schemaVersion")
    if version == 1:
        raise InvalidManifest("Unsupported manifest: schema 1 has no stable digests; push the image again with a newer tool")
    if not _is_schema_2(document):
        raise InvalidManifest(f"Invalid manifest: schemaVersion is {version!r}, expected 2")
    # A document that can be read in two ways bypasses digests: GHSA-77vh-xpmg-72qh.
    if "manifests" in document and ("layers" in document or "config" in document):
        raise InvalidManifest("Invalid manifest: it has 'manifests' as well as 'layers' or 'config'; it is one or the other")
    media_type = document.get("mediaType")
    if "manifests" in document:
        _check_media_type(media_type, INDEX_TYPES, "index")
        return Index(
            media_type or OCI_INDEX,
            tuple(_descriptor(entry, "index") for entry in _list(document, "manifests", "index")),
        )
    if "config" not in document:
        raise InvalidManifest(f"Unsupported manifest of type {media_type!r}: it has neither 'manifests' nor 'config'")
    _check_media_type(media_type, MANIFEST_TYPES, "manifest")
    return _manifest(media_type or OCI_MANIFEST, document)


def parse_artifact(data: bytes) -> Artifact:
    """Return the manifest of an attachment of any kind. Raises InvalidManifest."""
    what = "manifest of an attachment"
    document = _load(data, MAX_MANIFEST_SIZE, what)
    if not _is_schema_2(document) or "manifests" in document:
        raise InvalidManifest(f"Invalid {what}: it is no OCI manifest")
    _check_media_type(document.get("mediaType"), MANIFEST_TYPES, what)
    config = _descriptor(_dict(document, "config", what), what)
    subject = document.get("subject")
    return Artifact(
        _string(document, "artifactType", what, optional=True) or config.media_type,
        None if subject is None else _descriptor(subject, what),
        tuple(_descriptor(entry, what) for entry in _list(document, "layers", what)),
    )


def parse_config(data: bytes) -> Config:
    """Return the used parts of a config. Raises InvalidManifest."""
    document = _load(data, MAX_CONFIG_SIZE, "config")
    rootfs = _dict(document, "rootfs", "config")
    diff_ids = tuple(_list(rootfs, "diff_ids", "config's rootfs", optional=True))
    for diff_id in diff_ids:
        _check_digest(diff_id, "config")
    # dockin-preload has no JSON parser, and extracts them from the text.
    written = _DIFF_IDS.findall(_BLANKS.sub(b"", data))
    if written != [",".join(f'"{diff_id}"' for diff_id in diff_ids).encode()] and (written or diff_ids):
        raise InvalidManifest(
            "Invalid config: 'diff_ids' is written with escapes, or also occurs outside 'rootfs'; rebuild the image with"
            " another tool"
        )
    settings = _dict(document, "config", "config", optional=True)
    created = _string(document, "created", "config", optional=True)
    return Config(
        _string(document, "os", "config"),
        _string(document, "architecture", "config"),
        _string(document, "variant", "config", optional=True),
        diff_ids,
        _strings(settings, "Labels", "config"),
        created if moment(created) else "",
    )


def _manifest(media_type: str, document: dict[str, typing.Any]) -> Manifest:
    config = _descriptor(_dict(document, "config", "manifest"), "manifest", typed=False)
    if config.media_type not in _CONFIG_TYPES:
        raise NotAnImage(
            f"Not an image: the manifest's config has the type {config.media_type!r} (an artifact such as a chart, a"
            " signature or an SBOM?); give the reference of a container image"
        )
    if config.size > MAX_CONFIG_SIZE:
        raise InvalidManifest(
            f"Invalid manifest: its config {config.digest} has {config.size} bytes, at most {MAX_CONFIG_SIZE} are accepted"
        )
    layers = tuple(_descriptor(entry, "manifest") for entry in _list(document, "layers", "manifest", optional=True))
    for layer in layers:
        if not _LAYER_TYPE.fullmatch(layer.media_type):
            raise InvalidManifest(
                f"Unsupported layer {layer.digest} of type {layer.media_type!r}: foreign (non-distributable) and encrypted"
                " layers can't be put into a root filesystem"
            )
    sizes: dict[str, int] = {}
    for blob in (config, *layers):
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise InvalidManifest(f"Invalid manifest: {blob.digest} has {sizes[blob.digest]} as well as {blob.size} bytes")
    return Manifest(media_type, config, layers)


def _load(data: bytes, limit: int, what: str) -> dict[str, typing.Any]:
    if len(data) > limit:
        raise InvalidManifest(f"Invalid {what}: {len(data)} bytes, at most {limit} are accepted")
    document = foreignjson.loads(data, lambda text: InvalidManifest(f"Invalid {what}: {text}"))
    if not isinstance(document, dict):
        raise InvalidManifest(f"Invalid {what}: a JSON object is expected, this is {type(document).__name__}")
    return document


def _descriptor(value: object, what: str, typed: bool = True) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidManifest(f"Invalid {what}: a descriptor is a JSON object, this is {type(value).__name__}")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise InvalidManifest(f"Invalid {what}: {size!r} is no size in bytes")
    digest = value.get("digest")
    _check_digest(digest, what)
    annotations = _strings(value, "annotations", what)
    return Descriptor(
        _string(value, "mediaType", what, optional=not typed),
        str(digest),
        size,
        _platform(value.get("platform"), annotations, what),
        _string(value, "artifactType", what, optional=True),
        annotations,
    )


def _platform(value: object, annotations: dict[str, str], what: str) -> platforms.Platform | None:
    """Return the platform that an index entry states, even if no machine has it; None if it states none.

    It is read as by containerd, which chooses on the target: a missing os is the target's own, and i386 has no variant.
    https://github.com/containerd/platforms/blob/main/database.go
    """
    if value is not None and not isinstance(value, dict):
        raise InvalidManifest(f"Invalid {what}: the platform of an entry is a JSON object, this is {type(value).__name__}")
    system, architecture, variant = (
        _string(value, key, what, optional=True) if value else "" for key in ("os", "architecture", "variant")
    )
    if annotations.get(REFERENCE_TYPE) == ATTESTATION:
        # With any other platform, containerd would take the attestation for an image.
        if (system, architecture) not in (("unknown", "unknown"), ("", "")):
            raise InvalidManifest(
                f"Invalid {what}: an entry is an attestation and states the platform {system}/{architecture}; expected"
                " unknown/unknown"
            )
        return platforms.Platform("unknown", "unknown")
    if architecture.lower() == "i386":
        variant = ""
    return platforms.Platform(system or "linux", architecture, variant) if architecture else None


def _is_schema_2(document: dict[str, typing.Any]) -> bool:
    version = document.get("schemaVersion")
    return type(version) is int and version == 2  # 2.0 is no integer for Go


def _check_media_type(media_type: object, known: tuple[str, ...], what: str) -> None:
    if media_type is not None and media_type not in known:
        raise InvalidManifest(f"Unsupported {what} of type {media_type!r}: expected {' or '.join(known)}")


def _check_digest(value: object, what: str) -> None:
    if not isinstance(value, str) or not reference.is_digest(value):
        raise InvalidManifest(f"Invalid {what}: {value!r} is no digest; 'sha256:' and 64 hex digits are expected")


def _dict(document: dict[str, typing.Any], key: str, what: str, optional: bool = False) -> dict[str, typing.Any]:
    value = document.get(key)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise InvalidManifest(f"Invalid {what}: {key!r} is no JSON object")
    return value


def _list(document: dict[str, typing.Any], key: str, what: str, optional: bool = False) -> list[typing.Any]:
    value = document.get(key)
    if value is None and optional:
        return []
    if not isinstance(value, list):
        raise InvalidManifest(f"Invalid {what}: {key!r} is no JSON array")
    return value


def _strings(document: dict[str, typing.Any], key: str, what: str) -> dict[str, str]:
    """Return a map of strings with the publisher's own keys; Go reads null as ""."""
    values = {name: "" if text is None else text for name, text in _dict(document, key, what, optional=True).items()}
    for name, text in values.items():
        if not isinstance(text, str):
            raise InvalidManifest(f"Invalid {what}: {name[:80]!r} in {key!r} is no string")
    return values


def _string(document: dict[str, typing.Any], key: str, what: str, optional: bool = False) -> str:
    value = document.get(key, "" if optional else None)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise InvalidManifest(f"Invalid {what}: {key!r} is no string")
    return value
