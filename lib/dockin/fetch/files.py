# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Files and directories beside those in DL_DIR, where other users may write too."""

from __future__ import annotations

import contextlib
import os
import stat

from dockin.errors import DockinError
from dockin.store import deeptree


def partial(path: str) -> str:
    """Return the directory for the download of a file. Each user of a shared DL_DIR has one: see make_private()."""
    return f"{path}.part-{os.geteuid()}"


def make_private(path: str) -> None:
    """Make a directory in which nobody else can write, or keep an earlier fetch's. Raises DockinError, OSError.

    skopeo and the fetcher write there by name, and would follow links of other users. A directory that may belong to
    somebody else is re-created. Owner and mode of the new one are not checked, because some file systems do not have
    them.
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
            f"{path} may belong to another user, and can't be removed ({error.strerror}): have its owner or root remove it"
        ) from error
    os.mkdir(path, 0o700)


def remove(path: str) -> None:
    """Remove a file, or a directory with its content. It is no error if there is nothing.

    bb.utils.remove() interprets a path as a pattern, and DL_DIR may have brackets.
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
    """Return the total size of the files in a directory, in bytes, while another process writes there."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(root, name))
    return total
