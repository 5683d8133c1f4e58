# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""tar-split files: what Docker keeps of a layer's tar beside the files unpacked from it, to write the same tar again.

JSON, one object a line, packed with gzip: a segment has bytes of the tar as they are, a file the name and checksum of one
that lies unpacked. Reading them in order gives the tar, byte for byte: "docker save" and "docker push" rest on it.
Format: https://github.com/vbatts/tar-split/blob/main/tar/storage/entry.go
"""

from __future__ import annotations

import base64
import gzip
import json
import posixpath
import typing

_FILE, _SEGMENT = 1, 2
# Longest segment of a file's content, so that neither side needs it all in memory.
_PIECE = 1 << 16
_ONES = 0xFFFFFFFFFFFFFFFF
# Bytes that are folded at once: more is slower, as the numbers leave the processor's caches.
_FOLDED = 1 << 18


class Writer:
    """Writes a tar-split file. With the same zlib, the same calls give the same bytes."""

    def __init__(self, file: typing.BinaryIO) -> None:
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0)
        self._position = 0
        self._names: set[bytes] = set()

    def segment(self, data: bytes) -> None:
        """Add bytes of the tar."""
        for start in range(0, len(data), _PIECE):
            self._add({"type": _SEGMENT, "payload": _base64(data[start : start + _PIECE])})

    def can_add(self, name: bytes) -> bool:
        """Tell whether a file can be added: readers refuse a name, in whatever spelling, that comes twice."""
        return _normal(name) not in self._names

    def file(self, name: bytes, size: int, checksum: int) -> None:
        """Add a file of which the tar has the content at this place; checksum is its crc64()."""
        self._names.add(_normal(name))
        entry: dict[str, object] = {"type": _FILE}
        try:
            entry["name"] = name.decode()
        except UnicodeDecodeError:
            entry["name_raw"] = _base64(name)
        if size:
            entry["size"] = size
        entry["payload"] = _base64(checksum.to_bytes(8, "big")) if size else None
        self._add(entry)

    def close(self) -> None:
        """Write what is left; the file stays open."""
        self._gzip.close()

    def _add(self, entry: dict[str, object]) -> None:
        entry["position"] = self._position
        self._position += 1
        self._gzip.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def crc64(data: bytes, checksum: int = 0) -> int:
    """Return the CRC-64 of ISO 3309 (x^64 + x^4 + x^3 + x + 1, reflected) of data that follows what has a checksum."""
    view = memoryview(data)
    register = checksum ^ _ONES
    for start in range(0, len(view), _FOLDED):
        piece = view[start : start + _FOLDED]
        # The first bit is the number's lowest, and the highest power; the 64 zeros that belong to the end are implied.
        register = _folded(int.from_bytes(piece, "little") ^ register, 8 * len(piece) + 64)
    return register ^ _ONES


def _folded(number: int, bits: int) -> int:
    """Return the 64 bits that are left of a polynomial of so many bits modulo that of the CRC-64.

    Byte by byte Python would take a minute for 500 MB. But squaring modulo the polynomial keeps it as sparse: for s a power
    of two, x^64s is x^4s + x^3s + x^s + 1, which is (x^s + 1)(x^3s + 1). So the whole number is folded in about half by a
    few shifts, over and over.
    """
    while bits > 64:
        # A step by which between a third and a half of the bits goes.
        step = 1 << max(1, bits // 94).bit_length() - 1
        low = 64 * step
        high = bits - low
        first, number = number & ((1 << high) - 1), number >> high
        first ^= first << step
        first ^= first << 3 * step
        bits = max(low, high + 4 * step)
        number = (number << bits - low) ^ (first << bits - high - 4 * step)
    return number


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _normal(name: bytes) -> bytes:
    """Return a name as Go's filepath.Clean gives it."""
    clean = posixpath.normpath(name) if name else b"."
    return clean[1:] if clean.startswith(b"//") else clean
