# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""BitBake fetcher for images in container registries: docker:// in SRC_URI.

    SRC_URI = "docker://docker.io/library/busybox;tag=1.36.1"
    SRC_URI[sha256sum] = "<64 hex digits>"

skopeo transfers the images, so its policy, registries.conf, certificates and logins apply. DL_DIR has one file for each
image and platform (lib/dockin/image/tarball.py), which is its own mirror tarball: DL_DIR can be served unchanged.

Supported parameters (lib/dockin/recipe/source.py): tag, digest, name, platform.

Variables: SRC_URI[<name>.sha256sum], the pin, an index or manifest digest; SRC_URI[<name>.sbom], digests of manifests with
bills of materials; DOCKIN_FETCH_SBOM, DOCKIN_RESOLVER, DOCKIN_PLATFORM, DOCKIN_PIN, DOCKIN_LAYERS, DOCKIN_AUTHFILE,
DOCKIN_CERT_DIR, DOCKIN_POLICY, DOCKIN_REGISTRIES_CONF, DOCKIN_REGISTRIES_D, DOCKIN_TLS_VERIFY, DOCKIN_FETCH_TIMEOUT,
DOCKIN_FETCH_RETRIES, FETCHCMD_docker: see docs/reference.md.
"""

import contextlib
import dataclasses
import logging
import os
import re

import bb
import bb.fetch2
import bb.progress

from bb.fetch2 import ChecksumError
from bb.fetch2 import FetchError
from bb.fetch2 import FetchMethod
from bb.fetch2 import MissingParameterError
from bb.fetch2 import ParameterError
from bb.fetch2 import UnpackError

import dockin.defaults
import dockin.fetch.download
import dockin.fetch.files
import dockin.fetch.pins
import dockin.fetch.session
import dockin.fetch.unpacking
import dockin.image.attachments
import dockin.image.platforms
import dockin.image.tarball
import dockin.recipe.source
import dockin.recipe.versions

from dockin.errors import DockinError

# Log records go to BitBake's user interface, a process without this package: they may only hold texts and numbers.
logger = logging.getLogger("BitBake.Fetcher.Docker")

UNPACK_SUBDIR = "docker-images"
"""Directory of the archives, below the unpack directory."""


class Docker(FetchMethod):
    """Fetches images with skopeo."""

    def supports(self, ud, d):
        """Tell whether a URL names an image."""
        return ud.type == dockin.recipe.source.SCHEME

    def supports_checksum(self, urldata):
        """Return False: BitBake would hash the whole file, but the pin is a digest in it, which _verify() checks."""
        return False

    def cleanup_upon_failure(self):
        """Return False: the next fetch reuses the complete blobs of a failed one."""
        return False

    def urldata_init(self, ud, d):
        """
        Parse the url, and name the file in DL_DIR:

            docker_sha256-<hex>_<os>-<architecture>[-<variant>].tar                 with a pin
            docker_<registry>+<repository>=<tag>_<os>-<architecture>[-<variant>].tar  without

        With DOCKIN_FETCH_SBOM the name has _sbom before the suffix, or _sbom-<hex> if these are pinned.
        """
        try:
            source = dockin.recipe.source.parse_entry(d.expand(ud.url))
            ud.source = source.pinned(d.getVarFlag("SRC_URI", source.pin_flag))
            ud.platform = wanted_platform(ud.source, d)
            ud.sbom = wanted_sbom(ud.source, d)
        except DockinError as error:
            raise ParameterError(str(error), _without_password(ud.url)) from error

        # In full, so that mirror rules and BB_ALLOWED_NETWORKS see the registry that is asked; in lower case, as BitBake
        # since 2.18 writes hosts. Requests use ud.source, with the recipe's spelling of the host.
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
        """Fetch the image; only what DL_DIR does not have is downloaded."""
        with _fetch_errors(ud):
            platform = _needed_platform(ud)
            progress = bb.progress.ProgressHandler(d)
            dockin.fetch.download.Download(
                ud.source.reference, platform, ud.sbom, ud.localpath, _session(ud, d), progress.update
            ).run()

    def verify_donestamp(self, ud, d):
        """Tell whether DL_DIR has the right file; rename a wrong one."""
        if not os.path.exists(ud.localpath):
            with _fetch_errors(ud):
                dockin.fetch.files.remove(ud.localpath)
                dockin.fetch.files.remove(ud.donestamp)
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
        """Verify the fetched file, from any source, and mark it as done."""
        self._verify(ud, d)
        # An interrupted download may have been completed by a mirror.
        dockin.fetch.files.remove(dockin.fetch.files.partial(ud.localpath))
        self._stamp(ud, d)

    def try_mirrors(self, fetch, ud, d, mirrors, check=False):
        """Ask the mirrors in turn until one has the right image. BitBake itself would stop at the first answer."""
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
                _session(ud, d).inspect(ud.source.reference)
        except FetchError as error:
            logger.warning(error.msg)
            return False
        return True

    def clean(self, ud, d):
        """Remove the file and the remains of an interrupted fetch."""
        dockin.fetch.files.remove(ud.localpath)
        dockin.fetch.files.remove(dockin.fetch.files.partial(ud.localpath))

    def unpack(self, ud, rootdir, d):
        """
        Write the archive for docker load, and its description:

            <rootdir>/docker-images/<stem>.tar
            <rootdir>/docker-images/<stem>.image.json    the image (lib/dockin/target/unpacked.py)
            <rootdir>/docker-images/sbom/<stem>…         bills of materials attached to it, if they were requested
        """
        directory = os.path.join(rootdir, UNPACK_SUBDIR)
        bb.utils.mkdirhier(directory)
        ud.unpack_tracer.unpack("file-copy", directory)
        reference = ud.source.reference
        target = os.path.join(directory, reference.stem + ".tar")
        bb.note(f"Assembling {target} from {ud.localpath}")
        try:
            # The file may have been replaced since do_fetch.
            image = dockin.image.tarball.load(ud.localpath, _needed_platform(ud), reference.digest, ud.sbom)
            dockin.fetch.pins.unpinned_sbom(ud, d, image)
            layers = dockin.defaults.value(d.getVar, "DOCKIN_LAYERS")
            dockin.fetch.unpacking.write(ud.localpath, image, reference, ud.platform, ud.sbom, layers, target)
        except (DockinError, OSError) as error:
            dockin.fetch.files.remove(target)
            raise UnpackError(str(error), ud.url) from error

    def latest_versionstring(self, ud, d, filter_regex=None):
        """
        Return the version of the newest tag that could follow the recipe's, for devtool latest-version,
        check-upgrade-status and the Auto Upgrade Helper. An error must not end their reports.

        If PV is not the version in the tag, as with several images, a newer tag is no newer version of the recipe.
        """
        regex = d.getVar("UPSTREAM_CHECK_REGEX") or ""
        current = dockin.recipe.versions.parse(ud.source.reference.tag)
        if not regex and (current is None or current.version != d.getVar("PV")):
            return ("", "")
        try:
            with _fetch_errors(ud):
                tags = _session(ud, d).list_tags(ud.source.reference)
                if filter_regex:
                    tags = dockin.recipe.versions.matching(tags, filter_regex)
                return (dockin.recipe.versions.newest(tags, ud.source.reference.tag, regex), "")
        except bb.fetch2.BBFetchException as error:
            logger.warning("No tags of %s: %s", ud.source.reference.name, str(error))
            return ("", "")

    def _stamp(self, ud, d):
        """Mark the file as done. First remove a link of somebody else, through which BitBake would write."""
        with _fetch_errors(ud):
            if os.path.islink(ud.donestamp):
                os.unlink(ud.donestamp)
        super().update_donestamp(ud, d)

    def _verify(self, ud, d):
        """Hash the chain of digests in the file, once for each state of the file; rename a bad file."""
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
                dockin.fetch.files.remove(ud.donestamp)
                raise ChecksumError(f"{ud.source.reference.tagged.familiar}: {error}", ud.url, actual) from error
        dockin.fetch.pins.report_pin(ud, d, image.digest)
        dockin.fetch.pins.report_platform(ud, d, image, _machine(ud, d))
        dockin.fetch.pins.report_sbom(ud, d, image)
        ud.sboms = len(dockin.image.attachments.documents(image.attachments))
        ud.verified = state


def wanted_platform(source, d):
    """
    Return the platform to fetch: ;platform=, DOCKIN_PLATFORM, or the target's. None if the datastore has no target, as in
    the copy of devtool check-upgrade-status. Raises DockinError.
    """
    if source.platform:
        return source.platform
    if d.getVar("DOCKIN_PLATFORM"):
        return dockin.image.platforms.parse(d.getVar("DOCKIN_PLATFORM"))
    return target_platform(d) if d.getVar("TARGET_ARCH") else None


def target_platform(d):
    """Return the platform of the target's tune. Raises DockinError if OCI has no name for it."""
    return dockin.image.platforms.from_target(
        d.getVar("TARGET_ARCH") or "", d.getVar("TUNE_FEATURES") or "", d.getVar("MACHINEOVERRIDES") or ""
    )


def wanted_sbom(source, d):
    """Return the bills of materials to fetch with an image, None for none. Raises DockinError."""
    flag = source.sbom_flag
    choice = dockin.defaults.value(d.getVar, "DOCKIN_FETCH_SBOM")
    return dockin.image.attachments.wanted(choice, d.getVarFlag("SRC_URI", flag), flag)


@contextlib.contextmanager
def _fetch_errors(ud):
    """Translate errors of the pure modules and of the operating system into BitBake's, with the URL.

    BitBake 2.8 would count an OSError as a success.
    """
    try:
        yield
    except dockin.image.tarball.InvalidTarball as error:
        raise ChecksumError(f"{ud.source.reference.canonical}: {error}", ud.url, error.actual) from error
    except dockin.fetch.download.DownloadError as error:
        raise FetchError(str(error), ud.url) from error
    except (DockinError, OSError) as error:
        raise FetchError(f"{ud.source.reference.canonical}: {error}", ud.url) from error


def _session(ud, d):
    return dockin.fetch.session.Session(ud.source.reference, ud.url, d)


def _machine(ud, d):
    """Return the machine's platform, None if it is unknown or no images are built for such a machine."""
    try:
        return wanted_platform(dataclasses.replace(ud.source, platform=None), d)
    except DockinError:
        return None


def _without_password(url):
    """Return a URL that may be printed, because BitBake prints the URL of an error.

    It has no user, password, query, and no unknown parameter, which may be a password.
    """
    without_login = re.sub("://.*(?:@|%40)(?!sha256:)", "://<user>@", url)
    address, *parameters = re.sub("(?:[?#]|%3F|%23)[^;]*", "", without_login, flags=re.IGNORECASE).split(";")
    return ";".join([address, *(one for one in parameters if one.partition("=")[0] in dockin.recipe.source.PARAMETERS)])


def _needed_platform(ud):
    if ud.platform is None:
        raise MissingParameterError("platform", ud.url)
    return ud.platform


# This runs once in a process, because a module is imported only once.
bb.fetch2.methods.append(Docker())
