"""Holders that were killed: daemons of their sessions can be out of reach from then on.

What a session starts is found by its parents and by the mark in its environment. A daemon without
that environment is a descendant of the holder and nothing else; when the holder is gone, process 1
adopts the daemon, and an end of the session does not reach it.
"""

from __future__ import annotations

from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.runner.attempts.child import Child
from hapi.runner.storage.journal import RecordEvent

log = Logger()


def check_holder(processes: IProcesses, child: Child, record_event: RecordEvent) -> None:
    """Record and log, once, that the holder of this live session is gone."""
    if child.holder is None or child.identity is None or child.holder_lost or not child.is_live:
        return
    if processes.is_running(child.holder) is False and processes.is_running(
        child.identity
    ):  # in this order: they end in the other
        child.holder_lost = True
        record_event("holder-lost", child.ids, holder=child.holder.pid)
        log.warn(
            "The holder of session {session_id} was killed: daemons of the session that dropped "
            "its environment cannot be found any more",
            session_id=child.session_id or child.attempt,
            pid=child.holder.pid,
        )
