# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.store.engineconf: what a root file system tells Docker or Podman of its images."""

from __future__ import annotations

import sys
import types

import pytest

from dockin.store import engineconf
from dockin.store.containerdconf import Place
from dockin.store.daemonjson import InvalidDaemonJson
from dockin.store.rootfs import InvalidPlace
from dockin.target import units

FOLDERS = ("/usr/lib/systemd/system", "/etc/systemd/system")
STORE = "/usr/lib/containers/storage"


@pytest.fixture(autouse=True)
def oe(monkeypatch):
    """OE-core's module: here no link is followed."""
    monkeypatch.setitem(sys.modules, "oe", types.ModuleType("oe"))
    monkeypatch.setitem(sys.modules, "oe.path", types.SimpleNamespace(realpath=lambda path, root: path))
    sys.modules["oe"].path = sys.modules["oe.path"]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("folder, neighbour", [("g[ab]", "ga"), ("g*", "gx"), ("g?", "gx")])
def test_units_in_a_directory_that_is_a_pattern(tmp_path, folder, neighbour):
    """Docker is told of its data-root by a unit of its own root file system, not of a neighbour's."""
    drop_in = "etc/systemd/system/docker.service.d/root.conf"
    for name in (folder, neighbour):
        root = str(tmp_path / name)
        write(tmp_path / name / drop_in, "[Service]\n")
        with pytest.raises(InvalidDaemonJson, match="Docker is not told of"):
            engineconf.check_docker(root, "/data/docker", FOLDERS)
        write(tmp_path / name / drop_in, "[Service]\nExecStart=\nExecStart=dockerd --data-root /data/docker\n")
        engineconf.check_docker(root, "/data/docker", FOLDERS)
        (tmp_path / name / drop_in).unlink()
    write(tmp_path / neighbour / drop_in, "--data-root")
    with pytest.raises(InvalidDaemonJson, match="Docker is not told of"):
        engineconf.check_docker(str(tmp_path / folder), "/data/docker", FOLDERS)


def test_packages_for_another_data_root(tmp_path):
    drop_in = tmp_path / "usr/lib/systemd/system/docker.service.d" / units.DROP_IN
    write(drop_in, units.render_drop_in("/var/lib/docker"))
    engineconf.check_docker(str(tmp_path), "/var/lib/docker", FOLDERS)
    message = r"'/data/docker', but its packages were built for another \(/usr/lib/.* says RequiresMountsFor=/var/lib/docker"
    with pytest.raises(engineconf.OtherDataRoot, match=message):
        engineconf.check_docker(str(tmp_path), "/data/docker", FOLDERS)


@pytest.mark.parametrize("folder", ["etc", "usr/share"])
def test_a_store_is_added_to_the_file_that_counts(tmp_path, folder):
    write(tmp_path / folder / "containers/storage.conf", '[storage]\ndriver = "overlay"\n# theirs\n')
    engineconf.add_image_store(str(tmp_path), "/etc", "/usr/share", STORE, "/data")
    made = tmp_path / "etc/containers/storage.conf"
    assert f'additionalimagestores = ["{STORE}"]' in made.read_text() and "# theirs" in made.read_text()
    assert "graphroot" not in (tmp_path / "etc/containers/storage.rootless.conf.d/50-dockin.conf").read_text()
    assert made.stat().st_mode & 0o777 == 0o644


def test_a_storage_conf_where_there_is_none(tmp_path):
    engineconf.add_image_store(str(tmp_path), "/etc", "/usr/share", STORE, "/data")
    assert 'graphroot = "/data"' in (tmp_path / "etc/containers/storage.conf").read_text()
    assert 'graphroot = ""' in (tmp_path / "etc/containers/storage.rootless.conf.d/50-dockin.conf").read_text()


def test_a_storage_conf_that_is_a_link(tmp_path):
    (tmp_path / "etc/containers").mkdir(parents=True)
    (tmp_path / "etc/containers/storage.conf").symlink_to("/usr/share/mine.conf")
    with pytest.raises(InvalidPlace, match="/etc/containers/storage.conf is a link to /usr/share/mine.conf in the root"):
        engineconf.add_image_store(str(tmp_path), "/etc", "/usr/share", STORE, "/data")


def test_the_store_of_docker(tmp_path):
    write(tmp_path / "etc/docker/daemon.json", '{"features": {"containerd-snapshotter": true}}')
    root = str(tmp_path)
    assert engineconf.find_store(root, "docker", "/var/lib/docker", FOLDERS, False) == Place(
        "/var/lib/docker/containerd/daemon", "moby")
    write(tmp_path / "usr/lib/systemd/system/docker.service", "[Service]\nExecStart=dockerd\n")
    write(tmp_path / "usr/lib/systemd/system/containerd.service", "[Service]\nExecStart=containerd\n")
    assert engineconf.find_store(root, "docker", "/var/lib/docker", FOLDERS, False) == Place("/var/lib/containerd", "moby")
    write(tmp_path / "etc/systemd/system/docker.service.d/x.conf", "ExecStart=dockerd --containerd-namespace=mine\n")
    write(tmp_path / "etc/containerd/conf.d/x.toml", "root = '/data/containerd'\n")
    assert engineconf.find_store(root, "docker", "/var/lib/docker", FOLDERS, False) == Place("/data/containerd", "mine")
    (tmp_path / "etc/docker/daemon.json").unlink()
    assert engineconf.find_store(root, "docker", "/var/lib/docker", FOLDERS, True) == Place("/data/containerd", "mine")
    with pytest.raises(InvalidDaemonJson, match="Docker is not told to keep images in containerd"):
        engineconf.find_store(root, "docker", "/var/lib/docker", FOLDERS, False)


def test_the_store_of_containerd(tmp_path):
    root = str(tmp_path)
    assert engineconf.find_store(root, "containerd", "/var/lib/containerd", FOLDERS, False) == Place(
        "/var/lib/containerd", "default")
    write(tmp_path / "etc/containerd/config.toml", "root = '/data'\n")
    assert engineconf.find_store(root, "containerd", "/data", FOLDERS, False) == Place("/data", "default")
    with pytest.raises(engineconf.OtherDataRoot, match="containerd has its root in /data, but DOCKIN_DATAROOT_DIR is '/x'"):
        engineconf.find_store(root, "containerd", "/x", FOLDERS, False)
    write(tmp_path / "usr/lib/systemd/system/containerd.service.d" / units.DROP_IN, units.render_drop_in("/y"))
    with pytest.raises(engineconf.OtherDataRoot, match="its packages were built for another"):
        engineconf.find_store(root, "containerd", "/data", FOLDERS, False)
