# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What every tier shares: no silent skips, and a report that scripts/test makes its summary of.

tests/ and lib/ are on sys.path through pyproject.toml.
"""

from __future__ import annotations

import json
import pathlib
import re

import pytest

UNAVAILABLE = "unavailable: "
# Modules that share a release's builds with no other, and have a process of their own: a release's tests take the longest.
TOOLS = ("test_completion", "test_devtool", "test_guide", "test_refresh", "test_status")
RULE = f"skipped without a reason that begins with {UNAVAILABLE!r}: a gap in the tests must show"


def pytest_addoption(parser):
    parser.addoption("--report", metavar="FILE", help="write each test's outcome to FILE, as JSON")


def pytest_configure(config):
    report = config.getoption("--report")
    if report and not hasattr(config, "workerinput"):  # under xdist, the controller sees every outcome
        config.pluginmanager.register(Report(pathlib.Path(report)))


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(config, items):
    """Keep tests that share builds in one process; leave the tests marked long out unless -m asks for something."""
    for item in items:
        if _release(item):
            item.add_marker(pytest.mark.xdist_group(_release(item) + ("-tools" if item.path.stem in TOOLS else "")))
    if config.getoption("-m"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    _refuse_silent_skip(report)
    report.user_properties.append(("release", _release(item)))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report():
    report = yield
    _refuse_silent_skip(report)
    return report


def _refuse_silent_skip(report):
    """Turn a skip or an expected failure into a failure, unless it says what is unavailable."""
    if report.skipped and not _skip_reason(report).startswith(UNAVAILABLE):
        report.longrepr = f"{report.nodeid}: {RULE}\n(reason given: {_skip_reason(report)!r})"
        report.outcome = "failed"
        report.__dict__.pop("wasxfail", None)


def _skip_reason(report):
    if hasattr(report, "wasxfail"):
        return f"xfail {report.wasxfail}"
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _release(item):
    """Return the name of the release that a test is about, "" where it is about none."""
    marker = item.get_closest_marker("release")
    if marker:
        return str(marker.args[0])
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return str(parameters.get("release", ""))


class Report:
    """Gather the tests' outcomes and write them to a file when the session ends."""

    def __init__(self, path):
        self.path = path
        self.tests = {}

    def pytest_runtest_logreport(self, report):
        release = dict(report.user_properties).get("release", "")
        nodeid = re.sub(f"@{release}(-tools)?$", "", report.nodeid)  # which xdist adds for the group
        test = self.tests.setdefault(nodeid, {"outcome": "", "seconds": 0, "release": release, "reason": ""})
        test["seconds"] += report.duration
        if test["outcome"] != "failed" and not report.passed:
            test["outcome"] = report.outcome
            test["reason"] = _skip_reason(report) if report.skipped else report.when
        elif report.when == "teardown" and not test["outcome"]:
            test["outcome"] = "passed"

    def pytest_collectreport(self, report):
        if not report.passed:
            reason = _skip_reason(report) if report.skipped else "collection"
            self.tests[report.nodeid] = {
                "outcome": report.outcome, "seconds": 0, "release": "", "reason": reason,
            }

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self):
        for test in self.tests.values():
            if not test["outcome"]:
                test.update(outcome="failed", reason="not finished")
        tests = [{"id": nodeid, **test} for nodeid, test in self.tests.items()]
        self.path.write_text(json.dumps(tests, indent=1))
