# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Registries that fail, fetches interrupted or at once: the right image or an error, soon, and no damage."""

import collections
import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from support import faults, fetching, images, registry
from support.imagefiles import documents


def address(server):
    return f"docker://{server.address}/faults/app;tag=v1"


@pytest.fixture
def content():
    """An image of four layers that each take a while."""
    return images.image([images.filler_layer(f"fault-{number}", 300_000) for number in range(4)])


def retried(outcome):
    return [message for _, message in outcome.log if "trying again" in message]


# -------------------------------------------------------------------------- what is not there, or not right


@pytest.mark.one_library
@pytest.mark.parametrize("missing", ["digest", "tag", "repository", "manifest", "layer", "config"])
def test_not_there(bench, own_server, content, missing):
    index = images.index([content])
    own_server.push(index, "faults/app", "v1")
    pin, repository, tag = index.digest, "app", "v1"
    if missing == "digest":
        pin = "sha256:" + "0" * 64
    elif missing == "tag":
        pin, tag = None, "v2"
    elif missing == "repository":
        repository = "other"
    else:
        blob = {"manifest": content, "layer": content.layers[2], "config": content.config}[missing]
        own_server.delete_blob(blob.digest)
    started = time.monotonic()
    outcome = bench.refuse(
        f"docker://{own_server.address}/faults/{repository};tag={tag}",
        f"faults/{repository}",
        "no such tag or digest",
        pin=pin,
        DOCKIN_FETCH_RETRIES="3",
    )
    assert not retried(outcome), "what is not there is not asked for again"
    assert time.monotonic() - started < 30
    assert not bench.files()


@pytest.mark.parametrize(
    "what",
    ["layer", *(pytest.param(one, marks=pytest.mark.one_library) for one in ("index", "manifest", "config"))],
)
@pytest.mark.parametrize("how", ["same length", pytest.param("truncated", marks=pytest.mark.one_library)])
def test_corrupt_in_the_registry(bench, own_server, content, what, how):
    """Refused with both digests named; the next fetch, from a repaired registry, is good."""
    index = images.index([content])
    own_server.push(index, "faults/app", "v1")
    blob = {"index": index, "manifest": content, "config": content.config, "layer": content.layers[1]}[what]
    bad = registry.flipped(blob.data) if how == "same length" else blob.data[:-9]
    own_server.corrupt(blob.digest, bad)
    outcome = bench.refuse(address(own_server), blob.digest, pin=index.digest)
    if how == "same length":
        # skopeo 1.22 hashes a manifest itself, and keeps the other digest to itself.
        refused = "does not match provided manifest digest" in outcome.text
        assert images.sha256(bad) in outcome.text or refused
    assert not bench.files()
    own_server.restore(blob)
    with own_server.recording() as requests:
        bench.fetch(address(own_server), index.digest)
    assert set(documents(bench.only_file())) == set(index.blobs())
    if what == "layer":
        assert set(requests.blobs()) <= {
            blob.digest,
            content.config.digest,
            *(layer.digest for layer in content.layers),
        }


@pytest.mark.one_library
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"[]",
        b"null",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 2, "manifests": [{}]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schemaVersion": 2, "manifests": [], "layers": []}',
    ],
    ids=["empty", "html", "list", "null", "schema1", "neither", "no descriptor", "no utf-8", "deep", "both"],
)
def test_unpinned_manifest_of_rubbish(bench, faulty, content, body):
    faulty.add(content, "faults/app", "v1")
    faulty.fail("/manifests/v1", faults.body(body))
    outcome = bench.refuse(address(faulty), "faults/app")
    assert outcome.error_type in ("FetchError", "ChecksumError")
    assert not bench.files()


@pytest.mark.one_library
@pytest.mark.parametrize("named", ["by pin", "by tag", "by an index"])
def test_schema_1(bench, faulty, content, named):
    """Its digest is that of what was signed, not of the bytes that a registry sends: the message names the cause."""
    old = images.schema_1("faults/app", "v1", [layer.digest for layer in content.layers])
    faulty.add(old, "faults/app", "v1")
    pin = {"by pin": old.digest, "by tag": None}.get(named)
    if named == "by an index":
        platform = {"os": "linux", "architecture": "amd64"}
        document = {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [old.descriptor(platform=platform)]}
        pin = faulty.add(images.Index(images.OCI_INDEX, images.to_json(document)), "faults/app", "v1")
    bench.refuse(address(faulty), "faults/app", "schema 1", "push the image again", pin=pin)
    assert not faulty.log.blobs()
    assert not bench.files("*.tar*")


@pytest.mark.one_library
def test_artifact_that_is_no_image(bench, server):
    chart = images.manifest(
        images.Blob("application/vnd.cncf.helm.config.v1+json", b"{}"),
        [images.Blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart")],
        "linux/amd64",
    )
    server.push(chart, "faults/chart", "v1")
    bench.refuse(f"docker://{server.address}/faults/chart;tag=v1", "Not an image", "helm", pin=chart.digest)


def changed(content, **keys):
    """Return an image with other keys in its manifest."""
    document = {**json.loads(content.data), **keys}
    return images.Manifest(content.media_type, images.to_json(document), content.config, content.layers)


@pytest.mark.one_library
def test_layer_that_is_there_twice(bench, server):
    """As `docker build` makes it of two commands that change nothing."""
    layer = images.layer({"etc/twice": "twice"})
    content = images.image([layer, images.layer({"etc/once": "once"}), layer], form="docker")
    server.push(content, "faults/twice", "v1")
    folder = bench.directory / "unpack"
    url = f"docker://{server.address}/faults/twice;tag=v1"
    outcome = bench.run(url, ("fetch",), ("unpack", str(folder)), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert set(documents(bench.only_file())) == set(content.blobs())


@pytest.mark.one_library
def test_image_without_layers(bench, faulty):
    content = images.image([])
    faulty.add(content, "faults/app", "v1")
    bench.fetch(address(faulty), content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())


@pytest.mark.one_library
@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.example.layer",
    ],
)
def test_layer_of_another_kind(bench, faulty, content, media_type):
    layer = {**content.layers[0].descriptor(), "urls": ["https://go.example.com/layer"], "mediaType": media_type}
    bad = changed(content, layers=[layer])
    faulty.add(bad, "faults/app", "v1")
    bench.refuse(address(faulty), media_type, content.layers[0].digest, pin=bad.digest)
    assert not faulty.log.blobs()


@pytest.mark.one_library
@pytest.mark.parametrize("what", ["index", "manifest", "manifest in an index"])
def test_unknown_media_type(bench, faulty, content, what):
    unknown = "application/vnd.example.thing.v9+json"
    if what == "index":
        index = images.index([content])
        data = images.to_json({**json.loads(index.data), "mediaType": unknown})
        bad = images.Index(unknown, data, index.children)
    else:
        bad = changed(content, mediaType=unknown)
        if what == "manifest in an index":
            bad = images.index([bad])
    faulty.add(bad, "faults/app", "v1")
    bench.refuse(address(faulty), "faults/app", unknown, pin=bad.digest)
    assert not faulty.log.blobs()


@pytest.mark.one_library
@pytest.mark.parametrize("size", [1, 10**6, 10**15, -1, "many"])
def test_layer_size_that_lies(bench, faulty, content, size):
    layers = [{**layer.descriptor(), "size": size} for layer in content.layers]
    bad = changed(content, layers=layers)
    faulty.add(bad, "faults/app", "v1")
    started = time.monotonic()
    bench.refuse(address(faulty), str(size), pin=bad.digest)
    assert time.monotonic() - started < 20
    assert not bench.files()


@pytest.mark.one_library
def test_more_layers_than_the_config_knows(bench, faulty, content):
    bad = changed(content, layers=[layer.descriptor() for layer in content.layers[:2]])
    faulty.add(bad, "faults/app", "v1")
    bench.refuse(address(faulty), "2 layers", "4", pin=bad.digest)


@pytest.mark.one_library
def test_index_of_indexes(bench, faulty, content):
    inner = images.index([content])
    about = {"os": "linux", "architecture": "amd64"}
    outer = {
        "schemaVersion": 2,
        "mediaType": images.OCI_INDEX,
        "manifests": [inner.descriptor(platform=about)],
    }
    data = images.to_json(outer)
    nested = images.Index(images.OCI_INDEX, data, inner.children)
    faulty.add(inner, "faults/app", "inner")
    faulty.add(nested, "faults/app", "v1")
    bench.refuse(address(faulty), "index", inner.digest, pin=nested.digest)


@pytest.mark.one_library
@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_special_file_in_dl_dir_does_not_block(bench, server, content, kind):
    server.push(content, "faults/app", "v1")
    path = bench.dl_dir / "docker_special_linux-amd64.tar"
    if kind == "fifo":
        os.mkfifo(path)
        bench.fetch(address(server), content.digest)
    else:
        with socket.socket(socket.AF_UNIX) as special:
            folder = os.open(bench.dl_dir, os.O_RDONLY)
            try:
                special.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path itself is too long for bind
            finally:
                os.close(folder)
            bench.fetch(address(server), content.digest)
    assert (bench.dl_dir / f"docker_sha256-{content.hex}_linux-amd64.tar").exists()


# ------------------------------------------------------------------------------------ servers that struggle


@pytest.mark.one_library
@pytest.mark.parametrize("code", [500, 502, 503, 504, 408])
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_a_passing_error_is_survived(bench, faulty, content, code, where):
    faulty.add(content, "faults/app", "v1")
    faulty.fail(where, faults.status(code), times=1)
    bench.fetch(address(faulty), content.digest, DOCKIN_FETCH_RETRIES="2")
    assert set(documents(bench.only_file())) == set(content.blobs())


@pytest.mark.one_library
@pytest.mark.parametrize(
    "fault", [faults.reset(), faults.cut(), faults.body(b"short")], ids=["reset", "cut", "other"]
)
def test_a_blob_that_breaks_off_is_survived(bench, faulty, content, fault):
    faulty.add(content, "faults/app", "v1")
    # skopeo 1.22 goes on by itself where a transfer broke, and finds that this server can't.
    faulty.fail(content.layers[3].digest, fault, times=1)
    outcome = bench.run(address(faulty), pin=content.digest, DOCKIN_FETCH_RETRIES="2")
    if outcome.error is None:
        assert set(documents(bench.only_file())) == set(content.blobs())
    else:  # wrong bytes are not tried again by the same call
        assert content.layers[3].digest in outcome.text
    faulty.heal()
    bench.fetch(address(faulty), content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())


@pytest.mark.one_library
@pytest.mark.parametrize("code", [500, 503])
def test_a_lasting_error_is_given_up_after_the_retries(bench, faulty, content, code):
    faulty.add(content, "faults/app", "v1")
    faulty.fail("/manifests/", faults.status(code))
    outcome = bench.refuse(
        address(faulty), str(code), "faults/app", pin=content.digest, DOCKIN_FETCH_RETRIES="1"
    )
    assert len(retried(outcome)) == 1
    assert len([request for request in faulty.log if request.is_manifest]) == 2


@pytest.mark.one_library
@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_not_tried_again(bench, faulty, content, code):
    faulty.add(content, "faults/app", "v1")
    faulty.fail("/manifests/", faults.status(code))
    outcome = bench.refuse(address(faulty), "faults/app", pin=content.digest, DOCKIN_FETCH_RETRIES="3")
    assert not retried(outcome)
    assert len([request for request in faulty.log if request.is_manifest]) <= 2


@pytest.mark.one_library
def test_too_many_requests_once(bench, faulty, content):
    faulty.add(content, "faults/app", "v1")
    faulty.fail("/manifests/", faults.error(429, "TOOMANYREQUESTS", "slow down"), times=1)
    faulty.fail("/blobs/", faults.status(429, {"Retry-After": "1"}), times=1)
    bench.fetch(address(faulty), content.digest)


@pytest.mark.one_library
@pytest.mark.parametrize("silent", ["at once", "in a manifest", "in a blob"])
def test_a_registry_that_falls_silent(bench, faulty, content, silent):
    faulty.add(content, "faults/app", "v1")
    if silent == "at once":
        faulty.fail("/v2/", faults.silence())
    elif silent == "in a manifest":
        faulty.fail("/manifests/", faults.stall())
    else:
        faulty.fail(content.layers[0].digest, faults.stall())
    started = time.monotonic()
    bench.refuse(
        address(faulty), faulty.address, "DOCKIN_FETCH_TIMEOUT", pin=content.digest, DOCKIN_FETCH_TIMEOUT="1"
    )
    assert time.monotonic() - started < 15
    assert not bench.files()


@pytest.mark.one_library
def test_a_server_that_accepts_and_says_nothing(bench):
    with faults.Silent() as silent:
        bench.refuse(
            f"docker://{silent.address}/faults/app;tag=v1",
            silent.address,
            pin="sha256:" + "0" * 64,
            DOCKIN_FETCH_TIMEOUT="1",
        )


@pytest.mark.one_library
def test_a_slow_registry_is_not_a_silent_one(bench, faulty, content):
    """The limit is on time without progress, not on the whole."""
    faulty.add(content, "faults/app", "v1")
    faulty.fail(content.layers[0].digest, faults.slow(2.4))
    bench.fetch(address(faulty), content.digest, DOCKIN_FETCH_TIMEOUT="1")


@pytest.mark.one_library
def test_nobody_listens(bench):
    closed = faults.closed_address()
    outcome = bench.refuse(
        f"docker://{closed}/faults/app;tag=v1",
        closed,
        "connection refused",
        pin="sha256:" + "0" * 64,
        DOCKIN_FETCH_RETRIES="1",
    )
    assert len(retried(outcome)) == 1


# ------------------------------------------------------------------------------ a disk that is full, locked


@pytest.mark.one_library
def test_dl_dir_is_a_file(bench, server, content):
    server.push(content, "faults/app", "v1")
    target = bench.directory / "occupied"
    target.write_text("")
    # BitBake wants to lock a file there before it asks any fetcher, and falls over its own clean-up.
    errors = {"UnboundLocalError", *fetching.ERRORS}
    bench.refuse(address(server), "occupied", pin=content.digest, errors=errors, DL_DIR=str(target / "downloads"))


@pytest.mark.one_library
def test_leftovers_of_another_kind(bench, server, content):
    """A partial directory with rubbish in it."""
    server.push(content, "faults/app", "v1")
    blobs = bench.partial(content) / "sha256"
    blobs.mkdir(parents=True)
    (blobs / content.layers[0].hex).write_bytes(registry.flipped(content.layers[0].data))
    (blobs / content.layers[1].hex).write_bytes(content.layers[1].data[:1000])
    (blobs / content.layers[2].hex).symlink_to("/nonexistent")
    (blobs / content.config.hex).write_bytes(b"{}")
    (blobs / content.hex).write_bytes(b"{}")
    bench.fetch(address(server), content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())


# --------------------------------------------------------------------------------- at once, and interrupted


def test_two_fetches_of_one_image_at_once(bench, faulty, content):
    faulty.add(content, "faults/app", "v1")
    faulty.fail(content.layers[0].digest, faults.slow(0.5))
    jobs = [bench.begin(address(faulty), pin=content.digest) for _ in range(3)]
    outcomes = [job.wait() for job in jobs]
    assert [outcome.error for outcome in outcomes] == [None] * 3, "\n".join(
        outcome.text for outcome in outcomes
    )
    assert set(documents(bench.only_file())) == set(content.blobs())
    for layer in content.layers:
        assert faulty.log.blobs().count(layer.digest) == 1, "downloaded once for all"


@pytest.mark.one_library
def test_builds_that_fetch_unpack_and_clean_one_image_at_once(bench, faulty, content, tmp_path):
    """-c cleanall of one build may take the file from another one between its tasks; nobody ever gets anything wrong."""
    faulty.add(content, "faults/app", "v1")
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    archives = set()
    for number in range(12):
        ways = {
            "fetch": [("fetch",)],
            "unpack": [("fetch",), ("unpack", str(tmp_path / f"a{number}"))],
            "again": [("fetch",), ("unpack", str(tmp_path / f"b{number}"))],
            "clean": [("clean",)],
        }
        jobs = {}
        for way in chance.sample(sorted(ways), 4):
            jobs[way] = bench.begin(address(faulty), *ways[way], pin=content.digest)
            time.sleep(chance.uniform(0, 0.1))
        if number % 3 == 0:
            jobs["fetch"].kill()
        for way, job in jobs.items():
            outcome = job.wait()
            if outcome is None:
                assert number % 3 == 0 and way == "fetch"
            elif outcome.error:
                assert outcome.error_type == "UnpackError", f"{outcome.text}, seed {seed}"
                assert "No such file" in outcome.error, f"{outcome.text}, seed {seed}"
            elif "unpack" in str(ways[way]):
                (archive,) = Path(ways[way][1][1]).rglob("*.tar")
                archives.add(archive.read_bytes())
    assert len(archives) == 1, f"seed {seed}"
    bench.fetch(address(faulty), content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())
    assert not bench.files("*.part*") and not bench.files("*bad-checksum*")


@pytest.mark.one_library
def test_two_images_on_one_base_at_once(bench, faulty):
    shared = [images.filler_layer(f"base-{number}", 200_000) for number in range(3)]
    both = [images.image([*shared, images.filler_layer(name, 50_000)]) for name in ("left", "right")]
    for number, one in enumerate(both):
        faulty.add(one, f"faults/app{number}", "v1")
    jobs = [
        bench.begin(f"docker://{faulty.address}/faults/app{number};tag=v1", pin=one.digest)
        for number, one in enumerate(both)
    ]
    assert [job.wait().error for job in jobs] == [None, None]
    for one in both:
        (file,) = bench.files(f"*{one.hex}*.tar")
        assert set(documents(file)) == set(one.blobs())


@pytest.mark.parametrize(
    ("number", "group"),
    [
        pytest.param(signal.SIGKILL, True, id="KILL all"),
        *(
            pytest.param(
                number, group, id=f"{number.name} {'all' if group else 'task'}", marks=pytest.mark.one_library
            )
            for number, group in (
                (signal.SIGKILL, False),
                (signal.SIGTERM, True),
                (signal.SIGTERM, False),
                (signal.SIGINT, True),
            )
        ),
    ],
)
def test_interrupted_in_a_layer(bench, faulty, content, number, group):
    """What is complete is kept for the next fetch, and the lock is free at once."""
    faulty.add(content, "faults/app", "v1")
    faulty.fail(content.layers[3].digest, faults.stall())
    job = bench.begin(address(faulty), pin=content.digest)
    complete = content.layers[:3]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not all(list(bench.dl_dir.rglob(layer.hex)) for layer in complete):
        time.sleep(0.02)
    job.kill(number, group)
    job.wait(20)
    assert not bench.files()
    faulty.heal()
    faulty.log.clear()
    bench.fetch(address(faulty), content.digest)
    assert set(documents(bench.only_file())) == set(content.blobs())
    again = set(faulty.log.blobs())
    assert content.layers[3].digest in again
    assert not again & {layer.digest for layer in complete}, "layers that were complete came again"
    assert not bench.files("*.part*")


@pytest.mark.one_library
def test_the_file_appears_whole(bench, faulty):
    """Whoever looks into a shared DL_DIR during a fetch finds the file complete, or not at all."""
    content = images.image([images.layer({"srv/zeros": bytes(32 << 20)}, "none")])
    faulty.add(content, "faults/app", "v1")
    job = bench.begin(address(faulty), pin=content.digest)
    sizes = set()
    while job.alive():
        sizes.update(file.stat().st_size for file in bench.files())
    assert job.wait().error is None
    assert sizes <= {bench.only_file().stat().st_size}


def _phase(bench):
    """Return how far a fetch is, by what it has made in DL_DIR."""
    partial = next(iter(bench.files("*.part-*")), None)
    if partial is None:
        return "asking"
    return "writing" if (partial / "image.tar").exists() else "downloading"


@pytest.mark.one_library
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["INT", "KILL"])
@pytest.mark.parametrize("hits", [5, pytest.param(150, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_killed_at_random_instants(bench, faulty, content, number, hits):
    """What counts are fetches that ran when they were hit. DL_DIR never holds a wrong file, what was there stays, and the
    fetch after each, on what the killed ones have left, is good.
    """
    present = images.image([images.filler_layer("present", 50_000)])
    faulty.add(present, "faults/present", "v1")
    bench.fetch(f"docker://{faulty.address}/faults/present;tag=v1", present.digest)
    (good,) = bench.files()
    data = good.read_bytes()
    faulty.add(content, "faults/app", "v1")
    started = time.monotonic()
    bench.second().fetch(address(faulty), content.digest)
    duration = time.monotonic() - started
    file = bench.dl_dir / f"docker_sha256-{content.hex}_linux-amd64.tar"
    lock = file.with_name(f"{file.name}.lock")
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    phases = collections.Counter()
    for _ in range(4 * hits):
        if sum(phases.values()) == hits:
            break
        lock.unlink(missing_ok=True)
        job = bench.begin(address(faulty), pin=content.digest)
        while job.alive() and not lock.exists():
            time.sleep(0.002)
        time.sleep(chance.uniform(0, duration))
        phase = _phase(bench)
        # The terminal sends SIGINT to all; SIGKILL may come for the task alone, when there is too little memory.
        job.kill(number, group=number == signal.SIGINT or chance.random() < 0.5)
        outcome = job.wait(20)
        if outcome is None or outcome.error_type:
            phases[phase] += 1
            # Python loses an interrupt that comes in a finalizer; skopeo gets it all the same.
            told = outcome and (outcome.error_type == "KeyboardInterrupt" or "skopeo was ended by SIGINT" in outcome.text)
            assert outcome is None or told, outcome.text
        assert good.read_bytes() == data
        if file.exists():
            assert set(documents(file)) == set(content.blobs())
            bench.run(address(faulty), ("clean",), pin=content.digest)
        elif chance.random() < 0.3:
            outcome = bench.fetch(address(faulty), content.digest)
            assert set(documents(file)) == set(content.blobs())
            assert not outcome.warnings
            bench.run(address(faulty), ("clean",), pin=content.digest)
    print(f"{number.name}: {dict(phases)} hit, seed {seed}")
    assert sum(phases.values()) == hits, f"{phases} in {4 * hits} fetches, seed {seed}"
    assert phases["downloading"], f"{phases}, seed {seed}"
    bench.fetch(address(faulty), content.digest)
    assert set(documents(file)) == set(content.blobs())
    assert not bench.files("*bad-checksum*") and not bench.files("*.part*")


@pytest.mark.one_library
def test_skopeo_that_is_killed(bench, faulty, content):
    """As the kernel does where memory runs out; with a signal there are no last words."""
    faulty.add(content, "faults/app", "v1")
    environment = bench.wrapper("skopeo", 'case "$*" in *--version*) echo skopeo version 1.22.0;; *) kill -KILL $$;; esac')
    outcome = bench.refuse(
        address(faulty), "faults/app", "skopeo was ended by SIGKILL", "memory", pin=content.digest, environment=environment,
        DOCKIN_FETCH_RETRIES="3",
    )
    assert not retried(outcome)


def test_nothing_runs_on_after_the_task(bench, faulty, content):
    """A task that is killed alone does not leave a skopeo that writes where the next one does."""
    faulty.add(content, "faults/app", "v1")
    faulty.fail(content.layers[0].digest, faults.stall())
    environment, _ = bench.recorded_skopeo()
    job = bench.begin(address(faulty), pin=content.digest, environment=environment)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not any(" copy " in line for line in _running(bench.directory)):
        time.sleep(0.02)
    assert _running(bench.directory), "skopeo runs while the layer stalls"
    job.kill(signal.SIGKILL, group=False)
    job.wait(20)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running(bench.directory):
        time.sleep(0.05)
    assert not _running(bench.directory)


def _running(directory):
    """Return the command lines of processes that mention a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found
