# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Access to registries: requests by HTTP and by skopeo, logins, settings, and remedies for failures.

Uses the package image.
"""
