"""Contract of a store: what people keep beside conversations, and the tokens they have used."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from hapi.hub.domain.content import stream_of
from hapi.hub.store.rows import (
    SavedPromptRow,
    ScratchEntryRow,
    ScratchFileRow,
    ShareLinkRow,
    TokenUse,
)
from tests.support.store_stage import EPOCH, message, session, wait


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with two sessions."""
    wait(store.create_session(session(model="a model")))
    wait(store.create_session(session("s2", metadata={"flavor": "codex"})))
    return store


# --- share links ----------------------------------------------------------------------------------


def link(name: str, session_id: str = "s1", **more: Any) -> ShareLinkRow:
    values = {"created_at": EPOCH, "expires_at": EPOCH + 9, "until_seq": None}
    flags = {"has_files": True, "has_thoughts": False}
    return ShareLinkRow(name, session_id, f"digest-{name}", **{**values, **flags, **more})


def test_links_are_listed_as_they_were_made_and_found_by_their_digest(filled: Any) -> None:
    rows = [link("z", until_seq=3), link("a"), link("b", created_at=EPOCH - 1)]
    for row in [*rows, link("other", "s2")]:
        wait(filled.create_share_link(row))
    assert wait(filled.share_links("s1")) == [rows[2], rows[0], rows[1]]
    assert wait(filled.share_link("digest-a")) == rows[1]
    assert wait(filled.share_link("digest")) is None
    assert wait(filled.delete_share_link("s2", "a")) is False
    assert wait(filled.delete_share_link("s1", "a")) is True
    wait(filled.delete_session("s1"))
    assert wait(filled.share_link("digest-z")) is None


def test_links_follow_a_merge_and_show_what_they_showed(filled: Any) -> None:
    for number in range(3):
        wait(filled.add_message(message(f"m{number}"), None))
    wait(filled.create_share_link(link("old", until_seq=2)))
    wait(filled.create_share_link(link("new", "s2", until_seq=1)))
    wait(filled.create_share_link(link("open", "s2", created_at=EPOCH + 1)))
    wait(filled.merge_session("s1", "s2", session("s2")))
    found = {row.id: (row.session_id, row.until_seq) for row in wait(filled.share_links("s2"))}
    assert found == {"old": ("s2", 2), "new": ("s2", 4), "open": ("s2", None)}


# --- scratchlists and saved prompts ---------------------------------------------------------------


def entry(name: str, session_id: str = "s1", **more: Any) -> ScratchEntryRow:
    values = {"text": f"text of {name}", "attachments": (), "created_at": EPOCH, "updated_at": 1}
    return ScratchEntryRow(name, session_id, **{**values, **more})


def file(name: str, session_id: str = "s1", **more: Any) -> ScratchFileRow:
    values = {"filename": "a.png", "mime_type": "image/png", "size": 3, "created_at": EPOCH}
    return ScratchFileRow(name, session_id, **{**values, **more})


def test_entries_are_listed_newest_first_and_written_over(filled: Any) -> None:
    rows = [entry("b"), entry("a"), entry("c", created_at=EPOCH + 1, attachments=("f1", "f2"))]
    for row in [*rows, entry("a", "s2")]:
        wait(filled.write_scratch_entry(row))
    assert wait(filled.scratch_entries("s1")) == [rows[2], rows[1], rows[0]]
    changed = evolve(rows[1], text="other", updated_at=2)
    wait(filled.write_scratch_entry(changed))
    assert wait(filled.scratch_entries("s1")) == [rows[2], changed, rows[0]]
    assert wait(filled.delete_scratch_entry("s1", "b")) is True
    assert wait(filled.delete_scratch_entry("s1", "b")) is False
    assert wait(filled.scratch_entries("s2")) == [entry("a", "s2")]


def test_a_file_keeps_its_bytes(filled: Any) -> None:
    content = bytes(range(256)) * 5000
    wait(filled.add_scratch_file(file("f1", created_at=EPOCH + 1), content))
    wait(filled.add_scratch_file(file("f0", created_at=EPOCH + 1), b""))
    wait(filled.add_scratch_file(file("f2"), b"\x00\\000"))
    wait(filled.add_scratch_file(file("f1", "s2"), b"2"))
    assert [row.id for row in wait(filled.scratch_files("s1"))] == ["f2", "f0", "f1"]
    assert wait(filled.scratch_content("s1", "f1")) == content
    assert wait(filled.scratch_content("s1", "f0")) == b""
    assert wait(filled.scratch_content("s1", "f2")) == b"\x00\\000"
    assert wait(filled.scratch_content("s1", "f9")) is None
    assert wait(filled.delete_scratch_file("s1", "f1")) is True
    assert wait(filled.delete_scratch_file("s1", "f1")) is False
    assert wait(filled.scratch_content("s2", "f1")) == b"2"


def test_a_scratchlist_follows_a_merge_and_goes_with_its_session(filled: Any) -> None:
    for session_id in ("s1", "s2"):
        wait(filled.write_scratch_entry(entry("both", session_id, text=session_id)))
        wait(filled.add_scratch_file(file("both", session_id), session_id.encode()))
    wait(filled.write_scratch_entry(entry("moved", created_at=EPOCH - 1)))
    wait(filled.add_scratch_file(file("moved", created_at=EPOCH + 1), b"moved"))
    wait(filled.merge_session("s1", "s2", session("s2")))
    entries = [(row.id, row.text) for row in wait(filled.scratch_entries("s2"))]
    assert entries == [("both", "s2"), ("moved", "text of moved")]
    assert [row.id for row in wait(filled.scratch_files("s2"))] == ["both", "moved"]
    assert wait(filled.scratch_content("s2", "both")) == b"s2"
    wait(filled.delete_session("s2"))
    assert wait(filled.scratch_entries("s2")) == wait(filled.scratch_files("s2")) == []


def test_saved_prompts_are_listed_as_they_were_made(store: Any) -> None:
    first = SavedPromptRow("p2", "default", "", "text", EPOCH, EPOCH)
    second = SavedPromptRow("p1", "default", "name", "text", EPOCH + 1, EPOCH)
    other = SavedPromptRow("p3", "team", "name", "text", EPOCH, EPOCH)
    for row in (second, first, other):
        wait(store.write_saved_prompt(row))
    assert wait(store.saved_prompts("default")) == [first, second]
    changed = evolve(first, name="now", updated_at=EPOCH + 5)
    wait(store.write_saved_prompt(changed))
    assert wait(store.saved_prompts("default")) == [changed, second]
    assert wait(store.delete_saved_prompt("default", "p3")) is False
    assert wait(store.delete_saved_prompt("team", "p3")) is True
    assert wait(store.saved_prompts("team")) == []


# --- the use of tokens ----------------------------------------------------------------------------

QUARTER = 15 * 60_000


def count(name: str, tokens: int, session_id: str = "s1", **more: Any) -> Any:
    total = {"inputTokens": tokens, "outputTokens": 1, "cachedInputTokens": 2}
    data = {"type": "token_count", "model": "m", "info": {"total": total}}
    content = {"role": "agent", "content": {"type": "codex", "data": data}}
    return message(name, session_id, content=content, **more)


def answer(name: str, request: str, tokens: int) -> Any:
    usage = {"input_tokens": tokens, "output_tokens": tokens, "cache_creation_input_tokens": 1}
    data = {"type": "assistant", "message": {"id": request, "usage": usage, "content": []}}
    return message(name, content={"role": "agent", "content": {"type": "output", "data": data}})


def test_tokens_are_added_up_by_quarters_of_an_hour_and_stay_spent(filled: Any) -> None:
    begin = EPOCH // QUARTER * QUARTER
    rows = [
        *(count("a", 10, created_at=begin), count("b", 20, created_at=begin + QUARTER - 1)),
        *(count("c", 5, created_at=begin + QUARTER), count("d", 7, "s2", created_at=begin)),
    ]
    for row in rows:
        wait(filled.add_message(row, None))
    wait(filled.delete_session("s1"))
    found, sessions = wait(filled.token_use("default", begin))
    assert sorted(found, key=str) == sorted(
        [
            TokenUse(begin, "claude", "m", 30, 2, 4, 0, 2),
            TokenUse(begin + QUARTER, "claude", "m", 5, 1, 2, 0, 1),
            TokenUse(begin, "codex", "m", 7, 1, 2, 0, 1),
        ],
        key=str,
    )
    assert sessions == 2
    assert wait(filled.token_use("default", begin + QUARTER))[1] == 1
    assert wait(filled.token_use("team", 0)) == ([], 0)


def test_the_records_of_one_request_count_once_with_their_highest_figures(filled: Any) -> None:
    for name, tokens in (("a", 3), ("b", 9), ("c", 5)):
        wait(filled.add_message(answer(name, "r1", tokens), None))
    (found,), sessions = wait(filled.token_use("default", 0))
    assert (found.model, found.input, found.output, found.cache_written, found.requests) == (
        *("a model", 9, 9, 1, 1),
    )
    assert sessions == 1
    assert isinstance(found.input, int)


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "x" * 9000, "🦑" * 512, "\n"])
def test_no_name_that_an_agent_chooses_keeps_its_record_from_being_stored(
    filled: Any, odd: str
) -> None:
    for number in range(2):
        row = answer(f"m{number}", odd, 3)
        content = {**row.content}
        content["content"]["data"]["message"]["model"] = odd
        wait(filled.add_message(row, None))
        total = {"inputTokens": 1}
        data = {"type": "token_count", "model": odd, "info": {"total": total}}
        content = {"role": "agent", "content": {"type": "codex", "data": data}}
        wait(filled.add_message(message(f"n{number}", content=content), None))
        data = {"type": "reasoning", "id": odd, "live": True}
        content = {"role": "agent", "content": {"type": "codex", "data": data}}
        row = message(f"o{number}", content=content, stream=stream_of(content))
        wait(filled.add_message(row, None))
    assert [row.id for row in wait(filled.latest("s1", 9))] == ["m0", "n0", "m1", "n1", "o1"]
    found, _ = wait(filled.token_use("default", 0))
    assert [(use.input, use.requests) for use in found] == [(5, 3)]
