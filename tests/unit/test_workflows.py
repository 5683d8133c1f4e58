# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What CI is told of this layer: the same releases, branches and commands as stand in the tree, and no action that moves."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import subprocess

import pytest
import yaml

TREE = pathlib.Path(__file__).resolve().parents[2]
PINS = configparser.ConfigParser()
PINS.read(TREE / "tests" / "releases.ini")
WORKFLOWS = [*(TREE / ".github" / "workflows").glob("*.yml"), *(TREE / "contrib" / "github").glob("*.yml")]


def read(name):
    return yaml.load((TREE / name).read_text(), yaml.BaseLoader)


def commands(job):
    """Return what a job of either system runs."""
    return [*job.get("script", []), *(step["run"] for step in job.get("steps", []) if "run" in step)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash(path):
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_every_release_is_tested_by_commands_that_there_are():
    github, gitlab = read(".github/workflows/ci.yml")["jobs"], read(".gitlab-ci.yml")
    assert github["test"]["strategy"]["matrix"]["release"] == PINS.sections()
    assert github["test"]["env"]["DOCKIN_RELEASES"] == "${{ matrix.release }}"
    assert gitlab["test"]["parallel"]["matrix"] == [{"DOCKIN_RELEASES": PINS.sections()}]
    assert [commands(jobs["lint"]) for jobs in (github, gitlab)] == [["make lint"]] * 2
    weekly = "make ${{ github.event_name == 'schedule' && 'test-all' || 'test' }}"
    assert [commands(jobs["test"]) for jobs in (github, gitlab)] == [[weekly], ["make test"]]
    for target in ("lint", "test", "test-all"):
        argv = ["make", "--dry-run", target]
        done = subprocess.run(argv, cwd=TREE, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        assert f"scripts/{target.removesuffix('-all')}" in done.stdout


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_ci_starts_with_an_empty_cache(name):
    """So does .ci/run: what an earlier run left could hide a missing step."""
    assert not re.search(r"actions/cache|^\s*cache:", (TREE / name).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["contrib/github/dockin-refresh.yml", "contrib/gitlab/dockin-refresh.yml"])
def test_both_jobs_can_read_compose_files(name):
    document = read(name)
    if "jobs" in document:
        jobs = document["jobs"]
    else:
        jobs = {job: {**document[one["extends"]], **one} for job, one in document.items() if "extends" in one}
    assert len(jobs) == 2
    for job in jobs.values():
        assert "python3-yaml" in " ".join([*commands(job), *job.get("before_script", [])])


def scripts():
    """Return the shell scripts in the files for other layers, by file and job."""
    github, gitlab = read("contrib/github/dockin-refresh.yml")["jobs"], read("contrib/gitlab/dockin-refresh.yml")
    jobs = [("github", name, job) for name, job in github.items()]
    jobs += [("gitlab", name, job) for name, job in gitlab.items()]
    return {f"{where}-{name}-{number}": text for where, name, job in jobs for number, text in enumerate(commands(job))}


@pytest.mark.parametrize("script", [pytest.param(text, id=name) for name, text in scripts().items()])
def test_shell_in_workflows(script):
    # Variables are of the environment, which shellcheck does not know.
    argv = ["shellcheck", "--shell=bash", "--exclude=SC2154", "-"]
    done = subprocess.run(argv, input=script, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("release", PINS.sections())
def test_builds_are_brought_up_from_the_branches_that_are_tested(release):
    pins = PINS[release]
    wanted = {
        "bitbake": (pins["bitbake_url"], pins["bitbake_branch"]),
        "openembedded-core": (pins["oecore_url"], pins["oecore_branch"]),
    }
    repositories = read(f"contrib/kas/{release}.yml")["repos"]
    assert {name: (one["url"], one["branch"]) for name, one in repositories.items()} == wanted
    setup = TREE / "contrib" / "bitbake-setup" / f"dockin-{release}.conf.json"
    if release == "scarthgap":  # whose OE-core has no fragments
        assert not setup.exists()
        return
    remotes = {name: one["git-remote"] for name, one in json.loads(setup.read_text())["sources"].items()}
    assert {name: (one["uri"], one["branch"]) for name, one in remotes.items()} == wanted
    assert all(one["rev"] == one["branch"] for one in remotes.values())
