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

from dockin import errors
from dockin.image import reference
from dockin.target import runtimes, units

TREE = pathlib.Path(__file__).resolve().parents[3]
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


def render(info_path=INFO, **options):
    return units.render_unit(BUSYBOX, info_path, units.Preload(**options))


def test_what_a_unit_says():
    found = settings(render())
    expected = {
        "Unit.Description": "Load busybox:1.36.1 into Docker",
        "Unit.Wants": "docker.service",
        "Unit.After": "docker.service",
        "Unit.PartOf": "docker.service",
        "Unit.Before": "dockin-preload.target",
        "Unit.RequiresMountsFor": "/usr/share/dockin/archive /var/lib/docker",
        "Service.Type": "oneshot",
        "Service.RemainAfterExit": "yes",
        "Service.ExecStart": f"/usr/bin/dockin-preload load --flush {INFO}",
        "Service.TimeoutStartSec": "infinity",
        "Service.RuntimeDirectory": "dockin-preload",
        "Service.RuntimeDirectoryPreserve": "yes",
        "Install.WantedBy": "dockin-preload.target docker.service",
    }
    assert {key: found.get(key) for key in expected} == {key: [value] for key, value in expected.items()}
    # What is not there can't keep a package from being installed.
    assert "Unit.Requires" not in found


def test_containerds_root_is_told():
    """It can't be asked for it; the others can."""
    found = settings(render(runtime=runtimes.CONTAINERD, data_root="/data/containerd"))
    assert found["Service.Environment"] == ["DOCKIN_CONTAINERD_ROOT=/data/containerd"]
    assert not any("Service.Environment" in settings(render(runtime=one)) for one in (runtimes.DOCKER, runtimes.PODMAN))


def test_one_unit_waits_for_another():
    """Ordered, not required: an image that fails to load keeps no other from being loaded."""
    text = units.render_unit(BUSYBOX, INFO, units.Preload(), reference.parse("alpine:3"))
    found = settings(text)
    assert found["Unit.After"] == ["docker.service", "dockin-preload-alpine-3.service"]
    assert not any("alpine" in line for key, lines in found.items() for line in lines if key != "Unit.After")


def test_choices():
    found = settings(render(data_root="/data/docker", helper="/opt/bin/dockin-preload"))
    assert found["Service.ExecStart"] == [f"/opt/bin/dockin-preload load --flush {INFO}"]
    assert found["Unit.RequiresMountsFor"] == ["/usr/share/dockin/archive /data/docker"]


def test_an_image_store_is_mounted_where_there_can_be_one():
    store = "/usr/lib/containers/storage"
    mounts = {one: settings(render(runtime=one, image_store=store))["Unit.RequiresMountsFor"][0].split()
              for one in (runtimes.DOCKER, runtimes.PODMAN)}
    assert (store in mounts[runtimes.DOCKER], store in mounts[runtimes.PODMAN]) == (False, True)
    with pytest.raises(units.InvalidUnit, match="of the image store"):
        render(runtime=runtimes.PODMAN, image_store="storage")


@pytest.mark.parametrize(("settings_", "options"), [
    ({}, "--flush"),
    ({"flush": False}, "--keep"),
    ({"prune": True}, "--flush --prune"),
    ({"prune": True, "keep_previous": True}, "--flush --prune --keep-previous"),
    # Nothing is removed, so there is nothing to keep.
    ({"keep_previous": True}, "--flush"),
])
def test_options_of_the_command(settings_, options):
    assert settings(render(**settings_))["Service.ExecStart"] == [f"/usr/bin/dockin-preload load {options} {INFO}"]


@pytest.mark.parametrize(("runtime", "service"), [
    (runtimes.DOCKER, ["docker.service"]), (runtimes.CONTAINERD, ["containerd.service"]), (runtimes.PODMAN, None)])
def test_runtimes(runtime, service):
    found = settings(render(runtime=runtime, data_root=runtime.data_root))
    assert [found.get(f"Unit.{key}") for key in ("Wants", "After", "PartOf")] == [service] * 3
    assert found["Install.WantedBy"] == [" ".join(["dockin-preload.target", *(service or [])])]
    assert found["Unit.Before"] == ["dockin-preload.target"]
    assert found["Unit.Description"] == [f"Load busybox:1.36.1 into {runtime.title}"]
    assert found["Unit.RequiresMountsFor"] == [f"/usr/share/dockin/archive {runtime.data_root}"]


def test_an_unknown_runtime_is_refused():
    said = "Invalid DOCKIN_RUNTIME = 'Docker': expected 'docker', 'podman', 'containerd'"
    with pytest.raises(errors.DockinError, match=said):
        runtimes.parse("Docker")
    assert (runtimes.packages("Docker"), runtimes.data_root("Docker")) == ("", "")


def test_what_waits_for_the_data_root():
    docker = runtimes.waiting_services(runtimes.DOCKER, "/data/docker")
    assert docker == {"docker.service": "/data/docker", "containerd.service": "/var/lib/containerd"}
    assert runtimes.waiting_services(runtimes.CONTAINERD, "/data/c") == {"containerd.service": "/data/c"}
    assert runtimes.waiting_services(runtimes.PODMAN, "/data/p") == {}
    assert settings(units.render_drop_in("/data/docker")) == {"Unit.RequiresMountsFor": ["/data/docker"]}
    with pytest.raises(errors.DockinError, match="'data'"):
        units.render_drop_in("data")


BINDS = r"    /var/volatile/lib /var/lib\n    /var/volatile/srv /srv/\n    /var/volatile/docker /var/lib/docker\n"


@pytest.mark.parametrize(("directory", "expected"), [
    ("/var/lib/docker", {"var-lib-docker.mount": "var-volatile-lib.service"}),
    ("/var/lib/containers/my-store", {"var-lib-containers.mount": "var-volatile-lib.service",
                                      r"var-lib-containers-my\x2dstore.mount": "var-volatile-lib.service"}),
    ("/srv/.d+", {r"srv-.d\x2b.mount": "var-volatile-srv.service"}),
    ("/var/lib/docker/data", {"var-lib-docker.mount": "var-volatile-lib.service",
                              "var-lib-docker-data.mount": "var-volatile-lib.service var-volatile-docker.service"}),
    ("/var/library", {}),
    ("/data/docker", {}),
])
def test_what_is_mounted_below_a_volatile_bind_comes_after_it(directory, expected):
    found = units.render_mount_drop_ins(directory, BINDS)
    assert {unit: settings(text) for unit, text in found.items()} == {
        unit: {"Unit.After": [services]} for unit, services in expected.items()}
    assert not found or run(["systemd-escape", "--path", "--suffix=mount", directory])[1].strip() in found


@pytest.mark.parametrize("value", ["", "data", "/data/", "/", "/data/../x", "/da ta", "/data/%n", "/data/$X", "/*"])
def test_directories_that_a_variable_can_not_name(value):
    with pytest.raises(errors.DockinError, match=re.escape(f"Invalid DOCKIN_DATAROOT_DIR = {value!r}: expected")):
        units.check_directory("DOCKIN_DATAROOT_DIR", value)


def test_directories():
    assert units.check_directory("DOCKIN_DATAROOT_DIR", "/data/Docker-1.0_a+b") == "/data/Docker-1.0_a+b"


def test_the_digest_is_not_in_the_unit():
    """A new digest is no reason for a new unit: what is wanted stands in the information file."""
    pinned = reference.parse("busybox:1.36.1@sha256:" + "a" * 64)
    assert units.render_unit(pinned, INFO, units.Preload()) == render()


BAD = [
    ("relative", {"info_path": "share/x.image"}, "absolute path"),
    ("parent", {"info_path": "/usr/../x.image"}, "absolute path"),
    ("newline", {"info_path": "/usr/x\nExecStart=/bin/false\n.image"}, "control characters"),
    ("nul", {"info_path": "/usr/\0.image"}, "control characters"),
    ("helper-relative", {"helper": "dockin-preload"}, "absolute path"),
    ("helper-space", {"helper": "/usr/my bin/dockin-preload"}, "check bindir"),
    ("helper-specifier", {"helper": "/usr/%n/dockin-preload"}, "check bindir"),
    ("data-root", {"data_root": "docker"}, "absolute path"),
]


@pytest.mark.parametrize(("options", "rule"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_no_unit_can_hold_is_refused(options, rule):
    with pytest.raises(errors.DockinError, match=rule) as raised:
        render(**options)
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
        for name in ("docker", "containerd"):
            (made / f"{name}.service").write_text(f"[Unit]\nDescription={name}\n[Service]\nExecStart=/bin/true\n")
        yield made


def write(folder, info_path, **options):
    unit = folder / units.unit_name(BUSYBOX)
    unit.write_text(render(info_path, helper=HELPER, **options), encoding="utf-8")
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
    assert set(mounts) == {os.path.dirname(path), "/var/lib/docker", "/run/dockin-preload"}
    assert "TimeoutStartSec: infinity" in shown


def dump(systemd, folder, unit):
    """Return how systemd shows a unit in its test mode, which it refuses to root."""
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    status, output = run([*other, systemd, "--test", "--system", f"--unit={unit.name}"],
                         SYSTEMD_UNIT_PATH=str(folder), XDG_RUNTIME_DIR=str(folder), HOME=str(folder))
    assert status == 0, output
    return output.partition(f"-> Unit {unit.name}:")[2].partition("-> Unit ")[0]


# systemd's own measure, 0 to 100; a setting that got lost would raise it. Podman unpacks layers itself.
EXPOSURE = [(runtimes.DOCKER, 19), (runtimes.CONTAINERD, 19), (runtimes.PODMAN, 40)]


@pytest.mark.parametrize(("runtime", "most"), EXPOSURE, ids=[row[0].name for row in EXPOSURE])
def test_systemd_verifies_every_runtime_and_its_exposure_stays_low(folder, runtime, most):
    unit = write(folder, INFO, runtime=runtime, data_root=runtime.data_root)
    assert run(["systemd-analyze", "verify", str(unit)], SYSTEMD_UNIT_PATH=f"{folder}:") == (0, "")
    status, output = run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most}", str(unit)])
    assert status == 0, output.splitlines()[-1]
