# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Where the test bed keeps what it downloads, and the releases it tests with.

The one place that knows the cache's rule; the scripts and the tests ask here. In the cache:

    venv/                                       the Python tools of tests/requirements.txt
    checkouts/<release>/bitbake                 the commits of tests/releases.ini
    checkouts/<release>/openembedded-core
    checkouts/<release>/unavailable             why a checkout is not to be had (absent when it is)
    go/<name>                                   Docker and containerd of tests/programs.ini, made by Go
    go/<name>.unavailable                       why they are not to be had
    rootfs/<name>                               Debian root filesystems of the docker and boot tiers
"""

from __future__ import annotations

import configparser
import os
import pathlib

from dataclasses import dataclass

RELEASES_FILE = pathlib.Path(__file__).resolve().parent.parent / "releases.ini"


def directory() -> pathlib.Path:
    """Return the cache's directory, which need not exist yet.

    $DOCKIN_CACHE; for root /var/cache/meta-dockin, since builds refuse root and the ordinary user that
    runs them instead can't read below /root; else meta-dockin in $XDG_CACHE_HOME or ~/.cache.
    """
    chosen = os.environ.get("DOCKIN_CACHE")
    if chosen:
        return pathlib.Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return pathlib.Path("/var/cache/meta-dockin")
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "meta-dockin"


@dataclass(frozen=True)
class Checkout:
    """A git repository at one commit: from where, and where to."""

    url: str
    branch: str
    commit: str
    path: pathlib.Path


@dataclass(frozen=True)
class Release:
    """An OpenEmbedded release of tests/releases.ini. str() is its name, for test ids."""

    name: str
    bitbake: Checkout
    oecore: Checkout

    def __str__(self) -> str:
        return self.name

    @property
    def note(self) -> pathlib.Path:
        """The file that says why this release's checkouts are not to be had."""
        return self.bitbake.path.parent / "unavailable"

    @property
    def unavailable(self) -> str | None:
        """Return why the release can't be tested here, None if it can be."""
        if self.note.exists():
            return f"{self.name}: {self.note.read_text().strip()}"
        for checkout in (self.bitbake, self.oecore):
            if not (checkout.path / ".git").exists():
                return f"{self.name}: no checkout in {checkout.path}: run `make setup`"
        return None


def releases() -> list[Release]:
    """Return the releases of tests/releases.ini, in its order; of them those in $DOCKIN_RELEASES, if that names any.

    Raises ValueError for a name that is not there.
    """
    known = all_releases()
    names = [release.name for release in known]
    chosen = os.environ.get("DOCKIN_RELEASES", "").split() or names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise ValueError(f"DOCKIN_RELEASES: no release {', '.join(unknown)}: there are {', '.join(names)}")
    return [release for release in known if release.name in chosen]


def everything() -> bool:
    """Return whether $DOCKIN_ALL asks for all tests on all releases and Dockers, as `make test-all` does."""
    return os.environ.get("DOCKIN_ALL") == "1"


def all_releases() -> list[Release]:
    """Return the releases of tests/releases.ini, in its order, whatever $DOCKIN_RELEASES says."""
    pins = configparser.ConfigParser()
    pins.read_string(RELEASES_FILE.read_text())
    return [_release(pins[name]) for name in pins.sections()]


def _release(pins: configparser.SectionProxy) -> Release:
    def checkout(what: str, folder: str) -> Checkout:
        path = directory() / "checkouts" / pins.name / folder
        return Checkout(pins[f"{what}_url"], pins[f"{what}_branch"], pins[f"{what}_commit"], path)

    return Release(pins.name, checkout("bitbake", "bitbake"), checkout("oecore", "openembedded-core"))


if __name__ == "__main__":
    print(directory())
