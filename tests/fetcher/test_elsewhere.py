# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where a registry sends its client: nothing there gets a login, and what is said there is not taken for the registry's."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading

import pytest

from dockin.image import reference
from dockin.registry import skopeo
from dockin.registry.resolver import ResolveError, Resolver
from support import faults
from support.fetching import small_image
from support.fixtures import LOGIN

IMAGE = small_image("elsewhere")
PINNED = f"team/app@{IMAGE.digest}"
QUESTIONS = {
    "head": (lambda resolver, host: resolver.digest(reference.parse(f"{host}/team/app:v1")), "/manifests/"),
    "manifest": (lambda resolver, host: resolver.document(reference.parse(f"{host}/team/app:v1")), "/manifests/"),
    "tags": (lambda resolver, host: resolver.tags(reference.parse(f"{host}/team/app")), "/tags/list"),
    "blob": (lambda resolver, host: resolver.config(reference.parse(f"{host}/{PINNED}")), "/blobs/"),
    "referrers": (lambda resolver, host: resolver.referrers(reference.parse(f"{host}/{PINNED}")), "/referrers/"),
}
CHALLENGES = ('Bearer realm="http://{storage}/token",service="s"', 'Basic realm="s"')


@pytest.fixture
def storage():
    """A server to which a registry sends its client; it notes what it is shown."""
    with faults.FaultyRegistry() as running:
        running.shown = []
        running.add(IMAGE, "team/app", "v1")
        yield running


@pytest.fixture
def resolving(tmp_path, faulty, monkeypatch):
    """Make a resolver of a user with a login for the registry."""
    monkeypatch.setattr(faults.Handler, "do_POST", faults.Handler.do_GET, raising=False)
    faulty.add(IMAGE, "team/app", "v1")

    @contextlib.contextmanager
    def make(mode="auto", login=None, **options):
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": {faulty.address: login}}) if login else LOGIN.auth_json(faulty.address))
        options = {"authfile": str(authfile), "tls_verify": False, **options}
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        with Resolver(skopeo.Options(**options), environment, mode, timeout=5, retries=0) as resolver:
            yield resolver
    return make


def noting(storage, given):
    """Answer at the storage, after a note of what is shown."""
    def fault(handler, right):
        length = int(handler.headers.get("Content-Length") or 0)
        storage.shown.append((handler.headers.get("Authorization"), handler.rfile.read(length), handler.path))
        handler.send(given(handler, right))
    return fault


def assert_nothing_shown(storage):
    assert storage.shown, "the storage was asked"
    for authorization, body, path in storage.shown:
        assert authorization is None
        assert body == b""
        assert not path.startswith("/token")


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("mode", ["http", "auto"])
@pytest.mark.parametrize("challenge", CHALLENGES, ids=["bearer", "basic"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_401_there_gets_no_login(faulty, storage, resolving, question, challenge, mode, private):
    ask, part = QUESTIONS[question]
    wanted = challenge.format(storage=storage.address)
    token = faults.Answer(200, {}, b'{"token":"good"}')
    storage.fail("/", noting(storage, lambda handler, right: token if handler.path.startswith("/token")
                             else faults.Answer(401, {"WWW-Authenticate": wanted}, b"")))
    # Another port is another place to the client; skopeo compares names only.
    place = storage.address if mode == "http" else storage.address.replace("127.0.0.1", "localhost")

    def own(handler, right):
        if private and not handler.headers.get("Authorization"):
            handler.send(faults.Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""))
        elif part in handler.path:
            handler.send(faults.Answer(307, {"Location": f"http://{place}{handler.path}"}, b""))
        else:
            handler.send(right)
    faulty.fail("/", own)
    with resolving(mode) as resolver:
        # None: there are no such lists that could be had.
        if question != "referrers" or mode == "http":
            with pytest.raises(ResolveError) as caught:
                ask(resolver, faulty.address)
            assert caught.value.kind == "auth"
        else:
            assert ask(resolver, faulty.address) is None
    assert_nothing_shown(storage)


@pytest.mark.parametrize("back", [False, True], ids=["there", "and back"])
def test_a_login_that_is_known_stays_at_the_registry(faulty, storage, resolving, back):
    """Nor is it shown again, where the storage sends the client back: with a path that the storage chose."""
    seen = []

    def own(handler, right):
        seen.append((handler.path, handler.headers.get("Authorization")))
        if not handler.headers.get("Authorization") and "chosen" not in handler.path:
            handler.send(faults.Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""))
        elif "chosen" in handler.path:
            handler.send(right)
        else:
            handler.send(faults.Answer(307, {"Location": f"http://{storage.address}{handler.path}"}, b""))
    faulty.fail("/manifests/", own)
    if back:
        place = f"http://{faulty.address}/v2/team/app/manifests/v1?chosen"
        storage.fail("/", noting(storage, lambda handler, right: faults.Answer(307, {"Location": place}, b"")))
    else:
        storage.fail("/", noting(storage, lambda handler, right: right))
    with resolving("http") as resolver, contextlib.suppress(ResolveError):
        resolver.digest(reference.parse(f"{faulty.address}/team/app:v1"))
    assert_nothing_shown(storage)
    assert any(authorization for _, authorization in seen)
    assert not any(authorization for path, authorization in seen if "chosen" in path)


@pytest.mark.parametrize("login", [None, {"identitytoken": "the-identity"}], ids=["password", "identity token"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_place_of_tokens_that_sends_elsewhere(faulty, storage, resolving, login, status):
    storage.fail("/", noting(storage, lambda handler, right: faults.Answer(200, {}, b'{"token":"good"}')))
    faulty.fail("/token", faults.status(status, {"Location": f"http://{storage.address}/token"}))
    challenge = f'Bearer realm="http://{faulty.address}/token"'
    faulty.fail("/manifests/", faults.status(401, {"WWW-Authenticate": challenge}))
    with resolving("http", login) as resolver, pytest.raises(ResolveError):
        resolver.digest(reference.parse(f"{faulty.address}/team/app:v1"))
    assert storage.shown == []


def test_a_redirect_on_the_registry_itself_keeps_the_login(faulty, resolving):
    def own(handler, right):
        if not handler.headers.get("Authorization"):
            handler.send(faults.Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""))
        elif "v1" in handler.path:
            handler.send(faults.Answer(307, {"Location": f"/v2/team/app/manifests/{IMAGE.digest}"}, b""))
        else:
            handler.send(right)
    faulty.fail("/manifests/", own)
    with resolving("http") as resolver:
        assert resolver.digest(reference.parse(f"{faulty.address}/team/app:v1")) == IMAGE.digest


@pytest.mark.parametrize("headers", [{"ratelimit-remaining": "0;w=60", "Retry-After": "3600"}], ids=["limits"])
@pytest.mark.parametrize("status", [200, 429, 503, "closed"])
def test_what_is_said_there_does_not_end_the_registry(private_ca, resolving, tmp_path, headers, status):
    """Limits and faults of the storage say nothing of the registry's other images. In the clear no limit counts anyway."""
    certificates = str(private_ca.cert_dir(tmp_path / "certs"))
    with faults.FaultyRegistry(private_ca) as registry, faults.FaultyRegistry(private_ca) as storage:
        for name in ("team/app", "team/other"):
            registry.add(IMAGE, name, "v1")
        storage.add(IMAGE, "team/app", "v1")
        place = faults.closed_address() if status == "closed" else storage.address
        if status != "closed":
            storage.fail("/", lambda handler, right: handler.send(
                faults.Answer(status, {**right.headers, **headers}, right.body if status == 200 else b"")))
        registry.fail("/team/app/manifests/", lambda handler, right: handler.send(
            faults.Answer(307, {"Location": f"https://{place}{handler.path}"}, b"")))
        with resolving("http", tls_verify=True, cert_dir=certificates) as resolver:
            with contextlib.suppress(ResolveError):
                resolver.digest(reference.parse(f"{registry.address}/team/app:v1"))
            assert resolver.document(reference.parse(f"{registry.address}/team/other:v1")) == IMAGE.data


def test_a_connection_without_verification_is_not_used_with(faulty, private_ca, resolving, tmp_path):
    """A registry for which nothing is verified sends the client to the host of another, for which it is."""
    with faults.FaultyRegistry(private_ca) as verified:
        verified.add(IMAGE, "team/app", "v1")
        faulty.fail("/manifests/", faults.status(307, {
            "Location": f"https://{verified.address}/v2/team/app/manifests/v1"}))
        conf = tmp_path / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{faulty.address}"\ninsecure = true\n')
        with resolving("http", tls_verify=True, registries_conf=str(conf)) as resolver:
            assert resolver.digest(reference.parse(f"{faulty.address}/team/app:v1")) == IMAGE.digest
            with pytest.raises(ResolveError) as caught:
                resolver.digest(reference.parse(f"{verified.address}/team/app:v1"))
        assert caught.value.kind == "tls"


@pytest.mark.parametrize("challenge", ['Basic realm="r"', CHALLENGES[0]], ids=["basic", "bearer"])
def test_no_login_leaves_tls(private_ca, storage, tmp_path, challenge):
    """From https to http, also where certificates are not verified; and to a place of tokens without TLS."""
    shown = []
    with faults.FaultyRegistry(private_ca) as secure:
        def own(handler, right):
            shown.append(handler.headers.get("Authorization"))
            if shown[-1]:
                handler.send(faults.Answer(307, {"Location": f"http://{storage.address}{handler.path}"}, b""))
            else:
                handler.send(faults.Answer(401, {"WWW-Authenticate": challenge.format(storage=storage.address)}, b""))
        secure.fail("/manifests/", own)
        storage.fail("/", noting(storage, lambda handler, right: right))
        authfile = tmp_path / "auth.json"
        authfile.write_text(LOGIN.auth_json(secure.address))
        options = skopeo.Options(authfile=str(authfile), tls_verify=False)
        resolver = Resolver(options, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, retries=0)
        with resolver, contextlib.suppress(ResolveError):
            resolver.digest(reference.parse(f"{secure.address}/team/app:v1"))
    # What is asked there is asked without; and nobody is asked for a token.
    assert shown == [None] if "Bearer" in challenge else any(shown)
    assert [authorization for authorization, _, _ in storage.shown if authorization] == []
    assert not [path for _, _, path in storage.shown if path.startswith("/token")]


def test_a_host_that_has_spoken_tls_is_not_asked_without(private_ca, tmp_path):
    """What breaks a connection off would get the login in the clear."""
    heard = []

    def serve(listening):
        with contextlib.suppress(OSError):
            context = private_ca.server_context()
            first, _ = listening.accept()
            with context.wrap_socket(first, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n"
                                   b"Connection: close\r\n\r\n")
            while True:
                with listening.accept()[0] as connection:
                    heard.append(connection.recv(65536))
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=serve, args=[listening], daemon=True).start()
        authfile = tmp_path / "auth.json"
        authfile.write_text(LOGIN.auth_json(address))
        options = skopeo.Options(authfile=str(authfile), tls_verify=False)
        resolver = Resolver(options, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, "http", 5, 1)
        with resolver, pytest.raises(ResolveError):
            resolver.digest(reference.parse(f"{address}/team/app:v1"))
        listening.shutdown(socket.SHUT_RDWR)
    assert heard
    assert not [data for data in heard if b"Authorization" in data or data.startswith((b"GET", b"HEAD"))]
