# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The test bed: real registries, Dockers, builds and machines for the tests. Standard library only."""
