"""Start-up is recovery: what the attempt folders prove becomes children again, whoever ran when they were started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home
from hapi.process import Exit, IProcesses, ProcessIdentity
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptProcess,
    AttemptRequest,
    AttemptSession,
    StopOrder,
)
from hapi.protocol.control import STARTED_BY_USER
from hapi.protocol.spawn import Worktree
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.storage.journal import JournalFacts, RecordEvent, discard_event, read_journal

LEAST_LEASE = 1.0  # seconds an unannounced session has, however long ago it was launched

MACHINE_STOPPED, NEVER_LAUNCHED = "machine stopped", "never launched"


@define
class Adoption:
    _clock: IReactorTime
    _home: Home
    _processes: IProcesses
    _children: ChildRegistry
    _boot_id: str
    _give_up: Callable[[Child], object]
    _announce_within: float
    _now: Callable[[], float] = time.time
    _start_within: float = 0.0
    _record_event: RecordEvent = discard_event
    _told: JournalFacts | None = None
    log = Logger()

    def run(self) -> int:
        """Take every attempt into the registry; how many of them are live."""
        for folder in attempts(self._home):
            if self._children.find_attempt(folder.id) is not None:
                continue
            try:
                self._take(folder)
            except Exception:
                self.log.failure("Attempt {attempt} could not be taken over", attempt=folder.id)
        return len(self._children.live())

    def _take(self, folder: AttemptFolder) -> None:
        request = folder.request
        process = folder.process or (self._find_marked(folder) if folder.end is None else None)
        if request is None:
            if process is None or self._processes.is_running(process.child) is False:
                return
            self.log.warn(
                "What was asked for with {attempt} is not readable; its process is taken over",
                attempt=folder.id,
            )
            request = _guess(folder, self._now())
        child = self._child(folder, request)
        if process is None:
            child.life.not_launched(NEVER_LAUNCHED)
            child.launching.fire(False)
            self._children.add(child)
            if folder.end is None:
                self._record_unseen_end(folder, NEVER_LAUNCHED)
            self._bury(child)
            return
        child.unverified = folder.request is None or folder.session is None
        self._recall(folder, process.child)
        child.identity, child.holder = process.child, process.holder
        child.launching.fire(True)
        child.life.launched(process.child)
        session = folder.session
        if session is not None:
            child.host = self._host(child, session.host_pid)
            self._children.add(child)
            self._children.record_session(child, session.session_id, child.host or process.child)
            child.life.announced(session.session_id)
        else:
            self._children.add(child)
        self._judge(child)

    def _recall(self, folder: AttemptFolder, identity: ProcessIdentity) -> None:
        """What a full disk refused and nobody could write later, the journal may tell."""
        is_gone = self._processes.is_running(identity) is False
        if folder.session is not None and (folder.end is not None or not is_gone):
            return
        told = self._read_back()
        if folder.session is None and (session := told.announced.get(folder.id)) is not None:
            self._save(folder, "session", session)
        if is_gone and folder.stop is None and (order := told.stopped.get(folder.id)) is not None:
            self._save(folder, "stop", order)
        if is_gone and folder.end is None and (end := told.ended.get(folder.id)) is not None:
            self._save(folder, "end", end)

    def _save(
        self,
        folder: AttemptFolder,
        name: str,
        record: AttemptProcess | AttemptSession | StopOrder | AttemptEnd,
    ) -> None:
        try:
            setattr(folder, name, record)
        except OSError as error:  # it is known all the same
            reason = folder.write_error or str(error)
            self.log.error(
                "What is known of {attempt} is not saved yet: {reason}",
                attempt=folder.id,
                reason=reason,
            )

    def _read_back(self) -> JournalFacts:
        self._told = self._told or read_journal(self._home)
        return self._told

    def _judge(self, child: Child) -> None:
        assert child.identity is not None
        folder = child.folder
        if folder.end is None and child.identity.boot_id != self._boot_id:
            self._record_unseen_end(folder, MACHINE_STOPPED)
            self._bury(child)
        elif folder.end is not None and self._processes.is_running(child.identity) is False:
            self._bury(child)
        else:
            child.adopted = True  # also when nobody can tell whether it runs: unknown is not gone
            if child.session_id is None and folder.stop is None and self._is_at_work(child):
                child.life.unproven()
            self._record_event("adopted", child.ids)
            self.log.info(
                "Session {session_id} is taken over",
                session_id=child.session_id,
                pid=child.pid,
                attempt=child.attempt,
            )
            self._children.watch(child)
            order = folder.stop
            if order is not None:  # it was being ended when the runner before us went
                self._finish(child, order)

    def _is_at_work(self, child: Child) -> bool:
        """It has announced itself, though nothing tells of it: it says so, or it outlived the lease of its start."""
        if child.identity is None or self._processes.is_running(child.identity) is False:
            return False
        report, age = child.folder.report, self._now() - child.started_at
        speaks = report is not None and (report.ready or report.agent_session_id is not None)
        return speaks or age > max(self._announce_within, self._start_within)

    def _finish(self, child: Child, order: StopOrder) -> None:
        known = {"reason": order.reason, "actor": order.actor, "method": order.method}
        is_news = child.attempt not in self._read_back().stopped
        ending = Deferred.fromCoroutine(self._children.terminate(child, **known, is_news=is_news))
        ending.addErrback(
            lambda reason: self.log.failure(
                "Ending {attempt} failed", reason, attempt=child.attempt
            )
        )

    def _bury(self, child: Child) -> None:
        end = child.folder.end
        how = Exit(None, None) if end is None else Exit(end.exit_code, end.signal)
        self._children.mark_ended(child, how, is_news=False)
        if end is not None and not self._read_back().tells(child.attempt, end.at):
            self._children.record_end(child, how)

    def _record_unseen_end(self, folder: AttemptFolder, reason: str) -> None:
        """Why nobody saw its end. A reason that was written before stands."""
        if folder.stop is None:
            self._save(folder, "stop", StopOrder(reason, "machine", "found at start", self._now()))
        self._save(folder, "end", AttemptEnd(None, None, self._now()))

    def _find_marked(self, folder: AttemptFolder) -> AttemptProcess | None:
        """A launch that was not written down: its processes carry the mark of the attempt."""
        nobody = ProcessIdentity(pid=(1 << 31) - 1, start_ticks=0, boot_id=self._boot_id)
        found = self._processes.tree(nobody, folder.id)
        if not found:
            return None
        process = AttemptProcess(
            child=found[min(1, len(found) - 1)], holder=found[0] if len(found) > 1 else None
        )
        self._save(folder, "process", process)
        return process

    def _host(self, child: Child, pid: int | None) -> ProcessIdentity | None:
        """The process that announced itself, if it is still of this session."""
        if child.identity is None or pid is None or pid == child.identity.pid:
            return child.identity
        found = self._processes.identify(pid)
        return (
            found
            if found is not None and found in self._processes.tree(child.identity, child.attempt)
            else None
        )

    def _child(self, folder: AttemptFolder, request: AttemptRequest) -> Child:
        elapsed = max(self._now() - request.at, 0.0)
        return Child(
            attempt=folder.id,
            folder=folder,
            clock=self._clock,
            give_up=self._give_up,
            agent=request.agent,
            directory=request.cwd,
            started_at=request.at,
            started_by=STARTED_BY_USER if request.asked_by == "terminal" else "runner",
            requested_id=request.existing_session_id,
            announce_within=max(self._announce_within - elapsed, LEAST_LEASE),
            start_within=self._start_within - elapsed,
            worktree=read_worktree(request.worktree),
            keeps_worktree=(request.worktree or {}).get("kept") is True,
        )


def _guess(folder: AttemptFolder, now: float) -> AttemptRequest:
    """What was asked for, as far as the rest of the folder tells."""
    metadata = {} if folder.session is None else folder.session.metadata
    agent, directory = (str(metadata.get(key) or "") for key in ("flavor", "path"))
    begun = min(
        [now, *(entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(folder.path))]
    )
    return AttemptRequest(argv=(), cwd=directory, at=begun, agent=agent)


def read_worktree(kept: dict[str, Any] | None) -> Worktree | None:
    """The worktree a request.json tells of, if we made it."""
    if not kept or kept.get("made_by_us") is not True:
        return None
    try:
        return Worktree(
            **{name: kept[name] for name in ("base_path", "branch", "name", "path", "created_at")}
        )
    except (KeyError, TypeError):
        return None
