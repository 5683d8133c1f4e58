# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The examples on the pages of docs/, for tests that run what a page shows.

    text = pages.example("howto/mirrors.md", "Without network", MIRROR="http://127.0.0.1:1234/")
"""

from __future__ import annotations

import re

from pathlib import Path
from typing import Mapping

DOCS = Path(__file__).resolve().parents[2] / "docs"


def example(page: str, heading: str, number: int = 0, values: Mapping[str, str] | None = None) -> str:
    """Return the number-th indented block below a heading, with texts of it replaced by others; each has to be there."""
    parts = re.split(r"^#+ (.*)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    [section] = [text for title, text in zip(parts[1::2], parts[2::2]) if title == heading]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE)
    text = re.sub(r"^    ", "", blocks[number].strip("\n"), flags=re.MULTILINE) + "\n"
    for old, new in (values or {}).items():
        assert old in text, f"{old!r} is not in the example of {page}, {heading!r}: {text}"
        text = text.replace(old, new)
    return text
