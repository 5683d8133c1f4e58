# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What product layers inherit: archiver, buildhistory, rm_work; a rebuild without network, sstate, bills of materials."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile

from dataclasses import dataclass

import pytest

from support import attachments, images, oe, pages, spdx

PLATFORMS = ("linux/amd64", "linux/arm64/v8")
BILL, OTHER = attachments.bill("billed"), attachments.bill("other")
STEM = "busybox-1.36.1"
SBOMS = "/usr/share/dockin/archive/sbom"

# Each with one of archiver's modes.
ARCHIVED = ("original", "patched", "configured", "mirror")

# One image with BuildKit's attestations, and one to which a bill was attached later.
BILLED = """
# What add-docker writes of a licence that nobody knows.
LICENSE = "LicenseRef-Dockin-Unreviewed"
LIC_FILES_CHKSUM = "file://${{DOCKIN_LAYERDIR}}/licenses/LicenseRef-Dockin-Unreviewed;md5={md5}"
inherit dockin
SRC_URI = "docker://team/billed;tag=v1;name=billed docker://team/other;tag=v1;name=other"
SRC_URI[billed.sha256sum] = "{billed.hex}"
SRC_URI[other.sha256sum] = "{other.hex}"
SRC_URI[other.sbom] = "{attached.digest}"
DOCKIN_FETCH_SBOM = "require"
"""

IMAGE = """
inherit image
IMAGE_INSTALL = "several billed billed-sbom"
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "tar"
"""

CONF = """
INHERIT += "archiver buildhistory rm_work"
BB_GENERATE_MIRROR_TARBALLS = "1"
ARCHIVER_MODE[src] = "mirror"
COPYLEFT_LICENSE_INCLUDE = "*"
RM_WORK_EXCLUDE += "patched"
"""


@dataclass(frozen=True)
class Rebuilt:
    """A build without network, of what was downloaded elsewhere."""

    build: oe.Build
    downloads: list[str]
    billed: images.Index
    other: images.Index
    attached: images.Manifest


@pytest.fixture(scope="module")
def rebuilt(shop):
    """A build directory that has nothing but a copy of DL_DIR, with all recipes and an image built in it."""
    children = [images.image([images.layer({"etc/billed": one})], one) for one in PLATFORMS]
    billed = attachments.attested(children, {attachments.PROVENANCE: {}, attachments.SPDX: BILL})
    other = images.index([images.image([images.layer({"etc/other": "other"})], "linux/amd64")])
    bill = images.Blob("application/vnd.cyclonedx+json", images.to_json(OTHER))
    attached = attachments.referrer(other.manifest("linux/amd64"), bill, bill.media_type)
    shop.registry.push(billed, "team/billed", "v1")
    shop.registry.push(other, "team/other", "v1")
    attachments.attach(shop.registry, "team/other", other.manifest("linux/amd64"), [attached])

    md5 = hashlib.md5((shop.bench.layer / "licenses" / "LicenseRef-Dockin-Unreviewed").read_bytes()).hexdigest()

    def write(build):
        shop.add(build, "several")
        build.recipe("billed_1.0.bb", BILLED.format(md5=md5, billed=billed, other=other, attached=attached))
        for mode in ARCHIVED:
            flag = f'ARCHIVER_MODE[src] = "{mode}"\nARCHIVER_MODE[mirror] = "combined"\nCOMPRESSION_TYPE = "none"\n'
            build.recipe(f"{mode}_1.0.bb", shop.recipe("single") + flag)
        build.recipe("device_1.0.bb", IMAGE)
        return build

    connected = write(shop.build("connected"))
    connected.bitbake("--runall=fetch", "device", *ARCHIVED).ok()
    offline = shop.bench.root / "offline-downloads"
    shutil.copytree(connected.downloads, offline, ignore=shutil.ignore_patterns("*.done", "*.lock"))
    shop.bench.account.own_folders(offline)
    values = {"/path/to/downloads": str(offline)}
    conf = CONF + pages.example("howto/mirrors.md", "Without network", 1, values)
    build = write(shop.build("rebuilt", conf + 'DOCKIN_REGISTRIES_CONF = "/nowhere"\n'))
    with shop.registry.recording() as requests:
        build.bitbake("device", *ARCHIVED, timeout=600).ok()
    assert not requests
    return Rebuilt(build, sorted(path.name for path in offline.glob("docker_*.tar")), billed, other, attached)


def names(rebuilt, folder):
    """Return the files below a folder of the deploy directory."""
    top = rebuilt.build.tmp() / "deploy" / folder
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def test_the_image_has_its_packages(rebuilt):
    with tarfile.open(rebuilt.build.image("device", "tar")) as tar:
        found = {member.name[1:] for member in tar if member.isfile()}
    assert {"/usr/share/dockin/archive/team-billed-v1.tar.xz", f"{SBOMS}/team-billed-v1.spdx.json"} <= found


def test_archiver(rebuilt, busybox):
    found = names(rebuilt, "sources")
    image_file = f"docker_sha256-{busybox.hex}_linux-amd64.tar"
    assert f"mirror/{image_file}" in found
    [original] = [name for name in found if "/original-1.0-r0/" in name]
    assert original.endswith(f"/{image_file}")
    # In the other modes it is what do_unpack has made of it.
    for mode in ("patched", "configured"):
        [name] = [name for name in found if f"/{mode}-1.0-r0/" in name]
        with tarfile.open(rebuilt.build.tmp() / "deploy" / "sources" / name) as tar:
            members = {member.name.rpartition("/")[2] for member in tar if member.isfile()}
        assert {f"{STEM}.tar", f"{STEM}.image.json"} <= members
    # Of all recipes, those with bills of materials as well.
    assert {name.rpartition("/")[2] for name in found if "/docker_" in name or name.startswith("docker_")} == set(
        rebuilt.downloads)


def test_rm_work(rebuilt):
    for recipe in ("several", "billed", "original"):
        assert {path.name for path in rebuilt.build.work(recipe).iterdir()} == {"temp"}
    assert (rebuilt.build.work("patched") / "build").is_dir()


def test_buildhistory(rebuilt):
    top = rebuilt.build.path / "buildhistory"
    [latest] = top.glob("packages/*/billed/billed/latest")
    assert "/usr/share/dockin/archive/team-billed-v1.tar.xz" in latest.read_text()
    [uri] = [line for line in (latest.parents[1] / "latest").read_text().splitlines() if line.startswith("SRC_URI")]
    assert "docker://team/billed;tag=v1" in uri
    [installed] = top.glob("images/*/*/device/files-in-image.txt")
    assert "team-billed-v1.image" in installed.read_text()


def test_bills_are_deployed_and_packaged(rebuilt):
    files = {"team-billed-v1.spdx.json": BILL, "team-other-v1.cdx.json": OTHER}
    folder = rebuilt.build.image("device", "manifest").parent / "dockin-sbom" / "billed"
    assert {path.name: json.loads(path.read_text()) for path in folder.iterdir()} == files
    deb = rebuilt.build.deb("billed-sbom")
    packaged = {path: json.loads(deb.read(path)) for path in deb.files}
    assert packaged == {f"{SBOMS}/{name}": bill for name, bill in files.items()}
    assert "billed-sbom" not in rebuilt.build.deb("billed").recommends
    assert "several-sbom" not in rebuilt.build.debs()
    assert not (folder.parent / "several").exists()


def test_bills_are_named_in_the_recipes_own(rebuilt):
    [attestation] = [one for one in rebuilt.billed.manifests()
                     if ("vnd.docker.reference.digest", rebuilt.billed.manifest("linux/amd64").digest) in one.annotations]
    found = {one.name: one.bills for one in spdx.in_package(rebuilt.build, "billed")}
    assert found == {
        "docker.io/team/billed": ((f"docker://docker.io/team/billed@{attestation.digest}", "team-billed-v1.spdx.json"),),
        "docker.io/team/other": ((f"docker://docker.io/team/other@{rebuilt.attached.digest}", "team-other-v1.cdx.json"),),
    }


def test_another_build_directory_takes_it_from_sstate(built, shop):
    """With no source at all: neither a network nor a file in DL_DIR."""
    other = built.build.path
    conf = f'SSTATE_DIR = "{other}/sstate"\nBB_HASHSERVE_DB_DIR = "{other}/cache"\nBB_NO_NETWORK = "1"\n'
    build = shop.build("from-sstate-alone", conf)
    shop.add(build, "several")
    result = build.bitbake("several").ok()
    assert not {"do_fetch", "do_unpack", "do_compile", "do_package"} & result.tasks("several")
    assert build.deb("several").path.read_bytes() == built.build.deb("several").path.read_bytes()
