"""One run: everything is started, messages are written and faults happen, and then it is checked
that all is as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import secrets
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from hapi.settings import HubAccess
from tests.growth.checks import Report
from tests.growth.faults import Faults
from tests.growth.pages import Page
from tests.growth.people import People, RunnerWorker
from tests.growth.plan import Plan, draw
from tests.growth.rest import NoAnswer, Rest
from tests.growth.servers import Servers
from tests.growth.sessions import SessionWorker
from tests.support.programs import Stage

SETTLE_TIMEOUT = 120.0  # seconds until everything that was sent is stored, after the last fault
PRESENCE_TIMEOUT = 45.0  # seconds until a session without a process is shown as inactive
SHORT_SESSIONS = 8  # sessions that end while the others write: half in order, half killed


@define(eq=False)
class Run:
    reactor: Any
    plan: Plan
    path: Path
    token: str = field(factory=lambda: secrets.token_hex(16))
    servers: Servers = field(init=False)
    faults: Faults = field(init=False)
    rest: Rest = field(init=False)
    people: People = field(init=False)
    sessions: list[SessionWorker] = field(factory=list)
    runners: list[RunnerWorker] = field(factory=list)
    pages: list[Page] = field(factory=list)
    report: Report = field(init=False)
    browser: Any = None
    _sudden: Any = None

    def __attrs_post_init__(self) -> None:
        stage = Stage(self.path)
        self.servers = Servers(self.reactor, self.plan, stage, self.token)
        self.faults = Faults(self.reactor, self.servers)
        self.report = Report(self)

    async def carry_out(self) -> Report:
        """Raises what stopped it."""
        plan = self.plan
        await self.servers.start()
        self.rest = await Rest(self.reactor, self.servers.url, self.token).login()
        await self._start_clients()
        self.faults.began = began = self.reactor.seconds()
        for session in self.sessions:
            session.write()
        posting = self.people.start(plan.prompts, plan.spawns, plan.seconds * 0.95)
        ends = Deferred.fromCoroutine(self._end_some())
        await self._faults(began + plan.seconds)
        self.servers.heal()
        await self.faults.revive()
        self.faults.note("the last fault is over")
        healed = self.reactor.seconds()
        await self._wait_for(posting, "all prompts to be posted")
        await self._wait_for(ends, "some sessions to end")
        await self._settle()
        self.report.settled_after = self.reactor.seconds() - healed
        await self._presence()
        await self._read_up()
        await self.report.check()
        return self.report

    # --- the clients
    async def _start_clients(self) -> None:
        plan, access = self.plan, HubAccess(self.servers.url, self.token)
        share = plan.messages // plan.sessions
        for number in range(plan.sessions):
            is_short = number >= plan.sessions - SHORT_SESSIONS
            place = number - (plan.sessions - SHORT_SESSIONS)
            seconds = plan.seconds * (0.2 + 0.08 * place) if is_short else None
            self.sessions.append(
                SessionWorker(
                    self.reactor,
                    access,
                    number,
                    share // 3 if is_short else share,
                    seconds or plan.seconds,
                    self.rest.http,
                )
            )
        for first in range(0, len(self.sessions), 8):
            group = self.sessions[first : first + 8]
            await gatherResults([Deferred.fromCoroutine(each.start()) for each in group])
        for number in range(plan.runners):
            home = self.path / f"runner-{number}"
            self.runners.append(
                RunnerWorker(self.reactor, access, number, home, self.rest.http).start()
            )
        for number in range(plan.readers):
            self.pages.append(Page(self.reactor, self.rest, number).start())
        await self._until(
            lambda: (
                all(each.link.connected for each in self.sessions)
                and all(each.machine.link.connected for each in self.runners)
                and all(page.connects and not page.is_reading for page in self.pages)
            ),
            60.0,
            "all clients to be connected",
        )
        if plan.browser:
            from tests.growth.browser import BrowserPage

            self.browser = BrowserPage(
                self.reactor, self.servers.stage, self.servers.url, self.token, self.sessions[0].id
            )
            await self.browser.start()
        lasting = self.sessions[: plan.sessions - SHORT_SESSIONS]
        self.people = People(self.reactor, self.rest, lasting, self.runners, plan.seed)

    async def _faults(self, until: float) -> None:
        """Until the time is over; if the plan is short, until each fault has come once."""
        faults = draw(self.plan)
        if self.plan.is_short:
            faults = islice(faults, len(self.plan.wanted()))
        for fault in faults:
            await self.faults.pause(fault.pause)
            if self.reactor.seconds() >= until and not self.plan.is_short:
                return
            await self.faults.run(fault)
        await deferLater(self.reactor, max(0.0, until - self.reactor.seconds()))

    async def _end_some(self) -> None:
        """Sessions end while hubs fail. What they wrote is confirmed before: what is not would wait
        in a spool of a real session.
        """
        for place, session in enumerate(self.sessions[self.plan.sessions - SHORT_SESSIONS :]):
            await self._until(lambda session=session: session.is_done, None, "")
            await session.when_confirmed()
            await (session.end() if place % 2 else session.die())
            self.faults.note(f"session {session.number} {'ends' if place % 2 else 'is killed'}")

    # --- the end
    async def _settle(self) -> None:
        await self._until(
            lambda: all(each.is_confirmed for each in self.sessions if each.is_running),
            SETTLE_TIMEOUT,
            "all messages to be confirmed",
        )
        wanted = set(self.people.posted)
        await self._until(
            lambda: wanted <= {local for each in self.sessions for local in each.acknowledged},
            SETTLE_TIMEOUT,
            "all prompts to reach their agents",
        )
        await self._until(
            lambda: all(each.is_confirmed for each in self.sessions if each.is_running),
            SETTLE_TIMEOUT,
            "all prompts to be acknowledged",
        )

    async def _presence(self) -> None:
        """Wait until the hub shows the sessions as active that are, for as long as it may take."""
        began = self.reactor.seconds()
        running = {session.id for session in self.sessions if session.is_running}
        while True:
            with contextlib.suppress(NoAnswer):
                shown = await self.pages[0].fresh()
                active = {name for name, session in shown.items() if session["active"]}
                self.report.active_without_process = sorted(active - running)
                self.report.inactive_with_process = sorted(running - active)
                if active == running:
                    break
            if self.reactor.seconds() - began > PRESENCE_TIMEOUT:
                break
            await deferLater(self.reactor, 0.5)
        self.report.presence_after = self.reactor.seconds() - began

    async def _read_up(self) -> None:
        """Wait until the pages have everything that will come."""
        wanted = sum(session.written for session in self.sessions)

        def have_all() -> bool:
            return all(
                not page.is_reading
                and sum(len(page.numbers(each.id)) for each in self.sessions) >= wanted
                and len(page.prompts()) >= len(self.people.posted)
                for page in self.pages
            )

        with contextlib.suppress(TimeoutError):
            await self._until(have_all, 60.0, "")
        await deferLater(self.reactor, 1.0)

    async def _wait_for(self, waited: Deferred[Any], what: str) -> None:
        try:
            await waited.addTimeout(SETTLE_TIMEOUT, self.reactor)
        except Exception as problem:
            self.report.problems.append(f"waiting for {what}: {type(problem).__name__} {problem}")

    async def _until(self, check: Any, seconds: float | None, what: str) -> None:
        """Wait for a fact. What does not come within `seconds` is a problem of the report."""
        began = self.reactor.seconds()
        while not check():
            if seconds is not None and self.reactor.seconds() - began > seconds:
                if not what:
                    raise TimeoutError
                self.report.problems.append(f"waited {seconds:.0f} s for {what}")
                return
            await deferLater(self.reactor, 0.1)

    async def stop(self) -> None:
        """Stop the clients; `end` ends the programs."""
        for page in self.pages:
            page.stop()
        for session in self.sessions:
            if session.is_running:
                await session.die()

    def end(self) -> None:
        self.servers.end()
