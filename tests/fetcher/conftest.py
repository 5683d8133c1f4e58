# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The fetcher on real registries, with each BitBake library that the layer supports."""

from __future__ import annotations

import pytest

from support import bbrun
from support.fetching import FIRST, LIBRARIES, Bench, small_image
from support.fixtures import faulty, own_server, private_ca, secure_server, server  # noqa: F401  used by name


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "one_library: says nothing about BitBake: runs with one of its libraries only"
    )


def pytest_collection_modifyitems(items):
    """Of what is marked one_library, keep one run."""
    items[:] = [
        item
        for item in items
        if not item.get_closest_marker("one_library") or item.callspec.params["runner"] == FIRST
    ]


@pytest.fixture(scope="session", params=LIBRARIES, ids=str)
def runner(request):
    """A process with a BitBake library and the layer loaded."""
    if request.param.unavailable:
        pytest.skip(f"unavailable: {request.param.unavailable}")
    with bbrun.Runner(request.param) as running:
        yield running


@pytest.fixture
def bench(runner, tmp_path):
    return Bench(runner, tmp_path / "bench")


@pytest.fixture
def image():
    return small_image
