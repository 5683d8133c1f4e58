# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Programs that Go makes for the tests: made once, and a reason where they can't be had. Go is a script here."""

from __future__ import annotations

import pytest

from support import goprograms
from support.account import Unavailable

# Notes each call, and makes a program for each package, the version aside.
GO = r"""#!/bin/sh
set -e
echo "$*" >>"$CALLS"
case $1 in
mod)
    mkdir source
    : >source/vendor.mod; : >source/vendor.sum
    printf '{"Dir": "%s"}' "$PWD/source"
    ;;
install)
    [ ! -e vendor.mod ] || exit 1
    for argument; do
        case $argument in */cmd/*) name=${argument##*/}; : >"$GOBIN/${name%@*}" ;; esac
    done
    ;;
esac
"""
FAILURES = {
    "refused": ("go: example.com/x@v1: reading https://proxy/x.info: 403 Forbidden", Unavailable),
    "no network": ("dial tcp: lookup proxy.golang.org: no such host", Unavailable),
    "too old": ("note: module requires go >= 1.26.0 (running go 1.19)", Unavailable),
    "faulty": ("x.go:3:4: undefined: y", goprograms.ProgramsError),
}


@pytest.fixture
def put_go(tmp_path, monkeypatch):
    """Return a function that puts a script in the place of go; the cache is empty."""
    monkeypatch.setenv("DOCKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def put(text):
        path = tmp_path / "bin" / "go"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return put


def test_programs_are_made_once(put_go, tmp_path):
    put_go(GO)
    with pytest.raises(Unavailable, match="not made yet"):
        goprograms.directory()
    path = goprograms.make()
    assert goprograms.directory() == path == goprograms.make()
    assert {program.name for program in path.iterdir()} == {
        "dockerd", "docker", "containerd", "containerd-shim-runc-v2", "ctr"}
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 4 and "github.com/moby/moby/v2/cmd/dockerd@v" in calls[0]
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


@pytest.mark.parametrize("failure", FAILURES)
def test_programs_that_are_not_to_be_had(put_go, failure):
    words, error = FAILURES[failure]
    put_go(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    with pytest.raises(error, match=words.rpartition(":")[2].strip().split(" (")[0]):
        goprograms.make()
    assert goprograms.main() == (0 if error is Unavailable else 1)
    if error is Unavailable:
        with pytest.raises(Unavailable, match=words.rpartition(":")[2].strip().split(" (")[0]):
            goprograms.directory()
    # Another try has it.
    put_go(GO)
    assert goprograms.make() == goprograms.directory()


def test_no_go(put_go, monkeypatch):
    monkeypatch.setattr(goprograms.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Unavailable, match="no Go"):
        goprograms.make()
