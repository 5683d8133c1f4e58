# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Root's rights for those parts of the test bed that need them, where we are somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess


def works() -> bool:
    """Tell whether sudo gives root's rights without asking for a password."""
    if not shutil.which("sudo"):
        return False
    return subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=60, check=False).returncode == 0


def command(*argv: str) -> list[str]:
    """Return the command as root has to call it, or as we have to so that root does."""
    return list(argv) if os.geteuid() == 0 else ["sudo", "-n", *argv]
