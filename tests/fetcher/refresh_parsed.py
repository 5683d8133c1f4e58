# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Refreshes recipes as devtool does, for a machine arm, and upgrades their tags.

    python3 refresh_parsed.py BITBAKE_LIB LAYER_LIB

Reads JSON from standard input: for each case the files of a layer, by path. Prints JSON: for each case the outcome.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import tempfile
import typing
from pathlib import Path

import compare_text  # it reads the command line and makes BitBake known

from dockin.refresh import engine, parsedrecipes


def outcome(layer: Path) -> dict[str, typing.Any]:
    """Return what became of a layer's recipe: the images, the notes, and all texts."""
    [recipe] = layer.glob("recipes/*.bb")
    tinfoil = compare_text.Tinfoil(layer, "arm")
    tasks = [parsedrecipes.read_task(tinfoil, str(recipe))]
    neighbours = [parsedrecipes.read_task(tinfoil, str(other)) for other in layer.glob("others/*.bb")]
    tasks += [dataclasses.replace(task, examined=False) for task in neighbours]
    report = engine.run(tasks, engine.Options(upgrade="major"), compare_text.Registry())  # type: ignore[arg-type]
    images = [[one.recipe.shown(one.image.path), one.image.line, one.image.text, one.status, one.found.message]
              for one in report.results]
    texts = {str(path.relative_to(layer)): path.read_text() for path in layer.rglob("*") if path.is_file()}
    return {"images": images, "notes": report.notes, "texts": texts}


def main() -> None:
    """Do all cases."""
    logging.disable(logging.CRITICAL)
    outcomes = []
    for files in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {"conf/layer.conf": "", "classes/base.bbclass": "", **files}.items():
                path = Path(folder, "meta-mine", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            outcomes.append(outcome(Path(folder, "meta-mine")))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
