# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""bitbake-layers dockin-status: what it knows of images that were never built, half built, built, or built elsewhere."""

from __future__ import annotations

import json

import pytest

IMAGE = 'inherit nopackages\nPACKAGE_INSTALL = "packagegroup-core-boot one"\n'


@pytest.fixture(scope="module")
def build(shop):
    made = shop.build("status")
    pinned = f'inherit dockin\nSRC_URI = "docker://busybox;tag=1.36.1"\nSRC_URI[sha256sum] = "{shop.busybox.hex}"\n'
    loose = f'inherit dockin\nSRC_URI = "docker://{shop.registry.address}/team/app;tag=v1"\nDOCKIN_PRELOAD_FLUSH = "0"\n'
    made.recipe("one_1.0.bb", pinned)
    made.recipe("loose_1.0.bb", loose)
    made.recipe("skipped_1.0.bb", pinned + 'COMPATIBLE_MACHINE = "nosuchmachine"\n')
    made.recipe("my-image_1.0.bb", IMAGE)
    arm = 'MACHINE = "qemuarm64"\nTMPDIR = "${TOPDIR}/tmp-arm"\n'
    made.bench.write(made.path / "conf" / "multiconfig" / "arm.conf", arm)
    made.local_conf('BBMULTICONFIG = "arm"')
    return made


def status(build, *arguments, code=0):
    """Return what is on standard output of the command, which is JSON and nothing else."""
    command = "bitbake-layers -q dockin-status --json " + " ".join(arguments)
    result = build.run("sh", "-c", f"{command} 2>stderr.txt")
    assert result.returncode == code, result.output + (build.path / "stderr.txt").read_text()
    return json.loads(result.output)


def images(build, *arguments, **options):
    """Return the images by multiconfig and recipe."""
    return {(one["multiconfig"], one["recipe"]): one for one in status(build, *arguments, **options)["images"]}


@pytest.mark.timeout(1200)
def test_status(build, busybox, app):
    # Never built.
    found = images(build)
    names = {name for _, name in found}
    assert {"one", "loose", "hello-world", "compose-example"} <= names and "skipped" not in names
    one, arm, loose = found["", "one"], found["arm", "one"], found["", "loose"]
    assert (one["layer"], one["image"], one["pin"]) == ("meta-test-bed", "busybox:1.36.1", busybox.digest)
    assert (one["machine"], one["platform"]) == ("qemux86-64", "linux/amd64")
    assert (arm["machine"], arm["platform"]) == ("qemuarm64", "linux/arm64/v8")
    assert (one["fetched"], one["packaged"], one["archive"], one["installed"]) == (False, None, None, None)
    assert (one["preload"], one["flush"], loose["flush"], loose["pin"]) == ("enabled", True, False, None)

    # Half built: the work directory knows, pkgdata does not.
    build.bitbake("one", "-c", "compile").ok()
    half = images(build, "one")
    assert half["", "one"]["fetched"] and not half["arm", "one"]["fetched"]
    assert half["", "one"]["packaged"]["platform"] == "linux/amd64"
    assert half["", "one"]["notes"] == ["compiled for qemux86-64, but not packaged yet: bitbake one"]

    # Built, for one of two configurations; without its work directory.
    build.bitbake("one").ok()
    build.run("rm", "-rf", str(build.work("one"))).ok()
    built = images(build, "one")
    [deb] = [deb for name, deb in build.debs().items() if name == "one"]
    assert built["", "one"]["archive"] in deb.files
    assert built["", "one"]["packaged"]["archive_size"] == len(deb.read(built["", "one"]["archive"]))
    assert built["", "one"]["notes"] == []
    # That of the release's Docker.
    old = str(build.bench.release) == "scarthgap"
    store, opposite, more = ("classic", "containerd", 1) if old else ("containerd", "classic", -1)
    assert built["", "one"]["store"] == store
    [together, alone] = status(build, "one")["needs"]
    assert (together["recipe"], alone["recipe"]) == ("", "one")
    assert alone["archive_size"] == built["", "one"]["packaged"]["archive_size"]
    assert alone["archive_size"] < alone["unpacked_size"] < alone["peak_size"]
    assert "not built" in built["arm", "one"]["notes"][0]

    # In an image, and as people read it.
    question = build.run("bitbake-layers", "dockin-status", "--image", "my-image").ok()
    assert "my-image has not been built for qemux86-64" in question.output and "hello-world" not in question.output
    deployed = build.tmp() / "deploy" / "images" / "qemux86-64"
    build.bench.write(deployed / "my-image-qemux86-64.rootfs.manifest", "one x86-64-v3 1.0\none-preload x86-64-v3 1.0\n")
    installed = images(build, "--image", "my-image")
    assert set(installed) == {("", "one")} and installed["", "one"]["installed"] == ["my-image"]

    # Built, but for another machine.
    # A server keeps the environment that it was started in.
    build.stop()
    build.environment.update(MACHINE="qemux86", BB_ENV_PASSTHROUGH_ADDITIONS="MACHINE")
    other = images(build, "one")["", "one"]
    build.stop()
    build.environment.clear()
    assert (other["machine"], other["platform"], other["packaged"]) == ("qemux86", "linux/386", None)
    assert other["notes"] == ["not built for qemux86; it is built for qemux86-64"]

    # Of a registry: the tag of one is where it was, the other has no pin.
    remote = images(build, "one", "loose", "--check")
    assert (remote["", "one"]["remote"]["state"], remote["", "loose"]["remote"]["state"]) == ("current", "unpinned")
    assert remote["", "loose"]["remote"]["digest"] == app.digest

    # For the other store as soon as that is set; containerd's keeps the blobs.
    build.local_conf(f'DOCKIN_RUNTIME_STORE = "{opposite}"')
    stored = status(build, "one")
    assert [image["store"] for image in stored["images"] if not image["multiconfig"]] == [opposite]
    assert [need["final_size"] for need in stored["needs"]] == [alone["final_size"] + more * alone["unpacked_size"]] * 2


@pytest.mark.timeout(600)
def test_what_there_is_no_status_of(build):
    for arguments, message in [
        (["nothing"], "No recipe nothing"),
        (["my-image"], "my-image has no Docker image"),
        (["skipped"], "is skipped: .*COMPATIBLE_MACHINE"),
        (["--image", "nothing"], "No image recipe nothing"),
    ]:
        build.run("bitbake-layers", "dockin-status", *arguments).failed(message)
