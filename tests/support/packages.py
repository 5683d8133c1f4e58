# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The packages that the boot tests install: built by BitBake from recipes with the class dockin, or made by hand.

    app = packages.Recipe("apps", {"docker.io/library/busybox:1.36.1": content, …})
    built = packages.build(bench, registry, directory, [app], {})   # built["deb"]["apps"]: files, dockin-preload's first
    built = packages.make(directory, [app])                         # what is in built["deb"], without OE-core

By hand, the layer's modules write the archives, information files and units as the class does; what is not tested then
are the class and the recipe of dockin-preload.
"""

from __future__ import annotations

import itertools
import platform
import shutil
import subprocess
import tempfile

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from dockin.image import archive as layer_archive, reference
from dockin.target import runtimes, space, units

from support import helper, images, installed, oe, registry
from support.account import Unavailable

ARCHIVES = "/usr/share/dockin/archive"
UNITS = "/usr/lib/systemd/system"
DPKG_SECONDS = 60
BUILD_SECONDS = 600

# Of packages: the suffixes of their files, and of OE-core's classes.
KINDS = ("deb", "rpm", "ipk")

# OE-core's machine that runs the programs of this one.
MACHINES = {"x86_64": "qemux86-64", "aarch64": "qemuarm64"}

Content = Union[images.Manifest, images.Index]


@dataclass(frozen=True)
class Recipe:
    """A recipe of images by their references, and settings of the class that differ from its defaults.

    Of several versions the older comes first in a list.
    """

    name: str
    images: Mapping[str, Content]
    version: str = "1.0"
    flush: bool = True
    prune: bool = False
    enabled: bool = True
    runtime: runtimes.Runtime = runtimes.DOCKER
    layers: str = layer_archive.DECOMPRESSED
    services: Sequence[str] = ()
    """Units of the recipe's own, beside those that load the images."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the recipe's own, by the path on the target. Only make() knows these two."""

    @property
    def text(self) -> str:
        """The recipe as BitBake reads it."""
        lines = ["inherit dockin", f'DOCKIN_PRELOAD_FLUSH = "{int(self.flush)}"',
                 f'DOCKIN_PRELOAD_PRUNE = "{int(self.prune)}"']
        if self.runtime != runtimes.DOCKER:
            lines.append(f'DOCKIN_RUNTIME = "{self.runtime.name}"')
        if self.layers != layer_archive.DECOMPRESSED:
            lines.append(f'DOCKIN_LAYERS = "{self.layers}"')
        if not self.enabled:
            lines.append('SYSTEMD_AUTO_ENABLE:${PN}-preload = "disable"')
        for number, (name, content) in enumerate(self.images.items()):
            parsed = reference.parse(name)
            lines.append(f'SRC_URI += "docker://{parsed.name};tag={parsed.tag};name=image{number}"')
            lines.append(f'SRC_URI[image{number}.sha256sum] = "{content.hex}"')
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class System:
    """An image recipe with packages and a data-root of their Docker images, in file systems of these types."""

    name: str
    packages: Sequence[str]
    types: Sequence[str]
    settings: str = ""

    @property
    def text(self) -> str:
        """The recipe as BitBake reads it."""
        return (f'inherit image dockin-dataroot\nIMAGE_LINGUAS = ""\nIMAGE_INSTALL = "{" ".join(self.packages)}"\n'
                f'IMAGE_FSTYPES = "{" ".join(self.types)}"\n{self.settings}')


def unit(name: str) -> str:
    """Return the name of an image's preload unit."""
    return units.unit_name(reference.parse(name))


def familiar(name: str) -> str:
    """Return an image's name in Docker."""
    return reference.parse(name).familiar


def archive(name: str) -> str:
    """Return the path of an image's archive on the target."""
    return f"{ARCHIVES}/{reference.parse(name).stem}.tar.xz"


def info(name: str) -> str:
    """Return the path of an image's information file on the target."""
    return f"{ARCHIVES}/{reference.parse(name).stem}.image"


def compose_example(web: tuple[str, Content], probe: tuple[str, Content]) -> Recipe:
    """Return the demo recipe of that name as make() makes it, with its own compose file and service."""
    source = oe.LAYER / "recipes-demo" / "dockin" / "files"
    service = "compose-example.service"
    return Recipe("compose-example", dict([web, probe]), services=[service], files={
        f"{UNITS}/{service}": (source / service).read_text().replace("@datadir@", "/usr/share"),
        "/usr/share/compose-example/compose.yml": (source / "compose.yml").read_text()})


# ------------------------------------------------------------------------------------------ with BitBake


def build(bench: oe.Bench, server: registry.Registry, directory: Path, recipes: Sequence[Recipe],
          demos: Mapping[str, Mapping[str, tuple[str, Content]]],
          systems: Sequence[System] = ()) -> dict[str, dict[str, list[Path]]]:
    """Build recipes with BitBake; return packages by kind and recipe, which for later versions of it is "apps_2.0".

    Those of systems are file system images, in the order of their types, below "image". All are copied into directory.

    demos are recipes of this layer: for each name of a pin its image's reference, and the image that is to stand for it.
    """
    machine = MACHINES.get(platform.machine())
    if not machine:
        raise Unavailable(f"no machine of OE-core runs the programs of this one ({platform.machine()})")
    classes = " ".join(f"package_{kind}" for kind in KINDS)
    made = bench.build("boot", f'MACHINE = "{machine}"\nPACKAGE_CLASSES = "{classes}"\n')
    names = {reference.parse(name).registry for recipe in recipes for name in recipe.images} | {"docker.io"}
    conf = made.path / "registries.conf"
    bench.write(conf, "".join(f'[[registry]]\nprefix = "{name}"\nlocation = "{server.address}"\ninsecure = true\n'
                              for name in sorted(names)))
    made.local_conf(f'DOCKIN_REGISTRIES_CONF = "{conf}"')
    for name, pins in demos.items():
        lines = [f'SRC_URI[{pin}.sha256sum] = "{content.hex}"\n' for pin, (_, content) in pins.items()]
        made.recipe(f"{name}_%.bbappend", "".join(lines))
        for image, content in pins.values():
            _push(server, image, content)
    found: dict[str, dict[str, list[Path]]] = {kind: {} for kind in (*KINDS, "image")}
    for number, others in enumerate(_rounds(recipes)):
        for recipe in others:
            made.recipe(f"{recipe.name}_{recipe.version}.bb", recipe.text)
            for image, content in recipe.images.items():
                _push(server, image, content)
        targets = {recipe.name: f"{recipe.name}_{recipe.version}" if number else recipe.name for recipe in others}
        targets.update({} if number else {name: name for name in demos})
        wanted = [] if number else systems
        for system in wanted:
            made.recipe(f"{system.name}_1.0.bb", system.text)
        made.bitbake(*targets, *(system.name for system in wanted), helper.NAME, timeout=BUILD_SECONDS).ok()
        for system in wanted:
            images = [made.image(system.name, kind) for kind in system.types]
            found["image"][system.name] = [Path(shutil.copy(image, directory)) for image in images]
        for (name, key), kind in itertools.product(targets.items(), KINDS):
            files = [made.package(package, kind) for package in (helper.NAME, name, f"{name}-preload")]
            found[kind][key] = [Path(shutil.copy(file, directory)) for file in files]
    return found


def _rounds(recipes: Sequence[Recipe]) -> list[list[Recipe]]:
    """Return the recipes in as many groups as one has versions, oldest first: BitBake builds the newest it knows."""
    versions: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        versions.setdefault(recipe.name, []).append(recipe)
    return [[recipe for recipe in group if recipe] for group in itertools.zip_longest(*versions.values())]


def _push(server: registry.Registry, name: str, content: Content) -> None:
    """Push an image under a tag that says no more than its digest: a later one of a name replaces none."""
    server.push(content, reference.parse(name).repository, content.hex)


# ------------------------------------------------------------------------------------------ by hand


def make(directory: Path, recipes: Sequence[Recipe]) -> dict[str, list[Path]]:
    """Make the packages of recipes, in directory, without BitBake; return them as build() does."""
    command = _helper(directory)
    found: dict[str, list[Path]] = {}
    for recipe in recipes:
        key = f"{recipe.name}_{recipe.version}" if recipe.name in found else recipe.name
        found[key] = [command, *_image_packages(directory, recipe)]
    return found


def _helper(directory: Path) -> Path:
    tree = directory / helper.NAME
    with tempfile.TemporaryDirectory() as joined:
        _install(tree, "/usr/bin", helper.write(Path(joined)), 0o755)
    _install(tree, UNITS, helper.FILES / units.TARGET, 0o644)
    for service, data_root in runtimes.waiting_services(runtimes.DOCKER, runtimes.DOCKER.data_root).items():
        place = tree / UNITS[1:] / f"{service}.d"
        place.mkdir(parents=True)
        (place / units.DROP_IN).write_text(units.render_drop_in(data_root))
    return _package(tree, helper.NAME, "1.0", [], [units.TARGET])


def _image_packages(directory: Path, recipe: Recipe) -> list[Path]:
    archives, preload = (directory / f"{recipe.name}{suffix}-{recipe.version}" for suffix in ("", "-preload"))
    names: list[str] = []
    loads = {}
    for name, content in recipe.images.items():
        made = installed.install(archives / ARCHIVES[1:], content, name, compression="xz", layers=recipe.layers)
        made.rewrite(runtime=recipe.runtime.name)
        loads[name] = space.Load(made.information, recipe.flush), made.info.name
    settings = units.Preload(runtime=recipe.runtime, data_root=recipe.runtime.data_root, flush=recipe.flush,
                             prune=recipe.prune)
    earlier = None
    for name in sorted(loads, key=lambda name: loads[name][0].rank):
        image = reference.parse(name)
        text = units.render_unit(image, f"{ARCHIVES}/{loads[name][1]}", settings, earlier)
        earlier = image
        names.append(unit(name))
        source = directory / unit(name)
        source.write_text(text)
        _install(preload, UNITS, source, 0o644)
    for path, content in recipe.files.items():
        place = archives / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    depends = [f"{recipe.name} (= {recipe.version})", helper.NAME, "xz"]
    return [_package(archives, recipe.name, recipe.version, [], recipe.services),
            _package(preload, f"{recipe.name}-preload", recipe.version, depends, names, recipe.enabled)]


def _install(tree: Path, folder: str, source: Path, mode: int) -> None:
    place = tree / folder[1:]
    place.mkdir(parents=True, exist_ok=True)
    Path(shutil.copy(source, place)).chmod(mode)


def _package(tree: Path, name: str, version: str, depends: Sequence[str], services: Sequence[str],
             enabled: bool = True) -> Path:
    """Make a package of a folder, with a preset and scripts that do what OE-core's systemd.bbclass and class dockin do."""
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: dockin tests <tests@localhost>\n"
    if depends:
        fields += f"Depends: {', '.join(depends)}\n"
    (control / "control").write_text(fields + "Description: made by hand for the boot tests\n")
    if services:
        presets = tree / "usr/lib/systemd/system-preset"
        presets.mkdir(parents=True)
        verb = "enable" if enabled else "disable"
        (presets / f"98-{name}.preset").write_text("".join(f"{verb} {service}\n" for service in services))
        units_ = " ".join(services)
        scripts = {
            "postinst": f"systemctl daemon-reload\nsystemctl preset {units_}\n"
                        + (f"systemctl --no-block restart {units_}\n" if enabled else ""),
            "prerm": f'[ "$1" != upgrade ] || exit 0\nsystemctl reset-failed {units_} || true\n'
                     f"systemctl stop {units_}\nsystemctl disable {units_}\n",
        }
        if name == helper.NAME:
            scripts["postrm"] = '[ "$1" != upgrade ] || exit 0\nsystemctl daemon-reload\n'
        for script, text in scripts.items():
            (control / script).write_text(f'#!/bin/sh\nset -e\n[ -z "$D" ] || exit 0\n{text}')
            (control / script).chmod(0o755)
    package = tree.parent / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(package)], check=True,
                   stdout=subprocess.DEVNULL, timeout=DPKG_SECONDS)
    return package
