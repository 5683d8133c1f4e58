# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""DOCKIN_FETCH_SBOM: bills of materials that are attached to an image, fetched with it."""

import json
import shutil

import pytest

from support import attachments, images, registry
from support.attachments import CYCLONEDX, PROVENANCE, SPDX
from support.fixtures import LOGIN
from support.imagefiles import documents, sha256_file

BILL = attachments.bill("app")
PLATFORMS = ("linux/amd64", "linux/arm64/v8")


def spdx_of(url):
    """Return the name of the bill of materials of an entry of SRC_URI, below the unpack directory."""
    name, tag = url[len("docker://"):].split(";")[:2]
    return f"sbom/{name.replace(':', '-').replace('/', '-')}-{tag[len('tag='):]}.spdx.json"


def unpacked(bench, url, pin, **variables):
    """Fetch and unpack; return {file: bytes} of the bills of materials, and the outcome."""
    folder = bench.directory / "unpack"
    shutil.rmtree(folder, ignore_errors=True)
    outcome = bench.run(url, ("fetch",), ("unpack", str(folder)), pin=pin, DOCKIN_FETCH_SBOM="1", **variables)
    assert outcome.error is None, outcome.text
    found = folder / "docker-images"
    return {str(path.relative_to(found)): path.read_bytes() for path in (found / "sbom").glob("*")}, outcome


@pytest.fixture
def children(request, image):
    return [image(request.node.name, platform) for platform in PLATFORMS]


@pytest.fixture
def attested(server, children):
    """An image with BuildKit's attestations, in the registry as sbom/attested:v1."""
    content = attachments.attested(children, {PROVENANCE: {"builder": {}}, SPDX: BILL})
    server.push(content, "sbom/attested", "v1")
    return content


@pytest.fixture
def attested_url(server):
    return f"docker://{server.address}/sbom/attested;tag=v1"


class Attached:
    """An image in the registry, to whose parts bills of materials can be attached."""

    def __init__(self, server, content, repository):
        self.server, self.content, self.repository = server, content, repository
        server.push(content, repository, "v1")
        self.url = f"docker://{server.address}/{repository};tag=v1"

    @property
    def manifest(self):
        return self.content.manifest("linux/amd64")

    def attach(self, subject, *names, kind=attachments.SPDX_TYPE):
        """Attach bills of materials; return their manifests' digests."""
        made = [attachments.referrer(subject, attachments.bill_blob(name), kind) for name in names]
        attachments.attach(self.server, self.repository, subject, made)
        return [one.digest for one in made]


@pytest.fixture
def attached(request, server, children):
    repository = f"sbom/{images.sha256(request.node.name.encode())[-12:]}"
    return Attached(server, images.index(children, attestations=True), repository)


def pins(*digests):
    """Return the flags of SRC_URI with which a bench's job pins bills of materials."""
    return {"sbom": " ".join(digests)}


def test_attestation_of_buildkit(bench, server, attested, attested_url):
    with server.recording() as requests:
        bills, outcome = unpacked(bench, attested_url, attested.digest)
    assert {name: json.loads(data) for name, data in bills.items()} == {spdx_of(attested_url): BILL}
    assert not outcome.warnings
    assert not [request for request in requests if "/referrers/" in request.path or "sha256-" in request.path]
    # Nothing of the other platform's, nor how it was built.
    [attestation] = [one for one in attested.manifests() if dict(one.annotations).get("vnd.docker.reference.digest")
                     == attested.manifest("linux/amd64").digest]
    wanted = {attested.digest, attestation.digest, attestation.layers[1].digest, *attested.manifest("linux/amd64").blobs()}
    assert bench.only_file().name == f"docker_sha256-{attested.hex}_linux-amd64_sbom.tar"
    assert set(documents(bench.only_file())) == wanted


def test_not_asked_for(bench, server, attested, attested_url):
    with server.recording() as requests:
        bench.fetch(attested_url, attested.digest)
    assert set(requests.manifests()) == {attested.digest, attested.manifest("linux/amd64").digest}
    assert bench.only_file().name == f"docker_sha256-{attested.hex}_linux-amd64.tar"
    assert set(documents(bench.only_file())) == {attested.digest, *attested.manifest("linux/amd64").blobs()}


def test_what_is_there_of_the_image_is_not_downloaded_again(bench, server, attested, attested_url):
    bench.fetch(attested_url, attested.digest)
    with server.recording() as requests:
        bench.fetch(attested_url, attested.digest, DOCKIN_FETCH_SBOM="1")
    assert not set(requests.blobs()) & set(attested.manifest("linux/amd64").blobs())
    # And without network: all of it is in the two files.
    other = bench.second()
    for file in bench.files():
        shutil.copy(file, other.dl_dir)
    other.fetch(attested_url, attested.digest, DOCKIN_FETCH_SBOM="1", BB_NO_NETWORK="1")


@pytest.mark.one_library
def test_several_formats_and_statements(bench, server, children):
    more = {SPDX: BILL, f"{SPDX}/v2.3": {"other": 1}, CYCLONEDX: {"bomFormat": "CycloneDX"}}
    content = attachments.attested(children, more)
    server.push(content, "sbom/several", "v1")
    bills, _ = unpacked(bench, f"docker://{server.address}/sbom/several;tag=v1", content.digest)
    stem = f"sbom/{server.address.replace(':', '-')}-sbom-several-v1"
    assert {name: json.loads(data) for name, data in bills.items()} == {
        f"{stem}.spdx.json": BILL, f"{stem}+2.spdx.json": {"other": 1}, f"{stem}.cdx.json": {"bomFormat": "CycloneDX"}}


@pytest.mark.parametrize("to", ["manifest", pytest.param("index", marks=pytest.mark.one_library)])
def test_referrers_under_a_tag(bench, attached, to):
    subject = attached.manifest if to == "manifest" else attached.content
    [digest] = attached.attach(subject, "tagged")
    bills, outcome = unpacked(bench, attached.url, attached.content.digest)
    assert bills == {spdx_of(attached.url): attachments.bill_blob("tagged").data}
    [warning] = outcome.warnings
    assert warning.splitlines()[-1] == f'SRC_URI[sbom] = "{digest}"'


def pinned_job(bench, url, pin, sbom, *steps, **variables):
    job = bench.job(url, *steps, pin=pin, DOCKIN_FETCH_SBOM="1", **variables)
    job.flags["SRC_URI"].update(pins(*sbom))
    return bench.runner.run(job, bench._next())


def test_pinned_referrers(bench, attached):
    """What the registry lists is not asked for, and changes nothing."""
    [digest] = attached.attach(attached.manifest, "pinned")
    attached.attach(attached.manifest, "pinned later")
    with attached.server.recording() as requests:
        outcome = pinned_job(bench, attached.url, attached.content.digest, [digest])
    assert outcome.error is None and not outcome.warnings, outcome.text
    assert not [request for request in requests if "/referrers/" in request.path or "sha256-" in request.path]
    assert attachments.bill_blob("pinned").digest in documents(bench.only_file())
    # A file of other ones is not taken for it.
    other = bench.second()
    wrong = other.dl_dir / bench.only_file().name
    unpinned = bench.second()
    unpinned.fetch(attached.url, attached.content.digest, DOCKIN_FETCH_SBOM="1")
    shutil.copy(unpinned.only_file(), wrong)
    outcome = pinned_job(other, attached.url, attached.content.digest, [digest])
    assert outcome.error is None and "is missing" in outcome.text or "is not pinned" in outcome.text
    assert sha256_file(wrong) == sha256_file(bench.only_file())


def unpacked_another(bench, other, job):
    """Return the outcome of do_unpack where another file has taken the place of the one that was fetched."""
    shutil.copy(other.only_file(), bench.only_file())
    outcome = job(("unpack", str(bench.directory / "out")))
    assert not list((bench.directory / "out").rglob("*.json"))
    return outcome


def test_pins_count_after_the_fetch(bench, attached):
    """Who writes DL_DIR, too, may change a file there between do_fetch and do_unpack."""
    other, pin = bench.second(), attached.content.digest
    [mine], [evil] = attached.attach(attached.manifest, "pinned"), attached.attach(attached.manifest, "EVIL")
    assert pinned_job(bench, attached.url, pin, [mine], ("fetch",)).error is None
    assert pinned_job(other, attached.url, pin, [evil], ("fetch",)).error is None
    outcome = unpacked_another(bench, other, lambda step: pinned_job(bench, attached.url, pin, [mine], step))
    words = f"The attached manifest {min(mine, evil)} is"
    assert outcome.error_type == "UnpackError" and words in outcome.text, outcome.text


@pytest.mark.parametrize("before, wanted, error, words", [
    ("", {"DOCKIN_FETCH_SBOM": "0"}, "UnpackError", "does not name one image"),
    ("", {"DOCKIN_FETCH_SBOM": "1", "DOCKIN_PIN": "require"}, "NoChecksumError", 'SRC_URI[sbom] = "'),
    ("there", {"DOCKIN_FETCH_SBOM": "require"}, "UnpackError", "no bill of materials, which DOCKIN_FETCH_SBOM = 'require'"),
])
@pytest.mark.one_library
def test_what_is_wanted_counts_after_the_fetch(bench, attached, before, wanted, error, words):
    other, pin = bench.second(), attached.content.digest
    for one, name in ((bench, before), (other, "" if before else "EVIL")):
        made = [attachments.referrer(attached.manifest, attachments.bill_blob(name))] if name else []
        attachments.attach(attached.server, attached.repository, attached.manifest, made)
        one.fetch(attached.url, pin, **(wanted if one is bench else {"DOCKIN_FETCH_SBOM": "1"}))
    outcome = unpacked_another(bench, other, lambda step: bench.run(attached.url, step, pin=pin, **wanted))
    assert outcome.error_type == error and words in outcome.text, outcome.text


@pytest.mark.one_library
def test_pins_of_several_platforms(bench, attached):
    first, second = attached.content.manifests()[:2]
    [mine], [foreign] = attached.attach(first, "of mine"), attached.attach(second, "of the other")
    outcome = pinned_job(bench, attached.url, attached.content.digest, [mine, foreign])
    assert outcome.error is None, outcome.text
    found = documents(bench.only_file())
    assert {mine, foreign, attachments.bill_blob("of mine").digest} <= set(found)
    assert attachments.bill_blob("of the other").digest not in found
    # The file without an entry for the other platform's is not complete.
    outcome = pinned_job(bench, attached.url, attached.content.digest, [mine])
    assert outcome.error is None and len(bench.files()) == 2


@pytest.mark.one_library
def test_pins_that_are_wrong(bench, server, attached, image):
    other = image("another")
    server.push(other, attached.repository, "other")
    [foreign] = attached.attach(other, "of another image")
    for sbom, words in (([foreign], f"{foreign} is attached to {other.digest}, not to the image"),
                        (["sha256:" + "0" * 64], "manifest unknown"),
                        ([attached.manifest.digest], "is attached to nothing")):
        outcome = pinned_job(bench, attached.url, attached.content.digest, sbom)
        assert outcome.error_type == "FetchError" and words in outcome.text, outcome.text
    outcome = pinned_job(bench, attached.url, attached.content.digest, ["0" * 64])
    assert outcome.error_type == "ParameterError" and "SRC_URI[sbom]" in outcome.error
    assert not bench.files()


@pytest.mark.one_library
def test_two_types_of_one_suffix(bench, attached):
    made = [attachments.referrer(attached.manifest, attachments.bill_blob(kind, kind), kind)
            for kind in ("application/spdx+json", "text/spdx+json")]
    attachments.attach(attached.server, attached.repository, attached.manifest, made)
    bills, _ = unpacked(bench, attached.url, attached.content.digest)
    first, second = spdx_of(attached.url), spdx_of(attached.url).replace(".spdx", "+2.spdx")
    assert set(bills) == {first, second}
    assert {json.loads(data)["name"] for data in bills.values()} == {"application/spdx+json", "text/spdx+json"}


@pytest.mark.one_library
def test_the_platforms_own_goes_before_the_indexs(bench, attached):
    attached.attach(attached.manifest, "one", "two")
    attached.attach(attached.content, "of all")
    bills, _ = unpacked(bench, attached.url, attached.content.digest)
    assert sorted(json.loads(data)["name"] for data in bills.values()) == ["one", "two"]


def test_list_of_the_registry(bench, faulty, children):
    """In pages, with other things in it: signatures, and what turns out to be no bill of materials."""
    content = images.index(children)
    subject = content.manifest("linux/amd64")
    faulty.add(content, "team/app", "v1")
    signature = attachments.referrer(subject, images.Blob("application/x-signature", b"s"), "application/x-signature")
    readme = attachments.referrer(subject, images.Blob("text/markdown", b"#"), "")
    bill = attachments.referrer(subject, attachments.bill_blob("listed"))
    for number, one in enumerate((signature, readme, bill)):
        faulty.add(one, "team/app", f"part-{number}")
    path = "/v2/team/app/referrers/"
    faulty.refer(path + subject.digest, attachments.list_of([signature, readme]), attachments.list_of([bill]))
    faulty.refer(path + content.digest, attachments.list_of([]))
    url = f"docker://{faulty.address}/team/app;tag=v1"
    bills, outcome = unpacked(bench, url, content.digest)
    assert bills == {spdx_of(url): attachments.bill_blob("listed").data}
    assert f'SRC_URI[sbom] = "{bill.digest}"' in outcome.warnings[0]
    assert not [request for request in faulty.log if "sha256-" in request.path or signature.digest in request.path]


def test_what_was_fetched_stays(bench, attached):
    """The registry's list may change: what the file in DL_DIR has counts, here and where it is copied to."""
    attached.attach(attached.manifest, "first")
    before, _ = unpacked(bench, attached.url, attached.content.digest)
    attached.attach(attached.manifest, "second")
    with attached.server.recording() as requests:
        assert unpacked(bench, attached.url, attached.content.digest)[0] == before
    assert not requests
    mirrored = bench.second()
    with registry.FileServer(bench.dl_dir) as mirror:
        variables = {"PREMIRRORS": f"docker://.*/.* {mirror.url}/", "BB_FETCH_PREMIRRORONLY": "1"}
        assert unpacked(mirrored, attached.url, attached.content.digest, **variables)[0] == before
    assert sha256_file(mirrored.only_file()) == sha256_file(bench.only_file())
    anew = bench.second()
    assert unpacked(anew, attached.url, attached.content.digest)[0] != before


@pytest.mark.parametrize("what", ["stripped", "damaged"])
def test_mirror_with_less(bench, attested, attested_url, what):
    """An attestation that the index names can't be left out, nor changed."""
    bench.fetch(attested_url, attested.digest)
    [plain] = bench.files()
    bench.fetch(attested_url, attested.digest, DOCKIN_FETCH_SBOM="1")
    [full] = bench.files("*_sbom.tar")
    bad = bench.second()
    statement = next(one for one in documents(full).values() if b"spdxVersion" in one)
    data = plain.read_bytes() if what == "stripped" else full.read_bytes().replace(statement, registry.flipped(statement))
    (bad.dl_dir / full.name).write_bytes(data)
    other = bench.second()
    words = ["which the index names, is missing"] if what == "stripped" else ["Checksum mismatch", images.sha256(statement)]
    mirror = {"MIRRORS": f"docker://.*/.* file://{bad.dl_dir}/"}
    other.refuse("docker://registry.invalid/sbom/attested;tag=v1", *words, pin=attested.digest, DOCKIN_FETCH_SBOM="1",
                 **mirror)
    assert not other.files()


def test_a_bill_that_is_a_program(bench, attached):
    """OE-core would have rpmdeps print its names, and BitBake expand them: ${@…} in one ran on the build host."""
    blob = images.Blob(attachments.SPDX_TYPE, b"\x7fELF\x02\x01\x01" + bytes(57))
    made = attachments.referrer(attached.manifest, blob, attachments.SPDX_TYPE)
    attachments.attach(attached.server, attached.repository, attached.manifest, [made])
    out = bench.directory / "out"
    done = bench.run(attached.url, ("fetch",), ("unpack", str(out)), pin=attached.content.digest, DOCKIN_FETCH_SBOM="1")
    assert f"it is no text of the kind {attachments.SPDX_TYPE}" in done.error
    assert not list(out.rglob("*.spdx*"))


def test_image_without_a_bill(bench, attached):
    _, outcome = unpacked(bench, attached.url, attached.content.digest)
    assert not outcome.warnings
    assert "has no bill of materials for linux/amd64 attached to it" in outcome.text
    words = ("no bill of materials for linux/amd64", "DOCKIN_FETCH_SBOM = 'require'")
    bench.refuse(attached.url, *words, pin=attached.content.digest, DOCKIN_FETCH_SBOM="require")
    attached.attach(attached.manifest, "at last")
    bench.fetch(attached.url, attached.content.digest, DOCKIN_FETCH_SBOM="require")
    assert attachments.bill_blob("at last").digest in documents(bench.only_file())


@pytest.mark.one_library
def test_where_pins_are_required(bench, attached):
    [digest] = attached.attach(attached.manifest, "unpinned")
    url, pin = attached.url, attached.content.digest
    bench.refuse(url, f'SRC_URI[sbom] = "{digest}"', pin=pin, DOCKIN_FETCH_SBOM="1", DOCKIN_PIN="require")
    _, outcome = unpacked(bench, url, pin, DOCKIN_PIN="ignore")
    assert not outcome.warnings


@pytest.mark.one_library
def test_bad_choice(bench, attested, attested_url):
    bench.refuse(attested_url, "Invalid DOCKIN_FETCH_SBOM = 'yes'", pin=attested.digest, DOCKIN_FETCH_SBOM="yes")


@pytest.mark.one_library
def test_statement_about_another_image(bench, server, children):
    content = attachments.attested(children, {SPDX: BILL}, about="sha256:" + "5" * 64)
    server.push(content, "sbom/liar", "v1")
    outcome = bench.run(f"docker://{server.address}/sbom/liar;tag=v1", ("fetch",), ("unpack", str(bench.directory / "out")),
                        pin=content.digest, DOCKIN_FETCH_SBOM="1")
    assert outcome.error_type == "UnpackError" and "is about sha256:5555" in outcome.text, outcome.text


@pytest.mark.one_library
def test_private_registry(bench, secure_server, private_ca, children):
    """The list is asked for with the login and the certificates that skopeo has."""
    content = images.index(children)
    secure_server.push(content, "sbom/private", "v1")
    attachments.attach(secure_server, "sbom/private", content,
                       [attachments.referrer(content, attachments.bill_blob("private"))])
    auth = bench.directory / "auth.json"
    auth.write_text(LOGIN.auth_json(secure_server.address))
    settings = {"DOCKIN_AUTHFILE": str(auth), "DOCKIN_CERT_DIR": str(private_ca.cert_dir(bench.directory / "certs")),
                "DOCKIN_TLS_VERIFY": None}
    url = f"docker://{secure_server.address}/sbom/private;tag=v1"
    with secure_server.recording() as requests:
        bills, _ = unpacked(bench, url, content.digest, **settings)
    assert bills == {spdx_of(url): attachments.bill_blob("private").data}
    assert [request.status for request in requests if "/referrers/" in request.path] == [404, 404]


@pytest.mark.one_library
def test_through_a_mirror_of_registries_conf(bench, attached):
    """Only skopeo knows of the mirror: what is attached is found by its tag there."""
    attached.attach(attached.manifest, "behind a mirror")
    conf = registry.write_registries_conf(bench.directory / "registries.conf", attached.server.address, "images.example.com")
    url = f"docker://images.example.com/{attached.repository};tag=v1"
    settings = {"DOCKIN_REGISTRIES_CONF": str(conf), "DOCKIN_TLS_VERIFY": None}
    assert unpacked(bench, url, attached.content.digest, **settings)[0] == {
        spdx_of(url): attachments.bill_blob("behind a mirror").data}


@pytest.mark.one_library
def test_a_policy_counts_for_bills_as_well(bench, attested, attested_url):
    bench.fetch(attested_url, attested.digest)
    policy = bench.directory / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "reject"}]}))
    more = {"DOCKIN_FETCH_SBOM": "1", "DOCKIN_POLICY": str(policy)}
    bench.refuse(attested_url, "Source image rejected", pin=attested.digest, **more)


@pytest.mark.one_library
def test_no_network(bench, own_server, children):
    content = images.index(children)
    own_server.push(content, "sbom/app", "v1")
    url = f"docker://{own_server.address}/sbom/app;tag=v1"
    bench.fetch(url, content.digest)
    with own_server.recording() as requests:
        outcome = bench.run(url, pin=content.digest, DOCKIN_FETCH_SBOM="1", BB_NO_NETWORK="1")
    assert outcome.error_type == "NetworkAccess", outcome.text
    assert not requests
