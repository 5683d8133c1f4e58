# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a registry may say and do on the wire: redirects, tokens, rate limits, lying headers, tags that move; and images
that are odd by their size.
"""

import gzip
import os
import time

import pytest

from support import faults, images
from support.fixtures import LOGIN
from support.imagefiles import documents
from support.tokens import TokenServer

pytestmark = pytest.mark.one_library


def address(server):
    return f"docker://{server.address}/wire/app;tag=v1"


@pytest.fixture
def content():
    return images.image([images.filler_layer(f"wire-{number}", 50_000) for number in range(3)])


@pytest.fixture
def served(faulty, content):
    faulty.add(content, "wire/app", "v1")
    return content


def whole(bench, content):
    return set(documents(bench.only_file())) == set(content.blobs())


# ------------------------------------------------------------------------------------------- rate limits


def test_rate_limit_that_stays(bench, faulty, served):
    """skopeo itself waits as it is told, some times, and then there is an error; nothing goes on for ever."""
    faulty.fail("/manifests/", faults.status(429, {"Retry-After": "1"}))
    outcome = bench.refuse(address(faulty), faulty.address, pin=served.digest)
    assert "429" in outcome.text or "oo many requests" in outcome.text or "toomanyrequests" in outcome.text
    assert len([request for request in faulty.log if request.is_manifest]) < 10
    assert not bench.files()


def test_rate_limit_that_asks_for_a_day(bench, faulty, served):
    faulty.fail("/blobs/", faults.status(429, {"Retry-After": "86400"}))
    started = time.monotonic()
    bench.refuse(address(faulty), "DOCKIN_FETCH_TIMEOUT", pin=served.digest, DOCKIN_FETCH_TIMEOUT="1")
    assert time.monotonic() - started < 20
    assert not bench.files()


# ------------------------------------------------------------------------------------ words and redirects


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("claim", ["sha256:" + "0" * 64, "sha256:short", "", "md5:1"])
def test_digest_header_that_lies(bench, faulty, served, claim, pinned):
    """Our own hash counts. skopeo may refuse the answer, or not look at the header."""
    faulty.fail("/manifests/", faults.headers({"Docker-Content-Digest": claim}))
    outcome = bench.run(address(faulty), pin=served.digest if pinned else None, DOCKIN_PIN="ignore")
    if outcome.error is None:
        assert whole(bench, served)
    else:
        assert "wire/app" in outcome.text
        assert not bench.files()


@pytest.mark.parametrize("pinned", [True, False])
def test_tag_that_moves_between_two_requests(bench, faulty, served, pinned):
    """What the first answer named is fetched whole: never layers of one image under the manifest of another."""
    newer = images.image([images.filler_layer("newer", 50_000)])
    asked = []

    def move(handler, answer):
        asked.append(handler.path)
        handler.send(answer)
        faulty.add(newer, "wire/app", "v1")

    faulty.fail("/manifests/", move)
    bench.fetch(address(faulty), pin=served.digest if pinned else None, DOCKIN_PIN="ignore")
    assert whole(bench, served)
    assert asked


@pytest.mark.parametrize("piece", ["/blobs/", "/manifests/"])
def test_redirect_to_another_host_carries_no_login(bench, faulty, served, piece):
    """As registries do that keep blobs in a bucket."""
    authfile = bench.directory / "auth.json"
    authfile.write_text(LOGIN.auth_json(faulty.address))
    seen = []
    with faults.FaultyRegistry() as bucket:
        bucket.add(served, "wire/app", "v1")
        bucket.fail(piece, lambda handler, answer: (seen.append(dict(handler.headers)), handler.send(answer)))

        def redirect(handler, answer):
            if "Authorization" not in handler.headers:
                handler.send(faults.Answer(401, {"WWW-Authenticate": 'Basic realm="tests"'}, b""))
            else:
                # Two ports of one host are one host to Go, where the login may go: it has to be another name.
                other = bucket.address.replace("127.0.0.1", "localhost")
                handler.send(faults.Answer(307, {"Location": f"http://{other}{handler.path}"}, b""))

        faulty.fail("/v2/", redirect)
        outcome = bench.run(address(faulty), pin=served.digest, DOCKIN_AUTHFILE=str(authfile))
    assert outcome.error is None, outcome.text
    assert whole(bench, served)
    assert seen
    assert not [headers for headers in seen if "Authorization" in headers]
    assert LOGIN.password not in outcome.text


def test_address_of_a_redirect_is_not_shown_whole(bench, faulty, served):
    """It is signed: whoever reads it in a log has access."""
    target = f"http://{faults.closed_address()}/bucket/blob?X-Amz-Signature=HUSH1&sig=HUSH2"
    faulty.fail("/blobs/", faults.status(307, {"Location": target}))
    outcome = bench.refuse(address(faulty), "/bucket/blob", pin=served.digest, DOCKIN_FETCH_RETRIES="1")
    assert "HUSH" not in outcome.text


def test_redirects_without_end(bench, faulty, served):
    faulty.fail("/blobs/", lambda handler, answer: handler.send(
        faults.Answer(307, {"Location": f"http://{faulty.address}{handler.path}"}, b"")))
    outcome = bench.refuse(address(faulty), "redirects", "wire/app", pin=served.digest)
    assert len(faulty.log) < 100, outcome.text
    assert not bench.files()


# ---------------------------------------------------------------------------------------------------- tokens


def test_token_that_expires_in_the_middle(bench, faulty, served):
    """The registry takes no old token from the second layer on; the fetch asks for another one."""
    blobs = []

    def expire(handler, answer):
        blobs.append(handler.path)
        if len(blobs) == 2:
            tokens.revoke()
        tokens.guard(handler, answer)

    faulty.fail("/blobs/", expire)
    tokens = TokenServer(faulty, paths=("/v2/",))
    bench.fetch(address(faulty), served.digest, DOCKIN_FETCH_RETRIES="2")
    assert whole(bench, served)
    assert len(tokens.given) >= 2


def test_token_that_is_never_good(bench, faulty, served):
    tokens = TokenServer(faulty)
    faulty.fail("/v2/", faults.status(401, {"WWW-Authenticate": f'Bearer realm="http://{faulty.address}/auth?x=1"'}))
    outcome = bench.refuse(address(faulty), "wire/app", "skopeo login", pin=served.digest, DOCKIN_FETCH_RETRIES="2")
    assert len(tokens.given) < 8, outcome.text


# ---------------------------------------------------------------------------------- helpers of the user


def test_credential_helper_that_hangs(bench, faulty, served):
    """It is ended with skopeo, and nothing of it is left."""
    environment = bench.wrapper("docker-credential-hanging", "sleep 987; true")
    config = bench.home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(f'{{"credHelpers": {{"{faulty.address}": "hanging"}}}}')
    started = time.monotonic()
    bench.refuse(
        address(faulty), "DOCKIN_FETCH_TIMEOUT", pin=served.digest, environment=environment, DOCKIN_FETCH_TIMEOUT="1"
    )
    assert time.monotonic() - started < 15
    assert not _sleeping(bench.directory)


def test_credential_helper_that_fails_with_its_answer(bench, faulty, served):
    answer = '{"ServerURL":"x","Username":"u","Secret":"hunter2"}'
    environment = bench.wrapper("docker-credential-chatty", f"cat >/dev/null\nprintf '%s' '{answer}'\nexit 1")
    config = bench.home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(f'{{"credHelpers": {{"{faulty.address}": "chatty"}}}}')
    outcome = bench.refuse(address(faulty), "credential helper", pin=served.digest, environment=environment)
    assert "hunter2" not in outcome.text


def _sleeping(directory):
    """Return the processes that are a helper of this test: they have its directory in their PATH."""
    found = []
    for process in os.listdir("/proc"):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as line, open(f"/proc/{process}/environ", "rb") as environ:
                if line.read() == b"sleep\x00987\x00" and str(directory).encode() in environ.read():
                    found.append(process)
        except OSError:
            continue
    return found


# ------------------------------------------------------------------------------------------ odd sizes


def test_blob_without_an_end(bench, faulty, served):
    """Longer than declared, and never over: bytes alone are no progress, and DL_DIR is not filled with them."""
    faulty.fail(served.layers[1].digest, faults.endless())
    outcome = bench.refuse(address(faulty), "than the", "bytes that the manifest states", pin=served.digest)
    assert not bench.files(), outcome.text
    assert sum(path.stat().st_size for path in bench.dl_dir.rglob("*") if path.is_file()) < 400 << 20
    faulty.heal()
    bench.fetch(address(faulty), served.digest)
    assert whole(bench, served)


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_document_without_an_end(bench, faulty, served, which):
    faulty.fail(served.config.digest if which == "config" else "/manifests/", faults.endless())
    bench.refuse(address(faulty), "wire/app", pin=served.digest)
    assert not bench.files()
    faulty.heal()
    bench.fetch(address(faulty), served.digest)
    assert whole(bench, served)


def test_blob_longer_than_declared(bench, faulty, served):
    faulty.fail(served.layers[1].digest, faults.body(lambda data: data + b"x" * 5000))
    bench.refuse(address(faulty), "wire/app", pin=served.digest)
    faulty.heal()
    bench.fetch(address(faulty), served.digest)
    assert whole(bench, served)


def test_connection_that_stalls_once(bench, faulty, served):
    """As where a router has forgotten it: nothing comes any more, and the next connection is fine."""
    faulty.fail(served.layers[1].digest, faults.stall(), times=1)
    bench.fetch(address(faulty), served.digest, DOCKIN_FETCH_TIMEOUT="1", DOCKIN_FETCH_RETRIES="3")
    assert whole(bench, served)


# Images larger than what a download may be beyond its manifest (16 MB), and slow enough to be looked at while they come.
LARGE = 40 << 20


def test_large_layer_that_stalls_once(bench, faulty):
    """What the killed skopeo has left does not count as sent by the registry."""
    content = images.image([images.filler_layer("large", LARGE)])
    faulty.add(content, "wire/app", "v1")
    faulty.fail(content.layers[0].digest, faults.stall(0.8), times=1)
    faulty.fail(content.layers[0].digest, faults.slow(4))
    bench.fetch(address(faulty), content.digest, DOCKIN_FETCH_TIMEOUT="1", DOCKIN_FETCH_RETRIES="3")
    assert whole(bench, content)


def test_large_layer_that_is_there_twice(bench, faulty):
    """skopeo downloads it twice."""
    layer = images.filler_layer("large", LARGE)
    content = images.image([layer, images.layer({"a": "b"}), layer])
    faulty.add(content, "wire/app", "v1")
    faulty.fail(content.layers[0].digest, faults.slow(4))
    bench.fetch(address(faulty), content.digest)
    assert whole(bench, content)


@pytest.mark.parametrize("policy", [False, True])
def test_large_tarball_of_a_fetch_that_was_killed(bench, faulty, served, tmp_path, policy):
    """What it has written does not count as sent by the registry. With a policy skopeo copies though all is there."""
    blobs = bench.partial(served) / "sha256"
    blobs.mkdir(parents=True)
    blobs.with_name("image.tar").write_bytes(bytes(LARGE))
    for layer in served.layers if policy else served.layers[1:]:
        (blobs / layer.hex).write_bytes(layer.data)
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    bench.fetch(address(faulty), served.digest, **({"DOCKIN_POLICY": str(tmp_path / "policy.json")} if policy else {}))
    assert whole(bench, served)


# ------------------------------------------------------------------------- the partial directory, by others


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "link to directory"])
@pytest.mark.parametrize("which", ["manifest", "layer", "tarball", "scratch"])
def test_partial_directory_that_others_write(bench, faulty, served, tmp_path, kind, which):
    """No FIFO is waited for, no good file is written through a link, and the next fetch makes the directory anew."""
    blobs = bench.partial(served) / "sha256"
    blobs.mkdir(parents=True)
    blobs.parent.chmod(0o777)
    good = tmp_path / "good"
    path = {
        "manifest": blobs / served.hex, "layer": blobs / served.layers[0].hex, "tarball": blobs.with_name("image.tar"),
        "scratch": blobs.with_name("scratch"),
    }[which]
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        (path / "sub").mkdir(parents=True)
    else:
        good.mkdir() if "directory" in kind else good.write_text("good")
        path.symlink_to(good)
    bench.fetch(address(faulty), served.digest)
    assert whole(bench, served)
    assert not good.is_file() or good.read_text() == "good"


@pytest.mark.parametrize("kind", ["file", "fifo", "link", "link to directory"])
def test_partial_directory_of_another_kind(bench, faulty, served, tmp_path, kind):
    part, good = bench.partial(served), tmp_path / "good"
    good.mkdir()
    if kind == "file":
        part.write_text("")
    elif kind == "fifo":
        os.mkfifo(part)
    else:
        part.symlink_to(good if kind == "link to directory" else "/nonexistent")
    bench.fetch(address(faulty), served.digest)
    assert whole(bench, served)
    assert not list(good.iterdir())


# ------------------------------------------------------------------------------------------ large and odd images


def test_hundreds_of_layers(bench, faulty, tmp_path):
    content = images.image([images.layer({f"etc/{number}": f"{number}\n"}) for number in range(300)])
    faulty.add(content, "wire/app", "v1")
    folder = tmp_path / "unpack"
    outcome = bench.run(address(faulty), ("fetch",), ("unpack", str(folder)), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert whole(bench, content)
    assert len(list(folder.rglob("*.tar"))) == 1


@pytest.mark.parametrize(("megabytes", "fine"), [(3, True), (5, False)])
def test_config_of_many_megabytes(bench, faulty, megabytes, fine):
    """Up to the 4 MiB that skopeo takes as well; what is larger is refused by what the manifest says of it."""
    content = images.image([images.layer({"etc/big": "big\n"})], labels={"filler": "x" * (megabytes << 20)})
    faulty.add(content, "wire/app", "v1")
    if fine:
        bench.fetch(address(faulty), content.digest)
        assert whole(bench, content)
    else:
        bench.refuse(address(faulty), content.config.digest, "config", pin=content.digest)
        assert not bench.files()
        assert content.config.digest not in faulty.log.blobs(), "it was not even asked for"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layer_that_unpacks_to_another(bench, faulty, tmp_path, compression):
    """A bomb whose digest is right and whose content is not what the config says: no archive, and nothing left of one."""
    bomb = images.layer({"srv/zeros": bytes(64 << 20)}, compression)
    diff_ids = ["sha256:" + "1" * 64]
    lying = images.image([bomb], config={"rootfs": {"type": "layers", "diff_ids": diff_ids}})
    faulty.add(lying, "wire/app", "v1")
    folder = tmp_path / "unpack"
    outcome = bench.run(address(faulty), ("fetch",), ("unpack", str(folder)), pin=lying.digest)
    assert outcome.error_type == "UnpackError", outcome.text
    assert lying.layers[0].digest in outcome.text
    assert diff_ids[0] in outcome.text
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_gzip_of_many_members_and_trailing_zeros(bench, faulty, tmp_path):
    """As pigz and eStargz write it; the whole is one layer."""
    single = images.image([images.layer({"etc/members": "members\n" * 1000}, "none")])
    plain = single.layers[0].data
    parts = [gzip.compress(plain[start : start + 3000], mtime=0) for start in range(0, len(plain), 3000)]
    layer = images.Blob(f"{images.OCI_LAYER}+gzip", b"".join(parts) + bytes(700))
    content = images.manifest(single.config, [layer], "linux/amd64")
    faulty.add(content, "wire/app", "v1")
    outcome = bench.run(address(faulty), ("fetch",), ("unpack", str(tmp_path / "unpack")), pin=content.digest)
    assert outcome.error is None, outcome.text
