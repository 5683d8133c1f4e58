# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""To whom a login is sent; what a server can make of it, the fetcher tier shows."""

from __future__ import annotations

import email.message
import json
import ssl
import urllib.parse

import pytest

from dockin.image import reference
from dockin.registry import client as registry_client, credentials, skopeo
from dockin.registry.client import ResolveError

LOGIN = credentials.Login("user", "word", "", "auth.json")
IMAGE = reference.parse("registry.example:5000/team/app:1")


class Logins:
    def find(self, host, repository):
        assert (host, repository) == ("registry.example:5000", "team/app")
        return LOGIN


class Wire:
    """Answers in the place of servers: the registry asks for a login, and with it leads to another place."""

    def __init__(self, location):
        self.location = location
        self.seen = []

    def exchange(self, scheme, netloc, context, method, path, headers, limit, body=None):
        self.seen.append((f"{scheme}://{netloc}{path}", headers.get("Authorization", "")))
        answer = email.message.Message()
        if path == "/elsewhere":
            return registry_client.Answer(200, answer, b"document")
        if "Authorization" not in headers:
            answer["WWW-Authenticate"] = 'Basic realm="x"'
            return registry_client.Answer(401, answer, b"")
        answer["Location"] = self.location
        return registry_client.Answer(307, answer, b"")


@pytest.mark.parametrize("location, sent", [
    ("/elsewhere", True),
    ("https://registry.example:5000/elsewhere", True),
    ("https://REGISTRY.example:5000/elsewhere", True),
    # Who reads along at http gets nothing, though it is the same server's.
    ("http://registry.example:5000/elsewhere", False),
    ("https://registry.example/elsewhere", False),
    ("https://registry.example:5001/elsewhere", False),
    ("https://other.example:5000/elsewhere", False),
    ("https://user:word@other.example:5000/elsewhere", False),
    ("https://[::1]:5000/elsewhere", False),
])
def test_a_login_stays_at_scheme_host_and_port(monkeypatch, location, sent):
    access = registry_client.Access(ssl.create_default_context(), insecure=True)
    client = registry_client.Client(Logins(), lambda named: access, registry_client.Statistics())
    wire = Wire(location)
    monkeypatch.setattr(client, "_exchange", wire.exchange)
    assert client.manifest(IMAGE) == b"document"
    (_, first), (_, second), (url, third) = wire.seen
    assert (first, second) == ("", LOGIN.basic)
    assert third == (LOGIN.basic if sent else "")
    assert urllib.parse.urlsplit(url).path == "/elsewhere"


@pytest.mark.parametrize("location", [
    "https://[::1].evil.example:5000/x", "https://[registry].evil.example/x", "https://[::1]evil:5000/x", "https://:5000/x",
    "https://registry.example:x/y"])
def test_an_address_that_programs_read_in_different_ways_is_not_asked(monkeypatch, location):
    access = registry_client.Access(ssl.create_default_context(), insecure=True)
    client = registry_client.Client(Logins(), lambda named: access, registry_client.Statistics())
    wire = Wire(location)
    monkeypatch.setattr(client, "_exchange", wire.exchange)
    with pytest.raises(ResolveError, match="sends an invalid response"):
        client.manifest(IMAGE)
    assert len(wire.seen) == 2


def test_no_login_over_http_where_tls_is_wanted(monkeypatch):
    access = registry_client.Access(ssl.create_default_context())
    client = registry_client.Client(Logins(), lambda named: access, registry_client.Statistics())
    wire = Wire("http://registry.example:5000/elsewhere")
    monkeypatch.setattr(client, "_exchange", wire.exchange)
    with pytest.raises(ResolveError, match="has no TLS"):
        client.manifest(IMAGE)
    assert len(wire.seen) == 2


class Everywhere:
    """A login for one of two repositories of a host."""

    def find(self, host, repository):
        return LOGIN if repository == "team/app" else None


class Attacker:
    """Is on the way to a host: breaks off TLS whose certificate would be checked, and answers all else."""

    def __init__(self, verifying, challenge, plain):
        self.verifying = verifying
        self.challenge = challenge
        self.plain = plain
        self.seen = []

    def exchange(self, scheme, netloc, context, method, path, headers, limit, body=None):
        answer = email.message.Message()
        if netloc == "evil.example":
            self.seen.append((netloc, headers.get("Authorization", "")))
            return registry_client.Answer(200, answer, b'{"token": "t"}')
        if scheme == "https" and (self.plain or context is self.verifying):
            raise ConnectionResetError("reset")
        self.seen.append((f"{scheme}://{netloc}{path}", headers.get("Authorization", "")))
        answer["WWW-Authenticate"] = self.challenge
        return registry_client.Answer(401, answer, b"")


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="https://evil.example/token"'])
@pytest.mark.parametrize("plain", [True, False])
def test_what_is_learnt_in_an_insecure_way_counts_for_that_alone(monkeypatch, challenge, plain):
    """registries.conf may have a repository of a host that is insecure, beside one that is not and has a login."""
    secure = registry_client.Access(ssl.create_default_context())
    insecure = registry_client.Access(ssl.create_default_context(), insecure=True)
    client = registry_client.Client(Everywhere(), lambda named: secure if named.repository == "team/app" else insecure,
                             registry_client.Statistics(), retries=0)
    attacker = Attacker(secure.context, challenge, plain)
    monkeypatch.setattr(client, "_exchange", attacker.exchange)
    with pytest.raises(ResolveError):
        client.manifest(reference.parse("registry.example:5000/team/test:1"))
    assert attacker.seen, "the insecure way is gone by, so that there is something to learn"
    attacker.seen.clear()
    with pytest.raises(ResolveError):
        client.manifest(IMAGE)
    assert attacker.seen == []


def answering(monkeypatch, answer_to, retries=0, insecure=False):
    """Return a client whose requests a function answers, by method and host, with status and headers."""
    access = registry_client.Access(ssl.create_default_context(), insecure=insecure)
    client = registry_client.Client(Everywhere(), lambda named: access, registry_client.Statistics(), retries=retries)

    def exchange(scheme, netloc, context, method, path, headers, limit, body=None):
        status, named = answer_to(method, netloc)
        answer = email.message.Message()
        for name, value in named.items():
            answer[name] = value
        return registry_client.Answer(status, answer, b"document")

    monkeypatch.setattr(client, "_exchange", exchange)
    return client


@pytest.mark.parametrize("insecure", [True, False])
def test_a_limit_counts_where_it_comes_from_the_registry(monkeypatch, insecure):
    """On an insecure way anybody can say that nothing is left, also for what is asked for in a secure one."""
    client = answering(monkeypatch, lambda method, host: (200, {"ratelimit-remaining": "0;w=60"}), insecure=insecure)
    client.manifest(IMAGE)
    assert client.statistics.remaining("registry.example:5000") == (None if insecure else 0)


@pytest.mark.parametrize("wait", ["1", "3600"])
def test_docker_hub_is_not_asked_again_where_head_is_limited(monkeypatch, wait):
    """There HEAD is counted only where too much has been asked for."""
    asked = []

    def limited(method, host):
        asked.append(method)
        return 429, {"Retry-After": wait}

    client = answering(monkeypatch, limited)
    with pytest.raises(registry_client.FinalError, match="limits requests"):
        client.head(reference.parse("busybox:1"))
    assert asked == ["HEAD"]


PASSWORD = credentials.Login("user", "hunter2-hunter2"), ["hunter2-hunter2", "dXNlcjpodW50ZXIyLWh1bnRlcjI="]
IDENTITY = credentials.Login("", "", "identity.token-1"), ["identity.token-1"]
TOKEN = credentials.Login("user", "hunter2"), ["a token of this run"]


@pytest.mark.parametrize("login, secrets, where", [
    (*PASSWORD, "registry"), (*IDENTITY, "registry"), (*TOKEN, "registry"), (*PASSWORD, "tokens"), (*IDENTITY, "tokens"),
])
def test_a_login_that_is_known_is_not_repeated(monkeypatch, login, secrets, where):
    """However a server words it, and at any place of what it says; nor by skopeo."""
    words = f"{'x' * 190}: {' '.join(secrets)} {';'.join(secrets)}"

    def exchange(scheme, netloc, context, method, path, headers, limit, body=None):
        answer = email.message.Message()
        said = json.dumps({"errors": [{"message": words}]}).encode()
        if netloc == "tokens.example" and where != "tokens":
            return registry_client.Answer(200, answer, json.dumps({"token": "a token of this run"}).encode())
        if netloc == "tokens.example" or "Authorization" in headers:
            return registry_client.Answer(403, answer, said)
        answer["WWW-Authenticate"] = 'Bearer realm="https://tokens.example/"'
        return registry_client.Answer(401, answer, b"")

    monkeypatch.setattr(Logins, "find", lambda self, host, repository: login)
    access = registry_client.Access(ssl.create_default_context())
    client = registry_client.Client(Logins(), lambda named: access, registry_client.Statistics())
    monkeypatch.setattr(client, "_exchange", exchange)
    with pytest.raises(ResolveError, match=r"\(x+: …") as caught:
        client.manifest(IMAGE)
    for said in (str(caught.value), skopeo.classify(f'time="now" level=fatal msg="{words}"').message):
        # Nor the first half of it, where a long message is cut.
        assert not any(secret[:9] in said for secret in secrets)
