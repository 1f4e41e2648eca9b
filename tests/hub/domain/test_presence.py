"""Who is there: alives, silence, settings that sessions report, and what pages are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from hapi.hub.domain.entities import MAX_EVENT_AGE, admissible, checked_health
from hapi.protocol.hub import PATCH_KEYS, merged_metadata, public_metadata
from tests.support.hub_stage import EPOCH, TOKEN, Stage


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (EPOCH, EPOCH),
        (EPOCH - 5, EPOCH - 5),
        (EPOCH + 5, EPOCH),
        (10**400, EPOCH),
        (float("inf"), EPOCH),
        (EPOCH - MAX_EVENT_AGE, EPOCH - MAX_EVENT_AGE),
        (EPOCH - MAX_EVENT_AGE - 1, EPOCH),
        (-1, EPOCH),
        (float("-inf"), EPOCH),
        (float("nan"), None),
        (True, None),
        ("1", None),
        (None, None),
        ([], None),
    ],
)
def test_a_reported_time_is_clamped__U15(time: Any, expected: int | None) -> None:
    assert admissible(time, EPOCH) == expected


def test_a_session_is_active_from_its_first_alive_until_it_is_silent() -> None:
    stage = Stage()
    session, peer = stage.live()
    assert stage.get(f"/api/sessions/{session}")["session"]["active"] is True
    stage.tick(30.0)
    assert stage.get(f"/api/sessions/{session}")["session"]["active"] is True
    stage.tick(5.0)
    shown = stage.get(f"/api/sessions/{session}")["session"]
    assert (shown["active"], shown["thinking"]) == (False, False)
    assert shown["metadata"]["lifecycleState"] == "running"  # silence archives nothing
    stage.alive(peer, session)
    assert stage.get(f"/api/sessions/{session}")["session"]["active"] is True


def test_a_dropped_socket_alone_ends_nothing() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.drop()
    stage.tick(20.0)
    assert stage.get(f"/api/sessions/{session}")["session"]["active"] is True


def test_a_silent_machine_goes_offline_is_kept_and_comes_back__R13() -> None:
    stage = Stage()
    machine, peer = stage.machine()
    page = stage.listen()
    stage.tick(45.0)
    assert [one["id"] for one in stage.get("/api/machines")["machines"]] == [machine]
    stage.tick(5.0)
    assert stage.get("/api/machines")["machines"] == []
    assert page.of("machine-updated")[-1]["data"]["active"] is False
    assert stage.rest("GET", f"/cli/machines/{machine}").body["machine"]["id"] == machine
    peer.send("machine-alive", {"machineId": machine, "time": stage.now()})
    assert [one["id"] for one in stage.get("/api/machines")["machines"]] == [machine]


def test_a_clock_set_back_or_forward_changes_nobody_s_presence() -> None:
    stage = Stage()
    session, peer = stage.live()
    stage.start -= 3_600_000
    stage.alive(peer, session)
    stage.tick(10.0)
    stage.start += 9_000_000
    stage.alive(peer, session)
    stage.tick(10.0)
    assert stage.registry.sessions[session].active is True


def test_an_alive_that_changes_nothing_is_told_every_ten_seconds() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    for _ in range(11):
        stage.tick(2.0)
        stage.alive(peer, session)
    assert len(page.of("session-updated")) == 2
    stage.alive(peer, session, thinking=True)
    assert page.of("session-updated")[-1]["data"]["thinking"] is True


def test_patches_hold_only_what_the_page_understands() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    stage.alive(
        peer,
        session,
        permissionMode="yolo",
        model="m",
        collaborationMode="plan",
        copilotAgentMode="plan",
        effort="high",
    )
    stage.rest("POST", f"/api/sessions/{session}/messages", {"text": "x", "localId": "L"})
    peer.send(
        "messages-consumed", {"sid": session, "localIds": ["L"], "clearQueuedThinkingGrace": True}
    )
    peer.ask("update-state", {"sid": session, "expectedVersion": 1, "agentState": {}})
    peer.send("session-end", {"sid": session, "time": stage.now()})
    patches = [event["data"] for event in page.of("session-updated") if "id" not in event["data"]]
    assert len(patches) > 5
    assert all(patch and set(patch) <= PATCH_KEYS for patch in patches)


def test_settings_that_a_session_reports_are_kept() -> None:
    stage = Stage()
    session, peer = stage.live()
    version = stage.registry.sessions[session].row.metadata_version
    stage.alive(peer, session, permissionMode="plan", model="k2", effort="high")
    shown = stage.get(f"/api/sessions/{session}")["session"]
    assert (shown["permissionMode"], shown["model"], shown["effort"]) == ("plan", "k2", "high")
    assert (shown["metadata"]["preferredPermissionMode"], shown["metadataVersion"]) == (
        "plan",
        version + 1,
    )
    stage.alive(peer, session, permissionMode="plan", model=None)
    shown = stage.get(f"/api/sessions/{session}")["session"]
    assert (shown["model"], shown["metadataVersion"]) == (None, version + 1)


def test_an_alive_from_before_a_setting_was_applied_does_not_take_it_back() -> None:
    stage = Stage()
    session, peer = stage.live(flavor="claude")
    peer.serve(session, "set-session-config")
    before = stage.now()
    stage.tick(0.5)
    pending = stage.begin("POST", f"/api/sessions/{session}/permission-mode", {"mode": "plan"})
    peer.answer('{"applied":{"permissionMode":"plan"}}')
    assert stage.finish(pending).status == 200
    stage.alive(peer, session, time=before, permissionMode="default")
    assert stage.get(f"/api/sessions/{session}")["session"]["permissionMode"] == "plan"
    stage.tick(0.5)
    stage.alive(peer, session, permissionMode="default")
    assert stage.get(f"/api/sessions/{session}")["session"]["permissionMode"] == "default"


def test_a_posted_prompt_counts_as_thinking_for_a_while() -> None:
    stage = Stage()
    session, peer = stage.live()
    stage.rest("POST", f"/api/sessions/{session}/messages", {"text": "x", "localId": "L"})
    shown = stage.get(f"/api/sessions/{session}")["session"]
    assert (shown["thinking"], shown["activeTurnStartedAt"]) == (True, stage.now())
    stage.tick(14.0)
    stage.alive(peer, session)
    assert stage.registry.sessions[session].thinking is True
    stage.tick(1.0)
    stage.alive(peer, session)
    assert stage.registry.sessions[session].thinking is False


def test_the_grace_ends_when_the_process_thinks_itself() -> None:
    stage = Stage()
    session, peer = stage.live()
    stage.rest("POST", f"/api/sessions/{session}/messages", {"text": "x", "localId": "L"})
    stage.alive(peer, session, thinking=True)
    stage.alive(peer, session)
    assert stage.registry.sessions[session].thinking is False


def test_a_hub_that_starts_again_knows_its_rows_and_nobody_is_there_yet(tmp_path: Any) -> None:
    from twisted.internet.task import Clock

    from hapi.hub.store.sqlite import SqliteStore

    path = tmp_path / "hub.db"
    store = SqliteStore(path, Clock())
    store.open()
    first = Stage(store)
    session, _ = first.live(name="kept")
    machine, _ = first.machine()
    store.close()
    store = SqliteStore(path, Clock())
    store.open()
    second = Stage(store)
    shown = second.get(f"/api/sessions/{session}")["session"]
    assert (shown["active"], shown["metadata"]["name"]) == (False, "kept")
    assert second.get("/api/machines")["machines"] == []
    assert second.rest("GET", f"/cli/machines/{machine}").status == 200
    store.close()


# --- documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "written", "expected"),
    [
        ({"path": "/a", "name": "n"}, {"host": "h"}, {"path": "/a", "host": "h"}),
        ({"kimiSessionId": "k"}, {"kimiSessionId": None}, {}),
        ({"demoSessionId": "d", "x": 1}, {}, {"demoSessionId": "d"}),
        (
            {"cursorSessionId": "a", "cursorSessionProtocol": "acp"},
            {"cursorSessionId": "b"},
            {"cursorSessionId": "b"},
        ),
        (
            {"supersededBySessionId": "s"},
            {"supersededBySessionId": "mine"},
            {"supersededBySessionId": "s"},
        ),
        (None, {"a": 1}, {"a": 1}),
        ("text", {}, {}),
    ],
)
def test_what_a_write_keeps_of_the_metadata(
    stored: Any, written: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged_metadata(stored, written) == expected


def test_views_show_only_what_they_know() -> None:
    stored = {
        "path": "/",
        "host": "h",
        "custom": 1,
        "name": 7,
        "demoSessionId": "d",
        "hostPid": 3,
        "startedFromRunner": True,
        "pid": 1,
    }
    assert public_metadata(stored) == {
        "path": "/",
        "host": "h",
        "demoSessionId": "d",
        "hostPid": 3,
        "startedFromRunner": True,
    }
    assert public_metadata({"path": "/"}) is None


def test_versioned_events_without_an_ack_id_are_taken() -> None:
    stage = Stage()
    session, peer = stage.live()
    machine, runner = stage.machine()
    peer.send("update-state", {"sid": session, "expectedVersion": 1, "agentState": {"a": 1}})
    peer.send("update-metadata", {"sid": session, "expectedVersion": 1, "metadata": {"name": "n"}})
    peer.send("ping")
    runner.send(
        "machine-update-state",
        {"machineId": machine, "expectedVersion": 1, "runnerState": {"status": "running"}},
    )
    runner.send(
        "machine-update-metadata", {"machineId": machine, "expectedVersion": 1, "metadata": {}}
    )
    assert stage.registry.sessions[session].row.agent_state == {"a": 1}
    assert stage.registry.sessions[session].metadata["name"] == "n"
    assert stage.registry.machines[machine].row.runner_state == {"status": "running"}


def test_a_write_is_told_to_the_others_in_the_room_and_not_to_the_writer() -> None:
    stage = Stage()
    machine, runner = stage.machine()
    other = stage.connect(machineId=machine)
    answer = runner.ask(
        "machine-update-state",
        {"machineId": machine, "expectedVersion": 1, "runnerState": {"status": "running"}},
    )
    assert answer == {"result": "success", "version": 2, "runnerState": {"status": "running"}}
    assert runner.events() == []
    assert other.events()[0]["body"] == {
        "t": "update-machine",
        "machineId": machine,
        "metadata": None,
        "runnerState": {"version": 2, "value": {"status": "running"}},
    }
    stale = runner.ask(
        "machine-update-state", {"machineId": machine, "expectedVersion": 1, "runnerState": None}
    )
    assert stale == {
        "result": "version-mismatch",
        "version": 2,
        "runnerState": {"status": "running"},
    }


def test_a_registration_merges_what_is_known() -> None:
    stage = Stage()
    machine, _ = stage.machine(displayName="box", supervisedRestart=True)
    base = {"host": "other", "platform": "linux", "happyCliVersion": "1"}
    again = stage.rest("POST", "/cli/machines", {"id": machine, "metadata": base}).body["machine"]
    assert again["metadata"]["host"] == "other"
    assert again["metadata"]["displayName"] == "box"
    assert again["metadata"]["supervisedRestart"] is True
    assert again["metadataVersion"] == 2
    state = {"status": "offline", "pid": 1, "capabilities": {"a": True}}
    third = stage.rest(
        "POST", "/cli/machines", {"id": machine, "metadata": base, "runnerState": state}
    ).body["machine"]
    assert "supervisedRestart" not in third["metadata"]
    assert "capabilities" not in third["metadata"]
    assert stage.registry.machines[machine].row.runner_state == {
        "capabilities": {"a": True}
    }  # of the state only capabilities
    fourth = stage.rest(
        "POST", "/cli/machines", {"id": machine, "metadata": base, "runnerState": state}
    ).body["machine"]
    assert (fourth["metadataVersion"], fourth["runnerStateVersion"]) == (
        third["metadataVersion"],
        third["runnerStateVersion"],
    )


def test_a_machine_gets_a_name_people_chose() -> None:
    stage = Stage()
    machine, _ = stage.machine()
    assert (
        stage.rest("PATCH", f"/api/machines/{machine}", {"displayName": "  attic "}).status == 200
    )
    assert stage.get("/api/machines")["machines"][0]["metadata"]["displayName"] == "attic"
    assert stage.rest("PATCH", f"/api/machines/{machine}", {"displayName": ""}).status == 200
    assert "displayName" not in stage.get("/api/machines")["machines"][0]["metadata"]
    for wrong in ({}, {"displayName": "x" * 65}, {"displayName": 7}, None):
        assert stage.rest("PATCH", f"/api/machines/{machine}", wrong).status == 400


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (
            {
                "collectedAt": 1,
                "cpuCount": 2,
                "load1m": 0.5,
                "cpuPercent": 3,
                "memoryPercent": 100,
                "uptimeSeconds": 5,
            },
            True,
        ),
        ({"collectedAt": 1}, True),
        ({"collectedAt": 1, "extra": 1}, False),
        ({"cpuCount": 2}, False),
        ({"collectedAt": 1, "cpuPercent": 101}, False),
        ({"collectedAt": 1, "cpuCount": 0}, False),
        ({"collectedAt": "1"}, False),
        ({"collectedAt": True}, False),
        (None, False),
        ([], False),
    ],
)
def test_health_is_taken_whole_or_not_at_all(given: Any, taken: bool) -> None:
    assert checked_health(given) == (given if taken else None)


# --- notes to people ------------------------------------------------------------------------------


def test_a_request_that_stays_open_is_noted_after_half_a_second() -> None:
    stage = Stage()
    session, peer = stage.live()
    page, hidden = stage.listen(), stage.listen(visible=False)
    requests = {"r1": {"tool": "Shell", "arguments": {}, "createdAt": 1}}
    peer.ask(
        "update-state", {"sid": session, "expectedVersion": 1, "agentState": {"requests": requests}}
    )
    stage.tick(0.25)
    peer.ask("update-state", {"sid": session, "expectedVersion": 2, "agentState": {"requests": {}}})
    stage.tick(1.0)
    assert page.of("toast") == []
    peer.ask(
        "update-state", {"sid": session, "expectedVersion": 3, "agentState": {"requests": requests}}
    )
    stage.tick(0.5)
    assert page.of("toast")[0]["data"] == {
        "title": "Permission Request",
        "body": "project (Shell)",
        "sessionId": session,
        "url": f"/sessions/{session}",
    }
    assert hidden.of("toast") == []


def test_ready_is_noted_once_in_five_seconds() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    ready = {
        "sid": session,
        "message": {
            "role": "agent",
            "content": {"type": "event", "id": "e", "data": {"type": "ready"}},
        },
    }
    for wait in (0.0, 2.0, 4.0):
        stage.tick(wait)
        peer.send("message", ready)
    assert [toast["data"]["body"] for toast in page.of("toast")] == [
        "OpenCode is waiting in project"
    ] * 2


def test_notifications_remember_nothing_of_a_deleted_session() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    content = {"type": "event", "id": "e", "data": {"type": "ready"}}
    peer.send("message", {"sid": session, "message": {"role": "agent", "content": content}})
    state = {"requests": {"r1": {"tool": "Shell", "arguments": {}, "createdAt": 1}}}
    peer.ask("update-state", {"sid": session, "expectedVersion": 1, "agentState": state})
    peer.send("session-end", {"sid": session, "time": stage.now()})
    assert stage.hub.notifications.remembers(session)
    assert stage.rest("DELETE", f"/api/sessions/{session}").status == 200
    assert not stage.hub.notifications.remembers(session)
    stage.tick(1.0)
    assert [toast["data"]["title"] for toast in page.of("toast")] == ["Ready for input"]


def test_the_list_says_what_waits() -> None:
    stage = Stage()
    session, peer = stage.live()
    requests = {
        f"r{number}": {"tool": "Shell", "arguments": {}, "createdAt": number} for number in range(7)
    }
    requests["q"] = {"tool": "AskUserQuestion", "arguments": {}, "createdAt": 9}
    peer.ask(
        "update-state", {"sid": session, "expectedVersion": 1, "agentState": {"requests": requests}}
    )
    entries = [
        {"content": "a", "status": "completed", "priority": "high"},
        {"content": "b", "status": "bad"},
    ]
    peer.send(
        "message",
        {
            "sid": session,
            "message": {
                "role": "agent",
                "content": {"type": "codex", "data": {"type": "plan", "entries": entries}},
            },
        },
    )
    line = stage.get("/api/sessions")["sessions"][0]
    assert (
        line["pendingRequestsCount"],
        line["pendingRequestKinds"],
        len(line["pendingRequests"]),
    ) == (
        8,
        ["permission", "input"],
        5,
    )
    assert line["todoProgress"] == {"completed": 1, "total": 2}
    assert stage.get(f"/api/sessions/{session}")["session"]["todos"][1] == {
        "content": "b",
        "status": "pending",
        "priority": "medium",
        "id": "todo-2",
    }


def test_the_list_is_in_the_order_people_want() -> None:
    stage = Stage()
    quiet = stage.session(tag="quiet")
    pinned = stage.session(tag="pinned")
    everywhere = stage.session(tag="everywhere")
    busy, _peer = stage.live(tag="busy")
    waiting, other = stage.live(tag="waiting")
    other.ask(
        "update-state",
        {"sid": waiting, "expectedVersion": 1, "agentState": {"requests": {"r": {"tool": "x"}}}},
    )
    stage.rest("PUT", f"/api/sessions/{pinned}/pin", {"mode": "project"})
    stage.rest("PUT", f"/api/sessions/{everywhere}/pin", {"mode": "global"})
    order = [one["id"] for one in stage.get("/api/sessions")["sessions"]]
    assert order == [everywhere, pinned, waiting, busy, quiet]
    assert len(stage.get("/api/sessions?limit=2")["sessions"]) == 2
    assert len(stage.get("/api/sessions?limit=-7")["sessions"]) == 1
    assert len(stage.get("/api/sessions?limit=many")["sessions"]) == 5


def test_the_token_is_in_no_event_and_no_row() -> None:
    stage = Stage()
    page = stage.listen()
    session, _peer = stage.live()
    stage.rest("POST", f"/api/sessions/{session}/messages", {"text": "x", "localId": "L"})
    assert TOKEN not in str(page.frames)
    assert TOKEN not in str(
        [tuple(row) for row in stage.store.database.read_now("SELECT * FROM sessions")]
    )
