# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is downloaded, what is not, and that DL_DIR gets the same bytes whatever the source."""

import shutil

import pytest

from support import images, registry
from support.imagefiles import documents, sha256_file


@pytest.fixture
def releases(own_server):
    """Two tags of one image that share all layers but one: (server, first, second)."""
    shared = [images.filler_layer(f"shared-{number}", 60_000) for number in range(4)]
    first, second = (images.image([*shared, images.filler_layer(name, 20_000)]) for name in ("one", "two"))
    for tag, content in (("v1", first), ("v2", second)):
        own_server.push(images.index([content], attestations=True), "reuse/app", tag)
    return own_server, images.index([first], attestations=True), images.index([second], attestations=True)


def test_second_tag_downloads_only_the_new_layer(bench, releases):
    server, first, second = releases
    url = f"docker://{server.address}/reuse/app"
    bench.fetch(f"{url};tag=v1", first.digest)
    with server.recording() as requests:
        bench.fetch(f"{url};tag=v2", second.digest)
    new = second.manifest("linux/amd64")
    assert set(requests.blobs()) == {new.layers[-1].digest, new.config.digest}
    assert set(requests.manifests()) == {second.digest, new.digest}
    limit = new.layers[-1].size + new.config.size + second.size + new.size
    assert requests.total_bytes() <= limit + (64 << 10)


@pytest.mark.one_library
def test_another_image_on_the_same_base(bench, releases):
    server, first, _ = releases
    base = first.manifest("linux/amd64")
    shared = [images.filler_layer(f"shared-{number}", 60_000) for number in range(4)]
    other = images.image([*shared, images.filler_layer("other", 10_000)], labels={"a": "b"})
    server.push(other, "another/name", "v1")
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    with server.recording() as requests:
        bench.fetch(f"docker://{server.address}/another/name;tag=v1", other.digest)
    assert not set(requests.blobs()) & {layer.digest for layer in base.layers[:4]}


@pytest.mark.one_library
def test_same_layers_downloads_no_layer(bench, releases):
    server, first, _ = releases
    shared = first.manifest("linux/amd64")
    relabelled = images.manifest(
        images.Blob(shared.config.media_type, shared.config.data + b"\n"), shared.layers, "linux/amd64"
    )
    server.push(relabelled, "reuse/app", "v3")
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    with server.recording() as requests:
        bench.fetch(f"docker://{server.address}/reuse/app;tag=v3", relabelled.digest)
    assert set(requests.blobs()) <= {relabelled.config.digest}


def test_present_asks_for_nothing(bench, releases):
    server, first, _ = releases
    url = f"docker://{server.address}/reuse/app;tag=v1"
    bench.fetch(url, first.digest)
    with server.recording() as requests:
        bench.fetch(url, first.digest)
    assert not requests


def test_same_image_in_another_registry_asks_for_nothing(bench, releases):
    """The file carries the digest, not the host."""
    server, first, _ = releases
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    with server.recording() as requests:
        bench.fetch("docker://registry.invalid/somewhere/else;tag=v7", first.digest)
    assert not requests
    bench.only_file()


def test_unpinned_and_present_asks_for_nothing(bench, releases):
    server, *_ = releases
    url = f"docker://{server.address}/reuse/app;tag=v1"
    bench.fetch(url)
    with server.recording() as requests:
        bench.fetch(url)
    assert not requests


@pytest.mark.one_library
def test_damaged_file_is_no_source_of_blobs(bench, releases):
    """A blob in another file is hashed before it is used; the rest is downloaded."""
    server, first, second = releases
    url = f"docker://{server.address}/reuse/app"
    bench.fetch(f"{url};tag=v1", first.digest)
    layer = first.manifest("linux/amd64").layers[1]
    file = bench.only_file()
    data = file.read_bytes()
    assert data.count(layer.data) == 1
    file.write_bytes(data.replace(layer.data, registry.flipped(layer.data)))
    with server.recording() as requests:
        bench.fetch(f"{url};tag=v2", second.digest)
    new = second.manifest("linux/amd64")
    assert set(requests.blobs()) == {new.layers[-1].digest, new.config.digest, layer.digest}
    found = documents(max(bench.files(), key=lambda path: second.hex in path.name))
    assert set(found) == {second.digest, *new.blobs()}


@pytest.mark.one_library
def test_damaged_file_hides_no_good_one(bench, releases):
    """Two files have the wanted blobs by name; in the one that comes first they are damaged, documents and layers."""
    server, first, _ = releases
    url = f"docker://{server.address}/reuse/app"
    bench.fetch(f"{url};tag=v1", first.digest)
    good = bench.only_file()
    image = first.manifest("linux/amd64")
    data = good.read_bytes()
    for blob in (first, *image.blobs().values()):
        data = data.replace(blob.data, registry.flipped(blob.data))
    (bench.dl_dir / "docker_aaa_linux-amd64.tar").write_bytes(data)
    good.rename(bench.dl_dir / "docker_zzz_linux-amd64.tar")
    with server.recording() as requests:
        bench.fetch(f"{url};tag=v1", first.digest)
    assert not requests
    assert set(documents(good)) == {first.digest, *image.blobs()}


@pytest.mark.one_library
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "directory"])
def test_rubbish_in_dl_dir_does_no_harm(bench, releases, damage):
    server, first, _ = releases
    rubbish = bench.dl_dir / f"docker_sha256-{'0' * 64}_linux-amd64.tar"
    if damage == "truncated":
        bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
        file = bench.only_file()
        rubbish.write_bytes(file.read_bytes()[:100_000])
        file.unlink()
    elif damage == "directory":
        rubbish.mkdir()
    else:
        rubbish.write_bytes({"empty": b"", "garbage": b"x" * 5000}[damage])
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    assert first.digest in documents(bench.dl_dir / f"docker_sha256-{first.hex}_linux-amd64.tar")


def test_same_bytes_whatever_the_source(bench, releases):
    """From the registry, put together from other files' blobs, by http from a DL_DIR, copied by hand."""
    server, first, second = releases
    url = f"docker://{server.address}/reuse/app;tag=v2"
    bench.fetch(url, second.digest)
    wanted = sha256_file(bench.only_file())

    assembled = bench.second()
    assembled.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    assembled.fetch(url, second.digest)
    (found,) = assembled.files(f"*{second.hex}*.tar")
    assert sha256_file(found) == wanted

    mirrored = bench.second()
    with registry.FileServer(bench.dl_dir) as mirror:
        mirrored.fetch(
            url, second.digest, PREMIRRORS=f"docker://.*/.* {mirror.url}/", BB_FETCH_PREMIRRORONLY="1"
        )
    assert sha256_file(mirrored.only_file()) == wanted

    copied = bench.second()
    shutil.copy(bench.only_file(), copied.dl_dir)
    copied.fetch(url, second.digest, BB_NO_NETWORK="1")
    assert sha256_file(copied.only_file()) == wanted


def test_dl_dir_copied_by_hand_serves_without_network(bench, releases):
    server, first, _ = releases
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    other = bench.second()
    shutil.copy(bench.only_file(), other.dl_dir)
    with server.recording() as requests:
        outcome = other.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest, BB_NO_NETWORK="1")
    assert not requests
    assert not outcome.warnings


@pytest.mark.one_library
def test_nothing_but_the_file_is_left(bench, releases):
    server, first, _ = releases
    bench.fetch(f"docker://{server.address}/reuse/app;tag=v1", first.digest)
    names = {path.name for path in bench.dl_dir.iterdir()}
    file = bench.only_file().name
    assert names <= {file, f"{file}.done", f"{file}.lock"}


@pytest.mark.one_library
def test_unpacked_archives_are_the_same_bytes(bench, releases):
    server, first, _ = releases
    url = f"docker://{server.address}/reuse/app;tag=v1"
    found = []
    for number in (1, 2):
        other = bench.second()
        folder = other.directory / "unpack"
        outcome = other.run(url, ("fetch",), ("unpack", str(folder)), pin=first.digest)
        assert outcome.error is None, outcome.text
        files = sorted((folder / "docker-images").iterdir())
        assert [path.suffix for path in files] == [".json", ".tar"], number
        found.append([sha256_file(path) for path in files])
    assert found[0] == found[1]
