# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""bbolt database files: key-value stores with buckets in buckets, in which containerd keeps its metadata.

    root = bolt.Bucket()
    root.bucket(b"v1", b"images")[b"name"] = b"value"
    data = bolt.render(root, "little")          # the same tree gives the same bytes
    root = bolt.parse(data, "little")

A file consists of pages. The pages 0 and 1 are headers that name the root bucket's page. Each bucket is a B+ tree: leaf
pages have keys and values, branch pages have the first key and the number of each page below. bbolt maps the file into
memory, so that all numbers have the byte order of the target's processor.
Format: https://github.com/etcd-io/bbolt (internal/common/page.go, meta.go, inode.go, bucket.go)
"""

from __future__ import annotations

import struct
import typing

from dockin.errors import DockinError

PAGE_SIZE = 4096

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF, _META, _FREELIST = 1, 2, 4, 16
# Flag of a key whose value is a bucket.
_BUCKET = 1
_NO_FREELIST = 0xFFFFFFFFFFFFFFFF
# The count of a list of free pages whose first number is the true count.
_MANY = 0xFFFF
# Of each page but a root.
_MIN_KEYS = 2
_MAX_KEY = 32768
# Of buckets and pages below each other, so that a damaged file can't exhaust the stack.
_MAX_DEPTH = 64
# bbolt takes other page sizes from the file, powers of two.
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))

# Page header: number, flags, count of elements, further pages that belong to it.
_PAGE = "QHHI"
# Elements are followed by their keys and values; a position counts from the start of its element.
_LEAF_ELEMENT = "IIII"  # flags, position, length of the key, length of the value
_BRANCH_ELEMENT = "IIQ"  # position, length of the key, page
_ELEMENT_SIZE = 16
_META_PAGE = "IIIIQQQQQ"  # magic, version, page size, flags, root page, its sequence, list of free pages, pages, transaction
_BUCKET_HEADER = "QQ"  # root page, or 0 where a page follows; sequence

# Of pages and of buckets.
_HEADER_SIZE = 16
_META_SIZE = struct.calcsize("<" + _META_PAGE)

_Leaf = tuple[bytes, bytes, int]
"""Key, value and flags."""
_Branch = tuple[bytes, int]
"""First key of a page, and its number."""
_Element = typing.TypeVar("_Element", _Leaf, _Branch)


class InvalidDatabase(DockinError):
    """A file is no sound bbolt database, or a tree can't be one."""


class Bucket(dict[bytes, "bytes | Bucket"]):
    """Values and buckets by key."""

    sequence = 0
    """A counter that programs keep with a bucket."""

    def bucket(self, *keys: bytes) -> Bucket:
        """Return the bucket at a path of keys; those that are missing are made. Raises InvalidDatabase at a value."""
        found = self
        for key in keys:
            below = found.setdefault(key, Bucket())
            if not isinstance(below, Bucket):
                raise InvalidDatabase(f"{key!r} is a value where a bucket is expected")
            found = below
        return found

    def __eq__(self, other: object) -> bool:
        """Compare contents and sequences."""
        return isinstance(other, Bucket) and dict.__eq__(self, other) and self.sequence == other.sequence

    __hash__ = None


def render(root: Bucket, byteorder: str) -> bytes:
    """Return the file of a tree. byteorder, of the target, is little or big. Raises InvalidDatabase for an invalid key."""
    return _Writer(byteorder).render(root)


def parse(data: bytes, byteorder: str) -> Bucket:
    """Return the tree in a file, whoever wrote it. Raises InvalidDatabase for a file with any fault."""
    try:
        return _Reader(data, byteorder).read()
    except struct.error as error:
        raise InvalidDatabase(f"a structure is cut off: {error}") from error


def _order(byteorder: str) -> str:
    return {"little": "<", "big": ">"}[byteorder]


class _Writer:
    """Writes pages in the order of their numbers: what is in a bucket first, then its leaves, then its branches."""

    def __init__(self, byteorder: str) -> None:
        self._order = _order(byteorder)
        self._pages: list[bytes] = []
        # Behind two headers and a list of free pages, which is empty.
        self._next = 3

    def render(self, root: Bucket) -> bytes:
        """Return the file."""
        top = self._tree(self._elements(root))
        heads = [self._meta(transaction, top, root.sequence) for transaction in (0, 1)]
        return b"".join([*heads, self._page(2, _FREELIST, 0, b""), *self._pages])

    def _pack(self, layout: str, *values: int) -> bytes:
        return struct.pack(self._order + layout, *values)

    def _page(self, number: int, flags: int, count: int, body: bytes) -> bytes:
        size = _HEADER_SIZE + len(body)
        pages = -(-size // PAGE_SIZE)
        return self._pack(_PAGE, number, flags, count, pages - 1) + body + bytes(pages * PAGE_SIZE - size)

    def _meta(self, transaction: int, top: int, sequence: int) -> bytes:
        meta = self._pack(_META_PAGE, _MAGIC, _VERSION, PAGE_SIZE, 0, top, sequence, 2, self._next, transaction)
        return self._page(transaction, _META, 0, meta + self._pack("Q", _fnv1a(meta)))

    def _elements(self, bucket: Bucket) -> list[_Leaf]:
        """Return the elements of a bucket; the pages of the buckets in it are written."""
        for key in bucket:
            if not 0 < len(key) <= _MAX_KEY:
                raise InvalidDatabase(f"a key has {len(key)} bytes: 1 to {_MAX_KEY} are possible")
        return [(key, self._bucket(value), _BUCKET) if isinstance(value, Bucket) else (key, value, 0)
                for key, value in sorted(bucket.items())]

    def _bucket(self, bucket: Bucket) -> bytes:
        """Return the value of a bucket: its header, and where it is small and has no bucket in it, its only page."""
        elements = self._elements(bucket)
        if any(flags for _, _, flags in elements) or _HEADER_SIZE + sum(map(_size, elements)) > PAGE_SIZE // 4:
            return self._pack(_BUCKET_HEADER, self._tree(elements), bucket.sequence)
        page = self._pack(_PAGE, 0, _LEAF, len(elements), 0) + self._leaf(elements)
        return self._pack(_BUCKET_HEADER, 0, bucket.sequence) + page

    def _tree(self, elements: list[_Leaf]) -> int:
        """Write the pages of a bucket, and return the number of its root page."""
        level = [(node[0][0] if node else b"", self._add(_LEAF, len(node), self._leaf(node))) for node in _split(elements)]
        while len(level) > 1:
            level = [(node[0][0], self._add(_BRANCH, len(node), self._branch(node))) for node in _split(level)]
        return level[0][1]

    def _add(self, flags: int, count: int, body: bytes) -> int:
        number = self._next
        page = self._page(number, flags, count, body)
        self._pages.append(page)
        self._next += len(page) // PAGE_SIZE
        return number

    def _leaf(self, elements: list[_Leaf]) -> bytes:
        heads, contents, position = [], [], len(elements) * _ELEMENT_SIZE
        for key, value, flags in elements:
            heads.append(self._pack(_LEAF_ELEMENT, flags, position, len(key), len(value)))
            contents.append(key + value)
            position += len(contents[-1]) - _ELEMENT_SIZE
        return b"".join(heads + contents)

    def _branch(self, elements: list[_Branch]) -> bytes:
        heads, keys, position = [], [], len(elements) * _ELEMENT_SIZE
        for key, page in elements:
            heads.append(self._pack(_BRANCH_ELEMENT, position, len(key), page))
            keys.append(key)
            position += len(key) - _ELEMENT_SIZE
        return b"".join(heads + keys)


def _size(element: tuple[typing.Any, ...]) -> int:
    """Return the bytes that an element takes in its page."""
    return _ELEMENT_SIZE + sum(len(part) for part in element if isinstance(part, bytes))


def _split(elements: list[_Element]) -> list[list[_Element]]:
    """Return the elements of each page: as many as fit into one, and two at least. Longer ones make the page longer."""
    nodes: list[list[_Element]] = []
    start = 0
    while start < len(elements) or not nodes:
        end, free = start, PAGE_SIZE - _HEADER_SIZE
        while end < len(elements):
            free -= _size(elements[end])
            if free < 0 and end - start >= _MIN_KEYS and len(elements) - end >= _MIN_KEYS:
                break
            end += 1
        nodes.append(elements[start:end])
        start = end
    return nodes


class _Reader:
    """Reads a file, each page once."""

    def __init__(self, data: bytes, byteorder: str) -> None:
        self._data = data
        self._order = _order(byteorder)
        self._seen: set[int] = set()
        """Pages that were read, those that belong to others included."""

    def read(self) -> Bucket:
        """Return the tree."""
        self._size, top, sequence, freelist, self._end = self._head()
        free = self._free(freelist) if freelist != _NO_FREELIST else None
        root = self._bucket(top, sequence, 0)
        if free is not None and (free & self._seen or len(free | self._seen) != self._end - 2):
            raise InvalidDatabase("the list of free pages is wrong")
        return root

    def _unpack(self, layout: str, data: bytes, position: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, data, position)

    def _head(self) -> tuple[int, int, int, int, int]:
        """Return page size, root page, its sequence, list of free pages, and number of pages: of the last transaction."""
        found = []
        for position in (0, *_PAGE_SIZES):
            if len(self._data) < position + _HEADER_SIZE + _META_SIZE + 8:
                break
            meta = self._data[position + _HEADER_SIZE :][:_META_SIZE]
            magic, version, size, _, top, sequence, freelist, end, transaction = self._unpack(_META_PAGE, meta)
            [checksum] = self._unpack("Q", self._data, position + _HEADER_SIZE + _META_SIZE)
            if (magic, version, checksum) == (_MAGIC, _VERSION, _fnv1a(meta)) and position in (0, size):
                found.append((transaction, (size, top, sequence, freelist, end)))
        if not found:
            raise InvalidDatabase("it has no valid header for this byte order")
        _, head = max(found)
        if head[0] not in _PAGE_SIZES or len(self._data) < head[0] * head[-1]:
            raise InvalidDatabase("it is cut off")
        return head

    def _page(self, number: int, flags: int) -> tuple[int, int, bytes]:
        """Return the flags, the number of elements, and the content with its header, of a page of some kind."""
        if not 2 <= number < self._end:
            raise InvalidDatabase(f"there is no page {number}")
        start = number * self._size
        found, kind, count, more = self._unpack(_PAGE, self._data, start)
        pages = range(number, number + more + 1)
        if found != number or not kind & flags or pages.stop > self._end or not self._seen.isdisjoint(pages):
            raise InvalidDatabase(f"page {number} is damaged")
        self._seen.update(pages)
        return kind, count, self._data[start : start + len(pages) * self._size]

    def _free(self, number: int) -> set[int]:
        """Return the free pages."""
        _, count, page = self._page(number, _FREELIST)
        position = _HEADER_SIZE
        if count == _MANY:
            [count] = self._unpack("Q", page, position)
            position += 8
        if count > len(page):
            raise InvalidDatabase("the list of free pages is damaged")
        return set(self._unpack(f"{count}Q", page, position))

    def _bucket(self, top: int, sequence: int, depth: int) -> Bucket:
        found = Bucket()
        found.sequence = sequence
        depths: set[int] = set()
        self._tree(found, top, depth, b"", None, depths)
        if len(depths) > 1:
            raise InvalidDatabase(f"the leaves below page {top} are not equally deep")
        return found

    def _tree(self, bucket: Bucket, number: int, depth: int, least: bytes, end: bytes | None, depths: set[int]) -> None:
        """Add to a bucket what is in a page and below it: keys from least on, and before end."""
        if depth > _MAX_DEPTH:
            raise InvalidDatabase(f"there are more than {_MAX_DEPTH} buckets and pages below each other")
        kind, count, page = self._page(number, _LEAF | _BRANCH)
        if kind == _LEAF:
            depths.add(depth)
            self._leaf(bucket, page, count, least, end, depth)
            return
        below = []
        for place in range(_HEADER_SIZE, _HEADER_SIZE + count * _ELEMENT_SIZE, _ELEMENT_SIZE):
            position, length, child = self._unpack(_BRANCH_ELEMENT, page, place)
            below.append((self._cut(page, place + position, length), child))
        keys = [key for key, _ in below]
        self._check_order(keys, least, end)
        for (key, child), after in zip(below, [*keys[1:], end]):
            self._tree(bucket, child, depth + 1, key, after, depths)

    def _leaf(self, bucket: Bucket, page: bytes, count: int, least: bytes, end: bytes | None, depth: int) -> None:
        """Add to a bucket what is in a leaf page."""
        found: dict[bytes, bytes | Bucket] = {}
        keys = []
        for place in range(_HEADER_SIZE, _HEADER_SIZE + count * _ELEMENT_SIZE, _ELEMENT_SIZE):
            flags, position, key_length, length = self._unpack(_LEAF_ELEMENT, page, place)
            key = self._cut(page, place + position, key_length)
            value = self._cut(page, place + position + key_length, length)
            if flags not in (0, _BUCKET):
                raise InvalidDatabase(f"key {key!r} has flags {flags}")
            keys.append(key)
            found[key] = self._nested(value, depth) if flags else value
        self._check_order(keys, least, end)
        bucket.update(found)

    def _nested(self, value: bytes, depth: int) -> Bucket:
        """Return the bucket in a value."""
        top, sequence = self._unpack(_BUCKET_HEADER, value)
        if top:
            return self._bucket(top, sequence, depth + 1)
        page = value[_HEADER_SIZE:]
        number, kind, count, more = self._unpack(_PAGE, page)
        if (number, kind, more) != (0, _LEAF, 0):
            raise InvalidDatabase("a bucket in its value is damaged")
        found = Bucket()
        found.sequence = sequence
        self._leaf(found, page, count, b"", None, depth)
        if any(isinstance(below, Bucket) for below in found.values()):
            raise InvalidDatabase("a bucket in its value has buckets")
        return found

    @staticmethod
    def _cut(page: bytes, start: int, length: int) -> bytes:
        if start + length > len(page):
            raise InvalidDatabase("an element reaches beyond its page")
        return page[start : start + length]

    @staticmethod
    def _check_order(keys: list[bytes], least: bytes, end: bytes | None) -> None:
        if any(not key for key in keys) or any(one >= other for one, other in zip(keys, keys[1:])):
            raise InvalidDatabase("keys are empty or not sorted")
        if keys and (keys[0] < least or end is not None and keys[-1] >= end):
            raise InvalidDatabase("keys are in the wrong page")


def _fnv1a(data: bytes) -> int:
    """Return the FNV-1a hash of 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found
