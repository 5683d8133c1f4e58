# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Commits of what a refresh has changed: one a recipe, or one for all, of the touched files only."""

from __future__ import annotations

import collections
import os
import subprocess

from dockin.errors import DockinError, one_line
from dockin.image import reference
from dockin.refresh import engine
from dockin.refresh.engine import Change, Report, Result

UNITS = ("recipe", "all")
SECONDS = 120

# As git sets them for hooks: git rev-parse --local-env-vars, and what changes the meaning of paths.
_OF_ANOTHER_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)


class CommitError(DockinError):
    """git refuses."""


def check(changes: list[Change]) -> None:
    """Refuse, before anything is written, what could not be committed alone. Raises CommitError."""
    files = sorted({os.path.realpath(change.path) for change in changes})
    for top, paths in _by_repository(files).items():
        tracked = set(_git(top, "ls-files", "-z", "--", *paths).split("\0"))
        strangers = [path for path in paths if os.path.relpath(path, top) not in tracked]
        if strangers:
            raise CommitError(f"git does not track in {top}: {', '.join(strangers)}; add that first, or go without --commit")
        dirty = _git(top, "status", "--porcelain", "--", *paths)
        if dirty:
            listed = ", ".join(line[3:] for line in dirty.splitlines())
            raise CommitError(f"The commit would take along what is not committed yet in {top}: {listed}; commit that first")
        for head in ("MERGE_HEAD", "CHERRY_PICK_HEAD"):
            if _run(top, "rev-parse", "--quiet", "--verify", head).returncode == 0:
                raise CommitError(f"{top} is in the middle of a merge or cherry-pick ({head}): finish that first")
        for ident in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            _git(top, "var", ident)  # fails where git does not know who the user is
    renamed = sorted({os.path.abspath(change.renamed) for change in changes if change.renamed})
    for top, paths in _by_repository(renamed).items():
        if _run(top, "check-ignore", "--quiet", "--no-index", "--", *paths).returncode == 0:
            raise CommitError(f"git is told to ignore one of the new names in {top}: {', '.join(paths)}; see its .gitignore")


def commit(report: Report, unit: str, signoff: bool = False) -> list[str]:
    """Commit what was written and return the subjects. Raises CommitError, as where a hook refuses it."""
    written = [change for change in report.changes if change.written]
    if unit == "all":
        groups = [written] if written else []
    else:
        # Recipes that share a tag or a pin are in one commit: each has pairs of those that fit.
        groups = engine.groups(written, lambda result: result.recipe.name)
        groups.sort(key=lambda group: min(map(_recipe, group)))
    subjects = []
    for group in groups:
        owners = {os.path.realpath(path): change for change in group for path in _paths(change)}
        for top, paths in _by_repository(sorted(owners)).items():
            results = _results([owners[path] for path in paths])
            message = _message(results, unit)
            _git(top, "add", "--all", "--", *paths)
            try:
                # Of the touched files only, whatever else is in the index.
                options = ["--quiet", *(["--signoff"] if signoff else []), "--message", message, "--only"]
                _git(top, "commit", *options, "--", *paths)
            except CommitError:
                _run(top, "reset", "--quiet", "--", *paths)  # as it was; check() has seen no changes in the index
                raise
            subjects.append(message.splitlines()[0])
    return subjects


def _paths(change: Change) -> list[str]:
    return [change.path, change.renamed] if change.renamed else [change.path]


def _recipe(change: Change) -> str:
    return min(result.recipe.name for result in change.results)


def _results(changes: list[Change]) -> list[Result]:
    """Return the results behind changes, each once."""
    return list({id(result): result for change in changes for result in change.results}.values())


def _message(results: list[Result], unit: str) -> str:
    recipes = sorted({result.recipe.name for result in results})
    scope = one_line(recipes[0]) if len(recipes) == 1 else "docker images"
    body = "\n\n".join(dict.fromkeys(_paragraph(result) for result in results))
    pins = {(result.found.old, result.found.new): result for result in results}
    if len(pins) > 1:
        return f"{scope}: refresh {len(pins)} image digests\n\n{body}\n"
    result = results[0]
    old, new = result.found.old, result.found.new
    if old.tag != new.tag:
        subject = f"upgrade {old.tag} -> {new.tag}"
    elif old.index:
        subject = f"refresh {old.tag} digest {reference.short(old.index)} -> {reference.short(new.index)}"
    else:
        subject = f"pin {new.tag} to digest {reference.short(new.index)}"
    return f"{scope}: {subject}\n\n{body}\n"


def _paragraph(result: Result) -> str:
    # No "Key: value" lines: git would take them for trailers.
    named = result.reference
    image = named.tagged.canonical if named else result.image.text
    platform = f" for {result.platform}" if result.platform else ""
    old, new = result.found.old, result.found.new
    tag = f", now {new.tag}" if old.tag != new.tag else ""
    return f"{image}{platform}{tag}\n  from {old.index or 'no pin'}\n  to   {new.index}"


def _by_repository(paths: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        found[_git(os.path.dirname(path), "rev-parse", "--show-toplevel").strip()].append(path)
    return found


def _git(directory: str, *arguments: str) -> str:
    """Return what git prints. Raises CommitError."""
    done = _run(directory, *arguments)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        silent = f"exit code {done.returncode} and no words, as of a hook that refuses it"
        raise CommitError(f"git {arguments[0]} in {directory} failed: {words or silent}")
    return done.stdout.decode(errors="surrogateescape")


def _run(directory: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # A path is a path, whatever stars it has; to check-ignore it is one anyway, and it refuses the option.
    literal = [] if arguments[0] == "check-ignore" else ["--literal-pathspecs"]
    argv = ["git", *literal, "-C", directory, *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False, env=environment
        )
    except OSError as error:
        raise CommitError(f"git can't be run: {error.strerror}; --commit needs it") from error
    except subprocess.TimeoutExpired as error:
        raise CommitError(f"git {arguments[0]} in {directory} took more than {SECONDS} s") from error
