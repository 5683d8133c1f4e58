# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.manifests: indexes, manifests and configs as registries serve them, well-formed and not."""

from __future__ import annotations

import copy
import json
import re

import pytest

from dockin.errors import DockinError
from dockin.image import manifests, platforms
from dockin.image.manifests import Descriptor, Index, InvalidManifest, Manifest
from dockin.image.platforms import Platform, PlatformError
from hypothesis import given, settings
from hypothesis import strategies as st
from support import images

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy
DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
TOO_BIG = manifests.MAX_MANIFEST_SIZE - 1

BLOB = {"mediaType": manifests.OCI_LAYER + "+gzip", "digest": DIGEST, "size": 7}
CONFIG = {"mediaType": manifests.OCI_CONFIG, "digest": OTHER, "size": 5}
MANIFEST = {"schemaVersion": 2, "mediaType": manifests.OCI_MANIFEST, "config": CONFIG, "layers": [BLOB]}
ENTRY = {
    "mediaType": manifests.OCI_MANIFEST,
    "digest": DIGEST,
    "size": 9,
    "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
}
INDEX = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [ENTRY]}
SETTINGS_OF_IMAGE = {"Labels": {"a": "b"}, "Cmd": ["sh"]}
IMAGE_CONFIG = {
    "os": "linux",
    "architecture": "arm",
    "variant": "v7",
    "created": "2024-01-01T00:00:00Z",
    "config": SETTINGS_OF_IMAGE,
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
}
GONE = object()


def changed(document, path, value):
    """Return a copy of a document in which the value at a path is another, or gone."""
    document = copy.deepcopy(document)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return document


def dump(document):
    return json.dumps(document).encode()


def select(index, wanted):
    return index.select(platforms.parse(wanted), pytest.fail)


# What registries serve


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_manifest(form, compression):
    layers = [images.layer({"a": "1"}, compression), images.layer({"b": "2"}, compression)]
    built = images.image(layers, "linux/arm64/v8", form)
    parsed = manifests.parse(built.data)
    assert isinstance(parsed, Manifest)
    assert parsed.media_type == built.media_type
    assert (parsed.config.digest, parsed.config.size) == (built.config.digest, built.config.size)
    assert [(layer.digest, layer.size, layer.media_type) for layer in parsed.layers] == [
        (layer.digest, layer.size, layer.media_type) for layer in built.layers
    ]
    config = manifests.parse_config(built.config.data)
    assert (config.os, config.architecture, config.variant) == ("linux", "arm64", "v8")
    assert config.diff_ids == tuple(layer.diff_id for layer in layers)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_index(form):
    built = images.busybox(form=form, platforms=["linux/amd64", "linux/arm/v6", "linux/arm/v7"])
    parsed = manifests.parse(built.data)
    assert isinstance(parsed, Index)
    assert parsed.media_type == built.media_type
    for name in ("linux/amd64", "linux/arm/v6", "linux/arm/v7"):
        assert select(parsed, name).digest == built.manifest(name).digest
    assert select(parsed, "linux/arm/v8").digest == built.manifest("linux/arm/v7").digest
    with pytest.raises(PlatformError, match=r"(?s)linux/s390x.*linux/amd64, linux/arm/v6, linux/arm/v7"):
        select(parsed, "linux/s390x")


def test_media_type_may_be_missing():
    assert manifests.parse(dump(changed(MANIFEST, ["mediaType"], GONE))).media_type == manifests.OCI_MANIFEST
    assert manifests.parse(dump(changed(INDEX, ["mediaType"], GONE))).media_type == manifests.OCI_INDEX


def test_unknown_keys_are_passed_over():
    document = changed(MANIFEST, ["annotations"], {"a": "b"})
    assert manifests.parse(dump(changed(document, ["layers", 0, "urls"], []))) == manifests.parse(dump(MANIFEST))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (GONE, None),
        (None, None),
        ({}, None),
        ({"os": None, "architecture": None}, None),
        ({"os": "linux", "architecture": "arm", "variant": None}, Platform("linux", "arm", "v7")),
        ({"os": "linux", "architecture": "amd64"}, Platform("linux", "amd64")),
        ({"os": "linux", "architecture": "arm", "variant": "v5"}, Platform("linux", "arm", "v5")),
        ({"os": "unknown", "architecture": "unknown"}, Platform("unknown", "unknown")),
        ({"os": "windows", "architecture": "amd64", "os.version": "10"}, Platform("windows", "amd64")),
        ({"os": "../..", "architecture": "\n"}, Platform("../..", "\n")),
        ({"architecture": "amd64"}, Platform("linux", "amd64")),
        ({"os": "", "architecture": "arm", "variant": "v6"}, Platform("linux", "arm", "v6")),
        ({"os": None, "architecture": "arm64"}, Platform("linux", "arm64")),
        ({"os": "linux"}, None),
        ({"os": "linux", "architecture": ""}, None),
        ({"os": "linux", "architecture": "i386", "variant": "sse"}, Platform("linux", "386")),
        ({"os": "linux", "architecture": "386", "variant": "sse"}, Platform("linux", "386", "sse")),
    ],
)
def test_platform_of_an_index_entry(value, expected):
    index = manifests.parse(dump(changed(INDEX, ["manifests", 0, "platform"], value)))
    assert index.manifests[0].platform == expected


@pytest.mark.parametrize("value, message", [
    ([], "the platform of an entry is a JSON object, this is list"),
    ("linux/amd64", "the platform of an entry is a JSON object, this is str"),
    (False, "the platform of an entry is a JSON object, this is bool"),
    ({"os": 1, "architecture": "amd64"}, "'os' is no string"),
    ({"os": "linux", "architecture": ["arm"]}, "'architecture' is no string"),
    ({"os": "linux", "architecture": "arm", "variant": 7}, "'variant' is no string"),
])
def test_platform_that_go_does_not_take(value, message):
    with pytest.raises(manifests.InvalidManifest, match=f"Invalid index: {message}"):
        manifests.parse(dump(changed(INDEX, ["manifests", 0, "platform"], value)))


@pytest.mark.parametrize("about", [
    {"os": "linux", "architecture": "amd64"}, {"os": "unknown", "architecture": "amd64"}, {"os": "linux"}])
def test_an_attestation_that_containerd_would_take_for_an_image(about):
    """By its platform; the annotation says to us alone that it is none."""
    entry = {**ENTRY, "platform": about, "annotations": {manifests.REFERENCE_TYPE: manifests.ATTESTATION}}
    with pytest.raises(manifests.InvalidManifest, match="an entry is an attestation and states the platform"):
        manifests.parse(dump({**INDEX, "manifests": [entry]}))


@pytest.mark.parametrize(
    ("names", "wanted", "position"),
    [
        (["unknown/unknown", "linux/amd64"], "linux/amd64", 1),
        (["windows/amd64", "linux/amd64"], "linux/amd64", 1),
        (["linux/amd64", "linux/amd64"], "linux/amd64", 0),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", 1),
        (["linux/arm/v7"], "linux/arm/v6", None),
        (["linux/arm64/v8"], "linux/arm/v7", None),
        (["linux/386"], "linux/amd64", None),
        (["unknown/unknown"], "linux/amd64", None),
        (["windows/amd64"], "linux/amd64", None),
        ([], "linux/amd64", None),
    ],
)
def test_no_other_platform_is_taken(names, wanted, position):
    entries = []
    for number, name in enumerate(names):
        system, architecture, *variant = name.split("/")
        about = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entries.append({**ENTRY, "digest": f"sha256:{number:064x}", "platform": about})
    index = manifests.parse(dump({**INDEX, "manifests": entries}))
    if position is None:
        with pytest.raises(PlatformError, match=f"No image for {wanted}"):
            select(index, wanted)
    else:
        assert select(index, wanted).digest == f"sha256:{position:064x}"


def test_blobs_are_config_and_layers_once_each():
    document = changed(MANIFEST, ["layers"], [BLOB, {**BLOB, "digest": "sha256:" + "1" * 64}, BLOB])
    blobs = manifests.parse(dump(document)).blobs
    assert [blob.digest for blob in blobs] == [OTHER, DIGEST, "sha256:" + "1" * 64]
    assert blobs[0] == Descriptor(manifests.OCI_CONFIG, OTHER, 5)


@pytest.mark.parametrize("value", [[], None, GONE])
def test_image_without_layers(value):
    """As Go's programs write it."""
    assert manifests.parse(dump(changed(MANIFEST, ["layers"], value))).layers == ()
    assert manifests.parse_config(dump(changed(IMAGE_CONFIG, ["rootfs", "diff_ids"], value))).diff_ids == ()


@pytest.mark.parametrize("kind", [
    manifests.OCI_CONFIG, manifests.DOCKER_CONFIG, "application/octet-stream", "application/json", "text/html", "", GONE])
def test_config_of_every_type_that_docker_takes(kind):
    assert manifests.parse(dump(changed(MANIFEST, ["config", "mediaType"], kind))).config.digest == OTHER


# Malformed indexes and manifests


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"\xef\xbb\xbf{}", "no JSON"),
        (b"{", "no JSON"),
        (b"<html>Not Found</html>", "no JSON"),
        (dump(MANIFEST)[:-1], "no JSON"),
        (dump(MANIFEST) + b"x", "no JSON"),
        pytest.param(b"[" * 100_000, "no JSON", id="deep"),
        pytest.param(b'{"a":' * 100_000, "no JSON", id="deep objects"),
        (b"[]", "a JSON object is expected, this is list"),
        (b"null", "a JSON object is expected, this is NoneType"),
        (b'"text"', "a JSON object is expected, this is str"),
        pytest.param(dump(MANIFEST) + b" " * TOO_BIG, "at most 4194304 are accepted", id="too big"),
    ],
)
def test_no_document(data, said):
    with pytest.raises(InvalidManifest, match=re.escape(said)):
        manifests.parse(data)


@pytest.mark.parametrize(
    ("document", "path", "value", "said"),
    [
        (MANIFEST, ["schemaVersion"], GONE, "schemaVersion is None"),
        (MANIFEST, ["schemaVersion"], 1, "schema 1 has no stable digests"),
        (MANIFEST, ["schemaVersion"], 3, "schemaVersion is 3"),
        (MANIFEST, ["schemaVersion"], "2", "schemaVersion is '2'"),
        (MANIFEST, ["mediaType"], manifests.OCI_INDEX, "Unsupported manifest of type"),
        (MANIFEST, ["mediaType"], "", "Unsupported manifest of type ''"),
        (MANIFEST, ["mediaType"], ["x"], "Unsupported manifest of type ['x']"),
        (MANIFEST, ["mediaType"], {"x": 1}, "Unsupported manifest of type {'x': 1}"),
        (MANIFEST, ["mediaType"], "a\nb", r"'a\nb'"),
        (MANIFEST, ["manifests"], [], "it is one or the other"),
        (MANIFEST, ["config"], GONE, "neither 'manifests' nor 'config'"),
        (MANIFEST, ["config"], None, "'config' is no JSON object"),
        (MANIFEST, ["config"], [], "'config' is no JSON object"),
        (MANIFEST, ["config", "mediaType"], "application/vnd.oci.empty.v1+json", "Not an image"),
        (MANIFEST, ["config", "mediaType"], "application/vnd.cncf.helm.config.v1+json", "an artifact such as a chart"),
        (MANIFEST, ["config", "mediaType"], "text/plain", "Not an image"),
        (MANIFEST, ["layers", 0, "mediaType"], GONE, "'mediaType' is no string"),
        (MANIFEST, ["config", "mediaType"], [], "'mediaType' is no string"),
        (MANIFEST, ["config", "digest"], GONE, "None is no digest"),
        (MANIFEST, ["layers"], "", "'layers' is no JSON array"),
        (MANIFEST, ["layers"], {"0": BLOB}, "'layers' is no JSON array"),
        (MANIFEST, ["layers", 0], "x", "a descriptor is a JSON object, this is str"),
        (MANIFEST, ["layers", 0, "digest"], "sha256:../../../../etc/passwd", "is no digest"),
        (MANIFEST, ["layers", 0, "digest"], DIGEST + "\n", "is no digest"),
        (MANIFEST, ["layers", 0, "digest"], DIGEST.upper(), "is no digest"),
        (MANIFEST, ["layers", 0, "digest"], DIGEST[:-1], "is no digest"),
        (MANIFEST, ["layers", 0, "digest"], "sha512:" + "0" * 128, "is no digest"),
        (MANIFEST, ["layers", 0, "digest"], 1, "1 is no digest"),
        (MANIFEST, ["layers", 0, "digest"], "\ud800", "no JSON (a string in it has half of a surrogate pair)"),
        (MANIFEST, ["layers", 0, "size"], GONE, "None is no size in bytes"),
        (MANIFEST, ["layers", 0, "size"], -1, "-1 is no size in bytes"),
        (MANIFEST, ["layers", 0, "size"], 1 << 63, "is no size in bytes"),
        (MANIFEST, ["layers", 0, "size"], True, "True is no size in bytes"),
        (MANIFEST, ["layers", 0, "size"], 1.0, "1.0 is no size in bytes"),
        (MANIFEST, ["layers", 0, "size"], float("inf"), "no JSON (Infinity is no number that all programs read)"),
        (MANIFEST, ["layers", 0, "size"], "7", "'7' is no size in bytes"),
        (MANIFEST, ["config", "size"], manifests.MAX_CONFIG_SIZE + 1, "its config sha256:"),
        (MANIFEST, ["layers", 0, "mediaType"], "application/vnd.in-toto+json", "Unsupported layer " + DIGEST),
        (
            MANIFEST,
            ["layers", 0, "mediaType"],
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "foreign (non-distributable)",
        ),
        (MANIFEST, ["layers", 0, "mediaType"], manifests.OCI_LAYER + "+gzip+encrypted", "encrypted layers"),
        (MANIFEST, ["layers", 0, "mediaType"], manifests.OCI_LAYER + "\n", "Unsupported layer"),
        (MANIFEST, ["layers"], [BLOB, {**BLOB, "size": 8}], f"{DIGEST} has 7 as well as 8 bytes"),
        (MANIFEST, ["config", "digest"], DIGEST, f"{DIGEST} has 5 as well as 7 bytes"),
        (INDEX, ["mediaType"], manifests.OCI_MANIFEST, "Unsupported index of type"),
        (INDEX, ["layers"], [], "it is one or the other"),
        (INDEX, ["config"], CONFIG, "it is one or the other"),
        (INDEX, ["manifests"], None, "'manifests' is no JSON array"),
        (INDEX, ["manifests"], {}, "'manifests' is no JSON array"),
        (INDEX, ["manifests", 0], None, "a descriptor is a JSON object, this is NoneType"),
        (INDEX, ["manifests", 0, "digest"], "latest", "'latest' is no digest"),
        (INDEX, ["manifests", 0, "size"], None, "None is no size in bytes"),
    ],
)
def test_malformed(document, path, value, said):
    with pytest.raises(InvalidManifest, match=re.escape(said)):
        manifests.parse(dump(changed(document, path, value)))


# Configs


def test_config():
    config = manifests.parse_config(dump(IMAGE_CONFIG))
    assert config == manifests.Config("linux", "arm", "v7", (DIGEST,), {"a": "b"}, "2024-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        (["variant"], GONE, "variant", ""),
        (["variant"], None, "variant", ""),
        (["created"], GONE, "created", ""),
        (["config"], GONE, "labels", {}),
        (["config"], None, "labels", {}),
        (["config", "Labels"], GONE, "labels", {}),
        (["config", "Labels"], None, "labels", {}),
        (["config", "Labels"], {"a": None}, "labels", {"a": ""}),
        (["os"], "", "os", ""),
        (["history"], "?", "os", "linux"),
    ],
)
def test_config_oddities(path, value, field, expected):
    assert getattr(manifests.parse_config(dump(changed(IMAGE_CONFIG, path, value))), field) == expected


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["os"], GONE, "'os' is no string"),
        (["os"], 1, "'os' is no string"),
        (["architecture"], None, "'architecture' is no string"),
        (["variant"], 7, "'variant' is no string"),
        (["created"], {}, "'created' is no string"),
        (["rootfs"], GONE, "'rootfs' is no JSON object"),
        (["rootfs", "diff_ids"], {}, "'diff_ids' is no JSON array"),
        (["config"], [], "'config' is no JSON object"),
        (["config", "Labels"], ["a"], "'Labels' is no JSON object"),
        (["config", "Labels"], {"a": 1}, "'a' in 'Labels' is no string"),
        (["rootfs", "diff_ids", 0], None, "None is no digest"),
        (["rootfs", "diff_ids", 0], [], "[] is no digest"),
        (["rootfs", "diff_ids", 0], "sha256:../x", "is no digest"),
    ],
)
def test_malformed_config(path, value, said):
    with pytest.raises(InvalidManifest, match=re.escape(said)):
        manifests.parse_config(dump(changed(IMAGE_CONFIG, path, value)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Invalid config: no JSON"),
        (b"[]", "Invalid config: a JSON object is expected"),
        pytest.param(b" " * (manifests.MAX_CONFIG_SIZE + 1), "at most 4194304 are accepted", id="too big"),
    ],
)
def test_no_config(data, said):
    with pytest.raises(InvalidManifest, match=re.escape(said)):
        manifests.parse_config(data)


def test_digest_of():
    assert manifests.digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# Properties

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([DIGEST, OTHER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.sampled_from([MANIFEST, INDEX, IMAGE_CONFIG])


def paths(document, above=()):
    """Return the paths of all values in a document."""
    found = []
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        found.append([*above, key])
        if isinstance(value, (dict, list)):
            found += paths(value, (*above, key))
    return found


@st.composite
def damaged(draw):
    """A document of which one value is another, or gone."""
    document = draw(DOCUMENTS)
    return changed(document, draw(st.sampled_from(paths(document))), draw(st.just(GONE) | VALUES))


def feed(data):
    """Give some bytes to both parsers: they return something, or raise DockinError."""
    for parser in (manifests.parse, manifests.parse_config):
        try:
            parser(data)
        except DockinError as error:
            assert "\n" not in str(error) and str(error).isprintable()


@SETTINGS
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes(data):
    feed(data)


@SETTINGS
@given(VALUES)
def test_any_json(value):
    feed(dump(value))


@settings(deadline=None, max_examples=150)
@given(damaged())
def test_any_damage(document):
    feed(dump(document))


@SETTINGS
@given(DOCUMENTS, st.data())
def test_any_cut(document, data):
    whole = dump(document)
    feed(whole[: data.draw(st.integers(0, len(whole)))])
