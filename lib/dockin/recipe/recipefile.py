# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes as files: what the readers say of the images in them, and how their files are changed.

textreader reads a recipe without BitBake, parsedreader reads one that BitBake has parsed. Both say where in .bb, .inc and
.bbappend the literal of each pin and tag stands. Files are changed at these places only, as a whole or not at all.
"""

from __future__ import annotations

import collections.abc
import contextlib
import errno
import os
import re
import stat
import tempfile
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError
from dockin.image import reference
from dockin.recipe import bitbaketext, source
from dockin.recipe.bitbaketext import Place, Spot, Text
from dockin.recipe.yoctolayers import APPEND, RECIPE, Layers, Texts, content

INCLUDE = ".inc"

_TARGETS = re.compile(r"(?:-native|-cross|-initial|-intermediate|-crosssdk|-cross-canadian)$")
_FAMILIES = re.compile(r"^(?:nativesdk-|lib(?:32|64|x32)-)")
_LEFTOVER = ".dockin-new"


class RecipeError(DockinError):
    """A recipe can't be read or changed."""


@dataclass(frozen=True)
class Image:
    """An entry of SRC_URI that names an image, or that can't be understood."""

    path: str
    line: int
    text: str
    """The entry, expanded as far as possible."""
    place: Place | None
    source: source.DockerSource | None = None
    """With the pin; None where there is a problem."""
    problem: str = ""
    """Why it can't be changed: with what is written, the rule and the remedy."""
    pins: tuple[Spot, ...] = ()
    """Where the hex digits of the pin stand; with a problem, where they may stand."""
    tag: Spot | None = None
    tag_file: str = ""
    """The recipe whose file name gives the tag, as PV, or the middle of it."""
    tag_around: tuple[str, str] = ("", "")
    """What the tag has before and behind that: v${PV}-alpine."""
    entry: Text = Text("", ())
    """The whole entry, with where its characters come from."""
    pin_place: Spot | None = None
    """Where a pin can be put in, if there is none: an empty spot."""
    pin_text: str = ""
    """What to put there; {hex} stands for the digits."""

    @property
    def tag_is_written_out(self) -> bool:
        """Whether the tag stands in the entry itself, not in a variable that others can have, too."""
        return self.tag is not None and Place(self.tag.path, self.tag.start - 1) in self.entry.places


Again = typing.Callable[[Texts, str], "Recipe"]
"""Reads a recipe with other texts, under another path if that is not ""."""


@dataclass
class Recipe:
    """A recipe, or an append to a recipe that is elsewhere, with its images."""

    path: str
    name: str
    layer: str
    """Root of the layer, "" where the file is in none."""
    images: list[Image] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Text of each file that was read, by path."""
    notes: list[str] = field(default_factory=list)
    """What could not be read and may not matter, with file and line."""
    expected: bool = False
    """Whether it should have images: it inherits the class, or is an append with a pin alone."""
    words: list[Text] = field(default_factory=list)
    """The entries of SRC_URI that are no images, and the names of included files."""
    layers: Layers | None = None
    """Those out of which nothing is read; None where BitBake has read it all."""
    again: Again | None = None
    """Reads it once more, by the reader that has read it; None where it could not be read."""

    @property
    def layer_name(self) -> str:
        """The name of the layer's directory."""
        return os.path.basename(self.layer)

    def shown(self, path: str) -> str:
        """Return a file's path as reports have it: from the root of the layer."""
        inside = self.layer and (path + "/").startswith(self.layer.rstrip("/") + "/")
        return os.path.relpath(path, self.layer) if inside else path


@dataclass(frozen=True)
class Edit:
    """A change of a file: other text for a spot."""

    spot: Spot
    text: str


@dataclass(frozen=True)
class Write:
    """A new text for a file."""

    path: str
    old: str
    new: str
    renamed: str = ""
    """The new name of the file, "" where it keeps its own."""


def values_of_name(path: str) -> dict[str, str]:
    """Return PN, BPN, PV and PR as the name of a recipe's file gives them."""
    return {name: value.characters for name, value in texts_of_name(path).items()}


def apply(text: str, edits: collections.abc.Iterable[Edit]) -> str:
    """Return a text with edits, all of one file, done. Raises RecipeError where two of them meet."""
    end = len(text)
    ordered = sorted(set(edits), key=lambda edit: (edit.spot.start, edit.spot.end, edit.text), reverse=True)
    for edit in ordered:
        if edit.spot.end > end:
            raise RecipeError(f"Two images want different text in one place of {edit.spot.path}: give each its own")
        text = text[: edit.spot.start] + edit.text + text[edit.spot.end :]
        end = edit.spot.start
    return text


def load(path: str) -> str:
    """Return a file's text with its own line ends, whatever its bytes. Raises RecipeError."""
    try:
        return content(path)
    except OSError as error:
        raise RecipeError(f"Can't read {path}: {error.strerror}") from error


def write(writes: list[Write]) -> None:
    """Put new texts in the places of old ones, in this order: all of them, or none where one fails.

    Each file has always the one or the other text, whenever one is killed; killed between two files, one finds the first of
    them new and the others old; killed in a renaming, one finds both names, each with a whole text, or on a file system
    without hard links an empty one under the new name. Raises RecipeError, also where somebody else has changed a file
    meanwhile, or has one of the new name.
    """
    with contextlib.ExitStack() as temporaries:
        staged = []
        for one in writes:
            target = os.path.realpath(one.path)
            if load(target) != one.old:
                raise RecipeError(f"{one.path} was changed by something else meanwhile; run the command again")
            if one.renamed and os.path.lexists(one.renamed):
                raise RecipeError(f"Can't rename {one.path}: there is a {one.renamed} already")
            with _explained(one.path):
                new = temporaries.enter_context(_beside(target, one.new))
                # What a way back needs is written before, when a full disk does no harm yet.
                old = temporaries.enter_context(_beside(target, one.old)) if len(writes) > 1 else ""
                link = os.readlink(one.path) if one.renamed and os.path.islink(one.path) else ""
            staged.append((one, target, new, old, link))
        done: list[tuple[Write, str, str, str]] = []
        try:
            for one, target, new, old, link in staged:
                with _explained(one.path):
                    _put(one, target, new)
                done.append((one, target, old, link))
        except BaseException:
            for one, target, old, link in reversed(done):
                with _explained(one.path):
                    _take_back(one, target, old, link)
            raise


def remove_leftovers(paths: collections.abc.Iterable[str]) -> None:
    """Remove what runs that were killed left beside files; nobody needs it, and BitBake does not look at it."""
    names: dict[str, set[str]] = {}
    for path in paths:
        directory, name = os.path.split(os.path.realpath(path))
        names.setdefault(directory, set()).add(name)
    for directory in names:
        with contextlib.suppress(OSError):
            for entry in os.listdir(directory):
                if entry.endswith(_LEFTOVER) and entry[1 : -len(_LEFTOVER)].rpartition(".")[0] in names[directory]:
                    os.unlink(os.path.join(directory, entry))


def _put(one: Write, target: str, temporary: str) -> None:
    if not one.renamed:
        os.replace(temporary, target)
        return
    _name(temporary, one.renamed)
    try:
        os.unlink(one.path)
    except OSError:
        os.unlink(one.renamed)
        raise


def _name(temporary: str, new: str) -> None:
    """Give a file a name that nothing else has: another file of that name is not replaced, but an error."""
    try:
        os.link(temporary, new)
        return
    except OSError as error:
        # As vfat, FUSE and network file systems say that they have no hard links.
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(temporary, new)
    except OSError:
        os.unlink(new)
        raise


def _take_back(one: Write, target: str, temporary: str, link: str) -> None:
    if link:
        os.symlink(link, one.path)
    else:
        os.replace(temporary, target)
    if one.renamed:
        os.unlink(one.renamed)


@contextlib.contextmanager
def _explained(path: str) -> typing.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecipeError(f"Can't write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _beside(target: str, text: str) -> typing.Iterator[str]:
    """Yield a file with a text beside another one, with its mode and owner, that is gone afterwards."""
    directory, name = os.path.split(target)
    state = os.stat(target)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.", suffix=_LEFTOVER)
    try:
        with open(handle, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            os.fchmod(file.fileno(), stat.S_IMODE(state.st_mode))
            if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
                _keep_owner(file.fileno(), state)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def texts_of_name(path: str) -> dict[str, Text]:
    """Return PN, BPN, PV and PR as the name of a file gives them; an append to any version gives no PV."""
    base, extension = os.path.splitext(os.path.basename(path))
    pn, *rest = base.split("_")
    version = rest[0] if rest else "1.0"
    values = {"PN": bitbaketext.plain(pn), "BPN": bitbaketext.plain(_FAMILIES.sub("", _TARGETS.sub("", pn)))}
    if version and rest and "%" not in version:
        values["PV"] = Text(version, (Place(path, bitbaketext.FILE_NAME),) * len(version))
    elif not rest and extension == RECIPE:
        values["PV"] = bitbaketext.plain(version)
    if len(rest) > 1:
        values["PR"] = bitbaketext.plain(rest[1])
    return values


def is_own_file(path: str) -> bool:
    """Tell whether a file is one that a refresh changes: no class and no configuration."""
    return path.endswith((RECIPE, APPEND, INCLUDE))


def recipes_in(directory: str) -> list[str]:
    """Return the recipes and appends in a directory, without those below it."""
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(directory) if name.endswith((RECIPE, APPEND)))
        return [path for path in (os.path.join(directory, name) for name in names) if os.path.isfile(path)]
    return []


def _keep_owner(handle: int, state: os.stat_result) -> None:
    try:
        os.fchown(handle, state.st_uid, state.st_gid)
    except PermissionError:
        pass  # another user's file in a directory of ours: ours from now on, as an editor does it


def name_with_version(path: str, version: str) -> str:
    """Return the name of a recipe's file for another version. Raises RecipeError."""
    reference.check_tag(version, path)
    directory, name = os.path.split(path)
    pn, _, rest = name[: -len(RECIPE)].partition("_")
    _, underscore, revision = rest.partition("_")
    if "_" in version:
        raise RecipeError(f"{version!r} can't be a version in the name of {path}: '_' ends it")
    return os.path.join(directory, f"{pn}_{version}{underscore}{revision}{RECIPE}")
