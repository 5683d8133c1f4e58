# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.recipe.settings: what the classes check when a recipe is parsed."""

from __future__ import annotations

import re

import pytest

from dockin.errors import DockinError
from dockin.recipe import settings

RECIPE = {
    "DOCKIN_LAYERS": "decompressed", "DOCKIN_FETCH_SBOM": "0", "DOCKIN_PRELOAD_FLUSH": "1", "DOCKIN_PRELOAD_PRUNE": "0",
    "DOCKIN_PRELOAD_KEEP_PREVIOUS": "0", "DOCKIN_RUNTIME": "docker", "DOCKIN_RUNTIME_STORE": "classic",
    "COMPRESSION_TYPE": "xz", "COMPRESSION_CMD:xz": "xz -c", "COMPRESSION_CMD:none": "cat",
    "docker_archivedir": "/usr/share/dockin/archive", "DOCKIN_DATAROOT_DIR": "/var/lib/docker",
    "DOCKIN_IMAGESTORE_DIR": "/usr/lib/containers/storage", "DOCKIN_SIZE_BUDGET": "", "DOCKIN_PLATFORM": "linux/amd64",
}
IMAGE = {**RECIPE, "DOCKIN_DATAROOT": "1", "DOCKIN_DATAROOT_KEEP_ARCHIVES": "0", "DOCKIN_DATAROOT_EXTRA_SPACE": "65536"}


def check_recipe(**changes):
    values = {**RECIPE, **changes}
    settings.check_recipe(values.get, values.keys())


def check_image(**changes):
    settings.check_image({**IMAGE, **changes}.get)


def test_defaults_are_right():
    check_recipe()
    check_recipe(DOCKIN_PLATFORM="", DOCKIN_SIZE_BUDGET="1G")
    check_image()
    check_image(DOCKIN_RUNTIME_STORE="containerd")
    check_image(DOCKIN_RUNTIME="containerd")


@pytest.mark.parametrize(("changes", "message"), [
    ({"DOCKIN_LAYERS": "x"}, "Invalid DOCKIN_LAYERS = 'x': expected 'decompressed', 'registry'"),
    ({"DOCKIN_FETCH_SBOM": "2"}, "Invalid DOCKIN_FETCH_SBOM = '2': expected '0', '1', 'require'"),
    ({"DOCKIN_PRELOAD_FLUSH": "yes"}, "Invalid DOCKIN_PRELOAD_FLUSH = 'yes': expected '0', '1'"),
    ({"DOCKIN_PRELOAD_PRUNE": None}, "Invalid DOCKIN_PRELOAD_PRUNE = None"),
    ({"DOCKIN_PRELOAD_KEEP_PREVIOUS": ""}, "Invalid DOCKIN_PRELOAD_KEEP_PREVIOUS = ''"),
    ({"DOCKIN_RUNTIME": "lxc"}, "Invalid DOCKIN_RUNTIME = 'lxc': expected 'docker', 'podman', 'containerd'"),
    ({"DOCKIN_RUNTIME_STORE": "x"}, "Invalid DOCKIN_RUNTIME_STORE = 'x'"),
    ({"COMPRESSION_TYPE": "lzma2"}, "Invalid COMPRESSION_TYPE = 'lzma2': expected 'none', 'xz'"),
    ({"docker_archivedir": "x"}, "Invalid docker_archivedir = 'x'"),
    ({"DOCKIN_DATAROOT_DIR": None}, "Invalid DOCKIN_DATAROOT_DIR = ''"),
    ({"DOCKIN_IMAGESTORE_DIR": "/a b"}, "Invalid DOCKIN_IMAGESTORE_DIR = '/a b'"),
    ({"DOCKIN_SIZE_BUDGET": "1T"}, "Invalid DOCKIN_SIZE_BUDGET = '1T'"),
    ({"DOCKIN_PLATFORM": "amd64"}, "'amd64'"),
])
def test_a_recipe_that_is_wrong(changes, message):
    with pytest.raises(DockinError, match=re.escape(message)):
        check_recipe(**changes)


@pytest.mark.parametrize(("changes", "message"), [
    ({"DOCKIN_DATAROOT": "yes"}, "Invalid DOCKIN_DATAROOT = 'yes': expected 0 or 1"),
    ({"DOCKIN_RUNTIME_STORE": "x"}, "Invalid DOCKIN_RUNTIME_STORE = 'x': expected classic or containerd"),
    ({"DOCKIN_DATAROOT_KEEP_ARCHIVES": ""}, "Invalid DOCKIN_DATAROOT_KEEP_ARCHIVES = '': expected 0 or 1"),
    ({"DOCKIN_DATAROOT_EXTRA_SPACE": "1M"}, "Invalid DOCKIN_DATAROOT_EXTRA_SPACE = '1M': expected a number of KiB"),
    ({"DOCKIN_RUNTIME": "lxc"}, "Invalid DOCKIN_RUNTIME = 'lxc'"),
    ({"DOCKIN_DATAROOT_DIR": "/a/"}, "Invalid DOCKIN_DATAROOT_DIR = '/a/'"),
    ({"DOCKIN_IMAGESTORE_DIR": ""}, "Invalid DOCKIN_IMAGESTORE_DIR = ''"),
    ({"INC_RPM_IMAGE_GEN": "1"}, "INC_RPM_IMAGE_GEN = '1' keeps a root file system"),
    ({"INC_IPK_IMAGE_GEN": "1"}, "INC_IPK_IMAGE_GEN = '1' keeps a root file system"),
])
def test_an_image_recipe_that_is_wrong(changes, message):
    with pytest.raises(DockinError, match=re.escape(message)):
        check_image(**changes)
