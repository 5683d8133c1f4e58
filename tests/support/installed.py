# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What the package of an image installs on a target, archive and information file, made without BitBake.

    installed = install(directory, images.image([…]), "busybox:1.36.1", compression="zstd")
    installed.info, installed.archive, installed.information.image_id

The layer's own modules do it, in the order of the class: image tarball, archive, outer compression, information file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import tempfile

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence, Union

from dockin.image import archive, platforms, reference, tarball
from dockin.target import imageinfo

from support import docker, images

Content = Union[images.Manifest, images.Index]

# Fast ones of what COMPRESSION_CMD may do: how small the archive gets is not looked at.
COMPRESSIONS = {
    "none": ("", ()),
    "gzip": (".gz", ("gzip", "-n", "-1", "-c")),
    "xz": (".xz", ("xz", "-0", "-T1", "-c")),
    "zstd": (".zst", ("zstd", "-q", "-1", "-T1", "-c")),
    "bzip2": (".bz2", ("bzip2", "-1", "-c")),
    # A type of one's own, whose name says nothing of the format.
    "small": (".small", ("gzip", "-n", "-9", "-c")),
}
COMPRESS_SECONDS = 120

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Installed:
    """An image's files on a target."""

    info: Path
    information: imageinfo.ImageInformation
    config_digest: str
    """Of the image as it was built."""
    top_digest: str
    """Of the manifest or index that was installed."""

    @property
    def archive(self) -> Path:
        return self.info.with_name(self.information.archive)

    @property
    def name(self) -> str:
        """The image's name in Docker."""
        return self.information.name

    def rewrite(self, **changes: object) -> None:
        """Write the information file again, with other values for some of its keys."""
        self.info.write_text(replace(self.information, **changes).render())  # type: ignore[arg-type]

    def damage_archive(self, compression: str, **changes: object) -> None:
        """Have the archive come to an end too early, with the size that the information file has.

        One that is not compressed loses its second half; changes are for rewrite(). Another has zeros in its middle.
        """
        data = self.archive.read_bytes()
        half = len(data) // 2
        if compression == "none":
            self.archive.write_bytes(data[:half])
            self.rewrite(archive_size=half, **changes)
        else:
            self.archive.write_bytes(data[:half] + bytes(20000) + data[half + 20000 :])


def write_tarball(path: Path, content: Content, platform: platforms.Platform) -> tarball.Image:
    """Write the image tarball that the fetcher would have made of content; return its image."""
    blobs = content.blobs()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        extents = {}
        for digest, blob in blobs.items():
            file = Path(folder) / blob.hex
            file.write_bytes(blob.data)
            extents[digest] = tarball.Extent(str(file), 0, blob.size)
        image = tarball.make_image(content.digest, content.data, platform, lambda blob: blobs[blob.digest].data)
        tarball.write(str(path), image, extents)
    return image


def install(directory: Path, content: Content, name: str, compression: str = "none",
            layers: str = archive.DECOMPRESSED) -> Installed:
    """Put the archive and the information file of an image for this machine into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    named = reference.parse(name)
    platform = platforms.parse(images.host_architecture())
    suffix, command = COMPRESSIONS[compression]
    target = directory / f"{named.stem}.tar{suffix}"
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        source, plain = Path(folder) / "image.tar", Path(folder) / "archive.tar"
        image = write_tarball(source, content, platform)
        assembled = archive.assemble(str(source), image, named, layers, str(plain))
        if command:
            with open(plain, "rb") as unpacked, open(target, "wb") as packed:
                subprocess.run(command, stdin=unpacked, stdout=packed, check=True, timeout=COMPRESS_SECONDS)
        else:
            plain.rename(target)
    described = imageinfo.ImageInformation(
        reference=named.tagged.canonical,
        name=named.tagged.familiar,
        platform=str(platform),
        runtime="docker",
        archive=target.name,
        archive_size=target.stat().st_size,
        unpacked_size=assembled.size,
        layers_size=assembled.layers_size,
        image_id=image.manifest.config.digest,
        manifest_digest=assembled.manifest_digest,
        source_digest=image.digest,
    )
    info = directory / (named.stem + imageinfo.SUFFIX)
    info.write_text(described.render())
    return Installed(info, described, image.manifest.config.digest, content.digest)


def install_layers(directory: Path, tars: Sequence[Path], name: str) -> Installed:
    """Put the archive and the information file of an image of these layers' tars, however large, into a directory."""
    named = reference.parse(name)
    digests = [_digest(tar) for tar in tars]
    made = images.image([])
    config = json.loads(made.config.data)
    config["rootfs"]["diff_ids"] = digests
    data = images.to_json(config)
    image_id = images.sha256(data)
    target = directory / f"{named.stem}.tar"
    blobs = [tarball.blob_name(digest) for digest in digests]
    entry = {"Config": tarball.blob_name(image_id), "RepoTags": [name], "Layers": blobs}
    with open(target, "wb") as file:
        writer = tarball.TarWriter(file)
        for blob, tar in zip(blobs, tars):
            writer.stream(blob, tarball.chunks(tarball.Extent(str(tar), 0, tar.stat().st_size)))
        writer.add(entry["Config"], data)
        writer.add("manifest.json", images.to_json([entry]))
        writer.close()
    size = target.stat().st_size
    described = imageinfo.ImageInformation(
        reference=named.canonical,
        name=named.familiar,
        platform=images.host_architecture(),
        runtime="docker",
        archive=target.name,
        archive_size=size,
        unpacked_size=size,
        layers_size=sum(tar.stat().st_size for tar in tars),
        image_id=image_id,
        manifest_digest=image_id,
        source_digest=image_id,
    )
    info = directory / (named.stem + imageinfo.SUFFIX)
    info.write_text(described.render())
    return Installed(info, described, image_id, image_id)


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    for chunk in tarball.chunks(tarball.Extent(str(path), 0, path.stat().st_size)):
        hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


class Shelf:
    """Images and their installed files for one test, in a directory that a daemon sees too."""

    def __init__(self, daemon: docker.Daemon, busybox: images.Layer) -> None:
        self.daemon = daemon
        self.busybox = busybox
        self.number = next(_numbers)
        self.directory = daemon.directory / f"test{self.number}"
        self.names: set[str] = set()

    def name(self, tag: str = "1") -> str:
        """Return an image name of this test's own."""
        return f"team/app{self.number}:{tag}"

    def image(self, word: str = "hello", compression: str = "none", extra: Sequence[images.Layer] = ()) -> images.Manifest:
        """Return an image that prints word and a number of this test's own, so that its digests are its own too."""
        base = images.Layer(self.busybox.tar, compression)
        top = images.layer({"word": f"{word} {self.number}\n"}, compression)
        return images.image([base, top, *extra], command=("cat", "/word"))

    def install(self, content: Content, name: str | None = None, **options: str) -> Installed:
        """Install an image, by default under this test's first name."""
        name = name or self.name()
        self.names.add(name)
        return install(self.directory, content, name, **options)

    def output(self, word: str = "hello") -> str:
        """Return what the container of an image prints."""
        return f"{word} {self.number}"
