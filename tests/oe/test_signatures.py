# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What makes tasks run again: all that shapes a package, and nothing else."""

from __future__ import annotations

import pytest

from support import cache, images

IMAGES = ("single", "several", "unpinned")
RECIPES = (*IMAGES, "dockin-preload", "target-packages")
CONSTANT = "\n_A_CONSTANT_THAT_NOBODY_READS = 1\n"


@pytest.fixture(scope="module")
def changing(shop):
    """A build directory with a copy of the layer that may be changed, and the hashes before any change."""
    layer = shop.bench.copy_layer("layer-that-changes")
    build = shop.build("signatures", layers=[layer])
    add(shop, build)
    return build, layer, hashes(build)


def add(shop, build):
    """Add the recipes; of one that has no pin nothing is fetched here."""
    shop.add(build, "single", "several")
    build.recipe("unpinned_1.0.bb", 'inherit dockin\nSRC_URI = "docker://registry.invalid/app;tag=1"\n')


def hashes(build):
    """Return {(recipe, task): hash} of all recipes."""
    build.bitbake("-S", "none", *RECIPES).ok()
    found = {(name, task): value for name in RECIPES for task, value in build.signatures(name).items()}
    assert len({name for name, _ in found}) == len(RECIPES)
    return found


def changed(before, after):
    """Return {recipe: tasks} whose hashes differ."""
    assert before.keys() == after.keys()
    different = [key for key in before if before[key] != after[key]]
    return {name: {task for other, task in different if other == name} for name, _ in different}


def append(path, text):
    path.write_text(path.read_text() + text)


# In this order, each on top of the one before: a run of BitBake takes longer than what it computes.
def test_hashes_do_not_depend_on_where_the_build_is(shop, changing):
    _, _, before = changing
    other = shop.build("signatures-elsewhere")
    add(shop, other)
    assert changed(before, hashes(other)) == {}


def test_each_change_reaches_its_tasks(shop, changing):
    build, layer, before = changing

    append(layer / "lib/dockin/image/archive.py", CONSTANT)
    append(layer / "recipes-support/dockin-preload/files/dockin-preload/10-base.sh", "# a comment\n")
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == {*IMAGES, "dockin-preload"}
    for name in IMAGES:
        assert {"do_unpack", "do_compile", "do_install", "do_package_write_deb"} <= found[name]
        assert "do_fetch" not in found[name], "a change of the archive's code must not fetch again"
    assert {"do_unpack", "do_compile", "do_install", "do_package_write_deb"} <= found["dockin-preload"]
    before = after

    append(layer / "lib/dockin/target/units.py", CONSTANT)
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == {*IMAGES, "dockin-preload"}
    for name in IMAGES:
        assert {"do_install", "do_package_write_deb"} <= found[name]
        assert not {"do_fetch", "do_unpack"} & found[name], "a change of the units must not assemble again"
    before = after

    # The budget and bills of materials are in no package; the data-root is in the units, and in what Docker waits for.
    build.local_conf('DOCKIN_SIZE_BUDGET = "1G"')
    append(layer / "lib/dockin/sbom/elements.py", CONSTANT)
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == set(IMAGES)
    for tasks in found.values():
        assert {"do_package_qa", "do_create_spdx"} <= tasks
        assert not {"do_unpack", "do_compile", "do_package_write_deb"} & tasks
    before = after
    build.local_conf('DOCKIN_DATAROOT_DIR = "/data/docker"')
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == {*IMAGES, "dockin-preload"}
    assert all({"do_compile", "do_package_write_deb"} <= tasks and "do_unpack" not in tasks for tasks in found.values())
    before = after

    # What a package depends on; and a pin that is required is missed also where the image was fetched without.
    build.local_conf('COMPRESSION_RDEPENDS:xz:pn-single = "xz gzip"\nDOCKIN_PIN = "require"')
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == {"single", "unpinned"}
    assert {"do_package", "do_package_write_deb"} <= found["single"]
    assert "do_install" not in found["single"]
    assert "do_fetch" in found["unpinned"]
    before = after

    # Which entry of an index is taken is decided there.
    append(layer / "lib/dockin/image/platforms.py", CONSTANT)
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == set(IMAGES)
    for name in IMAGES:
        assert {"do_fetch", "do_unpack", "do_package_write_deb"} <= found[name]
    before = after

    build.local_conf('COMPRESSION_CMD:xz = "xz -f -k -1 -T0 -c"\n'
                     'DOCKIN_LAYERS:pn-several = "registry"')
    after = hashes(build)
    found = changed(before, after)
    assert {"do_compile", "do_install"} <= found["single"]
    assert not {"do_fetch", "do_unpack"} & found["single"]
    assert "do_unpack" in found["several"]
    assert "do_fetch" not in found["several"]
    before = after

    # A new digest is fetched; the other image of `several` and its recipe stay.
    build.recipe("single_%.bbappend", 'SRC_URI[sha256sum] = "' + "0" * 64 + '"\n')
    build.local_conf('DOCKIN_PRELOAD_FLUSH:pn-several = "0"')
    after = hashes(build)
    found = changed(before, after)
    assert {"do_fetch", "do_unpack", "do_compile", "do_package_write_deb"} <= found["single"]
    assert not {"do_fetch", "do_unpack"} & found["several"]
    assert "do_install" in found["several"]
    before = after

    # Where an image comes from and with which login makes no other image.
    build.local_conf('DOCKIN_AUTHFILE = "/nowhere/auth.json"\nDOCKIN_CERT_DIR = "/nowhere"\n'
                     'DOCKIN_FETCH_TIMEOUT = "7"\nDOCKIN_FETCH_RETRIES = "1"\nDOCKIN_POLICY = "/nowhere/policy"\n'
                     'DOCKIN_REGISTRIES_CONF = "/nowhere/registries.conf"\nDOCKIN_TLS_VERIFY = "1"\n'
                     'DOCKIN_REGISTRIES_D = "/nowhere/registries.d"\n'
                     'PREMIRRORS = "(docker|gs)://.*/.* http://localhost/"')
    assert changed(before, hashes(build)) == {}

    # Of a package that counts, a new file counts as well.
    (layer / "lib/dockin/image/new.py").write_text(CONSTANT)
    after = hashes(build)
    found = changed(before, after)
    assert set(found) == set(IMAGES)
    assert all("do_unpack" in tasks and "do_fetch" not in tasks for tasks in found.values())
    before = after

    # The tools, the look-ups in registries, the download, and what only image recipes use are in no package.
    others = [path for path in (layer / "lib/dockin").glob("*/*.py")
              if path.parent.name not in ("image", "target", "sbom")
              and path.name not in ("source.py", "pins.py", "unpacking.py")]
    assert len(others) > 30
    for path in (*others, layer / "lib/dockin/errors.py", layer / "lib/dockin/exitcodes.py"):
        append(path, CONSTANT)
    assert changed(before, hashes(build)) == {}


# On one release, since the tasks' order is BitBake's business; the newest, as it has the most to say about hashes.
@pytest.mark.parametrize("release", cache.releases()[-1:], ids=str, indirect=True, scope="session")
def test_changes_rebuild_the_packages(shop):
    layer = shop.bench.copy_layer("layer-rebuilt")
    state = shop.bench.folder("shared-state")
    shared = f'SSTATE_DIR = "{state}"\nBB_HASHSERVE_DB_DIR = "{state}"\n'
    build = shop.build("rebuild", shared, layers=[layer])
    shop.add(build, "single")
    build.bitbake("single").ok()
    unit = "dockin-preload-busybox-1.36.1.service"
    before = package(build, unit)

    units = layer / "lib/dockin/target/units.py"
    units.write_text(units.read_text().replace("Description=Load", "Description=Really load"))
    result = build.bitbake("single").ok()
    assert not {"do_fetch", "do_unpack"} & result.tasks("single")
    archive, text = package(build, unit)
    assert text == before[1].replace(b"Description=Load", b"Description=Really load") != before[1]
    assert archive == before[0]

    newer = images.index([images.image([images.layer({"etc/new": "new"})], "linux/amd64")])
    shop.registry.push(newer, "library/busybox")
    build.recipe("single_%.bbappend", f'SRC_URI[sha256sum] = "{newer.hex}"\n')
    result = build.bitbake("single").ok()
    assert {"do_fetch", "do_unpack", "do_compile", "do_install", "do_package_write_deb"} <= result.tasks("single")
    assert package(build, unit)[0] != before[0]
    assert build.bitbake("single").ok().tasks() == set()

    # Another build directory takes all that from the shared state: nothing is fetched there.
    other = shop.build("from-sstate", shared, layers=[layer])
    shop.add(other, "single")
    other.recipe("single_%.bbappend", f'SRC_URI[sha256sum] = "{newer.hex}"\n')
    result = other.bitbake("single").ok()
    assert not {"do_fetch", "do_unpack", "do_compile", "do_package"} & result.tasks("single")
    assert package(other, unit) == package(build, unit)


def package(build, unit):
    """Return the archive and the unit that the packages of `single` have."""
    deb, preload = build.deb("single"), build.deb("single-preload")
    [path] = [path for path in preload.files if path.endswith("/" + unit)]
    return deb.read("/usr/share/dockin/archive/busybox-1.36.1.tar.xz"), preload.read(path)
