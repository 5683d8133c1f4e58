# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A reader of layer tars that follows Docker's rules, works in one pass, and accounts for every byte.

Python's tarfile reads the same formats by other rules (it applies global headers, keeps damaged entries, skips unknown
ones), and does not return the raw bytes that Docker needs to rebuild the same tar. The rules here are those of Go's
archive/tar, which Docker uses: V7, ustar, PAX, GNU and star headers; long names of GNU and PAX; sparse files of GNU
(type S) and PAX (0.0, 0.1 and 1.0); numbers in octal and base 256. Format:
https://www.gnu.org/software/tar/manual/html_node/Standard.html and
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
"""Types of members; a layer can have no others."""

_OLD_REGULAR, _GNU_SPARSE = b"\0", b"S"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_SPECIAL = (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
_TYPES = (REGULAR, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO)
_WITHOUT_CONTENT = (LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO)

_SIZE = 512
# Longest PAX header, and longest map of a sparse file, in bytes: Go's limit.
_MAX_SPECIAL = 1 << 20
_MAX_INT = 1 << 63
_XATTR = b"SCHILY.xattr."
_OCTAL = re.compile(rb"[0-7]+")
_DECIMAL = re.compile(rb"[+-]?[0-9]+")
_TIME = re.compile(rb"([+-]?[0-9]+)(?:\.([0-9]*))?")


class InvalidLayerTar(DockinError):
    """A layer's tar is damaged, or has an entry that no layer may have; the message says where."""


@dataclass
class Member:
    """An entry of a layer's tar."""

    number: int
    """Its position in the tar, from 0."""
    name: bytes
    """The name in the tar: any bytes, perhaps absolute or with '..'."""
    type: bytes
    mode: int = 0
    """Permissions with setuid, setgid and sticky bit."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of a regular file, with its holes."""
    mtime: int = 0
    """Nanoseconds since 1970, as the atime."""
    atime: int | None = None
    target: bytes = b""
    """Of a hard or symbolic link."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number."""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    extents: tuple[tuple[int, int], ...] | None = None
    """Offset and length of the data in a sparse file; None for any other file."""
    stored: int = 0
    """Bytes of content in the tar."""


class Reader:
    """Reads the members of a layer's tar: next(), then content() of a regular file to its end, then next() again.

    raw() returns the bytes since its last call that are no content: headers, padding, and the end of the tar.
    """

    def __init__(self, chunks: typing.Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._start = 0
        self._offset = 0
        self._raw = bytearray()
        self._left = 0
        self._padding = 0
        self._number = 0

    def raw(self) -> bytes:
        """Return the bytes without content that were read since the last call."""
        data, self._raw = bytes(self._raw), bytearray()
        return data

    def content(self) -> typing.Iterator[bytes]:
        """Yield the last member's content as stored in the tar: of a sparse file without the holes."""
        while self._left:
            data = self._take(self._left)
            if not data:
                raise self._damaged("it ends within a file")
            self._left -= len(data)
            yield data

    def rest(self) -> typing.Iterator[bytes]:
        """Yield the bytes after the last member."""
        while True:
            data = self._take(1 << 20)
            if not data:
                return
            yield data

    def next(self) -> Member | None:
        """Return the next member, None at the end. Raises InvalidLayerTar and what the chunks raise."""
        for _ in self.content():
            pass
        self._raw += self._read(self._padding, "it ends within a file")
        self._padding = 0
        records: dict[bytes, bytes] = {}
        names: dict[bytes, bytes] = {}
        while True:
            block = self._header()
            if block is None:
                return None
            kind = block[156:157]
            if kind not in _SPECIAL:
                break
            data = self._special(block)
            if kind == _PAX:
                records = self._records(data)
            elif kind == _PAX_GLOBAL:
                # Docker ignores a global header's records, and also those of a header before it.
                records, names = {}, {}
            else:
                names[kind] = data.partition(b"\0")[0]
        return self._member(block, records, names)

    def _member(self, block: bytes, records: dict[bytes, bytes], names: dict[bytes, bytes]) -> Member:
        name, times = self._name_and_times(block)
        kind = block[156:157]
        member = Member(
            self._number,
            name,
            kind,
            mode=self._number_in(block, 100, 8) & 0o7777,
            uid=self._number_in(block, 108, 8),
            gid=self._number_in(block, 116, 8),
            size=self._number_in(block, 124, 12),
            mtime=self._number_in(block, 136, 12) * 10**9,
            atime=times,
            target=_text(block[157:257]),
        )
        self._number += 1
        if _is_posix(block):
            member.device = (self._number_in(block, 329, 8), self._number_in(block, 337, 8))
        self._apply(records, member)
        member.name = names.get(_LONG_NAME) or member.name
        member.target = names.get(_LONG_LINK) or member.target
        if kind == _OLD_REGULAR:
            member.type = DIRECTORY if member.name.endswith(b"/") else REGULAR
        elif kind == _GNU_SPARSE:
            member.type = REGULAR
        if member.type not in _TYPES:
            raise InvalidLayerTar(f"{printable(member.name)}: an entry of type {kind!r} can't be in a layer")
        if member.type in _WITHOUT_CONTENT:
            member.size = 0
        if member.size < 0 or not (0 <= member.uid < 0xFFFFFFFF and 0 <= member.gid < 0xFFFFFFFF):
            raise InvalidLayerTar(
                f"{printable(member.name)}: invalid size {member.size} or owner {member.uid}:{member.gid}"
            )
        self._left = member.size
        self._padding = -member.size % _SIZE
        self._read_extents(block, records, member)
        member.stored = self._left
        return member

    def _name_and_times(self, block: bytes) -> tuple[bytes, int | None]:
        """Return a header's name with its prefix, and the atime of a GNU or star header."""
        name = _text(block[:100])
        prefix, atime = b"", None
        if _is_star(block):
            prefix, atime = _text(block[345:476]), self._number_in(block, 476, 12)
        elif _is_gnu(block):
            try:
                atime = self._number_in(block, 345, 12) if block[345] else None
                if block[357]:
                    self._number_in(block, 357, 12)  # the ctime
            except InvalidLayerTar:
                # Go before 1.8 wrote a prefix into this field.
                atime, prefix = None, _text(block[345:500])
                prefix = prefix if prefix.isascii() else b""
        elif _is_posix(block):
            prefix = _text(block[345:500])
        return (prefix + b"/" + name if prefix else name), None if atime is None else atime * 10**9

    def _apply(self, records: dict[bytes, bytes], member: Member) -> None:
        """Let the records of a PAX header replace the fields of the header that follows."""
        for key, value in records.items():
            if key.startswith(_XATTR):
                member.xattrs[key[len(_XATTR) :]] = value
            elif not value:
                continue
            elif key == b"path":
                member.name = value
            elif key == b"linkpath":
                member.target = value
            elif key == b"uid":
                member.uid = self._decimal(value)
            elif key == b"gid":
                member.gid = self._decimal(value)
            elif key == b"size":
                member.size = self._decimal(value)
            elif key == b"mtime":
                member.mtime = self._time(value)
            elif key == b"atime":
                member.atime = self._time(value)

    def _read_extents(self, block: bytes, records: dict[bytes, bytes], member: Member) -> None:
        """Set size and extents of a sparse file, whose map may be at the start of its content."""
        if block[156:157] == _GNU_SPARSE:
            if not _is_gnu(block):
                raise self._damaged("a sparse file has no GNU header")
            numbers = self._gnu_map(block)
            member.size = self._number_in(block, 483, 12)
        else:
            version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
            if version not in ((b"", b""), (b"0", b"0"), (b"0", b"1"), (b"1", b"0")):
                return
            if version == (b"", b"") and not records.get(b"GNU.sparse.map"):
                return
            member.name = records.get(b"GNU.sparse.name") or member.name
            size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize")
            member.size = self._decimal(size) if size else member.size
            if version == (b"1", b"0"):
                numbers = self._map_in_content()
            else:
                count = self._decimal(records.get(b"GNU.sparse.numblocks", b""))
                text = records.get(b"GNU.sparse.map", b"")
                numbers = [self._decimal(number) for number in text.split(b",")] if text else []
                if len(numbers) != 2 * count:
                    raise self._damaged("the map of a sparse file has another length than it says")
        member.extents = tuple(zip(numbers[::2], numbers[1::2]))
        self._check_extents(member)

    def _check_extents(self, member: Member) -> None:
        end, stored = 0, 0
        for offset, length in member.extents or ():
            if length < 0 or offset < end or offset + length > member.size:
                raise self._damaged("the map of a sparse file overlaps, or leads beyond its size")
            end, stored = offset + length, stored + length
        if member.type != REGULAR or member.size >= _MAX_INT or stored != self._left:
            raise self._damaged("the map of a sparse file does not fit its content")

    def _gnu_map(self, block: bytes) -> list[int]:
        """Return offsets and lengths, which continue in separate blocks."""
        numbers: list[int] = []
        entries, extended = block[386:482], block[482]
        while True:
            for start in range(0, len(entries), 24):
                if not entries[start]:
                    break
                numbers += self._number_in(entries, start, 12), self._number_in(entries, start + 12, 12)
            if not extended:
                return numbers
            if len(numbers) * 12 > _MAX_SPECIAL:
                raise self._damaged("the map of a sparse file is too long")
            more = self._read(_SIZE, "it ends within a sparse file")
            self._raw += more
            entries, extended = more[:504], more[504]

    def _map_in_content(self) -> list[int]:
        """Return offsets and lengths from lines of text before the content, padded to a block."""
        text = self._lines(b"", 1)
        count = self._decimal(text.partition(b"\n")[0])
        if not 0 <= count <= _MAX_SPECIAL:
            raise self._damaged("the map of a sparse file is too long")
        lines = self._lines(text, 1 + 2 * count).split(b"\n")
        return [self._decimal(line) for line in lines[1 : 1 + 2 * count]]

    def _lines(self, text: bytes, count: int) -> bytes:
        """Return the first blocks of the content with so many lines; text has been read already."""
        blocks, found = [text], text.count(b"\n")
        while found < count:
            if self._left < _SIZE or len(blocks) * _SIZE > _MAX_SPECIAL:
                raise self._damaged("the map of a sparse file does not end, or is too long")
            block = self._read(_SIZE, "it ends within a sparse file")
            self._raw += block
            self._left -= _SIZE
            blocks.append(block)
            found += block.count(b"\n")
        return b"".join(blocks)

    def _special(self, block: bytes) -> bytes:
        """Return the content of a header that describes the next one."""
        size = self._number_in(block, 124, 12)
        if not 0 <= size <= _MAX_SPECIAL:
            raise self._damaged(f"an extended header has {size} bytes, at most {_MAX_SPECIAL} are accepted")
        data = self._read(size, "it ends within an extended header")
        self._raw += data + self._read(-size % _SIZE, "it ends within an extended header")
        return data

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        """Return the records of a PAX header, with the extents of a version 0.0 sparse file in the form of 0.1."""
        records: dict[bytes, bytes] = {}
        extents: list[bytes] = []
        start = 0
        while start < len(data):
            space = data.find(b" ", start)
            end = start + self._decimal(data[start:space]) if space >= 0 else start
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if not start + 5 <= end <= len(data) or data[end - 1 : end] != b"\n" or not equals or not key:
                raise self._damaged("an extended header has no records of the form 'length key=value'")
            if b"\0" in (value if key in (b"path", b"linkpath", b"uname", b"gname") else key):
                raise self._damaged("an extended header has a NUL in a name")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                if (key == b"GNU.sparse.numbytes") != len(extents) % 2 or b"," in value:
                    raise self._damaged("the map of a sparse file is in no order")
                extents.append(value)
            else:
                records[key] = value
            start = end
        if extents:
            records[b"GNU.sparse.map"] = b",".join(extents)
        return records

    def _header(self) -> bytes | None:
        """Return the next header; None at the end: two blocks of zeros, one at the end of the file, or nothing."""
        block = self._block()
        if not block:
            return None
        if not any(block):
            block = self._block()
            if any(block):
                raise self._damaged("a block of zeros is followed by something else")
            return None
        if not _has_right_sum(block):
            raise self._damaged("a header has a wrong checksum")
        return block

    def _block(self) -> bytes:
        """Return a block; empty at the end of the file."""
        block = self._read(_SIZE, "it ends within a header", or_nothing=True)
        self._raw += block
        return block

    def _read(self, size: int, cut: str, or_nothing: bool = False) -> bytes:
        """Return so many bytes. Raises InvalidLayerTar with the reason cut if there are fewer."""
        pieces = []
        missing = size
        while missing:
            piece = self._take(missing)
            if not piece:
                if or_nothing and missing == size:
                    return b""
                raise self._damaged(cut)
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _take(self, limit: int) -> bytes:
        """Return up to limit bytes, as many as available; empty at the end of the file."""
        while self._start == len(self._buffer):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._buffer, self._start = chunk, 0
        data = self._buffer[self._start : self._start + limit]
        self._start += len(data)
        self._offset += len(data)
        return data

    def _number_in(self, block: bytes, start: int, length: int) -> int:
        """Return the number in a field: octal digits, or big-endian two's complement if its highest bit is set."""
        data = block[start : start + length]
        if data[0] & 0x80:
            value = int.from_bytes(bytes([data[0] & 0x7F]) + data[1:], "big")
            if data[0] & 0x40:
                value -= 1 << (8 * length - 1)
            if not -_MAX_INT <= value < _MAX_INT:
                raise self._damaged("a number in a header is too large")
            return value
        text = data.strip(b" \0").partition(b"\0")[0]
        if not text:
            return 0
        if not _OCTAL.fullmatch(text):
            raise self._damaged(f"a header has {text!r} where a number belongs")
        return int(text, 8)

    def _decimal(self, text: bytes) -> int:
        if not _DECIMAL.fullmatch(text) or len(text) > 20 or not -_MAX_INT <= int(text) < _MAX_INT:
            raise self._damaged(f"an extended header has {text[:40]!r} where a number belongs")
        return int(text)

    def _time(self, text: bytes) -> int:
        """Return the nanoseconds of a decimal number of seconds; further digits are cut off."""
        match = _TIME.fullmatch(text)
        if not match:
            raise self._damaged(f"an extended header has {text[:40]!r} where a time belongs")
        fraction = int(((match[2] or b"") + b"0" * 9)[:9])
        return self._decimal(match[1]) * 10**9 + (-fraction if text.startswith(b"-") else fraction)

    def _damaged(self, reason: str) -> InvalidLayerTar:
        return InvalidLayerTar(f"its tar is damaged at byte {self._offset}: {reason}")


def printable(name: bytes) -> str:
    """Return a name for a message: on one line, quoted, with foreign bytes escaped, not too long."""
    text = repr(name)[1:] if len(name) <= 200 else repr(name[:200])[1:-1] + "…'"
    try:
        readable = name.decode()
    except UnicodeDecodeError:
        return text
    return repr(readable) if readable.isprintable() and len(name) <= 200 else text


def _text(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def _has_right_sum(block: bytes) -> bool:
    """Tell whether a header's checksum is right, computed with signed or unsigned bytes."""
    text = block[148:156].strip(b" \0").partition(b"\0")[0]
    if not _OCTAL.fullmatch(text or b"0"):
        return False
    stated = int(text or b"0", 8)
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if stated == unsigned:
        return True
    negative = sum(byte > 127 for byte in block[:148] + block[156:])
    return stated == unsigned - 256 * negative


def _is_gnu(block: bytes) -> bool:
    return block[257:265] == b"ustar  \0"


def _is_star(block: bytes) -> bool:
    return block[257:263] == b"ustar\0" and block[508:512] == b"tar\0"


def _is_posix(block: bytes) -> bool:
    """Tell whether a header has a later format than V7: ustar, PAX, star or GNU."""
    return block[257:263] == b"ustar\0" or _is_gnu(block)
