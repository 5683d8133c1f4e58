# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Run a real registry (Debian's docker-registry) on loopback, and a small file server for mirrors.

    with registry.Registry(directory) as server:             # plain HTTP; tls= and login= for the others
        busybox.push(server.client(), "library/busybox", "1.36.1")
        with server.recording() as requests:
            …skopeo copy docker://{server.address}/library/busybox…
        assert requests.blobs() == {…}

The port is the kernel's choice (the server binds to port 0 and logs what it got), so any number of registries
run side by side. Each is stopped by its own process object.

As a script, for the demo: a registry whose library/busybox:1.36.1 is made from this machine's busybox, and
the registries.conf that makes it stand for docker.io:

    python3 -m support.registry --directory DIR [--image library/busybox:1.36.1]… [--ready FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Iterator, Sequence

from support import images

START_SECONDS = 20
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_ACCESS = re.compile(
    r'^\S+ - (?P<user>\S+) \[[^]]*\] "(?P<method>[A-Z]+) (?P<path>\S+) [^"]*" (?P<status>\d+) '
    r'(?P<bytes>\d+|-) "[^"]*" "(?P<agent>[^"]*)"'
)


class RegistryError(Exception):
    """The registry could not be started, or a test asked for something it does not hold."""


@dataclass(frozen=True)
class Request:
    """One line of an access log."""

    method: str
    path: str
    status: int
    size: int

    @property
    def digest(self) -> str | None:
        """Return the digest that the path ends with, if it ends with one."""
        found = re.search(r"/(sha256:[0-9a-f]{64})$", urllib.parse.urlsplit(self.path).path)
        return found.group(1) if found else None

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path

    @property
    def is_manifest(self) -> bool:
        return "/manifests/" in self.path


class Requests(list):
    """A list of Request with the questions that tests ask."""

    def blobs(self) -> list[str]:
        """Return the digests of the blobs that were sent in full, in order, repeats included."""
        return [
            request.digest
            for request in self
            if request.method == "GET" and request.is_blob and request.status == 200
        ]

    def manifests(self) -> list[str]:
        """Return what manifests were asked for by GET (tag or digest), in order, repeats included."""
        return [
            request.path.rsplit("/", 1)[1]
            for request in self
            if request.method == "GET" and request.is_manifest and request.status == 200
        ]

    def aborted(self, request: Request) -> None:
        """Note that the client of a request in the list went away before its answer ended; the list may be cleared."""
        for place, known in enumerate(self):
            if known is request:
                self[place] = replace(request, status=499)

    def total_bytes(self) -> int:
        """Return how many bytes were sent."""
        return sum(request.size for request in self)


@dataclass(frozen=True)
class Login:
    """A user of a registry with htpasswd."""

    user: str
    password: str

    @property
    def pair(self) -> tuple[str, str]:
        return self.user, self.password

    def auth_json(self, address: str) -> str:
        """Return what `skopeo login` writes for this user."""
        token = images.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return json.dumps({"auths": {address: {"auth": token}}})


class PrivateCA:
    """A certificate authority made on the spot, and a server certificate for loopback."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca = directory / "ca.crt"
        self.key = directory / "server.key"
        self.certificate = directory / "server.crt"
        ca_key, request = directory / "ca.key", directory / "server.csr"
        extensions = directory / "server.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl(
            "req",
            "-x509",
            *curve,
            "-keyout",
            ca_key,
            "-out",
            self.ca,
            "-days",
            "30",
            "-subj",
            "/CN=meta-dockin test CA",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
        _openssl("req", *curve, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.ca,
            "-CAkey",
            ca_key,
            "-CAcreateserial",
            "-out",
            self.certificate,
            "-days",
            "30",
            "-extfile",
            extensions,
        )

    def client_context(self) -> ssl.SSLContext:
        """Return a client context that trusts this authority only."""
        return ssl.create_default_context(cafile=str(self.ca))

    def server_context(self) -> ssl.SSLContext:
        """Return a server context with the loopback certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def cert_dir(self, directory: Path) -> Path:
        """Fill a directory of the form that `skopeo --cert-dir` and certs.d/<host> have, and return it."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.ca, directory / "ca.crt")
        return directory


class Registry:
    """A running docker-registry with its store under directory.

    tls: a PrivateCA for https. login: the one user that may read and write. prefix: a command that runs the server,
    such as nsenter, for one that can only be asked from another network. proxy: a registry of which this one is a
    pull-through cache. Use as a context manager, or start() and stop().
    """

    def __init__(
        self, directory: Path, tls: PrivateCA | None = None, login: Login | None = None, prefix: Sequence[str] = (),
        proxy: Registry | None = None,
    ):
        self.directory = directory
        self.proxy = proxy
        self.prefix = prefix
        self.tls = tls
        self.login = login
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        return self.address.rsplit(":", 1)[0]

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    @property
    def access_log(self) -> Path:
        return self.directory / "access.log"

    @property
    def error_log(self) -> Path:
        return self.directory / "error.log"

    def start(self) -> None:
        """Start the server and wait until it answers; the address is known then."""
        program = shutil.which("docker-registry") or shutil.which("registry")
        if not program:
            raise RegistryError("no docker-registry on this machine; install Debian's docker-registry")
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "config.yml"
        configuration.write_text(json.dumps(self._configuration(), indent=2))  # JSON is YAML
        # HOME: the server must not read a user's files; OTEL and cloud drivers are not configured.
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.directory)}
        with open(self.access_log, "ab") as out, open(self.error_log, "wb") as err:
            self._process = subprocess.Popen(
                [*self.prefix, program, "serve", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=self.directory,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server; the store stays."""
        if self._process:
            _end(self._process)
            self._process = None

    def client(self) -> images.Client:
        """Return a client that may push."""
        return images.Client(
            self.address,
            self.tls.client_context() if self.tls else None,
            self.login.pair if self.login else None,
        )

    def push(self, content: images.Manifest | images.Index, repository: str, tag: str | None = None) -> str:
        """Push content, unless it is there under this tag, and return its digest."""
        if tag and self._holds(content, repository, tag):
            return content.digest
        client = self.client()
        try:
            return content.push(client, repository, tag)
        finally:
            client.close()

    def requests(self) -> Requests:
        """Return every request so far, the pushes included, but not this module's own marks."""
        return self._read(0)[0]

    @contextlib.contextmanager
    def recording(self) -> Iterator[Requests]:
        """Give a list that holds, after the block, the requests made during the block."""
        self._flush()
        start = self.access_log.stat().st_size
        recorded = Requests()
        yield recorded
        self._flush()
        recorded.extend(self._read(start)[0])

    def blobs_of(self, action: Callable[[], object]) -> set[str]:
        """Return the digests of the blobs that a client gets in an action, in which it also asks for a manifest.

        Unlike recording(), this also works if only the client reaches the server.
        """
        before = len(self.requests())
        action()
        deadline = time.monotonic() + START_SECONDS
        while not any("/manifests/" in request.path for request in self.requests()[before:]):
            if time.monotonic() > deadline:
                raise RegistryError("the registry was not asked")
            time.sleep(0.05)
        return {request.digest for request in self.requests()[before:] if request.method == "GET" and request.is_blob}

    def blob_path(self, digest: str) -> Path:
        """Return the file that holds a blob, manifest or index."""
        value = digest.split(":")[1]
        return self._store / "blobs" / "sha256" / value[:2] / value / "data"

    def corrupt(self, digest: str, data: bytes | None = None) -> None:
        """Replace a stored blob, manifest or index: by data, or by the same bytes with one bit turned."""
        path = self.blob_path(digest)
        if data is None:
            data = flipped(path.read_bytes())
        path.write_bytes(data)

    def restore(self, blob: images.Blob) -> None:
        """Undo corrupt()."""
        self.blob_path(blob.digest).write_bytes(blob.data)

    def delete_blob(self, digest: str) -> None:
        """Take a blob, manifest or index out of the store, as a clumsy clean-up does: its links stay."""
        self.blob_path(digest).unlink()

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest the proper way; tags that point to it vanish too."""
        client = self.client()
        try:
            client.delete_manifest(repository, digest)
        finally:
            client.close()

    def move_tag(self, repository: str, tag: str, digest: str) -> None:
        """Point a tag at a manifest or index that the repository holds."""
        links = self._store / "repositories" / repository / "_manifests"
        if not (links / "revisions" / "sha256" / digest.split(":")[1] / "link").exists():
            raise RegistryError(f"{repository} holds no {digest}; push it before moving {tag} there")
        link = links / "tags" / tag / "current" / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)

    def tag_digest(self, repository: str, tag: str) -> str:
        """Return the digest that a tag points to."""
        return (
            self._store / "repositories" / repository / "_manifests" / "tags" / tag / "current" / "link"
        ).read_text()

    def _holds(self, content: images.Manifest | images.Index, repository: str, tag: str) -> bool:
        link = self._store / "repositories" / repository / "_manifests" / "tags" / tag / "current" / "link"
        if not link.exists() or link.read_text() != content.digest:
            return False
        return all(self.blob_path(digest).exists() for digest in content.blobs())

    @property
    def _store(self) -> Path:
        return self.directory / "store" / "docker" / "registry" / "v2"

    def _configuration(self) -> dict[str, object]:
        listener: dict[str, object] = {"addr": "127.0.0.1:0", "secret": secrets.token_hex(16)}
        configuration: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}, "formatter": "text"},
            # No blob descriptor cache: what a test changes on disk is seen by the next request.
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "store")},
                "delete": {"enabled": True},
            },
            "http": listener,
        }
        if self.proxy:
            configuration["proxy"] = {"remoteurl": f"http://{self.proxy.address}"}
        if self.tls:
            listener["tls"] = {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}
        if self.login:
            passwords = self.directory / "htpasswd"
            # bcrypt at its lowest cost: the server checks it on every request. The password goes by stdin.
            line = subprocess.run(
                ["htpasswd", "-niB", "-C", "4", self.login.user],
                input=self.login.password,
                check=True,
                capture_output=True,
                text=True,
                timeout=20,
            ).stdout
            passwords.write_text(line)
            configuration["auth"] = {"htpasswd": {"realm": "meta-dockin test", "path": str(passwords)}}
        return configuration

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        assert self._process
        while time.monotonic() < deadline:
            found = _LISTENING.search(self.error_log.read_text(errors="replace"))
            if found:
                self.address = found.group(1)
                return  # the socket listens before the line is written
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise RegistryError(
            f"docker-registry did not start: {self.error_log.read_text(errors='replace')[-2000:]}"
        )

    def _flush(self) -> None:
        """Wait until the log holds all that was served: a marked request comes after it in the log."""
        mark = f"/v2/?mark={secrets.token_hex(8)}"
        client = self.client()
        try:
            client.request("GET", mark)
        finally:
            client.close()
        deadline = time.monotonic() + START_SECONDS
        while mark not in self.access_log.read_text():
            if time.monotonic() > deadline:
                raise RegistryError(f"{self.access_log} does not show {mark}")
            time.sleep(0.005)

    def _read(self, start: int) -> tuple[Requests, int]:
        with open(self.access_log, "rb") as log:
            log.seek(start)
            text = log.read().decode(errors="replace")
        found = Requests()
        for line in text.splitlines():
            match = _ACCESS.match(line)
            if match and "?mark=" not in match["path"]:
                found.append(
                    Request(
                        match["method"],
                        match["path"],
                        int(match["status"]),
                        int(match["bytes"].replace("-", "0")),
                    )
                )
        return found, start + len(text)


class FileServer:
    """A plain HTTP server of one directory, for PREMIRRORS and MIRRORS, with a log of what was asked."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.log = Requests()
        log = self.log

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object, **keywords: object):
                super().__init__(*arguments, directory=str(directory), **keywords)  # type: ignore[arg-type]

            def log_request(self, code: object = "-", size: object = "-") -> None:
                log.append(Request(self.command, self.path, int(getattr(code, "value", code)), 0))

            def log_message(self, *_: object) -> None:
                """Write nothing to the terminal."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def flipped(data: bytes) -> bytes:
    """Return data with one bit in the middle turned, so that the length stays."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def write_registries_conf(
    path: Path, address: str, prefix: str = "docker.io", fall_back: bool = False
) -> Path:
    """Write a registries.conf in which the plain-HTTP registry at address stands for prefix.

    fall_back: ask prefix itself for what address does not have. Without it nothing leaves the machine.
    """
    if fall_back:
        text = (
            f'[[registry]]\nprefix = "{prefix}"\nlocation = "{prefix}"\n\n'
            f'[[registry.mirror]]\nlocation = "{address}"\ninsecure = true\n'
        )
    else:
        text = f'[[registry]]\nprefix = "{prefix}"\nlocation = "{address}"\ninsecure = true\n'
    path.write_text(f'unqualified-search-registries = []\nshort-name-mode = "disabled"\n\n{text}')
    return path


def fill(server: Registry, names: Sequence[str]) -> dict[str, str]:
    """Push this machine's busybox, for Docker Hub's platforms, under each name; return name -> digest.

    A name is "library/busybox:1.36.1". Only this machine's platform has the real binary. hello-world gets the
    command that its own image is known for: it prints a greeting and ends.
    """
    digests = {}
    for name in names:
        repository, _, tag = name.partition(":")
        tag = tag or "latest"
        if repository.endswith("/hello-world"):
            greeting = images.layer({"hello": "\nHello from Docker!\n"})
            children = [
                images.image([images.busybox_layer(platform), greeting], platform, command=["cat", "/hello"])
                for platform in images.BUSYBOX_PLATFORMS
            ]
            content = images.index(children, attestations=True)
        else:
            content = images.busybox(tag)
        digests[name] = server.push(content, repository, tag)
    return digests


@contextlib.contextmanager
def serve_busybox(directory: Path, names: Sequence[str] = ("library/busybox:1.36.1",)) -> Iterator[Registry]:
    """Run a registry filled by fill(); directory then also holds registries.conf and digests.json."""
    with Registry(directory) as server:
        digests = fill(server, names)
        write_registries_conf(directory / "registries.conf", server.address)
        (directory / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")
        yield server


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes or standard input ends, when it is a pipe."""
    parser = argparse.ArgumentParser(
        description="Run a registry on loopback that stands for docker.io, filled with "
        "images made from this machine's busybox."
    )
    parser.add_argument(
        "--directory",
        type=Path,
        required=True,
        help="for the store, the logs, registries.conf and digests.json",
    )
    parser.add_argument(
        "--image",
        action="append",
        metavar="REPOSITORY:TAG",
        help="a name to fill (default: library/busybox:1.36.1); may be given several times",
    )
    parser.add_argument(
        "--ready", type=Path, help="file that is written, with the address, once all is served"
    )
    parser.add_argument(
        "--seconds", type=float, default=3600, help="stop after this long (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with serve_busybox(options.directory, options.image or ["library/busybox:1.36.1"]) as server:
        print(server.address, flush=True)
        if options.ready:
            partial = options.ready.with_name(options.ready.name + ".part")
            partial.write_text(server.address + "\n")
            partial.replace(options.ready)
        stop.wait(options.seconds)
    return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process by its own id, in bounded time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise RegistryError(f"openssl {arguments[0]} failed: {done.stderr[-1000:]}")


if __name__ == "__main__":
    sys.exit(main())
