# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Whether a recipe name is free: rather ask BitBake once too often than take a name."""

from __future__ import annotations

import pytest

from dockin import names


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
])
def test_certainly_free(tmp_path, files, free):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    recipes = sorted(str(path) for path in tmp_path.glob("*.bb"))
    assert names.certainly_free("busybox-docker", recipes) is free


def test_what_cant_be_read_is_not_known(tmp_path):
    assert not names.certainly_free("busybox-docker", [str(tmp_path / "gone_1.bb")])
