# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The demo compose-example: its service starts containers with the real Docker Compose, after their images."""

from __future__ import annotations

import time

from support import packages, rootfs, samples
from support.samples import BUSYBOX, WEB

SERVICE = "compose-example.service"
UNITS = {name: packages.unit(name) for name in (WEB, BUSYBOX)}
SECONDS = 30


def test_the_containers_start_after_their_images_on_every_boot(built, make_machine):
    one = make_machine(rootfs.NEWER)
    one.install(*built["compose-example"])
    for number in (1, 2):
        with one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            assert all(samples.has(system, name) for name in UNITS)
            running = system.output("docker", "ps", "--format", "{{.Names}} {{.Image}} {{.State}}").splitlines()
            assert sorted(running) == ["compose-example-probe-1 busybox:1.36.1 running",
                                       "compose-example-web-1 busybox:1.37.0 running"]
            # The probe has asked the web server, by its name on Docker's network.
            end = time.monotonic() + SECONDS
            while "root:x:0:0:" not in system.output("docker", "logs", "compose-example-probe-1"):
                assert time.monotonic() < end, "no answer from the web server"
                time.sleep(0.1)
        assert not system.faults()
        journal = system.journal
        for unit in UNITS.values():
            assert journal.started("docker.service") <= journal.starting(unit)
            assert journal.started(unit) <= journal.starting(SERVICE)
            assert bool(journal.grep(samples.LOADED, unit)) == (number == 1)


def test_no_container_starts_without_its_image(built, make_machine):
    one = make_machine(rootfs.NEWER)
    one.install(*built["compose-example"])
    archive = one.path(packages.archive(WEB))
    good = archive.read_bytes()
    archive.write_bytes(bytes(len(good)))
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("degraded", [UNITS[WEB]])
        assert system.show(SERVICE, "ActiveState") == {"ActiveState": "inactive"}
        assert system.output("docker", "ps", "--all", "--quiet") == ""
        assert samples.has(system, BUSYBOX)
    assert system.journal.grep(r"^Dependency failed for .*compose-example")
    archive.write_bytes(good)
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert len(system.output("docker", "ps", "--quiet").splitlines()) == 2
