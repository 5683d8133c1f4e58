# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The machines themselves: what the other tests of this tier rely on to fail when they must, and to leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from pathlib import Path

import pytest

from support import machine

TESTS = Path(__file__).resolve().parents[1]

FAILS = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
CYCLE = "[Unit]\nAfter={}\n" + FAILS.replace("false", "true")
HANGS = FAILS.replace("false", "sleep 1000")

# Ends by a signal with a machine that is on, and a machine's process in it, as a test run that is killed does.
ABANDON = """
import os, signal
from support import machine, rootfs
one = machine.Machine(rootfs.OLDER).__enter__()
system = one.boot(wait=False)
print(one.folder, one._holder.pid, one._first, system._process.pid, system._leader, system.cgroup, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def enable(one, name, text):
    one.write(f"/etc/systemd/system/{name}", text)
    one.chroot("systemctl", "--quiet", "--root=/", "enable", name)


def test_failed_units_and_ordering_cycles_show(make_machine):
    one = make_machine()
    enable(one, "fails.service", FAILS)
    enable(one, "one.service", CYCLE.format("other.service"))
    enable(one, "other.service", CYCLE.format("one.service"))
    with one.boot() as system:
        assert (system.state, system.failed_units()) == ("degraded", ["fails.service"])
        with pytest.raises(machine.MachineError, match="exit status 3"):
            system.run("sh", "-c", "exit 3")
    found = " ".join(system.faults())
    assert "Failed to start fails.service" in found
    assert "ordering cycle" in found
    assert not system.journal.has_started("fails.service")


def test_what_is_written_lasts_and_a_new_machine_is_clean(make_machine):
    one = make_machine()
    with one.boot() as system:
        system.run("sh", "-c", "echo kept > /srv/file")
    with one.boot() as system:
        assert system.output("cat", "/srv/file") == "kept"
        boot_id = system.output("cat", "/proc/sys/kernel/random/boot_id")
        # Neither this machine's network nor its processes.
        assert system.output("sh", "-c", "ls /sys/class/net | grep -v docker0") == "lo"
        assert system.output("cat", "/proc/1/comm") == "systemd"
        system.kill()
    with one.boot() as system:
        assert system.output("cat", "/srv/file") == "kept"
        assert system.output("cat", "/proc/sys/kernel/random/boot_id") != boot_id
    assert not make_machine().path("/srv/file").exists()


def test_a_boot_and_a_command_that_hang_are_given_up(make_machine):
    one = make_machine()
    with one.boot() as system:
        started = time.monotonic()
        assert system.run("sleep", "1000", check=False, timeout=1).returncode == 124
        assert time.monotonic() - started < 10
    enable(one, "hangs.service", HANGS)
    with pytest.raises(machine.MachineError, match="not up after 4 s"):
        one.boot(seconds=4)
    assert not one.systems[-1].is_running


def is_alive(pid):
    """Tell whether a process runs; one that ended may stay until somebody takes note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_test_run_leaves_no_process_and_no_mount():
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'lib'}"}
    ended = subprocess.run([sys.executable, "-c", ABANDON], capture_output=True, text=True, timeout=60, check=False,
                           env=environment)
    if ended.returncode == 1 and "Unavailable" in ended.stderr:
        pytest.skip(f"unavailable: {ended.stderr.splitlines()[-1]}")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    folder, *pids, cgroup = ended.stdout.split()
    end = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) or machine.is_populated(Path(cgroup)):
        assert time.monotonic() < end, "processes are left"
        time.sleep(0.05)
    assert folder not in Path("/proc/self/mountinfo").read_text()
    machine.remove_cgroups(Path(cgroup))
    for path in Path(folder).iterdir():
        path.unlink()
    Path(folder).rmdir()
