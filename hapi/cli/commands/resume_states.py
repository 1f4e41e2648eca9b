"""What the sessions that `hapi resume` lists do, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hapi.cli.commands.sessions.ask import state

if TYPE_CHECKING:
    from hapi.client import ApiClient, ResumableSession

PLACES = {"runner": "under the runner", "terminal": "in another terminal"}
OWN_PROGRAM = "in its own program"
LEGEND = "idle, working, waiting: runs, and moves here. inactive, archived: starts again"


async def read_states(client: ApiClient, listed: Sequence[ResumableSession]) -> dict[str, str]:
    """The state of each session by its id: the word of `hapi sessions list`, and where one that
    runs does so, as `idle, under the runner`.
    """
    known = {each.id: each for each in await client.sessions()}
    found = {}
    for entry in listed:
        summary = known.get(entry.session_id)
        word = entry_state(entry)
        if summary is not None:
            word = state(summary, summary.pending_requests_count > 0)
        place = await _place(client, entry) if entry.active else ""
        found[entry.session_id] = f"{word}, {place}" if place else word
    return found


def entry_state(entry: ResumableSession) -> str:
    """The word for what is known of a session from the list alone."""
    if not entry.active:
        return "inactive"
    return "working" if entry.thinking else "idle"


async def _place(client: ApiClient, entry: ResumableSession) -> str:
    from hapi.client import NotFound

    if entry.controlled_by_user:
        return OWN_PROGRAM
    try:
        metadata = (await client.session(entry.session_id)).metadata or {}
    except NotFound:
        return ""
    return PLACES.get(str(metadata.get("startedBy")), "")
