# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images that were written into containerd's store: Docker has them from the first boot on, with nothing to load."""

from __future__ import annotations

import functools
import sys
import types

from dockin.store import containerd, containerdconf, engineconf, writer
from support import packages, rootfs, samples
from support.samples import APP, BUSYBOX, LOADED, PULLED

NAMES = {BUSYBOX: "1.36.1", APP: "first", PULLED: "pulled"}
FOLDERS = ("/usr/lib/systemd/system", "/etc/systemd/system")
EPOCH = 1_600_000_000


def test_nothing_has_to_be_loaded(make_machine, by_hand, monkeypatch):
    one = make_machine(rootfs.NEWER, "containerd")
    one.install(*by_hand["apps"], *by_hand["pulled"][1:])
    # OE-core's module, which follows links: there are none on the way.
    oe = types.SimpleNamespace(path=types.SimpleNamespace(realpath=lambda path, root: path))
    for name, module in {"oe": oe, "oe.path": oe.path}.items():
        monkeypatch.setitem(sys.modules, name, module)
    by_default = rootfs.SUITES[rootfs.NEWER].docker[0] >= 29
    place = engineconf.find_store(str(one.root), "docker", "/var/lib/docker", FOLDERS, by_default)
    assert place == containerdconf.Place("/var/lib/containerd", "moby")
    sources = writer.read_sources(str(one.root), [packages.info(name) for name in NAMES], "docker")
    make = functools.partial(containerd.ContainerdStore, byteorder="little", namespaces=[place.namespace])
    writer.write(str(one.data / "containerd"), sources, EPOCH, make_store=make)
    for _ in range(2):
        with one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            for name, word in NAMES.items():
                assert samples.has(system, name)
                command = ("cat", "/etc/version") if name == BUSYBOX else ()
                assert system.run_image(packages.familiar(name), *command) == word
                # Flushed, as nobody needs them any more.
                assert not system.exists(packages.archive(name))
        for name in NAMES:
            assert system.journal.grep("is loaded and recorded, nothing to do", packages.unit(name))
            assert not system.journal.grep(LOADED, packages.unit(name))
    with one.boot() as system:
        system.output("systemctl", "restart", "docker.service")
        system.cut_power()
    with one.boot() as system:
        assert all(samples.has(system, name) for name in NAMES)
        for name in NAMES:
            system.output("docker", "image", "rm", packages.familiar(name))
        assert not system.output("ctr", "-n", "moby", "content", "ls", "-q")
