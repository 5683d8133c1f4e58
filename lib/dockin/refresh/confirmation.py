# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a refresh is about to write, confirmed: the new texts are read again, and have to say what is wanted.

That is the new tag and pin of each image that moves, all else as it was, and nothing that the class would refuse. Where the
recipe's other files name an image, they change with it. What can't be confirmed is not written.
A recipe is read again by what has read it: textreader, or BitBake where it has parsed the recipe.
"""

from __future__ import annotations

import collections
import collections.abc
import itertools
import os
import typing
from dataclasses import dataclass, field, replace

from dockin.errors import DockinError
from dockin.image.reference import ImageReference
from dockin.recipe import mentions, recipefile, source, yoctolayers
from dockin.recipe.bitbaketext import Spot
from dockin.recipe.recipefile import Edit, Image, Recipe
from dockin.target import units

if typing.TYPE_CHECKING:
    from dockin.refresh.engine import Result, Task


class Unconfirmed(DockinError):
    """An edit would do something else than what is wanted, or more."""


@dataclass
class Draft:
    """New texts for files, and what each edit in them is for."""

    edits: dict[str, dict[Edit, list[Result]]] = field(
        default_factory=lambda: collections.defaultdict(lambda: collections.defaultdict(list))
    )
    """By the path of the file."""
    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    """New paths of recipes."""
    renaming: dict[str, list[Result]] = field(default_factory=lambda: collections.defaultdict(list))
    """By the old path, the results for which a recipe is renamed."""

    def texts(self) -> dict[str, str | None]:
        """Return what there will be to read, by real path."""
        found: dict[str, str | None] = {os.path.realpath(path): text for path, text in self.new.items()}
        for path, renamed in self.renamed.items():
            found[os.path.realpath(renamed)] = self.new.get(path, self.old[path])
            found[os.path.realpath(path)] = None
        return found


class Drafts:
    """Makes drafts of what results change."""

    def __init__(
        self, results: list[Result], tasks: list[Task], edits_of: collections.abc.Callable[[Result], list[Edit]]
    ) -> None:
        """edits_of gives the edits in a recipe's own files that bring an image up to date, or raises DockinError."""
        self._recipes = list({id(task.recipe): task.recipe for task in tasks}.values())
        self._numbers = {id(image): (id(one), number) for one in self._recipes for number, image in enumerate(one.images)}
        self._edits_of = edits_of
        self._beside: dict[int, dict[str, str]] = {}
        self._before: dict[int, Recipe | None] = {}

    def refused(self, results: list[Result]) -> list[tuple[Result, DockinError]]:
        """Return the results that can't all be written, with the reason; what shares an edit is refused together."""
        # Digests first: a new tag gives way to them.
        groups = sorted(self._tied(results), key=lambda group: any(one.upgraded for one in group))
        return self._refused_of(groups, collections.defaultdict(list))

    def _refused_of(
        self, groups: list[list[Result]], accepted: dict[str, list[Result]]
    ) -> list[tuple[Result, DockinError]]:
        """Return what is refused of groups, half by half, as few are; accepted has, by file, what there is besides."""
        if not groups:
            return []
        paths = set(self._paths(itertools.chain.from_iterable(groups)))
        near = {id(one): one for path in paths for one in accepted[path]}
        try:
            self.make([*near.values(), *itertools.chain.from_iterable(groups)])
        except DockinError as error:
            if len(groups) == 1:
                return [(one, error) for one in groups[0]]
            middle = len(groups) // 2
            return self._refused_of(groups[:middle], accepted) + self._refused_of(groups[middle:], accepted)
        for group in groups:
            for path in set(self._paths(group)):
                accepted[path] += group
        return []

    def make(self, results: list[Result]) -> Draft:
        """Return the draft of what results change. Raises DockinError where it can't be confirmed."""
        draft = Draft()
        for result in results:
            for edit in self._edits_of(result):
                draft.edits[edit.spot.path][edit].append(result)
                draft.old[edit.spot.path] = result.recipe.files[edit.spot.path]
            if result.renamed:
                draft.renamed[result.recipe.path] = result.renamed
                draft.renaming[result.recipe.path].append(result)
                draft.old[result.recipe.path] = result.recipe.files[result.recipe.path]
        direct = {path: list(edits) for path, edits in draft.edits.items()}
        for recipe in {id(result.recipe): result.recipe for result in results}.values():
            self._follow(draft, recipe, [result for result in results if result.recipe is recipe], direct)
        for path, edits in draft.edits.items():
            draft.new[path] = recipefile.apply(draft.old[path], edits)
        self._confirm(draft, results)
        return draft

    def _tied(self, results: list[Result]) -> list[list[Result]]:
        """Return results in groups of those that share an edit or the name of a recipe."""
        groups: list[tuple[set[object], list[Result]]] = []
        for result in results:
            marks: set[object] = {id(result)}
            try:
                marks.update((os.path.realpath(one.spot.path), one.spot.start) for one in self._edits_of(result))
            except DockinError:
                pass  # it is refused for that
            if result.renamed:
                marks.add(result.recipe.path)
            together = [group for group in groups if not marks.isdisjoint(group[0])]
            groups = [group for group in groups if group not in together]
            members = [one for group in together for one in group[1]]
            groups.append((marks.union(*(group[0] for group in together)), [*members, result]))
        return [group for _, group in groups]

    def _paths(self, results: collections.abc.Iterable[Result]) -> typing.Iterator[str]:
        """Yield the files of the recipes that results are of."""
        for result in results:
            yield from map(os.path.realpath, (*result.recipe.files, *self._files(result.recipe)))

    def _files(self, recipe: Recipe) -> dict[str, str]:
        if id(recipe) not in self._beside:
            self._beside[id(recipe)] = mentions.files(recipe)
        return self._beside[id(recipe)]

    def _follow(self, draft: Draft, recipe: Recipe, results: list[Result], direct: dict[str, list[Edit]]) -> None:
        """Add the edits of places that name images which move."""
        old = _references(recipe)
        moved = {self._numbers[id(result.image)][1]: result for result in results}
        new = {**old, **{number: _wanted(result) for number, result in moved.items()}}
        beside = self._files(recipe)
        for one in mentions.find(recipe, beside, old, any(result.upgraded for result in results)):
            texts = {one.renewed(old[number], new[number]) for number in one.owners}
            if len(texts) > 1:
                raise Unconfirmed(f"{one.where} names {one.text}, which is of several images that become different ones")
            spot = Spot(one.path, one.start, one.start + len(one.text))
            if texts == {one.text} or any(_meet(spot, edit.spot) for edit in direct.get(one.path, ())):
                continue
            draft.old[one.path] = beside.get(one.path) or recipe.files[one.path]
            draft.edits[one.path][Edit(spot, texts.pop())] += [moved[number] for number in one.owners if number in moved]

    def _confirm(self, draft: Draft, results: list[Result]) -> None:
        """Read again what a draft changes. Raises Unconfirmed where anything but the wanted comes of it."""
        texts = draft.texts()
        changed = set(texts)
        aside = not changed.issubset(os.path.realpath(path) for result in results for path in result.recipe.files)
        for recipe in self._recipes:
            files = [*recipe.files, *(self._files(recipe) if aside else ())]
            if not recipe.again or changed.isdisjoint(map(os.path.realpath, files)):
                continue
            if id(recipe) not in self._before:
                self._before[id(recipe)] = recipe.again({}, "")
            before = self._before[id(recipe)]
            assert before
            renamed = draft.renamed.get(recipe.path, "")
            after = recipe.again(texts, renamed)
            _compare(recipe, before, after, results, {recipe.path: renamed} if renamed else {})
            self._compare_mentions(recipe, before, after, texts)

    def _compare_mentions(self, recipe: Recipe, before: Recipe, after: Recipe, texts: yoctolayers.Texts) -> None:
        """Raise Unconfirmed where something named an image of a recipe, and does not any more."""
        old, new = _references(before), _references(after)
        tags = any(old[number].tag != new[number].tag for number in old)
        beside = self._files(recipe)
        later = {path: texts.get(os.path.realpath(path)) or text for path, text in mentions.files(after).items()}
        if mentions.folders(before) != mentions.folders(after):
            lost = [*map(recipe.shown, sorted(mentions.folders(before) - mentions.folders(after)))]
            raise Unconfirmed(f"{', '.join(lost)} is for this version of {recipe.name} alone: use devtool upgrade")
        left = collections.Counter(_key(one, after) for one in mentions.find(after, later, new, tags))
        for one in mentions.find(before, beside, old, tags):
            key = _key(one, before)
            left[key] -= 1
            if left[key] < 0:
                raise Unconfirmed(f"{one.where} would not name the image any more that it names as {one.text}")


def _key(mention: mentions.Mention, recipe: Recipe) -> tuple[str, tuple[int, ...], bool]:
    digest = mention.text.partition("@")[2]
    images = _references(recipe)
    pinned = not digest or any(images[number].digest == digest for number in mention.owners)
    return "" if mention.path == recipe.path else mention.path, mention.owners, pinned


def _references(recipe: Recipe) -> dict[int, ImageReference]:
    return {number: image.source.reference for number, image in enumerate(recipe.images) if image.source}


def _wanted(result: Result) -> ImageReference:
    """Return what an image is to become."""
    assert result.reference
    tag = result.found.new.tag if result.upgraded else result.reference.tag
    return replace(result.reference, tag=tag, digest=result.found.new.index)


def _meet(one: Spot, other: Spot) -> bool:
    return one.start < other.end and other.start < one.end


def _compare(recipe: Recipe, before: Recipe, after: Recipe, results: list[Result], renamed: dict[str, str]) -> None:
    """Raise Unconfirmed where a recipe would not be as it was, but for what results want.

    Files, words of SRC_URI and images stay, and no other image changes. A tag that stands outside of its entry does not move
    while anything in the recipe is unknown: that may have it, too.
    """
    mine = {id(result.image): result for result in results}
    unknown = next(_unknown(before), "")
    moved = next((one.image for one in results if one.upgraded and _gives_tag(one.image, recipe)), None)
    if unknown and moved:
        why = f"may have its version from where {moved.text} has it: use devtool upgrade"
        raise Unconfirmed(f"{unknown} is not known here, and {why}")
    for old, new in zip(before.words, after.words):
        if old.characters != new.characters:
            raise Unconfirmed(f"{old.characters} has its version from there, too, and would be {new.characters}")
    if [renamed.get(path, path) for path in before.files] != [*after.files]:
        lost = set(before.files).symmetric_difference(after.files).difference(renamed, renamed.values())
        which = ", ".join(sorted(map(recipe.shown, lost))) or recipe.path
        raise Unconfirmed(f"{recipe.shown(recipe.path)} would be without {which}: use devtool upgrade")
    if (before.name, len(before.words), len(before.images)) != (after.name, len(after.words), len(after.images)):
        raise Unconfirmed(f"{recipe.shown(recipe.path)} would have other entries in SRC_URI")
    for image, old_image, new_image in zip(recipe.images, before.images, after.images):
        if not old_image.source or old_image.problem:
            # Of what it is nothing is known, but for the places that it may be made of.
            if _parts(before, old_image) != _parts(after, new_image):
                raise Unconfirmed(f"{_place(recipe, image)}, {image.text}, may have its tag or pin from there, too")
            continue
        if not new_image.source or new_image.problem:
            raise Unconfirmed(f"{_place(recipe, image)} would not be understood: {new_image.problem}")
        result = mine.get(id(image))
        allowed = [_with(old_image.source, _wanted(result))] if result else [old_image.source]
        if not result:
            same = [one for one in results if one.reference and one.reference.tagged == old_image.source.reference.tagged]
            allowed += [_with(old_image.source, _wanted(one)) for one in same]
        if new_image.source not in allowed:
            what = new_image.source.url
            place = _place(recipe, image)
            raise Unconfirmed(f"{place}, {image.text}, would become {what}: give each image its own tag and pin")
    _check_as_class(before, after)


def _with(entry: source.DockerSource, reference: ImageReference) -> source.DockerSource:
    return replace(entry, reference=reference)


def _unknown(recipe: Recipe) -> typing.Iterator[str]:
    """Yield the entries of SRC_URI of which it is not known what they are made of, as a message may have them."""
    yield from (word.characters for word in recipe.words if "${" in word.characters)
    yield from (image.text for image in recipe.images if "${" in image.entry.characters or not image.source or image.problem)


def _gives_tag(image: Image, recipe: Recipe) -> bool:
    """Tell whether an image's tag is in a recipe's files, or their names, and other entries can have it from there, too."""
    path = image.tag.path if image.tag else image.tag_file
    return not image.tag_is_written_out and os.path.realpath(path) in map(os.path.realpath, recipe.files)


def _parts(recipe: Recipe, image: Image) -> tuple[str, list[str]]:
    return image.text, [recipe.files[spot.path][spot.start : spot.end] for spot in image.pins]


def _place(recipe: Recipe, image: Image) -> str:
    return f"{recipe.shown(image.path)}:{image.line}"


def _check_as_class(before: Recipe, after: Recipe) -> None:
    """Raise what the class would, where it would not before: of what depends on overrides it need not have all."""
    pairs = [(old.source, new) for old, new in zip(before.images, after.images) if old.source and new.source]
    for number, (old, image) in enumerate(pairs):
        assert image.source
        units.unit_name(image.source.reference)
        for other_old, other in pairs[:number]:
            if old.reference.stem != other_old.reference.stem:
                source.parse_src_uri(f"{other.entry.characters} {image.entry.characters}")
