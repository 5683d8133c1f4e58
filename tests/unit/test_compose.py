# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Compose files: the YAML that they are written in, and the images that they use."""

from __future__ import annotations

import re

import pytest

from dockin import compose, plainyaml
from dockin.errors import DockinError

HEX = "a" * 64


@pytest.mark.parametrize("text, expected", [
    ("", ""),
    ("# nothing\n", ""),
    ("a: b", {"a": "b"}),
    ("a: b # c", {"a": "b"}),
    ("a: b#c", {"a": "b#c"}),
    ("a: http://b/c:d", {"a": "http://b/c:d"}),
    ("a:b: c", {"a:b": "c"}),
    ("a: 'it''s: # x' # y", {"a": "it's: # x"}),
    ('"a b": "\\u00e9\\t\\x41\\""', {"a b": "é\tA\""}),
    ("a:\n  b: c\n  d:\ne: ~", {"a": {"b": "c", "d": ""}, "e": ""}),
    ("a:\n- b\n- c: d\n  e: f\nx: y", {"a": ["b", {"c": "d", "e": "f"}], "x": "y"}),
    ("a:\n  - - 1\n    - 2\n  -\n    b: c\n  - ", {"a": [["1", "2"], {"b": "c"}, ""]}),
    ("a: [b, 'c, d', {e: f}, ]\n", {"a": ["b", "c, d", {"e": "f"}]}),
    ("a: [b,   # first\n  c]\n", {"a": ["b", "c"]}),
    ("a: {b: c, d: [e], f: }", {"a": {"b": "c", "d": ["e"], "f": ""}}),
    ("a: {b: 'c'}   # d", {"a": {"b": "c"}}),
    ("a: {url: http://x:80/y, t: 80:80}", {"a": {"url": "http://x:80/y", "t": "80:80"}}),
    ("a: |\n  b: c\n   d\n\n  # e\nf: g", {"a": "b: c\n d\n\n# e\n", "f": "g"}),
    ("a: >-\n  b\n  c\n", {"a": "b c"}),
    ("a: |-\n    b\nc: d", {"a": "b", "c": "d"}),
    ("a: b\n  c\n  d", {"a": "b c d"}),
    ("a: \"b\n  c\"\nd: e", {"a": "b c", "d": "e"}),
    ("a: &x\n  b: c\nd: *x\ne:\n  <<: *x\n  f: g\n", {"a": {"b": "c"}, "d": {"b": "c"}, "e": {"b": "c", "f": "g"}}),
    ("a: &x {b: c}\nd:\n  b: own\n  <<: [*x]\n", {"a": {"b": "c"}, "d": {"b": "own"}}),
    ("a: !!str 1", {"a": "1"}),
    ("---\na: b\n...\nanything", {"a": "b"}),
    ("\ufeffa: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
    ("a: $${X} -x", {"a": "$${X} -x"}),
    ("- a\n- b: c\n", ["a", {"b": "c"}]),
])
def test_yaml(text, expected):
    assert plainyaml.parse(text, "file") == expected


@pytest.mark.parametrize("text, message", [
    ("a: b: c", "file:1: ':' within the value"),
    ("a:\n\t- b", "file:2: a tab"),
    ("a: [1, 2", "file:1: '[' has no end"),
    ("a: {b: c}}", "file:1: unexpected text"),
    ("a: 'x", "file:1: a quoted value has no end"),
    ("a: 'x' y", "file:1: unexpected text after a quoted value"),
    ("a: *b", "file:1: no anchor &b"),
    ("? a\n: b", "file:1: not understood"),
    ("a: !reset b", "file:1: the tag '!reset'"),
    ("a: b\n  c: d", "file:2: 'key: value' below a value"),
    ("a:\n  b: c\n d: e", "file:3: its indentation"),
    ("a: b\na: c", "file:2: the key 'a' is there twice"),
    ("a: b\n---\nc: d", "file:2:"),
    ("[" * 5000, "nested too deep"),
    ('a: "\\q"', "file:1: unknown escape"),
    ("a: @b", "file:1: not understood"),
    ("<<: a\nb: c", "'<<' takes mappings"),
])
def test_yaml_errors(text, message):
    with pytest.raises(plainyaml.InvalidYaml, match=re.escape(message)):
        plainyaml.parse(text, "file")


def parse(services, head=""):
    return compose.parse(f"{head}services:\n{services}", "/home/me/My Shop/compose.yml")


def references(services, head=""):
    return [(image.service, image.reference.canonical) for image in parse(services, head).images]


@pytest.mark.parametrize("services, expected", [
    ("  web: {image: nginx}\n", [("web", "docker.io/library/nginx:latest")]),
    ("  web: {image: 'nginx:${TAG:-1.25}'}\n", [("web", "docker.io/library/nginx:1.25")]),
    ("  web: {image: 'nginx:${TAG-1.25}${X:+y}'}\n", [("web", "docker.io/library/nginx:1.25")]),
    ("  a: {image: b/c:1}\n  d: {image: b/c:1}\n  e: {image: b/c:2}\n",
     [("a", "docker.io/b/c:1"), ("e", "docker.io/b/c:2")]),
    ("  a: {image: x/y:1}\n  b: {extends: {service: a}}\n  c: {extends: b}\n", [("a", "docker.io/x/y:1")]),
    ("  a: {build: ., image: 'host:5000/x:1'}\n", [("a", "host:5000/x:1")]),
    (f"  a: {{image: 'x/y:1@sha256:{HEX}'}}\n", [("a", f"docker.io/x/y:1@sha256:{HEX}")]),
])
def test_images(services, expected):
    assert references(services) == expected


def test_platform_of_a_service():
    [image] = parse("  a: {image: x/y, platform: linux/arm/v6}\n").images
    assert str(image.platform) == "linux/arm/v6"


@pytest.mark.parametrize("text, message", [
    ("", "has no services"),
    ("services:\n", "has no services"),
    ("services: {a: {build: .}}", "service a is built from source"),
    ("services: {a: {command: x}}", "service a has no image"),
    ("services: {a: }", "service a is no mapping"),
    ("services: {a: {image: 'x:${TAG}'}}", "needs the variable TAG: write it out, or as ${TAG:-default}"),
    ("services: {a: {image: 'x:$TAG'}}", "needs the variable TAG"),
    ("services: {a: {image: 'x:${TAG:?must}'}}", "needs the variable TAG"),
    ("services: {a: {image: 'X Y'}}", "Invalid repository"),
    ("services: {a: {extends: {file: b.yml, service: c}}}", "extends one of b.yml"),
    ("services: {a: {extends: b}, b: {extends: a}}", "extends"),
    ("include: [other.yml]\nservices: {a: {image: x}}", "includes other files"),
    ("name: My_Shop\nservices: {a: {image: x}}", "no project name"),
    ("services: {a: {image: x, platform: linux/vax}}", "Invalid platform"),
])
def test_errors(text, message):
    with pytest.raises(DockinError, match=re.escape(message)):
        compose.parse(text, "/x/compose.yml")


def test_project():
    assert parse("  a: {image: x}\n").project == "myshop"
    assert parse("  a: {image: x}\n", "name: other\n").project == "other"


def test_digest_in_the_file():
    assert parse(f"  a: {{image: 'x@sha256:{HEX}'}}\n").keep_layers
    assert not parse("  a: {image: x}\n").keep_layers


def test_what_the_file_refers_to_is_named():
    found = parse("""
  a:
    image: x
    pull_policy: always
    env_file: [a.env, {path: b.env}, /etc/c.env]
    volumes: ['./conf:/c', 'data:/d', {type: bind, source: ../e, target: /e}]
""", "configs: {f: {file: ./g}}\n")
    assert [re.search(r"(?:refers to|has) (\S+?)[: ]", note)[1] for note in found.notes] == [
        "pull_policy", "a.env", "b.env", "./conf", "../e", "./g"]


def test_no_such_file(tmp_path):
    with pytest.raises(DockinError, match="Can't read the Compose file"):
        compose.read(str(tmp_path / "none.yml"))
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DockinError, match="no text in UTF-8"):
        compose.read(str(tmp_path / "binary.yml"))
