# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Files and directories beside those in DL_DIR, which other users may write as well."""

from __future__ import annotations

import contextlib
import os
import stat

from dockin.errors import DockinError
from dockin.store import deeptree


def partial(path: str) -> str:
    """Return the directory of a download of a file. Users who share a DL_DIR have one each: see make_private()."""
    return f"{path}.part-{os.geteuid()}"


def make_private(path: str) -> None:
    """Make a directory in which nobody else can write, where an earlier fetch has not left it. Raises DockinError, OSError.

    skopeo and we write there by name, and would follow the links of others. A directory that may be theirs is made anew.
    Which owner and mode a new one shows is not looked at: not every file system has them.
    """
    try:
        state = os.lstat(path)
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return
        remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DockinError(
            f"{path} is not this user's alone, and can't be removed ({error.strerror}): have its owner or root remove it"
        ) from error
    os.mkdir(path, 0o700)


def remove(path: str) -> None:
    """Remove what has a name, a directory with all in it; no error if there is nothing.

    bb.utils.remove() takes a path for a pattern, and DL_DIR may have brackets.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deeptree.remove(above, os.fsencode(os.path.basename(path)))
        finally:
            os.close(above)


def size(directory: str) -> int:
    """Return the bytes in the files of a directory in which another process works."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(root, name))
    return total
