#!/usr/bin/env python3
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a refresh costs when nothing has changed: requests, counted pulls (manifests by GET) and time.

    bench/resolve.py [--images 40] [--runs 3] [--connect 0.08] [--request 0.04]

scripts/dockin check, start of Python included, beside skopeo inspect of the same images, one after the other; first on
loopback, then through a proxy that adds the delays of a registry far away. The counts are from the registry's access log.
Runs are repeated up to three times, or until 10 s are over: skopeo, far away, takes more.
Goal: no counted pull, and at least 8 times as fast as skopeo inspect from far away.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(LAYER / "tests"), str(LAYER / "lib")]

from support import images, measure, registry  # noqa: E402

TIMES = 8
ENOUGH = 10
SECONDS = 600
PLATFORMS = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")


class Distance:
    """A TCP proxy on loopback that makes a server as slow to reach as one far away."""

    def __init__(self, address: str, connect: float, request: float) -> None:
        self._target = address.rpartition(":")
        self._connect = connect
        self._request = request
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Take no more connections."""
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        time.sleep(self._connect)
        server = socket.create_connection((self._target[0], int(self._target[2])))
        threading.Thread(target=_copy, args=(server, client, 0.0), daemon=True).start()
        _copy(client, server, self._request)


def main() -> int:
    """Measure, print a table, and return whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40, help="pinned images (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each; the median counts (default: %(default)s)")
    parser.add_argument("--connect", type=float, default=0.08, help="seconds for a connection (default: %(default)s)")
    parser.add_argument("--request", type=float, default=0.04, help="seconds for a request (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, registry.Registry(Path(folder, "registry")) as server:
        content = images.index([images.image([images.layer({"x": name})], name) for name in PLATFORMS])
        names = [f"bench/app{number}" for number in range(options.images)]
        digests = [server.push(content, name, "v1") for name in names]
        near_rows = compare(server, server.address, Path(folder, "near"), names, digests, options.runs)
        far = Distance(server.address, options.connect, options.request)
        try:
            far_rows = compare(server, far.address, Path(folder, "far"), names, digests, options.runs)
        finally:
            far.close()
    print(f"{options.images} pinned images of {len(PLATFORMS)} platforms, nothing changed; median of {options.runs} runs, or"
          f" of those in {ENOUGH} s\n")
    distance = f"+{options.connect} s a connection, +{options.request} s a request"
    for title, rows in (("On loopback", near_rows), (distance, far_rows)):
        print(f"{title:52} requests  counted pulls  seconds   times")
        fastest = rows["scripts/dockin check"][2]
        for name, (requests, pulls, seconds) in rows.items():
            print(f"  {name:50} {requests:8}  {pulls:13}  {seconds:7.2f}  {seconds / fastest:6.1f}")
        print()
    goals = measure.Goals()
    for title, rows in (("near", near_rows), ("far", far_rows)):
        goals.at_most(f"{title}: counted pulls", rows["scripts/dockin check"][1], 0)
    ratio = far_rows["scripts/dockin check"][2] / far_rows["skopeo inspect"][2]
    goals.at_most("far: scripts/dockin check / skopeo inspect", ratio, 1 / TIMES)
    return goals.status()


def compare(
    server: registry.Registry, address: str, folder: Path, names: list[str], digests: list[str], runs: int
) -> dict[str, tuple[int, int, float]]:
    """Return requests, counted pulls and seconds of each way to look the images up."""
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "layer.conf").touch()
    for name, digest in zip(names, digests):
        text = f'inherit dockin\nSRC_URI = "docker://{address}/{name};tag=v1"\nSRC_URI[sha256sum] = "{digest[7:]}"\n'
        (folder / f"{name.rpartition('/')[2]}_1.0.bb").write_text(text)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKIN_TLS_VERIFY": "0"}
    check = [sys.executable, str(LAYER / "scripts" / "dockin"), "check", str(folder)]
    inspect = ["skopeo", "inspect", "--tls-verify=false"]
    targets = [f"docker://{address}/{name}:v1" for name in names]
    ways: dict[str, list[list[str]]] = {
        "scripts/dockin check": [check],
        "scripts/dockin check --jobs 1": [[*check, "--jobs", "1"]],
        "skopeo inspect": [[*inspect, target] for target in targets],
        "skopeo inspect --raw": [[*inspect, "--raw", target] for target in targets],
    }
    subprocess.run(check, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)  # compiles the modules
    return {name: _repeated(server, commands, environment, runs) for name, commands in ways.items()}


def _repeated(
    server: registry.Registry, commands: list[list[str]], environment: dict[str, str], runs: int
) -> tuple[int, int, float]:
    found = [_timed(server, commands, environment)]
    while len(found) < runs and sum(seconds for _, _, seconds in found) < ENOUGH:
        found.append(_timed(server, commands, environment))
    return _median(found)


def _timed(server: registry.Registry, commands: list[list[str]], environment: dict[str, str]) -> tuple[int, int, float]:
    with server.recording() as requests:
        start = time.monotonic()
        for command in commands:
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)
        seconds = time.monotonic() - start
    return len(requests), len(requests.manifests()), seconds


def _median(found: list[tuple[int, int, float]]) -> tuple[int, int, float]:
    return found[0][0], max(pulls for _, pulls, _ in found), statistics.median(seconds for _, _, seconds in found)


def _copy(source: socket.socket, target: socket.socket, delay: float) -> None:
    with contextlib.suppress(OSError), source:
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            time.sleep(delay)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
        target.close()


if __name__ == "__main__":
    sys.exit(main())
