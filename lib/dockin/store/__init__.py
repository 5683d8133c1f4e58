# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Image stores that the build writes: Docker's data-root and Podman's additional image store.

Uses the packages image and target.
"""
