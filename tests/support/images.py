# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Build real container images in pure Python, byte for byte the same every time.

An image is made of layers (a tar, packed with gzip, zstd or nothing), a config and a manifest; several
platforms make an index. Both forms that registries serve are written: Docker's schema 2 and OCI. The binary
inside is this machine's static busybox, so that an image for this machine's architecture runs; for other
architectures a busybox script stands in for the binary, which is enough for all that only moves bytes.

    base = images.busybox_layer()
    one = images.image([base, images.layer({"etc/motd": "one"})], platform="linux/amd64")
    all_of_them = images.index([one, images.image([base], platform="linux/arm64/v8")])
    digest = all_of_them.push(registry.client(), "library/busybox", "1.36.1")

A built Manifest or Index can be pushed to a registry, or asked for its bytes (blobs()) where a test makes
files itself.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import io
import json
import platform as host_platform
import shutil
import ssl
import subprocess
import tarfile
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Mapping, Sequence, Union

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
IN_TOTO = "application/vnd.in-toto+json"

CREATED = "2024-01-01T00:00:00Z"
MTIME = 1704067200  # CREATED in seconds

# The eight platforms of Docker Hub's busybox that OE-core has machines for, and s390x.
BUSYBOX_PLATFORMS = (
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64/v8",
    "linux/386",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
)

Content = Union[bytes, str, "Symlink", "Entry"]


def sha256(data: bytes) -> str:
    """Return the digest of data, "sha256:" and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def to_json(value: Any) -> bytes:
    """Return value as JSON bytes, indented as registries' own files are."""
    return json.dumps(value, indent=3).encode()


@dataclass(frozen=True)
class Symlink:
    """A symbolic link in a layer."""

    target: str


@dataclass(frozen=True)
class Entry:
    """A file in a layer whose mode differs from 0644."""

    data: bytes
    mode: int = 0o755


@dataclass(frozen=True)
class Blob:
    """A piece of an image as a registry stores it."""

    media_type: str
    data: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        return sha256(self.data)

    @property
    def hex(self) -> str:
        return self.digest.split(":")[1]

    @property
    def size(self) -> int:
        return len(self.data)

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        """Return what a manifest says about this blob."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **extra}


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer tar and how it is to be packed."""

    tar: bytes = field(repr=False)
    compression: str = "gzip"

    @property
    def diff_id(self) -> str:
        return sha256(self.tar)

    def blob(self, form: str) -> Blob:
        """Return the packed layer, its media type as form ("oci" or "docker") wants it."""
        suffix = {"gzip": "gzip", "zstd": "zstd", "none": ""}[self.compression]
        if form == "oci":
            media_type = OCI_LAYER + ("+" + suffix if suffix else "")
        else:
            media_type = DOCKER_LAYER + ("." + suffix if suffix else "")
        return Blob(media_type, _pack(self.tar, self.compression))


@dataclass(frozen=True)
class Manifest(Blob):
    """One platform's manifest with all it refers to."""

    config: Blob = field(repr=False, default=Blob("", b""))
    layers: tuple[Blob, ...] = field(repr=False, default=())
    platform: str = "linux/amd64"
    annotations: tuple[tuple[str, str], ...] = ()

    def blobs(self) -> dict[str, Blob]:
        """Return every blob of the image by digest, the manifest included."""
        return {blob.digest: blob for blob in (*self.layers, self.config, self)}

    def manifests(self) -> tuple[Manifest, ...]:
        return (self,)

    def push(self, client: Client, repository: str, tag: str | None = None) -> str:
        """Push config, layers and manifest; return the manifest digest."""
        for blob in (*self.layers, self.config):
            client.push_blob(repository, blob)
        return client.push_manifest(repository, self, tag)


@dataclass(frozen=True)
class Index(Blob):
    """A multi-platform index with all its manifests."""

    children: tuple[Manifest, ...] = field(repr=False, default=())

    def blobs(self) -> dict[str, Blob]:
        """Return every blob of every platform by digest, manifests and the index included."""
        found = {digest: blob for child in self.children for digest, blob in child.blobs().items()}
        found[self.digest] = self
        return found

    def manifests(self) -> tuple[Manifest, ...]:
        return self.children

    def manifest(self, platform: str) -> Manifest:
        """Return the manifest of a platform, such as "linux/arm/v7"."""
        return next(child for child in self.children if child.platform == platform)

    def push(self, client: Client, repository: str, tag: str | None = None) -> str:
        """Push every platform and the index; return the index digest."""
        for child in self.children:
            child.push(client, repository)
        return client.push_manifest(repository, self, tag)


class PushError(Exception):
    """A registry refused something that a test wanted to push."""


class Client:
    """Talk to one registry: push blobs and manifests, move and delete tags.

    address is "host:port"; context a TLS context for https, None for plain HTTP; login a pair (user,
    password).
    """

    def __init__(
        self,
        address: str,
        context: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        timeout: float = 20,
    ):
        self.address = address
        self.context = context
        self.timeout = timeout
        self.headers = {"User-Agent": "dockin-tests"}
        if login:
            self.headers["Authorization"] = "Basic " + b64encode(":".join(login).encode()).decode()
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, body: bytes | BinaryIO | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and return (status, headers, body)."""
        for attempt in (1, 2):  # the server may have closed a kept connection
            connection = self._connect()
            try:
                connection.request(method, path, body, {**self.headers, **(headers or {})})
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()
            except (http.client.HTTPException, ConnectionError):
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the kept connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def push_blob(self, repository: str, blob: Blob) -> None:
        """Upload a blob unless the repository has it."""
        self.push_stream(repository, blob.digest, blob.size, blob.data)

    def push_stream(self, repository: str, digest: str, size: int, data: bytes | BinaryIO) -> None:
        """Upload a blob, of which only its digest and size have to be in memory, unless the repository has it."""
        status, _, _ = self.request("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == 200:
            return
        status, headers, answer = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        self._expect(status, 202, f"start the upload of {digest} to {repository}", answer)
        location = urllib.parse.urlsplit(headers["Location"])
        query = f"{location.query}&digest={urllib.parse.quote(digest)}".lstrip("&")
        about = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        status, _, answer = self.request("PUT", f"{location.path}?{query}", data, about)
        self._expect(status, 201, f"upload {digest} to {repository}", answer)

    def push_manifest(self, repository: str, manifest: Blob, tag: str | None = None) -> str:
        """Upload a manifest or index under its digest or a tag (which moves there); return its digest."""
        status, _, answer = self.request(
            "PUT",
            f"/v2/{repository}/manifests/{tag or manifest.digest}",
            manifest.data,
            {"Content-Type": manifest.media_type},
        )
        self._expect(status, 201, f"push the manifest {manifest.digest} to {repository}:{tag}", answer)
        return manifest.digest

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest, and with it every tag that points to it."""
        status, _, answer = self.request("DELETE", f"/v2/{repository}/manifests/{digest}")
        self._expect(status, 202, f"delete {repository}@{digest}", answer)

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self.context:
                self._connection = http.client.HTTPSConnection(
                    self.address, timeout=self.timeout, context=self.context
                )
            else:
                self._connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
        return self._connection

    def _expect(self, status: int, wanted: int, what: str, answer: bytes) -> None:
        if status != wanted:
            raise PushError(f"{self.address}: cannot {what}: status {status}, not {wanted}: {answer[:300]!r}")


def busybox_binary() -> Path:
    """Return the path of this machine's static busybox."""
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if not found:
        raise FileNotFoundError("no busybox on this machine; install Debian's busybox-static")
    return Path(found)


def host_architecture() -> str:
    """Return the OCI platform that this machine runs, such as "linux/amd64"."""
    names = {
        "x86_64": "linux/amd64",
        "aarch64": "linux/arm64/v8",
        "armv7l": "linux/arm/v7",
        "i686": "linux/386",
        "ppc64le": "linux/ppc64le",
        "riscv64": "linux/riscv64",
        "s390x": "linux/s390x",
    }
    machine = host_platform.machine()
    if machine not in names:
        raise LookupError(f"no OCI platform is known for this machine's {machine!r}; add it to {__name__}")
    return names[machine]


def layer(files: Mapping[str, Content], compression: str = "gzip") -> Layer:
    """Return a layer with files (path -> text, bytes, Entry or Symlink) and the directories above them."""
    directories = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    for name in sorted(directories | set(files)):
        info = tarfile.TarInfo(name)
        info.mtime = MTIME
        data = b""
        if name in directories:
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        else:
            content = files[name]
            if isinstance(content, Symlink):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, content.target, 0o777
            else:
                entry = content if isinstance(content, Entry) else Entry(_bytes(content), 0o644)
                data, info.mode = entry.data, entry.mode
        info.size = len(data)
        members.append((info, data))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return Layer(stream.getvalue(), compression)


@functools.lru_cache(maxsize=32)
def filler_layer(name: str, size: int, compression: str = "gzip") -> Layer:
    """Return a layer with one incompressible file of size bytes, the same every time for a name."""
    block = b"".join(hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(-(-size // 32)))
    return layer({f"srv/{name}": block[:size]}, compression)


@functools.lru_cache(maxsize=32)
def busybox_layer(platform: str | None = None, compression: str = "gzip") -> Layer:
    """Return a root file system of busybox: this machine's binary, or a stand-in for a foreign platform.

    platform None, or this machine's own, gives the real binary with a link for each of its applets.
    """
    if platform in (None, host_architecture()):
        binary = busybox_binary()
        applets = subprocess.run(
            [str(binary), "--list"], check=True, capture_output=True, text=True, timeout=20
        ).stdout.split()
        data = binary.read_bytes()
    else:
        applets = ["sh", "echo", "true"]
        data = f"busybox for {platform}: a stand-in, as this machine has only its own binary\n".encode()
    files: dict[str, Content] = {"bin/busybox": Entry(data)}
    files.update(
        {f"bin/{name}": Symlink("busybox") for name in applets if name not in ("busybox", "linuxrc")}
    )
    files["etc/passwd"] = "root:x:0:0:root:/root:/bin/sh\n"
    files["etc/group"] = "root:x:0:\n"
    files["tmp/.keep"] = files["root/.keep"] = ""
    return layer(files, compression)


def image(
    layers: Sequence[Layer],
    platform: str | None = None,
    form: str = "oci",
    labels: Mapping[str, str] | None = None,
    command: Sequence[str] = ("sh",),
    annotations: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return an image of layers for a platform (None: this machine's), as form "oci" or "docker" has it.

    config adds to or replaces the config's top-level keys; with it a test can make a config that lies.
    """
    platform = platform or host_architecture()
    system, architecture, variant = _split(platform)
    content: dict[str, Any] = {
        "created": CREATED,
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": system,
        "config": {
            "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"],
            "Cmd": list(command),
            **({"Labels": dict(labels)} if labels else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [
            {"created": CREATED, "created_by": f"dockin test layer {number}"}
            for number, _ in enumerate(layers)
        ],
        **(config or {}),
    }
    config_blob = Blob(OCI_CONFIG if form == "oci" else DOCKER_CONFIG, to_json(content))
    return manifest(config_blob, [one.blob(form) for one in layers], platform, form, annotations)


def manifest(
    config: Blob,
    layers: Sequence[Blob],
    platform: str,
    form: str = "oci",
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a manifest over blobs that exist already, whatever they are."""
    media_type = OCI_MANIFEST if form == "oci" else DOCKER_MANIFEST
    content = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [one.descriptor() for one in layers],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return Manifest(media_type, to_json(content), config, tuple(layers), platform)


@dataclass(frozen=True)
class Schema1(Blob):
    """A signed manifest of schema 1: its digest is that of the payload, which is not all of its bytes."""

    payload: bytes = b""

    @property
    def digest(self) -> str:
        return sha256(self.payload)

    def blobs(self) -> dict[str, Blob]:
        """Return it by its digest, without layers."""
        return {self.digest: self}


def schema_1(repository: str, tag: str, layers: Sequence[str]) -> Schema1:
    """Return a manifest of schema 1 as registries serve it, with a signature that nobody checks.

    https://distribution.github.io/distribution/spec/deprecated-schema-v1/
    """
    payload = json.dumps(
        {
            "schemaVersion": 1,
            "name": repository,
            "tag": tag,
            "architecture": "amd64",
            "fsLayers": [{"blobSum": digest} for digest in reversed(layers)],
            "history": [{"v1Compatibility": json.dumps({"id": digest[7:], "os": "linux"})} for digest in layers],
        },
        indent=3,
    ).encode()
    tail = b"\n}"
    body = payload[: -len(tail)]
    protected = {"formatLength": len(body), "formatTail": _base64url(tail), "time": CREATED}
    key = {"crv": "P-256", "kid": "TEST", "kty": "EC", "x": _base64url(bytes(32)), "y": _base64url(bytes(32))}
    signature = {
        "header": {"jwk": key, "alg": "ES256"},
        "signature": _base64url(bytes(64)),
        "protected": _base64url(json.dumps(protected).encode()),
    }
    text = body + b',\n   "signatures": ' + json.dumps([signature]).encode() + tail
    return Schema1("application/vnd.docker.distribution.manifest.v1+prettyjws", text, payload)


def attestation(subject: Manifest) -> Manifest:
    """Return an attestation manifest as BuildKit writes it beside an image, platform unknown/unknown."""
    statement = Blob(
        IN_TOTO,
        to_json(
            {"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": {"sha256": subject.hex}}]}
        ),
    )
    config = Blob(
        OCI_CONFIG,
        to_json(
            {
                "architecture": "unknown",
                "os": "unknown",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [statement.digest]},
            }
        ),
    )
    made = manifest(config, [statement], "unknown/unknown")
    return Manifest(
        made.media_type,
        made.data,
        made.config,
        made.layers,
        "unknown/unknown",
        (
            ("vnd.docker.reference.digest", subject.digest),
            ("vnd.docker.reference.type", "attestation-manifest"),
        ),
    )


def index(
    manifests: Sequence[Manifest],
    form: str = "oci",
    attestations: bool = False,
    platforms: Sequence[str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Index:
    """Return an index over manifests.

    attestations adds BuildKit's unknown/unknown entries. platforms overrides what the entries say about their
    manifests, so that a test can make an index that lies; "" states none.
    """
    children = list(manifests)
    named = list(platforms or [one.platform for one in children])
    if attestations:
        added = [attestation(one) for one in children]
        children += added
        named += ["unknown/unknown"] * len(added)
    entries = []
    for child, platform in zip(children, named):
        extra: dict[str, Any] = {}
        if platform:
            system, architecture, variant = _split(platform)
            about = {"architecture": architecture, "os": system, **({"variant": variant} if variant else {})}
            extra["platform"] = about
        if child.annotations:
            extra["annotations"] = dict(child.annotations)
        entries.append(child.descriptor(**extra))
    media_type = OCI_INDEX if form == "oci" else DOCKER_INDEX
    content = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": entries,
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return Index(media_type, to_json(content), tuple(children))


def busybox(
    version: str = "1.36.1",
    platforms: Sequence[str] = BUSYBOX_PLATFORMS,
    form: str = "oci",
    attestations: bool = True,
    extra: Sequence[Layer] = (),
) -> Index:
    """Return a multi-platform busybox like Docker Hub's; it runs where a platform is this machine's own."""
    labels = {
        "org.opencontainers.image.title": "busybox",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.description": "Busybox base image, built for meta-dockin's tests.",
        "org.opencontainers.image.licenses": "GPL-2.0-only",
        "org.opencontainers.image.url": "https://busybox.net/",
        "org.opencontainers.image.source": "https://git.busybox.net/busybox",
    }
    children = [
        image(
            [busybox_layer(platform), layer({"etc/version": version + "\n"}), *extra], platform, form, labels
        )
        for platform in platforms
    ]
    return index(children, form, attestations=attestations and form == "oci")


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _split(platform: str) -> tuple[str, str, str]:
    system, architecture, *variant = platform.split("/")
    return system, architecture, variant[0] if variant else ""


@functools.lru_cache(maxsize=64)
def _pack(data: bytes, compression: str) -> bytes:
    if compression == "none":
        return data
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if compression == "zstd":
        return subprocess.run(
            ["zstd", "-q", "-T1", "-c"], input=data, check=True, capture_output=True, timeout=60
        ).stdout
    raise ValueError(f"unknown layer compression {compression!r}; known are gzip, zstd and none")
