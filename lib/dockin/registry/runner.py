# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Runs skopeo within a time limit, and retries temporary faults. skopeo.py has its command lines."""

from __future__ import annotations

import collections.abc
import contextlib
import logging
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import typing

from dockin.image.reference import ImageReference
from dockin.registry import retries, skopeo
from dockin.registry.client import ResolveError

_logger = logging.getLogger("BitBake.Fetcher.Docker")


class Runner:
    """Runs skopeo for one user. Thread-safe."""

    def __init__(
        self,
        options: skopeo.Options,
        environment: collections.abc.Mapping[str, str],
        timeout: float,
        retries: int,
        prepare: typing.Callable[[], None] | None = None,
    ) -> None:
        """timeout is in seconds without progress.

        prepare() is called in each new process, and must not be used in a program with threads.
        """
        self._options = options
        self._environment = {**environment, "LC_ALL": "C"}
        self._timeout = timeout
        self._most = retries
        self._prepare = prepare
        self._lock = threading.Lock()
        self._checked = False
        self._admitted: set[str] = set()
        self._failing: set[str] = set()
        self._down: dict[str, skopeo.Failure] = {}

    def run(
        self,
        argv: list[str],
        reference: ImageReference,
        begin: typing.Callable[[], None] = lambda: None,
        progress: typing.Callable[[], int] = lambda: 0,
    ) -> bytes:
        """Return the output of a command that asks a reference's registry. Raises ResolveError; its message has no name.

        begin() is called before each try. progress() is called once a second, and returns a number that grows with the
        progress.
        """
        self._check_version()
        host = reference.registry
        attempt = 0
        while True:
            if host in self._down:
                raise ResolveError(self._down[host].kind, self._down[host].message)
            begin()
            failure = self._try(argv, reference, progress)
            if isinstance(failure, bytes):
                self._admitted.add(reference.name)
                self._failing.discard(host)
                return failure
            again = retries.of_skopeo(failure.kind, 0 if host in self._failing else self._most)
            if failure.kind == "auth" and reference.name in self._admitted:
                # The token has expired: a restarted skopeo requests another one.
                again = min(self._most, 1)
            if attempt >= again:
                if attempt:
                    # A permanent failure costs its retries only once.
                    self._failing.add(host)
                if failure.kind in ("network", retries.SILENT):
                    self._down[host] = failure
                raise ResolveError(failure.kind, failure.message)
            delay = retries.delay(attempt)
            _logger.info("%s: %s; trying again in %.1f s", reference.familiar, failure.message, delay)
            time.sleep(delay)
            attempt += 1

    def _try(
        self, argv: list[str], reference: ImageReference, progress: typing.Callable[[], int]
    ) -> bytes | skopeo.Failure:
        """Return a command's output, or why it failed."""
        _logger.debug("Running %s", shlex.join(argv))
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=self._environment,
                    preexec_fn=self._prepare,
                )
            except OSError as error:
                raise ResolveError("other", f"{argv[0]} can't be run: {error.strerror}") from error
            try:
                ended = self._wait(process, progress)
            finally:
                _end(process)
            if not ended:
                return skopeo.Failure(
                    retries.SILENT,
                    f"{reference.registry} has sent nothing of {reference.familiar} for {self._timeout:g} s"
                    " (DOCKIN_FETCH_TIMEOUT), or has told skopeo to wait because of too many requests",
                )
            output.seek(0)
            errors.seek(0)
            if process.returncode == 0:
                return output.read()
            return skopeo.classify(errors.read().decode(errors="replace"), -process.returncode)

    def _wait(self, process: subprocess.Popen[bytes], progress: typing.Callable[[], int]) -> bool:
        """Wait for the end of a process; return False if it makes no progress for too long."""
        seen, deadline = progress(), time.monotonic() + self._timeout
        # A thread, because Popen.wait() with a time limit polls, and sees the end up to 0.05 s late.
        waiting = threading.Thread(target=process.wait, daemon=True)
        waiting.start()
        while True:
            waiting.join(1)
            if not waiting.is_alive():
                return True
            now = progress()
            if now != seen:
                seen, deadline = now, time.monotonic() + self._timeout
            elif time.monotonic() > deadline:
                return False

    def _check_version(self) -> None:
        with self._lock:
            if self._checked:
                return
            argv = skopeo.version_argv(self._options)
            try:
                output = subprocess.check_output(argv, env=self._environment, stdin=subprocess.DEVNULL, timeout=60)
                skopeo.check_version(output.decode(errors="replace"))
            except FileNotFoundError as error:
                raise ResolveError(
                    "other",
                    f"{argv[0]} is not there: install skopeo on this host (Debian, Ubuntu, Fedora: package skopeo)",
                ) from error
            except (OSError, subprocess.SubprocessError) as error:
                raise ResolveError("other", f"{shlex.join(argv)} failed: {error}") from error
            except skopeo.SkopeoError as error:
                raise ResolveError("other", str(error)) from error
            self._checked = True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants."""
    # After its end, another process may have its number.
    helpers = _descendants(process.pid) if process.poll() is None else set()
    process.kill()
    process.wait()
    for pid in helpers:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> set[int]:
    """Return the descendants of a process: skopeo's credential helpers, which would wait for ever.

    The helpers cannot get their own process group, because BitBake kills the whole group of a task.
    """
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (command) state parent …; a command may have spaces and brackets
            parents[int(path.parent.name)] = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found - {pid}
        found |= more
