"""Stalled sessions: a turn without a sign of life, an unanswered permission request, prompts
that stay queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.attempt import AttemptReport

SETTLE_TIME = 3.0  # seconds in which a session reconnects to its hub by itself


@frozen
class StallThresholds:
    """Seconds after which a session counts as stalled: the key `stuckAfter` of settings.json."""

    silent: float = 300.0
    approval: float = 600.0
    queued: float = 60.0

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> StallThresholds:
        """The thresholds of the settings; anything but a positive number counts as missing."""
        given = settings.get("stuckAfter")
        found = given if isinstance(given, Mapping) else {}
        numbers = {
            name: float(value)
            for name, value in found.items()
            if name in ("silent", "approval", "queued")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and value > 0
        }
        return cls(**numbers)


def stall_reason(
    report: AttemptReport | None,
    last_sign: float | None,
    now: float,
    thresholds: StallThresholds,
) -> str | None:
    """`approval`, `silent` or `queued`; None for a session that works, idles, or does not report.

    `last_sign` is the time of the last sign of life, `now` the current time, both in epoch seconds.
    After the clock was set back, no session counts as stalled.
    """
    if report is None:
        return None
    if report.waiting_since is not None:
        return "approval" if now - report.waiting_since >= thresholds.approval else None
    if report.turn_since is not None:
        since = max(report.turn_since, last_sign or report.at)
        return "silent" if now - since >= thresholds.silent else None
    if report.queued_since is not None and report.ready:
        return "queued" if now - report.queued_since >= thresholds.queued else None
    return None


def describe_activity(report: AttemptReport | None, stall: str | None) -> dict[str, Any]:
    """What `list` shows of a session: `doing` (`turn`, `approval`, `idle`, `resting`, `starting`,
    `unknown`), `since` (epoch milliseconds), `queued`, `stuck` with the reason of a stall, `hub`
    with the reason why it is not connected to its hub, `problem` if its records are not stored
    there, and its permission mode (`mode`) and `model`.

    Sessions of the npm make and those that a person started do not report and are `unknown`.
    """
    if report is None:
        return {"doing": "unknown"}
    doing, since = _doing(report)
    fields = {
        "doing": doing,
        "since": None if since is None else int(since * 1000),
        "queued": report.queued or None,
        "stuck": stall,
        "hub": describe_disconnection(report),
        "problem": report.problem,
        "mode": report.mode,
        "model": report.model,
    }
    return {key: value for key, value in fields.items() if value is not None}


def describe_disconnection(report: AttemptReport | None) -> str | None:
    """Why a session is not connected to its hub, as a clause; None if it is, or does not say."""
    hub = None if report is None else report.hub
    if hub is None or hub.phase == "connected":
        return None
    return f"not connected to {hub.url}" + (f": {hub.reason}" if hub.reason else "")


def is_disconnected(report: AttemptReport | None, now: float) -> bool:
    """Whether a session has not been connected to its hub for longer than a reconnection takes."""
    hub = None if report is None else report.hub
    return hub is not None and hub.phase != "connected" and now - hub.since >= SETTLE_TIME


def _doing(report: AttemptReport) -> tuple[str, float | None]:
    if report.waiting_since is not None:
        return "approval", report.waiting_since
    if report.turn_since is not None:
        return "turn", report.turn_since
    if report.resting_since is not None:
        return "resting", report.resting_since
    return ("idle" if report.ready else "starting"), None
