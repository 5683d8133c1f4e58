# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The normal way: the first boot loads the images, and the ones after it have nothing to do."""

from __future__ import annotations

import os

import pytest

from support import cache, packages, rootfs, samples
from support.samples import APP, BUSYBOX, KEPT, LOADED, OFF


@pytest.mark.release(str(cache.releases()[-1]))
def test_the_packages_are_built_by_bitbake(built):
    if not built.release:
        pytest.skip(f"unavailable: packages built by BitBake, these are made by hand: {built.missing}")
    assert [deb.name.partition("_")[0] for deb in built["apps"]] == ["dockin-preload", "apps", "apps-preload"]


@pytest.mark.parametrize(("suite", "store"), [(rootfs.OLDER, "classic"), (rootfs.NEWER, "containerd")])
def test_two_images(built, make_machine, suite, store):
    check_two_boots(built, make_machine(suite, store))


def test_two_images_of_packages_made_by_hand(by_hand, make_machine):
    check_two_boots(by_hand, make_machine())


def check_two_boots(built, one):
    one.install(*built["apps"])
    units = {name: packages.unit(name) for name in (BUSYBOX, APP)}
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        for name, unit in units.items():
            assert samples.has(system, name)
            assert system.show(unit, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "exited"}
            assert not system.exists(packages.archive(name)), "it was not flushed"
        assert system.run_image(packages.familiar(BUSYBOX), "cat", "/etc/version") == "1.36.1"
        assert system.run_image(packages.familiar(APP)) == "first"
        verified = system.run("systemd-analyze", "verify", *units.values(), "dockin-preload.target")
        assert "dockin" not in verified.stdout + verified.stderr
    assert not system.faults()
    first = system.journal
    for unit in units.values():
        assert first.grep(LOADED, unit)
        assert first.started("docker.service") <= first.starting(unit)
        assert first.started(unit) <= first.started("dockin-preload.target")
    earlier, later = sorted(units.values(), key=first.starting)
    assert first.started(earlier) <= first.starting(later), "the units of a recipe are started one after the other"

    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert all(samples.has(system, name) for name in units)
        assert system.run_image(packages.familiar(APP)) == "first"
    assert not system.faults()
    second = system.journal
    for unit in units.values():
        assert second.started("docker.service") <= second.starting(unit)
        assert second.has_started(unit) and not second.grep(LOADED, unit)


@pytest.mark.parametrize(("suite", "store"), [(rootfs.OLDER, "classic"), (rootfs.NEWER, "containerd")])
def test_a_full_disk_fails_the_units_until_a_boot_finds_room(built, make_machine, suite, store):
    one = make_machine(suite, store)
    one.install(*built["apps"])
    units = {name: packages.unit(name) for name in (BUSYBOX, APP)}
    disk = os.statvfs(one.data)
    one.outside("fallocate", "-l", str(disk.f_bavail * disk.f_frsize - (8 << 20)), f"{one.folder}/data/filler")
    with one.boot() as system:
        assert (system.state, set(system.failed_units())) == ("degraded", set(units.values()))
        assert system.show("dockin-preload.target", "ActiveState") == {"ActiveState": "active"}
        for name, unit in units.items():
            assert system.show(unit, "ExecMainStatus") == {"ExecMainStatus": "5"}
            assert not samples.has(system, name) and system.exists(packages.archive(name))
    for unit in units.values():
        assert system.journal.grep("too little space in .*: the load needs [0-9]+ MiB, [0-9]+ MiB are free, [1-9][0-9]* MiB "
                                   "are missing", unit)
    one.outside("rm", f"{one.folder}/data/filler")
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        for name in units:
            assert samples.has(system, name) and not system.exists(packages.archive(name))
        assert system.run_image(packages.familiar(APP)) == "first"
    assert not system.faults()


def test_the_archive_is_kept_with_flush_off(built, make_machine):
    one = make_machine()
    one.install(*built["kept"])
    with one.boot() as system:
        assert samples.has(system, KEPT)
        assert system.exists(packages.archive(KEPT))
    assert system.journal.grep(LOADED, packages.unit(KEPT))
    # From now on a load would fail, so that one would show.
    archive = one.path(packages.archive(KEPT))
    archive.write_bytes(bytes(archive.stat().st_size))
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert samples.has(system, KEPT)
        assert system.exists(packages.archive(KEPT))
    assert not system.journal.grep(LOADED, packages.unit(KEPT))


def test_a_disabled_preload_waits_until_it_is_enabled(built, make_machine):
    one = make_machine()
    one.install(*built["apps"], *built["off"][1:])
    unit = packages.unit(OFF)
    with one.boot() as system:
        assert system.state == "running"
        assert samples.has(system, BUSYBOX) and not samples.has(system, OFF)
        assert system.exists(packages.archive(OFF))
        assert system.show(unit, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "disabled"}
        system.run("systemctl", "enable", unit)
        assert not samples.has(system, OFF)
    assert not system.journal.has_started(unit)
    with one.boot() as system:
        assert system.state == "running"
        assert samples.has(system, OFF)
        assert system.run_image(packages.familiar(OFF)) == "off"
    assert system.journal.grep(LOADED, unit)


@pytest.mark.parametrize("suite", rootfs.BOTH)
def test_a_read_only_root_fails_nothing(built, make_machine, suite):
    one = make_machine(suite)
    one.install(*built["apps"])
    if rootfs.SUITES[suite].docker[0] < 23:
        # Docker before 23 can't start if it can't write this key, for nothing; such an image has to put it elsewhere.
        one.write("/etc/docker/daemon.json", '{"deprecated-key-path": "/var/lib/docker/key.json"}')
    for number in (1, 2):
        with one.boot(read_only=True) as system:
            assert system.run("touch", packages.archive(APP), check=False).returncode != 0, "the root is not read-only"
            assert (system.state, system.failed_units()) == ("running", [])
            for name in (BUSYBOX, APP):
                assert samples.has(system, name)
                assert system.exists(packages.archive(name))
            assert system.run_image(packages.familiar(APP)) == "first"
        assert not system.faults()
        for name in (BUSYBOX, APP):
            assert bool(system.journal.grep(LOADED, packages.unit(name))) == (number == 1)
