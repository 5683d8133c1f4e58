# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Reads random recipes as text, and has BitBake parse them: what the text is sure of, BitBake must have so.

    python3 compare_text.py BITBAKE_LIB LAYER_LIB SEED COUNT

Prints JSON: how many images were sure and in doubt, how many recipes were no valid ones, and the disagreements.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [*sys.argv[1:3], str(Path(__file__).resolve().parent.parent)]
from support import bbrun  # noqa: E402

bbrun.stand_ins()
import bb  # noqa: E402
import bb.data  # noqa: E402
import bb.parse  # noqa: E402
import bb.siggen  # noqa: E402

from dockin.errors import DockinError  # noqa: E402
from dockin.recipe import recipefile, source  # noqa: E402
from dockin.recipe.yoctolayers import Layers  # noqa: E402

CONF = {
    "PN": "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'defaultpkgname'}",
    "PV": "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1] or '1.0'}",
    "BPN": "${@d.getVar('PN')}",
}
VARIABLES = ("T", "U", "V", "N")


class Author:
    """Writes recipes in which much changes the tags."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, *choices: str) -> str:
        """Return one of the choices."""
        return self._random.choice(choices)

    def files(self) -> dict[str, str]:
        """Return the files of a layer, by path."""
        start = "".join(f'{name} {self.one("=", "=", "?=", "??=")} "{self.one("1", "2", "3")}"\n'
                        for name in VARIABLES if self._random.random() < 0.93)
        files = {
            "recipes/app_1.bb": f'{start}SRC_URI = "{self._entry()}"\n{self._lines(1, 7)}',
            "recipes/i.inc": self._lines(0, 3, False), "j.inc": self._lines(0, 3, False),
            "recipes/i-1.inc": self._lines(1, 1, False), "recipes/1.inc": self._lines(1, 1, False),
            "classes/k.bbclass": self._lines(0, 2, False), "classes/m.bbclass": self._lines(0, 2, False),
        }
        if self._random.random() < 0.3:
            files["appends/app_%.bbappend"] = self._lines(1, 3)
        return files

    def _entry(self) -> str:
        entry = f"docker://h.io/{self.one('x', 'y', '${PN}', '${BPN}', '${N}')}"
        entry += f";tag={self.one('1', '2', '${T}', '${PV}', 'v${PV}', '${U}', '${V}')}"
        entry += self.one("", "", ";name=a", ";name=b")
        return entry + self.one("", "", "", "", f";digest=sha256:{self._digits()}")

    def _digits(self) -> str:
        return self.one(*"abcdef") * 64

    def _lines(self, least: int, most: int, taking: bool = True) -> str:
        return "".join(self._line(taking) + "\n" for _ in range(self._random.randint(least, most)))

    def _line(self, taking: bool) -> str:
        override = self.one("", "", "", "", ":append", ":prepend", ":remove", ":arm", ":append:arm", ":x86", ":class-target")
        operator = self.one("=", "=", "=", "?=", "??=", ":=", "+=", ".=", "=+", "=.")
        if override and self._random.random() < 0.8:
            operator = "="
        kind = self._random.random()
        if kind < 0.33:
            value = self.one("1", "2", "3", "${PV}", "${U}", "${T}", "1-${V}", "${PN}", "${BPN}")
            return f'{self.one(*VARIABLES, "PV", "PN", "T_${PN}")}{override} {operator} "{value}"'
        if kind < 0.58:
            value = self.one(" ", "", " \\\n  ") + self._entry() + self.one("", " ", f" {self._entry()}")
            return f'SRC_URI{override} {operator} "{value}"'
        if kind < 0.78:
            operator = self.one("=", "=", "=", "?=", "??=", ":=", ".=")
            return f'SRC_URI[{self.one("", "a.", "b.")}sha256sum] {operator} "{self._digits()}"'
        if kind < 0.84:
            return f'unset {self.one("T", "U", "SRC_URI", "SRC_URI[sha256sum]", "SRC_URI[a.sha256sum]")}'
        if kind < 0.96 and taking:
            word = self.one("require", "include", "inherit", "inherit_defer")
            names = ("k", "m") if "inherit" in word else ("i.inc", "j.inc", "${T}.inc", "i-${PV}.inc")
            return f"{word} {self.one(*names)}"
        if kind < 0.97:
            return "python () {\n    d.setVar('" + self.one(*VARIABLES) + "', '" + self.one("1", "2", "3") + "')\n}"
        return self.one("do_x() {\n    T = \"9\"\n}", '# T = "9"')


def built(layer: Path, files: dict[str, str], overrides: str) -> dict[tuple[str, str], set[str | None]]:
    """Return the images that BitBake has, by name and pin's flag, with their pins. Raises what it raises."""
    d = bb.data.init()
    for name, value in CONF.items():
        d.setVar(name, value)
    recipe = layer / "recipes" / "app_1.bb"
    settings = {"BBPATH": str(layer), "OVERRIDES": f"{overrides}:class-target", "FILE": str(recipe)}
    d.setVar("__bbclasstype", "recipe")
    for name, value in settings.items():
        d.setVar(name, value)
    bb.parse.siggen = bb.siggen.init(d)
    bb.parse.init_parser(d)
    d.setVar("__BBAPPEND", " ".join(str(layer / name) for name in files if name.endswith(".bbappend")) or None)
    parsed = bb.parse.handle(str(recipe), d, 0)[""]
    found: dict[tuple[str, str], set[str | None]] = {}
    for entry in (parsed.getVar("SRC_URI") or "").split():
        image = source.parse_entry(entry)
        flag = parsed.getVarFlag("SRC_URI", image.pin_flag)
        pin = image.reference.digest or (f"sha256:{flag}" if flag else None)
        found.setdefault((image.reference.tagged.canonical, image.pin_flag), set()).add(pin)
    return found


def main() -> None:
    """Compare as many recipes as wanted."""
    logging.disable(logging.CRITICAL)
    author, count = Author(int(sys.argv[3])), int(sys.argv[4])
    outcome = {"sure": 0, "doubtful": 0, "invalid": 0, "wrong": []}
    top = Path(tempfile.mkdtemp())
    try:
        for number in range(count):
            layer, files = top / str(number), author.files()
            # BitBake remembers files by path, so each layer is another one.
            for name, text in {"conf/layer.conf": "", "classes/base.bbclass": "", **files}.items():
                (layer / name).parent.mkdir(parents=True, exist_ok=True)
                (layer / name).write_text(text)
            compare(layer, files, outcome)
            shutil.rmtree(layer)
    finally:
        shutil.rmtree(top)
    print(json.dumps(outcome))


def compare(layer: Path, files: dict[str, str], outcome: dict) -> None:
    """Add what became of a layer's recipe to the outcome."""
    appends = [str(layer / name) for name in files if name.endswith(".bbappend")]
    recipe = recipefile.read(str(layer / "recipes" / "app_1.bb"), appends, layers=Layers([str(layer)]))
    sure = [image for image in recipe.images if image.source and not image.problem]
    outcome["doubtful"] += len(recipe.images) - len(sure)
    for overrides in ("arm", "x86"):
        try:
            real = built(layer, files, overrides)
        except (bb.BBHandledException, bb.parse.ParseError, bb.data_smart.ExpansionError, DockinError):
            outcome["invalid"] += 1
            continue
        # One for a machine, or beside one, is not built for each.
        for image in [] if recipe.replacing else [image for image in sure if not image.conditional]:
            outcome["sure"] += 1
            key = (image.source.reference.tagged.canonical, image.source.pin_flag)
            if image.source.reference.digest not in real.get(key, ()):
                outcome["wrong"].append([overrides, image.text, image.source.reference.digest, files])


if __name__ == "__main__":
    main()
