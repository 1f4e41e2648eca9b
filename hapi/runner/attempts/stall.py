"""Sessions that live and get nowhere: a turn without a sign of life, a permission nobody answers, prompts nobody takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.attempt import AttemptReport


@frozen
class StallThresholds:
    """Seconds after which it is worth a look; the key `stuckAfter` of settings.json has the same names."""

    silent: float = 300.0
    approval: float = 600.0
    queued: float = 60.0

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> StallThresholds:
        """What makes no sense there counts as missing."""
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


def stuck(
    report: AttemptReport | None, last_sign: float | None, now: float, after: StallThresholds
) -> str | None:
    """`approval`, `silent` or `queued`; None for a session that gets on, idles, or does not report.

    `last_sign` is when it last showed life, `now` the time: epoch seconds. A clock that was set back finds nothing.
    """
    if report is None:
        return None
    if report.waiting_since is not None:
        return "approval" if now - report.waiting_since >= after.approval else None
    if report.turn_since is not None:
        since = max(report.turn_since, last_sign or report.at)
        return "silent" if now - since >= after.silent else None
    if report.queued_since is not None and report.ready:
        return "queued" if now - report.queued_since >= after.queued else None
    return None


def activity(report: AttemptReport | None, is_stuck: str | None) -> dict[str, Any]:
    """What `list` tells of it: doing (`turn`, `approval`, `idle`, `starting`, `unknown`), since (ms), queued, and stuck if it is.

    Programs of the npm make, and those that a person started, do not report: then nobody knows.
    """
    if report is None:
        return {"doing": "unknown"}
    doing, since = _doing(report)
    told = {
        "doing": doing,
        "since": None if since is None else int(since * 1000),
        "queued": report.queued or None,
        "stuck": is_stuck,
    }
    return {key: value for key, value in told.items() if value is not None}


def _doing(report: AttemptReport) -> tuple[str, float | None]:
    if report.waiting_since is not None:
        return "approval", report.waiting_since
    if report.turn_since is not None:
        return "turn", report.turn_since
    return ("idle" if report.ready else "starting"), None
