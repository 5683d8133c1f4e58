# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""tar-split files, by which Docker rebuilds a layer's tar from its unpacked files.

A file has one JSON object a line, compressed with gzip: a segment has bytes of the tar, a file the name and checksum of an
unpacked file. In order they give the tar, byte for byte; "docker save" and "docker push" depend on it.
Format: https://github.com/vbatts/tar-split/blob/main/tar/storage/entry.go
"""

from __future__ import annotations

import base64
import gzip
import json
import posixpath
import typing

_FILE, _SEGMENT = 1, 2
# Longest segment of a file's content, which writer and reader keep in memory.
_PIECE = 1 << 16
_ONES = 0xFFFFFFFFFFFFFFFF
# Bytes that are folded at once: with more, the numbers no longer fit into the processor's caches.
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
        """Tell whether a file can be added: readers refuse a name that occurs twice, in any spelling."""
        return _normal(name) not in self._names

    def file(self, name: bytes, size: int, checksum: int) -> None:
        """Add a file whose content is at this place of the tar; checksum is its crc64()."""
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
        """Write the rest; the file stays open."""
        self._gzip.close()

    def _add(self, entry: dict[str, object]) -> None:
        entry["position"] = self._position
        self._position += 1
        self._gzip.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


class Discard:
    """Takes what a Writer takes, all of it as segments, and writes nothing."""

    def segment(self, data: bytes) -> None:
        """Pass over bytes of the tar."""

    def can_add(self, name: bytes) -> bool:
        """Tell that a file can't be added."""
        return False

    def file(self, name: bytes, size: int, checksum: int) -> None:
        """Pass over a file."""

    def close(self) -> None:
        """Do nothing."""


def crc64(data: bytes, checksum: int = 0) -> int:
    """Return the CRC-64 of ISO 3309 (x^64 + x^4 + x^3 + x + 1, reflected) of data, continued from a checksum."""
    view = memoryview(data)
    register = checksum ^ _ONES
    for start in range(0, len(view), _FOLDED):
        piece = view[start : start + _FOLDED]
        # The first bit is the number's lowest, and the highest power; the 64 zeros at the end are implied.
        register = _folded(int.from_bytes(piece, "little") ^ register, 8 * len(piece) + 64)
    return register ^ _ONES


def _folded(number: int, bits: int) -> int:
    """Return the remainder of a polynomial of so many bits modulo that of the CRC-64, in 64 bits.

    Byte by byte, Python would take a minute for 500 MB. But squaring modulo the polynomial keeps it sparse: for s a
    power of two, x^64s is x^4s + x^3s + x^s + 1, which is (x^s + 1)(x^3s + 1). So a few shifts fold the whole number to
    about half, again and again.
    """
    while bits > 64:
        # A step removes between a third and a half of the bits.
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
    """Return a name after Go's filepath.Clean."""
    clean = posixpath.normpath(name) if name else b"."
    return clean[1:] if clean.startswith(b"//") else clean
