# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a test of the fetcher has to hand: a DL_DIR, a user's home, jobs that use them, small images."""

from __future__ import annotations

import itertools
import os
import shutil

from support import bbrun, images

LIBRARIES = bbrun.libraries()
# The one for tests that say nothing about BitBake.
FIRST = next((library for library in LIBRARIES if not library.unavailable), LIBRARIES[0])


def small_image(name, platform="linux/amd64", form="oci", compression="gzip", layers=2, **keywords):
    """Return an image of some small layers: the first shared by all, the others of this name."""
    parts = [images.layer({"etc/base": "the same in every image\n"}, compression)]
    parts += [
        images.layer({f"etc/{name}-{number}": f"{name} {number}\n"}, compression)
        for number in range(1, layers)
    ]
    return images.image(parts, platform, form, **keywords)


# What a fetcher may raise: with it BitBake prints a message, with anything else a traceback.
ERRORS = {
    "BBFetchException",
    "ChecksumError",
    "FetchError",
    "MissingParameterError",
    "NetworkAccess",
    "NoChecksumError",
    "ParameterError",
    "UnpackError",
    "UntrustedUrl",
}


class Bench:
    """A DL_DIR and a user's home, and jobs that use them."""

    def __init__(self, runner, directory):
        self.runner = runner
        self.directory = directory
        self.dl_dir = directory / "downloads"
        self.home = directory / "home"
        self.dl_dir.mkdir(parents=True)
        self.home.mkdir()
        self._jobs = itertools.count(1)

    @property
    def environment(self):
        """The user's environment: nothing of the machine that the tests run on but PATH."""
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "builder"}

    def job(self, url, *steps, pin=None, environment=None, **variables):
        """Return a job on one entry of SRC_URI (or several, with spaces); pin is a digest."""
        flags = {"SRC_URI": {"sha256sum": pin.partition(":")[2]}} if pin else {}
        settings = {
            "DL_DIR": str(self.dl_dir),
            "SRC_URI": url,
            "DOCKIN_TLS_VERIFY": "0",
            "DOCKIN_FETCH_RETRIES": "0",
            **variables,
        }
        return bbrun.Job(
            {name: value for name, value in settings.items() if value is not None},
            [list(step) for step in steps or [("fetch",)]],
            {**self.environment, **(environment or {})},
            flags,
        )

    def run(self, *arguments, **keywords):
        """Do a job and return its outcome."""
        return self.runner.run(self.job(*arguments, **keywords), self._next())

    def begin(self, *arguments, **keywords):
        """Start a job."""
        return self.runner.begin(self.job(*arguments, **keywords), self._next())

    def fetch(self, url, pin=None, **keywords):
        """Fetch, expect success, and return the outcome."""
        outcome = self.run(url, pin=pin, **keywords)
        assert outcome.error is None, outcome.text
        return outcome

    def refuse(self, url, *words, pin=None, steps=(), errors=ERRORS, **keywords):
        """Fetch, expect an error whose message has all the words, and return the outcome."""
        outcome = self.run(url, *steps, pin=pin, **keywords)
        assert outcome.error is not None, f"there was no error: {outcome.text}"
        for word in words:
            assert word in outcome.text, f"{word!r} is not in:\n{outcome.text}"
        assert outcome.error_type in errors, f"{outcome.error_type} is no error of a fetcher:\n{outcome.text}"
        return outcome

    def files(self, pattern="*.tar"):
        """Return the image tarballs in DL_DIR, or the files that match pattern."""
        return sorted(self.dl_dir.glob(pattern))

    def only_file(self):
        """Return the one image tarball in DL_DIR."""
        (found,) = self.files()
        return found

    def partial(self, content):
        """Return the directory in which a pinned image for linux/amd64 is downloaded."""
        return self.dl_dir / f"docker_sha256-{content.hex}_linux-amd64.tar.part-{os.geteuid()}"

    def second(self):
        """Return another bench, with a DL_DIR of its own."""
        return Bench(self.runner, self.directory.with_name(f"{self.directory.name}-{next(self._jobs)}"))

    def wrapper(self, name, text):
        """Write an executable shell script and return the environment in which it comes first on PATH."""
        directory = self.directory / "bin"
        directory.mkdir(exist_ok=True)
        program = directory / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return {"PATH": f"{directory}:{os.environ['PATH']}"}

    def recorded_skopeo(self):
        """Put a skopeo first on PATH that writes down its command line and environment, then is the real one.

        Returns (environment for the job, file with the record).
        """
        record = self.directory / "skopeo.record"
        real = shutil.which("skopeo")
        text = f"{{ printf '%s\\n' \"$@\"; env; }} >>'{record}'\nexec '{real}' \"$@\""
        return self.wrapper("skopeo", text), record

    def _next(self):
        return self.directory / f"job-{next(self._jobs)}"
