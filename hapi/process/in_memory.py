"""A process table in memory, for tests: of HAPI, and of programs that embed it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from hapi.one_shot import OneShotObserver
from hapi.process.interface import (
    Exit,
    IProcesses,
    Launched,
    LaunchFailed,
    LaunchPlan,
    TerminationResult,
)
from hapi.protocol.attempt import AttemptEnd, AttemptProcess, ProcessIdentity

BOOT = "00000000-0000-4000-8000-000000000000"


@frozen
class FakeProgram:
    """What a program does in the table: it exits with `exit_code`, or runs until it is ended."""

    exit_code: int | None = None
    ignores_sigterm: bool = False
    unkillable: bool = False  # another user's, say
    children: int = 0  # processes it starts


@define(eq=False, repr=False)
class Entry:
    """One process of the table."""

    identity: ProcessIdentity
    parent: int
    command_line: list[str]
    attempt_id: str = ""
    owner: int = field(factory=os.geteuid)
    environment: Mapping[str, str] = field(factory=dict)
    ignores_sigterm: bool = False
    unkillable: bool = False
    hidden: bool = False  # as with hidepid: nobody can tell whether it runs
    signals: list[str] = field(factory=list)  # all it was sent
    exited: OneShotObserver[Exit] = field(factory=OneShotObserver)
    exit: Exit | None = None


def _known(programs: Mapping[str, FakeProgram] | Iterable[str]) -> Mapping[str, FakeProgram]:
    return programs if isinstance(programs, Mapping) else {name: FakeProgram() for name in programs}


@implementer(IProcesses)
@define(eq=False, repr=False)
class MemoryProcesses:
    """Programs are known by their name; whoever starts another gets LaunchFailed.

    With a `clock`, a program that ignores SIGTERM is killed when the grace period is over; without
    one, at once. A test moves the table itself by `exit`, `add` and `reuse`.
    """

    programs: Mapping[str, FakeProgram] = field(factory=dict, converter=_known)
    clock: IReactorTime | None = None
    own_pid: int = 99
    boot: str = BOOT
    reports_exit_status: bool = (
        True  # whether the kernel tells how a process ended that is not our child (Linux 6.15)
    )
    launched: list[LaunchPlan] = field(factory=list)
    table: dict[int, Entry] = field(factory=dict)
    _pids: Any = field(factory=lambda: itertools.count(1000))
    _ticks: Any = field(factory=lambda: itertools.count(5000, 7))

    # --- what a test does

    def add(
        self,
        *words: str,
        parent: int = 1,
        attempt_id: str = "",
        pid: int | None = None,
        **facts: Any,
    ) -> ProcessIdentity:
        """A process that is just there, started with the command line `words`."""
        pid = next(self._pids) if pid is None else pid
        ticks = next(self._ticks)
        identity = ProcessIdentity(pid, ticks, self.boot, 1_000_000 + ticks)
        self.table[pid] = Entry(identity, parent, list(words), attempt_id, **facts)
        return identity

    def reuse(self, pid: int, *words: str, **facts: Any) -> ProcessIdentity:
        """The process with that pid is gone and a stranger has the pid now."""
        if pid in self.table:
            self.exit(self.table[pid].identity)
        return self.add(*words, pid=pid, **facts)

    def exit(
        self, identity: ProcessIdentity, exit_code: int | None = None, signal: str | None = None
    ) -> None:
        """The process ends; its children get process 1 as parent, or their holder."""
        entry = self.entry(identity)
        if entry is None:
            return
        del self.table[identity.pid]
        entry.exit = Exit(exit_code, signal)
        new_parent = entry.parent if entry.parent in self.table else 1
        for other in self.table.values():
            if other.parent == identity.pid:
                other.parent = new_parent
        holder = self.table.get(entry.parent)
        plan = next((plan for plan in self.launched if plan.attempt.id == entry.attempt_id), None)
        if (
            holder is not None
            and holder.command_line[:1] == ["hapi-holder"]
            and plan is not None
            and entry.attempt_id
        ):
            process = plan.attempt.process
            if process is not None and process.child == identity:
                plan.attempt.end = AttemptEnd(exit_code, signal, 0.0)
                self.exit(holder.identity, 0)
        entry.exited.fire(entry.exit)

    def entry(self, identity: ProcessIdentity) -> Entry | None:
        """All about this very process, None if it is gone."""
        found = self.table.get(identity.pid)
        return found if found is not None and found.identity == identity else None

    # --- IProcesses

    def launch(self, plan: LaunchPlan) -> Deferred[Launched]:
        program = plan.argv[0].rpartition("/")[2] if plan.argv else ""
        runs = self.programs.get(program)
        if runs is None:
            return fail(LaunchFailed(program, "there is no such program"))
        mark = plan.attempt.id
        holder = self.add("hapi-holder", mark, attempt_id=mark)
        child = self.add(
            *plan.argv,
            parent=holder.pid,
            attempt_id=mark,
            ignores_sigterm=runs.ignores_sigterm,
            unkillable=runs.unkillable,
        )
        for number in range(runs.children):
            self.add(
                f"{program}-{number}",
                parent=child.pid,
                attempt_id=mark,
                ignores_sigterm=runs.ignores_sigterm,
            )
        plan.attempt.process = AttemptProcess(child, holder)
        self.launched.append(plan)
        if runs.exit_code is not None:
            self.exit(child, runs.exit_code)
        return succeed(Launched(holder, child))

    def boot_id(self) -> str:
        return self.boot

    def identify(self, pid: int) -> ProcessIdentity | None:
        entry = self.table.get(pid)
        return None if entry is None or entry.hidden else entry.identity

    def is_running(self, identity: ProcessIdentity) -> bool | None:
        if identity.boot_id != self.boot:
            return False
        entry = self.entry(identity)
        return None if entry is not None and entry.hidden else entry is not None

    def when_exited(self, identity: ProcessIdentity) -> Deferred[Exit]:
        entry, unknown = self.entry(identity), Exit(None, None)
        if entry is None:
            return succeed(unknown)
        return entry.exited.when_fired().addCallback(
            lambda how: how if self.reports_exit_status else unknown
        )

    def end_tree(
        self, identity: ProcessIdentity, attempt_id: str, grace_period: float = 2.0
    ) -> Deferred[TerminationResult]:
        return Deferred.fromCoroutine(self._end_tree(identity, attempt_id, grace_period))

    async def _end_tree(
        self, identity: ProcessIdentity, attempt_id: str, grace_period: float
    ) -> TerminationResult:
        if self.is_running(identity) is None:
            return "still_alive"
        found = self._members(identity, attempt_id)
        if not found:
            return "already_gone"
        for entry in found:
            entry.signals.append("SIGTERM")
            if not (entry.ignores_sigterm or entry.unkillable):
                self.exit(entry.identity, signal="SIGTERM")
        if self.clock is not None and self._members(identity, attempt_id):
            from twisted.internet.task import deferLater

            await deferLater(self.clock, grace_period)
        for entry in self._members(identity, attempt_id):
            entry.signals.append("SIGKILL")
            if not entry.unkillable:
                self.exit(entry.identity, signal="SIGKILL")
        return "still_alive" if self._members(identity, attempt_id) else "stopped"

    def tree(self, identity: ProcessIdentity, attempt_id: str) -> list[ProcessIdentity]:
        return [entry.identity for entry in self._members(identity, attempt_id, holders=True)]

    def command_line(self, pid: int) -> list[str] | None:
        entry = self.table.get(pid)
        return None if entry is None or entry.hidden else list(entry.command_line)

    def environment(self, pid: int) -> Mapping[str, str] | None:
        entry = self.table.get(pid)
        return None if entry is None or entry.hidden else entry.environment

    def owner(self, pid: int) -> int | None:
        entry = self.table.get(pid)
        return None if entry is None or entry.hidden else entry.owner

    def _members(
        self, identity: ProcessIdentity, attempt_id: str, holders: bool = False
    ) -> list[Entry]:
        root = self.entry(identity)
        found = [
            entry
            for entry in self.table.values()
            if entry is root or (attempt_id and entry.attempt_id == attempt_id)
        ]
        for entry in found:  # grows while it is walked
            below = [
                other
                for other in self.table.values()
                if other.parent == entry.identity.pid and other not in found
            ]
            found += [other for other in below if other.identity.pid != self.own_pid]
        return [entry for entry in found if holders or entry.command_line[:1] != ["hapi-holder"]]
