# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""testimage, TEST_SUITES:append = " dockin_preload": whether the device has loaded the images that its packages brought.

It can't be called dockin: where testimage runs, BitBake has imported the layer's package of that name, and oeqa would
take it for this module.
"""

import json

from oeqa.core.decorator.data import skipIfNotFeature
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

_TARGET = "dockin-preload.target"
_SECONDS = 7500
"""A load may take two hours: see TimeoutStartSec of the units."""


class DockinPreload(OERuntimeTestCase):
    """Only looks, and loads nothing: the boot has done that, or not."""

    def ask(self, command, expected=0):
        """Run a command on the device and return what it prints; fail with that if it ends otherwise than expected."""
        status, output = self.target.run(command, timeout=_SECONDS)
        self.assertEqual(status, expected, f"{command}: exit code {status}\n{output}")
        return output

    @skipIfNotFeature("systemd", "The preload is made of systemd units")
    @OEHasPackage(["dockin-preload"])
    def test_units(self):
        """Each unit has done its work, and the target that others are ordered after is reached."""
        # A boot that is not over yet is waited for; whether it went well is not the preload's alone.
        self.target.run("systemctl is-system-running --wait", timeout=_SECONDS)
        failed = self.ask("systemctl list-units --failed --plain --no-legend --full 'dockin-preload*'").strip()
        if failed:
            self.fail(f"{failed}\n" + self.target.run("journalctl -b --no-pager -u 'dockin-preload*'")[1])
        self.ask(f"systemctl is-active {_TARGET}")

    @skipIfNotFeature("systemd", "The preload is made of systemd units")
    @OEHasPackage(["dockin-preload"])
    def test_images(self):
        """Each image is in the runtime by the digest that its package wants, and noted as whole."""
        self.target.run("systemctl is-system-running --wait", timeout=_SECONDS)
        images = json.loads(self.ask("dockin-preload status --json"))["images"]
        self.assertTrue(images, "no *.image of an archive is on the device: no package with images is installed")
        for image in images:
            with self.subTest(image["name"]):
                wanted = {"state": "loaded", "recorded": True, "interrupted": False, "error": None}
                self.assertEqual({key: image[key] for key in wanted}, wanted, image)
