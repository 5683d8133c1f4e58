# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Exit codes of the tools, the same in scripts/dockin, devtool and bitbake-layers."""

from __future__ import annotations

FINE = 0
"""Success: nothing to do, or everything is written."""
ERROR = 1
"""Failure without a usable result."""
USAGE = 2
"""Wrong options; argparse's own."""
STALE = 3
"""With --check: a tag has another digest than the recipe."""
PARTIAL = 4
"""Some images could not be looked up or edited; the others are written or reported."""
LOST = 5
"""A pinned digest is gone from its registry."""
