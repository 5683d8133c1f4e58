# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Compose files: the YAML that they are written in, and the images that they use."""

from __future__ import annotations

import re
import sys
import time

import pytest

from dockin.errors import DockinError
from dockin.recipe import compose, licences, markedyaml, newrecipe

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
    ("---\na: b\n...\n", {"a": "b"}),
    ("%YAML 1.1\n---\na: b", {"a": "b"}),
    ("? a\n: b", {"a": "b"}),
    # What is a number, a time, a boolean or a date to YAML 1.1.
    ("a: 22:22\nyes: no\nb: [0o17, 017, 1_000, 2026-12-01, .5, 1e3, =, ON]",
     {"a": "22:22", "yes": "no", "b": ["0o17", "017", "1_000", "2026-12-01", ".5", "1e3", "=", "ON"]}),
    ("a: [~, null, Null, NULL, '~', 'null', ]", {"a": ["", "", "", "", "~", "null"]}),
    # The first of several counts, and what is there itself before them.
    ("x: &x {b: 1, c: 1}\ny: &y {c: 2, d: 2}\nz: {<<: [*x, *y], d: 3}",
     {"x": {"b": "1", "c": "1"}, "y": {"c": "2", "d": "2"}, "z": {"b": "1", "c": "1", "d": "3"}}),
    ("'<<': a", {"<<": "a"}),
    # No blanks of YAML's.
    ("a: \u3000b\u00a0", {"a": "\u3000b\u00a0"}),
    ("a:\u00a0b", "a:\u00a0b"),
    ("\ufeffa: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
    ("a: $${X} -x", {"a": "$${X} -x"}),
    ("- a\n- b: c\n", ["a", {"b": "c"}]),
])
def test_yaml(text, expected):
    assert markedyaml.parse(text, "file") == expected


@pytest.mark.parametrize("text, message", [
    ("a: b: c", "file:1: mapping values are not allowed here"),
    *((text, f"file:{line}: a tab stands outside of quotes: write spaces") for line, text in (
        (2, "a:\n\t- b"), (1, "a:\tb"), (1, "\ufeffa:\tb"), (1, "a: {b:\tc}"), (2, "a:\n-\tb"), (1, "a: b\t# c"),
        (2, "a: |\n\tb"))),
    ("a: [1, 2", "file:1: while parsing a flow sequence, expected ',' or ']'"),
    ("a: {b: c}}", "file:1: while parsing a block mapping"),
    ("a: 'x", "file:1: while scanning a quoted scalar, found unexpected end"),
    ("a: 'x' y", "file:1: while parsing a block mapping"),
    ("a: *b", "file:1: found undefined alias 'b'"),
    ("a:\n  [b]: c", "file:2: a key is a collection"),
    ("a: !reset b", "file:1: the tag '!reset' is for a file that is merged into another one: merge them with"),
    ("a:\n  - !override []", "file:2: the tag '!override' is for a file that is merged"),
    ("a: !!binary eA==", "file:1: the tag 'tag:yaml.org,2002:binary' is not understood"),
    ("a: b\n  c: d", "file:2: mapping values are not allowed here"),
    ("a:\n  b: c\n d: e", "file:3: while parsing a block mapping"),
    ("a: b\na: c", "file:2: the key 'a' is there twice"),
    ("a: {<<: {b: c}, <<: {d: e}}", "file:1: the key '<<' is there twice"),
    ("a: b\n---\nc: d", "file:2: a second document starts: keep one"),
    ("a: b\n...\n---\nc: d", "file:3: a second document starts: keep one"),
    ("a: b\n---\n", "file:2: a second document starts: keep one"),
    ("---\na: b\n...\nanything", "file:4: expected '<document start>'"),
    ("[" * 5000, "nested too deep"),
    ("\n".join(" " * depth + "a:" for depth in range(500)), "nested too deep"),
    ("a: &a [*a]", "file:1: an alias is part of what it stands for"),
    ('a: "\\q"', "file:1: while scanning a double-quoted scalar, found unknown escape character 'q'"),
    ('a: "\\ud800"', "file:1: an escape stands for no character"),
    ('a: "\\UFFFFFFFF"', "file: an escape stands for no character"),
    ("a: @b", "file:1: while scanning for the next token, found character '@'"),
    ("a:\n- \0", "file:2: the character U+0000 has no place in YAML"),
    ("<<: a\nb: c", "'<<' takes mappings"),
])
def test_yaml_errors(text, message):
    with pytest.raises(markedyaml.InvalidYaml, match=re.escape(message)):
        markedyaml.parse(text, "file")


@pytest.mark.parametrize(("text", "literal"), [
    ("a: x:1", True), ("a: 'x:1' # x:1", True), ('a: "x:1"', True), ("a: &x x:1", True), ("a: !!str  'x:1'", True),
    ("# x:1\r\na: x:1\r\n", True), ("\ufeffa: x:1", True), ("{a: x:1}", True),
    ('a: "x\\x3a1"', False), ("a: |-\n  x:1", False), ("a: >-\n  x:1", False),
])
def test_where_a_text_stands(text, literal):
    found = markedyaml.parse(text, "file")["a"]
    assert found == "x:1" and found.line == 1 + text[: text.index("a:")].count("\n")
    assert (found.spot is not None) == literal
    if literal:
        start, end = found.spot
        assert text[:start] + "y" + text[end:] in (text.replace("x:1", "y", 1), text[::-1].replace("1:x", "y", 1)[::-1])
        assert markedyaml.parse(text[:start] + "y" + text[end:], "file")["a"] == "y"


def test_what_aliases_multiply_is_bounded():
    lines = [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 90)]
    found = markedyaml.parse("a0: &a0 [x, x]\n" + "".join(lines[:10]), "file")
    assert found["a10"][0] is found["a10"][1]
    laughs = "a0: &a0 [x, x]\n" + "".join(lines)
    merged = "a0: &a0 {k0: x}\n" + "".join(f"a{n}: &a{n} {{k{n}: x, <<: *a{n - 1}}}\n" for n in range(1, 600))
    keys = "a: &a {" + "".join(f"k{n}: x, " for n in range(5000)) + "}\nb:\n" + "  - {<<: *a}\n" * 5000
    for text in (laughs, merged, keys):
        with pytest.raises(markedyaml.InvalidYaml, match="aliases make more than 200000 values of this"):
            markedyaml.parse(text, "file")


@pytest.mark.parametrize("shared", [
    "volumes: &v [" + "{type: image, source: b}, " * 1000 + "]", "pre_start: &v [" + "{image: b}, " * 1000 + "]",
    "environment: &v [" + "NAME, " * 1000 + "]", "env_file: &v [" + "name, " * 1000 + "]",
])
def test_list_that_all_services_share_is_bounded(shared):
    """As their number times its length it would be looked through for hours."""
    key = shared.partition(":")[0]
    text = f"services:\n  a: {{image: b, {shared}}}\n" + "".join(f"  s{n}: {{image: b, {key}: *v}}\n" for n in range(1000))
    for read in (lambda: compose.parse(text, "compose.yml"), lambda: compose.names(text, "compose.yml", {})):
        with pytest.raises(DockinError, match="compose.yml:2: aliases make more than 200000 values of this"):
            read()
    few = "".join(text.splitlines(True)[:5])
    assert len(compose.parse(few, "/shop/compose.yml").images) == 1 and compose.names(few, "compose.yml", {})


def test_without_pyyaml(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(DockinError, match="Reading /x/compose.yml needs PyYAML: install python3-yaml"):
        compose.parse("services: {a: {image: x}}", "/x/compose.yml")


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
    ("  a: {image: x/y:1, volumes: ['v:/v', {type: image, source: p/q:3, target: /q}, {type: bind, source: /r}]}\n",
     [("a", "docker.io/x/y:1"), ("a-volume-2", "docker.io/p/q:3")]),
    ("  a:\n    image: x/y:1\n    pre_start:\n    - {image: m/n:2, command: x}\n    - {command: y}\n"
     "    post_start: [{image: o/p}]\n    pre_stop: [{command: z}]\n",
     [("a", "docker.io/x/y:1"), ("a-pre_start-1", "docker.io/m/n:2"), ("a-post_start-1", "docker.io/o/p:latest")]),
    ("  a: {image: x/y:1}\n  b: {image: z/z:1, volumes: [{type: image, source: 'x/y:1'}]}\n",
     [("a", "docker.io/x/y:1"), ("b", "docker.io/z/z:1")]),
    ("  a: {provider: {type: cloud}}\n  b: {image: x/y:1}\n", [("b", "docker.io/x/y:1")]),
    ("  a: &a {image: &i 'x/y:1'}\n  b: {<<: *a}\n  c: {image: *i}\n", [("a", "docker.io/x/y:1")]),
])
def test_images(services, expected):
    assert references(services) == expected


def test_platform_of_a_service():
    [image] = parse("  a: {image: x/y, platform: linux/arm/v6}\n").images
    assert str(image.platform) == "linux/arm/v6"
    base = "  b: {image: x/y, platform: linux/arm/v6}\n"
    hooks = "volumes: [{type: image, source: v}], pre_start: [{image: h}]"
    images = parse(f"  a: {{extends: b, image: z, {hooks}}}\n{base}").images
    # Compose pulls what is mounted for the machine, whatever the service's own platform is.
    assert [str(image.platform or "") for image in images] == ["linux/arm/v6", "", "linux/arm/v6", "linux/arm/v6"]


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
    ("services: {a: {image: x, extends: {file: b.yml, service: c}}}", "extends one of b.yml"),
    ("services: {a: {provider: {type: cloud}}}", "no service has an image"),
    ("services: {a: {image: x, volumes: [{type: image, target: /x}]}}", "volume 1 of service a has no source"),
    ("services: {a: {image: x, pre_start: [{image: }]}}", "pre_start 1 of service a has no image"),
    ("services: {a: {image: x, volumes: [{type: image, source: '$V'}]}}", "/x/compose.yml:1: image of volume 1"),
    ("services: {a: {image: x, platform: linux/arm/v6}, b: {image: x}}",
     "x:latest would be in one archive with x:latest for linux/arm/v6 of line 1"),
    (f"services:\n  a: {{image: 'x:1'}}\n  b: {{image: 'x:1@sha256:{HEX}'}}", "/x/compose.yml:3: x:1@sha256:"),
    ("services: {a: {image: b/c}, b: {image: b-c}}", "b-c:latest would be in one archive with b/c:latest"),
    ("services:\n  a: {image: MyACR.io/x}\n  b: {image: myacr.io/y}", "/x/compose.yml:3: myacr.io is MyACR.io in another"),
    ("services: {a: {image: MyACR.io/x, volumes: [{type: image, source: myacr.io/y}]}}", "in another case"),
    ("services: {a: {image: x}}\n...\n---\nservices: {b: {image: y}}", "/x/compose.yml:3: a second document"),
])
def test_errors(text, message):
    with pytest.raises(DockinError, match=re.escape(message)):
        compose.parse(text, "/x/compose.yml")


@pytest.mark.parametrize("order", [1, -1])
def test_a_volume_has_the_platform_of_the_service_with_its_image(order):
    services = ["  a: {image: x, platform: linux/arm/v7}\n", "  b: {image: y, volumes: [{type: image, source: x}]}\n"]
    images = parse("\n" + "".join(services[::order])).images
    assert {(image.reference.repository, str(image.platform)) for image in images} == {
        ("library/x", "linux/arm/v7"), ("library/y", "None")}


@pytest.mark.parametrize("text", [
    "a: {image: x, platform: linux/arm/v7}, b: {image: x}",
    "a: {image: x, platform: linux/arm/v7}, b: {image: y, volumes: [{type: image, source: x}]}, c: {image: x}",
    f"a: {{image: x, platform: linux/arm/v7}}, b: {{image: y, volumes: [{{type: image, source: 'x@sha256:{HEX}'}}]}}",
])
def test_what_a_volume_can_not_have(text):
    with pytest.raises(DockinError, match="in one archive"):
        compose.parse(f"services: {{{text}}}", "/x/compose.yml")


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


def test_image_and_provider():
    found = parse("  a: {image: x, provider: {type: cloud}}\n")
    assert [image.service for image in found.images] == ["a"]
    assert [note.partition(": ")[2] for note in found.notes] == [
        "service a has an image and the provider 'cloud', which the target has to have: Compose asks that, and runs nothing"
        " of the image"]


def test_what_is_no_image_is_named():
    models = "models: {m: {model: ai/small}}\n"
    notes = parse("  a: {provider: {type: cloud}}\n  b: {image: x, label_file: ./l}\n", models).notes
    assert [re.search(r"provider '\w+'|ai/small is a model|refers to \S+:", note)[0] for note in notes] == [
        "provider 'cloud'", "refers to ./l:", "ai/small is a model"]


@pytest.mark.parametrize(("text", "expected"), [
    ("volumes: ['${DATA}:/d']", "DATA"),
    ("command: '$A ${B:?needed} ${C?} ${D:-d} ${E-} ${F:+f} ${G+g} $$H $${I}'", "A, B, C"),
    ("command: '$A-x ${B:-${C}}'", "A, C"),
    ("environment: [A, B=1, 'C=$D']", "A, D"),
    ("environment: {A: , B: '', C: c, D: $E}", "A, E"),
    ("labels: {$A: b}", ""),
    ("command: nothing", ""),
])
def test_variables_without_a_value(text, expected):
    notes = parse(f"  a: {{image: x}}\n  b: {{image: 'x:latest', {text}}}\n").notes
    assert [re.search(r"leaves (.*) to its", note)[1] for note in notes] == ([expected] if expected else [])
    given = compose.parse(f"services: {{b: {{image: x, {text}}}}}", "/x/c.yml", dict.fromkeys("ABCDE", "x") | {"DATA": None})
    assert not given.notes


@pytest.mark.parametrize(("line", "value"), [
    ("T=1.2", "1.2"), ("T=", ""), ("export T=1.2 # why", "1.2"), ("  T = 1.2  ", "1.2"), ("T: 1.2", "1.2"),
    ("T='1.2' # why", "1.2"), ('T="1.2"', "1.2"), ("T='$X'", "$X"), ("T=a#b", "a#b"), ("T=a b", "a b"), ("\ufeffT=1", "1"),
    ("T=$X", None), ('T="$X"', None), ('T="a\\n"', None), ("T='a", None), ("T=a'b", None), ("T='a'b", None),
])
def test_env_file(line, value):
    assert compose.variables(f"{line}\n# x\n\nALONE\n", ".env") == {"T": value}


@pytest.mark.parametrize(("env", "expected"), [
    ("A=${B}", "B"), ("A=$B", "B"), ('A="x $B"', "B"), ('A="x\n$B\n"', "B"), ("A=${B:?must}${C}", "B, C"), ("D=$B", "B"),
    ("A=${B:-c}", ""), ("A='$B'", ""), ("A='x\n$B\n'", ""), ("A=$B\nB=1", ""), ("A=1 # $B", ""), ('A="1" # $B', ""),
    ("# $B\nA=1", ""), (r'A="\$B"', ""), ("A=$$B", ""),
])
def test_variables_that_the_env_file_leaves_open(tmp_path, env, expected):
    (tmp_path / "compose.yml").write_text("name: shop\nservices: {a: {image: x, command: '${A:-}'}}\n")
    (tmp_path / "my.env").write_text(env + "\n")
    notes = compose.read(str(tmp_path / "compose.yml"), str(tmp_path / "my.env")).notes
    found = [re.search(r"leaves (.*) to its", note) for note in notes]
    assert [one[1] for one in found if one] == ([expected] if expected else [])


def test_env_file_over_lines():
    assert compose.variables("A='x\nB=y\n'\nC=z\n", ".env") == {"A": None, "C": "z"}
    with pytest.raises(DockinError, match=re.escape(".env:2: expected NAME=value")):
        compose.variables("A=b\n?!\n", ".env")
    start = time.monotonic()
    for value in (" " * 50_000 + "'", "a " * 50_000 + "'", "a" + " " * 50_000 + "\\", '"' * 50_000):
        compose.variables(f"A=b{value}", ".env")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("image", "expected"), [
    ("x:${TAG}", "1.2"), ("x:$TAG", "1.2"), ("x:${TAG:?}", "1.2"), ("x:${TAG:-7}", "1.2"), ("x:${EMPTY:-7}", "7"),
    ("x:7${EMPTY}", "7"), ("x:7${EMPTY-8}", "7"), ("x:7${TAG:+8}", "78"), ("x:7${NONE+8}", "7"),
])
def test_image_by_a_variable_of_the_env_file(tmp_path, image, expected):
    (tmp_path / "compose.yml").write_text(f"name: shop\nservices: {{a: {{image: '{image}'}}}}\n")
    (tmp_path / ".env").write_text("TAG=1.2\nEMPTY=\n")
    found = compose.read(str(tmp_path / "compose.yml"), str(tmp_path / ".env"))
    assert (found.images[0].reference.tag, found.env_text) == (expected, "TAG=1.2\nEMPTY=\n")
    assert [note.partition(" ")[2] for note in found.notes] == [
        "becomes part of the recipe and of the image, with what passwords it has"]


@pytest.mark.parametrize(("name", "installed"), [(".env", True), ("./.env", True), ("other.env", False), ("../.env", False)])
def test_env_file_of_a_service_that_is_installed(tmp_path, name, installed):
    (tmp_path / "compose.yml").write_text(f"name: shop\nservices: {{a: {{image: x, env_file: {name}}}}}\n")
    (tmp_path / "my.env").write_text("A=b\n")
    refers = f"refers to {name}: add it to SRC_URI"
    assert any(refers in note for note in compose.read(str(tmp_path / "compose.yml")).notes)
    notes = compose.read(str(tmp_path / "compose.yml"), str(tmp_path / "my.env")).notes
    assert any(refers in note for note in notes) != installed


def test_env_file_that_is_not_asked_for(tmp_path):
    (tmp_path / "compose.yml").write_text("name: shop\nservices: {a: {image: x}}\n")
    (tmp_path / ".env").write_text("TAG=1.2\n")
    found = compose.read(str(tmp_path / "compose.yml"))
    assert not found.env_text
    assert found.notes == (f"{tmp_path}/compose.yml has a .env beside it, which is not installed: --env-file"
                           f" {tmp_path}/.env installs it",)
    with pytest.raises(DockinError, match="Can't read the env file"):
        compose.read(str(tmp_path / "compose.yml"), str(tmp_path / "none"))


def test_recipe_with_an_env_file():
    table = licences.Table(lambda name: "", "0" * 32, True)
    recipe = newrecipe.for_composition(newrecipe.Composition("shop", "c.yml", "x", (), env_text="A=b\n"), "shop", table)
    assert recipe.files["compose.env"] == "A=b\n"
    assert "    file://compose.env \\\n" in recipe.text
    assert "install -m 0600 ${COMPOSE_FILES}/compose.env ${D}${datadir}/${BPN}/.env\n" in recipe.text


@pytest.mark.parametrize(("text", "said"), [
    ("services: {a: {image: '" + "${a:-" * 20_000 + "'}}", "it has 100000 characters, at most 4096 are accepted"),
    ("services:\n" + "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(3000)) + "  s3000: {image: x}\n",
     "service s0 extends more than 100 others in a row"),
], ids=["long value", "long chain"])
def test_work_that_grows_with_a_square_is_refused(text, said):
    with pytest.raises(DockinError, match=said):
        compose.parse(text, "compose.yml")


@pytest.mark.parametrize("section", ["configs", "secrets"])
def test_variables_of_files_that_compose_makes_are_named(section):
    text = f"services: {{a: {{image: x}}}}\n{section}: {{one: {{environment: NAME}}, other: {{file: f}}}}\n"
    assert any("leaves NAME to its environment" in note for note in compose.parse(text, "compose.yml").notes)
