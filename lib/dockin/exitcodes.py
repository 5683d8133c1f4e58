# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Exit codes of the tools, the same in scripts/dockin, devtool and bitbake-layers."""

from __future__ import annotations

FINE = 0
"""Nothing to do, or all that there was is written."""
ERROR = 1
"""Nothing usable came of it."""
USAGE = 2
"""Wrong options; argparse's own."""
STALE = 3
"""Only with --check: a tag stands for another digest than the recipe."""
PARTIAL = 4
"""Some images could not be looked up or edited; the others are written or reported."""
LOST = 5
"""A pinned digest is gone from its registry."""
