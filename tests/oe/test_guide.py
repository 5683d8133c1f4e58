# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""docs/guide.md, followed word for word in an empty directory, by an ordinary user with real BitBake and OE-core.

What differs from what a reader does: git clones from this machine, a registry of ours is docker.io, and what can't be
built here (kernel, Docker, busybox …) is empty packages, in what is cloned as meta-virtualization. sudo and QEMU are left
out; what the guide does on the device is in tests/boot/test_guide.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile

import pytest

from support import cache, images, manuscript, oe, oe_conf, registry as registries

GUIDE = oe.LAYER / "docs" / "guide.md"
CLONES = {
    "https://git.openembedded.org/bitbake": "bitbake",
    "https://git.openembedded.org/openembedded-core": "openembedded-core",
    "https://git.openembedded.org/meta-openembedded": "meta-openembedded",
    "https://git.yoctoproject.org/meta-virtualization": "meta-virtualization",
}
SECONDS = 600
IMAGE = "core-image-minimal"
# Every command of the guide ends with 0 but these.
CHECK = "devtool refresh-docker --check busybox-docker"
STATUS = {CHECK: 3}
LEFT_OUT = ("sudo ", "runqemu ")

EMPTY_LAYER = """
BBFILE_COLLECTIONS += "@NAME@"
BBFILE_PATTERN_@NAME@ = "^${LAYERDIR}/"
BBFILE_PATTERN_IGNORE_EMPTY_@NAME@ = "1"
LAYERSERIES_COMPAT_@NAME@ = "@SERIES@"
"""

# What core-image-minimal has, and cannot be built here.
CORE_BOOT = oe_conf.fill(oe_conf.TARGET_RECIPE, packages="packagegroup-core-boot")
# The machine's other file systems want programs that are not built here.
AUTO_CONF = 'IMAGE_FSTYPES:forcevariable = "tar ext4"\n'


class Followed:
    """What came of following the guide."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.pins: list[str] = []
        self.files: list[list[str]] = []
        """Names in the root file system, after each build of the image."""
        self.repositories: dict[str, dict[str, str]] = {}
        """The images in the last one's data-root: {repository: {name: ID}}."""


def git(*argv, cwd):
    environment = {"GIT_CONFIG_COUNT": "3", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
                   "GIT_CONFIG_KEY_1": "user.name", "GIT_CONFIG_VALUE_1": "tests", "GIT_CONFIG_KEY_2": "user.email",
                   "GIT_CONFIG_VALUE_2": "tests@localhost", "PATH": "/usr/bin:/bin"}
    subprocess.run(["git", *argv], cwd=cwd, env=environment, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)


def publish(folder, branch):
    """Make a git repository of a folder's files, with one branch."""
    git("init", "--quiet", cwd=folder)
    git("checkout", "--quiet", "-b", branch, cwd=folder)
    git("add", "--all", "--force", ".", cwd=folder)
    git("commit", "--quiet", "-m", "for the guide", cwd=folder)


def branches(release):
    """Return RELEASE and BITBAKE of a release, as the guide's table has them."""
    row = re.search(rf"^\| {release}[^|]*\| `([^`]+)` \| `([^`]+)` \|$", GUIDE.read_text(), re.MULTILINE)
    assert row, f"the guide has no row for {release}"
    return row[1], row[2]


def set_up(bench, shop_registry):
    """Write what git clones, and what stands for docker.io; return what local.conf has to have beside the guide's."""
    release, bitbake = branches(bench.release)
    origin = bench.folder("origin")
    for name, checkout, branch in (("bitbake", bench.release.bitbake, bitbake),
                                   ("openembedded-core", bench.release.oecore, release)):
        git("clone", "--quiet", "--bare", f"file://{checkout.path}", str(origin / name), cwd=origin)
        git("branch", "--force", branch, "HEAD", cwd=origin / name)
    others = origin / "meta-openembedded"
    for name in ("oe", "python", "networking", "filesystems"):
        conf = oe_conf.fill(EMPTY_LAYER, name=f"{name}-layer", series=bench.series)
        bench.write(others / f"meta-{name}" / "conf" / "layer.conf", conf)
    publish(others, release)
    build = bench.build("stand-ins", recipes=[f"core/images/{IMAGE}"])
    build.recipe("packagegroup-core-boot_1.0.bb", CORE_BOOT)
    shutil.copytree(build.test_layer, origin / "meta-virtualization")
    publish(origin / "meta-virtualization", release)
    shutil.copytree(bench.layer, origin / "meta-dockin", ignore=shutil.ignore_patterns("__pycache__"))
    publish(origin / "meta-dockin", "main")
    urls = "".join(f'[url "file://{origin / name}"]\n    insteadOf = {url}\n' for url, name in CLONES.items())
    bench.write(bench.home / ".gitconfig", oe.GIT_CONFIG + urls)
    containers = bench.home / ".config" / "containers"
    containers.mkdir(parents=True)
    registries.write_registries_conf(containers / "registries.conf", shop_registry.address)
    for path in (bench.home / ".config", containers, containers / "registries.conf"):
        bench.account.own(path)
    # What the guide sets itself is left to it.
    return (build.path / "conf" / "local.conf").read_text().replace('INIT_MANAGER = "systemd"\n', "") + AUTO_CONF


@pytest.fixture(scope="module")
def followed(release, tmp_path_factory):
    """The guide, done."""
    try:
        bench = oe.Bench(release)
    except oe.Unavailable as reason:
        pytest.skip(f"unavailable: {reason}")
    with bench, registries.Registry(tmp_path_factory.mktemp("guide")) as server:
        server.push(images.busybox("1.36.1"), "library/busybox", "1.36.1")
        settings = set_up(bench, server)
        reader = bench.folder("reader")
        identity = {"user": bench.account.uid, "group": bench.account.gid, "extra_groups": []} if bench.account.other else {}
        environment = {
            "PATH": bench.account.path(), "HOME": str(bench.home), "USER": bench.account.name, "SHELL": "/bin/bash",
            "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "DOCKIN_URL": f"file://{bench.root}/origin/meta-dockin"}
        with manuscript.Shell(reader, environment, umask=0o022, **identity) as shell:
            try:
                yield follow(bench, server, shell, settings)
            finally:
                shell.run("bitbake -m", SECONDS)


def follow(bench, server, shell, settings):
    """Do what the guide says; return what came of it."""
    result = Followed()
    top = bench.root / "reader" / "product"
    build = top / "build"
    for step in manuscript.read(GUIDE):
        if isinstance(step, manuscript.File):
            path = build / step.path
            text = path.read_text() + step.text if step.added else step.text
            shell.run(f"mkdir -p {path.parent}", SECONDS)
            bench.write(path, text)
            continue
        if step.prompt == "#" or step.command.startswith(LEFT_OUT):
            continue
        command = step.command
        if command.startswith("RELEASE="):
            command = "RELEASE={} BITBAKE={}".format(*branches(bench.release))
        if command == CHECK:
            moved = images.busybox("1.36.1", extra=[images.layer({"etc/rebuilt": "yes\n"})])
            server.push(moved, "library/busybox", "1.36.1")
        status, said = shell.run(command, SECONDS)
        assert status == STATUS.get(command, 0), f"`{command}` ended with {status}:\n{said}"
        assert not re.search(r"^(WARNING|ERROR): (?!Your host|Host dist)", said, re.MULTILINE), f"`{command}`:\n{said}"
        missing = step.differs(said)
        assert not missing, f"`{command}` has no line {missing!r}:\n{said}"
        result.commands.append(command)
        if "oe-init-build-env" in command:
            bench.write(build / "conf" / "auto.conf", settings)
        if command == f"bitbake {IMAGE}":
            result.pins += re.findall(r'^SRC_URI\[sha256sum\] = "(\w+)"', recipe(top).read_text(), re.MULTILINE)
            [root] = [path for path in build.glob(f"tmp/deploy/images/*/{IMAGE}-*.tar") if path.is_symlink()]
            with tarfile.open(root) as tar:
                result.files.append(tar.getnames())
                stored = "./var/lib/docker/image/overlay2/repositories.json"
                if stored in tar.getnames():
                    result.repositories = json.load(tar.extractfile(stored))["Repositories"]
    return result


def recipe(top):
    """Return the recipe that the guide makes."""
    [found] = top.glob("meta-product/recipes-containers/busybox-docker/busybox-docker_1.36.1.bb")
    return found


def test_the_table_has_the_branches_that_are_tested(release):
    wanted = {found.name: (found.oecore.branch, found.bitbake.branch) for found in cache.releases()}
    assert branches(release) == wanted[release.name]


def test_every_command_of_the_guide_was_run(followed):
    told = [step for step in manuscript.read(GUIDE) if isinstance(step, manuscript.Command) and step.prompt == "$"]
    left_out = [step.command for step in told if step.command.startswith(LEFT_OUT)]
    assert len(followed.commands) == len(told) - len(left_out) > 15
    assert left_out == ["sudo apt install skopeo", 'runqemu nographic slirp qemuparams="-m 1024"']


def test_the_image_has_archive_unit_and_service(followed):
    first = set(followed.files[0])
    assert "./usr/share/dockin/archive/busybox-1.36.1.tar.xz" in first
    wants = "./etc/systemd/system/"
    for link in ("multi-user.target.wants/greeter.service", "multi-user.target.wants/dockin-preload.target",
                 "dockin-preload.target.wants/dockin-preload-busybox-1.36.1.service"):
        assert wants + link in first


def test_the_update_brought_another_image(followed):
    first, second, third = followed.pins
    assert first != second == third


def test_the_data_root_has_the_image_in_place_of_its_archive(followed):
    assert "./usr/share/dockin/archive/busybox-1.36.1.tar.xz" in followed.files[1]
    assert "./usr/share/dockin/archive/busybox-1.36.1.tar.xz" not in followed.files[2]
    assert "busybox:1.36.1" in followed.repositories["busybox"]
