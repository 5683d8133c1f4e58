# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Small rules of the tools: which tag follows, what registries.conf says, where a login is, how old an image is."""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path

import pytest

from dockin.errors import DockinError
from dockin.image import manifests
from dockin.recipe import versions
from dockin.registry import credentials, registriesconf, settings

LIB = Path(manifests.__file__).resolve().parents[2]
MODULES = {".".join(path.relative_to(LIB).with_suffix("").parts) for path in (LIB / "dockin").rglob("*.py")
           if path.stem != "__init__"}

TAGS = ["1.36.0", "1.36.1", "1.36.2", "1.36.10", "1.37.0", "2.0.0", "2.1", "v3.0.0", "1.36.11-musl", "1.36.12-rc1", "latest"]


@pytest.mark.parametrize(("current", "level", "regex", "expected"), [
    ("1.36.1", "patch", "", "1.36.10"), ("1.36.1", "minor", "", "1.37.0"), ("1.36.1", "major", "", "2.0.0"),
    ("1.36.10", "patch", "", ""), ("2.0.0", "major", "", ""), ("1.36.1-musl", "patch", "", "1.36.11-musl"),
    ("v2.0.0", "major", "", "v3.0.0"), ("2.0", "minor", "", "2.1"), ("2.0", "patch", "", ""), ("latest", "major", "", ""),
    ("1.36.1", "major", "^1", "1.37.0"), ("1.36.1", "major", "none", ""),
])
def test_upgrade(current, level, regex, expected):
    for tags in (TAGS, TAGS[::-1]):
        assert next(iter(versions.upgrades(tags, current, level, regex)), "") == expected


def test_upgrades_in_their_order():
    assert versions.upgrades(TAGS, "1.36.0", "minor") == ["1.37.0", "1.36.10", "1.36.2", "1.36.1"]


def test_upgrade_with_a_malformed_regex():
    with pytest.raises(DockinError, match="regular expression"):
        versions.upgrades(TAGS, "1.36.1", "patch", "(")


@pytest.mark.parametrize(("tag", "expected"), [
    ("1.36.1", True), ("v2.0.0", True), ("1.36.1-alpine", True), ("1.36", False), ("latest", False), ("bookworm", False),
])
def test_tag_of_one_release(tag, expected):
    assert versions.is_exact(tag) == expected


@pytest.mark.parametrize(("text", "insecure", "special"), [
    ("", False, ""),
    ('unqualified-search-registries = ["quay.io"]\n[aliases]\n"x" = "quay.io/x"\n', False, ""),
    ('[[registry]]\nlocation = "quay.io"\ninsecure = true\n', True, ""),
    ('[[registry]]\nprefix = "quay.io/org"\nlocation = "quay.io/org"\ninsecure=true # yes\n', True, ""),
    ("[[registry]]\nlocation = 'quay.io'\ninsecure = false\n", False, ""),
    ('[[registry]]\nlocation = "docker.io"\ninsecure = true\n', False, ""),
    ('[[registry]]\nprefix = "*.io"\ninsecure = true\n', True, ""),
    ('[[registry]]\nprefix = "quay.io"\nlocation = "mirror.example/quay"\n', False, "replaces quay.io"),
    ('[[registry]]\nlocation = "quay.io"\n[[registry.mirror]]\nlocation = "mirror.example"\n', False, "mirrors of quay.io"),
    ('[[registry]]\nlocation = "quay.io"\nmirror = [{location = "x"}]\n', False, "mirrors of quay.io"),
    ('[[registry]]\nlocation = "quay.io"\nblocked = true\n', False, "sets blocked"),
    ('[[registry]]\nlocation = "quay.io"\ninsecure = true\n[[registry]]\nprefix = "quay.io/org"\nlocation = "x.example"\n',
     False, "x.example"),
    ('[registries.insecure]\nregistries = ["quay.io"]\n', False, "old form"),
    ('credential-helpers = ["secretservice"]\n', False, "credential-helpers"),
])
def test_registries_conf(tmp_path, text, insecure, special):
    path = tmp_path / "registries.conf"
    path.write_text(text)
    route = registriesconf.RegistriesConf(str(path), {}).route("quay.io", "org/app")
    assert route.insecure == insecure
    assert special in route.special
    assert bool(special) == bool(route.special)


def test_registries_conf_of_the_user_and_drop_ins(tmp_path):
    folder = tmp_path / "containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    (folder / "registries.conf").write_text('[[registry]]\nlocation = "a.example"\ninsecure = true\n')
    (folder / "registries.conf.d" / "x.conf").write_text('[[registry]]\nlocation = "b.example"\ninsecure = true\n')
    conf = registriesconf.RegistriesConf("", {"XDG_CONFIG_HOME": str(tmp_path)})
    assert conf.route("a.example", "x").insecure
    assert conf.route("b.example", "x").insecure
    assert not conf.route("c.example", "x").insecure
    with pytest.raises(DockinError, match="Can't read .*none"):
        registriesconf.RegistriesConf(str(tmp_path / "none"), {})


def test_a_drop_in_replaces_what_is_said_of_a_registry_before(tmp_path):
    folder = tmp_path / "containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    entry = '[[registry]]\nlocation = "a.example"\ninsecure = {}\n'
    for name, insecure in (("registries.conf", "true"), ("registries.conf.d/x.conf", "false")):
        (folder / name).write_text(entry.format(insecure))
    assert not registriesconf.RegistriesConf("", {"XDG_CONFIG_HOME": str(tmp_path)}).route("a.example", "x").insecure


def login_file(tmp_path, document):
    path = tmp_path / "auth.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return credentials.Credentials(str(path), {"PATH": ""})


def auth(user, password="secret"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(("key", "registry", "found"), [
    ("https://index.docker.io/v1/", "docker.io", True), ("docker.io", "docker.io", True),
    ("index.docker.io", "docker.io", True), ("docker.io/library", "docker.io", True),
    ("docker.io/other", "docker.io", False), ("https://quay.io", "quay.io", True),
    ("quay.io", "quay.io", True), ("quay.io:8443", "quay.io", False), ("quay.io/library/app", "quay.io", True),
    ("quay.io/library/ap", "quay.io", False),
])
def test_keys_of_logins(tmp_path, key, registry, found):
    login = login_file(tmp_path, {"auths": {key: auth("me")}}).find(registry, "library/app")
    assert (login is not None) == found


def test_the_longest_path_counts(tmp_path):
    keys = ("quay.io", "quay.io/org", "quay.io/org/app", "quay.io/organisation")
    store = login_file(tmp_path, {"auths": {key: auth(key.replace("/", "-")) for key in keys}})
    assert store.find("quay.io", "org/app").user == "quay.io-org-app"
    assert store.find("quay.io", "org/other").user == "quay.io-org"
    assert store.find("quay.io", "else").user == "quay.io"


@pytest.mark.parametrize(("text", "found"), [
    ("dTpw", "dTpw"), ("dTpw\n", "dTpw"), ("dT\r\npw", "dTpw"), ("dTrp", "dTrp"), ("aHVudGVyMg==", None), ("", None),
])
def test_logins_as_skopeo_reads_them(tmp_path, text, found):
    """Line ends don't matter, nor which bytes a password has; without a colon it is none."""
    login = login_file(tmp_path, {"auths": {"quay.io": {"auth": text}}}).find("quay.io", "app")
    assert (login.basic if login else None) == (found and f"Basic {found}")


@pytest.mark.parametrize("document", [
    "not json hunter2", '["hunter2"]', {"auths": {"quay.io": {"auth": "hunter2!"}}},
    {"credHelpers": {"quay.io": "none-such"}},
])
def test_login_files_that_are_wrong(tmp_path, document):
    with pytest.raises(credentials.CredentialError) as caught:
        login_file(tmp_path, document).find("quay.io", "app")
    text = str(caught.value)
    assert "hunter2" not in text and "aHVudGVyMg" not in text
    assert str(tmp_path) in text


def test_a_login_does_not_show_itself(tmp_path):
    entry = {**auth("me", "hunter2"), "identitytoken": "token3"}
    login = login_file(tmp_path, {"auths": {"quay.io": entry}}).find("quay.io", "x")
    assert (login.user, login.password, login.identity_token) == ("me", "hunter2", "token3")
    assert "hunter2" not in repr(login) and "token3" not in repr(login)
    assert credentials.describe([login.origin], "quay.io") == f"{login.origin} (has a login for quay.io)"


@pytest.mark.parametrize(("text", "expected"), [
    ("2026-10-02T12:00:00Z", "2026-10-02T12:00:00+00:00"), ("2026-10-02T12:00:00.123456789Z", "2026-10-02T12:00:00+00:00"),
    ("2026-10-02T12:00:00.5+02:00", "2026-10-02T12:00:00+02:00"), ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:59"),
    ("", None), ("yesterday", None), ("2026-10-02T12:00:00", None), ("2026-10-02", None), ("20261002T120000Z", None),
    ("2026-10-02 12:00:00Z", None), ("2026-10-02t12:00:00z", None), (" 2026-10-02T12:00:00Z", None),
    ("2026-10-02T12:00:00Z\n", None), ("2026-10-02\ud80012:00:00Z", None), ("2026-10-02\x1b12:00:00", None),
    ("٢٠٢٦-10-02T12:00:00Z", None), ("2026-13-02T12:00:00Z", None), ("2026-10-02T12:00:00+24:00", None),
    ("2026-10-02T12:00:00.Z", None), ("2026-10-02T12:00:00." + "1" * 31 + "Z", None), ("2026-W40-5T12:00:00Z", None),
])
def test_times_of_configs(text, expected):
    """RFC 3339 and nothing else: what a config says is shown as it is."""
    time = manifests.moment(text)
    assert (time.isoformat() if time else None) == expected


@pytest.mark.parametrize(("name", "value"), [("FETCHCMD_docker", 'sko"peo'), ("DOCKIN_TLS_VERIFY", "perhaps")])
def test_settings_that_are_wrong(name, value):
    with pytest.raises(DockinError, match=f"Invalid {name} = .*{value}"):
        settings.options({name: value}.get)


@pytest.mark.parametrize(("value", "expected"), [
    (None, True), ("", True), ("1", True), ("Yes", True), ("0", False), ("No", False), ("false", False)])
def test_tls_verify_as_bitbake_reads_booleans(value, expected):
    assert settings.options({"DOCKIN_TLS_VERIFY": value}.get).tls_verify == expected


@pytest.mark.parametrize("path", sorted(
    str(path.relative_to(LIB)) for path in LIB.glob("*/*.py") if "\nimport dockin." in path.read_text()))
def test_what_is_used_by_its_full_name_is_imported(path):
    """Else it works only where something else has imported it."""
    tree = ast.parse((LIB / path).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & MODULES - imported


@pytest.mark.parametrize("path", sorted(str(path.relative_to(LIB.parent)) for pattern in (
    "classes/*.bbclass", "conf/*.conf", "recipes-*/*/*.bb") for path in LIB.parent.glob(pattern)))
def test_what_metadata_uses_by_its_full_name_is_imported(path):
    text, imports = (LIB.parent / path).read_text(), (LIB / "dockin" / "bbimports.py").read_text()
    imported = set(re.findall(r"^\s*import (dockin[\w.]+)$", text + imports, re.MULTILINE)) | {"dockin.dockerfetcher"}
    assert {name for name in MODULES if re.search(rf"(?<![\w./-]){re.escape(name)}\b", text)} <= imported


def test_nothing_is_imported_for_metadata_that_does_not_use_it():
    text = "".join(path.read_text() for pattern in ("classes/*.bbclass", "conf/*.conf", "recipes-*/*/*.bb")
                   for path in LIB.parent.glob(pattern))
    imports = (LIB / "dockin" / "bbimports.py").read_text()
    for name in re.findall(r"^import (dockin[\w.]+)$", imports, re.MULTILINE):
        assert re.search(rf"(?<![\w./-]){re.escape(name)}\b", text), name
