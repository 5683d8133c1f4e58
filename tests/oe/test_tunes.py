# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Each machine and tune of each release's OE-core gets the platform that its compiler flags call for, or an error.

What is expected is read off TUNE_CCARGS, thus from what GCC is told of the CPU; dockin.image.platforms sees
TARGET_ARCH, TUNE_FEATURES and MACHINEOVERRIDES. A flag that is not in the tables here fails the test, so a new
tune of OE-core can't go by unseen.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import typing

import pytest

from dockin.image import platforms

LIST_TUNES = pathlib.Path(__file__).with_name("list_tunes.py")

# What OE-core's machines get with their own defaults.
MACHINES = {
    "qemuarm": "linux/arm/v7",
    "qemuarm64": "linux/arm64/v8",
    "qemuarmv5": "linux/arm/v5",
    "qemuloongarch64": "linux/loong64",
    "qemumips": "linux/mips",
    "qemumips64": "linux/mips64",
    "qemuppc": None,
    "qemuppc64": "linux/ppc64le",
    "qemuriscv32": None,
    "qemuriscv64": "linux/riscv64",
    "qemux86": "linux/386",
    "qemux86-64": "linux/amd64",
}

# -march and -mcpu of 32-bit arm: the architecture version of an A-profile (or older) core that has images.
NONE = 0
ARM = {
    "armv4": NONE,
    "armv4t": NONE,
    "armv4t2": NONE,  # no such thing, but arch-armv4.inc writes it
    "arm9tdmi": NONE,
    "arm920t": NONE,
    "ep9312": NONE,
    "strongarm1100": NONE,
    "armv5t": 5,
    "armv5te": 5,
    "arm926ej-s": 5,
    "iwmmxt": 5,
    "xscale": 5,
    "armv6": 6,
    "arm1136jf-s": 6,
    "arm1176jz-s": 6,
    "armv7-a": 7,
    "armv7ve": 7,
    "cortex-a5": 7,
    "cortex-a7": 7,
    "cortex-a8": 7,
    "cortex-a9": 7,
    "cortex-a15": 7,
    "cortex-a17": 7,
    "armv8-a": 8,
    "cortex-a32": 8,
    # no MMU
    "armv6s-m": NONE,
    "armv7-m": NONE,
    "armv7e-m": NONE,
    "armv8-m.base": NONE,
    "armv8-m.main": NONE,
    "armv8.1-m.main": NONE,
    "cortex-m0": NONE,
    "cortex-m0plus": NONE,
    "cortex-m1": NONE,
    "cortex-m3": NONE,
    "cortex-m4": NONE,
    "cortex-m7": NONE,
    "cortex-m23": NONE,
    "cortex-m33": NONE,
    "cortex-m35p": NONE,
    "cortex-m55": NONE,
    "armv7-r": NONE,
    "armv8-r": NONE,
    "cortex-r4": NONE,
    "cortex-r4f": NONE,
    "cortex-r5": NONE,
    "cortex-r7": NONE,
    "cortex-r8": NONE,
    "cortex-r52": NONE,
    "cortex-r82": NONE,  # OE-core gives it TARGET_ARCH arm, though the core has no 32-bit state
}

# Tunes by name, with the platform that a person would tell: a check of the rule above as well.
BY_NAME = {
    "aarch64": "linux/arm64/v8",
    "aarch64_be": None,
    "arm1136jfshf": "linux/arm/v6",
    "arm1176jzs": "linux/arm/v5",
    "arm926ejs": "linux/arm/v5",
    "armv4t": None,
    "armv5te": "linux/arm/v5",
    "armv5tehf-vfp": "linux/arm/v5",
    "armv6": "linux/arm/v6",
    "armv6hf": "linux/arm/v6",
    "armv6-novfp": "linux/arm/v5",
    "armv7a": "linux/arm/v7",
    "armv7athf-neon-vfpv4": "linux/arm/v7",
    "armv7ab-neon": None,
    "armv7vethf-neon": "linux/arm/v7",
    "armv8a-crc-crypto": "linux/arm64/v8",
    "armv9a": "linux/arm64/v8",
    "core2-32": "linux/386",
    "corei7-64": "linux/amd64",
    "corei7-64-x32": "linux/amd64",
    "cortexa15thf-neon-vfpv4": "linux/arm/v7",
    "cortexa32": "linux/arm/v7",
    "cortexa53-crypto": "linux/arm64/v8",
    "cortexa72-cortexa53": "linux/arm64/v8",
    "cortexa7thf-neon-vfpv4": "linux/arm/v7",
    "cortexa8hf-neon": "linux/arm/v7",
    "cortexa9hf": "linux/arm/v7",
    "cortexm33": None,
    "cortexm4": None,
    "cortexr5hf": None,
    "cortexr52": None,
    "loongarch64": "linux/loong64",
    "mips32r2": "linux/mips",
    "mips32r2el-24kec": "linux/mipsle",
    "mips64": "linux/mips64",
    "mips64el-n32": "linux/mips64le",
    "mipsisa64r6el": None,
    "mips64-o32": "linux/mips",
    "octeon3": "linux/mips64",
    "powerpc": None,
    "ppc64p9": "linux/ppc64",
    "ppc64p9le": "linux/ppc64le",
    "ppce6500": None,
    "riscv32": None,
    "riscv64": "linux/riscv64",
    "riscv64nc": None,
    "riscv64nf": None,
    "sh4": None,
    "x86": "linux/386",
    "x86-64": "linux/amd64",
    "x86-64-v3": "linux/amd64",
    "xscale": "linux/arm/v5",
}


class Tune(typing.NamedTuple):
    """A tune as one file offers it."""

    file: str
    name: str
    default: bool
    target_arch: str
    features: str
    overrides: str
    flags: str


@pytest.fixture(scope="session")
def tunes(release):
    """Every tune of every machine and tune file of the release, as its own BitBake computes it."""
    if release.unavailable:
        pytest.skip(f"unavailable: {release.unavailable}")
    run = subprocess.run(
        [sys.executable, "-B", str(LIST_TUNES), str(release.bitbake.path), str(release.oecore.path)],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [Tune(*row) for row in json.loads(run.stdout)]


def expected(tune: Tune) -> str | None:
    """Say what the tune's CPU and ABI run, from the flags that GCC gets; None for no images."""
    flags = tune.flags.split()
    if tune.target_arch == "arm":
        return expected_arm(flags)
    if "-m64" in flags or "-mx32" in flags or "-m32" in flags:
        return expected_x86_or_power(flags)
    if any(flag.startswith("-mabi=") for flag in flags) and {"-EB", "-EL", "-meb", "-mel"} & {*flags}:
        return expected_mips(flags)
    if tune.name.startswith("riscv"):
        return expected_riscv(tune.name, flags)
    if "-march=loongarch64" in flags and "-mabi=lp64d" in flags:
        return "linux/loong64"
    if "-mbranch-protection=standard" in flags:  # what arch-arm64.inc gives to all of its 64-bit tunes
        return None if tune.name.endswith("_be") else "linux/arm64/v8"
    if tune.target_arch == "armeb":
        return None
    assert re.match(r"sh[34]|mcf|microblaze", tune.name), f"a tune that no rule here knows: {tune}"
    return None


def expected_arm(flags: list[str]) -> str | None:
    cpus = [flag.split("=")[1].split("+")[0] for flag in flags if flag.startswith(("-march=", "-mcpu="))]
    versions = {ARM[cpu] for cpu in cpus}
    assert len(versions) == 1, f"-march and -mcpu differ: {flags}"
    version = versions.pop()
    if version in (NONE, 5):
        return "linux/arm/v5" if version else None
    if version == 8:
        return "linux/arm/v7"
    fpu = {"-mfloat-abi=hard", "-mfloat-abi=softfp"} & {*flags}
    return f"linux/arm/v{version}" if fpu else "linux/arm/v5"


def expected_x86_or_power(flags: list[str]) -> str | None:
    if {"-mbig-endian", "-mlittle-endian"} & {*flags}:  # Power
        if "-m32" in flags:
            return None
        return "linux/ppc64" if "-mbig-endian" in flags else "linux/ppc64le"
    return "linux/386" if "-m32" in flags else "linux/amd64"


def expected_mips(flags: list[str]) -> str | None:
    if {"-march=mips32r6", "-march=mips64r6"} & {*flags}:
        return None
    bits = {"-mabi=32": "", "-mabi=n32": "64", "-mabi=64": "64"}[next(f for f in flags if f.startswith("-mabi="))]
    return f"linux/mips{bits}" + ("le" if {"-EL", "-mel"} & {*flags} else "")


def expected_riscv(name: str, flags: list[str]) -> str | None:
    """Images are built for RV64GC with the ABI lp64d, which is also what GCC builds for without flags."""
    march = next((flag[7:] for flag in flags if flag.startswith("-march=")), f"rv{name[5:7]}imafdc")
    abi = next((flag[6:] for flag in flags if flag.startswith("-mabi=")), "lp64d")
    extensions = re.fullmatch(r"rv64([a-z]+)(_\w+)*", march)
    return "linux/riscv64" if extensions and {*extensions[1]} >= {*"imafdc"} and abi == "lp64d" else None


def platform_of(tune: Tune) -> str | None:
    """Return what dockin makes of the tune; None for its error, which must name the way out."""
    try:
        return str(platforms.from_target(tune.target_arch, tune.features, tune.overrides))
    except platforms.PlatformError as error:
        for name in (f"TARGET_ARCH {tune.target_arch!r}", ";platform=", "DOCKIN_PLATFORM"):
            assert name in str(error)
        return None


def test_nothing_is_left_out(release, tunes):
    """The list has every machine and tune file that the checkout has, and no tune without an architecture."""
    folder = release.oecore.path / "meta" / "conf" / "machine"
    on_disk = {str(path.relative_to(folder)) for path in [*folder.glob("*.conf"), *folder.rglob("tune-*.inc")]}
    assert {tune.file for tune in tunes} == on_disk
    assert len(on_disk) > 100
    assert {tune.file for tune in tunes if tune.default} == on_disk
    assert not [tune for tune in tunes if not tune.target_arch or tune.target_arch == "INVALID"]


def test_each_tune_gets_its_platform(release, tunes, record_property):
    wrong = [
        f"{tune}: {platform_of(tune)} instead of {expected(tune)}" for tune in tunes if platform_of(tune) != expected(tune)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tunes)}", *wrong[:20]])
    names: dict[str | None, set[str]] = collections.defaultdict(set)
    for tune in tunes:
        names[platform_of(tune)].add(tune.name)
    counts = {str(platform): len(found) for platform, found in sorted(names.items(), key=str)}
    print(f"{release}: {len(tunes)} tunes in files, {len({tune.name for tune in tunes})} names: {counts}")
    record_property("tunes", len(tunes))
    assert set(names) == {*BY_NAME.values()}


def test_a_tune_is_the_same_in_all_files(tunes):
    platforms_of = collections.defaultdict(set)
    for tune in tunes:
        platforms_of[tune.name].add(platform_of(tune))
    assert not {name: found for name, found in platforms_of.items() if len(found) > 1}


def test_known_tunes(tunes):
    found = {tune.name: platform_of(tune) for tune in tunes if tune.name in BY_NAME}
    assert found == BY_NAME


def test_machines(tunes):
    machines = {tune.file[: -len(".conf")]: tune for tune in tunes if tune.default and tune.file.endswith(".conf")}
    assert {machine: platform_of(tune) for machine, tune in machines.items()} == MACHINES
