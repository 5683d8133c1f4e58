# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Bearer tokens for a FaultyRegistry, as registries give them out:
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import json
import urllib.parse

from support import faults, registry


class TokenServer:
    """Makes a FaultyRegistry want bearer tokens, which it also gives out; paths are the requests that need one.

    given are the tokens so far, "<repository>-<number>"; revoke() makes those worthless.
    """

    def __init__(
        self,
        server: faults.FaultyRegistry,
        login: registry.Login | None = None,
        identity: str = "",
        lifetime: int = 300,
        paths: tuple[str, ...] = ("/manifests/",),
    ) -> None:
        self.given: list[str] = []
        self.login, self.identity, self.lifetime = login, identity, lifetime
        self.server = server
        self._revoked = 0
        server.fail("/auth?", self.token)
        for path in paths:
            server.fail(path, self.guard)

    def revoke(self) -> None:
        """Let the tokens that were given out be worth nothing from now on."""
        self._revoked = len(self.given)

    def guard(self, handler: faults.Handler, answer: faults.Answer) -> None:
        """Answer a request that has a token for its repository, and others with the challenge."""
        name = handler.path[len(faults.PULL_PREFIX) :].partition("/manifests/")[0].partition("/blobs/")[0]
        shown = handler.headers.get("Authorization")
        if any(shown == f"Bearer {token}" and name in token for token in self.given[self._revoked :]):
            handler.send(answer)
            return
        realm = f'Bearer realm="http://{self.server.address}/auth?x=1",service="tests",scope="repository:{name}:pull"'
        handler.send(faults.Answer(401, {"WWW-Authenticate": realm}, b""))

    def token(self, handler: faults.Handler, answer: faults.Answer) -> None:
        """Give out a token for a login, or an identity token."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        if handler.command == "POST":
            query = urllib.parse.parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
            allowed = query["refresh_token"] == [self.identity] and query["grant_type"] == ["refresh_token"]
        else:
            basic = base64.b64encode(":".join(self.login.pair).encode()).decode() if self.login else ""
            allowed = not self.login or handler.headers.get("Authorization") == f"Basic {basic}"
        if not allowed:
            handler.send(faults.Answer(401, {}, b""))
            return
        name = query["scope"][0].split(":")[1]
        self.given.append(f"{name}-{len(self.given)}")
        body = json.dumps({"token": self.given[-1], "expires_in": self.lifetime}).encode()
        handler.send(faults.Answer(200, {"Content-Type": "application/json"}, body))
