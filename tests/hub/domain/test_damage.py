"""One bad row hurts only itself: it is shown as far as possible, and every other row as always."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.views import (
    machine_view,
    message_view,
    session_view,
    summary_view,
)
from hapi.hub.http.summaries import list_sort_key
from hapi.hub.store.rows import MachineRow, MessageRow, SessionRow
from hapi.net.server.http import encode_json
from hapi.protocol.json import bounded
from tests.support.hub_stage import Stage

GOOD = {"path": "/home/dev/good", "host": "devbox", "flavor": "opencode"}
ODD: list[Any] = [{}, [], 1, 1.5, True, "text", None, [[]], {"a": {}}, 10**30, [None], {"": None}]


def nested(depth: int) -> Any:
    made: Any = "deep"
    for number in range(depth):
        made = {"a": made} if number % 2 else [made]
    return made


AGENT_STATES: list[Any] = [
    *({"requests": odd} for odd in ODD),
    *({"requests": {"r1": odd}} for odd in ODD),
    *({"requests": {"r1": {"tool": odd, "arguments": odd, "createdAt": odd}}} for odd in ODD),
    *({"completedRequests": odd} for odd in ODD),
    *({"completedRequests": {"r1": odd}} for odd in ODD),
    *({"completedRequests": {"r1": {"tool": odd, "status": odd}}} for odd in ODD),
    {"requests": nested(500)},
    nested(501),
    {"requests": {"r1": {"tool": "Bash", "arguments": nested(400), "createdAt": 1}}},
]
FIELDS = (
    *("path", "host", "flavor", "name", "summary", "machineId", "hostPid", "lifecycleState"),
    *("tools", "capabilities", "worktree", "opencodeSessionId", "preferredPermissionMode"),
)


@pytest.fixture
def warnings() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    watch = lambda event: seen.append(event) if "damage" in event else None  # noqa: E731
    globalLogPublisher.addObserver(watch)
    yield seen
    globalLogPublisher.removeObserver(watch)


def listed(stage: Stage) -> dict[str, Any]:
    """The list of sessions as a page reads it, by id."""
    assert stage.rest("GET", "/api/sessions?order=updatedAt").status == 200
    return {one["id"]: one for one in stage.get("/api/sessions")["sessions"]}


def test_sessions_with_malformed_agent_states_hurt_only_themselves() -> None:
    stage = Stage()
    good = stage.session(tag="good", **GOOD)
    page = stage.listen()
    for number, state in enumerate(AGENT_STATES):
        bad, peer = stage.live(tag=f"bad-{number}")
        peer.ask("update-state", {"sid": bad, "expectedVersion": 1, "agentState": state})
        check_one_session(stage, good, bad)
    assert len(listed(stage)) == len(AGENT_STATES) + 1
    assert page.events  # each frame is JSON
    stage.tick(40)
    assert not any(one["active"] for one in listed(stage).values())


def check_one_session(stage: Stage, good: str, bad: str) -> None:
    found = listed(stage)
    assert "damaged" not in found[good]
    for path in (f"/api/sessions/{bad}", f"/cli/sessions/{bad}"):
        view = stage.get(path)["session"]
        requests = (view["agentState"] or {}).get("requests") or {}
        assert all(isinstance(one["tool"], str) for one in requests.values())
        assert found[bad]["pendingRequestsCount"] == len(requests)


@pytest.mark.parametrize("field", FIELDS)
def test_sessions_with_malformed_metadata_hurt_only_themselves(field: str) -> None:
    stage = Stage()
    good = stage.session(tag="good", **GOOD)
    for number, odd in enumerate(ODD):
        bad, peer = stage.live(tag=f"bad-{number}")
        written = {**GOOD, field: odd}
        peer.ask("update-metadata", {"sid": bad, "expectedVersion": 1, "metadata": written})
        made = stage.rest("POST", "/cli/sessions", {"tag": f"made-{number}", "metadata": written})
        assert made.status == 200
        check_one_session(stage, good, bad)
        check_one_session(stage, good, made.body["session"]["id"])
        stage.rest("POST", f"/api/sessions/{bad}/archive")
        assert stage.rest("PATCH", f"/api/sessions/{bad}", {"name": "a new name"}).status == 200
    assert len(listed(stage)) == 2 * len(ODD) + 1


def test_machines_with_malformed_documents_hurt_only_themselves() -> None:
    stage = Stage()
    stage.machine(name="good")
    for number, odd in enumerate(ODD):
        name, other = f"bad-{number}", ODD[number - 1]
        body = {"id": name, "metadata": odd, "runnerState": other}
        assert stage.rest("POST", "/cli/machines", body).status == 200
        peer = stage.connect(machineId=name)
        peer.send("machine-alive", {"machineId": name, "time": stage.now()})
        state = {"machineId": name, "expectedVersion": 1, "runnerState": odd}
        peer.ask("machine-update-state", state)
    found = {one["id"]: one for one in stage.get("/api/machines")["machines"]}
    assert len(found) == len(ODD) + 1
    assert "damaged" not in found["good"]


def test_a_damaged_row_names_what_is_left_out_and_is_logged_once(
    warnings: list[dict[str, Any]],
) -> None:
    stage = Stage()
    bad, peer = stage.live()
    state = {"requests": {"r1": {"tool": {}}, "r2": {"tool": "Bash", "createdAt": 2}}}
    peer.ask("update-state", {"sid": bad, "expectedVersion": 1, "agentState": state})
    for _ in range(3):
        assert listed(stage)[bad]["damaged"] == ["agentState.requests.r1"]
    (request, other) = listed(stage)[bad]["pendingRequests"]
    assert request == {"id": "r1", "kind": "permission", "tool": "{}", "since": None}
    assert other["tool"] == "Bash"
    assert [event["id"] for event in warnings] == [bad]
    peer.ask("update-state", {"sid": bad, "expectedVersion": 2, "agentState": {"requests": {}}})
    assert "damaged" not in listed(stage)[bad]


def test_a_damaged_request_can_still_be_answered() -> None:
    stage = Stage()
    bad, peer = stage.live()
    peer.serve(bad, "permission")
    state = {"requests": {"r1": {"tool": [], "createdAt": "soon"}}}
    peer.ask("update-state", {"sid": bad, "expectedVersion": 1, "agentState": state})
    asked = stage.begin("POST", f"/api/sessions/{bad}/permissions/r1/deny", {})
    peer.answer(None)
    assert stage.finish(asked).status == 200


@pytest.mark.parametrize(
    "message",
    [
        '{"role": "agent", "content": {"number": NaN}}',
        '{"role": "agent", "content": {"number": 1e999}}',
        json.dumps({"role": "agent", "content": 10**400}),
        '{"role": "agent", "content": ' + "[" * 500 + "]" * 500 + "}",
    ],
    ids=("nan", "infinity", "huge", "deep"),
)
def test_a_message_that_json_has_no_words_for_is_readable_by_every_page(message: str) -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    peer.send("message", {"sid": session, "message": message})
    (event,) = page.of("message-received")
    text = page.frames[-1].split(b"\n")[0][6:]
    strict = json.loads(text, parse_constant=pytest.fail)
    assert strict["message"] == event["message"]
    assert len(stage.get(f"/api/sessions/{session}/messages")["messages"]) == 1


def test_a_page_that_fails_does_not_keep_events_from_the_others(logged_failures: Any) -> None:
    class Broken:
        visible = True

        def __init__(self, subscription: Any) -> None:
            self.subscription = subscription

        def send(self, frame: bytes) -> None:
            raise RuntimeError("broken")

    stage = Stage()
    session, peer = stage.live()
    first = stage.listen()
    stage.registry.events.listen("broken", Broken(first.subscription))
    second = stage.listen()
    peer.send("message", {"sid": session, "message": {"role": "agent", "content": {}}})
    stage.registry.events.heartbeat(1)
    for page in (first, second):
        assert page.of("message-received")
        assert page.of("heartbeat")
    assert len(logged_failures.take(RuntimeError)) == 3
    assert stage.get(f"/api/sessions/{session}/messages")["messages"]


def test_a_session_that_cannot_be_checked_does_not_stop_the_sweep(logged_failures: Any) -> None:
    stage = Stage()
    ids = [stage.live(tag=f"tag-{number}")[0] for number in range(3)]
    stage.registry.sessions[ids[0]].last_seen = None  # type: ignore[assignment]
    machine, _ = stage.machine()
    stage.tick(61)
    assert logged_failures.take(TypeError)
    assert [stage.registry.sessions[name].active for name in ids[1:]] == [False, False]
    assert not stage.registry.machines[machine].active


def test_a_duplicate_that_cannot_be_merged_does_not_keep_the_others_from_it(
    logged_failures: Any,
) -> None:
    stage = Stage()
    old = [
        stage.session(tag=f"old-{number}", opencodeSessionId="ses_1", lifecycleState="archived")
        for number in range(2)
    ]
    merge = stage.registry.store.merge_session

    async def failing(old_id: str, *rest: Any) -> Any:
        if old_id == old[0]:
            raise RuntimeError("broken")
        return await merge(old_id, *rest)

    stage.registry.store.merge_session = failing
    live, peer = stage.live(tag="live")
    written = {**GOOD, "opencodeSessionId": "ses_1"}
    answer = peer.ask("update-metadata", {"sid": live, "expectedVersion": 1, "metadata": written})
    assert answer["result"] == "success"
    assert len(logged_failures.take(RuntimeError)) == 1
    assert set(listed(stage)) == {old[0], live}


# --- any JSON -----------------------------------------------------------------------------------

texts = st.text(max_size=8) | st.sampled_from(
    [
        *("requests", "completedRequests", "tool", "arguments", "createdAt", "status", "r1"),
        *("path", "host", "summary", "text", "flavor", "name", "content", "AskUserQuestion"),
        *("capabilities", "agentConfigs", "claudeSessionId", "worktree", "platform"),
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)
objects = st.dictionaries(texts, documents, max_size=6)


@settings(max_examples=150, deadline=None)
@given(metadata=documents | objects, state=documents | objects, todos=documents, model=documents)
def test_any_document_of_a_session_can_be_shown(
    metadata: Any, state: Any, todos: Any, model: Any
) -> None:
    row = SessionRow("s", "n", "t", 1, 1, metadata, 1, state, todos=todos, model=model)
    session = HubSession(row, active=True)
    for view in (session_view(session), summary_view(session, (2, 3)), summary_view(session, None)):
        assert view.get("damaged") != ["row"]
        json.loads(encode_json(view))
    list_sort_key(session)


@settings(max_examples=80, deadline=None)
@given(metadata=documents | objects, state=documents | objects)
def test_any_document_of_a_machine_can_be_shown(metadata: Any, state: Any) -> None:
    machine = HubMachine(MachineRow("m", "n", 1, 1, metadata, 1, state))
    view = machine_view(machine)
    assert view.get("damaged") != ["row"]
    json.loads(encode_json(view))
    assert machine.name
    assert all(isinstance(name, str) for name in machine.capabilities | machine.flavors)


@settings(max_examples=80, deadline=None)
@given(content=documents | objects, depth=st.integers(0, 400))
def test_any_content_of_a_message_can_be_shown(content: Any, depth: int) -> None:
    deep = content
    for _ in range(depth):
        deep = [deep]
    json.loads(encode_json(message_view(MessageRow("m", "s", 1, bounded(deep), 1))))


@settings(max_examples=80, deadline=None)
@given(value=documents)
def test_bounded_values_are_json_that_reads_back_as_itself(value: Any) -> None:
    once = bounded(value)
    assert bounded(once) is once
    assert json.loads(json.dumps(once, allow_nan=False)) == once


def test_what_is_bounded_already_is_not_copied() -> None:
    value = {"a": [1, 2.5, {"b": None}], "c": "text"}
    assert bounded(value) is value
    assert bounded([float("nan"), float("inf"), 1 << 64, 10**400]) == [None, None, 2.0**64, None]
