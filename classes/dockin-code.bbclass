# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# For the classes of this layer: what BitBake can't see of the code that writes files: constants, private functions, methods.

def dockin_code(names, d):
    """Return the modules of lib/dockin of these names, for a task's file-checksums."""
    directory = d.getVar('DOCKIN_LAYERDIR')
    return ' '.join('%s/lib/./dockin/%s.py:True' % (directory, name) for name in names.split())
