# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Platforms: what a machine can run, and what an image is built for.

A platform is os/architecture[/variant] in the terms of OCI and Go: linux/amd64, linux/arm/v7. This module decides which
platform a BitBake target needs, which entry of an index fits it, and whether a fetched image does.

The rules are those of the image specification and of the two programs that implement it, skopeo and dockerd:

    [index]       https://github.com/opencontainers/image-spec  image-index.md, "Platform Variants"
    [containerd]  https://github.com/containerd/platforms  compare.go, platformVector; database.go
    [skopeo]      https://github.com/containers/image  internal/pkg/platform/platform_matcher.go

Where they differ, this module never gives a machine an image that it cannot run:

- An arm image without a variant counts as v7, as in [containerd]. [skopeo] offers it to v5 and v6 too.
- Only images of the wanted architecture fit. [containerd] also offers 386 to amd64 and arm to arm64, but whether those run
  depends on the kernel's configuration and, for arm, on the core.
- An index entry without a platform counts as what its config says, as in [containerd], if no other entry fits. [skopeo]
  takes the first one in any case.
- The baseline variant of an architecture (amd64 v1, ppc64le power8, riscv64 rva20u64: the first ones of [index]) is the same
  as none, and arm64 without a variant is v8.

For architectures without variants (386, mips, ppc64 …) OCI does not express what an image demands of the CPU: linux/386 may
mean an i586 or SSE2. This cannot be checked.
"""

from __future__ import annotations

import re
import typing

from dataclasses import dataclass

from dockin.errors import DockinError

# The hint for an unknown platform: the user may know better.
_OVERRIDE = "';platform=linux/<architecture>' in SRC_URI or DOCKIN_PLATFORM"
# The hint for an image that does not fit: other machines that share the recipe must not get it.
_MANIFEST = "pin the digest of its manifest and name its platform with ';platform=linux/<architecture>' in SRC_URI"

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARM64_VARIANT = re.compile(r"v(?:8(?:\.[1-9])?|9(?:\.[1-7])?)")

# Other names that [containerd], and so `docker --platform`, accepts: architecture, variant. Its armel is v6, although
# Debian's port of that name is v5: one word must not mean two things on one command line.
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}

# The meaning of a missing variant, and the variant that means the same as a missing one.
_DEFAULT_VARIANT = {"arm": "v7", "arm64": "v8"}
_BASELINE_VARIANT = {"amd64": "v1", "ppc64le": "power8", "riscv64": "rva20u64"}

# Variants from the oldest: a machine of one runs it and all before it. arm64's variants are not linear.
_VARIANTS: dict[str, tuple[str, ...]] = {
    "amd64": ("", "v2", "v3", "v4"),
    "arm": ("v5", "v6", "v7", "v8"),
    "ppc64le": ("", "power9", "power10"),
    "riscv64": ("", "rva22u64", "rva23u64"),
}

# TARGET_ARCH to OCI architecture. Missing ones (big-endian arm, 32-bit powerpc and riscv, mips r6, sh …) have no name in
# OCI, or one for which nobody builds images.
_ARCHITECTURES = {
    "x86_64": "amd64",  # with the x32 ABI too: the kernel is a 64-bit one
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "aarch64": "arm64",
    "arm": "arm",
    "powerpc64": "ppc64",
    "powerpc64le": "ppc64le",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    "s390x": "s390x",
    "mips": "mips",
    "mipsel": "mipsle",
    "mips64": "mips64",  # with the n32 ABI too: the kernel is a 64-bit one
    "mips64el": "mips64le",
}

# Go's other architectures with Linux, as [containerd] lists them: a user may have images for these.
_RARE_ARCHITECTURES = {"arm64be", "armbe", "ppc", "riscv", "s390", "sparc", "sparc64"}
_KNOWN_ARCHITECTURES = sorted(_RARE_ARCHITECTURES.union(_ARCHITECTURES.values()))

# Names in OE-core's arm tunes. Cortex-A tunes have their core's name in TUNE_FEATURES, and the architecture only in
# MACHINEOVERRIDES; Cortex-M23 and later have only the core's name.
_ARM_LEVELS = {"armv4": 4, "armv5": 5, "armv6": 6, "armv7a": 7, "armv7ve": 7}
_ARM_V8_A = re.compile(r"armv[89](?:-\d+)?a")
_ARM_NO_MMU = re.compile(r"armv\d+(?:-\d+)?e?[mr](?:-.*)?")
_ARM_NO_MMU_CORE = re.compile(r"cortex[mr]\d.*")
_ARM_FPU = {"vfp", "vfpv3", "vfpv3d16", "vfpv4", "vfpv4d16", "neon", "simd"}


class PlatformError(DockinError):
    """A platform is malformed, unknown, or not available."""


@dataclass(frozen=True)
class Platform:
    """A platform for which programs are built. One platform has one spelling, so equal platforms have equal fields.

    Constructing one never fails, with any strings of an index or config; only `parse` and `from_target` return platforms
    that exist.
    """

    os: str
    architecture: str
    variant: str = ""

    def __post_init__(self) -> None:
        architecture, variant = _normalise(self.architecture, self.variant)
        object.__setattr__(self, "os", self.os.lower())
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "variant", variant)

    def __str__(self) -> str:
        """Return os/architecture[/variant], quoted if an index or config states something else than a platform."""
        text = "/".join(self._parts)
        return text if all(map(_PART.fullmatch, self._parts)) else repr(text)

    @property
    def slug(self) -> str:
        """The platform as part of a file name: linux-arm-v7. Raises PlatformError for unsafe characters."""
        if not all(_PART.fullmatch(part) for part in self._parts):
            raise PlatformError(f"Invalid platform {str(self)!r}: its parts have letters, digits, '_', '.' and '-' only")
        return "-".join(self._parts)

    @property
    def _parts(self) -> list[str]:
        return [self.os, self.architecture, self.variant] if self.variant else [self.os, self.architecture]

    def accepts(self, image: Platform) -> bool:
        """Tell whether a machine of this platform runs images of that one."""
        return (
            self.os == image.os
            and self.architecture == image.architecture
            and image.variant in _accepted_variants(self.architecture, self.variant)
        )


def parse(text: str) -> Platform:
    """Return the platform that a user wrote: linux/<architecture>[/<variant>], in any case.

    Architectures and variants are Go's, as in the image specification, or other names that Docker accepts: x86_64,
    x86-64, i386, aarch64, armhf (arm/v7), armel (arm/v6). Raises PlatformError otherwise.
    """
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
        raise PlatformError(
            f"Invalid platform {text!r}: a platform is <os>/<architecture> or <os>/<architecture>/<variant>, "
            "such as linux/arm64 or linux/arm/v7"
        )
    platform = Platform(*parts)
    if platform.os != "linux":
        raise PlatformError(
            f"Invalid platform {text!r}: its operating system is {parts[0]!r}, but the target's is linux; "
            "write linux/<architecture> or linux/<architecture>/<variant>"
        )
    if platform.architecture not in _KNOWN_ARCHITECTURES:
        name = _ARCHITECTURES.get(platform.architecture)
        hint = f" (OCI's name for it is {name})" if name else ""
        raise PlatformError(
            f"Invalid platform {text!r}: unknown architecture {parts[1]!r}{hint}; "
            f"known are {', '.join(_KNOWN_ARCHITECTURES)}"
        )
    _check_variant(text, platform, parts)
    return platform


def from_target(target_arch: str | None, tune_features: str | None, machine_overrides: str | None) -> Platform:
    """Return a target's platform from the variables TARGET_ARCH, TUNE_FEATURES and MACHINEOVERRIDES.

    It is the best platform that every CPU of the tune runs. The host's float ABI does not matter, because an image has
    its own libraries. Raises PlatformError if there is none or it cannot be determined.
    """
    features = frozenset((tune_features or "").split())
    overrides = frozenset((machine_overrides or "").split(":"))
    architecture = _ARCHITECTURES.get(target_arch or "")
    variant: str | None = ""
    problem = ""
    if architecture is None:
        problem = "no container images are built for this architecture"
    elif architecture == "arm":
        variant, problem = _arm_variant(features, overrides)
    elif architecture == "riscv64":
        problem = _riscv64_problem(features)
    if architecture is None or variant is None or problem:
        raise PlatformError(
            f"No container platform for TARGET_ARCH {target_arch or ''!r} with TUNE_FEATURES "
            f"{tune_features or ''!r}: {problem}. If you know the platform whose images run on it, "
            f"name it with {_OVERRIDE}"
        )
    return Platform("linux", architecture, variant)


def select(wanted: Platform, candidates: typing.Sequence[Platform | None]) -> int:
    """Return the position of the index entry that fits the wanted platform best.

    candidates are the platforms of the entries in the index's order, None for an entry that is no image. The best
    variant wins, then the first entry. Attestations, whose platform is unknown/unknown, never fit. Raises PlatformError
    with the index's platforms if none fits.
    """
    for variant in _accepted_variants(wanted.architecture, wanted.variant):
        fitting = Platform(wanted.os, wanted.architecture, variant)
        if fitting in candidates:
            return candidates.index(fitting)
    raise PlatformError(
        f"No image for {wanted} in the index: {_describe(candidates)}.{_also_fitting(wanted)} Choose an image that "
        f"is built for the machine or, if the machine runs one of these, {_MANIFEST}"
    )


def check(
    wanted: Platform,
    config_os: str | None,
    config_architecture: str | None,
    config_variant: str | None = None,
    *,
    entry: Platform | None = None,
) -> None:
    """Raise PlatformError unless the image with this config runs on the wanted platform.

    A config often lacks the variant. Then the variant of the index entry (entry) counts, and without an index the usual
    one of the architecture: an arm image without any statement is v7.
    """
    stated = config_variant or ""
    image = Platform(config_os or "", config_architecture or "", stated)
    if not stated and entry is not None and entry.architecture == image.architecture:
        image = Platform(image.os, image.architecture, entry.variant)
    if wanted.accepts(image):
        return
    if not (image.os and image.architecture):
        raise PlatformError(
            f"The image's config does not say what it is built for (os {image.os!r}, architecture "
            f"{image.architecture!r}), but {wanted} is wanted: this is no image that can be run"
        )
    note = ""
    if not stated and image.variant:
        note = f" (its config states no variant: {image.variant} is {'in the index' if entry else 'assumed'})"
    raise PlatformError(
        f"The image is built for {image}{note}, but {wanted} is wanted.{_also_fitting(wanted)} Pin the "
        "digest of an index that has an image for the machine, not that of another platform's manifest or, "
        f"if the machine runs this image, {_MANIFEST}"
    )


def _normalise(architecture: str, variant: str) -> tuple[str, str]:
    """Return the one spelling of an architecture and variant."""
    architecture, variant = architecture.lower(), variant.lower()
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = implied or variant
    if architecture in ("amd64", "arm", "arm64"):
        variant = re.sub(r"^(?=[0-9])", "v", variant)
    if architecture == "arm64":
        variant = re.sub(r"^(v[0-9]+)\.0$", r"\1", variant)
    if variant == _BASELINE_VARIANT.get(architecture):
        variant = ""
    return architecture, variant or _DEFAULT_VARIANT.get(architecture, "")


def _check_variant(text: str, platform: Platform, parts: list[str]) -> None:
    """Raise PlatformError if the variant that the user wrote does not exist."""
    if len(parts) == 2:
        return
    implied = _ALIASES.get(parts[1].lower(), ("", ""))[1]
    if implied and platform != Platform(platform.os, platform.architecture, parts[2]):
        raise PlatformError(
            f"Invalid platform {text!r}: {parts[1]} means {platform.architecture}/{implied}; "
            f"write linux/{platform.architecture}/<variant>"
        )
    known = _VARIANTS.get(platform.architecture, ("",))
    baseline = _BASELINE_VARIANT.get(platform.architecture, "")
    if platform.architecture == "arm64":
        known = ("v8", "v8.1 to v8.9", "v9", "v9.1 to v9.7")
        if _ARM64_VARIANT.fullmatch(platform.variant):
            return
    if platform.variant not in known:
        names = ", ".join(name or baseline for name in known if name or baseline)
        remedy = f"it has {names}" if names else f"write linux/{platform.architecture}"
        raise PlatformError(f"Invalid platform {text!r}: {platform.architecture} has no variant {parts[2]!r}; {remedy}")


def _accepted_variants(architecture: str, variant: str) -> tuple[str, ...]:
    """Return the variants whose images run on a machine of this variant, the best first."""
    if architecture == "arm64" and _ARM64_VARIANT.fullmatch(variant):
        major, _, minor = variant[1:].partition(".")
        # v9.n has all of v8.(n+5), according to [containerd]; the last v8 is v8.9.
        lines = [(8, int(minor or 0))]
        if major == "9":
            lines = [(9, int(minor or 0)), (8, min(int(minor or 0) + 5, 9))]
        return tuple(f"v{line}.{step}" if step else f"v{line}" for line, last in lines for step in range(last, -1, -1))
    known = _VARIANTS.get(architecture, ("",))
    if variant not in known:
        return (variant,)
    return known[known.index(variant) :: -1]


def _arm_variant(features: frozenset[str], overrides: frozenset[str]) -> tuple[str | None, str]:
    """Return the variant of a 32-bit little-endian arm tune, or None and the problem.

    v6 and v7 images are built for hard float, and need an FPU; v5 images do not.
    """
    words = features | overrides
    if any(map(_ARM_NO_MMU.fullmatch, words)) or any(map(_ARM_NO_MMU_CORE.fullmatch, features)):
        return None, "a Cortex-M or Cortex-R core can't run containers"
    levels = {level for word, level in _ARM_LEVELS.items() if word in words}
    if any(map(_ARM_V8_A.fullmatch, words)):
        levels.add(8)
    if not levels:
        return None, "TUNE_FEATURES and MACHINEOVERRIDES name no ARM architecture (armv5, armv6, armv7a …)"
    lowest = min(levels)
    if lowest < 7 and len(levels) > 1:
        named = sorted(word for word in words if word.startswith("armv"))
        return None, f"TUNE_FEATURES and MACHINEOVERRIDES disagree on the architecture: {', '.join(named)}"
    if lowest == 4:
        return None, "no container images are built for ARMv4"
    if lowest == 8:
        return "v7", ""  # what images for 32-bit ARMv8 are published as; ARMv8-A always comes with an FPU
    return (f"v{lowest}" if features & _ARM_FPU else "v5"), ""


def _riscv64_problem(features: frozenset[str]) -> str:
    """Return why images for riscv64, which are built for RV64GC (rva20u64), do not run on this tune; "" if they do."""
    lacking = ""
    if "rv" in features:  # wrynose and later: the extensions one by one, where d includes f
        has = features | {"f"} if "d" in features else features
        lacking = ", ".join(extension for extension in ("i", "m", "a", "f", "d", "c") if extension not in has)
    elif "riscv64nf" in features:
        lacking = "f, d"
    elif "riscv64nc" in features:
        lacking = "c"
    return f"images for riscv64 need the extensions {lacking}, which this tune lacks" if lacking else ""


def _also_fitting(wanted: Platform) -> str:
    """Return sentences for a message on other platforms whose images would run on the wanted one."""
    accepted = _accepted_variants(wanted.architecture, wanted.variant)
    others = [str(Platform(wanted.os, wanted.architecture, variant)) for variant in accepted[1:]]
    text = f" Images for {', '.join(others)} would do too." if others else ""
    return text + " An arm image without a variant counts as v7." if wanted.architecture == "arm" else text


def _describe(candidates: typing.Sequence[Platform | None]) -> str:
    """Return a list of an index's platforms, each once, in its order."""
    images = [str(entry) for entry in candidates if entry is not None and entry.os != "unknown"]
    if images:
        return f"it has {', '.join(dict.fromkeys(images))}"
    return "it has no image" if candidates else "it is empty"
