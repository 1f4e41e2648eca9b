"""Carries out the faults of a plan."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tests.growth import plan as names
from tests.growth.plan import Fault
from tests.growth.servers import HubProcess, Servers

DOWN = 0.5  # seconds that a hub stays away after it was killed
CRASH_PAUSE = 1.5  # seconds until a crashed database is started again
COMMIT_TIMEOUT = 20.0  # seconds until there must have been a COMMIT


@define(eq=False)
class Faults:
    """`done` counts them; `log_lines` tells each with its time."""

    reactor: Any
    servers: Servers
    done: Counter[str] = field(factory=Counter)
    log_lines: list[str] = field(factory=list)
    began: float = 0.0
    log = Logger()

    async def run(self, fault: Fault) -> None:
        hub = self.servers.hubs[fault.hub]
        self.note(f"{fault.name} {hub.name} {fault.seconds:.0f} s")
        match fault.name:
            case names.KILL:
                hub.kill()
                await self.pause(DOWN)
                await self.servers.restart(hub)
            case names.DRAIN:
                await self.servers.drain(hub)
                await self.servers.restart(hub)
            case names.STOP:
                hub.pause()
                await self.pause(fault.seconds)
                hub.resume()
                if not hub.is_running:  # it may have given up because another hub took over
                    await self.servers.restart(hub)
            case names.ROLLING:
                for each in self.servers.hubs:
                    await self.servers.drain(each)
                    await self.servers.restart(each)
                    await self.pause(1.0)
            case names.UPGRADE:
                for each in self.servers.hubs:
                    await self._replace(each, True)
                await self._replace(hub, False)
            case names.CUT_DATABASE:
                await self._between(hub.to_database, "cut", fault.seconds)
            case names.SILENCE_DATABASE:
                await self._between(hub.to_database, "silence", fault.seconds)
            case names.CUT_HUBS:
                await self._between(
                    hub.to_hub, "cut" if fault.choice < 0.5 else "silence", fault.seconds
                )
            case names.CUT_COMMIT:
                await self._cut_commit(hub, "question" if fault.choice < 0.3 else "answer")
            case names.CRASH_DATABASE:
                await self.servers.crash_database(CRASH_PAUSE)
            case names.HOLD_LOCK:
                await deferToThread(self.servers.hold_lock, fault.seconds)
            case names.PROMOTE:
                await self.servers.promote()
        self.done[fault.name] += 1
        await self.revive()

    async def _replace(self, hub: HubProcess, is_next: bool) -> None:
        """Start a hub as that of another version, once it is drained."""
        await self.servers.drain(hub)
        hub.is_next = is_next
        await self.servers.restart(hub)
        await self.pause(1.0)

    async def _between(self, proxy: Any, how: str, seconds: float) -> None:
        getattr(proxy, how)()
        await self.pause(seconds)
        proxy.heal()

    async def _cut_commit(self, hub: HubProcess, which: str) -> None:
        """Lose the next COMMIT of a hub that commits: a standby does not."""
        proxies = [each.to_database for each in self.servers.hubs if each.to_database is not None]
        if self.servers.plan.active and hub.to_database is not None:
            proxies = [hub.to_database]
        before = sum(proxy.lost_commits for proxy in proxies)
        for proxy in proxies:
            proxy.lose_commit(which)
        deadline = self.reactor.seconds() + COMMIT_TIMEOUT
        while sum(proxy.lost_commits for proxy in proxies) == before:
            if self.reactor.seconds() > deadline:
                self.note("no COMMIT was seen")
                break
            await self.pause(0.05)
        for proxy in proxies:
            proxy.loses = None

    async def revive(self) -> None:
        """Hubs that have ended by themselves are started again, as a service manager does."""
        for hub in self.servers.hubs:
            if not hub.is_running:
                code = hub.program.process.returncode if hub.program is not None else None
                self.note(f"{hub.name} has ended with {code} and is started again")
                await self.servers.restart(hub)

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    def note(self, line: str) -> None:
        self.log_lines.append(f"{self.reactor.seconds() - self.began:6.1f} s  {line}")
        self.log.info("{line}", line=self.log_lines[-1])
