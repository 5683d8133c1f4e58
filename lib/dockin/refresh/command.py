# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The command that refreshes digests: options, output and exit codes, the same in all front-ends."""

from __future__ import annotations

import argparse
import collections.abc
import os
import pathlib
import re
import sys
import typing

from dockin import exitcodes
from dockin.errors import DockinError, readable
from dockin.image import platforms
from dockin.recipe import versions
from dockin.refresh import completion, engine, findings, gitcommit, report as refresh_report
from dockin.refresh.stdout import take_bytes
from dockin.registry import settings
from dockin.registry.resolver import Resolver

DESCRIPTION = (
    "Look up what the tags of container images stand for now, and write the new digests into the recipes, at the places"
    " where the old ones stand. Exit codes: 0 fine or written; 1 error; 2 usage; 3 stale (with --check); 4 some images"
    " failed, the others are done; 5 a pinned digest is gone from its registry."
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all front-ends have."""
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="change nothing; exit with 3 if a digest is stale")
    modes.add_argument("-n", "--dry-run", action="store_true", help="change nothing; show what would change as a diff")
    commit = modes.add_argument(
        "--commit",
        action=_Commit,
        nargs="?",
        const=gitcommit.UNITS[0],
        metavar="recipe|all",
        help="commit the changed files with git: a commit for each recipe (default), or one for all",
    )
    completion.attach(commit, lambda prefix, **_: [unit for unit in gitcommit.UNITS if unit.startswith(prefix)])
    parser.add_argument("--signoff", action="store_true", help="add Signed-off-by to the commits")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the outcome as JSON")
    forms.add_argument("--markdown", action="store_true", help="print the outcome as Markdown, for a pull request")
    parser.add_argument("--output", metavar="FILE", help="write JSON or Markdown to FILE, and text to standard output")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="only images whose name fits, such as 'ghcr.io/*'"
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="no images whose name fits")
    parser.add_argument("--pin-unpinned", action="store_true", help="pin images that are not pinned, too")
    parser.add_argument("--upgrade", choices=versions.LEVELS, help="also take newer tags, up to this kind of step")
    parser.add_argument("--tag-regex", type=_regex, metavar="REGEX", help="with --upgrade: only tags in which this is found")
    parser.add_argument(
        "--index-changes",
        choices=findings.INDEX_CHANGES,
        default="ignore",
        help="what to do if only other platforms' images have changed (default: %(default)s)",
    )
    parser.add_argument(
        "--min-age", type=_duration, default=0.0, metavar="AGE", help="only images made this long ago: 36h, 3d, 1w"
    )
    add_look_up_arguments(parser)
    parser.set_defaults(taken=[])


def add_look_up_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of all commands that ask registries, from recipes' text alone if need be."""
    parser.add_argument("--platform", type=_platform, help="for images without ;platform=: the one that matters to you")
    jobs = findings.Rules.jobs
    parser.add_argument("--jobs", type=_positive, default=jobs, metavar="N", help="look-ups at once (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=_seconds, default=30.0, metavar="S", help="seconds for one request (default: %(default)g)"
    )
    parser.add_argument("--authfile", metavar="FILE", help="registry logins; default: those of skopeo and Docker")


def check_authfile(path: str | None) -> None:
    """Raise DockinError where the file of --authfile is not there."""
    if path and not os.path.isfile(path):
        raise DockinError(f"No login file {path}: --authfile wants what skopeo login or docker login writes")


def run(
    arguments: argparse.Namespace,
    read_tasks: collections.abc.Callable[[], list[engine.Task]],
    getvar: settings.GetVar,
    environment: collections.abc.Mapping[str, str],
    stdout: typing.TextIO | None = None,
    stderr: typing.TextIO | None = None,
) -> int:
    """Do it, print the outcome and return the exit code.

    getvar gives DOCKIN_ variables; environment is the user's.
    """
    stdout, stderr = stdout or sys.stdout, stderr or sys.stderr
    take_bytes(stdout, stderr)
    if (arguments.tag_regex and not arguments.upgrade) or (arguments.signoff and not arguments.commit):
        needed = "--upgrade" if arguments.tag_regex and not arguments.upgrade else "--commit"
        print(f"ERROR: {'--tag-regex' if needed == '--upgrade' else '--signoff'} needs {needed}", file=stderr)
        return exitcodes.USAGE
    if arguments.output and not (arguments.json or arguments.markdown):
        print("ERROR: --output needs --json or --markdown", file=stderr)
        return exitcodes.USAGE
    try:
        return _run(arguments, read_tasks(), getvar, environment, stdout, stderr)
    except DockinError as error:
        print(f"ERROR: {error}", file=stderr)
    except OSError as error:
        print(readable(f"ERROR: {error.filename or ''}: {error.strerror or error}"), file=stderr)
    return exitcodes.ERROR


def _run(
    arguments: argparse.Namespace,
    tasks: list[engine.Task],
    getvar: settings.GetVar,
    environment: collections.abc.Mapping[str, str],
    stdout: typing.TextIO,
    stderr: typing.TextIO,
) -> int:
    check_authfile(arguments.authfile)
    if arguments.output:
        folder = os.path.dirname(os.path.abspath(arguments.output))
        if os.path.isdir(arguments.output) or not os.access(folder, os.W_OK | os.X_OK):
            # Before recipes are changed, which then would be neither reported nor committed.
            raise DockinError(f"Can't write {arguments.output}: --output wants a file in a directory that is there")
    mode = getvar("DOCKIN_RESOLVER")
    with Resolver(settings.options(getvar, arguments.authfile or ""), environment, mode, arguments.timeout) as resolver:
        before_write = gitcommit.check if arguments.commit else lambda changes: None
        report = engine.run(tasks, _options(arguments), resolver, before_write)
        _print(arguments, report, resolver, stdout, stderr)
    if arguments.commit:
        for subject in gitcommit.commit(report, arguments.commit, arguments.signoff):
            print(f"committed: {subject}", file=stderr)
    return findings.exit_code([result.found for result in report.results], arguments.check)


def _print(
    arguments: argparse.Namespace, report: engine.Report, resolver: Resolver, stdout: typing.TextIO, stderr: typing.TextIO
) -> None:
    text = refresh_report.as_text(report, resolver.statistics)
    formatted = ""
    if arguments.json:
        formatted = refresh_report.as_json(report, resolver.statistics)
    elif arguments.markdown:
        formatted = refresh_report.as_markdown(report, resolver.statistics)
    elif arguments.dry_run:
        formatted = refresh_report.as_diff(report)
    if arguments.output:
        pathlib.Path(arguments.output).write_text(formatted, encoding="utf-8", errors="surrogateescape")
        stdout.write(text)
    elif arguments.json or arguments.markdown or arguments.dry_run:
        # Standard output can be piped: into jq, or into git apply.
        stdout.write(formatted)
        stderr.write(text)
    else:
        stdout.write(text)


def _options(arguments: argparse.Namespace) -> engine.Options:
    return engine.Options(
        check=arguments.check,
        dry_run=arguments.dry_run,
        only=tuple(arguments.only),
        exclude=tuple(arguments.exclude),
        pin_unpinned=arguments.pin_unpinned,
        upgrade=arguments.upgrade or "",
        tag_regex=arguments.tag_regex or "",
        index_changes=arguments.index_changes,
        min_age=arguments.min_age,
        jobs=arguments.jobs,
    )


class _Commit(argparse.Action):
    """--commit, --commit=all; an argument behind it that is neither is no value, but a recipe: it goes into "taken"."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | collections.abc.Sequence[typing.Any] | None,
        option_string: str | None = None,
    ) -> None:
        if values in gitcommit.UNITS:
            namespace.commit = values
            return
        namespace.commit = gitcommit.UNITS[0]
        if values:
            namespace.taken = [*namespace.taken, values]


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
    return text


def _platform(text: str) -> platforms.Platform:
    try:
        return platforms.parse(text)
    except platforms.PlatformError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 64 is expected")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds, more than 0 and at most 3600, are expected")
    return seconds


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]+)([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: a number and s, m, h, d or w are expected, such as 3d")
    return float(int(match[1]) * _UNITS[match[2]])
