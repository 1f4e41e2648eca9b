"""`/session-started`: a process announces that it is a session.

The announcement is believed as far as the kernel confirms it, and it is never a reason to signal a
process. It names a pid; which child that is follows from the process's identity and its tree. An
announcement after the start lease is refused: the rest of its tree is ended because the runner
started it, not because a request named it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.attempts import ATTEMPT_VARIABLE, AttemptFolder
from hapi.home import Home
from hapi.process import IProcesses, ProcessIdentity
from hapi.protocol.attempt import AttemptProcess, AttemptRequest, AttemptSession
from hapi.protocol.control import STARTED_BY_USER, SessionStarted
from hapi.runner.attempts.child import Child, ChildSpec
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.control.guard import PeerInfo
from hapi.runner.control.peer_credentials import holds_socket
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.runner.storage.journal import RecordEvent, discard_event

LAUNCH_TIMEOUT = 5.0  # seconds
KEPT_METADATA = (
    "path",
    "flavor",
    "startedBy",
    "version",
    "name",
    "machineId",
    "startedFromRunner",
    "worktree",
)


@frozen
class Accepted:
    """Taken, or of no consequence: the caller is answered 200."""


@frozen
class Rejected:
    status: int
    reason: str


Verdict = Accepted | Rejected


@define
class Announcements:
    _clock: IReactorTime
    _home: Home
    _processes: IProcesses
    _children: ChildRegistry
    _own_uid: Callable[[], int] = os.geteuid
    _own_pid: Callable[[], int] = (
        os.getpid
    )  # asked each time: a daemon gets another after it was made
    _now: Callable[[], float] = time.time
    _holds_socket: Callable[[int, int], bool | None] = holds_socket
    announce_timeout: float = 15.0
    record_event: RecordEvent = discard_event
    _disk: Disk = field(factory=SynchronousDisk)
    _one_by_one: DeferredLock = field(factory=DeferredLock)
    log = Logger()

    async def receive(self, message: SessionStarted, peer: PeerInfo) -> Verdict:
        """Judge one announcement and act on it."""
        try:
            claimed = message.host_pid
        except ValueError as error:
            return Rejected(400, str(error))
        if claimed is None:
            return Accepted()
        if claimed == self._own_pid():
            return Rejected(403, "metadata.hostPid is the runner itself")
        identity = self._processes.identify(claimed)
        owner = self._processes.owner(claimed)
        if identity is None or (owner is not None and owner != self._own_uid()):
            return self._reject(claimed, "no process of this user")
        proof = self._proof(identity, peer)
        if proof is False:
            return self._reject(claimed, "the caller is another process")
        child = self._children.find_by_process(identity)
        if child is None and message.started_by == "runner":
            child = await self._child_around(identity)
        if child is not None:
            return await self._from_child(child, identity, message, proof)
        if message.started_by == "runner":
            if _serves_several(message.metadata):
                return Accepted()
            return self._reject(claimed, "no attempt of this runner")
        await self._one_by_one.acquire()  # who announces itself twice is one session
        try:
            child = self._children.find_by_process(identity)
            if child is None:
                await self._adopt(identity, message, proof)
        finally:
            self._one_by_one.release()
        return (
            Accepted() if child is None else await self._from_child(child, identity, message, proof)
        )

    def _reject(self, pid: int, reason: str) -> Rejected:
        self.record_event("announcement-refused", pid=pid, reason=reason)
        self.log.warn(
            "An announcement naming process {pid} is refused: {reason}", pid=pid, reason=reason
        )
        return Rejected(403, f"metadata.hostPid: {reason}")

    def _proof(self, identity: ProcessIdentity, peer: PeerInfo) -> bool | None:
        """Whether the caller is the process it names, or of its tree; None if that is unknown."""
        caller = peer.caller
        if caller is None or not peer.is_verifiable:
            return None
        if caller.pid is not None:
            return caller.pid == identity.pid or any(
                caller.pid == one.pid for one in self._processes.tree(identity, "")
            )
        held = self._holds_socket(identity.pid, caller.inode)
        if held is not False:
            return held
        below = [
            self._holds_socket(one.pid, caller.inode)
            for one in self._processes.tree(identity, "")
            if one != identity
        ]
        return True if True in below else None if None in below else False

    async def _child_around(self, identity: ProcessIdentity) -> Child | None:
        """The child in whose tree this process runs: a launched program may start the session.

        Every process of the tree carries the mark of the attempt. A session that is announced
        before its launch is recorded waits for that.
        """
        environment = self._processes.environment(identity.pid)
        if environment is not None:
            marked = self._children.find_attempt(environment.get(ATTEMPT_VARIABLE, ""))
            return None if marked is None or not await self._is_launched(marked) else marked
        for child in self._children:
            if (
                child.exit is not None
                or child.host is not None
                or not await self._is_launched(child)
            ):
                continue
            if child.identity is not None and identity in self._processes.tree(
                child.identity, child.attempt
            ):
                return child
        return None

    async def _is_launched(self, child: Child) -> bool:
        try:
            return await child.launching.when_fired().addTimeout(LAUNCH_TIMEOUT, self._clock)
        except TimeoutError:
            return False

    async def _from_child(
        self, child: Child, identity: ProcessIdentity, message: SessionStarted, proof: bool | None
    ) -> Verdict:
        if child.state in ("refused", "ended"):
            return self._too_late(child, message)
        several = _serves_several(message.metadata)
        if (
            child.host not in (None, identity)
            and not several
            and self._processes.is_running(child.host) is not False
        ):
            return self._reject(identity.pid, "its session has announced itself as another process")
        child.is_unverified = proof is None
        if several and child.session_id is not None:
            self._children.record_further_session(
                child, message.session_id, archived=_is_archived(message.metadata)
            )
            return Accepted()
        child.is_announcing = True
        await self._save_session(child.folder, identity, message)
        if child.state in ("refused", "ended"):  # while it was written
            return self._too_late(child, message)
        self._children.record_session(child, message.session_id, identity)
        child.life.announced(message.session_id)
        self.record_event("announced", child.ids)
        self.log.info(
            "Session {session_id} announced by process {pid}",
            session_id=message.session_id,
            pid=identity.pid,
        )
        return Accepted()

    def _too_late(self, child: Child, message: SessionStarted) -> Rejected:
        self.log.warn(
            "Session {session_id} was announced too late; its process {pid} is ended",
            session_id=message.session_id,
            pid=child.pid,
            attempt=child.attempt,
        )
        self.record_event("announcement-refused", child.ids, reason="its start was over")
        self._children.termination.terminate_in_background(
            child, "announced too late", "runner", "lease"
        )
        return Rejected(403, f"the start of this session ({child.attempt}) is over")

    async def _save_session(
        self, folder: AttemptFolder, identity: ProcessIdentity, message: SessionStarted
    ) -> None:
        try:
            await self._disk.do(lambda: self._write(folder, identity, message))
        except OSError as error:
            self.log.error(
                "The announcement of {attempt} was not saved: {reason}",
                attempt=folder.id,
                reason=str(error),
            )

    def _write(
        self, folder: AttemptFolder, identity: ProcessIdentity, message: SessionStarted
    ) -> None:
        metadata = {
            key: value for key, value in (message.metadata or {}).items() if key in KEPT_METADATA
        }
        folder.session = AttemptSession(
            session_id=message.session_id, host_pid=identity.pid, at=self._now(), metadata=metadata
        )

    async def _adopt(
        self, identity: ProcessIdentity, message: SessionStarted, proof: bool | None
    ) -> None:
        """List, stop and record a session that a person started in a terminal like any other."""
        metadata: Mapping[str, Any] = message.metadata or {}
        command = self._processes.command_line(identity.pid) or []
        directory, agent = metadata.get("path"), metadata.get("flavor")
        request = AttemptRequest(
            argv=tuple(command),
            cwd=directory if isinstance(directory, str) else "",
            at=self._now(),
            asked_by="terminal",
            agent=agent if isinstance(agent, str) else "",
        )
        folder = await self._disk.do(lambda: self._open_folder(request, identity))
        await self._save_session(folder, identity, message)
        spec = ChildSpec(
            folder=folder,
            agent=request.agent,
            directory=request.cwd,
            started_at=self._now(),
            started_by=STARTED_BY_USER,
        )
        child = self._children.create(spec)
        child.is_unverified = proof is None
        self._children.launched(child, identity)
        self._children.record_session(child, message.session_id, identity)
        child.life.announced(message.session_id)
        self._children.watch(child)
        self.record_event(
            "announced", child.ids, actor="terminal", agent=request.agent, directory=request.cwd
        )
        self.log.info(
            "Session {session_id} of process {pid} was started by its user",
            session_id=message.session_id,
            pid=identity.pid,
        )

    def _open_folder(self, request: AttemptRequest, identity: ProcessIdentity) -> AttemptFolder:
        folder = AttemptFolder.create(self._home, request)
        folder.process = AttemptProcess(child=identity)
        return folder


def _serves_several(metadata: Mapping[str, Any] | None) -> bool:
    """npm's shared Codex runtime: one process with several sessions."""
    capabilities = (metadata or {}).get("capabilities")
    return isinstance(capabilities, Mapping) and capabilities.get("concurrentClients") is True


def _is_archived(metadata: Mapping[str, Any] | None) -> bool:
    return (metadata or {}).get("lifecycleState") == "archived"
