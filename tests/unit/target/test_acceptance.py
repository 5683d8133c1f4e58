# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.target.acceptance: which images DOCKIN_LICENSE_ACCEPTED accepts, and what it says of others."""

from __future__ import annotations

import re

import pytest

from dockin.image import reference
from dockin.target import acceptance

# value, what is accepted, what is not
TABLE = [
    ("docker.io/library/*", ["busybox", "library/redis:7", "index.docker.io/library/busybox"],
     ["org/app", "ghcr.io/library/busybox", "docker.io/library/a/b"]),
    ("docker.io/library/busybox", ["busybox", "busybox:1.36.1"],
     ["busybox2", "library/busybox/more", "ghcr.io/library/busybox"]),
    ("registry.example.com/team/*", ["registry.example.com/team/app"],
     ["registry.example.com/team/sub/app", "registry.example.com/teams/app", "registryxexample.com/team/app",
      "other.registry.example.com/team/app", "registry.example.com:5000/team/app"]),
    ("registry.example.com/team/**", ["registry.example.com/team/app", "registry.example.com/team/sub/app"],
     ["registry.example.com/teams/app", "registry.example.com/other/team/app"]),
    ("*.example.com/app", ["a.example.com/app"], ["a.example.com/b/app", "example.com/app"]),
    ("host:5000/**", ["host:5000/app", "host:5000/a/b"], ["host:5001/app", "host.example/app"]),
    ("localhost/*", ["localhost/app"], ["localhost:5000/app"]),
    ("MyACR.azurecr.io/team/*", ["MyACR.azurecr.io/team/a", "myacr.azurecr.io/team/a"], ["myacr.azurecr.io/b"]),
    ("myacr.azurecr.io/**", ["MyACR.azurecr.io/team/a"], ["MyACR2.azurecr.io/a"]),
    ("[::1]:5000/app", ["[::1]:5000/app"], ["[::2]:5000/app"]),
    ("ghcr.io/org/app-*", ["ghcr.io/org/app-web", "ghcr.io/org/app--x"], ["ghcr.io/org/app"]),
    ("ghcr.io/org/app  \t docker.io/**", ["ghcr.io/org/app", "busybox", "a/b"], ["quay.io/a/b"]),
    ("**", ["busybox", "localhost:5000/a/b/c"], []),
    ("", [], ["busybox"]),
    (" \n", [], ["busybox"]),
]


@pytest.mark.parametrize(("value", "accepted", "refused"), TABLE, ids=[row[0] for row in TABLE])
def test_patterns(value, accepted, refused):
    for text in accepted:
        assert acceptance.refusal([reference.parse(text)], value) == "", text
    for text in refused:
        assert acceptance.refusal([reference.parse(text)], value), text


def test_refusal_names_value_rule_and_remedy():
    images = [reference.parse(text) for text in ("org/b:1", "busybox", "ghcr.io/org/a", "org/b:2")]
    assert acceptance.refusal(images, "docker.io/library/*  quay.io/**") == (
        "Has images of 'docker.io/org/b', 'ghcr.io/org/a', which your DOCKIN_LICENSE_ACCEPTED = 'docker.io/library/*"
        " quay.io/**' does not accept: find out the licences of the software in them, and add the repository"
        " there if you may ship it"
    )


def test_tag_and_digest_do_not_matter():
    pinned = reference.parse("ghcr.io/org/app:v1@sha256:" + "0" * 64)
    assert acceptance.refusal([pinned], "ghcr.io/org/app") == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("busybox", "<registry>/<repository>"),
        ("library/*", "it names no registry; for Docker Hub write 'docker.io/library/*'"),
        ("docker.io/library/busybox:1.36", "without a tag"),
        ("docker.io/library/busybox@sha256:00", "without a tag"),
        ("docker.io/Library/*", "lower case"),
        ("docker://docker.io/library/*", "<registry>/<repository>"),
        ("docker.io/", "<registry>/<repository>"),
        ("/library/*", "<registry>/<repository>"),
        ("docker.io/library/[ab]", "<registry>/<repository>"),
        ("docker.io/library/busybo?", "'*' for any text in a component"),
        ("*", "'**' for any text"),
        ("docker.io/library/a,docker.io/library/b", "<registry>/<repository>"),
        ("docker.io/** library/*", "Invalid pattern 'library/*' in DOCKIN_LICENSE_ACCEPTED"),
    ],
)
def test_bad_patterns(value, said):
    with pytest.raises(acceptance.InvalidPattern, match=re.escape(said)):
        acceptance.refusal([], value)
