# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Command lines for skopeo, and the meaning of its failures. This module runs nothing.

https://github.com/containers/skopeo/tree/main/docs; tested with 1.9.3 (Debian 12), the oldest supported version.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass

from dockin.errors import DockinError, one_line, without_secrets
from dockin.image.reference import ImageReference, tags_in

MINIMUM_VERSION = (1, 9, 3)
MAX_MESSAGE = 4000
"""Longest part of an error message that is parsed and printed, in characters."""

ENVIRONMENT = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "GNUPGHOME")
"""Variables with skopeo's logins, configuration and keys, which BitBake filters out of tasks."""


class SkopeoError(DockinError):
    """skopeo's output is not understood, or skopeo is too old."""


@dataclass(frozen=True)
class Options:
    """How to call skopeo; empty strings leave a choice to skopeo."""

    command: tuple[str, ...] = ("skopeo",)
    authfile: str = ""
    cert_dir: str = ""
    policy: str = ""
    registries_conf: str = ""
    registries_d: str = ""
    tls_verify: bool = True


@dataclass(frozen=True)
class Failure:
    """Why skopeo failed."""

    kind: str
    """One of the kinds in _KINDS, "signal", "other" or retries.SILENT."""
    message: str
    """skopeo's last message, on one line."""


# The forms of a status in all versions: "StatusCode: 403", "HTTP status: 503", "status code from registry 404".
_STATUS = r"(?:StatusCode:|HTTP status:|from registry) "

# The first match decides: a rate limit also mentions missing authentication, and a registry that hides an image calls it
# unauthorized. The texts are those of github.com/containers/image and of registries.
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("disk", r"no space left on device|disk quota exceeded|read-only file system"),
        ("sigstore", r"sigstore disabled"),
        ("unsigned", r"no signature exists"),
        ("policy", r"none of the signatures"),
        ("signer", r"invalid GPG signature|signature verification failed"),
        ("moved", r"signature for identity"),
        ("replaced", r"signature for digest"),
        ("policy", r"source image rejected|policy\.json|trust policy|signature"),
        ("rate-limited", rf"toomanyrequests|too many requests|{_STATUS}429"),
        ("login", r"error getting credentials|docker-credential-"),
        # Not for a missing image, but for /v2/ or the token server.
        ("no-registry", r"\bpinging\b.*\b404\b"),
        (
            "auth",
            rf"unauthorized|authentication required|invalid username/password|{_STATUS}401|bearer token\b.*\b404\b",
        ),
        ("file", r"\b(?:open|mkdir|rename|unlinkat|chmod|lstat|stat|readlink) /[^:]*: permission denied"),
        ("denied", rf"\bdenied\b|forbidden|{_STATUS}403"),
        ("not-found", rf"manifest unknown|name unknown|blob unknown|not known to registry|{_STATUS}404"),
        # A connection that broke off, though the message is one of TLS.
        ("network", r"bad record MAC"),
        ("tls", r"x509|certificate|server gave HTTP response to HTTPS client|tls: "),
        ("server", rf"{_STATUS}5(?!01|05)\d\d|internal server error|bad gateway|service unavailable|gateway timeout"),
        ("content", r"digest did not match|does not match|mismatch|unsupported manifest|invalid character|invalid image"),
        (
            "network",
            r"connection refused|connection reset|broken pipe|timeout|timed out|deadline exceeded|\bEOF\b|no such host"
            r"|name resolution|unreachable|no route to host|server misbehaving|closed network connection"
            r"|stream error: stream|\bGOAWAY\b|connection lost|closed idle connection|transport connection broken"
            rf"|{_STATUS}(?:408|499)",
        ),
    )
)

# The image's names in skopeo's messages, which may contain any of those words.
_NAMES = re.compile(r"(?:docker|oci|https?)://[^\s\"]*|\b(?:manifest \S+ in|container registry|lookup) \S+")

# Secrets: signatures in the address of a redirect, a password in any address, and the output of a credential helper that
# failed.
_ADDRESS = re.compile(r"((?:https?|docker)://)(?:[^/\s\"@]*@)?([^\s\"?#]*)(?:[?#][^\s\"]*)?")
_ANSWER = re.compile(r"`[^`]*(?:secret|password|token)[^`]*(?:`|$)", re.IGNORECASE)

_FATAL = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_VERSION = re.compile(r"version (\d+)\.(\d+)(?:\.(\d+))?")


def inspect_argv(options: Options, reference: ImageReference) -> list[str]:
    """Return the command that prints the bytes of an index or manifest, in one request for any platforms."""
    return [*_base(options), "inspect", "--raw", *_registry(options), _name(reference)]


def config_argv(options: Options, reference: ImageReference) -> list[str]:
    """Return the command that prints the bytes of an image's config; the reference has the manifest's digest."""
    return [*_base(options), "inspect", "--config", "--raw", *_registry(options), _name(reference)]


def list_tags_argv(options: Options, reference: ImageReference) -> list[str]:
    """Return the command that prints a repository's tags as JSON."""
    return [*_base(options), "list-tags", *_registry(options), f"docker://{reference.name}"]


def copy_argv(options: Options, reference: ImageReference, layout: str, blobs: str, scratch: str) -> list[str]:
    """Return the command that downloads one platform's image, given by digest, byte-exact.

    The blobs go into the directory blobs, as sha256/<hex>; existing ones are not downloaded. layout gets an OCI layout
    that is not used; scratch is for skopeo's temporary files, which would otherwise go into /var/tmp.
    """
    return [
        *_base(options),
        "--tmpdir",
        scratch,
        "copy",
        "--preserve-digests",
        # skopeo still checks them, but an OCI layout has no place for them, which would be an error.
        "--remove-signatures",
        *_registry(options, "src-"),
        "--dest-shared-blob-dir",
        blobs,
        _name(reference),
        f"oci:{layout}:image",
    ]


def version_argv(options: Options) -> list[str]:
    """Return the command that prints skopeo's version."""
    return [*options.command, "--version"]


def check_version(output: str) -> None:
    """Raise SkopeoError if the output of version_argv() is from a skopeo that is too old."""
    match = _VERSION.search(output)
    if not match:
        raise SkopeoError(f"Can't tell the version of skopeo from {output.strip()!r}")
    version = tuple(int(part or 0) for part in match.groups())
    if version < MINIMUM_VERSION:
        raise SkopeoError(
            f"skopeo {'.'.join(map(str, version))} is too old: {'.'.join(map(str, MINIMUM_VERSION))} or later is needed;"
            " install a newer one on this host"
        )


def parse_tags(output: str) -> list[str]:
    """Return the tags in the output of list_tags_argv(). Raises SkopeoError."""
    try:
        document = json.loads(output)
        return tags_in(document["Tags"], str(document.get("Repository", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = without_secrets(output)[:200]
        raise SkopeoError(f"skopeo list-tags printed no list of tags ({error}): {said!r}") from error


def classify(stderr: str, number: int = 0) -> Failure:
    """Return the meaning of a failed skopeo's error output; number is the signal that ended it, or 0."""
    if number > 0:
        return Failure("signal", f"skopeo was ended by {_signal_name(number)}")
    fatal = _FATAL.findall(stderr)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    message = lines[-1] if lines else "no output"
    if fatal:
        # Go quotes the message: \" for a quote, \n for a new line.
        message = re.sub(r"\\(.)", lambda escape: " " if escape[1] in "nt" else escape[1], fatal[-1])
    message = _without_secrets(one_line(message).strip()) or "no output"
    if len(message) > MAX_MESSAGE:
        # A registry's message, of which skopeo reads a megabyte, between parts of skopeo's own.
        message = f"{message[: MAX_MESSAGE // 2]} … {message[-MAX_MESSAGE // 2 :]}"
    words = _NAMES.sub(" ", message)
    for kind, pattern in _KINDS:
        if pattern.search(words):
            return Failure(kind, message)
    return Failure("other", message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _without_secrets(message: str) -> str:
    """Return a message without secrets."""
    return without_secrets(_ANSWER.sub("`…`", _ADDRESS.sub(r"\1\2", message)))


def _base(options: Options) -> list[str]:
    argv = list(options.command)
    if options.policy:
        argv += ["--policy", options.policy]
    if options.registries_conf:
        argv += ["--registries-conf", options.registries_conf]
    if options.registries_d:
        argv += ["--registries.d", options.registries_d]
    return argv


def _registry(options: Options, side: str = "") -> list[str]:
    argv = []
    if options.authfile:
        argv += ["--authfile", options.authfile]
    if options.cert_dir:
        argv += [f"--{side}cert-dir", options.cert_dir]
    if not options.tls_verify:
        argv += [f"--{side}tls-verify=false"]
    return argv


def _name(reference: ImageReference) -> str:
    # skopeo refuses a tag beside a digest
    return f"docker://{reference.pinned}"
