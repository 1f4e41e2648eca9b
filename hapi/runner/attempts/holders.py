"""Holders that were killed: nobody keeps together any more what their sessions let loose.

What a session starts is found by its parents and by the mark in its environment. A daemon without that environment belongs to the
holder, by parentage alone; when the holder is gone it is process 1's like any other, and an end of the session passes it by.
"""

from __future__ import annotations

from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.runner.attempts.child import Child
from hapi.runner.storage.journal import RecordEvent

log = Logger()


def check_holder(processes: IProcesses, child: Child, record_event: RecordEvent) -> None:
    """Notice, and tell once, that the holder of this live session is gone."""
    if child.holder is None or child.identity is None or child.holder_lost or not child.is_live:
        return
    if processes.is_running(child.holder) is False and processes.is_running(
        child.identity
    ):  # in this order: they end in the other
        child.holder_lost = True
        record_event("holder-lost", child.ids, holder=child.holder.pid)
        log.warn(
            "The holder of session {session_id} was killed: what it lets loose without its environment cannot be found any more",
            session_id=child.session_id or child.attempt,
            pid=child.holder.pid,
        )
