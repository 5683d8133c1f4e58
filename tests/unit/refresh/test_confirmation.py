# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""An edit is confirmed by reading the new texts: the wanted tag and pin, with all else as it was, or nothing is written."""

from __future__ import annotations

import sys

import pytest

from dockin.image.reference import parse
from dockin.refresh import engine
from dockin.target import units
from unit.refresh.test_engine import NEW, OLD, OTHER, Registry

SHA = f"sha256:{OLD}"
ENTRY = 'SRC_URI = "docker://h.io/x;tag={};name=x{}"\nSRC_URI[x.sha256sum] = "' + OLD + '"\n'
PLAIN = ENTRY.format("1.0.9", "")
BY_NAME = ENTRY.format("${PV}", "")
LOCAL = ENTRY.format("1.0.9", " file://f")
UNIT, NEW_UNIT = (units.unit_name(parse(f"h.io/x:{tag}")) for tag in ("1.0.9", "1.0.10"))
# The longest repository of which a unit can have the older tag in its name.
LONG = "r" * (len("x") + 255 - len(UNIT))


def refreshed(text):
    """Return what an upgrade makes of a text that names the image in one way."""
    return text.replace("1.0.9", "1.0.10").replace(OLD, NEW)


def compose(image):
    return f"services:\n  x:\n    image: {image}\n"


def with_compose(image):
    return {"x_1.bb": ENTRY.format("1.0.9", " file://compose.yml"), "files/compose.yml": compose(image)}


def composed(key, value):
    files = with_compose("h.io/x:1.0.9")
    return {**files, "files/compose.yml": files["files/compose.yml"] + f"    {key}: {value}\n"}


@pytest.fixture
def run(tmp_path):
    """Write files of a layer, move its images to 1.0.10, and return the report and the files that are then there."""
    def run(files, tags=None, **options):
        for name, text in {"conf/layer.conf": "", **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        known = tags or {"x:1.0.9": OLD, "x:1.0.10": NEW, "y:1.0.9": OLD}
        report = engine.run(
            engine.read_tasks([str(tmp_path)]), engine.Options(**{"upgrade": "patch", **options}), Registry(known))
        found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
        return report, {name: text for name, text in found.items() if name != "conf/layer.conf"}

    return run


FOLLOWS = {
    "tag and pin": {"x_1.bb": PLAIN},
    "tag from a variable": {"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", "")},
    "tag from the name": {"x_1.0.9.bb": BY_NAME},
    "a literal in an expression of Python": {"x_1.bb": PLAIN + 'S = "${@\'h.io/x:1.0.9\'}"\n'},
    "a word in another variable": {"x_1.bb": PLAIN + 'IMAGE = "h.io/x:1.0.9"\n'},
    "an include of two recipes": {
        "x.inc": PLAIN, "x_1.bb": "require x.inc\n", "y_1.bb": "require x.inc\n"},
    "a pin in an include, the tag in the recipe": {
        "x.inc": f'SRC_URI[x.sha256sum] = "{OLD}"\n', "x_1.bb": 'require x.inc\nSRC_URI = "docker://h.io/x;tag=1.0.9;name=x"\n'},
    "an append": {"x_1.bb": 'LICENSE = "MIT"\n', "x_%.bbappend": PLAIN},
    "an append with the pin": {
        "x_1.bb": 'SRC_URI = "docker://h.io/x;tag=1.0.9;name=x"\n', "x_1.bbappend": f'SRC_URI[x.sha256sum] = "{OLD}"\n'},
    "an override with an entry of its own": {"x_1.bb": PLAIN + 'SRC_URI:append:arm = " file://arm.cfg"\n'},
    "a tag in a Compose file": with_compose("h.io/x:1.0.9"),
    "a tag and a digest in a Compose file": with_compose(f"h.io/x:1.0.9@{SHA}"),
    "a unit": {"x_1.bb": LOCAL, "files/f": f"[Unit]\nRequires={UNIT}\n"},
    "a script": {"x_1.bb": LOCAL, "files/f": "#!/bin/sh\ndocker run h.io/x:1.0.9\n"},
    "the digits of the pin in a file": {"x_1.bb": LOCAL, "files/f": f"{{\"digest\": \"{SHA}\"}}\n"},
    "a digest without a tag in a Compose file": with_compose(f"h.io/x@{SHA}"),
    "another tag with the digest in a Compose file": with_compose(f"h.io/x:1.0@{SHA}"),
    "an environment in a Compose file": composed("environment", "[WORKER=h.io/x:1.0.9, OTHER=h.io/x]"),
    "a command in a Compose file": composed("command", f"run h.io/x@{SHA}"),
    "a label in a Compose file": composed("labels", f"{{unit: {UNIT}, pin: '{SHA}'}}"),
    "YAML of two documents": {"x_1.bb": ENTRY.format("1.0.9", " file://pod.yml"),
                              "files/pod.yml": "containers:\n- image: h.io/x:1.0.9\n---\nservices are elsewhere\n"},
    "a default in a script": {"x_1.bb": LOCAL, "files/f": "docker run ${IMAGE:-h.io/x:1.0.9}\n"},
    "a drop-in of a unit": {"x_1.bb": LOCAL, "files/f": f"cp limits.conf /etc/systemd/system/{UNIT}.d/\n"},
    "files of the layer": {
        "x_1.bb": LOCAL, "files/f": "ls /usr/a/h.io-x-1.0.9.image h.io-x-1.0.9.tar.xz h.io-x-1.0.9.spdx.json\n"},
    "a file of the layer in the recipe": {"x_1.bb": PLAIN + 'A = "${datadir}/h.io-x-1.0.9.image"\n'},
    "a directory of FILESEXTRAPATHS": {
        "x_1.bb": LOCAL + 'FILESEXTRAPATHS:prepend := "${THISDIR}/mine:${THISDIR}/${PN}-own:"\n', "x-own/f": "h.io/x:1.0.9"},
    "a directory of FILESPATH": {"x_1.bb": LOCAL + 'FILESPATH = "${FILE_DIRNAME}/mine"\n', "mine/f": "h.io/x:1.0.9"},
    "a directory of an append": {
        "a/x_1.bb": PLAIN, "b/x_%.bbappend": 'FILESEXTRAPATHS:prepend := "${THISDIR}/mine:"\nSRC_URI += "file://f"\n',
        "b/mine/f": "h.io/x:1.0.9"},
    "a file that a task takes": {
        "x_1.bb": PLAIN + "do_install() {\n cp ${THISDIR}/mine/f ${D}\n}\n", "mine/f": "h.io/x:1.0.9"},
    "a file by Python code": {
        "x_1.bb": PLAIN + "SRC_URI += \"${@'file://f' if 1 else ''}\"\n", "files/f": "h.io/x:1.0.9"},
    "a file of an override": {"x_1.bb": LOCAL, "files/arm/f": "docker run h.io/x:1.0.9\n"},
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_what_names_the_image_moves_with_it(run, name):
    files = FOLLOWS[name]
    report, after = run(files)
    assert {result.status for result in report.results} == {"updated"}, [report.notes, report.results[0].found.message]
    expected = {(name if name != "x_1.0.9.bb" else "x_1.0.10.bb"): refreshed(text) for name, text in files.items()}
    assert after == {name: text.replace(UNIT, NEW_UNIT) for name, text in expected.items()}


@pytest.mark.parametrize(("files", "tags", "upgrade"), [
    (with_compose("h.io/x:1.0.9"), None, "patch"),
    (with_compose(f"h.io/x:1.0.9@{SHA}"), {"x:1.0.9": NEW}, ""),
])
def test_without_pyyaml_a_compose_file_is_not_passed_over(run, monkeypatch, files, tags, upgrade):
    monkeypatch.setitem(sys.modules, "yaml", None)
    report, after = run(files, tags, upgrade=upgrade)
    [result] = report.results
    assert result.status == "error" and "Reading" in result.found.message
    assert result.found.message.endswith("compose.yml needs PyYAML: install python3-yaml")
    assert after == files


def test_without_pyyaml_what_names_no_image_is_no_matter(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    files = with_compose("")
    report, _ = run({**files, "files/compose.yml": "services: {a: {image: h.io/other}}\n"})
    assert [result.status for result in report.results] == ["updated"]


STAYS = {
    "a comment": "# h.io/x:1.0.9 was first\n",
    "another variable that has the same characters": 'OTHER = "1.0.9"\n',
    "another image of the tag": f'SRC_URI += "docker://h.io/y;tag=1.0.9;name=y"\nSRC_URI[y.sha256sum] = "{OLD}"\n',
    "another entry of the version": 'SRC_URI += "file://tool-1.0.9.cfg"\n',
    "Python code": "SRC_URI += \"file://${@d.getVar('MACHINE')}.cfg\"\n",
}


@pytest.mark.parametrize("name", STAYS)
def test_what_is_something_else_stays(run, name):
    _, after = run({"x_1.bb": PLAIN + STAYS[name]})
    assert after == {"x_1.bb": refreshed(PLAIN) + STAYS[name]}


REFUSED = {
    "a tarball of the tag": ({"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", " https://h.io/a-${T}.tgz;name=a")},
                             "https://h.io/a-1.0.9.tgz;name=a has its version from there"),
    "a local file of the version": ({"x_1.0.9.bb": ENTRY.format("${PV}", " file://f-${PV}")}, "file://f-1.0.9 has"),
    "an include of the version": ({"x_1.0.9.bb": BY_NAME + "require x-${PV}.inc\n", "x-1.0.9.inc": ""}, "x-1.0.9.inc has"),
    "another image by Python": (
        {"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", " docker://h.io/${@d.getVar('T')};name=z")},
        "may have its version"),
    "a tarball by Python": (
        {"x_1.0.9.bb": BY_NAME + "SRC_URI += \"https://h.io/${@d.getVar('PV').replace('.', '_')}.tgz\"\n"},
        "is not known here, and may have its version"),
    "another image by Python that looks it up": (
        {"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", " docker://h.io/y;tag=${@d['T']};name=y")},
        "may have its version"),
    "another image by a function": (
        {"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", " ${@y()}") + "def y():\n    return 'file://' + name\n"},
        "may have its version"),
    "another image, of a variable that is not known": (
        {"x_1.bb": 'T = "1.0.9"\nV = "${T}"\nV:arm = "3"\n' + ENTRY.format("${T}", " docker://h.io/y;tag=${V};name=y")},
        "docker://h.io/y;tag=${V};name=y is not known here"),
    "another image, of the version": (
        {"x_1.0.9.bb": 'V = "${PV}"\nV:arm = "3"\n' + ENTRY.format("${PV}", " docker://h.io/y;tag=${V};name=y")},
        "docker://h.io/y;tag=${V};name=y is not known here"),
    "another recipe's image that is not known": (
        {"x_1.bb": "require t.inc\n" + ENTRY.format("${T}", ""), "t.inc": 'T = "1.0.9"\n',
         "classes/k.bbclass": "require t.inc\n",
         "y_1.bb": 'inherit k\nSRC_URI = "docker://h.io/y;tag=${V}"\nV = "${T}"\nV:arm = "3"\n'}, "docker://h.io/y;tag=${V}"),
    **{f"another recipe's image by {line}": (
        {"x_1.bb": "require t.inc\n" + ENTRY.format("${T}", ""), "t.inc": 'T = "1.0.9"\n',
         "classes/k.bbclass": "require t.inc\n",
         "y_1.bb": f'K = "k"\n{line}\nSRC_URI = "docker://h.io/y;tag=${{T}}"\n'}, "docker://h.io/y;tag=")
       for line in ("inherit ${K}", "inherit_defer ${@'k'}", "inherit ${K}${@''}")},
    "an entry for one machine": (
        {"x_1.bb": 'T = "1.0.9"\nE = ""\nE:x86 = "docker://h.io/y;tag=${T};name=y"\n' + ENTRY.format("${T}", " ${E}")},
        "may have its version"),
    "another image by a variable": ({"x_1.bb": 'T = "1.0.9"\n' + ENTRY.format("${T}", " docker://h.io/y;tag=${T};name=y")
                                     + f'SRC_URI[y.sha256sum] = "{OLD}"\n'}, "h.io/y;tag=1.0.9;name=y, would become"),
    "an append to the version": ({"x_1.0.9.bb": BY_NAME, "x_1.0.9.bbappend": 'A = "1"\n'}, "without x_1.0.9.bbappend"),
    "a directory of the version": ({"x_1.0.9.bb": BY_NAME, "x-1.0.9/f": "1"}, "x-1.0.9 is for this version"),
    "one beside an include": ({"x_1.0.9.bb": "require inc/x.inc\n", "inc/x.inc": BY_NAME, "inc/x-1.0.9/f": "1"},
                              "x-1.0.9 is for this version"),
    "a recipe that includes it": ({"x_1.0.9.bb": BY_NAME, "y_1.bb": "require x_1.0.9.bb\n"}, "y_1.bb would be without"),
    "an entry that is then there twice": ({"x_1.bb": PLAIN + 'SRC_URI += "docker://h.io/x;tag=1.0.10;name=y"\n'
                                          + f'SRC_URI[y.sha256sum] = "{NEW}"\n'}, "Two images with one archive name"),
    "the name of the unit": ({"x_1.bb": PLAIN.replace("h.io/x", f"h.io/{LONG}")}, "systemd allows 255"),
    "a Compose file with a digest of its own": (with_compose(f"h.io/x:1.0.9@sha256:{OTHER}"), "files/compose.yml:3"),
    "a Compose file with a variable": (with_compose("h.io/x:${TAG:-1.0.9}"), "files/compose.yml:3"),
    "a Compose file of two documents": (
        {**with_compose(""), "files/compose.yml": compose("h.io/x:1.0.9") + "---\n" + compose("h.io/x:1.0.9")},
        "files/compose.yml:4"),
    "a Compose file with another name": (with_compose("${IMAGE}:1.0.9"), "files/compose.yml:3"),
    "a script with the tag apart": ({"x_1.bb": LOCAL, "files/f": "TAG=1.0.9\n\ndocker run h.io/x:$TAG\n"}, "files/f:1 has"),
    "JSON with the tag apart": ({"x_1.bb": LOCAL, "files/f": '{"image": "h.io/x",\n"tag": "1.0.9"}'}, "files/f:2 has"),
    "YAML with the tag apart": (
        {"x_1.bb": ENTRY.format("1.0.9", " file://f.yml"), "files/f.yml": "repository: h.io/x\ntag: 1.0.9\n"},
        "files/f.yml:2 has"),
    "a Compose file that is none": (
        {**with_compose(""), "files/compose.yml": "services:\n\tx: h.io/x\n"}, "compose.yml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_edit_with_another_effect_is_refused(run, name):
    files, why = REFUSED[name]
    tags = {f"{one}:{tag}": digest for one in ("x", LONG) for tag, digest in (("1.0.9", OLD), ("1.0.10", NEW))}
    report, after = run(files, {**tags, "y:1.0.9": OLD, "y:v1.0.9": OLD})
    assert after == files
    assert any("1.0.10 is there, but not taken" in note and why in note for note in report.notes), report.notes


BESIDE_STAYS = {
    "a tarball of the name elsewhere": "wget https://h.io/h.io-x-1.0.9.tar.gz\n",
    "another image's digest": f"h.io/x@sha256:{OTHER}\n",
    "the tag of another name": "TAG=1.0.9\ndocker run h.io/y:$TAG h.io/x:1.0.8\n",
    "the tag in a comment": "# TAG=1.0.9\ndocker run h.io/x:$TAG\n",
}


@pytest.mark.parametrize("name", BESIDE_STAYS)
def test_what_names_something_else_beside_stays(run, name):
    report, after = run({"x_1.bb": LOCAL, "files/f": BESIDE_STAYS[name]})
    assert after == {"x_1.bb": refreshed(LOCAL), "files/f": BESIDE_STAYS[name]}
    assert report.notes == []


def test_a_number_apart_from_the_name_is_no_tag(run):
    files = {"x_1.bb": ENTRY.format("1", " file://f"), "files/f": "[Unit]\nDescription=h.io/x\nRestartSec=1\n"}
    _, after = run(files, {"x:1": OLD, "x:2": NEW}, upgrade="major")
    assert after == {"x_1.bb": ENTRY.format("2", " file://f").replace(OLD, NEW), "files/f": files["files/f"]}


def test_a_file_of_a_recipe_without_a_known_image_follows(run):
    other = 'SRC_URI = "docker://${H}/y;name=y file://f"\n'
    _, after = run({"x_1.bb": LOCAL, "y_1.bb": other, "files/f": "docker run h.io/x:1.0.9\nls a/.image\n"})
    assert after == {"x_1.bb": refreshed(LOCAL), "y_1.bb": other, "files/f": "docker run h.io/x:1.0.10\nls a/.image\n"}


NOT_FOUND = {
    "file://f": "file://f",
    "file://${CONF} file://f;subdir=a": "file://${CONF}, file://f",
    "${@'file://' + 'f.yml'}": "file://",
}


@pytest.mark.parametrize("entry", NOT_FOUND)
def test_a_file_that_is_not_found_is_named(run, entry):
    files = {"x_1.bb": PLAIN + f'SRC_URI += "{entry}"\n', "others/f": "h.io/x:1.0.9"}
    report, after = run(files)
    assert after["x_1.bb"] == refreshed(files["x_1.bb"])
    [note] = report.notes
    assert note == f"x_1.bb: no file is found here for {NOT_FOUND[entry]}: change by hand what names an image there"
    assert run(files, {"x:1.0.9": OLD})[0].notes == []


PIN_REFUSED = {
    "a digest in a Compose file that is a variable": (with_compose(f"h.io/x:1.0.9@${{D:-{SHA}}}"), "files/compose.yml:3"),
    "an image that is not known": (
        {"x_1.bb": PLAIN, "x_%.bbappend": 'SRC_URI += "docker://${H}/y;name=x"\n'}, "from there, too"),
}


@pytest.mark.parametrize("name", PIN_REFUSED)
def test_a_pin_with_another_effect_is_refused(run, name):
    files, why = PIN_REFUSED[name]
    report, after = run(files, {"x:1.0.9": NEW}, upgrade="")
    assert after == files
    assert any(why in result.found.message for result in report.results), [one.found.message for one in report.results]
