# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""lib/oeqa/runtime/cases/dockin_preload.py against a booted machine, by the runner that testimage has in each release.

The target is ours: it enters the machine, which has no way out for an ssh.
"""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path

import pytest

from support import cache, machine, packages
from support.samples import APP

CASES = Path(__file__).resolve().parents[2] / "lib" / "oeqa" / "runtime" / "cases"
SECONDS = 120
# Arguments: a command that runs others in the machine, as JSON; the cases' directory; then what is to be on sys.path.
RUNNER = """
import json, logging, subprocess, sys
inside, cases, *path = sys.argv[1:]
sys.path[:0] = path
from oeqa.core.target import OETarget
from oeqa.runtime.context import OERuntimeTestContext

class Inside(OETarget):
    def run(self, command, timeout=None, **options):
        argv = [*json.loads(inside), "sh", "-c", command]
        done = subprocess.run(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout)
        return done.returncode, done.stdout.rstrip("\\n")

    start = stop = copyTo = copyFrom = copyDirTo = copyDirFrom = deleteFiles = deleteDir = deleteDirStructure = None

logging.basicConfig(level=logging.INFO, stream=sys.stdout)
logger = logging.getLogger("runner")
data = {"DISTRO_FEATURES": "systemd", "IMAGE_FEATURES": "", "MLPREFIX": ""}
context = OERuntimeTestContext(data, logger, Inside(logger), {"dockin-preload", "apps"}, "")
context.loadTests([cases], modules=["dockin_preload"])
result = context.runTests()
print(json.dumps({"run": result.testsRun, "skipped": [str(case) for case, _ in result.skipped],
                  "bad": [[case.id(), text] for case, text in result.failures + result.errors]}))
"""


def run_cases(release, system, folder):
    """Run the cases; return what came of them."""
    script = folder / "runner.py"
    script.write_text(RUNNER)
    path = [str(release.oecore.path / "meta" / "lib"), str(release.bitbake.path / "lib")]
    argv = [sys.executable, "-B", str(script), json.dumps(system.inside()), str(CASES), *path]
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=SECONDS, env=machine.ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_runtime_cases(built, make_machine, tmp_path):
    releases = [release for release in cache.releases() if not release.unavailable]
    if not releases:
        pytest.skip(f"unavailable: OE-core, whose runner this is: {cache.releases()[-1].unavailable}")
    one = make_machine()
    one.install(*built["apps"])
    with one.boot() as system:
        for release in releases:
            assert run_cases(release, system, tmp_path) == {"run": 2, "skipped": [], "bad": []}, release
        # Gone, and its archive with it.
        system.run("docker", "rmi", packages.familiar(APP))
        [[case, text]] = run_cases(releases[-1], system, tmp_path)["bad"]
        assert case.endswith(".test_images") and "dockin-preload status --json: exit code 1" in text and APP in text
    # The unit finds that out at the next boot.
    with one.boot() as system:
        assert system.state == "degraded"
        bad = dict(run_cases(releases[-1], system, tmp_path)["bad"])
        assert sorted(name.rpartition(".")[2] for name in bad) == ["test_images", "test_units"]
        assert all(packages.unit(APP) in text for name, text in bad.items() if name.endswith("units"))
