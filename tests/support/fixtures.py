# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""pytest fixtures for the servers; in any tier's conftest.py: `from support.fixtures import server`."""

from __future__ import annotations

import os
import shutil

import pytest

from support import faults, registry

LOGIN = registry.Login("builder", "correct-horse-battery")


def _need(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"unavailable: no program {', '.join(missing)} on this machine: run `make setup`")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A registry without TLS or password, shared by all tests: each uses repositories of its own."""
    _need("docker-registry", "skopeo")
    with registry.Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path):
    """A registry of the test's own, whose store it may damage."""
    _need("docker-registry", "skopeo")
    with registry.Registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture(scope="session")
def private_ca(tmp_path_factory):
    """A certificate authority that no machine trusts."""
    _need("openssl")
    return registry.PrivateCA(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def secure_server(tmp_path_factory, private_ca):
    """A registry with a certificate of private_ca and a password, that of fixtures.LOGIN."""
    _need("docker-registry", "skopeo", "htpasswd")
    with registry.Registry(tmp_path_factory.mktemp("secure"), tls=private_ca, login=LOGIN) as running:
        yield running


@pytest.fixture
def faulty():
    """A registry that misbehaves on demand."""
    _need("skopeo")
    with faults.FaultyRegistry() as running:
        yield running


@pytest.fixture
def like_root(monkeypatch):
    """Let an ordinary user unpack layers, as pseudo would; owners, and attributes that only root may set, are lost."""
    if os.geteuid() == 0:
        return
    for name in ("chown", "fchown"):
        monkeypatch.setattr(os, name, lambda *_, **__: None)
    setxattr = os.setxattr

    def set_what_one_may(path, name, value, *arguments, **options):
        if name.startswith("user."):
            setxattr(path, name, value, *arguments, **options)

    monkeypatch.setattr(os, "setxattr", set_what_one_may)
