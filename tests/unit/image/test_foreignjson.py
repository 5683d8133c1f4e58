# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""JSON that others have written: nothing that Go would read otherwise, in none of the documents; the docker tier asks Go."""

from __future__ import annotations

import json

import pytest

from dockin.errors import DockinError
from dockin.image import attachments as image_attachments, foreignjson, manifests
from dockin.target import dockersave
from hypothesis import given, settings
from hypothesis import strategies as st
from support import attachments, images, readings

DIFF_ID = "sha256:" + "0" * 64
IMAGE = images.image([images.layer({"a": "b"})], "linux/amd64")
INDEX = images.index([IMAGE])
CONFIG = readings.config("amd64", [DIFF_ID])
MANIFEST = readings.compact(json.loads(IMAGE.data))
ENTRIES = readings.compact([{"Config": "c", "RepoTags": ["app:1"], "Layers": ["l"]}])
ATTESTATION = attachments.attestation(IMAGE, {attachments.SPDX: attachments.bill("app")})
STATEMENT = readings.compact(json.loads(ATTESTATION.layers[0].data))


def extract(data):
    [(_, document, _)] = image_attachments.documents([image_attachments.Attachment(
        ATTESTATION.digest, ATTESTATION.data, manifests.parse_artifact(ATTESTATION.data), True, True)])
    return image_attachments.extract(
        document, data, image_attachments.Subject(INDEX.digest, manifests.parse(INDEX.data), IMAGE.digest)
    )


def refused(read, change, document):
    read(document)
    with pytest.raises(DockinError) as error:
        read(change.of(document))
    assert len(str(error.value)) < 500 and str(error.value).isprintable()


@pytest.mark.parametrize("change", readings.CONFIGS, ids=str)
def test_configs(change):
    refused(manifests.parse_config, change, CONFIG)


@pytest.mark.parametrize("parse", [manifests.parse, manifests.parse_artifact])
@pytest.mark.parametrize("change", readings.MANIFESTS, ids=str)
def test_manifests(change, parse):
    refused(parse, change, MANIFEST)


@pytest.mark.parametrize("change", readings.INDEXES, ids=str)
def test_indexes(change):
    refused(manifests.parse, change, readings.compact(json.loads(INDEX.data)))


@pytest.mark.parametrize("change", [
    readings.Change("config", '"Config"', '"config":"d","Config"'),
    readings.Change("Layerſ", '"Layers"', '"Layerſ":[],"Layers"'),
    readings.Change("repotags", '"RepoTags"', '"repotags":["x:1"],"RepoTags"'),
    readings.Change("Config twice", '"Config"', '"Config":"d","Config"'),
    readings.Change("two images of one name", "}]", '},{"Config":"d","RepoTags":["app:1"],"Layers":[]}]'),
    readings.Change("NaN", '"Config"', '"x":NaN,"Config"'),
    readings.Change("UTF-16", "", b"\xff\xfe"),
], ids=str)
def test_names_of_an_archive(change):
    def read(data):
        entry = dockersave.find_entry(data, "archive.tar", "app:1")
        return entry["Config"], entry["Layers"]

    refused(read, change, ENTRIES)


@pytest.mark.parametrize("change", [
    readings.Change("Subject", '"subject"', '"Subject":[],"subject"'),
    readings.Change("ſubject", '"subject"', '"ſubject":[],"subject"'),
    readings.Change("Predicate alone", '"predicate"', '"Predicate"'),
    readings.Change("predicate twice", '"predicate"', '"predicate":{},"predicate"'),
    readings.Change("predicate twice, with an escape", '"predicate"', '"\\u0070redicate":{},"predicate"'),
    readings.Change("SHA256", '"sha256"', '"SHA256":"x","sha256"'),
], ids=str)
def test_statements(change):
    refused(extract, change, STATEMENT)


@pytest.mark.parametrize("change", readings.ORDINARY, ids=str)
def test_ordinary_configs(change):
    found = manifests.parse_config(change.of(CONFIG))
    assert (found.architecture, found.diff_ids, found.labels) == ("amd64", (DIFF_ID,), readings.ORDINARY[change])


def test_no_letter_but_these_is_taken_for_another():
    """As of Go's bytes.EqualFold: each of Unicode's characters that folds to one of ASCII."""
    others = {chr(code): letter for letter, code in (("s", 0x17F), ("k", 0x212A))}
    for code in (*range(0x20, 0xD800), *range(0xE000, 0x30000)):
        character = chr(code)
        letter = character.lower() if character.isascii() else others.get(character)
        try:
            foreignjson.Object([(character, 1)], DockinError).get(letter or "s")
            taken = character == (letter or "s")
        except DockinError:
            taken = True
        assert taken == bool(letter), hex(code)


def test_how_deep():
    for depth, fails in ((foreignjson.MAX_DEPTH, False), (foreignjson.MAX_DEPTH + 1, True)):
        data = b"[" * depth + b"]" * depth
        if fails:
            with pytest.raises(DockinError, match="nested more than 64 deep"):
                foreignjson.loads(data, DockinError)
        else:
            foreignjson.loads(data, DockinError)


@pytest.mark.parametrize("data", [
    b'{"x":' + b"9" * 3_000_000 + b"}",
    b"[" + b'{"a":1},' * 300_000 + b"0]",
    b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"0":1}',
], ids=["digits", "objects", "keys"])
@pytest.mark.timeout(20)
def test_large_ones_take_no_time(data):
    with pytest.raises(DockinError):
        manifests.parse(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\u017f", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(VALUES, st.booleans())
def test_all_else_is_read_as_it_is(value, escaped):
    assert foreignjson.loads(json.dumps(value, ensure_ascii=escaped).encode(), DockinError) == value
