# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The frame of the tests itself: no gap may pass for a success."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from support import cache, deb

TREE = pathlib.Path(__file__).resolve().parents[2]
RELEASES = ("scarthgap", "wrynose", "master")

SAMPLE = '''
import pytest

@pytest.fixture
def broken():
    yield
    raise RuntimeError("teardown")

@pytest.mark.parametrize("release", ["wrynose", "master"])
def test_pass(release): pass

def test_fail(): assert False

def test_unavailable(): pytest.skip("unavailable: no such thing here")

def test_silent_skip(): pytest.skip("not today")

@pytest.mark.skip
def test_marked_skip(): pass

@pytest.mark.skipif(True, reason="unavailable: a kernel that can")
def test_marked_unavailable(): pass

@pytest.mark.xfail
def test_xfail(): assert False

@pytest.mark.xfail(run=False)
def test_xfail_not_run(): assert False

def test_teardown(broken): pass

@pytest.mark.release("scarthgap")
def test_of_release(): pass

@pytest.mark.long
def test_long(): pass
'''
OUTCOMES = {
    "test_pass[wrynose]": ("passed", "wrynose"),
    "test_pass[master]": ("passed", "master"),
    "test_fail": ("failed", ""),
    "test_unavailable": ("skipped", ""),
    "test_silent_skip": ("failed", ""),
    "test_marked_skip": ("failed", ""),
    "test_marked_unavailable": ("skipped", ""),
    "test_xfail": ("failed", ""),
    "test_xfail_not_run": ("failed", ""),
    "test_teardown": ("failed", ""),
    "test_of_release": ("passed", "scarthgap"),
}


def run_pytest(folder, *options):
    """Run the frame's conftest on the files of a folder; return {test: record} and pytest's output."""
    shutil.copy(TREE / "tests" / "conftest.py", folder)
    report = folder / "report.json"
    done = subprocess.run(
        # Without Hypothesis, whose import takes longer than all else here.
        [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-c", str(TREE / "pyproject.toml"),
         f"--rootdir={folder}", f"--report={report}", *options, str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=50, check=False,
    )
    records = {test["id"].rpartition("::")[2]: test for test in json.loads(report.read_text())}
    return records, done


@pytest.mark.parametrize(
    "options", [[], ["-n", "2", "--dist", "loadgroup"]], ids=["one process", "xdist"]
)
def test_every_test_is_reported_once_with_its_outcome(tmp_path, options):
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    records, done = run_pytest(tmp_path, *options)
    assert {name: (test["outcome"], test["release"]) for name, test in records.items()} == OUTCOMES
    assert records["test_unavailable"]["reason"] == "unavailable: no such thing here"
    assert done.returncode == 1
    assert "a gap in the tests must show" in done.stdout


def test_a_release_stays_in_one_process(tmp_path):
    text = """
import os, pathlib, pytest
@pytest.mark.parametrize("release", ["wrynose", "master"])
@pytest.mark.parametrize("number", range(8))
def test_process(number, release):
    (pathlib.Path(__file__).parent / f"{release}.{os.getpid()}").touch()
"""
    (tmp_path / "test_sample.py").write_text(text)
    records, _ = run_pytest(tmp_path, "-n", "2", "--dist", "loadgroup")
    assert len(records) == 16
    processes = {release: set(tmp_path.glob(f"{release}.*")) for release in ("wrynose", "master")}
    assert {release: len(found) for release, found in processes.items()} == {"wrynose": 1, "master": 1}


def test_an_interrupted_test_has_not_passed(tmp_path):
    text = "def test_one(): pass\ndef test_interrupted(): raise KeyboardInterrupt\ndef test_later(): pass\n"
    (tmp_path / "test_sample.py").write_text(text)
    records, done = run_pytest(tmp_path)
    assert {name: test["outcome"] for name, test in records.items()} == {
        "test_one": "passed", "test_interrupted": "failed",
    }
    assert done.returncode == 2


def test_long_tests_run_when_asked_for(tmp_path):
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    records, _ = run_pytest(tmp_path, "-m", "long")
    assert list(records) == ["test_long"]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("import pytest; pytest.skip('not today', allow_module_level=True)", "failed"),
        ("import pytest; pytest.skip('unavailable: it', allow_module_level=True)", "skipped"),
        ("import no_such_module", "failed"),
        ("import pytest; pytest.importorskip('no_such_module')", "failed"),
    ],
    ids=["silent", "unavailable", "error", "importorskip"],
)
def test_a_module_that_does_not_load_is_reported(tmp_path, text, outcome):
    (tmp_path / "test_module.py").write_text(text)
    records, _ = run_pytest(tmp_path)
    assert [test["outcome"] for test in records.values()] == [outcome]


@pytest.fixture(scope="module")
def script():
    """scripts/test as a module."""
    loader = importlib.machinery.SourceFileLoader("dockin_scripts_test", str(TREE / "scripts" / "test"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    yield module
    del sys.modules[loader.name]


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_ci_gives_the_time_that_the_tiers_may_take(script, name):
    """Beside what the set-up into an empty cache takes, half an hour at most."""
    text = (TREE / name).read_text()
    minutes = [int(found) for found in re.findall(r"^ +timeout(?:-minutes)?: (\d+)", text, re.MULTILINE)]
    tiers, stages = script.TIERS, script.STAGES
    longest = [max(sum(tiers[tier].seconds for tier in sequence) for sequence in stage) for stage in stages]
    assert [tiers["lint"].seconds / 60 + 25 <= minutes[0], sum(longest) / 60 + 30 <= minutes[1]] == [True, True]
    assert len(minutes) == 2


@pytest.fixture(autouse=True)
def all_releases(monkeypatch):
    monkeypatch.delenv("DOCKIN_RELEASES", raising=False)


def test_releases_can_be_chosen(monkeypatch):
    assert tuple(map(str, cache.releases())) == RELEASES
    monkeypatch.setenv("DOCKIN_RELEASES", "master scarthgap")
    assert [str(release) for release in cache.releases()] == ["scarthgap", "master"]
    monkeypatch.setenv("DOCKIN_RELEASES", "master nonsense")
    with pytest.raises(ValueError, match="no release nonsense: there are scarthgap, wrynose, master"):
        cache.releases()


def records(outcome, release="", count=1, reason=""):
    """Return records as the plugin writes them."""
    record = {"id": "t", "outcome": outcome, "seconds": 1.0, "release": release, "reason": reason}
    return [record] * count


def every_release(outcome, reason=""):
    return [test for release in RELEASES for test in records(outcome, release, reason=reason)]


SUMMARIES = [
    ("all passed", {"unit": records("passed", count=3)}, 0, "3 passed, 0 failed, 0 skipped"),
    ("one failed", {"unit": records("passed") + records("failed")}, 1, "1 passed, 1 failed, 0 skipped"),
    ("a tier without tests", {"unit": records("passed"), "boot": []}, 1, "1 passed, 1 failed, 0 skipped"),
    ("nothing at all", {"unit": []}, 1, "0 passed, 1 failed, 0 skipped"),
    ("only skips", {"boot": records("skipped", reason="unavailable: x")}, 0, "0 passed, 0 failed, 1 skipped"),
    ("every release", {"oe": every_release("passed")}, 0, "3 passed, 0 failed, 0 skipped"),
    ("a release without tests", {"oe": every_release("passed")[1:]}, 1, "2 passed, 1 failed, 0 skipped"),
    (
        "a release that is unavailable",
        {"oe": every_release("passed")[1:] + every_release("skipped", "unavailable: x")[:1]},
        0,
        "2 passed, 0 failed, 1 skipped",
    ),
]


@pytest.mark.parametrize(
    ("tiers", "status", "last"), [case[1:] for case in SUMMARIES], ids=[case[0] for case in SUMMARIES]
)
def test_summary_counts_what_did_not_run(script, capsys, tiers, status, last):
    assert script.summary([script.Row(name, found, 1.0) for name, found in tiers.items()], 2.0) == status
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_summary_names_each_release_and_each_reason(script, capsys):
    found = every_release("passed")[1:] + every_release("skipped", "unavailable: no server")[:1]
    script.summary([script.Row("oe", found, 1.0)], 2.0)
    lines = capsys.readouterr().out.splitlines()
    verdicts = {line.split()[0]: line.split()[1] for line in lines if line.startswith("  ") and line.split()}
    assert {name: verdicts[name] for name in RELEASES} == {
        "scarthgap": "skipped", "wrynose": "ran", "master": "ran",
    }
    assert any("skipped 1: unavailable: no server" in line for line in lines)


def test_a_tier_that_does_not_end_is_stopped(script, tmp_path, monkeypatch, capsys):
    hanging = [sys.executable, "-c", "import time; print('hanging', flush=True); time.sleep(40)"]
    monkeypatch.setattr(script.Runner, "command", lambda self, tier, report: hanging)
    row = script.Runner(tmp_path, []).tier(script.Tier("unit", 1, seconds=1), prefix=True)
    assert row.verdict == "FAILED"
    assert "stopped after 1 s" in str(row)
    assert "unit    | hanging" in capsys.readouterr().out


@pytest.mark.parametrize("more", [
    "x\n", "Evil: x\n", "Description: y\n", "\n", " .\n\nPackage: b\n", " \x1b[2J\n", " \u2028x\n", "\t\n",
])
def test_control_file_that_says_more(more):
    control = "Package: a\nDescription: b\n c\n .\n"
    assert deb.strict_fields(control + "Depends: x, y (>= 1)\n") == {
        "Package": "a", "Description": "b\n c\n .", "Depends": "x, y (>= 1)"}
    with pytest.raises(ValueError, match="no field of OE-core's, or one twice|a line that is not text"):
        deb.strict_fields(control + more)
