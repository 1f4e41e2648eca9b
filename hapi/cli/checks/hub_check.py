"""Ask a hub whether it answers and accepts our access token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import define, frozen

from hapi.settings import HubAccess

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

HUB_TIMEOUT = 10.0  # seconds
TOO_MANY_WRONG_TOKENS = "too_many_wrong_tokens"  # the hub's code with status 429
PROBE_SESSION_ID = "hapi-token-check"  # no session has this id: ids are UUIDs


@frozen
class HubVerdict:
    """`ok`: the hub accepts the token; `refused`: it does not; `busy`: it wants to be asked again
    later, or answers with an error of its own; `unreachable`: no hub answers.
    """

    finding: Literal["ok", "refused", "busy", "unreachable"]
    reason: str = ""

    def problem(self, hub: str) -> str:
        """What is wrong with `hub`, as a sentence that begins with it."""
        words = {
            "refused": "refused the access token",
            "busy": "answers, but does not take this login at the moment",
            "unreachable": "cannot be reached",
        }
        return f"{hub} {words[self.finding]}: {self.reason}"


async def check_hub(reactor: Any, access: HubAccess, seconds: float = HUB_TIMEOUT) -> HubVerdict:
    """Request a session that cannot exist: a hub that accepts the token answers 404."""
    from twisted.internet.defer import Deferred
    from twisted.internet.defer import TimeoutError as DeferTimeout

    from hapi.net.client.hub_client import (
        HubBusy,
        HubClient,
        HubFailed,
        HubRefused,
        HubUnreachable,
    )

    request = Deferred.fromCoroutine(HubClient(reactor, access).session(PROBE_SESSION_ID))
    try:
        await request.addTimeout(seconds, reactor)
    except HubRefused as refusal:
        if refusal.status == 404:
            return HubVerdict("ok")
        if refusal.status in (401, 403):
            return HubVerdict("refused", refusal.reason)
        return HubVerdict("unreachable", refusal.reason)
    except HubBusy as error:
        if error.code == TOO_MANY_WRONG_TOKENS:  # our hub accepts a right token in any case
            return HubVerdict("refused", error.reason)
        return HubVerdict("busy", error.reason)
    except HubFailed as error:
        return HubVerdict("busy", error.reason)
    except HubUnreachable as error:
        return HubVerdict("unreachable", error.reason)
    except DeferTimeout:
        return HubVerdict("unreachable", f"no answer within {seconds:.0f} s")
    return HubVerdict("ok")


async def websocket_problem(
    reactor: Any, access: HubAccess, seconds: float = HUB_TIMEOUT
) -> str | None:
    """Why no WebSocket can be opened to a hub that answers requests; None if one can."""
    from twisted.internet.defer import Deferred
    from twisted.internet.defer import TimeoutError as DeferTimeout

    from hapi.net.client.endpoint import extra_upgrade_headers, hub_endpoint, websocket_url
    from hapi.net.common.errors import describe_connection_error
    from hapi.net.common.websocket import ClientSocketFactory

    probe = _WebSocketProbe(Deferred())
    factory = ClientSocketFactory(
        reactor, websocket_url(access.url), extra_upgrade_headers(access.headers), lambda _: probe
    )
    try:
        socket: Any = await hub_endpoint(reactor, access.url).connect(factory)
    except Exception as error:
        return describe_connection_error(error, access.url)
    try:
        return await probe.outcome.addTimeout(seconds, reactor)
    except DeferTimeout:
        return f"the WebSocket was not opened within {seconds:.0f} s"
    finally:
        socket.abort()


@define(eq=False, repr=False)
class _WebSocketProbe:
    """A WebSocketHandler whose `outcome` fires when the WebSocket is open, or with the reason why
    it is not.
    """

    outcome: Deferred[str | None]

    def opened(self) -> None:
        self._finish(None)

    def received(self, text: str) -> None: ...
    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None: ...

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None:
        self._finish(reason or "the connection was closed")

    def _finish(self, problem: str | None) -> None:
        if not self.outcome.called:
            self.outcome.callback(problem)
