# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What dockerfetcher does for BitBake: downloads, pins, and what is unpacked for recipes.

Uses the packages image, registry, target, store, recipe and sbom. session and pins import BitBake.
"""
