# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker's daemon.json: what keeps Docker from a data-root that was written for it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
import types

import pytest

import dockin
import dockin.errors
import dockin.target.runtimes
import dockin.target.units

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
        daemonjson.check('{"data-root": "/else"}', "/data/docker", told_otherwise=True)


def functions(*names):
    """Return functions of the class dockin-dataroot, which is no module."""
    text = (pathlib.Path(__file__).parents[3] / "classes" / "dockin-dataroot.bbclass").read_text()
    found = {"os": os, "dockin": dockin}
    for name in names:
        exec(re.search(rf"^def {name}\(.*\n(?:    .*\n|\n(?=    ))+", text, re.M)[0], found)
    return found[names[0]]


@pytest.mark.parametrize("folder, neighbour", [("g[ab]", "ga"), ("g*", "gx"), ("g?", "gx")])
def test_units_in_a_directory_that_is_a_pattern(tmp_path, monkeypatch, folder, neighbour):
    """Docker is told of its data-root by a unit of its own root file system, not of a neighbour's."""
    # OE-core's: here no link is followed.
    monkeypatch.setitem(sys.modules, "oe", types.ModuleType("oe"))
    monkeypatch.setitem(sys.modules, "oe.path", types.SimpleNamespace(realpath=lambda path, root: path))
    sys.modules["oe"].path = sys.modules["oe.path"]
    settings = {"DOCKIN_DATAROOT_DIR": "/data/docker"}
    build = types.SimpleNamespace(getVar=settings.get, expand=lambda text: "/usr/lib/systemd/system /etc/systemd/system")
    check = functions("dockin_check_docker", "dockin_text_in_rootfs")
    drop_in = "etc/systemd/system/docker.service.d/root.conf"
    for name in (folder, neighbour):
        (tmp_path / name / drop_in).parent.mkdir(parents=True)
        (tmp_path / name / drop_in).write_text("[Service]\n")
        settings["IMAGE_ROOTFS"] = str(tmp_path / name)
        with pytest.raises(InvalidDaemonJson, match="Docker is not told of"):
            check(build)
        (tmp_path / name / drop_in).write_text("[Service]\nExecStart=\nExecStart=dockerd --data-root /data/docker\n")
        check(build)
        (tmp_path / name / drop_in).unlink()
    settings["IMAGE_ROOTFS"] = str(tmp_path / folder)
    (tmp_path / neighbour / drop_in).write_text("--data-root")
    with pytest.raises(InvalidDaemonJson, match="Docker is not told of"):
        check(build)
