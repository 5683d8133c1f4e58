# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A refresh's outcome, for people, for pull requests and for programs.

The same registries and files give the same output: sorted, and without times.
"""

from __future__ import annotations

import collections.abc
import difflib
import json
import os
import pathlib
import re
import typing

from dockin.errors import readable
from dockin.image import reference
from dockin.refresh import findings
from dockin.refresh.engine import Change, Report, Result
from dockin.refresh.findings import Documents, Finding
from dockin.registry import client

SCHEMA = 1
MAX_MARKDOWN = 60_000
"""Characters; GitHub takes 65,536 as the text of a pull request."""
# Of what somebody else may have made long: names of a list, and characters of one text.
_MOST_NAMES = 10
_MOST_CHARACTERS = 300
_COUNTED = {
    "stale": (findings.STALE,),
    "updated": (findings.UPDATED,),
    "index_only": (findings.INDEX_ONLY,),
    "current": (findings.CURRENT,),
    "unpinned": (findings.UNPINNED,),
    "held": (findings.HELD,),
    "lost": (findings.LOST,),
    "errors": (findings.ERROR, findings.TAG_GONE),
}


def mode(report: Report) -> str:
    """Return check, dry-run or refresh."""
    options = report.options
    return "check" if options.check else "dry-run" if options.dry_run else "refresh"


def as_json(report: Report, statistics: client.Statistics) -> str:
    """Return the outcome as JSON."""
    document = {
        "schema": SCHEMA,
        "tool": "meta-dockin",
        "mode": mode(report),
        "summary": {"images": len(report.results), **{key: report.count(*found) for key, found in _COUNTED.items()}},
        "network": {
            "requests": statistics.requests,
            "counted_pulls": statistics.counted_pulls,
            "ratelimit": statistics.rate_limits,
        },
        "images": [_image(result) for result in report.results],
        "notes": report.notes,
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def as_text(report: Report, statistics: client.Statistics) -> str:
    """Return a line for each image, what could not be done, and a summary."""
    lines = [_line(result) for result in report.results]
    lines += [f"note: {note}" for note in report.notes]
    counts = [_count(report.count(*found), key) for key, found in _COUNTED.items() if report.count(*found)]
    network = f"{statistics.requests} requests, {statistics.counted_pulls} counted pulls"
    limits = [
        f"{host}: {limit['remaining']} of {limit.get('limit', '?')} pulls left"
        for host, limit in sorted(statistics.rate_limits.items())
        if "remaining" in limit
    ]
    images = f"{len(report.results)} image{'' if len(report.results) == 1 else 's'}"
    lines.append(" · ".join([f"{images}: {', '.join(counts)}" if counts else images, network, *limits]))
    return readable("\n".join(lines)) + "\n"


def _count(number: int, key: str) -> str:
    return f"{number} {'error' if (number, key) == (1, 'errors') else key.replace('_', '-')}"


def as_markdown(report: Report, statistics: client.Statistics) -> str:
    """Return tables for the text of a pull request: what changes, and what needs somebody's attention."""
    moved = [result for result in report.results if result.status in (findings.STALE, findings.UPDATED)]
    others = [result for result in report.results if result.failed or result.status in (findings.LOST, findings.HELD)]
    unchanged = len(report.results) - len(moved) - len(others)
    lines = ["## Container image digests", ""]
    if moved:
        lines += ["| Recipe | Image | Old | New | |", "|---|---|---|---|---|"]
        lines += [_row(result) for result in moved]
    else:
        lines.append("No image has a new digest.")
    if others:
        lines += ["", "### Not refreshed", "", "| Recipe | Image | Why |", "|---|---|---|"]
        lines += [f"| {' | '.join(map(_code, (r.recipe.name, _name(r), _reason(r))))} |" for r in others]
    if report.notes:
        lines += ["", "### Notes", "", *(f"- {_code(note)}" for note in report.notes)]
    lines += ["", f"{unchanged} of {len(report.results)} images need no change."]
    text = readable("\n".join(lines)) + "\n"
    if len(text) > MAX_MARKDOWN:
        end = text.rindex("\n", 0, MAX_MARKDOWN)
        text = f"{text[:end]}\n\nMore than a pull request holds: the whole is in the job's log.\n"
    return text


def as_diff(report: Report) -> str:
    """Return a unified diff of what the run changes, or would change, as git apply takes it.

    Paths are from the top of the git work tree that a file is in, or else from the working directory.
    """
    return "".join(_file_diff(change) for change in report.changes)


def _file_diff(change: Change) -> str:
    before = change.path if change.renamed else os.path.realpath(change.path)
    old, new = _from_top(before), _from_top(change.renamed or before)
    text = f"diff --git a/{old} b/{new}\n"
    if change.renamed:
        ratio = difflib.SequenceMatcher(None, _lines(change.old), _lines(change.new)).ratio()
        text += f"similarity index {int(100 * ratio)}%\nrename from {old}\nrename to {new}\n"
    for line in difflib.unified_diff(_lines(change.old), _lines(change.new), f"a/{old}", f"b/{new}"):
        text += line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
    return text


def _from_top(path: str) -> str:
    """Return a path as git shows it."""
    full = pathlib.Path(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    top = next((parent for parent in full.parents if (parent / ".git").exists()), None)
    return str(full.relative_to(top)) if top else os.path.relpath(path)


def _lines(text: str) -> list[str]:
    """Return the lines as diff counts them: str.splitlines() knows more line ends."""
    return re.findall(r"[^\n]*\n|[^\n]+$", text)


def _image(result: Result) -> dict[str, typing.Any]:
    named, image, found = result.reference, result.image, result.found
    error = {"kind": found.error_kind, "message": found.message} if found.error_kind else None
    return {
        "recipe": result.recipe.name,
        "layer": result.recipe.layer_name,
        "file": result.recipe.shown(image.path),
        "line": image.line,
        "uri": image.text.partition(";")[0],
        "registry": named.registry if named else None,
        "repository": named.repository if named else None,
        "tag": named.tag if named else None,
        "arch": result.platform.architecture if result.platform else None,
        "variant": (result.platform.variant or None) if result.platform else None,
        "old": _documents(found.old),
        "new": {**_documents(found.new), "created": found.new.created or None, "tag": found.new.tag or None},
        "kind": found.kind or None,
        "status": found.status,
        "retagged": found.retagged,
        "pin_exists": found.pin_exists,
        "platforms_gone": list(found.platforms_gone),
        "verified": found.verified,
        "resolver": found.resolver or None,
        "error": error,
    }


def _documents(documents: Documents) -> dict[str, str | None]:
    return {
        "index": documents.index or None,
        "platform": documents.platform or None,
        "config": documents.config or None,
    }


def _line(result: Result) -> str:
    where = f"{os.path.relpath(result.image.path)}:{result.image.line}"
    line = f"{result.recipe.name}: {_name(result)}"
    if result.platform:
        line += f" ({result.platform})"
    line += f"  {_digests(result.found)}{result.status}"
    if result.found.retagged:
        line += ", though the tag looks like one release: see what the publisher says"
    if result.found.platforms_gone:
        line += f", no longer built for {_few(result.found.platforms_gone)}"
    if result.found.pin_gone and result.status != findings.LOST:
        line += ", the old digest is gone from the registry"
    line += f" ({where})"
    indented = "".join(f"\n    {part}" for part in result.found.message.splitlines())
    return line + indented


def _digests(finding: Finding) -> str:
    old, new = reference.short(finding.old.index), reference.short(finding.new.index)
    if new and finding.new.tag != finding.old.tag:
        return f"{old or 'unpinned'} -> {finding.new.tag}, {new}  "
    if new and old != new:
        return f"{old or 'unpinned'} -> {new}  "
    return f"{old or new}  " if old or new else ""


def _row(result: Result) -> str:
    old, new = result.found.old, result.found.new
    remarks = []
    if result.found.retagged:
        remarks.append("the tag looks like one release")
    if result.found.platforms_gone:
        remarks.append(f"no longer built for {_few([_code(one) for one in result.found.platforms_gone])}")
    if result.found.pin_gone:
        remarks.append("old digest gone")
    if new.tag != old.tag:
        remarks.append(f"tag {_code(new.tag)}")
    digests = (reference.short(digest) for digest in (old.index, new.index))
    cells = (*map(_code, (result.recipe.name, _name(result), *digests)), ", ".join(remarks))
    return f"| {' | '.join(cells)} |"


def _reason(result: Result) -> str:
    return (result.found.message or result.status).splitlines()[0]


def _name(result: Result) -> str:
    named = result.reference
    return named.tagged.familiar if named else result.image.text


def _few(names: collections.abc.Sequence[str]) -> str:
    """Return the first names of a list that somebody else may have made long."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _code(text: str) -> str:
    """Return a code span for a table's cell, in which text stays text: no link, no mention, no HTML.

    Only \\| is no backslash there: https://github.github.com/gfm/#example-200.
    """
    text = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    # A backslash before a | would undo the one that keeps it in the cell.
    shown = text.replace("`", "'").replace("\n", " ").replace("\\|", "\\ |").replace("|", "\\|")
    return f"`{shown}`" if text else ""
