"""The audit: what is recorded, that it holds no secret, and that nobody can falsify or flush it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from hapi.hub.access.audit_log import DONE_NAME, GENERATIONS, NOBODY, REFUSED_NAME, Actor, AuditLog
from hapi.hub.access.audit_retention import equal_shares
from tests.support.access_tokens import connect, create_token, log_in, request, web_token
from tests.support.hub_stage import EPOCH, TOKEN, Stage

OWNER = Actor("default")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(audit_directory=tmp_path)


def entries(stage: Stage, query: str = "") -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed(stage.get(f"/api/audit{query}")["entries"]))


def test_every_kind_of_deed_is_recorded_with_who_when_and_on_what(stage: Stage) -> None:
    session_id, peer = stage.live(flavor="claude")
    _, runner = stage.machine()
    token = web_token(stage, create_token(stage, "approve", "spawn", "admin")["token"])
    path = f"/api/sessions/{session_id}"
    peer.serve(session_id, "permission", "set-session-config")
    state = {"requests": {"r1": {"tool": "Bash", "arguments": {"command": "secret"}}}}
    peer.ask("update-state", {"sid": session_id, "expectedVersion": 1, "agentState": state})
    body = {"directory": "/srv/app", "agent": "demo", "extra": "kept out"}
    bearer = {"Authorization": f"Bearer {token}"}
    pending = stage.begin("POST", "/api/machines/m1/spawn", body, headers=bearer)
    stage.tick(5.0)
    stage.finish(pending)
    request(stage, token, "PUT", "/api/hub-settings", {"sessionSummaryContract": True})
    pending = stage.begin(
        "POST",
        f"{path}/permissions/r1/approve",
        {"decision": "approved"},
        headers=bearer,
    )
    peer.answer({"ok": True})
    assert stage.finish(pending).status == 200
    request(stage, token, "DELETE", path)  # it is active: refused as a conflict
    found = {entry["action"]: entry for entry in entries(stage)}
    assert list(found) == [
        "token-create",
        "login",
        "spawn",
        "settings",
        "permission-approve",
        "delete",
    ]
    assert found["token-create"].get("actor") is None  # the owner
    assert found["token-create"]["facts"]["scopes"] == "approve,spawn,admin"
    spawn = found["spawn"]
    assert (spawn["actor"], spawn["namespace"]) == ("phone", "default")
    assert spawn["outcome"] == "failed"  # no runner serves it
    assert spawn["subject"] == {"machine": "m1"}
    assert spawn["facts"]["directory"] == "/srv/app"
    assert spawn["time"] == EPOCH + 5000
    assert spawn["address"]
    assert "kept out" not in json.dumps(spawn)
    assert found["permission-approve"]["subject"] == {"session": session_id, "request": "r1"}
    assert found["permission-approve"]["facts"] == {"decision": "approved"}
    assert (found["delete"]["outcome"], found["delete"]["status"]) == ("failed", 409)
    assert runner is not None


def test_a_start_that_the_runner_refused_is_recorded_as_failed(stage: Stage) -> None:
    _, runner = stage.machine()
    body = {"directory": "/srv/app", "agent": "demo"}
    runner.serve("m1", "spawn-happy-session")
    for answer in (
        {"type": "error", "errorMessage": "the runner is drained"},
        {"type": "success", "sessionId": "s1"},
    ):
        pending = stage.begin("POST", "/api/machines/m1/spawn", body)
        runner.answer(answer)
        assert stage.finish(pending).status == 200
    failed, done = (entry for entry in entries(stage) if entry["action"] == "spawn")
    assert (failed["outcome"], failed["status"]) == ("failed", 200)
    assert failed["facts"]["message"] == "the runner is drained"
    assert (done["outcome"], done["facts"]["sessionId"]) == ("done", "s1")


def test_a_hand_off_to_a_terminal_is_recorded(stage: Stage) -> None:
    session_id = stage.session()
    stage.rest("POST", f"/cli/sessions/{session_id}/handoff-local", {})
    [entry] = (each for each in entries(stage) if each["action"] == "hand-off")
    assert (entry["subject"], entry["outcome"]) == ({"session": session_id}, "done")


def test_refusals_are_recorded_apart(stage: Stage, tmp_path: Path) -> None:
    token = web_token(stage, create_token(stage, "read")["token"])
    log_in(stage, "wrong")
    stage.refused(token="wrong")
    request(stage, "wrong", "GET", "/cli/machines/m1")
    request(stage, token, "POST", "/api/machines/m1/spawn", {"directory": "/", "agent": "demo"})
    refused = [entry for entry in entries(stage) if entry["outcome"] == "refused"]
    assert [entry["action"] for entry in refused] == ["login"] * 3 + ["scope-missing"]
    assert refused[3]["facts"] == {
        "route": "POST /api/machines/<machine_id>/spawn",
        "scope": "spawn",
    }
    assert refused[3]["actor"] == "phone"
    assert len((tmp_path / REFUSED_NAME).read_text().splitlines()) == 4
    assert '"outcome":"refused"' not in (tmp_path / DONE_NAME).read_text()


def test_wrong_tokens_beyond_the_rate_limit_leave_no_entries(stage: Stage) -> None:
    for number in range(30):
        log_in(stage, f"wrong{number}")
    assert len(entries(stage)) == 10


def test_no_secret_and_no_text_of_a_conversation_is_recorded(stage: Stage, tmp_path: Path) -> None:
    session_id, _ = stage.live()
    made = create_token(stage, "chat", "machine")
    token = web_token(stage, made["token"])
    connect(stage, made["token"])
    log_in(stage, made["token"] + "x")
    log_in(stage, f"{TOKEN}:")
    body = {"text": "my password is hunter2", "localId": "a"}
    request(stage, token, "POST", f"/api/sessions/{session_id}/messages", body)
    stage.rest("DELETE", f"/api/tokens/{made['id']}")
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert kept
    for secret in (made["token"], token, TOKEN, "hunter2", stage.jwt()):
        assert secret not in kept


def test_only_the_owner_reads_the_audit(stage: Stage) -> None:
    assert stage.rest("GET", "/api/audit", namespace="team").status == 403
    admin = create_token(stage, "admin", name="a")
    theirs = create_token(stage, "admin", name="b", namespace="team")
    reader = create_token(stage, "read", "chat", "approve", "spawn", name="c")
    statuses = [
        request(stage, web_token(stage, made["token"]), "GET", "/api/audit").status
        for made in (admin, theirs, reader)
    ]
    assert statuses == [200, 403, 403]


def test_the_audit_is_read_in_parts_and_by_action(stage: Stage) -> None:
    for number in range(5):
        create_token(stage, "read", name=str(number))
        stage.clock.advance(1)
    stage.rest("PUT", "/api/hub-settings", {})
    assert [entry["facts"]["name"] for entry in entries(stage, "?action=token-create&limit=2")] == [
        "3",
        "4",
    ]
    older = entries(stage, f"?before={EPOCH + 2000}")
    assert [entry["facts"]["name"] for entry in older] == ["0", "1"]
    assert stage.rest("GET", "/api/audit?limit=0").status == 400
    assert stage.rest("GET", "/api/audit?before=x").status == 400


def test_scopes_are_a_list_of_words_not_json_in_a_text(stage: Stage) -> None:
    create_token(stage, "read", "chat", name="phone")
    (entry,) = entries(stage, "?action=token-create")
    assert entry["facts"]["scopes"] == "read,chat"


# --- the files ------------------------------------------------------------------------------------


def audit_log(path: Path, max_bytes: int = 4 << 20) -> AuditLog:
    return AuditLog(path, lambda: 1, max_bytes)


def test_a_line_break_in_a_fact_makes_no_second_entry(tmp_path: Path) -> None:
    audit = audit_log(tmp_path)
    forged = 'x"}\n{"time":1,"action":"spawn","outcome":"done","status":200}\n\x1b[2J\u2028'
    audit.record("delete", 200, OWNER, forged, {"session": forged}, {"text": forged, "n": [forged]})
    assert len((tmp_path / DONE_NAME).read_bytes().split(b"\n")) == 2
    (entry,) = audit.newest(10)
    assert entry.action == "delete"
    assert entry.subject["session"] == forged


def test_lone_surrogates_and_long_values_are_recorded_all_the_same(tmp_path: Path) -> None:
    audit = audit_log(tmp_path)
    audit.record("delete", 200, OWNER, "", {"session": "\ud800"}, {"text": "x" * 10_000})
    (entry,) = audit.newest(10)
    assert entry.subject == {"session": "?"}
    assert len(entry.facts["text"]) == 500


def test_files_are_private_rotated_and_a_bounded_number_is_kept(tmp_path: Path) -> None:
    audit = audit_log(tmp_path, 1000)
    for number in range(100):
        audit.record("spawn", 200, OWNER, "", facts={"number": number})
    names = sorted(path.name for path in tmp_path.iterdir())
    suffixes = ["", ".kept", *(f".{n + 1}" for n in range(GENERATIONS))]
    assert names == sorted(DONE_NAME + suffix for suffix in suffixes)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size <= 1000
    numbers = [entry.facts["number"] for entry in audit.newest(30)]
    assert numbers == list(range(99, 69, -1))


def test_who_may_do_nothing_cannot_push_out_what_was_done(tmp_path: Path) -> None:
    audit = audit_log(tmp_path, 1000)
    audit.record("delete", 200, OWNER, "10.0.0.1")
    for number in range(1000):
        audit.record("login", 401, NOBODY, f"10.0.0.{number}")
        audit.record("login", 200, OWNER, "10.0.0.1")  # over and over
    assert [entry.action for entry in audit.newest(1000, action="delete")] == ["delete"]


def deeds(audit: AuditLog, actor: Actor) -> set[str]:
    return {
        entry.action
        for entry in audit.newest(100_000)
        if (entry.namespace, entry.token_id) == (actor.namespace, actor.token_id)
    }


@pytest.mark.parametrize("status", [200, 404])
def test_a_token_of_another_namespace_cannot_push_out_what_the_owner_did(
    tmp_path: Path, status: int
) -> None:
    audit = audit_log(tmp_path, 4000)
    for action in ("token-create", "spawn", "delete"):
        audit.record(action, 200, OWNER, "10.0.0.1")
    for number in range(600):
        alice = Actor("alice", "phone", f"t{number % 20}")  # who may make tokens for alice
        audit.record("setting", status, alice, "10.0.0.2", {"session": str(number)})
    assert deeds(audit, OWNER) == {"token-create", "spawn", "delete"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= (GENERATIONS + 2) * 4000


def test_what_a_device_does_over_and_over_pushes_out_neither_others_nor_its_other_deeds(
    tmp_path: Path,
) -> None:
    audit, phone = audit_log(tmp_path, 4000), Actor("default", "phone", "t1")
    audit.record("token-create", 200, OWNER, "10.0.0.1")
    audit.record("spawn", 200, phone, "10.0.0.2")
    for number in range(600):
        audit.record("setting", 200, phone, "10.0.0.2", {"session": str(number)})
        audit.record("permission-deny", 404, phone, "10.0.0.2", {"session": str(number)})
    assert deeds(audit, OWNER) == {"token-create"}
    assert deeds(audit, phone) == {"spawn", "setting", "permission-deny"}
    newest = [entry for entry in audit.newest(2) if entry.action == "permission-deny"]
    assert newest[0].subject == {"session": "599"}


def test_wrong_tokens_do_not_push_out_what_a_token_was_refused(tmp_path: Path) -> None:
    audit, phone = audit_log(tmp_path, 4000), Actor("default", "phone", "t1")
    audit.record("scope-missing", 403, phone, "10.0.0.2")
    for number in range(600):
        audit.record("login", 401, NOBODY, f"10.0.0.{number}")
    assert deeds(audit, phone) == {"scope-missing"}


def test_a_rotation_that_was_cut_off_keeps_no_entry_twice(tmp_path: Path) -> None:
    audit = audit_log(tmp_path, 1000)
    for number in range(100):
        audit.record("spawn", 200, OWNER, "", facts={"number": number})
    oldest = tmp_path / f"{DONE_NAME}.{GENERATIONS}"
    kept = tmp_path / f"{DONE_NAME}.kept"
    kept.write_bytes(kept.read_bytes() + oldest.read_bytes())  # and then the power failed
    for number in range(100, 110):
        audit.record("spawn", 200, OWNER, "", facts={"number": number})
    numbers = [entry.facts["number"] for entry in audit.newest(1000)]
    assert len(set(numbers)) == len(numbers)
    assert numbers[0] == 109


def test_room_is_divided_equally_and_what_one_does_not_need_goes_to_the_others() -> None:
    assert equal_shares({"a": 10, "b": 100, "c": 70}, 110) == {"a": 10, "c": 50, "b": 50}
    assert equal_shares({"a": 10, "b": 20}, 100) == {"a": 10, "b": 20}
    assert equal_shares({}, 100) == {}


def test_half_a_line_and_a_symbolic_link_are_survived(tmp_path: Path) -> None:
    audit = audit_log(tmp_path)
    (tmp_path / DONE_NAME).write_bytes(b'{"time":1,"acti\n\xff\xfe\n')
    audit.record("spawn", 200, OWNER, "")
    assert len(audit.newest(10)) == 1
    with (tmp_path / DONE_NAME).open("ab") as file:
        file.write(b'{"time":1,"acti')
    audit.record("delete", 200, OWNER, "")
    audit.record("archive", 200, OWNER, "")
    assert [entry.action for entry in audit.newest(10)] == ["archive", "delete", "spawn"]
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / REFUSED_NAME).symlink_to(tmp_path / "elsewhere")
    audit.record("login", 401, NOBODY, "")  # is logged, and stops nothing
    assert (tmp_path / "elsewhere").read_text() == ""
