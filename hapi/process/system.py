"""The processes of this machine (Linux 5.3 or later)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from hapi.process import identity as kernel
from hapi.process.child_limits import apply_limits
from hapi.process.exit_status import decode_wait_status
from hapi.process.exit_watch import ExitWatcher
from hapi.process.interface import Exit, IProcesses, Launched, LaunchPlan, TerminationResult
from hapi.process.launch import REPORT_TIMEOUT, HolderFailed, Report, parse_report, start_holder
from hapi.process.systemd_scopes import ScopeManager
from hapi.process.termination import TreeTermination
from hapi.process.tree import ProcessScanner, ProcessTable, identity_of, members
from hapi.protocol.attempt import ProcessIdentity


@implementer(IProcesses)
@define(eq=False)
class SystemProcesses:
    """`reactor` provides IReactorTime and IReactorFDSet. No signal handler is needed: holders are reaped by pidfd.

    With `scopes`, sessions get control groups of their own where those say so.
    """

    _reactor: Any
    _scopes: ScopeManager | None = None
    _exits: ExitWatcher = field(init=False)
    _scanner: ProcessScanner = field(init=False)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._exits = ExitWatcher(self._reactor, self._reactor)
        self._scanner = ProcessScanner(self._reactor)

    def launch(self, plan: LaunchPlan) -> Deferred[Launched]:
        return Deferred.fromCoroutine(self._launch(plan))

    async def _launch(self, plan: LaunchPlan) -> Launched:
        scopes = self._scopes
        while scopes is not None and (
            before := scopes.command_prefix(plan.attempt.id, plan.limits)
        ):
            try:
                launched = await self._hold(plan, before)
            except HolderFailed as error:
                if plan.attempt.process is not None:
                    raise  # there was a holder, and it has started the session
                scopes.creation_failed(error.reason)
                continue
            scopes.verify(launched.holder.pid, plan.attempt.id)
            return launched
        return await self._hold(plan)

    async def _hold(self, plan: LaunchPlan, before: tuple[str, ...] = ()) -> Launched:
        pid, pipe = start_holder(plan, before)
        self._reap(pid)
        try:
            launched = parse_report(await Report(self._reactor, pipe, REPORT_TIMEOUT).done, plan)
        except (TimeoutError, HolderFailed) as error:
            process = plan.attempt.process
            if (
                process is not None and process.holder is not None
            ):  # it runs: its holder's word alone was lost
                launched = Launched(process.holder, process.child)
            elif isinstance(error, HolderFailed):
                raise
            else:
                await self._end_silent(pid, plan)
                raise HolderFailed(plan.argv[0], str(error)) from error
        if plan.limits is not None and kernel.identify(launched.child.pid) == launched.child:
            apply_limits(launched.child.pid, plan.limits)
        return launched

    async def _end_silent(self, pid: int, plan: LaunchPlan) -> None:
        holder = kernel.identify(pid)
        if holder is not None:
            await self.end_tree(holder, plan.attempt.id, 0.0)
            with suppress(OSError):
                kernel.send(holder, signal.SIGKILL)
            await (
                self.when_exited(holder)
                .addTimeout(REPORT_TIMEOUT, self._reactor)
                .addErrback(lambda _: None)
            )

    def _reap(self, pid: int) -> None:
        """Take the exit status of our child `pid` when there is one, so that no zombie stays."""
        identity = kernel.identify(pid)
        if identity is not None:
            self._exits.when_exited(identity).addCallback(lambda _: self._reap(pid))
            return
        with suppress(ChildProcessError):  # somebody else in this program reaps as well
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                self._reactor.callLater(
                    REPORT_TIMEOUT, self._reap, pid
                )  # it runs, but there was no descriptor to see it by

    def identify(self, pid: int) -> ProcessIdentity | None:
        return kernel.identify(pid)

    def is_running(self, identity: ProcessIdentity) -> bool | None:
        return kernel.is_running(identity)

    def when_exited(self, identity: ProcessIdentity) -> Deferred[Exit]:
        return self._exits.when_exited(identity).addCallback(
            lambda status: Exit(*decode_wait_status(status))
        )

    def end_tree(
        self, identity: ProcessIdentity, attempt_id: str, grace_period: float = 2.0
    ) -> Deferred[TerminationResult]:
        ending = TreeTermination(
            self._reactor,
            self._exits,
            self._scanner,
            identity,
            attempt_id,
            grace_period,
            os.getpid(),
        )
        return Deferred.fromCoroutine(ending.run())

    def tree(self, identity: ProcessIdentity, attempt_id: str) -> list[ProcessIdentity]:
        table = ProcessTable()
        for _ in table.fill():
            pass
        found = [
            identity_of(stat) for stat in members(table, identity, attempt_id, os.getpid()).stats
        ]
        return [each for each in found if each is not None]

    def command_line(self, pid: int) -> list[str] | None:
        content = kernel.read_proc(pid, "cmdline")
        return (
            [os.fsdecode(word) for word in content.rstrip(b"\0").split(b"\0")] if content else None
        )

    def environment(self, pid: int) -> dict[str, str] | None:
        content = kernel.read_proc(pid, "environ")
        if content is None:
            return None
        pairs = (
            os.fsdecode(entry).partition("=") for entry in content.split(b"\0") if b"=" in entry
        )
        return {name: value for name, _, value in pairs}

    def owner(self, pid: int) -> int | None:
        try:
            return os.stat(f"/proc/{pid}").st_uid
        except OSError:
            return None
