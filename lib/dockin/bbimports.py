# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The modules that classes, recipes and conf/layer.conf use by their full names, without imports of their own."""

# ruff: noqa: F401
import dockin.errors
import dockin.fetch.pins
import dockin.fetch.session
import dockin.fetch.unpacking
import dockin.image.reference
import dockin.recipe.newrecipe
import dockin.recipe.settings
import dockin.recipe.source
import dockin.target.acceptance
import dockin.target.imageinfo
import dockin.target.packaged
import dockin.target.runtimes
import dockin.target.space
import dockin.target.units
import dockin.target.unpacked
