# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Pins beside what the tags stand for now in the registries: the one rule for what is current, stale or lost.

A refresh acts by it, and a status shows it.
"""

from __future__ import annotations

import collections
import collections.abc
import concurrent.futures
import contextlib
import datetime
import itertools
import typing
from dataclasses import dataclass, replace

from dockin import exitcodes
from dockin.errors import DockinError
from dockin.image import manifests, platforms
from dockin.image.reference import ImageReference
from dockin.recipe import versions
from dockin.registry.resolver import ResolveError, Resolver

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
class Rules:
    """What counts as stale."""

    pin_unpinned: bool = False
    upgrade: str = ""
    """patch, minor or major; empty for the same tag."""
    tag_regex: str = ""
    index_changes: str = "ignore"
    """What to do where only other platforms' images have changed: ignore or update."""
    min_age: float = 0
    """Seconds that a new image must be old."""
    jobs: int = 4


@dataclass(frozen=True)
class Documents:
    """Digests that belong together, as far as they are known."""

    index: str = ""
    platform: str = ""
    config: str = ""
    created: str = ""
    tag: str = ""


@dataclass
class Finding:
    """What was found out about an image, and what became of it."""

    status: str = ERROR
    old: Documents = Documents()
    new: Documents = Documents()
    retagged: bool = False
    pin_exists: bool | None = None
    platforms_gone: tuple[str, ...] = ()
    """What the pinned image is built for and the new one is not, where all platforms matter."""
    resolver: str = ""
    kind: str = ""
    """index or manifest: what the tag stands for, where the registry told."""
    error_kind: str = ""
    message: str = ""
    """The error, or why it is held."""
    verified: bool | None = None
    """Whether what the new digest stands for was read and has that digest; None where nobody read it."""

    @property
    def failed(self) -> bool:
        """Whether nothing is known or nothing could be done."""
        return self.status in (ERROR, TAG_GONE)

    @property
    def pin_gone(self) -> bool:
        """Whether the registry does not have the pinned digest any more."""
        return bool(self.old.index) and self.pin_exists is False

    def fail(self, kind: str, message: str) -> None:
        """Make it an error."""
        self.status, self.error_kind, self.message = ERROR, kind, message


Question = tuple[ImageReference, typing.Optional[platforms.Platform]]
"""An image with its tag and pin, and the platform that matters; None for all that an image has."""


@dataclass(frozen=True)
class Tags:
    """Which newer tags can be taken."""

    before: str = ""
    behind: str = ""
    """What they have before and behind what changes."""
    without: frozenset[str] = frozenset()

    def allow(self, tag: str) -> bool:
        """Tell whether a tag is one of them."""
        room = len(tag) > len(self.before + self.behind)
        return room and tag.startswith(self.before) and tag.endswith(self.behind) and tag not in self.without


_Wanted = tuple[Question, Tags]


def compare(
    questions: collections.abc.Sequence[Question],
    rules: Rules,
    resolver: Resolver,
    now: datetime.datetime | None = None,
    tags: collections.abc.Sequence[Tags] = (),
) -> list[Finding]:
    """Return what is found out about each image: several are looked up at once, and what occurs twice only once.

    tags are, for each question, the newer tags that can be taken; by default all.
    """
    comparison = _Comparison(rules, resolver, now or datetime.datetime.now(datetime.timezone.utc))
    wanted = list(zip(questions, [*tags] or [Tags()] * len(questions)))
    different = _mixed(list(dict.fromkeys(wanted)))
    pool = concurrent.futures.ThreadPoolExecutor(max(1, rules.jobs))
    try:
        found = dict(zip(different, pool.map(comparison.finding, different)))
    finally:
        # Without waiting: all are done, or somebody has interrupted it.
        pool.shutdown(wait=False, cancel_futures=True)
    return [replace(found[one]) for one in wanted]


def exit_code(findings: collections.abc.Sequence[Finding], check: bool) -> int:
    """Return the exit code of a command, a refresh or a status, by the findings that count; check stands for --check."""
    if any(finding.status == LOST or (check and finding.pin_gone) for finding in findings):
        return exitcodes.LOST
    failed = sum(finding.failed for finding in findings)
    if failed:
        return exitcodes.PARTIAL if failed < len(findings) else exitcodes.ERROR
    if check and any(finding.status == STALE for finding in findings):
        return exitcodes.STALE
    return exitcodes.FINE


class _Comparison:
    """Finds out about one image at a time what is to be done."""

    def __init__(self, rules: Rules, resolver: Resolver, now: datetime.datetime) -> None:
        self._rules = rules
        self._resolver = resolver
        self._now = now

    def finding(self, wanted_of: _Wanted) -> Finding:
        """Return what is found out about the newest tag that is old enough and has the image, or about the same tag."""
        (named, platform), tags = wanted_of
        passed_over = []
        try:
            newer = [reference for reference in self._newer(named) if tags.allow(reference.tag or "")]
        except (DockinError, OSError) as error:
            found = Finding(old=Documents(index=named.digest or "", tag=named.tag or ""))
            found.fail(error.kind if isinstance(error, ResolveError) else "other", str(error))
            return found
        for wanted in newer:
            found = self._finding(named, platform, wanted)
            if found.status != HELD and found.error_kind not in ("not-found", "arch-missing"):
                return found
            passed_over.append(f"{wanted.tag} is passed over: {found.message}")
        found = self._finding(named, platform, named.tagged)
        found.message = "\n".join(filter(None, [found.message, *passed_over]))
        return found

    def _finding(self, named: ImageReference, platform: platforms.Platform | None, wanted: ImageReference) -> Finding:
        found = Finding()
        try:
            self._examine(found, named, platform, wanted)
        except ResolveError as error:
            found.fail(error.kind, str(error))
        except platforms.PlatformError as error:
            found.fail("arch-missing", str(error))
        except DockinError as error:
            found.fail("content", str(error))
        except OSError as error:
            found.fail("other", str(error))
        return found

    def _examine(
        self, found: Finding, named: ImageReference, platform: platforms.Platform | None, wanted: ImageReference
    ) -> None:
        pin = named.digest or ""
        found.old = Documents(index=pin, tag=named.tag or "")
        found.resolver = self._resolver.kind(named)
        try:
            digest = self._resolver.digest(wanted)
            if digest != pin and (pin or self._rules.pin_unpinned):
                # Before anything changes it is read: that HEAD is answered so does not say what a GET gets.
                digest = self._resolver.digest_read(wanted)
        except ResolveError as error:
            if error.kind != "not-found" or not pin:
                raise
            found.resolver = self._resolver.kind(named)
            found.pin_exists = self._exists(named)
            found.status = TAG_GONE if found.pin_exists else LOST
            found.error_kind, found.message = "not-found", str(error)
            return
        found.resolver = self._resolver.kind(named)
        found.kind = self._resolver.document_kind(digest)
        found.new = Documents(index=digest, tag=wanted.tag or "")
        if not pin:
            found.status = STALE if self._rules.pin_unpinned or wanted.tag != named.tag else UNPINNED
        elif digest == pin and wanted.tag == named.tag:
            found.status, found.pin_exists = CURRENT, True
        else:
            self._examine_change(found, platform, wanted, named)
        if found.status == STALE:
            # Before it is written: the registry really has an image there, under this digest and for this platform.
            pinned = replace(wanted, tag=None, digest=digest)
            self._entries(pinned, platform)
            found.verified = True
            if not platform and found.pin_exists:
                found.platforms_gone = self._gone(named, pinned)
            if self._rules.min_age:
                self._hold_young(found, platform, wanted)

    def _examine_change(
        self, found: Finding, platform: platforms.Platform | None, wanted: ImageReference, named: ImageReference
    ) -> None:
        digest = found.new.index
        found.pin_exists = digest == named.digest or self._exists(named)
        found.status = STALE
        if wanted.tag != named.tag:
            return
        found.retagged = versions.is_exact(named.tag or "")
        if not found.pin_exists:
            return
        if self._rules.index_changes == "ignore":
            old = self._entries(named, platform)
            new = self._entries(replace(wanted, tag=None, digest=digest), platform)
            if platform:
                found.old = replace(found.old, platform=next(iter(old.values()), ""))
                found.new = replace(found.new, platform=next(iter(new.values()), ""))
            found.verified = True
            if _same(old, new):
                found.status = INDEX_ONLY

    def _newer(self, named: ImageReference) -> list[ImageReference]:
        """Return the references of newer tags that the rules allow, the newest first."""
        if not self._rules.upgrade or not versions.parse(named.tag or ""):
            return []
        tags = self._resolver.tags(named.tagged)
        newer = versions.upgrades(tags, named.tag or "", self._rules.upgrade, self._rules.tag_regex)
        return [replace(named.tagged, tag=tag) for tag in newer]

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
            return {str(platform): self._resolver.entry(pinned, document, platform).digest}
        entries = [entry for entry in document.manifests if entry.platform is None or entry.platform.os != "unknown"]
        return {str(entry.platform): entry.digest for entry in entries}

    def _gone(self, old: ImageReference, new: ImageReference) -> tuple[str, ...]:
        """Return for which platforms a pinned index or image is and another one is not, as far as they tell."""
        with contextlib.suppress(DockinError):
            before, after = self._platforms(old), self._platforms(new)
            if None not in after:
                return tuple(sorted(str(platform) for platform in before - after if platform))
        return ()

    def _platforms(self, pinned: ImageReference) -> set[platforms.Platform | None]:
        document = manifests.parse(self._resolver.document(pinned))
        if isinstance(document, manifests.Index):
            stated = (entry.platform for entry in document.manifests)
            return {platform for platform in stated if platform is None or platform.os != "unknown"}
        config = self._resolver.config(pinned)[2]
        return {platforms.Platform(config.os, config.architecture, config.variant)}

    def _hold_young(self, found: Finding, platform: platforms.Platform | None, wanted: ImageReference) -> None:
        """Hold back an image that was made too recently; one that does not tell its age is old enough."""
        pinned = replace(wanted, tag=None, digest=found.new.index)
        manifest_digest, config_digest, config = self._resolver.config(pinned, platform)
        found.new = replace(
            found.new,
            platform=manifest_digest if platform else "",
            config=config_digest if platform else "",
            created=config.created,
        )
        created = manifests.moment(config.created)
        if created is None or created < _EARLIEST:
            found.message = "the image does not tell its age"
        elif (self._now - created).total_seconds() < self._rules.min_age and found.pin_exists is not False:
            found.status, found.message = HELD, f"created {config.created}, younger than wanted"


def _mixed(questions: list[_Wanted]) -> list[_Wanted]:
    """Return the questions so that registries take turns: one that hangs then does not hold up those behind it."""
    queues: dict[str, list[_Wanted]] = collections.defaultdict(list)
    for question in questions:
        queues[question[0][0].registry].append(question)
    rounds = itertools.zip_longest(*queues.values())
    return [question for round_ in rounds for question in round_ if question]


def _same(old: dict[str, str], new: dict[str, str]) -> bool:
    """Tell whether every platform's image is what it was; new platforms don't matter to who did without."""
    if "" in old or "" in new:
        return bool(set(old.values()) & set(new.values()))
    return bool(old) and all(new.get(platform) == digest for platform, digest in old.items())
