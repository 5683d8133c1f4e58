# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Which platform's image is fetched, and that a wrong one is refused."""

import pytest

from support import images
from support.imagefiles import documents

pytestmark = pytest.mark.one_library

# TARGET_ARCH, TUNE_FEATURES, MACHINEOVERRIDES -> platform
MACHINES = {
    "linux/amd64": ("x86_64", "m64 core2", "qemux86-64"),
    "linux/arm64/v8": ("aarch64", "aarch64 crypto", "aarch64:qemuarm64"),
    "linux/arm/v7": ("arm", "arm vfp neon callconvention-hard cortexa15", "armv7ve:qemuarm"),
    "linux/arm/v5": ("arm", "arm armv5 thumb dsp", "armv5:qemuarmv5"),
    "linux/386": ("i686", "m32 core2", "qemux86"),
    "linux/riscv64": ("riscv64", "riscv64", "qemuriscv64"),
    "linux/ppc64le": ("powerpc64le", "m64 altivec", "qemuppc64"),
}
PLATFORMS = (
    "linux/386",
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64/v8",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
)


@pytest.fixture(scope="session")
def everything(server):
    """An index of nine platforms, with attestations: (url, index)."""
    children = [images.image([images.layer({"etc/platform": platform})], platform) for platform in PLATFORMS]
    content = images.index(children, attestations=True)
    server.push(content, "platforms/all", "v1")
    return f"docker://{server.address}/platforms/all;tag=v1", content


@pytest.mark.parametrize("platform", MACHINES)
def test_of_the_machine(bench, everything, platform):
    url, content = everything
    architecture, features, overrides = MACHINES[platform]
    bench.fetch(
        url, content.digest, TARGET_ARCH=architecture, TUNE_FEATURES=features, MACHINEOVERRIDES=overrides
    )
    assert content.manifest(platform).digest in documents(bench.only_file())
    assert platform.replace("/", "-") in bench.only_file().name


def test_by_parameter(bench, everything):
    url, content = everything
    bench.fetch(f"{url};platform=linux/s390x", content.digest)
    assert content.manifest("linux/s390x").digest in documents(bench.only_file())


MEANT = "If the machine runs it, pin the manifest of this platform"


@pytest.mark.parametrize(
    ("platform", "machine", "warned"),
    [
        ("linux/s390x", {}, True),
        ("linux/386", {}, True),
        ("linux/amd64", {}, False),
        ("linux/amd64", {"DOCKIN_PLATFORM": "linux/arm64"}, True),
        ("linux/arm/v7", {"DOCKIN_PLATFORM": "linux/arm64"}, True),
        ("linux/arm/v6", {"DOCKIN_PLATFORM": "linux/arm/v7"}, False),
        ("linux/arm/v7", {"DOCKIN_PLATFORM": "linux/arm/v6"}, True),
        # of which nothing is known
        ("linux/amd64", {"TARGET_ARCH": "sh4"}, False),
        ("linux/amd64", {"TARGET_ARCH": ""}, False),
    ],
)
@pytest.mark.parametrize("pinned", ["index", "digest", "not at all", "manifest"])
def test_platform_that_is_not_the_machines(bench, everything, platform, machine, warned, pinned):
    """An index serves all machines that share a recipe: for the image of another platform its own manifest is pinned."""
    url, content = everything
    manifest = content.manifest(platform)
    pin = {"index": content.digest, "manifest": manifest.digest}.get(pinned)
    digest = f";digest={content.digest}" if pinned == "digest" else ""
    outcome = bench.fetch(f"{url};platform={platform}{digest}", pin, **machine)
    said = [text for level, text in outcome.log if level == "WARNING" and MEANT in text]
    assert bool(said) == (warned and pinned != "manifest"), outcome.text
    if said:
        assert f"is built for {platform}, " in said[0]
        line = f";digest={manifest.digest}" if digest else f'SRC_URI[sha256sum] = "{manifest.hex}"'
        assert said[0].endswith("\n" + line)


def test_platform_that_is_not_the_machines_is_told_of_at_each_build(bench, everything):
    """Also where the image is in DL_DIR."""
    url, content = everything
    for _ in range(2):
        outcome = bench.fetch(f"{url};platform=linux/s390x", content.digest)
        assert [text for level, text in outcome.log if level == "WARNING" and MEANT in text], outcome.text


def test_by_variable(bench, everything):
    url, content = everything
    bench.fetch(url, content.digest, DOCKIN_PLATFORM="linux/arm/v6")
    assert content.manifest("linux/arm/v6").digest in documents(bench.only_file())


def test_one_pin_serves_two_machines_in_one_dl_dir(bench, everything):
    url, content = everything
    bench.fetch(url, content.digest)
    bench.fetch(url, content.digest, DOCKIN_PLATFORM="linux/arm64")
    assert len(bench.files()) == 2


def test_an_older_variant_will_do(bench, server, image):
    content = images.index([image("old-v5", "linux/arm/v5"), image("old-v6", "linux/arm/v6")])
    server.push(content, "platforms/old", "v1")
    bench.fetch(
        f"docker://{server.address}/platforms/old;tag=v1", content.digest, DOCKIN_PLATFORM="linux/arm/v7"
    )
    assert content.manifest("linux/arm/v6").digest in documents(bench.only_file())


def test_the_index_states_the_variant_that_the_config_lacks(bench, server, image):
    quiet = image("quiet-config", "linux/arm", config={"variant": ""})
    content = images.index([quiet], platforms=["linux/arm/v5"])
    server.push(content, "platforms/quiet", "v1")
    bench.fetch(
        f"docker://{server.address}/platforms/quiet;tag=v1", content.digest, DOCKIN_PLATFORM="linux/arm/v5"
    )
    assert quiet.digest in documents(bench.only_file())


@pytest.mark.parametrize("wanted", ["linux/amd64", "linux/arm/v5", "linux/s390x"])
def test_index_whose_entries_state_no_platform(bench, server, image, wanted):
    """Their configs do, as for containerd. They are in the tarball, so that whoever reads that chooses the same image."""
    children = [image(f"silent-{name}", name) for name in ("linux/s390x", "linux/arm/v5", "linux/amd64")]
    content = images.index([*children, images.attestation(children[0])], platforms=[""] * 4)
    server.push(content, f"platforms/silent-{wanted}", "v1")
    url, folder = f"docker://{server.address}/platforms/silent-{wanted};tag=v1;platform={wanted}", bench.directory / "unpack"
    outcome = bench.run(url, ("fetch",), ("unpack", str(folder)), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert content.manifest(wanted).layers[0].digest in documents(bench.only_file())
    assert {child.config.digest for child in children} <= documents(bench.only_file()).keys()


def test_not_in_the_index(bench, server, image):
    content = images.index(
        [image("few-arm", "linux/arm/v7"), image("few-riscv", "linux/riscv64")], attestations=True
    )
    server.push(content, "platforms/few", "v1")
    bench.refuse(
        f"docker://{server.address}/platforms/few;tag=v1",
        "linux/amd64",
        "linux/arm/v7",
        "linux/riscv64",
        "pin the digest of its manifest",
        ";platform=",
        pin=content.digest,
    )
    assert not bench.files()


def test_only_attestations(bench, server, image):
    content = images.index([images.attestation(image("subject"))])
    server.push(content, "platforms/attestations", "v1")
    bench.refuse(
        f"docker://{server.address}/platforms/attestations;tag=v1", "linux/amd64", pin=content.digest
    )


@pytest.mark.parametrize("kind", ["single manifest", "entry that lies"])
def test_image_of_another_platform(bench, server, image, kind):
    """Nothing is left of it. Of a single manifest the config is looked at first: no layer is asked for."""
    content = image(f"wrong-{kind[0]}", "linux/arm/v7")
    layers = {layer.digest for layer in content.layers}
    if kind == "entry that lies":
        content = images.index([content], platforms=["linux/amd64"])
    server.push(content, "platforms/wrong", "v1")
    with server.recording() as requests:
        bench.refuse(
            f"docker://{server.address}/platforms/wrong;tag=v1", "linux/arm/v7", "linux/amd64", pin=content.digest
        )
    assert requests
    if kind == "single manifest":
        assert not layers & {request.digest for request in requests}
    assert not bench.files("*.tar") + bench.files("*.part*")


def test_target_that_no_image_is_built_for(bench, everything):
    url, content = everything
    outcome = bench.refuse(
        url,
        "sh4",
        ";platform=",
        "DOCKIN_PLATFORM",
        pin=content.digest,
        TARGET_ARCH="sh4",
        TUNE_FEATURES="",
        MACHINEOVERRIDES="",
    )
    assert outcome.error_type == "ParameterError"


@pytest.mark.parametrize(
    "platform", ["amd64", "linux/mac", "windows/amd64", "linux/arm/v9", "linux/../../etc"]
)
def test_malformed_platform(bench, everything, platform):
    url, content = everything
    outcome = bench.refuse(f"{url};platform={platform}", platform, pin=content.digest)
    assert outcome.error_type == "ParameterError"


def test_without_any_target_urls_can_still_be_looked_at(bench, everything):
    """devtool check-upgrade-status works on a copy of the data that has no TARGET_ARCH."""
    url, content = everything
    outcome = bench.run(url, ("set", "TARGET_ARCH", ""), ("latest",), pin=content.digest)
    assert outcome.error is None, outcome.text
