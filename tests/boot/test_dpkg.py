# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Packages that are installed, upgraded and removed by dpkg on a machine that runs."""

from __future__ import annotations

import time

import pytest

from support import packages, samples
from support.samples import APP, BUSYBOX, LARGE, LOADED

UNIT, OTHER_UNIT, LARGE_UNIT = packages.unit(APP), packages.unit(BUSYBOX), packages.unit(LARGE)
DOCKER = ("/usr/bin/docker", "/etc/init.d/docker", "/lib/systemd/system/docker.service", "/lib/systemd/system/docker.socket")
SECONDS = 60


def wait_for(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {SECONDS} s"
        time.sleep(0.05)


def dpkg(system, *arguments):
    """Run dpkg on the machine; it must have nothing to complain of."""
    done = system.run("dpkg", "--force-unsafe-io", *arguments)
    output = done.stdout + done.stderr
    assert "warning" not in output and "error" not in output, output
    return output


def states(system, names):
    """Return dpkg's state of packages."""
    listed = system.output("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n")
    found = dict(line.split() for line in listed.splitlines())
    return [found.get(name, "") for name in names]


def left(one):
    """Return what is left of the units in a machine's own configuration."""
    return sorted(path.name for path in one.path("/etc/systemd/system").rglob("*dockin-preload-*"))


def test_an_upgrade_after_the_flush(built, make_machine):
    """New digest, same tag: dpkg misses no file, systemd has the new unit, the image is the new one."""
    one = make_machine()
    one.install(*built["apps"])
    with one.boot() as system:
        assert not system.exists(packages.archive(APP))
        dpkg(system, "--install", *one.copy_in(built["apps_2.0"], "/var/tmp/debs"))
        # The scripts do not wait for the units that they restart; this joins their jobs.
        system.run("systemctl", "start", UNIT, OTHER_UNIT)
        assert system.run_image(packages.familiar(APP)) == "second"
        assert samples.has(system, APP) and not system.exists(packages.archive(APP))
        wanted = {"NeedDaemonReload": "no", "ActiveState": "active"}
        for unit in (UNIT, OTHER_UNIT, "dockin-preload.target", "docker.service"):
            assert system.show(unit, *wanted) == wanted
        assert not system.exists(packages.archive(BUSYBOX)), "it came with the package again, and is not needed"
    assert len(system.journal.grep(LOADED, OTHER_UNIT)) == 1, "the same image was loaded again"


def test_a_removal_leaves_the_images_alone(built, make_machine):
    one = make_machine()
    one.install(*built["apps"])
    archive = one.path(packages.archive(BUSYBOX))
    archive.write_bytes(bytes(archive.stat().st_size))
    with one.boot() as system:
        assert system.failed_units() == [OTHER_UNIT]
        image = system.images()[packages.familiar(APP)]
        dpkg(system, "--remove", "apps-preload", "apps")
        assert set(states(system, ["apps", "apps-preload"])) <= {"", "config-files", "not-installed"}
        assert left(one) == []
        assert not one.path(packages.info(APP)).parent.exists()
        # No unit is left, neither as active nor as failed.
        listed = system.output("systemctl", "list-units", "--all", "--plain", "--no-legend", "dockin-preload-*")
        assert listed == ""
        assert system.failed_units() == []
        assert system.images()[packages.familiar(APP)] == image
        dpkg(system, "--remove", "dockin-preload")
        assert "dockin" not in system.output("systemctl", "show", "--property=DropInPaths", "docker.service")
        # The same package again finds what it left.
        dpkg(system, "--install", *one.copy_in(built["apps"], "/var/tmp/debs"))
        system.run("systemctl", "start", UNIT, OTHER_UNIT)
        assert samples.has(system, APP) and samples.has(system, BUSYBOX)
    assert [len(system.journal.grep(LOADED, unit)) for unit in (UNIT, OTHER_UNIT)] == [1, 1]
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
    assert not system.journal.grep(LOADED)


@pytest.mark.parametrize("running", [True, False])
def test_docker_may_come_later(built, make_machine, running):
    """Packages are installed where there is no Docker, by an image build or on the machine."""
    one = make_machine()
    files = {path: one.path(path) for path in DOCKER}
    saved = {path: (place.read_bytes(), place.stat().st_mode) for path, place in files.items()}
    for place in files.values():
        place.unlink()
    if not running:
        one.install(*built["apps"])
    else:
        # What the packages need beside Docker.
        one.install()
    with one.boot() as system:
        if running:
            dpkg(system, "--install", *one.copy_in(built["apps"], "/var/tmp/debs"))
        assert states(system, ["apps", "apps-preload", "dockin-preload"]) == ["installed"] * 3
        wait_for(lambda: set(system.failed_units()) == {UNIT, OTHER_UNIT}, "both units find no Docker")
        assert system.exists(packages.archive(APP))
        for path, (content, mode) in saved.items():
            files[path].write_bytes(content)
            files[path].chmod(mode)
        system.run("systemctl", "daemon-reload")
        system.run("systemctl", "start", "docker.service")
        for unit in (UNIT, OTHER_UNIT):
            wait_for(lambda unit=unit: system.show(unit, "ActiveState")["ActiveState"] == "active", f"{unit} is active")
        assert samples.has(system, APP) and samples.has(system, BUSYBOX)
        assert system.failed_units() == []
    [error] = [entry.message for entry in system.journal.grep("install Docker", UNIT) if entry.priority == 3]
    assert "no command 'docker'" in error


def is_loading(one):
    return any(one.data.glob("docker/tmp/docker-import-*/*"))


def test_an_upgrade_during_a_load(by_hand, make_machine):
    """The load of the old archive must not flush the new one, which is in its place."""
    one = make_machine()
    one.install(*by_hand["large"])
    debs = one.copy_in(by_hand["large_2.0"], "/var/tmp/debs")
    with one.boot(wait=False) as system:
        wait_for(lambda: is_loading(one), "the load")
        system.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "docker.service")
        dpkg(system, "--unpack", *debs)
        system.run("systemctl", "kill", "--kill-who=main", "--signal=CONT", "docker.service")
        wait_for(lambda: system.show(LARGE_UNIT, "ActiveState")["ActiveState"] != "activating", "the end of the load")
        assert system.exists(packages.archive(LARGE)), "the archive that was not loaded yet is gone"
        dpkg(system, "--configure", "--pending")
        system.run("systemctl", "start", LARGE_UNIT)
        assert system.run_image(packages.familiar(LARGE)) == "large second"
        assert samples.has(system, LARGE) and not system.exists(packages.archive(LARGE))
        assert system.failed_units() == []
