# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.registry.runner and retries: how often skopeo is started, with a program in its place that fails as told."""

from __future__ import annotations

import os
import pathlib
import time

import pytest

from dockin.image import reference
from dockin.registry import retries, runner
from dockin.registry.client import ResolveError
from dockin.registry.skopeo import Options

APP = reference.parse("ghcr.io/org/app:v1")
OTHER = reference.parse("ghcr.io/org/other:v1")
NETWORK = "echo 'connection reset by peer' >&2; exit 1"
AUTH = "echo unauthorized >&2; exit 1"


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("network", 10), ("server", 10), ("rate-limited", 1), (retries.SILENT, 1),
        *((kind, 0) for kind in (
            "auth", "denied", "not-found", "tls", "login", "policy", "unsigned", "signer", "moved", "replaced", "sigstore",
            "signal", "disk", "file", "content", "other")),
    ],
)
def test_what_may_pass_is_tried_again(kind, most):
    """After a rate limit once, as skopeo has waited itself; after a time limit once, as each try lasts as long."""
    assert retries.of_skopeo(kind, 10) == most
    assert retries.of_skopeo(kind, 0) == 0


@pytest.fixture
def skopeo(tmp_path, monkeypatch):
    """Return what makes a Runner of a program that does one thing at each start, the last one from then on."""
    monkeypatch.setattr(retries, "_FIRST_DELAY", 0.0)

    def make(*scripts, timeout=60, version="skopeo version 1.9.3"):
        for number, script in enumerate(scripts):
            (tmp_path / f"{number}.sh").write_text(script)
        program = tmp_path / "skopeo"
        program.write_text(
            f'#!/bin/sh\ncd {tmp_path}\n[ "$1" = --version ] && {{ echo {version}; exit; }}\n'
            'number=$(wc -l < starts)\necho >> starts\n'
            f'[ -e $number.sh ] || number={len(scripts) - 1}\n. ./$number.sh\n')
        program.chmod(0o755)
        (tmp_path / "starts").write_text("")
        made = runner.Runner(Options((str(program),)), {"PATH": os.environ["PATH"]}, timeout, 3)
        return made, lambda: len((tmp_path / "starts").read_text())

    return make


def run(made, image=APP, **options):
    return made.run([made._options.command[0], "inspect"], image, **options)


def test_a_failure_that_passes(skopeo):
    made, starts = skopeo(NETWORK, NETWORK, "echo output")
    begun = []
    assert run(made, begin=lambda: begun.append(starts())) == b"output\n"
    assert begun == [0, 1, 2]


def test_a_registry_that_can_not_be_reached_costs_its_retries_once(skopeo):
    made, starts = skopeo(NETWORK)
    for image in (APP, OTHER):
        with pytest.raises(ResolveError, match="^connection reset by peer$") as caught:
            run(made, image)
        assert caught.value.kind == "network"
    assert starts() == 4


def test_a_registry_that_is_at_fault_costs_its_retries_once(skopeo):
    made, starts = skopeo("echo 'StatusCode: 503' >&2; exit 1")
    for image in (APP, OTHER):
        with pytest.raises(ResolveError) as caught:
            run(made, image)
        assert caught.value.kind == "server"
    assert starts() == 5


def test_silence_is_tried_once_more(skopeo, tmp_path):
    made, starts = skopeo("sleep 60 & echo $! >> helpers; wait", timeout=0.1)
    for image in (APP, OTHER):
        with pytest.raises(ResolveError, match=r"^ghcr.io has sent nothing of ghcr.io/org/app:v1 for 0.1 s") as caught:
            run(made, image)
        assert caught.value.kind == retries.SILENT
    helpers = (tmp_path / "helpers").read_text().split()
    assert starts() == len(helpers) == 2
    while any(_runs(pid) for pid in helpers):  # a signal takes a moment; pytest's time limit ends it
        time.sleep(0.01)


def _runs(pid):
    """Tell whether a process is there; one that nobody has waited for is not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_progress_is_no_silence(skopeo):
    made, _ = skopeo("sleep 2.5; echo output", timeout=1.5)
    assert run(made, progress=iter(range(100)).__next__) == b"output\n"


@pytest.mark.parametrize(("scripts", "count"), [((AUTH,), 1), (("echo", AUTH, "echo"), 3), (("echo", AUTH), 3)])
def test_a_token_that_has_run_out(skopeo, scripts, count):
    """What was let in before is asked once more; what was not has no login."""
    made, starts = skopeo(*scripts)
    try:
        run(made)
        run(made)
    except ResolveError as error:
        assert error.kind == "auth"
    assert starts() == count


def test_the_program_is_looked_at_first(skopeo):
    made, starts = skopeo("echo", version="skopeo version 1.2.0")
    with pytest.raises(ResolveError, match=r"skopeo 1\.2\.0 is too old"):
        run(made)
    assert not starts()
    with pytest.raises(ResolveError, match="^/nonexistent/skopeo is not there: install skopeo"):
        run(runner.Runner(Options(("/nonexistent/skopeo",)), {}, 60, 3))
