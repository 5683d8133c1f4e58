# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A client for the pull side of the registry API, with the standard library, which looks tags up without counted pulls.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md
    https://distribution.github.io/distribution/spec/auth/token/

skopeo asks by GET, which Docker Hub counts as a pull; this client asks by HEAD, which does not count. It keeps a connection
for each host and thread, and remembers the hosts' challenges and tokens.
"""

from __future__ import annotations

import collections
import contextlib
import email.utils
import http.client
import json
import re
import socket
import ssl
import threading
import time
import typing
import urllib.parse
from dataclasses import dataclass, field, replace

from dockin.errors import DockinError, know_secret, one_line, without_secrets
from dockin.image import manifests
from dockin.image.reference import ImageReference, is_digest, tags_in
from dockin.registry import credentials, retries

ACCEPT = ", ".join((*manifests.INDEX_TYPES, *manifests.MANIFEST_TYPES))
"""All four types: without some, a registry converts its document, and answers with another digest."""

MAX_REDIRECTS = 5
MAX_PAGES = 1000
PAGE = 1000
"""How many tags one request asks for."""
MAX_LIST = 64 << 20
"""Bytes of all pages of a list: a million tags."""
MAX_ANSWER = 1 << 20
"""Bytes of a token or an error message."""

_HUB = "registry-1.docker.io"
_NO_REFERRERS = {400, 404, 405, 406, 501}
_PARAMETER = re.compile(r'(?<![A-Za-z0-9_-])([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LINK = re.compile(r"[\s,]*<([!-;=?-~]*)>\s*")
_LINK_PARAMETER = re.compile(r''';\s*(?:([^\s;,="'<>]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"<>]+)))?\s*)?''')
_RATE = re.compile(r"(\d+)(?:\s*;\s*w=(\d+))?")
_REDIRECTS = (301, 302, 303, 307, 308)


class ResolveError(DockinError):
    """A registry did not answer a question."""

    def __init__(self, kind: str, message: str) -> None:
        """kind is one of skopeo.py's: auth, denied, not-found, rate-limited, network, server, tls, content, other …

        A remedy in the message is on a line of its own.
        """
        super().__init__(message)
        self.kind = kind


class FinalError(ResolveError):
    """An error that skopeo could not answer otherwise, or must not be asked about; it may for any other error."""


@dataclass
class Statistics:
    """What a run has cost. Change it only with the lock held."""

    requests: int = 0
    counted_pulls: int = 0
    """Requests for manifests by GET, which Docker Hub counts."""
    rate_limits: dict[str, dict[str, int]] = field(default_factory=dict)
    """By host: limit, remaining, window_s, as far as it reports them."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, requests: int, counted_pulls: int = 0) -> None:
        """Add to the counters."""
        with self.lock:
            self.requests += requests
            self.counted_pulls += counted_pulls

    def remaining(self, host: str) -> int | None:
        """Return how many counted pulls a host still allows, None if it does not report it."""
        with self.lock:
            return self.rate_limits.get(host, {}).get("remaining")

    def note(self, host: str, headers: http.client.HTTPMessage) -> None:
        """Store the rate limit in the headers of a host's answer."""
        limit = _RATE.match(headers.get("ratelimit-limit", ""))
        remaining = _RATE.match(headers.get("ratelimit-remaining", ""))
        if not limit and not remaining:
            return
        with self.lock:
            known = self.rate_limits.setdefault(host, {})
            if limit:
                known["limit"] = int(limit[1])
            if remaining:
                known["remaining"] = int(remaining[1])
            window = (limit and limit[2]) or (remaining and remaining[2])
            if window:
                known["window_s"] = int(window)


@dataclass(frozen=True)
class Answer:
    """A response with its body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = b""
    redirected: bool = False
    """It comes from a redirect's target, whose requests for a login are not the registry's."""


@dataclass(frozen=True)
class Access:
    """How to ask one registry."""

    context: ssl.SSLContext
    insecure: bool = False
    """Use plain HTTP if the server has no TLS."""


@dataclass(frozen=True)
class Challenge:
    """A registry's request for a login, from its WWW-Authenticate header."""

    scheme: str
    parameters: dict[str, str]


@dataclass
class _HostState:
    """What a run has learned about a host over one kind of connection; over an insecure one anybody may have sent it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    locks: collections.defaultdict[str, threading.RLock] = field(
        default_factory=lambda: collections.defaultdict(threading.RLock)
    )
    """By repository: one thread requests a token for all."""
    plain: bool = False
    encrypted: bool = False
    headless: bool = False
    failing: bool = False
    probed: bool = False
    challenge: Challenge | None = None
    scopes: dict[str, str] = field(default_factory=dict)
    """By repository: the scope in its last challenge."""
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    down: ResolveError | None = None


class Client:
    """Asks registries; one for each run. Thread-safe. close() it."""

    def __init__(
        self,
        logins: credentials.Credentials,
        access: typing.Callable[[ImageReference], Access],
        statistics: Statistics,
        timeout: float = 30,
        retries: int = 3,
    ) -> None:
        self.statistics = statistics
        self._logins = logins
        self._access = access
        self._timeout = timeout
        self._most = retries
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        self._hosts: dict[tuple[str, Access], _HostState] = {}
        self._doubted: set[ImageReference] = set()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def head(self, reference: ImageReference) -> tuple[str, str] | None:
        """Return digest and media type of a reference, or None if the registry does not tell them without a GET.

        It costs no counted pull. Registries and proxies may answer HEAD with any error, or not at all, where GET works:
        only a GET proves an error. Raises ResolveError.
        """
        if self._host_state(reference).headless:
            return None
        try:
            answer = self._ask(reference, "HEAD", _manifest_path(reference), {"Accept": ACCEPT})
        except ResolveError as error:
            if isinstance(error, FinalError) or error.kind not in ("network", "server", "rate-limited"):
                raise
        else:
            digest = answer.headers.get("Docker-Content-Digest", "")
            media_type = answer.headers.get_content_type()
            known = media_type in (*manifests.INDEX_TYPES, *manifests.MANIFEST_TYPES)
            if answer.status == 200 and known and is_digest(digest) and reference.digest in (None, digest):
                return digest, media_type
        self._doubted.add(reference.pinned)
        return None

    def manifest(self, reference: ImageReference) -> bytes:
        """Return the bytes of the index or manifest of a reference, for one counted pull. Raises ResolveError."""
        host = _host(reference)
        if self.statistics.remaining(host) == 0:
            raise FinalError("rate-limited", f"{host} allows no more pulls for now")
        answer = self._ask(reference, "GET", _manifest_path(reference), {"Accept": ACCEPT}, manifests.MAX_MANIFEST_SIZE)
        self._check(answer, reference)
        if reference.pinned in self._doubted and host != _HUB and not manifests.is_schema_1(answer.body):
            # HEAD failed although the document exists. Docker Hub, which counts each GET, is asked by HEAD again.
            self._host_state(reference).headless = True
        return answer.body

    def blob(self, reference: ImageReference, digest: str, limit: int) -> bytes:
        """Return at most limit bytes of a blob, not verified. Raises ResolveError."""
        answer = self._ask(reference, "GET", f"/v2/{reference.repository}/blobs/{digest}", {}, limit)
        self._check(answer, reference)
        return answer.body

    def tags(self, reference: ImageReference) -> list[str]:
        """Return all tags of a repository, in the registry's order. Raises ResolveError."""
        path = f"/v2/{reference.repository}/tags/list"
        pages = list(self._pages(reference, f"{path}?n={PAGE}", {}, MAX_LIST))
        if pages[0].status != 200:
            # The registry may not accept n, or such a large one.
            pages = list(self._pages(reference, path, {}, MAX_LIST))
        elif self._listed(pages[-1], reference)[1] >= PAGE:
            # The registry may have ended the list there, without a link to the rest.
            pages += self._pages(reference, path, {}, MAX_LIST)
        return list(dict.fromkeys(tag for answer in pages for tag in self._listed(answer, reference)[0]))

    def _listed(self, answer: Answer, reference: ImageReference) -> tuple[list[str], int]:
        """Return the tags on a page of a list, and the number of its names, tags or not. Raises ResolveError."""
        self._check(answer, reference)
        try:
            names = json.loads(answer.body)["tags"]
            return tags_in(names, reference.name), len(names or ())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            # skopeo would take such an answer for an empty list.
            raise FinalError("content", f"{_host(reference)} answers with no list of tags") from error

    def referrers(self, reference: ImageReference) -> list[bytes] | None:
        """Return the pages of a registry's referrers of a digest, None if it has no such lists.

        Raises ResolveError.
        """
        path = f"/v2/{reference.repository}/referrers/{reference.digest}"
        pages: list[bytes] = []
        for answer in self._pages(reference, path, {"Accept": manifests.OCI_INDEX}, manifests.MAX_MANIFEST_SIZE):
            if not pages and answer.status in _NO_REFERRERS:
                return None
            self._check(answer, reference)
            # A proxy may answer with a page of its own.
            if answer.headers.get_content_type() != manifests.OCI_INDEX:
                return None
            pages.append(answer.body)
        return pages

    def _pages(
        self, reference: ImageReference, path: str, headers: dict[str, str], limit: int
    ) -> typing.Iterator[Answer]:
        """Yield the answers to a request for a list and its further pages, of at most limit bytes each.

        Raises ResolveError.
        """
        seen: set[str] = set()
        size = 0
        while len(seen) < MAX_PAGES and path not in seen:
            seen.add(path)
            answer = self._ask(reference, "GET", path, headers, limit)
            size += len(answer.body)
            if size > MAX_LIST:
                raise FinalError("content", f"{_host(reference)} sends a list of more than {MAX_LIST} bytes")
            yield answer
            following = _following(_host(reference), path, answer.headers) if answer.status == 200 else None
            if following is None:
                return
            path = following
        raise FinalError("content", f"{_host(reference)} sends a list without an end: {len(seen)} pages so far")

    def _ask(
        self, reference: ImageReference, method: str, path: str, headers: dict[str, str], limit: int = MAX_ANSWER
    ) -> Answer:
        """Return the answer to a request, after retries of temporary faults. Raises ResolveError."""
        host = _host(reference)
        state = self._host_state(reference)
        attempt = 0
        while True:
            if state.down:
                raise _copy(state.down)
            failure, wait, answer = None, 0.0, None
            try:
                answer = self._authorised(reference, method, path, headers, limit)
                if answer.status not in retries.STATUSES:
                    state.failing = False
                    return answer
                wait = 0.0 if answer.redirected else _retry_after(answer.headers)
                failure = _status_error(answer, reference)
            except ResolveError as error:
                if error.kind != "network":
                    raise
                failure = error
            except (ValueError, RecursionError):
                # http.client, urllib and json quote the header or document, perhaps with a token: leave their message out.
                raise ResolveError("content", f"{host} sends an invalid response") from None
            most = retries.of_client(failure.__cause__, 0 if state.failing else self._most)
            if method == "HEAD" and not _is_of_host(failure, host):
                # A GET is tried next.
                most = min(most, 0 if isinstance(failure.__cause__, socket.timeout) else 1)
                failure = ResolveError(failure.kind, str(failure))
            elif wait > retries.LONGEST_WAIT:
                failure = FinalError(failure.kind, str(failure))
            if attempt >= most or wait > retries.LONGEST_WAIT:
                if isinstance(failure, FinalError) and (wait > retries.LONGEST_WAIT or failure.kind == "network"):
                    state.down = failure
                elif method != "HEAD":
                    # A permanent failure costs its retries only once.
                    state.failing = True
                raise failure
            time.sleep(max(wait, retries.delay(attempt)))
            attempt += 1

    def _authorised(
        self, reference: ImageReference, method: str, path: str, headers: dict[str, str], limit: int
    ) -> Answer:
        """Send a request with the login that the host is known to require, or learn now that it requires one."""
        state = self._host_state(reference)
        if not state.probed:
            # The first thread that asks a host learns it for all, and the others wait.
            with state.lock:
                if not state.probed:
                    try:
                        return self._with_login(reference, method, path, headers, limit)
                    finally:
                        state.probed = True
        return self._with_login(reference, method, path, headers, limit)

    def _with_login(
        self, reference: ImageReference, method: str, path: str, headers: dict[str, str], limit: int
    ) -> Answer:
        state = self._host_state(reference)
        authorization = self._authorization(reference, state.challenge) if state.challenge else ""
        answer = self._send(reference, method, path, headers, authorization, limit)
        if answer.status != 401 or answer.redirected:
            return answer
        asked = _challenge(answer.headers, _host(reference))
        if asked is None:
            return answer
        state.challenge = asked
        state.scopes[reference.repository] = asked.parameters.get("scope", "")
        state.tokens.pop(reference.repository, None)
        fresh = self._authorization(reference, asked)
        if not fresh:
            return answer
        if fresh != authorization:
            answer = self._send(reference, method, path, headers, fresh, limit)
        if answer.status == 401:
            # No retry: too many wrong logins lock an account.
            raise _status_error(answer, reference)
        return answer

    def _authorization(self, reference: ImageReference, challenge: Challenge) -> str:
        """Return the Authorization header for a repository, "" without a login."""
        if challenge.scheme == "basic":
            login = self._login(reference)
            return login.basic if login and login.user else ""
        state = self._host_state(reference)
        with self._lock:
            lock = state.locks[reference.repository]
        with lock:
            token, expiry = state.tokens.get(reference.repository, ("", 0.0))
            if time.monotonic() >= expiry:
                token, seconds = self._token(reference, challenge, state.scopes.get(reference.repository, ""))
                state.tokens[reference.repository] = token, time.monotonic() + seconds - 10
        return f"Bearer {token}"

    def _login(self, reference: ImageReference) -> credentials.Login | None:
        try:
            return self._logins.find(reference.registry, reference.repository)
        except credentials.CredentialError as error:
            raise ResolveError("login", str(error)) from error

    def _token(self, reference: ImageReference, challenge: Challenge, scope: str) -> tuple[str, float]:
        """Return a token for a scope (by default, pulling from a repository), and its lifetime in seconds."""
        login = self._login(reference)
        realm = _without_user(urllib.parse.urlsplit(challenge.parameters.get("realm", "")))
        if realm.scheme not in ("https", "http") or not realm.netloc:
            raise ResolveError("auth", f"{_host(reference)} names no token server")
        if login and realm.scheme == "http" and not self._host_state(reference).plain:
            raise FinalError("tls", f"{_host(reference)} wants the login sent to {realm.netloc} without TLS")
        # The registry's own scope is right even if a proxy uses other repository paths.
        scopes = scope.split() or [f"repository:{reference.repository}:pull"]
        query = [("scope", one) for one in scopes]
        if "service" in challenge.parameters:
            query.append(("service", challenge.parameters["service"]))
        headers: dict[str, str] = {}
        body = None
        path = realm.path or "/"
        if login and login.identity_token:
            fields = [("grant_type", "refresh_token"), ("refresh_token", login.identity_token), ("client_id", "meta-dockin")]
            body = urllib.parse.urlencode(query + fields).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            path += f"?{realm.query}" if realm.query else ""
        else:
            path += "?" + "&".join(filter(None, (realm.query, urllib.parse.urlencode(query))))
            if login:
                headers["Authorization"] = login.basic
        method = "POST" if body else "GET"
        context = self._access(reference).context
        try:
            answer = self._exchange(realm.scheme, realm.netloc, context, method, path, headers, MAX_ANSWER, body)
        except (OSError, http.client.HTTPException) as error:
            raise _transport_error(realm.netloc, error, self._timeout) from error
        if answer.status in (400, 401, 403):
            whose = f"the login from {login.origin}" if login else "no login"
            kind = "denied" if answer.status == 403 else "auth"
            raise ResolveError(kind, f"{realm.netloc} gives no token for {reference.name} with {whose}{_error_text(answer)}")
        if answer.status != 200:
            raise _status_error(answer, reference)
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document["access_token"]
            seconds = float(document.get("expires_in") or 60)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise ResolveError("content", f"{realm.netloc} answers with no token") from None
        know_secret(str(token))
        return str(token), seconds

    def _host_state(self, reference: ImageReference) -> _HostState:
        """Return what is known about a reference's host, for its kind of connection."""
        key = _host(reference), self._access(reference)
        with self._lock:
            return self._hosts.setdefault(key, _HostState())

    def _send(
        self,
        reference: ImageReference,
        method: str,
        path: str,
        headers: dict[str, str],
        authorization: str,
        limit: int,
    ) -> Answer:
        """Send one request and follow redirects, without the login after another origin.

        An origin is scheme, host and port: another port may be another's server, and anybody can read http.
        """
        host = _host(reference)
        access = self._access(reference)
        state = self._host_state(reference)
        scheme = "http" if state.plain else "https"
        url = urllib.parse.urlsplit(f"{scheme}://{host}{path}")
        home = _origin(url)
        redirected = False
        for _ in range(MAX_REDIRECTS):
            sent = {**headers, "Authorization": authorization} if authorization else headers
            target = url.path + (f"?{url.query}" if url.query else "")
            try:
                answer = self._exchange(url.scheme, url.netloc, access.context, method, target, sent, limit)
            except (ssl.SSLError, ConnectionResetError) as error:
                first = not redirected and not (state.encrypted or state.plain)
                if not (first and access.insecure) or isinstance(error, ssl.SSLCertVerificationError):
                    raise _transport_error(url.netloc, error, self._timeout, redirected) from error
                state.plain = True
                url = url._replace(scheme="http")
                home = _origin(url)
                continue
            except (OSError, http.client.HTTPException) as error:
                raise _transport_error(url.netloc, error, self._timeout, redirected) from error
            if not redirected:
                if url.scheme == "https":
                    state.encrypted = True
                if not access.insecure:
                    # On an insecure connection anybody could report a limit, and so block secure requests.
                    self.statistics.note(host, answer.headers)
            answer = replace(answer, redirected=redirected)
            if answer.status not in _REDIRECTS or not answer.headers.get("Location"):
                if method == "GET" and "/manifests/" in path and answer.status == 200:
                    self.statistics.count(0, 1)
                return answer
            redirected = True
            url = _without_user(urllib.parse.urlsplit(urllib.parse.urljoin(url.geturl(), answer.headers["Location"])))
            if url.scheme not in ("https", "http") or (url.scheme == "http" and not access.insecure):
                raise FinalError("tls", f"{host} redirects to {url.scheme}://{url.netloc}, which has no TLS")
            if _origin(url) != home:
                # For all further redirects: the target may choose where they lead.
                authorization = ""
        raise ResolveError("server", f"{host} redirects too often")

    def _exchange(
        self,
        scheme: str,
        netloc: str,
        context: ssl.SSLContext,
        method: str,
        path: str,
        headers: dict[str, str],
        limit: int,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request over the thread's connection to a host. Raises OSError, HTTPException, ResolveError."""
        pool = self._local.__dict__.setdefault("connections", {})
        # By TLS settings: another registry's may not verify certificates.
        key = (scheme, netloc, context)
        while True:
            connection = pool.get(key)
            kept = connection is not None
            if connection is None:
                connection = pool[key] = self._connect(scheme, netloc, context)
            try:
                if connection.sock is None:
                    connection.connect()
                with _limited(connection.sock, self._timeout):
                    connection.request(method, path, body, {"User-Agent": "meta-dockin", **headers})
                    self.statistics.count(1)
                    response = connection.getresponse()
                    try:
                        data = _read(response, limit)
                    finally:
                        # The response, not the connection: read1() leaves a response open, and so the connection busy.
                        response.close()
                if response.will_close:
                    self._forget(pool, key)
                return Answer(response.status, response.headers, data)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._forget(pool, key)
                if not kept:
                    raise
                # The server closed an idle connection, and has not seen this request.
            except BaseException:
                self._forget(pool, key)
                raise

    def _connect(self, scheme: str, netloc: str, context: ssl.SSLContext) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if scheme == "https":
            connection = http.client.HTTPSConnection(netloc, timeout=self._timeout, context=context)
        else:
            connection = http.client.HTTPConnection(netloc, timeout=self._timeout)
        with self._lock:
            self._connections.append(connection)
        return connection

    def _forget(self, pool: dict[typing.Any, http.client.HTTPConnection], key: typing.Any) -> None:
        connection = pool.pop(key, None)
        if connection:
            connection.close()
            with self._lock:
                if connection in self._connections:
                    self._connections.remove(connection)

    def _check(self, answer: Answer, reference: ImageReference) -> None:
        if answer.status != 200:
            raise _status_error(answer, reference)


def _host(reference: ImageReference) -> str:
    """Return the host to ask for a registry."""
    return _HUB if reference.registry == "docker.io" else reference.registry


def _manifest_path(reference: ImageReference) -> str:
    return f"/v2/{reference.repository}/manifests/{reference.digest or reference.tag or 'latest'}"


def _origin(url: urllib.parse.SplitResult) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises ValueError if the host is missing or the port is no number."""
    if not url.hostname:
        raise ValueError("no host")
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}[url.scheme]


def _challenge(headers: http.client.HTTPMessage, host: str) -> Challenge | None:
    """Return the challenge of a 401, among several the supported one. Raises ResolveError."""
    values = headers.get_all("WWW-Authenticate") or []
    for value in values:
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            found = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
            return Challenge(scheme.lower(), found)
    if values:
        schemes = _printable(", ".join(value.partition(" ")[0] for value in values))
        raise ResolveError("auth", f"{host} asks for a login of an unknown kind: {schemes}")
    return None


def _following(host: str, path: str, headers: http.client.HTTPMessage) -> str | None:
    """Return the path of a list's next page, None after the last. Raises ResolveError.

    No other host is asked: it would get the login, and may be one that is only reachable from inside.
    """
    try:
        targets = set(_next_links(headers))
        if not targets:
            return None
        (target,) = targets
        url = urllib.parse.urlsplit(urllib.parse.urljoin(f"//{host}{path}", target))
    except ValueError:
        raise ResolveError("content", f"{host} names the next page of a list in a way that can't be read") from None
    if url.netloc.lower() != host.lower():
        raise ResolveError("content", f"{host} names a next page of a list that is not on this host")
    return url.path + (f"?{url.query}" if url.query else "")


def _next_links(headers: http.client.HTTPMessage) -> typing.Iterator[str]:
    """Yield the targets of all links to a next page, by RFC 8288. Raises ValueError for an invalid list of links."""
    for text in headers.get_all("Link") or []:
        end = 0
        while text[end:].strip(" \t,"):
            link = _LINK.match(text, end)
            if not link:
                raise ValueError(text)
            end = link.end()
            relation = None
            parameter = _LINK_PARAMETER.match(text, end)
            while parameter:
                end = parameter.end()
                name, quoted, plain = parameter.groups(default="")
                if name.lower() == "rel" and relation is None:
                    relation = quoted or plain
                parameter = _LINK_PARAMETER.match(text, end)
            if relation is None or "'" in relation or text[end : end + 1] not in ("", ","):
                raise ValueError(text)
            if "next" in relation.lower().split():
                yield link[1]


def _without_user(url: urllib.parse.SplitResult) -> urllib.parse.SplitResult:
    """Return a server's address without user and password, which are not sent anywhere, but would be printed.

    Raises ValueError for more than host and port: beside an IPv6 address, http.client and urlsplit() see different hosts.
    """
    netloc = url.netloc.rpartition("@")[2]
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    if netloc.lower() not in (host or "", f"{host}:{url.port}"):
        raise ValueError("no host and port")
    return url._replace(netloc=netloc)


@contextlib.contextmanager
def _limited(connected: socket.socket, seconds: float) -> typing.Iterator[None]:
    """End work on a socket that takes too long. Raises socket.timeout.

    The socket's own time limit is for each step, so that headers, or "100 Continue", could arrive endlessly.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            # Not SSLSocket's shutdown: after it, the reading thread would continue without TLS.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if late.is_set():
            raise socket.timeout("the answer takes too long") from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise socket.timeout("the answer takes too long")


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    """Return a body of at most limit bytes. Raises ResolveError, OSError, HTTPException."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = response.read1(1 << 16)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ResolveError("content", f"an answer of more than {limit} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _status_error(answer: Answer, reference: ImageReference) -> ResolveError:
    """Return the error for an unsuccessful status."""
    words = _error_text(answer)
    status = answer.status
    host = _host(reference)
    what = reference.pinned.canonical
    if status == 401 and answer.redirected:
        return ResolveError("auth", f"{host} redirects requests for {what} to another host, which wants a login{words}")
    if status == 401:
        return ResolveError("auth", f"{host} wants a login for {what}{words}")
    if status == 403:
        return ResolveError("denied", f"{host} denies access to {what}{words}")
    if status == 404:
        return ResolveError("not-found", f"{host} has no {what}{words}")
    if status == 429:
        wait = _retry_after(answer.headers)
        return FinalError(
            "rate-limited", f"{host} limits requests{words}" + (f", try again in {wait:.0f} s" if wait else "")
        )
    kind = "network" if status in (408, 499, 522) else "server" if status >= 500 else "other"
    return ResolveError(kind, f"{host} answers with status {status} for {what}{words}")


def _error_text(answer: Answer) -> str:
    """Return the registry's error message, on one line."""
    try:
        error = json.loads(answer.body)["errors"][0]
        text = str(error.get("message") or error.get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    text = _printable(text)
    return f" ({text})" if text else ""


def _printable(text: str) -> str:
    """Return a server's text in a form for messages."""
    return without_secrets(one_line(text))[:200]


def _transport_error(host: str, error: Exception, timeout: float, redirected: bool = False) -> ResolveError:
    """Return the error for a connection that failed; a redirect's target says nothing about the registry."""
    unreachable = ResolveError if redirected else FinalError
    if isinstance(error, socket.timeout):
        return unreachable("network", f"{host} has not answered within {timeout:g} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ResolveError("tls", f"{host}: {error.verify_message or error}")
    if isinstance(error, ssl.SSLError):
        if "WRONG_VERSION" in str(error) or "RECORD_LAYER" in str(error).upper():
            return ResolveError("tls", f"{host} does not speak TLS")
        return ResolveError("tls", f"{host}: {error.reason or error}")
    if isinstance(error, OSError) and not isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return unreachable("network", f"{host} can't be reached: {error.strerror or error}")
    return ResolveError("network", f"{host} does not answer as a web server does: {type(error).__name__}")


def _is_of_host(failure: ResolveError, host: str) -> bool:
    """Tell whether GET would fail like HEAD: nobody answers, or Docker Hub's limit is used up."""
    if failure.kind == "rate-limited":
        return host == _HUB
    return isinstance(failure, FinalError) and not isinstance(failure.__cause__, socket.timeout)


def _retry_after(headers: http.client.HTTPMessage) -> float:
    """Return the seconds that an answer asks to wait, by default 0."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()) if value else 0.0
    except (TypeError, ValueError):
        return 0.0


def _copy(error: ResolveError) -> ResolveError:
    """Return an equal error: one that several threads raise would collect their tracebacks."""
    return type(error)(error.kind, str(error))
