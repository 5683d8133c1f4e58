# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers that hold what is awkward to unpack, made of tars by tarfile, of headers byte by byte, and by GNU tar.

    images.image([images.busybox_layer(), *layers.AWKWARD["opaque"]()])
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile

from typing import Any, Callable, Union

from support import images

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
END = bytes(1024)
SECONDS = 60

Member = Union[str, "tuple[str, dict[str, Any]]", "tuple[str, dict[str, Any], bytes]"]

DIRECTORY, FIFO = {"type": tarfile.DIRTYPE, "mode": 0o755}, {"type": tarfile.FIFOTYPE}


def tar(*members: Member, form: str = "pax") -> bytes:
    """Return a tar of members: a name, or (name, {attribute of TarInfo: value}), or (name, {…}, content)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=FORMATS[form], errors="surrogateescape") as archive:
        for member in members:
            name, attributes, content = (member, {}, b"") if isinstance(member, str) else (*member, b"")[:3]
            info = tarfile.TarInfo(name)
            info.mtime = images.MTIME
            for key, value in attributes.items():
                setattr(info, key, value)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def layer(*members: Member, form: str = "pax") -> images.Layer:
    """Return a layer of members, as tar() takes them."""
    return images.Layer(tar(*members, form=form))


def header(
    name: bytes = b"a", kind: bytes = b"0", size: int = 0, magic: bytes = b"ustar\x0000", **fields: bytes
) -> bytes:
    """Return a header with fields as they are: bytes by their place, such as at148=b"…"."""
    block = bytearray(512)
    block[:len(name)] = name
    block[100:124] = b"0000644\x000000000\x000000000\x00"
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:257 + len(magic)] = magic
    for place, value in fields.items():
        start = int(place[2:])
        block[start:start + len(value)] = value
    if "at148" not in fields:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def special(kind: bytes, data: bytes) -> bytes:
    """Return a header that describes the next one, with its data."""
    return header(b"special", kind, len(data)) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """Return a record of a PAX header."""
    body = b" " + key + b"=" + value + b"\n"
    size = len(body) + 1
    while len(b"%d" % size) + len(body) != size:
        size += 1
    return b"%d" % size + body


def padded(data: bytes) -> bytes:
    """Return data filled up to whole blocks."""
    return data + bytes(-len(data) % 512)


def gnu_tar(files: dict[str, tuple[int, dict[int, bytes]]], *options: str) -> bytes:
    """Return what GNU tar makes of sparse files: size, and content by offset."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, pieces) in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                for offset, data in pieces.items():
                    file.seek(offset)
                    file.write(data)
                file.truncate(size)
            os.utime(file.name, (images.MTIME, images.MTIME))
        argv = ["tar", "-c", "--sparse", "--owner=0", "--group=0", *options, *files]
        return subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE, timeout=SECONDS).stdout


def link(target: str, **more: Any) -> dict[str, Any]:
    """Return the attributes of a symbolic link."""
    return {"type": tarfile.SYMTYPE, "linkname": target, "mode": 0o777, **more}


def hard(target: str, **more: Any) -> dict[str, Any]:
    """Return the attributes of a hard link."""
    return {"type": tarfile.LNKTYPE, "linkname": target, **more}


def device(kind: str, major: int, minor: int, **more: Any) -> dict[str, Any]:
    """Return the attributes of a device, "c" or "b"."""
    return {"type": {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}[kind], "devmajor": major, "devminor": minor, **more}


def pax(**records: str) -> dict[str, Any]:
    """Return the attributes for records of a PAX header; a double underscore stands for a dot."""
    return {"pax_headers": {key.replace("__", "."): value for key, value in records.items()}}


def xattrs(**values: bytes) -> dict[str, Any]:
    """Return the attributes for extended attributes; a double underscore stands for a dot."""
    return {"pax_headers": {"SCHILY.xattr." + key.replace("__", "."): value.decode("utf-8", "surrogateescape")
                            for key, value in values.items()}}


# cap_net_raw=ep, version 2
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
SPARSE = {
    "s": (300_000, {8192: b"one" * 3000, 131_072: b"two" * 5000}),
    "hole": (1 << 20, {}),
    "end": (70_000, {65_536: b"e" * 4464}),
}
LONG = "long-name-" * 15
BELOW = layer(("etc", DIRECTORY), ("etc/one", {}, b"1"), ("etc/two", {}, b"2"), ("etc/sub", DIRECTORY),
              ("etc/sub/three", {}, b"3"), ("srv", {**DIRECTORY, "mode": 0o711}), ("srv/data", {}, b"data"),
              ("file", {}, b"file"), ("to-etc", link("etc")))


def _modes() -> list[images.Layer]:
    return [layer(*((f"f{mode:o}", {"mode": mode}, b"x") for mode in (0, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777, 0o200)),
                  *((f"d{mode:o}", {**DIRECTORY, "mode": mode}) for mode in (0, 0o1777, 0o2775, 0o4700, 0o555)),
                  ("d0/in", {"mode": 0}, b"y"), ("d555/in", {}, b"z"))]


def _capabilities() -> list[images.Layer]:
    capable = xattrs(security__capability=CAPABILITY)
    return [layer(("ping", {"mode": 0o755, **capable}, b"x"), ("hard", hard("ping", mode=0o755, **capable)),
                  ("plain", {"mode": 0o755, **capable}, b"y"), ("loses", hard("plain", mode=0o700)),
                  ("suid", {"mode": 0o4755, "uid": 5, **capable}, b"z"))]


def _attributes(links: bool = False) -> list[images.Layer]:
    both = xattrs(user__one=b"\0\xff=\n", trusted__two=b"2")
    return [layer(("file", both, b"x"), ("empty", {"pax_headers": {"SCHILY.xattr.user.long": "v" * 3000}}),
                  ("dir", {**DIRECTORY, **both}), *([("link", link("file", **both))] if links else []),
                  ("char", device("c", 1, 3, **both)),
                  ("fifo", {**FIFO, **both}), ("hard", hard("file", **xattrs(user__three=b"3"))))]


def _hard_links() -> list[images.Layer]:
    return [layer(("a", {"mode": 0o644, "uid": 1}, b"content"), ("b", hard("a", mode=0o600, uid=2, mtime=images.MTIME + 9)),
                  ("d/c", hard("b", mode=0o640, uid=3)), ("sym", link("a")), ("hard-sym", hard("sym", uid=7)),
                  ("dangling", link("/nowhere")), ("hard-dangling", hard("dangling", uid=8)), ("fifo", FIFO),
                  ("hard-fifo", hard("./fifo")), ("null", device("c", 1, 3)), ("hard-null", hard("/null", mode=0o666)),
                  ("suid", {"mode": 0o4755}, b"s"), ("hard-suid", hard("d/../suid", mode=0o4755)))]


def _times() -> list[images.Layer]:
    stamps = ["0", "1.5", "-1", "-86400.25", "1704067200.123456789", "2147483648", "4294967296.75", "9223372036.5",
              "9300000000"]
    return [layer(*((f"f{number}", pax(mtime=stamp), b"x") for number, stamp in enumerate(stamps)),
                  *((f"d{number}", {**DIRECTORY, **pax(mtime=stamp)}) for number, stamp in enumerate(stamps)),
                  *((f"d{number}/x", pax(mtime="5")) for number, _ in enumerate(stamps)),
                  # Of links, Docker has no times after 2262; for those before 1970 see below.
                  *((f"l{number}", link("x", **pax(mtime=stamp))) for number, stamp in enumerate(stamps[:-1])
                    if not stamp.startswith("-")),
                  ("atime", pax(mtime="100.5", atime="200.25"), b"x"), ("early", pax(mtime="100.5", atime="50"), b"x"))]


def _below_and(*members: Member) -> Callable[[], list[images.Layer]]:
    return lambda: [BELOW, layer(*members)]


def _sparse(*options: str) -> Callable[[], list[images.Layer]]:
    return lambda: [images.Layer(gnu_tar(SPARSE, *options))]


def _ends() -> list[images.Layer]:
    return [images.Layer(tar(name)[:1024 if number else 512] + end)
            for number, (name, end) in enumerate([("none", b""), ("one", bytes(512)), ("garbage", END + b"garbage" * 999)])]


# By what is awkward about them; each is more than one Docker can load.
AWKWARD: dict[str, Callable[[], list[images.Layer]]] = {
    "modes": _modes,
    "capabilities": _capabilities,
    "attributes": _attributes,
    "attributes of links": lambda: _attributes(links=True),
    "labels": _below_and(
        ("labelled", xattrs(security__selinux=b"system_u:object_r:etc_t:s0\0"), b"x"),
        ("signed", xattrs(security__ima=b"\1x"), b"x"),
        ("dir", {**DIRECTORY, **xattrs(security__selinux=b"system_u:object_r:etc_t:s0\0")})),
    "hard links": _hard_links,
    "times": _times,
    "early times of links": _below_and(
        ("l1", link("x", **pax(mtime="-1"))), ("l2", link("x", **pax(mtime="-86400.25")))),
    "symbolic links": _below_and(
        ("abs", link("/etc/one")), ("up", link("../../../etc")), ("self", link("self")), ("long", link("t" * 3000)),
        ("dir", DIRECTORY), ("to-dir", link("dir")), ("owned", link("x", uid=1000, gid=1001))),
    "devices": _below_and(
        ("null", device("c", 1, 3, mode=0o666, uid=5)), ("disk", device("b", 8, 17, mode=0o660, gid=6)),
        ("minor", device("b", 259, 0xFFFFF)), ("major", device("c", 4095, 256)), ("etc/one", device("c", 0, 0))),
    "fifos": _below_and(("fifo", {**FIFO, "mode": 0o620, "uid": 9}), ("etc/one", FIFO)),
    "owners": _below_and(
        ("a", {"uid": 65535, "gid": 65536}, b"x"), ("b", {"uid": 100_000, "gid": 4_000_000_000}),
        ("etc", {**DIRECTORY, "uid": 7}), ("l", link("x", uid=70_000)), ("f", {**FIFO, "uid": 2_147_483_648})),
    "owners of GNU tar": lambda: [layer(("a", {"uid": 3_000_000_000, "gid": 2_097_152}, b"x"), form="gnu")],
    "long names": lambda: [
        layer(("n" * 200 + "/" + "m" * 255, {}, b"x"), ("/".join(["deep"] * 60) + "/f", {}, b"y"),
              (LONG, link("t" * 500)), (LONG + "2", hard("n" * 200 + "/" + "m" * 255))),
        layer(("n" * 200 + "/" + "o" * 255, {}, b"x"), ("g" * 101, link("t" * 500)), form="gnu"),
        layer(("p" * 90 + "/" + "q" * 90, {}, b"x"), form="ustar")],
    "odd names": _below_and(
        *((name, {}, b"x") for name in (
            "with space", "new\nline", 'quo"te', "back\\slash", "<html>&amp;", "ünï", "tab\t", "-dash", "~", "\u2028",
            "$(x)", "*", "no\udcfftext", "\udce4\udcf6", "\x7f\x01")),
        ("dir\udcff/file", {}, b"x"), ("link\udcff", link("to\udcff")), ("wh.not", {}, b"x"), (".whatever", {}, b"y")),
    "odd names of GNU tar": lambda: [
        layer(*((name, {}, b"x") for name in ("no\udcfftext", "ünï", LONG + "\udcff")), form="gnu")],
    "spellings": _below_and(
        ("./", {**DIRECTORY, "mode": 0o700, "uid": 9}), ("./a", {}, b"x"), ("/abs", {}, b"y"), ("d//e/./f", {}, b"w"),
        ("d/../g", {}, b"v")),
    "ways up": _below_and(("../outside", {}, b"z"), ("../../etc/one", {}, b"up")),
    "root directory": _below_and(("/", {**DIRECTORY, "mode": 0o751, "uid": 9}), ("a", {}, b"x")),
    "whiteouts": _below_and(
        "etc/.wh.one", "etc/.wh.sub", ".wh.file", ".wh.to-etc", ".wh.never-there", "etc/new/.wh.x", "srv/.wh.data",
        ("srv", {**DIRECTORY, "mode": 0o700}), (".wh.owned", {"uid": 4, "gid": 5, "mode": 0o777})),
    "whiteouts of long names": _below_and(
        *(".wh." + letter * length for letter, length in (("k", 251), ("l", 252), ("m", 255)))),
    "opaque": _below_and(
        ("etc", DIRECTORY), "etc/.wh..wh..opq", ("etc/new", {}, b"n"), "srv/.wh..wh..opq",
        ("srv", {**DIRECTORY, "mode": 0o700}), "deep/er/.wh..wh..opq"),
    "opaque root": _below_and(".wh..wh..opq", ("etc", DIRECTORY), ("etc/new", {}, b"n")),
    "AUFS": _below_and(
        (".wh..wh.aufs", {}), (".wh..wh.orph", DIRECTORY), (".wh..wh.plnk", DIRECTORY), (".wh..wh.plnk/1.2", {})),
    "files and directories": lambda: [
        BELOW,
        layer(("etc", {}, b"a file"), ("file", DIRECTORY), ("file/in", {}, b"x"), ("srv", link("/etc")),
              ("to-etc", DIRECTORY)),
        layer(("etc", DIRECTORY), ("etc/again", {}, b"y"), ("file", link("etc")), ("srv", FIFO), ("to-etc", {}, b"z"))],
    "implied directories": _below_and(
        ("etc/sub/x", {}, b"x"), ("a/b/c/d", {}, b"y"), ("e/f/g", link("x")), ("e/f/h", DIRECTORY), ("i/j/.wh.k", {})),
    "directories last": _below_and(
        ("z/y/x", {}, b"x"), ("z/y", {**DIRECTORY, "mode": 0o500, "mtime": 1}), ("z", {**DIRECTORY, "mtime": 2, "gid": 3})),
    "through links": _below_and(
        ("usr/lib", DIRECTORY), ("lib", link("usr/lib")), ("lib/a", {}, b"x"), ("abs", link("/usr/lib")),
        ("abs/b", {}, b"y"), ("usr/up", link("../../../usr")), ("usr/up/c", {}, b"z"), ("lib/sub/d", {}, b"w"),
        ("two", link("abs")),
        ("two/e", hard("lib/a"))),
    "no layers' content": lambda: [
        images.Layer(b""), images.Layer(END), images.Layer(bytes(10240)), BELOW, images.Layer(bytes(512))],
    "one layer many times": lambda: [BELOW, layer(("x", {}, b"1")), BELOW, layer(("x", {}, b"2")), BELOW],
    "ends": _ends,
    "old headers": lambda: [images.Layer(
        header(b"v7", b"\0", 2, magic=b"") + padded(b"v7") + header(b"v7dir/", b"\0", magic=b"")
        + header(b"star", size=1, at345=b"in/dir", at476=b"00000000005\0", at508=b"tar\0") + padded(b"s")
        + header(b"go", size=1, magic=b"ustar  \0", at345=b"some/where") + padded(b"g") + header(b"sized", b"5") + END)],
    "global headers": lambda: [images.Layer(
        special(b"g", record(b"comment", b"0" * 40) + record(b"mtime", b"5")) + header(b"a", size=1) + padded(b"x")
        + special(b"g", record(b"path", b"never")) + header(b"b") + END)],
    "sizes": lambda: [layer(*((f"f{size}", {}, bytes(index % 251 for index in range(size)))
                              for size in (0, 1, 511, 512, 513, 1023, 1024, 32_768, 65_537, 3_000_001)))],
    "many files": lambda: [
        layer(*((f"d{number % 30}/f{number}", {"mode": 0o600}, b"%d" % number) for number in range(2000)))],
    "sparse 0.0": _sparse("--format=posix", "--sparse-version=0.0"),
    "sparse 0.1": _sparse("--format=posix", "--sparse-version=0.1"),
    "sparse 1.0": _sparse("--format=posix", "--sparse-version=1.0"),
}

# Of those what Docker 28 refuses, or leaves out; those before it (20.10, 26.1) do not, nor does dockin. Ways out of a layer
# it refuses; it leaves out attributes of links, and mode and owner of an entry called "/"; links' times begin in 1970.
LOOSE = ("attributes of links", "early times of links", "ways up", "root directory", "through links")

# What Docker does not load, and dockin writes.
BEYOND: dict[str, Callable[[], list[images.Layer]]] = {
    "sparse of GNU tar": _sparse("--format=gnu"),
    "replaced entries": _below_and(
        ("f", {}, b"one"), ("f", {}, b"two2"), ("d/x/y", {}, b"deep"), ("d", {}, b"file"), ("e", {}, b"5"),
        ("e", DIRECTORY), ("e/in", {}, b"in"), ("e/", DIRECTORY), ("h", hard("f")), ("f", {}, b"three"),
        ("./f", {}, b"four"), ("l", link("f")), ("l", link("e")), ("z", DIRECTORY), ("z", {}, b"own")),
    "whiteout after": _below_and(("etc/new", {}, b"n"), ".wh.etc", ("file", {}, b"x"), ".wh.file"),
}

# Where Docker and Podman note of a layer what they can't make its tar of again (measured), and ours has the content of the
# entry itself; and where they split what is none.
OTHER_NOTES = ("sparse 0.0", "sparse 0.1", "sparse 1.0", "spellings", "ways up", "through links", "global headers")
