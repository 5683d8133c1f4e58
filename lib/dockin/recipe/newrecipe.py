# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""New recipes: the text of a recipe for one image, or for all images of a Compose file. The same input gives the same text.

What an image says of itself are labels (https://github.com/opencontainers/image-spec/blob/main/annotations.md): foreign
text, which must become a BitBake value without becoming BitBake code.
"""

from __future__ import annotations

import re
import textwrap
import urllib.parse
from dataclasses import dataclass, field

from dockin.errors import DockinError, one_line
from dockin.image import manifests, platforms, reference
from dockin.image.reference import ImageReference
from dockin.recipe import licences, source, versions
from dockin.target import units

PACKAGE_TEXTS = ("SUMMARY", "DESCRIPTION", "HOMEPAGE")
"""Variables that may have words of an image's publisher, and that OE-core's package_rpm.bbclass copies into a spec file."""

UNVERSIONED_PV = "1.0"
"""PV of a recipe whose tag is no version."""

_TITLE = "org.opencontainers.image.title"
_DESCRIPTION = "org.opencontainers.image.description"
_LICENSES = "org.opencontainers.image.licenses"
# The first of them that is a web address.
_HOMEPAGES = tuple("org.opencontainers.image." + key for key in ("url", "documentation", "source"))

_LONGEST_TITLE = 60
_LONGEST_DESCRIPTION = 400
_WIDTH = 120

_URL_CHARACTERS = re.compile(r"[A-Za-z0-9/:._~?#&=+@,-]+")
# Numbers with dots and dashes: 8.0.0-1, 2026-11-23. A single number is as likely a commit or a build.
_NUMBERS = re.compile(r"\d+(?:[.-]\d+)+")
_NAME = re.compile(r"[0-9a-z.+-]+")
_SERVICE = re.compile(r"[A-Za-z0-9_.-]+")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_COMPRESSION = re.compile(r"[a-z0-9]+")
_ENV_FILE = "compose.env"
_COMPOSE_PACKAGES = "${@bb.utils.contains('BBFILE_COLLECTIONS', 'virtualization-layer', 'docker-compose', '', d)}"


class InvalidRecipe(DockinError):
    """No recipe can be written for what was asked for."""


@dataclass(frozen=True)
class Version:
    """How a tag and the recipe's version belong together."""

    pv: str
    tag: str
    """For SRC_URI: v${PV}-alpine."""
    lines: tuple[str, ...] = ()
    """What the recipe has to say to those who look for newer versions."""


@dataclass(frozen=True)
class Image:
    """An image that a recipe is to install."""

    reference: ImageReference
    """With a tag, and with the digest to pin."""
    config: manifests.Config
    pinned: bool = True
    platform: platforms.Platform | None = None
    """To be written down; None leaves it to the machine."""


@dataclass(frozen=True)
class Service:
    """An image with the name of the first service that uses it."""

    name: str
    image: Image


@dataclass(frozen=True)
class Composition:
    """A Compose file and what it is to become."""

    project: str
    file_name: str
    text: str
    services: tuple[Service, ...]
    keep_layers: bool = False
    """Whether the file names an image by digest, which Docker knows only with the registry's own layers."""
    env_text: str = ""
    """What Compose is to find as .env beside the file, "" for nothing."""


@dataclass(frozen=True)
class NewRecipe:
    """A recipe to write."""

    pn: str
    pv: str
    text: str
    files: dict[str, str] = field(default_factory=dict)
    """Name and content of what lies in files/ beside it."""

    @property
    def file_name(self) -> str:
        """The name that says PN and PV: busybox-docker_1.36.1.bb."""
        return f"{self.pn}_{self.pv}.bb"


def image_reference(text: str, tag: str = "", digest: str = "") -> ImageReference:
    """Return what a user means by an image as after "docker pull", with or without docker://, and by a tag and a digest.

    The result always has a tag. Raises InvalidRecipe and InvalidReference.
    """
    prefix = "docker://"
    parsed = reference.parse(text[len(prefix) :] if text.startswith(prefix) else text)
    if tag:
        reference.check_tag(tag, f"--tag {tag}")
    if digest:
        reference.check_digest(digest, f"--digest {digest}")
    for option, given, inline in (("tag", tag, parsed.tag), ("digest", digest, parsed.digest)):
        if given and inline and given != inline:
            raise InvalidRecipe(f"Two {option}s: {inline!r} in {text!r}, and --{option} {given!r}; keep one of them")
    return ImageReference(
        parsed.registry,
        parsed.repository,
        tag or parsed.tag or reference.DEFAULT_TAG,
        digest or parsed.digest or None,
    )


def default_name(base: str) -> str:
    """Return the name of a recipe for an image or project: its last part and -docker, as busybox would be OE-core's.

    Raises InvalidRecipe where no name can be made.
    """
    name = re.sub(r"[^0-9a-z.+]+", "-", base.rpartition("/")[2].lower()).strip("-.")
    if not name:
        raise InvalidRecipe(f"No recipe name can be made of {base!r}: give one with --recipe-name")
    return f"{name}-docker"


def check_name(pn: str) -> str:
    """Return a recipe's name if it is one. Raises InvalidRecipe."""
    if not _NAME.fullmatch(pn):
        raise InvalidRecipe(f"Invalid recipe name {pn!r}: it has lower-case letters, digits, '-', '+' and '.'")
    return pn


def check_compression(kind: str) -> str:
    """Return a value for COMPRESSION_TYPE if it can be one; which there are says the class. Raises InvalidRecipe."""
    if not _COMPRESSION.fullmatch(kind):
        raise InvalidRecipe(f"Invalid compression {kind!r}: expected xz, zstd, gzip, none or a type of your own")
    return kind


def version_of(tag: str) -> Version:
    """Return PV for a tag.

    1.36.1 is 1.36.1; what stands around a version stays in the tag: v${PV}, ${PV}-alpine; numbers with dashes are taken as
    they are; any other tag has no version, and the recipe has UNVERSIONED_PV.
    """
    parsed = versions.parse(tag)
    if parsed:
        return Version(parsed.version, f"{parsed.prefix}${{PV}}{parsed.suffix}")
    if _NUMBERS.fullmatch(tag):
        shape = re.sub(r"\d+", r"\\d+", tag.replace(".", r"\."))
        return Version(tag, "${PV}", (f'UPSTREAM_CHECK_REGEX = "^(?P<pver>{shape})$"',))
    reason = f"the tag {tag} is no version; devtool refresh-docker follows it"
    return Version(UNVERSIONED_PV, tag, (f'RECIPE_NO_UPDATE_REASON = "{reason}"',))


def for_image(image: Image, pn: str, table: licences.Table, compression: str = "") -> NewRecipe:
    """Return the recipe for one image. Raises DockinError."""
    check_name(pn)
    labels = image.config.labels
    version = version_of(image.reference.tag or reference.DEFAULT_TAG)
    title = plain(labels.get(_TITLE, ""), _LONGEST_TITLE) or image.reference.repository.rpartition("/")[2]
    text = [
        *_head(f"{title} as a Docker image", plain(labels.get(_DESCRIPTION, ""), _LONGEST_DESCRIPTION), _homepage(image)),
        *_licence(table, [labels.get(_LICENSES, "")]),
        "",
        "inherit dockin",
        "",
        f'SRC_URI = "{_entry(image, version.tag)}"',
        *_pin(image, ""),
        *version.lines,
        *_compression(compression),
    ]
    return NewRecipe(pn, version.pv, "\n".join(text) + "\n")


def for_composition(composition: Composition, pn: str, table: licences.Table, compression: str = "") -> NewRecipe:
    """Return the recipe for the images of a Compose file, with the file and the unit that starts it. Raises DockinError."""
    check_name(pn)
    if not _FILE_NAME.fullmatch(composition.file_name):
        raise InvalidRecipe(f"Invalid file name {composition.file_name!r}: use letters, digits, '.', '_' and '-'")
    images = [service.image for service in composition.services]
    unit = f"{pn}.service"
    if composition.file_name in (unit, _ENV_FILE):
        raise InvalidRecipe(
            f"Invalid file name {composition.file_name!r}: the recipe has a file of its own of that name beside the Compose"
            " file; rename the Compose file"
        )
    names = ", ".join(image.reference.tagged.familiar for image in images)
    services = composition.services
    files = {composition.file_name: composition.text, unit: _compose_unit(composition)}
    install_env = []
    if composition.env_text:
        files[_ENV_FILE] = composition.env_text
        install_env = [f"    install -m 0600 ${{COMPOSE_FILES}}/{_ENV_FILE} ${{D}}${{datadir}}/${{BPN}}/.env"]
    entries = [f"{_entry(one.image, str(one.image.reference.tag))};name={_service(one.name)}" for one in services]
    # What the class would refuse: two spellings of a registry, two images of one archive name.
    source.parse_src_uri(" ".join(entries))
    text = [
        *_head(f"Docker Compose project {composition.project} with its images", f"Images: {names}.", ""),
        *_licence(table, [image.config.labels.get(_LICENSES, "") for image in images]),
        "",
        "inherit dockin",
        "",
        'SRC_URI = " \\',
        *(f"    {entry} \\" for entry in [*entries, *(f"file://{name}" for name in files)]),
        '"',
        *(line for one in services for line in _pin(one.image, one.name)),
        *_compression(compression),
        *_layers(composition),
        "",
        "# Where do_unpack puts local files: scarthgap has no UNPACKDIR.",
        "COMPOSE_FILES = \"${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}\"",
        "",
        "do_install:append () {",
        "    install -d ${D}${datadir}/${BPN}",
        f"    install -m 0644 ${{COMPOSE_FILES}}/{composition.file_name} ${{D}}${{datadir}}/${{BPN}}/",
        *install_env,
        f"    install -m 0644 ${{COMPOSE_FILES}}/{unit} ${{D}}${{systemd_system_unitdir}}/",
        "    sed -i -e 's|@bindir@|${bindir}|g' -e 's|@files@|${datadir}/${BPN}|g' \\",
        f"        ${{D}}${{systemd_system_unitdir}}/{unit}",
        "}",
        "",
        'SYSTEMD_PACKAGES += "${PN}"',
        f'SYSTEMD_SERVICE:${{PN}} = "{unit}"',
        "# Of meta-virtualization; what nobody provides can't be recommended.",
        f'RRECOMMENDS:${{PN}} += "{_COMPOSE_PACKAGES}"',
    ]
    return NewRecipe(pn, UNVERSIONED_PV, "\n".join(text) + "\n", files)


def plain(text: str, limit: int) -> str:
    """Return foreign text as a recipe can hold it: one line of limit characters, which BitBake and rpmbuild don't expand."""
    harmless = one_line(text).translate({ord("\\"): "/", ord('"'): "'", ord("#"): None, ord("%"): None})
    # "$%{" has become "${", and so does "$${" here.
    while "${" in harmless:
        harmless = harmless.replace("${", "{")
    words = " ".join(harmless.split())
    if len(words) <= limit:
        return words
    start = words[: limit - 1]
    return (start.rpartition(" ")[0] or start).rstrip(",;:-") + " …"


def check_package_text(variable: str, value: str) -> None:
    """Raise InvalidRecipe for a value of one of PACKAGE_TEXTS in which rpmbuild would expand something."""
    if "%" in value:
        address = variable.startswith("HOMEPAGE")
        remedy = "give another address" if address else "remove each '%', or write it out as 'percent'"
        raise InvalidRecipe(
            f"Invalid {variable} = {value!r}: it has a '%', by which rpmbuild runs commands, as %(…), on the build host;"
            f" {remedy}. It may be what an image's labels say, copied into the recipe"
            " by devtool or recipetool: if you do not know it, do not trust the image"
        )


def _head(summary: str, description: str, homepage: str) -> list[str]:
    lines = [f'SUMMARY = "{summary}"']
    if description:
        wrapped = textwrap.wrap(f'DESCRIPTION = "{description}"', _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        lines += [line + " \\" for line in wrapped[:-1]] + wrapped[-1:]
    if homepage:
        lines.append(f'HOMEPAGE = "{homepage}"')
    return lines


def _homepage(image: Image) -> str:
    """Return the image's home page: what its labels name, or where its registry shows it."""
    for key in _HOMEPAGES:
        value = image.config.labels.get(key, "").strip()
        if _is_web_address(value):
            return value
    registry, repository = image.reference.registry, image.reference.repository
    if registry == reference.DEFAULT_REGISTRY:
        official = reference.DEFAULT_NAMESPACE + "/"
        page = f"_/{repository[len(official) :]}" if repository.startswith(official) else f"r/{repository}"
        return f"https://hub.docker.com/{page}"
    if registry == "quay.io":
        return f"https://quay.io/repository/{repository}"
    return ""


def _is_web_address(text: str) -> bool:
    if not _URL_CHARACTERS.fullmatch(text):
        return False
    try:
        parts = urllib.parse.urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _licence(table: licences.Table, labels: list[str]) -> list[str]:
    found = table.combine(labels)
    lines = [f'LICENSE = "{found.expression}"']
    if len(found.checksums) == 1:
        lines.append(f'LIC_FILES_CHKSUM = "{found.checksums[0]}"')
    else:
        lines += ['LIC_FILES_CHKSUM = " \\', *(f"    {checksum} \\" for checksum in found.checksums), '"']
    return lines


def _entry(image: Image, tag: str) -> str:
    platform = f";platform={image.platform}" if image.platform else ""
    return f"docker://{image.reference.name};tag={tag}{platform}"


def _pin(image: Image, name: str) -> list[str]:
    if not image.pinned or not image.reference.digest:
        return []
    flag = f"{name}.sha256sum" if name else "sha256sum"
    return [f'SRC_URI[{flag}] = "{image.reference.digest.partition(":")[2]}"']


def _compression(kind: str) -> list[str]:
    return ["", f'COMPRESSION_TYPE = "{check_compression(kind)}"'] if kind else []


def _layers(composition: Composition) -> list[str]:
    if not composition.keep_layers:
        return []
    why = "# The Compose file names an image by its digest: only with the registry's layers it has that in Docker."
    return ["", why, 'DOCKIN_LAYERS = "registry"']


def _service(name: str) -> str:
    if not _SERVICE.fullmatch(name):
        raise InvalidRecipe(f"Invalid service name {name!r}: Compose takes letters, digits, '.', '_' and '-'")
    return name


def _compose_unit(composition: Composition) -> str:
    """Return the unit that starts a Compose file's containers once their images are loaded."""
    loads = " ".join(dict.fromkeys(units.unit_name(service.image.reference) for service in composition.services))
    command = f"@bindir@/docker compose --project-name {composition.project} --file @files@/{composition.file_name}"
    return f"""\
[Unit]
Description=The containers of {composition.project}
Requires=docker.service
# Each image is loaded, or found there, before Docker Compose asks for it.
Requires={loads}
After=docker.service {loads}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} up --detach
ExecStop={command} down
TimeoutStartSec=5min

[Install]
WantedBy=multi-user.target
"""
