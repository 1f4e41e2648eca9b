"""Steps that tests take on several stores at once, drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st

from hapi.hub.store.rows import (
    MessageRow,
    SavedPromptRow,
    ScratchEntryRow,
    ScratchFileRow,
    SearchTerm,
    ShareLinkRow,
)
from tests.support.store_stage import EPOCH, machine, recipient, session, token

SESSIONS = {"s1": "default", "s2": "default", "s3": "team"}
WORDS = ["needle", "hay", "Größe", "数据库", "views/chat.js", "a\u0301b", "%s ' \\ ?"]


@frozen
class Step:
    """One call of a method that a store and a transaction have both, or of a store alone."""

    method: str
    arguments: tuple[Any, ...]


def step(method: str, *strategies: Any) -> st.SearchStrategy[Step]:
    return st.tuples(*strategies).map(lambda given: Step(method, given))


session_ids = st.sampled_from(["s1", "s1", "s1", *SESSIONS, *SESSIONS, "nobody"])
times = st.integers(EPOCH - 5, EPOCH + 20)
numbers = st.sampled_from([0, 1, 2, 3, 2**31, 2**40])
local_ids = st.sampled_from([f"L{number}" for number in range(6)])
message_ids = st.sampled_from([f"m{number}" for number in range(12)])
small_ids = st.sampled_from(["a", "b", "C", "é"])
plain = st.sampled_from(["", "x", "%s", "?", "'", "\\", "\x01", "🦑", "É"])
documents = st.sampled_from([None, {}, {"a": [1.5, None, "\x00\ud800"]}, "text", [2**70, True]])


@st.composite
def contents(draw: Any) -> Any:
    text = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=3)))
    count = draw(st.integers(0, 9))
    total = {"inputTokens": count, "outputTokens": 2, "cachedInputTokens": 1}
    usage = {"input_tokens": count, "output_tokens": 9 - count}
    message = {"id": draw(small_ids), "model": draw(plain), "usage": usage, "content": text}
    inner = draw(
        st.sampled_from(
            [
                {"type": "text", "text": text},
                {"type": "codex", "data": {"type": "message", "message": text}},
                {"type": "codex", "data": {"type": "token_count", "info": {"total": total}}},
                {"type": "output", "data": {"type": "assistant", "message": message}},
                {"type": "codex", "data": {"type": "reasoning", "message": text, "live": True}},
                {"type": "event", "data": {"type": "ready"}},
            ]
        )
    )
    role = "user" if inner["type"] == "text" else "agent"
    return draw(
        st.sampled_from([{"role": role, "content": inner}, text, None, {"x": "\x00\ud800"}])
    )


@st.composite
def messages(draw: Any) -> MessageRow:
    maybe = st.none() | times
    created_at = draw(times)
    return MessageRow(
        draw(message_ids),
        draw(session_ids),
        0,
        draw(contents()),
        created_at,
        draw(st.none() | local_ids),
        draw(st.sampled_from([None, created_at]) | times),
        draw(maybe),
        draw(st.sampled_from([None, None, "queued", "indeterminate"])),
        draw(st.sampled_from([None, None, "r1", "r2"])),
    )


session_changes = st.fixed_dictionaries(
    {},
    optional={
        "model": documents,
        "todos": documents,
        "effort": st.none() | plain,
        "pinned": st.booleans(),
        "active_at": times,
        "updated_at": times,
        "seq": numbers,
        "epoch": numbers,
    },
).filter(bool)


@st.composite
def session_rows(draw: Any) -> Any:
    name = draw(st.sampled_from([*SESSIONS]))
    row = session(name, SESSIONS[name], metadata=draw(documents), created_at=draw(times))
    return evolve(row, tag=draw(st.sampled_from([row.tag, row.tag, "other"])))


@st.composite
def merges(draw: Any) -> Step:
    old, new = draw(st.permutations([*SESSIONS]))[:2]
    row = evolve(session(new, SESSIONS[new], metadata=draw(documents)), **draw(session_changes))
    return Step("merge_session", (old, new, row))


def machine_row(number: int) -> Any:
    return machine(metadata_version=number, runner_state={"n": number}, seq=number)


changes = st.one_of(
    step("create_session", session_rows(), st.booleans()),
    step("add_message", messages(), st.none() | times),
    step("add_message", messages(), st.none() | times),
    step("add_message", messages(), st.none() | times),
    step("write_metadata", session_ids, st.integers(1, 3), documents, session_changes),
    step("write_agent_state", session_ids, st.integers(1, 3), documents, session_changes),
    step("change_session", session_ids, session_changes),
    step("delete_session", session_ids),
    merges(),
    step("consume", session_ids, st.lists(local_ids, max_size=3), times, st.booleans()),
    step("consume_all", session_ids, times),
    step("set_delivery", message_ids, st.sampled_from(["queued", "indeterminate"])),
    step("delete_message", message_ids),
    step("create_machine", st.integers(1, 3).map(machine_row)),
    step("write_machine", st.integers(1, 3).map(machine_row), st.integers(1, 3).map(machine_row)),
    step(
        "create_token",
        st.builds(
            lambda token_id, name, digest: token(token_id, name=name, digest=digest),
            *(small_ids, small_ids, small_ids),
        ),
    ),
    step("change_token", small_ids, st.builds(dict, machine_id=small_ids, last_used_at=times)),
    step("delete_token", small_ids),
    step(
        "write_recipient",
        st.builds(
            lambda name, address, keys: recipient(name, address=address, keys=keys),
            *(small_ids, small_ids, documents),
        ),
    ),
    step("delete_recipient", small_ids),
    step("local_messages", session_ids, st.lists(local_ids, max_size=3)),
)

calls = st.one_of(
    changes,
    changes,
    step("discard_session", session_ids),
    step(
        "create_share_link",
        st.builds(
            ShareLinkRow,
            *(small_ids, session_ids, small_ids, times, times, st.none() | st.integers(0, 9)),
            *(st.booleans(), st.booleans()),
        ),
    ),
    step("delete_share_link", session_ids, small_ids),
    step(
        "write_scratch_entry",
        st.builds(
            ScratchEntryRow,
            *(small_ids, session_ids, plain, st.lists(small_ids).map(tuple), times, times),
        ),
    ),
    step("delete_scratch_entry", session_ids, small_ids),
    step(
        "add_scratch_file",
        st.builds(ScratchFileRow, *(small_ids, session_ids, plain, plain, numbers, times)),
        st.binary(max_size=5),
    ),
    step("delete_scratch_file", session_ids, small_ids),
    step(
        "write_saved_prompt",
        st.builds(
            SavedPromptRow,
            *(small_ids, st.sampled_from(["default", "team"]), plain, plain, times, times),
        ),
    ),
    step("delete_saved_prompt", st.sampled_from(["default", "team"]), small_ids),
)

terms = st.builds(
    SearchTerm,
    st.sampled_from([("needle",), ("hay",), ("needle", "hay"), ("grosse",), ("数据",), ("chat",)]),
    st.booleans(),
)
