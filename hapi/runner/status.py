"""`/status`: everything a person wants to know of a runner first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from hapi import __version__
from hapi.protocol.control import ListedSession
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.peer_credentials import PeerLookup
from hapi.runner.handoff.coordinator import HandoffCoordinator
from hapi.runner.heartbeat import Heartbeat
from hapi.runner.sessions import Sessions
from hapi.runner.storage.write_retries import WriteRetries
from hapi.runner.supervision.systemd_scope_check import SystemdScopeCheck
from hapi.runner.uplink.session_access import SessionAccess
from hapi.runner.uplink.uplink import Uplink


class Runner(Protocol):
    """The parts of a runner that its status describes."""

    @property
    def options(self) -> RunnerOptions: ...
    @property
    def port(self) -> int | None: ...

    heartbeat: Heartbeat
    hub: Uplink
    lookup: PeerLookup
    phase: str
    sessions: Sessions
    started_at: float
    write_retries: WriteRetries
    handoff: HandoffCoordinator
    scope_check: SystemdScopeCheck | None
    session_access: SessionAccess

    def list(self) -> list[ListedSession]: ...


def runner_status(runner: Runner, now: float) -> Mapping[str, Any]:
    """The answer of `/status`: times in epoch milliseconds, durations in seconds."""
    options, heartbeat, sessions = runner.options, runner.heartbeat, runner.list()
    last_ago, next_in = heartbeat.last_ago, heartbeat.next_in
    problem = options.program_problem
    return {
        "pid": os.getpid(),
        "version": __version__,
        "machineId": options.machine_id,
        "hub": runner.hub.status(options),
        "registered": runner.hub.registered,
        "workspaceRoots": list(options.workspace_roots),
        "startedAt": int(runner.started_at * 1000),
        "uptimeSeconds": round(now - runner.started_at, 3),
        "argv": list(options.argv),
        "children": len(runner.sessions.children.listed()),
        "sessionsByState": dict(Counter(session.state or "ready" for session in sessions)),
        "admission": runner.sessions.admission.status(),
        "revive": options.revive,
        "sessionMemory": options.session_limits.memory,
        "idleAgentSeconds": options.idle_limit,
        "gitActions": options.git_actions,
        "terminal": options.terminal,
        "sessionScopes": runner.scope_check is not None and runner.scope_check.scoped,
        "stuck": _stalls(sessions),
        "phase": runner.phase,
        "home": str(options.home.path),
        "httpPort": runner.port,
        "sessionCommand": list(options.session_command),
        "handoffDisabled": options.handoff_disabled,
        **runner.handoff.status(),
        "callersKnownBy": runner.lookup.means,
        "trouble": runner.write_retries.write_error,
        "warnings": (runner.scope_check.warnings if runner.scope_check is not None else [])
        + runner.hub.warnings()
        + runner.session_access.warnings()
        + ([problem] if problem is not None else []),
        "programProblem": problem,
        "failedBeats": heartbeat.failures,
        "beats": heartbeat.beats,
        "lastBeatSeconds": heartbeat.seconds,
        "lastHeartbeatAt": None if last_ago is None else int((now - last_ago) * 1000),
        "nextHeartbeatAt": None if next_in is None else int((now + next_in) * 1000),
        "logFile": options.log_path,
    }


def _stalls(sessions: Iterable[ListedSession]) -> dict[str, str]:
    """Why sessions are stalled, by session id."""
    found = {
        session.happy_session_id: (session.activity or {}).get("stuck") for session in sessions
    }
    return {name: reason for name, reason in found.items() if reason}
