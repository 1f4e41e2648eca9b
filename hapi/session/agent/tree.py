"""Ending an agent with all its descendants, what an agent that died has left running, and whether
commands run below one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredList, race
from twisted.internet.task import deferLater

from hapi.process.exit_watch import ExitWatcher
from hapi.process.kernel import kernel
from hapi.process.local import exit_watcher
from hapi.process.tree import (
    ProcessScanner,
    ProcessTable,
    descendants,
    is_independent,
    members,
)
from hapi.protocol.attempt import ProcessIdentity

SCANNED_AT_ONCE = 100  # processes whose environment is read before others get their turn


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
    return await _end_all(reactor, exits, left, begun + timeout, timeout)


async def end_left_behind(
    reactor: Any,
    agent: ProcessIdentity,
    recorded: Iterable[ProcessIdentity],
    mark: str,
    timeout: float,
) -> list[ProcessIdentity]:
    """End what a dead agent has left running: SIGTERM, and SIGKILL after `timeout` seconds.

    These are the processes that were `recorded` below it while it lived, those whose environment
    contains `mark` (`NAME=value`), those of the session that it led, and everything below them; but
    no runners and holders of other sessions. Returns what was there.
    """
    table = await ProcessScanner(reactor, kernel()).scan()
    started: set[int] = set()
    for count, pid in enumerate(table.stats):
        if count % SCANNED_AT_ONCE == 0:
            await deferLater(reactor, 0)
        if _was_started_by(agent, mark, pid):
            started.add(pid)
    kept = {pid for pid in started if is_independent(kernel(), pid, set())}
    orphans = [one for one in recorded if _is_in(table, one)]
    for pid in started:
        found = kernel().identity_of(table.stats[pid])
        if found is not None and not kept & {pid, *_ancestors(table, pid)}:
            orphans.append(found)
    left = [
        one
        for one in {each for root in orphans for each in await _below(reactor, root)}
        if one.pid != os.getpid()
    ]
    if left:
        until = reactor.seconds() + timeout
        await _end_all(reactor, exit_watcher(reactor), left, until, timeout)
    return left


def _is_in(table: ProcessTable, identity: ProcessIdentity) -> bool:
    stat = table.stats.get(identity.pid)
    return stat is not None and stat.start_ticks == identity.start_ticks


def _was_started_by(agent: ProcessIdentity, mark: str, pid: int) -> bool:
    if mark.encode() in (kernel().read_environment(pid) or b"").split(b"\0"):
        return True
    try:
        return os.getsid(pid) == agent.pid != os.getsid(0)
    except OSError:
        return False


def _ancestors(table: ProcessTable, pid: int) -> Iterator[int]:
    seen = {pid}
    while (stat := table.stats.get(pid)) is not None and stat.parent not in seen:
        pid = stat.parent
        seen.add(pid)
        yield pid


async def _end_all(
    reactor: Any,
    exits: ExitWatcher,
    left: list[ProcessIdentity],
    until: float,
    timeout: float,
) -> bool:
    _signal(left, signal.SIGTERM, signal.SIGCONT)
    if await _gone(reactor, exits, left, until):
        return True
    found = [each for one in left for each in await _below(reactor, one)]
    _signal(found, signal.SIGKILL)
    return await _gone(reactor, exits, found, reactor.seconds() + timeout)


def descendants_of(agent: ProcessIdentity) -> list[ProcessIdentity]:
    """What runs below the agent now; nothing where only a scan of all processes can tell."""
    return (descendants(kernel(), agent) or [agent])[1:]


SHELLS = frozenset(("sh", "bash", "dash", "ksh", "zsh", "fish", "busybox"))


async def has_background_commands(reactor: Any, agent: ProcessIdentity, since: float) -> bool:
    """Whether the agent has a command running that it started after `since` (epoch seconds).

    Agents run commands in a shell, or as a process that leads a session of its own so that it can
    be ended with its children. Their own helpers, such as MCP servers, are neither, or start with
    the agent's session. What has just been started, and runs no program yet, counts.
    """
    for identity in await _below(reactor, agent):
        if identity.pid == agent.pid or kernel().started_at(identity) <= since:
            continue
        if _may_be_shell(identity.pid) or _leads_session(identity.pid):
            return True
    return False


def _may_be_shell(pid: int) -> bool:
    line = kernel().read_command_line(pid)
    if line is None:
        return False
    program = line.split(b"\0")[0]
    # The kernel shows no arguments while a process loads the program that it is to run.
    return not line or os.path.basename(os.fsdecode(program)).lstrip("-") in SHELLS


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:  # it has ended, or belongs to another user
        return False


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
