"""What must be true after a run, each a line with numbers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from tests.growth.plan import UPGRADE
from tests.growth.sessions import number_of

if TYPE_CHECKING:
    from tests.growth.run import Run

MAX_DETAILS = 8  # lines of details for one failed check


@frozen
class Check:
    name: str
    is_true: bool
    numbers: str
    details: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        found = [f"{'ok    ' if self.is_true else 'FAILED'}  {self.name}: {self.numbers}"]
        if not self.is_true:
            found += [f"            {line}" for line in self.details[:MAX_DETAILS]]
        return found


@define(eq=False)
class Report:
    """`problems` are waits that were given up."""

    run: Run
    checks: list[Check] = field(factory=list)
    problems: list[str] = field(factory=list)
    settled_after: float = 0.0
    presence_after: float = 0.0
    active_without_process: list[str] = field(factory=list)
    inactive_with_process: list[str] = field(factory=list)

    @property
    def is_good(self) -> bool:
        return bool(self.checks) and all(check.is_true for check in self.checks)

    def add(self, name: str, is_true: bool, numbers: str, details: Any = ()) -> None:
        self.checks.append(Check(name, is_true, numbers, tuple(map(str, details))))

    async def check(self) -> None:
        self.add("waits", not self.problems, f"{len(self.problems)} given up", self.problems)
        self._database()
        self._readers()
        self._prompts()
        self._spawns()
        fresh = await self.run.pages[0].fresh()
        self._states(fresh)
        self._presence()
        self._links()
        if self.run.plan.postgres:
            self._times()
        if self.run.plan.active:
            await self._members()
        if self.run.faults.done[UPGRADE]:
            self._schemas()
        if self.run.browser is not None:
            self.add(*await self.run.browser.check(self.run))

    # --- each check
    def _database(self) -> None:
        numbers: dict[str, list[int]] = defaultdict(list)
        seqs: dict[str, list[int]] = defaultdict(list)
        local_ids: Counter[str] = Counter()
        for name, seq, content, local_id in self.run.servers.stored():
            seqs[name].append(seq)
            if (numbered := number_of(json.loads(content))) is not None:
                numbers[name].append(numbered[1])
            if local_id is not None:
                local_ids[local_id] += 1
        lost, doubled, disordered = self._compare(lambda session: numbers[session.id])
        gaps = [
            name for name, found in seqs.items() if sorted(found) != list(range(1, len(found) + 1))
        ]
        rows = sum(map(len, numbers.values()))
        self.add(
            "database",
            not (lost or doubled or disordered or gaps),
            f"{rows} messages, {len(lost)} lost, {len(doubled)} doubled, {len(disordered)} out of "
            f"order, {len(gaps)} sessions with gaps in seq",
            [*lost, *doubled, *disordered, *gaps],
        )
        posted = self.run.people.posted
        missing = [local for local in posted if local not in local_ids]
        more = [local for local, count in local_ids.items() if count > 1]
        self.add(
            "prompts in the database",
            not missing and not more,
            f"{len(posted)} posted, {len(missing)} lost, {len(more)} doubled",
            [*missing, *more],
        )

    def _compare(self, numbers: Any) -> tuple[list[str], list[str], list[str]]:
        """Messages of agents that are lost, doubled and out of order."""
        lost, doubled, disordered = [], [], []
        for session in self.run.sessions:
            found = numbers(session)
            counts = Counter(found)
            lost += [
                f"session {session.number}, message {number}"
                for number in range(1, session.written + 1)
                if number not in counts
            ]
            doubled += [
                f"session {session.number}, message {number}"
                for number, count in counts.items()
                if count > 1
            ]
            disordered += [
                f"session {session.number}: {after} after {before}"
                for before, after in pairwise(found)
                if after < before
            ]
        return lost, doubled, disordered

    def _readers(self) -> None:
        for page in self.run.pages:
            lost, doubled, disordered = self._compare(
                lambda session, page=page: page.numbers(session.id)
            )
            doubled += page.doubled
            disordered += page.disordered
            prompts = Counter(page.prompts())
            lost += [
                f"the text {text!r}"
                for text in self.run.people.posted.values()
                if text not in prompts
            ]
            doubled += [f"the text {text!r}" for text, count in prompts.items() if count > 1]
            self.add(
                f"reader {page.number}",
                not (lost or doubled or disordered),
                f"{len(page.streamed)} streamed, {len(lost)} lost, {len(doubled)} doubled, "
                f"{len(disordered)} out of order; {page.connects} connections, {page.resumes} "
                f"resumed, {page.gaps} gaps",
                [*lost, *doubled, *disordered],
            )

    def _prompts(self) -> None:
        people, sessions = self.run.people, self.run.sessions
        reached: Counter[str] = Counter()
        for session in sessions:
            reached.update(session.prompts)
        posted = set(people.posted.values())
        never = sorted(posted - set(reached))
        twice = sorted(text for text, count in reached.items() if count > 1)
        acknowledged = {local for session in sessions for local in session.acknowledged}
        difference = set(people.posted) ^ acknowledged
        self.add(
            "prompts at their agents",
            not (never or twice or difference or people.refused),
            f"{len(posted)} posted, {len(never)} never, {len(twice)} twice, messages-consumed "
            f"differs by {len(difference)}, {len(people.refused)} refused",
            [*never, *twice, *difference, *people.refused],
        )

    def _spawns(self) -> None:
        people = self.run.people
        spawned: Counter[str] = Counter()
        for runner in self.run.runners:
            spawned.update(runner.spawned)
        twice = [directory for directory, count in spawned.items() if count > 1]
        broken = [directory for directory in people.promised if directory not in spawned]
        told = ", ".join(f"{count} {what}" for what, count in sorted(people.spawns.items()))
        self.add(
            "spawns",
            not twice and not broken,
            f"{told}; {sum(spawned.values())} carried out, {len(twice)} twice, {len(broken)} "
            f"reported but not carried out; {dict(people.spawn_problems)}",
            [*twice, *broken],
        )

    def _states(self, fresh: dict[str, Any]) -> None:
        for page in self.run.pages:
            differences = page.differences(fresh)
            self.add(
                f"state of page {page.number}",
                not differences,
                f"{len(fresh)} sessions, {len(differences)} differences",
                differences,
            )
        titles = [
            f"session {session.number}: title {shown!r}, not {session.title!r}"
            for session in self.run.sessions
            if session.is_running
            and (shown := _title(fresh.get(session.id, {}))) != (session.title or None)
        ]
        self.add("titles at the hub", not titles, f"{len(titles)} differ", titles)

    def _presence(self) -> None:
        self.add(
            "presence",
            not self.active_without_process and not self.inactive_with_process,
            f"{len(self.active_without_process)} active without a process, "
            f"{len(self.inactive_with_process)} inactive with one; right after "
            f"{self.presence_after:.1f} s",
            [*self.active_without_process, *self.inactive_with_process],
        )

    def _links(self) -> None:
        dropped = sum(session.link.delivery_status.dropped for session in self.run.sessions)
        connects = [session.connects for session in self.run.sessions]
        waits = sorted(wait for session in self.run.sessions for wait in session.outbox.waits)
        places = (len(waits) // 2, int(len(waits) * 0.99), len(waits) - 1)
        told = " / ".join(f"{waits[place]:.2f}" for place in places) if waits else "none"
        self.add(
            "links",
            dropped == 0,
            f"{sum(connects)} connections of {len(connects)} sessions, {dropped} events dropped; "
            f"confirmed after {told} s (p50, p99, longest)",
        )

    def _times(self) -> None:
        sessions = self.run.servers.disordered_times()
        self.add(
            "times of messages", not sessions, f"{len(sessions)} sessions out of order", sessions
        )

    async def _members(self) -> None:
        found = await self.run.servers.members_up(self.run.rest.jwt)
        wrong = [f"{name} sees {up}" for name, up in found.items() if up != sorted(found)]
        self.add("hubs", not wrong, f"{len(found)} see {len(found)} hubs each", wrong)

    def _schemas(self) -> None:
        version, known = self.run.servers.schemas()
        self.add(
            "versions",
            known == {version - 1, version},
            f"tables of version {version}, hubs that know {sorted(known)}",
        )

    def text(self) -> str:
        run = self.run
        faults = ", ".join(f"{count} {name}" for name, count in sorted(run.faults.done.items()))
        outcomes = ", ".join(
            f"{name}: {count}" for name, count in sorted(run.rest.outcomes.items())
        )
        lines = [line for check in self.checks for line in check.lines()]
        head = [
            f"seed {run.plan.seed}, {run.plan.hubs} hubs, faults: {faults or 'none'}",
            f"all stored {self.settled_after:.1f} s after the last fault; REST: {outcomes}",
        ]
        return "\n".join([*head, *lines])


def _title(session: dict[str, Any]) -> Any:
    return ((session.get("metadata") or {}).get("summary") or {}).get("text")
