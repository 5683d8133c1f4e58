# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""DOCKIN_POLICY: which images may be fetched, and whose signatures they need."""

import base64
import json
import subprocess

import pytest

from support import images, registry, signing

pytestmark = pytest.mark.one_library


@pytest.fixture(scope="module")
def keyring():
    with signing.Keyring() as made:
        yield made


@pytest.fixture(scope="module")
def publisher(keyring):
    return keyring.gpg("publisher")


@pytest.fixture(scope="module")
def stranger(keyring):
    return keyring.gpg("stranger")


class Signed:
    """An image in a registry, the place of its signatures, and a policy for it."""

    def __init__(self, bench, server, content, lookaside):
        self.bench, self.content, self.lookaside = bench, content, lookaside
        self.repository = f"{server.address}/team/{content.digest[-12:]}"
        server.push(content, self.repository.partition("/")[2], "v1")
        self.url = f"docker://{self.repository};tag=v1"
        self.signatures = lookaside.directory / self.repository.partition("/")[2]
        self.policy = bench.directory / "policy.json"
        self.registries_d = bench.directory / "registries.d"
        self.registries_d.mkdir()

    @property
    def manifest(self):
        return self.content.manifest("linux/amd64")

    def require(self, **requirement):
        """Write a policy that demands this of the image's repository, and of nothing else anything but a refusal."""
        rules = {"docker": {self.repository: [requirement]}}
        self.policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": rules}))

    def where(self, text):
        """Write the file of registries.d, with an entry for the repository."""
        (self.registries_d / "team.yaml").write_text(f"docker:\n  {self.repository}:\n    {text}\n")

    def fetch(self, **variables):
        return self.bench.fetch(self.url, self.content.digest, **self.settings(variables))

    def refuse(self, *words, **variables):
        """Expect an error that has the words and names image and policy; nothing is fetched."""
        named = (f"{self.repository}:v1@{self.content.digest}: Source image rejected", f"DOCKIN_POLICY = '{self.policy}'")
        self.bench.refuse(self.url, *named, *words, pin=self.content.digest, **self.settings(variables))
        assert not self.bench.files()

    def settings(self, variables):
        return {"DOCKIN_POLICY": str(self.policy), "DOCKIN_REGISTRIES_D": str(self.registries_d), **variables}


@pytest.fixture
def made(request, bench, server, image, tmp_path):
    """An image of two platforms, not signed yet."""
    name = request.node.name
    content = images.index([image(name, platform) for platform in ("linux/amd64", "linux/arm64")])
    (tmp_path / "lookaside").mkdir()
    with registry.FileServer(tmp_path / "lookaside") as lookaside:
        yield Signed(bench, server, content, lookaside)


@pytest.fixture
def signed(made, publisher):
    """An image whose policy wants GPG signatures of publisher; they are on a web server."""
    made.require(type="signedBy", keyType="GPGKeys", keyPath=str(publisher.public))
    made.where(f"lookaside: {made.lookaside.url}")
    return made


def test_good_signature(signed, publisher):
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.fetch()
    assert any("signature-1" in request.path for request in signed.lookaside.log)


def test_key_in_the_policy(signed, publisher):
    """So that the policy needs no path."""
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    key = base64.b64encode(publisher.public.read_bytes()).decode()
    signed.require(type="signedBy", keyType="GPGKeys", keyData=key)
    signed.fetch()


def test_signature_that_nobody_asked_for(signed, stranger):
    """An OCI layout has no place for it."""
    stranger.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.require(type="insecureAcceptAnything")
    signed.fetch()


def test_one_good_signature_is_enough(signed, publisher, stranger):
    for key in (stranger, publisher):
        key.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.fetch()


def test_copy_that_skopeo_signed(signed, publisher):
    """With the user's own commands, as docs/signatures.md has them."""
    signed.where(f"lookaside: {signed.lookaside.url}\n    lookaside-staging: file://{signed.lookaside.directory}")
    target = signed.repository
    policy = signed.bench.directory / "accept.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    command = ["skopeo", "--policy", str(policy), "--registries.d", str(signed.registries_d), "copy", "--all"]
    command += ["--preserve-digests", "--sign-by", publisher.fingerprint]
    command += ["--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{target}:v1", f"docker://{target}:signed"]
    signed.refuse("no signature exists")
    subprocess.run(command, env=publisher.keyring.environment, check=True, capture_output=True, timeout=60)
    signed.fetch()


def test_unsigned(signed):
    signed.refuse("no signature exists", "DOCKIN_POLICY", "get the image signed", str(signed.registries_d))


def test_no_place_for_signatures(signed, publisher):
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.refuse("no signature exists", "DOCKIN_REGISTRIES_D is not set", DOCKIN_REGISTRIES_D=None)


def test_signature_of_the_index_alone(signed, publisher):
    publisher.sign(signed.content, f"{signed.repository}:v1", signed.signatures)
    signed.refuse("no signature exists", "signature of the index alone does not count")


def test_signature_of_another_platform(signed, publisher):
    publisher.sign(signed.content.manifest("linux/arm64"), f"{signed.repository}:v1", signed.signatures)
    signed.refuse("no signature exists")


def test_key_of_a_stranger(signed, stranger):
    stranger.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.refuse("Invalid GPG signature", stranger.fingerprint, "add the key if you trust its owner")


def test_signature_of_another_image(signed, publisher):
    """What was signed as one image is served as another."""
    publisher.sign(signed.manifest, f"{signed.repository}-other:v1", signed.signatures)
    signed.refuse(f"{signed.repository}-other:v1", "get it signed under that", "signedIdentity")


def test_signature_of_another_digest(signed, publisher):
    """An older image's signature, put beside a newer image."""
    older = signed.content.manifest("linux/arm64")
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures, signed=older)
    signed.refuse(older.digest, "the one under its name is of another image")


def test_damaged_signature(signed, publisher):
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    (file,) = signed.lookaside.directory.rglob("signature-1")
    for data in (file.read_bytes()[:20], b"no signature at all"):
        file.write_bytes(data)
        signed.refuse("can't be read")


def test_repository_without_a_rule(signed):
    signed.policy.write_text('{"default": [{"type": "reject"}]}')
    signed.refuse("rejected by policy", "containers-policy.json(5)")


def test_key_that_is_not_there(signed, publisher):
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.require(type="signedBy", keyType="GPGKeys", keyPath="/none/publisher.gpg")
    signed.refuse("/none/publisher.gpg", "can't be read")


@pytest.mark.parametrize("text", ["", "{", '{"default": [{"type": "signedLike"}]}'])
def test_policy_that_is_none(signed, text):
    signed.policy.write_text(text)
    signed.bench.refuse(
        signed.url, str(signed.policy), "containers-policy.json(5)", pin=signed.content.digest, **signed.settings({})
    )


def test_signature_where_there_is_nothing_to_download(signed, publisher, server):
    """All blobs are in DL_DIR, by another index."""
    signed.bench.fetch(signed.url, signed.content.digest)
    again = images.index(signed.content.manifests(), annotations={"again": "yes"})
    server.push(again, signed.repository.partition("/")[2], "v2")
    url = f"docker://{signed.repository};tag=v2"
    signed.bench.refuse(url, "no signature exists", pin=again.digest, **signed.settings({}))
    publisher.sign(signed.manifest, f"{signed.repository}:v1", signed.signatures)
    signed.bench.fetch(url, again.digest, **signed.settings({}))


# ------------------------------------------------------------------------------------------------- sigstore


@pytest.fixture(scope="module")
def sigstore_publisher(keyring):
    return keyring.sigstore("sigstore-publisher")


@pytest.fixture
def attached(made, server, sigstore_publisher):
    """An image whose policy wants sigstore signatures of publisher; they are in the registry."""
    made.require(
        type="sigstoreSigned", keyPath=str(sigstore_publisher.public), signedIdentity={"type": "matchRepository"}
    )
    made.where("use-sigstore-attachments: true")

    def attach(key, document, identity=made.repository):
        client = server.client()
        key.attach(document, identity, client, made.repository.partition("/")[2])
        client.close()

    made.attach = attach
    return made


def needs_sigstore(outcome):
    if "sigstore disabled" in outcome.text:
        assert "FETCHCMD_docker" in outcome.text
        pytest.skip("unavailable: this skopeo was built without sigstore")


def test_good_sigstore_signature(attached, sigstore_publisher):
    attached.attach(sigstore_publisher, attached.manifest)
    outcome = attached.bench.run(attached.url, pin=attached.content.digest, **attached.settings({}))
    needs_sigstore(outcome)
    assert outcome.error is None, outcome.text
    assert attached.bench.only_file()


def test_no_sigstore_signature(attached, sigstore_publisher):
    attached.refuse("no signature exists", "get the image signed")
    attached.attach(sigstore_publisher, attached.content)
    attached.refuse("no signature exists", "signature of the index alone does not count")


@pytest.mark.parametrize(
    ("who", "identity", "said"),
    [
        ("stranger", "", "add the key if you trust its owner"),
        ("sigstore-publisher", "-other", "get it signed under that"),
    ],
)
def test_bad_sigstore_signature(attached, keyring, sigstore_publisher, who, identity, said):
    key = sigstore_publisher if who == "sigstore-publisher" else keyring.sigstore(who)
    attached.attach(key, attached.manifest, attached.repository + identity)
    outcome = attached.bench.run(attached.url, pin=attached.content.digest, **attached.settings({}))
    assert outcome.error and not attached.bench.files()
    needs_sigstore(outcome)
    assert said in outcome.text


# ------------------------------------------------------------------------------------------ without signatures


def test_policy_that_forbids(bench, server, image):
    content = image("forbidden")
    server.push(content, "forbidden/app", "v1")
    policy = bench.directory / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    bench.refuse(
        f"docker://{server.address}/forbidden/app;tag=v1",
        "DOCKIN_POLICY",
        "rejected",
        pin=content.digest,
        DOCKIN_POLICY=str(policy),
    )
    assert not bench.files()


def test_policy_that_forbids_what_needs_no_download(bench, server, image):
    """Another index of an image whose blobs are all in DL_DIR."""
    content = image("retagged")
    url = f"docker://{server.address}/forbidden/app"
    server.push(content, "forbidden/app", "v1")
    bench.fetch(f"{url};tag=v1", content.digest)
    again = images.index(content.manifests(), annotations={"again": "yes"})
    server.push(again, "forbidden/app", "v2")
    policy = bench.directory / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    bench.refuse(f"{url};tag=v2", "rejected", pin=again.digest, DOCKIN_POLICY=str(policy))
    bench.fetch(f"{url};tag=v2", again.digest)
