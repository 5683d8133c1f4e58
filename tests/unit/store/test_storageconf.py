# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""storage.conf with an image store more: nothing else changes, and what is not understood is refused."""

from __future__ import annotations

import pytest

from dockin.store import storageconf

STORE = "/usr/lib/containers/storage"
FIRST = f'additionalimagestores = ["{STORE}"]\n'
# As distributions ship it, shortened.
SHIPPED = """\
# This file is the configuration file for all tools
[storage]

# Default Storage Driver, Must be set for proper operation.
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"

[storage.options]
# Storage options to be passed to underlying storage drivers

# AdditionalImageStores is used to pass paths to additional Read/Only image stores
# Must be comma separated list.
additionalimagestores = [
]

[storage.options.overlay]
mountopt = "nodev,metacopy=on" # [x]
"""


@pytest.mark.parametrize(("old", "new"), [
    ("", f"\n[storage.options]\n{FIRST}"),
    ('[storage]\ndriver = "overlay"', f'[storage]\ndriver = "overlay"\n\n[storage.options]\n{FIRST}'),
    ("[ storage . options ] # x\nsize = \"\"\n", f"[ storage . options ] # x\n{FIRST}size = \"\"\n"),
    ("[storage.options]", f"[storage.options]\n{FIRST}"),
    (SHIPPED, SHIPPED.replace("stores = [\n", f'stores = ["{STORE}"\n')),
    ("[storage.options]\nadditionalimagestores = []\n", f"[storage.options]\n{FIRST}"),
    ("[storage.options]\nadditionalimagestores=['/a', # ']'\n \"/b\",\n]\n[x]\n",
     f"[storage.options]\nadditionalimagestores=[\"{STORE}\", '/a', # ']'\n \"/b\",\n]\n[x]\n"),
    (f"[storage.options]\n{FIRST}", f"[storage.options]\n{FIRST}"),
    ('[storage]\ndriver = ""\nadditionalimagestores = []\n', f'[storage]\ndriver = ""\nadditionalimagestores = []\n\n'
                                                             f"[storage.options]\n{FIRST}"),
])
def test_a_store_is_added(old, new):
    assert storageconf.add_store(old, STORE, "/etc/containers/storage.conf") == new
    assert storageconf.add_store(new, STORE, "/etc/containers/storage.conf") == new


@pytest.mark.parametrize(("text", "ours", "stores", "roots"), [
    ("", False, [], False),
    (SHIPPED, False, [], False),
    (storageconf.default("/data/podman"), True, [], True),
    (f"[storage.options]\nadditionalimagestores=[\"{STORE}\", '/a', # ']'\n \"/b\",\n]\n", False, ["/a", "/b"], False),
])
def test_users_do_without_the_store(text, ours, stores, roots):
    tomllib = pytest.importorskip("tomllib", reason="unavailable: a Python without tomllib")
    found = tomllib.loads(storageconf.for_users(text, STORE, "x", ours))["storage"]
    assert found.pop("options") == {"additionalimagestores": stores}
    assert found == ({"runroot": "", "graphroot": ""} if roots else {})


def test_the_result_is_toml():
    tomllib = pytest.importorskip("tomllib", reason="unavailable: a Python without tomllib")
    for text in (SHIPPED, storageconf.default("/data/podman")):
        before, after = tomllib.loads(text), tomllib.loads(storageconf.add_store(text, STORE, "x"))
        before["storage"]["options"]["additionalimagestores"] = [STORE]
        assert after == before


@pytest.mark.parametrize(("text", "reason"), [
    ('[storage]\ndriver = "vfs"\n', "the driver is 'vfs'"),
    ("[storage]\noptions = {}\n", "line 2 has 'options' as a value"),
    ('storage = { driver = "overlay" }\n', "line 1 has 'storage' as a value"),
    ("[storage]\noptions.additionalimagestores = []\n", "line 2, .* is not understood"),
    ('storage.options.additionalimagestores = ["/a"]\n', "line 1, .* is not understood"),
    ("[storage.options]\nadditionalimagestores = [\n", "the array in line 2 does not end"),
    ('[storage.options]\nadditionalimagestores = "/a"\n', "is no array"),
    ('[storage]\nrunroot = """\n', "line 2 has a string of several lines"),
    ('[storage]\n"driver" = "vfs"\n', "line 2, .* is not understood"),
    ('["storage"]\n', "line 1, .* is not understood"),
])
def test_what_is_not_understood_is_refused(text, reason):
    with pytest.raises(storageconf.InvalidStorageConf, match=f"^/x: .*{reason}.*; an additional image store can't"):
        storageconf.add_store(text, STORE, "/x")
