# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Has BitBake parse recipes for images with hostile labels: it must find in each what that is to say, and nothing else.

    python3 parse_labels.py BITBAKE_LIB LAYER_LIB SEED COUNT

Prints JSON: how many recipes were parsed, and what was wrong. Run in a directory of its own, in which commands leave a mark.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

sys.path[:0] = [*sys.argv[1:3], str(Path(__file__).resolve().parent.parent)]
from support import bbrun, hostile  # noqa: E402

bbrun.stand_ins()
import bb  # noqa: E402
import bb.data  # noqa: E402
import bb.parse  # noqa: E402
import bb.siggen  # noqa: E402
from bb.parse.parse_py import BBHandler  # noqa: E402

from dockin.image import manifests, reference  # noqa: E402
from dockin.recipe import licences, newrecipe  # noqa: E402

LABEL = "org.opencontainers.image."
DIGEST = "sha256:" + "a" * 64
PLAIN = {"LICENSE": licences.UNREVIEWED, "SRC_URI": "docker://docker.io/team/app;tag=1.0"}
TEXTS = ("SUMMARY", "DESCRIPTION", "HOMEPAGE")
TABLE = licences.Table(lambda name: "", "0" * 32)


def recipe(text: str) -> str:
    """Return the recipe for an image with a text in each label that counts."""
    keys = ("title", "description", "url", "documentation", "source", "licenses")
    config = manifests.Config("linux", "amd64", "", (), {LABEL + key: text for key in keys}, text)
    return newrecipe.for_image(newrecipe.Image(reference.parse(f"team/app:1.0@{DIGEST}"), config), "app-docker", TABLE).text


def start() -> bb.data_smart.DataSmart:
    """Return the datastore that each recipe is parsed with, in which a class of the name is empty."""
    for path, text in {"conf/layer.conf": "", "classes/base.bbclass": "", "classes/dockin.bbclass": ""}.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)
    d = bb.data.init()
    settings = {"BBPATH": os.getcwd(), "OVERRIDES": "class-target", "PV": "1.0", "__bbclasstype": "recipe",
                "DOCKIN_LAYERDIR": "LAYER", "COMMON_LICENSE_DIR": "LICENCES"}
    for name, value in settings.items():
        d.setVar(name, value)
    bb.parse.siggen = bb.siggen.init(d)
    bb.parse.init_parser(d)
    return d


def fault(text: str, parsed: bb.data_smart.DataSmart, before: set[str]) -> str:
    """Return what is wrong with a parsed recipe, "" where all is right."""
    surplus = set(parsed.keys()) - before - set(TEXTS) - set(PLAIN) - {"LIC_FILES_CHKSUM"}
    if surplus:
        return f"sets {sorted(surplus)}"
    for name, value in PLAIN.items():
        if parsed.getVar(name) != value:
            return f"{name} is {parsed.getVar(name)!r}"
    for name in TEXTS:
        raw, value = parsed.getVar(name, False) or "", parsed.getVar(name) or ""
        # Nothing is expanded by BitBake, nor would be by rpmbuild; nothing moves a cursor.
        if raw != value or "%" in value or not value.isprintable():
            return f"{name} is {raw!r}"
    return "runs a command" if Path(hostile.MARK).exists() else ""


def main() -> None:
    """Parse as many recipes as wanted."""
    mark = Path(hostile.MARK).resolve()
    logging.disable(logging.CRITICAL)
    d = start()
    path = Path("app-docker_1.0.bb").resolve()
    d.setVar("FILE", str(path))
    path.write_text("inherit dockin\n")
    before = set(bb.parse.handle(str(path), d.createCopy(), 0)[""].keys())
    wrong, parsed = [], 0
    for text in hostile.texts(int(sys.argv[3]), int(sys.argv[4])):
        path.write_text(recipe(hostile.aim(text, mark)), encoding="utf-8")
        # BitBake remembers files by path.
        BBHandler.cached_statements.clear()
        try:
            said = fault(text, bb.parse.handle(str(path), d.createCopy(), 0)[""], before)
        except Exception as error:  # noqa: BLE001  any is a fault
            said = f"{type(error).__name__}: {error}"
        parsed += 1
        if said:
            wrong.append([ascii(text), said])
    print(json.dumps({"parsed": parsed, "wrong": wrong[:20]}))


if __name__ == "__main__":
    main()
