# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Recipes of which a part is in other files: what is at hand counts, and what is not makes doubtful what it may change."""

from __future__ import annotations

import builtins
import io
import os
import textwrap

import pytest

from dockin import exitcodes
from dockin.recipe import yoctolayers
from dockin.refresh import engine, findings
from dockin.registry.resolver import ResolveError

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64

VARIABLE = 'SRC_URI = "docker://h.io/x;tag=${T}"\nSRC_URI[sha256sum] = "OLD"\n'
VERSION = 'SRC_URI = "docker://h.io/x;tag=${PV}"\nSRC_URI[sha256sum] = "OLD"\n'
LITERAL = 'SRC_URI = "docker://h.io/x;tag=1"\nSRC_URI[sha256sum] = "OLD"\n'
CONF = """\
BBFILES += "${LAYERDIR}/a/*.bb ${LAYERDIR}/?/*.bbappend"
BBFILES_DYNAMIC += "y:${LAYERDIR}/dynamic-layers/y/*.bbappend"
"""


class Registry:
    """Stands for a resolver: every tag has moved, 1 to NEW and all others to OTHER."""

    def kind(self, reference):
        return "none"

    def digest(self, reference):
        if reference.digest == "sha256:" + OLD:
            raise ResolveError("not-found", "it is gone")
        return reference.digest or "sha256:" + (NEW if reference.tag == "1" else OTHER)

    def digest_read(self, reference):
        return self.digest(reference)

    def document_kind(self, digest):
        return "manifest"

    def document(self, reference):
        return b'''{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [], "config":
            {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:%s", "size": 2}}''' % (b"c" * 64)


@pytest.fixture
def run(tmp_path):
    """Write files of two layers, refresh what is named, and return the results, and the pins that files then have."""

    def run(files, *named, beside=()):
        for layer in ("mine", "other"):
            (tmp_path / layer / "conf").mkdir(parents=True, exist_ok=True)
            (tmp_path / layer / "conf" / "layer.conf").touch()
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip().replace("OLD", OLD))
        tasks = engine.read_tasks([str(tmp_path / name) for name in named], beside=[str(tmp_path / one) for one in beside])
        report = engine.run(tasks, engine.Options(), Registry())
        texts = {name: (tmp_path / name).read_text() for name in files}
        names = {OLD: "old", NEW: "new", OTHER: "other"}
        pins = {name: [word for pin, word in names.items() if pin in text] for name, text in texts.items()}
        return report, {name: words[0] for name, words in pins.items() if words}

    return run


RIGHT = {
    "the tag from an append of its layer": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/b/x_%.bbappend": 'T = "2"\n'}, ["mine/a/x_1.bb"], "other"),
    "the tag from an append that is named as well": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "other/x_1.bbappend": 'T = "2"\n'},
        ["mine/a/x_1.bb", "other/x_1.bbappend"], "other"),
    "the tag from an append in a directory that is named as well": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "other/b/x_1.bbappend": 'T = "2"\n'}, ["mine/a", "other/b"], "other"),
    "a directory of the layer, the append in another": (
        {"mine/a/x_1.bb": 'T ?= "1"\n' + VARIABLE, "mine/b/x_%.bbappend": 'T = "2"\n'}, ["mine/a"], "other"),
    "an append alone, its recipe in the layer": (
        {"mine/a/x_1.bb": 'T = "2"\n' + VARIABLE, "mine/b/x_%.bbappend": 'SUMMARY = "x"\n'}, ["mine/b/x_%.bbappend"],
        "other"),
    "an include alone, the recipe in the layer": (
        {"mine/a/x_1.bb": 'T = "2"\nrequire x.inc\n' + VARIABLE, "mine/a/x.inc": 'T ?= "1"\n'}, ["mine/a/x.inc"], "other"),
    "classes that leave tags alone": (
        {"mine/a/x_1.bb": 'T = "1"\ninherit dockin systemd features_check\n' + VARIABLE}, ["mine/a/x_1.bb"], "new"),
    "the version, with the class": ({"mine/a/x_1.bb": "inherit dockin\n" + VERSION}, ["mine/a/x_1.bb"], "new"),
    "an include of a layer that is given": (
        {"mine/a/x_1.bb": 'require t.inc\nT ?= "1"\n' + VARIABLE, "other/t.inc": 'T = "2"\n'}, ["mine/a/x_1.bb", "other"],
        "other"),
    "an append of BBFILES that is elsewhere": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "shared/x_1.bbappend": 'T = "2"\n',
         "mine/conf/layer.conf": 'BBFILES += "${LAYERDIR}/a/*.bb"\nBBFILES:append = " ${LAYERDIR}/../shared/*.bbappend"\n'},
        ["mine/a/x_1.bb", "shared"], "other"),
    "classes of the configuration that leave tags alone": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/classes/tags.bbclass": 'OTHER = "2"\ndef T(d):\n    return "2"\n',
         "mine/conf/distro/mine.conf": 'INHERIT += "buildhistory tags ${USER_CLASSES} ${INHERIT_DISTRO}"\n'
                                     'INHERIT:remove = "of-others"\n'},
        ["mine/a/x_1.bb"], "new"),
    "OpenEmbedded's own configuration, which another takes in": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/conf/layer.conf": "require conf/multilib.conf\n",
         "other/conf/bitbake.conf": "", "other/conf/multilib.conf": 'INHERIT += "multilib_global"\nT = "2"\n'},
        ["mine/a/x_1.bb", "other"], "new"),
    "another recipe's override in the configuration": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/conf/layer.conf": 'T:pn-y = "2"\n'}, ["mine/a/x_1.bb"], "new"),
    "two appends that add images of no other kind": (
        {"mine/a/x_1.bb": LITERAL, "mine/x_1.bbappend": 'SRC_URI += "file://a"\n', "mine/b/x_%.bbappend":
         'SRC_URI:append = " file://b"\n'}, ["mine/a/x_1.bb"], "new"),
    "an append that BBFILES does not take in": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/conf/layer.conf": CONF, "mine/b/c/d/x_1.bbappend": 'T = "2"\n'},
        ["mine/a/x_1.bb"], "new"),
    "an append with more behind the percent sign": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/b/x_%-foo.bbappend": 'T = "2"\n'}, ["mine/a/x_1.bb"], "other"),
    "an append that BBFILES takes in": (
        {"mine/a/x_1.bb": 'T = "1"\n' + VARIABLE, "mine/conf/layer.conf": CONF, "mine/b/x_1.bbappend": 'T = "2"\n'},
        ["mine/a/x_1.bb"], "other"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_pin(run, name):
    files, named, expected = RIGHT[name]
    report, pins = run(files, *named)
    assert [result.status for result in report.results] == ["updated"]
    assert pins == {"mine/a/x_1.bb": expected}


def test_layers_beside_are_read_and_left_alone(run):
    files = {"mine/a/x_1.bb": 'inherit t\nrequire t.inc\nT ?= "1"\n' + VARIABLE, "other/classes/t.bbclass": 'U = "1"\n',
             "other/t.inc": "T:append = '-a'\n", "other/x_%.bbappend": 'T = "2"\n', "other/y_1.bb": LITERAL}
    report, pins = run(files, "mine", beside=["other"])
    assert [result.reference.tag for result in report.results] == ["2-a"]
    assert pins == {"mine/a/x_1.bb": "other", "other/y_1.bb": "old"}


DOUBTFUL = {
    "a value behind an include": (
        'require t.inc\nT = "1"\n' + VARIABLE, {},
        "t.inc at a/x_1.bb:1 is not at hand; name its layer with --layer, or use devtool refresh-docker"),
    "a weak default behind an include": (
        'include t.inc\nT ??= "1"\n' + VARIABLE, {}, "no assignment with = gives its value"),
    "a value before an include": ('T = "1"\ninclude t.inc\n' + VARIABLE, {}, "t.inc at a/x_1.bb:2"),
    "an include by an unknown name": ('T = "1"\ninclude ${MACHINE}.inc\n' + VARIABLE, {}, "${MACHINE}.inc at a/x_1.bb:2"),
    "a value that was immediate": (
        'T := "1"\ninclude t.inc\nU := "${T}"\n' + VARIABLE.replace("T}", "U}"), {}, "a/x_1.bb:3 changes U"),
    "the version before an include": ("require t.inc\n" + VERSION, {}, "t.inc at a/x_1.bb:1"),
    "images before an include": (LITERAL + "require t.inc\n", {}, "t.inc at a/x_1.bb:3 is not at hand"),
    "images in an include before one": ("require u.inc\nrequire t.inc\n", {"mine/u.inc": LITERAL}, "t.inc at a/x_1.bb:2"),
    "an include in an append": ('T = "1"\n' + VARIABLE, {"mine/x_1.bbappend": "include t.inc\n"}, "t.inc at x_1.bbappend:1"),
    "the version, expanded at once in an include": (
        "require u.inc\n" + VARIABLE, {"mine/u.inc": 'T := "${PV}"\n'},
        "u.inc:1 changes T"),
    "the name after that of the recipe": (
        'PN = "y"\n' + LITERAL.replace("/x", "/${BPN}"), {}, "${BPN}, which is not known here, as a/x_1.bb:1 changes PN"),
    "the name after what is put before that of the recipe": (
        'PN:prepend := "${BPN}"\n' + LITERAL.replace("/x", "/${BPN}"), {},
        "${BPN}, which is not known here, as a/x_1.bb:1 changes PN"),
    "the name after that of the recipe, expanded at once in an include": (
        "require u.inc\n" + LITERAL.replace("/x", "/${BPN}"), {"mine/u.inc": 'PN:class-target := "${PN}"\n'},
        "${BPN}, which is not known here, as u.inc:1 changes PN"),
    "a value in doubt, expanded at once": (
        'T = "1"\nT:arm = "2"\nU := "${T}"\nunset T\nT = "1"\n' + VARIABLE.replace("T}", "U}"), {},
        "a/x_1.bb:3 changes U"),
    "images in doubt, expanded at once": (
        'T = "1"\nT:arm = "2"\nSRC_URI := "docker://h.io/x;tag=${T}"\nSRC_URI[sha256sum] = "OLD"\nunset T\nT = "1"\n', {},
        "a/x_1.bb:3 changes SRC_URI"),
    "an addition with another operator": (
        'T = "1"\nT:append ??= "2"\n' + VARIABLE, {}, "a/x_1.bb:2 changes T:append"),
    "a class that is not at hand": ('T = "1"\ninherit dockin tags\n' + VARIABLE, {}, "class tags at a/x_1.bb:2"),
    "a class by an unknown name": ('T = "1"\ninherit ${KIND}\n' + VARIABLE, {}, "class ${KIND} at a/x_1.bb:2"),
    "a class that is not at hand, deferred": ('inherit_defer tags\nT = "1"\n' + VARIABLE, {}, "class tags at a/x_1.bb:1"),
    "a class that may be inherited": (
        """T = "1"\ninherit ${@bb.utils.contains('A', 'b', 'tags', '', d)}\n""" + VARIABLE,
        {"mine/classes/tags.bbclass": 'T = "2"\n'}, "classes/tags.bbclass:1 changes T"),
    "a class of the layer": (
        'inherit dockin tags\nT = "1"\n' + VARIABLE, {"mine/classes/tags.bbclass": 'T ??= "2"\n'},
        "classes/tags.bbclass:1 changes T"),
    "a class of the layer by another class": (
        'T = "1"\ninherit base-of-mine\n' + VARIABLE, {"mine/classes/base-of-mine.bbclass": "inherit tags dockin\n",
        "mine/classes-recipe/tags.bbclass": 'T = "2"\n'}, "classes-recipe/tags.bbclass:1 changes T"),
    "an include of a class": (
        'T = "1"\ninherit tags\n' + VARIABLE, {"mine/classes/tags.bbclass": "require t.inc\n", "mine/t.inc": 'T = "2"\n'},
        "t.inc:1 changes T"),
    "an include of a class that is not at hand": (
        "inherit tags\n" + LITERAL, {"mine/classes/tags.bbclass": "require t.inc\n"},
        "t.inc at classes/tags.bbclass:1 is not at hand"),
    "a class of a class that is not at hand": (
        "inherit tags\n" + LITERAL, {"mine/classes/tags.bbclass": "inherit of-others\n"},
        "the class of-others at classes/tags.bbclass:1 is not at hand"),
    "a class with the name of one of OpenEmbedded's": (
        'T = "1"\ninherit allarch\n' + VARIABLE, {"mine/classes/allarch.bbclass": 'T = "2"\n'},
        "classes/allarch.bbclass:1 changes T"),
    "an include by a variable that is changed": (
        'F = "t"\nrequire ${F}.inc\nF:arm = "u"\n' + LITERAL, {"mine/t.inc": ""}, "it includes ${F}.inc, of which"),
    "an include by a variable that the configuration changes": (
        'F = "t"\nrequire ${F}.inc\n' + LITERAL, {"mine/t.inc": "", "mine/conf/layer.conf": 'F:pn-x = "u"\n'},
        "it includes ${F}.inc, of which"),
    "an include by a version that is changed": (
        'require t-${PV}.inc\nPV = "2"\n' + LITERAL, {"mine/t-1.inc": ""},
        "it includes t-${PV}.inc, of which a variable is changed"),
    "an include by the version in an include": (
        "require u.inc\n" + LITERAL, {"mine/u.inc": "require t-${PV}.inc\n", "mine/t-1.inc": ""}, "t-${PV}.inc at u.inc:1"),
    "a value of the configuration that the recipe has as well": (
        'T = "1"\n' + VARIABLE, {"mine/conf/layer.conf": 'T = "2"\n'}, "conf/layer.conf:1 changes T"),
    "files that the configuration adds": (
        LITERAL, {"mine/conf/layer.conf": 'SRC_URI:append = " file://a"\n'}, "conf/layer.conf:1 changes SRC_URI:append"),
    "a class with a code": (
        'T = "1"\ninherit tags\n' + VARIABLE,
        {"mine/classes/tags.bbclass": "python () {\n    d.setVar('T', '2')\n}\n"}, "code at classes/tags.bbclass:2"),
    "a class with an override": (
        'T = "1"\ninherit tags\n' + VARIABLE, {"mine/classes/tags.bbclass": 'T:arm = "2"\n'},
        "classes/tags.bbclass:1 changes T:arm"),
    "the pin in a class": (
        'inherit tags\nSRC_URI = "docker://h.io/x;tag=1"\n',
        {"mine/classes/tags.bbclass": 'SRC_URI[sha256sum] = "OLD"\n'}, "classes/tags.bbclass:1 changes SRC_URI"),
    "the image in a class": (
        "inherit tags\n", {"mine/classes/tags.bbclass": LITERAL}, "classes/tags.bbclass:1 changes SRC_URI"),
    "an override of the configuration": (
        'T = "1"\n' + VARIABLE, {"mine/conf/layer.conf": '#\nT:pn-x = "2"\n'}, "conf/layer.conf:2 changes T:pn-x"),
    "a value of the configuration": (
        'T ?= "1"\n' + VARIABLE, {"mine/conf/distro/mine.conf": 'T = "2"\n'}, "conf/distro/mine.conf:1 changes T"),
    "a value of the configuration in the next line": (
        'T ?= "1"\n' + VARIABLE, {"mine/conf/layer.conf": 'A = "\\\n"\nT = \\\n  "2"\n'}, "conf/layer.conf:3 changes T"),
    "a class that the configuration inherits": (
        'T ?= "1"\n' + VARIABLE, {"mine/conf/layer.conf": 'INHERIT += "rm_work \\\n  tags"\n',
                                 "mine/classes/tags.bbclass": 'T = "2"\n'}, "classes/tags.bbclass:1 changes T"),
    "a class that a class of the configuration inherits": (
        'T = "1"\n' + VARIABLE, {"mine/conf/distro/mine.conf": "USER_CLASSES:append = ' of-mine'\n",
                                "mine/classes-global/of-mine.bbclass": "inherit dockin \\\n tags\n",
                                "mine/classes/tags.bbclass": 'T:pn-x = "2"\n'}, "classes/tags.bbclass:1 changes T:pn-x"),
    "code of a class that the configuration inherits": (
        'T = "1"\n' + VARIABLE, {"mine/conf/layer.conf": 'INHERIT:append = " tags"\n',
                                "mine/classes-global/tags.bbclass": "#\npython () {\n    d.setVar('T', '2')\n}\n"},
        "classes-global/tags.bbclass:3 changes T"),
    "an include of the configuration": (
        'T ?= "1"\n' + VARIABLE, {"mine/conf/layer.conf": "require ${LAYERDIR}/site/tags.conf\n",
                                 "mine/site/tags.conf": "include site/more.inc\n", "mine/site/more.inc": 'T = "2"\n'},
        "site/more.inc:1 changes T"),
    "an override of the configuration for the recipe's other name": (
        'PN = "y"\nT = "1"\n' + VARIABLE, {"mine/conf/layer.conf": 'T:pn-y = "2"\n'}, "conf/layer.conf:1 changes T:pn-y"),
    "images of the configuration": (
        LITERAL, {"mine/conf/layer.conf": 'SRC_URI:pn-x = "docker://h.io/x;tag=2"\n'},
        "conf/layer.conf:1 changes SRC_URI:pn-x"),
    "an append for where another layer is": (
        'T = "1"\n' + VARIABLE, {"mine/conf/layer.conf": CONF, "mine/dynamic-layers/y/x_1.bbappend": 'T = "2"\n'},
        "dynamic-layers/y/x_1.bbappend:1 changes T"),
    "the pin in an append for where another layer is": (
        LITERAL, {"mine/conf/layer.conf": CONF, "mine/dynamic-layers/y/x_1.bbappend": 'SRC_URI[sha256sum] = "OLD"\n'},
        "dynamic-layers/y/x_1.bbappend:1 changes SRC_URI"),
    "two appends that differ": (
        VARIABLE, {"mine/x_1.bbappend": 'T = "1"\n', "mine/b/x_%.bbappend": 'T = "2"\n'},
        "b/x_%.bbappend:1 and x_1.bbappend:1 both change T"),
    "two appends that add": (
        'T = ""\n' + VARIABLE, {"mine/x_1.bbappend": 'T .= "1"\n', "mine/b/x_%.bbappend": 'T .= "2"\n'},
        "b/x_%.bbappend:1 and x_1.bbappend:1 both change T"),
    "two appends that add at the end": (
        'T = ""\n' + VARIABLE, {"mine/x_1.bbappend": 'T:append = "1"\n', "mine/b/x_%.bbappend": 'T:append = "2"\n'},
        "b/x_%.bbappend:1 and x_1.bbappend:1 both change T"),
    "two appends with pins": (
        LITERAL, {f"mine/{name}.bbappend": 'SRC_URI[sha256sum] = "OLD"\n' for name in ("x_1", "b/x_%")},
        "b/x_%.bbappend:1 sets it, too"),
    "two appends with images": (
        "", {"mine/x_1.bbappend": LITERAL, "mine/b/x_%.bbappend": 'SRC_URI = "docker://h.io/x;tag=2"\n'},
        "b/x_%.bbappend:1 and x_1.bbappend:1 both change SRC_URI"),
}


@pytest.mark.parametrize("kind", ["classes", "classes-recipe"])
def test_a_class_that_two_layers_have(run, kind):
    files = {"mine/a/x_1.bb": "inherit k\n" + LITERAL, "mine/classes/k.bbclass": "", f"other/{kind}/k.bbclass": 'A = "2"\n'}
    report, pins = run(files, "mine", "other")
    assert "the class k at a/x_1.bb:1 is there more than once" in report.results[0].found.message
    assert pins == {"mine/a/x_1.bb": "old"}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_in_doubt_keeps_its_pin(run, name):
    recipe, files, words = DOUBTFUL[name]
    report, pins = run({"mine/a/x_1.bb": recipe, **files}, "mine/a/x_1.bb")
    assert [result.status for result in report.results] == ["error"]
    assert words in report.results[0].found.message
    assert set(pins.values()) == {"old"}
    assert findings.exit_code([result.found for result in report.results], check=False) == exitcodes.ERROR


def test_an_append_without_its_recipe(run):
    entry = 'SRC_URI:append = " docker://h.io/{};name=x"\nSRC_URI[x.sha256sum] = "OLD"\n'
    files = {"mine/x_1.bbappend": entry.format("x;tag=${PV}"), "mine/y_1.bbappend": entry.format("y;tag=1")}
    report, pins = run(files, "mine")
    assert [result.status for result in report.results] == ["error", "updated"]
    assert "as the recipe that x_1.bbappend is for is not at hand" in report.results[0].found.message
    assert pins == {"mine/x_1.bbappend": "old", "mine/y_1.bbappend": "new"}


def test_an_include_without_a_recipe(run):
    files = {"mine/x.inc": 'T ?= "1"\n' + VARIABLE, "mine/y.inc": LITERAL}
    report, pins = run(files, "mine/x.inc", "mine/y.inc")
    assert [result.status for result in report.results] == ["error", "updated"]
    assert "as the recipe that x.inc is in is not at hand" in report.results[0].found.message
    assert pins == {"mine/x.inc": "old", "mine/y.inc": "new"}


def test_an_include_that_two_layers_have(run):
    files = {"mine/a/x_1.bb": "require t.inc\n" + VARIABLE, "mine/t.inc": 'T = "1"\n', "other/t.inc": 'T = "2"\n'}
    report, pins = run(files, "mine", "other")
    assert "t.inc at a/x_1.bb:1 is in more than one layer" in report.results[0].found.message
    assert pins == {"mine/a/x_1.bb": "old"}


def test_an_append_beside_a_recipe_in_no_layer(run):
    files = {"none/x_1.bb": 'T = "1"\n' + VARIABLE, "none/x_%.bbappend": 'T = "2"\n'}
    report, pins = run(files, "none/x_1.bb")
    assert ([result.reference.tag for result in report.results], pins) == (["2"], {"none/x_1.bb": "other"})


SECRET = 'export TOKEN = "hunter2"\nT = "hunter2"\n'
LEAVES = {
    "an include by its path": ("mine/a/x_1.bb", 'require ../../outside/secret.inc\n' + VARIABLE, ""),
    "an include by a link": ("mine/a/x_1.bb", "require link.inc\n" + VARIABLE, "mine/a/link.inc"),
    "an append by a link": ("mine/a/x_1.bb", 'T ?= "1"\n' + VARIABLE, "mine/a/x_1.bbappend"),
    "a class by a link": ("mine/a/x_1.bb", "inherit link\n" + VARIABLE, "mine/classes/link.bbclass"),
    "an append of BBFILES": ("mine/a/x_1.bb", 'T ?= "1"\n' + VARIABLE, "outside/x_1.bbappend"),
    "a configuration by a link": ("mine/a/x_1.bb", 'T ?= "1"\n' + VARIABLE, "mine/conf/link.inc"),
}


@pytest.mark.parametrize("name", LEAVES)
def test_nothing_is_taken_from_outside(run, tmp_path, name):
    """Who writes a recipe that CI looks at would have the values of any file sent to a registry of his."""
    path, text, link = LEAVES[name]
    if link:
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "outside" / "secret.inc")
    places = 'BBFILES = "${LAYERDIR}/*/*.bb ${LAYERDIR}/*/*.bbappend ${LAYERDIR}/../outside/*.bbappend"\n'
    report, pins = run({path: text, "outside/secret.inc": SECRET, "mine/conf/layer.conf": places}, "mine")
    [result] = report.results
    assert result.image.source is None and "hunter2" not in result.image.text + result.image.problem
    assert pins == {path: "old"}
    if name == "a configuration by a link":
        assert "conf/link.inc at conf/link.inc:1 is not at hand" in result.image.problem
    elif name != "a class by a link":
        [note] = [note for note in report.notes if "is outside of the paths given" in note]
        assert "secret.inc" in note
        assert note.startswith("a/x_1.bb: ")


@pytest.mark.parametrize("named, beside", [(["mine", "outside"], []), (["."], []), (["mine"], ["outside"])])
def test_what_was_given_is_no_longer_outside(run, tmp_path, named, beside):
    (tmp_path / "outside" / "conf").mkdir(parents=True)
    (tmp_path / "outside" / "conf" / "layer.conf").touch()
    files = {"mine/a/x_1.bb": "require ../../outside/x.inc\n" + VARIABLE, "outside/x.inc": 'T = "1"\n'}
    report, pins = run(files, *named, beside=beside)
    assert pins == {"mine/a/x_1.bb": "new"} and not report.notes


def test_nothing_is_written_outside(run, tmp_path):
    """Neither a recipe that is there by a link, nor the pin in an include, nor what a recipe installs."""
    (tmp_path / "mine" / "a" / "files").mkdir(parents=True)
    for link, target in (("linked_1.bb", "linked_1.bb"), ("files/app.service", "app.service"), ("files/all", "")):
        (tmp_path / "mine" / "a" / link).symlink_to(tmp_path / "outside" / target)
    report, pins = run({
        "outside/linked_1.bb": LITERAL, "outside/pins.inc": 'SRC_URI[sha256sum] = "OLD"\n', "outside/app.service": "x OLD\n",
        "mine/a/in_1.bb": LITERAL,
        "mine/a/include_1.bb": "require ../../outside/pins.inc\n" + LITERAL.splitlines()[0] + "\n",
        "mine/a/directory_1.bb": 'SRC_URI = "docker://h.io/x;tag=1 file://all"\nSRC_URI[sha256sum] = "OLD"\n',
        "mine/a/installs_1.bb": 'SRC_URI = "docker://h.io/x;tag=1 file://app.service"\nSRC_URI[sha256sum] = "OLD"\n',
    }, "mine")
    assert pins == {"outside/linked_1.bb": "old", "outside/pins.inc": "old", "outside/app.service": "old",
                    "mine/a/in_1.bb": "new", "mine/a/installs_1.bb": "old", "mine/a/directory_1.bb": "old"}
    errors = {result.recipe.name: result.found.message for result in report.results if result.failed}
    assert {*errors} == {"directory", "include", "installs"} and "is outside of the layers at hand" in errors["include"]
    assert "files/all may name it" in errors["directory"]
    assert "files/app.service may name it, and is not read" in errors["installs"]
    assert any(note.startswith("a/linked_1.bb is not read: ") for note in report.notes)


def test_a_link_that_is_named_is_read(run, tmp_path):
    (tmp_path / "mine" / "a").mkdir(parents=True)
    (tmp_path / "mine" / "a" / "linked_1.bb").symlink_to(tmp_path / "outside" / "linked_1.bb")
    _, pins = run({"outside/linked_1.bb": LITERAL}, "mine/a/linked_1.bb")
    assert pins == {"outside/linked_1.bb": "new"}


@pytest.mark.parametrize(
    "name", ["a/z_1.bb", "a/x_1.bbappend", "a/x.inc", "conf/z.inc", "classes/x.bbclass", "conf/layer.conf"])
@pytest.mark.parametrize("kind", ["fifo", "device", "large"])
def test_files_without_an_end_are_not_opened(run, tmp_path, monkeypatch, name, kind):
    """Git keeps links: one in a merge request may lead to what can be read for ever, or waited for."""
    path = tmp_path / "mine" / name
    run({"mine/a/x_1.bb": "inherit x\ninclude x.inc\n" + LITERAL}, "mine")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "large":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to("/dev/zero")

    def checked(file, *arguments, **keywords):
        if os.fspath(file) == str(path):
            pytest.fail(f"opens {file}")
        return opened(file, *arguments, **keywords)

    opened = io.open
    monkeypatch.setattr(io, "open", checked)
    monkeypatch.setattr(builtins, "open", checked)
    tasks = engine.read_tasks([str(tmp_path / "mine")])
    assert engine.run(tasks, engine.Options(check=True), Registry()).results
    texts = [text for task in tasks for text in (*task.recipe.notes, *(image.problem for image in task.recipe.images))]
    assert not name.startswith("a/") or any(name.rpartition("/")[2] in text for text in texts)


def test_a_file_of_proc_is_empty():
    """Some of these can be read for ever as well, and look like files."""
    assert yoctolayers.content("/proc/self/maps") == ""
