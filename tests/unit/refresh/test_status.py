# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The status of images: the table, the JSON, what registries say, exit codes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os

import pytest

from dockin import exitcodes
from dockin.errors import DockinError
from dockin.image import manifests, platforms, reference
from dockin.refresh import findings as refresh_findings, status
from dockin.refresh.findings import Documents, Finding
from dockin.registry import client
from dockin.registry.resolver import ResolveError
from dockin.target import imageinfo

PIN, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
TODAY = datetime.date(2026, 11, 23)
PACKAGED = imageinfo.ImageInformation(
    "docker.io/library/busybox:1.36.1", "busybox:1.36.1", "linux/amd64", "docker", "busybox-1.36.1.tar.xz", 881500, 2201600,
    2190000, PIN, PIN, PIN)


def one(text=f"busybox:1.36.1@{PIN}", **changes):
    values = {"recipe": "busybox-docker", "layer": "meta-mine", "file": "/x.bb", "reference": reference.parse(text),
              "platform": platforms.parse("linux/amd64"), **changes}
    return status.Status(**values)


BUILT = one(packaged=PACKAGED, directory="/usr/share/dockin/archive", fetched=True, preload="enabled", flush=True,
            installed=("core-image-minimal", "my-image"), download="x.tar")


def test_table():
    other = one("ghcr.io/org/app:v1", recipe="app-docker", fetched=False, notes=("not built for qemuarm",))
    text = status.table([BUILT, other], TODAY)
    assert text == """\
RECIPE          LAYER      IMAGE            TAG     PIN      PLATFORM     FETCHED  \
ARCHIVE                                              SIZE  UNPACKED     PEAK  PRELOAD  FLUSH  INSTALLED IN
busybox-docker  meta-mine  busybox          1.36.1  aaaaaaa  linux/amd64  yes      \
/usr/share/dockin/archive/busybox-1.36.1.tar.xz  881.5 kB    2.2 MB  13.9 MB  enabled  yes    core-image-minimal, my-image
app-docker      meta-mine  ghcr.io/org/app  v1      -        linux/amd64  no       \
-                                                       -         -        -  -        -      -

app-docker (ghcr.io/org/app:v1): not built for qemuarm
"""


def test_needs():
    sizes = {"archive_size": 50 << 20, "unpacked_size": 90 << 20, "layers_size": 90 << 20}
    large = dataclasses.replace(PACKAGED, name="large:1", **sizes)
    two = dataclasses.replace(BUILT, packaged=large)
    kept = dataclasses.replace(BUILT, recipe="kept", flush=False)
    arm = dataclasses.replace(BUILT, multiconfig="arm")
    found = {(need["multiconfig"], need["recipe"]): need for need in status.needs([BUILT, two, kept, arm, one()])}
    assert set(found) == {("", ""), ("", "busybox-docker"), ("", "kept"), ("arm", ""), ("arm", "busybox-docker")}
    both = found["", "busybox-docker"]
    assert both["order"] == ["large:1", "busybox:1.36.1"]
    assert both["archive_size"] == (50 << 20) + 881500
    assert both["peak_size"] == both["archive_size"] + (180 << 20) + (180 << 20) // 16 + (8 << 20)
    assert both["final_size"] == (90 << 20) + 2190000
    assert found["", "kept"]["final_size"] == 881500 + 2190000
    assert found["", ""]["final_size"] == both["final_size"] + found["", "kept"]["final_size"]
    assert json.loads(status.to_json([BUILT, two]))["needs"] == status.needs([BUILT, two])
    # In Docker's containerd store blobs stay beside the layers, of which both sizes are the same here.
    more = [dataclasses.replace(each, store="containerd") for each in (BUILT, two)]
    both = status.needs(more)[1]
    assert (both["recipe"], both["final_size"]) == ("busybox-docker", (180 << 20) + 2190000 + 2201600)
    assert " 193.1 MB once all are loaded" in status.table(more, TODAY)
    assert [image["store"] for image in json.loads(status.to_json([more[0], BUILT]))["images"]] == ["containerd", None]
    # In words, only where it is more than the lines above it.
    assert "images:" not in status.table([BUILT, arm], TODAY)
    assert status.table([BUILT, two], TODAY).splitlines()[-1] == (
        "busybox-docker, 2 images: 53.3 MB of archives, 96.6 MB unpacked, 262.2 MB at the peak of the loads,"
        " 96.6 MB once all are loaded")
    lines = status.table([BUILT, two, kept], TODAY).splitlines()
    assert lines[-2].startswith("all of these, 3 images: ") and lines[-1].startswith("busybox-docker, 2 images: ")


def test_table_of_nothing():
    assert status.table([], TODAY) == "No recipe with an image.\n"


def test_table_with_the_registry():
    remote = Finding(refresh_findings.STALE, Documents(PIN), Documents(OTHER), pin_exists=True)
    moved = dataclasses.replace(BUILT, remote=remote, created="2026-11-13T10:00:00Z")
    head, line = status.table([moved], TODAY).splitlines()
    assert head.endswith("REGISTRY           AGE") and line.endswith("moved to bbbbbbb  10 d")
    assert json.loads(status.to_json([moved]))["images"][0]["remote"] == {
        "state": "stale", "digest": OTHER, "pin_exists": True, "created": "2026-11-13T10:00:00Z", "message": None}
    gone = dataclasses.replace(BUILT, remote=dataclasses.replace(remote, pin_exists=False))
    assert "moved to bbbbbbb, the pin is gone" in status.table([gone], TODAY)


@pytest.mark.parametrize("created, days", [
    ("2026-11-23T23:59:59Z", 0), ("2026-11-13", 10), ("1970-01-01T00:00:00Z", None), ("", None), ("soon", None)])
def test_age(created, days):
    assert status.age(created, TODAY) == days


def test_json_is_the_same_for_the_same():
    text = status.to_json([BUILT], machine="qemuarm", notes=[])
    assert text == status.to_json([BUILT], notes=[], machine="qemuarm")
    document = json.loads(text)
    assert (document["schema"], document["mode"], document["machine"]) == (1, "status", "qemuarm")
    [image] = document["images"]
    assert (image["image"], image["pin"], image["platform"]) == ("busybox:1.36.1", PIN, "linux/amd64")
    assert image["packaged"]["unpacked_size"] == 2201600
    assert image["remote"] is None


def test_stale_notes():
    assert status.stale_notes(BUILT) == []
    assert status.stale_notes(one()) == []
    newer = dataclasses.replace(BUILT, reference=reference.parse(f"busybox:1.36.1@{OTHER}"))
    assert status.stale_notes(newer) == ["built with aaaaaaa, the recipe now wants bbbbbbb: build it again"]
    arm = dataclasses.replace(BUILT, platform=platforms.parse("linux/arm64"))
    assert status.stale_notes(arm) == ["built for linux/amd64, the recipe now wants linux/arm64/v8: build it again"]


def test_installed_in(tmp_path):
    for number, (name, packages) in enumerate({
        "my-image-qemux86-64.rootfs-20261122101010.manifest": "old-docker",
        "my-image-qemux86-64.rootfs-20261123101010.manifest": "busybox-docker",
        "core-image-minimal-qemux86-64.manifest": "base-files",
        "tiny-qemux86-64-20261123101010.rootfs.manifest": "tiny-docker",
        # From before its IMAGE_VERSION_SUFFIX was set: the newest build is not the last one by name.
        "dev-qemux86-64.rootfs.manifest": "old-docker",
        "dev-qemux86-64.rootfs-20261123101010.manifest": "busybox-docker",
    }.items()):
        path = tmp_path / name
        path.write_text(f"{packages} x86_64 1.0\nlibc6 x86_64 2.39\n")
        os.utime(path, (number, number))
    found = {"my-image": {"busybox-docker", "libc6"}, "core-image-minimal": {"base-files", "libc6"},
             "tiny": {"tiny-docker", "libc6"}, "dev": {"busybox-docker", "libc6"}}
    assert status.installed_in(tmp_path, "qemux86-64") == (found, [])
    assert status.installed_in(tmp_path / "none", "qemux86-64") == ({}, [])
    # What it is a link to was removed.
    (tmp_path / "gone-qemux86-64.manifest").symlink_to("gone-qemux86-64-20261122101010.manifest")
    packages, [note] = status.installed_in(tmp_path, "qemux86-64")
    assert packages == found and "gone-qemux86-64.manifest: No such file" in note


def test_data_roots_in(tmp_path):
    written = {"images": [{"reference": "docker.io/library/busybox:1.36.1", "image_id": PIN}]}
    for number, stem in enumerate(["old-qemux86-64.rootfs-20261122101010", "old-qemux86-64.rootfs-20261123101010",
                                   "my-image-qemux86-64.rootfs"]):
        path = tmp_path / f"{stem}.manifest"
        path.write_text("busybox-docker x86_64 1.0\n")
        os.utime(path, (number, number))
        if number != 1:
            (tmp_path / f"{stem}.dockin.json").write_text(json.dumps(written))
    # Of "old" the latest build has none any more.
    assert status.data_roots_in(tmp_path, "qemux86-64") == {"my-image": {"docker.io/library/busybox:1.36.1"}}
    (tmp_path / "my-image-qemux86-64.rootfs.dockin.json").write_text("{}")
    with pytest.raises(DockinError, match=r"Damaged .*my-image-qemux86-64.rootfs.dockin.json.*build my-image again"):
        status.data_roots_in(tmp_path, "qemux86-64")


def test_images_with_a_data_root_are_marked():
    marked = dataclasses.replace(BUILT, data_roots=("my-image",))
    assert status.table([marked], TODAY).splitlines()[1].endswith("  core-image-minimal, my-image (data-root)")
    [record] = json.loads(status.to_json([marked]))["images"]
    assert (record["installed"], record["data_roots"]) == (["core-image-minimal", "my-image"], ["my-image"])


class Registry:
    """What a Resolver answers, without a registry: an index of two platforms under each of two digests."""

    def __init__(self, tag, pin=None, age=None, same="386", made=""):
        self.tag, self.pin, self.age, self.same, self.made = tag, pin, age, same, made

    def kind(self, wanted):
        return "none"

    def digest_read(self, wanted):
        return self.digest(wanted)

    def document_kind(self, digest):
        return "index"

    def digest(self, wanted):
        answer = self.pin if wanted.digest else self.tag
        if isinstance(answer, Exception):
            raise answer
        return answer or wanted.digest

    def document(self, wanted):
        """The image of one platform is the same in both, that of the other has the index's digits."""
        entries = [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
             "digest": "sha256:" + "c" * 64 if name == self.same else wanted.digest[:-1] + "d",
             "platform": {"os": "linux", "architecture": name}}
            for name in ("amd64", "386")
        ]
        kind = "application/vnd.oci.image.index.v1+json"
        return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()

    def entry(self, wanted, index, platform):
        return index.select(platform, pytest.fail)

    def config(self, wanted, platform):
        return OTHER, OTHER, manifests.Config("linux", "amd64", "", (), {}, self.made)

    def image(self, wanted, platform):
        if self.age:
            raise self.age

        class Image:
            class config:  # noqa: N801
                created = "2026-01-01"
        return Image


def gone():
    return ResolveError("not-found", "manifest unknown\nremedy")


def down():
    return ResolveError("network", "no route\nremedy")


@pytest.mark.parametrize("text, answers, expected", [
    (f"a:1@{PIN}", Registry(PIN), ("current", PIN, True, "2026-01-01", None)),
    (f"a:1@{PIN}", Registry(OTHER), ("stale", OTHER, True, "2026-01-01", None)),
    (f"a:1@{PIN}", Registry(OTHER, same="amd64"), ("index-only", OTHER, True, "2026-01-01", None)),
    (f"a:1@{PIN}", Registry(OTHER, gone()), ("stale", OTHER, False, None, None)),
    (f"a:1@{PIN}", Registry(gone()), ("tag-gone", None, True, "2026-01-01", "manifest unknown")),
    (f"a:1@{PIN}", Registry(gone(), gone()), ("pin-lost", None, False, None, "manifest unknown")),
    (f"a:1@{PIN}", Registry(down()), ("error", None, None, None, "no route")),
    (f"a:1@{PIN}", Registry(PIN, age=down()), ("current", PIN, True, None, None)),
    ("a:1", Registry(PIN), ("unpinned", PIN, None, None, None)),
    ("a:1", Registry(gone()), ("error", None, None, None, "manifest unknown")),
])
def test_look_up(text, answers, expected):
    """Without the age, what is known of the tag is as good."""
    document = json.loads(status.to_json(status.look_up([one(text)], answers)))
    assert document["images"][0]["remote"] == dict(zip(("state", "digest", "pin_exists", "created", "message"), expected))
    unknown = ["the age of the pinned image is not known: no route"] if answers.age else []
    assert document["images"][0]["notes"] == unknown


@pytest.mark.parametrize("pin, expected", [(None, "held"), (gone(), "stale")], ids=["there", "gone"])
def test_a_young_image_is_taken_only_where_the_pinned_one_is_gone(pin, expected):
    """Without it, the recipe could not be built."""
    now = datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc)
    question = (reference.parse(f"a:1@{PIN}"), platforms.parse("linux/amd64"))
    rules = refresh_findings.Rules(min_age=86400)
    [found] = refresh_findings.compare([question], rules, Registry(OTHER, pin, made="2026-11-22T12:00:00Z"), now)
    assert (found.status, found.new.created) == (expected, "2026-11-22T12:00:00Z")


def findings(*names):
    """Return what was found out, "stale, no pin" for a stale one whose pin is gone."""
    return [Finding(name.partition(",")[0], Documents(PIN), pin_exists="," not in name) for name in names]


@pytest.mark.parametrize("names, check, code", [
    ([], True, exitcodes.FINE),
    (["current"], True, exitcodes.FINE),
    (["current", "index-only", "held", "unpinned"], True, exitcodes.FINE),
    (["current", "stale"], False, exitcodes.FINE),
    (["current", "stale"], True, exitcodes.STALE),
    (["stale, no pin"], False, exitcodes.FINE),
    (["stale, no pin", "current"], True, exitcodes.LOST),
    (["current", "error"], False, exitcodes.PARTIAL),
    (["current", "tag-gone"], True, exitcodes.PARTIAL),
    (["stale", "error"], True, exitcodes.PARTIAL),
    (["error", "error"], True, exitcodes.ERROR),
    (["pin-lost"], False, exitcodes.LOST),
    (["pin-lost", "error", "stale"], True, exitcodes.LOST),
])
def test_exit_code(names, check, code):
    assert refresh_findings.exit_code(findings(*names), check) == code


@pytest.mark.parametrize("size, text", [
    (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2201600, "2.2 MB"), (5 * 10**9, "5.0 GB")])
def test_human(size, text):
    assert status.human(size) == text


def test_errors_are_of_one_kind():
    assert client.ResolveError is ResolveError
