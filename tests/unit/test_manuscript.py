# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The reader of documents that are followed by tests: what it takes for a command, a file and a difference."""

from __future__ import annotations

import os

import pytest

from support import manuscript
from support.manuscript import Command, File

TEXT = """\
# Title

Words, and a command:

    $ make \\
        all
    made …

    $ true

Add to `conf/local.conf`:

    A = "1"

    B = "2"

And `other`:

    # a comment
    x

    # reboot
"""


@pytest.fixture
def steps(tmp_path):
    path = tmp_path / "text.md"
    path.write_text(TEXT)
    return list(manuscript.read(path))


def test_commands_and_files(steps):
    assert steps == [
        Command("$", "make \\\n    all", ("made …", "")),
        Command("$", "true", ()),
        File("conf/local.conf", 'A = "1"\n\nB = "2"\n', added=True),
        File("other", "# a comment\nx\n\n# reboot\n", added=False),
    ]


@pytest.mark.parametrize("said, difference", [
    ("first\nloaded   yes\nlast\n", ""),
    ("noise\nfirst\nnoise\nloaded yes\nlast\nnoise\n", ""),
    ("first\nloaded no\nlast\n", "loaded yes"),
    ("loaded yes\nfirst\nlast\n", "loaded yes"),
    ("", "first"),
    ("first\nloaded yes\nat last\n", "last"),
])
def test_differences(said, difference):
    assert Command("$", "x", ("first", "loaded yes", "…", "last")).differs(said) == difference


def test_any_text_in_a_line():
    assert Command("$", "x", ("INFO: …/recipe.bb",)).differs("INFO: /some/where/recipe.bb") == ""
    assert Command("$", "x", ("INFO: …/recipe.bb",)).differs("INFO: recipe.bb") == "INFO: …/recipe.bb"


def test_the_shell_keeps_directory_and_variables(tmp_path):
    with manuscript.Shell(tmp_path, os.environ) as shell:
        assert shell.run("mkdir one; cd one; A=2", 20)[0] == 0
        assert shell.run('echo "$A" && pwd', 20) == (0, f"2\n{tmp_path}/one\n")
        assert shell.run("cat; false", 20) == (1, "")
        with pytest.raises(TimeoutError):
            shell.run("sleep 2", 0.5)
        with pytest.raises(AssertionError, match="ended the shell"):
            shell.run("exit 3", 40)
