# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake fetcher for images in container registries: docker:// in SRC_URI.

    SRC_URI = "docker://docker.io/library/busybox;tag=1.36.1"
    SRC_URI[sha256sum] = "<64 hex digits>"

The bytes come through skopeo, so its policy, registries.conf, certificates and logins apply. What is kept in DL_DIR is one
file per image and platform (lib/dockin/image/tarball.py), which is its own mirror tarball: DL_DIR can be served as it is.

Supported parameters (lib/dockin/recipe/source.py): tag, digest, name, platform.

Variables read: SRC_URI[<name>.sha256sum], the pin, an index or manifest digest; SRC_URI[<name>.sbom], digests of manifests
with bills of materials; DOCKIN_FETCH_SBOM, DOCKIN_RESOLVER, DOCKIN_PLATFORM, DOCKIN_PIN, DOCKIN_LAYERS,
DOCKIN_AUTHFILE, DOCKIN_CERT_DIR, DOCKIN_POLICY, DOCKIN_REGISTRIES_CONF, DOCKIN_REGISTRIES_D, DOCKIN_TLS_VERIFY,
DOCKIN_FETCH_TIMEOUT, DOCKIN_FETCH_RETRIES, FETCHCMD_docker: see docs/reference.md.
"""

import collections
import contextlib
import dataclasses
import hashlib
import logging
import os
import pathlib
import re
import shlex
import stat
import time

import bb
import bb.fetch2
import bb.progress

from bb.fetch2 import ChecksumError
from bb.fetch2 import FetchError
from bb.fetch2 import FetchMethod
from bb.fetch2 import MissingChecksumEvent
from bb.fetch2 import MissingParameterError
from bb.fetch2 import NoChecksumError
from bb.fetch2 import ParameterError
from bb.fetch2 import UnpackError

import dockin.image.archive
import dockin.image.attachments
import dockin.image.manifests
import dockin.image.platforms
import dockin.image.reference
import dockin.image.tarball
import dockin.recipe.source
import dockin.recipe.versions
import dockin.registry.credentials
import dockin.registry.remedies
import dockin.registry.resolver
import dockin.registry.runner
import dockin.registry.settings
import dockin.registry.skopeo
import dockin.store.deeptree
import dockin.target.unpacked

from dockin.errors import DockinError

# What is logged goes to BitBake's user interface, a process that does not know this package: only texts and numbers.
logger = logging.getLogger("BitBake.Fetcher.Docker")

UNPACK_SUBDIR = "docker-images"
"""Where unpack() puts archives, below the unpack directory."""

SBOM_SUBDIR = "sbom"
"""Below it, where unpack() puts the bills of materials that were attached to images."""

PIN_CHOICES = ("warn", "require", "ignore")

# Variables that hold a number, and their defaults.
_NUMBERS = {"DOCKIN_FETCH_TIMEOUT": 300, "DOCKIN_FETCH_RETRIES": 3}

# Bytes that a download may have beside the blobs: manifest, index and what skopeo notes.
_SLACK = 16 << 20


class Docker(FetchMethod):
    """Class to fetch images with skopeo"""

    def supports(self, ud, d):
        """Check to see if a given url is an image's."""
        return ud.type == dockin.recipe.source.SCHEME

    def supports_checksum(self, urldata):
        """BitBake would hash the file; the pin is a digest inside of it, which verify_ and update_donestamp() look at."""
        return False

    def cleanup_upon_failure(self):
        """What is complete of a failed fetch spares the next one its download."""
        return False

    def urldata_init(self, ud, d):
        """
        Parse the url, and name the file in DL_DIR:

            docker_sha256-<hex>_<os>-<architecture>[-<variant>].tar                 with a pin
            docker_<registry>+<repository>=<tag>_<os>-<architecture>[-<variant>].tar  without

        With DOCKIN_FETCH_SBOM there is _sbom, or _sbom-<hex> where these are pinned, before the suffix.
        """
        try:
            source = dockin.recipe.source.parse_entry(d.expand(ud.url))
            ud.source = source.pinned(d.getVarFlag("SRC_URI", source.pin_flag))
            ud.platform = wanted_platform(ud.source, d)
            ud.sbom = wanted_sbom(ud.source, d)
        except DockinError as error:
            raise ParameterError(str(error), _without_password(ud.url)) from error

        # Written out, so that mirror rules and BB_ALLOWED_NETWORKS see the registry that is really asked; in lower case, as
        # BitBake since 2.18 has hosts. What asks it goes by ud.source, with the host as the recipe has it.
        ud.host = source.reference.registry.lower()
        ud.url = dataclasses.replace(source, reference=dataclasses.replace(source.reference, registry=ud.host)).url
        ud.path = "/" + source.reference.repository
        ud.user = ud.pswd = ""
        ud.localfile = dockin.image.tarball.file_name(
            ud.source.reference, ud.platform.slug if ud.platform else "unknown", ud.sbom
        )
        ud.mirrortarballs = [ud.localfile]
        ud.verified = None
        ud.sboms = 0

    def download(self, ud, d):
        """Fetch the image, of which only what DL_DIR does not have yet is downloaded."""
        with _fetch_errors(ud):
            _Download(ud, d).run()

    def verify_donestamp(self, ud, d):
        """Tell whether the file in DL_DIR is there and is what was asked for; a bad one is set aside."""
        if not os.path.exists(ud.localpath):
            with _fetch_errors(ud):
                _remove(ud.localpath)
                _remove(ud.donestamp)
            return False
        try:
            self._verify(ud, d)
        except ChecksumError as error:
            logger.warning("%s\nFetching it again.", error.msg)
            return False
        if ud.sbom and ud.sbom.required and not ud.sboms:
            logger.debug("%s has no bill of materials: asking again", ud.localpath)
            return False
        self._stamp(ud, d)
        return True

    def update_donestamp(self, ud, d):
        """Verify what was fetched, from wherever it came, and mark it as done."""
        self._verify(ud, d)
        # A mirror may have helped where a download had been interrupted.
        _remove(_partial(ud))
        self._stamp(ud, d)

    def try_mirrors(self, fetch, ud, d, mirrors, check=False):
        """Ask the mirrors in turn. BitBake is content with the first that gives something; here it has to be the image."""
        datastore = d.createCopy()
        for mirror in bb.fetch2.build_mirroruris(ud, mirrors, datastore)[1]:
            found = bb.fetch2.try_mirror_url(fetch, ud, mirror, datastore, check)
            if not found:
                continue
            try:
                if not check:
                    self._verify(ud, d)
                return found
            except ChecksumError as error:
                logger.warning("%s\nThis came from the mirror %s; trying other sources.", error.msg, mirror.url)
        return None

    def checkstatus(self, fetch, ud, d):
        """Check whether the registry has the image."""
        try:
            with _fetch_errors(ud):
                _Skopeo(ud, d).inspect(ud.source.reference)
        except FetchError as error:
            logger.warning(error.msg)
            return False
        return True

    def clean(self, ud, d):
        """Remove the file and what an interrupted fetch left."""
        _remove(ud.localpath)
        _remove(_partial(ud))

    def unpack(self, ud, rootdir, d):
        """
        Assemble the archive for docker load, and what there is to know of it:

            <rootdir>/docker-images/<stem>.tar
            <rootdir>/docker-images/<stem>.image.json    the image (lib/dockin/target/unpacked.py)
            <rootdir>/docker-images/sbom/<stem>…         bills of materials that are attached to it, where they are wanted
        """
        directory = os.path.join(rootdir, UNPACK_SUBDIR)
        bb.utils.mkdirhier(directory)
        ud.unpack_tracer.unpack("file-copy", directory)
        reference = ud.source.reference
        target = os.path.join(directory, reference.stem + ".tar")
        bb.note(f"Assembling {target} from {ud.localpath}")
        try:
            # The file may be another one than do_fetch has seen.
            image = dockin.image.tarball.load(ud.localpath, _needed_platform(ud), reference.digest, ud.sbom)
            _unpinned_sbom(ud, d, image)
            mode = d.getVar("DOCKIN_LAYERS") or dockin.image.archive.DECOMPRESSED
            result = dockin.image.archive.assemble(ud.localpath, image, reference, mode, target)
            bills = _write_bills(ud, image, os.path.join(directory, SBOM_SUBDIR))
            if ud.sbom and ud.sbom.required and not bills:
                raise DockinError(f"{ud.localpath} has no bill of materials, which DOCKIN_FETCH_SBOM = 'require' asks for")
            text = _description(ud, image, result, bills).render()
            pathlib.Path(directory, reference.stem + dockin.target.unpacked.SUFFIX).write_text(text, encoding="ascii")
        except (DockinError, OSError) as error:
            _remove(target)
            raise UnpackError(str(error), ud.url) from error

    def latest_versionstring(self, ud, d, filter_regex=None):
        """
        Return the version of the newest tag that could follow the recipe's, for devtool latest-version,
        check-upgrade-status and the Auto Upgrade Helper. An error must not end their reports.

        Where PV is not the version in the tag, as with several images, a newer tag is no newer version of the recipe.
        """
        regex = d.getVar("UPSTREAM_CHECK_REGEX") or ""
        current = dockin.recipe.versions.parse(ud.source.reference.tag)
        if not regex and (current is None or current.version != d.getVar("PV")):
            return ("", "")
        try:
            with _fetch_errors(ud):
                tags = _Skopeo(ud, d).list_tags(ud.source.reference)
                if filter_regex:
                    tags = dockin.recipe.versions.matching(tags, filter_regex)
                return (dockin.recipe.versions.newest(tags, ud.source.reference.tag, regex), "")
        except bb.fetch2.BBFetchException as error:
            logger.warning("No tags of %s: %s", ud.source.reference.name, str(error))
            return ("", "")

    def _stamp(self, ud, d):
        """Mark the file as done; BitBake would write through a link that somebody else has made there."""
        with _fetch_errors(ud):
            if os.path.islink(ud.donestamp):
                os.unlink(ud.donestamp)
        super().update_donestamp(ud, d)

    def _verify(self, ud, d):
        """Hash the chain of digests in the file, once for each state of it; a bad file is renamed."""
        with _fetch_errors(ud):
            status = os.stat(ud.localpath)
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if ud.verified == state:
                return
            platform = _needed_platform(ud)
            try:
                image = dockin.image.tarball.verify(ud.localpath, platform, ud.source.reference.digest, ud.sbom)
            except DockinError as error:
                actual = getattr(error, "actual", "invalid")
                bb.fetch2.rename_bad_checksum(ud, actual)
                _remove(ud.donestamp)
                raise ChecksumError(f"{ud.source.reference.tagged.familiar}: {error}", ud.url, actual) from error
        _report_pin(ud, d, image.digest)
        _report_platform(ud, d, image)
        _report_sbom(ud, d, image)
        ud.sboms = len(dockin.image.attachments.documents(image.attachments))
        ud.verified = state


def wanted_platform(source, d):
    """
    Return the platform to fetch: ;platform=, DOCKIN_PLATFORM, or the target's; None where the datastore has no target, as
    in the copy that devtool check-upgrade-status works on. Raises DockinError.
    """
    if source.platform:
        return source.platform
    if d.getVar("DOCKIN_PLATFORM"):
        return dockin.image.platforms.parse(d.getVar("DOCKIN_PLATFORM"))
    return target_platform(d) if d.getVar("TARGET_ARCH") else None


def target_platform(d):
    """Return what the target's tune runs. Raises DockinError where OCI has no name for it."""
    return dockin.image.platforms.from_target(
        d.getVar("TARGET_ARCH") or "", d.getVar("TUNE_FEATURES") or "", d.getVar("MACHINEOVERRIDES") or ""
    )


def wanted_sbom(source, d):
    """Return which bills of materials are to be fetched with an image, None for none. Raises DockinError."""
    flag = source.sbom_flag
    return dockin.image.attachments.wanted(d.getVar("DOCKIN_FETCH_SBOM") or "0", d.getVarFlag("SRC_URI", flag), flag)


def check_settings(d):
    """Check the variables of which skopeo's command line is made. Raises DockinError."""
    dockin.registry.settings.options(d.getVar)
    for name in _NUMBERS:
        _number(d, name)


class _Skopeo:
    """Runs skopeo for one url."""

    def __init__(self, ud, d):
        self.ud = ud
        self.d = d
        self.reference = ud.source.reference
        self.timeout = _number(d, "DOCKIN_FETCH_TIMEOUT")
        self.retries = _number(d, "DOCKIN_FETCH_RETRIES")
        self.options = dockin.registry.settings.options(d.getVar)
        # skopeo looks for no signatures then, and says that there are none.
        if self.options.registries_d and not os.path.isdir(self.options.registries_d):
            raise DockinError(f"Invalid DOCKIN_REGISTRIES_D = {self.options.registries_d!r}: there is no such directory")
        self.environment = self._environment()
        self.logins = dockin.registry.credentials.Credentials(self.options.authfile, self.environment)
        self.runner = dockin.registry.runner.Runner(
            self.options, self.environment, self.timeout, self.retries, _end_with_parent
        )

    def inspect(self, reference):
        """Return the bytes of an index or manifest."""
        return self.run(dockin.registry.skopeo.inspect_argv(self.options, reference))

    def config(self, reference):
        """Return the bytes of the config of an image that is given by its manifest's digest."""
        return self.run(dockin.registry.skopeo.config_argv(self.options, reference))

    def referrers(self, reference):
        """
        Return the registry's lists of what is attached to a digest, in pages, or None where only the tag can tell.

        skopeo has no command for this request. What the lists name is fetched by skopeo, and hashed.
        """
        bb.fetch2.check_network_access(self.d, f"the list of what is attached to {reference.canonical}", self.ud.url)
        with self._resolver() as resolver:
            return resolver.referrers(reference)

    def list_tags(self, reference):
        """Return the tags of a repository, as the tools see them: skopeo may refuse a whole list for one name in it."""
        bb.fetch2.check_network_access(self.d, f"the list of tags of {reference.name}", self.ud.url)
        with self._resolver() as resolver:
            return resolver.tags(reference)

    def _resolver(self):
        mode = self.d.getVar("DOCKIN_RESOLVER")
        return dockin.registry.resolver.Resolver(self.options, self.environment, mode, self.timeout, self.retries)

    def run(self, argv, progress=lambda: 0, begin=lambda: None):
        """Run a command that talks to the registry and return what it prints; see runner.Runner.run()."""
        bb.fetch2.check_network_access(self.d, shlex.join(argv), self.ud.url)
        with dockin.registry.remedies.explained(self.reference, self.logins, self.options):
            return self.runner.run(argv, self.reference, begin, progress)

    def _environment(self):
        """
        Return the environment for skopeo: BitBake's for fetchers, and that by which skopeo finds logins and configuration.

        BitBake filters it, so that it can't change task hashes; a fetched image does not depend on it. The user's PATH goes
        behind BitBake's, for credential helpers and for gpg.
        """
        original = self.d.getVar("BB_ORIGENV", False)
        environment = dict(os.environ)
        environment.update(bb.fetch2.get_fetcher_environment(self.d))
        for name in dockin.registry.skopeo.ENVIRONMENT:
            value = original.getVar(name, False) if original else None
            if value:
                environment[name] = value
        path = original.getVar("PATH", False) if original else None
        environment["PATH"] = os.pathsep.join(filter(None, (environment.get("PATH"), path)))
        environment["PSEUDO_DISABLED"] = "1"
        return environment


class _Download:
    """One download: a directory beside the file in DL_DIR, which an interrupted fetch leaves for the next one."""

    def __init__(self, ud, d):
        self.ud = ud
        self.platform = _needed_platform(ud)
        self.reference = ud.source.reference
        self.dl_dir = d.getVar("DL_DIR")
        self.partial = _partial(ud)
        self.blobs = os.path.join(self.partial, "sha256")
        self.skopeo = _Skopeo(ud, d)
        self.progress = bb.progress.ProgressHandler(d)

    def run(self):
        """Write the image tarball to its place in DL_DIR, whole or not at all."""
        digest, top = self._top()
        # What is in hand: what the registry serves from now on under its name does not matter.
        known = {}
        last = digest
        entries = getattr(dockin.image.manifests.parse(top), "manifests", ())

        def read_blob(blob):
            """Return a manifest that the index names, or the config of the one that was read last."""
            nonlocal last
            if blob in entries:
                last = blob.digest
                if last not in known:
                    known[last] = self._document(last, "manifest", self.skopeo.inspect, last)
            elif blob.digest not in known:
                known[blob.digest] = self._document(blob.digest, "config", self.skopeo.config, last)
            return known[blob.digest]

        descriptor, _, manifest = dockin.image.tarball.resolve(digest, top, self.platform, read_blob)

        def make_image():
            return dockin.image.tarball.make_image(
                digest, top, self.platform, lambda blob: known.get(blob.digest) or self._config(descriptor, blob)
            )

        self._prepare()
        self._keep_good(manifest.blobs)
        try:
            # An index says what its entries are built for. Of a single manifest only the config does, which is small:
            # until it is known to fit, no layer is asked for. For an entry that would be a request more, and one that
            # registries count.
            image = make_image() if descriptor.digest == digest else None
            self._reuse(manifest.layers)
            self._obtain(descriptor.digest, manifest.layers, (manifest.config, *manifest.layers))
            image = image or make_image()
        except dockin.image.platforms.PlatformError:
            _remove(self.partial)
            raise
        if self.ud.sbom:
            image = dataclasses.replace(image, attachments=tuple(self._attachments(image.subject)))
        self._write(image)

    def _obtain(self, digest, blobs, sent=None):
        """Download a manifest's blobs if some are missing; sent is what skopeo may download, where that is more.

        It downloads a blob as often as the manifest lists it.
        """
        # A policy of the recipe's own is checked by skopeo copy alone, also where there is nothing to download.
        if self.skopeo.options.policy or not all(os.path.exists(self._path(blob)) for blob in blobs):
            self._copy(digest, sent or blobs)

    def _attachments(self, subject):
        """Return what has the bills of materials of the image, these downloaded."""
        found = [self._attachment(subject, entry.digest) for entry in dockin.image.attachments.attestations(subject)]
        if self.ud.sbom.pins:
            known = {one.digest for one in found}
            found += [self._attachment(subject, digest) for digest in self.ud.sbom.pins if digest not in known]
        elif not dockin.image.attachments.documents(found):
            found += self._listed(subject)
        documents = dockin.image.attachments.documents(found)
        if not documents:
            text = f"{self.reference.canonical} has no bill of materials for {self.platform} attached to it"
            if self.ud.sbom.required:
                raise FetchError(f"{text}, which DOCKIN_FETCH_SBOM = 'require' asks for", self.ud.url)
            bb.note(text)
        blobs = [document for _, document, _ in documents]
        self._keep_good(blobs)
        self._reuse(blobs)
        for one in found:
            if one.documents:
                self._obtain(one.digest, one.documents, one.artifact.layers)
        return found

    def _attachment(self, subject, digest):
        data = self._document(digest, "manifest of an attachment", self.skopeo.inspect, digest)
        return dockin.image.attachments.attach(subject, digest, data)

    def _listed(self, subject):
        """Return what the registry lists as attached to the image, and has bills of materials."""
        pages = [page for digest in subject.digests for page in self._lists(digest)]
        found = [self._attachment(subject, digest) for digest in dockin.image.attachments.candidates(pages)]
        return dockin.image.attachments.choose(subject, found)

    def _lists(self, digest):
        """Return the lists, in pages, of what is attached to a digest: the registry's own, or else one under a tag."""
        name = self._by_digest(digest)
        pages = self.skopeo.referrers(name)
        if pages is not None:
            return pages
        tagged = dataclasses.replace(name, tag=digest.replace(":", "-"), digest=None)
        try:
            return [self.skopeo.inspect(tagged)]
        except dockin.registry.resolver.ResolveError as error:
            if error.kind != "not-found":
                raise
            return []

    def _prepare(self):
        """Make the partial directory, and take what is in it for an earlier fetch's: nobody else can write there."""
        _make_private(self.partial)
        bb.utils.mkdirhier(self.blobs)
        # Of a fetch that was killed while it wrote it.
        _remove(self._tarball())

    def _top(self):
        """Return digest and bytes of what the pin or the tag names."""
        pin = self.reference.digest
        if pin:
            return pin, self._document(pin, "image", self.skopeo.inspect, pin)
        data = self.skopeo.inspect(self.reference)
        return dockin.image.manifests.digest_of(data), data

    def _config(self, manifest, config):
        """Return a manifest's config, from the blobs that are there or else from the registry, and keep it there."""
        path = self._path(config)
        if not os.path.exists(path):
            data = self._document(config.digest, "config", self.skopeo.config, manifest.digest)
            pathlib.Path(path).write_bytes(data)
        return pathlib.Path(path).read_bytes()

    def _document(self, digest, what, ask, name):
        """Return an index, manifest or config by its digest, from DL_DIR or else as ask(<name>@<digest>) has it."""
        for _, extent in dockin.image.tarball.find_blobs(self.dl_dir, {digest}):
            if extent.size > dockin.image.manifests.MAX_MANIFEST_SIZE:
                continue
            with contextlib.suppress(DockinError, OSError):
                data = b"".join(dockin.image.tarball.chunks(extent))
                dockin.image.tarball.check_bytes(data, digest, what)
                return data
        data = ask(self._by_digest(name))
        # It has the digest of a part of it only, which skopeo can tell.
        if dockin.image.manifests.is_schema_1(data):
            dockin.image.manifests.parse(data)
        dockin.image.tarball.check_bytes(data, digest, what)
        return data

    def _by_digest(self, digest):
        """Return the image's name with a digest alone."""
        return dockin.image.reference.ImageReference(self.reference.registry, self.reference.repository, None, digest)

    def _keep_good(self, blobs):
        """Remove what is not whole among the blobs that an earlier, interrupted fetch left."""
        for blob in blobs:
            path = self._path(blob)
            if not os.path.exists(path):
                continue
            if not dockin.image.tarball.is_blob(dockin.image.tarball.Extent(path, 0, os.path.getsize(path)), blob):
                os.unlink(path)

    def _reuse(self, blobs):
        """Take from other image tarballs in DL_DIR the blobs that are good there."""
        missing = {blob.digest: blob for blob in blobs if not os.path.exists(self._path(blob))}
        for digest, extent in dockin.image.tarball.find_blobs(self.dl_dir, missing.keys()):
            target = self._path(missing[digest])
            try:
                dockin.image.tarball.copy_blob(extent, missing[digest], target)
                logger.debug("%s is in %s", digest, extent.path)
                del missing[digest]
            except (DockinError, OSError) as error:
                logger.debug("%s can't be taken from %s: %s", digest, extent.path, str(error))
                _remove(target)

    def _copy(self, digest, blobs):
        """Let skopeo download the blobs that are not there."""
        scratch = os.path.join(self.partial, "scratch")
        layout = os.path.join(self.partial, "layout")
        total = sum(blob.size for blob in blobs) or 1
        most = total + _SLACK
        last = [time.monotonic(), 0]
        others = 0

        def begin():
            nonlocal others
            # Blobs that a killed skopeo has not finished are there, under names that are never used again.
            for directory in (scratch, layout):
                _remove(directory)
            bb.utils.mkdirhier(scratch)
            there = {blob.digest: blob.size for blob in blobs if os.path.exists(self._path(blob))}
            others = _size(self.partial) - sum(there.values())

        def progress():
            size = _size(self.partial) - others
            if size > most:
                raise FetchError(
                    f"{self.reference.registry} sends more of {self.reference.canonical} than the {total} bytes that the"
                    " manifest states",
                    self.ud.url,
                )
            now = time.monotonic()
            rate = (size - last[1]) / max(now - last[0], 0.001)
            last[:] = now, size
            self.progress.update(int(100 * size / total), f"{rate / 1e6:.1f} MB/s")
            return size

        argv = dockin.registry.skopeo.copy_argv(self.skopeo.options, self._by_digest(digest), layout, self.partial, scratch)
        bb.note(f"Downloading {self.reference.canonical} for {self.platform}: {_human(total)} less what is there")
        self.skopeo.run(argv, progress, begin)

    def _write(self, image):
        """Write the image tarball beside its place, verify it by writing it, and move it there."""
        layers = {}
        for layer in image.blobs[1:]:
            path = self._path(layer)
            if not os.path.exists(path):
                raise FetchError(f"skopeo returned success, but left no layer {layer.digest}", self.ud.url)
            layers[layer.digest] = dockin.image.tarball.Extent(path, 0, os.path.getsize(path))
        target = self._tarball()
        try:
            dockin.image.tarball.write(target, image, layers)
            os.replace(target, self.ud.localpath)
        finally:
            # What failed is no use. The next fetch finds out which blob is bad, and asks for that one only.
            _remove(target)

    def _path(self, blob):
        return os.path.join(self.blobs, blob.digest[len("sha256:") :])

    def _tarball(self):
        return os.path.join(self.partial, "image.tar")


@contextlib.contextmanager
def _fetch_errors(ud):
    """Turn the errors of the pure modules and of the operating system into BitBake's, with the url.

    BitBake 2.8 takes an OSError for a success.
    """
    try:
        yield
    except dockin.image.tarball.InvalidTarball as error:
        raise ChecksumError(f"{ud.source.reference.canonical}: {error}", ud.url, error.actual) from error
    except DockinError as error:
        raise FetchError(f"{ud.source.reference.canonical}: {error}", ud.url) from error
    except OSError as error:
        raise FetchError(f"{ud.source.reference.canonical}: {error}", ud.url) from error


def _without_password(url):
    """Return a url as it may be printed: BitBake puts that of an error into its message.

    Neither user and password nor a query nor parameters that docker:// has not, one of which may be a password.
    """
    without_login = re.sub("://.*(?:@|%40)(?!sha256:)", "://<user>@", url)
    address, *parameters = re.sub("(?:[?#]|%3F|%23)[^;]*", "", without_login, flags=re.IGNORECASE).split(";")
    return ";".join([address, *(one for one in parameters if one.partition("=")[0] in dockin.recipe.source.PARAMETERS)])


def _needed_platform(ud):
    if ud.platform is None:
        raise MissingParameterError("platform", ud.url)
    return ud.platform


def _pin_choice(ud, d):
    """Return what DOCKIN_PIN says of what is not pinned."""
    choice = d.getVar("DOCKIN_PIN") or "warn"
    if choice not in PIN_CHOICES:
        raise FetchError(f"Invalid DOCKIN_PIN = {choice!r}: expected {', '.join(map(repr, PIN_CHOICES))}", ud.url)
    # devtool upgrade asks for the event alone, whatever the recipe's own choice.
    return "ignore" if d.getVar("BB_STRICT_CHECKSUM") == "ignore" else choice


def _report_pin(ud, d, digest):
    """Say what the pin of an image without one would be: to devtool upgrade by an event, to the user as DOCKIN_PIN wants."""
    if ud.source.reference.digest:
        return
    choice = _pin_choice(ud, d)
    checksum = digest.partition(":")[2]
    line = f'SRC_URI[{ud.source.pin_flag}] = "{checksum}"'
    if choice == "require":
        raise NoChecksumError(line, ud.url)
    bb.event.fire(MissingChecksumEvent(ud.url, sha256sum=checksum), d)
    if choice == "warn":
        logger.warning(
            "%s is not pinned: what a tag stands for changes. To get the same image each time, add to the recipe:\n%s",
            ud.source.reference.familiar,
            line,
        )


def _report_platform(ud, d, image):
    """
    Say of an image that ;platform= names, and that is not for the machine, how to show that it is meant: by the pin of its
    manifest. An index serves all machines, of which not all may run it.
    """
    if not ud.source.platform or ud.source.reference.digest == image.manifest_digest:
        return
    try:
        machine = wanted_platform(dataclasses.replace(ud.source, platform=None), d)
    except DockinError:
        # No image is for such a machine.
        return
    if machine is None or machine.accepts(ud.source.platform):
        return
    flag = ud.source.pin_flag
    line = f'SRC_URI[{flag}] = "{image.manifest_digest.partition(":")[2]}"'
    if ud.source.reference.digest and not d.getVarFlag("SRC_URI", flag):
        line = f";digest={image.manifest_digest}"
    logger.warning(
        "%s is built for %s, which its ;platform= names, and the machine is of %s. If the machine runs it, pin the image of"
        " this platform alone:\n%s",
        ud.source.reference.tagged.familiar,
        str(ud.source.platform),
        str(machine),
        line,
    )


def _unpinned_sbom(ud, d, image):
    """Return the line that pins the bills of materials that the image's pin does not cover, "" where none is wanted.

    With DOCKIN_PIN = "require" there may be none of those.
    """
    listed = [one.digest for one in image.attachments if not one.in_index]
    choice = _pin_choice(ud, d)
    if not listed or not ud.source.reference.digest or ud.sbom.pins or choice == "ignore":
        return ""
    line = f'SRC_URI[{ud.source.sbom_flag}] = "{" ".join(sorted(listed))}"'
    if choice == "require":
        raise NoChecksumError(line, ud.url)
    return line


def _report_sbom(ud, d, image):
    """Say of bills of materials that the image's pin does not cover how to pin them, as DOCKIN_PIN wants."""
    line = _unpinned_sbom(ud, d, image)
    if not line:
        return
    logger.warning(
        "The bill of materials of %s is not covered by its pin: the registry may attach another one, or none, the next time."
        " To get the same each time, add to the recipe:\n%s",
        ud.source.reference.tagged.familiar,
        line,
    )


def _write_bills(ud, image, directory):
    """Write the bills of materials that came with an image into a directory; return what there is to say of them."""
    if not ud.sbom:
        return ()
    bills = []
    numbers = collections.Counter()
    for attachment, media_type, data in dockin.image.tarball.read_bills(ud.localpath, image):
        bb.utils.mkdirhier(directory)
        suffix = dockin.image.attachments.SUFFIXES[media_type]
        numbers[suffix] += 1
        name = dockin.image.attachments.file_name(ud.source.reference.stem, suffix, numbers[suffix])
        pathlib.Path(directory, name).write_bytes(data)
        location = f"{dockin.recipe.source.SCHEME}://{ud.source.reference.name}@{attachment.digest}"
        bills.append(dockin.target.unpacked.Attached(name, media_type, hashlib.sha256(data).hexdigest(), location))
    return tuple(bills)


def _description(ud, image, result, bills):
    """Return what there is to know of an archive that is not compressed yet."""
    return dockin.target.unpacked.UnpackedImage(
        reference=ud.source.reference.tagged.canonical,
        platform=str(ud.platform),
        image_id=image.manifest.config.digest,
        manifest_digest=result.manifest_digest,
        registry_digest=image.manifest_digest,
        source_digest=image.digest,
        unpacked_size=result.size,
        layers_size=result.layers_size,
        attached=bills,
    )


def _partial(ud):
    """Return the directory of a download. Users who share a DL_DIR have one each: see _make_private()."""
    return f"{ud.localpath}.part-{os.geteuid()}"


def _make_private(path):
    """Make a directory in which nobody else can write, where an earlier fetch has not left it.

    skopeo and we write there by name, and would follow the links of others. A directory that may be theirs is made anew.
    Which owner and mode a new one shows is not looked at: not every file system has them.
    """
    try:
        state = os.lstat(path)
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return
        _remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DockinError(
            f"{path} is not this user's alone, and can't be removed ({error.strerror}): have its owner or root remove it"
        ) from error
    os.mkdir(path, 0o700)


def _remove(path):
    """Remove what has a name, a directory with all in it; no error if there is nothing.

    bb.utils.remove() takes a path for a pattern, and DL_DIR may have brackets.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            dockin.store.deeptree.remove(above, os.fsencode(os.path.basename(path)))
        finally:
            os.close(above)


def _size(directory):
    """Return the bytes in the files of a directory in which another process works."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(root, name))
    return total


def _human(size):
    return f"{size / 1e6:.1f} MB"


def _number(d, variable):
    """Return a variable's whole number. Raises DockinError."""
    value = d.getVar(variable) or str(_NUMBERS[variable])
    if not value.isdecimal():
        raise DockinError(f"Invalid {variable} = {value!r}: a whole number is expected")
    return int(value)


def _end_with_parent():
    """Let skopeo end when the task is killed, so that it does not go on writing under a lock that is gone."""
    bb.utils.signal_on_parent_exit("SIGTERM")


# Once a process: a module is imported only once.
bb.fetch2.methods.append(Docker())
