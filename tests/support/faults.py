# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A registry that misbehaves on demand: what a real server won't do when a test wants it to.

    with faults.FaultyRegistry() as server:
        server.add(image, "team/app", "v1")
        server.fail("/blobs/", faults.status(503), times=2)
        …
        assert server.log.blobs() == …

It speaks the pull side of the registry API over plain HTTP to the real skopeo. A Fault answers instead of the
normal handler, for requests whose path has a given piece, a given number of times or for ever.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Callable, Mapping

from support import images
from support.registry import PrivateCA, Request, Requests

PULL_PREFIX = "/v2/"

# What real registries have among the names in their lists of tags.
NO_TAGS = [
    "sha256:" + "a" * 64, "sha256-x:1", "-ot-beta", ".hidden", "a/b", "../../etc/passwd", "a:b", "a b", " 1.0.2", "1.0.2\n",
    "1.0.2+build", "1.0.2~rc1", "%31", "é", "１.0.2", "\0", "1" * 129, "9" * 5000, "", None,
]
_CHUNK = 64 << 10


@dataclass(frozen=True)
class Answer:
    """A normal answer, which a fault may send in part."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Fault = Callable[["Handler", Answer], None]


@dataclass
class Rule:
    """A fault, for which paths, and how many times it is left."""

    part: str
    fault: Fault
    left: int | None
    after: int


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer with a status; skopeo reads the body of a registry's error as JSON."""
    return lambda handler, answer: handler.send(Answer(code, headers or {}, body))


def error(code: int, name: str, message: str) -> Fault:
    """Answer with a status and an error in the form that registries have."""
    body = json.dumps({"errors": [{"code": name, "message": message}]}).encode()
    return status(code, {"Content-Type": "application/json"}, body)


def silence(seconds: float = 60) -> Fault:
    """Say nothing at all, until the client goes away or seconds are over."""
    return lambda handler, answer: handler.linger(seconds)


def stall(share: float = 0.5, seconds: float = 60) -> Fault:
    """Send a share of the body, then nothing more."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(answer, share)
        handler.linger(seconds)

    return fault


def cut(share: float = 0.5) -> Fault:
    """Send a share of the body, then close the connection."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(answer, share)
        handler.close_connection = True

    return fault


def reset(share: float = 0.5) -> Fault:
    """Send a share of the body, then reset the connection."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(answer, share)
        # A zero linger time turns the close into a reset.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

    return fault


def body(data: bytes | Callable[[bytes], bytes]) -> Fault:
    """Send another body, its length declared truly."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(
            Answer(answer.status, answer.headers, data if isinstance(data, bytes) else data(answer.body))
        )

    return fault


def endless() -> Fault:
    """Send the body, and then more of it until the client goes away."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(answer.body)
        while not handler.ending.wait(0.001):
            handler.wfile.write(bytes(_CHUNK))

    return fault


def headers(changed: Mapping[str, str]) -> Fault:
    """Answer as usual, with these headers in place of its own."""
    return lambda handler, answer: handler.send(Answer(answer.status, {**answer.headers, **changed}, answer.body))


def slow(seconds: float, pieces: int = 20) -> Fault:
    """Send the body in pieces spread over a time, so that a test can act in the middle."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.head(answer)
        size = max(1, len(answer.body) // pieces)
        for start in range(0, len(answer.body), size):
            handler.wfile.write(answer.body[start : start + size])
            handler.wfile.flush()
            if handler.ending.wait(seconds / pieces):
                return

    return fault


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers pulls; made by FaultyRegistry with its content."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    registry: FaultyRegistry
    ending: threading.Event

    def do_GET(self) -> None:
        """Answer a request, with a fault if one is due."""
        answer = self.registry.answer(self.path)
        fault = self.registry.due(self.path)
        log = self.registry.log
        request = Request(self.command, self.path, answer.status, len(answer.body))
        # Before the answer, after which the client may be done, and its test look.
        log.append(request)
        try:
            if fault:
                fault(self, answer)
            else:
                self.send(answer)
        except OSError:  # the client went away
            self.close_connection = True
            log.aborted(request)

    do_HEAD = do_GET  # noqa: N815

    def handle(self) -> None:
        """Handle a connection, whose end in mid-air is no reason for a traceback."""
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        """Flush and close, likewise."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def head(self, answer: Answer) -> None:
        """Send status and headers."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()

    def send(self, answer: Answer, share: float = 1.0) -> None:
        """Send an answer, of its body a share."""
        self.head(answer)
        if self.command != "HEAD":
            self.wfile.write(answer.body[: int(len(answer.body) * share)])
            self.wfile.flush()

    def linger(self, seconds: float) -> None:
        """Do nothing, until the server is stopped or seconds are over."""
        self.ending.wait(seconds)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Write nothing to the terminal."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def shutdown_request(self, request: object) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)  # type: ignore[arg-type]

    def handle_error(self, *_: object) -> None:
        """Keep quiet: connections are broken on purpose here."""


class FaultyRegistry:
    """A registry on loopback whose answers can be spoilt. Use as a context manager."""

    def __init__(self, tls: PrivateCA | None = None) -> None:
        self.log = Requests()
        self.ending = threading.Event()
        self._blobs: dict[str, images.Blob] = {}
        self._tags: dict[tuple[str, str], str] = {}
        self._lists: dict[str, list[images.Blob]] = {}
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        handler = type("BoundHandler", (Handler,), {"registry": self, "ending": self.ending})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls:
            self._server.socket = tls.server_context().wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def add(self, content: images.Manifest | images.Index, repository: str, tag: str) -> str:
        """Serve content and return its digest."""
        self._blobs.update(content.blobs())
        self._tags[repository, tag] = content.digest
        return content.digest

    def refer(self, path: str, *pages: images.Blob) -> None:
        """Serve the list of what is attached to an image, "/v2/team/app/referrers/sha256:…", in pages."""
        self._lists[path] = list(pages)

    def fail(self, part: str, fault: Fault, times: int | None = None, after: int = 0) -> None:
        """Answer requests whose path has part with a fault, times (None: always), but the first ones not."""
        self._rules.append(Rule(part, fault, times, after))

    def heal(self) -> None:
        """Forget all faults."""
        self._rules.clear()

    def due(self, path: str) -> Fault | None:
        """Return the fault for a request, and count it."""
        with self._lock:
            for rule in self._rules:
                if rule.part in path and rule.left != 0:
                    if rule.after:
                        rule.after -= 1
                        continue
                    if rule.left is not None:
                        rule.left -= 1
                    return rule.fault
        return None

    def answer(self, path: str) -> Answer:
        """Return the right answer to a request."""
        if path == PULL_PREFIX:
            return Answer(200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")
        listed, _, page = path.partition("?page=")
        if listed in self._lists:
            number = int(page or 0)
            last = number + 1 == len(self._lists[listed])
            link = {} if last else {"Link": f'<{listed}?page={number + 1}>; rel="next"'}
            return Answer(200, {"Content-Type": images.OCI_INDEX, **link}, self._lists[listed][number].data)
        name, _, rest = path[len(PULL_PREFIX) :].partition("/manifests/")
        if rest:
            blob = self._blobs.get(self._tags.get((name, rest), rest))
        elif path.endswith("/tags/list"):
            name = path[len(PULL_PREFIX) : -len("/tags/list")]
            tags = [tag for repository, tag in self._tags if repository == name]
            return Answer(
                200, {"Content-Type": "application/json"}, json.dumps({"name": name, "tags": tags}).encode()
            )
        else:
            blob = self._blobs.get(path.rpartition("/")[2])
        if blob is None:
            code = "MANIFEST_UNKNOWN" if rest else "BLOB_UNKNOWN"
            message = json.dumps(
                {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
            ).encode()
            return Answer(404, {"Content-Type": "application/json"}, message)
        return Answer(200, {"Content-Type": blob.media_type, "Docker-Content-Digest": blob.digest}, blob.data)


class Silent:
    """A server that accepts connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def wait(self, seconds: float) -> None:
        """Return when somebody has come, or the time is over."""
        select.select([self._socket], [], [], seconds)

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def closed_address() -> str:
    """Return an address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
