# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Look into a .deb package: its control fields, its files, its maintainer scripts."""

from __future__ import annotations

import functools
import io
import re
import subprocess
import tarfile

from dataclasses import dataclass
from pathlib import Path

SECONDS = 120

# What OE-core's classes write into control files, in .deb and .ipk packages.
FIELDS = {
    "Package", "Version", "Description", "Section", "Priority", "Maintainer", "License", "Architecture", "OE", "PackageArch",
    "Homepage", "Source", "Depends", "Suggests", "Recommends", "Provides", "Replaces", "Conflicts", "Installed-Size",
}


def strict_fields(control: str) -> dict[str, str]:
    """Return the fields of a control file, with the line ends in their values.

    Raises ValueError where opkg, dpkg and we might not read the same: what is no field of OE-core's or is there twice, lines
    without a name, empty ones, and all but printable text.
    """
    found: dict[str, str] = {}
    name = ""
    for line in control.removesuffix("\n").split("\n"):
        if not line.isprintable() or not line.strip():
            raise ValueError(f"a line that is not text: {line!r}")
        if line.startswith(" ") and name:
            found[name] += "\n" + line
            continue
        name, colon, value = line.partition(":")
        if not colon or name not in FIELDS or name in found:
            raise ValueError(f"no field of OE-core's, or one twice: {line!r}")
        found[name] = value.strip()
    return found


@dataclass(frozen=True)
class Deb:
    """A .deb package."""

    path: Path

    @functools.cached_property
    def control(self) -> dict[str, str]:
        """The fields of its control file, continuation lines joined."""
        text = self._dpkg("--field").decode()
        pairs = (line.split(":", 1) for line in re.sub(r"\n[ \t]+", " ", text).splitlines() if ":" in line)
        return {key: value.strip() for key, value in pairs}

    @property
    def name(self) -> str:
        """The package's name."""
        return self.control["Package"]

    @property
    def depends(self) -> list[str]:
        """Names in Depends, without versions."""
        return self._names("Depends")

    @property
    def recommends(self) -> list[str]:
        """Names in Recommends, without versions."""
        return self._names("Recommends")

    @functools.cached_property
    def members(self) -> dict[str, tarfile.TarInfo]:
        """What it installs but folders, by absolute path."""
        with tarfile.open(fileobj=io.BytesIO(self._dpkg("--fsys-tarfile"))) as tar:
            return {member.name.lstrip("."): member for member in tar if not member.isdir()}

    @property
    def files(self) -> list[str]:
        """Absolute paths of what it installs, sorted."""
        return sorted(self.members)

    def read(self, path: str) -> bytes:
        """Return the contents of an installed file."""
        return self._read("--fsys-tarfile", path)

    def script(self, name: str) -> str:
        """Return a maintainer script, such as "postinst"; "" if it has none of that name."""
        try:
            return self._read("--ctrl-tarfile", "/" + name).decode()
        except KeyError:
            return ""

    def extract(self, folder: Path) -> Path:
        """Unpack it into folder and return folder."""
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["dpkg-deb", "--extract", str(self.path), str(folder)]
        subprocess.run(argv, check=True, timeout=SECONDS)
        return folder

    def _read(self, option: str, path: str) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(self._dpkg(option))) as tar:
            file = tar.extractfile("." + path)
            if file is None:
                raise KeyError(f"{path} in {self.path.name} is no file")
            return file.read()

    def _names(self, key: str) -> list[str]:
        return [item.split("(")[0].strip() for item in self.control.get(key, "").split(",") if item.strip()]

    def _dpkg(self, option: str) -> bytes:
        argv = ["dpkg-deb", option, str(self.path)]
        return subprocess.run(argv, check=True, capture_output=True, timeout=SECONDS).stdout
