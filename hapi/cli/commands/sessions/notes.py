"""What a session itself, not its agent, has to say in a conversation."""

from __future__ import annotations

from hapi.redaction import escape_control

STOPPED = "Session aborted"  # of our sessions and npm's
SENTENCES = {STOPPED: "the turn was stopped; the session goes on"}


def sentence(status: str) -> str:
    """A status line as people read it, in one line."""
    return SENTENCES.get(status, " ".join(status.split()))


def note(status: str) -> str:
    said = sentence(status)
    return f"Note: {escape_control(said[:1].upper() + said[1:])}"
