# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""oe-selftest -r dockin: whether the layer does its work in this build directory, with its machine, classes and settings.

A registry on loopback serves the image, and no other server is asked. The layer's own tests cover what the code does.
"""

import hashlib
import http.server
import io
import json
import pathlib
import tarfile
import threading

from oeqa.selftest.case import OESelftestTestCase
from oeqa.utils.commands import bitbake
from oeqa.utils.commands import get_bb_vars
from oeqa.utils.commands import runCmd

# oeqa imports this module as "dockin", the name of the layer's package: with this path it is the package as well.
__path__ = [str(pathlib.Path(__file__).resolve().parents[3] / "dockin")]

import dockin.registry.settings
import dockin.target.imageinfo

_PN = "dockin-selftest"
# Of the distribution's demands, those that an image made here can't fulfil.
_SETTINGS = """
DOCKIN_LICENSE_ACCEPTED:forcevariable = "**"
DOCKIN_POLICY:forcevariable = ""
DOCKIN_TLS_VERIFY:forcevariable = "0"
"""
_TARGET = ("TARGET_ARCH", "TUNE_FEATURES", "MACHINEOVERRIDES", "DOCKIN_PLATFORM")
_OCI = "application/vnd.oci.image"


class _Registry(http.server.ThreadingHTTPServer):
    """The pull side of a registry with one repository and one tag, selftest/app:1.0."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.requests = 0
        tags = json.dumps({"name": "selftest/app", "tags": ["1.0"]}).encode()
        self.content = {"/v2/": ("application/json", b"{}"), "/v2/selftest/app/tags/list": ("application/json", tags)}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def push(self, platform, word):
        """Make the tag an index with one image, which has a word in its only layer; return the digest of the index."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            member = tarfile.TarInfo("word")
            member.size = len(word)
            tar.addfile(member, io.BytesIO(word.encode()))
        parts = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
        named = {key: value for key, value in parts.items() if value}
        diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
        config = {**named, "config": {"Cmd": ["/word"]}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": self._add(f"{_OCI}.config.v1+json", json.dumps(config).encode()),
            "layers": [self._add(f"{_OCI}.layer.v1.tar", layer.getvalue())],
        }
        entry = {**self._add(manifest["mediaType"], json.dumps(manifest).encode()), "platform": named}
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [entry]}
        return self._add(index["mediaType"], json.dumps(index).encode(), "1.0")["digest"]

    def _add(self, media_type, data, tag=None):
        """Serve a blob by its digest, and by the tag if there is one; return its descriptor."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        kind = "manifests" if media_type.endswith(("manifest.v1+json", "index.v1+json")) else "blobs"
        for name in filter(None, (digest, tag)):
            self.content[f"/v2/selftest/app/{kind}/{name}"] = (media_type, data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers the requests to a _Registry."""

    def do_GET(self):
        """Send what the registry has under the path."""
        self.server.requests += 1
        media_type, data = self.server.content.get(self.path, ("", None))
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(data or b"").hexdigest())
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        """Print nothing."""


class Dockin(OESelftestTestCase):
    """One recipe, from the registry to its packages, refreshed, and built again without a network."""

    @classmethod
    def setUpClass(cls):
        """Start the registry, with an image for this build's machine."""
        super().setUpClass()
        cls.platform = dockin.registry.settings.target_platform(get_bb_vars(_TARGET).get)
        cls.registry = _Registry()
        cls.image = f"{cls.registry.address}/selftest/app"
        cls.digest = cls.registry.push(cls.platform, "first")

    @classmethod
    def tearDownClass(cls):
        """Stop the registry."""
        cls.registry.shutdown()
        cls.registry.server_close()
        super().tearDownClass()

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

        moved = self.registry.push(self.platform, "second")
        refresh = f"bitbake-layers dockin-refresh {_PN}"
        self.assertEqual(runCmd(f"{refresh} --check", ignore_status=True).status, 3)
        runCmd(refresh)
        self.assertIn(moved[len("sha256:"):], recipe.read_text())
        self.check_built(moved, places)

        asked = self.registry.requests
        bitbake(f"-c cleansstate {_PN}")
        self.write_config(_SETTINGS + 'BB_NO_NETWORK = "1"\n')
        self.check_built(moved, places)
        self.assertEqual(self.registry.requests, asked)
