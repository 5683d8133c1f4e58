# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.fetch.files: the directory of a download, in a DL_DIR where other users may write too."""

from __future__ import annotations

import pytest

from dockin.fetch import files


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(0o700, True), (0o750, True), (0o755, True), (0o770, False), (0o775, False), (0o702, False), (0o777, False)],
    ids=oct,
)
def test_a_directory_in_which_others_can_write_is_made_again(tmp_path, mode, kept):
    """The group of a shared DL_DIR can't put links into it, either."""
    folder = tmp_path / "part"
    folder.mkdir()
    (folder / "blob").touch()
    folder.chmod(mode)
    files.make_private(str(folder))
    assert [path.name for path in folder.iterdir()] == (["blob"] if kept else [])
    assert kept or folder.stat().st_mode & 0o777 == 0o700
