# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Runtimes that load archives on a target: Docker, Podman or containerd, the values of DOCKIN_RUNTIME."""

from __future__ import annotations

from dataclasses import dataclass

from dockin.errors import DockinError


class InvalidRuntime(DockinError):
    """DOCKIN_RUNTIME has an unknown value."""


@dataclass(frozen=True)
class Runtime:
    """A container engine of a target."""

    name: str
    """The value of DOCKIN_RUNTIME, and of runtime= in an image information file."""
    title: str
    """Its name in texts for people."""
    packages: str
    """Its packages in meta-virtualization, separated by spaces."""
    service: str
    """The unit of its daemon, "" if it has none."""
    data_root: str
    """Its default directory for images."""
    has_image_stores: bool = False
    """Whether it uses additional image stores, which it never writes to."""


DOCKER = Runtime("docker", "Docker", "docker", "docker.service", "/var/lib/docker")
PODMAN = Runtime("podman", "Podman", "podman", "", "/var/lib/containers/storage", has_image_stores=True)
# containerd's package has ctr, its client.
CONTAINERD = Runtime("containerd", "containerd", "virtual-containerd", "containerd.service", "/var/lib/containerd")

CLASSIC_STORE = "classic"
CONTAINERD_STORE = "containerd"
STORES = (CLASSIC_STORE, CONTAINERD_STORE)
"""The values of DOCKIN_RUNTIME_STORE: Docker's image stores."""

# Releases whose meta-virtualization has a Docker before 29, the first that uses containerd's store for a new data-root.
# BitBake cannot read another recipe's version while it parses one, but each release has one Docker.
_CLASSIC_SERIES = {"scarthgap"}

RUNTIMES = {runtime.name: runtime for runtime in (DOCKER, PODMAN, CONTAINERD)}


def parse(name: str) -> Runtime:
    """Return the runtime of that name. Raises InvalidRuntime."""
    if name not in RUNTIMES:
        known = ", ".join(map(repr, RUNTIMES))
        raise InvalidRuntime(f"Invalid DOCKIN_RUNTIME = {name!r}: expected {known}")
    return RUNTIMES[name]


def keeps_blobs(name: str, store: str) -> bool:
    """Tell whether a runtime keeps an archive's blobs beside the unpacked layers; store only matters for Docker."""
    return name == CONTAINERD.name or name == DOCKER.name and store == CONTAINERD_STORE


def new_store(collections: str, series: str) -> str:
    """Return the store that the build's Docker uses for a new data-root.

    collections are the build's layers (BBFILE_COLLECTIONS), series the names of OE-core's release (LAYERSERIES_CORENAMES).
    A Docker that is not meta-virtualization's is unknown, and counts as one with the classic store.
    """
    known = "virtualization-layer" in collections.split()
    return CONTAINERD_STORE if known and not _CLASSIC_SERIES & set(series.split()) else CLASSIC_STORE


def packages(name: str) -> str:
    """Return the packages of a runtime, "" for an unknown one, which parse() reports."""
    return RUNTIMES[name].packages if name in RUNTIMES else ""


def data_root(name: str) -> str:
    """Return a runtime's default directory for images, "" for an unknown one, which parse() reports."""
    return RUNTIMES[name].data_root if name in RUNTIMES else ""


def waiting_services(runtime: Runtime, directory: str) -> dict[str, str]:
    """Return the services that must not start before a file system is mounted, each with the directory on it.

    directory is the runtime's data-root. Docker's containerd store is in containerd's data-root, if containerd is a
    service of its own.
    """
    if not runtime.service:
        return {}
    return {CONTAINERD.service: CONTAINERD.data_root, runtime.service: directory}
