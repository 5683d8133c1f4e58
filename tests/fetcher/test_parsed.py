# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a refresh in devtool writes of recipes that BitBake has parsed, and what it refuses, with file and line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import bbrun

HERE = Path(__file__).resolve().parent
LIBRARIES = bbrun.libraries()
OLD = "a" * 64


def pin(image):
    """Return the digits of what a tag stands for."""
    return hashlib.sha256(image.encode()).hexdigest()


NEW = pin("h.io/x:9")
ENTRY = 'SRC_URI = "docker://h.io/x;tag={}"\nSRC_URI[sha256sum] = "OLD"\n'
OTHER = 'SRC_URI = "docker://h.io/y;tag=${T}"\nSRC_URI[sha256sum] = "' + "f" * 64 + '"\n'

# Files, in which the tag 1 becomes 9, and OLD the new pin.
WRITTEN = {
    "literals": {"recipes/app_1.bb": ENTRY.format("1")},
    "the version in the name": {"recipes/app_1.bb": ENTRY.format("${PV}")},
    "a variable": {"recipes/app_1.bb": 'T = "1"\n' + ENTRY.format("${T}")},
    "a variable of a variable": {"recipes/app_1.bb": 'U ?= "1"\nT = "${U}"\n' + ENTRY.format("${T}")},
    "an entry in a variable": {
        "recipes/app_1.bb": 'E = "docker://h.io/x;tag=1 \\\n  file://f"\nSRC_URI = "${E}"\nSRC_URI[sha256sum] = "OLD"\n'},
    "includes of the layer, by a variable": {
        "recipes/app_1.bb": 'I = "inc/x"\nrequire ${I}.inc\n', "inc/x.inc": "require y.inc\n",
        "inc/y.inc": ENTRY.format("1")},
    "an include beside the directory": {"recipes/app_1.bb": "require ../inc/x.inc\n", "inc/x.inc": ENTRY.format("1")},
    "an append": {"recipes/app_1.bb": "", "appends/app_%.bbappend": ENTRY.format("1")},
    "an append that speaks of externalsrc": {
        "recipes/app_1.bb": ENTRY.format("1").replace("OLD", "f" * 64),
        "appends/app_%.bbappend": '# never: inherit externalsrc\nSRC_URI[sha256sum] = "OLD"\n'},
    "an append of devtool's workspace": {
        "recipes/app_1.bb": ENTRY.format("1"),
        "workspace/appends/app_1.bbappend": 'inherit externalsrc\nSRC_URI = ""\n'},
    "the pin in an append": {
        "recipes/app_1.bb": ENTRY.format("1").replace("OLD", "f" * 64),
        "appends/app_%.bbappend": 'SRC_URI[sha256sum] = "OLD"\n'},
    "code that has chosen": {
        "recipes/app_1.bb": ENTRY.format("1") + "python () {\n    d.appendVar('SRC_URI', ' file://z')\n}\n"},
    "an unset before": {"recipes/app_1.bb": 'SRC_URI:arm = "file://z"\nunset SRC_URI\n' + ENTRY.format("1")},
    "a removed entry": {
        "recipes/app_1.bb": ENTRY.format("1") + 'SRC_URI += "file://z"\nSRC_URI:remove = "file://z"\n'},
    "files of a class for another machine": {
        "recipes/app_1.bb": "inherit k\n" + ENTRY.format("1"), "classes/k.bbclass": 'SRC_URI:append:x86 = " file://z"\n'},
    "an override for this machine": {
        "recipes/app_1.bb": 'SRC_URI = "file://z"\nSRC_URI:arm = "docker://h.io/x;tag=1"\nSRC_URI[sha256sum] = "OLD"\n'},
}

# Files, where the image is told to stand, and the message.
REFUSED = {
    "an image in a class": (
        {"recipes/app_1.bb": "inherit k\n", "classes/k.bbclass": ENTRY.format("1")}, ("classes/k.bbclass", 1),
        "stands in a class or the configuration"),
    "a pin in a class": (
        {"recipes/app_1.bb": 'inherit k\nSRC_URI = "docker://h.io/x;tag=1"\n',
         "classes/k.bbclass": 'SRC_URI[sha256sum] = "OLD"\n'}, ("recipes/app_1.bb", 2), "classes/k.bbclass:1: move it"),
    "an image by code": (
        {"recipes/app_1.bb": "python () {\n    d.setVar('SRC_URI', 'docker://h.io/x;tag=1')\n}\n"}, ("recipes/app_1.bb", 1),
        "stands in no assignment as it is"),
    "an image twice": (
        {"recipes/app_1.bb": ENTRY.format("1") + 'SRC_URI:append:x86 = " docker://h.io/x;tag=1"\n'
         + 'SRC_URI += "docker://h.io/x;tag=1"\n'}, ("recipes/app_1.bb", 1), "stands in more than one place"),
    "an image twice, and then a pin": (
        {"recipes/app_1.bb": 'SRC_URI = "docker://h.io/x;tag=1"\nSRC_URI += "docker://h.io/x;tag=1"\n'
                             'SRC_URI[sha256sum] = "OLD"\n'},
        ("recipes/app_1.bb", 1), "SRC_URI was changed last by recipes/app_1.bb:2"),
    "a pin of a variable": (
        {"recipes/app_1.bb": 'D = "OLD"\nSRC_URI = "docker://h.io/x;tag=1"\nSRC_URI[sha256sum] = "${D}"\n'},
        ("recipes/app_1.bb", 2), "app_1.bb:3 is built from variables"),
    "a pin that is put together": (
        {"recipes/app_1.bb": ENTRY.format("1").replace("OLD", "a" * 60) + 'SRC_URI[sha256sum] .= "aaaa"\n'},
        ("recipes/app_1.bb", 1), "app_1.bb:3, not by one literal"),
    "the checksum of a tarball": (
        {"recipes/app_1.bb": ENTRY.format("1 https://h.io/x.tgz")}, ("recipes/app_1.bb", 1), "https://h.io/x.tgz, too"),
    "the pin of another machine's image": (
        {"recipes/app_1.bb": ENTRY.format("1") + 'SRC_URI:append:x86 = " docker://h.io/y;tag=1"\n'}, ("recipes/app_1.bb", 1),
        "docker://h.io/y;tag=1, too"),
    "another tag for another machine": (
        {"recipes/app_1.bb": 'T = "1"\nT:x86 = "2"\n' + ENTRY.format("${T}")}, ("recipes/app_1.bb", 3),
        "another image for other configurations, by T:x86 at recipes/app_1.bb:2"),
    "another tag for another machine by a class": (
        {"recipes/app_1.bb": 'inherit k\nT = "1"\n' + ENTRY.format("${T}"), "classes/k.bbclass": 'T:x86 = "2"\n'},
        ("recipes/app_1.bb", 3), "another image for other configurations, by T:x86 at classes/k.bbclass:1"),
    "another machine's image in a class": (
        {"recipes/app_1.bb": "inherit k\n" + ENTRY.format("1"),
         "classes/k.bbclass": 'SRC_URI:append:x86 = " docker://h.io/y;tag=1;name=b"\n'}, ("recipes/app_1.bb", 2),
        "by SRC_URI:append:x86 at classes/k.bbclass:1: edit by hand"),
    "images of a variable with overrides": (
        {"recipes/app_1.bb": 'E:arm = "docker://h.io/x;tag=1"\nE:x86 = "docker://h.io/y;tag=1"\nSRC_URI = "${E}"\n'
                             'SRC_URI[sha256sum] = "OLD"\n'}, ("recipes/app_1.bb", 1), "for other configurations, by E:"),
    "another machine's image in a variable": (
        {"recipes/app_1.bb": 'T = "1"\nE = ""\nE:append:x86 = "docker://h.io/y;tag=${T};name=b"\n'
         + ENTRY.format("${T} ${E}")}, ("recipes/app_1.bb", 4), "by E:append:x86 at recipes/app_1.bb:3: edit by hand"),
    "another machine's image in a variable that another machine's entries have": (
        {"recipes/app_1.bb": 'T = "1"\nE:x86 = "docker://h.io/y;tag=${T};name=b"\n' + ENTRY.format("${T}")
         + 'SRC_URI:append:x86 = " ${E}"\n'}, ("recipes/app_1.bb", 3), "by E:x86 at recipes/app_1.bb:2: edit by hand"),
}

KEEPS_TAG = {
    "another machine's image by code": {
        "recipes/app_1.bb": 'T = "1"\n' + ENTRY.format(
            "${T} ${@'docker://h.io/y;tag=${T};name=b' if 'x86' in d.getVar('OVERRIDES') else ''}")},
    "an include by a class beside its directory": {
        "recipes/app_1.bb": "inherit k\n" + ENTRY.format("${T}"), "classes/k.bbclass": "require ../inc/x.inc\n",
        "inc/x.inc": 'T = "1"\n'},
    "another recipe's include beside its directory": {
        "recipes/app_1.bb": "require inc/x.inc\n" + ENTRY.format("${T}"), "inc/x.inc": 'T = "1"\n',
        "others/b_1.bb": "require ../inc/x.inc\n" + OTHER},
    "another recipe's include by a class beside its directory": {
        "recipes/app_1.bb": "require inc/x.inc\n" + ENTRY.format("${T}"), "inc/x.inc": 'T = "1"\n',
        "others/b_1.bb": "inherit k\n" + OTHER, "classes/k.bbclass": "require ../inc/x.inc\n"},
    "a tarball of the version": {"recipes/app_1.bb": ENTRY.format("${PV} https://h.io/${PV}.tgz;name=z")},
    "code that has the version": {
        "recipes/app_1.bb": ENTRY.format("${PV}")
        + "python () {\n    d.appendVar('SRC_URI', ' file://' + d.getVar('PV'))\n}\n"},
    "another machine's file of the tag": {
        "recipes/app_1.bb": 'T = "1"\n' + ENTRY.format("${T}") + 'SRC_URI:append:x86 = " file://f-${T}"\n'},
    "a value that was expanded at once": {
        "recipes/app_1.bb": 'T = "1"\nF := "f-${T}"\n' + ENTRY.format("${T} file://${F}")},
}
CASES = [*WRITTEN.values(), *(files for files, _, _ in REFUSED.values()), *KEEPS_TAG.values()]
NAMES = [*WRITTEN, *REFUSED, *KEEPS_TAG]


@pytest.fixture(scope="module", params=LIBRARIES, ids=str)
def outcomes(request):
    """What became of each case, by its name."""
    if request.param.unavailable:
        pytest.skip(f"unavailable: {request.param.unavailable}")
    cases = [{name: text.replace("OLD", OLD) for name, text in files.items()} for files in CASES]
    argv = [sys.executable, "-B", str(HERE / "refresh_parsed.py"), str(request.param.path), str(HERE.parent.parent / "lib")]
    done = subprocess.run(argv, input=json.dumps(cases), check=True, capture_output=True, text=True, timeout=300)
    return dict(zip(NAMES, json.loads(done.stdout)))


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written(outcomes, name):
    found = outcomes[name]
    assert [image[3] for image in found["images"]] == ["updated"], found
    for path, text in WRITTEN[name].items():
        expected = re.sub('(tag=|T = "|U [?]= ")1', r"\g<1>9", text.replace("OLD", NEW))
        renamed = path if "${PV}" not in text else path.replace("_1", "_9")
        assert found["texts"][renamed] == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(outcomes, name):
    files, place, words = REFUSED[name]
    found = outcomes[name]
    assert {(path, line) for path, line, *_ in found["images"]} == {place}
    assert {image[3] for image in found["images"]} == {"error"} and words in found["images"][0][4]
    assert {path: found["texts"][path] for path in files} == {path: text.replace("OLD", OLD) for path, text in files.items()}


@pytest.mark.parametrize("name", KEEPS_TAG)
def test_what_else_has_the_tag_keeps_it(outcomes, name):
    found = outcomes[name]
    assert [image[3] for image in found["images"]] == ["updated"]
    assert any("9 is there, but not taken" in note for note in found["notes"])
    for path, text in KEEPS_TAG[name].items():
        assert found["texts"][path] == text.replace("OLD", pin("h.io/x:1"))


def test_images_of_other_machines_are_told_of(outcomes):
    [note] = outcomes["the pin of another machine's image"]["notes"]
    assert note == "docker://h.io/y;tag=1 in recipes/app_1.bb is not in SRC_URI for this configuration"
