# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
