# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The look-ups of the tools, on real registries and on one that misbehaves: what they cost, and what they say."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
import time
import urllib.parse

import pytest

from dockin.image import manifests, platforms, reference, tarball
from dockin.registry import skopeo
from dockin.registry.resolver import ResolveError, Resolver
from support import faults, images, registry
from support.fixtures import LOGIN
from support.tokens import TokenServer

MACHINE = {"PATH": os.environ["PATH"]}


@pytest.fixture
def resolve(tmp_path):
    """Make a resolver of a user whose home is empty; close it at the end."""
    made = []

    def make(mode="auto", environment=None, timeout=5, retries=3, **options):
        options.setdefault("tls_verify", False)
        made.append(Resolver(skopeo.Options(**options), {**MACHINE, "HOME": str(tmp_path), **(environment or {})}, mode,
                             timeout, retries))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def index():
    """An image for two platforms."""
    def make(name, form="oci"):
        children = [images.image([images.layer({"etc/name": f"{name} {platform}"})], platform, form)
                    for platform in ("linux/amd64", "linux/arm64/v8")]
        return images.index(children, form)
    return make


def ref(server, name):
    return reference.parse(f"{server.address}/{name}")


def refuse(kind, function, *arguments):
    with pytest.raises(ResolveError) as caught:
        function(*arguments)
    assert caught.value.kind == kind, str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_digest_of_a_tag_costs_one_head(server, resolve, index, form):
    digest = server.push(index(f"head-{form}", form), f"tools/{form}", "v1")
    resolver = resolve()
    with server.recording() as requests:
        assert resolver.digest(ref(server, f"tools/{form}:v1")) == digest
        assert resolver.digest(ref(server, f"tools/{form}:v1")) == digest
    assert [(one.method, one.status) for one in requests] == [("HEAD", 200)]
    assert resolver.statistics.counted_pulls == 0
    assert resolver.document_kind(digest) == "index"


def test_skopeo_says_the_same(server, resolve, index):
    content = index("same")
    digest = server.push(content, "tools/same", "v1")
    wanted = platforms.parse("linux/arm64")
    for mode in ("http", "skopeo"):
        resolver = resolve(mode)
        named = ref(server, "tools/same:v1")
        assert resolver.digest(named) == digest
        assert resolver.tags(named) == ["v1"]
        image = resolver.image(named, wanted)
        assert image.manifest_digest == content.manifest("linux/arm64/v8").digest
        assert image.config_bytes == content.manifest("linux/arm64/v8").config.data
        assert resolver.config(named, wanted)[0] == image.manifest_digest
        message = refuse("not-found", resolver.digest, ref(server, "tools/same:none"))
        assert "correct it in SRC_URI" in message


def test_statistics_of_skopeo(server, resolve, index):
    server.push(index("cost"), "tools/cost", "v1")
    resolver = resolve("skopeo")
    with server.recording() as requests:
        resolver.digest(ref(server, "tools/cost:v1"))
    assert len(requests.manifests()) == resolver.statistics.counted_pulls == 1
    assert len(requests) == resolver.statistics.requests


def test_many_look_ups_share_a_connection_and_a_challenge(secure_server, private_ca, resolve, tmp_path, image):
    authfile = tmp_path / "auth.json"
    authfile.write_text(LOGIN.auth_json(secure_server.address))
    for number in range(5):
        secure_server.push(image("many"), f"many/app{number}", "v1")
    resolver = resolve(tls_verify=True, authfile=str(authfile), cert_dir=str(private_ca.cert_dir(tmp_path / "certs")))
    with secure_server.recording() as requests:
        for number in range(5):
            resolver.digest(ref(secure_server, f"many/app{number}:v1"))
    assert [one.status for one in requests] == [401, 200, 200, 200, 200, 200]
    assert len(resolver._client._connections) == 1


@pytest.mark.parametrize("where", [
    ".config/containers/auth.json", ".docker/config.json", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR",
    "REGISTRY_AUTH_FILE",
])
def test_logins_are_found_where_skopeo_finds_them(secure_server, private_ca, resolve, tmp_path, image, where):
    digest = secure_server.push(image("login"), "login/app", "v1")
    folder = tmp_path / "elsewhere"
    path, environment = {
        "XDG_CONFIG_HOME": (folder / "containers/auth.json", {"XDG_CONFIG_HOME": str(folder)}),
        "XDG_RUNTIME_DIR": (folder / "containers/auth.json", {"XDG_RUNTIME_DIR": str(folder)}),
        "DOCKER_CONFIG": (folder / "config.json", {"DOCKER_CONFIG": str(folder)}),
        "REGISTRY_AUTH_FILE": (folder / "any.json", {"REGISTRY_AUTH_FILE": str(folder / "any.json")}),
    }.get(where, (tmp_path / where, {}))
    path.parent.mkdir(parents=True)
    path.write_text(LOGIN.auth_json(secure_server.address))
    certs = str(private_ca.cert_dir(tmp_path / "certs"))
    for mode in ("http", "skopeo"):
        resolver = resolve(mode, environment, tls_verify=True, cert_dir=certs)
        assert resolver.digest(ref(secure_server, "login/app:v1")) == digest


def test_the_first_file_with_a_login_counts_as_with_skopeo(secure_server, private_ca, resolve, tmp_path, image):
    secure_server.push(image("order"), "order/app", "v1")
    wrong = registry.Login(LOGIN.user, "not-this-one")
    for login, path in ((wrong, ".config/containers/auth.json"), (LOGIN, ".docker/config.json")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(login.auth_json(secure_server.address))
    certs = str(private_ca.cert_dir(tmp_path / "certs"))
    for mode in ("http", "skopeo"):
        message = refuse("auth", resolve(mode, tls_verify=True, cert_dir=certs).digest, ref(secure_server, "order/app:v1"))
        assert ".config/containers/auth.json" in message
        assert "not-this-one" not in message


def test_case_of_the_registry_is_that_of_its_login(secure_server, private_ca, resolve, tmp_path, image):
    """And of its certificates: as with skopeo, to which two spellings are two registries."""
    digest = secure_server.push(image("case"), "case/app", "v1")
    host = secure_server.address.replace("127.0.0.1", "LocalHost")
    authfile = tmp_path / "auth.json"
    authfile.write_text(LOGIN.auth_json(host))
    private_ca.cert_dir(tmp_path / ".config/containers/certs.d" / host)
    for mode in ("http", "skopeo"):
        resolver = resolve(mode, tls_verify=True, authfile=str(authfile))
        assert resolver.digest(reference.parse(f"{host}/case/app:v1")) == digest
        assert resolver.tags(reference.parse(f"{host}/case/app")) == ["v1"]
        refuse("tls", resolver.digest, reference.parse(f"{host.lower()}/case/app:v1"))
        other = resolve(mode, tls_verify=False, authfile=str(authfile))
        refuse("auth", other.digest, reference.parse(f"{host.lower()}/case/app:v1"))


def test_login_of_a_repository_goes_before_that_of_its_host(secure_server, private_ca, resolve, tmp_path, image):
    digest = secure_server.push(image("path"), "group/path/app", "v1")
    address = secure_server.address
    good, bad = (json.loads(login.auth_json("x"))["auths"]["x"] for login in (LOGIN, registry.Login("x", "y")))
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {address: bad, f"{address}/group": bad, f"{address}/group/path": good}}))
    certs = str(private_ca.cert_dir(tmp_path / "certs"))
    for mode in ("http", "skopeo"):
        resolver = resolve(mode, tls_verify=True, cert_dir=certs, authfile=str(authfile))
        assert resolver.digest(ref(secure_server, "group/path/app:v1")) == digest


def credential_helper(tmp_path, text, name="docker-credential-testhelper"):
    """Write a helper and return an environment in which it is found."""
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_credential_helper(secure_server, private_ca, resolve, tmp_path, image):
    digest = secure_server.push(image("helper"), "helper/app", "v1")
    answer = json.dumps({"ServerURL": secure_server.address, "Username": LOGIN.user, "Secret": LOGIN.password})
    environment = credential_helper(tmp_path, f"cat >'{tmp_path}/asked'\nprintf '%s' '{answer}'")
    (tmp_path / ".docker").mkdir()
    helpers = {secure_server.address: "testhelper"}
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": helpers, "auths": {secure_server.address: {}}}))
    resolver = resolve("http", environment, tls_verify=True, cert_dir=str(private_ca.cert_dir(tmp_path / "certs")))
    assert resolver.digest(ref(secure_server, "helper/app:v1")) == digest
    assert (tmp_path / "asked").read_text() == secure_server.address


@pytest.mark.parametrize(("text", "words"), [
    ("cat >/dev/null; echo 'the secret is hunter2'; exit 1", "docker-credential-testhelper get failed"),
    ("cat >/dev/null; echo 'hunter2'", "no JSON"),
    (None, "no program docker-credential-testhelper"),
])
def test_credential_helper_that_fails(secure_server, private_ca, resolve, tmp_path, text, words):
    environment = credential_helper(tmp_path, text) if text else {}
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {secure_server.address: "testhelper"}}))
    certs = str(private_ca.cert_dir(tmp_path / "certs"))
    resolver = resolve("http", environment, tls_verify=True, cert_dir=certs)
    message = refuse("login", resolver.digest, ref(secure_server, "helper/app:v1"))
    assert words in message
    assert "hunter2" not in message


def test_unknown_authority(secure_server, resolve):
    message = refuse("tls", resolve("http", tls_verify=True).digest, ref(secure_server, "any/app:v1"))
    assert "DOCKIN_CERT_DIR" in message


def test_server_without_tls_is_not_spoken_to_in_the_clear(server, resolve, image):
    server.push(image("clear"), "clear/app", "v1")
    with server.recording() as requests:
        refuse("tls", resolve("http", tls_verify=True).digest, ref(server, "clear/app:v1"))
    assert requests == []


def test_registries_conf_insecure_is_no_reason_for_skopeo(server, resolve, tmp_path, image):
    digest = server.push(image("insecure"), "insecure/app", "v1")
    conf = tmp_path / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{server.address}"  # mine\ninsecure = true\n')
    resolver = resolve(tls_verify=True, registries_conf=str(conf))
    named = ref(server, "insecure/app:v1")
    assert (resolver.digest(named), resolver.kind(named), resolver.statistics.counted_pulls) == (digest, "http-head", 0)


@pytest.mark.parametrize("fall_back", [False, True])
def test_registries_conf_with_mirror_or_location(server, resolve, tmp_path, image, fall_back):
    digest = server.push(image("mirror"), "library/mirrored", "v1")
    conf = registry.write_registries_conf(tmp_path / "registries.conf", server.address, "mirrored.example", fall_back)
    resolver = resolve(tls_verify=True, registries_conf=str(conf))
    named = reference.parse("mirrored.example/library/mirrored:v1")
    assert resolver.digest(named) == digest
    assert resolver.kind(named) == "skopeo"
    assert "registries.conf" in resolver.reason(named)


def test_proxy_is_a_reason_for_skopeo_but_not_for_loopback(server, resolve, image):
    digest = server.push(image("proxy"), "proxy/app", "v1")
    environment = {"HTTPS_PROXY": "http://192.0.2.1:3128", "NO_PROXY": ".internal.example"}
    resolver = resolve(environment=environment)
    assert resolver.digest(ref(server, "proxy/app:v1")) == digest
    assert resolver.kind(ref(server, "proxy/app:v1")) == "http-head"
    assert resolver.kind(reference.parse("quay.io/x/y:z")) == "skopeo"
    assert resolver.kind(reference.parse("registry.internal.example/y:z")) == "http-head"


def test_client_certificate_is_a_reason_for_skopeo(private_ca, resolve, tmp_path):
    directory = private_ca.cert_dir(tmp_path / "certs")
    (directory / "client.cert").write_bytes(private_ca.certificate.read_bytes())
    (directory / "client.key").write_bytes(private_ca.key.read_bytes())
    assert resolve(cert_dir=str(directory)).kind(reference.parse("quay.io/x/y:z")) == "skopeo"
    assert resolve("http", cert_dir=str(directory)).kind(reference.parse("quay.io/x/y:z")) == "http-head"


# What registries do that break HEAD-only clients

def test_no_digest_header(faulty, resolve, image):
    content = image("bare")
    faulty.add(content, "bare/app", "v1")
    faulty.fail("/manifests/", lambda handler, answer: handler.send(
        faults.Answer(200, {"Content-Type": content.media_type}, answer.body)))
    resolver = resolve()
    assert resolver.digest(ref(faulty, "bare/app:v1")) == content.digest
    assert resolver.statistics.counted_pulls == 1


@pytest.mark.parametrize("code", [404, 405])
def test_head_is_not_answered(faulty, resolve, image, code):
    content = image("nohead")
    faulty.add(content, "nohead/app", "v1")

    def fault(handler, answer):
        handler.send(answer if handler.command == "GET" else faults.Answer(code, {}, b""))
    faulty.fail("/manifests/", fault)
    assert resolve().digest(ref(faulty, "nohead/app:v1")) == content.digest


def test_head_that_is_not_answered_is_asked_once_for_each_host(faulty, resolve, image):
    """And it goes on being asked where GET says "not there", too."""
    contents = {f"once/app{number}": image(f"once {number}") for number in range(3)}
    for name, content in contents.items():
        faulty.add(content, name, "v1")
    asked = []

    def fault(handler, answer):
        asked.append((handler.command, handler.path.split("/")[3]))
        handler.send(answer if handler.command == "GET" else faults.Answer(404, {}, b""))
    faulty.fail("/manifests/", fault)
    resolver = resolve("http")
    refuse("not-found", resolver.digest, ref(faulty, "once/none:v1"))
    for name, content in contents.items():
        assert resolver.digest(ref(faulty, f"{name}:v1")) == content.digest
    assert asked == [("HEAD", "none"), ("GET", "none"), ("HEAD", "app0"), ("GET", "app0"), ("GET", "app1"), ("GET", "app2")]


def test_each_repository_has_the_scope_that_it_asks_for(faulty, resolve, image):
    names = ["scoped/one", "scoped/two"]
    for name in names:
        faulty.add(image(name), name, "v1")

    def fault(handler, answer):
        if handler.path.startswith("/token"):
            [scope] = urllib.parse.parse_qs(handler.path.partition("?")[2])["scope"]
            answer = faults.Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": scope}).encode())
        elif handler.path.startswith("/v2/scoped/"):
            scope = f"repository:elsewhere/{handler.path.split('/')[3]}:pull"
            if handler.headers.get("Authorization") != f"Bearer {scope}":
                challenge = f'Bearer realm="http://{faulty.address}/token",service="s",scope="{scope}"'
                answer = faults.Answer(401, {"WWW-Authenticate": challenge}, b"")
        handler.send(answer)
    faulty.fail("/", fault)
    resolver = resolve("http")
    for name in 2 * names:
        assert resolver.digest(ref(faulty, f"{name}:v1")) == image(name).digest


def test_schema_1_is_no_digest(faulty, resolve):
    body = json.dumps({"schemaVersion": 1, "name": "old/app", "tag": "v1"}).encode()
    headers = {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
               "Docker-Content-Digest": "sha256:" + "0" * 64}
    faulty.fail("/manifests/", faults.status(200, headers, body))
    with pytest.raises(manifests.InvalidManifest, match="schema 1"):
        resolve().digest(ref(faulty, "old/app:v1"))


def test_wrong_bytes_under_a_digest(faulty, resolve, image):
    content = image("wrong")
    faulty.add(content, "wrong/app", "v1")
    faulty.fail("/manifests/", faults.body(registry.flipped))
    pinned = ref(faulty, f"wrong/app@{content.digest}")
    message = refuse("content", resolve("http").document, pinned)
    assert content.digest in message
    with pytest.raises(DockinErrors):
        resolve("skopeo").document(pinned)


DockinErrors = (ResolveError, tarball.InvalidTarball)


def test_wrong_config(faulty, resolve, image):
    content = image("config")
    faulty.add(content, "config/app", "v1")
    faulty.fail("/blobs/", faults.body(registry.flipped))
    with pytest.raises(tarball.InvalidTarball, match=content.config.digest):
        resolve().image(ref(faulty, "config/app:v1"), platforms.parse("linux/amd64"))


def test_what_passes_is_tried_again(faulty, resolve, image):
    content = image("passing")
    faulty.add(content, "passing/app", "v1")
    faulty.fail("/manifests/", faults.status(503), times=1)
    faulty.fail("/manifests/", faults.status(429, {"Retry-After": "1"}), times=1)
    resolver = resolve()
    assert resolver.digest(ref(faulty, "passing/app:v1")) == content.digest
    assert resolver.statistics.requests == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_what_does_not_pass_is_not_tried_again(faulty, resolve, code):
    faulty.fail("/manifests/", faults.error(code, "SOME", "not for you"))
    kind = {400: "other", 401: "auth", 403: "denied", 404: "not-found"}[code]
    resolver = resolve("http")
    refuse(kind, resolver.digest, ref(faulty, "any/app:v1"))
    assert resolver.statistics.requests <= 2


def test_long_wait_ends_the_registry_for_this_run(faulty, resolve, image):
    faulty.add(image("limited"), "limited/app", "v1")
    faulty.fail("/manifests/", faults.status(429, {"Retry-After": "3600"}))
    resolver = resolve()
    message = refuse("rate-limited", resolver.digest, ref(faulty, "limited/app:v1"))
    assert "3600 s" in message
    refuse("rate-limited", resolver.digest, ref(faulty, "limited/other:v1"))
    # Only GET is believed.
    assert [one.method for one in faulty.log] == ["HEAD", "GET"]


def test_rate_headers(private_ca, resolve, tmp_path, image):
    content = image("headers")
    headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    with faults.FaultyRegistry(private_ca) as server:
        server.add(content, "headers/app", "v1")
        server.fail("/manifests/", lambda handler, answer: handler.send(
            faults.Answer(200, {**answer.headers, **headers}, answer.body)))
        resolver = resolve(tls_verify=True, cert_dir=str(private_ca.cert_dir(tmp_path / "certs")))
        assert resolver.digest(ref(server, "headers/app:v1")) == content.digest
        assert resolver.statistics.rate_limits == {server.address: {"limit": 100, "remaining": 0, "window_s": 21600}}
        # HEAD goes on, what would count is not even asked.
        refuse("rate-limited", resolver.document, ref(server, "headers/app:v1"))
        assert resolver.statistics.requests == 1


def test_dead_registry_costs_its_retries_once(resolve):
    address = faults.closed_address()
    resolver = resolve(retries=2)
    message = refuse("network", resolver.digest, reference.parse(f"{address}/a:v1"))
    assert "can't be reached" in message
    start = time.monotonic()
    for number in range(100):
        assert refuse("network", resolver.digest, reference.parse(f"{address}/b{number}:v1")) == message
    assert time.monotonic() - start < 1


def test_silent_registry(resolve):
    with faults.Silent() as server:
        message = refuse("network", resolve(timeout=0.5, retries=3).digest, ref(server, "a:v1"))
    assert "0.5 s" in message


def test_connection_that_the_server_has_closed(faulty, resolve, image):
    content = image("closed")
    faulty.add(content, "closed/app", "v1")
    faulty.add(content, "closed/app", "v2")

    def close(handler, answer):
        handler.send(answer)
        handler.close_connection = True  # without saying so
    faulty.fail("/manifests/v1", close)
    resolver = resolve(retries=0)
    assert resolver.digest(ref(faulty, "closed/app:v1")) == content.digest
    assert resolver.digest(ref(faulty, "closed/app:v2")) == content.digest


# What registries list beside tags; a JSON number is what skopeo takes for no list at all.
ODD_NAMES = [*faults.NO_TAGS, 5, 1.0, True, [], ["1.0.2"], {"name": "1.0.2"}]


@pytest.mark.parametrize("odd", ODD_NAMES, ids=lambda odd: repr(odd)[:20])
def test_what_is_no_tag_is_passed_over(faulty, resolve, odd, caplog):
    answer = json.dumps({"name": "odd/app", "tags": ["1.0.0", odd, "1.0.1"]}).encode()
    faulty.fail("/tags/list", faults.status(200, {"Content-Type": "application/json"}, answer))
    with caplog.at_level("DEBUG"):
        assert resolve().tags(ref(faulty, "odd/app")) == ["1.0.0", "1.0.1"]
    assert "1 of 3 names in the list of tags are no tags" in caplog.text
    try:
        assert resolve("skopeo").tags(ref(faulty, "odd/app")) == ["1.0.0", "1.0.1"]
    except ResolveError as error:
        # Of 1.17 and later; and a list with anything but strings is none to any.
        assert "invalid tag" in str(error) or not isinstance(odd, (str, type(None))), error


def test_a_list_with_all_digests_beside_it(faulty, resolve):
    """As Google's registries give it: megabytes in one page."""
    digests = {f"sha256:{number:064x}": {"tag": [], "timeUploadedMs": "1700000000000"} for number in range(50_000)}
    answer = json.dumps({"name": "odd/app", "tags": ["1.0.0", "1.0.1"], "manifest": digests}).encode()
    assert len(answer) > 5 << 20
    faulty.fail("/tags/list", faults.status(200, {"Content-Type": "application/json"}, answer))
    for mode in ("auto", "http", "skopeo"):
        assert resolve(mode).tags(ref(faulty, "odd/app")) == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize("body", [
    '{"tags": 5}', '{"tags": 0}', '{"tags": ""}', '{"tags": false}', '{"tags": "v1"}', '{"tags": {"v1": 1}}', '{"tags": {}}',
    '{"Tags": ["v1"]}', "{}", "[]", '["v1"]', "null", "{", "",
])
def test_tags_of_rubbish(faulty, resolve, body):
    faulty.fail("/tags/list", faults.status(200, {"Content-Type": "application/json"}, body.encode()))
    assert "no list of tags" in refuse("content", resolve().tags, ref(faulty, "rubbish/app"))


def test_pages_of_tags(faulty, resolve):
    def page(handler, answer):
        last = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query).get("last")
        tags, link = (["c"], {}) if last else (["b", "a"], {"Link": '</v2/pages/app/tags/list?last=a&n=2>; rel="next"'})
        handler.send(faults.Answer(200, {"Content-Type": "application/json", **link},
                                   json.dumps({"tags": tags}).encode()))
    faulty.fail("/tags/list", page)
    assert resolve().tags(ref(faulty, "pages/app")) == ["b", "a", "c"]


NEXT = "</v2/pages/app/tags/list?last=a>"
# Headers of the first page: what leads to the second, by RFC 8288.
LINKS = {
    "plain": [f'{NEXT}; rel="next"'],
    "unquoted": [f"{NEXT}; rel=next"],
    "without spaces": [f"{NEXT};rel=next"],
    "with more spaces": [f'{NEXT} ;\trel = "next" '],
    "Next": [f'{NEXT}; rel="Next"'],
    "REL": [f"{NEXT}; REL=NEXT"],
    "another parameter before": [f'{NEXT}; title="n"; rel="next"'],
    "another parameter behind": [f'{NEXT}; rel="next"; title*=UTF-8\'\'n%20m'],
    "a parameter without a value": [f"{NEXT}; crossorigin; rel=next"],
    "a quoted parameter": [f'{NEXT}; title="a, b; <c>; rel=\\"prev\\""; rel="next"'],
    "several relations": [f'{NEXT}; rel="last  next"'],
    "only the first rel counts": [f"{NEXT}; rel=next; rel=prev"],
    "an empty parameter": [f"{NEXT};; rel=next;"],
    "the last of several links": [f'</v2/pages/app/tags/list?n=1>; rel="first", {NEXT}; rel="next"'],
    "the first of several links": [f'{NEXT}; rel="next",</v2/pages/app/tags/list?n=1>; rel="first"'],
    "empty elements": [f", {NEXT}; rel=next,, "],
    "the last of several headers": ['</x>; rel="first"', f'{NEXT}; rel="next"'],
    "the first of several headers": [f'{NEXT}; rel="next"', '</x>; rel="last"'],
    "twice the same": [f"{NEXT}; rel=next", f"{NEXT}; rel=next"],
    "absolute": ['<http://HOST/v2/pages/app/tags/list?last=a>; rel="next"'],
    "absolute with TLS": ['<https://HOST/v2/pages/app/tags/list?last=a>; rel="next"'],
    "without a scheme": ['<//HOST/v2/pages/app/tags/list?last=a>; rel="next"'],
    "relative": ['<list?last=a>; rel="next"'],
    "of other folders": ['<../../app/./tags/list?last=a>; rel="next"'],
    "a query": ['<?last=a>; rel="next"'],
    "comma and semicolon in it": ['</v2/pages/app/tags/list?x=1,2;3&last=a>; rel="next"'],
    "a fragment": ['</v2/pages/app/tags/list?last=a#b>; rel="next"'],
}
# What may or may not lead there: skopeo has the last word.
ODD_LINKS = {
    "no rel": [NEXT],
    "no brackets": ['/v2/pages/app/tags/list?last=a; rel="next"'],
    "another host": ['<http://OTHER/v2/pages/app/tags/list?last=a>; rel="next"'],
    "another host without a scheme": ['<//OTHER/v2/pages/app/tags/list?last=a>; rel="next"'],
    "another port": ['<http://127.0.0.1:1/v2/pages/app/tags/list?last=a>; rel="next"'],
    "a user": ['<http://user@HOST/v2/pages/app/tags/list?last=a>; rel="next"'],
    "no port": ['<http://127.0.0.1/v2/pages/app/tags/list?last=a>; rel="next"'],
    "text behind": [f'{NEXT}; rel="next" and more'],
    "two of them": [f'{NEXT}; rel="next", <?last=b>; rel="next"'],
    "a parameter without an end": [f'{NEXT}; title="n'],
    "other quotes": [f"{NEXT}; rel='next'"],
    "a colon": [f'{NEXT}; rel: "next"'],
}
# What leads nowhere.
NO_LINKS = {
    "none": [],
    "empty": [""],
    "commas": [" ,, "],
    "another relation": ['</v2/pages/app/tags/list?n=1>; rel="prev"'],
    "another header": ['</x>; rel=first, </y>; rel="last"', '</style.css>; rel=preload; as="style"'],
    "next in another parameter": ['</x>; rel=first; title="; rel=next"'],
    "only the first rel counts": ["</x>; rel=prev; rel=next"],
}


def in_pages(links, others=""):
    """Return a fault: tags in two pages, with these headers at the first, where this page is the second."""
    def page(handler, answer):
        second = "last=" in handler.path
        data = json.dumps({"tags": ["c"] if second else ["b", "a"]}).encode()
        handler.send_response(200)
        for link in [] if second else links:
            handler.send_header("Link", link.replace("HOST", handler.headers["Host"]).replace("OTHER", others))
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
    return page


@pytest.mark.parametrize("links", LINKS.values(), ids=LINKS)
def test_links_to_the_next_page(faulty, resolve, links):
    faulty.fail("/tags/list", in_pages(links))
    assert resolve("http").tags(ref(faulty, "pages/app")) == ["b", "a", "c"]


@pytest.mark.parametrize("links", NO_LINKS.values(), ids=NO_LINKS)
def test_links_to_something_else(faulty, resolve, links):
    faulty.fail("/tags/list", in_pages(links))
    assert resolve("http").tags(ref(faulty, "pages/app")) == ["b", "a"]


@pytest.mark.parametrize("links", ODD_LINKS.values(), ids=ODD_LINKS)
def test_odd_links_are_left_to_skopeo(faulty, resolve, tmp_path, links):
    """And another host is asked by nobody: neither with the login nor without."""
    named = ref(faulty, "pages/app")
    login = base64.b64encode(b"u:p").decode()
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {faulty.address: {"auth": login}}}))

    def answer(handler, usual):
        if handler.headers.get("Authorization") == f"Basic {login}":
            pages(handler, usual)
        else:
            handler.send(faults.Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""))
    with faults.FaultyRegistry() as other:
        pages = in_pages(links, other.address)
        faulty.fail("/", answer)
        assert "next page of a list" in refuse("content", resolve("http", authfile=str(authfile)).tags, named)
        resolver = resolve(authfile=str(authfile))
        assert resolver.tags(named) == resolve("skopeo", authfile=str(authfile)).tags(named)
        assert "c" in resolver.tags(named)
        assert resolver.kind(named) == "skopeo"
        assert not other.log


@pytest.mark.parametrize("links", ['<>; rel="next"', '</v2/pages/app/tags/list?n=1000>; rel="next"'])
def test_page_that_leads_to_itself(faulty, resolve, links):
    faulty.fail("/tags/list", in_pages([links]))
    resolver = resolve()
    assert "without an end" in refuse("content", resolver.tags, ref(faulty, "pages/app"))
    assert resolver.statistics.requests == 1


def test_odd_links_of_what_is_attached(faulty, resolve):
    """skopeo has no command for it: nothing is known, rather than a part."""
    digest = "sha256:" + "1" * 64
    empty = images.to_json({"schemaVersion": 2, "manifests": []})
    faulty.fail("/referrers/", faults.status(200, {"Content-Type": images.OCI_INDEX, "Link": "</x>; next"}, empty))
    assert resolve().referrers(ref(faulty, f"pages/app@{digest}")) is None


@pytest.mark.parametrize("code", [400, 403, 404, 405, 406, 414, 422, 501])
def test_list_that_is_not_given_in_pages(faulty, resolve, code):
    """As of a registry that knows no n, or takes none as large."""
    def tags(handler, usual):
        refused = faults.error(code, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        (refused if "n=" in handler.path else in_pages([f"{NEXT}; rel=next"]))(handler, usual)
    faulty.fail("/tags/list", tags)
    for mode in ("http", "skopeo"):
        assert resolve(mode).tags(ref(faulty, "pages/app")) == ["b", "a", "c"]


@pytest.mark.parametrize("total", [999, 1000, 1001, 1500])
def test_list_that_is_cut_at_n_without_a_link(faulty, resolve, total):
    """And that may have names of which none is a tag."""
    names = ["-", *(f"v{number}" for number in range(total - 1))]

    def cut(handler, usual):
        sent = names[:1000] if "n=1000" in handler.path else names
        handler.send(faults.Answer(200, {"Content-Type": "application/json"}, json.dumps({"tags": sent}).encode()))
    faulty.fail("/tags/list", cut)
    resolver = resolve("http")
    assert resolver.tags(ref(faulty, "pages/app")) == names[1:] == resolve("skopeo").tags(ref(faulty, "pages/app"))
    assert resolver.statistics.requests == (1 if total < 1000 else 2)


@pytest.mark.parametrize(("code", "kind"), [(400, "other"), (403, "denied"), (404, "not-found")])
def test_list_that_is_refused_altogether(faulty, resolve, code, kind):
    faulty.fail("/tags/list", faults.error(code, "X", "not for you"))
    resolver = resolve("http")
    assert "not for you" in refuse(kind, resolver.tags, ref(faulty, "pages/app"))
    assert resolver.statistics.requests == 2


@pytest.mark.parametrize("loop", ["other", "next"])
def test_pages_without_an_end(faulty, resolve, monkeypatch, loop):
    """From one to the other and back, or each to one more: no part of a list is taken for all of it."""
    monkeypatch.setattr("dockin.registry.client.MAX_PAGES", 30)

    def page(handler, answer):
        number = int(urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query).get("page", ["0"])[0])
        following = 1 - number % 2 if loop == "other" else number + 1
        handler.send(faults.Answer(200, {"Content-Type": "application/json",
                                         "Link": f'</v2/pages/app/tags/list?page={following}>; rel="next"'},
                                   json.dumps({"tags": [f"v{number}"]}).encode()))
    faulty.fail("/tags/list", page)
    resolver = resolve()
    assert "without an end" in refuse("content", resolver.tags, ref(faulty, "pages/app"))
    assert resolver.statistics.requests == {"other": 3, "next": 30}[loop]


def test_pages_that_would_fill_the_memory(faulty, resolve, monkeypatch):
    monkeypatch.setattr("dockin.registry.client.MAX_LIST", 100_000)
    digest = "sha256:" + "1" * 64
    path = f"/v2/pages/app/referrers/{digest}"
    empty = images.to_json({"schemaVersion": 2, "manifests": []})
    faulty.refer(path, *(images.Blob(images.OCI_INDEX, empty + b" " * 30_000) for _ in range(9)))
    resolver = resolve()
    assert "more than 100000 bytes" in refuse("content", resolver.referrers, ref(faulty, f"pages/app@{digest}"))
    assert resolver.statistics.requests == 4


class Babbler:
    """A server that begins an answer with some bytes, and then sends others again and again until the client leaves."""

    def __init__(self, first, more, pause):
        self._first, self._more, self._pause = first, more, pause
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                self._answer(self._server.accept()[0])

    def _answer(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(4096)
            connection.sendall(self._first)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                connection.sendall(self._more)
                time.sleep(self._pause)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.mark.parametrize(("first", "more", "pause"), [
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.001),
    (b"HTTP/1.1 200 OK\r\n", b"X", 0.1),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 50, 0.001),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"X", 0.1),
], ids=["continue", "header", "trailer", "body"])
def test_answer_that_never_ends(resolve, first, more, pause):
    """Each byte comes in time; the whole answer has to."""
    with Babbler(first, more, pause) as server:
        start = time.monotonic()
        message = refuse("network", resolve("http", timeout=1, retries=0).tags, ref(server, "a"))
        assert time.monotonic() - start < 15
    assert "has not answered within 1 s" in message


@pytest.fixture
def post(monkeypatch):
    monkeypatch.setattr(faults.Handler, "do_POST", faults.Handler.do_GET, raising=False)


@pytest.mark.parametrize("kind", ["anonymous", "password", "identity"])
def test_tokens(faulty, resolve, tmp_path, image, post, kind):
    content = image("tokens")
    for name in ("one", "two"):
        for tag in ("v1", "v2"):
            faulty.add(content, f"tokens/{name}", tag)
    authfile = ""
    if kind != "anonymous":
        entry = {"identitytoken": "the-identity"} if kind == "identity" else None
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": {faulty.address: entry}}) if entry else LOGIN.auth_json(faulty.address))
    tokens = TokenServer(faulty, LOGIN if kind == "password" else None, "the-identity")
    resolver = resolve("http", authfile=str(authfile))
    for name in ("one", "two"):
        for tag in ("v1", "v2"):
            assert resolver.digest(ref(faulty, f"tokens/{name}:{tag}")) == content.digest
    # The challenge is asked for once, a token once a repository.
    assert tokens.given == ["tokens/one-0", "tokens/two-1"]
    assert resolver.statistics.requests == 7
    assert resolver.statistics.counted_pulls == 0


def test_token_that_has_expired(faulty, resolve, image):
    content = image("expired")
    faulty.add(content, "expired/app", "v1")
    faulty.add(content, "expired/app", "v2")
    tokens = TokenServer(faulty, lifetime=5)
    resolver = resolve("http")
    for tag in ("v1", "v2"):
        assert resolver.digest(ref(faulty, f"expired/app:{tag}")) == content.digest
    assert len(tokens.given) == 2


def test_token_that_is_not_given(faulty, resolve, tmp_path, image):
    faulty.add(image("refused"), "refused/app", "v1")
    TokenServer(faulty, LOGIN)
    authfile = tmp_path / "auth.json"
    authfile.write_text(registry.Login("someone", "hunter2").auth_json(faulty.address))
    message = refuse("auth", resolve("http", authfile=str(authfile)).digest, ref(faulty, "refused/app:v1"))
    assert str(authfile) in message
    assert "hunter2" not in message
    assert base64.b64encode(b"someone:hunter2").decode() not in message


def test_login_of_an_unknown_kind_is_left_to_skopeo(faulty, resolve, image):
    faulty.add(image("odd"), "odd/app", "v1")
    faulty.fail("/manifests/", faults.status(401, {"WWW-Authenticate": "Negotiate"}))
    resolver = resolve()
    with pytest.raises(ResolveError):
        resolver.digest(ref(faulty, "odd/app:v1"))
    assert resolver.kind(ref(faulty, "odd/app:v1")) == "skopeo"
    assert "Negotiate" in refuse("auth", resolve("http").digest, ref(faulty, "odd/app:v1"))


@pytest.mark.parametrize("realm", ["http://127.0.0.1:abc/t", "http://[::1/t", "http://127.0.0.1:1/t"])
def test_place_of_tokens_that_is_none(faulty, resolve, realm):
    faulty.fail("/manifests/", faults.status(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}))
    with pytest.raises(ResolveError):
        resolve("http", retries=0).digest(ref(faulty, "odd/app:v1"))


@pytest.mark.parametrize("body", [
    b'{"token": "hush\\nhush"}', b"[" * 900000, b'{"token": "hush", "expires_in": 1%s}' % (b"0" * 400),
], ids=["lines", "depth", "lifetime"])
def test_token_that_is_none(faulty, resolve, body):
    faulty.fail("/manifests/", faults.status(401, {"WWW-Authenticate": f'Bearer realm="http://{faulty.address}/token"'}))
    faulty.fail("/token", faults.status(200, {}, body))
    assert "hush" not in refuse("content", resolve("http", retries=0).digest, ref(faulty, "odd/app:v1"))


@pytest.mark.parametrize("target", ["http://[::1/x", "/x\xe9"])
def test_redirect_to_nowhere(faulty, resolve, target):
    faulty.fail("/manifests/", faults.status(307, {"Location": target}))
    refuse("content", resolve("http", retries=0).digest, ref(faulty, "odd/app:v1"))


def test_redirect_with_a_password(faulty, resolve, image):
    """It is not shown, and the host is asked without it."""
    content = image("password")
    with faults.FaultyRegistry() as other:
        other.add(content, "redirect/app", "v1")
        faulty.fail("/manifests/v1", faults.status(307, {
            "Location": f"http://someone:hunter2@{other.address}/v2/redirect/app/manifests/v1"}))
        assert resolve("http").digest(ref(faulty, "redirect/app:v1")) == content.digest
    for place in (f"http://someone:hunter2@{faults.closed_address()}/x", "ftp://someone:hunter2@h/x"):
        faulty.fail("/manifests/v2", faults.status(307, {"Location": place}), times=1)
        with pytest.raises(ResolveError) as caught:
            resolve("http", retries=0).digest(ref(faulty, "redirect/app:v2"))
        assert "hunter2" not in str(caught.value)


def test_redirect_to_another_host_has_no_login(faulty, resolve, image, secure_server):
    content = image("redirect")
    faulty.add(content, "redirect/app", "v1")
    seen = []
    with faults.FaultyRegistry() as other:
        other.add(content, "redirect/app", "v1")
        other.fail("/manifests/", lambda handler, answer: (seen.append(handler.headers.get("Authorization")),
                                                           handler.send(answer)))
        target = f"http://{other.address}/v2/redirect/app/manifests/v1"
        faulty.fail("/manifests/", faults.status(401, {"WWW-Authenticate": 'Basic realm="x"'}), times=1)
        faulty.fail("/manifests/", faults.status(307, {"Location": target}))
        authfile = json.dumps({"auths": {faulty.address: {"auth": base64.b64encode(b"a:b").decode()}}})
        with open(os.path.join(resolve()._environment["HOME"], "auth.json"), "w", encoding="utf-8") as file:
            file.write(authfile)
        assert resolve("http", authfile=file.name).digest(ref(faulty, "redirect/app:v1")) == content.digest
    assert seen == [None]
