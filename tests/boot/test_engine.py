# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The units among the others of a machine: late mounts, an engine that is started again, limits of time."""

from __future__ import annotations

import time

import pytest

from support import packages, rootfs, samples
from support.samples import APP, BUSYBOX, KEPT, LOADED

UNIT, OTHER_UNIT, KEPT_UNIT = packages.unit(APP), packages.unit(BUSYBOX), packages.unit(KEPT)
SECONDS = 60

# A partition that takes its time to appear, and that nothing waits for, as of fstab with nofail.
SLOW_DISK = """
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c "sleep 3; {}"
"""
LATE_MOUNT = """
[Unit]
Requires=slow-disk.service
After=slow-disk.service
[Mount]
What=/srv/partition
Where=/var/lib/docker
Type=none
Options=bind,nofail
[Install]
WantedBy=multi-user.target
"""
MOUNT = "var-lib-docker.mount"


def wait_for(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {SECONDS} s"
        time.sleep(0.1)


def late(one, outcome="true"):
    """Let a machine mount Docker's data-root late, by a unit of its own; or find no disk."""
    one.docker_data = "/srv/partition"
    one.write("/etc/systemd/system/slow-disk.service", SLOW_DISK.format(outcome))
    one.write(f"/etc/systemd/system/{MOUNT}", LATE_MOUNT)
    one.chroot("systemctl", "--quiet", "--root=/", "enable", MOUNT)


@pytest.mark.parametrize("suite", rootfs.BOTH)
def test_docker_waits_for_a_data_root_that_is_mounted_late(built, make_machine, suite):
    one = make_machine(suite)
    one.install(*built["apps"])
    late(one)
    for number in (1, 2):
        with one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            assert samples.has(system, APP) and samples.has(system, BUSYBOX)
        assert not system.faults()
        journal = system.journal
        assert journal.started(MOUNT) <= journal.starting("docker.service")
        # What is not on the partition would be lost to sight below the mount point.
        assert list(one.path("/var/lib/docker").iterdir()) == []
        assert (one.data / "docker/dockin").is_dir()
        assert bool(journal.grep(LOADED, UNIT)) == (number == 1)


def test_nothing_is_written_below_a_mount_point_whose_mount_failed(built, make_machine):
    one = make_machine()
    one.install(*built["apps"])
    late(one, "false")
    with one.boot() as system:
        assert system.state == "degraded"
        assert system.show("docker.service", "ActiveState")["ActiveState"] != "active"
        for unit in (UNIT, OTHER_UNIT):
            assert system.show(unit, "ActiveState")["ActiveState"] != "active"
        assert system.exists(packages.archive(APP)) and system.exists(packages.archive(BUSYBOX))
    assert system.journal.grep(r"^Dependency failed for .*Docker")
    assert list(one.path("/var/lib/docker").iterdir()) == []


def test_no_start_is_ended_early_whatever_the_default(built, make_machine):
    one = make_machine()
    one.install(*built["apps"])
    one.write("/etc/systemd/system.conf.d/short.conf", "[Manager]\nDefaultTimeoutStartSec=7s\n")
    with one.boot() as system:
        assert system.state == "running"
        assert system.show("docker.socket", "TimeoutUSec") == {"TimeoutUSec": "7s"}
        assert system.show(UNIT, "TimeoutStartUSec", "JobTimeoutUSec") == {
            "TimeoutStartUSec": "infinity", "JobTimeoutUSec": "infinity"}


def test_what_failed_or_vanished_is_loaded_when_docker_is_started_again(built, make_machine):
    one = make_machine()
    one.install(*built["apps"], *built["kept"][1:])
    archive = one.path(packages.archive(APP))
    good = archive.read_bytes()
    archive.write_bytes(bytes(len(good)))
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("degraded", [UNIT])
        archive.write_bytes(good)

        # By a person.
        system.run("systemctl", "restart", "docker.service")
        wait_for(lambda: system.show(UNIT, "ActiveState")["ActiveState"] == "active", f"{UNIT} is active")
        assert system.run_image(packages.familiar(APP)) == "first"
        assert system.failed_units() == []

        # By systemd, after a crash.
        system.run("docker", "rmi", packages.familiar(KEPT))
        system.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "docker.service")
        wait_for(lambda: system.run("docker", "image", "inspect", packages.familiar(KEPT), check=False).returncode == 0,
                 "the image that was removed is loaded again")
        wait_for(lambda: system.show(KEPT_UNIT, "ActiveState")["ActiveState"] == "active", f"{KEPT_UNIT} is active")
        assert system.failed_units() == []
    journal = system.journal
    assert [len(journal.grep(LOADED, unit)) for unit in (OTHER_UNIT, UNIT, KEPT_UNIT)] == [1, 1, 2]


def test_docker_that_does_not_start_at_boot_is_not_the_end(built, make_machine):
    one = make_machine()
    one.install(*built["apps"])
    one.write("/etc/docker/daemon.json", "this is no JSON")
    one.write("/etc/systemd/system/dockin-preload-.service.d/wait.conf", "[Service]\nEnvironment=DOCKIN_PRELOAD_WAIT=2\n")
    with one.boot() as system:
        assert {UNIT, OTHER_UNIT, "docker.service"} <= set(system.failed_units())
        assert system.show(UNIT, "ExecMainStatus") == {"ExecMainStatus": "4"}
        assert system.show("dockin-preload.target", "ActiveState") == {"ActiveState": "active"}
        assert system.exists(packages.archive(APP)) and system.exists(packages.archive(BUSYBOX))
        system.run("rm", "/etc/docker/daemon.json")
        system.run("systemctl", "reset-failed", "docker.service", "docker.socket")
        system.run("systemctl", "start", "docker.service")
        for unit in (UNIT, OTHER_UNIT):
            wait_for(lambda unit=unit: system.show(unit, "ActiveState")["ActiveState"] == "active", f"{unit} is active")
        assert samples.has(system, APP) and samples.has(system, BUSYBOX)
        assert system.failed_units() == []
