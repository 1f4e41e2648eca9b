"""An HTTP client for tests whose replies are scripted, in the place of treq's."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers


@define(eq=False)
class ScriptedReply:
    code: int = 201
    headers: Headers = field(factory=Headers)
    content: bytes = b""
    length: int = 1  # anything but 0, of which treq does not read a body

    def deliverBody(self, protocol: Any) -> None:  # Twisted's name
        protocol.dataReceived(self.content)
        protocol.connectionLost(Failure(ResponseDone()))


@define
class SentRequest:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@define(eq=False)
class ScriptedHttp:
    """`replies`: by URL, what the next requests get: a reply, an error, or None for no answer at
    all. Without a script it is 201.
    """

    replies: dict[str, list[Any]] = field(factory=dict)
    sent: list[SentRequest] = field(factory=list)

    def request(self, method: str, url: str, **given: Any) -> Deferred[Any]:
        self.sent.append(SentRequest(method, url, given["headers"], given["data"]))
        script = self.replies.get(url)
        reply = script.pop(0) if script else ScriptedReply()
        if reply is None:
            return Deferred()
        if isinstance(reply, Exception):
            raise reply
        return succeed(reply)

    def to(self, url: str) -> list[SentRequest]:
        return [request for request in self.sent if request.url == url]


def busy(code: int, retry_after: str | None = None) -> ScriptedReply:
    headers = {} if retry_after is None else {"Retry-After": [retry_after]}
    return ScriptedReply(code, Headers(headers))
