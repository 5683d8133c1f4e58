# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Downloads one image into DL_DIR, and takes from the registry only what DL_DIR does not have."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
import time
import typing

from dockin.errors import DockinError
from dockin.fetch import files
from dockin.image import attachments, manifests, platforms, tarball
from dockin.image.manifests import Descriptor
from dockin.image.reference import ImageReference
from dockin.registry import skopeo
from dockin.registry.resolver import ResolveError

if typing.TYPE_CHECKING:
    from dockin.fetch.session import Session

_logger = logging.getLogger("BitBake.Fetcher.Docker")

# Bytes that a download may have besides the blobs: manifest, index and skopeo's own files.
_SLACK = 16 << 20


class DownloadError(DockinError):
    """The download does not match the manifest or the user's settings; the message names the image."""


class Download:
    """One download, in a directory beside the file in DL_DIR, which stays for the next fetch if this one is interrupted."""

    def __init__(
        self,
        reference: ImageReference,
        platform: platforms.Platform,
        sbom: attachments.Wanted | None,
        target: str,
        session: Session,
        progress: typing.Callable[[int, str], None],
    ) -> None:
        """target is the file in DL_DIR; progress() gets the percentage and the rate."""
        self._reference = reference
        self._platform = platform
        self._sbom = sbom
        self._target = target
        self._session = session
        self._progress = progress
        self._dl_dir = os.path.dirname(target)
        self._partial = files.partial(target)
        self._blobs = os.path.join(self._partial, "sha256")

    def run(self) -> None:
        """Write the complete image tarball to its place in DL_DIR, or nothing."""
        digest, top = self._top()
        # Documents already fetched. A tag that moves from now on does not matter.
        known: dict[str, bytes] = {}
        last = digest
        entries = getattr(manifests.parse(top), "manifests", ())

        def read_blob(blob: Descriptor) -> bytes:
            """Return a manifest that the index names, or the config of the manifest read last."""
            nonlocal last
            if blob in entries:
                last = blob.digest
                if last not in known:
                    known[last] = self._document(last, "manifest", self._session.inspect, last)
            elif blob.digest not in known:
                known[blob.digest] = self._document(blob.digest, "config", self._session.config, last)
            return known[blob.digest]

        descriptor, _, manifest = tarball.resolve(digest, top, self._platform, read_blob)

        def make_image() -> tarball.Image:
            return tarball.make_image(
                digest, top, self._platform, lambda blob: known.get(blob.digest) or self._config(descriptor, blob)
            )

        self._prepare()
        self._keep_good(manifest.blobs)
        try:
            # An index states the platforms of its entries. For a single manifest only the config does: read it first,
            # because it is small, and no layer is requested before it fits. For an index that would cost another counted
            # request.
            image = make_image() if descriptor.digest == digest else None
            self._reuse(manifest.layers)
            self._obtain(descriptor.digest, manifest.layers, (manifest.config, *manifest.layers))
            image = image or make_image()
        except platforms.PlatformError:
            files.remove(self._partial)
            raise
        if self._sbom:
            found = self._attachments(self._sbom, image.subject)
            image = dataclasses.replace(image, attachments=tuple(found))
        self._write(image)

    def _obtain(
        self, digest: str, blobs: typing.Sequence[Descriptor], sent: typing.Sequence[Descriptor] | None = None
    ) -> None:
        """Download a manifest's blobs if some are missing.

        sent are the blobs that skopeo may download, if more; it downloads a blob as often as the manifest lists it.
        """
        # Only skopeo copy checks a policy: run it even if there is nothing to download.
        if self._session.options.policy or not all(os.path.exists(self._path(blob)) for blob in blobs):
            self._copy(digest, sent or blobs)

    def _attachments(self, sbom: attachments.Wanted, subject: attachments.Subject) -> list[attachments.Attachment]:
        """Return the image's attachments with bills of materials, after their download."""
        found = [self._attachment(subject, entry.digest) for entry in attachments.attestations(subject)]
        if sbom.pins:
            known = {one.digest for one in found}
            found += [self._attachment(subject, digest) for digest in sbom.pins if digest not in known]
        elif not attachments.documents(found):
            found += self._listed(subject)
        documents = attachments.documents(found)
        if not documents:
            text = f"{self._reference.canonical} has no bill of materials for {self._platform} attached to it"
            if sbom.required:
                raise DownloadError(f"{text}, which DOCKIN_FETCH_SBOM = 'require' asks for")
            _logger.info(text)
        blobs = [document for _, document, _ in documents]
        self._keep_good(blobs)
        self._reuse(blobs)
        for one in found:
            if one.documents:
                self._obtain(one.digest, one.documents, one.artifact.layers)
        return found

    def _attachment(self, subject: attachments.Subject, digest: str) -> attachments.Attachment:
        data = self._document(digest, "manifest of an attachment", self._session.inspect, digest)
        return attachments.attach(subject, digest, data)

    def _listed(self, subject: attachments.Subject) -> list[attachments.Attachment]:
        """Return the attachments with bills of materials that the registry lists for the image."""
        pages = [page for digest in subject.digests for page in self._lists(digest)]
        found = [self._attachment(subject, digest) for digest in attachments.candidates(pages)]
        return attachments.choose(subject, found)

    def _lists(self, digest: str) -> list[bytes]:
        """Return the pages of referrers of a digest: the registry's own list, or the one under its tag."""
        name = self._by_digest(digest)
        pages = self._session.referrers(name)
        if pages is not None:
            return pages
        tagged = dataclasses.replace(name, tag=digest.replace(":", "-"), digest=None)
        try:
            return [self._session.inspect(tagged)]
        except ResolveError as error:
            if error.kind != "not-found":
                raise
            return []

    def _prepare(self) -> None:
        """Make the partial directory. Its content is an earlier fetch's, because nobody else can write there."""
        files.make_private(self._partial)
        os.makedirs(self._blobs, exist_ok=True)
        # A fetch may have been killed while it wrote this file.
        files.remove(self._tarball())

    def _top(self) -> tuple[str, bytes]:
        """Return digest and bytes of the index or manifest that the pin or the tag names."""
        pin = self._reference.digest
        if pin:
            return pin, self._document(pin, "image", self._session.inspect, pin)
        data = self._session.inspect(self._reference)
        return manifests.digest_of(data), data

    def _config(self, manifest: Descriptor, config: Descriptor) -> bytes:
        """Return a manifest's config from the partial directory, or from the registry; keep it in the directory."""
        path = self._path(config)
        if not os.path.exists(path):
            data = self._document(config.digest, "config", self._session.config, manifest.digest)
            pathlib.Path(path).write_bytes(data)
        return pathlib.Path(path).read_bytes()

    def _document(
        self, digest: str, what: str, ask: typing.Callable[[ImageReference], bytes], name: str
    ) -> bytes:
        """Return an index, manifest or config by its digest, from DL_DIR, or from ask(<name>@<digest>)."""
        for extent in self._places.get(digest, ()):
            if extent.size > manifests.MAX_MANIFEST_SIZE:
                continue
            with contextlib.suppress(DockinError, OSError):
                data = b"".join(tarball.chunks(extent))
                tarball.check_bytes(data, digest, what)
                return data
        data = ask(self._by_digest(name))
        # A schema 1 manifest is signed: its digest covers only the payload, which skopeo extracts. parse() refuses it.
        if manifests.is_schema_1(data):
            manifests.parse(data)
        tarball.check_bytes(data, digest, what)
        return data

    @functools.cached_property
    def _places(self) -> dict[str, list[tarball.Extent]]:
        """The places of blobs in DL_DIR, read once before the download."""
        return tarball.find_blobs(self._dl_dir)

    def _by_digest(self, digest: str) -> ImageReference:
        """Return the image's name with a digest and no tag."""
        return ImageReference(self._reference.registry, self._reference.repository, None, digest)

    def _keep_good(self, blobs: typing.Sequence[Descriptor]) -> None:
        """Remove incomplete or damaged blobs that an interrupted fetch left."""
        for blob in blobs:
            path = self._path(blob)
            if not os.path.exists(path):
                continue
            if not tarball.is_blob(tarball.Extent(path, 0, os.path.getsize(path)), blob):
                os.unlink(path)

    def _reuse(self, blobs: typing.Sequence[Descriptor]) -> None:
        """Copy good blobs from other image tarballs in DL_DIR."""
        for blob in blobs:
            target = self._path(blob)
            for extent in self._places.get(blob.digest, ()):
                if os.path.exists(target):
                    break
                try:
                    tarball.copy_blob(extent, blob, target)
                    _logger.debug("%s is in %s", blob.digest, extent.path)
                except (DockinError, OSError) as error:
                    _logger.debug("%s can't be taken from %s: %s", blob.digest, extent.path, str(error))
                    files.remove(target)

    def _copy(self, digest: str, blobs: typing.Sequence[Descriptor]) -> None:
        """Have skopeo download the missing blobs."""
        scratch = os.path.join(self._partial, "scratch")
        layout = os.path.join(self._partial, "layout")
        total = sum(blob.size for blob in blobs) or 1
        most = total + _SLACK
        last = (time.monotonic(), 0)
        others = 0

        def begin() -> None:
            nonlocal others
            # A killed skopeo leaves unfinished blobs under names that are never used again.
            for directory in (scratch, layout):
                files.remove(directory)
            os.makedirs(scratch)
            there = {blob.digest: blob.size for blob in blobs if os.path.exists(self._path(blob))}
            others = files.size(self._partial) - sum(there.values())

        def progress() -> int:
            nonlocal last
            size = files.size(self._partial) - others
            if size > most:
                raise DownloadError(
                    f"{self._reference.registry} sends more of {self._reference.canonical} than the {total} bytes that the"
                    " manifest states"
                )
            now = time.monotonic()
            rate = (size - last[1]) / max(now - last[0], 0.001)
            last = now, size
            self._progress(int(100 * size / total), f"{rate / 1e6:.1f} MB/s")
            return size

        argv = skopeo.copy_argv(self._session.options, self._by_digest(digest), layout, self._partial, scratch)
        _logger.info(
            "Downloading %s for %s: %.1f MB less what is there", self._reference.canonical, str(self._platform), total / 1e6
        )
        self._session.run(argv, begin, progress)

    def _write(self, image: tarball.Image) -> None:
        """Write the image tarball beside its place, which verifies it, and move it there."""
        layers = {}
        for layer in image.blobs[1:]:
            path = self._path(layer)
            if not os.path.exists(path):
                raise DownloadError(f"skopeo returned success, but left no layer {layer.digest}")
            layers[layer.digest] = tarball.Extent(path, 0, os.path.getsize(path))
        target = self._tarball()
        try:
            tarball.write(target, image, layers)
            os.replace(target, self._target)
        finally:
            # A failed tarball is useless. The next fetch finds the bad blob, and requests only that.
            files.remove(target)

    def _path(self, blob: Descriptor) -> str:
        return os.path.join(self._blobs, blob.digest[len("sha256:") :])

    def _tarball(self) -> str:
        return os.path.join(self._partial, "image.tar")
