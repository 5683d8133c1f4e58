# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Docker 29 and its ways to keep images: a new data-root's store, a containerd inside dockerd, a store that is migrated.

The programs are of tests/programs.ini, whatever DOCKIN_SUITE says.
"""

from __future__ import annotations

import pytest

from support import docker
from support.installed import Shelf
from support.target import FAILED, NO_ARCHIVE, Target

KIND = docker.Kind("go", "containerd")
EMBEDDED = {"features": {"embedded-containerd": True}}
CANT_TELL = "can't be checked"


@pytest.fixture
def newest(request, busybox):
    """A daemon with settings of its own, the command beside it, and images."""
    with docker.start(kind=KIND, settings=request.param) as daemon:
        yield daemon, Target(daemon, "busybox"), Shelf(daemon, busybox)


def with_settings(**settings):
    return pytest.mark.parametrize("newest", settings.values(), ids=settings.keys(), indirect=True)


def reboot(daemon):
    daemon.run(["sync"])
    daemon.cut_power()
    daemon.start()


@with_settings(none={}, embedded=EMBEDDED)
def test_load_record_and_update_over_boots(newest):
    daemon, target, shelf = newest
    one = shelf.install(shelf.image("one"))
    output = target("load", "--flush", one.info)
    assert output.count("loaded in") == 1 and "damaged" not in output
    assert not one.archive.exists()
    assert "io.containerd.snapshotter" in daemon.docker("info", "--format", "{{.DriverStatus}}")
    reboot(daemon)
    assert "nothing to do" in target("load", one.info)
    assert daemon.run_image(one.name) == shelf.output("one")
    two = shelf.install(shelf.image("two"))
    output = target("load", "--flush", "--prune", two.info)
    assert "removed its earlier image" in output and not two.archive.exists()
    assert daemon.run_image(two.name) == shelf.output("two")
    assert daemon.docker("image", "ls", "--all", "--quiet").split() == [daemon.docker("image", "ls", "--quiet", two.name)]


@with_settings(embedded=EMBEDDED)
def test_without_ctr_a_later_boot_can_not_tell(newest):
    """Where containerd is in dockerd no package brings ctr. What the first boot loads is whole."""
    daemon, target, shelf = newest
    (target.directory / "bin/ctr").unlink()
    one = shelf.install(shelf.image("one"))
    target("load", "--flush", one.info)
    assert not one.archive.exists()
    reboot(daemon)
    assert "nothing to do" in target("load", one.info)
    two = shelf.install(shelf.image("two"))
    assert CANT_TELL in target("load", "--flush", two.info)
    assert daemon.run_image(two.name) == shelf.output("two")
    assert two.archive.exists()


@with_settings(erofs={"storage-driver": "erofs"})
def test_layers_in_erofs_can_not_be_checked(newest):
    """They are images of file systems, which can't be compared; Docker 29.8 runs no container on them."""
    daemon, target, shelf = newest
    installed = [shelf.install(shelf.image(word), shelf.name(word)) for word in ("first", "later")]
    first, later = installed
    target("load", "--flush", first.info)
    assert not first.archive.exists()
    reboot(daemon)
    assert "nothing to do" in target("load", first.info)
    assert CANT_TELL in target("load", "--flush", later.info)
    assert later.archive.exists()


@with_settings(classic={"storage-driver": "overlay2"})
def test_images_that_docker_has_migrated(newest, monkeypatch):
    """Docker puts each below a manifest of its own: the image is the same, and its archive may be gone."""
    daemon, target, shelf = newest
    one, kept = (shelf.install(shelf.image(word), shelf.name(word)) for word in ("one", "kept"))
    target("load", "--flush", one.info)
    target("load", kept.info)
    daemon.stop()
    daemon.settings = {"features": {"containerd-migration": True}}
    own = daemon.environment()
    monkeypatch.setattr(daemon, "environment", lambda: {**own, "DOCKER_MIGRATE_SNAPSHOTTER_THRESHOLD": "10GB"})
    daemon.start()
    reboot(daemon)
    ids = {one.information.image_id, one.information.manifest_digest}
    assert daemon.docker("image", "ls", "--quiet", "--no-trunc", one.name) not in ids
    for installed in (one, kept):
        assert '"state": "doubtful"' in target("status", "--json", installed.info, status=FAILED)
        output = target("load", installed.info)
        assert "loaded in" not in output and "checking its files" in output
        assert "nothing to do" in target("load", installed.info)
    assert daemon.run_image(one.name) == shelf.output("one")
    # What was brought before still counts as such.
    other = shelf.install(shelf.image("other"), one.name)
    assert "removed its earlier image" in target("load", "--prune", other.info)
    daemon.docker("image", "rm", kept.name)
    kept.archive.unlink()
    target("load", kept.info, status=NO_ARCHIVE)
