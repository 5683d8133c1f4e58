# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Bills of materials as publishers attach them: BuildKit's attestations in an index, and referrers.

    built = attachments.attested([image], {SPDX: bill})      # an index, as `docker buildx build --sbom=true` pushes it
    server.push(built, "team/app", "v1")
    bill = attachments.referrer(image, bill)                 # as `oras attach` does, to a registry without a list of its own
    attachments.attach(server, "team/app", image, [bill])
"""

from __future__ import annotations

import contextlib
import json

from typing import Any, Mapping, Sequence

from support import images, registry

SPDX = "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
PROVENANCE = "https://slsa.dev/provenance/v0.2"
SPDX_TYPE = "application/spdx+json"
EMPTY = images.Blob("application/vnd.oci.empty.v1+json", b"{}")


def bill(name: str) -> dict[str, Any]:
    """Return a small SPDX document."""
    return {
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "dataLicense": "CC0-1.0", "name": name,
        "documentNamespace": f"https://example.com/{name}", "packages": [{"name": "bäsis", "SPDXID": "SPDXRef-1"}],
    }


def bill_blob(name: str, media_type: str = SPDX_TYPE) -> images.Blob:
    """Return it as it is pushed by itself."""
    return images.Blob(media_type, images.to_json(bill(name)))


def attestation(subject: images.Manifest, predicates: Mapping[str, Any], about: str = "") -> images.Manifest:
    """Return BuildKit's attestation manifest of an image: statements by type of predicate; about another digest, to lie."""
    layers, descriptors = [], []
    for kind, predicate in predicates.items():
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1", "predicateType": kind, "predicate": predicate,
            "subject": [{"name": "pkg:docker/app", "digest": {"sha256": (about or subject.digest).partition(":")[2]}}],
        }
        blob = images.Blob(images.IN_TOTO, images.to_json(statement))
        layers.append(blob)
        descriptors.append(blob.descriptor(annotations={"in-toto.io/predicate-type": kind}))
    rootfs = {"type": "layers", "diff_ids": [blob.digest for blob in layers]}
    config = images.Blob(
        images.OCI_CONFIG, images.to_json({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs}))
    content = {
        "schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": config.descriptor(), "layers": descriptors}
    names = (("vnd.docker.reference.digest", subject.digest), ("vnd.docker.reference.type", "attestation-manifest"))
    data = images.to_json(content)
    return images.Manifest(images.OCI_MANIFEST, data, config, tuple(layers), "unknown/unknown", names)


def attested(children: Sequence[images.Manifest], predicates: Mapping[str, Any], about: str = "") -> images.Index:
    """Return an index of images, each with an attestation manifest."""
    return images.index([*children, *(attestation(child, predicates, about) for child in children)])


def referrer(
    subject: images.Blob, document: images.Blob, artifact_type: str = SPDX_TYPE, **annotations: str
) -> images.Manifest:
    """Return a manifest of a document whose subject is an image's manifest or index."""
    content = {
        "schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "artifactType": artifact_type, "config": EMPTY.descriptor(),
        "layers": [document.descriptor()], "subject": subject.descriptor(), "annotations": annotations,
    }
    return images.Manifest(images.OCI_MANIFEST, images.to_json(content), EMPTY, (document,))


def list_of(referrers: Sequence[images.Manifest]) -> images.Blob:
    """Return the list that a registry has of them, or that a client puts under a tag."""
    entries = [{**one.descriptor(), "artifactType": _artifact_type(one)} for one in referrers]
    return images.Blob(
        images.OCI_INDEX, images.to_json({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": entries}))


def attach(
    server: registry.Registry, repository: str, subject: images.Blob, referrers: Sequence[images.Manifest]
) -> None:
    """Push what is attached to an image, and the list of it under a tag."""
    with contextlib.closing(server.client()) as client:
        for one in referrers:
            one.push(client, repository)
        client.push_manifest(repository, list_of(referrers), subject.digest.replace(":", "-"))


def _artifact_type(one: images.Manifest) -> str:
    return json.loads(one.data)["artifactType"]
