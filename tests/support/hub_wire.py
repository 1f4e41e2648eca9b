"""The hub's whole site over a connection in memory: heads, limits, request ids and routes as in the
real hub, on the clock of a Stage.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.web.resource import Resource

from hapi.hub.http.site import HostPolicy, RootResource, hub_site
from hapi.hub.http.static import PageResource
from tests.support.hub_stage import TOKEN, Stage
from tests.support.request_wire import Answer, RequestWire, parse_answer


class HubWire:
    """Each request has a connection of its own."""

    def __init__(self, host_policy: HostPolicy | None = None, store: Any = None) -> None:
        """`store`: as for a Stage."""
        self.stage = Stage(store)
        hub = self.stage.hub
        root = RootResource(
            host_policy or HostPolicy(), hub.rest, hub.streams, Resource(), PageResource()
        )
        self.site = hub_site(
            root,
            self.stage.clock,
            hub.authenticator,
            lambda _: 0,
            hub.monitoring.requests,
        )

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: bool = True,
    ) -> Answer:
        """The answer, or the head of one that goes on."""
        return parse_answer(self.begin(method, path, body, headers, token).transport.value())

    def begin(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: bool = True,
    ) -> RequestWire:
        """Send a request, whose answer may come later; the connection."""
        given = {"Host": "127.0.0.1:3006", **(headers or {})}
        if token:
            secret = TOKEN if path.startswith("/cli") else self.stage.jwt()
            given.setdefault("Authorization", f"Bearer {secret}")
        data = b"" if body is None else json.dumps(body).encode()
        if data:
            given["Content-Length"] = str(len(data))
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {given[key]}" for key in given), "", ""]
        wire = RequestWire(site=self.site)
        wire.send("\r\n".join(lines).encode() + data)
        return wire
