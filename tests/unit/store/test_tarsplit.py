# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""tar-split files: the checksum against its definition, and what a reader gets."""

from __future__ import annotations

import base64
import gzip
import io
import json

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from dockin.store import tarsplit

POLYNOMIAL = 0xD800000000000000
ONES = 0xFFFFFFFFFFFFFFFF


def bit_by_bit(data, checksum=0):
    checksum ^= ONES
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (POLYNOMIAL if checksum & 1 else 0)
    return checksum ^ ONES


def written(*calls):
    """Return the entries of a tar-split file made by calls: (method, arguments…)."""
    file = io.BytesIO()
    writer = tarsplit.Writer(file)
    for method, *arguments in calls:
        getattr(writer, method)(*arguments)
    writer.close()
    return [json.loads(line) for line in gzip.decompress(file.getvalue()).splitlines()]


def test_crc64_of_the_catalogue():
    """CRC-64/GO-ISO: https://reveng.sourceforge.io/crc-catalogue/17plus.htm"""
    assert tarsplit.crc64(b"123456789") == 0xB90956C775A41001


LENGTHS = (*range(20), 63, 64, 65, 127, 128, 129, 1000, 4096, 5001, (1 << 18) - 1, 1 << 18, (1 << 18) + 9)


@pytest.mark.parametrize("size", LENGTHS)
def test_crc64_of_any_length(size):
    data = bytes(number * 37 % 251 for number in range(size))
    assert tarsplit.crc64(data) == bit_by_bit(data)


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_crc64_in_pieces(data, cuts):
    checksum, start = 0, 0
    for cut in [*sorted(cuts), len(data)]:
        checksum = tarsplit.crc64(data[start:cut], checksum)
        start = max(start, min(cut, len(data)))
    assert checksum == bit_by_bit(data)


def test_entries():
    assert written(("segment", b"header"), ("file", b"etc/motd", 5, 1), ("segment", b"pad"), ("file", b"etc", 0, 0)) == [
        {"type": 2, "payload": base64.b64encode(b"header").decode(), "position": 0},
        {"type": 1, "name": "etc/motd", "size": 5, "payload": "AAAAAAAAAAE=", "position": 1},
        {"type": 2, "payload": base64.b64encode(b"pad").decode(), "position": 2},
        {"type": 1, "name": "etc", "payload": None, "position": 3},
    ]


def test_a_name_that_is_no_text():
    (entry,) = written(("file", b"a\xff", 1, 0))
    assert base64.b64decode(entry["name_raw"]) == b"a\xff"
    assert "name" not in entry


def test_long_segments_are_cut():
    entries = written(("segment", bytes(200_000)), ("segment", b""))
    assert len(entries) > 1
    assert b"".join(base64.b64decode(entry["payload"]) for entry in entries) == bytes(200_000)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (b"a", b"a", True), (b"a", b"./a", True), (b"a/", b"a", True), (b"a/b/../c", b"a//c", True), (b"/a", b"//a", True),
        (b"./", b"", True), (b".", b"./.", True), (b"a", b"/a", False), (b"a", b"A", False), (b"a/b", b"b", False),
    ],
)
def test_names_that_a_reader_would_refuse(first, second, same):
    writer = tarsplit.Writer(io.BytesIO())
    assert writer.can_add(first)
    writer.file(first, 0, 0)
    assert writer.can_add(second) is not same
    writer.close()


def test_the_same_bytes_each_time():
    def make():
        file = io.BytesIO()
        writer = tarsplit.Writer(file)
        writer.segment(b"x" * 1000)
        writer.close()
        return file.getvalue()

    assert make() == make()
    assert make()[4:8] == bytes(4)
