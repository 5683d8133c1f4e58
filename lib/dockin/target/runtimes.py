# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What loads archives on a target: Docker, podman or containerd, by the values of DOCKIN_RUNTIME."""

from __future__ import annotations

from dataclasses import dataclass

from dockin.errors import DockinError


class InvalidRuntime(DockinError):
    """DOCKIN_RUNTIME has a value that is none."""


@dataclass(frozen=True)
class Runtime:
    """A container engine of a target."""

    name: str
    """The value of DOCKIN_RUNTIME, and of runtime= in an image information file."""
    title: str
    """As a person calls it."""
    packages: str
    """Names in meta-virtualization of what the target needs, separated by spaces."""
    service: str
    """The unit of its daemon, "" where it has none."""
    data_root: str
    """Where it keeps images unless told otherwise."""
    has_image_stores: bool = False
    """Whether it takes images from additional stores, which it never writes to."""


DOCKER = Runtime("docker", "Docker", "docker", "docker.service", "/var/lib/docker")
PODMAN = Runtime("podman", "Podman", "podman", "", "/var/lib/containers/storage", has_image_stores=True)
# With containerd comes ctr, by which it is asked.
CONTAINERD = Runtime("containerd", "containerd", "virtual-containerd", "containerd.service", "/var/lib/containerd")

CLASSIC_STORE = "classic"
CONTAINERD_STORE = "containerd"
STORES = (CLASSIC_STORE, CONTAINERD_STORE)
"""The values of DOCKIN_RUNTIME_STORE: where Docker keeps images."""

# Releases for which meta-virtualization has a Docker before 29, the first that takes containerd's store for a new data-root.
# BitBake can't ask another recipe for its version while it parses one; but a release has one Docker.
_CLASSIC_SERIES = {"scarthgap"}

RUNTIMES = {runtime.name: runtime for runtime in (DOCKER, PODMAN, CONTAINERD)}


def parse(name: str) -> Runtime:
    """Return the runtime of that name. Raises InvalidRuntime."""
    if name not in RUNTIMES:
        known = ", ".join(map(repr, RUNTIMES))
        raise InvalidRuntime(f"Invalid DOCKIN_RUNTIME = {name!r}: expected {known}")
    return RUNTIMES[name]


def keeps_blobs(name: str, store: str) -> bool:
    """Tell whether a runtime keeps what is in an archive beside the unpacked layers; the store counts for Docker alone."""
    return name == CONTAINERD.name or name == DOCKER.name and store == CONTAINERD_STORE


def new_store(collections: str, series: str) -> str:
    """Return the store that the Docker of a build takes for a new data-root.

    collections are the build's layers (BBFILE_COLLECTIONS), series the names of OE-core's release (LAYERSERIES_CORENAMES).
    Where the Docker is not meta-virtualization's, it is not known: then the classic store, as ever.
    """
    known = "virtualization-layer" in collections.split()
    return CONTAINERD_STORE if known and not _CLASSIC_SERIES & set(series.split()) else CLASSIC_STORE


def packages(name: str) -> str:
    """Return the packages of a runtime, "" for one that is not known: parse() says that."""
    return RUNTIMES[name].packages if name in RUNTIMES else ""


def data_root(name: str) -> str:
    """Return where a runtime keeps its images by itself, "" for one that is not known: parse() says that."""
    return RUNTIMES[name].data_root if name in RUNTIMES else ""


def waiting_services(runtime: Runtime, directory: str) -> dict[str, str]:
    """Return the services that must not start before a file system is mounted, and the directory that is on it.

    directory is the runtime's data-root. Docker's containerd store is in the data-root of containerd, where that is
    a service of its own.
    """
    if not runtime.service:
        return {}
    return {CONTAINERD.service: CONTAINERD.data_root, runtime.service: directory}
