"""Access tokens of devices and machines: what each opens, and that revoking one ends everything."""

from __future__ import annotations

import json
import logging
from typing import Any

import jwt
import pytest
from attrs import evolve
from twisted.internet.defer import ensureDeferred

from hapi.hub.access.tokens import DeviceTokens, digest
from hapi.hub.store.interface import NameTaken, StoreFull
from hapi.hub.store.rows import TokenRow
from hapi.hub.store.sqlite import memory_store
from hapi.net.common.errors import ConnectRefused
from tests.support.access_tokens import connect, create_token, log_in, request, web_token
from tests.support.hub_stage import EPOCH, TOKEN, Stage, result_of

DAY = 86_400_000  # ms


def run(coroutine: Any) -> Any:
    return result_of(ensureDeferred(coroutine))


# --- the way of a token ---------------------------------------------------------------------------


def test_a_token_opens_what_its_scopes_say_until_it_is_revoked() -> None:
    stage = Stage()
    session_id, _ = stage.live()
    made = create_token(stage, "chat")
    page = web_token(stage, made["token"])
    prompt = {"text": "hello", "localId": "a"}
    path = f"/api/sessions/{session_id}"
    assert request(stage, page, "POST", f"{path}/messages", prompt).status == 200
    refused = request(stage, page, "POST", f"{path}/archive", {})
    assert refused.status == 403
    assert refused.body == {
        "error": "This access token may not start, resume or archive sessions (scope spawn)",
        "code": "scope_missing",
        "scope": "spawn",
    }
    assert stage.registry.sessions[session_id].active

    assert stage.rest("DELETE", f"/api/tokens/{made['id']}").status == 200
    assert request(stage, page, "GET", "/api/sessions").status == 401
    assert log_in(stage, made["token"]).status == 401
    assert stage.get("/api/tokens") == {"tokens": []}


def test_a_token_is_shown_once_and_only_its_digest_is_stored() -> None:
    stage = Stage()
    made = create_token(stage, "read")
    assert made["token"].startswith("hapi_")
    assert len(made["token"]) == 48
    listed = stage.rest("GET", "/api/tokens")
    assert made["token"] not in json.dumps(listed.body)
    assert listed.body["tokens"] == [{key: made[key] for key in made if key != "token"}]
    rows = [tuple(row) for row in stage.store.database.read_now("SELECT * FROM access_tokens")]
    assert made["token"] not in str(rows)
    assert digest(made["token"]) in rows[0]
    assert made["token"] not in repr(next(iter(stage.hub.tokens.devices)))
    assert digest(made["token"]) not in repr(next(iter(stage.hub.tokens.devices)))


def test_a_login_tells_what_the_token_allows() -> None:
    stage = Stage()
    made = create_token(stage, "approve", name="watch")
    answer = log_in(stage, made["token"]).body
    access = {"name": "watch", "namespace": "default", "scopes": ["read", "approve"]}
    assert answer["access"] == access
    assert request(stage, answer["token"], "GET", "/api/token").body == {"access": access}
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["tid"] == made["id"]
    assert claims["scp"] == ["approve", "read"]
    everything = ["read", "chat", "approve", "spawn", "machine", "terminal", "admin"]
    owner = {"name": None, "namespace": "default", "scopes": everything}
    assert stage.get("/api/token") == {"access": owner}


def test_the_last_use_of_a_token_is_kept_from_time_to_time() -> None:
    stage = Stage()
    made = create_token(stage, "read", "machine")
    assert made["lastUsedAt"] is None
    uses = []
    for seconds in (1, 10, 400):
        stage.clock.advance(seconds)
        connect(stage, made["token"])
        (listed,) = stage.get("/api/tokens")["tokens"]
        (stored,) = run(stage.store.tokens())
        assert stored.last_used_at == listed["lastUsedAt"]
        uses.append(listed["lastUsedAt"] - EPOCH)
    assert uses == [1000, 1000, 411_000]
    log_in(stage, made["token"] + ":team")  # refused, so that it is no use
    assert stage.get("/api/tokens")["tokens"][0]["lastUsedAt"] == EPOCH + 411_000


def test_the_access_token_of_the_hub_gets_a_web_token_as_before() -> None:
    stage = Stage()
    claims = jwt.decode(web_token(stage, TOKEN), options={"verify_signature": False})
    assert set(claims) == {"uid", "ns", "iat", "exp"}


def test_tokens_outlast_a_restart_of_the_hub_and_revoked_ones_do_not_come_back() -> None:
    stage = Stage()
    kept, gone = create_token(stage, "read"), create_token(stage, "read", name="lost")
    page = web_token(stage, gone["token"])
    assert stage.rest("DELETE", f"/api/tokens/{gone['id']}").status == 200
    again = Stage(stage.store)
    run(again.hub.tokens.load())
    assert log_in(again, kept["token"]).status == 200
    assert log_in(again, gone["token"]).status == 401
    assert request(again, page, "GET", "/api/sessions").status == 401


def test_a_token_that_the_store_cannot_delete_is_out_of_force_and_can_be_revoked_again() -> None:
    stage = Stage()
    made = create_token(stage, "read")
    page = web_token(stage, made["token"])
    turn, stage.store.turn = stage.store.turn, fail_full
    assert stage.rest("DELETE", f"/api/tokens/{made['id']}").status == 507
    assert request(stage, page, "GET", "/api/sessions").status == 401
    stage.store.turn = turn
    assert stage.rest("DELETE", f"/api/tokens/{made['id']}").status == 200
    assert stage.get("/api/tokens") == {"tokens": []}


async def fail_full(*given: Any) -> Any:
    raise StoreFull("no space left")


# --- everything that is open ends -----------------------------------------------------------------


def stream(stage: Stage, token: str) -> None:
    """Open the event stream of a page with a web token."""
    headers = {"Authorization": f"Bearer {token}"}
    response = result_of(stage.begin("GET", "/api/events?all=1", None, None, headers))
    assert response.code == 200


@pytest.mark.leaves_failures("the client of the test misses the end of its stream")
def test_revoking_a_token_cuts_its_event_streams_and_no_others() -> None:
    stage = Stage()
    made, other = create_token(stage, "read"), create_token(stage, "read", name="other")
    create_stream = [web_token(stage, made["token"]), web_token(stage, other["token"]), stage.jwt()]
    for token in create_stream:
        stream(stage, token)
    assert stage.registry.events.listening == 3
    stage.rest("DELETE", f"/api/tokens/{made['id']}")
    assert stage.registry.events.listening == 2
    names = [found.principal.token_name for found in stage.hub.streams._streams]
    assert sorted(map(str, names)) == ["None", "other"]


def test_a_machine_is_away_as_soon_as_its_token_is_revoked() -> None:
    stage = Stage()
    stage.machine(name="m1")
    stage.machine(name="m2")
    made = create_token(stage, "machine", machineId="m1")
    connect(stage, made["token"])  # it represents no machine
    connect(stage, made["token"], machineId="m1")
    stage.rest("DELETE", f"/api/tokens/{made['id']}")
    assert [machine["id"] for machine in stage.get("/api/machines")["machines"]] == ["m2"]


def test_revoking_a_token_closes_its_sockets_and_no_others() -> None:
    stage = Stage()
    made, other = create_token(stage, "machine"), create_token(stage, "machine", name="other")
    mine, another, shared = (
        connect(stage, made["token"]),
        connect(stage, other["token"]),
        stage.connect(),
    )
    stage.rest("DELETE", f"/api/tokens/{made['id']}")
    assert (mine.hung_up, another.hung_up, shared.hung_up) == (True, False, False)
    with pytest.raises(ConnectRefused, match="Invalid token"):
        connect(stage, made["token"])


@pytest.mark.leaves_failures("the client of the test misses the end of its stream")
def test_a_token_ends_by_itself_with_everything_that_it_opened() -> None:
    stage = Stage()
    made = create_token(stage, "read", "machine", expiresIn=DAY)
    page, peer = web_token(stage, made["token"]), connect(stage, made["token"])
    stage.clock.advance(86_000)
    page = web_token(stage, made["token"])
    stream(stage, page)
    assert not peer.hung_up
    assert stage.registry.events.listening == 1
    stage.clock.advance(400.001)
    assert peer.hung_up
    assert stage.registry.events.listening == 0
    assert request(stage, page, "GET", "/api/sessions").status == 401
    assert log_in(stage, made["token"]).status == 401
    (listed,) = stage.get("/api/tokens")["tokens"]
    assert listed["expiresAt"] == EPOCH + DAY


def test_an_expired_token_is_refused_before_anybody_notices_its_end() -> None:
    stage = Stage()
    made = create_token(stage, "read", expiresIn=DAY)
    stage.start += DAY  # the wall clock jumps
    assert log_in(stage, made["token"]).status == 401


def test_no_web_token_outlasts_its_access_token() -> None:
    stage = Stage()
    made = create_token(stage, "read", expiresIn=60_000)
    claims = jwt.decode(web_token(stage, made["token"]), options={"verify_signature": False})
    assert claims["exp"] * 1000 == EPOCH + 60_000


# --- who may make tokens --------------------------------------------------------------------------


def test_nobody_gives_away_a_scope_that_they_do_not_have() -> None:
    stage = Stage()
    admin = web_token(stage, create_token(stage, "admin")["token"])
    body = {"name": "more", "scopes": ["read", "spawn"]}
    assert request(stage, admin, "POST", "/api/tokens", body).status == 403
    body = {"name": "less", "scopes": ["read"]}
    assert request(stage, admin, "POST", "/api/tokens", body).status == 201


@pytest.mark.parametrize("scope", ["read", "chat", "approve", "spawn", "machine"])
def test_a_token_without_the_scope_admin_neither_sees_nor_makes_nor_revokes_tokens(scope) -> None:
    stage = Stage()
    made = create_token(stage, scope)
    page = web_token(stage, made["token"])
    body = {"name": "x", "scopes": [scope]}
    assert request(stage, page, "GET", "/api/tokens").status == 403
    assert request(stage, page, "POST", "/api/tokens", body).status == 403
    assert request(stage, page, "DELETE", f"/api/tokens/{made['id']}").status == 403
    assert request(stage, page, "PUT", "/api/hub-settings", {}).status == 403


def test_another_namespace_sees_and_revokes_its_own_tokens_alone() -> None:
    stage = Stage()
    mine = create_token(stage, "read")
    theirs = create_token(stage, "admin", namespace="team")
    admin = web_token(stage, theirs["token"])
    listed = request(stage, admin, "GET", "/api/tokens").body["tokens"]
    assert [token["name"] for token in listed] == ["phone"]
    assert listed[0]["namespace"] == "team"
    assert request(stage, admin, "DELETE", f"/api/tokens/{mine['id']}").status == 404
    assert log_in(stage, mine["token"]).status == 200
    body = {"name": "x", "scopes": ["read"], "namespace": "default"}
    assert request(stage, admin, "POST", "/api/tokens", body).status == 403
    assert request(stage, admin, "PUT", "/api/hub-settings", {}).status == 403
    assert len(stage.get("/api/tokens")["tokens"]) == 2  # the owner sees all
    assert stage.rest("DELETE", f"/api/tokens/{theirs['id']}").status == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": ""}, 400),
        ({"name": " "}, 400),
        ({"name": "n" * 65}, 400),
        ({"name": "a\nb"}, 400),
        ({"name": "a\x1b[31m"}, 400),
        ({"name": "\u202egnp"}, 400),
        ({"scopes": []}, 400),
        ({"scopes": ["everything"]}, 400),
        ({"scopes": "read"}, 400),
        ({"expiresIn": 0}, 400),
        ({"expiresIn": -1}, 400),
        ({"expiresIn": 1 << 62}, 400),
        ({"namespace": " team"}, 400),
        ({"namespace": "a:b"}, 400),
        ({"machineId": "m1"}, 400),  # without the scope machine
        ({"name": "taken"}, 409),
    ],
)
def test_a_malformed_request_makes_no_token(change: dict[str, Any], status: int) -> None:
    stage = Stage()
    create_token(stage, "read", name="taken")
    body = {"name": "phone", "scopes": ["read"], **change}
    assert stage.rest("POST", "/api/tokens", body).status == status
    assert len(stage.get("/api/tokens")["tokens"]) == 1


# --- a namespace belongs to the token -------------------------------------------------------------


def test_a_token_opens_its_own_namespace_and_no_other() -> None:
    stage = Stage()
    stage.session(tag="mine")
    theirs = stage.session("team", tag="theirs")
    made = create_token(stage, "read", namespace="team")
    page = web_token(stage, made["token"])
    listed = request(stage, page, "GET", "/api/sessions").body["sessions"]
    assert [session["id"] for session in listed] == [theirs]
    for text in (f"{made['token']}:default", f"{made['token']}:", f"{made['token']}:team:default"):
        assert log_in(stage, text).status == 401, text
    assert log_in(stage, f"{made['token']}:team").status == 200


def test_a_web_token_whose_namespace_is_not_that_of_its_token_is_refused() -> None:
    stage = Stage()
    made = create_token(stage, "read", namespace="team")
    issuer = stage.hub.authenticator._token_issuer
    device = issuer.devices.get(made["id"])
    principal = issuer.check_access_token(made["token"])
    assert principal.namespace == "team"
    forged = issuer.issue_web_token(evolve(principal, namespace="default"), stage.now() / 1000)
    assert request(stage, forged, "GET", "/api/sessions").status == 401
    assert device.is_current(stage.now())


def test_a_web_token_is_no_access_token() -> None:
    stage = Stage()
    page = web_token(stage, create_token(stage, "read", "machine")["token"])
    assert log_in(stage, page).status == 401
    assert request(stage, page, "POST", "/cli/machines", {"id": "m1", "metadata": {}}).status == 401


def test_wrong_tokens_of_this_form_count_as_wrong_tokens() -> None:
    stage = Stage()
    statuses = [log_in(stage, f"hapi_{number:043}").status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2


# --- a machine and its sessions -------------------------------------------------------------------


def machine_token(stage: Stage, machine: str) -> str:
    """A token to which a new machine belongs."""
    token = str(create_token(stage, "machine", name=machine)["token"])
    body = {"id": machine, "metadata": {"host": machine}}
    assert request(stage, token, "POST", "/cli/machines", body).status == 200
    return token


def own_session(stage: Stage, token: str, machine: str, tag: str, **more: Any) -> str:
    metadata = {"path": "/", "host": machine, "machineId": machine, "flavor": "claude", **more}
    body = {"tag": tag, "metadata": metadata, "agentState": {}}
    answer = request(stage, token, "POST", "/cli/sessions", body)
    assert answer.status == 200, answer
    return str(answer.body["session"]["id"])


def test_a_machine_token_opens_its_own_machine_and_sessions() -> None:
    stage = Stage()
    token = machine_token(stage, "m1")
    mine = own_session(stage, token, "m1", "t1")
    assert request(stage, token, "GET", f"/cli/sessions/{mine}").status == 200
    assert request(stage, token, "GET", "/cli/machines/m1").status == 200
    runner, session = connect(stage, token, machineId="m1"), connect(stage, token, sessionId=mine)
    assert runner.rooms == {"machine:m1"}
    assert session.rooms == {f"session:{mine}"}
    session.serve(mine, "abort")
    assert stage.registry.rpc.serves(mine, "abort")


def test_a_machine_token_neither_reads_nor_serves_what_belongs_to_another_machine() -> None:
    stage = Stage()
    first, second = machine_token(stage, "m1"), machine_token(stage, "m2")
    shared, _ = stage.machine(name="m3")
    theirs, other = own_session(stage, second, "m2", "t2"), stage.session(tag="t3", machineId="m3")
    for session_id in (theirs, other):
        path = f"/cli/sessions/{session_id}"
        assert request(stage, first, "GET", path).status == 403
        assert request(stage, first, "GET", f"{path}/messages?afterSeq=0").status == 403
        peer = connect(stage, first, sessionId=session_id)
        assert peer.rooms == set()
        stage.rest("POST", f"/api/sessions/{session_id}/messages", {"text": "x", "localId": "l"})
        peer.send("message", {"sid": session_id, "message": {"role": "agent", "content": "forged"}})
        peer.send("session-alive", {"sid": session_id, "time": stage.now()})
        peer.send("session-end", {"sid": session_id, "time": stage.now()})
        peer.serve(session_id, "abort", "permission")
        state = {"sid": session_id, "expectedVersion": 1, "agentState": {"requests": {}}}
        assert peer.ask("update-state", state) == {"result": "error", "reason": "access-denied"}
        assert not stage.registry.rpc.serves(session_id, "abort")
        assert not stage.registry.sessions[session_id].active
        assert stage.get(f"/api/sessions/{session_id}/messages")["messages"] == []
    for machine in ("m2", shared):
        assert request(stage, first, "GET", f"/cli/machines/{machine}").status == 403
        body = {"id": machine, "metadata": {"host": "mine"}}
        assert request(stage, first, "POST", "/cli/machines", body).status == 403
        peer = connect(stage, first, machineId=machine)
        assert peer.rooms == set()
        peer.serve(machine, "spawn-happy-session")
        assert not stage.registry.rpc.serves(machine, "spawn-happy-session")
        assert stage.registry.machines[machine].row.metadata["host"] != "mine"


def test_a_machine_token_gets_no_session_of_another_machine_by_its_tag() -> None:
    stage = Stage()
    first, second = machine_token(stage, "m1"), machine_token(stage, "m2")
    own_session(stage, second, "m2", "known-tag", secret="plans")
    body = {"tag": "known-tag", "metadata": {"machineId": "m1"}, "agentState": {}}
    answer = request(stage, first, "POST", "/cli/sessions", body)
    assert answer.status == 403
    assert "plans" not in json.dumps(answer.body)


@pytest.mark.parametrize("metadata", [{}, {"machineId": "m2"}, {"machineId": ["m1"]}, None, "m1"])
def test_a_machine_token_makes_no_session_for_another_machine_or_none(metadata: Any) -> None:
    stage = Stage()
    token = machine_token(stage, "m1")
    machine_token(stage, "m2")
    body = {"tag": "t", "metadata": metadata, "agentState": {}}
    assert request(stage, token, "POST", "/cli/sessions", body).status == 403
    assert stage.registry.sessions == {}


def test_a_session_cannot_be_registered_together_with_another_machine() -> None:
    stage = Stage()
    token = machine_token(stage, "m1")
    machine = {"id": "m9", "metadata": {}}
    body = {"tag": "t", "metadata": {"machineId": "m1"}, "agentState": {}, "machine": machine}
    assert request(stage, token, "POST", "/cli/sessions", body).status == 403
    assert "m9" not in stage.registry.machines


def test_a_session_of_a_machine_token_cannot_be_moved_to_another_machine() -> None:
    stage = Stage()
    token = machine_token(stage, "m1")
    stage.machine(name="m2")
    mine = own_session(stage, token, "m1", "t1")
    peer = connect(stage, token, sessionId=mine)
    for metadata in ({"machineId": "m2"}, {}, None):
        event = {"sid": mine, "expectedVersion": 1, "metadata": metadata}
        assert peer.ask("update-metadata", event) == {"result": "error"}
    assert stage.registry.sessions[mine].metadata["machineId"] == "m1"


def test_sessions_of_two_machines_are_not_merged_if_one_has_a_token_of_its_own() -> None:
    stage = Stage()
    theirs = stage.session(tag="t0", machineId="m0", flavor="claude", claudeSessionId="c1")
    token = machine_token(stage, "m1")
    mine = own_session(stage, token, "m1", "t1")
    peer = connect(stage, token, sessionId=mine)
    stage.alive(peer, mine)
    metadata = {**stage.registry.sessions[mine].metadata, "claudeSessionId": "c1"}
    event = {"sid": mine, "expectedVersion": 1, "metadata": metadata}
    assert peer.ask("update-metadata", event)["result"] == "success"
    assert set(stage.registry.sessions) == {theirs, mine}


def test_a_machine_that_is_known_already_takes_a_token_that_names_it() -> None:
    stage = Stage()
    stage.machine(name="m1")
    body = {"id": "m1", "metadata": {}}
    unbound = create_token(stage, "machine", name="a")["token"]
    refused = request(stage, unbound, "POST", "/cli/machines", body)
    assert refused.status == 403
    assert "--machine m1" in refused.body["error"]
    bound = create_token(stage, "machine", name="b", machineId="m1")["token"]
    assert request(stage, bound, "POST", "/cli/machines", body).status == 200


def test_a_machine_token_may_not_use_the_page() -> None:
    stage = Stage()
    page = web_token(stage, machine_token(stage, "m1"))
    for path in ("/api/sessions", "/api/machines", "/api/events?all=1", "/api/audit"):
        assert request(stage, page, "GET", path).status == 403


@pytest.mark.parametrize("scope", ["read", "chat", "approve", "spawn", "admin"])
def test_a_token_of_a_person_opens_no_socket_of_a_program(scope: str) -> None:
    stage = Stage()
    token = create_token(stage, scope)["token"]
    with pytest.raises(ConnectRefused, match="scope machine"):
        connect(stage, token)
    assert request(stage, token, "GET", "/cli/machines/m1").status == 403


# --- secrets --------------------------------------------------------------------------------------


def test_no_log_line_holds_a_token(caplog: pytest.LogCaptureFixture) -> None:
    from twisted.logger import globalLogPublisher

    lines: list[str] = []
    observer = lambda event: lines.append(repr(event))  # noqa: E731
    globalLogPublisher.addObserver(observer)
    try:
        stage = Stage()
        made = create_token(stage, "machine", "read")
        page = web_token(stage, made["token"])
        connect(stage, made["token"])
        request(stage, page, "GET", "/api/sessions")
        stage.store.delete_token = fail_full
        stage.rest("DELETE", f"/api/tokens/{made['id']}")
        log_in(stage, made["token"])
        for _ in range(12):
            log_in(stage, made["token"] + "x")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert lines
    assert not [line for line in lines if made["token"] in line or page in line]
    assert logging.getLogger() is not None


# --- the store ------------------------------------------------------------------------------------


def row(**changes: Any) -> TokenRow:
    base = TokenRow("t1", "default", "phone", "d1", "read chat", None, 1)
    return evolve(base, **changes)


def test_the_store_keeps_tokens_and_their_names_are_unique_in_a_namespace() -> None:
    from twisted.internet.task import Clock

    store = memory_store(Clock())
    second = row(id="t2", digest="d2", namespace="team", created_at=2, expires_at=9)
    run(store.create_token(row()))
    run(store.create_token(second))
    with pytest.raises(NameTaken):
        run(store.create_token(row(id="t3", digest="d3")))
    assert run(store.tokens()) == [row(), second]
    changed = row(machine_id="m1", last_used_at=5)
    assert run(store.change_token("t1", {"machine_id": "m1", "last_used_at": 5})) == changed
    with pytest.raises(KeyError):
        run(store.change_token("t9", {"last_used_at": 5}))
    assert run(store.delete_token("t1")) is True
    assert run(store.delete_token("t1")) is False
    assert run(store.tokens()) == [second]


def test_a_scope_of_a_newer_hub_grants_nothing_here() -> None:
    from hapi.hub.access.tokens import DeviceToken

    assert DeviceToken.of(row(scopes="read everything")).scopes == {"read"}
    assert len(DeviceTokens()) == 0
