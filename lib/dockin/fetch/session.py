# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a fetch asks of a registry, with the variables, the environment and the network that BitBake gives."""

from __future__ import annotations

import os
import shlex
import typing

import bb.fetch2
import bb.utils

from dockin.errors import DockinError
from dockin.image.reference import ImageReference
from dockin.registry import credentials, remedies, resolver, runner, settings, skopeo

# Variables that hold a number, and their defaults.
_NUMBERS = {"DOCKIN_FETCH_TIMEOUT": 300, "DOCKIN_FETCH_RETRIES": 3}


class Session:
    """Asks for one image by skopeo, and for what skopeo has no command for by the client."""

    def __init__(self, reference: ImageReference, url: str, d: typing.Any) -> None:
        self._reference = reference
        self._url = url
        self._d = d
        self._timeout = _number(d, "DOCKIN_FETCH_TIMEOUT")
        self._retries = _number(d, "DOCKIN_FETCH_RETRIES")
        self.options = settings.options(d.getVar)
        # skopeo looks for no signatures then, and says that there are none.
        if self.options.registries_d and not os.path.isdir(self.options.registries_d):
            raise DockinError(f"Invalid DOCKIN_REGISTRIES_D = {self.options.registries_d!r}: there is no such directory")
        self._environment = _environment(d)
        self._logins = credentials.Credentials(self.options.authfile, self._environment)
        self._runner = runner.Runner(self.options, self._environment, self._timeout, self._retries, _end_with_parent)

    def inspect(self, reference: ImageReference) -> bytes:
        """Return the bytes of an index or manifest."""
        return self.run(skopeo.inspect_argv(self.options, reference))

    def config(self, reference: ImageReference) -> bytes:
        """Return the bytes of the config of an image that is given by its manifest's digest."""
        return self.run(skopeo.config_argv(self.options, reference))

    def referrers(self, reference: ImageReference) -> list[bytes] | None:
        """Return the registry's lists of what is attached to a digest, in pages, or None where only the tag can tell.

        skopeo has no command for this request. What the lists name is fetched by skopeo, and hashed.
        """
        self._check_network(f"the list of what is attached to {reference.canonical}")
        with self._resolver() as resolving:
            return resolving.referrers(reference)

    def list_tags(self, reference: ImageReference) -> list[str]:
        """Return the tags of a repository, as the tools see them: skopeo may refuse a whole list for one name in it."""
        self._check_network(f"the list of tags of {reference.name}")
        with self._resolver() as resolving:
            return resolving.tags(reference)

    def run(
        self,
        argv: list[str],
        begin: typing.Callable[[], None] = lambda: None,
        progress: typing.Callable[[], int] = lambda: 0,
    ) -> bytes:
        """Return what a command of skopeo's prints that asks the registry; see Runner.run()."""
        self._check_network(shlex.join(argv))
        with remedies.explained(self._reference, self._logins, self.options):
            return self._runner.run(argv, self._reference, begin, progress)

    def _check_network(self, what: str) -> None:
        bb.fetch2.check_network_access(self._d, what, self._url)

    def _resolver(self) -> resolver.Resolver:
        mode = self._d.getVar("DOCKIN_RESOLVER")
        return resolver.Resolver(self.options, self._environment, mode, self._timeout, self._retries)


def check_settings(d: typing.Any) -> None:
    """Check the variables of which skopeo's command line is made. Raises DockinError."""
    settings.options(d.getVar)
    for name in _NUMBERS:
        _number(d, name)


def _number(d: typing.Any, variable: str) -> int:
    """Return a variable's whole number. Raises DockinError."""
    value = d.getVar(variable) or str(_NUMBERS[variable])
    if not value.isdecimal():
        raise DockinError(f"Invalid {variable} = {value!r}: a whole number is expected")
    return int(value)


def _environment(d: typing.Any) -> dict[str, str]:
    """Return the environment for skopeo: BitBake's for fetchers, and that by which skopeo finds logins and configuration.

    BitBake filters it, so that it can't change task hashes; a fetched image does not depend on it. The user's PATH goes
    behind BitBake's, for credential helpers and for gpg.
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
    """Let skopeo end when the task is killed, so that it does not go on writing under a lock that is gone."""
    bb.utils.signal_on_parent_exit("SIGTERM")
