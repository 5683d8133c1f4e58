# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Odd recipes, and for each the edit that is expected: the digits of the pin, and not a byte besides.

In the texts PIN is the old digest's digits where the new ones are expected, and KEEP the same digits where they are
something else and must stay.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dockin.recipe import bitbaketext, recipefile, textreader
from dockin.recipe.bitbaketext import Spot
from dockin.recipe.recipefile import Edit, RecipeError, Write

OLD, NEW = "0123456789abcdef" * 4, "fedcba9876543210" * 4
LIB = Path(recipefile.__file__).resolve().parents[2]

CASES = {
    "flag": {"app_1.0.bb": '''
        SRC_URI = "docker://docker.io/library/busybox;tag=${PV}"
        SRC_URI[sha256sum] = "PIN"
        OTHER[sha256sum] = "KEEP"
        # SRC_URI[sha256sum] = "KEEP"
        '''},
    "digest parameter": {"app_1.0.bb": '''
        SRC_URI = "docker://busybox;digest=sha256:PIN;tag=${PV}"
        MY_DIGEST = "sha256:KEEP"
        '''},
    "digest in the reference": {"app_1.0.bb": 'SRC_URI = "docker://host:5000/app:v1@sha256:PIN;name=x"\n'},
    "no newline at the end": {"app_1.0.bb": 'SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = "PIN"'},
    "single quotes and odd spaces": {"app_1.0.bb": "SRC_URI='docker://a/b'   \nSRC_URI[sha256sum]   =  'PIN'  \n"},
    "both forms": {"app_1.0.bb": 'SRC_URI = "docker://a/b;digest=sha256:PIN"\nSRC_URI[sha256sum] = "PIN"\n'},
    "continuation": {"app_1.0.bb": '''
        SRC_URI = " \\
            file://KEEP.txt \\
            docker://a/b;tag=1;name=one \\
            docker://a/b;tag=2;name=two;digest=sha256:PIN \\
            https://example.com/x.tar.gz;name=src \\
        "
        SRC_URI[one.sha256sum] = \\
            "PIN"
        SRC_URI[src.sha256sum] = "KEEP"
        '''},
    "entry broken by a continuation": {"app_1.0.bb": '''
        SRC_URI = "docker://a/b;tag=1;\\
        digest=sha256:PIN"
        '''},
    "several in a line": {"app_1.0.bb": '''
        SRC_URI = "docker://a/b;digest=sha256:PIN;name=b docker://a/c;digest=sha256:PIN;name=c file://x;sha256sum=KEEP"
        '''},
    "CRLF": {"app_1.0.bb": 'SRC_URI = "docker://a/b \\\r\n  docker://a/c;name=c"\r\nSRC_URI[sha256sum] = "PIN"\r\n'
                           'SRC_URI[c.sha256sum] = "PIN"\r\n# KEEP\r\n'},
    "bytes that are no UTF-8": {
        "app_1.0.bb": 'SUMMARY = "caf\udce9 \u00e9"\nSRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = "PIN"\n',
    },
    "append": {
        "app_1.0.bb": 'SRC_URI = "file://x"\n',
        "app_1.%.bbappend": 'SRC_URI += "docker://a/b;name=img"\nSRC_URI[img.sha256sum] = "PIN"\n',
    },
    "append alone": {"other_2.1.bbappend": 'SRC_URI:append = " docker://a/b;tag=2.1;digest=sha256:PIN"\n'},
    "include": {
        "app_1.0.bb": 'require app.inc\nSRC_URI[sha256sum] = "PIN"\n',
        "app.inc": 'SRC_URI = "docker://a/${BPN};tag=${PV} docker://a/c;name=c"\nSRC_URI[c.sha256sum] = "PIN"\n',
    },
    "include from the layer's root, with a version": {
        "recipes/app/app_1.0.bb": "include shared/app-${PV}.inc\n",
        "shared/app-1.0.inc": 'SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] ?= "PIN"\n',
    },
    "variables for the image": {"app_1.0.bb": '''
        REGISTRY = "ghcr.io"
        IMAGE = "${REGISTRY}/org/${BPN}"
        SRC_URI = "docker://${IMAGE};tag=v${PV}"
        SRC_URI[sha256sum] = "PIN"
        '''},
    "images in a variable": {"app_1.0.bb": '''
        IMAGES = "docker://a/b;tag=1;digest=sha256:PIN"
        SRC_URI = "${IMAGES} file://x"
        '''},
    "a value that is replaced": {"app_1.0.bb": '''
        SRC_URI = "docker://a/old;digest=sha256:KEEP"
        SRC_URI = "docker://a/b;digest=sha256:PIN"
        '''},
    "operators": {"app_1.0.bb": '''
        SRC_URI = "docker://a/b;name=b;digest=sha256:PIN"
        SRC_URI += "docker://a/c;name=c;digest=sha256:PIN"
        SRC_URI =+ "docker://a/d;name=d;digest=sha256:PIN"
        SRC_URI .= " docker://a/e;name=e;digest=sha256:PIN"
        SRC_URI:append = " docker://a/f;name=f;digest=sha256:PIN"
        SRC_URI:prepend = "docker://a/g;name=g;digest=sha256:PIN "
        '''},
    "files for one machine": {"app_1.0.bb": '''
        SRC_URI = "docker://a/b;tag=1;digest=sha256:PIN"
        SRC_URI:append:arm = " file://arm.cfg"
        SRC_URI:prepend:qemux86-64 = "file://x86.cfg file://x86.service "
        RDEPENDS:${PN}:append = " x"
        T:arm = "1"
        '''},
    "shell code and comments": {"app_1.0.bb": '''
        # SRC_URI = "docker://a/b;digest=sha256:KEEP" \\
        #   docker://a/c
        SRC_URI = "docker://a/b;digest=sha256:PIN"
        do_install:append() {
            SRC_URI = "docker://a/b;digest=sha256:KEEP"
            echo "KEEP" >${D}/pin
        }
        '''},
    "two recipes share an include": {
        "app_1.0.bb": "require app.inc\n",
        "app_2.0.bb": "require app.inc\n",
        "app.inc": 'SRC_URI = "docker://a/b;tag=stable"\nSRC_URI[sha256sum] = "PIN"\n',
    },
    "code that changes something else": {"app_1.0.bb": '''
        T = "1"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:PIN"
        python () {
            # d.setVar("T", "2")
            d.setVar("OTHER", "2")
            d.setVar("RDEPENDS:" + d.getVar("PN"), f"{d.getVar('T')}")
            d.setVarFlag('do_install', "dirs", "T")
            if "T" in d and bb.utils.contains("A", "b", True, False, d):
                copy = d.createCopy()
                bb.note(d["T"])
        }
        def other(d):
            return oe.utils.vartrue('A', "b", "c", d)
        '''},
    "a checksum of something else": {"app_1.0.bb": '''
        SRC_URI = "https://x.org/x.tgz docker://a/b;name=b git://x.org/y file://z ${@bb.utils.filter('A', 'file://q', d)}"
        SRC_URI += "docker://a/c;digest=sha256:PIN"
        SRC_URI[b.sha256sum] = "PIN"
        SRC_URI[md5sum] = "KEEP"
        '''},
    "local files and git beside the image": {"app_1.0.bb": '''
        SRC_URI = "git://x.org/y;branch=main file://${BPN}.service file://${FILE} docker://a/b"
        SRC_URI[sha256sum] = "PIN"
        '''},
}

PROBLEMS = {
    "digest from a variable": ('''
        DIGEST = "KEEP"
        SRC_URI = "docker://a/b;tag=1;digest=sha256:${DIGEST}"
        ''', 2, "built from variables"),
    "whole digest from a variable": ('''
        DIGEST = "sha256:KEEP"
        SRC_URI = "docker://a/b;tag=1;digest=${DIGEST}"
        ''', 2, "built from variables"),
    "flag from a variable": ('''
        SUM = "KEEP"
        SRC_URI = "docker://a/b;tag=1"
        SRC_URI[sha256sum] = "${SUM}"
        ''', 2, "app_1.0.bb:3"),
    "digest broken by a continuation": ('''
        SRC_URI = "docker://a/b;digest=sha256:0123456789abcdef0123456789abcdef\\
        0123456789abcdef0123456789abcdef"
        ''', 1, "built from variables"),
    "unknown variable": ('''
        SRC_URI = "file://x \\
          docker://${SOME_REGISTRY}/b;digest=sha256:KEEP"
        ''', 2, "${SOME_REGISTRY}"),
    "python expression": ('''
        SRC_URI = "${@bb.utils.contains('A','b','docker://a/b;digest=sha256:KEEP','',d)}"
        ''', 1, "built from"),
    "anonymous python": ('''
        SRC_URI = "file://x"
        python () {
            d.appendVar('SRC_URI', ' docker://a/b;digest=sha256:KEEP')
        }
        ''', 3, "Python code"),
    "python function": ('''
        def images(d):
            return "docker://a/b;digest=sha256:KEEP"

        SRC_URI = "file://x"
        ''', 2, "stands in Python code"),
    "no digest": ('SRC_URI = "docker://a/b;digest=sha256:beef"\n', 1, "64 lower-case hex digits"),
    "no pin": ('SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = "beef"\n', 1, "64 lower-case hex digits"),
    "pins that differ": ('SRC_URI = "docker://a/b;digest=sha256:KEEP"\nSRC_URI[sha256sum] = "' + NEW + '"\n', 1, "differ"),
    "empty pin": ('SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = ""\n', 1, "is empty"),
    "override of a variable": ('''
        T = "1.0.0"
        T:arm = "1.0.1"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T:arm"),
    "override of the version": ('''
        PV:class-target = "1.1"
        SRC_URI = "docker://a/b;tag=${PV};digest=sha256:KEEP"
        ''', 2, "app_1.0.bb:1 changes PV:class-target"),
    "override of a variable that another is made of": ('''
        T = "1.0.0"
        T:append:arm = "-alpine"
        IMAGE = "docker://a/b;tag=${T}"
        SRC_URI = "${IMAGE};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T:append:arm"),
    "removal from a variable": ('''
        T = "1.0.0 -alpine"
        T:remove = "-alpine"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T:remove"),
    "override of a variable by its name": ('''
        app_T = "1.0.1"
        ${PN}_T:arm = "1.0.0"
        SRC_URI = "docker://a/b;tag=${app_T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes variables whose names are not written out"),
    "variable that is unset": ('''
        T = "1.0.0"
        unset T
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T: write it out, or use devtool refresh-docker"),
    "pin that is put together": ('''
        SRC_URI = "docker://a/b"
        SRC_URI[sha256sum] .= "KEEP"
        ''', 1, "put together with .="),
    "variable set by code": ('''
        T = "1.0.0"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        python () {
            if d.getVar("X"):
                d.setVar('T', "1.0.1")
        }
        ''', 2, "Python code at app_1.0.bb:5"),
    "variable set by code in a value": ('''
        T = "1.0.0"
        X = "${@d.setVar('T', '1.0.1')}"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "Python code at app_1.0.bb:2"),
    "variable set by a method by another name": ('''
        T = "1.0.0"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        python () {
            put = d.setVar
            put("T", "1.0.1")
        }
        ''', 2, "Python code at app_1.0.bb:4"),
    "variable set by a method that is looked up": ('''
        T = "1.0.0"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        python () {
            getattr(d, "appendVar")("T", "1.0.1")
        }
        ''', 2, "Python code at app_1.0.bb:4"),
    "code, and then unset": ('''
        T = "1.0.0"
        python () {
            d.setVar("T", "1.0.1")
        }
        unset T
        T = "1.0.0"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 7, "Python code at app_1.0.bb:3"),
    "variable by a name that is built": ('''
        T_app = "1.0.0"
        T_${PN} = "1.0.1"
        SRC_URI = "docker://a/b;tag=${T_app};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes variables whose names are not written out"),
    "two defaults for a pin": ('''
        SRC_URI[sha256sum] ??= "KEEP"
        SRC_URI[sha256sum] ?= "KEEP"
        SRC_URI = "docker://a/b;tag=1.0"
        ''', 3, "sets it, too: keep one of them, or use devtool refresh-docker"),
    "a default for a pin, and then unset": ('''
        SRC_URI = "docker://a/b;tag=1.0"
        SRC_URI[sha256sum] ??= "KEEP"
        unset SRC_URI[sha256sum]
        ''', 1, "app_1.0.bb:3 changes SRC_URI"),
    "a default for a pin that is there": ('''
        SRC_URI = "docker://a/b;tag=1.0"
        SRC_URI[sha256sum] = "KEEP"
        SRC_URI[sha256sum] ??= "KEEP"
        ''', 1, "sets it, too: keep one of them, or use devtool refresh-docker"),
    "variable set by an item": ('''
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        def change(d):
            d["SRC_URI"] = "x"
        ''', 1, "Python code at app_1.0.bb:3"),
    **{f"the datastore in other hands: {code}": (f'''
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        python () {{
            {code}
        }}
        ''', 1, "Python code at app_1.0.bb:2 changes variables whose names are not written out")
       for code in ("d.update({'T': '2'})", "d.pop('T')", "fix(d)", "bb.utils.fix(d)", "d |= {'T': '2'}", "x = d", "(",
                    "del d['T']", "lib.fix(store=d)", "exec('d.x()')")},
    "the datastore in other hands by a value": ('''
        X = "${@bb.fix(d) or 1}"
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        ''', 2, "Python code at app_1.0.bb:1 changes variables"),
    "the datastore in other hands by a class": ('''
        inherit ${@bb.fix(d)}
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        ''', 2, "bb.fix(d)"),
    "variables set by code, which ones it computes": ('''
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        python () {
            for name in ("T", "U"):
                d.setVar(name, "1.0.1")
        }
        ''', 1, "Python code at app_1.0.bb:4"),
    "entry replaced by code": ('''
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        python __anonymous() {
            d.setVar("SRC_URI", d.getVar("SRC_URI").replace("1.0", "1.1"))
        }
        ''', 1, "Python code at app_1.0.bb:3 changes SRC_URI"),
    "pin set by code": ('''
        SRC_URI = "docker://a/b;tag=1.0"
        python () {
            d.setVarFlag("SRC_URI", "sha256sum", "KEEP")
        }
        ''', 1, "Python code at app_1.0.bb:3 changes SRC_URI"),
    "checksum of a tarball": ('''
        SRC_URI = "https://x.org/x.tgz docker://a/b;tag=1.0.0"
        SRC_URI[sha256sum] = "KEEP"
        ''', 1, "the checksum of https://x.org/x.tgz, too"),
    "checksum of a tarball with a name": ('''
        SRC_URI = "docker://a/b;tag=1.0.0;name=x ${MIRROR}/x.tgz;name=x"
        SRC_URI[x.sha256sum] = "KEEP"
        ''', 1, "of its own"),
    "checksum of what is not known": ('''
        SRC_URI = "docker://a/b;tag=1.0.0 ${@bb.utils.contains('A', 'b', 'https://x.org/x.tgz', '', d)}"
        SRC_URI[sha256sum] = "KEEP"
        ''', 1, "of its own"),
    "a variable for one machine that may have an image": ('''
        E:arm = "file://arm.cfg"
        SRC_URI = "${E} docker://a/b;tag=1.0;digest=sha256:KEEP"
        ''', 2, "${E}, which is not known here, as app_1.0.bb:1 changes E:arm"),
    "a default of a variable": ('''
        REGISTRY ?= "ghcr.io"
        SRC_URI = "docker://${REGISTRY}/a;digest=sha256:KEEP"
        ''', 2, "${REGISTRY}, which is not known here, as no assignment with = gives its value"),
    "a weak default that OpenEmbedded has": ('''
        PR ??= "1"
        SRC_URI = "docker://a/b;tag=${PR};digest=sha256:KEEP"
        ''', 2, "as no assignment with = gives its value"),
    "an addition to a value of the configuration": ('''
        T:append = "1"
        T += "1"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "as no assignment with = gives its value"),
    "a default of the images": ('''
        SRC_URI ?= "docker://a/b;digest=sha256:KEEP"
        ''', 1, "app_1.0.bb:1 changes SRC_URI"),
    "what is joined to the files of one machine": ('''
        SRC_URI = "docker://a/b;digest=sha256:KEEP"
        SRC_URI:append:arm = " file://a"
        SRC_URI:append = ";name=x"
        ''', 1, "app_1.0.bb:3 joins what it adds to the files of an override"),
    "a carriage return within a line": ('''
        T = "1"
        # note\rT = "2"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb has a carriage return within a line"),
    "an override without a name": ('''
        T = "1"
        T: = "2"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T:"),
    "a value by its flag": ('''
        T = "1"
        T[_content] = "2"
        SRC_URI = "docker://a/b;tag=${T};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes T"),
    **{f"another {variable}": (f'''
        {variable} =. "/x/app_2.bb:"
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        ''', 2, f"app_1.0.bb:1 changes {variable}") for variable in ("FILE", "BBPATH")},
    "code that may have an image": ('''
        SRC_URI = "docker://a/b;tag=1.0;digest=sha256:KEEP ${@more()}"
        ''', 1, "${@more()} is built from code"),
    "an image for one machine in a variable": ('''
        E:arm = "docker://a/b;tag=1.0;digest=sha256:KEEP"
        SRC_URI = "file://${E}"
        ''', 1, "app_1.0.bb:1 is not read"),
    "an include that is not known": ('''
        inherit dockin
        require ${THISDIR}/app.inc
        ''', 2, "${THISDIR}/app.inc at app_1.0.bb:2 is not read: use devtool refresh-docker"),
    "an include that is not there": ('''
        inherit dockin
        require app.inc
        ''', 2, "app.inc at app_1.0.bb:2 is not at hand"),
    "python expression with spaces": ('''
        SRC_URI = "file://x ${@bb.utils.contains('A', 'b', 'docker://a/b;digest=sha256:KEEP', '', d)}"
        ''', 1, "${@bb.utils.contains('A', 'b', 'docker://a/b;digest="),
    "two pins": ('''
        SRC_URI = "docker://a/b"
        SRC_URI[sha256sum] = "KEEP"
        SRC_URI[sha256sum] = "KEEP"
        ''', 1, "sets it, too"),
    "a value of variables that is immediate": ('''
        T = "1.0"
        U := "${T}"
        SRC_URI = "docker://a/b;tag=${U};digest=sha256:KEEP"
        ''', 3, "app_1.0.bb:2 changes U"),
    "images that are immediate": ('''
        SRC_URI := "docker://a/b;tag=${PV};digest=sha256:KEEP"
        ''', 1, "app_1.0.bb:1 changes SRC_URI"),
    "a pin for one machine": ('''
        SRC_URI = "docker://a/b;tag=1"
        SRC_URI:arm[sha256sum] = "KEEP"
        ''', 1, "app_1.0.bb:2 changes SRC_URI:arm"),
    "another entry for one machine": ('''
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        SRC_URI:append:arm = " https://x.org/x.tgz"
        ''', 1, "app_1.0.bb:2 changes SRC_URI:append:arm"),
    "a file of a variable for one machine": ('''
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        SRC_URI:append:arm = " file://${X}"
        ''', 1, "app_1.0.bb:2 changes SRC_URI:append:arm"),
    "what is joined to an entry for one machine": ('''
        SRC_URI = "docker://a/b;tag=1"
        SRC_URI:append:arm = "file://x"
        ''', 1, "app_1.0.bb:2 changes SRC_URI:append:arm"),
    "removal of another entry": ('''
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP file://x"
        SRC_URI:remove = "file://x"
        ''', 1, "app_1.0.bb:2 changes SRC_URI:remove"),
    "images that are unset": ('''
        unset SRC_URI
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        ''', 2, "app_1.0.bb:1 changes SRC_URI"),
    "a class that is chosen by code": ('''
        inherit ${@bb.utils.contains('A', 'b', 'systemd', '', d)}
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        ''', 2, "at app_1.0.bb:1 is not at hand"),
    "a class of other layers": ('''
        inherit dockin of-others
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        ''', 2, "the class of-others at app_1.0.bb:1 is not at hand; name its layer with --layer, or use"),
    "unknown parameter": ('SRC_URI = "docker://a/b;sha256=KEEP"\n', 1, "Unknown parameter"),
}


def unindented(text):
    """Return a text without the indentation of this file."""
    return re.sub(r"^ {8}", "", text.lstrip("\n") if text.startswith("\n") else text, flags=re.MULTILINE)


@pytest.fixture
def layer(tmp_path):
    (tmp_path / "layer" / "conf").mkdir(parents=True)
    (tmp_path / "layer" / "conf" / "layer.conf").write_text("")
    return tmp_path / "layer"


def write(layer, files):
    for name, text in files.items():
        path = layer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(unindented(text).replace("PIN", OLD).replace("KEEP", OLD).encode("utf-8", "surrogateescape"))


def read_all(layer):
    return [textreader.read(path, appends) for path, appends in textreader.find([str(layer)])[0]]


def refresh(layer):
    """Put the new digits in the place of each pin that is found."""
    edits, texts = {}, {}
    for recipe in read_all(layer):
        for image in recipe.images:
            assert not image.problem
            for spot in image.pins:
                edits.setdefault(spot.path, []).append(Edit(spot, NEW))
                texts[spot.path] = recipe.files[spot.path]
    for path, changes in edits.items():
        recipefile.write([Write(path, texts[path], recipefile.apply(texts[path], changes))])


@pytest.mark.parametrize("name", CASES)
def test_expected_edit(layer, name):
    write(layer, CASES[name])
    refresh(layer)
    for path, text in CASES[name].items():
        expected = unindented(text).replace("PIN", NEW).replace("KEEP", OLD).encode("utf-8", "surrogateescape")
        assert (layer / path).read_bytes() == expected


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_not_guessed_at(layer, name):
    text, line, words = PROBLEMS[name]
    write(layer, {"app_1.0.bb": text})
    (recipe,) = read_all(layer)
    (image,) = [image for image in recipe.images if image.problem]
    assert (recipe.shown(image.path), image.line) == ("app_1.0.bb", line)
    assert words in image.problem


def test_all_entries_of_what_is_not_read_are_told_of(layer):
    """Also those that overrides put in."""
    write(layer, {
        "app_1.0.bb": '''
        SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"
        SRC_URI:arm = "docker://a/arm;tag=1;digest=sha256:KEEP"
        SRC_URI:append:qemux86-64 = " docker://a/x;tag=1;name=x"
        SRC_URI[x.sha256sum] = "KEEP"
        ''', "app_%.bbappend": 'SRC_URI:remove = "docker://a/c"\n'})
    (recipe,) = read_all(layer)
    found = [(recipe.shown(image.path), image.line, image.text.partition(";")[0]) for image in recipe.images]
    assert found == [("app_1.0.bb", 1, "docker://a/b"), ("app_1.0.bb", 2, "docker://a/arm"),
                     ("app_1.0.bb", 3, "docker://a/x"), ("app_%.bbappend", 1, "docker://a/c")]
    assert {image.source for image in recipe.images} == {None}
    assert all("app_1.0.bb:2 changes SRC_URI:arm; use devtool refresh-docker" in image.problem for image in recipe.images)


@pytest.mark.parametrize(("recipe", "text", "reference"), [
    ("app_1.0.bb", "${PN}/${BPN}:${PV}", "app/app:1.0"),
    ("lib32-app_1.0.bb", "x/${BPN}:${PV}", "x/app:1.0"),
    ("app-native_2.1_r3.bb", "x/${BPN}:${PV}-${PR}", "x/app:2.1-r3"),
    ("app.bb", "x/y:${PV}", "x/y:1.0"),
    ("app_git.bb", "x/y:${PV}", "x/y:git"),
])
def test_variables_of_the_file_name(layer, recipe, text, reference):
    write(layer, {recipe: f'SRC_URI = "docker://{text}"\n'})
    (found,) = read_all(layer)
    assert found.images[0].source.reference.familiar == reference


def test_a_version_that_the_name_does_not_give(layer):
    write(layer, {"app_.bb": 'SRC_URI = "docker://a/b;tag=1${PV};digest=sha256:KEEP"\n'})
    (recipe,) = read_all(layer)
    assert "${PV}, which is not known here" in recipe.images[0].problem


def test_an_included_configuration_is_not_changed(layer):
    text = 'SRC_URI = "docker://a/b;tag=1;digest=sha256:KEEP"\n'
    write(layer, {"app_1.0.bb": "require app.conf\n", "app.conf": text})
    (recipe,) = read_all(layer)
    assert "app.conf is no recipe, include or append" in recipe.images[0].problem


def test_late_expansion(layer):
    text = 'A = "one"\nB := "zero"\nC = "${A}"\nA = "two"\nSRC_URI = "docker://x/${B}-${C}:${A}"\n'
    write(layer, {"app_1.0.bb": text})
    (recipe,) = read_all(layer)
    assert recipe.images[0].source.reference.familiar == "x/zero-two:two"


def test_variable_that_holds_itself(layer):
    write(layer, {"app_1.0.bb": 'A = "${B}"\nB = "${A}"\nSRC_URI = "docker://x/${A}"\n'})
    (recipe,) = read_all(layer)
    assert "${" in recipe.images[0].problem


def test_files_that_include_each_other(layer):
    write(layer, {"app_1.0.bb": "inherit dockin\nrequire a.inc\n", "a.inc": "require b.inc\n", "b.inc": "require a.inc\n"})
    with pytest.raises(RecipeError, match="without end"):
        read_all(layer)


def test_missing_include_is_said(layer):
    write(layer, {"app_1.0.bb": 'require none.inc\nSRC_URI = "docker://a/b"\n'})
    (recipe,) = read_all(layer)
    assert recipe.notes == ["app_1.0.bb:1: there is no none.inc beside the file or in the layers at hand"]


@pytest.mark.parametrize(("text", "expected"), [
    ('SRC_URI = "docker://a/b"\nX = "1"\n', 'SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = "NEW"\nX = "1"\n'),
    ('SRC_URI = "docker://a/b"', 'SRC_URI = "docker://a/b"\nSRC_URI[sha256sum] = "NEW"\n'),
    ('SRC_URI = "docker://a/b;name=n \\\r\n"\r\n',
     'SRC_URI = "docker://a/b;name=n \\\r\n"\r\nSRC_URI[n.sha256sum] = "NEW"\r\n'),
    ('SRC_URI = "docker://a/b docker://a/c:1"\n',
     'SRC_URI = "docker://a/b;digest=sha256:NEW docker://a/c:1;digest=sha256:NEW"\n'),
    ('SRC_URI = "docker://a/b;name=x docker://a/c;name=y"\n',
     'SRC_URI = "docker://a/b;name=x docker://a/c;name=y"\nSRC_URI[x.sha256sum] = "NEW"\nSRC_URI[y.sha256sum] = "NEW"\n'),
    ('SRC_URI = "docker://a/b;name=n ${E}"\n', 'SRC_URI = "docker://a/b;name=n;digest=sha256:NEW ${E}"\n'),
    ('SRC_URI = "https://x.org/x.tgz docker://a/b"\nSRC_URI[md5sum] = "1"\n',
     'SRC_URI = "https://x.org/x.tgz docker://a/b;digest=sha256:NEW"\nSRC_URI[md5sum] = "1"\n'),
])
def test_where_a_pin_is_put_in(layer, text, expected):
    (layer / "app_1.0.bb").write_bytes(text.encode())
    (recipe,) = read_all(layer)
    edits = [Edit(image.pin_place, image.pin_text.replace("{hex}", NEW)) for image in recipe.images if image.source]
    assert recipefile.apply(text, edits) == expected.replace("NEW", NEW)


def test_edits_that_meet():
    first, second = Edit(Spot("x", 2, 5), "a"), Edit(Spot("x", 2, 5), "b")
    assert recipefile.apply("0123456789", [first, first]) == "01a56789"
    with pytest.raises(RecipeError, match="one place"):
        recipefile.apply("0123456789", [first, second])


def test_layers_of_others_are_left_alone(layer):
    write(layer, {"a_1.0.bb": 'SRC_URI = "https://x/y.tgz"\n', ".git/b_1.0.bb": 'SRC_URI = "docker://a/b"\n', "c.txt": ""})
    assert textreader.find([str(layer)])[0] == []
    with pytest.raises(RecipeError, match="Not a recipe"):
        textreader.find([str(layer / "c.txt")])
    with pytest.raises(RecipeError, match="There is no"):
        textreader.find([str(layer / "none")])


def test_statement_ends(layer):
    text = 'A = "1" \\\n\nB = "2"\ndef f():\n    pass\nC = "3"\n'
    found = [(s.variable or s.word, s.line, text[s.start:s.end]) for s in bitbaketext.statements("x", text)]
    assert found == [("B", 3, 'B = "2"\n'), ("code", 4, "def f():\n    pass\n"), ("C", 6, 'C = "3"\n')]


def test_write_keeps_mode_and_links(layer):
    target, link = layer / "real.bb", layer / "app_1.0.bb"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("real.bb")
    recipefile.write([Write(str(link), "old", "new")])
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)
    assert sorted(os.listdir(layer)) == ["app_1.0.bb", "conf", "real.bb"]


def test_write_refuses_what_somebody_changed(layer):
    path = layer / "app_1.0.bb"
    path.write_text("theirs")
    with pytest.raises(RecipeError, match="meanwhile"):
        recipefile.write([Write(str(path), "old", "new")])
    assert path.read_text() == "theirs"


def test_write_renames(layer):
    path, other = layer / "app_1.0.bb", layer / "app_1.1.bb"
    path.write_text("old")
    path.chmod(0o600)
    recipefile.write([Write(str(path), "old", "new", str(other))])
    assert (path.exists(), other.read_text(), other.stat().st_mode & 0o777) == (False, "new", 0o600)
    path.write_text("old")
    with pytest.raises(RecipeError, match="already"):
        recipefile.write([Write(str(path), "old", "newer", str(other))])
    assert (path.read_text(), other.read_text()) == ("old", "new")


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from dockin.recipe import recipefile
paths = sys.argv[2:]
print("ready", flush=True)
for path in paths:
    old = recipefile.load(path)
    recipefile.write([recipefile.Write(path, old, old.replace("0", "1"))])
"""


@pytest.mark.parametrize("number", range(12))
def test_killed_while_it_writes_30_recipes(tmp_path, number):
    """Each time a little later: some files are old, some new, none is anything else."""
    old, new = "0" * 300_000 + "\n", "1" * 300_000 + "\n"
    paths = [tmp_path / f"app{index}_1.0.bb" for index in range(30)]
    for path in paths:
        path.write_text(old)
    process = subprocess.Popen([sys.executable, "-B", "-c", WRITER, str(LIB), *map(str, paths)], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        time.sleep(0.004 * number)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    found = [path.read_text() for path in paths]
    assert set(found) <= {old, new}
    # What was left does not pile up, and the run can be made again.
    recipefile.remove_leftovers(map(str, paths))
    for path in paths:
        recipefile.write([Write(str(path), path.read_text(), new)])
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in paths)


def no_links(source, target):
    """Fail as vfat does, where there is no file of the name."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "File exists", target)
    raise PermissionError(errno.EPERM, "Operation not permitted", source)


@pytest.mark.parametrize("linking", [os.link, no_links], ids=["links", "no links"])
def test_rename(tmp_path, monkeypatch, linking):
    """Also on file systems that have no hard links."""
    monkeypatch.setattr(os, "link", linking)
    old, new = tmp_path / "app_1.bb", tmp_path / "app_2.bb"
    old.write_text("old")
    recipefile.write([Write(str(old), "old", "new", str(new))])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"app_2.bb": "new"}


@pytest.mark.parametrize("linking", [os.link, no_links], ids=["links", "no links"])
def test_rename_onto_a_file_that_came_meanwhile(tmp_path, monkeypatch, linking):
    def late(source, target):
        """Let somebody else be quicker."""
        other.write_text("other")
        linking(source, target)

    other = tmp_path / "app_2.bb"
    monkeypatch.setattr(os, "link", late)
    (tmp_path / "app_1.bb").write_text("old")
    with pytest.raises(recipefile.RecipeError, match="File exists"):
        recipefile.write([Write(str(tmp_path / "app_1.bb"), "old", "new", str(other))])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"app_1.bb": "old", "app_2.bb": "other"}


def test_rename_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError(errno.EIO, "Input/output error", target)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "replace", fail)
    (tmp_path / "app_1.bb").write_text("old")
    with pytest.raises(recipefile.RecipeError, match="Input/output error"):
        recipefile.write([Write(str(tmp_path / "app_1.bb"), "old", "new", str(tmp_path / "app_2.bb"))])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"app_1.bb": "old"}


def test_rename_of_a_file_that_can_not_be_removed(tmp_path, monkeypatch):
    """As another user's in a directory with the sticky bit."""
    old, unlink = str(tmp_path / "app_1.bb"), os.unlink

    def refuse(path, **options):
        if path == old:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        unlink(path, **options)

    (tmp_path / "app_1.bb").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        with pytest.raises(recipefile.RecipeError, match="Operation not permitted"):
            recipefile.write([Write(old, "old", "new", str(tmp_path / "app_2.bb"))])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"app_1.bb": "old"}


@pytest.mark.parametrize("first", ["x", ""])
@pytest.mark.parametrize("last", ["", 'SRC_URI:append = "${A60}"\n'])
def test_values_that_double_with_each_line(tmp_path, first, last):
    """What they become is not known here; what is written out stays."""
    path = tmp_path / "x_1.bb"
    doubled = "".join(f'A{n} = "${{A{n - 1}}}${{A{n - 1}}}"\n' for n in range(1, 61))
    text = f'A0 = "{first}"\n{doubled}SRC_URI = "docker://a/b;tag=${{PV}};name=a docker://a/c;tag=${{A60}};name=c"\n{last}'
    path.write_text(text)
    found = textreader.read(str(path))
    assert found.name == "x"
    good, bad = found.images[0], found.images[1]
    assert good.source and good.source.reference.tag == "1"
    assert bad.source is None
    said = f"not known here, as the recipe's variables become more than {bitbaketext.MOST_EXPANDED} characters: write it out"
    assert said in bad.problem


def test_no_more_is_expanded_than_the_bound(monkeypatch):
    monkeypatch.setattr(bitbaketext, "MOST_EXPANDED", 1000)
    scope = bitbaketext.Scope()
    for statement in bitbaketext.statements("x", 'A = "0123456789"\n' + 'A := "${A}${A}"\n' * 30 + 'B = "b"\n'):
        scope.assign(statement)
    value = scope.expand(bitbaketext.plain("${A} ${B}"))
    # The last that is expanded may be more than is left: it is twice what was.
    assert len(value.characters) <= 2000 and value.unknown == "A"
    assert value.characters.endswith("${B}")


@pytest.mark.parametrize("line", [
    'X += "word"\n', 'X =+ "word"\n', 'X .= "word"\n', 'X =. "word"\n', 'X:append = " word"\n', 'X:prepend = "word "\n',
    "{} word \\\n",
])
def test_value_that_is_put_together_of_many_lines(monkeypatch, line):
    """Characters are copied as many times as there are steps, not once with each line."""
    copied = []
    monkeypatch.setattr(bitbaketext.Text, "__add__", lambda one, other: pytest.fail("copies all that there was"))
    joined = bitbaketext.joined

    def counted(texts):
        text = joined(texts)
        copied.append(len(text.characters))
        return text

    monkeypatch.setattr(bitbaketext, "joined", counted)
    lines = line * 2000 if "{}" not in line else 'X = " \\\n' + line.format("") * 2000 + '"\n'
    scope = bitbaketext.Scope()
    for statement in bitbaketext.statements("x", 'X = ""\n' + lines):
        scope.assign(statement)
    assert scope.value("X").characters.count("word") == 2000
    assert sum(copied) < 3 * len(lines)
