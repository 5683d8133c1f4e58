# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What happens to a machine after its first boot: new packages, lost images, damaged archives, power cuts."""

from __future__ import annotations

import time

import pytest

from support import packages, rootfs, samples
from support.samples import APP, BUSYBOX, KEPT, LARGE, LOADED

UNIT, OTHER_UNIT = packages.unit(APP), packages.unit(BUSYBOX)


@pytest.fixture
def booted(built, make_machine):
    """A machine that booted once, with busybox and the application."""
    one = make_machine()
    one.install(*built["apps"], *built["kept"][1:])
    with one.boot() as system:
        assert system.state == "running"
        assert system.run_image(packages.familiar(APP)) == "first"
    return one


def check_second_application(system):
    assert samples.has(system, APP)
    assert system.run_image(packages.familiar(APP)) == "second"
    assert not system.exists(packages.archive(APP))


@pytest.mark.parametrize(("suite", "store"), [(rootfs.OLDER, "classic"), (rootfs.NEWER, "containerd")])
def test_a_new_digest_under_the_same_tag_is_loaded_on_the_next_boot(built, make_machine, suite, store):
    one = make_machine(suite, store)
    one.install(*built["apps"])
    with one.boot() as system:
        old = system.images()
        assert system.run_image(packages.familiar(APP)) == "first"
    one.install(*built["apps_2.0"])
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        check_second_application(system)
        new = system.images()
    assert new[packages.familiar(APP)] != old[packages.familiar(APP)]
    assert new[packages.familiar(BUSYBOX)] == old[packages.familiar(BUSYBOX)]
    assert system.journal.grep(LOADED, UNIT)
    assert not system.journal.grep(LOADED, OTHER_UNIT), "the same image was loaded again"


def test_an_upgrade_on_the_running_machine_is_loaded_at_once(built, booted):
    with booted.boot() as system:
        debs = booted.copy_in(built["apps_2.0"], "/var/tmp/debs")
        system.run("dpkg", "--force-unsafe-io", "--install", *debs)
        # The packages' scripts do not wait for the units that they restart; this joins their jobs.
        system.run("systemctl", "start", UNIT, OTHER_UNIT)
        check_second_application(system)
        assert system.failed_units() == []
    assert system.journal.grep(LOADED, UNIT)
    assert not system.journal.grep(LOADED, OTHER_UNIT)
    with booted.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        check_second_application(system)
    assert not system.journal.grep(LOADED)


def test_an_image_removed_by_hand_is_loaded_again_while_its_archive_is_there(booted):
    with booted.boot() as system:
        system.run("docker", "rmi", packages.familiar(KEPT))
        assert not samples.has(system, KEPT)
    with booted.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert samples.has(system, KEPT)
    assert system.journal.grep(LOADED, packages.unit(KEPT))
    assert not system.journal.grep(LOADED, UNIT)


def test_an_image_removed_by_hand_after_the_flush_fails_its_unit_alone(booted):
    with booted.boot() as system:
        system.run("docker", "rmi", packages.familiar(APP))
    with booted.boot() as system:
        assert (system.state, system.failed_units()) == ("degraded", [UNIT])
        assert samples.has(system, BUSYBOX) and samples.has(system, KEPT)
        assert system.show("dockin-preload.target", "ActiveState") == {"ActiveState": "active"}
        # The remedy that the message gives.
        again = system.run("dockin-preload", "status", packages.info(APP), check=False)
        assert again.returncode != 0 and "missing" in again.stdout
    errors = [entry for entry in system.journal.grep("", UNIT) if entry.priority == 3 and entry.identifier != "systemd"]
    assert len(errors) == 1
    assert packages.archive(APP) in errors[0].message and "install the image's package again" in errors[0].message


def test_a_damaged_archive_does_not_stop_the_other_images(built, make_machine):
    one = make_machine()
    one.install(*built["apps"])
    archive = one.path(packages.archive(APP))
    good = archive.read_bytes()
    archive.write_bytes(good[:1000] + bytes(len(good) - 1000))
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("degraded", [UNIT])
        assert samples.has(system, BUSYBOX) and not samples.has(system, APP)
        assert system.exists(packages.archive(APP)), "the archive of an image that is not loaded was removed"
        assert not system.exists(packages.archive(BUSYBOX))
        assert system.show("dockin-preload.target", "ActiveState") == {"ActiveState": "active"}
    assert any(entry.priority == 3 and "docker load" in entry.message for entry in system.journal.grep("", UNIT))
    archive.write_bytes(good)
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert system.run_image(packages.familiar(APP)) == "first"
        assert not system.exists(packages.archive(APP))


def is_starting(one, system):
    return f"Starting {packages.unit(LARGE)}" in system.console


def is_loading(one, system):
    return any(one.data.glob("docker/tmp/docker-import-*/*"))


def is_recorded(one, system):
    return any(one.data.glob("docker/dockin/[!.]*large*"))


@pytest.mark.parametrize("moment", [is_starting, is_loading, is_recorded])
def test_a_power_cut_at_the_first_boot_costs_nothing(by_hand, make_machine, moment):
    one = make_machine()
    one.install(*by_hand["large"])
    with one.boot(wait=False) as system:
        end = time.monotonic() + 60
        while not moment(one, system):
            assert time.monotonic() < end, "the moment did not come"
            time.sleep(0.005)
        system.kill()
    assert is_recorded(one, system) == (moment is is_recorded)
    assert one.path(packages.archive(LARGE)).exists() or is_recorded(one, system)
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert samples.has(system, LARGE)
        assert system.run_image(packages.familiar(LARGE)) == "large"
        assert not system.exists(packages.archive(LARGE))
    assert bool(system.journal.grep(LOADED)) == (moment is not is_recorded)
    assert not system.faults()
