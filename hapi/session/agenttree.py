"""The end of an agent and of all it has started, remembered before the first signal: afterwards nobody knows whose they were."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.task import deferLater

from hapi.process import identity as kernel
from hapi.process.tree import Looks, identity_of, members
from hapi.protocol.attempt import ProcessIdentity

GLANCE = 0.02  # seconds between looks whether everybody is gone


async def end_agent(reactor: Any, agent: ProcessIdentity, patience: float) -> bool:
    """Ask the agent, then what it has started, kill the rest after `patience` seconds. Whether all of them are gone.

    The agent is alone for the first half: one that ends in order ends its own.
    """
    looks, begun = Looks(reactor), reactor.seconds()
    seen = await _below(looks, agent)
    _signal([agent], signal.SIGTERM, signal.SIGCONT)
    await _gone(reactor, [agent], begun + patience / 2)
    left = [one for one in {*seen, *await _below(looks, agent)} if kernel.is_running(one)]
    _signal(left, signal.SIGTERM, signal.SIGCONT)
    if await _gone(reactor, left, begun + patience):
        return True
    found = [below for one in left for below in await _below(looks, one)]
    _signal(found, signal.SIGKILL)
    return await _gone(reactor, found, reactor.seconds() + patience)


async def _below(looks: Looks, root: ProcessIdentity) -> list[ProcessIdentity]:
    found = members(await looks.look(), root, "", os.getpid())
    identities = [identity_of(stat) for stat in (found.root, *found.others) if stat is not None]
    return [identity for identity in identities if identity is not None]


def _signal(identities: Iterable[ProcessIdentity], *signals: signal.Signals) -> None:
    for identity in identities:
        with suppress(OSError):
            kernel.send(identity, *signals)


async def _gone(reactor: Any, identities: Iterable[ProcessIdentity], until: float) -> bool:
    left = list(identities)
    while left := [identity for identity in left if kernel.is_running(identity)]:
        if reactor.seconds() >= until:
            return False
        await deferLater(reactor, GLANCE)
    return True
