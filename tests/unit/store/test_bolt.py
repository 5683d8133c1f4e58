# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""bbolt files: what is written is read again, in both byte orders, and nothing damaged is. What containerd makes of them:
tests/docker."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
import struct

import pytest

from dockin.store import bolt
from dockin.store.bolt import Bucket, InvalidDatabase

ORDERS = ("little", "big")
PAGE = bolt.PAGE_SIZE
# Of bbolt 1.5.0, in pages of 1024 bytes: 60 keys were added and nine of ten removed again.
OF_BBOLT = gzip.decompress(base64.b64decode("""
H4sIAAAAAAACA+2c30uTYRTHtzk3sxnLuoouuvJ6zy91d0H/QBGVUkhGQyx/QSUIQRQUQRAEQSAUUXf9AdFtf0C3QREkRVGgFJEgFJI753nfue8w
g642vx8Yz/OZ0+fwunPe5z2vM5NR8nFceVtayW16opRppi+Oe+KYi+Oz9cWno9cfdWUIIW1Ddpv874fX74vj/jgmCX9s9fmpJy8HpnhECWkfcumY
S+vBoZjXr6IvbTy64/PnJie2/lGFdH5241GIjzpn4rwYfRT8JPhx8KOb/GJtoVKpzI9PXalV6nOjcyNiVayIU3EiXsWLBJVQqU3PXV7Y7uAQ0qF0
pfsAfbMnuZ/bdL4vbNrvb+T/5MzU5EyNh46Qtiefnur2ps+Vs80n7xJ4D3gePAP+GzYDa+A/wb+DL4N/gc3BJ/AP4O/B34G/AX/9l81GxehmQ+ZW
9xoyd7rVkLnXnYbMg240ZD4o80GZD8l8SObDMh+WeVXm1ZaNjYkLy8pGVzaytNGljaxtdG0jixtd3MjqRlc3g3zTk5Tuv+R/kg994L3gRfA8eBZ8
HfLtF/ga+Cr4D/Bv4MvgX8E/g38EX4L8N5qrRpLVaLIayVaj2WqqLZceVtPVSrraWCgkXa2mq5V0tZquVtLVarpaSVer6WqlWliNwEoEViOwEoHV
CGy15XrHaQROInAagZMIXKxVjm//HU8hzf8D6XOPIV8fgi+CPwC/D34P/C74HfDb4DfBb4BfA78KvgA+D34JfA58GvwC+AT4efBx8DHw0+Aj4Cey
zfXIadFwUjScFg0nRcNp0XBSNJwWDSdFw2nRcFI0nBYNV23pi3gtGl6Khtei4aVoeC0aXsqWjzscicBrBF4i8BqBlwi8RuAlAq8ReInAawS+2tSM
EdEIgkQQNIIgEQSNIEgEQSMIEkGImyyJIGgEQSIIGkGQCIJGECSCoBGE6s7O//QcHTsBlVgTkuuCgejJPuEg7MV1f6xnSX1vsqYS0i70pOf/vFSA
er//cOwBlqMfyTT6/3Ufifk/HL/3VqwXL3ZLf7AIS/xTi725qdjV8qps4+okfr1bq49U8anZmQn+LgkhhBBCCCGEkK0owRV2Nl5h5+I4b5IOQZEH
i5AOI/k8Tzl24pJ+HD/IQ0jn0/gcX1fa/0/uASb9/bFMo79fp7fUuD/Ivj0hhBBCCCE7gZlZfgiQkPamH67UW/v/yTU9+/+EdBrJ//MpZ3plTPp6
yd/7FyD7k7uBu+LYG8fYGkzvJ/bx0BJCCCGEEEIIIYQQQgghhBBCCCGEEEIIIYQQQgghhBDy3/wBA2S6vQCAAAA=
"""))


def bucket(content, sequence=0):
    found = Bucket(content)
    found.sequence = sequence
    return found


def random_tree(source, depth=0):
    """Return a tree with keys, values and numbers of them of all kinds of lengths."""
    found = bucket({}, source.choice([0, 0, source.getrandbits(40)]))
    for _ in range(source.choice([0, 1, 2, 5, 40, 300] if depth < 2 else [0, 3, 20])):
        key = source.getrandbits(256).to_bytes(32, "big")[: source.choice([1, 2, 8, 32])] * source.choice([1, 1, 1, 20])
        size = source.choice([0, 1, 10, 100, 1000, 3, 3, 9000])
        found[key] = random_tree(source, depth + 1) if depth < 3 and source.random() < 0.15 else bytes(size)
    return found


def head(data, order="little"):
    """Return root page and number of pages."""
    found = struct.unpack_from({"little": "<", "big": ">"}[order] + "QQQQ", data, 32)
    return found[0], found[3]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(30))
def test_random_trees(order, seed):
    tree = random_tree(random.Random(seed))
    data = bolt.render(tree, order)
    assert bolt.parse(data, order) == tree
    assert len(data) == head(data, order)[1] * PAGE


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [
    0, 1, 990, 991, 992, 993,  # in the bucket's value up to 1024 bytes, then in a page
    4062, 4063, 4064, 4065,  # one page, then two
    65 * PAGE])
def test_sizes(order, size):
    tree = bucket({b"b": bucket({b"k": bytes(size)}, 5)})
    data = bolt.render(tree, order)
    assert bolt.parse(data, order) == tree
    pages = -(-(33 + size) // PAGE) if 33 + size > 1024 else 0
    assert len(data) == (4 + pages) * PAGE


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 63, 64, 1000, 100_000])
def test_many_keys(count):
    tree = bucket({b"%08d" % number: b"v" * 40 for number in range(count)})
    assert bolt.parse(bolt.render(tree, "little"), "little") == tree


def test_each_page_has_two_keys():
    tree = bucket({b"%d" % number: bytes(5000) for number in range(7)})
    data = bolt.render(tree, "little")
    assert bolt.parse(data, "little") == tree
    counts = []
    page = 3
    while page < head(data)[1]:
        number, _, count, more = struct.unpack_from("<QHHI", data, page * PAGE)
        assert number == page
        counts.append(count)
        page += more + 1
    assert counts == [2, 2, 3, 3]


def test_a_bucket_with_buckets_has_a_page_of_its_own():
    inner = bucket({b"labels": bucket({b"k": b"v"})})
    assert len(bolt.render(bucket({b"blob": inner}), "little")) == 5 * PAGE
    assert len(bolt.render(bucket({b"blob": bucket({b"k": b"v"})}), "little")) == 4 * PAGE


def test_the_order_of_keys_makes_no_difference():
    first, second = bucket({b"a": b"1", b"b": b"2"}), bucket({b"b": b"2", b"a": b"1"})
    assert bolt.render(first, "little") == bolt.render(second, "little")


@pytest.mark.parametrize(("order", "digest"), [
    ("little", "04c0edc188e5ee3181baab2e2908935ed74f75e20aed5b61a60352624d5d9128"),
    ("big", "1558b9bf9d7f7ad5c0cfc2ac0f1b62e81fea65980b57cc94adea0415a8d87560"),
])
def test_the_bytes_stay_the_same(order, digest):
    many = bucket({b"%d" % number: b"x" * 90 for number in range(99)})
    tree = bucket({b"v1": bucket({b"version": b"\6", b"many": many, b"small": bucket({b"key": b"value"}, 3)}, 9)})
    assert hashlib.sha256(bolt.render(tree, order)).hexdigest() == digest


def test_the_bytes_of_a_file():
    data = bolt.render(bucket({b"key": b"value"}), "little")
    meta = struct.pack("<QHHIIIIIQQQQQ", 1, 4, 0, 0, 0xED0CDAED, 2, 4096, 0, 3, 0, 2, 4, 1)
    assert data[PAGE : PAGE + len(meta)] == meta
    assert data[2 * PAGE : 3 * PAGE] == struct.pack("<QHHI", 2, 16, 0, 0).ljust(PAGE, b"\0")
    assert data[3 * PAGE :] == (struct.pack("<QHHIIIII", 3, 2, 1, 0, 0, 16, 3, 5) + b"keyvalue").ljust(PAGE, b"\0")


def test_what_bbolt_has_written():
    found = bolt.parse(OF_BBOLT, "little")
    big = {b"key%03d" % number: b"value%d" % number for number in range(0, 60, 10)}
    assert found == bucket({b"v1": bucket({
        b"big": bucket(big), b"empty": bucket({}), b"inline": bucket({b"key": b"value"}, 3), b"long": bytes(3000),
        b"none": b""}, 7)})


def test_the_last_transaction_counts():
    """bbolt writes the header of a transaction last, so that a torn one leaves the one before."""
    torn = bytearray(OF_BBOLT)
    last = max((0, 1024), key=lambda start: struct.unpack_from("<Q", OF_BBOLT, start + 64)[0])
    torn[last + 40] ^= 1
    assert bolt.parse(bytes(torn), "little") != bolt.parse(OF_BBOLT, "little")


@pytest.mark.parametrize("key", [b"", bytes(32769)], ids=["empty", "long"])
def test_keys_that_bbolt_refuses(key):
    with pytest.raises(InvalidDatabase, match=f"a key has {len(key)} bytes: 1 to 32768 are possible"):
        bolt.render(bucket({key: b""}), "little")


def test_a_value_is_no_bucket():
    tree = bucket({})
    tree.bucket(b"a", b"b")[b"c"] = b"value"
    assert tree == bucket({b"a": bucket({b"b": bucket({b"c": b"value"})})})
    with pytest.raises(InvalidDatabase, match="b'c' is a value where a bucket is expected"):
        tree.bucket(b"a", b"b", b"c")


MANY = bucket({b"%03d" % number: b"x" * 60 for number in range(99)})
TREE = bucket({b"many": MANY, b"one": bucket({b"key": b"value"}, 3)})
LEAF, BRANCH, ROOT = 3, 5, 6
WRONG_PAGE, WRONG_FREE, WRONG_KEYS = "page . is damaged", "the list of free pages is", "keys are"
DAMAGE = {
    "number of a page": (LEAF * PAGE, "Q", 9, WRONG_PAGE),
    "kind of a page": (LEAF * PAGE + 8, "H", 4, WRONG_PAGE),
    "length of a page": (LEAF * PAGE + 12, "I", 1 << 31, WRONG_PAGE),
    "length of a page by one": (LEAF * PAGE + 12, "I", 1, WRONG_PAGE),
    "no elements": (LEAF * PAGE + 10, "H", 0, None),
    "too many elements": (LEAF * PAGE + 10, "H", 65535, "keys are|flags|reaches beyond|cut off"),
    "flags of an element": (LEAF * PAGE + 16, "I", 2, "has flags 2"),
    "position of a key": (LEAF * PAGE + 20, "I", 1 << 31, "reaches beyond its page"),
    "length of a key": (LEAF * PAGE + 24, "I", 0, WRONG_KEYS),
    "length of a value": (LEAF * PAGE + 28, "I", 1 << 31, "reaches beyond its page"),
    "a child that is not there": (BRANCH * PAGE + 24, "Q", 99, "there is no page 99"),
    "a child that is a header": (BRANCH * PAGE + 24, "Q", 1, "there is no page 1"),
    "a child twice": (BRANCH * PAGE + 40, "Q", LEAF, "page 3 is damaged"),
    "a child above": (BRANCH * PAGE + 24, "Q", ROOT, WRONG_PAGE),
    "a child in another order": (BRANCH * PAGE + 24, "Q", LEAF + 1, "keys are in the wrong page"),
    "a free page in use": (2 * PAGE + 10, "H", 1, WRONG_FREE),
    "more free pages than bytes": (2 * PAGE + 10, "H", 65535, WRONG_FREE),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage(case):
    position, layout, value, error = DAMAGE[case]
    data = bytearray(bolt.render(TREE, "little"))
    struct.pack_into("<" + layout, data, position, value)
    if case == "more free pages than bytes":
        struct.pack_into("<Q", data, 2 * PAGE + 16, 1 << 40)
    if error:
        with pytest.raises(InvalidDatabase, match=error):
            bolt.parse(bytes(data), "little")
    else:
        assert bolt.parse(bytes(data), "little") != TREE


def test_any_damaged_byte():
    """Each ends in another tree or in an error of ours; the checksum keeps the headers, one of which is enough."""
    data = bolt.render(TREE, "little")
    outcomes = {"read": 0, "refused": 0}
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x81
        try:
            found = bolt.parse(bytes(damaged), "little")
        except InvalidDatabase:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert position >= 2 * PAGE or found == TREE
    assert min(outcomes.values()) > 100


def test_a_file_that_ends_early():
    data = bolt.render(TREE, "little")
    for size in (0, 1, 79, 80, PAGE, 2 * PAGE, len(data) - PAGE, len(data) - 1):
        with pytest.raises(InvalidDatabase, match="it is cut off|it has no valid header"):
            bolt.parse(data[:size], "little")


def test_the_other_byte_order():
    with pytest.raises(InvalidDatabase, match="it has no valid header for this byte order"):
        bolt.parse(bolt.render(TREE, "little"), "big")


def test_a_page_that_nothing_leads_to():
    """bbolt's own check calls that an error, too."""
    data = bytearray(bolt.render(bucket({b"a": bucket({b"k": bytes(2000)})}), "little"))
    struct.pack_into("<H", data, 4 * PAGE + 10, 0)
    with pytest.raises(InvalidDatabase, match="the list of free pages is wrong"):
        bolt.parse(bytes(data), "little")


def test_buckets_below_each_other():
    tree = found = bucket({})
    for _ in range(100):
        found = found.bucket(b"k")
    with pytest.raises(InvalidDatabase, match="more than 64 buckets and pages below each other"):
        bolt.parse(bolt.render(tree, "little"), "little")
