# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is fuzzed: each reader of bytes that others write, with some good inputs to start from.

A target takes bytes. It may raise DockinError; whatever else it raises is a bug, and so is what it does not keep:
what it says of an input that it takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import pathlib
import ssl
import tarfile
import tempfile

from collections.abc import Callable
from dataclasses import dataclass, replace

from dockin.errors import DockinError
from dockin.image import archive, attachments as image_attachments, layertar, manifests, platforms, reference, tarball
from dockin.recipe import compose, markedyaml, recipefile, source, textreader, versions
from dockin.registry import client as registry_client, credentials, registriesconf, skopeo
from dockin.target import dockersave, imageinfo
from fuzz import chains
from support import attachments, images, layers

AMD64 = platforms.parse("linux/amd64")
LAYER = images.layer({"etc/motd": "words\n", "bin/x": images.Entry(b"x" * 99)})
PLAIN = images.layer({"etc/plain": "plain\n"}, "none")
ZSTD = chains.LAYERS["zstd"]
IMAGE = images.image([LAYER, PLAIN], "linux/amd64", labels={"org.opencontainers.image.licenses": "MIT"})
INDEX = images.index([IMAGE, images.image([LAYER], "linux/arm/v7")], attestations=True)
NAME = reference.parse("docker.io/library/busybox:1.36.1")
BILLS = {attachments.PROVENANCE: {"builder": {}}, attachments.SPDX: attachments.bill("app")}
ATTESTED = attachments.attested([IMAGE], BILLS)
ATTESTATION = ATTESTED.manifests()[1]
STATEMENT = ATTESTATION.layers[1]
REFERRERS = [attachments.referrer(IMAGE, attachments.bill_blob(name)) for name in ("one", "two")]


@dataclass(frozen=True)
class Target:
    """A reader and inputs that it takes."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


_SCRATCH = pathlib.Path(tempfile.gettempdir()) / f"dockin-fuzz-{os.getpid()}"


def scratch(data: bytes) -> str:
    """Return the path of a file with these bytes, the same one each time."""
    _SCRATCH.write_bytes(data)
    return str(_SCRATCH)


def remove_scratch() -> None:
    """Remove the file of scratch()."""
    _SCRATCH.unlink(missing_ok=True)


def image_tarball() -> bytes:
    """Return a good image tarball."""
    with tempfile.TemporaryDirectory() as folder:
        layers = {}
        for blob in IMAGE.layers:
            path = os.path.join(folder, blob.hex)
            pathlib.Path(path).write_bytes(blob.data)
            layers[blob.digest] = tarball.Extent(path, 0, blob.size)
        known = INDEX.blobs()
        image = tarball.make_image(INDEX.digest, INDEX.data, AMD64, lambda blob: known[blob.digest].data)
        target = os.path.join(folder, "image.tar")
        tarball.write(target, image, layers)
        return pathlib.Path(target).read_bytes()


def read_tarball(data: bytes) -> None:
    """Read an image tarball as one of a mirror; one that is taken for the pinned image has to be it."""
    path = scratch(data)
    tarball.read(path)
    image = tarball.verify(path, AMD64, INDEX.digest)
    assert image.manifest_digest == IMAGE.digest and image.config_bytes == IMAGE.config.data


def read_unpinned(data: bytes) -> None:
    """Read one of which nothing is known, and assemble an archive of it."""
    path = scratch(data)
    image = tarball.verify(path, AMD64, None)
    archive.assemble(path, image, NAME, archive.DECOMPRESSED, os.devnull)


def read_chain(data: bytes) -> None:
    """Read an image with a damaged piece below right digests, as the fetcher does and as a mirror's; see fuzz.chains."""
    chain = chains.make(data)

    def read_blob(blob: manifests.Descriptor) -> bytes:
        if blob.digest not in chain.blobs:
            raise DockinError("not in the registry")
        return chain.blobs[blob.digest]

    def fetched() -> tarball.Image:
        return tarball.make_image(chain.top, chain.blobs[chain.top], AMD64, read_blob)

    path = scratch(chains.pack(chain))
    image = _agree(fetched, lambda: tarball.load(path, AMD64, None))
    for digest, content in image.documents.items():
        assert content == chain.blobs[digest]
    assert AMD64.accepts(platforms.Platform(image.config.os, image.config.architecture, image.config.variant))
    assert tarball.verify(path, AMD64, chain.top) == image
    for mode in archive.LAYER_MODES:
        with tempfile.NamedTemporaryFile() as made:
            archive.assemble(path, image, NAME, mode, made.name)
            check_archive(made.name, image)


def _agree(*ways: Callable[[], tarball.Image]) -> tarball.Image:
    """Return what all ways give. Raises DockinError where all of them do."""
    found: list[tarball.Image] = []
    errors: list[DockinError] = []
    for way in ways:
        try:
            found.append(way())
        except DockinError as error:
            assert str(error).isprintable(), error
            errors.append(error)
    if errors and not found:
        raise errors[0]
    assert not errors and all(one == found[0] for one in found), (found, errors)
    return found[0]


def check_archive(path: str, image: tarball.Image) -> None:
    """Look at an archive without the code that made it: each piece has its digest, each layer is what the config says."""
    blobs = {}
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content
            blobs[member.name] = content.read()
    for name, data in blobs.items():
        if name.startswith("blobs/"):
            assert name == "blobs/sha256/" + hashlib.sha256(data).hexdigest()
    [entry] = json.loads(blobs["manifest.json"])
    assert blobs[entry["Config"]] == image.config_bytes
    plain = [chains.unpacked(blobs[name]) for name in entry["Layers"]]
    assert ["sha256:" + hashlib.sha256(data or b"").hexdigest() for data in plain] == list(image.config.diff_ids)


def read_referrers(data: bytes) -> None:
    """Read a list of what is attached to an image, its pages parted by dashes; what is taken is few, and named by digest."""
    found = image_attachments.candidates(data.split(b"\n---\n"))
    assert len(found) <= image_attachments.MAX_ATTACHED and found == sorted(filter(reference.is_digest, set(found)))


def read_attachment(data: bytes) -> None:
    """Read a manifest as one that is attached to an image: named by its index, listed, or pinned."""
    digest = manifests.digest_of(data)
    _go_all(
        lambda: _attached_as(ATTESTED, ATTESTATION.digest, data), lambda: _attached_as(INDEX, digest, data))


def _attached_as(content: images.Index, digest: str, data: bytes) -> None:
    subject = image_attachments.Subject(content.digest, manifests.parse(content.data), IMAGE.digest)
    one = image_attachments.attach(subject, digest, data)
    bills = image_attachments.documents([one, one])
    assert len({blob.digest for _, blob, _ in bills}) == len(bills)
    assert all(
        media_type in image_attachments.SUFFIXES and blob.size <= image_attachments.MAX_SIZE for _, blob, media_type in bills
    )
    # One that the index names is not taken from a list, whatever its own subject is.
    assert one.in_index or image_attachments.choose(subject, [one]) == ([one] if bills else [])
    image_attachments.check(subject, [one], image_attachments.Wanted())


def _go_all(*ways: Callable[[], None]) -> None:
    """Go all ways. Raises DockinError where none of them takes the input; what they say can be printed."""
    errors = []
    for way in ways:
        try:
            way()
        except DockinError as error:
            assert str(error).isprintable(), error
            errors.append(error)
    if len(errors) == len(ways):
        raise errors[0]


def read_statement(data: bytes) -> None:
    """Read an in-toto statement about the image; what is taken out of it is what a reader of JSON finds there."""
    subject = image_attachments.Subject(IMAGE.digest, manifests.parse(IMAGE.data), IMAGE.digest)
    document = manifests.Descriptor(images.IN_TOTO, manifests.digest_of(data), len(data))
    try:
        bill = image_attachments.extract(document, data, subject)
    except DockinError as error:
        assert str(error).isprintable() and len(str(error)) < 500, error
        raise
    assert bill in data
    # Where the statement is JSON as a whole. By repr(), as a number that is none (NaN) is not equal to itself.
    with contextlib.suppress(ValueError, RecursionError):
        expected = json.loads(data.decode())["predicate"]
        assert repr(json.loads(bill)) == repr(expected)


def bills_tarball() -> bytes:
    """Return a good image tarball with bills of materials of both kinds."""
    known = {**ATTESTED.blobs(), **{digest: blob for one in REFERRERS for digest, blob in one.blobs().items()}}
    with tempfile.TemporaryDirectory() as folder:
        image = tarball.make_image(ATTESTED.digest, ATTESTED.data, AMD64, lambda blob: known[blob.digest].data)
        found = [image_attachments.attach(image.subject, one.digest, one.data) for one in (ATTESTATION, *REFERRERS)]
        image = replace(image, attachments=tuple(found))
        extents = {}
        for blob in image.blobs:
            path = os.path.join(folder, blob.digest[7:])
            pathlib.Path(path).write_bytes(known[blob.digest].data)
            extents[blob.digest] = tarball.Extent(path, 0, blob.size)
        target = os.path.join(folder, "image.tar")
        tarball.write(target, image, extents)
        return pathlib.Path(target).read_bytes()


def read_bills(data: bytes) -> None:
    """Read an image tarball of a mirror with bills of materials; those that are taken are the ones that were attached."""
    path = scratch(data)
    image = tarball.verify(path, AMD64, ATTESTED.digest, image_attachments.Wanted())
    good = {json.dumps(attachments.bill(name)) for name in ("app", "one", "two")}
    for _, media_type, bill in tarball.read_bills(path, image):
        assert media_type == attachments.SPDX_TYPE and json.dumps(json.loads(bill)) in good


def read_headers(data: bytes) -> None:
    """Read an image tarball with changed headers whose sums are right; what is taken has the pieces that it had."""
    chain = chains.make(b"\x03\0")
    path = scratch(chains.pack(chain, data))
    image = tarball.verify(path, AMD64, chain.top)
    assert all(content == chain.blobs[digest] for digest, content in image.documents.items())
    for digest, extent in tarball.read(path).items():
        if digest in {layer.digest for layer in image.manifest.layers}:
            assert b"".join(tarball.chunks(extent)) == chain.blobs[digest]


class _Canned(http.client.HTTPConnection):
    """A connection on which the answers of an input come, one for each request."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__("registry.example")
        self._answers = answers

    def connect(self) -> None:
        """Connect to nobody."""
        self.sock = self

    def sendall(self, data: bytes) -> None:
        """Send nothing."""

    def makefile(self, mode: str) -> io.BytesIO:
        """Return the next answer."""
        return io.BytesIO(self._answers.pop(0) if self._answers else b"")

    def close(self) -> None:
        """Forget a response that was not read to its end."""
        self.sock = None
        super().close()


class _CannedClient(registry_client.Client):
    """Asks for what an input answers."""

    answers: list[bytes]

    def _connect(self, scheme: str, netloc: str, context: ssl.SSLContext) -> http.client.HTTPConnection:
        return _Canned(self.answers)


_CONTEXT = ssl.create_default_context()


def read_answers(data: bytes) -> None:
    """Ask a registry for what the tools ask one for; answers are parted by dashes. Refused is what answers no question."""
    asked = reference.parse(f"registry.example/team/app@{IMAGE.digest}")
    failures = []
    questions = ("head", "manifest", "tags", "referrers")
    for question in questions:
        client = _CannedClient(
            credentials.Credentials("", {}), lambda _: registry_client.Access(_CONTEXT, True), registry_client.Statistics(),
            retries=0)
        client.answers = data.replace(b"\r\n", b"\n").split(b"\n---\n")
        try:
            getattr(client, question)(asked)
        except DockinError as error:
            assert str(error).isprintable(), error
            failures.append(error)
        finally:
            client.close()
    if len(failures) == len(questions):
        raise failures[0]


def saved_archive() -> bytes:
    """Return what "docker save" could have written."""
    stream = io.BytesIO()
    entry = {"Config": f"blobs/sha256/{IMAGE.config.hex}", "RepoTags": [NAME.familiar],
             "Layers": [f"blobs/sha256/{blob.hex}" for blob in IMAGE.layers]}
    files = {"manifest.json": json.dumps([entry]).encode(),
             "index.json": json.dumps({"schemaVersion": 2, "manifests": [IMAGE.descriptor()]}).encode()}
    files.update((f"blobs/sha256/{blob.hex}", blob.data) for blob in IMAGE.blobs().values())
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


INFORMATION = imageinfo.ImageInformation(
    NAME.canonical, NAME.familiar, "linux/amd64", "docker", "busybox.tar.xz", 5, 9, 7, IMAGE.config.digest, IMAGE.digest,
    INDEX.digest)


def read_saved(data: bytes) -> None:
    """Read an archive that a user has put in place of ours."""
    dockersave.describe(scratch(data), INFORMATION)


def read_information(data: bytes) -> None:
    """Read an image information file; what is taken is written as it can be read again."""
    read = imageinfo.parse(data.decode("utf-8", "surrogateescape"), "x.image")
    assert imageinfo.parse(read.render(), "y.image") == read


def read_reference(data: bytes) -> None:
    """Read an image reference; its canonical form is one that means the same."""
    read = reference.parse(data.decode("utf-8", "surrogateescape"))
    assert reference.parse(read.canonical).canonical == read.canonical


def read_src_uri(data: bytes) -> None:
    """Read the value of SRC_URI."""
    source.parse_src_uri(data.decode("utf-8", "surrogateescape"))


def read_recipe(data: bytes) -> None:
    """Read a recipe for the refresh; applying no edit leaves every byte."""
    path = scratch(data)
    text = recipefile.load(path)
    assert recipefile.apply(text, []).encode("utf-8", "surrogateescape") == data
    textreader.read(path)


def read_registries_conf(data: bytes) -> None:
    """Read a registries.conf and ask it for a repository."""
    registriesconf.RegistriesConf(scratch(data), {}).route("docker.io", "library/busybox")


def read_logins(data: bytes) -> None:
    """Read a login file and look a login up in it; none of its helpers is there."""
    try:
        credentials.read(scratch(data))
    except ValueError:
        pass  # credentials and messages expect it of a file that can't be read
    credentials.Credentials(scratch(data), {"PATH": "/nonexistent"}).find("docker.io", "library/busybox")


def read_compose(data: bytes) -> None:
    """Read a Compose file."""
    compose.parse(data.decode("utf-8", "surrogateescape"), "compose.yml")


def read_yaml(data: bytes) -> None:
    """Read YAML, and each of its texts where it stands."""
    text = data.decode("utf-8", "surrogateescape")
    left = [markedyaml.parse(text, "x.yml")]
    seen = set()
    while left:
        node = left.pop()
        if isinstance(node, str):
            # Where a text stands, nothing else does.
            assert node.spot is None or text[slice(*node.spot)] == node
        elif id(node) not in seen:
            seen.add(id(node))
            left += node.values() if isinstance(node, dict) else node


def read_layer(data: bytes) -> None:
    """Decompress a layer; what Python's gzip and zstandard make of it is what we make of it, where they take it."""
    plain = b"".join(archive.decompress(iter([data]), "layer"))
    expected = chains.unpacked(data)
    assert expected is None or plain == expected


def read_layer_tar(data: bytes) -> None:
    """Read a layer's tar; whatever is in it, every byte of it is given once and in order."""
    reader = layertar.Reader([data])
    seen = b""
    while reader.next():
        seen += reader.raw() + b"".join(reader.content())
    assert seen + reader.raw() + b"".join(reader.rest()) == data


def read_failure(data: bytes) -> None:
    """Read the error output of skopeo; the message is a line that can be printed."""
    assert "\n" not in skopeo.classify(data.decode("utf-8", "replace")).message


def read_tags(data: bytes) -> None:
    """Read what skopeo prints as tags, and choose among them."""
    tags = skopeo.parse_tags(data.decode("utf-8", "surrogateescape"))
    versions.newest(tags, "1.0")
    versions.upgrades(tags, "1.0", "minor")


RECIPE = f'''SUMMARY = "x"
inherit dockin
require x.inc
SRC_URI = "docker://busybox;tag=${{PV}};name=a \\
           docker://quay.io/team/app:v1@{IMAGE.digest}"
SRC_URI:append:arm = " docker://b;digest={INDEX.digest}"
SRC_URI[a.sha256sum] = "{INDEX.hex}"
python () {{
    d.appendVar("SRC_URI", " docker://c")
}}
'''.encode()
COMPOSE = b"""services:
  web: {image: "busybox:1.36.1", platform: linux/amd64}
  db:
    image: ${DB:-quay.io/team/app:v1} # why
    command: |
      one
      two
    ports: ['80:80', "81:81"]
    volumes: [{type: image, source: pages:1}]
    pre_start:
      - image: &move "quay.io/team/app:v2"
  old: &old {image: *move, environment: [A, 'B=${B}']}
  new: {<<: *old, extends: db}
"""
REGISTRIES = b'''unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io"
location = "mirror.example.com/hub" # where
insecure = true
[[registry.mirror]]
location = "other.example.com"
'''
ANSWERS = (
    b'HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Bearer realm="https://auth.example/token",service="x"\n'
    b"Content-Length: 0\n\n",
    b'HTTP/1.1 200 OK\nContent-Type: application/json\n\n{"token": "hush", "expires_in": 60}',
    b"HTTP/1.1 200 OK\nContent-Type: " + images.OCI_INDEX.encode() + b"\nDocker-Content-Digest: " + INDEX.digest.encode()
    + b'\nRateLimit-Remaining: 5;w=60\nLink: </v2/x/tags/list?last=v1>; rel="next"\n\n{"tags": ["v1", "v2"]}',
)
LOGINS = b'{"auths": {"docker.io": {"auth": "YTpi"}, "x": {"identitytoken": "t"}}, "credHelpers": {"x": "y"}}'
SRC_URI = b"docker://busybox;tag=1;name=a file://x docker://h:5/a/b;platform=linux/arm/v7"
TAGS = b'{"Repository": "x", "Tags": ["1.0", "1.1-alpine", "v2", "latest"]}'
FAILURE = b'time="2026-11-23T10:00:00Z" level=fatal msg="reading manifest v1 in docker.io/x: toomanyrequests: \\"slow\\""'
LISTS = tuple(attachments.list_of([one]).data for one in REFERRERS)
REFERENCES = (b"busybox", b"[::1]:5000/team/app:v1@" + IMAGE.digest.encode(), b"localhost/x:y")

TARGETS = {
    "config": Target(manifests.parse_config, (IMAGE.config.data,)),
    "manifest": Target(manifests.parse, (INDEX.data, IMAGE.data)),
    "tarball": Target(read_tarball, (image_tarball(),)),
    "unpinned": Target(read_unpinned, (image_tarball(),)),
    "layer": Target(read_layer, (LAYER.blob("oci").data, PLAIN.tar)),
    "zstd": Target(read_layer, (ZSTD.data, b"\x50\x2a\x4d\x18\x02\0\0\0ab" + ZSTD.data)),
    "chain": Target(read_chain, chains.seeds()),
    "headers": Target(read_headers, (b"",)),
    "referrers": Target(read_referrers, (LISTS[0], b"\n---\n".join(LISTS))),
    "attachment": Target(read_attachment, (ATTESTATION.data, REFERRERS[0].data)),
    "statement": Target(read_statement, (STATEMENT.data,)),
    "bills": Target(read_bills, (bills_tarball(),)),
    "answers": Target(read_answers, (b"\n---\n".join(ANSWERS), ANSWERS[1], ANSWERS[2])),
    "layertar": Target(read_layer_tar, tuple(make()[-1].tar for make in layers.AWKWARD.values())),
    "saved": Target(read_saved, (saved_archive(),)),
    "information": Target(read_information, (INFORMATION.render().encode(),)),
    "reference": Target(read_reference, REFERENCES),
    "src_uri": Target(read_src_uri, (SRC_URI,)),
    "recipe": Target(read_recipe, (RECIPE, RECIPE.replace(b"\n", b"\r\n"))),
    "registries": Target(read_registries_conf, (REGISTRIES,)),
    "logins": Target(read_logins, (LOGINS,)),
    "compose": Target(read_compose, (COMPOSE,)),
    "yaml": Target(read_yaml, (COMPOSE,)),
    "tags": Target(read_tags, (TAGS,)),
    "failure": Target(read_failure, (FAILURE,)),
}


def run(name: str, data: bytes) -> bool:
    """Give a target an input; return whether it took it. What is raised is a bug."""
    try:
        TARGETS[name].read(data)
    except DockinError:
        return False
    return True
