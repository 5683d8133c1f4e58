# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.registry.skopeo: command lines, and what the words of its versions mean.

That these command lines do what they should is for the fetcher's tests, with the real program.
"""

from __future__ import annotations

import json
import re

import pytest

from dockin import errors
from dockin.image import reference
from dockin.registry import skopeo
from dockin.registry.skopeo import Options, SkopeoError
from hypothesis import given, settings
from hypothesis import strategies as st
from support import faults

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy
DIGEST = "sha256:" + "0123456789abcdef" * 4
TAGGED = reference.parse("ghcr.io/org/app:v1")
BOTH = reference.parse(f"ghcr.io/org/app:v1@{DIGEST}")
ALL = Options(("sudo", "skopeo"), "/auth.json", "/certs", "/policy.json", "/registries.conf", "/registries.d", False)


# Command lines


def test_plain_command_lines():
    plain = Options()
    assert skopeo.inspect_argv(plain, TAGGED) == ["skopeo", "inspect", "--raw", "docker://ghcr.io/org/app:v1"]
    assert skopeo.list_tags_argv(plain, TAGGED) == ["skopeo", "list-tags", "docker://ghcr.io/org/app"]
    assert skopeo.version_argv(plain) == ["skopeo", "--version"]


@pytest.mark.parametrize(
    ("argv", "side"),
    [
        (skopeo.inspect_argv(ALL, BOTH), ""),
        (skopeo.config_argv(ALL, BOTH), ""),
        (skopeo.list_tags_argv(ALL, BOTH), ""),
        (skopeo.copy_argv(ALL, BOTH, "/layout", "/blobs", "/scratch"), "src-"),
    ],
    ids=["inspect", "config", "list-tags", "copy"],
)
def test_options(argv, side):
    """Global options stand before the subcommand, the registry's after it; neither gets lost."""
    command = next(word for word in argv if word in ("inspect", "list-tags", "copy"))
    before, after = argv[:argv.index(command)], argv[argv.index(command):]
    assert before[:8] == ["sudo", "skopeo", "--policy", "/policy.json", "--registries-conf", "/registries.conf",
                          "--registries.d", "/registries.d"]
    assert after[after.index("--authfile") + 1] == "/auth.json"
    assert after[after.index(f"--{side}cert-dir") + 1] == "/certs"
    assert f"--{side}tls-verify=false" in after


def test_a_digest_goes_without_its_tag():
    assert skopeo.inspect_argv(Options(), BOTH)[-1] == f"docker://ghcr.io/org/app@{DIGEST}"
    assert f"docker://ghcr.io/org/app@{DIGEST}" in skopeo.copy_argv(Options(), BOTH, "/l", "/b", "/s")


def test_copy_keeps_the_bytes():
    argv = skopeo.copy_argv(Options(), BOTH, "/layout", "/blobs", "/scratch")
    assert "--preserve-digests" in argv
    assert argv[argv.index("--dest-shared-blob-dir") + 1] == "/blobs"
    assert argv[argv.index("--tmpdir") + 1] == "/scratch" and argv.index("--tmpdir") < argv.index("copy")
    assert argv[-1] == "oci:/layout:image"


# Versions


@pytest.mark.parametrize(
    "output",
    [
        "skopeo version 1.9.3\n",
        "skopeo version 1.9.3 commit: 0a1b2c\n",
        "skopeo version 1.10.0",
        "skopeo version 1.13.3-rhaos",
        "skopeo version 1.22.0-dev",
        "skopeo version 1.20",
        "skopeo version 2.0.0",
    ],
)
def test_version(output):
    skopeo.check_version(output)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("skopeo version 1.9.2\n", "skopeo 1.9.2 is too old: 1.9.3 or later is needed"),
        ("skopeo version 1.2.2", "skopeo 1.2.2 is too old"),
        ("skopeo version 0.1.41", "skopeo 0.1.41 is too old"),
        ("skopeo version 1.9", "skopeo 1.9.0 is too old"),
        ("", "Can't tell the version of skopeo from ''"),
        ("command not found\n", "Can't tell the version of skopeo from 'command not found'"),
        ("skopeo version dev", "Can't tell the version"),
    ],
)
def test_bad_version(output, said):
    with pytest.raises(SkopeoError, match=re.escape(said)):
        skopeo.check_version(output)


# Tags


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('{"Repository": "docker.io/library/x", "Tags": ["1.36.1", "latest"]}', ["1.36.1", "latest"]),
        ('{"Tags": []}', []),
        ('{"Tags": null}', []),
        *((json.dumps({"Tags": ["1.0.0", odd, "v1"]}), ["1.0.0", "v1"]) for odd in faults.NO_TAGS),
        ('{"Tags": [1, ["1"], {"1": 1}, true, "1", 1e999]}', ["1"]),
        ('{"Repository": 5, "Tags": ["\\ud800", "1"]}', ["1"]),
    ],
)
def test_tags(output, expected):
    assert skopeo.parse_tags(output) == expected


@pytest.mark.parametrize(
    "output",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '"Tags"',
        '{"tags": ["1"]}',
        '{"Tags": "latest"}',
        '{"Tags": 5}',
        '{"Tags": {"1": 1}}',
        '{"Tags": ""}',
        '{"Tags": 0}',
        '{"Tags": false}',
        '{"Tags": {}}',
        pytest.param('{"Tags": ' + "[" * 100_000, id="deep"),
    ],
)
def test_no_tags(output):
    with pytest.raises(SkopeoError, match="skopeo list-tags printed no list of tags") as caught:
        skopeo.parse_tags(output)
    assert len(str(caught.value)) < 12_000


VALUES = st.none() | st.integers() | st.text(max_size=9)


@SETTINGS
@given(st.text() | (VALUES | st.lists(VALUES, max_size=3)).map(lambda tags: json.dumps({"Tags": tags})))
def test_any_output_of_list_tags(output):
    try:
        tags = skopeo.parse_tags(output)
    except SkopeoError:
        return
    assert all(reference.check_tag(tag, "") == tag for tag in tags)


# Failures: words of skopeo 1.9.3 and 1.22.0, and of the registries behind them


def fatal(message):
    """Return the last line of skopeo's standard error for a message, as its logger writes it."""
    return f'time="2026-11-23T17:00:00Z" level=fatal msg={json.dumps(message)}\n'


GET = 'Get "https://registry.example/v2/": '


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("reading manifest v1 in registry.example/app: manifest unknown: manifest unknown", "not-found"),
        ("Error parsing image name: reading manifest v1 in registry.example/app: manifest unknown", "not-found"),
        ("fetching tags list: invalid status code from registry 404 (Not Found)", "not-found"),
        ("fetching tags list: repository name not known to registry", "not-found"),
        ("Error fetching blob: invalid status code from registry 404 (Not Found)", "not-found"),
        ("fetching blob: blob unknown to registry", "not-found"),
        ("reading manifest v1 in registry.example/app: name unknown: repository name not known to registry", "not-found"),
        ("reading manifest v1 in registry.example/app: unauthorized: authentication required", "auth"),
        ("reading manifest v1 in registry.example/app: authentication required", "auth"),
        ("unable to retrieve auth token: invalid username/password: unauthorized: authentication required", "auth"),
        ("reading manifest v1 in docker.io/org/app: errors:\ndenied: requested access to the resource is denied\n"
         "unauthorized: authentication required", "auth"),
        ('StatusCode: 401, ""', "auth"),
        ("reading manifest v1 in ghcr.io/org/app: denied", "denied"),
        ("denied: requested access to the resource is denied", "denied"),
        ('reading manifest v1 in registry.example/app: StatusCode: 403, ""', "denied"),
        ("Requesting bear token: invalid status code from registry 403 (Forbidden)", "denied"),
        ("error getting credentials - err: exec: \"docker-credential-x\": executable file not found in $PATH", "login"),
        ("reading manifest 1 in docker.io/library/x: toomanyrequests: You have reached your unauthenticated pull rate"
         " limit. https://www.docker.com/increase-rate-limit", "rate-limited"),
        ("reading manifest v1 in registry.example/app: StatusCode: 429, \"\"", "rate-limited"),
        ("Requesting bear token: invalid status code from registry 429 (Too Many Requests)", "rate-limited"),
        (GET + "x509: certificate signed by unknown authority", "tls"),
        (GET + "tls: failed to verify certificate: x509: certificate is valid for a, not b", "tls"),
        (GET + "http: server gave HTTP response to HTTPS client", "tls"),
        (GET + "remote error: tls: handshake failure", "tls"),
        ("received unexpected HTTP status: 503 Service Unavailable", "server"),
        ("received unexpected HTTP status: 520", "server"),
        ("received unexpected HTTP status: 501 Not Implemented", "other"),
        ("invalid status code from registry 500 (Internal Server Error)", "server"),
        ("fetching blob: received unexpected HTTP status: 502 Bad Gateway", "server"),
        ("received unexpected HTTP status: 504 Gateway Timeout", "server"),
        (GET + "dial tcp 127.0.0.1:5000: connect: connection refused", "network"),
        (GET + "dial tcp: lookup registry.example on 127.0.0.11:53: no such host", "network"),
        (GET + "dial tcp: lookup registry.example: Temporary failure in name resolution", "network"),
        (GET + "dial tcp 10.0.0.1:443: i/o timeout", "network"),
        (GET + "net/http: TLS handshake timeout", "network"),
        (GET + "context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "network"),
        ("context deadline exceeded", "network"),
        (GET + "dial tcp 10.0.0.1:443: connect: no route to host", "network"),
        (GET + "dial tcp 10.0.0.1:443: connect: network is unreachable", "network"),
        (GET + "EOF", "network"),
        ("writing blob: storing blob to file: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", "network"),
        ("writing blob: unexpected EOF", "network"),
        ("writing blob: unexpected EOF (after reconnecting, server did not process a Range: header, status 200)", "network"),
        ("invalid status code from registry 408 (Request Timeout)", "network"),
        ("writing blob: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection timed out", "network"),
        ("writing blob: stream error: stream ID 3; INTERNAL_ERROR; received from peer", "network"),
        (GET + "http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR", "network"),
        ("writing blob: http2: client connection lost", "network"),
        (GET + "http: server closed idle connection", "network"),
        (GET + "net/http: HTTP/1.x transport connection broken: malformed HTTP status code", "network"),
        ("writing blob: local error: tls: bad record MAC", "network"),
        (f"writing blob: Digest did not match, expected {DIGEST}, got {DIGEST}", "content"),
        (f"Download config.json digest {DIGEST} does not match expected {DIGEST}", "content"),
        (f"Manifest does not match provided manifest digest {DIGEST}", "content"),
        ("unsupported manifest media type and digest is not provided", "content"),
        ("invalid character '<' looking for beginning of value", "content"),
        ("Error loading trust policy: open /etc/containers/policy.json: no such file or directory", "policy"),
        ("Source image rejected: Running image docker://x is rejected by policy.", "policy"),
        ('Error loading trust policy: invalid policy in "/p": Unknown policy requirement type "signedLike"', "policy"),
        ("Source image rejected: open /keys/a.gpg: no such file or directory", "policy"),
        ("Source image rejected: None of the signatures were accepted, reasons: Signature for identity x is not accepted;"
         " Invalid GPG signature: y", "policy"),
        ("Source image rejected: A signature was required, but no signature exists", "unsigned"),
        ('Source image rejected: Invalid GPG signature: gpgme.Signature{Summary:128, Fingerprint:"0"}', "signer"),
        ("Source image rejected: Bad data", "policy"),
        ("Source image rejected: Unexpected GPG signature count 0", "policy"),
        ("Source image rejected: cryptographic signature verification failed: invalid signature when validating ASN.1"
         " encoded signature", "signer"),
        ("Source image rejected: Signature for identity registry.example/team/other:v1 is not accepted", "moved"),
        ('Source image rejected: Signature for identity "registry.example/team/other" is not accepted', "moved"),
        (f"Source image rejected: Signature for digest {DIGEST} does not match", "replaced"),
        ("Source image rejected: Debian-local change: sigstore disabled", "sigstore"),
        ("open /home/builder/.docker/config.json: permission denied", "file"),
        ("mkdir /dl/x.part/layout: permission denied", "file"),
        ('denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource', "denied"),
        ("writing blob: write /dl/x.part/oci-put-blob1: no space left on device", "disk"),
        ("mkdir /dl/x.part: read-only file system", "disk"),
        ("write /dl/x: disk quota exceeded", "disk"),
        ("something that nobody has seen yet", "other"),
    ],
)
def test_kinds(message, kind):
    failure = skopeo.classify('time="…" level=info msg="connection reset, trying again"\n' + fatal(message))
    assert (failure.kind, failure.message) == (kind, message.replace("\n", " "))


@pytest.mark.parametrize(
    "name",
    [
        "enix/x509-certificate-exporter", "org/denied", "org/unauthorized", "org/timeout", "org/signature", "org/eof",
        "org/forbidden", "org/certificate-manager", "org/mismatch", "org/toomanyrequests", "org/unreachable",
    ],
)
@pytest.mark.parametrize("tag", ["v1", "unauthorized", "signature", "x509", "eof"])
@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("reading manifest {tag} in registry.example/{name}: manifest unknown", "not-found"),
        ("pinging container registry registry.example: invalid status code from registry 404 (Not Found)", "no-registry"),
        ("Requesting bearer token: invalid status code from registry 404 (Not Found)", "auth"),
        ('initializing source docker://registry.example/{name}:{tag}: pinging container registry registry.example: '
         'Get "https://registry.example/v2/": dial tcp 1.2.3.4:443: connect: connection refused', "network"),
        ('Get "https://registry.example/v2/{name}/manifests/{tag}": x509: certificate signed by unknown authority', "tls"),
        ("reading manifest {tag} in registry.example/{name}: received unexpected HTTP status: 503 Service Unavailable",
         "server"),
        ("reading manifest {tag} in registry.example/{name}: something new", "other"),
    ],
    ids=["manifest", "no registry", "token", "ping", "get", "status", "other"],
)
def test_an_images_name_is_not_taken_for_the_cause(name, tag, frame, kind):
    message = frame.format(name=name, tag=tag)
    assert skopeo.classify(fatal(message)).kind == kind


def test_a_hosts_name_is_not_taken_for_the_cause():
    message = 'pinging container registry x509.example: Get "https://x509.example/v2/": dial tcp: lookup x509.example:'
    assert skopeo.classify(fatal(message + " no such host")).kind == "network"


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("", "no output"),
        ("\n \n", "no output"),
        ("sudo: skopeo: command not found\n", "sudo: skopeo: command not found"),
        ("first\nlast\n\n", "last"),
        (fatal("one") + fatal("two"), "two"),
        (fatal('with "quotes" in it'), 'with "quotes" in it'),
        (fatal("why") + "and a line after it\n", "why"),
        ('level=fatal msg="cut off', 'level=fatal msg="cut off'),
    ],
)
def test_message(stderr, message):
    assert skopeo.classify(stderr).message == message


@pytest.mark.parametrize("words", ["pinging ", "bearer token ", "open /", "x"])
def test_a_long_message_is_cut_in_its_middle(words):
    """A registry's own words can have a megabyte, and would go through each expression."""
    failure = skopeo.classify(fatal(f"reading manifest: unauthorized: {words * (1000000 // len(words))}: the end"))
    assert failure.kind == "auth"
    assert len(failure.message) <= skopeo.MAX_MESSAGE + len(" … ")
    assert failure.message.startswith("reading manifest: unauthorized: ") and failure.message.endswith(": the end")


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Basic {}", "authorization: bearer {}", "got 'Basic {}'", '{{"Authorization":["Basic {}"]}}',
        "Authorization={}", "Basic%20{}", "Bearer   {}, and more", "(Bearer {})", "refresh_token={}&scope=x", "password={}",
        '{{"password": "{}"}}', '"identitytoken":"{}"', "http://user:{}@host/x", "http://host/x?signature={}",
        "BASIC {}", "passwd={}", 'Basic "{}"', "Authorization%3A%20Basic%20{}", "Authorization: token {}", "Bearer token-{}",
        "Bearer auth.{}", "Basic: {}", "Bearer:{}", "basic={}", "Bearer%3A%20{}", "docker://host/x?password={}",
        "docker://host/x#{}", "docker://user:{}@host/x",
    ],
)
@pytest.mark.parametrize("secret", ["dXNlcjpodW50ZXIy", "dTpwYXNzdw==", "eyJhbGciOi.eyJp-c3M_i.x~y+z="])
def test_a_login_is_not_repeated(text, secret):
    """There are servers that put what they were sent into their errors."""
    failure = skopeo.classify(fatal(f"reading manifest: denied: {text.format(secret)} end"))
    assert secret not in failure.message
    assert failure.kind == "denied"


@pytest.mark.parametrize("text", ["Bearer token {}", "token={}", "{}", "sent '{}'", "Bearer tokens: {}, {}", "x-{}"])
def test_a_token_is_known_by_its_beginning(text):
    token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0."
    said = errors.without_secrets(f"denied: {text.format(token, token)} end")
    assert "eyJ" not in said and said.startswith("denied: ") and said.endswith(" end")


@pytest.mark.parametrize(
    "text",
    [
        "unauthorized: basic authentication required", "requesting bearer token: invalid status code from registry 403",
        "Bearer realm missing", "basic auth is off", "the password: wrong", "a basic credential", "invalid token: x",
        "basic: authentication failed", "bearer: token expired", "heyJude and eyJshort",
    ],
)
def test_words_about_logins_are_kept(text):
    assert errors.without_secrets(text) == text


@pytest.mark.parametrize("text", ["service basic is built from source", "Bearer x, Basic y", "password=of ours"])
def test_our_own_words_are_kept(text):
    assert str(errors.DockinError(text)) == text


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (40, "signal 40")])
def test_ended_by_a_signal(number, name):
    assert skopeo.classify("half a li", number) == skopeo.Failure("signal", f"skopeo was ended by {name}")


@SETTINGS
@given(st.text())
def test_any_error_output(stderr):
    failure = skopeo.classify(stderr)
    assert failure.message and failure.message == failure.message.strip()
    assert failure.message.isprintable()
    assert skopeo.classify(fatal(stderr or "x")).kind
