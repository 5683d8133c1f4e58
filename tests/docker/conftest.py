# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Daemons that the tests of this tier share, one of each kind, and images that no two tests share."""

from __future__ import annotations

import pytest

from support import docker, images, installed, target
from support.fixtures import server  # noqa: F401


def pytest_generate_tests(metafunc):
    """Give each test every kind of daemon, or those in its module's DAEMONS, or those of its own marker."""
    own = any(marker.args[0] == "daemon" for marker in metafunc.definition.iter_markers("parametrize"))
    if "daemon" in metafunc.fixturenames and not own:
        kinds = getattr(metafunc.module, "DAEMONS", docker.KINDS)
        metafunc.parametrize("daemon", kinds, ids=str, indirect=True, scope="session")


@pytest.fixture(scope="session")
def daemon(request):
    """A running Docker daemon of a kind; the tests leave no image or container in it."""
    with docker.start(kind=request.param) as running:
        yield running


@pytest.fixture(scope="session")
def busybox():
    """The layer of a small system, which is costly to make."""
    return images.busybox_layer(compression="none")


@pytest.fixture
def shelf(daemon, busybox):
    made = installed.Shelf(daemon, busybox)
    yield made
    for name in made.names:
        daemon.docker("image", "rm", "--force", name, check=False)
    daemon.docker("image", "prune", "--force")


@pytest.fixture
def preload(daemon):
    """The command as one shell of a target runs it; each store has the other one."""
    return target.Target(daemon, "busybox" if daemon.kind.store == "classic" else "dash")
