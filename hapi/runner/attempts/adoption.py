"""Adoption: at its start, a runner makes children of what the attempt folders prove, whoever
started it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define
from twisted.logger import Logger

from hapi.attempts import AttemptFolder, attempts
from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.process import Exit, IProcesses, ProcessIdentity
from hapi.process.identity import is_earlier_boot
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptProcess,
    AttemptRequest,
    AttemptSession,
    StopOrder,
)
from hapi.protocol.control import STARTED_BY_USER
from hapi.protocol.spawn import Worktree
from hapi.runner.attempts.child import Child, ChildSpec
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.storage.journal import JournalFacts, RecordEvent, discard_event, read_journal

MIN_LEASE = 1.0  # seconds an unannounced session gets, however long ago it was launched

# Reasons for ends that no runner saw.
MACHINE_STOPPED, NEVER_LAUNCHED = "machine stopped", "never launched"


@define
class Adoption:
    """Takes the attempts of a home into the registry of a runner."""

    _home: Home
    _processes: IProcesses
    _children: ChildRegistry
    _announce_timeout: float
    _start_timeout: float = 0.0
    _now: Callable[[], float] = time.time
    _record_event: RecordEvent = discard_event
    _journal: JournalFacts | None = None
    log = Logger()

    def run(self) -> int:
        """Take every attempt into the registry. The number of sessions that are live."""
        for folder in attempts(self._home):
            if self._children.find_attempt(folder.id) is not None:
                continue
            try:
                self._take(folder)
            except Exception:
                self.log.failure("Attempt {attempt} could not be adopted", attempt=folder.id)
        return len(self._children.live())

    def _take(self, folder: AttemptFolder) -> None:
        request = folder.request
        process = folder.process or (self._find_marked(folder) if folder.end is None else None)
        if request is None:
            if process is None or self._is_gone(process.child):
                return
            self.log.warn(
                "The request of {attempt} is not readable; its process is adopted",
                attempt=folder.id,
            )
            request = _reconstruct_request(folder, self._now())
        child = self._children.create(self._spec(folder, request))
        if process is None:
            self._take_unlaunched(child)
        else:
            self._take_launched(child, process)

    def _take_unlaunched(self, child: Child) -> None:
        child.life.launch_failed(NEVER_LAUNCHED)
        child.launching.fire(False)
        if child.folder.end is None:
            self._save_unseen_end(child.folder, NEVER_LAUNCHED)
        self._mark_ended(child)

    def _take_launched(self, child: Child, process: AttemptProcess) -> None:
        folder = child.folder
        child.is_unverified = folder.request is None or folder.session is None
        self._restore_from_journal(folder, process.child)
        self._children.launched(child, process.child, process.holder)
        session = folder.session
        if session is not None:
            host = self._host(child, session.host_pid) or process.child
            self._children.record_session(child, session.session_id, host)
            child.life.announced(session.session_id)
        self._judge(child)

    def _restore_from_journal(self, folder: AttemptFolder, identity: ProcessIdentity) -> None:
        """Save what a full disk refused, and the last runner could not write later."""
        is_gone = self._is_gone(identity)
        if folder.session is not None and (folder.end is not None or not is_gone):
            return
        journal = self._read_journal()
        if folder.session is None and (session := journal.announced.get(folder.id)) is not None:
            self._save(folder, "session", session)
        if is_gone and folder.stop is None and (order := journal.stopped.get(folder.id)):
            self._save(folder, "stop", order)
        if is_gone and folder.end is None and (end := journal.ended.get(folder.id)) is not None:
            self._save(folder, "end", end)

    def _save(
        self,
        folder: AttemptFolder,
        name: str,
        record: AttemptProcess | AttemptSession | StopOrder | AttemptEnd,
    ) -> None:
        try:
            setattr(folder, name, record)
        except OSError as error:  # the folder object knows the record all the same
            self.log.error(
                "A record of {attempt} is not saved yet: {reason}",
                attempt=folder.id,
                reason=folder.write_error or str(error),
            )

    def _read_journal(self) -> JournalFacts:
        self._journal = self._journal or read_journal(self._home)
        return self._journal

    def _judge(self, child: Child) -> None:
        """Decide whether the session has ended, and adopt it if it has not."""
        assert child.identity is not None
        folder = child.folder
        if folder.end is None and self._is_of_earlier_boot(child.identity):
            self._save_unseen_end(folder, MACHINE_STOPPED)
            self._mark_ended(child)
        elif folder.end is not None and self._is_gone(child.identity):
            self._mark_ended(child)
        else:  # also when it is unknown whether the process runs: unknown is not gone
            self._adopt(child)

    def _is_of_earlier_boot(self, identity: ProcessIdentity) -> bool:
        boot_id = self._processes.boot_id()
        return is_earlier_boot(identity.boot_id, boot_id) and self._is_gone(identity)

    def _is_gone(self, identity: ProcessIdentity) -> bool:
        return self._processes.is_running(identity) is False

    def _adopt(self, child: Child) -> None:
        order = child.folder.stop
        child.is_adopted = True
        if child.session_id is None and order is None and self._is_at_work(child):
            child.life.announcement_lost()
        self._record_event("adopted", child.ids)
        self.log.info(
            "Session {session_id} is adopted",
            session_id=child.session_id,
            pid=child.pid,
            attempt=child.attempt,
        )
        self._children.watch(child)
        if order is not None:
            self._finish_stop(child, order)

    def _is_at_work(self, child: Child) -> bool:
        """Whether it must have announced itself, though no record of that exists: its report shows
        it, or it outlived the lease of its start."""
        if child.identity is None or self._is_gone(child.identity):
            return False
        report, age = child.folder.report, self._now() - child.spec.started_at
        reports = report is not None and (report.ready or report.agent_session_id is not None)
        return reports or age > max(self._announce_timeout, self._start_timeout)

    def _finish_stop(self, child: Child, order: StopOrder) -> None:
        """Go on with a stop that the last runner did not live to finish."""
        ending = self._children.termination.terminate(
            child,
            reason=order.reason,
            actor=order.actor,
            method=order.method,
            is_news=child.attempt not in self._read_journal().stopped,
        )
        run_in_background(ending, self.log, "Ending {attempt} failed", attempt=child.attempt)

    def _mark_ended(self, child: Child) -> None:
        end = child.folder.end
        how = Exit(None, None) if end is None else Exit(end.exit_code, end.signal)
        self._children.mark_ended(child, how, is_news=False)
        if end is not None and not self._read_journal().has_end_of(child.attempt, end.at):
            self._children.record_end(child, how)

    def _save_unseen_end(self, folder: AttemptFolder, reason: str) -> None:
        """Save an end that no runner saw. A reason that was saved before stands."""
        if folder.stop is None:
            self._save(folder, "stop", StopOrder(reason, "machine", "found at start", self._now()))
        self._save(folder, "end", AttemptEnd(None, None, self._now()))

    def _find_marked(self, folder: AttemptFolder) -> AttemptProcess | None:
        """The processes of a launch that was not saved: they carry the mark of the attempt."""
        boot_id = self._processes.boot_id()
        nobody = ProcessIdentity(pid=(1 << 31) - 1, start_ticks=0, boot_id=boot_id)
        found = self._processes.tree(nobody, folder.id)
        if not found:
            return None
        has_holder = len(found) > 1
        process = AttemptProcess(
            child=found[1] if has_holder else found[0], holder=found[0] if has_holder else None
        )
        self._save(folder, "process", process)
        return process

    def _host(self, child: Child, pid: int | None) -> ProcessIdentity | None:
        """The process that announced itself, if it still belongs to this session."""
        if child.identity is None or pid is None or pid == child.identity.pid:
            return child.identity
        found = self._processes.identify(pid)
        is_ours = found in self._processes.tree(child.identity, child.attempt)
        return found if is_ours else None

    def _spec(self, folder: AttemptFolder, request: AttemptRequest) -> ChildSpec:
        elapsed = max(self._now() - request.at, 0.0)
        worktree = request.worktree or {}
        return ChildSpec(
            folder=folder,
            agent=request.agent,
            directory=request.cwd,
            started_at=request.at,
            started_by=STARTED_BY_USER if request.asked_by == "terminal" else "runner",
            requested_id=request.existing_session_id,
            announce_timeout=max(self._announce_timeout - elapsed, MIN_LEASE),
            start_timeout=self._start_timeout - elapsed,
            worktree=read_worktree(worktree),
            keeps_worktree=worktree.get("kept") is True,
        )


def _reconstruct_request(folder: AttemptFolder, now: float) -> AttemptRequest:
    """What was asked for, as far as the other records of the folder show."""
    metadata = {} if folder.session is None else folder.session.metadata
    agent, directory = (str(metadata.get(key) or "") for key in ("flavor", "path"))
    times = []
    with suppress(OSError), os.scandir(folder.path) as entries:
        for entry in entries:
            with suppress(OSError):  # the session replaces its files meanwhile
                times.append(entry.stat(follow_symlinks=False).st_mtime)
    return AttemptRequest(argv=(), cwd=directory, at=min([now, *times]), agent=agent)


def read_worktree(record: dict[str, Any]) -> Worktree | None:
    """The worktree that a request.json names, if a runner made it."""
    if record.get("made_by_us") is not True:
        return None
    fields = ("base_path", "branch", "name", "path", "created_at")
    try:
        return Worktree(**{name: record[name] for name in fields})
    except (KeyError, TypeError):
        return None
