# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""One bench for each release, and one registry with the images that the tests build recipes of."""

from __future__ import annotations

import contextlib

import pytest

from support import cache, images, oe, registry as registries

PLATFORMS = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")


@pytest.fixture(scope="session", params=cache.releases(), ids=str)
def release(request):
    return request.param


@pytest.fixture(scope="session")
def bench(release):
    try:
        made = oe.Bench(release)
    except oe.Unavailable as reason:
        pytest.skip(f"unavailable: {reason}")
    with made:
        yield made


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    with registries.Registry(tmp_path_factory.mktemp("registry")) as server:
        yield server
