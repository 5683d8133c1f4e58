# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Root file systems, as do_rootfs makes them of packages with images, data-roots in them, and bills of materials."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile

from pathlib import Path

import pytest

from dockin.store import docker, podman
from support import cache, layers, oe_conf, snapshots, spdx
from support import images as samples

WANTS = "/etc/systemd/system/"
# scarthgap makes no machine-id.
OF_THE_IMAGE = {"/bin", "/lib", "/sbin", "/etc/machine-id", "/etc/timestamp", "/etc/version"}

IMAGE = """
{first}
inherit image {classes}
IMAGE_INSTALL = "{packages}"
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "{types}"
"""

# An image whose unit nobody starts, in a place of its own, compressed by a type of the user's own.
ASLEEP = """
inherit dockin
SRC_URI = "docker://team/app;tag=v1;digest=sha256:{app.hex}"
SYSTEMD_AUTO_ENABLE:${{PN}}-preload = "disable"
docker_archivedir = "/data/archives"
COMPRESSION_TYPE = "bz2"
COMPRESSION_CMD:bz2 = "bzip2 -k -9 -c"
COMPRESSION_RDEPENDS:bz2 = "bzip2"
SPDX_INCLUDE_SOURCES = "1"
"""

AWKWARD = """
inherit dockin
SRC_URI = "docker://team/awkward;tag=v1;digest=sha256:{hex}"
COMPRESSION_TYPE = "zstd"
"""

PODS = """
inherit dockin
DOCKIN_RUNTIME = "podman"
SRC_URI = "docker://team/awkward;tag=v1;name=awkward docker://docker.io/library/busybox;tag=1.36.1;name=busybox"
SRC_URI[awkward.sha256sum] = "{awkward.hex}"
SRC_URI[busybox.sha256sum] = "{busybox.hex}"
"""

CRATES = PODS.replace("podman", "containerd")

# What chooses Docker's store, and the services of a target with systemd.
DOCKER_SETTINGS = """
INHIBIT_DEFAULT_DEPS = "1"
do_install() {
    install -d ${D}${sysconfdir}/docker ${D}${systemd_system_unitdir}
    echo '{"features": {"containerd-snapshotter": true}}' > ${D}${sysconfdir}/docker/daemon.json
    echo 'ExecStart=/usr/bin/dockerd' > ${D}${systemd_system_unitdir}/docker.service
    echo 'ExecStart=/usr/bin/containerd' > ${D}${systemd_system_unitdir}/containerd.service
}
PACKAGES =+ "docker-services"
FILES:docker-services = "${systemd_system_unitdir}"
"""

STORAGE_CONF = """
INHIBIT_DEFAULT_DEPS = "1"
do_install() {
    install -d ${D}${datadir}/containers
    printf '[storage]\\ndriver = "overlay"\\n[storage.options]\\nadditionalimagestores = [\\n]\\n' \
        > ${D}${datadir}/containers/storage.conf
}
FILES:${PN} = "${datadir}/containers"
"""

IN_IMAGE_CLASSES = 'IMAGE_CLASSES += "dockin-dataroot"'
DATA_ROOT = "/var/lib/docker"
STORE = "/usr/lib/containers/storage"
SECONDS = 300


def special(**files):
    """Return a layer of files by name, each with xattrs, mode, owner and content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (xattrs, mode, owner, content) in files.items():
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.size, info.mtime = mode, owner, owner, len(content), 1234567890
            info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
            tar.addfile(info, io.BytesIO(content))
    return samples.Layer(stream.getvalue(), "gzip")


@pytest.fixture(scope="session")
def awkward(registry):
    """An image with what a file system image may lose, in the registry as team/awkward:v1."""
    base = samples.layer({"etc/gone": "gone", "opaque/below": "below", "bin/sh": samples.Symlink("x")})
    top = samples.layer({"etc/.wh.gone": "", "opaque/.wh..wh..opq": "", "opaque/above": "above"})
    more = special(suid=({}, 0o4755, 0, b"suid"), user=({"user.word": "value"}, 0o640, 70000, b"user"))
    image = samples.image([base, top, more], "linux/amd64")
    registry.push(image, "team/awkward", "v1")
    return image


@pytest.fixture(scope="session")
def images(shop, app, awkward, busybox):
    """The build directory of images with packages of two or three recipes.

    "device" has their archives, "ready" a data-root, "parted" a partition with one and archives, "store" Docker's containerd
    store, "system" a partition with that of a containerd beside Docker, "bare" one of containerd alone, "pod" Podman's.
    """
    build = shop.build("images")
    write_recipes(shop, build, app, awkward)
    build.recipe("pods_1.0.bb", PODS.format(awkward=awkward, busybox=busybox))
    build.recipe("crates_1.0.bb", CRATES.format(awkward=awkward, busybox=busybox))
    build.recipe("storage-conf_1.0.bb", STORAGE_CONF)
    build.recipe("docker-settings_1.0.bb", DOCKER_SETTINGS)
    more = {"first": "", "classes": "dockin-dataroot", "types": "tar", "packages": "several asleep awkward"}
    keep = 'DOCKIN_DATAROOT = "1"\nDOCKIN_DATAROOT_KEEP_ARCHIVES = "1"\nDOCKIN_DATAROOT_EXTRA_SPACE = "2048"\n'
    recipes = {
        "device": {"first": IN_IMAGE_CLASSES, "classes": "", "packages": "several asleep"},
        "ready": {"types": "tar ext4 squashfs erofs"},
        "parted": {"first": keep + IN_IMAGE_CLASSES, "classes": "", "types": "tar dockin-ext4.gz dockin-ext4"},
        "store": {"first": 'DOCKIN_RUNTIME_STORE = "containerd"', "packages": more["packages"] + " docker-settings"},
        "system": {"first": 'DOCKIN_RUNTIME_STORE = "containerd"', "types": "tar dockin-ext4",
                   "packages": more["packages"] + " docker-settings docker-services"},
        "bare": {"first": 'DOCKIN_RUNTIME = "containerd"', "packages": "crates"},
        "pod": {"first": 'DOCKIN_RUNTIME = "podman"\nIMAGE_FEATURES += "read-only-rootfs"', "types": "tar squashfs",
                "packages": "pods storage-conf"},
    }
    for name, changes in recipes.items():
        build.recipe(f"{name}_1.0.bb", IMAGE.format(**{**more, **changes}))
    build.bitbake(*recipes, timeout=600).ok()
    return build


def write_recipes(shop, build, app, awkward):
    """Write the recipes of Docker's images into a build directory."""
    shop.add(build, "several")
    build.recipe("asleep_1.0.bb", ASLEEP.format(app=app))
    build.recipe("awkward_1.0.bb", AWKWARD.format(hex=awkward.hex))


def other_wic(build):
    """Return the path of a copy of wic, of the last release that has it in OE-core."""
    for release in cache.all_releases():
        core, place = release.oecore.path, build.path / "wic-of-another-release"
        if (core / "scripts/wic").exists():
            for folder in ("scripts/lib", "meta/lib"):
                shutil.copytree(core / folder, place / folder)
            return shutil.copy(core / "scripts/wic", place / "scripts")
    missing = [release.unavailable for release in cache.all_releases() if release.unavailable]
    if missing:
        pytest.skip(f"unavailable: wic of OE-core: {'; '.join(missing)}")
    raise AssertionError("no release of tests/releases.ini has wic in OE-core any more")


# Prints what is in a directory, as JSON: {path: [type and mode, owner, group, device, time, link or digest, xattrs]}.
LIST = r"""
import hashlib, json, os, stat, sys
found = {}
for folder, folders, files in os.walk(sys.argv[1]):
    for path in (os.path.join(folder, name) for name in (*folders, *files)):
        info = os.lstat(path)
        data = os.readlink(path) if os.path.islink(path) else ""
        if stat.S_ISREG(info.st_mode):
            data = hashlib.sha256(open(path, "rb").read()).hexdigest()
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in
                  os.listxattr(path, follow_symlinks=False)}
        numbers = [info.st_mode, info.st_uid, info.st_gid, info.st_rdev, int(info.st_mtime)]
        found[path[len(sys.argv[1]):]] = [*numbers, data, xattrs]
json.dump(found, sys.stdout)
"""


def tree(image, folder):
    """Return what is in an image, {absolute path: what LIST prints}: a file system as the kernel sees it, or a tar."""
    if os.geteuid() != 0:
        pytest.skip("unavailable: needs root, to mount file systems and for owners and devices")
    folder.mkdir()
    extract = 'tar --xattrs --xattrs-include="*" --numeric-owner -xpf "$1" -C "$2"'
    script = (extract if image.suffix == ".tar" else 'mount -o loop,ro "$1" "$2"') + ' && "$3" -c "$4" "$2"'
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(image), str(folder), sys.executable, LIST]
    found = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=SECONDS).stdout)
    return {path: value for path, value in found.items() if path != "/lost+found"}


def below(found, top):
    """Return what is below a folder of a tree()."""
    return {path[len(top):]: value for path, value in found.items() if path.startswith(top + "/")}


def files(build, image):
    """Return the members but folders of an image's tar, by absolute path."""
    with tarfile.open(build.image(image, "tar")) as tar:
        return {member.name[1:]: member for member in tar if not member.isdir()}


def packages(build, image):
    """Return the names of an image's packages."""
    return [line.split()[0] for line in build.image(image, "manifest").read_text().splitlines()]


def test_a_root_file_system_has_the_packages_files(images):
    installed = packages(images, "device")
    assert {"several", "several-preload", "asleep", "asleep-preload", "dockin-preload", "docker", "xz"} <= set(installed)
    found = files(images, "device")
    for path, member in ((path, member) for name in installed for path, member in images.deb(name).members.items()):
        assert (found[path].mode, found[path].size) == (member.mode, member.size)
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    from_packages = {path for name in installed for path in images.deb(name).members}
    assert {path for path in set(found) - from_packages if not path.startswith(WANTS)} <= OF_THE_IMAGE


def test_units_are_enabled_by_their_presets(images, shop):
    enabled = {path[len(WANTS):] for path in files(images, "device") if path.startswith(WANTS)}
    stem = shop.registry.address.replace(":", "-")
    units = [f"dockin-preload-{name}.service" for name in ("busybox-1.36.1", f"{stem}-team-app-v1")]
    wanted = {"multi-user.target.wants/dockin-preload.target", "multi-user.target.wants/several.service"}
    assert enabled == wanted | {f"{by}.wants/{unit}" for by in ("dockin-preload.target", "docker.service") for unit in units}


@pytest.fixture(scope="session")
def ready(images, tmp_path_factory):
    """What is in the image "ready"."""
    return tree(images.image("ready", "tar"), tmp_path_factory.mktemp("ready") / "root")


def test_a_data_root_has_the_images_of_all_packages(images, tmp_path, busybox, app, awkward, shop):
    with tarfile.open(images.image("ready", "tar")) as tar:
        repositories = json.load(tar.extractfile(f".{DATA_ROOT}/image/overlay2/repositories.json"))["Repositories"]
    ids = {name: image for names in repositories.values() for name, image in names.items() if "@" not in name}
    assert ids == {
        "busybox:1.36.1": busybox.manifest("linux/amd64").config.digest,
        f"{shop.registry.address}/team/app:v1": app.config.digest,
        "team/app:v1": app.config.digest,
        "team/awkward:v1": awkward.config.digest,
    }


def test_archives_go_and_the_rest_stays(images):
    found = files(images, "ready")
    gone = {path for name in packages(images, "ready") for path in images.deb(name).members} - set(found)
    stems = {"busybox-1.36.1.tar.xz", f"{shop_stem(images)}.tar.xz", "team-app-v1.tar.bz2", "team-awkward-v1.tar.zst"}
    assert {Path(path).name for path in gone} == stems
    records = {path[len(DATA_ROOT) + 1:] for path in found if path.startswith(f"{DATA_ROOT}/dockin/")}
    assert records == {f"dockin/{name.partition('.tar.')[0]}" for name in stems}


def shop_stem(images):
    """Return the stem of the image that the recipe "several" has from a registry with a port."""
    [name] = [Path(path).name for path in images.deb("several").files if path.endswith("app-v1.image")]
    return name[:-len(".image")]


def test_layers_are_as_overlayfs_wants_them(ready, awkward):
    chain, folders = "", []
    for diff_id in json.loads(awkward.config.data)["rootfs"]["diff_ids"]:
        chain = docker.chain_id(chain, diff_id)
        folders.append(f"{DATA_ROOT}/overlay2/{docker.cache_id(chain)}/diff")
    base, top, more = (below(ready, folder) for folder in folders)
    assert base["/etc/gone"][4:6] == [samples.MTIME, hashlib.sha256(b"gone").hexdigest()]
    assert top["/etc/gone"][:4] == [stat.S_IFCHR, 0, 0, 0]
    assert top["/opaque"][6] == {"trusted.overlay.opaque": b"y".hex()}
    assert more["/suid"][:5] == [stat.S_IFREG | 0o4755, 0, 0, 0, 1234567890]
    assert more["/user"][1:3] == [70000, 70000] and more["/user"][6] == {"user.word": b"value".hex()}


@pytest.mark.parametrize(("image", "top"), [
    ("ready", "rootfs" + DATA_ROOT), ("parted", "dockin-dataroot/tree"), ("pod", "rootfs" + STORE),
    ("bare", "rootfs/var/lib/containerd")])
def test_other_users_of_the_build_host_get_at_no_setuid_program(images, image, top):
    """The mode of a file in a layer is real below pseudo; the owner there is who builds."""
    folder = images.work(image) / top
    assert any(path.stat().st_mode & stat.S_ISUID for path in folder.rglob("suid"))
    assert folder.stat().st_mode & 0o077 == 0


def test_ext4_loses_nothing(images, ready, tmp_path):
    assert tree(images.image("ready", "ext4"), tmp_path / "root") == ready


@pytest.mark.parametrize("kind", ["squashfs", "erofs"])
def test_read_only_file_systems_lose_times_alone(images, ready, kind, tmp_path):
    # OE-core gives all files in them one time at most.
    found = tree(images.image("ready", kind), tmp_path / "root")
    assert {path: [*value[:4], *value[5:]] for path, value in found.items()} == {
        path: [*value[:4], *value[5:]] for path, value in ready.items()}


def test_a_partition_of_its_own(images, ready, tmp_path):
    partition, root = images.image("parted", "dockin-ext4"), tree(images.image("parted", "tar"), tmp_path / "root")
    assert tree(partition, tmp_path / "partition") == below(ready, DATA_ROOT)
    assert root[DATA_ROOT][:3] == [stat.S_IFDIR | 0o710, 0, 0] and not below(root, DATA_ROOT)
    assert {path for path in files(images, "parted") if ".tar." in path} == archives(images)
    check = subprocess.run(["e2fsck", "-fn", str(partition)], stdout=subprocess.PIPE, text=True, timeout=SECONDS)
    assert check.returncode == 0, check.stdout
    with gzip.open(images.image("parted", "dockin-ext4.gz")) as packed:
        assert hashlib.sha256(packed.read()).digest() == hashlib.sha256(partition.read_bytes()).digest()


def test_wic_puts_the_partition_on_a_disk(images, tmp_path):
    """With the layer's own example of a kickstart file."""
    # wic starts pseudo by itself, and would look for what belongs to it among what BitBake has built.
    first = 'WKS_FILE = "dockin-dataroot.wks.in"\nWKS_FILE_DEPENDS = ""\nexport PSEUDO_PREFIX = "/usr"\n'
    if (images.bench.core / "scripts" / "wic").exists():
        # It looks in wic/ of a layer, where later releases let no layer have the file.
        first += 'WKS_SEARCH_PATH:append = ":${DOCKIN_LAYERDIR}/files/wic"\n'
    else:
        images.recipe("wic-native_1.0.bb", oe_conf.fill(oe_conf.WIC_RECIPE, wic=other_wic(images)))
        # Without, that wic has pseudo ignore all that is below the build directory, and with it who owns what.
        first += 'WICVARS:append = " PSEUDO_IGNORE_PATHS"\n'
    types = "wic dockin-ext4"
    images.recipe("disk_1.0.bb", IMAGE.format(first=first, classes="dockin-dataroot", types=types, packages="several"))
    images.bitbake("disk", timeout=600).ok()
    disk, partition = images.image("disk", "wic"), images.image("disk", "dockin-ext4")
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, timeout=SECONDS).stdout)
    size = table["partitiontable"]["sectorsize"]
    parts = [tmp_path / "root.ext4", tmp_path / "data.ext4"]
    with open(disk, "rb") as file:
        places = table["partitiontable"]["partitions"]
        assert len(places) == len(parts)
        for part, place in zip(parts, places):
            file.seek(place["start"] * size)
            part.write_bytes(file.read(place["size"] * size))
    data = partition.read_bytes()
    assert parts[1].read_bytes()[:len(data)] == data
    root, found = (tree(part, tmp_path / part.stem) for part in parts)
    assert root[DATA_ROOT][:3] == [stat.S_IFDIR | 0o710, 0, 0] and not below(root, DATA_ROOT)
    stems = {"busybox-1.36.1", shop_stem(images)}
    assert {path for path in found if path.startswith("/dockin/")} == {f"/dockin/{stem}" for stem in stems}
    assert {Path(path).name for path in root if "/archive/" in path} == {f"{stem}.image" for stem in stems}


def archives(images):
    """Return the paths of the archives in the packages of the image "parted"."""
    names = packages(images, "parted")
    return {path for name in names for path in images.deb(name).members if ".tar." in path}


def test_the_containerd_store_of_docker(images, awkward, busybox, app, shop, tmp_path):
    """One that Docker starts; nothing else is in its data-root."""
    found = tree(images.image("store", "tar"), tmp_path / "root")
    place = f"{DATA_ROOT}/containerd/daemon"
    folders = [path for path in found if path.startswith(DATA_ROOT) and not path.startswith(place)]
    assert sorted(folders) == [DATA_ROOT, f"{DATA_ROOT}/containerd"]
    assert not [path for path in found if "/archive/" in path and ".tar." in path]
    stems = {"busybox-1.36.1", shop_stem(images), "team-app-v1", "team-awkward-v1"}
    assert {path for path in below(found, place) if path.startswith("/dockin/")} == {f"/dockin/{stem}" for stem in stems}
    store = snapshots.read(Path(f"{tmp_path}/root{place}"), "moby")
    assert store.images.keys() == {
        "docker.io/library/busybox:1.36.1", f"{shop.registry.address}/team/app:v1", "docker.io/team/app:v1",
        "docker.io/team/awkward:v1"}
    assert {one.config.digest for one in (busybox.manifest("linux/amd64"), app, awkward)} <= store.blobs.keys()
    chain, folders = "", []
    for diff_id in json.loads(awkward.config.data)["rootfs"]["diff_ids"]:
        chain = docker.chain_id(chain, diff_id)
        folders.append(str(store.folders[chain] / "fs")[len(f"{tmp_path}/root"):])
    base, top, more = (below(found, folder) for folder in folders)
    assert base["/etc/gone"][4:6] == [samples.MTIME, hashlib.sha256(b"gone").hexdigest()]
    assert top["/etc/gone"][:4] == [stat.S_IFCHR, 0, 0, 0]
    assert top["/opaque"][6] == {"trusted.overlay.opaque": b"y".hex()}
    assert more["/suid"][:5] == [stat.S_IFREG | 0o4755, 0, 0, 0, 1234567890]
    assert more["/user"][1:3] == [70000, 70000] and more["/user"][6] == {"user.word": b"value".hex()}


def test_the_store_of_a_containerd_beside_docker(images, tmp_path):
    """The same, in its own place: here a partition."""
    root, store = (tree(images.image(name, "tar"), tmp_path / name) for name in ("system", "store"))
    assert root["/var/lib/containerd"][:3] == [stat.S_IFDIR | 0o710, 0, 0]
    assert not [path for path in root if path.startswith(("/var/lib/containerd/", DATA_ROOT))]
    partition = tree(images.image("system", "dockin-ext4"), tmp_path / "partition")
    assert partition == below(store, f"{DATA_ROOT}/containerd/daemon")


def test_the_store_of_containerd_alone(images, awkward, tmp_path):
    found = tree(images.image("bare", "tar"), tmp_path / "root")
    store = snapshots.read(tmp_path / "root/var/lib/containerd", "default")
    assert store.images.keys() == {"docker.io/library/busybox:1.36.1", "docker.io/team/awkward:v1"}
    assert found["/var/lib/containerd"][0] == stat.S_IFDIR | 0o700


def test_podman_has_a_store_in_a_read_only_root(images, awkward, busybox, tmp_path):
    found = tree(images.image("pod", "tar"), tmp_path / "tar")
    store = below(found, STORE)
    with tarfile.open(images.image("pod", "tar")) as tar:
        listed = json.load(tar.extractfile(f".{STORE}/overlay-images/images.json"))
        text = tar.extractfile("./etc/containers/storage.conf").read().decode()
    assert {image["names"][0]: f"sha256:{image['id']}" for image in listed} == {
        "docker.io/team/awkward:v1": awkward.config.digest,
        "docker.io/library/busybox:1.36.1": busybox.manifest("linux/amd64").config.digest}
    assert text == f'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["{STORE}"\n]\n'
    assert not [path for path in found if path.startswith("/var/lib/containers") or ".tar." in path.replace(".tar.gz", "")
                and "/archive/" in path]
    assert {path for path in store if path.startswith("/dockin/")} == {"/dockin/busybox-1.36.1", "/dockin/team-awkward-v1"}
    layer = ""
    for diff_id in json.loads(awkward.config.data)["rootfs"]["diff_ids"]:
        layer = podman.OverlayStore.layer_id(layer, diff_id)
    more = below(store, f"/overlay/{layer}/diff")
    assert more["/suid"][:5] == [stat.S_IFREG | 0o4755, 0, 0, 0, 1234567890]
    assert more["/user"][1:3] == [70000, 70000] and more["/user"][6] == {"user.word": b"value".hex()}
    users = "/storage.rootless.conf.d"
    assert below(found, "/etc/containers").keys() == {"/storage.conf", users, f"{users}/50-dockin.conf"}
    squashed = tree(images.image("pod", "squashfs"), tmp_path / "squashfs")
    assert {path: [*value[:4], *value[5:]] for path, value in squashed.items()} == {
        path: [*value[:4], *value[5:]] for path, value in found.items()}


@pytest.mark.release("master")
def test_dockin_status_tells_where_images_are_in_a_data_root(images):
    images.run("bitbake-layers", "dockin-status", "--json", "--output", "status.json", "asleep", "awkward").ok()
    found = json.loads((images.path / "status.json").read_text())
    assert {image["recipe"]: (image["installed"], image["data_roots"]) for image in found["images"]} == {
        "asleep": (["device", "parted", "ready", "store", "system"], ["parted", "ready", "store", "system"]),
        "awkward": (["parted", "ready", "store", "system"], ["parted", "ready", "store", "system"]),
    }


BAD = {
    "switch": ('DOCKIN_DATAROOT = "yes"', r"Invalid DOCKIN_DATAROOT = 'yes': expected 0 or 1"),
    "store": ('DOCKIN_RUNTIME_STORE = "vfs"', r"Invalid DOCKIN_RUNTIME_STORE = 'vfs': expected classic or containerd"),
    "archives": ('DOCKIN_DATAROOT_KEEP_ARCHIVES = "yes"', r"Invalid DOCKIN_DATAROOT_KEEP_ARCHIVES = 'yes': expected 0 or 1"),
    "space": ('DOCKIN_DATAROOT_EXTRA_SPACE = "1G"', r"Invalid DOCKIN_DATAROOT_EXTRA_SPACE = '1G': expected a number of KiB"),
    "runtime": ('DOCKIN_RUNTIME = "lxc"', r"Invalid DOCKIN_RUNTIME = 'lxc'"),
    "relative": ('DOCKIN_DATAROOT_DIR = "docker"', r"Invalid DOCKIN_DATAROOT_DIR = 'docker': expected an absolute path"),
    "incremental": ('INC_IPK_IMAGE_GEN = "1"', r"INC_IPK_IMAGE_GEN = '1' keeps a root file system"),
}


@pytest.mark.release("master")
def test_bad_settings(images):
    more = {"classes": "dockin-dataroot", "types": "tar", "packages": "several"}
    texts = {name: IMAGE.format(first="", **more) + text for name, (text, _) in BAD.items()}
    read_only = 'IMAGE_FEATURES += "read-only-rootfs"'
    texts["read-only"] = IMAGE.format(first=read_only, **more)
    texts["read-only-parted"] = IMAGE.format(first=read_only, **{**more, "types": "squashfs dockin-ext4"})
    texts["off"] = IMAGE.format(first='DOCKIN_DATAROOT = "0"\nDOCKIN_RUNTIME = "containerd"', **more)
    texts["pod-read-only"] = IMAGE.format(first=read_only, **more) + 'DOCKIN_RUNTIME = "podman"\n'
    found = images.parse(texts)
    for name, (_, error) in BAD.items():
        assert any(re.search(error, one) for one in found[name].errors), found[name]
    [warning] = found["read-only"].warnings
    assert "read-only-rootfs" not in warning and "dockin-ext4" in warning
    for name in ("read-only-parted", "off", "pod-read-only"):
        assert (found[name].errors, found[name].warnings) == ([], [])


def test_the_recipe_goes_before_image_classes(images):
    """What the recipe inherits itself is wanted there, whoever has the class in IMAGE_CLASSES for other images."""
    more = {"types": "tar", "packages": "several"}
    wanted = 'DOCKIN_DATAROOT = "1"'
    found = images.parse({
        "itself": IMAGE.format(first="", classes="dockin-dataroot", **more),
        "listed": IMAGE.format(first=IN_IMAGE_CLASSES, classes="", **more),
        "listed-wanted": IMAGE.format(first=f"{wanted}\n{IN_IMAGE_CLASSES}", classes="", **more),
        "both": IMAGE.format(first=IN_IMAGE_CLASSES, classes="dockin-dataroot", **more),
        "both-before": IMAGE.format(first=f"{IN_IMAGE_CLASSES}\ninherit dockin-dataroot", classes="", **more),
    }, "DOCKIN_DATAROOT", "PSEUDO_INCLUDE_PATHS", "DOCKIN_DATAROOT_WORKDIR")
    assert {name: one.values["DOCKIN_DATAROOT"] for name, one in found.items()} == {
        "itself": "1", "listed": "0", "listed-wanted": "1", "both": "1", "both-before": "1"}
    # The pseudo of these tests follows everything that it is not told to ignore, OE-core's only what it is told.
    values = found["itself"].values
    assert values["DOCKIN_DATAROOT_WORKDIR"] in values["PSEUDO_INCLUDE_PATHS"].split(",")


@pytest.mark.release("master")
def test_attributes_longer_than_a_small_file_systems_blocks(images, registry, tmp_path):
    content = samples.image(layers.AWKWARD["attributes"](), "linux/amd64")
    registry.push(content, "team/attributes", "v1")
    images.recipe("attributes_1.0.bb", AWKWARD.format(hex=content.hex).replace("awkward", "attributes"))
    text = IMAGE.format(first="", classes="dockin-dataroot", types="dockin-ext4", packages="attributes")
    images.recipe("attributed_1.0.bb", text)
    images.bitbake("attributed", timeout=600).ok()
    found = tree(images.image("attributed", "dockin-ext4"), tmp_path / "root")
    [value] = [value for path, value in found.items() if path.endswith("/diff/empty")]
    assert value[6] == {"user.long": (b"v" * 3000).hex()}


@pytest.mark.release("master")
def test_places_that_are_taken(images):
    place = "${D}${localstatedir}/lib"
    # Linked absolutely, as it is on the target.
    settings = "echo '{\"userns-remap\": \"default\"}' > ${D}${sysconfdir}/docker.json"
    link = "ln -s ${sysconfdir}/docker.json ${D}${sysconfdir}/docker/daemon.json"
    commands = {"filled": f"install -D /dev/null {place}/docker/mine", "linked": f"ln -s /data {place}/docker",
                "remapped": f"install -d ${{D}}${{sysconfdir}}/docker && {settings} && {link}"}
    for name, command in commands.items():
        script = f"install -d {place} && {command}"
        files = 'FILES:${PN} = "${localstatedir} ${sysconfdir}"\nINHIBIT_DEFAULT_DEPS = "1"\n'
        images.recipe(f"{name}-docker_1.0.bb", f"{files}do_install() {{\n    {script}\n}}\n")
        text = IMAGE.format(first="", classes="dockin-dataroot", types="tar", packages=f"asleep {name}-docker")
        images.recipe(f"{name}_1.0.bb", text)
    images.recipe("without_1.0.bb", IMAGE.format(first="", classes="dockin-dataroot", types="tar", packages="busybox"))
    other = 'DOCKIN_RUNTIME = "podman"'
    images.recipe("mixed_1.0.bb", IMAGE.format(first=other, classes="dockin-dataroot", types="tar", packages="asleep"))
    images.recipe("elsewhere_1.0.bb", IMAGE.format(
        first='DOCKIN_DATAROOT_DIR = "/data/docker"', classes="dockin-dataroot", types="tar", packages="asleep"))
    # Docker 29, which some releases have, would use containerd by itself.
    tell = ('ROOTFS_POSTPROCESS_COMMAND += "tell"\ntell() {\n    install -d ${IMAGE_ROOTFS}${sysconfdir}/docker\n'
            '    echo \'{"features": {"containerd-snapshotter": false}}\' > '
            '${IMAGE_ROOTFS}${sysconfdir}/docker/daemon.json\n}\n')
    images.recipe("untold_1.0.bb", IMAGE.format(
        first='DOCKIN_RUNTIME_STORE = "containerd"', classes="dockin-dataroot", types="tar", packages="asleep") + tell)
    drop = 'ROOTFS_POSTPROCESS_COMMAND += "drop"\ndrop() {\n    rm ${IMAGE_ROOTFS}/data/archives/*.tar.bz2\n}\n'
    images.recipe("dropped_1.0.bb", IMAGE.format(first="", classes="dockin-dataroot", types="tar", packages="asleep") + drop)
    result = images.bitbake("-k", "filled", "linked", "remapped", "without", "mixed", "elsewhere", "untold", "dropped",
                            timeout=600)
    result.failed(r"/etc/docker/daemon\.json in the root file system has userns-remap = \"default\": .*; leave it out",
                  r"DOCKIN_DATAROOT_DIR = '/data/docker', but its packages were built for another \(.*/docker\.service\.d/"
                  r"dockin-preload\.conf says RequiresMountsFor=/var/lib/docker\): set it in the configuration",
                  r"Docker is not told to keep images in containerd, for which DOCKIN_RUNTIME_STORE = .* install",
                  r"team/app:v1: its archive /\S+/data/archives/team-app-v1\.tar\.bz2 is gone: let nothing remove it",
                  r"/var/lib/docker in the root file system is not empty \(mine\)",
                  r"/var/lib/docker: /var/lib/docker is a link to /data",
                  r"team/app:v1 has it for docker, but the image recipe has DOCKIN_RUNTIME = 'podman'")
    [warning] = result.warnings
    assert re.search(r"without-1.0-r0 do_rootfs: No package with Docker images is installed", warning)


@pytest.mark.release("master")
def test_a_data_root_elsewhere(shop, app):
    """Docker has to be told of it: by daemon.json, or by a unit."""
    directory = "/var/lib/my-docker"
    build = shop.build("elsewhere", f'DOCKIN_DATAROOT_DIR = "{directory}"\n')
    build.recipe("asleep_1.0.bb", ASLEEP.format(app=app))
    build.recipe("docker-options_1.0.bb", f"""
INHIBIT_DEFAULT_DEPS = "1"
do_install() {{
    install -d ${{D}}${{systemd_system_unitdir}}/docker.service.d
    echo 'ExecStart=dockerd --data-root {directory}' > ${{D}}${{systemd_system_unitdir}}/docker.service.d/options.conf
}}
FILES:${{PN}} = "${{systemd_system_unitdir}}"
""")
    for name, packages in {"told": "asleep docker-options", "untold": "asleep"}.items():
        build.recipe(f"{name}_1.0.bb", IMAGE.format(first="", classes="dockin-dataroot", types="tar", packages=packages))
    build.bitbake("-k", "told", "untold", timeout=600).failed(
        f"Docker is not told of DOCKIN_DATAROOT_DIR = '{directory}', and would look in {DATA_ROOT}: install")
    assert f"{directory}/image/overlay2/repositories.json" in files(build, "told")
    assert "/usr/lib/systemd/system/var-lib-my\\x2ddocker.mount.d/dockin-preload.conf" in build.deb("dockin-preload").files


@pytest.mark.release("master")
def test_the_same_once_more(images, ready, tmp_path):
    partition = images.image("parted", "dockin-ext4").read_bytes()
    tainted = "is tainted from a forced run"
    images.bitbake("-C", "image", "ready", timeout=600).ok(tainted)
    assert tree(images.image("ready", "tar"), tmp_path / "image") == ready
    images.bitbake("-C", "rootfs", "ready", "parted", timeout=600).ok(tainted)
    assert tree(images.image("ready", "tar"), tmp_path / "rootfs") == ready
    assert images.image("parted", "dockin-ext4").read_bytes() == partition


@pytest.mark.release("master")
def test_packages_from_sstate_and_no_work_left(shop, app, awkward, images, ready, tmp_path):
    """Another build directory gets the packages, and what is known of them, from sstate, and keeps no work directory."""
    build = shop.build("images-from-sstate", f'SSTATE_DIR = "{images.path}/sstate"\n'
                       f'BB_HASHSERVE_DB_DIR = "{images.path}/cache"\nINHERIT += "rm_work"\n')
    write_recipes(shop, build, app, awkward)
    packages = "several asleep awkward"
    text = IMAGE.format(first="", classes="dockin-dataroot", types="tar dockin-ext4", packages=packages)
    build.recipe("ready_1.0.bb", text)
    result = build.bitbake("ready", timeout=600).ok()
    for recipe in packages.split():
        assert not result.tasks(f"{recipe}-1.0") & {"do_fetch", "do_unpack", "do_compile", "do_package"}, recipe
    partition = build.image("ready", "dockin-ext4").read_bytes()
    assert tree(build.image("ready", "dockin-ext4"), tmp_path / "one") == below(ready, DATA_ROOT)
    assert not (build.work("ready") / "rootfs").exists() and not (build.work("ready") / "dockin-dataroot").exists()
    # A later change makes the root file system anew, from what is in sstate.
    build.recipe("ready_1.0.bb", text + 'DOCKIN_DATAROOT_EXTRA_SPACE = "131072"\n')
    build.bitbake("ready", timeout=600).ok()
    assert len(build.image("ready", "dockin-ext4").read_bytes()) == len(partition) + (64 << 20)
    assert tree(build.image("ready", "dockin-ext4"), tmp_path / "two") == below(ready, DATA_ROOT)


def test_bills_of_materials_name_the_images(images, shop, app):
    manifest = shop.busybox.manifest("linux/amd64")
    busybox = spdx.Named(
        "several", "docker.io/library/busybox", "1.36.1", f"docker://docker.io/library/busybox@{shop.busybox.digest}",
        manifest.hex,
        (f"pkg:oci/busybox@{manifest.digest}?arch=amd64&repository_url=docker.io/library/busybox&tag=1.36.1",
         f"pkg:oci/busybox@{shop.busybox.digest}?repository_url=docker.io/library/busybox&tag=1.36.1"),
    )

    def team_app(package, repository):
        purl = f"pkg:oci/app@{app.digest}?arch=amd64&repository_url={repository}&tag=v1"
        return spdx.Named(package, repository, "v1", f"docker://{repository}@{app.digest}", app.hex, (purl,))

    in_several = {busybox, team_app("several", f"{shop.registry.address}/team/app")}
    in_asleep = {team_app("asleep", "docker.io/team/app")}
    assert spdx.in_package(images, "several") == in_several
    assert spdx.in_package(images, "asleep") == in_asleep
    assert spdx.in_package(images, "several-preload") == set()
    assert spdx.in_image(images, "device") == in_several | in_asleep
    # Where archives are gone, as images are in a data-root or store, too.
    assert spdx.in_image(images, "ready") == spdx.in_image(images, "parted") == (
        in_several | in_asleep | spdx.in_package(images, "awkward"))
    assert spdx.in_image(images, "pod") == spdx.in_package(images, "pods")
    assert {named.name for named in spdx.in_image(images, "pod")} == {
        "docker.io/library/busybox", "docker.io/team/awkward"}

    def contained(image, comment):
        return sorted((named.name, named.sha256, comment) for named in spdx.in_image(images, image))

    assert spdx.in_data_root(images, "device") == []
    assert spdx.in_data_root(images, "store") == contained("store", f"In Docker's data-root {DATA_ROOT}/containerd/daemon")
    assert spdx.in_data_root(images, "bare") == contained("bare", "In containerd's image store /var/lib/containerd")
    assert spdx.in_data_root(images, "ready") == contained("ready", f"In Docker's data-root {DATA_ROOT}")
    assert spdx.in_data_root(images, "parted") == contained(
        "parted", f"In Docker's data-root {DATA_ROOT}, in the partition image dockin-ext4")
    assert spdx.in_data_root(images, "pod") == contained("pod", f"In Podman's image store {STORE}")
