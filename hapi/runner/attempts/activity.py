"""What the sessions of this machine are doing, by their own reports: what a restart has to wait
for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hapi.runner.attempts.child import Child


def summarize_activity(children: Sequence[Child], starting: int, accepting: bool) -> dict[str, Any]:
    """The ids of the sessions in which a turn runs, which of these wait for an answer of a person,
    those of the sessions that do not report, and the number of starts that are not over yet."""
    known = [
        child
        for child in children
        if child.is_live and child.session_id is not None and child.state != "refused"
    ]
    in_turn = [
        child.session_id
        for child in known
        if child.report is not None and child.report.turn_since is not None
    ]
    return {
        "accepting": accepting,
        "starting": starting,
        "turns": in_turn,
        "waiting": [
            child.session_id
            for child in known
            if child.session_id in in_turn
            and child.report is not None
            and child.report.waiting_since is not None
        ],
        "unknown": [child.session_id for child in known if child.report is None],
    }
