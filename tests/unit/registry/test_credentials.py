# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.registry.credentials: where a login is looked for, told in words that hold no secret."""

from __future__ import annotations

import base64
import json
import os

import pytest

from dockin.registry import credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# The machine may be busy. The file of tmp_path is written anew by each example.
SETTINGS = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECRET = base64.b64encode(b"user:s3cret").decode()
LOGIN = {"auth": SECRET}


# Where it is looked for


@pytest.mark.parametrize(
    ("authfile", "environment", "expected"),
    [
        (
            "",
            {"HOME": "/home/u"},
            ["/run/containers/1000/auth.json", "/home/u/.config/containers/auth.json", "/home/u/.docker/config.json"],
        ),
        (
            "",
            {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1000", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"},
            ["/run/user/1000/containers/auth.json", "/c/containers/auth.json", "/d/config.json"],
        ),
        (
            "",
            {"HOME": "/home/u", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": ""},
            ["/run/containers/1000/auth.json", "/home/u/.config/containers/auth.json", "/home/u/.docker/config.json"],
        ),
        ("/ci/auth.json", {"HOME": "/home/u", "REGISTRY_AUTH_FILE": "/r/auth.json"}, ["/ci/auth.json"]),
        ("", {"HOME": "/home/u", "REGISTRY_AUTH_FILE": "/r/auth.json"}, ["/r/auth.json"]),
        ("", {"HOME": "/home/u", "REGISTRY_AUTH_FILE": "", "XDG_CONFIG_HOME": "/c"}, None),
    ],
    ids=["home", "all set", "all empty", "DOCKIN_AUTHFILE", "REGISTRY_AUTH_FILE", "REGISTRY_AUTH_FILE empty"],
)
def test_candidates(authfile, environment, expected):
    found = credentials.candidates(authfile, environment, 1000)
    if expected is None:
        assert len(found) == 3 and found[1] == "/c/containers/auth.json"
    else:
        assert found == expected


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}])
def test_candidates_without_a_home(environment):
    assert all(os.path.isabs(path) for path in credentials.candidates("", environment, 0))


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("ghcr.io", True),
        ("https://ghcr.io/v2/", True),
        ("ghcr.io/org", True),
        ("ghcr.io/org/app", True),
        ("ghcr.io/other", False),
        ("ghcr.io/org/ap", False),
        ("ghcr.io/org/app/part", False),
        ("https://other.ghcr.io", False),
    ],
)
def test_whose_login_an_entry_is(tmp_path, key, counts):
    """A repository does not get the login of another one."""
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {key: LOGIN}}))
    found = credentials.Credentials(str(path), {}).find("ghcr.io", "org/app")
    assert (found and found.user) == ("user" if counts else None)


# What is said of it


@pytest.mark.parametrize(
    ("document", "registry", "said"),
    [
        ({}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {}}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {"ghcr.io": LOGIN}}, "ghcr.io", "has a login for ghcr.io"),
        ({"auths": {"ghcr.io/org": LOGIN}}, "ghcr.io", "has a login for ghcr.io"),
        ({"auths": {"https://ghcr.io": LOGIN}}, "ghcr.io", "has a login for ghcr.io"),
        ({"auths": {"http://h:5000/v2/": LOGIN}}, "h:5000", "has a login for h:5000"),
        ({"auths": {"h:5000": LOGIN}}, "h:5001", "no login for h:5001"),
        ({"auths": {"h": LOGIN}}, "h:5000", "no login for h:5000"),
        ({"auths": {"other.ghcr.io": LOGIN}}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {"https://index.docker.io/v1/": LOGIN}}, "docker.io", "has a login for docker.io"),
        ({"auths": {"docker.io": LOGIN}}, "docker.io", "has a login for docker.io"),
        ({"auths": {"ghcr.io": {}}}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {"ghcr.io": None}}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {"ghcr.io": {}}, "credsStore": "pass"}, "ghcr.io", "its credsStore 'pass' is not asked by skopeo"),
        ({"auths": {"ghcr.io": LOGIN}, "credsStore": "pass"}, "ghcr.io", "has a login for ghcr.io"),
        ({"credHelpers": {"ghcr.io": "gh"}}, "ghcr.io", "asks the credential helper 'gh' for ghcr.io"),
        ({"credHelpers": {"ghcr.io": "gh"}}, "quay.io", "no login for quay.io"),
        ({"credHelpers": {"ghcr.io": "gh"}, "auths": {"ghcr.io": LOGIN}}, "ghcr.io", "asks the credential helper 'gh'"),
        ({"auths": [], "credHelpers": "x"}, "ghcr.io", "no login for ghcr.io"),
        ({"auths": {"ghcr.io": [SECRET]}, "credsStore": {SECRET: SECRET}}, "quay.io", "no login for quay.io"),
        ([], "ghcr.io", "no JSON object"),
        (None, "ghcr.io", "no JSON object"),
        (SECRET, "ghcr.io", "no JSON object"),
    ],
)
def test_state(tmp_path, document, registry, said):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(document))
    text = credentials.describe([str(path)], registry)
    assert text.startswith(f"{path} ({said}")
    assert SECRET not in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (SECRET.encode(), "no JSON"),
        (b'{"auths": {"ghcr.io": {"auth": "' + SECRET.encode(), "no JSON"),
        (b"\xff" + SECRET.encode(), "no JSON"),
        pytest.param(b"[" * 100_000, "no JSON", id="deep"),
    ],
)
def test_damaged_file(tmp_path, data, said):
    path = tmp_path / "auth.json"
    path.write_bytes(data)
    assert credentials.describe([str(path)], "ghcr.io") == f"{path} ({said})"


def test_files_that_can_not_be_read(tmp_path):
    paths = [str(tmp_path / "none" / "auth.json"), str(tmp_path)]
    first, second = credentials.describe(paths, "ghcr.io").split(", ")
    assert first == f"{paths[0]} (not there)"
    assert second == f"{paths[1]} (Is a directory)"


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(LOGIN),
    lambda inner: st.dictionaries(st.sampled_from(["ghcr.io", "https://ghcr.io/v2/", "", "auth"]), inner, max_size=2)
    | st.lists(inner, max_size=2),
    max_leaves=4,
)


@SETTINGS
@given(st.dictionaries(st.sampled_from(["auths", "credHelpers", "credsStore", "x"]), VALUES, max_size=4))
def test_any_file_is_told_of(tmp_path, document):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(document))
    assert credentials.describe([str(path)], "ghcr.io").startswith(str(path))
