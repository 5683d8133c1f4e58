# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The packages that all tests of this tier install, made once, and machines to boot with them.

The packages are built by BitBake on the newest OE-core that this machine has. Where it has none they are made by hand,
and test_first_boot.py says that what it checks is unavailable.
"""

from __future__ import annotations

import json

import pytest

from support import cache, machine, oe, packages, registry, rootfs, samples

# What each store takes in daemon.json; since Docker 29 the containerd store is there without.
SETTINGS = {"containerd": {"features": {"containerd-snapshotter": True}}, "classic": {"storage-driver": "overlay2"}}


class Built:
    """Packages by kind and recipe, and how they came about: a release, or why there is none."""

    def __init__(self, packages, release=None, missing=""):
        self.packages = packages
        self.release = release
        self.missing = missing

    def __getitem__(self, recipe):
        """Return a recipe's .deb packages, or the file system images."""
        return self.packages["deb"].get(recipe) or self.packages["image"][recipe]

    def of(self, kind, recipe):
        """Return a recipe's packages of a kind; skip where there are none."""
        if kind not in self.packages:
            pytest.skip(f"unavailable: {self.missing}")
        return self.packages[kind][recipe]


@pytest.fixture(scope="session")
def contents():
    return samples.contents()


@pytest.fixture(scope="session")
def by_hand(contents, tmp_path_factory):
    """The packages made without BitBake."""
    more = [
        packages.compose_example((samples.WEB, contents["web"]), (samples.BUSYBOX, contents["busybox"])),
        packages.Recipe("large", {samples.LARGE: contents["large"]}),
        packages.Recipe("large", {samples.LARGE: contents["large-2"]}, version="2.0"),
    ]
    return Built({"deb": packages.make(tmp_path_factory.mktemp("by-hand"), [*samples.recipes(contents), *more])})


@pytest.fixture(scope="session")
def bootable():
    """Skip where no machine can be made, before anything costly is."""
    try:
        with machine.Machine(rootfs.OLDER):
            pass
    except machine.Unavailable as reason:
        pytest.skip(f"unavailable: {reason}")


@pytest.fixture(scope="session")
def built(request, bootable, contents, tmp_path_factory):
    """The packages as built by BitBake, by hand where it can't be had."""
    usable = [release for release in cache.releases() if not release.unavailable]
    demos = {"compose-example": {"web": (samples.WEB, contents["web"]), "probe": (samples.BUSYBOX, contents["busybox"])}}
    try:
        if not usable:
            raise oe.Unavailable(cache.releases()[-1].unavailable)
        with oe.Bench(usable[-1]) as bench, registry.Registry(tmp_path_factory.mktemp("registry")) as server:
            made = packages.build(bench, server, tmp_path_factory.mktemp("built"), samples.recipes(contents), demos,
                                  samples.systems())
    except oe.Unavailable as reason:
        return Built(request.getfixturevalue("by_hand").packages, missing=str(reason))
    return Built(made, release=usable[-1])


@pytest.fixture
def make_machine(request, bootable):
    """Return a function that makes a machine of a suite, with Docker's classic or its containerd store."""

    def make(suite=rootfs.OLDER, store="classic"):
        try:
            one = machine.Machine(suite).__enter__()
        except machine.Unavailable as reason:
            pytest.skip(f"unavailable: {reason}")
        request.addfinalizer(one.close)
        if (store == "containerd") != (rootfs.SUITES[suite].docker[0] >= 29):
            one.write("/etc/docker/daemon.json", json.dumps(SETTINGS[store]))
        return one

    return make
