"""`hapi sessions tail`: the end of a conversation, and what is added to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field

from hapi.cli.base.common_options import record_options
from hapi.cli.base.output import echo, warn
from hapi.cli.commands.sessions.ask import (
    EPILOG,
    TIMEOUT,
    ask_hub,
    find_session,
    session_argument,
)
from hapi.cli.commands.sessions.notes import note
from hapi.cli.commands.sessions.waiting import FOREVER
from hapi.protocol import events
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Event, Message

PAGE = 200  # messages; a hub gives no more at once
FOLLOWED = 20  # messages that are read when something was added; more if all of them are new
POLL_INTERVAL = 15.0  # seconds between two looks while no event comes
MAX_CALLS = 1000  # tool calls that are remembered, so that each is printed once


@click.command("tail", epilog=EPILOG, short_help="Print the end of a conversation.")
@session_argument
@record_options("messages")
def command(session_id: str, following: bool, lines: int, as_json: bool) -> None:
    """Print the newest prompts, answers, tool calls and notes of the session ID.

    With --follow, what is added is printed as it comes, also after the hub was away: nothing is
    left out and nothing repeated. With --json, each line is a message as the hub has it, whatever
    it holds.
    """

    async def tail(client: ApiClient) -> None:
        found = await find_session(client, session_id)
        follower = Follower(client, found, as_json)
        await follower.print_newest(lines)
        if following:
            await follower.follow()

    ask_hub(tail, FOREVER if following else TIMEOUT)


@define(eq=False, repr=False)
class Follower:
    """Prints a conversation in the order in which it came to the hub."""

    _client: ApiClient
    _session_id: str
    _as_json: bool
    _last: int = 0  # seq of the last message that was read
    _calls: dict[str, None] = field(factory=dict)  # tool calls that were printed, oldest first

    async def print_newest(self, count: int) -> None:
        """Print the newest `count` messages that have something to print."""
        page = await self._client.messages(self._session_id, PAGE)
        messages, shown = list(page), self._shown(page)
        while len(shown) < count and len(page) >= PAGE:
            page = await self._client.messages(self._session_id, PAGE, before=_first(page))
            messages = [*page, *messages]
            shown = self._shown(messages)
        self._last = max((each.seq for each in messages), default=0)
        for lines in shown[max(0, len(shown) - count) :]:
            _print(lines)

    async def follow(self) -> None:
        """Print what is added, for ever. Raises HubError."""
        from hapi.client import HubFailed, HubUnreachable, TryLater
        from hapi.client.changes import Changes

        changes = Changes(self._client, self._session_id, _adds)
        changes.start()
        is_lost = False
        try:
            while True:
                await changes.wait(POLL_INTERVAL)
                try:
                    added = await self._added()
                except (HubUnreachable, TryLater, HubFailed) as error:
                    if not is_lost:
                        warn(f"the hub is away, trying again: {error}")
                    is_lost = True
                    continue
                is_lost = False
                for message in added:
                    self._last = message.seq
                    _print(self._lines(message))
        finally:
            changes.close()

    async def _added(self) -> list[Message]:
        """The messages after the last one, in their order."""
        page, asked = await self._client.messages(self._session_id, FOLLOWED), FOLLOWED
        found = {each.seq: each for each in page}
        while len(page) >= asked and all(each.seq > self._last for each in _settled(page)):
            asked = PAGE
            page = await self._client.messages(self._session_id, asked, before=_first(page))
            found.update({each.seq: each for each in page})
        return [found[seq] for seq in sorted(found) if seq > self._last]

    def _shown(self, messages: list[Message]) -> list[list[str]]:
        self._calls.clear()
        lines = [self._lines(each) for each in sorted(messages, key=lambda each: each.seq)]
        return [each for each in lines if each]

    def _lines(self, message: Message) -> list[str]:
        if self._as_json:
            return [json.dumps(as_message(message), ensure_ascii=True)]
        if (text := message.text) is not None:
            who = "You" if message.role == "user" else "Agent"
            first, *rest = text.strip("\n").splitlines() or [""]
            return [
                f"{who}: {escape_control(first)}",
                *(f"  {escape_control(each)}" for each in rest),
            ]
        if (status := message.status) is not None:
            return [note(status)]
        return [
            f"Tool: {escape_control(name)}"
            for call, name in message.tool_calls
            if self._is_new(call)
        ]

    def _is_new(self, call: str) -> bool:
        """A call is sent again with each change of its status."""
        if call in self._calls:
            return False
        self._calls[call] = None
        if len(self._calls) > MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        return True


def as_message(message: Message) -> dict[str, Any]:
    """A message for scripts."""
    return {
        "id": message.id,
        "seq": message.seq,
        "role": message.role,
        "text": message.text,
        "content": message.content,
        "createdAt": message.created_at,
        "invokedAt": message.invoked_at,
    }


def _settled(page: list[Message]) -> list[Message]:
    """Without the prompts that wait, which are on the newest page whatever their place."""
    return [each for each in page if each.local_id is None or each.invoked_at is not None]


def _first(page: list[Message]) -> Message:
    return next(iter(_settled(page)), page[0])


def _print(lines: list[str]) -> None:
    for line in lines:
        echo(line)


def _adds(event: Event) -> bool:
    return event.type in (
        events.MESSAGE_RECEIVED,
        events.MESSAGES_INVALIDATED,
        events.CONNECTION_CHANGED,
    )
