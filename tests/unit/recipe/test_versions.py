# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.recipe.versions: which tag follows another."""

from __future__ import annotations

import random
import re

import pytest

from dockin.errors import DockinError
from dockin.recipe import versions
from dockin.recipe.versions import VersionTag
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(deadline=None, max_examples=50)  # the machine may be busy

# As Docker Hub has them for busybox, shortened.
BUSYBOX = [
    "1", "1.36", "1.36.0", "1.36.1", "1.36.1-glibc", "1.36.1-musl", "1.37", "1.37.0", "1.37.0-glibc", "1.37.0-musl",
    "buildroot-2014.02", "glibc", "latest", "musl", "stable", "stable-glibc", "ubuntu-14.04", "unstable", "1.9.9",
]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("1.36.1", VersionTag("", "1.36.1", "")),
        ("v1.36.1", VersionTag("v", "1.36.1", "")),
        ("1", VersionTag("", "1", "")),
        ("1.36.1-alpine3.19", VersionTag("", "1.36.1", "-alpine3.19")),
        ("v2.0-rc.1", VersionTag("v", "2.0", "-rc.1")),
        ("2024.01.02", VersionTag("", "2024.01.02", "")),
        ("3.19_base", VersionTag("", "3.19", "_base")),
        ("1.0.beta", VersionTag("", "1.0", ".beta")),
        ("1.0+git", VersionTag("", "1.0", "+git")),
        ("latest", None),
        ("bookworm", None),
        ("V1", None),
        ("v", None),
        ("", None),
        ("1.", None),
        ("1..2", None),
        (".1", None),
        ("1a", None),
        ("1-2", None),
        ("1.2-3", None),
        ("sha-0a1b2c3", None),
        ("release-1.2", None),
        ("٣.٤", None),
        ("1.2\n", None),
    ],
)
def test_parse(tag, expected):
    assert versions.parse(tag) == expected


@pytest.mark.parametrize(
    ("tags", "current", "expected"),
    [
        (BUSYBOX, "1.36.1", "1.37.0"),
        (BUSYBOX, "1.36", "1.37"),
        (BUSYBOX, "1", "1"),
        (BUSYBOX, "1.36.1-musl", "1.37.0"),
        (BUSYBOX, "1.37.0", "1.37.0"),
        (BUSYBOX, "2.0.0", "1.37.0"),  # as it is; whether it is an upgrade is devtool's to say
        (BUSYBOX, "latest", "1.37.0"),
        (BUSYBOX, "stable-glibc", "1.37.0"),
        (BUSYBOX, "1.36.1-uclibc", ""),
        (BUSYBOX, "v1.36.1", ""),
        (BUSYBOX, "1.36.1.1", ""),
        (["1.9.0", "1.10.0", "1.2.0"], "1.2.0", "1.10.0"),
        (["1.9.0", "1.10.0"], "1.2.0", "1.10.0"),
        (["v1.9.0", "v1.10.0", "1.11.0"], "v1.2.0", "1.10.0"),
        (["1.2.0", "1.3.0-rc1", "1.3.0-beta.2"], "1.2.0", "1.2.0"),
        (["8.0-rc2", "8.0-rc1"], "8.0-rc1", "8.0"),
        (["1", "2", "20240101"], "latest", ""),
        (["1", "2", "20240101"], "1", "2"),
        (["3.18", "3.19", "20240101"], "3.18", "3.19"),
        (["2024.01.02", "2023.12.31"], "2023.01.01", "2024.01.02"),
        (["01.02", "1.3"], "1.1", "1.3"),
        (["0.0", "0"], "0.0", "0.0"),
        ([], "1.36.1", ""),
        (["latest"], "1.36.1", ""),
    ],
)
def test_newest(tags, current, expected):
    assert versions.newest(tags, current) == expected


@pytest.mark.parametrize(
    ("tags", "regex", "expected"),
    [
        (BUSYBOX, r"^(?P<pver>1\.36\.\d+)$", "1.36.1"),
        (BUSYBOX, r"^(?P<pver>[\d.]+)-musl$", "1.37.0"),
        (BUSYBOX, r"ubuntu-(?P<pver>.*)", "14.04"),
        (["release-1-2", "release-1-10"], r"release-(?P<pver>[\d-]+)", "1-10"),
        (["a1", "a"], r"a(?P<pver>\d)?", "1"),
        (["a"], r"a(?P<pver>\d)?", ""),
        (["1.0"], r"(?P<pver>2.*)", ""),
        ([], r"(?P<pver>.*)", ""),
    ],
)
def test_newest_by_a_regex(tags, regex, expected):
    assert versions.newest(tags, "1.36.1", regex) == expected


@pytest.mark.parametrize("tags", [[], ["1.0"], ["x"]])
@pytest.mark.parametrize(
    ("regex", "said"),
    [
        ("(", "Invalid UPSTREAM_CHECK_REGEX '(': no regular expression"),
        ("*", "no regular expression"),
        (r"(?P<pver>\d", "no regular expression"),
        (r"\d+", "it has no group (?P<pver>…)"),
        (r"(?P<version>\d+)", "it has no group (?P<pver>…)"),
    ],
)
def test_bad_regex(tags, regex, said):
    with pytest.raises(DockinError, match=re.escape(said)):
        versions.newest(tags, "1.0", regex)


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("", BUSYBOX),
        ("musl", ["1.36.1-musl", "1.37.0-musl", "musl"]),
        (r"^1\.36\.\d$", ["1.36.0", "1.36.1"]),
        ("nothing", []),
    ],
)
def test_matching(regex, expected):
    assert versions.matching(BUSYBOX, regex) == expected


def test_matching_by_a_bad_regex():
    with pytest.raises(DockinError, match=r"Invalid expression for tags '\['"):
        versions.matching([], "[")


# The current tag, and one above it.
SAME_FORM = [
    ("9", "10"), ("9", "127"), ("99", "100"), ("127", "128"), ("3", "22"), ("1.9", "1.10"), ("1.36", "1.37"), ("0.9", "1.0"),
    ("37.9.0", "37.440.7"), ("7.4.9", "8.0.0"), ("24.04", "26.04"), ("v2", "v3"), ("20-alpine", "22-alpine"),
    # what is counted further, and begins again
    ("999", "1000"), ("1.999", "1.1000"), ("9.8.9999", "9.8.10000"), ("9.8.9999", "9.9.0"), ("4.0.0.741", "4.0.9.2457"),
    ("24.1.1.2048", "24.8.4.13"), ("24.3.2.23", "24.10.1.2812"), ("0.22.9", "0.22.1041"), ("0.21.2099", "0.21.2100"),
    ("10.0.17763.2061", "10.0.17763.6532"), ("1.20.9", "2.0.5000"), ("1.9", "1.1000"), ("2009.1", "2010.1"),
    ("1998", "2001"), ("1999", "2000"), ("2099", "2100"), ("1998-alpine", "2001-alpine"), ("1998.1", "2001.1"),
    ("8346271", "8346272"), ("99999", "100000"), ("1726000000", "1727000000"),
    # dates
    ("2024", "2025"), ("2024.1", "2025.1"), ("2024.12", "2025.1"), ("2023.11.2", "2024.1.0"),
    ("2024.01.31", "2024.02.01"),
    ("202412", "202501"), ("20240923", "20250101"), ("20240923.1", "20240923.2"), ("20240923-alpine", "20250101-alpine"),
    ("1.0.20240923", "1.0.20250101"), ("202409231200", "202409231300"), ("20240923120000", "20240923120001"),
    ("240923", "250101"),
]
ANOTHER_FORM = [
    # dates beside versions
    ("3", "20240923"), ("3", "2024"), ("127", "2024"), ("9999", "202409"), ("3", "202409"), ("3", "240923"),
    ("3", "2024092312"), ("v2", "v20240101"), ("20-alpine", "20240101-alpine"), ("1.36", "2024.1"), ("0.118.5", "2020.12.0"),
    ("1.2", "20240923.1"), ("1.2.3", "1.2.20240923"), ("1.2.20240923", "1.3.0"), ("24.04", "20240923.1"),
    # dates beside others
    ("2024", "20240923"), ("2024", "202409"), ("2024.1", "20240923.1"), ("202409", "20240923"), ("20240923", "202409231200"),
    # commits and builds
    ("12", "8346271"), ("7", "8346271"), ("2024", "8346271"), ("20240923", "83462710"), ("8346271", "20240923"),
    ("1.2.3", "1.2.8346271"), ("3", "1000"), ("1.9", "1.100000"), ("3", "1726000000"),
]


@pytest.mark.parametrize(("current", "tag"), SAME_FORM)
def test_numbers_of_the_same_form(current, tag):
    assert versions.upgrades([current, tag], current, "major") == [tag]
    assert versions.newest([current, tag], current) == versions.parse(tag).version
    assert versions.upgrades([current, tag], tag, "major") == []


@pytest.mark.parametrize(("current", "tag"), ANOTHER_FORM)
def test_numbers_of_another_form(current, tag):
    assert versions.upgrades([current, tag], current, "major") == []
    assert versions.newest([current, tag], current) == versions.parse(current).version


def test_an_expression_for_the_version_takes_any_form():
    assert versions.newest(["3", "20240923"], "3", "^(?P<pver>[0-9]+)$") == "20240923"


NUMBERS = st.lists(st.integers(0, 999), min_size=3, max_size=3)


@SETTINGS
@given(st.lists(NUMBERS, min_size=1, max_size=8), st.sampled_from(["", "v"]), st.sampled_from(["", "-alpine", "_x.1"]))
def test_the_newest_is_the_greatest_in_any_order(numbers, prefix, suffix):
    tags = [prefix + ".".join(map(str, parts)) + suffix for parts in numbers]
    shuffled = random.Random(0).sample(tags, len(tags))
    expected = ".".join(map(str, max(numbers)))
    assert versions.newest(shuffled, tags[0]) == versions.newest(tags + ["latest", "9999"], tags[-1]) == expected


@SETTINGS
@given(st.lists(st.text(max_size=8) | st.text("v0123.-a", max_size=8), max_size=6), st.text("v0123.-a", max_size=8))
def test_any_tags(tags, current):
    newest = versions.newest(tags, current)
    assert re.fullmatch(r"[0-9.]*", newest, re.ASCII)
    assert not newest or any(newest in tag for tag in tags)


def test_what_is_too_long_for_a_tag_is_none():
    tags = ["1.0.0", "1.0.1", "1.0." + "9" * 5000]
    assert versions.upgrades(tags, "1.0.0", "patch") == ["1.0.1"]
    assert versions.newest(tags, "1.0.0") == versions.newest(tags, "1.0.0", "(?P<pver>.*)") == "1.0.1"
