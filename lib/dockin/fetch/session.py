# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A fetch's access to a registry, with BitBake's variables, environment and network rules."""

from __future__ import annotations

import os
import shlex
import typing

import bb.fetch2
import bb.utils

from dockin import defaults
from dockin.errors import DockinError
from dockin.image.reference import ImageReference
from dockin.registry import credentials, remedies, resolver, runner, settings, skopeo

# Variables that hold a number.
_NUMBERS = ("DOCKIN_FETCH_TIMEOUT", "DOCKIN_FETCH_RETRIES")


class Session:
    """Asks a registry for one image by skopeo, and by the client for what skopeo has no command for."""

    def __init__(self, reference: ImageReference, url: str, d: typing.Any) -> None:
        self._reference = reference
        self._url = url
        self._d = d
        self._timeout = _number(d, "DOCKIN_FETCH_TIMEOUT")
        self._retries = _number(d, "DOCKIN_FETCH_RETRIES")
        self.options = settings.options(d.getVar)
        # skopeo would look for no signatures, and report that there are none.
        if self.options.registries_d and not os.path.isdir(self.options.registries_d):
            raise DockinError(f"Invalid DOCKIN_REGISTRIES_D = {self.options.registries_d!r}: there is no such directory")
        self._environment = _environment(d)
        self._logins = credentials.Credentials(self.options.authfile, self._environment)
        self._runner = runner.Runner(self.options, self._environment, self._timeout, self._retries, _end_with_parent)

    def inspect(self, reference: ImageReference) -> bytes:
        """Return the bytes of an index or manifest."""
        return self.run(skopeo.inspect_argv(self.options, reference))

    def config(self, reference: ImageReference) -> bytes:
        """Return the bytes of a config, by the digest of its manifest."""
        return self.run(skopeo.config_argv(self.options, reference))

    def referrers(self, reference: ImageReference) -> list[bytes] | None:
        """Return the pages of the registry's referrers of a digest, or None if only the tag can tell.

        skopeo has no command for this request. It fetches what the lists name, and the caller hashes that.
        """
        self._check_network(f"the referrers of {reference.canonical}")
        with self._resolver() as resolving:
            return resolving.referrers(reference)

    def list_tags(self, reference: ImageReference) -> list[str]:
        """Return the tags of a repository, by the tools' resolver: skopeo may refuse a list because of one name in it."""
        self._check_network(f"the list of tags of {reference.name}")
        with self._resolver() as resolving:
            return resolving.tags(reference)

    def run(
        self,
        argv: list[str],
        begin: typing.Callable[[], None] = lambda: None,
        progress: typing.Callable[[], int] = lambda: 0,
    ) -> bytes:
        """Return the output of a skopeo command that asks the registry; see Runner.run()."""
        self._check_network(shlex.join(argv))
        with remedies.explained(self._reference, self._logins, self.options):
            return self._runner.run(argv, self._reference, begin, progress)

    def _check_network(self, what: str) -> None:
        bb.fetch2.check_network_access(self._d, what, self._url)

    def _resolver(self) -> resolver.Resolver:
        mode = self._d.getVar("DOCKIN_RESOLVER")
        return resolver.Resolver(self.options, self._environment, mode, self._timeout, self._retries)


def check_settings(d: typing.Any) -> None:
    """Check the variables that make up skopeo's command line. Raises DockinError."""
    settings.options(d.getVar)
    for name in _NUMBERS:
        _number(d, name)


def _number(d: typing.Any, variable: str) -> int:
    """Return a variable's value as a whole number. Raises DockinError."""
    value = defaults.value(d.getVar, variable)
    if not value.isdecimal():
        raise DockinError(f"Invalid {variable} = {value!r}: a whole number is expected")
    return int(value)


def _environment(d: typing.Any) -> dict[str, str]:
    """Return the environment for skopeo: BitBake's for fetchers, and the variables for skopeo's logins and settings.

    BitBake filters these out to protect task hashes, but a fetched image does not depend on them. The user's PATH is
    appended to BitBake's, for credential helpers and gpg.
    """
    original = d.getVar("BB_ORIGENV", False)
    environment = dict(os.environ)
    environment.update(bb.fetch2.get_fetcher_environment(d))
    for name in skopeo.ENVIRONMENT:
        value = original.getVar(name, False) if original else None
        if value:
            environment[name] = value
    path = original.getVar("PATH", False) if original else None
    environment["PATH"] = os.pathsep.join(filter(None, (environment.get("PATH"), path)))
    environment["PSEUDO_DISABLED"] = "1"
    return environment


def _end_with_parent() -> None:
    """Have the kernel end skopeo if the task is killed: it must not go on writing after the lock is released."""
    bb.utils.signal_on_parent_exit("SIGTERM")
