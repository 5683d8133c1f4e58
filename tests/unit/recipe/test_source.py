# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.recipe.source: docker:// entries of SRC_URI, their parameters and their pins."""

from __future__ import annotations

import re

import pytest

from dockin.errors import DockinError
from dockin.image.platforms import Platform, PlatformError
from dockin.image.reference import InvalidReference
from dockin.recipe import source
from dockin.recipe.source import DockerSource, InvalidSource
from hypothesis import example, given, settings
from hypothesis import strategies as st

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy
HEX = "0123456789abcdef" * 4
OTHER_HEX = "f" * 64
DIGEST = "sha256:" + HEX
BUSYBOX = "docker://docker.io/library/busybox;tag=1.36.1"

TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9_.+-]{1,20}", fullmatch=True)
PLATFORMS = st.sampled_from(["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/x86_64"])


def parameter(key, values):
    return st.just([]) | values.map(lambda value: [f"{key}={value}"])


# Every well-formed entry, its parameters in any order.
ENTRIES = st.builds(
    lambda name, *lists: ";".join(["docker://" + name, *(one for several in lists for one in several)]),
    st.sampled_from(["busybox", "org/app", "host:5000/team/app", "ghcr.io/org/app", "[::1]:5000/app"]),
    parameter("platform", PLATFORMS),
    parameter("tag", TAGS),
    parameter("name", NAMES),
    parameter("digest", st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)),
)


# Well-formed entries


@pytest.mark.parametrize(
    ("entry", "canonical", "name", "platform"),
    [
        (BUSYBOX, "docker.io/library/busybox:1.36.1", None, None),
        ("docker://hello-world", "docker.io/library/hello-world:latest", None, None),
        ("docker://hello-world/", "docker.io/library/hello-world:latest", None, None),
        ("docker://hello-world;", "docker.io/library/hello-world:latest", None, None),
        ("docker://hello-world;;tag=x;", "docker.io/library/hello-world:x", None, None),
        ("docker://org/app", "docker.io/org/app:latest", None, None),
        ("docker://busybox:1.36", "docker.io/library/busybox:1.36", None, None),
        ("docker://host:5000/team/app;tag=v1", "host:5000/team/app:v1", None, None),
        # As BitBake's encodeurl() gives it back.
        ("docker://host:5000/team/app%3Av1", "host:5000/team/app:v1", None, None),
        (f"docker://org/app%40sha256%3A{HEX}", f"docker.io/org/app:latest@{DIGEST}", None, None),
        ("docker://localhost/app;tag=v1", "localhost/app:v1", None, None),
        (f"docker://app;digest={DIGEST}", f"docker.io/library/app:latest@{DIGEST}", None, None),
        (f"docker://app;digest={DIGEST};tag=v1", f"docker.io/library/app:v1@{DIGEST}", None, None),
        (f"docker://app@{DIGEST}", f"docker.io/library/app:latest@{DIGEST}", None, None),
        (f"docker://app@{DIGEST};tag=v1", f"docker.io/library/app:v1@{DIGEST}", None, None),
        (f"docker://app:v1;digest={DIGEST}", f"docker.io/library/app:v1@{DIGEST}", None, None),
        ("docker://app;name=web", "docker.io/library/app:latest", "web", None),
        ("docker://app;name=a.b_c+d-e", "docker.io/library/app:latest", "a.b_c+d-e", None),
        ("docker://app;name=default", "docker.io/library/app:latest", "default", None),
        ("docker://app;platform=linux/arm/v7", "docker.io/library/app:latest", None, Platform("linux", "arm", "v7")),
        ("docker://app;platform=Linux/AARCH64", "docker.io/library/app:latest", None, Platform("linux", "arm64", "v8")),
    ],
)
def test_entry(entry, canonical, name, platform):
    parsed = source.parse_entry(entry)
    assert (parsed.reference.canonical, parsed.name, parsed.platform) == (canonical, name, platform)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("docker://busybox", "docker://docker.io/library/busybox;tag=latest"),
        ("docker://busybox:1.36", "docker://docker.io/library/busybox;tag=1.36"),
        (BUSYBOX, BUSYBOX),
        (
            f"docker://h:5/a;platform=linux/x86_64;name=n;digest={DIGEST}",
            f"docker://h:5/a;tag=latest;digest={DIGEST};name=n;platform=linux/amd64",
        ),
    ],
)
def test_url_is_written_out(entry, url):
    assert source.parse_entry(entry).url == url


@SETTINGS
@given(ENTRIES)
def test_url_says_the_same_as_the_entry(entry):
    parsed = source.parse_entry(entry)
    assert source.parse_entry(parsed.url) == parsed
    assert " " not in parsed.url


# Refused entries


@pytest.mark.parametrize(
    ("entry", "error", "said"),
    [
        ("http://busybox", InvalidSource, "does not start with 'docker://'"),
        ("busybox", InvalidSource, "does not start with 'docker://'"),
        ("docker://", InvalidReference, "it names no repository"),
        ("docker://;tag=x", InvalidReference, "it names no repository"),
        ("docker://Busybox", InvalidReference, "write it in lower case"),
        ("docker://busybox;tag=1:2", InvalidReference, "Invalid tag '1:2' in 'docker://busybox;tag=1:2'"),
        ("docker://busybox;tag=-x", InvalidReference, "Invalid tag '-x'"),
        ("docker://busybox;tag=$x", InvalidReference, "Invalid tag '$x'"),
        ("docker://busybox;tag=%i", InvalidReference, "Invalid tag '%i'"),
        ('docker://busybox;tag="', InvalidReference, "Invalid tag '\"'"),
        ("docker://busybox;tag=", InvalidSource, "Parameter 'tag' without a value"),
        ("docker://busybox;tag", InvalidSource, "Parameter 'tag' without a value"),
        ("docker://busybox;tag=1;tag=2", InvalidSource, "Parameter 'tag' stands twice"),
        ("docker://busybox;tag=1;tag=1", InvalidSource, "Parameter 'tag' stands twice"),
        ("docker://busybox:1.36;tag=1.36", InvalidSource, "Two tags in 'docker://busybox:1.36;tag=1.36'"),
        ("docker://busybox:1.36;tag=1.37", InvalidSource, "keep ;tag="),
        (f"docker://busybox@{DIGEST};digest={DIGEST}", InvalidSource, "Two digests in"),
        ("docker://busybox;digest=" + HEX, InvalidReference, "'sha256:' and 64 lower-case hex digits"),
        ("docker://busybox;digest=sha256:" + HEX.upper(), InvalidReference, "'sha256:' and 64 lower-case hex digits"),
        ("docker://busybox;digest=sha512:" + HEX * 2, InvalidReference, "'sha256:' and 64 lower-case hex digits"),
        ("docker://busybox;name=a/b", InvalidSource, "Invalid name 'a/b'"),
        ("docker://busybox;name=a,b", InvalidSource, "Invalid name 'a,b'"),
        ("docker://busybox;name=a]", InvalidSource, "Invalid name 'a]'"),
        ("docker://busybox;name=", InvalidSource, "Parameter 'name' without a value"),
        ("docker://busybox;platform=amd64", PlatformError, "Invalid platform 'amd64'"),
        ("docker://busybox;platform=linux/pdp11", PlatformError, "unknown architecture 'pdp11'"),
        ("docker://busybox;platform=", InvalidSource, "Parameter 'platform' without a value"),
        ("docker://busybox;Tag=1", InvalidSource, "Unknown parameter"),
        ("docker://busybox;protocol=https", InvalidSource, ";tag=, ;digest=, ;name=, ;platform="),
        ("docker://busybox;=x", InvalidSource, "Unknown parameter"),
        ("docker://docker://busybox", InvalidReference, "without 'docker://'"),
    ],
)
def test_refused(entry, error, said):
    with pytest.raises(error, match=re.escape(said)):
        source.parse_entry(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "docker://user:secret@host.example/app;tag=v1",
        "docker://user:secret@host.example/app;tga=v1",
        "docker://user:secret@busybox;tag=v1",
        "docker://busybox;pswd=secret;user=user",
        "docker://host.example/app?password=secret;tag=v1",
        "docker://host.example/app:v1#secret",
        "docker://host.example/app%3Fpassword=secret",
        "docker://host.example/app?a=b;tag=secret",
        "docker://host.example/app;tag=v1?password=secret",
        "docker://host.example/app;name=a#secret",
        "docker://user:secret?@sha/app",
    ],
)
def test_a_password_is_not_repeated(entry):
    with pytest.raises(DockinError) as caught:
        source.parse_entry(entry)
    assert "secret" not in str(caught.value)


@SETTINGS
@given(st.text() | st.text("docker:/;=@ tagnmeplform.0\n", max_size=40))
@example("\n")
def test_any_text_is_parsed_or_refused(text):
    try:
        parsed = source.parse_entry("docker://" + text)
    except DockinError:
        return
    assert parsed.reference.tag
    assert source.parse_entry(parsed.url) == parsed


# SRC_URI


@pytest.mark.parametrize(
    ("src_uri", "stems"),
    [
        ("", []),
        ("file://a.yml https://example.com/b.tar.gz git://docker/x", []),
        ("file://docker://x", []),
        (" file://compose.yml \t docker://b;tag=2\n docker://a;tag=1 ", ["b-2", "a-1"]),
        ("docker://a;tag=1 docker://a;tag=2", ["a-1", "a-2"]),
        ("docker://a;name=x docker://ghcr.io/a;name=y", ["a-latest", "ghcr.io-a-latest"]),
    ],
)
def test_src_uri(src_uri, stems):
    assert [one.reference.stem for one in source.parse_src_uri(src_uri)] == stems


@pytest.mark.parametrize(
    "src_uri",
    [
        "docker://a docker://a",
        "docker://a;name=x docker://docker.io/library/a:latest;name=y",
        "docker://a;platform=linux/amd64 docker://a;platform=linux/386",
        "docker://a/b;tag=c docker://a-b;tag=c",
        "docker://h:5/a docker://h-5/a",
        f"docker://a;digest={DIGEST} docker://a;digest=sha256:{OTHER_HEX}",
    ],
)
def test_two_images_of_one_archive_name(src_uri):
    with pytest.raises(InvalidSource, match="Two images with one archive name '.*recipe of its own"):
        source.parse_src_uri(src_uri)


@pytest.mark.parametrize("second", ["myacr.azurecr.io/b", "MYACR.azurecr.io/team/a;tag=v2", "myacr.azurecr.io/a"])
def test_two_spellings_of_one_registry(second):
    said = "Two spellings of one registry in SRC_URI, 'MyACR.azurecr.io' and '(?i:MyACR).azure"
    with pytest.raises(InvalidSource, match=said):
        source.parse_src_uri(f"docker://MyACR.azurecr.io/a file://x docker://busybox docker://{second}")
    assert len(source.parse_src_uri("docker://MyACR.azurecr.io/a docker://MyACR.azurecr.io:443/b docker://B.io/c")) == 3


def test_a_bad_entry_of_src_uri_is_refused():
    with pytest.raises(InvalidReference, match="lower case"):
        source.parse_src_uri("file://x docker://A")


# Pins


def pins(src_uri, flags):
    """Return the digests that a recipe pins, by the images' familiar names."""
    sources = source.pin_sources(source.parse_src_uri(src_uri), flags)
    return {one.reference.tagged.familiar: one.reference.digest for one in sources}


@pytest.mark.parametrize(
    ("src_uri", "flags", "expected"),
    [
        ("docker://a", {}, {"a:latest": None}),
        ("docker://a", {"sha256sum": ""}, {"a:latest": None}),
        ("docker://a", {"sha256sum": HEX}, {"a:latest": DIGEST}),
        ("docker://a;name=x", {"x.sha256sum": HEX}, {"a:latest": DIGEST}),
        ("docker://a;name=x", {"sha256sum": HEX}, {"a:latest": None}),
        ("docker://a;name=default", {"default.sha256sum": HEX, "sha256sum": OTHER_HEX}, {"a:latest": DIGEST}),
        (f"docker://a;digest={DIGEST}", {}, {"a:latest": DIGEST}),
        (f"docker://a;digest={DIGEST}", {"sha256sum": HEX}, {"a:latest": DIGEST}),
        (f"docker://a;name=x;digest={DIGEST}", {"sha256sum": OTHER_HEX}, {"a:latest": DIGEST}),
        ("docker://a docker://b", {}, {"a:latest": None, "b:latest": None}),
        (
            "docker://a;name=x docker://b;name=y",
            {"x.sha256sum": HEX, "y.sha256sum": OTHER_HEX},
            {"a:latest": DIGEST, "b:latest": "sha256:" + OTHER_HEX},
        ),
        ("docker://a docker://b;name=y", {"sha256sum": HEX}, {"a:latest": DIGEST, "b:latest": None}),
    ],
)
def test_pins(src_uri, flags, expected):
    assert pins(src_uri, flags) == expected


@pytest.mark.parametrize(
    ("src_uri", "flags", "said"),
    [
        ("docker://a;tag=1", {"sha256sum": DIGEST}, f"Invalid SRC_URI[sha256sum] = '{DIGEST}' of a:1"),
        ("docker://a", {"sha256sum": HEX[1:]}, "64 lower-case hex digits, without 'sha256:'"),
        ("docker://a", {"sha256sum": HEX.upper()}, "64 lower-case hex digits"),
        ("docker://a", {"sha256sum": HEX + "\n"}, "64 lower-case hex digits"),
        ("docker://a;name=x", {"x.sha256sum": "?"}, "Invalid SRC_URI[x.sha256sum] = '?'"),
        (f"docker://a;digest={DIGEST}", {"sha256sum": OTHER_HEX}, "Two pins for a:latest that differ"),
        ("docker://a docker://b", {"sha256sum": HEX}, "give each entry its own ;name="),
        ("docker://a;name=x docker://b;name=x", {"x.sha256sum": HEX}, "One pin SRC_URI[x.sha256sum] for two images"),
    ],
)
def test_refused_pins(src_uri, flags, said):
    with pytest.raises(InvalidSource, match=re.escape(said)):
        pins(src_uri, flags)


def test_both_pins_are_named_where_they_differ():
    with pytest.raises(InvalidSource, match=f"(?s){DIGEST}.*{OTHER_HEX}"):
        pins(f"docker://a;digest={DIGEST}", {"sha256sum": OTHER_HEX})


def test_pinning_changes_nothing_else():
    unpinned = source.parse_entry("docker://a;tag=1;name=x;platform=linux/386")
    pinned = unpinned.pinned(HEX)
    assert pinned.url == unpinned.url.replace(";tag=1", f";tag=1;digest={DIGEST}")
    assert pinned == DockerSource(pinned.reference, unpinned.name, unpinned.platform)
    assert pinned.reference.tagged == unpinned.reference
    assert unpinned.pinned(None) == unpinned


def test_the_mark_of_devtool_modify_means_nothing():
    entry = "docker://busybox;tag=1.36.1;name=a"
    assert source.parse_entry(f"{entry};type=git-dependency") == source.parse_entry(entry)
    with pytest.raises(InvalidSource, match="Unknown parameter 'type'"):
        source.parse_entry(f"{entry};type=kmeta")
