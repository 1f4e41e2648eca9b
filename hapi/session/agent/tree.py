"""Ending an agent with all its descendants, which are recorded before the first signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredList, race
from twisted.internet.task import deferLater

from hapi.process.exit_watch import ExitWatcher
from hapi.process.kernel import kernel
from hapi.process.local import exit_watcher
from hapi.process.tree import ProcessScanner, descendants, members
from hapi.protocol.attempt import ProcessIdentity


async def end_agent(reactor: Any, agent: ProcessIdentity, timeout: float) -> bool:
    """End the agent with SIGTERM, then its descendants, and kill the rest after `timeout` seconds.

    Returns whether all of them are gone. For the first half only the agent is signalled: an agent
    that exits in order ends its own children.
    """
    exits, begun = exit_watcher(reactor), reactor.seconds()
    seen = await _below(reactor, agent)
    _signal([agent], signal.SIGTERM, signal.SIGCONT)
    await _gone(reactor, exits, [agent], begun + timeout / 2)
    left = [one for one in {*seen, *await _below(reactor, agent)} if kernel().is_running(one)]
    _signal(left, signal.SIGTERM, signal.SIGCONT)
    if await _gone(reactor, exits, left, begun + timeout):
        return True
    found = [each for one in left for each in await _below(reactor, one)]
    _signal(found, signal.SIGKILL)
    return await _gone(reactor, exits, found, reactor.seconds() + timeout)


async def _below(reactor: Any, root: ProcessIdentity) -> list[ProcessIdentity]:
    if not kernel().is_running(root):
        return []
    quickly = descendants(kernel(), root)
    if quickly is not None:
        return quickly
    found = members(await ProcessScanner(reactor, kernel()).scan(), root, "", os.getpid())
    identities = [
        kernel().identity_of(stat) for stat in (found.root, *found.others) if stat is not None
    ]
    return [identity for identity in identities if identity is not None]


def _signal(identities: Iterable[ProcessIdentity], *signals: signal.Signals) -> None:
    for identity in identities:
        with suppress(OSError):
            kernel().send(identity, *signals)


async def _gone(
    reactor: Any, exits: ExitWatcher, identities: Iterable[ProcessIdentity], until: float
) -> bool:
    """Wait until all of them have ended, at most until that time. Whether they have."""
    left = [identity for identity in identities if kernel().is_running(identity)]
    if left:
        ended = DeferredList([exits.when_exited(identity) for identity in left], consumeErrors=True)
        await race([ended, deferLater(reactor, max(until - reactor.seconds(), 0.0))])
    return not any(kernel().is_running(identity) for identity in left)
