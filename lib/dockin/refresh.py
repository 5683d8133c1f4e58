# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Refresh: look up what the tags of recipes stand for now, and bring the pins up to it.

All look-ups come first, then all edits, file by file; one registry or file that fails does not keep the others. Default is
the same tag with its new digest; a new tag only with upgrade.
"""

from __future__ import annotations

import collections
import collections.abc
import concurrent.futures
import datetime
import fnmatch
import itertools
import os
import typing
from dataclasses import dataclass, field, replace

from dockin import manifests, platforms, recipefile, versions
from dockin.bitbaketext import Spot
from dockin.errors import DockinError
from dockin.recipefile import Edit, Image, Recipe
from dockin.reference import ImageReference
from dockin.resolver import ResolveError, Resolver

INDEX_CHANGES = ("ignore", "update")

CURRENT = "current"
STALE = "stale"
UPDATED = "updated"
INDEX_ONLY = "index-only"
UNPINNED = "unpinned"
HELD = "held"
LOST = "pin-lost"
TAG_GONE = "tag-gone"
ERROR = "error"

# What reproducible builds set: an image from before says nothing of its age.
_EARLIEST = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Options:
    """What a refresh is to do."""

    check: bool = False
    """Change nothing, and report what is stale as such."""
    dry_run: bool = False
    """Change nothing, and report as if it were changed."""
    only: tuple[str, ...] = ()
    """Patterns of image names, with or without registry and tag; empty for all."""
    exclude: tuple[str, ...] = ()
    pin_unpinned: bool = False
    upgrade: str = ""
    """patch, minor or major; empty for the same tag."""
    tag_regex: str = ""
    index_changes: str = "ignore"
    """What to do where only other platforms' images have changed: ignore or update."""
    min_age: float = 0
    """Seconds that a new image must be old."""
    jobs: int = 4

    @property
    def writes(self) -> bool:
        """Whether files are changed."""
        return not (self.check or self.dry_run)


@dataclass(frozen=True)
class Task:
    """A recipe, and for which platform its images are where they do not say; None for all that an image has."""

    recipe: Recipe
    platform: platforms.Platform | None = None


@dataclass(frozen=True)
class Documents:
    """Digests that belong together, as far as they are known."""

    index: str = ""
    platform: str = ""
    config: str = ""
    created: str = ""
    tag: str = ""


@dataclass
class Result:
    """What became of an image."""

    recipe: Recipe
    image: Image
    platform: platforms.Platform | None
    status: str = ERROR
    old: Documents = Documents()
    new: Documents = Documents()
    retagged: bool = False
    pin_exists: bool | None = None
    resolver: str = ""
    kind: str = ""
    """index or manifest: what the tag stands for, where the registry told."""
    error_kind: str = ""
    message: str = ""
    """The error, or why it is held."""
    renamed: str = ""
    """The recipe's new file where its name has the tag."""

    @property
    def reference(self) -> ImageReference | None:
        """The image with its tag and pin, None where the entry can't be understood."""
        return self.image.source.reference if self.image.source else None

    @property
    def failed(self) -> bool:
        """Whether nothing is known or nothing could be done."""
        return self.status in (ERROR, TAG_GONE)

    def fail(self, kind: str, message: str) -> None:
        """Make it an error."""
        self.status, self.error_kind, self.message = ERROR, kind, message


@dataclass
class Change:
    """What is done to a file."""

    path: str
    old: str
    new: str
    results: list[Result] = field(default_factory=list)
    renamed: str = ""
    written: bool = False


@dataclass
class Report:
    """What a run found and did."""

    options: Options
    results: list[Result]
    changes: list[Change]
    notes: list[str]

    def count(self, *statuses: str) -> int:
        """Return how many images have one of the statuses."""
        return sum(result.status in statuses for result in self.results)


def run(
    tasks: list[Task],
    options: Options,
    resolver: Resolver,
    before_write: typing.Callable[[list[Change]], None] = lambda changes: None,
    now: datetime.datetime | None = None,
) -> Report:
    """Look up the images of recipes and change the files.

    Raises DockinError only for wrong options and where before_write does, which then keeps all files from being changed.
    """
    versions.matching([], options.tag_regex)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    results = [
        Result(task.recipe, image, (image.source.platform if image.source else None) or task.platform)
        for task in tasks
        for image in task.recipe.images
        if _wanted(image, options)
    ]
    results.sort(key=lambda result: (result.recipe.layer_name, result.recipe.name, *_position(result)))
    _Examination(resolver, options, now).run(results)
    changes = _changes(results, tasks, options)
    if options.writes:
        before_write(changes)
        for change in changes:
            _write(change)
    notes = {note for task in tasks for note in task.recipe.notes}
    return Report(options, results, changes, sorted(notes))


def read_tasks(paths: list[str], platform: platforms.Platform | None = None) -> list[Task]:
    """Return the recipes with images in files and directories. Raises RecipeError."""
    tasks = []
    for path, appends in recipefile.find(paths):
        try:
            recipe = recipefile.read(path, appends)
        except recipefile.RecipeError as error:
            # One that can't be read does not keep the others from it.
            problem = Image(path, 1, path, None, problem=str(error))
            recipe = Recipe(path, os.path.basename(path), recipefile.layer_of(path), [problem])
        # Of one that should have images, what could not be read is said.
        if recipe.images or (recipe.notes and any(map(recipefile.uses_class, recipe.files.values()))):
            tasks.append(Task(recipe, platform))
    return tasks


class _Examination:
    """Finds out about each image what is to be done."""

    def __init__(self, resolver: Resolver, options: Options, now: datetime.datetime) -> None:
        self._resolver = resolver
        self._options = options
        self._now = now

    def run(self, results: list[Result]) -> None:
        """Examine the images, several at once, each that occurs more than once only once."""
        groups: dict[typing.Any, list[Result]] = collections.defaultdict(list)
        for result in results:
            if result.image.problem:
                result.fail("unsupported-expression", result.image.problem)
            elif result.reference:
                groups[result.reference, result.platform].append(result)
        with concurrent.futures.ThreadPoolExecutor(max(1, self._options.jobs)) as pool:
            list(pool.map(self._examine_group, _mixed(list(groups.values()))))

    def _examine_group(self, group: list[Result]) -> None:
        first = group[0]
        try:
            self._examine(first)
        except ResolveError as error:
            first.fail(error.kind, str(error))
        except platforms.PlatformError as error:
            first.fail("arch-missing", str(error))
        except DockinError as error:
            first.fail("content", str(error))
        except OSError as error:
            first.fail("other", str(error))
        names = ("status", "old", "new", "retagged", "pin_exists", "resolver", "kind", "error_kind", "message")
        for other in group[1:]:
            for name in names:
                setattr(other, name, getattr(first, name))

    def _examine(self, result: Result) -> None:
        named = result.reference
        assert named
        pin = named.digest or ""
        result.old = Documents(index=pin, tag=named.tag or "")
        result.resolver = self._resolver.kind(named)
        wanted = self._wanted_tag(named)
        try:
            digest = self._resolver.digest(wanted)
        except ResolveError as error:
            if error.kind != "not-found" or not pin:
                raise
            result.resolver = self._resolver.kind(named)
            result.pin_exists = self._exists(named)
            result.status = TAG_GONE if result.pin_exists else LOST
            result.error_kind, result.message = "not-found", str(error)
            return
        result.resolver = self._resolver.kind(named)
        result.kind = self._resolver.document_kind(digest)
        result.new = Documents(index=digest, tag=wanted.tag or "")
        if not pin:
            result.status = STALE if self._options.pin_unpinned or wanted.tag != named.tag else UNPINNED
        elif digest == pin and wanted.tag == named.tag:
            result.status, result.pin_exists = CURRENT, True
        else:
            self._examine_change(result, wanted, digest, named)
        if result.status == STALE:
            # Before it is written: the registry really has an image there, under this digest and for this platform.
            self._entries(replace(wanted, tag=None, digest=digest), result.platform)
            if self._options.min_age:
                self._hold_young(result, wanted, digest)

    def _examine_change(self, result: Result, wanted: ImageReference, digest: str, named: ImageReference) -> None:
        result.pin_exists = digest == named.digest or self._exists(named)
        result.status = STALE
        if wanted.tag != named.tag:
            return
        result.retagged = versions.is_exact(named.tag or "")
        if not result.pin_exists:
            return
        if self._options.index_changes == "ignore":
            old = self._entries(named, result.platform)
            new = self._entries(replace(wanted, tag=None, digest=digest), result.platform)
            if result.platform:
                result.old = replace(result.old, platform=next(iter(old.values()), ""))
                result.new = replace(result.new, platform=next(iter(new.values()), ""))
            if _same(old, new):
                result.status = INDEX_ONLY

    def _wanted_tag(self, named: ImageReference) -> ImageReference:
        """Return the reference to look up: of the same tag, or of the newest that the options allow."""
        tagged = named.tagged
        if self._options.upgrade and versions.parse(named.tag or ""):
            tags = self._resolver.tags(tagged)
            newest = versions.upgrade(tags, named.tag or "", self._options.upgrade, self._options.tag_regex)
            if newest:
                return replace(tagged, tag=newest)
        return tagged

    def _exists(self, named: ImageReference) -> bool:
        try:
            self._resolver.digest(named.pinned)
        except ResolveError as error:
            if error.kind != "not-found":
                raise
            return False
        return True

    def _entries(self, pinned: ImageReference, platform: platforms.Platform | None) -> dict[str, str]:
        """Return the manifests of an index that matter, by platform: that of one, or all but attestations."""
        document = manifests.parse(self._resolver.document(pinned))
        if isinstance(document, manifests.Manifest):
            return {"": pinned.digest or ""}
        if platform:
            return {str(platform): document.select(platform).digest}
        entries = [entry for entry in document.manifests if entry.platform is None or entry.platform.os != "unknown"]
        return {str(entry.platform): entry.digest for entry in entries}

    def _hold_young(self, result: Result, wanted: ImageReference, digest: str) -> None:
        """Hold back an image that was made too recently; one that does not tell its age is old enough."""
        pinned = replace(wanted, tag=None, digest=digest)
        manifest_digest, config_digest, config = self._resolver.config(pinned, result.platform)
        result.new = replace(
            result.new,
            platform=manifest_digest if result.platform else "",
            config=config_digest if result.platform else "",
            created=config.created,
        )
        created = _time(config.created)
        if created is None or created < _EARLIEST:
            result.message = "the image does not tell its age"
        elif (self._now - created).total_seconds() < self._options.min_age and result.pin_exists is not False:
            result.status, result.message = HELD, f"created {config.created}, younger than wanted"


def _changes(results: list[Result], tasks: list[Task], options: Options) -> list[Change]:
    """Return what stale results change in files; those that can't be changed become errors."""
    edits: dict[str, dict[Edit, list[Result]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    texts: dict[str, str] = {}
    users = _Users(results, tasks)
    for result in results:
        if result.status != STALE:
            continue
        try:
            for edit in _edits(result, users):
                edits[edit.spot.path][edit].append(result)
                texts[edit.spot.path] = result.recipe.files[edit.spot.path]
        except DockinError as error:
            result.fail("unsupported-expression", str(error))
    _drop_halves(results, edits, users)
    changes = []
    for path in sorted(edits):
        good = {edit: owners for edit, owners in edits[path].items() if all(owner.status == STALE for owner in owners)}
        owners = list({id(owner): owner for owner in itertools.chain.from_iterable(good.values())}.values())
        renamed = next((owner.renamed for owner in owners if owner.renamed and owner.recipe.path == path), "")
        if good:
            changes.append(Change(path, texts[path], recipefile.apply(texts[path], good), owners, renamed))
    for result in results:
        if result.status == STALE and result.renamed and result.recipe.path not in edits:
            text = result.recipe.files[result.recipe.path]
            changes.append(Change(result.recipe.path, text, text, [result], result.renamed))
    return [] if options.check else changes


class _Users:
    """Who has a pin or a tag from where: of all recipes, also the images that are not examined."""

    def __init__(self, results: list[Result], tasks: list[Task]) -> None:
        self._results = {id(result.image): result for result in results}
        self._of_pins: dict[typing.Any, list[Image]] = collections.defaultdict(list)
        self._of_tags: dict[Spot | str, list[Image]] = collections.defaultdict(list)
        for image in (image for task in tasks for image in task.recipe.images):
            for place in _pin_places(image):
                self._of_pins[place].append(image)
            if image.tag or image.tag_file:
                self._of_tags[image.tag or image.tag_file].append(image)

    def follow(self, result: Result) -> bool:
        """Tell whether all images that have their tag from where a result's image has it get the same new one."""
        found = [self._results.get(id(image)) for image in self._of_tags[result.image.tag or result.image.tag_file]]
        return all(one is not None and one.status == STALE and one.new.tag == result.new.tag for one in found)

    def agree(self, result: Result) -> bool:
        """Tell whether a result's new pin fits all images that have it from the same literal."""
        assert result.reference
        for image in (image for place in _pin_places(result.image) for image in self._of_pins[place]):
            other = self._results.get(id(image))
            if other and other.status == STALE and other.new.index == result.new.index:
                continue
            # One of the same tag may not be stale, as for another platform; any other tag stands for something else.
            same_tag = image.source is not None and image.source.reference.tagged == result.reference.tagged
            if not same_tag or result.new.tag != result.old.tag:
                return False
        return True


def _pin_places(image: Image) -> tuple[typing.Any, ...]:
    """Return the literals of an image's pin, or where it is to be put in and how it begins there."""
    return image.pins or (((image.pin_place, image.pin_text),) if image.pin_place else ())


def _edits(result: Result, users: _Users) -> list[Edit]:
    """Return the edits that bring an image up to date. Raises RecipeError where a literal is missing."""
    image = result.image
    digits = result.new.index.partition(":")[2]
    edits = [Edit(spot, digits) for spot in image.pins]
    if not users.agree(result):
        raise recipefile.RecipeError(f"one literal has the pin of {image.text} and of another image: give each its own")
    if not edits and (image.source and not image.source.reference.digest):
        if image.pin_place is None:
            raise recipefile.RecipeError(f"{image.text} stands in no place where a pin can be put beside it")
        edits.append(Edit(image.pin_place, image.pin_text.replace("{hex}", digits)))
    elif not edits:
        raise recipefile.RecipeError(f"the pin of {image.text} stands in no place where it can be changed")
    if result.new.tag != result.old.tag:
        edits += _tag_edits(result, users)
    return edits


def _tag_edits(result: Result, users: _Users) -> list[Edit]:
    image = result.image
    if not image.tag and image.tag_file != result.recipe.path:
        raise recipefile.RecipeError(f"the tag of {image.text} is built from variables or not written; write ;tag= out")
    if not users.follow(result):
        raise recipefile.RecipeError(f"other images have their tag from where {image.text} has it, and don't follow it")
    if image.tag:
        return [Edit(image.tag, result.new.tag)]
    result.renamed = recipefile.name_with_version(result.recipe.path, result.new.tag)
    for path in recipefile.tied_to_version(result.recipe):
        shown = result.recipe.shown(path)
        raise recipefile.RecipeError(f"{shown} is for this version of {result.recipe.name} alone: use devtool upgrade")
    return []


def _drop_halves(results: list[Result], edits: dict[str, dict[Edit, list[Result]]], users: _Users) -> None:
    """Make errors of images with an edit that is not done, as another image failed for which it is, too."""
    shared = [owners for wanted in edits.values() for owners in wanted.values()]
    while True:
        failed = [owner for owners in shared if any(one.failed for one in owners) for owner in owners if not owner.failed]
        failed += [result for result in results if result.status == STALE and not _complete(result, users)]
        if not failed:
            return
        for result in failed:
            result.fail("unsupported-expression", f"{result.image.text} shares a pin or tag with an image that failed")


def _complete(result: Result, users: _Users) -> bool:
    return users.agree(result) and (result.new.tag == result.old.tag or users.follow(result))


def _write(change: Change) -> None:
    try:
        if change.renamed:
            recipefile.move(change.path, change.renamed, change.old, change.new)
        else:
            recipefile.store(change.path, change.old, change.new)
        change.written = True
    except recipefile.RecipeError as error:
        for result in change.results:
            result.fail("write", str(error))
        return
    for result in change.results:
        if result.status == STALE:
            result.status = UPDATED


def _wanted(image: Image, options: Options) -> bool:
    """Tell whether --only and --exclude leave an image in."""
    if image.source is None:
        names = [image.text]
    else:
        tagged = image.source.reference.tagged
        untagged = replace(tagged, tag=None)
        names = [tagged.familiar, tagged.canonical, untagged.familiar, untagged.canonical]

    def matches(patterns: collections.abc.Iterable[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)

    return (not options.only or matches(options.only)) and not matches(options.exclude)


def _position(result: Result) -> tuple[str, int, int]:
    image = result.image
    return image.path, image.line, image.place.offset if image.place else 0


def _mixed(groups: list[list[Result]]) -> list[list[Result]]:
    """Return the groups so that registries take turns: one that hangs then does not hold up those behind it."""
    queues: dict[str, list[list[Result]]] = collections.defaultdict(list)
    for group in groups:
        named = group[0].reference
        queues[named.registry if named else ""].append(group)
    rounds = itertools.zip_longest(*queues.values())
    return [group for round_ in rounds for group in round_ if group]


def _same(old: dict[str, str], new: dict[str, str]) -> bool:
    """Tell whether every platform's image is what it was; new platforms don't matter to who did without."""
    if "" in old or "" in new:
        return bool(set(old.values()) & set(new.values()))
    return bool(old) and all(new.get(platform) == digest for platform, digest in old.items())


def _time(text: str) -> datetime.datetime | None:
    """Return the time in a config's "created", None where it is none."""
    # Python before 3.11 takes neither Z nor nine digits of a second.
    head, dot, rest = text.strip().replace("Z", "+00:00").partition(".")
    zone = rest.lstrip("0123456789") if dot else ""
    try:
        time = datetime.datetime.fromisoformat(head + zone)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
