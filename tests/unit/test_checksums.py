# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""[file-checksums]: tasks run again when the code changes that they use, and for no other code."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from support import doors

LAYER = Path(__file__).resolve().parents[2]
IMPORTS = doors.all_imports(types=False)
# No text of an error is in a package. The fetcher imports more than do_unpack uses.
NOT_FOLLOWED = {"errors", "exitcodes", "dockerfetcher"}

DOCKIN, SBOM, DATAROOT = (f"classes/dockin{part}.bbclass" for part in ("", "-sbom", "-dataroot"))
PRELOAD = "recipes-support/dockin-preload/dockin-preload_1.0.bb"
# What each task runs: functions of the class, and modules that the fetcher uses for it.
TASKS = {
    # The digest in SRC_URI says what is fetched, but for the choice of the platform.
    (DOCKIN, "do_fetch"): ((), {"image.platforms"}),
    (DOCKIN, "do_unpack"): ((), {
        "dockerfetcher", "fetch.pins", "fetch.unpacking", "target.unpacked"}),
    (DOCKIN, "do_compile"): (("dockin_write_descriptions",), set()),
    (DOCKIN, "do_package_qa"): (("dockin_check_budget",), set()),
    (SBOM, "do_create_spdx"): (("dockin_name_images_in_spdx",), set()),
    (DATAROOT, "do_rootfs"): (("dockin_write_dataroot", "dockin_name_dataroot_in_spdx_30"), set()),
    (DATAROOT, "do_image"): (("dockin_take_dataroot_out", "dockin_put_dataroot_in"), set()),
    (DATAROOT, "do_image_dockin_ext4"): (("dockin_set_partition_size",), set()),
    (PRELOAD, "do_compile"): (("do_compile",), set()),
}


def functions(text: str) -> dict[str, str]:
    """Return {name: body} of the Python functions in a file of BitBake's."""
    tasks = re.findall(r"^(?:fakeroot )?python (\w+) ?\(\) ?\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return dict([*tasks, *re.findall(r"^def (\w+)\([^\n]*\n((?:    [^\n]*\n|\n)+)", text, re.MULTILINE)])


def modules_of(text: str, names: tuple[str, ...]) -> set[str]:
    """Return the modules that functions name in full, and those that they call."""
    known = functions(text)
    seen, left = set(), set(names)
    while left:
        seen |= left
        left = {other for name in left for other in known if re.search(rf"\b{other}\b", known[name])} - seen
    bodies = "".join(known[name] for name in seen)
    return {name for name in doors.modules() if re.search(rf"(?<![\w./-])dockin\.{re.escape(name)}\b", bodies)}


def needed(modules: set[str]) -> set[str]:
    """Return modules with all that they import."""
    found, left = set(), set(modules)
    while left:
        found |= left
        left = {other for name in left - NOT_FOLLOWED for other in IMPORTS[name]} - found
    return found - {"errors", "exitcodes"}


def listed(file: str, task: str) -> list[str]:
    """Return what a task's file-checksums name of lib/dockin, as patterns of modules."""
    text = (LAYER / file).read_text().replace("\\\n", " ")
    values = " ".join(re.findall(rf'^{task}\[file-checksums\] \+= "(.*)"$', text, re.MULTILINE))
    names = [word for names in re.findall(r"dockin_code\('([^']+)'", values) for word in names.split()]
    names += re.findall(r"/lib/\./dockin/(\S+)\.py:True", values)
    return [name.replace("/", ".") for name in names]


def used(file: str, task: str) -> set[str]:
    """Return the modules that a task uses."""
    names, modules = TASKS[file, task]
    return needed(modules_of((LAYER / file).read_text(), names) | modules)


def test_each_task_that_uses_code_is_looked_at() -> None:
    flags = {(file, task) for file in (DOCKIN, SBOM, DATAROOT, PRELOAD)
             for task in re.findall(r"^(\w+)\[file-checksums\]", (LAYER / file).read_text(), re.MULTILINE)}
    assert flags == set(TASKS)
    assert all(used(*task) for task in TASKS)


@pytest.mark.parametrize(("file", "task"), TASKS)
def test_a_task_depends_on_all_code_that_it_uses(file: str, task: str) -> None:
    patterns = listed(file, task)
    assert not {name for name in used(file, task) if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


@pytest.mark.parametrize(("file", "task"), TASKS)
def test_a_task_depends_on_no_code_that_it_does_not_use(file: str, task: str) -> None:
    assert not [pattern for pattern in listed(file, task) if not fnmatch.filter(used(file, task), pattern)]
