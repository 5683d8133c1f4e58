# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The preload units, read by systemd itself where it matters what it makes of them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from dockin import errors, reference, units

TREE = pathlib.Path(__file__).resolve().parents[2]
TARGET_FILE = TREE / "recipes-support/dockin-preload/files/dockin-preload.target"
BUSYBOX = reference.parse("busybox:1.36.1")
INFO = "/usr/share/dockin/archive/busybox-1.36.1.image"
HELPER = "/bin/true"  # systemd-analyze verify wants one that is there
NOBODY = 65534
SECONDS = 60

NAMES = [
    ("busybox:1.36.1", "dockin-preload-busybox-1.36.1.service"),
    ("ghcr.io/org/app:v1", "dockin-preload-ghcr.io-org-app-v1.service"),
    ("host:5000/team/app:v1_2", "dockin-preload-host-5000-team-app-v1_2.service"),
    ("[::1]:5000/app:v1", "dockin-preload-1-5000-app-v1.service"),
    ("busybox:1@sha256:" + "a" * 64, "dockin-preload-busybox-1.service"),
]

# Directories that a distribution may choose, however odd: (id, path of an information file).
PATHS = [
    ("plain", INFO),
    ("specifier", "/usr/%n/%%/%H.image"),
    ("variable", "/usr/$HOME/${PATH}/$$/x.image"),
    ("quotes", "/usr/a\"b/c'd/x.image"),
    ("backslash", "/usr/a\\n\\x20\\/x.image"),
    ("spaces", "/usr/a b/ c  d /x y.image"),
    ("separator", "/usr/a ; /bin/false ; b/x.image"),
    ("comment", "/usr/# a/x.image"),
    ("unicode", "/usr/ä/✓.image"),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_unit_name(text, name):
    assert units.unit_name(reference.parse(text)) == name


def test_unit_name_is_not_cut():
    long = reference.parse("registry.example/" + "/".join(["part"] * 40) + ":" + "t" * 100)
    with pytest.raises(units.InvalidUnit, match="shorter tag or repository"):
        units.unit_name(long)


def settings(text):
    """Return what a unit sets: section.key to the list of its values."""
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def test_what_a_unit_says():
    found = settings(units.render_unit(BUSYBOX, INFO, flush=True))
    expected = {
        "Unit.Description": "Load busybox:1.36.1 into Docker",
        "Unit.Requires": "docker.service",
        "Unit.After": "docker.service",
        "Unit.Before": "dockin-preload.target",
        "Unit.RequiresMountsFor": "/usr/share/dockin/archive",
        "Service.Type": "oneshot",
        "Service.RemainAfterExit": "yes",
        "Service.ExecStart": f"/usr/bin/dockin-preload load --flush {INFO}",
        "Service.TimeoutStartSec": "2h",
        "Install.WantedBy": "dockin-preload.target",
    }
    assert {key: found.get(key) for key in expected} == {key: [value] for key, value in expected.items()}


def test_choices():
    text = units.render_unit(BUSYBOX, INFO, flush=False, helper="/opt/bin/dockin-preload", timeout="1h 30min")
    found = settings(text)
    assert found["Service.ExecStart"] == [f"/opt/bin/dockin-preload load --keep {INFO}"]
    assert found["Service.TimeoutStartSec"] == ["1h 30min"]


def test_the_digest_is_not_in_the_unit():
    """A new digest is no reason for a new unit: what is wanted stands in the information file."""
    pinned = reference.parse("busybox:1.36.1@sha256:" + "a" * 64)
    assert units.render_unit(pinned, INFO, flush=True) == units.render_unit(BUSYBOX, INFO, flush=True)


BAD = [
    ("relative", {"info_path": "share/x.image"}, "absolute path"),
    ("parent", {"info_path": "/usr/../x.image"}, "absolute path"),
    ("newline", {"info_path": "/usr/x\nExecStart=/bin/false\n.image"}, "control characters"),
    ("nul", {"info_path": "/usr/\0.image"}, "control characters"),
    ("helper-relative", {"helper": "dockin-preload"}, "absolute path"),
    ("helper-space", {"helper": "/usr/my bin/dockin-preload"}, "check bindir"),
    ("helper-specifier", {"helper": "/usr/%n/dockin-preload"}, "check bindir"),
    ("timeout", {"timeout": "soon"}, "time span"),
    ("timeout-newline", {"timeout": "1h\nExecStart=/bin/false"}, "time span"),
]


@pytest.mark.parametrize(("options", "rule"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_no_unit_can_hold_is_refused(options, rule):
    with pytest.raises(errors.DockinError, match=rule) as raised:
        units.render_unit(BUSYBOX, **{"info_path": INFO, "flush": True, **options})
    assert repr(next(iter(options.values()))) in str(raised.value)


@pytest.fixture
def folder():
    """A directory of units that systemd reads instead of this machine's.

    Not in tmp_path, which only its user may enter: systemd's test mode runs as somebody else.
    """
    for program in ("systemd-analyze", "setpriv"):
        if not shutil.which(program):
            pytest.skip(f"unavailable: no {program} on this machine: run `make setup`")
    with tempfile.TemporaryDirectory(prefix="dockin-units-") as name:
        made = pathlib.Path(name)
        made.chmod(0o755)
        shutil.copy(TARGET_FILE, made)
        (made / "docker.service").write_text("[Unit]\nDescription=Docker\n[Service]\nExecStart=/bin/true\n")
        yield made


def write(folder, info_path):
    unit = folder / units.unit_name(BUSYBOX)
    unit.write_text(units.render_unit(BUSYBOX, info_path, flush=True, helper=HELPER), encoding="utf-8")
    return unit


def run(argv, **environment):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=SECONDS, check=False, env={**os.environ, **environment})
    return done.returncode, done.stdout


@pytest.mark.parametrize("path", [row[1] for row in PATHS], ids=[row[0] for row in PATHS])
def test_systemd_verifies_the_units(folder, path):
    unit = write(folder, path)
    assert run(["systemd-analyze", "verify", str(unit), str(folder / TARGET_FILE.name)],
               SYSTEMD_UNIT_PATH=f"{folder}:") == (0, "")


@pytest.mark.parametrize("path", [row[1] for row in PATHS], ids=[row[0] for row in PATHS])
def test_systemd_reads_what_was_meant(folder, path):
    """The paths, as systemd's own parser takes them out of the unit again."""
    systemd = shutil.which("systemd", path="/usr/lib/systemd:/lib/systemd")
    if not systemd:
        pytest.skip("unavailable: no systemd on this machine: run `make setup`")
    unit = write(folder, path)
    for name in ("sysinit", "basic", "shutdown"):
        (folder / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
    shown = dump(systemd, folder, unit)
    # The command line is shown quoted for a shell, and still with $$ for $.
    line = re.search(r"Command Line: (.*)", shown).group(1)
    words = run(["sh", "-c", f"printf '%s\\n' {line}"])[1].splitlines()
    assert [word.replace("$$", "$") for word in words] == [HELPER, "load", "--flush", path]
    mounts = re.findall(r"RequiresMountsFor: (.*) \(origin-file\)", shown)
    assert mounts == [os.path.dirname(path)]
    assert "TimeoutStartSec: 2h" in shown


def dump(systemd, folder, unit):
    """Return how systemd shows a unit in its test mode, which it refuses to root."""
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    status, output = run([*other, systemd, "--test", "--system", f"--unit={unit.name}"],
                         SYSTEMD_UNIT_PATH=str(folder), XDG_RUNTIME_DIR=str(folder), HOME=str(folder))
    assert status == 0, output
    return output.partition(f"-> Unit {unit.name}:")[2].partition("-> Unit ")[0]


def test_exposure_stays_low(folder):
    """systemd's own measure, 0 to 10; a setting that got lost would raise it."""
    unit = write(folder, INFO)
    status, output = run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=36", str(unit)])
    assert status == 0, output.splitlines()[-1]
