# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Bills of materials: what they say of an image.

Uses the packages image, target and recipe.
"""
