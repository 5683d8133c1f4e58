# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images: names, platforms and manifests, what is attached to them, and the files that keep them.

Uses no other package.
"""
