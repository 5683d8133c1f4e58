# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Refreshes random recipes, as scripts/dockin does and as devtool does: BitBake then has no wrong pin.

    python3 compare_text.py BITBAKE_LIB LAYER_LIB SEED COUNT

In the registry all images have moved, and there are newer tags. Prints JSON: for either reader how many images were updated
and how many were problems, how many recipes were no valid ones, and the disagreements.
"""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import random
import shutil
import sys
import tempfile
import typing
from pathlib import Path

sys.path[:0] = [*sys.argv[1:3], str(Path(__file__).resolve().parent.parent)]
from support import bbrun  # noqa: E402

bbrun.stand_ins()
import bb  # noqa: E402
import bb.data  # noqa: E402
import bb.parse  # noqa: E402
import bb.siggen  # noqa: E402

from dockin.errors import DockinError  # noqa: E402
from dockin.image import manifests  # noqa: E402
from dockin.recipe import source  # noqa: E402
from dockin.refresh import engine, parsedrecipes  # noqa: E402

CONF = {
    "PN": "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'defaultpkgname'}",
    "PV": "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1] or '1.0'}",
    "BPN": "${@d.getVar('PN')}",
}
VARIABLES = ("T", "U", "V", "N")
INVALID = (bb.BBHandledException, bb.parse.ParseError, bb.data_smart.ExpansionError, DockinError, RecursionError)


class Author:
    """Writes recipes in which much changes the tags."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, *choices: str) -> str:
        """Return one of the choices."""
        return self._random.choice(choices)

    def files(self) -> dict[str, str]:
        """Return the files of a layer, by path."""
        start = "".join(f'{name} {self.one("=", "=", "=", "=", "?=", "??=")} "{self.one("1", "2", "3")}"\n'
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


class Registry:
    """Stands for a resolver: every tag stands for a digest of its own, and each repository has newer tags."""

    def kind(self, reference: typing.Any) -> str:
        return "none"

    def digest(self, reference: typing.Any) -> str:
        return reference.digest or digest_of(reference)

    def digest_read(self, reference: typing.Any) -> str:
        return self.digest(reference)

    def document_kind(self, digest: str) -> str:
        return "manifest"

    def document(self, reference: typing.Any) -> bytes:
        return b'''{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [], "config":
            {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:%s", "size": 2}}''' % (b"c" * 64)

    def config(self, reference: typing.Any) -> tuple[str, str, manifests.Config]:
        return "", "", manifests.Config("linux", "amd64", "", (), {}, "")

    def tags(self, reference: typing.Any) -> list[str]:
        return ["1", "2", "3", "8", "9", "v1", "v8"]


class Tinfoil:
    """Stands for BitBake's own of that name, without a server."""

    tracking = False

    def __init__(self, layer: Path, overrides: str) -> None:
        self.config_data = configuration(layer, overrides)

    def get_file_appends(self, path: str) -> list[str]:
        return appends_of(Path(self.config_data.getVar("BBLAYERS")))

    def parse_recipe_file(self, path: str, appendlist: list[str], config_data: typing.Any = None) -> typing.Any:
        return parse(path, appendlist, config_data or self.config_data)


def digest_of(reference: typing.Any) -> str:
    """Return the digest that a tag stands for."""
    return "sha256:" + hashlib.sha256(reference.tagged.canonical.encode()).hexdigest()


def configuration(layer: Path, overrides: str) -> typing.Any:
    """Return the datastore of a build with one layer."""
    d = bb.data.init()
    d.enableTracking()
    settings = {"BBPATH": f"{layer}/conf/..", "BBLAYERS": f"{layer}/conf/..", "OVERRIDES": f"{overrides}:class-target",
                "BBFILE_PATTERN_workspacelayer": f"^{layer}/conf/../workspace/"}
    for name, value in {**CONF, **settings}.items():
        d.setVar(name, value)
    return d


def appends_of(layer: Path) -> list[str]:
    """Return a layer's appends."""
    return sorted(map(str, layer.glob("**/appends/*.bbappend")))


def parse(path: str, appends: list[str], config_data: typing.Any) -> typing.Any:
    """Return the datastore of a recipe. Raises what BitBake raises."""
    d = bb.data.createCopy(config_data)
    d.setVar("FILE", path)
    d.setVar("__bbclasstype", "recipe")
    bb.parse.siggen = bb.siggen.init(d)
    bb.parse.init_parser(d)
    d.setVar("__BBAPPEND", " ".join(appends) or None)
    return bb.parse.handle(path, d, 0)[""]


def built(layer: Path, overrides: str) -> list[source.DockerSource]:
    """Return the images that BitBake has, with their pins. Raises what it raises."""
    [recipe] = layer.glob("recipes/*.bb")
    d = parse(str(recipe), appends_of(layer), configuration(layer, overrides))
    d.getVar("PN")
    found = [source.parse_entry(entry) for entry in (d.getVar("SRC_URI") or "").split()]
    return [one.pinned(d.getVarFlag("SRC_URI", one.pin_flag)) for one in found]


def main() -> None:
    """Compare as many recipes as wanted."""
    logging.disable(logging.CRITICAL)
    author, count = Author(int(sys.argv[3])), int(sys.argv[4])
    numbers: collections.Counter[str] = collections.Counter()
    wrong: list[typing.Any] = []
    top = Path(tempfile.mkdtemp())
    try:
        for number in range(count):
            layer, files = top / str(number), author.files()
            for name, text in {"conf/layer.conf": "", "classes/base.bbclass": "", **files}.items():
                (layer / name).parent.mkdir(parents=True, exist_ok=True)
                (layer / name).write_text(text)
            try:
                before = {overrides: built(layer, overrides) for overrides in ("arm", "x86")}
            except INVALID:
                numbers["invalid"] += 1
                continue
            for reader in ("text", "parsed"):
                compare(layer, reader, before, numbers, wrong)
            shutil.rmtree(layer)
    finally:
        shutil.rmtree(top)
    print(json.dumps({**numbers, "wrong": wrong}))


def compare(
    layer: Path, reader: str, before: dict[str, list[source.DockerSource]], numbers: collections.Counter[str],
    wrong: list[typing.Any],
) -> None:
    """Refresh a copy of a layer, and add what became of it to the numbers and to what is wrong."""
    # BitBake remembers files by path, so each copy is another one.
    mine, after = (layer.parent / f"{layer.name}-{reader}{kind}" for kind in ("", "-after"))
    shutil.copytree(layer, mine)
    if reader == "text":
        tasks = engine.read_tasks([str(mine / "recipes" / "app_1.bb")])
    else:
        tasks = [parsedrecipes.read_task(Tinfoil(mine, "arm"), f"{mine}/conf/../recipes/app_1.bb")]
    report = engine.run(tasks, engine.Options(upgrade="major"), Registry())  # type: ignore[arg-type]
    numbers[f"{reader} updated"] += report.count("updated")
    numbers[f"{reader} upgraded"] += sum(result.status == "updated" and result.found.new.tag != result.found.old.tag
                                         for result in report.results)
    numbers[f"{reader} problems"] += report.count("error")
    shutil.copytree(mine, after)
    for overrides, old in before.items():
        try:
            new = built(after, overrides)
            right = len(old) == len(new) and all(map(is_right, old, new))
            done = not right or reader == "text" or overrides != "arm" or done_as_said(report, old, new)
        except INVALID as error:
            right, done, new = False, True, [repr(error)]
        if not right or not done:
            texts = {str(path.relative_to(mine)): path.read_text() for path in mine.rglob("*") if path.is_file()}
            wrong.append([reader, overrides, list(map(str, old)), list(map(str, new)), texts])
    shutil.rmtree(mine)
    shutil.rmtree(after)


def is_right(old: source.DockerSource, new: source.DockerSource) -> bool:
    """Tell whether an image is what it was, or has the pin of what its tag stands for now."""
    same = (old.reference.name, old.pin_flag, old.platform) == (new.reference.name, new.pin_flag, new.platform)
    return old == new or (same and new.reference.digest == digest_of(new.reference))


def done_as_said(report: engine.Report, old: list[source.DockerSource], new: list[source.DockerSource]) -> bool:
    """Tell whether as many images have changed as a report says."""
    changed = {two.url for one, two in zip(old, new) if one != two}
    return len(changed) == len({result.image.text for result in report.results if result.status == "updated"})


if __name__ == "__main__":
    main()
