"""One HTTP connection to a LimitedSite in memory, for tests that look at whole answers."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import IResource

from hapi.net.server.site import LimitedSite


@frozen
class Answer:
    """`body`: the decoded JSON, or the text of another type; `headers`: by lower-case name."""

    status: int
    headers: dict[str, str]
    body: Any


class RequestWire:
    """A connection to `resource`, or to a whole `site`."""

    def __init__(
        self,
        resource: IResource | None = None,
        clock: IReactorTime | None = None,
        site: LimitedSite | None = None,
    ) -> None:
        self.transport = StringTransport()
        if site is None:
            assert resource is not None
            site = LimitedSite(resource, clock or Clock())
        self.channel: Any = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def ask(self, data: bytes) -> Answer:
        """Send a request; the answer, which has to be there at once."""
        self.transport.clear()
        self.send(data)
        return parse_answer(self.transport.value())


def parse_answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2])
    is_json = "json" in headers.get("content-type", "")
    return Answer(
        int(lines[0].split()[1]), headers, json.loads(body) if is_json and body else body.decode()
    )
