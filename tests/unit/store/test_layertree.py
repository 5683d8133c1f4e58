# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Layers' directories: nothing gets out of one, whatever its tar says; and what Docker has no answer to.

Real layers, beside what Docker makes of them: tests/docker/test_dataroot.py.
"""

from __future__ import annotations

import os
import re
import stat

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockin.image import layertar
from dockin.store import deeptree, layertree
from dockin.store.layertree import InvalidEntry
from support import layers, trees
from support.fixtures import like_root  # noqa: F401
from support.layers import DIRECTORY, FIFO, device, hard, link

EPOCH = 1_700_000_000
pytestmark = pytest.mark.usefixtures("like_root")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="unavailable: devices and trusted attributes need root")


def unpack(folder, *members):
    """Unpack a tar of members into a new directory; return its size and the numbers of what was replaced."""
    folder.mkdir()
    reader = layertar.Reader([layers.tar(*members)])
    with layertree.Tree(str(folder), EPOCH) as tree:
        while member := reader.next():
            place = tree.place(member)
            tree.add(member, place, reader.content())
        return tree.finish(), tree.lost


def contents(folder):
    """Return what is in a directory: contents of files, targets of links, modes of all else, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = path.read_text()
        else:
            found[name] = stat.filemode(path.lstat().st_mode)
    return found


ESCAPES = {
    "dots": [("../../victim", {}, b"bad")],
    "many dots": [("a/../../../../../../victim", {}, b"bad")],
    "absolute": [("/victim", {}, b"bad")],
    "link up": [("up", link("..")), ("up/victim", {}, b"bad")],
    "link far up": [("up", link("../../..")), ("up/victim", {}, b"bad")],
    "link to itself": [("a", DIRECTORY), ("a/up", link("../a/../..")), ("a/up/victim", {}, b"bad")],
    "directory through a link": [("up", link("..")), ("up/victim", {**DIRECTORY, "mode": 0o777})],
    "hard link up": [("x", hard("../victim"))],
    "hard link through a link": [("up", link("..")), ("x", hard("up/victim"))],
    "hard link to a link, then written": [("l", link("../victim")), ("h", hard("l")), ("h", {}, b"bad")],
    "mode through a link": [("l", link("../victim")), ("h", hard("l", mode=0o777))],
    "replaced by a link": [("d", DIRECTORY), ("d/x", {}, b"x"), ("d", link("..")), ("d/victim", {}, b"bad")],
    "whiteout of dots": [(".wh...", {})],
    "whiteout up": [("up", link("..")), ("up/.wh.victim", {})],
    "removed through a link": [("up", link("..")), ("up/folder", {}, b"bad")],
}


@pytest.fixture
def victim(tmp_path):
    """A file beside the layer's directory, and one above; neither may change."""
    (tmp_path / "in").mkdir()
    for folder in (tmp_path, tmp_path / "in"):
        (folder / "victim").write_text("good")
        (folder / "folder").mkdir()
        (folder / "folder" / "file").write_text("good")
    return tmp_path / "in"


def untouched(folder):
    return {name: (entry, entry.mtime) for name, entry in trees.walk(bytes(folder.parent)).items()
            if not name.startswith(b"in/layer") and name != b"in"}


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(victim, name):
    if "whiteout" in name and os.geteuid() != 0:
        pytest.skip("unavailable: a whiteout is a device")
    before = untouched(victim)
    try:
        unpack(victim / "layer", *ESCAPES[name])
    except (InvalidEntry, OSError):
        pass
    assert untouched(victim) == before


def test_absolute_targets(victim):
    """Links to the very place, in the host's file system."""
    before = untouched(victim)
    for number, target in enumerate([str(victim), str(victim / "victim")]):
        for second in (("l/victim", {}, b"bad"), ("h", hard("l/victim")), ("l", DIRECTORY), ("l/.wh.victim", {})):
            try:
                unpack(victim / f"layer{number}{second[0].replace('/', '')}", ("l", link(target)), second)
            except (InvalidEntry, OSError):
                pass
    assert untouched(victim) == before


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "victim", "folder", ".wh.a", ".wh..wh..opq", ".wh..."]),
                 min_size=1, max_size=4).map("/".join)
MEMBERS = st.lists(st.one_of(
    st.tuples(NAMES, st.just({}), st.just(b"bad")), st.tuples(NAMES, st.just(DIRECTORY)), st.tuples(NAMES, st.just(FIFO)),
    st.tuples(NAMES, NAMES.map(link)), st.tuples(NAMES, NAMES.map(hard)),
), max_size=6)


@needs_root
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=MEMBERS)
def test_nothing_gets_out_of_any_layer(tmp_path_factory, members):
    folder = tmp_path_factory.mktemp("x")
    (folder / "in").mkdir()
    for path in (folder, folder / "in"):
        (path / "victim").write_text("good")
        (path / "folder").mkdir()
    before = untouched(folder / "in")
    try:
        unpack(folder / "in/layer", *members)
    except (InvalidEntry, OSError, layertar.InvalidLayerTar):
        pass
    assert untouched(folder / "in") == before


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("x", hard("below"))], "a hard link to 'below', which is not in this layer"),
        ([("x", hard("d/below"))], "'d' in its path is not in this layer"),
        ([("x", hard("x"))], "a hard link to 'x', which is not in this layer"),
        ([("x", {}, b"1"), ("x", hard("x"))], "a hard link to 'x', which is not in this layer"),
        ([(".wh.below", {}), ("x", hard("below"))], "a hard link to 'below', which is not in this layer"),
        ([("x", hard(""))], "a hard link to nothing"),
        ([("lib", link("usr/lib")), ("lib/x", {}, b"1")], "'usr' in its path is not in this layer"),
        ([("f", {}, b"1"), ("f/x", {}, b"1")], "'f' in its path is no directory"),
        ([("l", link("f")), ("f", {}, b"1"), ("l/x", {}, b"1")], "'f' in its path is no directory"),
        ([("a", link("b")), ("b", link("a")), ("a/x", {}, b"1")], "too many links in its path"),
        ([("d/s", link(".")), ("d/s/s", {}, b"1"), ("d/s/x", {}, b"2")], "'d/s' in its path is no directory"),
        ([("a/" * 2100, DIRECTORY)], "more than 4095 bytes"),
        ([(".", {}, b"1")], "the root directory can't be anything else"),
        ([("/", link("x"))], "the root directory can't be anything else"),
        ([(".wh.", {})], "a whiteout of no name"),
        ([(".wh..", {})], "a whiteout of no name"),
        ([("d/.wh...", {})], "a whiteout of no name"),
        ([("x", {"pax_headers": {"SCHILY.xattr.user": "1"}})], "its attribute 'user' can't be set: "),
        ([("a/b", DIRECTORY), *((f"l{n}", link(f"/l{n - 1}/" + "b/../" * 700 if n else "/a")) for n in range(39)),
          *((f"l38/f{n}", {}, b"1") for n in range(60))], "its path, with the links in it, leads through too many"),
    ],
)
def test_refused(tmp_path, members, said):
    if "attribute" in said and os.geteuid() != 0:
        pytest.skip("unavailable: only root may set all attributes")
    with pytest.raises(InvalidEntry, match=re.escape(said)):
        unpack(tmp_path / "layer", *members)


def test_later_entries_replace_earlier_ones(tmp_path):
    size, lost = unpack(
        tmp_path / "layer", ("f", {}, b"one"), ("f", {}, b"two2"), ("d/x/y", {}, b"deep"), ("d", {}, b"file"),
        ("e", {}, b"5"), ("e/", DIRECTORY), ("e/in", {}, b"in"), ("keep", {}, b"kept"), ("keep", DIRECTORY),
        ("l", link("f")), ("l", {}, b"own"), ("h", hard("f")), ("f", {}, b"three"))
    assert contents(tmp_path / "layer") == {
        "d": "file", "e": "drwxr-xr-x", "e/in": "in", "f": "three", "h": "two2", "keep": "drwxr-xr-x", "l": "own"}
    assert size == sum(map(len, ("file", "in", "three", "two2", "own")))
    assert lost == {0, 1, 2, 4, 7}


class Counted(dict):
    """A dict that counts what is read of it but by a key."""

    read = 0

    def __iter__(self):
        self.read += len(self)
        return super().__iter__()

    def items(self):
        self.read += len(self)
        return super().items()


def test_what_a_layer_replaces_is_not_looked_for_in_all_of_it(tmp_path):
    """Each of many directories becomes a file: the work grows with what is removed, not with its square."""
    many = 300
    names = [f"d{number}" for number in range(many)]
    members = [*((f"{name}/in", {}, b"x") for name in names), *((name, {}, b"file") for name in names)]
    tmp_path.joinpath("layer").mkdir()
    reader = layertar.Reader([layers.tar(*members)])
    with layertree.Tree(str(tmp_path / "layer"), EPOCH) as tree:
        tree._directories, tree._files = Counted(tree._directories), Counted(tree._files)
        while member := reader.next():
            tree.add(member, tree.place(member), reader.content())
        tree.finish()
        assert tree.lost == set(range(many))
        assert tree._directories.read + tree._files.read <= 2 * many
    assert contents(tmp_path / "layer") == dict.fromkeys(names, "file")


@needs_root
@pytest.mark.parametrize("name", [
    f"{prefix}.overlay.{what}" for prefix in ("trusted", "user") for what in ("opaque", "redirect", "metacopy", "origin")])
@pytest.mark.parametrize("value", ["", "y", "/etc"])
def test_an_image_does_not_steer_overlayfs(tmp_path, name, value):
    values = {name: value, "trusted.kept": "1", "user.kept": "2"}
    steering = {"pax_headers": {f"SCHILY.xattr.{key}": one for key, one in values.items()}}
    unpack(tmp_path / "layer", ("dir", {**DIRECTORY, **steering}), ("file", steering, b"x"),
           ("hard", hard("file", **steering)))
    for path in ("dir", "file", "hard"):
        assert sorted(os.listxattr(tmp_path / "layer" / path)) == ["trusted.kept", "user.kept"]


def test_directories_with_links_to_directories_are_removed(tmp_path):
    unpack(tmp_path / "layer", ("d/in", DIRECTORY), ("d/l", link("in")), ("d/in/l", link("/")), ("d", {}, b"file"))
    assert contents(tmp_path / "layer") == {"d": "file"}


@needs_root
@pytest.mark.parametrize(
    ("members", "opaque"),
    [
        (["a/.wh..wh..opq"], True),
        ([".wh.a", ("a", DIRECTORY)], True),
        ([("a", DIRECTORY), ".wh.a"], True),
        ([".wh.a", "a/file"], True),
        ([".wh.a", ("a", {}, b"x"), ("a", DIRECTORY)], True),
        ([("a", {}, b"x"), ("a", DIRECTORY)], True),
        ([("a", DIRECTORY), ("a", DIRECTORY)], False),
        (["a/.wh.b"], False),
    ],
)
def test_a_directory_in_place_of_what_is_hidden(tmp_path, members, opaque):
    unpack(tmp_path / "layer", *members)
    assert os.listxattr(tmp_path / "layer/a") == (["trusted.overlay.opaque"] if opaque else [])


@needs_root
@pytest.mark.parametrize(
    "members", [[".wh.a", ("a", {}, b"x")], [("a", {}, b"x"), ".wh.a"], [".wh.a", ".wh.a", ("a", {}, b"x")]], ids=repr
)
def test_a_whiteout_hides_nothing_of_its_own_layer(tmp_path, members):
    unpack(tmp_path / "layer", *members)
    assert contents(tmp_path / "layer") == {"a": "x"}


@needs_root
def test_devices(tmp_path):
    unpack(tmp_path / "layer", ("null", device("c", 1, 3, mode=0o666)), (".wh.gone", {"mode": 0o644}))
    null, gone = (tmp_path / "layer/null").lstat(), (tmp_path / "layer/gone").lstat()
    assert (null.st_mode, null.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert (gone.st_mode, gone.st_rdev) == (stat.S_IFCHR, 0)


def test_times(tmp_path):
    unpack(tmp_path / "layer", ("d", {**DIRECTORY, "mtime": 5}), ("d/f", {"mtime": 7}, b"x"), ("i/f", {"mtime": 9}, b"x"),
           ("d/l", link("f", mtime=11)))
    times = {name.decode(): entry.mtime // 10**9 for name, entry in trees.walk(bytes(tmp_path / "layer")).items()}
    assert times == {"": EPOCH, "d": 5, "d/f": 7, "d/l": 11, "i": EPOCH, "i/f": 9}


def test_no_file_was_read_before_it_was_written(tmp_path):
    """As with Docker, an atime before the mtime is the mtime."""
    unpack(tmp_path / "layer", ("late", layers.pax(mtime="100.5", atime="200.25"), b"x"),
           ("early", layers.pax(mtime="100.5", atime="50"), b"x"),
           ("link", link("late", **layers.pax(mtime="7", atime="3"))))
    found = {name: (tmp_path / "layer" / name).lstat() for name in ("late", "early", "link")}
    assert {name: (one.st_atime, one.st_mtime) for name, one in found.items()} == {
        "late": (200.25, 100.5), "early": (100.5, 100.5), "link": (7, 7)}


def test_holes_take_no_space(tmp_path):
    """A tar of a kilobyte must not fill the disk."""
    (tmp_path / "layer").mkdir()
    tar = layers.special(b"x", b"".join(layers.record(key, value) for key, value in (
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % (1 << 38)))))
    text = b"1\n1000000\n3\n"
    tar += layers.header(b"huge", size=515) + text + bytes(512 - len(text)) + layers.padded(b"end") + layers.END
    reader = layertar.Reader([tar])
    with layertree.Tree(str(tmp_path / "layer"), EPOCH) as tree:
        member = reader.next()
        tree.add(member, tree.place(member), reader.content())
        assert tree.finish() == 1 << 38
    path = tmp_path / "layer/huge"
    assert path.stat().st_blocks < 100
    with open(path, "rb") as file:
        file.seek(999_999)
        assert file.read(5) == b"\0end\0"


DEEP = "a/" * 2000


def test_as_deep_as_a_path_can_be(tmp_path):
    members = (DEEP + "f", {}, b"deep"), ("b/" + DEEP[2:] + "f", {}, b"lost"), ("b", {}, b"file")
    assert unpack(tmp_path / "layer", *members) == (4 + 4, {1})
    assert (tmp_path / "layer/b").read_text() == "file"
    deeptree.remove(os.open(tmp_path, os.O_RDONLY), b"layer")
    assert not list(tmp_path.iterdir())


def test_a_path_that_is_too_long_without_the_links_in_it(tmp_path):
    with pytest.raises(InvalidEntry, match="its path has more than 4095 bytes without the links in it"):
        unpack(tmp_path / "layer", (DEEP, DIRECTORY), ("to", link(DEEP)), ("to/" + DEEP, DIRECTORY))
    deeptree.remove(os.open(tmp_path, os.O_RDONLY), b"layer")
