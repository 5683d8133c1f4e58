# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is in the packages that recipes become."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import subprocess
import tarfile

import pytest

from dockin.target import imageinfo, runtimes, space
from support import cache

UNPINNED = r"busybox:1\.36\.1 is not pinned"
FOREIGN = r"busybox:1\.36\.1 is built for linux/arm64/v8, the platform of its ;platform=, but the machine is linux/amd64"
ARCHIVES = "/usr/share/dockin/archive"
BUSYBOX_UNIT = "dockin-preload-busybox-1.36.1.service"
NOT_OURS = r"-(dbg|dev|doc|src|locale)$"


@pytest.fixture
def build(built):
    return built.build


def unit_of(deb, name=BUSYBOX_UNIT):
    """Return the text of a unit in a package."""
    [path] = [path for path in deb.files if path.endswith("/" + name)]
    return deb.read(path).decode()


def archive_of(deb, stem="busybox-1.36.1"):
    """Return path and bytes of the archive in a package."""
    [path] = [path for path in deb.files if path.startswith(f"{ARCHIVES}/{stem}.tar")]
    return path, deb.read(path)


def information_of(deb, stem="busybox-1.36.1"):
    path = f"{ARCHIVES}/{stem}.image"
    return imageinfo.parse(deb.read(path).decode(), path)


def contents(archive):
    """Return {name: bytes} of an archive that is not compressed."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def test_only_the_image_without_a_pin_warns(built):
    built.result.ok(UNPINNED, FOREIGN)


def test_the_warning_has_the_line_to_add(built, busybox):
    [warning] = [one for one in built.result.warnings if "is not pinned" in one]
    assert warning.splitlines()[-1] == f'SRC_URI[sha256sum] = "{busybox.hex}"'


def test_nothing_changed_nothing_runs_again(build):
    assert build.bitbake("single", "several", "hello-world").ok().tasks() == set()


def test_one_image(build):
    deb = build.deb("single")
    assert deb.files == [f"{ARCHIVES}/busybox-1.36.1.image", f"{ARCHIVES}/busybox-1.36.1.tar.xz"]
    assert {(member.uname, member.gname, member.mode) for member in deb.members.values()} == {("root", "root", 0o644)}
    assert deb.depends == []
    assert deb.recommends == ["single-preload"]
    # What is in it runs on one machine's CPU: never a package for all.
    assert deb.control["Architecture"] == "amd64"


def test_preload_package(build):
    deb = build.deb("single-preload")
    assert [path.rsplit("/", 1)[1] for path in deb.files if path.endswith(".service")] == [BUSYBOX_UNIT]
    assert sorted(deb.depends) == ["dockin-preload", "single", "xz"]
    # One is not upgraded without the other.
    assert f"single (= {deb.control['Version']})" in deb.control["Depends"]
    assert deb.recommends == ["docker"]


@pytest.mark.parametrize("recipe, runtime, packages, service, places", [
    ("single", "docker", ["docker"], "docker.service", "/var/lib/docker"),
    # And where an additional store may be.
    ("gzip-asleep", "podman", ["podman"], "", "/var/lib/containers/storage /usr/lib/containers/storage"),
    ("plain-arm64", "containerd", ["virtual-containerd"], "containerd.service", "/data/containerd"),
])
def test_runtimes(build, recipe, runtime, packages, service, places):
    preload = build.deb(f"{recipe}-preload")
    assert preload.recommends == packages
    assert information_of(build.deb(recipe)).runtime == runtime
    text = unit_of(preload)
    assert f"\nRequiresMountsFor={ARCHIVES} {places}\n" in text
    for key in ("Wants", "After", "PartOf"):
        assert re.findall(rf"^{key}=(.*)$", text, re.M) == [service][:bool(service)]
    assert f"\nWantedBy=dockin-preload.target {service}".rstrip() + "\n" in text


@pytest.mark.release(str(cache.releases()[-1]))
def test_what_reads_zstd(shop):
    """Docker and Podman do; for containerd the archive is unpacked by the program."""
    recipe = shop.recipe("single") + 'COMPRESSION_TYPE = "zstd"\nDOCKIN_RUNTIME = "{}"\n'
    variable = "DOCKIN_COMPRESSION_RDEPENDS"
    parsed = shop.build("zstd").parse({name: recipe.format(name) for name in runtimes.RUNTIMES}, variable)
    needed = {name: found.values[variable] for name, found in parsed.items()}
    assert needed == {"docker": "", "podman": "", "containerd": "zstd"}


def test_the_engine_waits_for_its_data_root(build):
    deb = build.deb("dockin-preload")
    found = {path.split("/")[-2]: deb.read(path).decode() for path in deb.files if path.endswith(".conf")}
    volatile = "After=var-volatile-lib.service"
    assert {name: text.splitlines()[-1] for name, text in found.items()} == {
        "docker.service.d": "RequiresMountsFor=/var/lib/docker", "var-lib-docker.mount.d": volatile,
        "containerd.service.d": "RequiresMountsFor=/var/lib/containerd", "var-lib-containerd.mount.d": volatile}


def test_sizes_are_in_the_log(build):
    found = information_of(build.deb("single"))
    log = build.log("single", "do_compile")
    assert space.describe(found) in log
    # For the store of the release's Docker.
    store = runtimes.new_store("virtualization-layer", build.bench.series)
    planned = space.plan([space.Load(found, True, store)])
    log = build.log("single", "do_package_qa")
    assert (f"Archives: {planned.archive_size} bytes, {planned.unpacked_size} unpacked; at the peak of the loads:"
            f" {planned.peak_size}, once all are loaded: {planned.final_size}\n") in log


def test_helper_package(build):
    deb = build.deb("dockin-preload")
    assert "/usr/bin/dockin-preload" in deb.files
    assert deb.members["/usr/bin/dockin-preload"].mode == 0o755
    assert deb.control["Architecture"] == "all"
    assert deb.read("/usr/bin/dockin-preload").startswith(b"#!/bin/sh\n")


def test_information_file(build, busybox):
    deb = build.deb("single")
    found = information_of(deb)
    manifest = busybox.manifest("linux/amd64")
    path, archive = archive_of(deb)
    unpacked = lzma.decompress(archive)
    assert (found.reference, found.name) == ("docker.io/library/busybox:1.36.1", "busybox:1.36.1")
    assert found.platform == "linux/amd64"
    assert found.archive == path.rsplit("/", 1)[1]
    assert (found.archive_size, found.unpacked_size) == (len(archive), len(unpacked))
    assert found.image_id == manifest.config.digest
    assert found.source_digest == busybox.digest
    [entry] = json.loads(contents(unpacked)["index.json"])["manifests"]
    assert found.manifest_digest == entry["digest"]


def test_archive_holds_the_image_of_the_platform(build, busybox):
    files = contents(lzma.decompress(archive_of(build.deb("single"))[1]))
    manifest = busybox.manifest("linux/amd64")
    [entry] = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["busybox:1.36.1"]
    assert files[entry["Config"]] == manifest.config.data
    wanted = [gzip.decompress(blob.data) for blob in manifest.layers]
    assert [files[path] for path in entry["Layers"]] == wanted
    assert json.loads(files["oci-layout"])["imageLayoutVersion"] == "1.0.0"
    for name, data in files.items():
        if name.startswith("blobs/sha256/"):
            assert name.rsplit("/", 1)[1] == hashlib.sha256(data).hexdigest()


def test_registry_layers_keep_the_digests(build, busybox):
    deb = build.deb("registry-layers")
    files = contents(lzma.decompress(archive_of(deb)[1]))
    manifest = busybox.manifest("linux/amd64")
    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["digest"] == busybox.digest == information_of(deb).source_digest
    for blob in (busybox, manifest, manifest.config, *manifest.layers):
        assert files["blobs/sha256/" + blob.hex] == blob.data
    assert information_of(deb).manifest_digest == manifest.digest


def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("recipe, suffix, decompress, needs", [
    ("single", ".tar.xz", lzma.decompress, ["xz"]),
    ("zstd-kept", ".tar.zst", unzstd, []),
    ("gzip-asleep", ".tar.gz", gzip.decompress, []),
    ("plain-arm64", ".tar", bytes, []),
    ("bzip2-unpinned", ".tar.bz2", bz2.decompress, ["bzip2"]),
])
def test_compression(build, recipe, suffix, decompress, needs):
    deb = build.deb(recipe)
    path, archive = archive_of(deb)
    assert path == f"{ARCHIVES}/busybox-1.36.1{suffix}"
    assert "manifest.json" in contents(decompress(archive))
    found = information_of(deb)
    assert (found.archive, found.archive_size) == (f"busybox-1.36.1{suffix}", len(archive))
    assert found.unpacked_size == len(decompress(archive))
    assert sorted(build.deb(f"{recipe}-preload").depends) == sorted([recipe, "dockin-preload", *needs])


def test_compression_changes_nothing_inside(build):
    one = lzma.decompress(archive_of(build.deb("single"))[1])
    assert unzstd(archive_of(build.deb("zstd-kept"))[1]) == one
    assert gzip.decompress(archive_of(build.deb("gzip-asleep"))[1]) == one
    assert bz2.decompress(archive_of(build.deb("bzip2-unpinned"))[1]) == one


def test_unit_flushes_unless_told_not_to(build):
    path = f"{ARCHIVES}/busybox-1.36.1.image"
    assert f"\nExecStart=/usr/bin/dockin-preload load --flush {path}\n" in unit_of(build.deb("single-preload"))
    kept = unit_of(build.deb("zstd-kept-preload"))
    assert f"\nExecStart=/usr/bin/dockin-preload load --keep --prune --keep-previous {path}\n" in kept


def enabled_units(build, recipe, folder):
    """Install a recipe's packages into a folder as a build of a root filesystem does; return the enabled units.

    The packages' own scripts run with the systemctl of such a build: scarthgap's OE-core has one, later ones
    build systemd's, as the host's is.
    """
    own = build.bench.core / "meta/recipes-core/systemd/systemd-systemctl"
    path = f"{own}:/usr/sbin:/usr/bin:/sbin:/bin"
    debs = [build.deb(name) for name in ("dockin-preload", recipe, f"{recipe}-preload")]
    for deb in debs:
        deb.extract(folder)
    for deb in debs:
        script = folder / "postinst"
        script.write_text(deb.script("postinst"))
        subprocess.run(["sh", str(script), "configure"], check=True, timeout=60, capture_output=True,
                       env={"PATH": path, "D": str(folder)})
    return sorted(str(path.relative_to(folder / "etc/systemd/system"))
                  for path in (folder / "etc/systemd/system").glob("*.wants/*"))


TARGET = "multi-user.target.wants/dockin-preload.target"


def test_units_are_enabled(build, tmp_path):
    # Docker's as well: what failed is tried again when Docker is started again.
    wanted = [f"docker.service.wants/{BUSYBOX_UNIT}", f"dockin-preload.target.wants/{BUSYBOX_UNIT}", TARGET]
    assert enabled_units(build, "single", tmp_path) == wanted


def test_units_are_not_enabled_if_so_wanted(build, tmp_path):
    assert enabled_units(build, "gzip-asleep", tmp_path) == [TARGET]
    # Neither by the presets of the first boot.
    deb = build.deb("gzip-asleep-preload")
    presets = [deb.read(path).decode() for path in deb.files if path.endswith(".preset")]
    assert all(re.search(rf"^enable {BUSYBOX_UNIT}", text, re.M) is None for text in presets)


def test_units_pass_systemds_own_check(build, tmp_path):
    folder = build.deb("single-preload").extract(tmp_path)
    build.deb("dockin-preload").extract(tmp_path)
    [unit] = folder.rglob(BUSYBOX_UNIT)
    for name in ("docker.service", "sysinit.target", "basic.target", "shutdown.target", "multi-user.target"):
        stand_in = unit.with_name(name)
        stand_in.write_text("[Unit]\nDescription=stands here\n"
                            + ("[Service]\nExecStart=/usr/bin/dockin-preload\n" if name.endswith("service") else ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={folder}", unit.name],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_platform_of_one_image(build, busybox):
    found = information_of(build.deb("plain-arm64"))
    assert found.platform == "linux/arm64/v8"
    assert found.image_id == busybox.manifest("linux/arm64/v8").config.digest


def test_several_images_and_files_in_one_recipe(build, registry, busybox, app):
    stem = registry.address.replace(":", "-") + "-team-app-v1"
    deb = build.deb("several")
    assert [path for path in deb.files if not path.endswith(".preset")] == sorted([
        f"{ARCHIVES}/{stem}.image", f"{ARCHIVES}/{stem}.tar.xz",
        f"{ARCHIVES}/busybox-1.36.1.image", f"{ARCHIVES}/busybox-1.36.1.tar.xz",
        "/usr/share/several/compose.yml", "/usr/lib/systemd/system/several.service",
    ])
    assert information_of(deb, stem).reference == f"{registry.address}/team/app:v1"
    assert information_of(deb, stem).source_digest == app.digest
    assert information_of(deb).source_digest == busybox.digest
    [entry] = json.loads(contents(lzma.decompress(archive_of(deb, stem)[1]))["manifest.json"])
    assert entry["RepoTags"] == [f"{registry.address}/team/app:v1"]
    assert "several.service" in deb.script("postinst")
    preload = build.deb("several-preload")
    units = [path.rsplit("/", 1)[1] for path in preload.files if path.endswith(".service")]
    assert units == [f"dockin-preload-{stem}.service", BUSYBOX_UNIT]
    assert all(unit in preload.script("postinst") for unit in units)
    directory = "/usr/lib/systemd/system/"
    waits = {unit: re.findall("^After=dockin-preload-.*", preload.read(directory + unit).decode(), re.M) for unit in units}
    ranks = [space.Load(information_of(deb, name), flush=True).rank for name in (stem, "busybox-1.36.1")]
    first, second = units if ranks[0] <= ranks[1] else reversed(units)
    assert waits == {first: [], second: [f"After={first}"]}


def test_no_package_but_ours_has_files(build):
    extra = {name: deb.files for name, deb in build.debs().items() if re.search(NOT_OURS, name)}
    assert {name: files for name, files in extra.items() if files} == {}


def test_demo_of_one_image(build):
    found = information_of(build.deb("hello-world"), "hello-world-latest")
    assert (found.reference, found.name) == ("docker.io/library/hello-world:latest", "hello-world:latest")


def test_demo_with_compose(build):
    deb = build.deb("compose-example")
    stems = [path.rsplit("/", 1)[1][:-len(".image")] for path in deb.files if path.endswith(".image")]
    assert len(stems) == 2
    [service] = [path for path in deb.files if path.endswith("/compose-example.service")]
    text = deb.read(service).decode()
    assert "@" not in text, "a placeholder was left"
    [compose] = re.findall(r"ExecStart=.*--file (\S+)", text)
    assert compose in deb.files
    for stem in stems:
        # It starts only after both images are there, by the names that the preload package has.
        unit = f"dockin-preload-{stem}.service"
        assert any(path.endswith("/" + unit) for path in build.deb("compose-example-preload").files)
        assert re.search(rf"^After=.*\b{re.escape(unit)}", text, re.M)
        assert re.search(rf"^Requires=.*\b{re.escape(unit)}", text, re.M)
        # And Compose asks for what the archives are called in Docker.
        assert f"image: {information_of(deb, stem).name}" in deb.read(compose).decode()
    assert "docker-compose" in deb.recommends
