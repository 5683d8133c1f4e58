# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Images that do_rootfs has put into a data-root: there from the first boot on, with nothing to load."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from support import docker, packages, registry, rootfs, samples
from support.samples import APP, BUSYBOX, KEPT, LOADED, POD, PULLED

NAMES = (BUSYBOX, APP, KEPT, PULLED)
# Of the built root file system Debian's has its own.
STORE = "/usr/lib/containers/storage"
OTHERS = ("bin", "sbin", "lib", "etc/machine-id", "usr/lib/systemd/systemd", "var/lib/docker", "lost+found", STORE[1:])
SECONDS = 60
# A line of OE-core's fstab, and one for a data partition.
FSTAB = "tmpfs /var/volatile tmpfs defaults 0 0\n/data /var/lib/docker none bind 0 0\n"
VOLATILE, MOUNT = "var-volatile-lib.service", "var-lib-docker.mount"
OVERRIDE = f"/etc/systemd/system/{MOUNT}.d/dockin-preload.conf"


@pytest.fixture
def put(built, make_machine, tmp_path):
    """Return a function that puts a built root file system over a machine's, and its data-root in the place of Docker's."""
    if not built.release:
        pytest.skip(f"unavailable: file systems built by BitBake: {built.missing}")

    def put(system, suite, store="classic"):
        one = make_machine(suite, store)
        if store == "classic":
            # A Docker that has the containerd store by itself stays with what it finds.
            one.path("/etc/docker/daemon.json").unlink(missing_ok=True)
        root, *partition = (shutil.copy(image, tmp_path) for image in built[system])
        one.mount(root, "built")
        excluded = " ".join(f"--exclude=./{path}" for path in OTHERS)
        copy = f'tar -C "$0/built" {excluded} -c . | tar -C "$0/root" -xp --keep-directory-symlink'
        one.outside("sh", "-ec", copy, str(one.folder))
        if partition:
            one.mount(partition[0], "data/docker")
        elif system == "podded":
            # From squashfs itself, where nobody can write.
            bind = f'mkdir -p "$0/root{STORE}" && mount --bind "$0/built{STORE}" "$0/root{STORE}"'
            one.outside("sh", "-ec", bind, str(one.folder))
        else:
            one.outside("mount", "--bind", f"{one.folder}/built/var/lib/docker", f"{one.folder}/data/docker")
        return one, [root, *partition]

    return put


def check(system, archives):
    """Check that a system that has booted has all images, and runs them."""
    assert (system.state, system.failed_units()) == ("running", [])
    assert all(samples.has(system, name) for name in NAMES)
    assert {name: system.exists(packages.archive(name)) for name in NAMES} == archives
    assert system.run_image(packages.familiar(BUSYBOX), "cat", "/etc/version") == "1.36.1"
    assert [system.run_image(packages.familiar(name)) for name in (APP, KEPT, PULLED)] == ["first", "kept", "pulled"]


def check_use(system):
    """Check that Docker treats what the build wrote as what it has pulled: saves, builds on, removes, loads and restarts."""
    name = packages.familiar(APP)
    diff_ids = json.loads(system.output("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", name))
    unpack = "mkdir /tmp/saved && tar -C /tmp/saved -xf /tmp/saved.tar"
    system.output("sh", "-ec", f"docker save --output /tmp/saved.tar {name} && {unpack}")
    [entry] = json.loads(system.output("cat", "/tmp/saved/manifest.json"))
    sums = system.output("sha256sum", *(f"/tmp/saved/{layer}" for layer in entry["Layers"])).splitlines()
    assert [f"sha256:{line.split()[0]}" for line in sums] == diff_ids
    assert len(system.output("docker", "history", "--quiet", name).splitlines()) == len(diff_ids)
    build = f"printf 'FROM {name}\\nRUN cat /word /word >/twice\\n' | docker build --quiet --network none --tag built -"
    system.run("sh", "-ec", build, env={"DOCKER_BUILDKIT": "0"})
    assert system.run_image("built", "cat", "/twice").split() == ["first", "first"]
    image = system.images()[name]
    system.output("docker", "image", "rm", "built", name)
    assert name not in system.images()
    for _ in range(2):
        system.output("docker", "load", "--input", "/tmp/saved.tar")
        assert system.images()[name] == image
    assert system.run_image(name) == "first"
    system.output("systemctl", "restart", "docker.service")
    # The units are started with it; this waits for them.
    system.output("systemctl", "start", *map(packages.unit, NAMES))
    assert all(samples.has(system, one) for one in NAMES) and system.run_image(name) == "first"
    assert system.failed_units() == []


@pytest.fixture(scope="module")
def pullable(contents, tmp_path_factory):
    """The folder of a registry with an image that is in the data-roots, and one that shares its lower layer."""
    folder = tmp_path_factory.mktemp("pullable")
    with registry.Registry(folder) as server:
        server.push(contents["pulled"], "team/pulled", "same")
        server.push(contents["pulled-2"], "team/pulled", "updated")
    return folder


def check_pull(system, contents, pullable):
    """Check that Docker pulls over what the build wrote: of an image that is there no layer, of an update what is new."""
    lower, upper = (layer.digest for layer in contents["pulled-2"].children[0].layers)
    with registry.Registry(pullable, prefix=system.networked()) as server:
        same, updated = (f"{server.address}/team/pulled:{tag}" for tag in ("same", "updated"))
        system.output("docker", "pull", same)
        assert system.images()[same] == system.images()[packages.familiar(PULLED)]
        printed = system.output("docker", "pull", updated).splitlines()
    # Docker shows twelve digits of a digest.
    assert f"{lower[7:19]}: Already exists" in printed and f"{upper[7:19]}: Pull complete" in printed
    layers = {layer.digest for name in ("pulled", "pulled-2") for layer in contents[name].children[0].layers}
    assert layers & set(server.requests().blobs()) == {upper}
    outputs = [system.run_image(name) for name in (same, updated, packages.familiar(PULLED))]
    assert outputs == ["pulled", "pulled second", "pulled"]
    system.output("docker", "image", "rm", same, updated)
    assert system.run_image(packages.familiar(PULLED)) == "pulled"


@pytest.mark.parametrize(("system", "suite"), [("whole", rootfs.OLDER), ("parted", rootfs.NEWER)])
def test_nothing_has_to_be_loaded(put, contents, pullable, system, suite):
    one, images = put(system, suite)
    # Flushed, as what the image of a package is on the disk; where the package wants it kept it is.
    archives = {BUSYBOX: False, APP: False, KEPT: system == "parted", PULLED: False}
    for boot in range(2):
        with one.boot() as booted:
            check(booted, archives)
            if boot:
                check_pull(booted, contents, pullable)
                check_use(booted)
            units = {name: booted.show(packages.unit(name), "ActiveState") for name in NAMES}
            assert set(map(str, units.values())) == {"{'ActiveState': 'active'}"}
        assert not booted.faults()
        for name in NAMES:
            assert booted.journal.grep("is loaded and recorded, nothing to do", packages.unit(name))
            assert not booted.journal.grep(LOADED, packages.unit(name))
    for image in images:
        one.outside("sh", "-c", 'umount "$0/data/docker"; umount "$0/built"; true', str(one.folder))
        fsck = subprocess.run(["e2fsck", "-fn", str(image)], stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
        assert fsck.returncode == 0, fsck.stdout


def test_on_the_containerd_store_the_kept_archives_are_loaded(put):
    one, _ = put("parted", rootfs.NEWER, "containerd")
    # Without being told, Docker 29 stays with the classic store that it finds.
    one.write("/etc/docker/daemon.json", json.dumps(docker.STORE_SETTINGS["containerd"]))
    with one.boot() as system:
        check(system, {BUSYBOX: False, APP: False, KEPT: True, PULLED: False})
    assert not system.faults()
    assert all(system.journal.grep(LOADED, packages.unit(name)) for name in NAMES)


def add_volatile_binds(one, core):
    """Let a machine mount something volatile over /var/lib, by OE-core's files, after all that doesn't wait for it."""
    files = core / "meta/recipes-core/volatile-binds/files"
    text = (files / "volatile-binds.service.in").read_text()
    values = {"what": "/var/volatile/lib", "where": "/var/lib", "whatparent": "/var/volatile", "whereparent": "/var",
              "avoid_overlayfs": "0"}
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    one.write(f"/usr/lib/systemd/system/{VOLATILE}", text)
    one.write(f"/usr/lib/systemd/system/{VOLATILE}.d/late.conf", "[Service]\nExecStartPre=/bin/sleep 2\n")
    one.write("/usr/sbin/mount-copybind", (files / "mount-copybind").read_text(), 0o755)
    one.chroot("systemctl", "--quiet", "--root=/", "enable", VOLATILE)


def test_on_a_read_only_root_the_partition_is_not_hidden(put, built):
    """Where nothing orders the two mounts, OE-core's of /var/lib may come last: then Docker does not see the partition."""
    one, _ = put("parted", rootfs.NEWER)
    add_volatile_binds(one, built.release.oecore.path)
    one.docker_data = "/data"
    one.write("/etc/fstab", FSTAB)
    one.chroot("mkdir", "-p", "/data", "/var/volatile", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers")
    for ordered in (False, True):
        if ordered:
            one.path(OVERRIDE).unlink()
        else:
            one.write(OVERRIDE, "")
        with one.boot(options=["--read-only"]) as system:
            assert (system.show(VOLATILE, "ActiveState"), system.show(MOUNT, "ActiveState")) == (
                {"ActiveState": "active"}, {"ActiveState": "active"})
            kind = system.output("stat", "--file-system", "--format=%T", "/var/lib", "/var/lib/docker").split()
            assert kind == ["overlayfs", "ext2/ext3" if ordered else "overlayfs"]
            # Where the partition is hidden, containerd's snapshots are in an overlay, in which it can start no container.
            if ordered:
                check(system, dict.fromkeys(NAMES, True))
            else:
                assert all(samples.has(system, name) for name in NAMES)
        assert not system.faults()
        loaded = [name for name in NAMES if system.journal.grep(LOADED, packages.unit(name))]
        assert loaded == ([] if ordered else list(NAMES))


def check_user(system):
    """Check that a user's own Podman, which can't read the store, does without it, and has its data elsewhere."""
    # A system user has no further IDs, for which Podman would want newuidmap.
    home = "/var/lib/containers/user"
    system.output("useradd", "--system", "--home-dir", home, "user")
    system.output("install", "-d", "-o", "user", "-m", "700", home, "/run/user/4711")
    user = f"cd / && HOME={home} XDG_RUNTIME_DIR=/run/user/4711 setpriv --reuid=user --regid=user --clear-groups"
    assert system.output("sh", "-ec", f"{user} podman image ls --quiet") == ""
    assert system.exists(f"{home}/.local/share/containers/storage")


def test_podman_runs_images_from_a_store_in_squashfs(put):
    """Containers run, and again after a restart of the machine; nothing is loaded, and nothing copied."""
    one, _ = put("podded", rootfs.NEWER)
    options = ["--pull", "never", "--network", "none", "--cgroups", "disabled"]
    for boot in range(2):
        with one.boot() as system:
            assert (system.state, system.failed_units()) == ("running", [])
            form = "{{.Repository}}:{{.Tag}} {{.ReadOnly}}"
            listed = system.output("podman", "image", "ls", "--format", form).splitlines()
            assert sorted(listed) == [f"{BUSYBOX} true", f"{POD} true"]
            if not boot:
                check_user(system)
                system.output("podman", "run", "--name", "kept", *options, POD, "sh", "-c", "echo more >>/word")
            assert system.output("podman", "start", "--attach", "kept").strip() == ""
            assert system.output("podman", "run", "--rm", *options, POD).strip() == "first"
            system.output("podman", "cp", "kept:/word", "/tmp/word")
            assert system.output("cat", "/tmp/word").split() == ["first", "more", "more", *["more"] * boot]
            own = "/var/lib/containers/storage/overlay-layers/layers.json"
            assert '"diff-digest"' not in system.output("cat", own)
            assert not system.exists(packages.archive(BUSYBOX)) and not system.exists(packages.archive(POD))
        assert not system.faults()
        for name in (BUSYBOX, POD):
            assert system.journal.grep("is loaded and recorded, nothing to do", packages.unit(name))
            assert not system.journal.grep(LOADED, packages.unit(name))
