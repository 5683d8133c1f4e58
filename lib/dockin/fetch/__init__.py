# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Fetches images: downloads, pins and unpacking.

Uses the packages image, registry, target, store, recipe and sbom. session and pins import BitBake.
"""
