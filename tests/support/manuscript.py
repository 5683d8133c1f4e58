# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a document tells its reader to do: commands with their output, and files; and a shell to do it in.

    for step in manuscript.read(path):
        if isinstance(step, manuscript.File): …      # an indented block behind "… `conf/local.conf`:"
        else: step.prompt, step.command, step.output # an indented line with "$ " or "# ", and the lines below it

"…" in an output stands for any text.
"""

from __future__ import annotations

import re
import secrets
import selectors
import subprocess
import time

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping

_FILE = re.compile(r"`([^`]+)`:$")
_PROMPT = re.compile(r"([$#]) (.*)")
INDENT = "    "


@dataclass(frozen=True)
class File:
    """A text that the reader writes into a file, or adds to it."""

    path: str
    text: str
    added: bool


@dataclass(frozen=True)
class Command:
    """A command that the reader types, and what the document shows of its output."""

    prompt: str
    """$ on the build host, # on the device."""
    command: str
    output: tuple[str, ...]

    def differs(self, said: str) -> str:
        """Return the first line of the document that the output does not have, in this order; "" if all are there."""
        lines = iter(said.splitlines())
        for wanted in self.output:
            pattern = re.compile(r"\s*".join(re.escape(word) for word in wanted.split()).replace("…", ".*"))
            if wanted.strip() not in ("", "…") and not any(pattern.fullmatch(line.strip()) for line in lines):
                return wanted
        return ""


def read(path: Path) -> Iterator[File | Command]:
    """Yield what a document says, in its order."""
    before = ""
    for paragraph in _paragraphs(path.read_text().splitlines()):
        if not paragraph[0].startswith(INDENT):
            before = " ".join(paragraph)
            continue
        lines = [line[len(INDENT):] for line in paragraph]
        named = _FILE.search(before)
        if named:
            yield File(named[1], "\n".join(lines) + "\n", added="dd to `" in before)
        else:
            yield from _commands(lines)
        before = ""


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Yield paragraphs; an indented block goes on behind an empty line that an indented one follows."""
    found: list[str] = []
    for line, after in zip(lines, [*lines[1:], ""]):
        if line:
            found.append(line)
        elif found and found[-1].startswith(INDENT) and after.startswith(INDENT):
            found.append(INDENT)
        elif found:
            yield found
            found = []
    if found:
        yield found


def _commands(lines: list[str]) -> Iterator[Command]:
    prompt, command, output = "", "", list[str]()
    for line in lines:
        begins = _PROMPT.match(line)
        if command.endswith("\\"):
            command += "\n" + line
        elif begins:
            if command:
                yield Command(prompt, command, tuple(output))
            prompt, command, output = begins[1], begins[2], []
        else:
            output.append(line)
    if command:
        yield Command(prompt, command, tuple(output))


class Shell:
    """A bash that keeps its directory and variables between commands; use as a context manager."""

    def __init__(self, directory: Path, environment: Mapping[str, str], **options: Any) -> None:
        """options are Popen's, such as who runs it."""
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=directory, env=dict(environment), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """Run a command; return its exit status and output. Raises TimeoutError."""
        assert self._process.stdin and self._process.stdout
        end = f"--- {secrets.token_hex(8)} "
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\necho \"{end}$?\"\n".encode())
        self._process.stdin.flush()
        said, deadline = "", time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                found = re.search(rf"^{re.escape(end)}(\d+)$", said, re.MULTILINE)
                if found:
                    return int(found[1]), said[:found.start()]
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise TimeoutError(f"`{command}` took more than {seconds} s:\n{said}")
                piece = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
                if not piece:
                    raise AssertionError(f"`{command}` ended the shell:\n{said}")
                said += piece.decode(errors="replace")
