# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which containerd has the images, by what is installed."""

from __future__ import annotations

import re

import pytest

from dockin.store import containerdconf
from dockin.store.containerdconf import CONFIG, Place, UnknownStore

ROOT = "/var/lib/docker"
OWN, SYSTEM = f"{ROOT}/containerd/daemon", "/var/lib/containerd"
UNIT = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
MOBY = "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $OPTIONS\n"
CONTAINERD = "[Service]\nExecStart=/usr/bin/containerd\n"


@pytest.mark.parametrize(("settings", "docker", "containerd", "place"), [
    ({}, UNIT, CONTAINERD, Place(SYSTEM, "moby")),
    ({}, UNIT, None, Place(OWN, "moby")),
    ({}, None, None, Place(OWN, "moby")),
    # Without systemd nobody starts the service.
    ({}, None, CONTAINERD, Place(OWN, "moby")),
    ({}, MOBY, CONTAINERD, Place(SYSTEM, "moby")),
    ({}, MOBY, None, Place(SYSTEM, "moby")),
    ({"containerd": "/run/containerd/containerd.sock"}, UNIT, None, Place(SYSTEM, "moby")),
    ({"containerd": "unix:///run/containerd/containerd.sock"}, UNIT, CONTAINERD, Place(SYSTEM, "moby")),
    ({"features": {"embedded-containerd": True}}, UNIT, CONTAINERD, Place(OWN, "moby")),
    ({"features": None}, UNIT, CONTAINERD, Place(SYSTEM, "moby")),
    ({"containerd-namespace": "mine"}, UNIT, CONTAINERD, Place(SYSTEM, "mine")),
    ({}, UNIT + "#ExecStart=x --containerd-namespace=no\nExecStart=x --containerd-namespace 'mine'\n", None,
     Place(OWN, "mine")),
])
def test_where_docker_has_images(settings, docker, containerd, place):
    assert containerdconf.of_docker(settings, ROOT, docker, containerd, {}) == place


@pytest.mark.parametrize(("settings", "docker", "said"), [
    ({"containerd": "/run/mine.sock"}, UNIT, "Docker is told of a containerd at /run/mine.sock, of which it is not known"),
    ({}, UNIT.replace("fd://", "fd:// --containerd /run/mine.sock"), "at /run/mine.sock"),
    ({"containerd": "/run/mine.sock"}, MOBY,
     "several values for 'containerd' (/run/containerd/containerd.sock, /run/mine.sock)"),
    ({"containerd-namespace": "a"}, UNIT + "ExecStart=x --containerd-namespace=b",
     "several values for 'containerd-namespace'"),
])
def test_where_it_can_not_be_told(settings, docker, said):
    with pytest.raises(UnknownStore, match=re.escape(said)):
        containerdconf.of_docker(settings, ROOT, docker, CONTAINERD, {})


@pytest.mark.parametrize(("unit", "text", "root"), [
    (None, "", SYSTEM),
    (CONTAINERD, "version = 2\n# root = '/no'\n", SYSTEM),
    (CONTAINERD, 'root = "/data/containerd/" # here\n', "/data/containerd"),
    (CONTAINERD, "root='/data/containerd'\nstate = \"x\"\n[grpc]\nroot = \"/other\"\n", "/data/containerd"),
    (CONTAINERD, "[plugins]\n  root = '/other'\n", SYSTEM),
    (CONTAINERD.replace("containerd\n", "containerd --root /data/containerd\n"), "", "/data/containerd"),
    (CONTAINERD.replace("containerd\n", f"containerd -c {CONFIG}\n"), "root = '/data'", "/data"),
])
def test_the_root_of_a_service(unit, text, root):
    assert containerdconf.root(unit, {CONFIG: text}) == root


@pytest.mark.parametrize(("unit", "configs", "said"), [
    (CONTAINERD, {CONFIG: "root = 5"}, f"{CONFIG} has 'root = 5': write it as a plain string"),
    (CONTAINERD, {CONFIG: 'root = "/a\\u0062"'}, "write it as a plain string"),
    (CONTAINERD, {CONFIG: "root = '/a'", "/etc/containerd/conf.d/x.toml": "root = '/b'"},
     "several values for 'root' (/a, /b)"),
    (CONTAINERD.replace("containerd\n", "containerd --config /etc/mine.toml\n"), {},
     "containerd is told of its file /etc/mine.toml, which is not read here"),
])
def test_a_root_that_can_not_be_told(unit, configs, said):
    with pytest.raises(UnknownStore, match=re.escape(said)):
        containerdconf.root(unit, configs)
