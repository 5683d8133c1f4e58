# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Texts of somebody who wants more than to be read: what publishers write into labels, and registries say.

    hostile.TEXTS                       # one for each thing that text can do
    hostile.texts(20261201, 50_000)     # and combinations of them, the same for the same seed

Those that are commands make a file; that none is there is what tests look at.
"""

from __future__ import annotations

import random

from collections.abc import Iterator
from pathlib import Path

# What a command would make, in the directory that it runs in or by a full path.
MARK = "dockin-hostile-mark"

_PIECES = (
    # rpm's macros
    "%", "%%", "%(touch @MARK@)", '%{lua:io.open("@MARK@", "w"):close()}', "%{lua:", "%{?x:y}",
    "%{expand:%(touch @MARK@)}",
    "%!{x", "%dump", "%include /etc/passwd", "%{load:/etc/passwd}", "\n%prep\ntouch @MARK@\n", "%files\n", "%if 1",
    "%global x y",
    "$%{PN}", "%$%{", "%[1+1]", "%{uncompress:/etc/passwd}", "%%(touch @MARK@)",
    # BitBake's expansion and lines
    "${PN}", "${@os.system('touch @MARK@')}", "$${@1/0}", "$$${", "${", "}", '"', "'",
    '"\nSRC_URI = "http://evil.example/x',
    "\\", "\\\n", "\\n", "#", "\n#", "\\\"", "\npython () {\n    bb.fatal('x')\n}\n", "inherit image",
    ":append = \"x\"", "@@", "??=",
    # shells, control files, units
    "$(touch @MARK@)", "`touch @MARK@`", "; touch @MARK@", "| touch @MARK@", "\nDepends: evil", "\n .\n",
    "\nPre-Depends: x\n",
    "\n[Service]\nExecStartPre=/bin/touch @MARK@", "%i", "%H", "$HOME", "--option", "-x",
    # Markdown, HTML, a forge
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "![](https://evil.example/p.png)",
    "@everyone", "#1", "https://evil.example/", "www.evil.example", "|", "\\|", "``", "\n\n# Heading\n",
    "\n- [x] done", "&lt;", "-->",
    "\nSigned-off-by: Evil <evil@evil.example>", "\n::set-output name=x::y", "::error::x", "##[add-path]/x",
    "\nCloses: #1",
    # terminals and encodings
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\0", "\r", "\b\b\b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e",
    "\u2066", "\u200b",
    "\ufeff", "\ud800", "\udc80", "\udcff", "\U000e0041", "\u00ad", "\u00a0", "\u3000", "\ue000", "\uffff", "é", "日本",
    "🙂", "e\u0301",
    "\t", "\v", "\f", " ", "  ",
)
_WORDS = ("Nice app", "A", "server", "of the", "example.", "1.0", "x" * 70, "")

TEXTS = _PIECES + ("Nice app %(touch @MARK@)", "x" * 100_000, "%" * 1000, "\ud800" * 10)


def texts(seed: int, count: int) -> Iterator[str]:
    """Yield hostile texts: first each by itself, then random rows of them and of plain words."""
    yield from TEXTS[:count]
    chosen = random.Random(seed)
    for _ in range(count - len(TEXTS)):
        yield "".join(chosen.choice(_PIECES if chosen.random() < 0.7 else _WORDS) for _ in range(chosen.randint(1, 9)))


def aim(text: str, mark: Path) -> str:
    """Return a text whose commands make the file mark."""
    return text.replace("@MARK@", str(mark))
