"""Entries of the list of sessions as JSON, kept for each session as long as its row is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from hapi.hub.domain.entities import HubSession, KeptSummary
from hapi.hub.domain.views import summary_view
from hapi.protocol.json import to_json

MADE_AT_ONCE = 200  # summaries: about 10 ms
# What does not stand in the row: it changes with each alive, or it depends on the time.
_OUTSIDE_ROW = (
    "active",
    "thinking",
    "activeAt",
    "futureScheduledMessageCount",
    "nextScheduledAt",
)


def kept_summary(session: HubSession) -> KeptSummary:
    """What the list needs of the session's row, made anew if the row is another one."""
    kept = session.kept_summary
    if kept is None or kept.row is not session.row:
        view = summary_view(session, None)
        rest = {name: value for name, value in view.items() if name not in _OUTSIDE_ROW}
        kept = KeptSummary(session.row, to_json(rest).encode()[1:], len(session.requests))
        session.kept_summary = kept
    return kept


async def keep_summaries(sessions: Sequence[HubSession], clock: IReactorTime) -> None:
    """Make the summaries that are missing, in pieces between which the reactor serves others."""
    missing = [session for session in sessions if not _is_kept(session)]
    for start in range(0, len(missing), MADE_AT_ONCE):
        if start:
            await deferLater(clock, 0)
        for session in missing[start : start + MADE_AT_ONCE]:
            kept_summary(session)


def _is_kept(session: HubSession) -> bool:
    return session.kept_summary is not None and session.kept_summary.row is session.row


def summary_json(session: HubSession, scheduled: tuple[int, int] | None) -> bytes:
    """`summary_view` as JSON; the order of its keys differs."""
    count, next_at = scheduled or (0, None)
    return (
        b'{"active":%b,"thinking":%b,"activeAt":%d,"futureScheduledMessageCount":%d,'
        b'"nextScheduledAt":%b,'
        % (
            b"true" if session.active else b"false",
            b"true" if session.thinking else b"false",
            session.active_at,
            count,
            b"null" if next_at is None else b"%d" % next_at,
        )
        + kept_summary(session).rest
    )


def list_sort_key(session: HubSession) -> tuple[bool, bool, bool, int, int]:
    """Sort key of the list: pinned globally, pinned, active, most open requests, newest."""
    row, waiting = session.row, kept_summary(session).waiting if session.active else 0
    return (not row.global_pinned, not row.pinned, not session.active, -waiting, -row.updated_at)


def list_json(summaries: Iterable[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(summaries) + b"]")
