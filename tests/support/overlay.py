# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""overlayfs mounted in a mount namespace of its own, on a tmpfs there. Needs root.

    with overlay.Overlay() as mounts:
        (mounts.folder / "base").mkdir()            # a folder of the tmpfs, as it is called from here
        mounts.merged([top, base])                  # what trees.walk() finds in the layers together, uppermost first

It ends with the process that started it, whatever happens to that.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile

from pathlib import Path
from typing import Sequence

from support import trees

STOP_SECONDS = 10


class Overlay:
    """The namespace; a context manager."""

    def __enter__(self) -> Overlay:
        self._mountpoint = Path(tempfile.mkdtemp(prefix="dockin-overlay-"))
        argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "support.overlay",
                str(self._mountpoint)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self._receive() == "ready"
        self.folder = Path(f"/proc/{self._process.pid}/root{self._mountpoint}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(STOP_SECONDS)
        self._process.stdout.close()
        self._mountpoint.rmdir()

    def merged(self, layers: Sequence[Path]) -> dict[bytes, trees.Entry]:
        """Return what is seen in the layers' directories, each of them below folder, uppermost first."""
        assert self._process.stdin
        pickle.dump([str(layer.relative_to(self.folder)) for layer in layers], self._process.stdin)
        self._process.stdin.flush()
        found = self._receive()
        assert isinstance(found, dict), found
        return found

    def _receive(self) -> object:
        assert self._process.stdout
        return pickle.load(self._process.stdout)


def _serve(folder: str) -> None:
    """Mount what is asked for by standard input, until that ends."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    os.chdir(folder)
    # As Docker has over every image: one more layer, without which a single one could not be mounted.
    os.mkdir("top")
    os.mkdir("merged")
    pickle.dump("ready", sys.stdout.buffer)
    sys.stdout.flush()
    while True:
        try:
            layers = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        lower = ":".join(["top", *layers])
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,index=off,lowerdir={lower}", "merged"],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            answer: object = done.stderr
        else:
            answer = trees.walk(b"merged")
            subprocess.run(["umount", "merged"], check=True)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
