# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images: references, platforms, manifests, attachments, and the files that hold images.

Uses no other package.
"""
