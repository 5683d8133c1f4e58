# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Look into image tarballs without the code under test."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

_BLOBS = "blobs/sha256/"


def documents(path: Path) -> dict[str, bytes]:
    """Return the blobs in an image tarball by digest: the digest of their bytes, not their name."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.startswith(_BLOBS):
                content = tar.extractfile(member)
                assert content
                data = content.read()
                digest = hashlib.sha256(data).hexdigest()
                assert member.name == _BLOBS + digest, f"{member.name} holds sha256:{digest}"
                found["sha256:" + digest] = data
    return found


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
