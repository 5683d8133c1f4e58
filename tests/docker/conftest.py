# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Daemons that the tests of this tier share, one of each kind, and images that no two tests share."""

from __future__ import annotations

import itertools

import pytest

from support import docker, images, installed

_numbers = itertools.count(1)


def start(**options):
    """Start a daemon, or skip where it can't be had."""
    daemon = docker.Daemon(**options)
    try:
        return daemon.__enter__()
    except docker.Unavailable as error:
        pytest.skip(f"unavailable: {error}")


@pytest.fixture(scope="session", params=docker.KINDS, ids=str)
def daemon(request):
    """A running Docker daemon of each kind; the tests leave no image or container in it."""
    running = start(kind=request.param)
    yield running
    running.close()


@pytest.fixture(scope="session")
def busybox():
    """The layer of a small system, which is costly to make."""
    return images.busybox_layer(compression="none")


class Shelf:
    """Makes images and their installed files for one test, in a directory that the daemon sees too."""

    def __init__(self, daemon, busybox):
        self.daemon = daemon
        self.busybox = busybox
        self.number = next(_numbers)
        self.directory = daemon.directory / f"test{self.number}"
        self.names = set()

    def name(self, tag="1"):
        """Return an image name of this test's own."""
        return f"team/app{self.number}:{tag}"

    def image(self, word="hello", compression="gzip", extra=()):
        """Return an image that prints word and a number of this test's own, so that its digests are its own too."""
        base = images.Layer(self.busybox.tar, compression)
        top = images.layer({"word": f"{word} {self.number}\n"}, compression)
        return images.image([base, top, *extra], command=("cat", "/word"))

    def install(self, content, name=None, **options):
        name = name or self.name()
        self.names.add(name)
        return installed.install(self.directory, content, name, **options)

    def output(self, word="hello"):
        """Return what the container of an image prints."""
        return f"{word} {self.number}"


@pytest.fixture
def shelf(daemon, busybox):
    made = Shelf(daemon, busybox)
    yield made
    for name in made.names:
        daemon.docker("image", "rm", "--force", name, check=False)
    daemon.docker("image", "prune", "--force")
