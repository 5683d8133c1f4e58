# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Units that load into Podman and containerd, within their sandboxes: layers with all that needs rights to be unpacked."""

from __future__ import annotations

import io
import struct
import tarfile

import pytest

from dockin.target import runtimes
from support import images, packages, rootfs

NAME = "registry.example.com/team/odd:v1"
UNIT = packages.unit(NAME)
# cap_net_bind_service, permitted and effective
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0).decode("latin-1")


def layer(*members):
    """Return a layer of (name, type, further attributes of its header)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, attributes in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size = kind, 0o755, int(kind == tarfile.REGTYPE)
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(b"x"))
    return images.Layer(stream.getvalue())


@pytest.fixture(scope="module")
def odd():
    """An image whose layers hold what an ordinary user can't make."""
    owner = {"mode": 0o6755, "uid": 1000, "gid": 70000}
    lower = layer(
        ("odd", tarfile.DIRTYPE, {}), ("odd/setuid", tarfile.REGTYPE, owner),
        ("odd/hard", tarfile.LNKTYPE, {**owner, "linkname": "odd/setuid"}),
        ("odd/null", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}), ("odd/fifo", tarfile.FIFOTYPE, {}),
        ("odd/able", tarfile.REGTYPE, {"pax_headers": {"SCHILY.xattr.security.capability": CAPABILITY}}),
        ("odd/gone", tarfile.REGTYPE, {}), ("odd/opaque", tarfile.DIRTYPE, {}), ("odd/opaque/gone", tarfile.REGTYPE, {}))
    upper = layer(("odd/.wh.gone", tarfile.REGTYPE, {}), ("odd/opaque", tarfile.DIRTYPE, {}),
                  ("odd/opaque/.wh..wh..opq", tarfile.REGTYPE, {}))
    return images.index([images.image([images.busybox_layer(), lower, upper], command=("ls", "-lnR", "/odd"))])


def boot(make_machine, odd, folder, runtime):
    one = make_machine(rootfs.NEWER)
    one.install(*packages.make(folder, [packages.Recipe("odd", {NAME: odd}, runtime=runtime)])["odd"])
    return one.boot()


def test_podman(make_machine, odd, tmp_path):
    with boot(make_machine, odd, tmp_path, runtimes.PODMAN) as system:
        assert (system.state, system.failed_units()) == ("running", [])
        options = ["--rm", "--pull", "never", "--network", "none", "--cgroups", "disabled"]
        listed = system.output("podman", "run", *options, NAME)
        lines = [line.split() for line in listed.splitlines()]
        found = {line[-1]: (line[0], line[2], line[3]) for line in lines if len(line) > 5}
        assert set(found) == {"setuid", "hard", "null", "fifo", "able", "opaque"}
        assert found["setuid"] == found["hard"] == ("-rwsr-sr-x", "1000", "70000")
        assert found["null"][0].startswith("c") and found["fifo"][0].startswith("p")
        able = system.output("find", "/var/lib/containers/storage/overlay", "-path", "*/diff/odd/able")
        assert "cap_net_bind_service=ep" in system.output("getcap", able)
    assert not system.faults()


def test_containerd(make_machine, odd, tmp_path):
    with boot(make_machine, odd, tmp_path, runtimes.CONTAINERD) as system:
        assert (system.state, system.failed_units()) == ("running", [])
        assert NAME in system.output("ctr", "images", "list", "--quiet").splitlines()
        assert NAME in system.output("ctr", "images", "check")
    assert not system.faults()
    assert system.journal.started("containerd.service") <= system.journal.starting(UNIT)
