"""`hapi sessions watch`: what happens in the sessions of the hub, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import msgspec
from attrs import define, field

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import complete_hub_session
from hapi.cli.base.output import echo
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session
from hapi.protocol import events
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Event

FOREVER = 10 * 365 * 86400.0  # seconds
MAX_CALLS = 1000  # tool calls that are remembered, so that each is printed once


@click.command("watch", epilog=EPILOG, short_help="Print what happens in sessions.")
@click.argument("session_id", metavar="[ID]", required=False, shell_complete=complete_hub_session)
@json_flag
def command(session_id: str | None, as_json: bool) -> None:
    """Print what happens in the session ID, or in all sessions, until Ctrl+C.

    That is prompts, answers, tool calls, permission requests, and the begin and end of turns. With
    --json, each line is one event of the hub, of whatever kind. Lost connections are made again,
    and the events that were missed meanwhile follow if the hub still has them.
    """

    async def watch(client: ApiClient) -> None:
        found = None if session_id is None else await find_session(client, session_id)
        report = Report()
        async for event in client.events(found):
            if as_json:
                echo(json.dumps(event.body, ensure_ascii=True))
            else:
                for line in report.lines(event):
                    echo(escape_control(line))

    ask_hub(watch, FOREVER)


@define
class Report:
    """The events of a hub as lines for a person; what was said before is not said again."""

    _open: dict[str, set[str]] = field(factory=dict)  # requests by session
    _working: dict[str, bool] = field(factory=dict)  # sessions
    _inactive: set[str] = field(factory=set)  # sessions
    _calls: dict[tuple[str, str], None] = field(factory=dict)  # session and tool call, oldest first

    def lines(self, event: Event) -> list[str]:
        """What happened; empty for what a person need not see."""
        where = event.session_id or ""
        data = event.body.get("data")
        match event.type:
            case events.CONNECTION_CHANGED:
                return ["Connected"]
            case events.MESSAGE_RECEIVED:
                return self._message(where, event.body.get("message"))
            case events.SESSION_ADDED:
                return [f"{where} was added"]
            case events.SESSION_REMOVED:
                return [f"{where} was deleted"]
            case events.SESSION_UPDATED if isinstance(data, dict):
                return [*self._requests(where, data), *self._activity(where, data)]
        return []

    def _requests(self, where: str, data: dict[str, Any]) -> list[str]:
        if "agentState" not in data:
            return []
        state = data["agentState"]
        if isinstance(state, dict) and "value" in state:  # only what changed, with its version
            state = state["value"]
        found = state.get("requests") if isinstance(state, dict) else None
        requests = found if isinstance(found, dict) else {}
        known = self._open.get(where, set())
        self._open[where] = set(requests)
        return [
            f"{where} waits for an answer: request {name} ({_tool(request)})"
            for name, request in requests.items()
            if name not in known
        ]

    def _activity(self, where: str, data: dict[str, Any]) -> list[str]:
        is_active = data.get("active")
        if is_active is False:
            if where in self._inactive:
                return []
            self._inactive.add(where)
            self._working.pop(where, None)
            return [f"{where} is inactive"]
        if is_active is True:
            self._inactive.discard(where)
        works = data.get("thinking")
        if not isinstance(works, bool) or works == self._working.get(where, False):
            return []
        self._working[where] = works
        return [f"{where} is {'working' if works else 'idle'}"]

    def _message(self, where: str, value: Any) -> list[str]:
        from hapi.client import Message

        try:
            message = msgspec.convert(value, Message)
        except msgspec.ValidationError:
            return []
        if message.text is not None:
            who = "you" if message.role == "user" else "agent"
            return [f"{where} {who}: {' '.join(message.text.split())}"]
        if message.data.get("type") == "tool-call":
            return self._tool_call(where, message.data)
        return []

    def _tool_call(self, where: str, call: dict[str, Any]) -> list[str]:
        """A call is sent again with each change of its status."""
        key = where, str(call.get("callId"))
        if key in self._calls:
            return []
        self._calls[key] = None
        if len(self._calls) > MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        return [f"{where} tool: {call.get('name') or 'unknown'}"]


def _tool(request: Any) -> str:
    return str(request.get("tool") or "unknown") if isinstance(request, dict) else "unknown"
