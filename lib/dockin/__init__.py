# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""meta-dockin's code: one package for each part of the work, and BitBake's fetcher.

Importing this package imports no module, so that those that need no BitBake run with plain Python. BitBake's addpylib
(conf/layer.conf) imports the modules in BBIMPORTS; that registers the fetcher in every process of BitBake's own.
"""

# addpylib takes no module of a package: bbimports imports what the classes use.
BBIMPORTS = ["bbimports", "dockerfetcher"]
