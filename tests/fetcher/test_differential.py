# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Odd answers of registries, and odd logins: a look-up never says another thing than skopeo, by which images are fetched.

Each row is looked up twice, by the resolver as users have it and by real skopeo alone. Where skopeo knows what a tag or a
pin stands for, or that it is gone, the resolver says the same; where skopeo does not, the resolver does not say "gone".
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import json
import os
import typing

import pytest

from dockin import exitcodes
from dockin.image import reference
from dockin.refresh import findings
from dockin.registry import skopeo
from dockin.registry.resolver import ResolveError, Resolver
from support import faults
from support.fetching import small_image

NEW, OLD = small_image("differential-new"), small_image("differential-old")
FOUND, CURRENT, GONE, UNKNOWN = "stale", "current", "pin-lost", "error"
JSON = {"Content-Type": "application/json"}


def basic(text="u:p"):
    return base64.b64encode(text.encode()).decode()


@dataclasses.dataclass(frozen=True)
class Row:
    """What a registry answers, what the login file has, and what is to be found."""

    name: str
    expected: str
    change: typing.Callable[[faults.Handler, faults.Answer, str], faults.Answer | None] = lambda handler, right, host: right
    """Returns the answer in place of the right one; None where it has sent one itself."""
    config: typing.Callable[[str], str] | None = None
    helper: str = ""
    pin: str = OLD.digest
    skopeo_knows: bool = True
    """False where skopeo asks for something else before, or repeats a registry's words without the status."""


def answer(status, body=b"", **headers):
    return faults.Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def manifests_only(function):
    """Change the answers to requests for manifests."""
    return lambda handler, right, host: function(handler, right, host) if "/manifests/" in handler.path else right


def to_head(status, **headers):
    return manifests_only(lambda handler, right, host: answer(status, **headers) if handler.command == "HEAD" else right)


def to_all(status, body=b"", **headers):
    return manifests_only(lambda handler, right, host: answer(status, body, **headers))


def words(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def cut_head(handler, right, host):
    if handler.command == "HEAD":
        handler.close_connection = True
        return None
    return right


def silent_head(handler, right, host):
    if handler.command == "HEAD":
        handler.linger(60)
        return None
    return right


def guarded(
    challenge='Bearer realm="http://{host}/token",service="s",scope="repository:team/app:pull"', login=None, hidden=0,
    good="Bearer good", token=None, ask_for="", insufficient=False,
):
    """Want a login, of anybody or of the one user; hidden is the status of what is asked for without, but for /v2/."""

    def change(handler, right, host):
        sent = handler.headers.get("Authorization")
        if handler.path.startswith("/token"):
            known = (login is None or sent == f"Basic {login}") and ask_for in handler.path
            given = "good" if known else "other"
            return token or answer(200, json.dumps({"token": given}).encode(), **JSON)
        if sent == good:
            return right
        if hidden and handler.path != "/v2/":
            return answer(hidden)
        more = ',error="insufficient_scope"' if insufficient and sent else ""
        return answer(401, WWW_Authenticate=challenge.format(host=host) + more)

    return change


def auths(entry, key="{host}"):
    return lambda host: json.dumps({"auths": {key.format(host=host): entry}})


def helpers(host):
    return json.dumps({"credHelpers": {host: "odd"}})


USER = auths({"auth": basic()})
BASIC = guarded('Basic realm="r"', good=f"Basic {basic()}")
TOKEN = guarded(login=basic())


def odd_heads():
    """HEAD is answered otherwise than GET."""
    for status in (204, 300, 400, 401, 402, 403, 404, 405, 406, 410, 418, 429, 451, 500, 501, 502, 503, 504):
        yield Row(f"HEAD {status}", FOUND, to_head(status))
    for status in (404, 500):
        yield Row(f"HEAD {status}, the pin is current", CURRENT, to_head(status), pin=NEW.digest)
    other = "sha256:" + "1" * 64
    for status in (429, 503):
        yield Row(f"HEAD {status}, to be asked again in an hour", FOUND, to_head(status, Retry_After="3600"))
    yield Row("HEAD is not answered", FOUND, manifests_only(silent_head))
    yield Row("HEAD is cut", FOUND, manifests_only(cut_head))
    yield Row("HEAD without a digest", FOUND, to_head(200, Content_Type=NEW.media_type))
    yield Row("HEAD without a type", FOUND, to_head(200, Docker_Content_Digest=NEW.digest))
    yield Row("HEAD of a page", FOUND, to_head(200, Content_Type="text/html", Docker_Content_Digest=NEW.digest))
    yield Row("HEAD of another", FOUND, to_head(200, Content_Type=NEW.media_type, Docker_Content_Digest=other))
    yield Row("HEAD redirected to nowhere", FOUND, to_head(307, Location="http://127.0.0.1:1/"))
    yield Row("HEAD redirected without end", FOUND, to_head(307, Location="/v2/team/app/manifests/v1"))


def odd_answers():
    """HEAD and GET are answered alike."""
    for status in (204, 400, 401, 402, 403, 405, 410, 451, 500, 501, 502, 503):
        yield Row(f"status {status}", UNKNOWN, to_all(status))
    yield Row("status 404", GONE, to_all(404))
    known, other = words("MANIFEST_UNKNOWN", "x"), words("NOT_FOUND", "artifact x not found")
    for name, body in {"page": b"<html>", "object": b"{}", "known": known, "other": other, "string": b'"x"'}.items():
        yield Row(f"404 with a body: {name}", GONE, to_all(404, body, **JSON), skopeo_knows=name != "other")
    yield Row("500 with a body", UNKNOWN, to_all(500, other, **JSON))
    yield Row("404 that denies", UNKNOWN, to_all(404, words("DENIED", "requested access to the resource is denied"), **JSON))
    yield Row("404 that wants a login", UNKNOWN, to_all(404, words("UNAUTHORIZED", "authentication required"), **JSON))
    yield Row("403 that says unknown", GONE, to_all(403, words("MANIFEST_UNKNOWN", "manifest unknown"), **JSON))
    for name, body in {"nothing": b"", "page": b"<html>", "cut": NEW.data[:50]}.items():
        yield Row(f"200 with a body: {name}", UNKNOWN, to_all(200, body, Content_Type=NEW.media_type))

    yield Row("redirected", FOUND, manifests_only(
        lambda handler, right, host: right if "?" in handler.path else answer(307, Location=f"http://{host}{handler.path}?x")))
    yield Row("redirected for ever", UNKNOWN, to_all(302, Location="/v2/team/app/manifests/v1"))
    yield Row("redirected to no place", UNKNOWN, to_all(302, Location="http://127.0.0.1:1/"))
    yield Row("redirected to another scheme", UNKNOWN, to_all(302, Location="ftp://127.0.0.1/"))
    yield Row("redirected without a place", UNKNOWN, to_all(302))
    yield Row("no /v2/, no image", UNKNOWN, lambda handler, right, host: answer(410 if handler.path == "/v2/" else 404))
    yield Row("no registry", UNKNOWN, lambda handler, right, host: answer(404))
    yield Row("no /v2/", FOUND, lambda handler, right, host: answer(404) if handler.path == "/v2/" else right,
              skopeo_knows=False)


def odd_challenges():
    """A login is wanted, in many ways."""
    yield Row("tokens for anybody", FOUND, guarded())
    yield Row("tokens for a user", FOUND, TOKEN, USER)
    yield Row("password", FOUND, BASIC, USER)
    yield Row("tokens, no login", UNKNOWN, TOKEN)
    yield Row("password, no login", UNKNOWN, BASIC)
    yield Row("wrong password", UNKNOWN, BASIC, auths({"auth": basic("u:x")}))
    for hidden in (403, 404):
        yield Row(f"hidden by {hidden}, tokens", FOUND, guarded(login=basic(), hidden=hidden), USER)
        yield Row(f"hidden by {hidden}, password", FOUND,
                  guarded('Basic realm="r"', good=f"Basic {basic()}", hidden=hidden), USER)
    scope = 'Bearer realm="http://{host}/token",scope="repository:proj/team/app:pull"'
    yield Row("scope of another path", FOUND, guarded(scope, ask_for="proj", insufficient=True))
    yield Row("no scope", FOUND, guarded('Bearer realm="http://{host}/token"'))
    yield Row("scheme in capitals", FOUND, guarded('BEARER realm="http://{host}/token"'))
    yield Row("unquoted", FOUND, guarded("Bearer realm=http://{host}/token,service=s"))
    yield Row("realm with a query", FOUND, guarded('Bearer realm="http://{host}/token?a=b"'))
    yield Row("no realm", UNKNOWN, guarded("Bearer service=s"))
    yield Row("relative realm", UNKNOWN, guarded('Bearer realm="/token"'))
    yield Row("unknown scheme", UNKNOWN, guarded("Negotiate"))
    for name, body in {"access_token": b'{"access_token":"good"}', "no lifetime": b'{"token":"good","expires_in":0}',
                       "lifetime below 0": b'{"token":"good","expires_in":-5}'}.items():
        yield Row(f"answer with a token: {name}", FOUND, guarded(token=answer(200, body, **JSON)))
    for name, given in {"nothing": answer(200), "page": answer(200, b"<html>"), "403": answer(403), "404": answer(404),
                        "500": answer(500), "other": answer(200, b'{"token":"bad"}')}.items():
        yield Row(f"answer with no token: {name}", UNKNOWN, guarded(token=given))


def odd_logins():
    """Login files and credential helpers of many kinds."""
    lines = {"line end": basic() + "\n", "CR LF": basic() + "\r\n", "in lines": basic()[:3] + "\n" + basic()[3:]}
    for name, text in lines.items():
        yield Row(f"auth with {name}", FOUND, BASIC, auths({"auth": text}))
    for name, entry in {"no colon": {"auth": basic("u")}, "empty": {}}.items():
        yield Row(f"auth: {name}, public", FOUND, guarded(), auths(entry))
        yield Row(f"auth: {name}, private", UNKNOWN, TOKEN, auths(entry))
    yield Row("auth: no base64", UNKNOWN, guarded(), auths({"auth": "###"}))
    yield Row("login of a URL", FOUND, TOKEN, auths({"auth": basic()}, "https://{host}/v2/"))
    yield Row("login of the repository", FOUND, TOKEN, auths({"auth": basic()}, "{host}/team/app"))
    yield Row("login in capitals", FOUND, TOKEN, lambda host: json.dumps({"Auths": {host: {"AUTH": basic()}}}))
    yield Row("login of another host", UNKNOWN, TOKEN, auths({"auth": basic()}, "localhost:1"))
    yield Row("login file of rubbish", UNKNOWN, guarded(), lambda host: "{")

    store = lambda host: '{"credsStore": "odd"}'  # noqa: E731
    good = f"printf '%s' '{json.dumps({'Username': 'u', 'Secret': 'p'})}'"
    for name, helper in {"absent": "", "locked": "echo locked; exit 1", "no JSON": "echo x", "good": good}.items():
        yield Row(f"credsStore {name}, public", FOUND, guarded(), store, helper)
        yield Row(f"credsStore {name}, private", UNKNOWN, TOKEN, store, helper)
        found = FOUND if name == "good" else UNKNOWN
        yield Row(f"credHelpers {name}, private", found, TOKEN, helpers, helper)
        yield Row(f"credHelpers {name}, public", found, guarded(), helpers, helper)
        yield Row(f"credHelpers {name}, nothing asked", found, config=helpers, helper=helper)
    for name, helper in {"none found": "echo credentials not found in native keychain; exit 1", "empty": "echo {}"}.items():
        yield Row(f"credHelpers {name}, public", FOUND, guarded(), helpers, helper)


ROWS = [*odd_heads(), *odd_answers(), *odd_challenges(), *odd_logins()]


def look_up(row, mode, directory):
    """Return what is found out about a row's image, and the exit code."""
    directory.mkdir()
    (directory / ".docker").mkdir()
    if row.helper:
        program = directory / "docker-credential-odd"
        program.write_text(f"#!/bin/sh\ncat >/dev/null\n{row.helper}\n")
        program.chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)}
    with faults.FaultyRegistry() as server:
        server.add(NEW, "team/app", "v1")
        server.add(OLD, "team/app", "old")

        def fault(handler, right):
            name = handler.path.partition("?")[0]
            given = row.change(handler, server.answer(name), server.address)
            if given:
                handler.send(given)
        server.fail("/", fault)
        if row.config:
            (directory / ".docker/config.json").write_text(row.config(server.address))
        named = reference.parse(f"{server.address}/team/app:v1@{row.pin}")
        with Resolver(skopeo.Options(tls_verify=False), environment, mode, timeout=5, retries=0) as resolver:
            found = findings.compare([(named, None)], findings.Rules(), resolver)[0]
    return found, findings.exit_code([found], True)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All rows, looked up by the resolver and by skopeo, several at once."""
    directory = tmp_path_factory.mktemp("differential")
    wanted = [(number, mode) for number in range(len(ROWS)) for mode in ("auto", "skopeo")]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = pool.map(lambda one: look_up(ROWS[one[0]], one[1], directory / f"{one[1]}-{one[0]}"), wanted)
        return dict(zip(wanted, done))


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.name for row in ROWS])
def test_never_another_verdict_than_skopeos(found, number):
    row = ROWS[number]
    (ours, code), (theirs, their_code) = found[number, "auto"], found[number, "skopeo"]
    said = f"{ours.message}\nskopeo: {theirs.message}"
    assert ours.status == row.expected, said
    if row.expected in (FOUND, CURRENT):
        assert ours.new.index == NEW.digest
        assert ours.pin_exists
    if row.skopeo_knows and theirs.status != UNKNOWN:
        assert (ours.status, ours.new.index, ours.pin_exists) == (theirs.status, theirs.new.index, theirs.pin_exists), said
        assert code == their_code
    if row.skopeo_knows and theirs.status != GONE:
        assert code != exitcodes.LOST


@pytest.mark.parametrize("name", [
    "scope of another path", "no scope", "HEAD 404", "auth with CR LF", "credsStore absent, public"])
def test_without_skopeo(name, tmp_path):
    """What is common or easy is right with DOCKIN_RESOLVER = "http", too."""
    [row] = [row for row in ROWS if row.name == name]
    found, _ = look_up(row, "http", tmp_path / "http")
    assert (found.status, found.new.index) == (FOUND, NEW.digest), found.message


def test_number_of_rows():
    assert len(ROWS) >= 60
    assert len({row.name for row in ROWS}) == len(ROWS)


TAGS = {
    "list": (200, b'{"tags": ["v1", "v2"]}'),
    "none": (200, b'{"tags": null}'),
    "a word": (200, b'{"tags": "v1"}'),
    "page": (200, b"<html>"),
    "empty": (200, b""),
    **{str(status): (status, b"") for status in (204, 400, 401, 403, 404, 410, 500)},
    "unknown name": (404, words("NAME_UNKNOWN", "x")),
}


@pytest.mark.parametrize("name", TAGS)
def test_tags_as_skopeo(name, faulty, tmp_path):
    faulty.fail("/tags/list", faults.status(TAGS[name][0], JSON, TAGS[name][1]))
    said = []
    for mode in ("auto", "skopeo"):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        with Resolver(skopeo.Options(tls_verify=False), environment, mode, timeout=5, retries=0) as resolver:
            try:
                said.append(resolver.tags(reference.parse(f"{faulty.address}/team/app:v1")))
            except ResolveError as error:
                said.append(error.kind if error.kind == "not-found" else UNKNOWN)
    assert said[0] == said[1]
