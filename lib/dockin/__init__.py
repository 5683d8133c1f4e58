# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""meta-dockin's code: pure modules, and the fetcher that is the only one to import BitBake.

Importing the package imports none of them, so that the pure ones run with plain Python. BitBake's addpylib (conf/layer.conf)
imports those in BBIMPORTS, the pure ones first; that registers the fetcher in every process of BitBake's own.
"""

BBIMPORTS = [
    "errors",
    "reference",
    "platforms",
    "source",
    "manifests",
    "attached",
    "tarball",
    "archive",
    "information",
    "acceptance",
    "space",
    "runtimes",
    "units",
    "newrecipe",
    "dockerfetcher",
]
