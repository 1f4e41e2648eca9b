"""How sessions end and come back: archive, delete, rename, reopen, resume, merge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from hapi.hub.domain.entities import START_TIMEOUT
from hapi.hub.store.interface import StoreFailed
from hapi.hub.store.rows import VersionMismatch
from hapi.hub.store.sqlite import SqliteStore
from hapi.protocol.spawn import RefusalCode
from tests.support.hub_stage import MemoryPeer, Stage

ARCHIVED = {
    "lifecycleState": "archived",
    "lifecycleStateSince": 5,
    "archivedBy": "cli",
    "archiveReason": "Session completed",
}


class FaultyStore(SqliteStore):
    """Meets newer versions and failures as often as it is told."""

    stale = 0
    failing = False

    async def write_metadata(
        self, session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Any:
        if self.failing:
            raise StoreFailed("disk I/O error")
        if self.stale:
            self.stale -= 1
            rows = {row.id: row for row in await self.sessions()}
            await super().write_metadata(
                session_id,
                rows[session_id].metadata_version,
                {**rows[session_id].metadata, "by": self.stale},
                {},
            )
            rows = {row.id: row for row in await self.sessions()}
            return VersionMismatch(rows[session_id])
        return await super().write_metadata(session_id, expected, value, changes)


def faulty() -> tuple[Stage, FaultyStore]:
    store = FaultyStore(":memory:", Clock())
    store.open()
    return Stage(store), store


def metadata(stage: Stage, session: str) -> dict[str, Any]:
    return dict(stage.get(f"/api/sessions/{session}")["session"]["metadata"])


def archive(stage: Stage, session: str) -> Any:
    return stage.rest("POST", f"/api/sessions/{session}/archive", {})


# --- archive --------------------------------------------------------------------------------------


def test_archiving_asks_the_process_to_end() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    peer.serve(session, "killSession")
    pending = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    peer.answer('{"success":true}')
    assert stage.finish(pending).body == {"ok": True}
    assert stage.registry.sessions[session].active is False
    assert (
        metadata(stage, session)["lifecycleState"] == "running"
    )  # the process says itself why it ended
    assert len(page.of("session-ended")) == 1


def test_a_session_whose_process_is_gone_is_archived_by_the_hub__R06() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.drop()
    assert archive(stage, session).body == {"ok": True}
    found = metadata(stage, session)
    assert (found["lifecycleState"], found["archivedBy"]) == ("archived", "hub")
    assert found["archiveReason"] == "Archived from hub (CLI unreachable)"
    assert archive(stage, session).body == {"ok": True, "alreadyArchived": True}


def test_a_process_that_drops_while_it_is_asked_is_archived_at_once__R06() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, "killSession")
    pending = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    peer.drop()
    assert stage.finish(pending).body == {"ok": True}
    assert metadata(stage, session)["archivedBy"] == "hub"


@pytest.mark.parametrize(
    "reason",
    ["User terminated", "Stopped by runner", "Session completed", "Session crashed", "Hub restart"],
)
def test_a_reason_that_the_process_gave_stands__R08(reason: str) -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, "killSession")
    pending = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    stamp = {"lifecycleState": "archived", "archivedBy": "cli", "archiveReason": reason}
    peer.ask("update-metadata", {"sid": session, "expectedVersion": 1, "metadata": stamp})
    peer.drop()
    assert stage.finish(pending).status == 200
    assert (metadata(stage, session)["archivedBy"], metadata(stage, session)["archiveReason"]) == (
        "cli",
        reason,
    )


def test_a_failing_write_is_never_called_archived__R06() -> None:
    stage, store = faulty()
    session, peer = stage.live()
    peer.drop()
    store.failing = True
    answer = archive(stage, session)
    assert answer.status == 500
    store.failing = False
    assert metadata(stage, session)["lifecycleState"] == "running"
    assert archive(stage, session).status == 200


# --- a process that hangs


def hanging(**more: Any) -> tuple[Stage, str, Any]:
    """A hub with a session whose process never answers, and the machine that it is on."""
    stage = Stage()
    _, runner = stage.machine()
    session, peer = stage.live(machineId="m1", hostPid=4711, **more)
    peer.serve(session, "killSession")
    return stage, session, runner


def ask_to_end(stage: Stage, session: str, method: str = "POST") -> Any:
    """A request to archive or delete the session, when its process has had time to answer."""
    path = f"/api/sessions/{session}" + ("/archive" if method == "POST" else "")
    pending = stage.begin(method, path, {} if method == "POST" else None)
    stage.tick(5.0)
    return pending


@pytest.mark.parametrize("status", ["stopped", "already_gone"])
def test_a_process_that_does_not_answer_is_ended_by_its_runner__R06(status: str) -> None:
    stage, session, runner = hanging()
    runner.serve("m1", "stop-session")
    pending = ask_to_end(stage, session)
    runner.answer(json.dumps({"status": status}))
    assert stage.finish(pending).body == {"ok": True, "endedBy": "runner"}
    found = metadata(stage, session)
    assert (found["lifecycleState"], found["archivedBy"]) == ("archived", "hub")
    assert found["archiveReason"] == "Ended by the runner (the session did not respond)"
    assert stage.registry.sessions[session].active is False


@pytest.mark.parametrize("drops", ["before", "meanwhile"])
def test_the_reason_says_so_too_when_the_hanging_process_has_lost_its_connection(
    drops: str,
) -> None:
    stage = Stage()
    _, runner = stage.machine()
    session, peer = stage.live(machineId="m1", hostPid=4711)
    peer.serve(session, "killSession")
    runner.serve("m1", "stop-session")
    stage.tick(60.0 if drops == "before" else 0.0)
    if drops == "before":
        peer.drop()
    pending = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    if drops == "meanwhile":
        peer.drop()
    runner.answer('{"status":"stopped"}')
    assert stage.finish(pending).body == {"ok": True, "endedBy": "runner"}
    reason = metadata(stage, session)["archiveReason"]
    assert reason == "Ended by the runner (the session did not respond)"


def test_a_stopped_process_that_ends_when_it_is_signalled_does_not_hide_that_it_hung() -> None:
    stage = Stage()
    _, runner = stage.machine()
    session, peer = stage.live(machineId="m1", hostPid=4711)
    peer.serve(session, "killSession")
    runner.serve("m1", "stop-session")
    pending = ask_to_end(stage, session)
    stamp = {
        "lifecycleState": "archived",
        "archivedBy": "cli",
        "archiveReason": "Stopped by runner",
    }
    peer.ask("update-metadata", {"sid": session, "expectedVersion": 1, "metadata": stamp})
    peer.drop()
    runner.answer('{"status":"stopped"}')
    assert stage.finish(pending).status == 200
    reason = metadata(stage, session)["archiveReason"]
    assert reason == "Ended by the runner (the session did not respond)"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": "still_alive", "known": True}, "its runner could not end it"),
        ({"status": "still_alive"}, "the runner of its machine does not know it"),
        ({"error": "no"}, "the runner of its machine does not answer"),
        ("late", "the runner of its machine does not answer"),
        ("away", "the runner of its machine is not connected"),
    ],
)
def test_a_process_that_nobody_can_end_keeps_its_row__R06(
    answer: Any, why: str, method: str
) -> None:
    stage, session, runner = hanging()
    if method == "DELETE":
        stage.tick(40.0)  # what is active cannot be deleted anyway
    if answer != "away":
        runner.serve("m1", "stop-session")
    pending = ask_to_end(stage, session, method)
    if isinstance(answer, dict):
        runner.answer(json.dumps(answer))
    elif answer == "late":
        stage.tick(10.0)
    reply = stage.finish(pending)
    assert (reply.status, reply.body["code"]) == (503, "session_not_responding")
    assert reply.body["error"] == (
        f"The session does not respond, and {why}. Start the runner on devbox (hapi runner start)"
        " and archive the session again, or end process 4711 there."
    )
    assert metadata(stage, session)["lifecycleState"] == "running"


def test_a_session_that_fell_silent_is_deleted_when_its_process_is_ended() -> None:
    stage, session, runner = hanging()
    runner.serve("m1", "stop-session")
    stage.tick(40.0)
    pending = ask_to_end(stage, session, "DELETE")
    runner.answer('{"status":"stopped"}')
    assert stage.finish(pending).status == 200
    assert session not in stage.registry.sessions


@pytest.mark.parametrize("how", ["stays", "leaves", "replaced"])
def test_a_process_that_says_it_ends_and_does_not_is_ended_by_its_runner(how: str) -> None:
    stage = Stage()
    _, runner = stage.machine()
    runner.serve("m1", "stop-session")
    session, peer = stage.live(machineId="m1")
    peer.serve(session, "killSession")
    pending = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    peer.answer('{"success":true}')
    assert stage.finish(pending).body == {"ok": True}
    if how == "leaves":
        peer.drop()
    elif how == "replaced":  # resumed meanwhile
        stage.connect(sessionId=session).serve(session, "killSession")
    stage.tick(14.0)
    assert runner.events("rpc-request") == []
    stage.tick(2.0)
    asked = [json.loads(call["params"]) for call in runner.events("rpc-request")]
    assert asked == ([{"sessionId": session}] if how == "stays" else [])


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_process_without_a_connection_that_its_runner_cannot_end_keeps_its_row(
    method: str,
) -> None:
    stage = Stage()
    session = stage.session(machineId="m1", lifecycleState="running")
    machine, runner = stage.machine()
    runner.serve(machine, "stop-session")
    pending = ask_to_end(stage, session, method)
    runner.answer('{"status":"still_alive","known":true}')
    assert stage.finish(pending).status == 503
    assert metadata(stage, session)["lifecycleState"] == "running"


@pytest.mark.parametrize(
    ("path", "rpc"),
    [
        ("abort", "abort"),
        ("switch", "switch"),
        ("permissions/r1/approve", "permission"),
        ("permissions/r1/deny", "permission"),
    ],
)
def test_a_hanging_process_is_asked_for_ten_seconds_and_named(path: str, rpc: str) -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, rpc)
    state = {"requests": {"r1": {"tool": "Bash", "createdAt": 1}}}
    peer.ask("update-state", {"sid": session, "expectedVersion": 1, "agentState": state})
    pending = stage.begin("POST", f"/api/sessions/{session}/{path}", {})
    stage.tick(10.0)
    reply = stage.finish(pending)
    assert reply.status == 500
    assert reply.body["error"] == (
        "The operation has timed out: no answer within 10 s. The process that is to answer may be"
        " stopped or overloaded."
    )


@pytest.mark.parametrize("times", [0, 4, 5])
@pytest.mark.parametrize("what", ["archive", "rename", "summary", "reopen"])
def test_a_write_against_a_newer_version_is_tried_five_times__R07(what: str, times: int) -> None:
    stage, store = faulty()
    session, peer = stage.live(opencodeSessionId="oc")
    peer.drop()
    if what == "reopen":
        stage.tick(40.0)
        archive(stage, session)
        machine, runner = stage.machine()
        runner.serve(machine, "spawn-happy-session")
    store.stale = times
    path, body, method = {
        "archive": ("/archive", {}, "POST"),
        "rename": ("", {"name": "n"}, "PATCH"),
        "summary": ("/summary", {"text": "t"}, "PATCH"),
        "reopen": ("/reopen", {}, "POST"),
    }[what]
    pending = stage.begin(method, f"/api/sessions/{session}{path}", body)
    if what == "reopen" and times < 5:
        runner.answer(json.dumps({"type": "success", "sessionId": session}))
        again = stage.connect(sessionId=session)
        stage.alive(again, session)
        stage.tick(0.5)
    answer = stage.finish(pending)
    assert answer.status == (409 if times == 5 else 200), answer
    if times == 5:
        assert "concurrently" in answer.body["error"]


# --- delete and rename ----------------------------------------------------------------------------


def test_only_an_inactive_session_is_deleted() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    assert stage.rest("DELETE", f"/api/sessions/{session}").status == 409
    peer.send("session-end", {"sid": session, "time": stage.now()})
    assert stage.rest("DELETE", f"/api/sessions/{session}").body == {"ok": True}
    assert [event["sessionId"] for event in page.of("session-removed")] == [session]
    peer.send("message", {"sid": session, "message": {"role": "user", "content": "late"}})
    assert peer.events("error")[0]["code"] == "not-found"
    assert peer.ask("update-state", {"sid": session, "expectedVersion": 1, "agentState": None}) == {
        "result": "error",
        "reason": "not-found",
    }


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "'; DROP TABLE sessions;--", "😀" * 100, "x" * 255]
)
def test_any_name_is_kept_as_it_is(name: str) -> None:
    stage = Stage()
    session = stage.session()
    assert stage.rest("PATCH", f"/api/sessions/{session}", {"name": name}).status == 200
    assert metadata(stage, session)["name"] == name


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "   "}, None],
)
def test_a_name_is_wanted(body: Any) -> None:
    stage = Stage()
    session = stage.session()
    answer = stage.rest("PATCH", f"/api/sessions/{session}", body)
    assert (answer.status, answer.body["error"]) == (400, "Invalid body: name is required")


@pytest.mark.parametrize("path", ["", "/summary"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x" * 256, "{name} is too long (at most 255 characters)"),
        (7, "{name}: Expected `str`, got `int`"),
        (None, "{name}: Expected `str`, got `null`"),
    ],
)
def test_a_name_or_summary_that_is_there_but_unusable_is_not_called_missing(
    path: str, value: Any, problem: str
) -> None:
    stage = Stage()
    name = "text" if path else "name"
    answer = stage.rest("PATCH", f"/api/sessions/{stage.session()}{path}", {name: value})
    expected = f"Invalid body: {problem.format(name=name)}"
    assert (answer.status, answer.body["error"]) == (400, expected)


@pytest.mark.parametrize("body", [b"{", b"\xff"])
def test_a_body_that_is_no_json_is_called_that(body: bytes) -> None:
    stage = Stage()
    answer = stage.rest("PATCH", f"/api/sessions/{stage.session()}", body)
    assert (answer.status, answer.body["error"][:23]) == (400, "Invalid body: not JSON:")


# --- reopen and resume ----------------------------------------------------------------------------


def archived(stage: Stage, **more: Any) -> str:
    return stage.session(
        tag="old", **{**ARCHIVED, "opencodeSessionId": "oc-1", "name": "Kept", **more}
    )


def spawn_params(runner: MemoryPeer) -> dict[str, Any]:
    return dict(json.loads(runner.events("rpc-request")[-1]["params"]))


def test_a_reopen_that_fails_leaves_everything_as_it_was__R07() -> None:
    stage = Stage()
    session = archived(stage)
    machine, runner = stage.machine()
    before = metadata(stage, session)
    pending = stage.begin("POST", f"/api/sessions/{session}/reopen", {})
    stage.tick(START_TIMEOUT + 0.25)
    assert stage.finish(pending).body["code"] == "resume_failed"  # nobody serves the method
    assert metadata(stage, session) == before
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/reopen", {})
    runner.answer(json.dumps({"type": "success", "sessionId": session}))
    assert "archiveReason" not in metadata(stage, session)
    stage.tick(16.0)
    answer = stage.finish(pending)
    assert (answer.status, answer.body["error"]) == (500, "Session failed to become active")
    assert metadata(stage, session) == before


@pytest.mark.parametrize("how", ["reopen", "resume"])
def test_an_archive_overtakes_the_process_that_a_resume_has_begun__C17(how: str) -> None:
    stage = Stage()
    session = archived(stage)
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session", "stop-session")
    resuming = stage.begin("POST", f"/api/sessions/{session}/{how}", {})
    archiving = stage.begin("POST", f"/api/sessions/{session}/archive", {})
    asked = runner.events("rpc-request")[-1]
    assert (asked["method"], json.loads(asked["params"])) == (
        f"{machine}:stop-session",
        {"sessionId": session},
    )
    runner.answer(
        '{"type":"error","errorMessage":"Session was stopped while it was being started"}'
    )  # the spawn, asked first
    runner.answer('{"status":"stopped"}')
    assert stage.finish(archiving).body == {"ok": True}
    assert stage.finish(resuming).body["code"] == "resume_failed"
    assert metadata(stage, session)["lifecycleState"] == "archived"
    assert stage.registry.sessions[session].active is False


@pytest.mark.parametrize("how", ["reopen", "resume"])
def test_a_process_that_was_started_for_a_session_deleted_meanwhile_is_ended(how: str) -> None:
    stage = Stage()
    session = archived(stage)
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session", "stop-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/{how}", {})
    assert stage.rest("DELETE", f"/api/sessions/{session}").status == 200
    runner.answer(json.dumps({"type": "success", "sessionId": session}))
    stage.tick(16.0)
    assert stage.finish(pending).status == 404
    asked = runner.events("rpc-request")[-1]
    assert (asked["method"], json.loads(asked["params"])) == (
        f"{machine}:stop-session",
        {"sessionId": session},
    )
    runner.answer('{"status":"stopped"}')


def test_an_archive_does_not_wait_for_a_machine_that_is_away__C17_R06() -> None:
    stage = Stage()
    session = stage.session(machineId="m1", lifecycleState="running")
    machine, runner = stage.machine()
    assert archive(stage, session).body == {"ok": True}
    assert runner.events("rpc-request") == []
    other = stage.session(tag="other", machineId="m1", lifecycleState="running")
    runner.serve(machine, "stop-session")
    pending = stage.begin("POST", f"/api/sessions/{other}/archive", {})
    stage.tick(11.0)  # it never answers
    assert stage.finish(pending).body == {"ok": True}
    assert metadata(stage, other)["archivedBy"] == "hub"


def test_another_namespaces_machine_is_never_asked_to_stop__U04() -> None:
    stage = Stage()
    machine, runner = stage.machine("bob", "m-bob")
    runner.serve(machine, "stop-session")
    session = stage.session(machineId="m-bob", lifecycleState="running")
    assert archive(stage, session).body == {"ok": True}
    assert runner.events("rpc-request") == []


def test_a_resumed_session_gets_its_settings_along() -> None:
    stage = Stage()
    session = archived(stage)
    stage.rest("POST", f"/api/sessions/{session}/permission-mode", {"mode": "plan"})
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/resume", {"permissionMode": "yolo"})
    params = spawn_params(runner)
    assert params == {
        "type": "spawn-in-directory",
        "directory": "/home/dev/project",
        "agent": "opencode",
        "permissionMode": "yolo",
        "resumeSessionId": "oc-1",
        "existingSessionId": session,
        "sessionId": session,
        "forkSession": False,
    }
    again = stage.rest("POST", f"/api/sessions/{session}/resume", {})
    assert (again.status, again.body["code"]) == (409, "resume_in_progress")
    runner.answer('{"type":"error","errorMessage":"no"}')
    assert stage.finish(pending).status == 500


@pytest.mark.parametrize(
    ("flavor", "wanted", "stored"),
    [
        ("opencode", "yolo", "yolo"),
        ("opencode", "YOLO!", "yolo"),
        ("opencode", "y o-l_o", "yolo"),
        ("opencode", "bypassPermissions", "yolo"),
        ("opencode", "--yolo", None),
        ("opencode", " -yolo", None),
        ("opencode", "acceptEdits", None),
        ("claude", "acceptEdits", "acceptEdits"),
        ("claude", "bypassPermissions", "bypassPermissions"),
        ("codex", "read-only", "read-only"),
        ("codex", "safe-yolo", "safe-yolo"),
        ("cursor", "ask", "ask"),
        ("cursor", "Plan", "plan"),
    ],
)
def test_a_permission_mode_is_stored_and_started_by_the_name_that_the_session_has_for_it(
    flavor: str, wanted: str, stored: str | None
) -> None:
    stage = Stage()
    session = stage.session(flavor=flavor)
    path = f"/api/sessions/{session}"
    answer = stage.rest("POST", f"{path}/permission-mode", {"mode": wanted})
    assert answer.status == (200 if stored else 400), answer
    shown = stage.get(path)["session"]
    assert shown.get("permissionMode") == stored
    assert metadata(stage, session).get("preferredPermissionMode") == stored
    if flavor == "cursor":  # resumed only with a session of its agent
        return
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"{path}/resume", {"permissionMode": wanted})
    if stored is None:
        assert stage.finish(pending).status == 400
        assert runner.calls == []
        return
    assert spawn_params(runner)["permissionMode"] == stored
    runner.answer('{"type":"error","errorMessage":"no"}')
    stage.finish(pending)


def test_a_mode_that_an_answer_chooses_is_passed_on_by_its_own_name() -> None:
    stage = Stage()
    session, peer = stage.live(flavor="opencode")
    peer.serve(session, "permission")
    requests = {"r1": {"tool": "Bash", "arguments": {}, "createdAt": 1}}
    told = {"sid": session, "expectedVersion": 1, "agentState": {"requests": requests}}
    assert peer.ask("update-state", told)["result"] == "success"
    path = f"/api/sessions/{session}/permissions/r1/approve"
    assert stage.rest("POST", path, {"mode": "--yolo"}).status == 400
    pending = stage.begin("POST", path, {"mode": "Y.O.L.O"})
    assert json.loads(peer.calls[0][2]["params"])["mode"] == "yolo"
    peer.answer("{}")
    assert stage.finish(pending).status == 200


@pytest.mark.parametrize("verb", ["resume", "reopen"])
def test_a_kept_mode_that_a_program_would_read_as_an_option_starts_nothing(verb: str) -> None:
    stage = Stage()
    session = stage.session(flavor="opencode", preferredPermissionMode="--yolo")
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    answer = stage.rest("POST", f"/api/sessions/{session}/{verb}", {})
    assert (answer.status, "must not begin with a hyphen" in answer.body["error"]) == (500, True)
    assert runner.calls == []


def test_a_resumed_session_keeps_its_own_idle_time() -> None:
    stage = Stage()
    session = archived(stage, idleAgent="30m")
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/resume", {})
    assert spawn_params(runner)["idleAgent"] == "30m"
    runner.answer('{"type":"error","errorMessage":"no"}')
    stage.finish(pending)


def test_a_resume_that_opens_another_row_brings_the_history_along() -> None:
    stage = Stage()
    session = archived(stage)
    old = stage.connect(sessionId=session)
    old.send(
        "message",
        {
            "sid": session,
            "message": {"role": "user", "content": {"type": "text", "text": "question"}},
        },
    )
    old.drop()
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    page = stage.listen()
    pending = stage.begin("POST", f"/api/sessions/{session}/reopen", {})
    new, _ = stage.live(tag="new", opencodeSessionId="oc-1")
    runner.answer(json.dumps({"type": "success", "sessionId": new}))
    stage.tick(0.5)
    assert stage.finish(pending).body == {"ok": True, "sessionId": new, "resumed": True}
    assert stage.rest("GET", f"/api/sessions/{session}").status == 404
    assert metadata(stage, new)["name"] == "Kept"
    assert len(stage.get(f"/api/sessions/{new}/messages")["messages"]) == 1
    assert stage.rest("GET", f"/cli/sessions/{new}/messages?afterSeq=0").body["messages"] == []
    assert [event["sessionId"] for event in page.of("messages-invalidated")] == [new]
    assert [event["sessionId"] for event in page.of("session-removed")] == [session]


@pytest.mark.parametrize("path", ["reopen", "resume"])
@pytest.mark.parametrize(
    ("told", "resumed", "memory"),
    [
        (["opening", "kept"], True, "kept"),
        (["opening", "new"], False, "new"),
        (["opening"], False, "unknown"),
        (["new"], False, "new"),
        (["late", "kept"], True, "kept"),
        (["late", "new"], False, "new"),
        ([], False, "unknown"),
    ],
)
def test_the_answer_says_whether_the_agent_went_on_with_its_memory(
    path: str, told: list[str], resumed: bool, memory: str
) -> None:
    stage = Stage()
    session = archived(stage, agentMemory={"state": "kept", "since": 1})  # by an earlier process
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/{path}", {})
    runner.answer(json.dumps({"type": "success", "sessionId": session}))
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    for state in told:
        if state == "late":  # its process is slow to tell
            stage.tick(4.0)
            continue
        found = stage.get(f"/cli/sessions/{session}")["session"]
        value = {**found["metadata"], "agentMemory": {"state": state, "since": 2}}
        version = found["metadataVersion"]
        wanted = {"sid": session, "expectedVersion": version, "metadata": value}
        assert again.ask("update-metadata", wanted)["result"] == "success"
        stage.tick(0.5)
        stage.alive(again, session)
    stage.tick(15.0)
    answer = stage.finish(pending)
    assert (answer.status, answer.body["sessionId"]) == (200, session)
    assert (answer.body["resumed"], answer.body["memory"]) == (resumed, memory)


def test_a_resume_whose_agent_cannot_be_started_says_why() -> None:
    stage = Stage()
    session = archived(stage)
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/reopen", {})
    runner.answer(json.dumps({"type": "success", "sessionId": session}))
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    for extra in (
        {"agentMemory": {"state": "opening", "since": 2}},
        {"lifecycleState": "archived", "archiveReason": "Local launch failed: login needed"},
    ):
        found = stage.get(f"/cli/sessions/{session}")["session"]
        wanted = {
            "sid": session,
            "expectedVersion": found["metadataVersion"],
            "metadata": {**found["metadata"], **extra},
        }
        assert again.ask("update-metadata", wanted)["result"] == "success"
        stage.tick(0.5)
    again.send("session-end", {"sid": session, "time": stage.now(), "reason": "error"})
    stage.tick(1.0)
    answer = stage.finish(pending)
    assert (answer.status, answer.body["error"]) == (500, "Local launch failed: login needed")


def test_a_client_that_hangs_up_does_not_stop_a_resume() -> None:
    stage = Stage()
    session = archived(stage)
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/sessions/{session}/reopen", {})
    pending.addErrback(lambda _: None)
    pending.cancel()
    stage.stub.flush()
    runner.answer(json.dumps({"type": "success", "sessionId": session}))
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    stage.tick(0.5)
    assert "archiveReason" not in metadata(stage, session)
    assert stage.rest("POST", f"/api/sessions/{session}/reopen", {}).body["resumed"] is False


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"opencodeSessionId": "x"}, 503, "no_machine_online"),
        ({"flavor": "cursor"}, 422, "resume_unavailable"),
        ({"path": 7}, 409, "resume_unavailable"),
    ],
)
def test_why_a_session_cannot_come_back(change: dict[str, Any], status: int, code: str) -> None:
    stage = Stage()
    session = archived(stage, **change)
    answer = stage.rest("POST", f"/api/sessions/{session}/reopen", {})
    assert (answer.status, answer.body["code"]) == (status, code)


def test_a_row_that_takes_over_an_agent_s_session_absorbs_the_old_one() -> None:
    stage = Stage()
    old = archived(stage)
    stranger = stage.session("other", tag="x", opencodeSessionId="oc-1")
    new, peer = stage.live(tag="new")
    written = {
        "path": "/home/dev/project",
        "host": "devbox",
        "flavor": "opencode",
        "opencodeSessionId": "oc-1",
    }
    answer = peer.ask("update-metadata", {"sid": new, "expectedVersion": 1, "metadata": written})
    assert answer["result"] == "success"
    assert stage.rest("GET", f"/api/sessions/{old}").status == 404
    assert metadata(stage, new)["name"] == "Kept"
    assert stage.rest("GET", f"/api/sessions/{stranger}", namespace="other").status == 200
    again = peer.ask(
        "update-metadata",
        {
            "sid": new,
            "expectedVersion": answer["version"],
            "metadata": {**written, "name": "mine"},
        },
    )
    assert again["result"] == "version-mismatch"  # the merge was a write of the hub's


# --- spawn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ({"type": "success", "sessionId": "s"}, {"type": "success", "sessionId": "s"}),
        (
            {"type": "error", "errorMessage": "m", "code": "agent_unavailable", "agent": "kimi"},
            {"type": "error", "message": "m", "code": "agent_unavailable", "agent": "kimi"},
        ),
        *(
            (
                {"type": "error", "errorMessage": "m", "code": code},
                {"type": "error", "message": "m", "code": code},
            )
            for code in (
                RefusalCode.SESSION_LIMIT,
                RefusalCode.MEMORY_LIMIT,
                RefusalCode.QUEUE_FULL,
                RefusalCode.DRAINING,
                RefusalCode.STILL_STARTING,
            )
        ),
        (
            {"type": "error", "errorMessage": "m", "code": "secret", "agent": "kimi"},
            {"type": "error", "message": "m"},
        ),
        (
            {"type": "requestToApproveDirectoryCreation", "directory": "/d"},
            {"type": "error", "message": "Directory creation requires approval: /d"},
        ),
        ({"error": "no"}, {"type": "error", "message": "no"}),
        ([1], {"type": "error", "message": "Unexpected spawn result: [1]"}),
    ],
)
def test_what_a_runner_says_about_a_spawn(answer: Any, body: dict[str, Any]) -> None:
    stage = Stage()
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin(
        "POST", f"/api/machines/{machine}/spawn", {"directory": "/d", "agent": "kimi", "yolo": True}
    )
    assert spawn_params(runner) == {
        "type": "spawn-in-directory",
        "directory": "/d",
        "agent": "kimi",
        "yolo": True,
        "forkSession": False,
    }
    runner.answer(json.dumps(answer))
    assert stage.finish(pending).body == body


def test_a_runner_that_drops_ends_the_wait_at_once() -> None:
    stage = Stage()
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin("POST", f"/api/machines/{machine}/spawn", {"directory": "/d"})
    runner.drop()
    lost = {"type": "error", "message": "The machine devbox lost its connection during the start"}
    assert stage.finish(pending).body == lost


def test_a_spawn_on_a_machine_that_is_away_says_what_to_start_where() -> None:
    stage = Stage()
    machine, _runner = stage.machine()
    for name in ("devbox", "Attic"):
        pending = stage.begin("POST", f"/api/machines/{machine}/spawn", {"directory": "/d"})
        stage.tick(START_TIMEOUT + 0.25)
        answer = stage.finish(pending)
        said = f"The machine {name} is not connected; start its runner there: hapi runner start"
        assert (answer.status, answer.body) == (200, {"type": "error", "message": said})
        stage.rest("PATCH", f"/api/machines/{machine}", {"displayName": "Attic"})


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "directory", "Invalid input: expected string, received undefined"),
        (None, "directory", "Invalid input: expected string, received undefined"),
        ({"directory": ""}, "directory", "Expected `str` of length >= 1"),
        ({"directory": "/", "agent": "nope"}, "agent", "Unknown agent; this machine knows agy, "),
        ({"directory": "/", "yolo": 1}, "yolo", "Expected `bool | null`, got `int`"),
        (
            {"directory": "/", "agent": "dsh", "startingMode": "pty"},
            "startingMode",
            "dsh has the starting mode remote only",
        ),
    ],
)
def test_a_spawn_that_makes_no_sense_is_refused_and_the_field_named(
    body: Any, field: str, reason: str
) -> None:
    stage = Stage()
    machine, _runner = stage.machine()
    answer = stage.rest("POST", f"/api/machines/{machine}/spawn", body)
    assert (answer.status, answer.body["error"]) == (400, "Invalid body")
    assert answer.body["issues"]["fieldErrors"][field][0].startswith(reason)


def test_a_spawn_that_is_no_json_is_refused() -> None:
    stage = Stage()
    machine, _runner = stage.machine()
    answer = stage.rest("POST", f"/api/machines/{machine}/spawn", b"{")
    assert (answer.status, answer.body["error"]) == (400, "Invalid body")
    assert answer.body["issues"]["formErrors"][0].startswith("not JSON:")


def test_what_is_missing_is_named_with_the_type_that_it_has() -> None:
    stage = Stage()
    for method, path, body, field, expected in (
        ("POST", "/api/tokens", {"name": "x"}, "scopes", "array"),
        ("POST", f"/api/sessions/{stage.live(flavor='claude')[0]}/model", {}, "model", "a value"),
        ("POST", "/api/auth", {}, "accessToken", "string"),
    ):
        answer = stage.rest(method, path, body)
        assert answer.status == 400
        message = f"Invalid input: expected {expected}, received undefined"
        assert answer.body["issues"]["fieldErrors"] == {field: [message]}


def test_an_idle_time_of_a_spawn_that_is_none_is_refused_in_words() -> None:
    stage = Stage()
    machine, _runner = stage.machine()
    body = {"directory": "/", "idleAgent": "soon"}
    answer = stage.rest("POST", f"/api/machines/{machine}/spawn", body)
    assert answer.status == 400
    assert "idleAgent: it must be off, or a positive number" in answer.body["error"]


def test_an_agent_that_only_its_runner_knows_can_be_spawned() -> None:
    stage = Stage()
    machine, runner = stage.machine()
    state = {
        "status": "running",
        "capabilities": {"agentConfigs": [{"flavor": "mine", "fields": []}, 7]},
    }
    runner.ask(
        "machine-update-state", {"machineId": machine, "expectedVersion": 1, "runnerState": state}
    )
    runner.serve(machine, "spawn-happy-session")
    pending = stage.begin(
        "POST", f"/api/machines/{machine}/spawn", {"directory": "/d", "agent": "mine"}
    )
    runner.answer('{"type":"success","sessionId":"s"}')
    assert stage.finish(pending).status == 200


def test_an_outdated_runner_is_told_to_update() -> None:
    stage = Stage()
    machine, runner = stage.machine(capabilities=[])
    runner.serve(machine, "spawn-happy-session")
    answer = stage.rest("POST", f"/api/machines/{machine}/spawn", {"directory": "/d"})
    assert answer.body["code"] == "runner_upgrade_required"
    assert stage.rest("GET", f"/api/machines/{machine}/agent-availability").status == 409
    assert runner.events("rpc-request") == []
