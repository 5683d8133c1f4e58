# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A power cut for one file system."""

from __future__ import annotations

import fcntl
import os
import struct

from pathlib import Path

# ioctl(2) of ext4 and XFS (EXT4_IOC_SHUTDOWN), and its flag EXT4_GOING_FLAGS_NOLOGFLUSH.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


def shut_down(mount_point: Path | str) -> None:
    """Let nothing reach the disk of an ext4 file system from now on, not even its journal.

    What the disk has then is what a power cut leaves; it is seen when the file system is mounted again.
    """
    folder = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(folder)
