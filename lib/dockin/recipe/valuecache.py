# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Values of recipes' variables, kept from one call to the next: parsing a recipe takes BitBake a tenth of a second.

They hold as long as all files do that BitBake had read for them, or looked for: the rule of BitBake's own cache.
"""

from __future__ import annotations

import collections.abc
import contextlib
import json
import os
import pathlib
import time
import typing

FORMAT = 1

# A file that has changed so short a time before it was read may change again without a newer time.
_RACY = 2 * 10**9

# For Python 3.9, which can't join types by | outside of annotations.
Values = dict[str, typing.Optional[str]]
_Stamp = typing.Optional[list[int]]


class ValueCache:
    """One file with the values of many recipes; it is never an error that it can't be read or written."""

    def __init__(self, path: str, key: object) -> None:
        """key is what the values depend on besides files: where it has changed, nothing that was kept holds."""
        self._path = pathlib.Path(path)
        self._key = json.loads(json.dumps(key))
        self._start = time.time_ns()
        self._seen: dict[str, _Stamp] = {}
        self._changed = False
        self._files, self._recipes = self._load()

    def get(self, recipe: str, appends: collections.abc.Sequence[str]) -> Values:
        """Return what is known of a recipe with these appends, {} if nothing is or holds any more."""
        entry = self._recipes.get(recipe)
        if not entry or entry["appends"] != list(appends):
            return {}
        if any(self._files.get(path, False) != self._stamp(path) for path in entry["files"]):
            return {}
        return dict(entry["values"])

    def put(
        self,
        recipe: str,
        appends: collections.abc.Sequence[str],
        files: collections.abc.Iterable[str],
        values: Values,
    ) -> None:
        """Keep the values of a recipe that BitBake has just read from these files."""
        paths = sorted(set(files))
        stamps = [self._stamp(path) for path in paths]
        if any(stamp and stamp[0] > self._start - _RACY for stamp in stamps):
            self._changed |= self._recipes.pop(recipe, None) is not None
            return
        for path, stamp in zip(paths, stamps):
            if self._files.get(path, stamp) != stamp:
                # What others knew by the old state of the file does not hold any more.
                self._recipes = {name: entry for name, entry in self._recipes.items() if path not in entry["files"]}
            self._files[path] = stamp
        self._recipes[recipe] = {"appends": list(appends), "files": paths, "values": values}
        self._changed = True

    def save(self) -> None:
        """Write what has changed, whole or not at all."""
        if not self._changed:
            return
        document = {"format": FORMAT, "key": self._key, "files": self._files, "recipes": self._recipes}
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            try:
                # A link that somebody else has made there is not followed.
                with open(temporary, "x", encoding="utf-8") as file:
                    file.write(json.dumps(document))
                os.replace(temporary, self._path)
            finally:
                temporary.unlink(missing_ok=True)

    def _load(self) -> tuple[dict[str, _Stamp], dict[str, typing.Any]]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["format"] == FORMAT and document["key"] == self._key:
                return dict(document["files"]), dict(document["recipes"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none yet, or of another version
        return {}, {}

    def _stamp(self, path: str) -> _Stamp:
        if path not in self._seen:
            try:
                status = os.stat(path)
                self._seen[path] = [status.st_mtime_ns, status.st_size]
            except OSError:
                self._seen[path] = None
        return self._seen[path]
