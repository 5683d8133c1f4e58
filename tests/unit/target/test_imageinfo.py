# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.target.imageinfo: image information files, which a shell script reads on the target."""

from __future__ import annotations

import dataclasses
import re

import pytest

from dockin.image import reference
from dockin.target import imageinfo
from dockin.target.imageinfo import ImageInformation, InvalidInformation
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy
KEYS = [field.name for field in dataclasses.fields(ImageInformation)]
GOOD = ImageInformation(
    reference="docker.io/library/busybox:1.36.1",
    name="busybox:1.36.1",
    platform="linux/arm64/v8",
    runtime="docker",
    archive="busybox-1.36.1.tar.xz",
    archive_size=878700,
    unpacked_size=2004480,
    layers_size=2003456,
    image_id="sha256:" + "a" * 64,
    manifest_digest="sha256:" + "b" * 64,
    source_digest="sha256:" + "c" * 64,
)
TEXT = """\
# Image information written by meta-dockin; read by dockin-preload.
format=1
reference=docker.io/library/busybox:1.36.1
name=busybox:1.36.1
platform=linux/arm64/v8
runtime=docker
archive=busybox-1.36.1.tar.xz
archive_size=878700
unpacked_size=2004480
layers_size=2003456
image_id=sha256:{}
manifest_digest=sha256:{}
source_digest=sha256:{}
""".format("a" * 64, "b" * 64, "c" * 64)


def test_text():
    assert GOOD.render() == TEXT
    assert imageinfo.parse(TEXT, "x.image") == GOOD


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "[::1]:5000/app:v1", "name": "[::1]:5000/app:v1"},
        {"reference": "host:5000/a/b__c:V_1.0-x"},
        {"platform": "linux/386"},
        {"archive": "1-5000-app_v1.tar"},
        {"archive": "a.tar.my-type"},
        {"archive_size": 0},
        {"archive_size": 10**15 - 1},
        {"runtime": "podman"},
    ],
    ids=str,
)
def test_round_trip(changes):
    other = dataclasses.replace(GOOD, **changes)
    assert imageinfo.parse(other.render(), "x.image") == other


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reference", ""),
        ("reference", "a b"),
        ("reference", "a\nflush=1"),
        ("reference", "a\n"),
        ("reference", "$(reboot)"),
        ("name", "`id`"),
        ("name", "a;b"),
        ("name", "a'b"),
        ("name", 'a"b'),
        ("name", "a\\b"),
        ("name", "a%b"),
        ("name", "ä"),
        ("name", "a\0"),
        ("platform", "linux/arm64\t"),
        ("archive", "../a.tar"),
        ("archive", "/etc/passwd"),
        ("archive", "a/b.tar"),
        ("archive", ".hidden"),
        ("archive", "-rf"),
        ("archive", ""),
        ("archive_size", -1),
        ("archive_size", 10**15),
        ("archive_size", 1.5),
        ("unpacked_size", None),
        ("layers_size", ""),
        ("image_id", "a" * 64),
        ("image_id", "sha256:" + "A" * 64),
        ("image_id", "sha256:" + "a" * 63),
        ("manifest_digest", ""),
        ("source_digest", "sha512:" + "a" * 128),
        ("runtime", "rkt"),
        ("runtime", ""),
    ],
)
def test_what_a_file_can_not_hold_is_not_written(key, value):
    with pytest.raises(InvalidInformation, match=re.escape(f"Invalid {key} = {str(value)!r}")):
        dataclasses.replace(GOOD, **{key: value}).render()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Image", "# Other=x\n#Image"),
        ("format=1", "later=$(anything) goes = here\nformat=1"),
        ("format=1", "\n\nformat=1"),
        ("format=1", "format=2\nformat=1"),
        ("source_digest", "=\nsource_digest"),
        ("runtime=docker\n", ""),
        ("\n", "\n\n"),
    ],
)
def test_what_does_not_matter(old, new):
    assert imageinfo.parse(TEXT.replace(old, new), "x.image") == GOOD


def test_no_newline_at_the_end():
    assert imageinfo.parse(TEXT.rstrip("\n"), "x.image") == GOOD


def test_keys_in_any_order():
    lines = TEXT.splitlines(keepends=True)
    assert imageinfo.parse("".join(reversed(lines)), "x.image") == GOOD


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format=1", "format=2", "Unsupported image information file x.image: format '2', not 1"),
        ("format=1\n", "", "format None, not 1"),
        ("format=1", "format=1 ", "format '1 ', not 1"),
        ("format=1", "format: 1", "Damaged image information file x.image: 'format: 1' is no line of the form key=value"),
        ("\n", "\r\n", r"format '1\r', not 1"),
        ("name=busybox:1.36.1\n", "", "Damaged image information file x.image: name = ''"),
        ("name=busybox:1.36.1", "name=busybox 1", "name = 'busybox 1'"),
        ("name=", "name = ", "name = ''"),
        ("archive=", "archive=../", "archive = '../busybox-1.36.1.tar.xz'"),
        ("archive_size=", "archive_size=-", "archive_size = '-878700'"),
        ("archive_size=", "archive_size=0", "archive_size = '0878700'"),
        ("archive_size=", "archive_size=0x", "archive_size = '0x878700'"),
        ("archive_size=878700", "archive_size=" + "9" * 5000, "archive_size = '999"),
        ("archive_size=878700", "archive_size=٣", "archive_size = '٣'"),
        ("image_id=sha256:", "image_id=", "image_id = 'aaa"),
        ("source_digest=sha256:", "source_digest=sha256:c", "source_digest = 'sha256:ccc"),
        ("layers_size=2003456\n", "", "layers_size = ''"),
        ("runtime=docker", "runtime=rkt", "runtime = 'rkt'"),
        ("runtime=docker", "runtime=", "runtime = ''"),
    ],
)
def test_damaged(old, new, said):
    with pytest.raises(InvalidInformation, match=re.escape(said)):
        imageinfo.parse(TEXT.replace(old, new), "x.image")


def test_half_a_file():
    for cut in range(len(TEXT) - 1):
        with pytest.raises(InvalidInformation):
            imageinfo.parse(TEXT[:cut], "x.image")


@SETTINGS
@given(st.text() | st.dictionaries(st.sampled_from([*KEYS, "format"]), st.text(max_size=9) | st.just("1")).map(
    lambda values: "".join(f"{key}={value}\n" for key, value in values.items())))
def test_any_text(text):
    with pytest.raises(InvalidInformation):
        imageinfo.parse(text, "x.image")


@SETTINGS
@given(st.sampled_from(KEYS), st.text(max_size=9) | st.integers(-5, 10**16))
def test_what_is_written_can_be_read(key, value):
    other = dataclasses.replace(GOOD, **{key: value})
    try:
        text = other.render()
    except InvalidInformation:
        return
    again = imageinfo.parse(text, "x.image")
    assert {name: str(value) for name, value in vars(again).items()} == {
        name: str(value) for name, value in vars(other).items()
    }


@pytest.mark.parametrize("name", ["busybox:1", "h:5000/a/b__c.d--e:_V.1-", "[2001:db8::1]:5000/a:v", "a:" + "x" * 128])
def test_every_reference_can_stand_in_it(name):
    parsed = reference.parse(name)
    other = dataclasses.replace(
        GOOD, reference=parsed.canonical, name=parsed.familiar, archive=f"{parsed.stem}.tar.xz"
    )
    assert imageinfo.parse(other.render(), "x.image") == other
