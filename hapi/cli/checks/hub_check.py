"""Ask a hub whether it is there and takes our token."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from hapi.settings import HubAccess

PATIENCE = 10.0  # seconds
NO_SUCH_SESSION = "hapi-token-check"  # never an id: those are UUIDs


@frozen
class HubVerdict:
    """`ok`: answers and takes the token; `refused`: answers and does not; `unreachable`: no hub answers there."""

    finding: Literal["ok", "refused", "unreachable"]
    reason: str = ""


async def judge_hub(reactor: Any, access: HubAccess, patience: float = PATIENCE) -> HubVerdict:
    """Look up a session that cannot exist: a hub that takes the token answers 404, within `patience` seconds."""
    from twisted.internet.defer import Deferred
    from twisted.internet.defer import TimeoutError as DeferTimeout

    from hapi.net.client.hub_client import HubClient, HubRefused, HubUnreachable

    looked = Deferred.fromCoroutine(HubClient(reactor, access).session(NO_SUCH_SESSION)).addTimeout(
        patience, reactor
    )
    try:
        await looked
    except HubRefused as refusal:
        if refusal.status == 404:
            return HubVerdict("ok")
        if refusal.status in (401, 403):
            return HubVerdict("refused", refusal.reason)
        return HubVerdict("unreachable", refusal.reason)
    except HubUnreachable as error:
        return HubVerdict("unreachable", error.reason)
    except DeferTimeout:
        return HubVerdict("unreachable", f"no answer within {patience:.0f} s")
    return HubVerdict("ok")
