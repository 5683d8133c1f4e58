# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Looks references up in their registries, for digests, documents and tags, at the least cost.

The client (client.py) gives ordinary answers quickly, and for no counted pull. Its answers have to agree with those of
skopeo, by which the fetcher asks. Therefore skopeo is asked if the user's configuration of a registry is special
(mirrors in registries.conf, client certificates, proxies, an unreadable login), and to confirm any error of the client.
"""

from __future__ import annotations

import collections.abc
import os
import pathlib
import ssl
import threading
import types
import typing
import urllib.request
from dataclasses import dataclass, replace

from dockin import defaults
from dockin.errors import DockinError
from dockin.image import manifests, platforms, tarball
from dockin.image.reference import ImageReference
from dockin.registry import client, credentials, registriesconf, remedies, runner, skopeo
from dockin.registry.client import ResolveError
from dockin.registry.retries import SILENT

__all__ = ["MODES", "ResolveError", "Resolver"]

MODES = ("auto", "http", "skopeo")
"""Values of DOCKIN_RESOLVER."""

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# skopeo waits for a rate limit itself, for half a minute, before it fails.
_SKOPEO_PATIENCE = 60.0

_Answer = typing.TypeVar("_Answer")


@dataclass(frozen=True)
class _Way:
    """How to ask a registry: by skopeo with a reason, or directly."""

    reason: str = ""
    access: client.Access | None = None


class Resolver:
    """Looks references up, one object for each run. Thread-safe; a context manager. Each answer is fetched once."""

    def __init__(
        self,
        options: skopeo.Options,
        environment: collections.abc.Mapping[str, str],
        mode: str | None = None,
        timeout: float = 30,
        retries: int = 3,
    ) -> None:
        """environment is the user's, with logins, proxies and skopeo's settings. Raises DockinError.

        timeout is in seconds for one request; mode is the value of DOCKIN_RESOLVER, None or "" for the default.
        """
        mode = mode or defaults.DEFAULTS["DOCKIN_RESOLVER"]
        if mode not in MODES:
            raise DockinError(f"Invalid resolver {mode!r}: expected {', '.join(MODES)}")
        self.statistics = client.Statistics()
        self._options = options
        self._environment = dict(environment)
        self._mode = mode
        self._credentials = credentials.Credentials(options.authfile, self._environment)
        self._conf = registriesconf.RegistriesConf(options.registries_conf, self._environment)
        self._client = client.Client(self._credentials, self._access, self.statistics, timeout, retries)
        self._patience = timeout + _SKOPEO_PATIENCE
        self._runner = runner.Runner(options, self._environment, self._patience, retries)
        self._ways: dict[str, _Way] = {}
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._documents: dict[ImageReference, bytes] = {}
        self._digests: dict[ImageReference, str] = {}
        self._turns: dict[tuple[str, ImageReference], threading.Lock] = {}
        self._types: dict[str, str] = {}

    def __enter__(self) -> Resolver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def digest(self, reference: ImageReference) -> str:
        """Return the current digest of the index or manifest of a tag or digest. Raises ResolveError."""
        key = reference.pinned
        with self._turn("digest", key):
            if key not in self._digests:
                self._digests[key] = self._digest(reference)
            return self._digests[key]

    def digest_read(self, reference: ImageReference) -> str:
        """Return the digest of the bytes that document() returns for a tag. Raises ResolveError."""
        return manifests.digest_of(self.document(reference))

    def document(self, reference: ImageReference) -> bytes:
        """Return the bytes of an index or manifest, checked against the reference's digest, if any. Raises ResolveError."""
        with remedies.explained(reference, self._credentials, self._options):
            return self._fetch(reference)

    def image(self, reference: ImageReference, platform: platforms.Platform) -> tarball.Image:
        """Return the documents of a platform's image, verified from the top down to the config, without layers.

        Raises ResolveError, InvalidManifest, PlatformError, InvalidTarball.
        """
        top = self.document(reference)
        digest = manifests.digest_of(top)
        return tarball.make_image(digest, top, platform, self._reader(replace(reference, tag=None, digest=digest)))

    def entry(self, reference: ImageReference, index: manifests.Index, platform: platforms.Platform) -> manifests.Descriptor:
        """Return the platform's entry in a reference's index.

        Raises ResolveError, InvalidManifest, PlatformError, InvalidTarball.
        """
        return tarball.choose(index, platform, self._reader(reference))

    def config(
        self, reference: ImageReference, platform: platforms.Platform | None = None
    ) -> tuple[str, str, manifests.Config]:
        """Return manifest digest, config digest and config of a platform's image, or of the first image.

        Raises ResolveError, InvalidManifest, PlatformError, InvalidTarball.
        """
        document = manifests.parse(self.document(reference))
        if isinstance(document, manifests.Index):
            images = [entry for entry in document.manifests if entry.platform is None or entry.platform.os != "unknown"]
            if not images:
                raise manifests.InvalidManifest(f"{reference} has no image in its index")
            entry = self.entry(reference, document, platform) if platform else images[0]
            reference = replace(reference, tag=None, digest=entry.digest)
            document = manifests.parse(self.document(reference))
        if not isinstance(document, manifests.Manifest):
            raise manifests.InvalidManifest(f"Unsupported index {reference}: its entry is an index again")
        with remedies.explained(reference, self._credentials, self._options):
            data = self._config(reference, document.config)
        tarball.check_bytes(data, document.config.digest, "config")
        manifest_digest = reference.digest or manifests.digest_of(self.document(reference))
        return manifest_digest, document.config.digest, manifests.parse_config(data)

    def tags(self, reference: ImageReference) -> list[str]:
        """Return the tags of a reference's repository. Raises ResolveError."""
        with remedies.explained(reference, self._credentials, self._options):
            return self._ask(reference, self._client.tags, self._skopeo_tags)

    def referrers(self, reference: ImageReference) -> list[bytes] | None:
        """Return the pages of the registry's referrers of a reference's digest.

        None if they are not available: the registry has no such lists, or only skopeo can access it, which has no
        command for them. Raises ResolveError.
        """
        with remedies.explained(reference, self._credentials, self._options):
            if self._by_skopeo(reference):
                return None
            try:
                return self._client.referrers(reference)
            except ResolveError as error:
                if self._decides(error) or error.kind not in ("auth", "login", "tls", "content"):
                    raise
                return None

    def document_kind(self, digest: str) -> str:
        """Return "index" or "manifest" for the digest of a document that was looked up, "" for another digest."""
        media_type = self._types.get(digest, "")
        if not media_type:
            with self._lock:
                data = next((data for key, data in self._documents.items() if key.digest == digest), None)
            try:
                media_type = manifests.parse(data).media_type if data else ""
            except manifests.InvalidManifest:
                media_type = ""
        if media_type in manifests.INDEX_TYPES:
            return "index"
        return "manifest" if media_type in manifests.MANIFEST_TYPES else ""

    def kind(self, reference: ImageReference) -> str:
        """Return how a reference is looked up: "http-head" or "skopeo"."""
        return "skopeo" if self._by_skopeo(reference) else "http-head"

    def reason(self, reference: ImageReference) -> str:
        """Return why a registry is asked by skopeo, "" if it is not."""
        return self._way(reference).reason

    def _reader(self, manifest: ImageReference) -> typing.Callable[[manifests.Descriptor], bytes]:
        """Return a reader of the manifests that an index names, and of the config of the manifest read last."""

        def read_blob(blob: manifests.Descriptor) -> bytes:
            nonlocal manifest
            if blob.media_type in manifests.MANIFEST_TYPES:
                manifest = replace(manifest, tag=None, digest=blob.digest)
                return self.document(manifest)
            with remedies.explained(manifest, self._credentials, self._options):
                return self._config(manifest, blob)

        return read_blob

    def _digest(self, reference: ImageReference) -> str:
        with remedies.explained(reference, self._credentials, self._options):
            found = self._ask(reference, self._client.head, lambda _: None)
            if found:
                digest, self._types[found[0]] = found
                return digest
            data = self._fetch(reference)
            # A schema 1 manifest is signed: its digest covers only the payload, not these bytes. parse() refuses it.
            manifests.parse(data)
            return manifests.digest_of(data)

    def _turn(self, what: str, key: ImageReference) -> threading.Lock:
        """Return the lock that makes threads with the same question ask once."""
        with self._lock:
            return self._turns.setdefault((what, key), threading.Lock())

    def _fetch(self, reference: ImageReference) -> bytes:
        key = reference.pinned
        with self._turn("document", key):
            with self._lock:
                known = self._documents.get(key)
            if known is not None:
                return known
            data = _matching(reference, self._ask(reference, self._manifest, self._skopeo_manifest))
            with self._lock:
                self._documents[key] = self._documents[replace(key, tag=None, digest=manifests.digest_of(data))] = data
            return data

    def _manifest(self, reference: ImageReference) -> bytes:
        data = _matching(reference, self._client.manifest(reference))
        try:
            manifests.parse(data)
        except manifests.InvalidManifest as error:
            raise ResolveError("content", str(error)) from error
        return data

    def _config(self, manifest: ImageReference, blob: manifests.Descriptor) -> bytes:
        return self._ask(
            manifest, lambda _: self._client.blob(manifest, blob.digest, blob.size), self._skopeo_config
        )

    def _skopeo_manifest(self, reference: ImageReference) -> bytes:
        return self._skopeo(skopeo.inspect_argv(self._options, reference), reference, 2, 1)

    def _skopeo_config(self, reference: ImageReference) -> bytes:
        return self._skopeo(skopeo.config_argv(self._options, reference), reference, 3, 1)

    def _skopeo_tags(self, reference: ImageReference) -> list[str]:
        output = self._skopeo(skopeo.list_tags_argv(self._options, reference), reference, 2, 0)
        try:
            return skopeo.parse_tags(output.decode(errors="replace"))
        except skopeo.SkopeoError as error:
            raise ResolveError("content", str(error)) from error

    def _skopeo(self, argv: list[str], reference: ImageReference, requests: int, counted_pulls: int) -> bytes:
        """Return skopeo's output; requests and counted_pulls are the least cost of the call. Raises ResolveError."""
        try:
            output = self._runner.run(argv, reference, lambda: self.statistics.count(requests))
        except ResolveError as error:
            if error.kind == SILENT:
                text = f"{reference.registry}: skopeo got no answer within {self._patience:g} s"
                raise ResolveError("network", text) from error
            raise ResolveError(error.kind, f"{reference.pinned.canonical}: {error}") from error
        self.statistics.count(0, counted_pulls)
        return output

    def _ask(
        self,
        reference: ImageReference,
        directly: typing.Callable[[ImageReference], _Answer],
        by_skopeo: typing.Callable[[ImageReference], _Answer],
    ) -> _Answer:
        """Return the client's answer, or skopeo's if the client is not certain. Raises ResolveError."""
        if self._by_skopeo(reference):
            return by_skopeo(reference)
        try:
            return directly(reference)
        except ResolveError as error:
            if self._decides(error):
                raise
            failure = error
        try:
            answer = by_skopeo(reference)
        except ResolveError as error:
            # skopeo decides whether something exists; for other errors the client's message is better. For an error code
            # that it does not know, as Harbor's for a missing image, skopeo repeats the message without the status.
            same = error.kind == failure.kind or (error.kind == "other" and ": unknown: " in str(error))
            if "not-found" in (failure.kind, error.kind) and not same:
                raise
            raise failure from None
        with self._lock:
            self._ways[reference.name] = _Way(str(failure))
        return answer

    def _decides(self, error: ResolveError) -> bool:
        """Tell whether the client's error is final: skopeo knows no better, or the user excludes it."""
        return self._mode != "auto" or isinstance(error, client.FinalError)

    def _by_skopeo(self, reference: ImageReference) -> bool:
        return bool(self._way(reference).reason)

    def _access(self, reference: ImageReference) -> client.Access:
        access = self._way(reference).access
        assert access
        return access

    def _way(self, reference: ImageReference) -> _Way:
        with self._lock:
            way = self._ways.get(reference.name)
            if way is None:
                way = self._ways[reference.name] = self._choose(reference)
            return way

    def _choose(self, reference: ImageReference) -> _Way:
        if self._mode == "skopeo":
            return _Way("DOCKIN_RESOLVER is skopeo")
        route = self._conf.route(reference.registry, reference.repository)
        insecure = route.insecure or not self._options.tls_verify
        directory = _certificates(self._options.cert_dir, reference.registry, self._environment)
        if self._mode == "auto":
            reason = route.special or _proxy(reference.registry, self._environment) or _client_certificate(directory)
            reason = reason or self._unreadable_login(reference)
            if reason:
                return _Way(reason)
        key = (directory, insecure)
        if key not in self._contexts:
            # Reading the system's certificates takes longer than a look-up.
            self._contexts[key] = _context(directory, insecure)
        return _Way(access=client.Access(self._contexts[key], insecure))

    def _unreadable_login(self, reference: ImageReference) -> str:
        """Return why an unreadable login requires skopeo, which may need it even for a public image; "" if it does not."""
        try:
            self._credentials.find(reference.registry, reference.repository)
        except credentials.CredentialError as error:
            return str(error)
        return ""


def _matching(reference: ImageReference, data: bytes) -> bytes:
    """Return a received document. Raises ResolveError if it does not match the reference's digest."""
    actual = manifests.digest_of(data)
    if reference.digest and actual != reference.digest:
        raise ResolveError("content", f"{reference.registry} sent {actual} for {reference.digest}")
    return data


def _certificates(chosen: str, host: str, environment: collections.abc.Mapping[str, str]) -> str:
    """Return the directory with a registry's certificates, "" if there is none.

    https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md
    """
    if chosen:
        return chosen
    home = environment.get("HOME", "")
    parents = [os.path.join(home, ".config/containers/certs.d")] if home else []
    parents += ["/etc/containers/certs.d", "/etc/docker/certs.d"]
    paths = [os.path.join(parent, host) for parent in parents]
    return next((path for path in paths if os.path.isdir(path)), "")


def _client_certificate(directory: str) -> str:
    """Return why a client certificate requires skopeo, "" if there is none."""
    found = sorted(pathlib.Path(directory).glob("*.cert")) if directory else []
    return f"{found[0]} is a client certificate" if found else ""


def _context(directory: str, insecure: bool) -> ssl.SSLContext:
    """Return the TLS settings, with the system's certificates and those in a directory. Raises ResolveError."""
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
    for path in sorted(pathlib.Path(directory).glob("*.crt")) if directory else []:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ResolveError("tls", f"Can't read the certificate {path}: {error}") from error
    for certificate in sorted(pathlib.Path(directory).glob("*.cert")) if directory else []:
        try:
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise ResolveError("tls", f"Can't read the client certificate {certificate} or its key: {error}") from error
    return context


def _proxy(host: str, environment: collections.abc.Mapping[str, str]) -> str:
    """Return why a proxy requires skopeo, "" if there is none."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    if name in _LOOPBACK or name.startswith("127."):
        return ""
    for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        if not environment.get(variable):
            continue
        exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
        asked = "registry-1.docker.io" if host == "docker.io" else host
        if urllib.request.proxy_bypass_environment(asked, {"no": exceptions}):  # type: ignore[attr-defined]
            return ""
        return f"{variable} is set"
    return ""
