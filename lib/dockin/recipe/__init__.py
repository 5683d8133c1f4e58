# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes: docker:// entries and their pins, the text of recipes, and new recipes.

Uses the packages image, registry and target.
"""
