# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""oe-selftest -r dockin: whether the layer does its work in this build directory, with its machine, classes and settings.

A registry on loopback, made of the layer's own test code, has the image; nothing else is asked. What the code itself does is
tested by the layer's own tests.
"""

import json
import pathlib
import sys

from oeqa.selftest.case import OESelftestTestCase
from oeqa.utils.commands import bitbake
from oeqa.utils.commands import get_bb_vars
from oeqa.utils.commands import runCmd

_LAYER = pathlib.Path(__file__).resolve().parents[4]

# oeqa gives this module the name of the layer's package: it stands for that as well.
__path__ = [str(_LAYER / "lib" / "dockin")]
if str(_LAYER / "tests") not in sys.path:
    sys.path.append(str(_LAYER / "tests"))

import dockin.registry.settings  # noqa: E402
import dockin.target.imageinfo  # noqa: E402
from support import faults  # noqa: E402
from support import images  # noqa: E402

_PN = "dockin-selftest"
# Of the distribution's demands, those that an image made here can't fulfil.
_SETTINGS = """
DOCKIN_LICENSE_ACCEPTED:forcevariable = "**"
DOCKIN_POLICY:forcevariable = ""
DOCKIN_TLS_VERIFY:forcevariable = "0"
"""
_TARGET = ("TARGET_ARCH", "TUNE_FEATURES", "MACHINEOVERRIDES", "DOCKIN_PLATFORM")


class Dockin(OESelftestTestCase):
    """One recipe, from the registry to its packages, refreshed, and built again without a network."""

    @classmethod
    def setUpClass(cls):
        """Start the registry, with an image for this build's machine."""
        super().setUpClass()
        cls.platform = str(dockin.registry.settings.target_platform(get_bb_vars(_TARGET).get))
        cls.registry = faults.FaultyRegistry().__enter__()
        cls.image = f"{cls.registry.address}/selftest/app"
        cls.digest = cls.push("first")

    @classmethod
    def tearDownClass(cls):
        """Stop the registry."""
        cls.registry.__exit__()
        super().tearDownClass()

    @classmethod
    def push(cls, word):
        """Let the tag 1.0 be an image with a word in it; return the digest of its index."""
        layers = [images.layer({"etc/common": "common"}), images.layer({"etc/word": word})]
        return cls.registry.add(images.index([images.image(layers, cls.platform)]), "selftest/app", "1.0")

    def status(self):
        """Return what dockin-status says of the recipe's image."""
        path = pathlib.Path(self.builddir, "dockin-status.json")
        self.track_for_cleanup(str(path))
        runCmd(f"bitbake-layers dockin-status {_PN} --json --output {path}")
        [image] = json.loads(path.read_text())["images"]
        return image

    def check_built(self, digest, places):
        """Build the recipe; check that it installs the image of a digest, and the unit that loads it."""
        bitbake(_PN)
        archives = pathlib.Path(places["D"] + places["docker_archivedir"])
        [path] = archives.glob("*.image")
        found = dockin.target.imageinfo.parse(path.read_text(), str(path))
        self.assertEqual(found.source_digest, digest)
        self.assertEqual((archives / found.archive).stat().st_size, found.archive_size)
        units = list(pathlib.Path(places["D"] + places["systemd_system_unitdir"]).glob("dockin-preload-*.service"))
        self.assertEqual(len(units), 1, units)

    def test_life_of_a_recipe(self):
        """add-docker, build, a tag that moves, refresh, a build from DL_DIR alone."""
        self.write_config(_SETTINGS)
        recipe = pathlib.Path(self.testlayer_path, "recipes-containers", _PN, f"{_PN}_1.0.bb")
        self.track_for_cleanup(str(recipe.parent.parent))
        self.add_command_to_tearDown(f"bitbake -c cleanall {_PN}")
        runCmd(f"devtool add-docker {self.image}:1.0 --recipe-name {_PN} --layer {self.testlayer_path}")
        self.assertIn(self.digest[len("sha256:"):], recipe.read_text())
        places = get_bb_vars(["D", "docker_archivedir", "systemd_system_unitdir"], _PN)
        self.check_built(self.digest, places)
        status = self.status()
        self.assertEqual((status["fetched"], status["packaged"]["source_digest"]), (True, self.digest))

        moved = self.push("second")
        refresh = f"bitbake-layers dockin-refresh {_PN}"
        self.assertEqual(runCmd(f"{refresh} --check", ignore_status=True).status, 3)
        runCmd(refresh)
        self.assertIn(moved[len("sha256:"):], recipe.read_text())
        self.check_built(moved, places)

        asked = len(self.registry.log)
        bitbake(f"-c cleansstate {_PN}")
        self.write_config(_SETTINGS + 'BB_NO_NETWORK = "1"\n')
        self.check_built(moved, places)
        self.assertEqual(len(self.registry.log), asked)
