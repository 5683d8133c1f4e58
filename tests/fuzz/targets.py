# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What is fuzzed: each reader of bytes that others write, with some good inputs to start from.

A target takes bytes. It may raise DockinError; whatever else it raises is a bug, and so is what it does not keep:
what it says of an input that it takes.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import tarfile
import tempfile
import zlib

from collections.abc import Callable
from dataclasses import dataclass

from dockin import (
    archive,
    compose,
    credentials,
    information,
    layertar,
    logins,
    manifests,
    plainyaml,
    platforms,
    recipefile,
    reference,
    registriesconf,
    savedarchive,
    skopeo,
    source,
    tarball,
    versions,
)
from dockin.errors import DockinError
from support import images, layers

AMD64 = platforms.parse("linux/amd64")
LAYER = images.layer({"etc/motd": "words\n", "bin/x": images.Entry(b"x" * 99)})
PLAIN = images.layer({"etc/plain": "plain\n"}, "none")
IMAGE = images.image([LAYER, PLAIN], "linux/amd64", labels={"org.opencontainers.image.licenses": "MIT"})
INDEX = images.index([IMAGE, images.image([LAYER], "linux/arm/v7")], attestations=True)
NAME = reference.parse("docker.io/library/busybox:1.36.1")


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


INFORMATION = information.ImageInformation(
    NAME.canonical, NAME.familiar, "linux/amd64", "docker", "busybox.tar.xz", 5, 9, 7, IMAGE.config.digest, IMAGE.digest,
    INDEX.digest)


def read_saved(data: bytes) -> None:
    """Read an archive that a user has put in place of ours."""
    savedarchive.describe(scratch(data), INFORMATION)


def read_information(data: bytes) -> None:
    """Read an image information file; what is taken is written as it can be read again."""
    read = information.parse(data.decode("utf-8", "surrogateescape"), "x.image")
    assert information.parse(read.render(), "y.image") == read


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
    recipefile.read(path)


def read_registries_conf(data: bytes) -> None:
    """Read a registries.conf and ask it for a repository."""
    registriesconf.RegistriesConf(scratch(data), {}).route("docker.io", "library/busybox")


def read_logins(data: bytes) -> None:
    """Read a login file and look a login up in it; none of its helpers is there."""
    try:
        logins.read(scratch(data))
    except ValueError:
        pass  # credentials and messages expect it of a file that can't be read
    credentials.Credentials(scratch(data), {"PATH": "/nonexistent"}).find("docker.io", "library/busybox")


def read_compose(data: bytes) -> None:
    """Read a Compose file."""
    compose.parse(data.decode("utf-8", "surrogateescape"), "compose.yml")


def read_yaml(data: bytes) -> None:
    """Read YAML."""
    plainyaml.parse(data.decode("utf-8", "surrogateescape"), "x.yml")


def read_layer(data: bytes) -> None:
    """Decompress a layer; what zlib makes of a single member is what we make of it. zstd is the host's own program."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return
    size = archive.uncompressed_size(iter([data]), "layer")
    if data.startswith(b"\x1f\x8b"):
        decoder = zlib.decompressobj(wbits=31)
        first = decoder.decompress(data)
        assert size >= len(first)
    else:
        assert size == len(data)


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
"""
REGISTRIES = b'''unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io"
location = "mirror.example.com/hub" # where
insecure = true
[[registry.mirror]]
location = "other.example.com"
'''
LOGINS = b'{"auths": {"docker.io": {"auth": "YTpi"}, "x": {"identitytoken": "t"}}, "credHelpers": {"x": "y"}}'
SRC_URI = b"docker://busybox;tag=1;name=a file://x docker://h:5/a/b;platform=linux/arm/v7"
TAGS = b'{"Repository": "x", "Tags": ["1.0", "1.1-alpine", "v2", "latest"]}'
FAILURE = b'time="2026-11-23T10:00:00Z" level=fatal msg="reading manifest v1 in docker.io/x: toomanyrequests: \\"slow\\""'
REFERENCES = (b"busybox", b"[::1]:5000/team/app:v1@" + IMAGE.digest.encode(), b"localhost/x:y")

TARGETS = {
    "config": Target(manifests.parse_config, (IMAGE.config.data,)),
    "manifest": Target(manifests.parse, (INDEX.data, IMAGE.data)),
    "tarball": Target(read_tarball, (image_tarball(),)),
    "unpinned": Target(read_unpinned, (image_tarball(),)),
    "layer": Target(read_layer, (LAYER.blob("oci").data, PLAIN.tar)),
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
