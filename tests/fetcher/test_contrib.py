# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""contrib/: the scripts of the GitHub workflow and the GitLab job, as they stand there, on a local remote and registry.

What only GitHub and GitLab have is stood in for: gh by a program that writes down how it was called, and push options by a
hook of the remote that writes them down.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support import images

TREE = Path(__file__).resolve().parent.parent.parent
SCRIPT = TREE / "contrib" / "refresh-branch"
SECONDS = 100
HOOK = """#!/bin/sh
i=0
while [ "$i" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "echo \\"\\$GIT_PUSH_OPTION_$i\\""
    i=$((i + 1))
done >>"$GIT_DIR/../options"
"""
GH = """#!/bin/sh
echo "$*" >>"$HOME/gh.log"
case "$2" in
    list)
        # A fork has a request from a branch of the same name.
        case $* in *"select(.isCrossRepository | not)"*) ;; *) echo 7 ;; esac
        [ ! -f "$HOME/gh.open" ] || echo 1 ;;
    create) touch "$HOME/gh.open" ;;
esac
"""


def content(name):
    return images.index([images.image([images.layer({"etc/name": name})], "linux/amd64")])


class Project:
    """A layer in a bare repository, and a CI runner's clone of it."""

    def __init__(self, directory, image, digest, cache):
        self.directory = directory
        self.remote = directory / "remote.git"
        self.clone = directory / "work" / "layer"
        self.environment = {
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "HOME": str(directory), "DOCKIN_TLS_VERIFY": "0",
            "PYTHONPYCACHEPREFIX": str(cache), "GIT_CONFIG_NOSYSTEM": "1", "DOCKIN_PUSH_TOKEN": "glpat-hunter2",
        }
        (directory / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.com\n"
                                              "[protocol \"file\"]\n\tallow = always\n")
        (directory / "bin").mkdir()
        (directory / "bin" / "gh").write_text(GH)
        (directory / "bin" / "gh").chmod(0o755)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote), cwd=directory)
        self.git("config", "receive.advertisePushOptions", "true", cwd=self.remote)
        hook = self.remote / "hooks" / "post-receive"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        self.clone.parent.mkdir()
        self.git("clone", "--quiet", str(self.remote), str(self.clone), cwd=directory)
        (self.clone / "conf").mkdir()
        (self.clone / "conf" / "layer.conf").write_text("")
        (self.clone / "app_1.0.bb").write_text(f'SRC_URI = "docker://{image}"\nSRC_URI[sha256sum] = "{digest[7:]}"\n')
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=start")
        self.git("push", "--quiet", "origin", "HEAD:main")

    def git(self, *arguments, cwd=None):
        return subprocess.run(["git", *arguments], cwd=cwd or self.clone, env=self.environment, check=True, text=True,
                              capture_output=True, timeout=SECONDS).stdout.strip()

    def on_remote(self, branch="dockin/refresh"):
        """Return what a branch of the remote stands for, "" if there is none."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", cwd=self.remote)

    def show(self, branch="dockin/refresh"):
        return self.git("show", f"{branch}:app_1.0.bb", cwd=self.remote)

    def refresh(self, *arguments, code=0):
        """Run contrib/refresh-branch, and return its last line."""
        done = subprocess.run([str(SCRIPT), *arguments], cwd=self.clone, env=self.environment, text=True,
                              capture_output=True, timeout=SECONDS, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.splitlines()[-1] if done.stdout else ""

    def shell(self, script, expected=0, **environment):
        """Run a script as a CI runner does, expect an exit code, and return what it prints."""
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=self.clone, text=True, timeout=SECONDS,
                              env={**self.environment, **environment}, capture_output=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def moving(server, request):
    """An image of this test's own, whose tag moves: (name for a recipe, digest, function that moves it)."""
    repository = f"contrib/{request.node.name.replace('[', '-').strip(']').lower()}"
    digest = server.push(content(repository), repository, "v1")
    return f"{server.address}/{repository};tag=v1", digest, lambda name: server.push(content(name), repository, "v1")


@pytest.fixture
def project(tmp_path, moving, tmp_path_factory):
    image, digest, _ = moving
    return Project(tmp_path, image, digest, tmp_path_factory.getbasetemp() / "bytecode-contrib")


def test_one_branch_that_is_kept_up_to_date(project, moving):
    _, old, move = moving
    assert project.refresh() == "nothing"
    assert project.on_remote() == ""

    first = move("first")
    assert project.refresh() == "pushed"
    assert first[7:] in project.show()
    assert old[7:] in project.show("main")
    pushed = project.on_remote()
    assert project.refresh() == "unchanged"
    assert project.on_remote() == pushed

    second = move("second")
    assert project.refresh() == "pushed"
    assert second[7:] in project.show()
    # Made anew: one commit on top of the base, whatever was there.
    assert project.git("rev-list", "--count", "main..dockin/refresh", cwd=project.remote) == "1"

    project.git("push", "--quiet", "origin", "dockin/refresh:main")
    assert project.refresh() == "removed"
    assert project.on_remote() == ""
    assert project.refresh() == "nothing"


def test_base_that_has_moved_on(project, moving):
    _, _, move = moving
    move("first")
    assert project.refresh() == "pushed"
    project.git("checkout", "--quiet", "-B", "main", "origin/main")
    (project.clone / "other.txt").write_text("more")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=more")
    project.git("push", "--quiet", "origin", "main")
    assert project.refresh() == "pushed"
    assert project.git("merge-base", "main", "dockin/refresh", cwd=project.remote) == project.on_remote("main")


def test_what_failed_is_the_exit_code_and_the_others_are_pushed(project, moving):
    _, _, move = moving
    (project.clone / "bad_1.0.bb").write_text('SRC_URI = "docker://${UNKNOWN}/x;tag=1"\n')
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=bad")
    project.git("push", "--quiet", "origin", "HEAD:main")
    moved = move("moved")
    report = project.directory / "report.md"
    assert project.refresh("--report", str(report), code=4) == "pushed"
    assert moved[7:] in project.show()
    assert "### Not refreshed" in report.read_text()


def test_branches_that_end_like_it(project, moving):
    """git ls-remote lists each ref that ends in what is asked for."""
    for name in ("x/refs/heads/dockin/refresh", "y/refs/heads/dockin/refresh"):
        project.git("push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
    others = project.git("for-each-ref", cwd=project.remote)
    assert project.refresh() == "nothing"
    new = moving[2]("moved")
    assert project.refresh() == "pushed"
    assert new[7:] in project.show()
    assert project.refresh() == "unchanged"
    project.git("push", "--quiet", "origin", "dockin/refresh:main")
    assert project.refresh() == "removed"
    left = project.git("for-each-ref", cwd=project.remote)
    assert left.replace(project.on_remote("main"), project.git("rev-parse", "origin/main~")) == others


@pytest.mark.parametrize(("arguments", "said"), [
    (["--base", "main", "--branch", "main"], "both 'main'"), (["--branch", "main"], "both 'main'"),
    (["--branch", "-d"], "'-d' is not a valid branch name"), (["--branch", "a*"], "Invalid branch name 'a*'"),
    (["--base", "--upload-pack=x"], "couldn't find remote ref"), (["--base", "a b"], "Invalid branch name 'a b'"),
    (["--remote", "--upload-pack=touch marked"], "marked"),
], ids=range(7))
def test_names_that_would_do_harm(project, moving, arguments, said):
    before = project.git("for-each-ref", cwd=project.remote)
    moving[2]("moved")
    done = subprocess.run([str(SCRIPT), *arguments], cwd=project.clone, env=project.environment, text=True,
                          capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode and said in done.stderr, done.stderr
    assert project.git("for-each-ref", cwd=project.remote) == before
    assert not (project.clone / "marked").exists()


@pytest.mark.parametrize("arguments", [["--base"], ["--nonsense"], ["refresh"]])
def test_wrong_usage(project, arguments):
    project.refresh(*arguments, code=2)


def test_options_go_to_dockin(project, moving):
    moving[2]("moved")
    assert project.refresh("--", "--exclude", "*") == "nothing"
    project.refresh("--", "--jobs", "0", code=2)


def read(name):
    """Return a file of contrib/ as YAML."""
    path = TREE / "contrib" / name
    return yaml.load(path.read_text(), yaml.BaseLoader)


def github(job):
    """Return the scripts of a job of the GitHub workflow by name, and the variables of the workflow."""
    document = read("github/dockin-refresh.yml")
    scripts = {step["name"]: step["run"] for step in document["jobs"][job]["steps"] if "run" in step}
    return scripts, {name: value for name, value in document["env"].items() if "${{" not in value}


def test_github_workflow(project, moving):
    _, old, move = moving
    (project.clone.parent / "meta-dockin").symlink_to(TREE)
    scripts, variables = github("refresh")
    assert list(scripts) == ["PyYAML", "Refresh", "Pull request", "Result"]
    checks, _ = github("check")
    assert list(checks) == ["PyYAML", "Check"]
    variables = {**variables, "BASE": "main", "BRANCH": "dockin/refresh", "RUNNER_TEMP": str(project.directory)}
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ENV"):
        variables[name] = str(project.directory / name)

    def run():
        """Do the steps as GitHub does: what one writes to GITHUB_ENV is in the environment of the next."""
        (project.directory / "GITHUB_ENV").write_text("")
        project.shell(scripts["Refresh"], **variables)
        lines = (project.directory / "GITHUB_ENV").read_text().splitlines()
        new = dict(line.split("=", 1) for line in lines)
        if new["outcome"] in ("pushed", "unchanged"):
            project.shell(scripts["Pull request"], **variables, **new)
        project.shell(scripts["Result"], **variables, **new)
        return new["outcome"]

    assert run() == "nothing"
    project.shell(checks["Check"], **variables)
    first = move("first")
    said = project.shell(checks["Check"], expected=3, **variables)
    # Not for the runner to obey.
    token = re.search(r"^::stop-commands::(\S{30,})$", said, re.M)[1]
    assert re.search(rf"^app:.*\n(?s:.*)^::{token}::$", said, re.M)
    assert old[7:14] in (project.directory / "GITHUB_STEP_SUMMARY").read_text()
    assert run() == "pushed"
    assert first[7:] in project.show()
    second = move("second")
    assert run() == "pushed"
    assert second[7:] in project.show()
    log = (project.directory / "gh.log").read_text().splitlines()
    assert [line.split()[1] for line in log] == ["list", "create", "list", "edit"]
    assert "--base main --title Refresh container image digests --body-file" in log[1]
    assert log[3].startswith("pr edit 1 --title")
    assert second[7:14] in (project.directory / "report.md").read_text()
    # On the branch of the pull request nothing is stale.
    project.shell(checks["Check"], **variables)
    assert "Signed-off-by: dockin refresh" in project.git("log", "-1", "dockin/refresh", cwd=project.remote)


def test_gitlab_job(project, moving):
    _, _, move = moving
    document = read("gitlab/dockin-refresh.yml")
    [script], [check] = document["dockin-refresh"]["script"], document["dockin-check"]["script"]
    assert document["dockin-refresh"]["extends"] == document["dockin-check"]["extends"] == ".dockin"
    # What GitLab clones: a repository with the tree as it is here.
    copy = project.directory / "meta-dockin"
    copy.mkdir()
    for name in ("contrib", "lib", "scripts"):
        subprocess.run(["cp", "-r", str(TREE / name), str(copy)], check=True, timeout=SECONDS)
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
        project.git(*arguments, cwd=copy)
    variables = {
        "CI_SERVER_HOST": "gitlab.example", "CI_PROJECT_DIR": str(project.clone), "CI_DEFAULT_BRANCH": "main",
        "CI_PROJECT_URL": f"file://{project.remote}"[:-len(".git")], "DOCKIN_URL": f"file://{copy}",
        "DOCKIN_BRANCH": "dockin/refresh", **document[".dockin"]["variables"],
    }
    project.shell(check, **variables)
    new = move("new")
    assert new[7:14] in project.shell(check, expected=3, **variables)
    assert "pushed" in project.shell(script, **variables)
    assert new[7:] in project.show()
    # On a runner that keeps its directories.
    assert "unchanged" in project.shell(script, **variables)
    options = (project.directory / "options").read_text().splitlines()
    assert sorted(options) == ["merge_request.create", "merge_request.remove_source_branch", "merge_request.target=main",
                               "merge_request.title=Refresh container image digests"]
    assert new[7:14] in (project.clone / "report.md").read_text()
    for path in (project.clone / ".git").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path
