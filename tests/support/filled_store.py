"""A store with rows in every table, of every kind that is hard to move."""

from __future__ import annotations

from typing import Any

from hapi.hub.store.rows import (
    SavedPromptRow,
    ScratchEntryRow,
    ScratchFileRow,
    ShareLinkRow,
)
from tests.support.store_stage import (
    EPOCH,
    machine,
    message,
    prompt,
    recipient,
    session,
    token,
    wait,
)

ODD = ["", "%s ? ' \\ \\N \t\r\n", "🦑 \u2028 É", "\x01\x1f\x7f", '{"a", NULL}', "\\."]


def fill(store: Any, messages: int = 30) -> None:
    """`messages`: of the longest conversation."""
    for name in ("long", "copy", "old", "new", "gone"):
        wait(store.create_session(session(name, metadata={"odd": "\ud800 \x00", "n": 2**70})))
    wait(store.create_session(session("team", "team", pinned=True, effort=ODD[1])))
    for number in range(messages):
        at = EPOCH + number
        text = ODD[number % len(ODD)] + f" needle {number}"
        content = {"role": "user", "content": {"type": "text", "text": text}, "odd": "\x00\udfff"}
        row = message(f"m{number}", "long", content=content, created_at=at, invoked_at=at)
        wait(store.add_message(row, at))
    wait(store.add_message(prompt("waiting", "long", scheduled_at=EPOCH + 10**9), None))
    wait(store.add_message(prompt("deleted", "long"), None))
    wait(store.delete_message("deleted"))
    wait(store.add_message(prompt("unsure", "long", delivery="queued"), None))
    wait(store.set_delivery("unsure", "indeterminate"))
    total = {"inputTokens": 5, "outputTokens": 7}
    use = {"type": "token_count", "model": "m", "info": {"total": total}}
    for session_id in ("old", "new", "gone"):
        content = {"role": "agent", "content": {"type": "codex", "data": use}}
        wait(store.add_message(message(f"use of {session_id}", session_id, content=content), None))
        wait(store.add_message(message(f"needle in {session_id}", session_id), None))
    thought = {"type": "reasoning", "message": "needle", "live": True}
    live = {"role": "agent", "content": {"type": "codex", "data": thought}}
    wait(store.add_message(message("thought", "new", content=live, stream="r"), None))
    for number, name in enumerate(("z", "a")):
        flags = {"has_files": bool(number), "has_thoughts": not number}
        row = ShareLinkRow(
            name, "long", f"digest {name}", EPOCH, EPOCH + 9, number or None, **flags
        )
        wait(store.create_share_link(row))
    wait(store.copy_messages("long", "copy", 0))
    wait(store.merge_session("old", "new", session("new")))
    wait(store.delete_session("gone"))
    wait(store.create_machine(machine(runner_state={"status": None}, seq=2**40)))
    wait(store.create_token(token("t1", expires_at=EPOCH, last_used_at=1)))
    wait(store.create_token(token("t2", namespace="team")))
    wait(store.write_recipient(recipient("r1")))
    wait(store.write_recipient(recipient("r2", kind="telegram", keys=None, settings=None)))
    for number, text in enumerate(ODD):
        entry = ScratchEntryRow(f"e{number}", "long", text, ("f1", "f2"), EPOCH + number, EPOCH)
        wait(store.write_scratch_entry(entry))
        saved = SavedPromptRow(f"p{number}", "default", text, text, EPOCH + number, EPOCH)
        wait(store.write_saved_prompt(saved))
    file = ScratchFileRow("f1", "long", "a\u0301.png", "image/png", 3, EPOCH)
    wait(store.add_scratch_file(file, bytes(range(256)) * 100))
    wait(store.add_scratch_file(ScratchFileRow("f2", "copy", "", "", 0, EPOCH), b""))
