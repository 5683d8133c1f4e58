# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Files on the target: information files, archives and units, and the space that they need.

Uses the package image.
"""
