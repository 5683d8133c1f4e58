# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Keys, and signatures of images as their publishers make them: GPG simple signing, and sigstore's with a key.

    with signing.Keyring() as keys:
        publisher = keys.gpg("publisher")
        publisher.sign(image, "registry.example/team/app:v1", lookaside / "team/app")
        sigstore = keys.sigstore("publisher")
        sigstore.attach(image, "registry.example/team/app", client, "team/app")
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support import images

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SECONDS = 60


class Keyring:
    """Makes keys; a context manager, after which they are gone."""

    def __init__(self) -> None:
        # Not below pytest's directory: gpg-agent's socket can't have a long path.
        self.directory = Path(tempfile.mkdtemp(prefix="keys-"))
        self.environment = {**os.environ, "GNUPGHOME": str(self.directory)}

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, *_: object) -> None:
        self.run("gpgconf", "--kill", "all")
        shutil.rmtree(self.directory)

    def gpg(self, name: str) -> GpgKey:
        """Return a new GPG key."""
        user = f"{name}@example.com"
        self.run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never")
        listed = self.run("gpg", "--list-keys", "--with-colons", user).decode()
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        public = self.directory / f"{name}.gpg"
        public.write_bytes(self.run("gpg", "--export", fingerprint))
        return GpgKey(self, fingerprint, public)

    def sigstore(self, name: str) -> SigstoreKey:
        """Return a new key of the kind that cosign makes."""
        private, public = self.directory / f"{name}.key", self.directory / f"{name}.pub"
        self.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private))
        self.run("openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public))
        return SigstoreKey(self, private, public)

    def run(self, *argv: str, data: bytes = b"") -> bytes:
        """Return what a command prints that has this keyring."""
        return subprocess.run(
            argv, input=data, env=self.environment, check=True, stdout=subprocess.PIPE, timeout=SECONDS
        ).stdout


@dataclass(frozen=True)
class GpgKey:
    keyring: Keyring
    fingerprint: str
    public: Path

    def sign(self, document: images.Blob, identity: str, lookaside: Path, signed: images.Blob | None = None) -> None:
        """Put a signature of a manifest or index, as the image identity, into a repository's directory of a lookaside.

        signed is what is really signed, where that is something else.
        """
        folder = lookaside.with_name(f"{lookaside.name}@{document.digest.replace(':', '=')}")
        folder.mkdir(parents=True, exist_ok=True)
        file = self.keyring.directory / "manifest.json"
        file.write_bytes((signed or document).data)
        signature = folder / f"signature-{len(list(folder.iterdir())) + 1}"
        self.keyring.run("skopeo", "standalone-sign", str(file), identity, self.fingerprint, "-o", str(signature))


@dataclass(frozen=True)
class SigstoreKey:
    keyring: Keyring
    private: Path
    public: Path

    def attach(self, document: images.Blob, identity: str, client: images.Client, repository: str) -> None:
        """Push a signature of a manifest or index, as the image identity, as `cosign sign --key` does.

        https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
        """
        image = {"docker-manifest-digest": document.digest}
        critical = {
            "identity": {"docker-reference": identity}, "image": image, "type": "cosign container image signature",
        }
        payload = images.Blob(SIMPLE_SIGNING, images.to_json({"critical": critical, "optional": None}))
        signature = self.keyring.run("openssl", "dgst", "-sha256", "-sign", str(self.private), data=payload.data)
        about = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
        rootfs = {"type": "layers", "diff_ids": [payload.digest]}
        config = images.Blob(
            images.OCI_CONFIG, images.to_json({"architecture": "", "os": "", "config": {}, "rootfs": rootfs})
        )
        content = {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": [payload.descriptor(annotations=about)],
        }
        for blob in (payload, config):
            client.push_blob(repository, blob)
        manifest = images.Blob(images.OCI_MANIFEST, images.to_json(content))
        client.push_manifest(repository, manifest, document.digest.replace(":", "-") + ".sig")
