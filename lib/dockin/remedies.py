# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What to do about each kind of failure to get something from a registry (the kinds are skopeo.py's)."""

from __future__ import annotations

_REMEDIES = {
    "auth": "log in with 'skopeo login {registry}' or name a login file in DOCKIN_AUTHFILE; some registries answer like"
    " this where there is no such image. Looked for a login in: {logins}",
    "denied": "the login has no right to this image, or there is none. Looked for a login in: {logins}",
    "login": "the credential helper failed. Looked for a login in: {logins}",
    "not-found": "the registry has no such tag or digest: correct it in SRC_URI or SRC_URI[sha256sum]; a digest that was"
    " there once may have been removed upstream",
    "rate-limited": "the registry limits how much one may fetch: log in with 'skopeo login {registry}', use a mirror,"
    " or wait",
    "tls": "for a private CA set DOCKIN_CERT_DIR, for a registry without TLS DOCKIN_TLS_VERIFY = \"0\" or insecure in"
    " registries.conf",
    "policy": "skopeo's policy forbids it or is missing: see containers-policy.json(5) and DOCKIN_POLICY",
    "disk": "make room on the file system of DL_DIR, or make it writable",
    "content": "the registry served something else than it announced",
    "network": "the registry could not be reached: check its name, the network and the proxy variables",
    "server": "the registry has a fault of its own: try again later or use a mirror",
}


def remedy(kind: str, registry: str, logins: str) -> str:
    """Return what the user can do, "" where nothing is known; logins says where logins were looked for."""
    return _REMEDIES.get(kind, "").format(registry=registry, logins=logins)
