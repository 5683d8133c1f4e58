# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The tools for recipes that exist: refresh, check, status and completion.

Uses the packages image, registry, target and recipe.
"""
