"""Conversations of many messages, sent at once."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.page_sessions import ScriptedSession

BATCH = 200  # messages between two waits for the hub


def say_many(session: ScriptedSession, records: list[dict[str, Any]]) -> None:
    """Send a `codex` record for each of `records`, oldest first."""

    async def send(batch: list[dict[str, Any]]) -> None:
        for data in batch:
            content = {"role": "agent", "content": {"type": "codex", "data": data}}
            await session._io.emit(
                "message", {"sid": session.id, "message": content}, namespace="/cli"
            )
        await session._io.call("ping", namespace="/cli")  # the hub has handled them

    for at in range(0, len(records), BATCH):
        future = asyncio.run_coroutine_threadsafe(send(records[at : at + BATCH]), session._loop)
        future.result(60)


def answers(count: int) -> list[dict[str, Any]]:
    """Texts of different heights that say their number."""
    return [
        {"type": "message", "id": f"a{number}", "message": f"Answer {number}.{tail(number)}"}
        for number in range(count)
    ]


def tail(number: int) -> str:
    if number % 5 == 0:
        return f"\n\n```python\nx = {number}\nprint(x)\n```\n\n| a | b |\n|--|--|\n| 1 | {number} |"
    return "\n\n- one\n- two" * (number % 3)
