"""What a notification says, as much of it as a device wants to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.hub.domain.notifications import Notice, NoticeKind
from hapi.hub.notify.settings import Detail
from hapi.redaction import escape_control

MAX_COMMAND_LENGTH = 300  # characters
_MINIMAL: Mapping[NoticeKind, str] = {
    NoticeKind.PERMISSION: "An agent asks for permission",
    NoticeKind.READY: "An agent is waiting for input",
    NoticeKind.ENDED: "A session has ended",
    NoticeKind.STUCK: "A session is silent",
}
_TELLING = ("command", "cmd", "file_path", "filePath", "path", "url", "pattern", "query")
_QUESTION_TOOLS = frozenset({"AskUserQuestion", "ask_user_question", "request_user_input"})


def text_of(notice: Notice, detail: Detail) -> tuple[str, str]:
    """Title and body of a notification."""
    if detail == "minimal":
        return "HAPI", _MINIMAL[notice.kind]
    command = request_text(notice.request) if detail == "command" else ""
    body = f"{notice.body}\n{command}" if command else notice.body
    return escape_control(notice.title), escape_lines(body)


def escape_lines(text: str) -> str:
    """`text` with its lines, and without characters that hide or turn round what it says."""
    return "\n".join(map(escape_control, text.split("\n")))


def request_text(request: Any) -> str:
    """The command, file or address that a permission request is about, "" if it names none."""
    arguments = request.get("arguments") if isinstance(request, dict) else None
    if not isinstance(arguments, dict):
        return ""
    for name in _TELLING:
        value = arguments.get(name)
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            value = " ".join(value)
        if isinstance(value, str) and value.strip():
            text = value.strip()
            is_long = len(text) > MAX_COMMAND_LENGTH
            return f"{text[: MAX_COMMAND_LENGTH - 1]}…" if is_long else text
    return ""


def has_plain_answer(request: Any) -> bool:
    """Whether Allow and Deny are all the answers of a permission request: it asks no questions, and
    the agent offers no options that differ by their names only.
    """
    if not isinstance(request, dict) or request.get("byName") is True:
        return False
    if request.get("tool") in _QUESTION_TOOLS:
        return False
    arguments = request.get("arguments")
    return not (isinstance(arguments, dict) and isinstance(arguments.get("questions"), list))
