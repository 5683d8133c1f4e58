# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker's daemon.json: what keeps Docker from a data-root that was written for it."""

from __future__ import annotations

import json
import re

import pytest

from dockin.store import daemonjson
from dockin.store.daemonjson import InvalidDaemonJson

ROOT = "/var/lib/docker"

GOOD = [
    ("missing", None, ROOT, False),
    ("empty", "{}", ROOT, False),
    ("others", '{"log-driver": "journald", "features": {"buildkit": true}}', ROOT, False),
    ("the same", '{"data-root": "/data/docker/", "storage-driver": "overlay2"}', "/data/docker", False),
    ("as of old", '{"graph": "/data/docker"}', "/data/docker", False),
    ("as by default", '{"data-root": "", "storage-driver": "", "userns-remap": "", "features": null}', ROOT, False),
    ("classic", '{"features": {"containerd-snapshotter": false}}', ROOT, False),
    ("on the command line", "{}", "/data/docker", True),
]


@pytest.mark.parametrize(("text", "data_root", "told"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_docker_finds(text, data_root, told):
    daemonjson.check(text, data_root, told)


BAD = [
    ({"data-root": "/data/docker"}, ROOT, 'data-root = "/data/docker": the images are written into DOCKIN_DATAROOT_DIR ='
                                          " '/var/lib/docker'; set both"),
    ({"graph": "/data/docker"}, ROOT, 'data-root = "/data/docker"'),
    ({"data-root": ROOT}, "/data/docker", 'data-root = "/var/lib/docker"'),
    ({}, "/data/docker", 'install /etc/docker/daemon.json with {"data-root": "/data/docker"}'),
    (None, "/data/docker", "would look in /var/lib/docker"),
    ({"storage-driver": "btrfs"}, ROOT, "storage-driver = \"btrfs\": a data-root is written for 'overlay2' alone; leave it"
                                        ' out, or set DOCKIN_DATAROOT = "0"'),
    ({"userns-remap": "default"}, ROOT, 'userns-remap = "default": Docker keeps'),
    ({"features": {"containerd-snapshotter": True}}, ROOT, "features.containerd-snapshotter = true: Docker's containerd"
                                                           ' store does not see a data-root of the classic one; set'
                                                           ' DOCKIN_RUNTIME_STORE = "containerd"'),
    ({"features": []}, ROOT, "has features = [], so that Docker will not start"),
    ({"features": {"containerd-snapshotter": 1}}, ROOT, "has containerd-snapshotter = 1, so that"),
    ({"data-root": 5}, ROOT, "has data-root = 5, so that"),
    ([], ROOT, "has [] where an object belongs"),
    ("{,}", ROOT, "is no JSON, so that Docker will not start"),
    ("[" * 100_000, ROOT, "is no JSON"),
]


@pytest.mark.parametrize(("settings", "data_root", "said"), BAD, ids=[str(row[0])[:40] for row in BAD])
def test_what_keeps_docker_from_it(settings, data_root, said):
    text = settings if settings is None or isinstance(settings, str) else json.dumps(settings)
    with pytest.raises(InvalidDaemonJson, match=re.escape(said)):
        daemonjson.check(text, data_root)


def test_a_data_root_in_the_file_counts_whoever_tells_docker_of_another():
    with pytest.raises(InvalidDaemonJson):
        daemonjson.check('{"data-root": "/else"}', "/data/docker", set_elsewhere=True)


@pytest.mark.parametrize(("settings", "by_default"), [
    ({"features": {"containerd-snapshotter": True}}, False),
    ({"features": {"containerd-snapshotter": True}, "storage-driver": "overlayfs", "data-root": ROOT}, True),
    ({}, True),
])
def test_a_docker_that_keeps_images_in_containerd(settings, by_default):
    assert daemonjson.check_containerd(json.dumps(settings), ROOT, False, by_default) == settings


@pytest.mark.parametrize(("settings", "by_default", "said"), [
    ({}, False, "Docker is not told to keep images in containerd, for which DOCKIN_RUNTIME_STORE = \"containerd\" has them"
                ' written: install /etc/docker/daemon.json with {"features": {"containerd-snapshotter": true}}'),
    ({"features": {"containerd-snapshotter": False}}, True, "Docker is not told to keep images in containerd"),
    ({"storage-driver": "overlay2"}, True, "storage-driver = \"overlay2\": a data-root is written for 'overlayfs' alone"),
    ({"userns-remap": "default"}, True, 'userns-remap = "default"'),
    ({"data-root": "/data"}, True, 'data-root = "/data"'),
    ({"containerd": 1}, True, "has containerd = 1, so that"),
    ({"containerd-namespace": []}, True, "has containerd-namespace = [], so that"),
])
def test_what_keeps_docker_from_images_in_containerd(settings, by_default, said):
    with pytest.raises(InvalidDaemonJson, match=re.escape(said)):
        daemonjson.check_containerd(json.dumps(settings), ROOT, False, by_default)
