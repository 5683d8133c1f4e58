# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Each text of somebody else's in each place that it reaches: there it is text, or it is refused.

The ways are those of SECURITY.md's table. BitBake's parser has the recipes in tests/fetcher/test_text.py, OE-core's classes,
rpmbuild and dpkg-deb in tests/oe/test_texts.py.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import re

import pytest

from dockin.errors import DockinError
from dockin.image import attachments, manifests, platforms, reference
from dockin.recipe import compose, licences, newrecipe, recipefile, source
from dockin.refresh import engine, findings, gitcommit, report as refresh_report, status
from dockin.registry import client, skopeo
from dockin.registry.resolver import ResolveError
from dockin.sbom import elements
from dockin.target import imageinfo, units, unpacked
from support import hostile

TREE = pathlib.Path(__file__).resolve().parents[2]
LABEL = "org.opencontainers.image."
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SUMS = {"MIT": "1" * 32, "Apache-2.0": "2" * 32}
TABLE = licences.Table(lambda name: SUMS.get(name, ""), "0" * 32)
AMD64 = platforms.parse("linux/amd64")
TODAY = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)
SAMPLES = [hostile.aim(text, pathlib.Path("/tmp/mark")) for text in hostile.texts(20261201, 400)]


# ------------------------------------------------------------------------------------------ what becomes of it


def config(labels=None, **members):
    document = {"os": "linux", "architecture": "amd64", "config": {"Labels": labels}, "rootfs": {"diff_ids": []}, **members}
    return manifests.parse_config(json.dumps(document).encode())


def recipe(named, labels=None):
    """Return what a recipe for an image has, and by which a package of it is described."""
    image = newrecipe.Image(dataclasses.replace(named, digest=NEW), config(labels))
    text = newrecipe.for_image(image, "app-docker", TABLE).text
    values = re.findall(r'^(?:SUMMARY|DESCRIPTION|HOMEPAGE|LICENSE) = +"([^"]*)"$', text.replace(" \\\n", " "), re.M)
    return {"recipe": text, "spec": tuple(values), "control": tuple(values)}


def label(*keys):
    named = reference.parse("ghcr.io/team/app:1.0")

    def act(text):
        made = recipe(named, {LABEL + key: text for key in keys})
        # create-spdx writes the variables as they are.
        return {**made, "SPDX": json.dumps(made["spec"])}

    return act


def reports(result):
    """Return a refresh's report with one image in each form, and as a commit."""
    report = engine.Report(engine.Options(min_age=1), [result], [], [result.found.message or "a note"])
    statistics = client.Statistics()
    made = {
            "Markdown": refresh_report.as_markdown(report, statistics), "terminal": refresh_report.as_text(
                report, statistics
            ),
            "JSON": refresh_report.as_json(report, statistics)}
    made["HTML"] = made["Markdown"]
    if result.status == findings.STALE:
        made["commit"] = gitcommit._message([result], "recipe")
    return made


def finding(text="", state=findings.ERROR, **members):
    found = findings.Finding(state, findings.Documents(OLD, tag="1.0"), findings.Documents(NEW, tag="1.0"), **members)
    if text:
        found.fail("other", text)
    return found


def refreshed(named, found, recipe_name="app-docker"):
    """Return a report on an image in a recipe."""
    image = recipefile.Image("app.bb", 1, f"docker://{named.name};tag={named.tag}", None,
                             source.DockerSource(dataclasses.replace(named, digest=OLD)))
    return reports(engine.Result(recipefile.Recipe("app.bb", recipe_name, ""), image, AMD64, found))


def listed(named, **members):
    found = status.Status("app-docker", "layer", "app.bb", named, AMD64, **members)
    return {"terminal": status.table([found], TODAY.date()), "JSON": status.to_json([found])}


def all_of(value):
    return value if isinstance(value, list) else [value]


def merged(*several):
    """Return what is made of a text in several ways, as lists by place."""
    places = dict.fromkeys(place for one in several for place in one)
    return {place: [value for one in several if place in one for value in all_of(one[place])] for place in places}


def unpacked_image(named, bills=()):
    return unpacked.UnpackedImage(named.canonical, "linux/amd64", NEW, NEW, NEW, OLD, 1, 1, bills)


def element_of(image):
    return json.dumps(dataclasses.asdict(elements.from_registry(image)))


def name_of_an_image(named):
    unit = units.render_unit(named, f"/usr/share/dockin/archive/{named.stem}.image", units.Preload())
    service = newrecipe.Service("web", newrecipe.Image(dataclasses.replace(named, digest=NEW), config()))
    composed = newrecipe.for_composition(newrecipe.Composition("shop", "c.yml", "", (service,)), "shop-docker", TABLE)
    image = unpacked_image(named)
    info = imageinfo.ImageInformation(
        named.canonical, named.familiar, "linux/amd64", "docker", named.stem + ".tar", 1, 1, 1, NEW, NEW, OLD)
    return merged(
        recipe(named), {"recipe": composed.text, "Compose unit": composed.files["shop-docker.service"], "unit": unit},
        {"file": named.stem, "SPDX": [image.render(), element_of(image)]},
        {"file": units.unit_name(named), "information": info.render()},
        refreshed(named, finding(state=findings.STALE)), listed(named))


def composed(**members):
    """Return what is made of a Compose file, of which a member of its service or its name is replaced."""
    service = {"image": "team/app:1.0", **members.get("service", {})}
    document = {"name": members.get("project", "shop"), "services": {members.get("name", "web"): service}}
    read = compose.parse(json.dumps(document), members.get("path", "compose.yml"))
    image = newrecipe.Image(dataclasses.replace(read.images[0].reference, digest=NEW), config())
    made = newrecipe.for_composition(compose.compose(read, [image]), "shop-docker", TABLE)
    return {"recipe": made.text, "Compose unit": made.files["shop-docker.service"], "file": [*made.files][0]}


def env_file(text):
    """Return what is made of a Compose file whose image --env-file names."""
    env = f"IMAGE={text}"
    document = json.dumps({"name": "shop", "services": {"web": {"image": "${IMAGE}"}}})
    read = compose.parse(document, "compose.yml", compose.variables(env, ".env"))
    image = newrecipe.Image(dataclasses.replace(read.images[0].reference, digest=NEW), config())
    composition = compose.compose(dataclasses.replace(read, env_text=env), [image])
    made = newrecipe.for_composition(composition, "shop-docker", TABLE)
    assert made.files["compose.env"] == env and made.files["compose.yml"] == document
    return {"recipe": made.text, "Compose unit": made.files["shop-docker.service"], "file": [*made.files]}


def created(text):
    named, made = reference.parse("team/app:1.0"), config(created=text)

    class Registry:
        """What a tag that has moved stands for."""

        def kind(self, wanted):
            return "http"

        def document_kind(self, digest):
            return "index"

        def digest(self, wanted):
            return wanted.digest or NEW

        def digest_read(self, wanted):
            return self.digest(wanted)

        def document(self, wanted):
            return json.dumps({"schemaVersion": 2, "config": descriptor(), "layers": []}).encode()

        def config(self, wanted, platform):
            return NEW, NEW, made

    question = (dataclasses.replace(named, digest=OLD), AMD64)
    [found] = findings.compare([question], findings.Rules(index_changes="update", min_age=864000), Registry(), TODAY)
    return merged(refreshed(named, found), listed(named, created=made.created, remote=found))


def descriptor(media_type=manifests.OCI_CONFIG, **members):
    return {"mediaType": media_type, "size": 1, "digest": OLD, **members}


def platform(text):
    """Return what a program says of an image for other platforms."""
    entries = [descriptor(manifests.OCI_MANIFEST, platform={"os": text, "architecture": text, "variant": text})]
    index = manifests.parse(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    said = []
    for act in (lambda: index.select(AMD64, lambda entry: None), lambda: platforms.check(AMD64, text, text, text)):
        try:
            act()
        except platforms.PlatformError as error:
            said.append(str(error))
    named = reference.parse("team/app:1.0")
    gone = finding(state=findings.STALE, platforms_gone=(str(platforms.Platform("linux", text)),))
    return merged(*(refreshed(named, finding(one)) for one in said), refreshed(named, gone), {"terminal": said})


def media_types(text):
    """Return what a program says of documents of unknown kinds; here are none that it takes."""
    said = []
    # A config without a type is taken.
    for document in ({"mediaType": text, "manifests": []}, {"config": descriptor(text or "none"), "layers": []},
                     {"config": descriptor(), "layers": [descriptor(text)]}, {"schemaVersion": text}, {"config": text},
                     {"config": {**descriptor(), "digest": text}, "layers": []}):
        with pytest.raises(DockinError) as caught:
            manifests.parse(json.dumps({"schemaVersion": 2, **document}).encode())
        said.append(str(caught.value))
    return {"terminal": said}


def bill(text):
    """Return what is taken of an attached bill of materials whose members are all the same text."""
    annotations = {"in-toto.io/predicate-type": text, "org.opencontainers.image.title": text}
    layers = [descriptor(text, annotations=annotations),
              descriptor("application/vnd.in-toto+json", annotations=annotations, digest=NEW),
              descriptor("application/spdx+json", annotations=annotations, digest="sha256:" + "c" * 64)]
    data = json.dumps({"schemaVersion": 2, "artifactType": text, "config": descriptor(text), "layers": layers,
                       "annotations": annotations}).encode()
    found = attachments.Attachment(NEW, data, manifests.parse_artifact(data), False, True)
    bills = [
             unpacked.Attached(
                               attachments.file_name("app-1.0", attachments.SUFFIXES[kind], number), kind, document.digest[
                                   7:
                               ],
                           f"docker://docker.io/team/app@{one.digest}")
             for number, (one, document, kind) in enumerate(attachments.documents([found]), 1)]
    named = reference.parse("team/app:1.0")
    image = unpacked_image(named, tuple(bills))
    comments = json.dumps([elements.comment(one) for one in bills])
    return {"SPDX": [image.render(), element_of(image), comments], "file": [one.file for one in bills]}


def words(text):
    """Return what becomes of a registry's, skopeo's or a credential helper's words."""
    named = reference.parse("team/app:1.0")
    stderr = f'time="now" level=fatal msg="{text}"'
    results = [finding(str(ResolveError("other", f"the registry says {text}"))), finding(skopeo.classify(text).message),
               finding(skopeo.classify(stderr).message), finding(text)]
    return merged(*(refreshed(named, found) for found in results), *(listed(named, remote=found) for found in results),
                  listed(named, notes=(text,)), {"terminal": str(DockinError(text))})


# Each text, how it comes in, and what is made of it.
WAYS = {
    "Labels: title, description": (("Nice app",), label("title", "description")),
    "Labels: url, documentation, source": (("https://a.example/x", "https://a.example/%dump"),
                                           label("url", "documentation", "source")),
    "Label: licenses": (("MIT OR Apache-2.0",), label("licenses")),
    "Tag": (("1.0", "latest"), lambda text: name_of_an_image(reference.parse(f"team/app:{text}"))),
    "Repository": (("team/app",), lambda text: name_of_an_image(reference.parse(f"h.example/{text}:1"))),
    "Registry": (("h.example:5000",), lambda text: name_of_an_image(reference.parse(f"{text}/team/app:1"))),
    "Compose: service": (("web",), lambda text: composed(name=text)),
    "Compose: project": (("shop",), lambda text: composed(project=text)),
    "Compose: file name": (("compose.yml",), lambda text: composed(path=text)),
    "Compose: image, platform": (("linux/amd64",), lambda text: composed(
        service={"platform": text} if "/" in text else {"image": text})),
    "Compose: --env-file": (("team/app:1.0", "'team/app:1.0'", '"team/app" # "'), env_file),
    # Of those without a zone none is a time.
    "Config: created": (("2026-11-30T00:00:00Z", "2026-11-30T00:00:00", "2026-11-30 00:00:00", "2026-11-30",
                         *(f"2026-11-30{one}00:00:00{zone}" for one in "\ud800\x1b\0\x9b\u202e<" for zone in ("", "Z"))),
                        created),
    "Index and config: platform": (("linux",), platform),
    "Manifest: types, digests": (("text/plain",), media_types),
    "Bill of materials: types, names": (("text/spdx",), bill),
    "Messages of registries and helpers": (("denied: you may not",), words),
    "Recipe: file name": (("app-docker",), lambda text: merged(
        refreshed(reference.parse("team/app:1.0"), finding("x"), text),
        refreshed(reference.parse("team/app:1.0"), finding(state=findings.STALE), text))),
}


# ------------------------------------------------------------------------------------------ what each place demands


def is_recipe(text):
    assert set(re.findall(r"\$\{([^}]*)", text.partition("inherit dockin")[0])) <= {"DOCKIN_LAYERDIR", "COMMON_LICENSE_DIR"}
    joined = text.partition("inherit dockin")[0].replace("\\\n", " ")
    assert all(re.fullmatch(r'[A-Z_]+ = +"[^"\\#]*"', line) for line in joined.splitlines() if "://" not in line and line)
    assert "%" not in text and all(line.isprintable() for line in text.split("\n"))
    keys = re.findall(r"^(\w+) \?*=", text, re.M)
    assert set(keys) <= {"SUMMARY", "DESCRIPTION", "HOMEPAGE", "LICENSE", "LIC_FILES_CHKSUM", "SRC_URI", "COMPOSE_FILES",
                         "UPSTREAM_CHECK_REGEX", "RECIPE_NO_UPDATE_REASON", "DOCKIN_LAYERS"}


def is_spec(values):
    assert values and all("%" not in value and "\\" not in value and value.isprintable() for value in values)


def is_control(values):
    assert values and all(value.isprintable() and value.strip() for value in values)


def is_unit(text):
    # Comments, headers and keys, and no more commands than ours; what stands behind them has no specifier.
    for line in text.replace("\\\n", " ").splitlines():
        assert line.isprintable() and re.fullmatch(r"|#.*|\[(Unit|Service|Install)\]|[A-Z]\w+=.*", line)
        assert "%" not in line.replace("%%", "") and "$" not in line and "\\" not in line
    assert len(re.findall("^Exec", text, re.M)) == (2 if "docker compose" in text else 1)


def is_information(text):
    assert text.isascii() and all(re.fullmatch(r"#.*|[a-z_]+=[A-Za-z0-9:/@._+\[\]-]+", line) for line in text.splitlines())


def is_spdx(text):
    is_readable(json.dumps(json.loads(text), ensure_ascii=False))
    # Elements of ours have names of images alone, and no sentences.
    assert "pkg:" not in text or (text.isascii() and "<" not in text and "\\" not in text.replace("\\n", ""))
    for purl in re.findall(r'"(pkg:[^"]*)"', text):
        assert re.fullmatch(r"pkg:oci/[A-Za-z0-9._~/:%@?=&+-]+", purl)


def is_readable(text):
    text.encode("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))


def is_markdown(text):
    is_readable(text)
    for line in text.split("\n"):
        # In a table's cell and in a list, what is not ours is in code spans; | ends a cell even there.
        assert line.count("`") % 2 == 0
        spans = re.sub(r"`[^`]*`", "CODE", line)
        assert re.fullmatch(r"[A-Za-z0-9 ,.#|-]*", spans), line
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {4, 6}


def is_html(text):
    # Outside of code spans, in which a forge escapes them, there is nothing that begins a tag, an entity or a mention.
    assert not re.search(r"[<>&@]", re.sub(r"`[^`]*`", "", text))


def is_json(text):
    json.loads(text)
    is_readable(text)
    assert text.isascii()


def is_commit(text):
    is_readable(text)
    head, _, body = text.partition("\n\n")
    assert "\n" not in head
    # Behind the subject, lines of ours only: none is a trailer.
    assert all(re.fullmatch(r"\S+( for \S+)?(, now \S+)?|  from \S+|  to   \S+|", line) for line in body.split("\n"))


def is_file(text):
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", text)


JUDGES = {
    "recipe": is_recipe, "spec": is_spec, "control": is_control, "unit": is_unit, "Compose unit": is_unit, "SPDX": is_spdx,
    "Markdown": is_markdown, "HTML": is_html, "commit": is_commit, "terminal": is_readable, "JSON": is_json, "file": is_file,
    "information": is_information,
}


@functools.cache
def made(way, text):
    """Return all that is made of a text, by place: a refusal reaches terminals."""
    try:
        return {place: all_of(value) for place, value in WAYS[way][1](text).items()}
    except DockinError as error:
        return {"terminal": [str(error)]}


PAIRS = [(way, place) for way, (samples, act) in WAYS.items() for place in act(samples[0])]


@pytest.mark.parametrize(("way", "place"), PAIRS, ids=[f"{way}-{place}" for way, place in PAIRS])
def test_text_stays_text(way, place):
    seen = 0
    for text in (*WAYS[way][0], *SAMPLES):
        for one in made(way, text).get(place, ()):
            JUDGES[place](one)
            seen += 1
    assert seen


@pytest.mark.parametrize("way", WAYS)
def test_refusals_can_be_read(way):
    for text in SAMPLES:
        for one in made(way, text).get("terminal", ()):
            is_readable(one)


def test_the_table_in_security_md():
    section = (TREE / "SECURITY.md").read_text().partition("## Foreign text")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    rows = [[cell.strip() for cell in line] for line in lines]
    places = {way: {place for one, place in PAIRS if one == way} for way in WAYS}
    assert {row[0]: set(row[1].split(", ")) for row in rows} == places
