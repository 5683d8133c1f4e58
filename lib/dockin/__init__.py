# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""meta-dockin's code: one package for each part of the work, and BitBake's fetcher.

Importing this package imports no module, so that pure modules run with plain Python. BitBake's addpylib (conf/layer.conf)
imports the modules in BBIMPORTS, which registers the fetcher in BitBake's server and workers.
"""

# addpylib accepts no module of a subpackage: bbimports imports those that the classes use.
BBIMPORTS = ["bbimports", "dockerfetcher"]
