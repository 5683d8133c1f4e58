# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What docs/guide.md does on the device, on a booted machine with the guide's own service.

What it does on the build host is in tests/oe/test_guide.py.
"""

from __future__ import annotations

import pytest

from support import manuscript, oe, packages, rootfs
from support.samples import BUSYBOX

GUIDE = oe.LAYER / "docs" / "guide.md"
SERVICE = "greeter.service"


@pytest.fixture(scope="module")
def steps():
    return list(manuscript.read(GUIDE))


@pytest.fixture(scope="module")
def debs(steps, contents, tmp_path_factory):
    """The packages of the guide, made by hand."""
    [unit] = [step.text for step in steps if isinstance(step, manuscript.File) and step.path.endswith(f"/{SERVICE}")]
    recipe = packages.Recipe("busybox-docker", {BUSYBOX: contents["busybox"]}, services=[SERVICE],
                             files={f"{packages.UNITS}/{SERVICE}": unit})
    return packages.make(tmp_path_factory.mktemp("guide"), [recipe])[recipe.name]


def follow(system, commands):
    for step in commands:
        said = system.output("sh", "-ec", step.command)
        missing = step.differs(said)
        assert not missing, f"`{step.command}` has no line {missing!r}:\n{said}"


def test_the_commands_on_the_device(steps, debs, make_machine):
    told = [step for step in steps if isinstance(step, manuscript.Command) and step.prompt == "#"]
    first, second = told[:-1], told[-1:]
    assert len(first) > 3 and any("nothing to do" in line for line in second[0].output)
    one = make_machine(rootfs.NEWER)
    one.install(*debs)
    for commands in (first, second):
        with one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            follow(system, commands)
        assert not system.faults()
