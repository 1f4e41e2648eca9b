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

from hapi.process import identity
from hapi.process.child_limits import apply_limits
from hapi.process.exit_status import decode_wait_status
from hapi.process.exit_watch import ExitWatcher
from hapi.process.interface import Exit, IProcesses, Launched, LaunchPlan, TerminationResult
from hapi.process.kernel import Kernel
from hapi.process.launch import (
    REPORT_TIMEOUT,
    HolderFailed,
    HolderProtocol,
    parse_report,
    reactor_reaps_children,
    reap_on_exit,
    start_holder,
)
from hapi.process.systemd_scopes import ScopeManager
from hapi.process.termination import TreeTermination
from hapi.process.tree import ProcessScanner, ProcessTable, members
from hapi.protocol.attempt import ProcessIdentity


@implementer(IProcesses)
@define(eq=False, repr=False)
class SystemProcesses:
    """`reactor` provides IReactorTime, IReactorProcess and IReactorFDSet.

    With `scopes`, a session gets a control group of its own where `scopes` decides so. The exit of
    a holder that was launched here is reported by Twisted (`processExited`), every other exit by a
    pidfd: that of a session, which is its holder's child, and that of an earlier runner's holder.
    """

    _reactor: Any
    _scopes: ScopeManager | None = None
    _kernel: Kernel = identity  # type: ignore[assignment]
    _exits: ExitWatcher = field(init=False)
    _scanner: ProcessScanner = field(init=False)
    _holders: dict[ProcessIdentity, HolderProtocol] = field(init=False, factory=dict)
    _has_warned: bool = field(init=False, default=False)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._exits = self._make_exit_watcher()
        self._scanner = ProcessScanner(self._reactor, self._kernel)

    def _make_exit_watcher(self) -> ExitWatcher:
        return ExitWatcher(self._reactor, self._reactor)

    def launch(self, plan: LaunchPlan) -> Deferred[Launched]:
        return Deferred.fromCoroutine(self._launch(plan))

    async def _launch(self, plan: LaunchPlan) -> Launched:
        scopes = self._scopes
        while scopes is not None and (
            prefix := scopes.command_prefix(plan.attempt.id, plan.limits)
        ):
            try:
                launched = await self._launch_below_holder(plan, prefix)
            except HolderFailed as error:
                if plan.attempt.process is not None:
                    raise  # there was a holder, and it has started the session
                scopes.creation_failed(error.reason)
                continue
            scopes.verify(launched.holder.pid, plan.attempt.id)
            return launched
        return await self._launch_below_holder(plan)

    async def _launch_below_holder(
        self, plan: LaunchPlan, prefix: tuple[str, ...] = ()
    ) -> Launched:
        holder = start_holder(
            self._reactor, plan, prefix, REPORT_TIMEOUT, self._kernel.holder_variables()
        )
        self._ensure_reaped(holder)
        try:
            launched = parse_report(await holder.report, plan, self._kernel.boot_id())
        except (TimeoutError, HolderFailed) as error:
            process = plan.attempt.process
            if process is not None and process.holder is not None:
                launched = Launched(process.holder, process.child)  # only its report was lost
            elif isinstance(error, HolderFailed):
                raise
            else:
                await self._end_silent(holder, plan)
                raise HolderFailed(plan.argv[0], str(error)) from error
        if not holder.exited.has_fired:
            self._holders[launched.holder] = holder
            holder.exited.when_fired().addCallback(lambda _: self._holders.pop(launched.holder))
        if plan.limits is not None and self._kernel.identify(launched.child.pid) == launched.child:
            apply_limits(launched.child.pid, plan.limits)
        return launched

    async def _end_silent(self, holder: HolderProtocol, plan: LaunchPlan) -> None:
        identity = None if holder.exited.has_fired else self._kernel.identify(holder.pid)
        if identity is not None:
            await self.end_tree(identity, plan.attempt.id, 0.0)
            with suppress(OSError):
                self._kernel.send(identity, signal.SIGKILL)
            exited = holder.exited.when_fired().addTimeout(REPORT_TIMEOUT, self._reactor)
            await exited.addErrback(lambda _: None)

    def _ensure_reaped(self, holder: HolderProtocol) -> None:
        if not reactor_reaps_children():
            if not self._has_warned:
                self._has_warned = True
                self.log.info(
                    "This program does not use Twisted's SIGCHLD handler: "
                    "the exits of session holders are watched by pidfd instead"
                )
            reap_on_exit(self._reactor, holder, self._kernel.identify, self._exits.when_exited)

    def boot_id(self) -> str:
        return self._kernel.boot_id()

    def identify(self, pid: int) -> ProcessIdentity | None:
        return self._kernel.identify(pid)

    def is_running(self, identity: ProcessIdentity) -> bool | None:
        return self._kernel.is_running(identity)

    def when_exited(self, identity: ProcessIdentity) -> Deferred[Exit]:
        own = self._holders.get(identity)
        exited = self._exits.when_exited(identity) if own is None else own.exited.when_fired()
        return exited.addCallback(lambda status: Exit(*decode_wait_status(status)))

    def end_tree(
        self, identity: ProcessIdentity, attempt_id: str, grace_period: float = 2.0
    ) -> Deferred[TerminationResult]:
        ending = TreeTermination(
            self._reactor,
            self._kernel,
            self._exits,
            self._scanner,
            identity,
            attempt_id,
            grace_period,
            os.getpid(),
        )
        return Deferred.fromCoroutine(ending.run())

    def tree(self, identity: ProcessIdentity, attempt_id: str) -> list[ProcessIdentity]:
        table = ProcessTable(self._kernel)
        for _ in table.fill():
            pass
        found = [
            self._kernel.identity_of(stat)
            for stat in members(table, identity, attempt_id, os.getpid()).stats
        ]
        return [each for each in found if each is not None]

    def command_line(self, pid: int) -> list[str] | None:
        content = self._kernel.read_command_line(pid)
        return (
            [os.fsdecode(word) for word in content.rstrip(b"\0").split(b"\0")] if content else None
        )

    def environment(self, pid: int) -> dict[str, str] | None:
        content = self._kernel.read_environment(pid)
        if content is None:
            return None
        pairs = (
            os.fsdecode(entry).partition("=") for entry in content.split(b"\0") if b"=" in entry
        )
        return {name: value for name, _, value in pairs}

    def owner(self, pid: int) -> int | None:
        return self._kernel.owner_of(pid)
