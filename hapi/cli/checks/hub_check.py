"""Ask a hub whether it answers and accepts our access token."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from hapi.settings import HubAccess

HUB_TIMEOUT = 10.0  # seconds
PROBE_SESSION_ID = "hapi-token-check"  # no session has this id: ids are UUIDs


@frozen
class HubVerdict:
    """`ok`: the hub accepts the token; `refused`: it does not; `busy`: it wants to be asked again
    later; `unreachable`: no hub answers.
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

    from hapi.net.client.hub_client import HubBusy, HubClient, HubRefused, HubUnreachable

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
        return HubVerdict("busy", error.reason)
    except HubUnreachable as error:
        return HubVerdict("unreachable", error.reason)
    except DeferTimeout:
        return HubVerdict("unreachable", f"no answer within {seconds:.0f} s")
    return HubVerdict("ok")
