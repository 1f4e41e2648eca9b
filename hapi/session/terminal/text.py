"""Text on its way to and from a terminal, and what HAPI says there. Pure."""

from __future__ import annotations

import codecs

from hapi.protocol.session import BY_USER, COMPLETED, Ending
from hapi.redaction import escape_control

_EVENTS = {"Session aborted": "The turn was stopped"}  # the wire's words, which sound like the end


def printable(text: str) -> str:
    """`text` with its lines kept and every other control character made visible."""
    return "\n".join("\t".join(map(escape_control, line.split("\t"))) for line in text.split("\n"))


def representable(text: str, encoding: str | None) -> str:
    """`text` with escapes such as `\\u20ac` for what `encoding` (None: any character) lacks."""
    if encoding is None:
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def is_unicode(encoding: str | None) -> bool:
    """Whether a stream of that encoding can show every character."""
    return encoding is None or codecs.lookup(encoding).name.startswith("utf-")


def typed_text(line: bytes) -> str:
    """What was typed or piped: UTF-8, otherwise in the encoding of the locale."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        import locale

        return line.decode(locale.getpreferredencoding(False), errors="replace")


def event_text(message: str) -> str:
    """A status line of the conversation, as a person at the terminal reads it."""
    return _EVENTS.get(message, message)


def goodbye(ending: Ending, session_id: str) -> str:
    """How the session ended, and the command that goes on with it."""
    if ending.reason == "handoff":
        how = "The session goes on in another terminal: it was taken over"
    elif ending.reason == "error":
        how = f"The session ended with an error: {ending.archive_reason}"
    elif ending == BY_USER:
        how = "The session was archived"
    elif ending == COMPLETED:
        how = "The session has ended"
    else:
        how = "The session was ended"
    again = "gets it back" if ending.reason == "handoff" else "goes on with it"
    return f"{how}. `hapi resume {session_id}` {again}."
