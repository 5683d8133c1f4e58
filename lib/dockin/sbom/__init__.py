# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images in software bills of materials.

Uses the packages image, target and recipe.
"""
