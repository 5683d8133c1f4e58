# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Each variable of the layer, set in each of the usual ways and places, does what it says."""

import re

import pytest

from support import bbrun

# Values that are not the defaults.
VALUES = {
    "docker_archivedir": "/opt/archive",
    "DOCKIN_RUNTIME": "podman",
    "DOCKIN_RUNTIME_PACKAGES": "own-engine",
    "DOCKIN_RUNTIME_STORE": "containerd",
    "DOCKIN_DATAROOT_DIR": "/data/engine",
    "DOCKIN_IMAGESTORE_DIR": "/opt/store",
    "DOCKIN_PLATFORM": "linux/arm64",
    "DOCKIN_PIN": "ignore",
    "DOCKIN_FETCH_SBOM": "require",
    "DOCKIN_LAYERS": "registry",
    "DOCKIN_PRELOAD_FLUSH": "0",
    "DOCKIN_PRELOAD_PRUNE": "1",
    "DOCKIN_PRELOAD_KEEP_PREVIOUS": "1",
    "DOCKIN_SIZE_BUDGET": "1G",
    "COMPRESSION_TYPE": "gzip",
}
RECIPE = """
LICENSE = "CLOSED"
{before}
inherit dockin
SRC_URI = "docker://busybox;tag=1.36.1"
{after}
"""


def defaults(path):
    """Return the variables that a file of the layer has defaults for, with their operators."""
    found = re.findall(r"^(\w+) (\?\??=)", (bbrun.LAYER / path).read_text(), re.MULTILINE)
    return {name: operator for name, operator in found if name.startswith(("DOCKIN_", "docker_", "COMPRESSION_"))}


LAYER_CONF = defaults("conf/layer.conf")
CLASS = defaults("classes/dockin.bbclass") | defaults("classes/dockin-sbom.bbclass")
# Where and how; in BitBake a default of a class goes before a weak one of a configuration.
WAYS = {
    "local ?=": (LAYER_CONF | CLASS, {"local": '{name} ?= "{value}"'}),
    "local =": (LAYER_CONF | CLASS, {"local": '{name} = "{value}"'}),
    "local ??=": (LAYER_CONF, {"local": '{name} ??= "{value}"'}),
    "distro ?=": (LAYER_CONF | CLASS, {"distro": '{name} ?= "{value}"'}),
    "distro =": (LAYER_CONF | CLASS, {"distro": '{name} = "{value}"'}),
    "distro ??=": (LAYER_CONF, {"distro": '{name} ??= "{value}"'}),
    "local before distro": (LAYER_CONF | CLASS, {"local": '{name} ?= "{value}"', "distro": '{name} ?= "x"'}),
    "local for the recipe": (LAYER_CONF | CLASS, {"local": '{name}:pn-app = "{value}"'}),
    "recipe": (LAYER_CONF | CLASS, {"after": '{name} = "{value}"'}),
    "recipe ?=": (LAYER_CONF | CLASS, {"before": '{name} ?= "{value}"'}),
    "recipe before local": (LAYER_CONF | CLASS, {"local": '{name} = "x"', "after": '{name} = "{value}"'}),
}


def test_all_variables_are_in_the_table():
    assert set(LAYER_CONF) | set(CLASS) == set(VALUES)


@pytest.mark.parametrize("way", WAYS)
def test_way_to_set(bench, way):
    names, lines = WAYS[way]
    texts = {place: "\n".join(line.format(name=name, value=VALUES[name]) for name in names) for place, line in lines.items()}
    steps = []
    for place in ("local", "distro"):
        path = bench.directory / f"{place}.conf"
        path.write_text(texts.get(place, "") + "\n")
        steps.append(["configure", str(path)])
    recipe = bench.directory / "app_1.0.bb"
    recipe.write_text(RECIPE.format(before=texts.get("before", ""), after=texts.get("after", "")))
    steps += [["parse", str(recipe)], *(["get", name] for name in names)]
    outcome = bench.runner.run(bbrun.Job({}, steps, bench.environment), bench.directory / "job")
    assert outcome.error is None, outcome.text
    assert dict(zip(names, outcome.values[3:])) == {name: VALUES[name] for name in names}


# Layers and release of a build: where its Docker keeps images in a new data-root.
STORES = {
    ("core virtualization-layer", "scarthgap"): "classic",
    ("core virtualization-layer", "wrynose"): "containerd",
    ("core virtualization-layer", "wrynose blacksail"): "containerd",
    ("core", "wrynose"): "classic",
    ("core", "scarthgap"): "classic",
}


@pytest.mark.parametrize(("collections", "series"), STORES)
def test_store_follows_the_docker_of_the_build(bench, collections, series):
    recipe = bench.directory / "app_1.0.bb"
    recipe.write_text(RECIPE.format(before="", after=""))
    variables = {"BBFILE_COLLECTIONS": collections, "LAYERSERIES_CORENAMES": series}
    steps = [["parse", str(recipe)], ["get", "DOCKIN_RUNTIME_STORE"]]
    outcome = bench.runner.run(bbrun.Job(variables, steps, bench.environment), bench.directory / "job")
    assert outcome.error is None, outcome.text
    assert outcome.values[-1] == STORES[collections, series]


@pytest.mark.parametrize("way", ["none", *WAYS])
def test_ways_to_set_the_store_of_an_image_with_a_data_root(bench, way):
    """Where it is not set, Docker stays on the classic store that is written for it."""
    _, lines = WAYS.get(way, ((), {}))
    texts = {place: line.format(name="DOCKIN_RUNTIME_STORE", value="containerd") for place, line in lines.items()}
    steps = []
    for place in ("local", "distro"):
        path = bench.directory / f"{place}.conf"
        path.write_text(texts.get(place, "") + "\n")
        steps.append(["configure", str(path)])
    recipe = bench.directory / "app_1.0.bb"
    recipe.write_text("\n".join([texts.get("before", ""), 'LICENSE = "CLOSED"', 'IMAGE_FSTYPES = "tar"',
                                 "inherit dockin-dataroot", texts.get("after", ""), ""]))
    variables = {"BBFILE_COLLECTIONS": "core virtualization-layer", "LAYERSERIES_CORENAMES": "wrynose"}
    steps += [["parse", str(recipe)], ["get", "DOCKIN_RUNTIME_STORE"]]
    outcome = bench.runner.run(bbrun.Job(variables, steps, bench.environment), bench.directory / "job")
    assert outcome.error is None, outcome.text
    assert outcome.values[-1] == ("classic" if way == "none" else "containerd")
