# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# For the classes of this layer: BitBake does not see which code of lib/dockin a task uses, so tasks name it.

def dockin_code(names, d):
    """Return files of lib/dockin for a task's file-checksums, such as image/* or recipe/source."""
    directory = d.getVar('DOCKIN_LAYERDIR')
    return ' '.join('%s/lib/./dockin/%s.py:True' % (directory, name) for name in names.split())
