# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers' tars: what tarfile and GNU tar write is read, every byte is accounted for, and what is damaged is refused."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import tarfile

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from dockin.image import layertar
from dockin.image.layertar import InvalidLayerTar, Member, Reader
from support import images
from support.layers import END, FORMATS, header, record, special, tar

SECONDS = 30


def read(data, chunk=1 << 20):
    """Return the members of a tar and their content; check that all of its bytes were given, each once and in order."""
    reader = Reader(data[start:start + chunk] for start in range(0, len(data), chunk))
    found, seen = [], b""
    while True:
        member = reader.next()
        seen += reader.raw()
        if member is None:
            break
        content = b"".join(reader.content())
        found.append((member, content))
        seen += content
    seen += b"".join(reader.rest())
    assert seen == data
    return found


def only(data):
    ((member, content),) = read(data)
    return member, content


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("chunk", [1, 100, 512, 1 << 20])
def test_every_type(form, chunk):
    one = {"mode": 0o4755, "uid": 7, "gid": 8, "mtime": 1704067200}
    data = tar(
        ("d", {**one, "type": tarfile.DIRTYPE, "mode": 0o1777}, b""),
        ("d/file", one, b"x" * 700),
        ("d/link", {**one, "type": tarfile.LNKTYPE, "linkname": "d/file"}, b""),
        ("d/sym", {**one, "type": tarfile.SYMTYPE, "linkname": "/nowhere"}, b""),
        ("d/char", {**one, "type": tarfile.CHRTYPE, "devmajor": 5, "devminor": 1}, b""),
        ("d/block", {**one, "type": tarfile.BLKTYPE, "devmajor": 259, "devminor": 70000}, b""),
        ("d/fifo", {**one, "type": tarfile.FIFOTYPE}, b""),
        form=form,
    )
    common = {"mode": 0o4755, "uid": 7, "gid": 8, "mtime": 1704067200 * 10**9}
    expected = [
        Member(0, b"d/", b"5", **{**common, "mode": 0o1777}),
        Member(1, b"d/file", b"0", size=700, stored=700, **common),
        Member(2, b"d/link", b"1", target=b"d/file", **common),
        Member(3, b"d/sym", b"2", target=b"/nowhere", **common),
        Member(4, b"d/char", b"3", device=(5, 1), **common),
        Member(5, b"d/block", b"4", device=(259, 70000), **common),
        Member(6, b"d/fifo", b"6", **common),
    ]
    assert read(data, chunk) == [(member, b"x" * member.size) for member in expected]


@pytest.mark.parametrize(
    ("form", "name", "attributes"),
    [
        ("ustar", "p" * 100 + "/" + "n" * 100, {}),
        ("gnu", "p" * 300, {}), ("pax", "p" * 300, {}),
        ("gnu", "l", {"type": tarfile.SYMTYPE, "linkname": "t" * 300}),
        ("pax", "l", {"type": tarfile.SYMTYPE, "linkname": "t" * 300}),
        ("gnu", "o", {"uid": 4_000_000_000, "gid": 2**21}), ("pax", "o", {"uid": 4_000_000_000, "gid": 2**21}),
        ("pax", "t", {"mtime": 1.25}), ("gnu", "t", {"mtime": -86400}), ("pax", "t", {"mtime": -86400}),
        ("gnu", "ü", {}), ("pax", "ü", {}), ("gnu", "\udcff", {}), ("pax", "\udcff", {}),
    ],
)
def test_what_a_plain_header_can_not_hold(form, name, attributes):
    member, _ = only(tar((name, attributes, b""), form=form))
    assert member.name == os.fsencode(name)
    assert member.target == attributes.get("linkname", "").encode()
    assert (member.uid, member.gid) == (attributes.get("uid", 0), attributes.get("gid", 0))
    assert member.mtime == attributes.get("mtime", images.MTIME) * 10**9


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [("1.5", 1_500_000_000), ("1.123456789", 1_123_456_789), ("1.1234567899", 1_123_456_789), ("1.", 10**9),
     ("-1.25", -1_250_000_000), ("0.000000001", 1)],
)
def test_times_to_the_nanosecond(seconds, expected):
    data = tar(("t", {"pax_headers": {"mtime": seconds, "atime": seconds}}, b""))
    member, _ = only(data)
    assert (member.mtime, member.atime) == (expected, expected)


def test_attributes():
    member, _ = only(special(b"x", record(b"SCHILY.xattr.user.a", b"\0\xff\n=") + record(b"SCHILY.xattr.user.b", b"")
                             + record(b"LIBARCHIVE.xattr.user.c", b"AA==")) + header() + END)
    assert member.xattrs == {b"user.a": b"\0\xff\n=", b"user.b": b""}


def test_a_global_header_says_nothing():
    data = special(b"g", record(b"path", b"global")) + header(b"a") + special(b"x", record(b"path", b"lost")) \
        + special(b"g", record(b"mtime", b"5")) + header(b"b") + END
    assert [(member.name, member.mtime) for member, _ in read(data)] == [(b"a", 0), (b"b", 0)]


def test_the_longest_header_of_the_shortest_records():
    """Reading one takes as long as it is long: where that is squared, these take longer than a test may."""
    records = b"5 a=\n" * ((1 << 20) // 5)
    [(member, _)] = read(special(b"x", records) * 20 + header(b"name") + END)
    assert member.name == b"name"


def test_empty_records_change_nothing():
    member, _ = only(special(b"x", record(b"path", b"") + record(b"size", b"")) + header(b"a") + END)
    assert member.name == b"a"


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10240)])
def test_ends(end):
    assert [member.name for member, _ in read(header(b"a") + end)] == [b"a"]
    assert read(end) == []


def test_what_follows_the_end():
    assert [member.name for member, _ in read(header(b"a") + END + b"anything" * 300)] == [b"a"]


@pytest.mark.parametrize(("name", "kind", "expected"), [(b"a", b"\0", b"0"), (b"a/", b"\0", b"5"), (b"a/", b"0", b"0")])
def test_old_types(name, kind, expected):
    member, _ = only(header(name, kind, magic=b"") + END)
    assert member.type == expected


def test_sizes_of_what_has_no_content():
    """A directory or link of some size is followed by no content, in every tar that is about."""
    assert [(member.name, member.size) for member, _ in read(header(b"a", b"5", 9) + header(b"b", b"1", 9) + END)] == [
        (b"a", 0), (b"b", 0)]


def test_old_prefix_of_go():
    member, _ = only(header(b"n", magic=b"ustar  \0", at345=b"some/where") + END)
    assert member.name == b"some/where/n"


def test_star():
    member, _ = only(header(b"n", at345=b"dir", at476=b"00000000005\0", at508=b"tar\0") + END)
    assert (member.name, member.atime) == (b"dir/n", 5 * 10**9)


def test_signed_checksum():
    block = bytearray(header(b"\xff\xfe"))
    total = sum(byte - 256 * (byte > 127) for byte in block[:148] + block[156:]) + 256
    block[148:156] = b"%06o\0 " % total
    member, _ = only(bytes(block) + END)
    assert member.name == b"\xff\xfe"


# Sparse files, by the real tar


def expand(member, stored):
    content = bytearray(member.size)
    place = 0
    for offset, length in member.extents:
        content[offset:offset + length] = stored[place:place + length]
        place += length
    assert place == len(stored)
    return bytes(content)


@pytest.mark.parametrize("options", [
    ["--format=gnu"], ["--format=posix", "--sparse-version=0.0"], ["--format=posix", "--sparse-version=0.1"],
    ["--format=posix", "--sparse-version=1.0"],
], ids=" ".join)
@pytest.mark.parametrize("pieces", [0, 1, 3, 30, 200])
def test_sparse_files_of_gnu_tar(tmp_path, options, pieces):
    path = tmp_path / "s"
    with open(path, "wb") as file:
        for number in range(pieces):
            file.seek(number * 65536 + 8192)
            file.write(b"%d" % number * 2000)
        file.truncate(pieces * 65536 + 100_000)
    data = subprocess.run(["tar", "-c", "--sparse", *options, "s"], cwd=tmp_path, check=True, capture_output=True,
                          timeout=SECONDS).stdout
    member, stored = only(data)
    assert (member.name, member.type) == (b"s", b"0")
    assert len(stored) < member.size
    assert expand(member, stored) == path.read_bytes()


def sparse(text, size=b"10", data=b""):
    """Return a tar with a sparse file of PAX 1.0 whose map is text."""
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"s", b"GNU.sparse.realsize": size}
    body = text + bytes(-len(text) % 512) + data
    return special(b"x", b"".join(record(key, value) for key, value in records.items())) \
        + header(b"x", size=len(body)) + body + bytes(-len(body) % 512) + END


@pytest.mark.parametrize(
    ("text", "data", "said"),
    [
        (b"1\n0\n11\n", b"x" * 11, "leads beyond its size"),
        (b"2\n4\n2\n5\n2\n", b"x" * 4, "overlaps"),
        (b"2\n4\n2\n0\n2\n", b"x" * 4, "overlaps"),
        (b"1\n0\n-1\n", b"", "overlaps"),
        (b"1\n0\n4\n", b"xxx", "does not fit its content"),
        (b"1\n0\n2\n", b"xxx", "does not fit its content"),
        (b"1\n0\n", b"", "does not end"),
        (b"-1\n", b"", "too long"),
        (b"9999999999\n", b"", "too long"),
        (b"one\n", b"", "where a number belongs"),
        (b"1\n0x0\n3\n", b"xxx", "where a number belongs"),
        (b"", b"", "does not end"),
    ],
)
def test_wrong_maps_of_sparse_files(text, data, said):
    with pytest.raises(InvalidLayerTar, match=said):
        read(sparse(text, data=data))


def test_a_map_as_long_as_a_file():
    with pytest.raises(InvalidLayerTar, match="too long"):
        read(sparse(b"400000\n" + b"1\n" * 800_000))


def test_a_hole_alone():
    member, stored = only(sparse(b"0\n", size=b"%d" % (1 << 40)))
    assert (member.size, member.extents, stored, member.stored) == (1 << 40, (), b"", 0)


# What is refused


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x", "ends within a header"),
        (header()[:511], "ends within a header"),
        (b"x" * 512, "wrong checksum"),
        (header(at148=b"1234567\0"), "wrong checksum"),
        (header(at148=b"99999999"), "wrong checksum"),
        (bytes(512) + header(), "followed by something else"),
        (header(size=5), "ends within a file"),
        (header(size=5) + b"hell", "ends within a file"),
        (header(size=5) + b"hello", "ends within a file"),
        (header(kind=b"7"), "an entry of type b'7' can't be in a layer"),
        (header(kind=b"D"), "an entry of type b'D' can't be in a layer"),
        (header(kind=b"Z"), "an entry of type b'Z' can't be in a layer"),
        (header(at100=b"rw-r--r-"), "where a number belongs"),
        (header(at124=b"0000000000x"), "where a number belongs"),
        (header(at108=b"\xff" * 8), "invalid size 0 or owner -1:0"),
        (header(at124=b"\xff" * 12), "invalid size -1"),
        (header(at124=b"\x80" + b"\xff" * 11), "too large"),
        (special(b"x", b"nonsense"), "no records of the form"),
        (special(b"x", b"3 a=b\n"), "no records of the form"),
        (special(b"x", b"99 a=b\n"), "no records of the form"),
        (special(b"x", b"6 a=bX"), "no records of the form"),
        (special(b"x", b"7 ab c\n"), "no records of the form"),
        (special(b"x", b"5 =b\n"), "no records of the form"),
        (special(b"x", b" a=b\n"), "where a number belongs"),
        (special(b"x", record(b"path", b"a\0b")), "a NUL in a name"),
        (special(b"x", record(b"uid", b"1.5")) + header(), "where a number belongs"),
        (special(b"x", record(b"uid", b"4294967295")) + header(), "invalid size 0 or owner 4294967295:0"),
        (special(b"x", record(b"gid", b"-1")) + header(), "invalid size 0 or owner 0:-1"),
        (special(b"x", record(b"size", b"-5")) + header(), "invalid size -5"),
        (special(b"x", record(b"size", b"9" * 30)) + header(), "where a number belongs"),
        (special(b"x", record(b"mtime", b"soon")) + header(), "where a time belongs"),
        (special(b"x", record(b"mtime", b"1.5e3")) + header(), "where a time belongs"),
        (special(b"x", record(b"GNU.sparse.numbytes", b"1")), "in no order"),
        (special(b"x", record(b"GNU.sparse.offset", b"1") * 2), "in no order"),
        (special(b"x", record(b"GNU.sparse.map", b"0,1") + record(b"GNU.sparse.numblocks", b"2")) + header(),
         "another length"),
        (header(kind=b"x", size=2 << 20), "at most 1048576 are accepted"),
        (header(kind=b"L", size=10) + b"name", "ends within an extended header"),
        (header(kind=b"S"), "no GNU header"),
    ],
    ids=itertools.count(),
)
def test_refused(data, said):
    with pytest.raises(InvalidLayerTar, match=re.escape(said)):
        read(data if "ends within" in said else data + END)


def test_nothing_is_described_by_the_last_header():
    assert read(special(b"x", record(b"path", b"a"))) == []


SAMPLE = tar(
    ("dir", {"type": tarfile.DIRTYPE}, b""), ("dir/" + "long" * 40, {"mtime": 1.5, "uid": 10**9}, b"content" * 100),
    ("s", {"type": tarfile.SYMTYPE, "linkname": "t" * 150}, b""),
) + tar(("n" * 150, {}, b"x"), form="gnu")


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(SAMPLE)))
def test_any_bytes_are_read_or_refused(changes, length):
    data = bytearray(SAMPLE)
    for place, value in changes:
        data[place] = value
    try:
        read(bytes(data[:length]))
    except InvalidLayerTar as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from([b"x", b"g", b"L", b"K", b"0", b"S", b"5"]),
       st.dictionaries(st.sampled_from(["at100", "at108", "at124", "at136", "at257", "at345", "at386", "at483"]),
                       st.binary(min_size=1, max_size=12)))
def test_any_header_is_read_or_refused(pieces, kind, fields):
    """With a right checksum, so that what is behind it is reached."""
    data = b"".join(special(b"x", piece) for piece in pieces) + header(b"a", kind, **fields) + END
    try:
        read(data)
    except InvalidLayerTar as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"etc/motd", "'etc/motd'"), ("ü".encode(), "'ü'"), (b"a\nb", "'a\\nb'"), (b"\xff", "'\\xff'"),
     (b"x" * 300, "'" + "x" * 200 + "…'")],
)
def test_printable(name, expected):
    assert layertar.printable(name) == expected
