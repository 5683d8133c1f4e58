# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.reference: the grammar, Docker's short forms, and names that are safe in files and units."""

from __future__ import annotations

import re

import pytest

from dockin.image import reference
from dockin.image.reference import ImageReference, InvalidReference
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy
HEX = "0123456789abcdef" * 4
DIGEST = "sha256:" + HEX

# By the grammar's own rules, written apart from the module's expressions.
ALNUM = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=6)
SEPARATOR = st.one_of(st.sampled_from([".", "_", "__"]), st.text("-", min_size=1, max_size=3))
COMPONENTS = st.lists(ALNUM, min_size=1, max_size=3).flatmap(
    lambda words: st.lists(SEPARATOR, min_size=len(words) - 1, max_size=len(words) - 1).map(
        lambda between: "".join(word + sep for word, sep in zip(words, [*between, ""]))
    )
)
REPOSITORIES = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,6}[A-Za-z0-9])?", fullmatch=True)
PORTS = st.integers(1, 65535).map(lambda port: f":{port}")
REGISTRIES = st.one_of(
    st.sampled_from(["docker.io", "index.docker.io", "localhost", "[::1]:5000", "[2001:db8::1]"]),
    st.builds(lambda labels, port: ".".join(labels) + port, st.lists(LABELS, min_size=2, max_size=3), st.just("") | PORTS),
    st.builds("{}{}".format, LABELS, PORTS),
)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
SUFFIXES = st.builds(
    "{}{}".format,
    st.just("") | TAGS.map(lambda tag: f":{tag}"),
    st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda digits: f"@sha256:{digits}"),
)
REFERENCES = st.builds("{}{}{}".format, st.just("") | REGISTRIES.map(lambda name: name + "/"), REPOSITORIES, SUFFIXES)


# What people type, and what it means


@pytest.mark.parametrize(
    ("text", "canonical", "familiar", "stem"),
    [
        ("busybox", "docker.io/library/busybox", "busybox", "busybox"),
        ("busybox:1.36.1", "docker.io/library/busybox:1.36.1", "busybox:1.36.1", "busybox-1.36.1"),
        ("library/busybox", "docker.io/library/busybox", "busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox", "busybox"),
        ("docker.io/library/busybox", "docker.io/library/busybox", "busybox", "busybox"),
        ("org/app:v1", "docker.io/org/app:v1", "org/app:v1", "org-app-v1"),
        ("org/team/app:v1", "docker.io/org/team/app:v1", "org/team/app:v1", "org-team-app-v1"),
        ("library/team/app", "docker.io/library/team/app", "library/team/app", "library-team-app"),
        ("docker.io/a.b/app", "docker.io/a.b/app", "docker.io/a.b/app", "docker.io-a.b-app"),
        ("docker.io/localhost/app", "docker.io/localhost/app", "docker.io/localhost/app", "docker.io-localhost-app"),
        ("ghcr.io/org/app:v1", "ghcr.io/org/app:v1", "ghcr.io/org/app:v1", "ghcr.io-org-app-v1"),
        ("ghcr.io/library/app", "ghcr.io/library/app", "ghcr.io/library/app", "ghcr.io-library-app"),
        ("host:5000/team/app:v1", "host:5000/team/app:v1", "host:5000/team/app:v1", "host-5000-team-app-v1"),
        ("host:5000/app", "host:5000/app", "host:5000/app", "host-5000-app"),
        ("HOST.Example:5000/app", "HOST.Example:5000/app", "HOST.Example:5000/app", "HOST.Example-5000-app"),
        ("MyACR.azurecr.io/app:v1", "MyACR.azurecr.io/app:v1", "MyACR.azurecr.io/app:v1", "MyACR.azurecr.io-app-v1"),
        ("localhost/app", "localhost/app", "localhost/app", "localhost-app"),
        ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app", "localhost-5000-app"),
        ("127.0.0.1/app", "127.0.0.1/app", "127.0.0.1/app", "127.0.0.1-app"),
        ("[::1]:5000/app:v1", "[::1]:5000/app:v1", "[::1]:5000/app:v1", "1-5000-app-v1"),
        ("localhost", "docker.io/library/localhost", "localhost", "localhost"),
        ("localhost:1", "docker.io/library/localhost:1", "localhost:1", "localhost-1"),
        ("a.b", "docker.io/library/a.b", "a.b", "a.b"),
        ("host/app", "docker.io/host/app", "host/app", "host-app"),
        ("app:5000", "docker.io/library/app:5000", "app:5000", "app-5000"),
        ("app:_x.Y-z", "docker.io/library/app:_x.Y-z", "app:_x.Y-z", "app-_x.Y-z"),
        ("a__b_c.d---e", "docker.io/library/a__b_c.d---e", "a__b_c.d---e", "a__b_c.d---e"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}", "app"),
        (f"app:v1@{DIGEST}", f"docker.io/library/app:v1@{DIGEST}", f"app:v1@{DIGEST}", "app-v1"),
        (f"host:5000/app:v1@{DIGEST}", f"host:5000/app:v1@{DIGEST}", f"host:5000/app:v1@{DIGEST}", "host-5000-app-v1"),
        (f"ghcr.io/library/{HEX}", f"ghcr.io/library/{HEX}", f"ghcr.io/library/{HEX}", f"ghcr.io-library-{HEX}"),
    ],
)
def test_spelling(text, canonical, familiar, stem):
    parsed = reference.parse(text)
    assert (str(parsed), parsed.canonical, parsed.familiar, parsed.stem) == (canonical, canonical, familiar, stem)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("busybox", "docker.io", "library/busybox", None, None),
        ("host:5000/a/b:v", "host:5000", "a/b", "v", None),
        (f"host/a@{DIGEST}", "docker.io", "host/a", None, DIGEST),
        (f"[::1]/a:v@{DIGEST}", "[::1]", "a", "v", DIGEST),
    ],
)
def test_parts(text, registry, repository, tag, digest):
    assert reference.parse(text) == ImageReference(registry, repository, tag, digest)


# What breaks the grammar

NAME = "components between '/' have lower-case letters"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it names no repository"),
        (":v1", "it names no repository"),
        ("/", NAME),
        ("/app", NAME),
        ("app/", NAME),
        ("a//b", NAME),
        ("docker.io/", NAME),
        ("host:5000/", NAME),
        ("Busybox", "write it in lower case"),
        ("LocalHost/app", "write it in lower case"),
        ("Docker.IO/busybox", "Invalid registry 'Docker.IO' in 'Docker.IO/busybox': for Docker Hub write 'docker.io'"),
        ("Index.Docker.io/org/app:v1", "for Docker Hub write 'docker.io'"),
        ("org/App:v1", "write it in lower case"),
        ("Org/app", "write it in lower case"),
        ("-app", NAME),
        ("app-", NAME),
        (".app", NAME),
        ("a..b", NAME),
        ("a___b", NAME),
        ("a._b", NAME),
        ("../etc/passwd", "Invalid registry '..'"),
        ("..", NAME),
        ("a/../b", NAME),
        ("a b", NAME),
        ("app\n", NAME),
        ("app\0", NAME),
        ("a%20b", NAME),
        ("$HOME", NAME),
        ("`id`", NAME),
        ("a;b", NAME),
        ("ünïcode", NAME),
        ("appⅷ", NAME),
        ("bad_host.example/app", "Invalid registry 'bad_host.example'"),
        ("-host.example/app", "Invalid registry '-host.example'"),
        ("host.example:port/app", "Invalid registry 'host.example:port'"),
        ("host:/app", "Invalid registry 'host:'"),
        ("[::g]:5000/app", "Invalid registry '[::g]:5000'"),
        ("./app", "Invalid registry '.'"),
        ("../app", "Invalid registry '..'"),
        ("app:", "Invalid tag ''"),
        ("app:-v1", "Invalid tag '-v1'"),
        ("app:.v1", "Invalid tag '.v1'"),
        ("app:v 1", "Invalid tag 'v 1'"),
        ("app:v1\n", r"Invalid tag 'v1\n'"),
        ("app:1:2", "Invalid repository 'library/app:1'"),
        ("app:é", "Invalid tag"),
        ("app:٣", "Invalid tag"),
        pytest.param("app:" + "x" * 129, "1 to 128", id="long tag"),
        pytest.param("a" * 238, "at most 255", id="long name on Docker Hub"),
        pytest.param("registry.example/" + "a" * 239, "at most 255", id="long name"),
        pytest.param("a/" * 123 + "a", "at most 255", id="long path"),
        (HEX, "an image ID to Docker"),
        ("library/" + HEX, "an image ID to Docker"),
        ("app@sha256:" + HEX[1:], "'sha256:' and 64 lower-case hex digits"),
        ("app@sha256:" + HEX + "0", "'sha256:' and 64 lower-case hex digits"),
        ("app@sha256:" + HEX.upper(), "'sha256:' and 64 lower-case hex digits"),
        ("app@sha256:" + HEX + "\n", "'sha256:' and 64 lower-case hex digits"),
        ("app@sha512:" + HEX * 2, "'sha256:' and 64 lower-case hex digits"),
        ("app@sha256", "'sha256:' and 64 lower-case hex digits"),
        ("app@" + HEX, "'@' is followed by a digest"),
        ("app@", "'@' is followed by a digest"),
        (f"@{DIGEST}", "it names no repository"),
        (f"app@{DIGEST}:v1", "'sha256:' and 64 lower-case hex digits"),
        ("docker://app", "write it without 'docker://'"),
        ("https://host/app", "write it without 'https://'"),
    ],
)
def test_refused(text, said):
    with pytest.raises(InvalidReference, match=re.escape(said)):
        reference.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "user:secret@host/app",
        "user:secret@host.example:5000/app:v1",
        "user:secret@busybox",
        "user:secret@host:5000",
        "user:se/cret@busybox",
        "user:se@secret@host/app",
        f"user:secret@host/app@{DIGEST}",
        "https://user:secret@host/app",
    ],
)
def test_a_password_is_not_repeated(text):
    with pytest.raises(InvalidReference) as caught:
        reference.parse(text)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a" * (255 - len("docker.io/library/")), "registry.example/" + "a" * 238, "app:" + "x" * 128],
    ids=["on Docker Hub", "elsewhere", "tag"],
)
def test_longest(text):
    assert reference.parse(text).canonical.endswith(text)


def test_context_is_in_the_message():
    with pytest.raises(InvalidReference, match="'1:2' in 'docker://busybox;tag=1:2'"):
        reference.check_tag("1:2", "docker://busybox;tag=1:2")
    with pytest.raises(InvalidReference, match="'md5:1' in 'docker://busybox;digest=md5:1'"):
        reference.check_digest("md5:1", "docker://busybox;digest=md5:1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DIGEST, True),
        (DIGEST + "\n", False),
        (DIGEST[:-1], False),
        (DIGEST.upper(), False),
        (HEX, False),
        ("", False),
        ("sha256:" + "٣" * 64, False),
    ],
)
def test_is_digest(text, expected):
    assert reference.is_digest(text) is expected


# Views


def test_tagged_and_pinned():
    both = reference.parse(f"app:v1@{DIGEST}")
    assert both.tagged == reference.parse("app:v1")
    assert both.pinned == reference.parse(f"app@{DIGEST}")
    assert both.tagged.pinned == both.tagged
    assert reference.parse("app").pinned == reference.parse("app")


# Properties


@SETTINGS
@given(REFERENCES)
def test_printed_and_parsed_again(text):
    try:
        parsed = reference.parse(text)
    except InvalidReference as error:
        assert re.search("image ID|at most 255|Invalid registry", str(error))
        return
    assert reference.parse(parsed.canonical) == parsed
    assert reference.parse(parsed.familiar) == parsed
    # Nothing is lost but what Docker has two spellings for.
    assert parsed.registry == "docker.io" or text.startswith(parsed.registry + "/")
    assert parsed.canonical.endswith(text.rpartition("/")[2])


@SETTINGS
@given(REFERENCES | st.text())
def test_stem_is_safe_everywhere(text):
    try:
        stem = reference.parse(text).stem
    except InvalidReference:
        return
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", stem, re.ASCII)


@SETTINGS
@given(st.text() | st.text("aA0.:/@-_[]", max_size=20))
def test_any_text_is_parsed_or_refused(text):
    try:
        parsed = reference.parse(text)
    except InvalidReference:
        return
    assert reference.parse(parsed.canonical) == parsed
    assert parsed.canonical.isascii() and not re.search(r"\s", parsed.canonical)
