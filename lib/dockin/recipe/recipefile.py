# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes as files: which images they name, and where in .bb, .inc and .bbappend the literal of each pin and tag stands.

Without BitBake, from the text alone: ${PN}, ${BPN}, ${PV} and what the file and its includes assign are expanded. What can't
be known is no image, but a problem with file and line. Files are changed at the found places only, as a whole or not at all.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import errno
import dataclasses
import fnmatch
import os
import re
import stat
import tempfile
import typing
from dataclasses import dataclass, field

from dockin.errors import DockinError
from dockin.image import reference
from dockin.recipe import bitbaketext, knownclasses, recipecode, source
from dockin.recipe.bitbaketext import Place, Scope, Spot, Statement, Text
from dockin.recipe.yoctolayers import APPEND, CLASS, RECIPE, Assignment, Layers, around, class_names, content, layer_of, walk

INCLUDE = ".inc"

Lookup = typing.Callable[[str], typing.Optional[str]]
"""Gives the value of what stands in ${…}, None where it is not known."""

_PREFIX = source.SCHEME + "://"
_VARIABLE = "SRC_URI"
_DIGEST = re.compile(r"(?P<literal>(?:(?<=;)digest=|@)sha256:(?P<hex>[0-9a-f]{64}))(?=;|$)")
_TAG = re.compile(r";tag=(?P<parameter>[^;]+)|(?<=[a-z0-9]):(?P<inline>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?=[;@]|$)")
_PIN = re.compile(r"^SRC_URI\[[^\]]*sha256sum\]", re.MULTILINE)
_HEX = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"(?:fakeroot\s+)?(?:python[\s(]|def\s|async\s)")
_IN_CODE = re.compile(r"docker://[^\s\"'\\]*")
_INHERITS = re.compile(r"^[^\S\n]*inherit(?:_defer)?[^\S\n](?:.*[^\S\n])?dockin(?:\s|$)", re.MULTILINE)
_CONTINUATION = re.compile(r"\\[ \t]*\r?\n")
_TARGETS = re.compile(r"(?:-native|-cross|-initial|-intermediate|-crosssdk|-cross-canadian)$")
_FAMILIES = re.compile(r"^(?:nativesdk-|lib(?:32|64|x32)-)")
_LOGIN = re.compile(r"(?<=docker://)[^;\s]*@(?!sha256:)")
_PARAMETER = re.compile(r";([^;=]*)=[^;]*")
_QUERY = re.compile(r"([?#]|%3F|%23)[^;]+", re.IGNORECASE)
_SCHEME = re.compile(r"((?<![a-z0-9])[a-z0-9]+|\})://")
# Entries of these have their checksum in a flag of SRC_URI: bitbake/lib/bb/fetch2/__init__.py, FetchData.configure_checksum.
_CHECKED = ("http", "https", "ftp", "ftps", "sftp", "s3", "az", "crate", "gs", "gomod", "npm", "}")
_NAME = re.compile(r";name=([^;]*)")
_MAX_INCLUDES = 100
_LEFTOVER = ".dockin-new"


class RecipeError(DockinError):
    """A recipe can't be read or changed."""


class Outside(RecipeError):
    """A recipe's file is a link that leads out of the layers at hand."""


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
    conditional: bool = False
    """Whether it depends on an override."""

    @property
    def tag_is_written_out(self) -> bool:
        """Whether the tag stands in the entry itself, not in a variable that others can have, too."""
        return self.tag is not None and Place(self.tag.path, self.tag.start - 1) in self.entry.places


Texts = collections.abc.Mapping[str, typing.Optional[str]]
"""Texts that count instead of those of files, by real path; None for a file that is no longer there."""
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
    replacing: list[list[str]] = field(default_factory=list)
    """The overrides, together, with each of which SRC_URI does not have all images that it has without."""
    layers: Layers | None = None
    """Those out of which nothing is read; None where BitBake has read it all."""
    again: Again | None = None
    """Reads it once more, as far as its text tells; None where it could not be read."""

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


def find(paths: list[str], layers: Layers | None = None) -> list[tuple[str, list[str]]]:
    """Return the recipes in files and directories, each with all appends that the layers have to it.

    layers are those at hand, by default those of paths. An append stands for its recipe, and for itself where none is in the
    layers. Only what may name an image is listed, and what paths name itself. Raises RecipeError for a path that is not
    there.
    """
    layers = layers or around(paths)
    chosen = {os.path.abspath(path) for path in paths}
    found = find_all(paths, layers)
    alone = [path for path, _ in found if path.endswith(APPEND)]
    if alone:
        # The recipes are not in paths, or it would be among theirs.
        recipes = [path for root in layers.roots for path in walk(root, (RECIPE,))]
        wanted = [recipe for recipe in recipes if any(_appends_to(append, recipe) for append in alone)]
        chosen.update(recipe for recipe in wanted for append in alone if append in chosen and _appends_to(append, recipe))
        found = find_all([*paths, *wanted], layers)
    return [(path, own) for path, own in found if path in chosen or _may_name_image([path, *own], layers)]


def find_all(paths: list[str], layers: Layers) -> list[tuple[str, list[str]]]:
    """Return what find() does, whatever is in the files, and appends without a recipe in paths for themselves."""
    # By what they really are, as links lead to one file by several paths; its name has the version, so it counts.
    recipes: dict[tuple[str, str], str] = {}
    appends: dict[tuple[str, str], str] = {}

    def add(found: str) -> None:
        kind = appends if found.endswith(APPEND) else recipes
        kind.setdefault((os.path.realpath(found), os.path.basename(found)), found)

    for path in paths:
        full = os.path.abspath(path)
        if os.path.isdir(full):
            for found in walk(full, (RECIPE, APPEND)):
                add(found)
        elif os.path.isfile(full):
            if not full.endswith((RECIPE, APPEND, INCLUDE)):
                raise RecipeError(f"Not a recipe: {path!r}; give files {RECIPE}, {APPEND}, {INCLUDE} or directories")
            add(full)
        else:
            raise RecipeError(f"There is no {path!r}: give recipes or directories with recipes")
    loose = sorted(appends.values())
    # In no layer, what is beside a recipe.
    beside = {os.path.dirname(recipe) for recipe in recipes.values() if not layer_of(recipe)}
    others = (path for directory in sorted(beside) for path in recipes_in(directory) if path.endswith(APPEND))
    for path in (*layers.appends(), *others):
        add(path)
    result = []
    for recipe in sorted(recipes.values()):
        own = [append for append in sorted(appends.values()) if _appends_to(append, recipe)]
        loose = [append for append in loose if append not in own]
        result.append((recipe, own))
    return result + [(append, []) for append in loose]


def read(
    path: str,
    appends: collections.abc.Sequence[str] = (),
    search: collections.abc.Sequence[str] = (),
    lookup: Lookup | None = None,
    layers: Layers | None = None,
    texts: Texts | None = None,
) -> Recipe:
    """Return a recipe with its images.

    search are directories in which includes are looked for beside the file's own and the layer's, all that there are; lookup
    gives what a parsed recipe would know. Without it the text has to do, and layers are those at hand, by default the
    recipe's. With texts it is read as it would be with those in its files: lookup, which knows of the old ones, gives only
    what no text does. Raises RecipeError.
    """
    at_hand = layers or around([path])

    def again(texts: Texts, renamed: str) -> Recipe:
        own = [append for append in appends if not renamed or _appends_to(append, renamed)]
        return read(renamed or path, own, search, lookup, at_hand, texts)

    recipe = _Reader(path, search, lookup, at_hand, texts).read(appends)
    recipe.again = again
    return recipe


def uses_class(text: str) -> bool:
    """Tell whether a file's text inherits the class."""
    return bool(_INHERITS.search(_CONTINUATION.sub(" ", text)))


def values_of_name(path: str) -> dict[str, str]:
    """Return PN, BPN, PV and PR as the name of a recipe's file gives them."""
    return {name: value.characters for name, value in _from_file_name(path).items()}


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


class _Reader:
    """Reads one recipe."""

    def __init__(
        self,
        path: str,
        search: collections.abc.Sequence[str],
        lookup: Lookup | None,
        layers: Layers,
        texts: Texts | None,
    ) -> None:
        self.path = path
        self.texts = texts or {}
        self.recipe = Recipe(path, "", layer_of(path))
        self.text_only = lookup is None
        self.all_layers = bool(search)
        self.layers = layers
        if self.text_only:
            self.recipe.layers = Layers(layers.roots, [*layers.places, *search]) if search else layers
        own = [self.recipe.layer] if self.recipe.layer else []
        self.search = list(dict.fromkeys([*search, *own, *([] if search else layers.roots)]))
        self.scope = Scope(lookup, compares=texts is None)
        self.statements: list[Statement] = []
        self.flags: dict[str, Statement] = {}
        self.unsure_flags: dict[str, str] = {}
        """Those of which it is not known which of several assignments counts, and why."""
        self.in_code: list[Image] = []
        self.doubt = ""
        """Why no image is known, "" if there is no reason."""
        self.unread: dict[int, str] = {}
        """By how many statements were read then: what is not read, and may have changed SRC_URI as it was."""
        self.others: dict[str, str] = {}
        """The entries that are no images and have, or may have, their checksum in a flag of SRC_URI, by the flag."""
        self.includes = 0
        self.last_include: Statement | None = None
        self.inherited: set[str] = set()
        self.deferred: list[Statement] = []
        self.by_append: dict[str, list[Statement]] = collections.defaultdict(list)
        """The assignments in appends, by the variable."""

    def read(self, appends: collections.abc.Sequence[str]) -> Recipe:
        for name, value in _from_file_name(self.path).items():
            self.scope.preset(name, value)
        # As bitbake.conf has them.
        self.scope.preset("P", bitbaketext.plain("${PN}-${PV}"))
        self.scope.preset("BP", bitbaketext.plain("${BPN}-${PV}"))
        self.recipe.name = self._name()
        if self.text_only:
            self._configuration()
            if not self.path.endswith(RECIPE):
                what = "is for" if self.path.endswith(APPEND) else "is in"
                self._not_read(f"the recipe that {self.recipe.shown(self.path)} {what}, which is not at hand")
        self._file(self.path)
        for append in appends:
            self._file(append)
            if self.text_only and self.layers.is_optional(append):
                self._optional(append)
        for statement in self.deferred:
            self._inherit(statement)
        self.recipe.name = self._name()
        words = [(statement, word) for statement, text in self._texts() for word in text.split()]
        words = self._without_removed(words)
        self.others = {flag: word.characters for _, word in reversed(words) for flag in _flags_of_other(word.characters)}
        images: dict[object, Image] = {}
        for statement, word in words:
            if _PREFIX not in word.characters:
                self.recipe.words.append(word)
            else:
                image = self._image(word, statement)
                images.setdefault((image.place, image.text), image)
        in_code = [_replaced(image, pins=self._pins_of(image.text)) for image in self.in_code]
        self.recipe.images = self._with_places([*images.values(), *in_code])
        self._expect_images()
        return self.recipe

    def _expect_images(self) -> None:
        """Note where no image is found, though there should be one."""
        recipe = self.recipe
        pins = [flag for flag in self.flags.values() if _HEX.fullmatch(flag.value.characters)]
        named = any(one.variable.partition(":")[0] == _VARIABLE for one in self.statements)
        lone = bool(pins) and not named and self.path.endswith(APPEND)
        recipe.expected = lone or any(map(uses_class, recipe.files.values()))
        if recipe.images or not recipe.expected:
            return
        if lone:
            recipe.notes.append(
                f"{self._where(pins[0])}: this may be an image's pin: the recipe that it is for is not among those given"
            )
        elif not recipe.notes:
            recipe.notes.append(f"{recipe.shown(self.path)}: it inherits dockin, but its text shows no image")

    def _name(self) -> str:
        return self.scope.guess(bitbaketext.plain("${PN}")).characters

    def _configuration(self) -> None:
        """Take notice of what the layers' configurations give to variables."""
        for name, assignments in self.layers.assignments().items():
            for one in assignments:
                self._configured(name, one)
        for change in self.layers.changes():
            self._changed_by_code(change.name, f"{self.recipe.shown(change.path)}:{change.line}")
        for missing in self.layers.missing():
            where = f"{self.recipe.shown(missing.path)}:{missing.line}"
            self._not_read(f"{missing.name} at {where}, which is not at hand")

    def _configured(self, name: str, one: Assignment) -> None:
        # What is for another recipe alone does not matter.
        recipes = [override for override in one.overrides if override.startswith("pn-") and "$" not in override]
        if any(override != f"pn-{self.recipe.name}" for override in recipes):
            return
        where = f"{self.recipe.shown(one.path)}:{one.line}"
        if name == _VARIABLE:
            # What is added stands beside the rest; all without an override gives way to the recipe.
            if one.overrides and one.overrides[0] not in ("append", "prepend"):
                self._fix_doubt(name, f"{':'.join([name, *one.overrides])} at {where} changes, too")
        elif one.overrides:
            self.scope.overridden.setdefault(name, f"{':'.join([name, *one.overrides])} at {where} changes, too")
        else:
            self.scope.configured.setdefault(name, f"{where} sets, too")

    def _optional(self, append: str) -> None:
        """Put in doubt what an append sets that counts only where another layer is, too."""
        for statement in self.statements:
            name = statement.variable.partition(":")[0]
            # What is added to SRC_URI stands beside the rest.
            if statement.path == append and not (name == _VARIABLE and statement.variable != _VARIABLE):
                self._fix_doubt(name, f"{self._where(statement)} sets where another layer is, too")

    def _not_read(self, what: str, images: bool = False) -> None:
        """Take notice of something that is not read: without BitBake, what it may change is not known any more."""
        if self.text_only:
            self.scope.unread = self.scope.unread or f"{what}, may change"
            if images:
                self.unread[len(self.statements)] = f"{what}, may change"

    def _file(self, path: str) -> None:
        """Take the statements of a file and of those it includes. Raises Outside for the recipe itself."""
        if self.recipe.layers and not self.recipe.layers.hold(path):
            real = os.path.realpath(path)
            what = "it" if real == path else real
            reason = f"is not read: {what} is outside of the paths given, their layers and those of --layer"
            if path == self.path:
                raise Outside(f"{self.recipe.shown(path)} {reason}")
            self.recipe.notes.append(f"{self.recipe.shown(self.path)}: {self.recipe.shown(path)} {reason}")
            self._not_read(f"{path}, which is outside of the layers at hand", images=True)
            return
        known = self.texts.get(os.path.realpath(path))
        text = self.recipe.files[path] = load(path) if known is None else known
        before = self.scope.elsewhere
        if not path.endswith(CLASS):
            self.scope.preset("THISDIR", bitbaketext.plain(os.path.dirname(path)), by_file=False)
            # Of what BitBake has parsed, it is known what came of it.
            self.scope.elsewhere = self.text_only and path != self.path
        self._statements(path, text)
        self.scope.elsewhere = before

    def _statements(self, path: str, text: str) -> None:
        for statement in bitbaketext.statements(path, text):
            if statement.word == "code":
                self._code(statement)
            elif statement.word == "unset":
                self._unset(statement)
            elif statement.word == "inherit":
                self._inherit(statement)
            elif statement.word == "inherit_defer":
                self.deferred.append(statement)
            elif statement.word:
                self._include(statement)
            elif statement.flag:
                if statement.variable == _VARIABLE:
                    self._flag(statement)
            else:
                self._assignment(statement)

    def _assignment(self, statement: Statement) -> None:
        name, *overrides = statement.variable.split(":")
        where = self._where(statement)
        if statement.operator == ":=":
            value = self.scope.expand(statement.value)
            left = self.scope.left_in(value)
            if left:
                self._fix_doubt(name, f"takes ${{{left}}} at {where}, which {self.scope.doubt(left)}")
            statement = dataclasses.replace(statement, value=value)
        elif statement.operator != "=" and not {"append", "prepend", "remove"}.isdisjoint(overrides):
            self._fix_doubt(name, f"{statement.variable} at {where} changes by {statement.operator}, an odd combination")
        sets = not overrides and statement.operator in ("=", "?=", "??=")
        same = sets and statement.value.characters == self._name()
        if name == "PN" and self.text_only and self.scope.is_preset("BPN") and not same:
            self.scope.configured.setdefault("BPN", f"follows PN, which is changed at {where}")
        self.scope.assign(statement)
        self.statements.append(statement)
        if "${" in name:
            self._put_in_doubt(name, f"{statement.variable} at {where} sets, too")
        if self.text_only and statement.path.endswith(APPEND):
            self._appended(name, statement)
        if overrides not in ([], ["append"], ["prepend"]):
            self._put_in_doubt(name, f"{statement.variable} at {where} changes, too")
        if "${@" in statement.value.characters:
            for change in recipecode.changes(statement.value.characters):
                self._changed_by_code(change.name, where)

    def _appended(self, name: str, statement: Statement) -> None:
        """Take notice of two appends that change one variable: BitBake's order of them is that of the layers' priorities."""
        for other in self.by_append[name]:
            same = other.value.characters == statement.value.characters
            sets = {other.operator, statement.operator} <= {"=", ":="} and ":" not in other.variable + statement.variable
            # What each adds to SRC_URI stands there, in whatever order.
            adds = all(":" in one.variable or one.operator in ("+=", "=+", ".=", "=.") for one in (other, statement))
            if other.path != statement.path and not (same and sets) and not (adds and name == _VARIABLE):
                self._fix_doubt(name, f"two appends change, {self._where(other)} and {self._where(statement)}")
        self.by_append[name].append(statement)

    def _fix_doubt(self, name: str, reason: str) -> None:
        """Put a variable in doubt for good."""
        if name == _VARIABLE:
            self.doubt = self.doubt or f"it is in a {name} that {reason}"
        else:
            self.scope.doubts.setdefault(name, reason)

    def _put_in_doubt(self, name: str, reason: str) -> None:
        if "${" in name:
            name = self.scope.guess(bitbaketext.plain(name)).characters
        if "${" in name:
            self.doubt = self.doubt or f"the variable {name}, whose name is not known here, {reason.partition(' ')[2]}"
        elif name != _VARIABLE:
            self.scope.overridden.setdefault(name, reason)

    def _changed_by_code(self, name: str, where: str) -> None:
        """Take notice of code that changes a variable; "" for any."""
        if name and name != _VARIABLE:
            self.scope.doubts.setdefault(name, f"Python code at {where} changes")
        elif not self.doubt:
            what = _VARIABLE if name else "variables whose names it does not write out"
            self.doubt = f"Python code at {where} changes {what}, and is not run here"

    def _unset(self, statement: Statement) -> None:
        name = self.scope.expand(bitbaketext.plain(statement.variable)).characters
        if statement.flag:
            if name == _VARIABLE:
                old = self.flags.get(statement.flag)
                if old and (old.operator == "??=" or statement.flag in self.unsure_flags):
                    self.unsure_flags.setdefault(statement.flag, "releases of BitBake differ in what an unset leaves of ??=")
                else:
                    self.flags.pop(statement.flag, None)
            return
        self.scope.unset(name)
        if name == _VARIABLE:
            self.flags.clear()
            self.unsure_flags.clear()
            self.statements = [one for one in self.statements if one.variable.partition(":")[0] != _VARIABLE]

    def _code(self, statement: Statement) -> None:
        """Take notice of what Python code changes, and make a problem of each image in it: what becomes of it is unknown."""
        text = self.recipe.files[statement.path]
        if not _PYTHON.match(text, statement.start):
            return
        for change in recipecode.changes(text[statement.start : statement.end]):
            line = bitbaketext.line_of(text, statement.start + change.offset)
            self._changed_by_code(change.name, f"{self.recipe.shown(statement.path)}:{line}")
        for match in _IN_CODE.finditer(text, statement.start, statement.end):
            line = bitbaketext.line_of(text, match.start())
            place = Place(statement.path, match.start())
            shown = _shown(match[0])
            problem = f"{shown} stands in Python code, which is not run here"
            self.in_code.append(Image(statement.path, line, shown, place, problem=problem))

    def _flag(self, statement: Statement) -> None:
        flag = self.scope.expand(bitbaketext.plain(statement.flag)).characters
        old = self.flags.get(flag)
        if old and "??=" in (old.operator, statement.operator):
            self.unsure_flags[flag] = "releases of BitBake differ in what ??= means then"
        if old and self.text_only and old.path != statement.path and old.path.endswith(APPEND):
            self.unsure_flags[flag] = "BitBake's order of appends is that of the layers' priorities"
        if old and self.text_only and self.layers.is_optional(statement.path):
            self.unsure_flags[flag] = "it counts only where another layer is, too"
        if old and statement.operator in ("?=", "??="):
            return
        self.flags[flag] = statement

    def _include(self, statement: Statement) -> None:
        self.includes += 1
        if statement.path == self.path:
            self.last_include = statement
        if self.includes > _MAX_INCLUDES:
            raise RecipeError(f"{self._where(statement)}: files include each other without end")
        where = self._where(statement)
        for text in self.scope.guess(statement.value).split():
            self.recipe.words.append(text)
            name = text.characters
            if "${" in name:
                self.recipe.notes.append(f"{where}: {name} is not read: its name is not known here")
                self._not_read(f"{name} at {where}, which is not read", images=True)
                continue
            every = statement.word == "include_all"
            found = self._find(name, statement.path, every)
            for path in found if every else found[:1]:
                self._file(path)
            if every and not self.all_layers:
                self.recipe.notes.append(f"{where}: {name} of other layers is not read")
                self._not_read(f"{name} of other layers at {where}, which is not read", images=True)
            elif not found and (self.text_only or statement.word == "require"):
                self.recipe.notes.append(f"{where}: there is no {name} beside the file or in the layers at hand")
                self._not_read(f"{name} at {where}, which is not at hand", images=True)
            elif not every and not self.all_layers and self._is_open(found, statement.path):
                self._not_read(f"{name} at {where}, which more than one layer has", images=True)

    def _is_open(self, found: list[str], path: str) -> bool:
        """Tell whether it takes the order of layers to know which of the files an include in a file means."""
        beside = os.path.dirname(found[0]) == os.path.dirname(path)
        return not beside and len(set(map(os.path.realpath, found))) > 1

    def _find(self, name: str, path: str, every: bool) -> list[str]:
        """Return the files that an include in a file may mean, the first of which BitBake takes."""
        folders = self.search if every else [os.path.dirname(path), *self.search]
        candidates = dict.fromkeys(os.path.normpath(os.path.join(folder, name)) for folder in folders)
        return [candidate for candidate in candidates if self._is_file(candidate)]

    def _is_file(self, path: str) -> bool:
        real = os.path.realpath(path)
        return self.texts[real] is not None if real in self.texts else os.path.isfile(path)

    def _inherit(self, statement: Statement) -> None:
        """Read the classes that are at hand; what BitBake has read needs no text."""
        if not self.text_only:
            return
        where = self._where(statement)
        for text in self.scope.guess(statement.value).split():
            names, sure = class_names(text.characters)
            for name in names:
                if name in self.inherited:
                    continue
                self.inherited.add(name)
                found = self.layers.classes(name)
                if found:
                    self._file(found[0])
                    if not sure:
                        self._not_read(f"the class {name} at {where}, which may be inherited or not,", images=True)
                elif name not in knownclasses.HARMLESS:
                    self._not_read(f"the class {name} at {where}, which is not at hand")

    def _texts(self) -> list[tuple[Statement, Text]]:
        """Return what SRC_URI is made of: the value without overrides, then what overrides put in its place or add."""
        found = []
        value = self.scope.value(_VARIABLE)
        plain = [statement for statement in self.statements if _is_plain(statement.variable)]
        if value is not None and plain:
            found.append((plain[-1], self.scope.expand_at_end(value)))
        for statement in self.statements:
            name, *overrides = statement.variable.split(":")
            if name != _VARIABLE or not overrides or _is_plain(statement.variable):
                continue
            if overrides[0] not in ("append", "prepend"):
                self.recipe.replacing.append(overrides[1:] if overrides[0] == "remove" else overrides)
            if overrides[0] != "remove":
                found.append((statement, self.scope.expand_at_end(statement.value)))
        return found

    def _without_removed(self, words: list[tuple[Statement, Text]]) -> list[tuple[Statement, Text]]:
        removing = [statement for statement in self.statements if statement.variable == f"{_VARIABLE}:remove"]
        removed = {
            word.characters for statement in removing for word in self.scope.expand_at_end(statement.value).split()
        }
        return [(statement, word) for statement, word in words if word.characters not in removed]

    def _image(self, word: Text, statement: Statement) -> Image:
        place = word.place or Place(statement.path, statement.start)
        line = bitbaketext.line_of(self.recipe.files[place.path], place.offset)
        shown = _shown(word.characters)
        image = Image(
            place.path,
            line,
            shown,
            word.place,
            pins=self._pins_of(word.characters),
            entry=word,
            conditional=not _is_plain(statement.variable),
        )
        if not source.is_docker(word.characters) or "${" in word.characters:
            return _problem(image, f"{shown} is built from {self._unknown(word)}")
        if self.doubt:
            return _problem(image, f"{shown} may not be what is built: {self.doubt}")
        if place.path.endswith(CLASS):
            return _problem(image, f"{shown} stands in a class: only recipes, includes and appends are changed")
        unread = self._unread_behind(place)
        if unread:
            return _problem(image, f"{shown} may not be what is built: it is something that {unread}")
        try:
            parsed = source.parse_entry(word.characters)
        except DockinError as error:
            return _problem(image, str(error))
        return self._with_pin(image, word, parsed)

    def _unread_behind(self, place: Place) -> str:
        """Return what is not read behind the statement that a place is in, "" if all is."""
        for number, statement in enumerate(self.statements):
            if statement.path == place.path and statement.start <= place.offset < statement.end:
                return next((reason for count, reason in self.unread.items() if count > number), "")
        return ""

    def _pins_of(self, entry: str) -> tuple[Spot, ...]:
        """Return where the pin of an entry that may not be understood can stand."""
        name = _NAME.search(entry)
        flag = f"{name[1]}.sha256sum" if name else "sha256sum"
        found = self.flags.values() if "${" in flag else [self.flags[flag]] if flag in self.flags else []
        return tuple(statement.value.spot for statement in found if statement.value.spot)

    def _unknown(self, word: Text) -> str:
        """Return of what an entry is built, and why that is not known."""
        name = word.unknown
        doubt = self.scope.doubt(name) if name and not name.startswith("@") else ""
        if doubt:
            remedy = "write it out, or name its layer with --layer" if doubt == self.scope.unread else "write it out"
            return f"${{{name}}}, which {doubt}: {remedy}"
        return f"{f'${{{name}}}' if name else 'code'}, whose value is not known here"

    def _with_pin(self, image: Image, word: Text, parsed: source.DockerSource) -> Image:
        spots: list[Spot] = []
        problem = ""
        inline = _DIGEST.search(word.characters)
        if inline:
            # With what stands before it: the key and the digits are one literal, or the digits come from somewhere else.
            if word[inline.start("literal") : inline.end("literal")].spot:
                spot = word[inline.start("hex") : inline.end("hex")].spot
                assert spot
                spots.append(spot)
            else:
                problem = f"the digest in {word.characters} is built from variables; write it out"
        flag = self.flags.get(parsed.pin_flag)
        value = ""
        if flag and parsed.pin_flag in self.others:
            other = _shown(self.others[parsed.pin_flag])
            which = f"{_VARIABLE}[{parsed.pin_flag}] at {self._where(flag)}"
            return _problem(image, f"{which} is the checksum of {other}, too: give {image.text} a ;name= of its own")
        if flag and parsed.pin_flag in self.unsure_flags:
            which = f"{_VARIABLE}[{parsed.pin_flag}] at {self._where(flag)}"
            return _problem(image, f"{which} is not the only one, and {self.unsure_flags[parsed.pin_flag]}")
        if flag and flag.path.endswith(CLASS):
            return _problem(image, f"{_VARIABLE}[{parsed.pin_flag}] stands in a class, {self._where(flag)}: move it here")
        if flag:
            value = self.scope.expand_at_end(flag.value).characters
            where = f"{_VARIABLE}[{parsed.pin_flag}] at {self._where(flag)}"
            if flag.operator not in ("=", ":=", "?=", "??="):
                problem = f"{where} is put together with {flag.operator}; write the 64 hex digits out in one place"
            elif _HEX.fullmatch(flag.value.characters) and flag.value.spot:
                spots.append(flag.value.spot)
            elif not flag.value:
                problem = f"{where} is empty: write the 64 hex digits of the digest, or remove it"
            elif "${" in flag.value.characters:
                problem = f"{where} is built from variables ({flag.value.characters}); write the 64 hex digits out"
        try:
            pinned = parsed.pinned(value if "${" not in value else "")
        except DockinError as error:
            return _problem(image, str(error))
        tag = self._tag(word)
        return _replaced(
            image,
            source=pinned,
            problem=problem,
            pins=tuple(spots),
            tag=tag.spot if tag and tag.spot and not tag.spot.path.endswith(CLASS) else None,
            **self._tag_by_name(tag),
        )

    def _tag_by_name(self, tag: Text | None) -> dict[str, typing.Any]:
        """Return what an image has to say of a tag that the recipe's name gives: the whole version, once."""
        piece = tag.file_name if tag else None
        if not tag or not piece or tag.characters[piece.start : piece.end] != values_of_name(piece.path).get("PV"):
            return {}
        return {
            "tag_file": piece.path,
            "tag_around": (tag.characters[: piece.start], tag.characters[piece.end :]),
        }

    def _tag(self, word: Text) -> Text | None:
        match = _TAG.search(word.characters, len(_PREFIX))
        if not match:
            return None
        group = "parameter" if match["parameter"] else "inline"
        return word[match.start(group) : match.end(group)]

    def _with_places(self, images: list[Image]) -> list[Image]:
        """Add to the images that are not pinned where a pin can be put in."""
        result = []
        flags = [*self.others, *(image.source.pin_flag for image in images if image.source)]
        for image in images:
            if image.source is None or image.source.reference.digest or image.problem:
                result.append(image)
                continue
            unique = flags.count(image.source.pin_flag) == 1
            place, text = self._below(image) if unique else self._behind(image)
            result.append(_replaced(image, pin_place=place, pin_text=text))
        return result

    def _below(self, image: Image) -> tuple[Spot | None, str]:
        """Return the place of a line SRC_URI[…sha256sum]: below the assignment; in the recipe where the tag is its own."""
        assert image.source
        own = image.path == self.path or image.tag is not None
        statement = self._statement_of(image) if own else self.last_include or self._statement_of(image)
        if statement is None:
            return None, ""
        text = self.recipe.files[statement.path]
        newline = "\r\n" if "\r\n" in text else "\n"
        missing = "" if text[: statement.end].endswith("\n") else newline
        line = f'{missing}{_VARIABLE}[{image.source.pin_flag}] = "{{hex}}"{newline}'
        return Spot(statement.path, statement.end, statement.end), line

    def _behind(self, image: Image) -> tuple[Spot | None, str]:
        """Return the place of a parameter: behind the entry, whose flag other entries have too."""
        if image.place is None:
            return None, ""
        text = self.recipe.files[image.path]
        match = re.compile(r"[^\s\"'\\]+").match(text, image.place.offset)
        if not match:
            return None, ""
        return Spot(image.path, match.end(), match.end()), ";digest=sha256:{hex}"

    def _statement_of(self, image: Image) -> Statement | None:
        if image.place is None:
            return None
        return next(
            (
                statement
                for statement in self.statements
                if statement.path == image.path and statement.start <= image.place.offset < statement.end
            ),
            None,
        )

    def _where(self, statement: Statement) -> str:
        return f"{self.recipe.shown(statement.path)}:{statement.line}"


def _shown(entry: str) -> str:
    """Return an entry as it may be printed: without a login, a query, and values of parameters that there are not."""

    def value(match: re.Match[str]) -> str:
        return match[0] if match[1] in source.PARAMETERS else f";{match[1]}=…"

    return _QUERY.sub(r"\1…", _PARAMETER.sub(value, _LOGIN.sub("…@", entry)))


def _problem(image: Image, text: str) -> Image:
    return _replaced(image, problem=text)


def _replaced(image: Image, **changes: typing.Any) -> Image:
    return Image(**{**image.__dict__, **changes})


def _is_plain(variable: str) -> bool:
    """Tell whether an assignment is to SRC_URI, whatever the machine."""
    return variable in (_VARIABLE, f"{_VARIABLE}:append", f"{_VARIABLE}:prepend")


def _flags_of_other(entry: str) -> list[str]:
    """Return the flag of SRC_URI in which an entry that is no image has, or may have, its checksum; none if it has none."""
    schemes = _SCHEME.findall(entry)
    if source.SCHEME in schemes or not ("${" in entry if not schemes else any(one in _CHECKED for one in schemes)):
        return []
    name = _NAME.search(entry)
    return [f"{name[1]}.sha256sum" if name else "sha256sum"]


def _from_file_name(path: str) -> dict[str, Text]:
    """Return PN, BPN, PV and PR as the name of a file gives them; an append to any version gives no PV."""
    base, extension = os.path.splitext(os.path.basename(path))
    pn, *rest = base.split("_")
    version = rest[0] if rest else "1.0"
    values = {"PN": bitbaketext.plain(pn), "BPN": bitbaketext.plain(_FAMILIES.sub("", _TARGETS.sub("", pn)))}
    if rest and "%" not in version:
        values["PV"] = Text(version, (Place(path, bitbaketext.FILE_NAME),) * len(version))
    elif not rest and extension == RECIPE:
        values["PV"] = bitbaketext.plain(version)
    if len(rest) > 1:
        values["PR"] = bitbaketext.plain(rest[1])
    return values


def recipes_in(directory: str) -> list[str]:
    """Return the recipes and appends in a directory, without those below it."""
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(directory) if name.endswith((RECIPE, APPEND)))
        return [path for path in (os.path.join(directory, name) for name in names) if os.path.isfile(path)]
    return []


def _appends_to(append: str, recipe: str) -> bool:
    name = os.path.basename(append)[: -len(APPEND)]
    own = os.path.splitext(os.path.basename(recipe))[0]
    return fnmatch.fnmatchcase(own, re.sub(r"([\[?*])", r"[\1]", name).replace("%", "*"))


def _may_name_image(paths: list[str], layers: Layers) -> bool:
    """Tell whether files name an image or include something that could; one that can't be read may do both."""
    for path in paths:
        try:
            text = load(path)
        except RecipeError:
            return True
        if _PREFIX in text or uses_class(text) or (path.endswith(APPEND) and _PIN.search(text)):
            return True
        for statement in bitbaketext.statements(path, text):
            if statement.word in ("require", "include", "include_all"):
                return True
            if statement.word.startswith("inherit"):
                names = (name for word in statement.value.split() for name in class_names(word.characters)[0])
                if any(map(layers.classes, names)):
                    return True
    return False


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
