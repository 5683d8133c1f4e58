# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Stacks of layers, as overlayfs shows what dockin wrote of them, beside a plain model of what layers mean."""

from __future__ import annotations

import shutil
import stat

from pathlib import Path

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockin.store import docker, writer
from support import images, installed, layers, overlay
from support.layers import DIRECTORY, FIFO, hard, link

IMPLIED = ("d", 0o755, 0, "")
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class Refused(Exception):
    """A layer that can't be."""


def above(path):
    """Return the directories above a path, the first one first."""
    return ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]


class Layer:
    """What the members of a layer say: files of its own, and what they hide of lower layers.

    https://github.com/opencontainers/image-spec/blob/main/layer.md: whiteouts concern lower layers alone. What comes twice
    is what it is last; what is no directory hides what was one before.
    """

    def __init__(self, members):
        self.own, self.hidden = {}, set()
        for name, attributes, content in members:
            for path in above(name):
                if self.own.setdefault(path, IMPLIED)[0] != "d":
                    raise Refused(f"{path} above {name}")
            folder, _, leaf = name.rpartition("/")
            if leaf == OPAQUE:
                self.hidden.add(folder + "/")
            elif leaf.startswith(WHITEOUT):
                self.hidden.add("/".join(filter(None, [folder, leaf[len(WHITEOUT):]])))
            else:
                self._add(name, attributes, content)

    def _add(self, name, attributes, content):
        kind = {b"0": "f", b"1": "h", b"2": "l", b"5": "d", b"6": "p"}[attributes.get("type", b"0")]
        if name in self.own and not kind == self.own[name][0] == "d":
            self.own = {path: found for path, found in self.own.items() if not (path + "/").startswith(name + "/")}
            self.hidden.add(name)
        if kind == "h":
            self.own[name] = self._target(attributes["linkname"])
        else:
            mode = 0o777 if kind == "l" else attributes.get("mode", 0o644)
            self.own[name] = kind, mode, attributes.get("uid", 0), attributes.get("linkname", "") or content.decode()

    def _target(self, path):
        if any(self.own.get(one, IMPLIED)[0] != "d" for one in above(path)) or self.own.get(path, IMPLIED)[0] == "d":
            raise Refused(f"{path} as a target")
        kind, mode, uid, content = self.own[path]
        # The entry of a link goes for the mode and owner of what it links to, too.
        changed = kind, mode if kind == "l" else 0o644, 0, content
        for other, found in self.own.items():
            if found is self.own[path] and other != path:
                self.own[other] = changed
        self.own[path] = changed
        return changed

    def over(self, lower):
        """Return what is seen of a lower layer and this; paths to (type, mode, owner, content)."""

        def hides(path):
            return path in self.hidden or path + "/" in self.hidden or self.own.get(path, IMPLIED)[0] != "d"

        def is_hidden(path):
            return path in self.hidden or any(map(hides, above(path)))

        return {**{path: found for path, found in lower.items() if not is_hidden(path)}, **self.own}


def seen(mounts, root, diff_ids):
    """Return what overlayfs shows of an image in a data-root, as Layer.over() has it."""
    chain, below = "", []
    for diff_id in diff_ids:
        chain = docker.chain_id(chain, diff_id)
        below.insert(0, Path(root, "overlay2", docker.cache_id(chain), "diff"))
    found = {}
    for path, entry in mounts.merged(below).items():
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p"}[stat.S_IFMT(entry.mode)]
        content = entry.content.decode() if kind == "l" else str(entry.size) if kind == "f" else ""
        found[path.decode()] = kind, stat.S_IMODE(entry.mode), entry.owner[0], content
    del found[""]
    return found


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
CONTENTS = st.integers(0, 9).map(lambda size: b"x" * size)
MODES = st.sampled_from([0o644, 0o600, 0o4755])
MEMBERS = st.one_of(
    st.tuples(NAMES, st.fixed_dictionaries({"mode": MODES, "uid": st.sampled_from([0, 70_000])}), CONTENTS),
    st.tuples(NAMES, st.sampled_from([DIRECTORY, {**DIRECTORY, "mode": 0o700, "uid": 5}]), st.just(b"")),
    st.tuples(NAMES, st.just({**FIFO, "mode": 0o600}), st.just(b"")),
    st.tuples(NAMES, NAMES.map(hard), st.just(b"")),
    st.tuples(NAMES, st.just(link("nowhere")), st.just(b"")),
    st.tuples(NAMES.map(lambda name: f"{name}/{OPAQUE}"), st.just({}), st.just(b"")),
    st.tuples(NAMES.map(lambda name: "/".join([*name.split("/")[:-1], WHITEOUT + name[-1]])), st.just({}), st.just(b"")),
)
STACKS = st.lists(st.lists(MEMBERS, max_size=6), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def mounts():
    with overlay.Overlay() as running:
        yield running


@pytest.fixture
def write(mounts, tmp_path):
    """Write an image of layers given by their members; return what overlayfs shows of it."""

    def written(stack):
        content = [layers.layer(*members) for members in stack]
        for folder in (tmp_path / "archives", mounts.folder / "root"):
            shutil.rmtree(folder, ignore_errors=True)
        one = installed.install(tmp_path / "archives", images.image(content), "team/app:1")
        writer.write(str(mounts.folder / "root"), [writer.read_source(str(one.info))])
        return seen(mounts, mounts.folder / "root", [layer.diff_id for layer in content])

    return written


def model(stack):
    found = {}
    for members in stack:
        found = Layer(members).over(found)
    # What is compared of a file is how much it has.
    return {path: (kind, mode, uid, str(len(content)) if kind == "f" else content)
            for path, (kind, mode, uid, content) in found.items()}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stack=STACKS)
def test_any_stack(write, stack):
    try:
        expected = model(stack)
    except Refused:
        with pytest.raises(writer.InvalidDataRoot):
            write(stack)
    else:
        assert write(stack) == expected


FILE, EMPTY = ("a/b", {}, b"x"), b""
CASES = {
    "file over directory": [[FILE], [("a", {}, b"y")], [("a/c", {}, b"z")]],
    "directory over file": [[("a", {}, b"y")], [FILE], [("a/c", {}, b"z")]],
    "opaque": [[FILE], [("a/" + OPAQUE, {}, EMPTY), ("a/c", {}, b"z")]],
    "whiteout and directory": [[FILE], [(WHITEOUT + "a", {}, EMPTY), ("a/c", {}, b"z")]],
    "directory and whiteout": [[FILE], [("a/c", {}, b"z"), (WHITEOUT + "a", {}, EMPTY)]],
    "hidden and back": [[FILE], [(WHITEOUT + "a", {}, EMPTY)], [("a/c", {}, b"z")]],
}


@pytest.mark.parametrize("name", CASES)
def test_stacks(write, name):
    assert write(CASES[name]) == model(CASES[name])
