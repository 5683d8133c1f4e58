# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""PREMIRRORS, MIRRORS and variables that forbid the network: as for https://, never with other content."""

import shutil
import tarfile

from pathlib import Path

import pytest

from support import bbrun, registry
from support.fetching import FIRST, Bench
from support.imagefiles import documents, sha256_file

NOWHERE = "docker://registry.invalid/some/app"


@pytest.fixture
def content(server, image):
    made = image("mirrored", layers=3)
    server.push(made, "mirrored/app", "v1")
    return made


@pytest.fixture
def url(server):
    return f"docker://{server.address}/mirrored/app;tag=v1"


@pytest.fixture(scope="session")
def fetched(server, tmp_path_factory):
    """Return the image tarball of an image in the registry, as a fetch leaves it."""
    found = {}

    def tarball(repository, content):
        if content.digest not in found:
            folder = tmp_path_factory.mktemp("fetched")
            with bbrun.Runner(FIRST) as first:
                Bench(first, folder).fetch(f"docker://{server.address}/{repository};tag=v1", content.digest)
            (found[content.digest],) = (folder / "downloads").glob("*.tar")
        return found[content.digest]

    return tarball


@pytest.fixture
def good(bench, content, fetched):
    """The DL_DIR of somebody who has the image."""
    other = bench.second()
    shutil.copy(fetched("mirrored/app", content), other.dl_dir)
    return other


@pytest.fixture
def other_image(server, image, fetched):
    """An image tarball that is good, but of another image: (image, file)."""
    made = image("another-one")
    server.push(made, "mirrored/other", "v1")
    return made, fetched("mirrored/other", made)


@pytest.mark.parametrize("variable", ["PREMIRRORS", "MIRRORS"])
@pytest.mark.parametrize("kind", ["http", "file"])
def test_of_files(bench, good, content, variable, kind):
    with registry.FileServer(good.dl_dir) as mirror:
        target = f"{mirror.url}/" if kind == "http" else f"file://{good.dl_dir}/"
        bench.fetch(f"{NOWHERE};tag=v1", content.digest, **{variable: f"docker://.*/.* {target}"})
    assert sha256_file(bench.only_file()) == sha256_file(good.only_file())


@pytest.mark.parametrize("variable", ["PREMIRRORS", "MIRRORS"])
@pytest.mark.parametrize(
    "rule",
    [
        r"docker://registry.invalid/some/(.*) docker://{address}/mirrored/\1",
        pytest.param(
            r"docker://registry.invalid/(.*) docker://{address}/mirrored/app", marks=pytest.mark.one_library
        ),
        pytest.param(r"docker://.*/some/(.*) docker://{address}/mirrored/\1", marks=pytest.mark.one_library),
    ],
)
def test_of_a_registry(bench, server, content, variable, rule):
    bench.fetch(f"{NOWHERE};tag=v1", content.digest, **{variable: rule.format(address=server.address)})
    assert content.digest in documents(bench.only_file())


def test_rule_for_docker_hub_sees_the_short_form(bench, server, image):
    made = image("short")
    server.push(made, "cache/library/short", "v1")
    bench.fetch(
        "docker://short;tag=v1",
        made.digest,
        PREMIRRORS=rf"docker://docker.io/(.*) docker://{server.address}/cache/\1",
        BB_FETCH_PREMIRRORONLY="1",
        BB_ALLOWED_NETWORKS="127.0.0.1",
    )
    assert made.digest in documents(bench.only_file())


def test_unpinned_through_a_registry(bench, server, content):
    outcome = bench.fetch(
        f"{NOWHERE};tag=v1",
        MIRRORS=rf"docker://registry.invalid/some/(.*) docker://{server.address}/mirrored/\1",
    )
    assert [event["checksums"]["sha256sum"] for event in outcome.fired("MissingChecksumEvent")][
        -1
    ] == content.hex


def test_premirror_spares_the_registry(bench, own_server, good, content):
    own_server.push(content, "mirrored/app", "v1")
    with own_server.recording() as requests:
        bench.fetch(
            f"docker://{own_server.address}/mirrored/app;tag=v1",
            content.digest,
            PREMIRRORS=f"docker://.*/.* file://{good.dl_dir}/",
        )
    assert not requests


# ---------------------------------------------------------------------------------------- no network wanted


def test_no_network(bench, own_server, content):
    own_server.push(content, "mirrored/app", "v1")
    with own_server.recording() as requests:
        outcome = bench.run(
            f"docker://{own_server.address}/mirrored/app;tag=v1", pin=content.digest, BB_NO_NETWORK="1"
        )
    assert outcome.error_type == "NetworkAccess", outcome.text
    assert not requests


def test_no_network_but_a_file_mirror(bench, good, content):
    bench.fetch(
        f"{NOWHERE};tag=v1",
        content.digest,
        BB_NO_NETWORK="1",
        PREMIRRORS=f"docker://.*/.* file://{good.dl_dir}/",
    )
    bench.only_file()


def test_premirror_only(bench, own_server, content):
    own_server.push(content, "mirrored/app", "v1")
    with own_server.recording() as requests:
        outcome = bench.run(
            f"docker://{own_server.address}/mirrored/app;tag=v1",
            pin=content.digest,
            BB_FETCH_PREMIRRORONLY="1",
            PREMIRRORS=f"docker://.*/.* file://{bench.home}/",
        )
    assert outcome.error_type == "NetworkAccess", outcome.text
    assert not requests


def test_allowed_networks(bench, server, url, content):
    bench.fetch(url, content.digest, BB_ALLOWED_NETWORKS=f"*.example.com {server.host}")


@pytest.mark.parametrize(
    ("name", "host"),
    [("docker://busybox;tag=1", "docker.io"), ("docker://ghcr.io/org/app;tag=v1", "ghcr.io")],
)
def test_network_that_is_not_allowed(bench, name, host):
    outcome = bench.run(name, BB_ALLOWED_NETWORKS="*.example.com 127.0.0.1")
    assert outcome.error is not None
    assert f"{host}/" in outcome.text
    assert "not trusted" in outcome.text
    assert "skopeo" not in outcome.text


# -------------------------------------------------------------------------------------------- wrong content


def spoil(file, how, other):
    """Damage an image tarball in a mirror; return the digest that the message must name, if there is one."""
    made, other_file = other
    data = file.read_bytes()
    if how == "other image":
        file.write_bytes(other_file.read_bytes())
        return made.digest
    if how == "bit in a layer":
        found = documents(file)
        layer = max(found.values(), key=lambda blob: data.index(blob))
        turned = registry.flipped(layer)
        file.write_bytes(data.replace(layer, turned))
        return registry.images.sha256(turned)
    if how == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif how == "html":
        file.write_bytes(b"<html><body>404 but with status 200</body></html>\n")
    elif how == "empty":
        file.write_bytes(b"")
    return None


SPOILT = [
    "other image",
    *(
        pytest.param(how, marks=pytest.mark.one_library)
        for how in ("bit in a layer", "truncated", "html", "empty")
    ),
]


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("kind", ["http", "file"])
def test_wrong_premirror_is_refused_and_the_registry_asked(bench, good, other_image, url, content, how, kind):
    wanted = sha256_file(good.only_file())
    actual = spoil(good.only_file(), how, other_image)
    with registry.FileServer(good.dl_dir) as mirror:
        target = f"{mirror.url}/" if kind == "http" else f"file://{good.dl_dir}/"
        outcome = bench.fetch(url, content.digest, PREMIRRORS=f"docker://.*/.* {target}")
    assert sha256_file(bench.only_file()) == wanted
    if actual:
        expected = content.digest if how == "other image" else "expected sha256:"
        assert actual in outcome.text
        assert expected in outcome.text
    # BitBake's wget takes an empty answer for none.
    assert bench.files("*bad-checksum*") or (kind, how) == ("http", "empty")
    for file in good.files():
        assert not file.is_symlink(), "the mirror's own files stay where they are"


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    """Return a tar header that its sum calls good."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info.tobuf(tarfile.GNU_FORMAT)


_BLOB = "blobs/sha256/" + "0" * 64
HOSTILE = {
    "path traversal": member("../../../escaped"),
    "absolute path": member("/escaped"),
    "traversal below blobs": member("blobs/sha256/../../escaped"),
    "symlink": member(_BLOB, tarfile.SYMTYPE, "/etc/passwd"),
    "symlink to a directory": member("blobs", tarfile.SYMTYPE, "/"),
    "hard link": member(_BLOB, tarfile.LNKTYPE, "/etc/passwd"),
    "device": member(_BLOB, tarfile.CHRTYPE),
    "fifo": member(_BLOB, tarfile.FIFOTYPE),
    "exabytes": member(_BLOB, size=1 << 62),
    "long name of a terabyte": member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 40),
    "pax header of a terabyte": member("x", tarfile.XHDTYPE, size=1 << 40),
    "sparse": member(_BLOB, tarfile.GNUTYPE_SPARSE, size=1 << 40),
}


@pytest.mark.one_library
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tarball_of_a_mirror(bench, good, url, content, kind):
    """Refused before anything of it is read into memory or written by its name; the registry has the image."""
    file = good.only_file()
    wanted = sha256_file(file)
    data = (HOSTILE[kind] + file.read_bytes()).rstrip(b"\0")
    data += bytes(-len(data) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
    file.write_bytes(data + bytes(-len(data) % tarfile.RECORDSIZE))
    with registry.FileServer(good.dl_dir) as mirror:
        outcome = bench.fetch(url, content.digest, PREMIRRORS=f"docker://.*/.* {mirror.url}/")
    assert "image tarball" in outcome.text and "mirrored/app" in outcome.text
    assert sha256_file(bench.only_file()) == wanted
    [refused] = bench.files("*bad-checksum*")
    assert refused.stat().st_size < 1 << 20
    assert not list(bench.directory.rglob("*escaped*")) and not Path("/escaped").exists()


@pytest.mark.parametrize("how", SPOILT)
def test_wrong_mirror_is_an_error_and_the_next_fetch_repairs(bench, good, other_image, url, content, how):
    actual = spoil(good.only_file(), how, other_image)
    with registry.FileServer(good.dl_dir) as mirror:
        outcome = bench.refuse(
            f"{NOWHERE};tag=v1", pin=content.digest, MIRRORS=f"docker://.*/.* {mirror.url}/"
        )
    if actual:
        assert actual in outcome.text
    assert not bench.files()
    assert not bench.files("*.done")
    bench.fetch(url, content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())


def test_wrong_first_mirror(bench, good, other_image, content):
    """A mirror that serves something else is told of, and the next one is asked."""
    bad = bench.second()
    target = bad.dl_dir / good.only_file().name
    target.write_bytes(other_image[1].read_bytes())
    with registry.FileServer(bad.dl_dir) as first, registry.FileServer(good.dl_dir) as second:
        wrong, right = f"docker://.*/.* {first.url}/", f"docker://.*/.* {second.url}/"
        bench.refuse(f"{NOWHERE};tag=v1", other_image[0].digest, content.digest, pin=content.digest, MIRRORS=wrong)
        assert not bench.files()
        outcome = bench.fetch(f"{NOWHERE};tag=v1", content.digest, MIRRORS=f"{wrong} {right}")
        assert other_image[0].digest in outcome.text
        assert bench.only_file().read_bytes() == good.only_file().read_bytes()


def test_mirror_registry_with_another_image_under_the_tag(bench, server, other_image, url, content):
    """The pin decides: the mirror's tag is not even asked for, and what it lacks comes from upstream."""
    rule = rf"docker://{server.address}/mirrored/app docker://{server.address}/mirrored/other"
    bench.fetch(url, content.digest, PREMIRRORS=rule)
    assert content.digest in documents(bench.only_file())


@pytest.mark.parametrize("how", SPOILT)
def test_wrong_file_in_dl_dir_is_set_aside_and_fetched_again(bench, good, other_image, url, content, how):
    bench.fetch(url, content.digest)
    actual = spoil(bench.only_file(), how, other_image)
    outcome = bench.fetch(url, content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())
    (aside,) = bench.files("*bad-checksum*")
    assert actual is None or actual.partition(":")[2] in aside.name
    assert "bad-checksum" in outcome.text


def test_wrong_file_in_dl_dir_without_network(bench, good, other_image, url, content):
    bench.fetch(url, content.digest)
    actual = spoil(bench.only_file(), "other image", other_image)
    bench.refuse(url, actual, content.digest, pin=content.digest, BB_NO_NETWORK="1")
    assert not bench.files()


@pytest.mark.one_library
def test_digest_bump_below_the_same_url(bench, server, image, url, content):
    """A new pin never takes the file of the old one."""
    bench.fetch(url, content.digest)
    new = image("mirrored-new")
    server.push(new, "mirrored/app", "v2")
    bench.fetch(url, new.digest)
    assert len(bench.files()) == 2
    (found,) = bench.files(f"*{new.hex}*.tar")
    assert new.digest in documents(found)


def test_corrupt_registry_and_a_good_mirror(bench, own_server, good, content):
    own_server.push(content, "mirrored/app", "v1")
    own_server.corrupt(content.layers[1].digest)
    outcome = bench.fetch(
        f"docker://{own_server.address}/mirrored/app;tag=v1",
        content.digest,
        MIRRORS=f"docker://.*/.* file://{good.dl_dir}/",
    )
    assert sha256_file(bench.only_file()) == sha256_file(good.only_file())
    assert content.layers[1].digest in outcome.text


@pytest.mark.one_library
def test_mirror_that_has_nothing_is_passed_over_in_silence(bench, server, url, content):
    with registry.FileServer(bench.home) as empty:
        rules = [
            rf"docker://{server.address}/(.*) docker://{server.address}/none/\1",
            f"docker://.*/.* {empty.url}/",
            f"docker://.*/.* file://{bench.home}/",
        ]
        outcome = bench.fetch(url, content.digest, PREMIRRORS=" ".join(rules))
    assert not outcome.warnings
    assert not outcome.messages("ERROR")
    assert content.digest in documents(bench.only_file())


@pytest.mark.one_library
def test_what_an_interrupted_fetch_left_goes_when_a_mirror_helps(bench, good, content):
    left = bench.partial(content)
    (left / "sha256").mkdir(parents=True)
    (left / "sha256" / content.layers[0].hex).write_bytes(content.layers[0].data)
    bench.fetch(f"{NOWHERE};tag=v1", content.digest, PREMIRRORS=f"docker://.*/.* file://{good.dl_dir}/")
    assert not left.exists()
