# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is fetched: by a pin in both its forms, by a tag, of manifests and of indexes, in both formats."""

import shutil
import tarfile

import pytest

from support import images
from support.imagefiles import documents


@pytest.fixture
def pushed(server, image):
    """An index for two platforms in a registry: (url without parameters, index)."""
    content = images.index([image("pinned"), image("pinned-arm", "linux/arm/v7")], attestations=True)
    server.push(content, "pins/app", "v1")
    return f"docker://{server.address}/pins/app", content


def test_flag(bench, pushed):
    url, content = pushed
    outcome = bench.fetch(f"{url};tag=v1", content.digest)
    assert not outcome.warnings
    assert not outcome.fired("MissingChecksumEvent")
    assert bench.only_file().name == f"docker_sha256-{content.hex}_linux-amd64.tar"


def test_digest_parameter(bench, pushed):
    url, content = pushed
    outcome = bench.fetch(f"{url};tag=v1;digest={content.digest}")
    assert not outcome.warnings
    assert bench.only_file().name == f"docker_sha256-{content.hex}_linux-amd64.tar"


def test_digest_in_the_reference(bench, pushed):
    url, content = pushed
    bench.fetch(f"{url}@{content.digest}")
    assert content.hex in bench.only_file().name


@pytest.mark.one_library
def test_both_forms_alike(bench, pushed):
    url, content = pushed
    bench.fetch(f"{url};tag=v1;digest={content.digest}", content.digest)
    bench.only_file()


def test_both_forms_different(bench, pushed):
    url, content = pushed
    other = images.sha256(b"other")
    outcome = bench.refuse(
        f"{url};tag=v1;digest={content.digest}",
        content.digest,
        other.partition(":")[2],
        "SRC_URI[sha256sum]",
        pin=other,
    )
    assert outcome.error_type == "ParameterError"
    assert not bench.files()


def test_flag_of_a_named_entry(bench, pushed):
    url, content = pushed
    job = bench.job(f"{url};tag=v1;name=app")
    job.flags = {"SRC_URI": {"app.sha256sum": content.hex, "other.sha256sum": "0" * 64}}
    outcome = bench.runner.run(job, bench.directory / "named")
    assert outcome.error is None, outcome.text
    assert content.hex in bench.only_file().name


@pytest.mark.one_library
def test_pin_of_the_manifest(bench, pushed):
    url, content = pushed
    digest = content.manifest("linux/amd64").digest
    bench.fetch(f"{url};tag=v1", digest)
    found = documents(bench.only_file())
    assert digest in found
    assert content.digest not in found


def test_pin_of_the_index_keeps_it_byte_for_byte(bench, pushed):
    url, content = pushed
    bench.fetch(f"{url};tag=v1", content.digest)
    wanted = content.manifest("linux/amd64")
    found = documents(bench.only_file())
    assert found == {
        content.digest: content.data,
        **{digest: blob.data for digest, blob in wanted.blobs().items()},
    }


FORMATS = [("oci", "gzip"), ("oci", "zstd"), ("oci", "none"), ("docker", "gzip"), ("docker", "none")]


@pytest.mark.one_library
@pytest.mark.parametrize("kind", ["manifest", "index"])
@pytest.mark.parametrize(("form", "compression"), FORMATS)
def test_formats(bench, server, image, form, compression, kind):
    content = image("formats", form=form, compression=compression, layers=3)
    if kind == "index":
        content = images.index([image("formats-arm", "linux/arm64/v8", form, compression), content], form)
    server.push(content, f"formats/{form}-{compression}", kind)
    bench.fetch(f"docker://{server.address}/formats/{form}-{compression};tag={kind}", content.digest)
    found = documents(bench.only_file())
    expected = content if kind == "manifest" else content.manifest("linux/amd64")
    assert set(found) == set(expected.blobs()) | {content.digest}
    assert all(images.sha256(data) == digest for digest, data in found.items())
    with tarfile.open(bench.only_file()) as tar:
        assert tar.getnames()[:2] == ["oci-layout", "index.json"]


@pytest.mark.one_library
def test_schema2_with_zstd(bench, server, image):
    content = image("schema2-zstd", form="docker", compression="zstd")
    server.push(content, "formats/schema2-zstd", "v1")
    outcome = bench.run(f"docker://{server.address}/formats/schema2-zstd;tag=v1", pin=content.digest)
    if outcome.error is None:
        assert set(documents(bench.only_file())) == set(content.blobs())
    else:  # skopeo 1.9 does not know the media type
        assert "tar.zstd" in outcome.text


def test_tag_that_moved_the_pin_wins(bench, own_server, image):
    old, new = image("before"), image("after")
    own_server.push(old, "moved/app", "v1")
    own_server.push(new, "moved/app", "v1")
    assert own_server.tag_digest("moved/app", "v1") == new.digest
    bench.fetch(f"docker://{own_server.address}/moved/app;tag=v1", old.digest)
    found = documents(bench.only_file())
    assert old.digest in found
    assert new.digest not in found


@pytest.mark.one_library
def test_pin_counts_after_the_fetch(bench, server, image):
    """Who writes DL_DIR, too, may change a file there between do_fetch and do_unpack."""
    good, other = image("fetched"), image("put in its place")
    for content in (good, other):
        server.push(content, "swapped/app", "v1")
    url = f"docker://{server.address}/swapped/app;tag=v1"
    bench.fetch(url, good.digest)
    second = bench.second()
    second.fetch(url, other.digest)
    shutil.copy(second.only_file(), bench.only_file())
    outcome = bench.run(url, ("unpack", str(bench.directory / "out")), pin=good.digest)
    assert outcome.error_type == "UnpackError" and f"the image has {other.digest}, expected {good.digest}" in outcome.text
    assert not list((bench.directory / "out").rglob("*.tar"))


@pytest.mark.one_library
def test_pinned_asks_for_no_tag(bench, own_server, image):
    content = image("notag")
    own_server.push(content, "notag/app", "v1")
    with own_server.recording() as requests:
        bench.fetch(f"docker://{own_server.address}/notag/app;tag=v1", content.digest)
    assert "v1" not in requests.manifests()


# -------------------------------------------------------------------------------------------- without a pin


def test_unpinned_warns_once_with_the_line_to_paste(bench, pushed):
    url, content = pushed
    outcome = bench.fetch(f"{url};tag=v1;name=app")
    (warning,) = outcome.warnings
    assert f'SRC_URI[app.sha256sum] = "{content.hex}"' in warning
    assert "pins/app:v1" in warning


def test_unpinned_fires_missing_checksum_event(bench, pushed):
    url, content = pushed
    for number in (1, 2):  # also when the file is in DL_DIR already: devtool upgrade pins by it
        outcome = bench.fetch(f"{url};tag=v1")
        (event,) = outcome.fired("MissingChecksumEvent")
        assert event["checksums"]["sha256sum"] == content.hex, number


def test_ignore(bench, pushed):
    url, content = pushed
    outcome = bench.fetch(f"{url};tag=v1", DOCKIN_PIN="ignore")
    assert not outcome.warnings
    assert [event["checksums"]["sha256sum"] for event in outcome.fired("MissingChecksumEvent")] == [
        content.hex
    ]


def test_require(bench, pushed):
    url, content = pushed
    bench.refuse(f"{url};tag=v1", f'SRC_URI[sha256sum] = "{content.hex}"', DOCKIN_PIN="require")


@pytest.mark.one_library
def test_require_is_content_with_a_pin(bench, pushed):
    url, content = pushed
    bench.fetch(f"{url};tag=v1", content.digest, DOCKIN_PIN="require")


@pytest.mark.one_library
def test_unknown_choice(bench, pushed):
    bench.refuse(f"{pushed[0]};tag=v1", "DOCKIN_PIN", "'sometimes'", "'require'", DOCKIN_PIN="sometimes")


def test_strict_checksum_does_not_forbid_the_short_recipe(bench, pushed):
    bench.fetch(f"{pushed[0]};tag=v1", BB_STRICT_CHECKSUM="1")


def test_default_tag(bench, server, image):
    content = image("default-tag")
    server.push(content, "defaults/app", "latest")
    outcome = bench.fetch(f"docker://{server.address}/defaults/app")
    assert content.hex in outcome.warnings[0]


@pytest.mark.one_library
def test_unpinned_file_carries_the_reference(bench, server, image):
    for tag in ("v1", "v2"):
        server.push(image(f"name-{tag}"), "names/app", tag)
        bench.fetch(f"docker://{server.address}/names/app;tag={tag}")
    assert len(bench.files()) == 2


def test_two_images_in_one_recipe(bench, server, image):
    one, two = image("one-of-two"), image("two-of-two")
    server.push(one, "both/one", "v1")
    server.push(two, "both/two", "v1")
    job = bench.job(
        f"docker://{server.address}/both/one;tag=v1;name=one "
        f"docker://{server.address}/both/two;tag=v1;name=two"
    )
    job.flags = {"SRC_URI": {"one.sha256sum": one.hex, "two.sha256sum": two.hex}}
    outcome = bench.runner.run(job, bench.directory / "two")
    assert outcome.error is None, outcome.text
    assert len(bench.files()) == 2
