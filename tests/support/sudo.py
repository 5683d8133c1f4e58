# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Root's rights for those parts of the test bed that need them, where we are somebody else."""

from __future__ import annotations

import shutil
import subprocess


def works() -> bool:
    """Tell whether sudo gives root's rights without asking for a password."""
    if not shutil.which("sudo"):
        return False
    return subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=60, check=False).returncode == 0
