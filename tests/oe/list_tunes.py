# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Print what a release's BitBake makes of each machine and tune of its OE-core, as JSON.

    python3 -B list_tunes.py BITBAKE OECORE

A program of its own, since two releases' bb can't be in one process. bitbake.conf is really parsed, with an
empty local configuration: once for each machine, and once for the tune files, which are read on top of it.
Each row is [file, tune, whether it is the default, TARGET_ARCH, TUNE_FEATURES, MACHINEOVERRIDES, TUNE_CCARGS].
"""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
import tempfile
import typing

VARIABLES = ("TARGET_ARCH", "TUNE_FEATURES", "MACHINEOVERRIDES")
Row = list[typing.Union[str, bool]]


class Release:
    """The parser and the metadata of one release."""

    def __init__(self, bitbake: pathlib.Path, oecore: pathlib.Path, topdir: pathlib.Path) -> None:
        sys.path[:0] = [str(bitbake / "lib"), str(oecore / "meta" / "lib")]
        self.data = importlib.import_module("bb.data")
        self.parse = importlib.import_module("bb.parse")
        self.meta = oecore / "meta"
        self.topdir = topdir
        self.flags: dict[tuple[str, ...], str] = {}

    def configuration(self, machine: str) -> typing.Any:
        """Return the datastore after bitbake.conf, for a machine of OE-core or for none."""
        d = self.data.init()
        settings = {
            "TOPDIR": self.topdir,
            "BB_CACHEDIR": self.topdir / "cache",
            "BB_CURRENT_MC": "default",
            "COREBASE": self.meta.parent,
            "LAYERDIR": self.meta,
            "LAYERDIR_RE": self.meta,
            "MACHINE": machine,
        }
        for name, value in settings.items():
            d.setVar(name, str(value))
        for conf in ("layer.conf", "bitbake.conf"):
            d.setVar("BBPATH", f"{self.topdir}:{self.meta}")
            d = self.parse.handle(str(self.meta / "conf" / conf), d, True, baseconfig=True)
        return d

    def machines(self) -> typing.Iterator[Row]:
        """Yield the tunes of each machine."""
        for conf in sorted((self.meta / "conf" / "machine").glob("*.conf")):
            yield from self.tunes(conf, self.configuration(conf.stem))

    def tune_files(self) -> typing.Iterator[Row]:
        """Yield the tunes of each tune file."""
        empty = self.configuration("tune-test")
        for conf in sorted((self.meta / "conf" / "machine" / "include").rglob("tune-*.inc")):
            d = self.data.createCopy(empty)
            yield from self.tunes(conf, self.parse.handle(str(conf), d, True, baseconfig=True))

    def tunes(self, conf: pathlib.Path, d: typing.Any) -> typing.Iterator[Row]:
        """Yield all that is in AVAILTUNES, the default tune first."""
        default = d.getVar("DEFAULTTUNE")
        available = sorted(set(d.getVar("AVAILTUNES").split()) - {default})
        for tune in [default, *available]:
            d.setVar("DEFAULTTUNE", tune)
            values = tuple(d.getVar(name) or "" for name in VARIABLES)
            # Most files have the tunes of all older cores too, and the flags take the most time. Between files,
            # only -marm and -mthumb differ.
            key = (tune, *values, d.getVar("ARM_M_OPT") or "")
            if key not in self.flags:
                self.flags[key] = d.getVar("TUNE_CCARGS") or ""
            where = str(conf.relative_to(self.meta / "conf" / "machine"))
            yield [where, tune, tune == default, *values, self.flags[key]]


def main() -> None:
    """Print the list."""
    bitbake, oecore = (pathlib.Path(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as topdir:
        release = Release(bitbake, oecore, pathlib.Path(topdir))
        json.dump([*release.machines(), *release.tune_files()], sys.stdout)


if __name__ == "__main__":
    main()
