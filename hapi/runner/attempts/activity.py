"""What the sessions of this machine are doing, by their own reports: what a restart has to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hapi.runner.attempts.child import Child


def work_of(children: Sequence[Child], starting: int, accepting: bool) -> dict[str, Any]:
    """Sessions (by id) in which a turn runs, those that do not report, and how many starts are under way."""
    living = [
        child
        for child in children
        if child.is_live and child.session_id is not None and child.state != "refused"
    ]
    return {
        "accepting": accepting,
        "starting": starting,
        "turns": [
            child.session_id
            for child in living
            if child.report is not None and child.report.turn_since is not None
        ],
        "unknown": [child.session_id for child in living if child.report is None],
    }
