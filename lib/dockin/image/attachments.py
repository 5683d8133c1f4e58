# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Bills of materials that publishers attach to their images in a registry.

There are two kinds. BuildKit adds an attestation manifest for each platform's image to the index, whose digest covers it:
https://docs.docker.com/build/metadata/attestations/attestation-storage/
Other tools push a manifest whose subject is the image's manifest or index (a referrer). The registry lists referrers, or an
index under the tag sha256-<hex> does; this list can change while the image's digest stays:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

import codecs
import re
import typing
from dataclasses import dataclass

from dockin.errors import DockinError
from dockin.image import foreignjson, manifests, reference

CHOICES = ("0", "1", "require")
"""Values of DOCKIN_FETCH_SBOM."""

SUFFIXES = {
    "application/spdx+json": ".spdx.json",
    "text/spdx+json": ".spdx.json",
    "text/spdx": ".spdx",
    "application/vnd.cyclonedx+json": ".cdx.json",
    "application/vnd.cyclonedx+xml": ".cdx.xml",
    "application/vnd.syft+json": ".syft.json",
}
"""File suffixes of bills of materials, by media type."""

MAX_SIZE = 256 << 20
"""Most bytes of all attachments with bills of materials of one image."""
MAX_MEMBERS = 64
"""Most members of a statement, each of which takes memory; a real one has four."""
MAX_ATTACHED = 100
"""Most manifests that are read for one image, from the index, lists and pins; each costs at least a request."""

# Beginnings of each text format. No program is accepted, because packaging tools analyse programs.
_BEGINNINGS = {"json": (b"{",), "xml": (b"<",), "spdx": (b"SPDXVersion:", b"# ")}
_IN_TOTO = "application/vnd.in-toto+json"
_PREDICATES = (
    (re.compile(r"https://spdx\.dev/Document(/.*)?"), "application/spdx+json"),
    (re.compile(r"https://cyclonedx\.org/(bom|schema)(/.*)?"), "application/vnd.cyclonedx+json"),
)
_PREDICATE_TYPE = "in-toto.io/predicate-type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
# JSON's strings, also an unterminated one, so that no character is read twice; and the punctuation between values.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{}:,]', re.DOTALL)
# A manifest with one of these types may be anything.
_VAGUE = ("", _IN_TOTO, manifests.OCI_CONFIG, "application/vnd.oci.empty.v1+json")


class InvalidAttachment(DockinError):
    """An attachment of an image is invalid."""


@dataclass(frozen=True)
class Wanted:
    """The requested bills of materials."""

    pins: tuple[str, ...] = ()
    """Digests of manifests, instead of the registry's list; sorted."""
    required: bool = False


@dataclass(frozen=True)
class Attachment:
    """A manifest that is attached to an image, verified by its digest."""

    digest: str
    data: bytes
    artifact: manifests.Artifact
    in_index: bool
    """Whether the image's index names it, so that the index's digest covers it."""
    fits: bool
    """Whether it belongs to this platform's image or to all platforms. A pin may name one of another platform."""

    @property
    def documents(self) -> tuple[manifests.Descriptor, ...]:
        """The bills of materials in it, each once, except those for another platform."""
        found = {layer.digest: layer for layer in self.artifact.layers if _format(layer)} if self.fits else {}
        return tuple(found.values())


@dataclass(frozen=True)
class Subject:
    """The image to which attachments belong."""

    digest: str
    """Of the index, or of the manifest if there is no index."""
    top: manifests.Index | manifests.Manifest
    manifest_digest: str

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests that attachments can refer to: first the platform's manifest, then the index."""
        return tuple(dict.fromkeys((self.manifest_digest, self.digest)))


def wanted(choice: str, pins: str | None, flag: str) -> Wanted | None:
    """Return the bills that DOCKIN_FETCH_SBOM and the flag of SRC_URI request, None for none. Raises DockinError."""
    if choice not in CHOICES:
        raise DockinError(f"Invalid DOCKIN_FETCH_SBOM = {choice!r}: expected {', '.join(map(repr, CHOICES))}")
    digests = (pins or "").split()
    for digest in digests:
        reference.check_digest(digest, f"SRC_URI[{flag}]")
    chosen = tuple(sorted(set(digests)))
    if len(chosen) > MAX_ATTACHED:
        raise DockinError(f"SRC_URI[{flag}] names {len(chosen)} manifests, at most {MAX_ATTACHED} are read")
    return None if choice == "0" else Wanted(chosen, choice == "require")


def attestations(subject: Subject) -> list[manifests.Descriptor]:
    """Return the attestation manifests that an index has for a platform's image. Raises InvalidAttachment."""
    if not isinstance(subject.top, manifests.Index):
        return []
    found = [
        entry
        for entry in subject.top.manifests
        if entry.annotations.get(manifests.REFERENCE_TYPE) == manifests.ATTESTATION
        and entry.annotations.get(_REFERENCE_DIGEST) == subject.manifest_digest
    ]
    if len(found) > MAX_ATTACHED:
        raise InvalidAttachment(
            f"The index {subject.digest} names {len(found)} attestations of one image, at most {MAX_ATTACHED} are read"
        )
    return found


def candidates(pages: typing.Iterable[bytes]) -> list[str]:
    """Return the digests in lists of referrers that may be bills of materials, sorted. Raises DockinError."""
    kinds = (*SUFFIXES, *_VAGUE)
    found: set[str] = set()
    for page in pages:
        document = manifests.parse(page)
        if not isinstance(document, manifests.Index):
            raise InvalidAttachment("Invalid list of referrers: it is no index")
        entries = [entry for entry in document.manifests if entry.media_type in manifests.MANIFEST_TYPES]
        found.update(entry.digest for entry in entries if entry.artifact_type in kinds)
    if len(found) > MAX_ATTACHED:
        raise InvalidAttachment(f"{len(found)} manifests are attached, at most {MAX_ATTACHED} are read")
    return sorted(found)


def attach(subject: Subject, digest: str, data: bytes) -> Attachment:
    """Return a manifest, whose bytes have the digest, as an attachment of an image. Raises DockinError."""
    artifact = manifests.parse_artifact(data)
    if digest in [entry.digest for entry in attestations(subject)]:
        return Attachment(digest, data, artifact, True, True)
    of = artifact.subject.digest if artifact.subject else "nothing"
    fits = of in subject.digests
    others = subject.top.manifests if isinstance(subject.top, manifests.Index) else ()
    if not fits and of not in [entry.digest for entry in others]:
        raise InvalidAttachment(
            f"{digest} is attached to {of}, not to the image {subject.digest}; if it is in SRC_URI[sbom], remove it there"
        )
    return Attachment(digest, data, artifact, False, fits)


def choose(subject: Subject, found: list[Attachment]) -> list[Attachment]:
    """Choose from the listed attachments: those of the platform's manifest, or if there are none those of the index."""
    found = [one for one in found if one.documents and one.artifact.subject]
    for digest in subject.digests:
        these = [one for one in found if one.artifact.subject and one.artifact.subject.digest == digest]
        if these:
            return these
    return []


def check(subject: Subject, attachments: typing.Sequence[Attachment], asked: Wanted) -> None:
    """Raise InvalidAttachment unless the attachments are exactly those that the index and the pins name."""
    named = {entry.digest for entry in attestations(subject)}
    missing = named - {one.digest for one in attachments}
    if missing:
        raise InvalidAttachment(f"The attestation {min(missing)}, which the index names, is missing")
    listed = {one.digest for one in attachments if not one.in_index}
    pins = set(asked.pins) - named
    if asked.pins and listed != pins:
        one = min(listed ^ pins)
        what = "is missing" if one in pins else "is not pinned"
        raise InvalidAttachment(f"The attached manifest {one} {what}")


def documents(attachments: typing.Sequence[Attachment]) -> list[tuple[Attachment, manifests.Descriptor, str]]:
    """Return the bills of materials in a fixed order: the attachment of each, the descriptor of its bytes, its media type.

    Raises InvalidAttachment for bills that are too large.
    """
    found: dict[str, tuple[Attachment, manifests.Descriptor, str]] = {}
    size = 0
    for one in attachments:
        for document in one.documents:
            found.setdefault(document.digest, (one, document, _format(document)))
        # skopeo downloads all layers of the attachment.
        size += sum(layer.size for layer in one.artifact.layers) if one.documents else 0
        if size > MAX_SIZE:
            raise InvalidAttachment(f"The attachments up to {one.digest} have {size} bytes, at most {MAX_SIZE} are accepted")
    return list(found.values())


def file_name(stem: str, suffix: str, number: int) -> str:
    """Return the name of the number-th bill of materials with a suffix, from 1: busybox-1.36.1.spdx.json.

    '+', which no stem has, separates the number of further ones: busybox-1.36.1+2.spdx.json.
    """
    return stem + (f"+{number}" if number > 1 else "") + suffix


def extract(document: manifests.Descriptor, data: bytes, subject: Subject) -> bytes:
    """Return the bill of materials in a document, either the document itself or the predicate of a statement, unchanged.

    Raises InvalidAttachment, also for a statement about another image, and for a document that is no text.
    """
    if document.media_type != _IN_TOTO:
        kind = SUFFIXES[document.media_type].rpartition(".")[2]
        begin = data[:4096].removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n")
        if not begin.startswith(_BEGINNINGS[kind]) or b"\0" in data:
            raise InvalidAttachment(
                f"Invalid bill of materials {document.digest}: it is no text of the kind {document.media_type}; tell the"
                ' image\'s publisher, or set DOCKIN_FETCH_SBOM = "0"'
            )
        return data

    def failure(text: str) -> InvalidAttachment:
        return InvalidAttachment(f"Invalid statement {document.digest}: {text}")

    try:
        members = _members(data, failure)
        if len(data[members["subject"]]) > manifests.MAX_MANIFEST_SIZE:
            raise ValueError("its subject is too large")
        about = {"sha256:" + one["digest"]["sha256"] for one in foreignjson.loads(data[members["subject"]], failure)}
        predicate: bytes = data[members["predicate"]].strip()
        wrong = [digest for digest in about if not reference.is_digest(digest)]
    except (ValueError, KeyError, TypeError) as error:
        raise failure(f"{type(error).__name__}: {error}") from error
    if wrong:
        raise failure("its subject has an invalid digest")
    if not about & set(subject.digests):
        others = min(about) if len(about) == 1 else f"{len(about)} other images" if about else "nothing"
        raise InvalidAttachment(f"The statement {document.digest} is about {others}, not about the image {subject.digest}")
    if not predicate.startswith(b"{"):
        raise failure("its predicate is no JSON object")
    return predicate


def _members(data: bytes, failure: foreignjson.Failure) -> dict[str, typing.Any]:
    """Return the places of the members' values in the text of a JSON object, by name. Raises ValueError and failure's.

    The values are neither parsed nor checked: parsed, they could take forty times their size, or be nested too deeply for
    Python.
    """
    found: list[tuple[str, slice]] = []
    depth, name, start = 0, None, None
    for token in _TOKEN.finditer(data):
        kind = chr(data[token.start()])
        if depth == 0 and (kind != "{" or data[: token.start()].strip()):
            break
        if depth == 1 and kind == '"' and name is None:
            name, start = str(foreignjson.loads(token[0], failure)), None
        elif depth == 1 and kind == ":":
            start = token.end()
        elif depth == 1 and kind in ",}" and name is not None:
            if start is None:
                break
            found.append((name, slice(start, token.start())))
            if len(found) > MAX_MEMBERS:
                raise ValueError(f"it has more than {MAX_MEMBERS} members; a statement has 4")
            name = None
        depth += (kind in "[{") - (kind in "]}")
        if depth == 0:
            if data[token.end() :].strip():
                break
            return foreignjson.Object(found, failure)
    raise ValueError("it is no JSON object")


def _format(layer: manifests.Descriptor) -> str:
    """Return the media type of the bill of materials in a layer, "" if the layer has none."""
    if layer.media_type in SUFFIXES:
        return layer.media_type
    if layer.media_type == _IN_TOTO:
        predicate = layer.annotations.get(_PREDICATE_TYPE, "")
        return next((kind for pattern, kind in _PREDICATES if pattern.fullmatch(predicate)), "")
    return ""
