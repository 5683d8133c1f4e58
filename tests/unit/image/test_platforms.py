# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.image.platforms: spelling, the target's platform, what runs on what."""

from __future__ import annotations

import itertools
import re

import pytest

from dockin.errors import DockinError
from dockin.image import platforms
from dockin.image.platforms import Platform, PlatformError
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(deadline=None)  # the machine may be busy

# Everything that parse takes, from the specification's side: independent from the module's tables.
ARM64_VARIANTS = ["v8", *(f"v8.{n}" for n in range(1, 10)), "v9", *(f"v9.{n}" for n in range(1, 8))]
VARIANTS = {
    "amd64": ["", "v2", "v3", "v4"],
    "arm": ["v5", "v6", "v7", "v8"],
    "arm64": ARM64_VARIANTS,
    "ppc64le": ["", "power9", "power10"],
    "riscv64": ["", "rva22u64", "rva23u64"],
}
PLAIN = ["386", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "s390x"]
RARE = ["arm64be", "armbe", "ppc", "riscv", "s390", "sparc", "sparc64"]
EVERY_PLATFORM = [Platform("linux", name) for name in PLAIN + RARE] + [
    Platform("linux", name, variant) for name, variants in VARIANTS.items() for variant in variants
]
EXISTING = st.sampled_from(EVERY_PLATFORM)
FOREIGN = [
    Platform("unknown", "unknown"),
    Platform("windows", "amd64"),
    Platform("linux", "arm", "v4"),
    Platform("linux", "arm64", "v10"),
    Platform("linux", "", ""),
    Platform("", "", ""),
]
ENTRIES = st.lists(st.one_of(st.none(), EXISTING, st.sampled_from(FOREIGN)), max_size=12)


def platform(text: str) -> Platform:
    """A platform with exactly these parts, whether it exists or not."""
    return Platform(*text.split("/"))


# Spelling


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/x86_64/v2", "linux/amd64/v2"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/386", "linux/386"),
        ("linux/i386", "linux/386"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/8", "linux/arm64/v8"),
        ("linux/arm64/v8.0", "linux/arm64/v8"),
        ("linux/arm64/8.2", "linux/arm64/v8.2"),
        ("linux/arm64/V9", "linux/arm64/v9"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/aarch64", "linux/arm64/v8"),
        ("linux/aarch64/v9.2", "linux/arm64/v9.2"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/v5", "linux/arm/v5"),
        ("linux/arm/v8", "linux/arm/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armhf/v7", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armel/6", "linux/arm/v6"),
        ("linux/riscv64", "linux/riscv64"),
        ("linux/riscv64/rva20u64", "linux/riscv64"),
        ("linux/riscv64/rva23u64", "linux/riscv64/rva23u64"),
        ("linux/ppc64le/power8", "linux/ppc64le"),
        ("linux/ppc64le/power10", "linux/ppc64le/power10"),
        ("linux/mips64le", "linux/mips64le"),
        ("linux/loong64", "linux/loong64"),
        ("linux/s390x", "linux/s390x"),
        ("linux/ppc", "linux/ppc"),
    ],
)
def test_parse(text, expected):
    parsed = platforms.parse(text)
    assert str(parsed) == expected
    assert parsed.slug == expected.replace("/", "-")
    assert parsed == platforms.parse(expected)
    assert hash(parsed) == hash(platforms.parse(expected))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "such as linux/arm64"),
        ("linux", "such as linux/arm64"),
        ("amd64", "such as linux/arm64"),
        ("linux/", "such as linux/arm64"),
        ("/amd64", "such as linux/arm64"),
        ("linux/arm/", "such as linux/arm64"),
        ("linux//v7", "such as linux/arm64"),
        ("linux/arm/v7/x", "such as linux/arm64"),
        ("linux/arm v7", "such as linux/arm64"),
        (" linux/arm", "such as linux/arm64"),
        ("linux/arm\n", "such as linux/arm64"),
        ("linux/$(reboot)", "such as linux/arm64"),
        ("linux/*", "such as linux/arm64"),
        ("linux/ārm", "such as linux/arm64"),
        ("windows/amd64", "the target's is linux"),
        ("arm64/v8", "write linux/<architecture>"),
        ("unknown/unknown", "the target's is linux"),
        ("linux/unknown", "known are 386, amd64, arm, arm64,"),
        ("linux/armv7", "known are 386, amd64, arm, arm64,"),
        ("linux/powerpc64le", "OCI's name for it is ppc64le"),
        ("linux/mipsel", "OCI's name for it is mipsle"),
        ("linux/loongarch64", "OCI's name for it is loong64"),
        ("linux/i686", "OCI's name for it is 386"),
        ("linux/amd64/v5", "it has v1, v2, v3, v4"),
        ("linux/amd64/v0", "it has v1, v2, v3, v4"),
        ("linux/arm/v4", "it has v5, v6, v7, v8"),
        ("linux/arm/v9", "it has v5, v6, v7, v8"),
        ("linux/arm/v7l", "it has v5, v6, v7, v8"),
        ("linux/arm/hf", "it has v5, v6, v7, v8"),
        ("linux/arm64/v7", "it has v8, v8.1 to v8.9, v9, v9.1 to v9.7"),
        ("linux/arm64/v8.10", "it has v8, v8.1 to v8.9"),
        ("linux/arm64/v9.8", "it has v8, v8.1 to v8.9"),
        ("linux/arm64/v10", "it has v8, v8.1 to v8.9"),
        ("linux/armhf/v6", "armhf means arm/v7; write linux/arm/<variant>"),
        ("linux/armel/v5", "armel means arm/v6; write linux/arm/<variant>"),
        ("linux/386/sse2", "write linux/386"),
        ("linux/i386/v1", "write linux/386"),
        ("linux/s390x/z13", "write linux/s390x"),
        ("linux/mips/softfloat", "write linux/mips"),
        ("linux/riscv64/gc", "it has rva20u64, rva22u64, rva23u64"),
        ("linux/ppc64le/power7", "it has power8, power9, power10"),
    ],
)
def test_parse_refuses(text, said):
    with pytest.raises(PlatformError) as caught:
        platforms.parse(text)
    assert repr(text) in str(caught.value)
    assert said in str(caught.value)
    assert isinstance(caught.value, DockinError)


@SETTINGS
@given(EXISTING)
def test_a_platform_is_read_as_it_is_written(existing):
    assert platforms.parse(str(existing)) == existing
    assert platforms.parse(str(existing).upper()) == existing


def test_each_platform_has_a_spelling_and_a_slug_of_its_own():
    assert len({str(each) for each in EVERY_PLATFORM}) == len(EVERY_PLATFORM)
    assert len({each.slug for each in EVERY_PLATFORM}) == len(EVERY_PLATFORM)


@SETTINGS
@given(st.one_of(st.text(), st.from_regex(r"linux/[a-z0-9_]{1,8}(/v?[0-9.]{1,4})?", fullmatch=True)))
def test_parse_returns_what_exists_or_refuses(text):
    try:
        parsed = platforms.parse(text)
    except PlatformError as error:
        assert repr(text) in str(error)
    else:
        assert parsed in EVERY_PLATFORM


NEARLY = st.from_regex(r"v?[0-9]{1,2}(\.[0-9]){0,2}|power[0-9]{1,2}|rva2[0-3]u64", fullmatch=True)


@SETTINGS
@given(
    st.one_of(st.just("linux"), st.text()),
    st.one_of(st.sampled_from([*VARIANTS, "armhf", "armel", "aarch64", "x86_64", "i386"]), st.text()),
    st.one_of(st.just(""), NEARLY, st.text()),
)
def test_whatever_an_index_says_is_a_platform_with_one_spelling(os, architecture, variant):
    once = Platform(os, architecture, variant)
    assert Platform(once.os, once.architecture, once.variant) == once
    parts = [once.os, once.architecture, *filter(None, [once.variant])]
    if all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts):
        assert once.slug == "-".join(parts)
    else:
        with pytest.raises(PlatformError, match="Invalid platform"):
            _ = once.slug


@pytest.mark.parametrize("part", ["..", "../etc", "a/b", "", "a b", "a\nb", "%h", "$x", "a;b"])
def test_a_slug_is_safe_in_a_file_name(part):
    made = Platform("linux", part)
    if part == "..":
        assert made.slug == "linux-.."
        return
    with pytest.raises(PlatformError, match="Invalid platform"):
        _ = made.slug


def test_a_platform_can_not_be_changed():
    with pytest.raises(AttributeError):
        platforms.parse("linux/arm64").variant = "v9"


# The target. Every tune of OE-core is in tests/oe/test_tunes.py; these are the rows of the table.


@pytest.mark.parametrize(
    ("target_arch", "tune_features", "machine_overrides", "expected"),
    [
        ("x86_64", "m64 core2", "qemuall:qemux86-64", "linux/amd64"),
        ("x86_64", "mx32 corei7", "x86-x32", "linux/amd64"),
        ("x86_64", "m64 x86-64-v3", "", "linux/amd64"),
        ("i386", "m32", "x86", "linux/386"),
        ("i486", "m32", "x86", "linux/386"),
        ("i586", "m32 i586", "x86:qemux86", "linux/386"),
        ("i686", "m32 corei7", "x86", "linux/386"),
        ("aarch64", "aarch64 armv8a crc", "aarch64:armv8a:qemuarm64", "linux/arm64/v8"),
        ("aarch64", "aarch64 armv9a", "aarch64:armv9a", "linux/arm64/v8"),
        ("aarch64", "aarch64 crc cortexa53", "aarch64:rpi", "linux/arm64/v8"),
        ("aarch64", "", "", "linux/arm64/v8"),
        # arm: the core's name in the features, the architecture in the overrides; or both in the features
        ("arm", "arm vfp cortexa9 neon thumb callconvention-hard", "armv7a:board", "linux/arm/v7"),
        ("arm", "arm vfp cortexa7", "armv7ve:board", "linux/arm/v7"),
        ("arm", "arm armv7ve vfp thumb neon callconvention-hard", "armv7ve:qemuarm", "linux/arm/v7"),
        ("arm", "arm armv7a neon", "", "linux/arm/v7"),
        ("arm", "arm armv7a simd", "", "linux/arm/v7"),
        ("arm", "arm armv7a vfp vfpv4d16", "armv7a", "linux/arm/v7"),
        ("arm", "arm armv7a vfpv3", "", "linux/arm/v7"),
        ("arm", "arm armv7a vfpv3d16", "", "linux/arm/v7"),
        ("arm", "arm armv7a vfpv4", "", "linux/arm/v7"),
        ("arm", "arm armv7a vfpv4d16", "", "linux/arm/v7"),
        ("arm", "arm armv7a vfpv5spd16", "", "linux/arm/v5"),
        ("arm", "arm armv7a callconvention-hard", "", "linux/arm/v5"),
        ("arm", "arm cortexa9", "armv7a", "linux/arm/v5"),
        ("arm", "arm armv7a thumb", "armv7a", "linux/arm/v5"),
        ("arm", "armv8a cortexa32 crc callconvention-hard neon", "armv8a", "linux/arm/v7"),
        ("arm", "arm armv8-2a", "armv8-2a", "linux/arm/v7"),
        ("arm", "arm armv9a", "", "linux/arm/v7"),
        ("arm", "arm armv7ve vfp", "armv8a:armv7ve", "linux/arm/v7"),
        ("arm", "arm armv6 vfp thumb", "armv6", "linux/arm/v6"),
        ("arm", "arm vfp arm1136jfs callconvention-hard", "armv6:board", "linux/arm/v6"),
        ("arm", "arm armv6", "armv6", "linux/arm/v5"),
        ("arm", "arm thumb arm1176jzs", "armv6", "linux/arm/v5"),
        ("arm", "arm armv5 thumb dsp vfp", "armv5:qemuarmv5", "linux/arm/v5"),
        ("arm", "arm thumb dsp arm926ejs", "armv5", "linux/arm/v5"),
        ("arm", "arm thumb dsp xscale", "armv5", "linux/arm/v5"),
        ("powerpc64le", "m64 fpu-hard power9 altivec", "", "linux/ppc64le"),
        ("powerpc64", "m64 fpu-hard bigendian", "", "linux/ppc64"),
        ("riscv64", "rv 64 i m a f d c zicsr zifencei", "qemuriscv64", "linux/riscv64"),
        ("riscv64", "rv 64 i m a d c", "", "linux/riscv64"),
        ("riscv64", "rv 64 i m a f d c v zba zbb zbs zicsr", "", "linux/riscv64"),
        ("riscv64", "riscv64", "qemuriscv64", "linux/riscv64"),
        ("loongarch64", "loongarch64", "", "linux/loong64"),
        ("s390x", "", "", "linux/s390x"),
        ("mips", "o32 bigendian fpu-hard mips32r2", "mipsarch", "linux/mips"),
        ("mipsel", "o32 mips32r2 24kc", "mipsarch", "linux/mipsle"),
        ("mips64", "n64 bigendian fpu-hard mips64r2", "mipsarch", "linux/mips64"),
        ("mips64", "n32 bigendian fpu-hard octeon2", "mipsarch:mipsarchn32", "linux/mips64"),
        ("mips64el", "n64 fpu-hard", "mipsarch", "linux/mips64le"),
    ],
)
def test_from_target(target_arch, tune_features, machine_overrides, expected):
    wanted = platforms.from_target(target_arch, tune_features, machine_overrides)
    assert str(wanted) == expected
    assert wanted in EVERY_PLATFORM


@pytest.mark.parametrize(
    ("target_arch", "tune_features", "machine_overrides", "said"),
    [
        ("armeb", "arm armv7a vfp bigendian", "armv7a", "for this architecture"),
        ("aarch64_be", "aarch64 bigendian", "aarch64", "for this architecture"),
        ("powerpc", "m32 fpu-hard bigendian", "", "for this architecture"),
        ("powerpcle", "m32 fpu-hard", "", "for this architecture"),
        ("riscv32", "rv 32 i m a f d c", "", "for this architecture"),
        ("mipsisa32r6el", "o32 fpu-hard mipsisa32r6 r6", "mipsarchr6", "for this architecture"),
        ("mipsisa64r6", "bigendian fpu-hard n64 mipsisa64r6 r6", "mipsarchr6", "for this architecture"),
        ("sh4", "sh4", "", "for this architecture"),
        ("m68k", "mcf5441x", "", "for this architecture"),
        ("microblazeel", "microblaze", "microblaze", "for this architecture"),
        ("allarch", "", "", "for this architecture"),
        ("INVALID", "", "", "for this architecture"),
        ("", "", "", "for this architecture"),
        ("amd64", "", "", "for this architecture"),
        ("i786", "", "", "for this architecture"),
        ("X86_64", "", "", "for this architecture"),
        ("arm", "arm armv4 thumb", "armv4", "ARMv4"),
        ("arm", "arm strongarm", "armv4", "ARMv4"),
        ("arm", "thumb ep9312", "armv4", "ARMv4"),
        ("arm", "armv6m cortexm0", "armv6m", "Cortex-M"),
        ("arm", "armv7em cortexm4", "armv7em", "Cortex-M"),
        ("arm", "armv8m-main vfpv5spd16 dsp", "armv8m-main", "Cortex-M"),
        ("arm", "armv8-1m-main", "armv8-1m-main", "Cortex-M"),
        ("arm", "vfpv5spd16 dsp cortexm33", "", "Cortex-M"),
        ("arm", "cortexm23", "board", "Cortex-M"),
        ("arm", "armv7r vfpv3d16 cortexr5 idiv", "armv7r", "Cortex-R"),
        ("arm", "armv8r crc simd cortexr52", "armv8r", "Cortex-R"),
        ("arm", "", "", "name no ARM architecture"),
        ("arm", "arm vfp neon", "board", "name no ARM architecture"),
        ("arm", "arm vfp cortexa7", "board", "name no ARM architecture"),
        ("arm", "arm vfp", "armv7", "name no ARM architecture"),
        ("arm", "arm armv6 vfp", "armv7a", "disagree on the architecture: armv6, armv7a"),
        ("arm", "arm armv5 armv4", "", "disagree on the architecture: armv4, armv5"),
        ("riscv64", "rv 64 i m a c zicsr zifencei", "", "extensions f, d, which"),
        ("riscv64", "rv 64 i m a f d zicsr zifencei", "", "extensions c, which"),
        ("riscv64", "rv 64 i m a f c", "", "extensions d, which"),
        ("riscv64", "rv 64 i", "", "extensions m, a, f, d, c, which"),
        ("riscv64", "riscv64 riscv64nf", "", "extensions f, d, which"),
        ("riscv64", "riscv64 riscv64nc", "", "extensions c, which"),
    ],
)
def test_from_target_refuses(target_arch, tune_features, machine_overrides, said):
    with pytest.raises(PlatformError) as caught:
        platforms.from_target(target_arch, tune_features, machine_overrides)
    message = str(caught.value)
    assert said in message
    assert f"TARGET_ARCH {target_arch!r}" in message
    assert ";platform=" in message
    assert "DOCKIN_PLATFORM" in message


def test_variables_that_are_not_set_are_an_error_of_the_same_kind():
    with pytest.raises(PlatformError, match="TARGET_ARCH ''"):
        platforms.from_target(None, None, None)
    assert str(platforms.from_target("x86_64", None, None)) == "linux/amd64"


CORES = ["cortexa9", "cortexm33", "cortexr5"]
PROFILES = ["armv4", "armv5", "armv6", "armv7a", "armv7ve", "armv8a", "armv9a", "armv7m", "armv8r", "armv8m-main"]
UNITS = ["vfp", "neon", "simd", "vfpv4", "vfpv5spd16", "callconvention-hard"]
OTHERS = ["arm", "thumb", "dsp", "board", "rv", "i", "m", "a", "f", "d", "c"]
WORDS = st.lists(st.sampled_from(CORES + PROFILES + UNITS + OTHERS), max_size=6)
TARGET_ARCHES = st.sampled_from(["arm", "armeb", "aarch64", "riscv64", "x86_64", "mips", "sh4", "nonsense"])


@SETTINGS
@given(TARGET_ARCHES, WORDS, WORDS)
def test_no_tune_gets_more_than_it_names(target_arch, features, overrides):
    try:
        wanted = platforms.from_target(target_arch, " ".join(features), ":".join(overrides))
    except PlatformError:
        return
    assert wanted in EVERY_PLATFORM
    if wanted.architecture == "arm":
        words = {*features, *overrides}
        assert not words & {"armv4", "armv7m", "armv8r", "armv8m-main"}
        if "armv6" in words:
            assert wanted.variant in ("v5", "v6")
        if "armv5" in words:
            assert wanted.variant == "v5"
        if wanted.variant != "v5" and not words & {"armv8a", "armv9a"}:
            assert {*features} & {"vfp", "vfpv4", "neon", "simd"}


@SETTINGS
@given(st.text(), st.text(), st.text())
def test_no_variable_makes_it_crash(target_arch, tune_features, machine_overrides):
    for known in (target_arch, "arm", "riscv64"):
        try:
            assert platforms.from_target(known, tune_features, machine_overrides) in EVERY_PLATFORM
        except PlatformError as error:
            assert "DOCKIN_PLATFORM" in str(error)


# What runs on what

INDEX = "linux/amd64 unknown/unknown linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm64/v8 linux/386 linux/riscv64"


@pytest.mark.parametrize(
    ("wanted", "index", "expected"),
    [
        ("linux/amd64", INDEX, 0),
        ("linux/arm/v5", INDEX, 2),
        ("linux/arm/v6", INDEX, 3),
        ("linux/arm/v7", INDEX, 4),
        ("linux/arm/v8", INDEX, 4),
        ("linux/arm64", INDEX, 5),
        ("linux/386", INDEX, 6),
        ("linux/riscv64", INDEX, 7),
        # arm: the own variant, then older ones from the newest
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", 1),
        ("linux/arm/v7", "linux/arm/v8 linux/arm/v5", 1),
        ("linux/arm/v8", "linux/arm/v7 linux/arm/v8", 1),
        ("linux/arm/v6", "linux/arm/v7 linux/arm/v5", 1),
        ("linux/arm/v7", "linux/arm/v6 linux/arm", 1),
        ("linux/arm", "linux/arm/v6 linux/arm/v7", 1),
        # arm64: v9.n has v8.(n+5); none is v8
        ("linux/arm64", "linux/arm64/v9 linux/arm64", 1),
        ("linux/arm64/v9", "linux/arm64 linux/arm64/v9", 1),
        ("linux/arm64/v9", "linux/arm/v7 linux/arm64", 1),
        ("linux/arm64/v9", "linux/arm64 linux/arm64/v8.5 linux/arm64/v8.6", 1),
        ("linux/arm64/v9.2", "linux/arm64/v9.3 linux/arm64/v9.1 linux/arm64/v8.7", 1),
        ("linux/arm64/v8.3", "linux/arm64 linux/arm64/v8.2 linux/arm64/v8.4", 1),
        # amd64: the baseline unless the user names a level
        ("linux/amd64", "linux/amd64/v3 linux/amd64/v2 linux/amd64", 2),
        ("linux/amd64", "linux/amd64/v3 linux/amd64/v1", 1),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", 1),
        ("linux/amd64/v3", "linux/amd64 linux/386", 0),
        ("linux/riscv64/rva23u64", "linux/riscv64 linux/riscv64/rva22u64", 1),
        ("linux/ppc64le/power9", "linux/ppc64le/power10 linux/ppc64le", 1),
        # the first of equals; other spellings of the same
        ("linux/amd64", "linux/arm64 linux/amd64 linux/amd64", 1),
        ("linux/amd64", "linux/x86_64", 0),
        ("linux/arm64", "linux/aarch64", 0),
        ("linux/386", "linux/i386", 0),
        # no image
        ("linux/amd64", "- linux/amd64 -", 1),
    ],
)
def test_select(wanted, index, expected):
    entries = [None if text == "-" else platform(text) for text in index.split()]
    assert platforms.select(platforms.parse(wanted), entries) == expected


@pytest.mark.parametrize(
    ("wanted", "index", "has"),
    [
        ("linux/arm/v6", "linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v8 linux/arm64", "linux/arm/v8, linux/arm64/v8"),
        ("linux/arm/v5", "linux/arm/v6 linux/arm/v7 linux/arm", "linux/arm/v6, linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v8 linux/arm/v4", "linux/arm/v8, linux/arm/v4"),
        ("linux/arm64", "linux/arm/v7 linux/arm64/v9", "linux/arm/v7, linux/arm64/v9"),
        ("linux/arm64", "linux/arm64/v8.1", "linux/arm64/v8.1"),
        ("linux/amd64", "linux/amd64/v2 linux/386", "linux/amd64/v2, linux/386"),
        ("linux/amd64", "windows/amd64 windows/amd64 linux/arm64", "windows/amd64, linux/arm64/v8"),
        ("linux/386", "linux/amd64", "linux/amd64"),
        ("linux/mips", "linux/mipsle", "linux/mipsle"),
        ("linux/ppc64", "linux/ppc64le", "linux/ppc64le"),
        ("linux/amd64", "unknown/unknown linux/unknown linux/s390x", "linux/unknown, linux/s390x"),
        ("linux/amd64", "- linux/arm64", "linux/arm64/v8"),
    ],
)
def test_select_refuses(wanted, index, has):
    entries = [None if text == "-" else platform(text) for text in index.split()]
    with pytest.raises(PlatformError) as caught:
        platforms.select(platforms.parse(wanted), entries)
    message = str(caught.value)
    assert f"No image for {platforms.parse(wanted)} in the index: it has {has}. " in message
    assert ";platform=" in message
    assert "pin the digest of its manifest" in message


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "it is empty"),
        ([None], "it has no image"),
        ([None, None], "it has no image"),
        ([platform("unknown/unknown")], "it has no image"),
        ([platform("linux/a\x1b[2Jb")], r"it has 'linux/a\x1b[2jb'"),
    ],
)
def test_select_says_what_an_odd_index_has(entries, said):
    with pytest.raises(PlatformError) as caught:
        platforms.select(platforms.parse("linux/amd64"), entries)
    assert said in str(caught.value)


@SETTINGS
@given(EXISTING, ENTRIES)
def test_select_takes_the_best_that_runs(wanted, entries):
    running = [entry for entry in entries if entry is not None and wanted.accepts(entry)]
    try:
        chosen = platforms.select(wanted, entries)
    except PlatformError as error:
        assert not running
        assert str(wanted) in str(error)
        return
    best = entries[chosen]
    assert best in running
    assert chosen == entries.index(best)
    assert all(best.accepts(other) or not other.accepts(best) for other in running)
    # and the order of the index does not change which platform it is
    assert entries[::-1][platforms.select(wanted, entries[::-1])] == best


@SETTINGS
@given(EXISTING, ENTRIES)
def test_an_attestation_or_another_system_is_never_taken(wanted, entries):
    try:
        chosen = entries[platforms.select(wanted, entries)]
    except PlatformError:
        return
    assert chosen is None or (chosen.os == "linux" and chosen.architecture == wanted.architecture)


@pytest.mark.parametrize("machine", [5, 6, 7, 8])
@pytest.mark.parametrize("image", [4, 5, 6, 7, 8, 9])
def test_an_arm_machine_runs_its_variant_and_older_ones(machine, image):
    accepted = Platform("linux", "arm", f"v{machine}").accepts(Platform("linux", "arm", f"v{image}"))
    assert accepted == (5 <= image <= machine)


def arm64_machine_runs(machine: str, image: str) -> bool:
    """The arm64 rule once more, by numbers: v9.n has everything up to v8.(n+5)."""
    (m_major, m_minor), (i_major, i_minor) = (
        (int(major), int(minor or 0)) for major, _, minor in (text[1:].partition(".") for text in (machine, image))
    )
    if m_major == i_major:
        return i_minor <= m_minor
    return m_major == 9 and i_minor <= m_minor + 5


@pytest.mark.parametrize("machine", ARM64_VARIANTS)
def test_an_arm64_machine_runs_what_its_architecture_includes(machine):
    for image in ARM64_VARIANTS:
        accepted = Platform("linux", "arm64", machine).accepts(Platform("linux", "arm64", image))
        assert accepted == arm64_machine_runs(machine, image), image


def test_runs_on_is_an_order():
    for one in EVERY_PLATFORM:
        assert one.accepts(one)
    for one, other in itertools.permutations(EVERY_PLATFORM, 2):
        assert not (one.accepts(other) and other.accepts(one))
        if one.accepts(other):
            for third in EVERY_PLATFORM:
                assert one.accepts(third) or not other.accepts(third)


# The image that came


@pytest.mark.parametrize(
    ("wanted", "config", "entry"),
    [
        ("linux/amd64", ("linux", "amd64", ""), None),
        ("linux/amd64", ("linux", "amd64", None), None),
        ("linux/amd64", ("linux", "x86_64", "v1"), None),
        ("linux/amd64/v3", ("linux", "amd64", ""), None),
        ("linux/arm64", ("linux", "arm64", ""), None),
        ("linux/arm64", ("linux", "arm64", "v8"), None),
        ("linux/arm64/v9", ("linux", "arm64", None), None),
        ("linux/arm/v7", ("linux", "arm", ""), None),
        ("linux/arm/v8", ("linux", "arm", ""), None),
        ("linux/arm/v7", ("linux", "arm", "v6"), "linux/arm/v7"),
        ("linux/arm/v7", ("linux", "arm", "v5"), None),
        # the index says what the config does not
        ("linux/arm/v6", ("linux", "arm", ""), "linux/arm/v6"),
        ("linux/arm/v6", ("linux", "arm", None), "linux/arm/v5"),
        ("linux/arm/v5", ("linux", "arm", None), "linux/arm/v5"),
        ("linux/riscv64", ("linux", "riscv64", ""), "linux/riscv64"),
    ],
)
def test_check(wanted, config, entry):
    platforms.check(platforms.parse(wanted), *config, entry=entry and platform(entry))


@pytest.mark.parametrize(
    ("wanted", "config", "entry", "said"),
    [
        ("linux/arm/v6", ("linux", "arm", "v7"), None, "built for linux/arm/v7, but linux/arm/v6 is wanted"),
        ("linux/arm/v6", ("linux", "arm", "v7"), "linux/arm/v6", "built for linux/arm/v7, but"),
        ("linux/arm/v6", ("linux", "arm", ""), None, "linux/arm/v7 (its config states no variant: v7 is assumed)"),
        ("linux/arm/v5", ("linux", "arm", None), None, "linux/arm/v7 (its config states no variant: v7 is assumed)"),
        ("linux/arm/v5", ("linux", "arm", ""), "linux/arm/v6", "linux/arm/v6 (its config states no variant: v6 is in"),
        ("linux/arm/v7", ("linux", "arm", "v8"), None, "built for linux/arm/v8, but linux/arm/v7 is wanted"),
        ("linux/arm/v6", ("linux", "arm", ""), "linux/arm64", "v7 is"),
        ("linux/arm64", ("linux", "arm64", "v9"), None, "built for linux/arm64/v9, but linux/arm64/v8 is wanted"),
        ("linux/arm64", ("linux", "amd64", ""), None, "built for linux/amd64, but linux/arm64/v8 is wanted"),
        ("linux/arm64", ("linux", "amd64", ""), "linux/arm64", "built for linux/amd64, but linux/arm64/v8"),
        ("linux/arm64", ("linux", "arm", "v7"), None, "built for linux/arm/v7, but linux/arm64/v8 is wanted"),
        ("linux/amd64", ("linux", "amd64", "v3"), None, "built for linux/amd64/v3, but linux/amd64 is wanted"),
        ("linux/amd64", ("linux", "386", ""), None, "built for linux/386, but linux/amd64 is wanted"),
        ("linux/amd64", ("windows", "amd64", ""), None, "built for windows/amd64, but linux/amd64 is wanted"),
        ("linux/amd64", ("unknown", "unknown", ""), None, "built for unknown/unknown, but linux/amd64"),
        ("linux/amd64", ("", "", ""), None, "does not say what it is built for (os '', architecture '')"),
        ("linux/amd64", (None, None, None), None, "does not say what it is built for"),
        ("linux/amd64", ("", "amd64", ""), None, "(os '', architecture 'amd64'), but linux/amd64 is wanted"),
        ("linux/amd64", ("linux", "a\nb", ""), None, r"built for 'linux/a\nb', but"),
    ],
)
def test_check_refuses(wanted, config, entry, said):
    with pytest.raises(PlatformError) as caught:
        platforms.check(platforms.parse(wanted), *config, entry=entry and platform(entry))
    assert said in str(caught.value)
    assert str(platforms.parse(wanted)) in str(caught.value)


@SETTINGS
@given(EXISTING, EXISTING)
def test_check_and_select_follow_one_rule(wanted, image):
    stated = (image.os, image.architecture, image.variant)
    if wanted.accepts(image):
        platforms.check(wanted, *stated)
        assert platforms.select(wanted, [image]) == 0
    else:
        with pytest.raises(PlatformError):
            platforms.check(wanted, *stated)
        with pytest.raises(PlatformError):
            platforms.select(wanted, [image])


@SETTINGS
@given(EXISTING, ENTRIES)
def test_a_config_without_a_variant_fits_when_its_index_entry_did(wanted, entries):
    try:
        entry = entries[platforms.select(wanted, entries)]
    except PlatformError:
        return
    platforms.check(wanted, entry.os, entry.architecture, None, entry=entry)
