# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Registries: requests by HTTP and by skopeo, logins, the settings for both, and what to do about failures.

Uses the package image.
"""
