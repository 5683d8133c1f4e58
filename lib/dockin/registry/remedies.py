# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Remedies for each kind of failure of a registry (skopeo.py has the kinds)."""

from __future__ import annotations

import contextlib
import typing

from dockin.image.reference import ImageReference
from dockin.registry import credentials, skopeo
from dockin.registry.client import ResolveError

_REMEDIES = {
    "auth": "log in with 'skopeo login {registry}' or name a login file in DOCKIN_AUTHFILE; some registries answer like"
    " this where there is no such image. Looked for a login in: {logins}",
    "denied": "the login has no right to this image, or there is none. Looked for a login in: {logins}",
    "file": "this user may not use that file of the host: correct its permissions",
    "login": "the credential helper failed. Looked for a login in: {logins}",
    "no-registry": "the server there is no registry: check its name and port in SRC_URI",
    "not-found": "the registry has no such tag or digest: correct it in SRC_URI or SRC_URI[sha256sum]; a digest that was"
    " there once may have been removed upstream",
    "rate-limited": "the registry limits pulls: log in with 'skopeo login {registry}', use a mirror, or wait",
    "tls": "for a private CA set DOCKIN_CERT_DIR, for a registry without TLS DOCKIN_TLS_VERIFY = \"0\" or insecure in"
    " registries.conf",
    "policy": "{policy} forbids it, or the key or signature that it needs can't be read: see containers-policy.json(5)",
    "unsigned": "{policy} wants a signature, and there is none in the place that {registries_d} names for {registry}:"
    " correct that, or get the image signed. Sign the platform's manifest: a signature of the index alone does not count",
    "signer": "it is signed with a key that {policy} does not name: add the key if you trust its owner",
    "moved": "{policy} accepts only signatures for this image's own name: get it signed under that name, or, if it was"
    " copied on purpose, name the original by signedIdentity in the policy",
    "replaced": "{policy} wants a signature of this image, but the one under its name is of another image: get this one"
    " signed",
    "sigstore": "{policy} wants a sigstore signature, which this host's skopeo, like Debian 12's, cannot check: name another"
    " skopeo in FETCHCMD_docker",
    "disk": "make room on the file system of DL_DIR, or make it writable",
    "signal": "it was killed by a user, or by the kernel for lack of memory: see the kernel's log",
    "content": "the registry served something else than it announced",
    "network": "the registry could not be reached: check its name, the network and the proxy variables",
    "server": "the registry has a fault of its own: try again later or use a mirror",
}


@contextlib.contextmanager
def explained(
    reference: ImageReference, logins: credentials.Credentials, options: skopeo.Options
) -> typing.Iterator[None]:
    """Add the remedy to a ResolveError."""
    try:
        yield
    except ResolveError as error:
        host = reference.registry
        advice = remedy(error.kind, host, logins.describe(host), options)
        if not advice or "\n" in str(error):
            raise
        raise ResolveError(error.kind, f"{error}\n{advice}") from error


def remedy(kind: str, registry: str, logins: str, options: skopeo.Options) -> str:
    """Return the remedy, "" if none is known; logins is the text about the searched login files."""
    return _REMEDIES.get(kind, "").format(
        registry=registry,
        logins=logins,
        policy=_setting("DOCKIN_POLICY", options.policy, "policy.json"),
        registries_d=_setting("DOCKIN_REGISTRIES_D", options.registries_d, "registries.d"),
    )


def _setting(variable: str, value: str, default: str) -> str:
    return f"{variable} = {value!r}" if value else f"the host's {default} ({variable} is not set)"
