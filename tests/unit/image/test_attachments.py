# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.attachments: which bills of materials belong to an image; and image tarballs that have them."""

from __future__ import annotations

import json
import tarfile

import pytest

from dockin.errors import DockinError
from dockin.image import attachments as image_attachments, manifests, platforms, reference, tarball
from dockin.image.attachments import InvalidAttachment, Wanted
from dockin.image.tarball import InvalidTarball
from hypothesis import given, settings
from hypothesis import strategies as st
from support import attachments, images

AMD64 = platforms.parse("linux/amd64")
OTHER = "sha256:" + "0" * 64
BILL = attachments.bill("app")
CHILDREN = [images.image([images.layer({"etc/motd": name})], name) for name in ("linux/amd64", "linux/arm64/v8")]
INDEX = attachments.attested(CHILDREN, {attachments.PROVENANCE: {}, attachments.SPDX: BILL})
PLAIN = images.index(CHILDREN)
ATTESTATION, FOREIGN = INDEX.manifests()[2:]


def subject(content=INDEX, child=CHILDREN[0]):
    return image_attachments.Subject(content.digest, manifests.parse(content.data), child.digest)


def attach(made, content=INDEX):
    return image_attachments.attach(subject(content), made.digest, made.data)


def referrer(of, name="bill", media_type=attachments.SPDX_TYPE):
    return attachments.referrer(of, attachments.bill_blob(name, media_type))


@pytest.mark.parametrize(
    ("choice", "pins", "expected"),
    [
        ("0", None, None),
        ("0", OTHER, None),
        ("1", None, Wanted()),
        ("1", "", Wanted()),
        ("require", f"  {OTHER}\t{INDEX.digest} {OTHER}", Wanted(tuple(sorted((OTHER, INDEX.digest))), True)),
    ],
)
def test_what_is_wanted(choice, pins, expected):
    assert image_attachments.wanted(choice, pins, "sbom") == expected


@pytest.mark.parametrize(
    ("choice", "pins", "words"),
    [
        ("yes", None, "Invalid DOCKIN_FETCH_SBOM = 'yes': expected '0', '1', 'require'"),
        ("0", "0" * 64, r"Invalid digest '0+' in 'SRC_URI\[app.sbom\]'"),
        ("1", OTHER.upper(), "Invalid digest"),
        ("1", " ".join(f"sha256:{number:064x}" for number in range(101)), r"SRC_URI\[app.sbom\] names 101 .*at most 100"),
    ],
    ids=["choice", "no prefix", "letters", "many"],
)
def test_what_can_not_be_wanted(choice, pins, words):
    with pytest.raises(DockinError, match=words):
        image_attachments.wanted(choice, pins, "app.sbom")


def test_attestations_of_the_platform():
    assert [entry.digest for entry in image_attachments.attestations(subject())] == [ATTESTATION.digest]
    assert image_attachments.attestations(subject(PLAIN)) == []
    assert image_attachments.attestations(subject(CHILDREN[0])) == []


def test_what_an_attestation_has():
    found = attach(ATTESTATION)
    assert (found.in_index, found.fits) == (True, True)
    [(one, document, media_type)] = image_attachments.documents([found, found])
    assert (one, document.digest, media_type) == (found, ATTESTATION.layers[1].digest, "application/spdx+json")
    assert json.loads(image_attachments.extract(document, ATTESTATION.layers[1].data, subject())) == BILL


@pytest.mark.parametrize(
    ("of", "fits"), [(CHILDREN[0], True), (PLAIN, True), (CHILDREN[1], False)], ids=["manifest", "index", "other"]
)
def test_referrers(of, fits):
    found = attach(referrer(of), PLAIN)
    assert (found.in_index, found.fits, len(found.documents)) == (False, fits, int(fits))


@pytest.mark.parametrize("made", [referrer(images.Blob("x/y", b"z")), ATTESTATION, CHILDREN[0]])
def test_what_is_attached_to_something_else(made):
    with pytest.raises(InvalidAttachment, match="is attached to .*, not to the image"):
        attach(made, PLAIN)


def test_of_another_platform_of_the_index():
    with pytest.raises(InvalidAttachment, match="is attached to nothing"):
        attach(FOREIGN)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[]", "JSON object is expected"),
        (PLAIN.data, "no OCI manifest"),
        (json.dumps({"schemaVersion": 1}).encode(), "no OCI manifest"),
        (json.dumps({"schemaVersion": 2, "layers": []}).encode(), "'config' is no JSON object"),
        (json.dumps({"schemaVersion": 2, "config": attachments.EMPTY.descriptor()}).encode(), "'layers' is no JSON array"),
        (json.dumps({"schemaVersion": 2, "mediaType": "a/b"}).encode(), "Unsupported"),
    ],
)
def test_no_manifest(data, words):
    with pytest.raises(manifests.InvalidManifest, match=words):
        image_attachments.attach(subject(), OTHER, data)


def test_candidates():
    """Signatures are passed over; what does not say what it is may be a bill of materials."""
    kinds = ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json", "",
             "application/vnd.oci.empty.v1+json", "application/vnd.dev.cosign.artifact.sig.v1+json", "text/markdown"]
    made = [attachments.referrer(PLAIN, attachments.bill_blob(kind), kind) for kind in kinds]
    assert image_attachments.candidates([attachments.list_of(made).data]) == sorted(one.digest for one in made[:5])
    with pytest.raises(InvalidAttachment, match="no index"):
        image_attachments.candidates([CHILDREN[0].data])


def test_what_is_no_manifest_is_no_candidate():
    """An index may be attached as well, such as a signature for each platform."""
    content = json.loads(attachments.list_of([referrer(PLAIN)]).data)
    content["manifests"][0].update(mediaType=images.OCI_INDEX, artifactType="")
    assert image_attachments.candidates([images.to_json(content)]) == []


def test_more_candidates_than_are_looked_at():
    """Each costs requests, so all pages of all lists count together; a manifest that is listed twice counts once."""
    most = image_attachments.MAX_ATTACHED
    many = [referrer(PLAIN, str(number)) for number in range(most + 1)]
    pages = [attachments.list_of(many[start:start + 40]).data for start in range(0, most, 40)]
    assert len(image_attachments.candidates([*pages[:2], pages[0]])) == 80
    with pytest.raises(InvalidAttachment, match=f"{most + 1} manifests are attached, at most {most}"):
        image_attachments.candidates(pages)


def test_more_attestations_than_are_looked_at():
    entries = [{**ATTESTATION.descriptor(), "digest": f"sha256:{number:064x}", "annotations": dict(ATTESTATION.annotations)}
               for number in range(image_attachments.MAX_ATTACHED + 1)]
    content = json.loads(PLAIN.data)
    content["manifests"] += entries
    many = image_attachments.Subject(PLAIN.digest, manifests.parse(images.to_json(content)), CHILDREN[0].digest)
    with pytest.raises(InvalidAttachment, match="101 attestations .*at most 100"):
        image_attachments.attestations(many)


def test_the_manifests_go_before_the_indexs():
    own, common = attach(referrer(CHILDREN[0]), PLAIN), attach(referrer(PLAIN), PLAIN)
    no_bill = attach(attachments.referrer(CHILDREN[0], images.Blob("text/markdown", b"#"), ""), PLAIN)
    foreign = attach(referrer(CHILDREN[1]), PLAIN)
    assert image_attachments.choose(subject(PLAIN), [common, own, no_bill, foreign]) == [own]
    assert image_attachments.choose(subject(PLAIN), [common, no_bill, foreign]) == [common]
    assert image_attachments.choose(subject(PLAIN), [no_bill, foreign]) == []


@pytest.mark.parametrize(
    ("stem", "suffix", "number", "name"),
    [
        ("busybox-1.36.1", ".spdx.json", 1, "busybox-1.36.1.spdx.json"),
        ("busybox-1.36.1", ".spdx", 2, "busybox-1.36.1+2.spdx"),
    ],
)
def test_file_name(stem, suffix, number, name):
    assert image_attachments.file_name(stem, suffix, number) == name
    assert "+" not in reference.parse("busybox:1.36.1").stem


@pytest.mark.parametrize(("kind", "data"), [
    ("text/spdx", b"SPDXVersion: SPDX-2.3\n\xff"), ("text/spdx", b"# made by a tool\nSPDXVersion: SPDX-2.3\n"),
    ("application/spdx+json", b'\xef\xbb\xbf \r\n\t{"a": "\xff"'), ("application/vnd.cyclonedx+xml", b"\n<?xml?>"),
    ("application/vnd.syft+json", b"{}"), ("text/spdx+json", b"{}"), ("application/vnd.cyclonedx+json", b"{}"),
])
def test_a_bill_by_itself_is_taken_as_it_is(kind, data):
    document = manifests.Descriptor(kind, OTHER, len(data))
    assert image_attachments.extract(document, data, subject()) == data


@pytest.mark.parametrize("kind", image_attachments.SUFFIXES)
@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01", b"#!/bin/sh\n{", b"", b"!<arch>\n", b"\x1f\x8b", b"{\0", b"<\0",
                                  b"SPDXVersion:\0", b"\x89PNG", b"a{<"])
def test_a_bill_that_is_no_text_is_refused(kind, data):
    """OE-core runs rpmdeps on what is packaged, and BitBake expands what that prints of an ELF file's names."""
    with pytest.raises(InvalidAttachment, match="it is no text of the kind"):
        image_attachments.extract(manifests.Descriptor(kind, OTHER, len(data)), data, subject())


def statement(*subjects):
    return json.dumps({"subject": [{"digest": digests} for digests in subjects], "predicate": {}}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "Invalid statement"),
        (b"[]", "Invalid statement"),
        (b"[" * 100_000, "Invalid statement"),
        (b"\xff" * 100_000, "Invalid statement"),
        (statement({"\x1b[2J" * 999: "1"}), "Invalid statement"),
        (statement({"sha256": "\x1b[2J" + "5" * 99_999}), "Invalid statement"),
        (statement(*({"sha256": f"{number:064x}"} for number in range(999))), "is about 999 other images"),
        (b'{"subject": [{"digest": {}}]}', "Invalid statement"),
        (b'{"subject": %s, "predicate": {}}' % (b"[" * 5000 + b"]" * 5000), "Invalid statement"),
        (b'{"subject": [{"name": "%s"}]}' % bytes(manifests.MAX_MANIFEST_SIZE), "its subject is too large"),
        (b'{"subject": [], "predicate": {}', "no JSON object"),
        (b'{"subject": [], "predicate": {}} {}', "no JSON object"),
        (b'x {"subject": [], "predicate": {}}', "no JSON object"),
        (b'{"subject", "predicate": {}}', "no JSON object"),
        (b'{%s"subject": [], "predicate": {}}' % (b'"":0,' * 100), "more than 64 members"),
        (b'{"subject": [], "predicate": "' + b'\\"' * (1 << 20), "no JSON object"),
        (statement(), "is about nothing, not about the image sha256:"),
        (statement({"sha256": "5" * 64}), "is about sha256:5555"),
        (json.dumps({"subject": [{"digest": {"sha256": CHILDREN[0].hex}}], "predicate": []}).encode(), "no JSON object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_statements_that_are_wrong(data, words):
    with pytest.raises(InvalidAttachment, match=words) as caught:
        image_attachments.extract(manifests.Descriptor(images.IN_TOTO, OTHER, 1), data, subject())
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize("predicate", [
    b'{ "a": [1e400, "\\u00e9\\"}", {}],\n"b":{"predicate":{"c":","}} }',
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
], ids=["any", "deep"])
def test_a_bill_is_taken_out_of_its_statement_as_it_is(predicate):
    """Not written anew, which made a thousand bytes of one that is nested; not read, which takes forty times its size."""
    about = json.dumps([{"name": "x", "digest": {"sha256": CHILDREN[0].hex}}]).encode()
    document = manifests.Descriptor(images.IN_TOTO, OTHER, 1)
    for form in (b'{"subject":%s,"predicate":%s}', b' { "_type" : "a, b: {", "subject" : %s , "predicate" : %s\n} '):
        assert image_attachments.extract(document, form % (about, predicate), subject()) == predicate


def sized(name, size):
    """Return an attachment that says of its bill of materials to have a size."""
    content = json.loads(referrer(PLAIN, name).data)
    content["layers"][0]["size"] = size
    return attach(images.Blob(images.OCI_MANIFEST, images.to_json(content)), PLAIN)


def test_bills_that_are_too_large():
    """All together: a hundred large ones would fill the disk as well."""
    image_attachments.documents([sized("one", image_attachments.MAX_SIZE - 1), sized("two", 1)])
    for found in (
        [sized("one", image_attachments.MAX_SIZE + 1)], [sized("one", image_attachments.MAX_SIZE), sized("two", 1)]
    ):
        with pytest.raises(
            InvalidAttachment, match=f"{image_attachments.MAX_SIZE + 1} bytes, at most {image_attachments.MAX_SIZE}"
        ):
            image_attachments.documents(found)


# ------------------------------------------------------------------------------------------- image tarballs


@pytest.fixture
def full(tmp_path):
    """Write an image tarball of a content's amd64 image with attachments, and return its path."""

    def write(content=INDEX, made=(ATTESTATION,), name="docker_test_linux-amd64_sbom.tar"):
        blobs = {**content.blobs(), **{digest: blob for one in made for digest, blob in one.blobs().items()}}
        image = tarball.make_image(content.digest, content.data, AMD64, lambda blob: blobs[blob.digest].data)
        found = tuple(image_attachments.attach(image.subject, one.digest, one.data) for one in made)
        image = tarball.replace(image, attachments=found)
        extents = {}
        for number, (digest, blob) in enumerate(blobs.items()):
            path = tmp_path / str(number)
            path.write_bytes(blob.data)
            extents[digest] = tarball.Extent(str(path), 0, blob.size)
        tarball.write(str(tmp_path / name), image, extents)
        return tmp_path / name

    return write


def test_round_trip(full):
    path = full()
    image = tarball.verify(str(path), AMD64, INDEX.digest, Wanted())
    assert image == tarball.load(str(path), AMD64, INDEX.digest, Wanted())
    [(one, media_type, data)] = tarball.read_bills(str(path), image)
    assert (one.digest, media_type, json.loads(data)) == (ATTESTATION.digest, "application/spdx+json", BILL)
    with tarfile.open(path) as tar:
        names = [member.name for member in tar]
    assert len(names) == len(set(names)) == 2 + 2 + len(CHILDREN[0].layers) + 1 + 2


@pytest.mark.parametrize("read", [tarball.load, tarball.verify])
def test_nothing_is_read_that_was_not_asked_for(full, read):
    """No reader of image tarballs gives an image that is not checked, whether it reads the layers or not."""
    attested, plain = str(full()), str(full(PLAIN, (referrer(CHILDREN[0], "one"),), "docker_plain_linux-amd64_sbom.tar"))
    with pytest.raises(InvalidTarball, match="does not name one image"):
        read(attested, AMD64, INDEX.digest)
    with pytest.raises(InvalidTarball, match=f"the image has {INDEX.digest}, expected {OTHER}"):
        read(attested, AMD64, OTHER, Wanted())
    with pytest.raises(InvalidAttachment, match="is missing"):
        read(attested, AMD64, INDEX.digest, Wanted((OTHER,)))
    with pytest.raises(InvalidAttachment, match="is (missing|not pinned)"):
        read(plain, AMD64, PLAIN.digest, Wanted((referrer(CHILDREN[0], "two").digest,)))


def test_names_of_files():
    named = reference.parse(f"busybox:1@{OTHER}")
    plain = f"docker_sha256-{'0' * 64}_linux-amd64"
    assert tarball.file_name(named, "linux-amd64", None) == f"{plain}.tar"
    assert tarball.file_name(named, "linux-amd64", Wanted()) == f"{plain}_sbom.tar"
    pinned = [tarball.file_name(named, "linux-amd64", Wanted((digest,))) for digest in (OTHER, INDEX.digest)]
    assert all(name.startswith(f"{plain}_sbom-") for name in pinned) and len(set(pinned)) == 2


def test_an_attestation_can_not_be_left_out(full):
    with pytest.raises(InvalidAttachment, match=f"{ATTESTATION.digest}, which the index names, is missing"):
        tarball.verify(str(full(made=())), AMD64, INDEX.digest, Wanted())


def test_pins_name_all_that_is_there(full):
    one, two, foreign = referrer(CHILDREN[0], "one"), referrer(CHILDREN[0], "two"), referrer(CHILDREN[1], "foreign")
    path = full(PLAIN, (one, foreign))
    for pins, words in (((), ""), ((one, foreign), ""), ((one, two, foreign), "is missing"), ((one,), "is not pinned")):
        asked = Wanted(tuple(sorted(made.digest for made in pins)))
        if words:
            with pytest.raises(InvalidAttachment, match=words):
                tarball.verify(str(path), AMD64, PLAIN.digest, asked)
        else:
            assert len(tarball.verify(str(path), AMD64, PLAIN.digest, asked).attachments) == 2
    # An attestation may be pinned as well, though the index does that.
    tarball.verify(str(full()), AMD64, INDEX.digest, Wanted((ATTESTATION.digest,)))


@pytest.mark.parametrize("blob", [ATTESTATION, ATTESTATION.layers[1]], ids=["manifest", "bill"])
def test_no_byte_of_it_can_change(full, blob):
    path = full()
    data = path.read_bytes()
    assert data.count(blob.data) == 1
    middle = len(blob.data) // 2
    turned = blob.data[:middle] + bytes([blob.data[middle] ^ 1]) + blob.data[middle + 1:]
    path.write_bytes(data.replace(blob.data, turned))
    with pytest.raises(InvalidTarball, match="Checksum mismatch"):
        tarball.verify(str(path), AMD64, INDEX.digest, Wanted())


def test_a_bill_that_is_missing(full):
    path = full()
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    del files["blobs/sha256/" + ATTESTATION.layers[1].hex]
    with open(path, "wb") as file:
        writer = tarball.TarWriter(file)
        for name, data in files.items():
            writer.add(name, data)
        writer.close()
    for look in (lambda: tarball.verify(str(path), AMD64, INDEX.digest, Wanted()),
                 lambda: list(tarball.read_bills(str(path), tarball.load(str(path), AMD64, None, Wanted())))):
        with pytest.raises(InvalidTarball, match="is missing"):
            look()


# ------------------------------------------------------------------------------------------- foreign bytes

STATEMENT = json.loads(ATTESTATION.layers[1].data)
LIST = attachments.list_of([referrer(PLAIN)])
SEEDS = [STATEMENT, *(json.loads(one.data) for one in (ATTESTATION, referrer(PLAIN), LIST))]
ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just([]), st.just({}))


@st.composite
def damaged(draw):
    """Return a document in which a value somewhere is another one, or is gone."""
    document = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            place[key] = draw(ODD)
        else:
            del place[key]
        return json.dumps(document).encode()


@settings(deadline=None, max_examples=300)
@given(st.one_of(damaged(), st.binary(max_size=99)))
def test_any_damage(data):
    statement = manifests.Descriptor(images.IN_TOTO, OTHER, len(data))
    for read in (lambda: image_attachments.documents([image_attachments.attach(subject(), ATTESTATION.digest, data)]),
                 lambda: image_attachments.documents([image_attachments.attach(subject(PLAIN), OTHER, data)]),
                 lambda: image_attachments.candidates([data]), lambda: image_attachments.extract(
                     statement, data, subject()
                 )):
        try:
            read()
        except DockinError as error:
            assert str(error).isprintable(), error
