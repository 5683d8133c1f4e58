# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The layer's cases for OE-core's own test runners: oe-selftest in a build directory, testimage in BitBake's worker."""

from __future__ import annotations

import re
import shutil

import pytest

# What do_testimage does before it starts a machine, in the process that it does it in.
LOAD = """
INHIBIT_DEFAULT_DEPS = "1"
inherit nopackages
python do_load_cases() {
    import logging
    from oeqa.runtime.context import OERuntimeTestContext
    from oeqa.runtime.context import OERuntimeTestContextExecutor
    import oeqa.runtime

    paths = [path + "/lib/oeqa/runtime/cases" for path in d.getVar("BBPATH").split(":")]
    context = OERuntimeTestContext({}, logging.getLogger("dockin"), None, set(), "")
    context.loadTests([path for path in paths if os.path.isdir(path)], modules=["ping", "dockin_preload"])
    bb.plain("cases: " + " ".join(sorted(case.id() for case in oeqa.core.utils.test.getSuiteCases(context.suites))))
}
do_load_cases[nostamp] = "1"
addtask load_cases
"""


@pytest.mark.release("wrynose")
@pytest.mark.timeout(900)
def test_selftest(bench):
    run_selftest(bench)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_selftest_of_each_release(bench):
    run_selftest(bench)


def run_selftest(bench):
    """As a user has it, but for meta-selftest's own recipes, which append to recipes that the test bed has not."""
    shutil.copytree(bench.release.oecore.path / "meta-selftest", bench.core / "meta-selftest", dirs_exist_ok=True)
    build = bench.build("selftest", 'BBMASK += "/meta-selftest/recipes-test/"\n')
    # BitBake's server stays for the next command, but not for longer than oe-selftest waits for its end.
    build.environment["BB_SERVER_TIMEOUT"] = "4"
    result = build.run("oe-selftest", "-r", "dockin", timeout=600)
    assert result.returncode == 0, result.output
    assert re.search(r"RESULTS - dockin\.Dockin\.test_life_of_a_recipe: PASSED", result.output), result.output
    assert re.search(r"OK - All required tests passed \(successes=1, skipped=0,", result.output), result.output


@pytest.mark.release("wrynose")
def test_cases_of_testimage_are_found(shop):
    """In BitBake's worker, which has imported a package named dockin before oeqa imports all cases that it finds."""
    build = shop.build("testimage")
    build.recipe("cases_1.0.bb", LOAD)
    output = build.bitbake("-c", "load_cases", "cases").ok().output
    [found] = re.findall(r"^cases: (.*)$", output, re.M)
    assert found.split() == [
        *(f"dockin_preload.DockinPreload.test_{name}" for name in ("images", "units")), "ping.PingTest.test_ping"]
