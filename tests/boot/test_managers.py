# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Packages that are installed, upgraded and removed by dpkg, rpm and as opkg does, on a machine that runs."""

from __future__ import annotations

import time

import pytest

from support import managers, packages, samples
from support.samples import APP, BUSYBOX, KEPT, LARGE, LOADED, RENAMED

UNIT, OTHER_UNIT, LARGE_UNIT = packages.unit(APP), packages.unit(BUSYBOX), packages.unit(LARGE)
DOCKER = ("/usr/bin/docker", "/etc/init.d/docker", "/lib/systemd/system/docker.service", "/lib/systemd/system/docker.socket")
USER = "needs-app.service"
SECONDS = 60


def wait_for(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {SECONDS} s"
        time.sleep(0.05)


@pytest.fixture(params=packages.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def make_managed(make_machine, kind):
    """Return a function that makes a machine, and the manager of its packages."""

    def make():
        one = make_machine()
        try:
            return one, managers.make(kind, one)
        except managers.Unavailable as reason:
            pytest.skip(f"unavailable: {reason}")

    return make


def left(one):
    """Return what is left of the units in a machine's own configuration."""
    return sorted({path.name for path in one.path("/etc/systemd/system").rglob("*dockin-preload-*")})


def listed(system):
    """Return the preload units that systemd knows, in whatever state."""
    lines = system.output("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "dockin-preload-*")
    return [line.split()[0] for line in lines.splitlines()]


def test_an_upgrade_after_the_flush(built, kind, make_managed):
    """New digest, same tag: no file is missed, systemd has the new unit, the image is the new one, its users run."""
    one, manager = make_managed()
    manager.install_offline(*built.of(kind, "apps"))
    one.write(f"/etc/systemd/system/{USER}", f"[Unit]\nRequires={UNIT} dockin-preload.target\nAfter={UNIT}\n"
                                             "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    with one.boot() as system:
        assert not system.exists(packages.archive(APP))
        system.run("systemctl", "start", USER)
        manager.install(system, *built.of(kind, "apps_2.0"))
        # The scripts do not wait for the units that they restart; this joins their jobs.
        system.run("systemctl", "start", UNIT, OTHER_UNIT)
        assert system.run_image(packages.familiar(APP)) == "second"
        assert samples.has(system, APP) and not system.exists(packages.archive(APP))
        wanted = {"NeedDaemonReload": "no", "ActiveState": "active"}
        for unit in (UNIT, OTHER_UNIT, "dockin-preload.target", "docker.service"):
            assert system.show(unit, *wanted) == wanted
            assert system.output("systemctl", "is-enabled", unit) == "enabled"
        wait_for(lambda: system.show(USER, *wanted) == wanted, "what needs the image runs")
        assert not system.exists(packages.archive(BUSYBOX)), "it came with the package again, and is not needed"
    assert len(system.journal.grep(LOADED, OTHER_UNIT)) == 1, "the same image was loaded again"


def test_an_upgrade_to_another_tag(built, kind, make_managed):
    """The unit of the image that is no longer there goes as if it were removed, also if it had failed."""
    if built.missing:
        pytest.skip(f"unavailable: {built.missing}")
    one, manager = make_managed()
    manager.install_offline(*built.of(kind, "kept"))
    archive = one.path(packages.archive(KEPT))
    archive.write_bytes(bytes(archive.stat().st_size))
    with one.boot() as system:
        assert system.failed_units() == [packages.unit(KEPT)]
        manager.install(system, *built.of(kind, "kept_2.0"))
        system.run("systemctl", "start", packages.unit(RENAMED))
        assert system.run_image(packages.familiar(RENAMED)) == "kept"
        assert not archive.exists() and system.exists(packages.archive(RENAMED))
        assert left(one) == listed(system) == [packages.unit(RENAMED)]
        assert system.failed_units() == []
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert left(one) == listed(system) == [packages.unit(RENAMED)]


def test_a_removal_leaves_the_images_alone(built, kind, make_managed):
    one, manager = make_managed()
    manager.install_offline(*built.of(kind, "apps"))
    archive = one.path(packages.archive(BUSYBOX))
    archive.write_bytes(bytes(archive.stat().st_size))
    with one.boot() as system:
        assert system.failed_units() == [OTHER_UNIT]
        image = system.images()[packages.familiar(APP)]
        manager.remove(system, "apps-preload", "apps")
        assert not {"apps", "apps-preload"} & manager.installed(system)
        assert left(one) == []
        assert not one.path(packages.info(APP)).parent.exists()
        # No unit is left, neither as active nor as failed.
        assert listed(system) == []
        assert system.failed_units() == []
        assert system.images()[packages.familiar(APP)] == image
        manager.remove(system, "dockin-preload")
        assert "dockin" not in system.output("systemctl", "show", "--property=DropInPaths", "docker.service")
        # The same package again finds what it left.
        manager.install(system, *built.of(kind, "apps"))
        system.run("systemctl", "start", UNIT, OTHER_UNIT)
        assert samples.has(system, APP) and samples.has(system, BUSYBOX)
    assert [len(system.journal.grep(LOADED, unit)) for unit in (UNIT, OTHER_UNIT)] == [1, 1]
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("running", [])
    assert not system.journal.grep(LOADED)


@pytest.mark.parametrize("kind, running", [("deb", False), *((kind, True) for kind in packages.KINDS)])
def test_docker_may_come_later(built, kind, make_managed, running):
    """Packages are installed where there is no Docker, by an image build or on the machine."""
    one, manager = make_managed()
    files = {path: one.path(path) for path in DOCKER}
    saved = {path: (place.read_bytes(), place.stat().st_mode) for path, place in files.items()}
    for place in files.values():
        place.unlink()
    if not running:
        manager.install_offline(*built.of(kind, "apps"))
    else:
        # What the packages need beside Docker.
        one.install()
    with one.boot() as system:
        if running:
            manager.install(system, *built.of(kind, "apps"))
        assert {"apps", "apps-preload", "dockin-preload"} <= manager.installed(system)
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
        system.run("dpkg", "--force-unsafe-io", "--unpack", *debs)
        system.run("systemctl", "kill", "--kill-who=main", "--signal=CONT", "docker.service")
        wait_for(lambda: system.show(LARGE_UNIT, "ActiveState")["ActiveState"] != "activating", "the end of the load")
        assert system.exists(packages.archive(LARGE)), "the archive that was not loaded yet is gone"
        system.run("dpkg", "--force-unsafe-io", "--configure", "--pending")
        system.run("systemctl", "start", LARGE_UNIT)
        assert system.run_image(packages.familiar(LARGE)) == "large second"
        assert samples.has(system, LARGE) and not system.exists(packages.archive(LARGE))
        assert system.failed_units() == []
