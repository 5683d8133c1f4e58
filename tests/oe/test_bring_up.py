# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""contrib/kas and contrib/bitbake-setup bring up a build in which the demo is built: the real tools, real clones.

The git servers are repositories of this machine, which git takes in their place. What makes builds quick comes from the
test bed, as a layer and lines of local.conf of the user's own.
"""

from __future__ import annotations

import json
import subprocess

from dataclasses import dataclass
from pathlib import Path

import pytest

from support import cache, oe

BIN = cache.directory() / "venv" / "bin"
SECONDS = 300


@dataclass(frozen=True)
class Newcomer:
    """A user with a clone of this layer, who has neither BitBake nor OE-core."""

    build: oe.Build
    place: Path
    layer: Path

    @property
    def local_conf(self):
        """What the test bed wants to be said, less what the files under test say."""
        lines = (self.build.path / "conf" / "local.conf").read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith(("MACHINE ", "DISTRO ", "INIT_MANAGER ")))


def git(*arguments):
    subprocess.run(["git", *map(str, arguments)], check=True, capture_output=True, timeout=SECONDS)


@pytest.fixture
def newcomer(shop, request):
    bench = shop.bench
    place = bench.folder(request.node.name.partition("[")[0])
    config = oe.GIT_CONFIG
    for checkout in (bench.release.bitbake, bench.release.oecore):
        server, _, name = checkout.url.rpartition("/")
        git("init", "--quiet", "--bare", place / "git" / name)
        git("-C", place / "git" / name, "fetch", "--quiet", "--update-shallow", checkout.path,
            f"HEAD:refs/heads/{checkout.branch}")
    bench.write(place / "home" / ".gitconfig", f'{config}\n[url "file://{place}/git/"]\n    insteadOf = {server}/\n')
    layer = bench.copy_layer(f"{place.name}/meta-dockin")
    git("init", "--quiet", layer)
    build = shop.build(f"{place.name}-build")
    build.environment.update(HOME=str(place / "home"), GITCONFIG_FILE=str(place / "home" / ".gitconfig"))
    shop.serve_demos(build)
    bench.account.own_folders(place)
    return Newcomer(build, place, layer)


@pytest.mark.release("scarthgap")
@pytest.mark.timeout(900)
def test_kas(release, newcomer):
    """A project of the user's own that includes the layer's file; then the file alone."""
    build, place, layer = newcomer.build, newcomer.place, newcomer.layer
    kas = str(BIN / "kas")
    project = {
        "header": {"version": 14, "includes": [{"repo": "meta-dockin", "file": f"contrib/kas/{release}.yml"}]},
        "repos": {"meta-dockin": {"path": str(layer)}, "bed": {"path": str(build.test_layer)}},
        "local_conf_header": {"bed": newcomer.local_conf},
    }
    build.bench.write(place / "project.json", json.dumps(project))
    # The build directory of Build, whose BitBake server is stopped at the end.
    build.environment.update(KAS_WORK_DIR=str(place), KAS_BUILD_DIR=str(build.path))
    build.run(kas, "build", str(place / "project.json"), timeout=600).ok()
    assert build.deb("hello-world").files
    shown = build.run(kas, "shell", str(layer / "contrib" / "kas" / f"{release}.yml"), "-c",
                      "bitbake-layers show-layers && bitbake-getvar --value INIT_MANAGER").ok().output
    assert str(layer) in shown.replace(f"{build.path}/../{place.name}", str(place)) and "meta-test-bed" not in shown, shown
    assert shown.split()[-1] == "systemd"


@pytest.mark.release("master")
@pytest.mark.timeout(900)
def test_bitbake_setup(release, newcomer):
    build, place = newcomer.build, newcomer.place
    config = newcomer.layer / "contrib" / "bitbake-setup" / f"dockin-{release}.conf.json"
    settings = [word for name in ("top-dir-prefix", "dl-dir") for word in ("--setting", "default", name, str(place / name))]
    (place / "top-dir-prefix").mkdir()
    build.bench.account.own_folders(place)
    setup = [str(BIN / "bitbake-setup"), *settings, "init", "--non-interactive", str(config)]
    build.run(*setup, "dockin", "machine/qemux86-64", timeout=600).ok()
    [directory] = (place / "top-dir-prefix").glob(f"*/dockin-{release}/build")
    with (directory / "conf" / "local.conf").open("a") as file:
        file.write(newcomer.local_conf)
    with (directory / "conf" / "bblayers.conf").open("a") as file:
        file.write(f'BBLAYERS += "{build.test_layer}"\n')
    script = f". {directory}/init-build-env && bitbake hello-world && bitbake-getvar --value INIT_MANAGER"
    output = build.run("bash", "-ec", script, timeout=600).ok().output
    assert output.split()[-1] == "systemd"
    assert list(directory.glob("tmp/deploy/deb/*/hello-world_*.deb")), output
