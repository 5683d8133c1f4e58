# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The text of new recipes: what an image says of itself becomes a recipe, and never BitBake code."""

from __future__ import annotations

import re

import pytest

from dockin.errors import DockinError
from dockin.image import manifests, platforms
from dockin.recipe import licences, newrecipe, source
from hypothesis import given, strategies

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
SUMS = {"MIT": "1" * 32, "Apache-2.0": "2" * 32, "GPL-2.0-only": "3" * 32, "BSD-3-Clause": "4" * 32}
TABLE = licences.Table(lambda name: SUMS.get(name, ""), "0" * 32)
LABEL = "org.opencontainers.image."
UNREVIEWED = licences.UNREVIEWED


def config(**labels):
    return manifests.Config("linux", "amd64", "", (), {LABEL + key: value for key, value in labels.items()}, "")


def recipe(image="busybox:1.36.1", pn="busybox-docker", compression="", platform=None, pinned=True, **labels):
    reference = newrecipe.image_reference(image, digest=DIGEST)
    return newrecipe.for_image(newrecipe.Image(reference, config(**labels), pinned, platform), pn, TABLE, compression)


def test_plain_recipe():
    made = recipe()
    assert made.file_name == "busybox-docker_1.36.1.bb"
    assert made.text == f"""\
SUMMARY = "busybox as a Docker image"
HOMEPAGE = "https://hub.docker.com/_/busybox"
LICENSE = "LicenseRef-Dockin-Unreviewed"
LIC_FILES_CHKSUM = "file://${{DOCKIN_LAYERDIR}}/licenses/LicenseRef-Dockin-Unreviewed;md5={"0" * 32}"

inherit dockin

SRC_URI = "docker://docker.io/library/busybox;tag=${{PV}}"
SRC_URI[sha256sum] = "{"a" * 64}"
"""


def test_the_same_input_gives_the_same_text():
    assert recipe(title="A", licenses="MIT") == recipe(title="A", licenses="MIT")


@pytest.mark.parametrize("text, tag, digest, expected", [
    ("busybox", "", "", "docker.io/library/busybox:latest"),
    ("busybox", "1.36.1", "", "docker.io/library/busybox:1.36.1"),
    ("docker://busybox:1.36.1", "1.36.1", "", "docker.io/library/busybox:1.36.1"),
    ("org/app", "", "", "docker.io/org/app:latest"),
    ("host:5000/team/app:v1", "", "", "host:5000/team/app:v1"),
    (f"docker://ghcr.io/a/b@{DIGEST}", "", "", f"ghcr.io/a/b:latest@{DIGEST}"),
    (f"a/b:1@{DIGEST}", "", DIGEST, f"docker.io/a/b:1@{DIGEST}"),
    ("a/b:1", "", DIGEST, f"docker.io/a/b:1@{DIGEST}"),
])
def test_image_reference(text, tag, digest, expected):
    assert newrecipe.image_reference(text, tag, digest).canonical == expected


@pytest.mark.parametrize("text, tag, digest, message", [
    ("busybox:1.36.1", "1.37.0", "", "Two tags: '1.36.1' in 'busybox:1.36.1', and --tag '1.37.0'"),
    (f"busybox@{DIGEST}", "", OTHER, "Two digests"),
    ("busybox", "a b", "", "Invalid tag"),
    ("busybox", "", "sha256:12", "Invalid digest"),
    ("https://busybox", "", "", "no scheme"),
    ("docker://user:secret@host/app", "", "", "user and password have no place"),
    ("Busybox", "", "", "lower case"),
])
def test_image_reference_errors(text, tag, digest, message):
    with pytest.raises(DockinError, match=re.escape(message)) as caught:
        newrecipe.image_reference(text, tag, digest)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("tag, pv, entry", [
    ("1.36.1", "1.36.1", "${PV}"),
    ("v1.2", "1.2", "v${PV}"),
    ("3-alpine", "3", "${PV}-alpine"),
    ("v2.10.0-rc1", "2.10.0", "v${PV}-rc1"),
    ("1.2_p1", "1.2", "${PV}_p1"),
    ("20261123", "20261123", "${PV}"),
    ("8.0.0-1", "8.0.0-1", "${PV}"),
    ("2026-11-23", "2026-11-23", "${PV}"),
    ("latest", "1.0", "latest"),
    ("bookworm-slim", "1.0", "bookworm-slim"),
    ("1a2b3c4", "1.0", "1a2b3c4"),
    ("sha_1.2", "1.0", "sha_1.2"),
])
def test_version_of(tag, pv, entry):
    version = newrecipe.version_of(tag)
    assert (version.pv, version.tag) == (pv, entry)
    # What BitBake will make of it is the tag again, and the file name is one that BitBake splits where it should.
    assert version.tag.replace("${PV}", version.pv) == tag
    assert "_" not in version.pv and re.fullmatch(r"[0-9][0-9A-Za-z.+~-]*", version.pv)


def test_numbers_with_dashes_have_a_pattern_for_newer_ones():
    [line] = newrecipe.version_of("8.0.0-1").lines
    pattern = re.fullmatch(r'UPSTREAM_CHECK_REGEX = "(.*)"', line)[1]
    assert re.search(pattern, "8.0.1-12")["pver"] == "8.0.1-12"
    assert not re.search(pattern, "8.0.1-12-debug")


@pytest.mark.parametrize("base, name", [
    ("library/busybox", "busybox-docker"),
    ("team/my_app", "my-app-docker"),
    ("team/a__b", "a-b-docker"),
    ("shop", "shop-docker"),
])
def test_default_name(base, name):
    assert newrecipe.default_name(base) == name


@pytest.mark.parametrize("labels, line", [
    ({}, 'HOMEPAGE = "https://hub.docker.com/_/busybox"'),
    ({"url": "https://a.example/x?y=1#z"}, 'HOMEPAGE = "https://a.example/x?y=1#z"'),
    ({"url": "javascript:alert(1)", "source": "https://b.example"}, 'HOMEPAGE = "https://b.example"'),
    ({"url": "https://x/${@os.system('id')}"}, 'HOMEPAGE = "https://hub.docker.com/_/busybox"'),
    ({"url": "https://user:secret@x/"}, 'HOMEPAGE = "https://hub.docker.com/_/busybox"'),
])
def test_homepage(labels, line):
    assert line in recipe(**labels).text.splitlines()


@pytest.mark.parametrize("image, line", [
    ("org/app:1.0", 'HOMEPAGE = "https://hub.docker.com/r/org/app"'),
    ("quay.io/org/app:1.0", 'HOMEPAGE = "https://quay.io/repository/org/app"'),
])
def test_homepage_of_registry(image, line):
    assert line in recipe(image).text.splitlines()


def test_no_homepage_is_made_up():
    assert "HOMEPAGE" not in recipe("host:5000/team/app:1.0").text


def test_options():
    made = recipe(compression="zstd", platform=platforms.parse("linux/arm/v6"), pinned=False).text
    assert 'SRC_URI = "docker://docker.io/library/busybox;tag=${PV};platform=linux/arm/v6"' in made
    assert "sha256sum" not in made
    assert made.endswith('\n\nCOMPRESSION_TYPE = "zstd"\n')


def test_label_of_a_title_and_a_description():
    lines = recipe(title="Busy  Box", description="First line.\nSecond \"line\".").text.splitlines()
    assert lines[:2] == ['SUMMARY = "Busy Box as a Docker image"', 'DESCRIPTION = "First line. Second \'line\'."']


def test_long_words_of_a_label():
    assert recipe(title="a" * 100).text.startswith(f'SUMMARY = "{"a" * 59} … as a Docker image"\n')
    assert recipe(title="word " * 20).text.startswith('SUMMARY = "word word')


# Letters that mean something to BitBake, or vanish: seldom in a row in any text.
@given(strategies.text() | strategies.text(alphabet="${}@\"'\\#`a \n\0\u2028"))
def test_labels_never_become_code(text):
    made = recipe(title=text, description=text, licenses=text, url=text).text
    head = made.partition("inherit dockin")[0]
    variables = set(re.findall(r"\$\{([^}]*)", head))
    assert variables <= {"DOCKIN_LAYERDIR", "COMMON_LICENSE_DIR"}
    # Each line of the head is one assignment or goes on with one: quotes are only those around values.
    for value in re.findall(r'^\w+ = "(.*?)"$', re.sub(r" \\\n", " ", head), re.M):
        assert '"' not in value and "\\" not in value
    for line in head.splitlines():
        assert re.match(r'[A-Z_]+ = "', line) or not line.startswith("#")
        assert len(line.encode()) < 4 * 125 or " " not in line


@pytest.mark.parametrize("label, expected", [
    ("MIT", "MIT"),
    (" MIT ", "MIT"),
    ("MIT AND Apache-2.0", "MIT & Apache-2.0"),
    ("MIT OR Apache-2.0 AND BSD-3-Clause", "MIT | (Apache-2.0 & BSD-3-Clause)"),
    ("(MIT OR Apache-2.0) AND BSD-3-Clause", "(MIT | Apache-2.0) & BSD-3-Clause"),
    ("GPL-2.0", "GPL-2.0-only"),
    ("MIT AND MIT", "MIT"),
    ("", UNREVIEWED),
    ("Apache License 2.0", UNREVIEWED),
    ("MIT, Apache-2.0", UNREVIEWED),
    ("Proprietary", UNREVIEWED),
    ("GPL-2.0-only WITH Classpath-exception-2.0", UNREVIEWED),
    ("(MIT", UNREVIEWED),
    ("MIT)", UNREVIEWED),
    ("MIT AND", UNREVIEWED),
    ("(" * 5000, UNREVIEWED),
    ("MIT AND " * 200 + "MIT", UNREVIEWED),
])
def test_licence_of_a_label(label, expected):
    assert TABLE.combine([label]).expression == expected


def test_licence_in_words():
    table = licences.Table(TABLE.checksum, TABLE.unreviewed, words=True)
    assert table.combine(["MIT OR Apache-2.0", "BSD-3-Clause"]).expression == "(MIT OR Apache-2.0) AND BSD-3-Clause"


def test_licence_of_several_images():
    found = TABLE.combine(["MIT", "", "MIT AND BSD-3-Clause"])
    assert found.expression == f"MIT & {UNREVIEWED} & BSD-3-Clause"
    assert [re.search(r"/([^/;]+);md5", checksum)[1] for checksum in found.checksums] == ["MIT", UNREVIEWED, "BSD-3-Clause"]


def composition(**changes):
    image = newrecipe.Image(newrecipe.image_reference("busybox:1.36.1", digest=DIGEST), config(licenses="MIT"))
    other = newrecipe.Image(newrecipe.image_reference("org/db:16", digest=OTHER), config())
    values = {"project": "shop", "file_name": "compose.yml", "text": "services: {}\n",
              "services": (newrecipe.Service("web", image), newrecipe.Service("db", other)), **changes}
    return newrecipe.Composition(**values)


def both(*names):
    """Return services of images of these names."""
    images = [newrecipe.Image(newrecipe.image_reference(name, digest=DIGEST), config()) for name in names]
    return tuple(newrecipe.Service(f"s{number}", image) for number, image in enumerate(images))


def test_recipe_of_a_compose_file():
    made = newrecipe.for_composition(composition(), "shop-docker", TABLE)
    assert made.file_name == "shop-docker_1.0.bb"
    assert set(made.files) == {"compose.yml", "shop-docker.service"}
    entries = re.search(r'SRC_URI = " \\\n(.*?)\n"', made.text, re.S)[1].replace("\\", "").split()
    assert [one.name for one in source.parse_src_uri(" ".join(entries))] == ["web", "db"]
    assert entries[2:] == ["file://compose.yml", "file://shop-docker.service"]
    assert f'SRC_URI[web.sha256sum] = "{"a" * 64}"\nSRC_URI[db.sha256sum] = "{"b" * 64}"\n' in made.text
    loads = "dockin-preload-busybox-1.36.1.service dockin-preload-org-db-16.service"
    unit = made.files["shop-docker.service"]
    assert f"\nRequires={loads}\nAfter=docker.service {loads}\n" in unit
    assert "DOCKIN_LAYERS" not in made.text
    # The recipe may be renamed: its files are where its name then says.
    assert "--file @files@/compose.yml up" in unit and "s|@files@|${datadir}/${BPN}|g" in made.text


def test_an_image_by_digest_needs_the_layers_of_the_registry():
    assert 'DOCKIN_LAYERS = "registry"' in newrecipe.for_composition(composition(keep_layers=True), "s-docker", TABLE).text


@pytest.mark.parametrize("changes, message", [
    ({"file_name": "my compose.yml"}, "Invalid file name"),
    ({"file_name": "compose.env"}, "Invalid file name 'compose.env': .*; rename the Compose file"),
    ({"file_name": "shop-docker.service"}, "Invalid file name 'shop-docker.service': .*; rename the Compose file"),
    ({"services": (newrecipe.Service("a b", composition().services[0].image),)}, "Invalid service name"),
    ({"services": both("MyACR.azurecr.io/a", "myacr.azurecr.io/b")}, "Two spellings of one registry"),
    ({"services": both("org/db:1", "org-db:1")}, "Two images with one archive name"),
])
def test_recipe_of_a_compose_file_errors(changes, message):
    with pytest.raises(DockinError, match=message):
        newrecipe.for_composition(composition(**changes), "shop-docker", TABLE)


def test_the_text_of_the_licence_is_there():
    import pathlib

    assert (pathlib.Path(__file__).parents[3] / "licenses" / UNREVIEWED).is_file()
