# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Whether a recipe name is free: rather ask BitBake once too often than take a name."""

from __future__ import annotations

import pytest

from dockin.recipe import names, yoctolayers


@pytest.mark.parametrize("files, free", [
    ({}, True),
    ({"busybox_1.36.bb": 'PACKAGES += "${PN}-mdev"'}, True),
    ({"busybox-docker_1.0.bb": ""}, False),
    ({"busybox-docker.bb": ""}, False),
    ({"busybox-docker-extra_1.bb": ""}, True),
    ({"other_1.0.bb": 'PROVIDES = "busybox-docker"'}, False),
    ({"other_1.0.bb": "require other.inc", "other.inc": 'RPROVIDES:${PN} = "busybox-docker"'}, False),
    ({"busybox_1.36.bb": 'PACKAGES += "${PN}-docker"'}, False),
    ({"busybox_1.36.bb": "require busybox.inc", "busybox.inc": 'PACKAGES =+ "${PN}-docker"'}, False),
    ({"aaa_1.bb": "", "busybox_1.36.bb": "require busybox.inc", "busybox.inc": 'PACKAGES =+ "${PN}-docker"'}, False),
    ({"busybox_1.36.bb": 'PACKAGES_DYNAMIC = "^${PN}-.*"'}, False),
    ({"other_1.0.bb": 'PACKAGES_DYNAMIC = "^${PN}-.*"'}, True),
    ({"other_1.0.bb": 'PACKAGES += "${PN}-docker"'}, True),
    ({"other_1.0.bb": 'SRC_URI = "crate://crates.io/my-busybox-docker/0.1 file://busybox-docker-2.patch"'}, True),
    ({"other_1.0.bb": 'PACKAGES += "busybox-docker-preload"'}, False),
    ({"other_1.0.bb": 'PROVIDES = "${MLPREFIX}busybox-docker${SUFFIX}"'}, False),
    ({"other_1.0.bb": "require inc/other.inc", "inc/other.inc": 'PROVIDES = "busybox-docker"'}, False),
    ({"other_1.0.bb": "inherit other", "classes/other.bbclass": 'PROVIDES = "busybox-docker"'}, False),
    ({"busybox_1.36.bb": "", "more/busybox_%.bbappend": 'PACKAGES =+ "${PN}-docker"'}, False),
    ({"busybox_1.36.bb": "", "more/other_%.bbappend": 'PACKAGES =+ "${PN}-docker"'}, True),
    ({"busybox_1.36.bb": "require inc/deep.inc", "inc/deep.inc": "require inc/x.inc",
      "inc/x.inc": 'PACKAGES =+ "${PN}-docker"'}, False),
    ({"busybox_1.36.bb": "require ${ELSEWHERE}/x.inc"}, False),
    ({"busybox_1.36.bb": "inherit \\\n  one", "classes/one.bbclass": "inherit two\n",
      "classes/two.bbclass": 'PACKAGES =+ "${PN}-docker"'}, False),
    ({"busybox_1.36.bb": "inherit_defer one", "classes-recipe/one.bbclass": "do_split_packages(d)"}, False),
    ({"busybox_1.36.bb": "inherit ${@'one'}"}, False),
    ({"busybox_1.36.bb": "inherit two", "classes/one.bbclass": 'PACKAGES =+ "${PN}-docker"'}, True),
    ({"busybox_1.36.bb": 'PACKAGES += "${PN}-${KIND}"'}, False),
    ({"other_1.0.bb": "", "build/conf/bblayers.conf": "", "build/tmp/x.inc": 'PROVIDES = "busybox-docker"'}, True),
])
def test_certainly_free(tmp_path, files, free):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    recipes = sorted(str(path) for path in tmp_path.glob("*.bb"))
    shared = names.shared_files([str(tmp_path)])
    assert names.certainly_free("busybox-docker", recipes, shared, [str(tmp_path)]) is free


@pytest.mark.parametrize("entry, path, expected", [
    ("recipes*/*/*.bb", "recipes-x/app/app_1.bb", True),
    ("recipes*/*/*.bb", "recipes-x/app/deep/app_1.bb", False),
    ("recipes*/*.bb", "recipes-x/app/app_1.bb", False),
    ("**/*.bb", "recipes-x/app/app_1.bb", False),
    ("recipes-x/app/*.bb", "recipes-x/app/../app/app_1.bb", True),
    ("recipes*/*/*.bb", "recipes-x/.app/app_1.bb", False),
    ("recipes-x", "recipes-x/app/app_1.bb", True),
    ("recipes-x/", "recipes-x/app/deep/app_1.bb", True),
    ("recipes-x", "recipes-xy/app/app_1.bb", False),
    ("other/*/*.bb recipes-[xy]/app/app_?.bb", "recipes-x/app/app_1.bb", True),
    ("", "recipes-x/app/app_1.bb", False),
])
def test_where_bitbake_looks_for_recipes(tmp_path, entry, path, expected):
    """The rule for files that are not there, and for those that are."""
    bbfiles = " ".join(f"{tmp_path}/{one}" for one in entry.split())
    file = tmp_path / path
    file.resolve().parent.mkdir(parents=True)
    assert yoctolayers.is_recipe_place(bbfiles, str(file)) is expected
    file.resolve().touch()
    assert any(file.samefile(found) for found in names.recipe_files(bbfiles)) is expected


def test_what_cant_be_read_is_not_known(tmp_path):
    assert not names.certainly_free("busybox-docker", [str(tmp_path / "gone_1.bb")], [])
    (tmp_path / "gone.inc").symlink_to("nowhere")
    assert not names.certainly_free("busybox-docker", [], names.shared_files([str(tmp_path)]))


def test_classes_in_bbpath(tmp_path):
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "x.bbclass").touch()
    assert names.shared_files([], [str(tmp_path)]) == [str(tmp_path / "classes" / "x.bbclass")]
