# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Refresh: look up what the tags of recipes stand for now, and bring the pins up to it.

All look-ups come first, then all edits, file by file; one registry or file that fails does not keep the others. Default is
the same tag with its new digest; a new tag only with upgrade.

An image whose tag and pin stand in two files gets both or none of them. The tag is written first: a run that is killed
between the two leaves the new tag with the old pin, which builds the old image, and any later refresh finds it stale.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import datetime
import fnmatch
import itertools
import os
import typing
from dataclasses import dataclass, field, replace

from dockin.image import platforms
from dockin.image.reference import ImageReference
from dockin.recipe import mentions, recipefile, textreader, versions
from dockin.recipe.bitbaketext import Spot
from dockin.recipe.markedyaml import NoYaml
from dockin.recipe.recipefile import Edit, Image, Recipe
from dockin.recipe.yoctolayers import APPEND, Layers, around, is_own, layer_of, layers_of
from dockin.refresh import findings
from dockin.refresh.confirmation import Drafts
from dockin.refresh.findings import STALE, UPDATED, Finding
from dockin.registry.resolver import Resolver


@dataclass(frozen=True)
class Options(findings.Rules):
    """What a refresh is to do."""

    check: bool = False
    """Change nothing, and report what is stale as such."""
    dry_run: bool = False
    """Change nothing, and report as if it were changed."""
    only: tuple[str, ...] = ()
    """Patterns of image names, with or without registry and tag; empty for all."""
    exclude: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether files are changed."""
        return not (self.check or self.dry_run)


@dataclass(frozen=True)
class Task:
    """A recipe, and for which platform its images are where they do not say; None for all that an image has."""

    recipe: Recipe
    platform: platforms.Platform | None = None
    examined: bool = True
    """False for a neighbour: it has a file in common with one that is examined, and its pins are to stay right."""
    aside: bool = False
    """One of this layer itself that nobody has named: examined only for what --only fits."""


@dataclass
class Result:
    """What became of an image."""

    recipe: Recipe
    image: Image
    platform: platforms.Platform | None
    found: Finding = field(default_factory=Finding)
    renamed: str = ""
    """The recipe's new file where its name has the tag."""

    @property
    def reference(self) -> ImageReference | None:
        """The image with its tag and pin, None where the entry can't be understood."""
        return self.image.source.reference if self.image.source else None

    @property
    def status(self) -> str:
        """One of comparison's constants."""
        return self.found.status

    @property
    def failed(self) -> bool:
        """Whether nothing is known or nothing could be done."""
        return self.found.failed

    @property
    def upgraded(self) -> bool:
        """Whether it gets a new tag."""
        return self.status == STALE and self.found.new.tag != self.found.old.tag

    @property
    def tag_part(self) -> str:
        """What the new tag puts in the place where the old one stands, "" if it does not fit there."""
        before, behind = self.image.tag_around
        tag = self.found.new.tag
        return tag[len(before) : len(tag) - len(behind)] if findings.Tags(before, behind).allow(tag) else ""

    def fail(self, kind: str, message: str) -> None:
        """Make it an error."""
        self.found.fail(kind, message)


@dataclass
class Change:
    """What is done to a file."""

    path: str
    old: str
    new: str
    results: list[Result] = field(default_factory=list)
    renamed: str = ""
    gives_tag: bool = False
    """Whether a tag is changed, here or by the file's name."""
    beside: bool = False
    """Whether the file only names the images, as a Compose file does."""
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
    if not options.only:
        tasks = [replace(task, examined=task.examined and not task.aside) for task in tasks]
    results = [
        Result(task.recipe, image, (image.source.platform if image.source else None) or task.platform)
        for task in examined(tasks)
        for image in task.recipe.images
        if _wanted(image, options)
    ]
    results.sort(key=lambda result: (result.recipe.layer_name, result.recipe.name, *_position(result)))
    _compare(results, options, resolver, now)
    users = _Users(results, tasks)
    notes = {note for task in examined(tasks) for note in task.recipe.notes}
    notes |= {f"--only {pattern} fits no image" for pattern in _unfit(tasks, options.only)}
    drafts = Drafts(results, tasks, _edits)
    notes |= _take_back(results, users, drafts, options, resolver, now)
    changes = _changes(results, drafts, options)
    notes |= {mentions.unseen(result.recipe) for result in results if result.status == STALE} - {""}
    if options.writes:
        before_write(changes)
        read = [path for task in examined(tasks) for path in task.recipe.files]
        recipefile.remove_leftovers([*read, *(change.path for change in changes)])
        for group in groups(changes):
            _write(group)
    return Report(options, results, changes, sorted(notes))


def examined(tasks: list[Task]) -> list[Task]:
    """Return what was asked for, without neighbours."""
    return [task for task in tasks if task.examined]


def read_tasks(
    paths: list[str], platform: platforms.Platform | None = None, beside: collections.abc.Sequence[str] = ()
) -> list[Task]:
    """Return the recipes with images in files and directories, and their neighbours in the layers at hand.

    Those are the layers of paths, and with them others, the directories of beside. Raises RecipeError.
    """
    for directory in beside:
        if not layers_of([directory]):
            raise recipefile.RecipeError(f"No layer is in {directory!r}: --layer wants a directory with conf/layer.conf")
    at_hand = around(paths, beside)
    own_too = any(map(is_own, paths))
    asked, others = textreader.find(paths, at_hand)
    tasks = []
    for path, appends in asked:
        try:
            recipe = textreader.read(path, appends, at_hand)
        except textreader.Outside as error:
            recipe = Recipe(path, os.path.basename(path), layer_of(path), notes=[str(error)], expected=True)
        except recipefile.RecipeError as error:
            # One that can't be read does not keep the others from it.
            problem = Image(path, 1, path, None, problem=str(error))
            recipe = Recipe(path, os.path.basename(path), layer_of(path), [problem])
        # Of one that should have images, what could not be read is said.
        if recipe.images or (recipe.notes and recipe.expected):
            tasks.append(Task(recipe, platform, aside=not own_too and is_own(path)))
    near = []
    for path, appends in neighbours(others, tasks, at_hand):
        # What can't be read shows no pin; it is said when that recipe is refreshed itself.
        with contextlib.suppress(recipefile.RecipeError):
            near.append(Task(textreader.read(path, appends, at_hand), platform, examined=False))
    return tasks + neighbouring(near, tasks)


def neighbours(
    recipes: collections.abc.Iterable[tuple[str, list[str]]],
    tasks: list[Task],
    layers: Layers,
) -> list[tuple[str, list[str]]]:
    """Return the recipes, each with its appends, that are no task and may have a file in common with one."""
    files = {path for task in tasks for path in task.recipe.files}
    own = {task.recipe.path for task in tasks} | {path for path in files if path.endswith(APPEND)}
    folders = {os.path.dirname(path) for path in files}
    scanner = textreader.Scanner(layers)
    found = []
    for path, appends in recipes:
        made_of = scanner.of(path, appends)
        # What is in the same directory may have file:// entries in common.
        shares = os.path.dirname(path) in folders or not files.isdisjoint(made_of.texts)
        if path not in own and (not made_of.whole or shares):
            found.append((path, appends))
    return found


def neighbouring(found: collections.abc.Iterable[Task], tasks: list[Task]) -> list[Task]:
    """Return what really has a file in common with a task, be it one that file:// entries name."""
    files = {path for task in tasks for path in task.recipe.files}
    near = list(found)
    folders = {os.path.dirname(task.recipe.path) for task in near if task.recipe.images}
    beside = {path for task in tasks if os.path.dirname(task.recipe.path) in folders for path in mentions.files(task.recipe)}
    return [
        task
        for task in near
        if not files.isdisjoint(task.recipe.files)
        or (beside and task.recipe.images and not beside.isdisjoint(mentions.files(task.recipe)))
    ]


def _compare(results: list[Result], options: Options, resolver: Resolver, now: datetime.datetime | None) -> None:
    """Fill in what is found out about the images."""
    good = []
    for result in results:
        if result.image.problem:
            result.fail("unsupported-expression", result.image.problem)
        elif result.reference:
            good.append(result)
    questions = [(result.reference, result.platform) for result in good if result.reference]
    for result, found in zip(good, findings.compare(questions, options, resolver, now)):
        result.found = found


def _take_back(
    results: list[Result],
    users: _Users,
    drafts: Drafts,
    options: Options,
    resolver: Resolver,
    now: datetime.datetime | None,
) -> set[str]:
    """Let images that can't get a new tag get a lower one, or keep theirs and be up to date so; return notes that say why.

    What shares something with one that is not upgraded may not be either, so it goes on until all that is left can be.
    """
    notes: set[str] = set()
    tags: dict[int, findings.Tags] = {}
    while True:
        stale = [result for result in results if result.status == STALE]
        refused = [(result, why) for result, why in drafts.refused(stale) if result.upgraded]
        unread = [(result, why) for result, why in refused if isinstance(why, NoYaml)]
        for result, reason in unread:
            result.fail("unsupported-expression", str(reason))
        if unread:
            continue
        # Those that share a tag may still meet at the lower one.
        refused = [(result, why) for result, why in refused if not users.above(result)] or refused
        if not refused:
            return notes
        for result, why in refused:
            shown = result.recipe.shown(result.image.path)
            notes.add(f"{shown}:{result.image.line}: {result.found.new.tag} is there, but not taken: {why}")
        lower = [result for result, why in refused if isinstance(why, _TagError) or users.below(result)]
        lowered = set(map(id, lower))
        for again in (lower, [result for result, _ in refused if id(result) not in lowered]):
            for result in again:
                without = {result.found.new.tag, *tags.get(id(result), findings.Tags()).without}
                tags[id(result)] = findings.Tags(*result.image.tag_around, frozenset(without))
            questions = [(result.reference, result.platform) for result in again if result.reference]
            rules = options if again is lower else replace(options, upgrade="")
            left = [tags[id(result)] for result in again]
            for result, found in zip(again, findings.compare(questions, rules, resolver, now, left)):
                result.found, result.renamed = found, ""


class _TagError(recipefile.RecipeError):
    """A tag can't be written where another one might be."""


def _changes(results: list[Result], drafts: Drafts, options: Options) -> list[Change]:
    """Return what stale results change in files; those that can't be changed become errors."""
    for result, why in drafts.refused([result for result in results if result.status == STALE]):
        result.fail("unsupported-expression", str(why))
    draft = drafts.make([result for result in results if result.status == STALE])
    changes = []
    for path in sorted({*draft.edits, *draft.renamed}):
        edits = draft.edits.get(path, {})
        everyone = [*itertools.chain.from_iterable(edits.values()), *draft.renaming.get(path, ())]
        owners = list({id(owner): owner for owner in everyone}.values())
        old = draft.old[path]
        tags = any(edit.spot == owner.image.tag for edit, owners in edits.items() for owner in owners)
        renamed = draft.renamed.get(path, "")
        beside = all(path not in owner.recipe.files for owner in owners)
        changes.append(Change(path, old, draft.new.get(path, old), owners, renamed, tags or bool(renamed), beside))
    return [] if options.check else changes


class _Users:
    """Which results have their tag from one place, of all images, also those that are not examined."""

    def __init__(self, results: list[Result], tasks: list[Task]) -> None:
        self._results = {id(result.image): result for result in results}
        self._of_files: dict[str, list[Image]] = collections.defaultdict(list)
        for image in (image for task in tasks for image in task.recipe.images):
            for path in {place.path for place in image.entry.places if place}:
                self._of_files[path].append(image)

    def _sharing(self, result: Result) -> list[Result]:
        """Return the results that have their tag from where a result has it, none if anything else is there."""
        mine = result.image.tag or result.image.tag_file
        found = []
        for image in self._of_files[mine.path if isinstance(mine, Spot) else mine]:
            if image.entry.count_from(mine):
                other = self._results.get(id(image))
                if not other or not other.upgraded or (image.tag or image.tag_file) != mine:
                    return []
                found.append(other)
        return found

    def below(self, result: Result) -> bool:
        """Tell whether others that have their tag from where a result has it get a lower one."""
        return any(_numbers(other) < _numbers(result) for other in self._sharing(result))

    def above(self, result: Result) -> bool:
        """Tell whether others that have their tag from where a result has it get a higher one, and may get a lower."""
        return any(_numbers(other) > _numbers(result) for other in self._sharing(result))


def _numbers(result: Result) -> tuple[int, ...]:
    version = versions.parse(result.tag_part)
    return version.numbers if version else ()


def _edits(result: Result) -> list[Edit]:
    """Return the edits that bring an image up to date. Raises RecipeError where a literal is missing."""
    image = result.image
    digits = result.found.new.index.partition(":")[2]
    edits = [Edit(spot, digits) for spot in image.pins]
    if not edits and (image.source and not image.source.reference.digest):
        if image.pin_place is None:
            raise recipefile.RecipeError(f"{image.text} stands in no place where a pin can be put beside it")
        edits.append(Edit(image.pin_place, image.pin_text.replace("{hex}", digits)))
    elif not edits:
        raise recipefile.RecipeError(f"the pin of {image.text} stands in no place where it can be changed")
    if result.found.new.tag != result.found.old.tag:
        edits += _tag_edits(result)
    return edits


def _tag_edits(result: Result) -> list[Edit]:
    image = result.image
    if not image.tag and image.tag_file != result.recipe.path:
        raise recipefile.RecipeError(f"the tag of {image.text} is built from variables or not written; write ;tag= out")
    if not result.tag_part:
        raise _TagError(f"the tag of {image.text} is built from variables; write ;tag= out")
    if image.tag:
        return [Edit(image.tag, result.found.new.tag)]
    renamed = recipefile.name_with_version(result.recipe.path, result.tag_part)
    if os.path.lexists(renamed):
        raise _TagError(f"there is a {result.recipe.shown(renamed)} already")
    result.renamed = renamed
    return []


def groups(changes: list[Change], same: typing.Callable[[Result], object] = id) -> list[list[Change]]:
    """Return the changes in groups that have images in common, in each what only names them first, then what gives tags.

    With same, changes of different images for which that is equal are in one group, too.
    """
    found: list[list[Change]] = []
    for change in sorted(changes, key=_order):
        mine = set(map(same, change.results))
        together = [group for group in found if any(mine & set(map(same, other.results)) for other in group)]
        found = [group for group in found if group not in together]
        found.append([*itertools.chain.from_iterable(together), change])
    for group in found:
        group.sort(key=_order)
    return found


def _order(change: Change) -> tuple[bool, bool, str]:
    return not change.beside, not change.gives_tag, change.path


def _write(group: list[Change]) -> None:
    results = [result for change in group for result in change.results]
    try:
        recipefile.write([recipefile.Write(change.path, change.old, change.new, change.renamed) for change in group])
    except recipefile.RecipeError as error:
        for result in results:
            result.fail("write", str(error))
        return
    for change in group:
        change.written = True
    for result in results:
        result.found.status = UPDATED


def _wanted(image: Image, options: Options) -> bool:
    """Tell whether --only and --exclude leave an image in."""
    return (not options.only or _is_called(image, options.only)) and not _is_called(image, options.exclude)


def _is_called(image: Image, patterns: collections.abc.Iterable[str]) -> bool:
    """Tell whether one of the patterns fits an image's name."""
    if image.source is None:
        names = [image.text]
    else:
        tagged = image.source.reference.tagged
        untagged = replace(tagged, tag=None)
        names = [tagged.familiar, tagged.canonical, untagged.familiar, untagged.canonical]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _unfit(tasks: list[Task], patterns: collections.abc.Iterable[str]) -> list[str]:
    """Return the patterns that fit no image's name."""
    images = [image for task in examined(tasks) for image in task.recipe.images]
    return [pattern for pattern in patterns if not any(_is_called(image, [pattern]) for image in images)]


def _position(result: Result) -> tuple[str, int, int]:
    image = result.image
    return image.path, image.line, image.place.offset if image.place else 0
