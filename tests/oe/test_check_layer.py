# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""yocto-check-layer passes, without meta-virtualization: over a few recipes in every test run, over all of OE-core in
`make check-layer`."""

from __future__ import annotations

import pytest

# Recipes without dependencies, so that the others need not be there.
FEW = ("bsp/formfactor/", "core/base-files/", "core/os-release/", "devtools/gnu-config/")
QUICK_SECONDS = 300
FULL_SECONDS = 2300


def check(bench, build, seconds):
    result = build.run("yocto-check-layer", str(bench.layer), timeout=seconds)
    if result.returncode != 0 or f"{bench.layer.name} ... PASS" not in result.output:
        raise result.failure("did not pass")
    return result.output


def test_check_layer_with_a_few_recipes(bench):
    build = bench.build("check-layer", layers=[], recipes=FEW, virtualization=False)
    output = check(bench, build, QUICK_SECONDS)
    assert "test_signatures" in output


@pytest.mark.long
def test_check_layer_with_all_of_oe_core(bench):
    build = bench.build("check-layer-full", layers=[], stand_ins=False)
    check(bench, build, FULL_SECONDS)
