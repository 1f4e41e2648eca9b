"""The client against our hub in memory, and against the document that the hub gives of its API."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from hapi.client import (
    AccessDenied,
    ApiClient,
    Conflict,
    HubAccess,
    InvalidRequest,
    NotFound,
    TokenRefused,
    TryLater,
    UnexpectedReply,
    transport,
)
from hapi.client import entities as client_entities
from hapi.client.errors import error_for
from tests.support.hub_stage import TOKEN, Stage, result_of
from tests.support.openapi_replies import described_api

HUB = "http://127.0.0.1:3006"


class Listed:
    """A StubTreq that remembers what was requested."""

    def __init__(self, stub: StubTreq) -> None:
        self.stub, self.requests = stub, []

    def request(self, method: str, url: str, **more: Any) -> Any:
        self.requests.append((method, url.removeprefix(HUB), more.get("data")))
        return self.stub.request(method, url, **more)


class Client:
    """The client of a stage's hub; `run` calls one of its methods to its end."""

    def __init__(self, stage: Stage, token: str = TOKEN) -> None:
        self.stage, self.http = stage, Listed(stage.stub)
        self.api = ApiClient(stage.clock, HubAccess(HUB, token), self.http)

    def start(self, call: Any) -> Deferred[Any]:
        running = Deferred.fromCoroutine(call)
        for _ in range(6):
            self.stage.stub.flush()
        return running

    def run(self, call: Any) -> Any:
        return result_of(self.start(call))

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.http.requests]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def client(stage: Stage) -> Client:
    return Client(stage)


def test_sessions_are_listed_with_one_login_for_all_requests(stage, client):
    session_id, _ = stage.live(name="Shop")
    [listed] = client.run(client.api.sessions())
    assert (listed.id, listed.title, listed.active, listed.agent) == (
        session_id,
        "Shop",
        True,
        "opencode",
    )
    client.run(client.api.session(session_id))
    assert client.paths == [
        "POST /api/auth",
        "GET /api/sessions",
        f"GET /api/sessions/{session_id}",
    ]


def test_an_expired_web_token_is_renewed_once(stage, client):
    client.run(client.api.sessions())
    stage.clock.advance(5 * 3600)
    client.http.requests.clear()
    assert client.run(client.api.sessions()) == []
    assert client.paths == ["GET /api/sessions", "POST /api/auth", "GET /api/sessions"]


def test_a_wrong_access_token_is_refused_without_a_second_try(stage):
    client = Client(stage, "x" * 40)
    with pytest.raises(TokenRefused, match="Invalid access token"):
        client.run(client.api.sessions())
    assert client.paths == ["POST /api/auth"]


def test_a_prompt_is_kept_once_however_often_it_is_sent(stage, client):
    session_id, _ = stage.live()
    local_id = client.run(client.api.send(session_id, "hello"))
    client.run(client.api.send(session_id, "hello", local_id))
    [message] = client.run(client.api.messages(session_id))
    assert (message.role, message.text, message.local_id) == ("user", "hello", local_id)


def with_request(stage: Stage) -> tuple[str, Any]:
    session_id, peer = stage.live()
    peer.serve(session_id, "permission", "abort", "killSession")
    state = {"requests": {"a/b": {"tool": "Bash", "arguments": {"command": "ls"}, "createdAt": 5}}}
    peer.ask(
        "update-state",
        {"sid": session_id, "expectedVersion": 1, "agentState": state},
    )
    return session_id, peer


def test_a_permission_request_is_approved_by_its_id(stage, client):
    session_id, peer = with_request(stage)
    [request] = client.run(client.api.session(session_id)).requests
    assert (request.id, request.tool, request.created_at) == ("a/b", "Bash", 5)
    waiting = client.start(client.api.approve(session_id, request.id, "approved_for_session"))
    asked = json.loads(peer.events("rpc-request")[-1]["params"])
    assert asked == {"id": "a/b", "approved": True, "decision": "approved_for_session"}
    peer.answer(json.dumps({"ok": True}))
    for _ in range(4):
        stage.stub.flush()
    assert result_of(waiting) is None


def test_each_refusal_is_an_error_of_its_own(stage, client):
    session_id = stage.session()
    with pytest.raises(NotFound, match="Session not found"):
        client.run(client.api.session("nobody"))
    with pytest.raises(Conflict) as found:
        client.run(client.api.send(session_id, "hello"))
    assert (found.value.status, found.value.code) == (409, "session_inactive")
    with pytest.raises(InvalidRequest):
        client.run(client.api.rename(session_id, ""))
    other = Client(stage, f"{TOKEN}:other")
    with pytest.raises(AccessDenied):
        other.run(other.api.session(session_id))


def test_an_error_tells_when_to_ask_again():
    found = error_for(429, {"error": "Too many", "code": "too_many_requests"}, "7")
    assert isinstance(found, TryLater)
    assert (str(found), found.code, found.retry_after) == ("Too many", "too_many_requests", 7)


def test_the_page_of_a_proxy_is_not_shown():
    found = error_for(503, "<html><body><h1>503 Service Unavailable</h1></body></html>", None)
    assert (type(found), str(found), found.body) == (
        TryLater,
        "HTTP 503 of a proxy, which says nothing of the hub",
        {},
    )


def test_a_time_without_end_is_no_time_to_ask_again():
    assert error_for(429, {}, "9" * 5000).retry_after is None


@pytest.mark.parametrize("status", [302, 418])
def test_a_status_that_no_hub_sends_is_an_unexpected_reply(status):
    assert isinstance(error_for(status, "", None), UnexpectedReply)


def test_an_inactive_session_is_deleted(stage, client):
    session_id = stage.session()
    client.run(client.api.delete(session_id))
    assert client.run(client.api.sessions()) == []


# --- the document ---------------------------------------------------------------------------------

SCHEMAS = {
    "SessionSummary": client_entities.SessionSummary,
    "Session": client_entities.Session,
    "Machine": client_entities.Machine,
    "Message": client_entities.Message,
    "SpawnReply": client_entities.Spawned,
    "PendingRequest": client_entities.PendingRequest,
}
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def accepted(hint: Any) -> set[Any]:
    if hint is Any:
        return {*TYPES.values(), type(None)}
    parts = get_args(hint) if get_origin(hint) not in (list, dict) else (hint,)
    return {get_origin(part) or part for part in parts or (hint,)}


def described(schema: dict[str, Any]) -> set[Any]:
    if not schema:
        return {*TYPES.values(), type(None)}
    if "anyOf" in schema:
        return {kind for part in schema["anyOf"] for kind in described(part)}
    if "enum" in schema:
        return {type(value) for value in schema["enum"]}
    if "$ref" in schema:
        return {dict}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {type(None) if kind == "null" else TYPES[kind] for kind in kinds}


@pytest.mark.parametrize(("name", "entity"), SCHEMAS.items())
def test_each_field_that_the_client_reads_is_described_with_a_type_that_it_takes(name, entity):
    properties = described_api().document["components"]["schemas"][name]["properties"]
    hints = get_type_hints(entity)
    for each in msgspec.structs.fields(entity):
        assert each.encode_name in properties, each.encode_name
        kinds = described(properties[each.encode_name])
        if hints[each.name] is not Any and properties[each.encode_name]:
            assert kinds <= accepted(hints[each.name]), (each.name, kinds)


def test_each_request_of_the_client_is_one_that_the_document_describes(stage, client):
    session_id, _peer = with_request(stage)
    machine_id, _ = stage.machine()
    api = client.api
    calls = [
        api.machines(),
        api.spawn(machine_id, "/tmp", "demo", model="m"),
        api.sessions(limit=3),
        api.session(session_id),
        api.rename(session_id, "Shop"),
        api.stop(session_id),
        api.archive(session_id),
        api.reopen(session_id),
        api.resume(session_id),
        api.resumable(machine_id),
        api.resume_target(session_id),
        api.hand_off(session_id),
        api.delete(session_id),
        api.messages(session_id),
        api.invoked_at(session_id, "local"),
        api.send(session_id, "hello"),
        api.approve(session_id, "a/b"),
        api.deny(session_id, "a/b", reason="no"),
        api.search("two words", session_id=session_id, cursor=3),
        api.export(session_id),
        api.share(session_id, expires_in=60_000, includes_tools=True),
        api.share_links(session_id),
        api.revoke_share_link(session_id, "link"),
    ]
    for call in calls:
        client.start(call).addErrback(lambda _: None)
    document = described_api()
    public = {name for name in vars(ApiClient) if not name.startswith("_")} - {"events", "clock"}
    assert len(calls) == len(public)
    asked = [request for request in client.http.requests if request[1] != "/api/auth"]
    assert len(asked) == len(calls)
    for method, path, data in asked:
        operation = document.operation(method, path.partition("?")[0])
        assert operation is not None, (method, path)
        query = [part.partition("=")[0] for part in path.partition("?")[2].split("&") if part]
        assert set(query) <= {each["name"] for each in operation.get("parameters", ())}
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert document.problem(schema, json.loads(data)) is None


def test_an_error_names_the_field_that_the_hub_refuses() -> None:
    stage = Stage()
    answer = stage.rest("POST", "/api/tokens", {"name": "phone", "scopes": []})
    error = error_for(answer.status, answer.body, None)
    assert str(error) == "Invalid body (scopes: Expected `array` of length >= 1)"


class Endless(Resource):
    """A hub that answers without end."""

    isLeaf = True

    def render(self, request: Any) -> int:
        request.setHeader("content-type", "application/json")
        for _ in range(20):
            request.write(b"x" * (1 << 17))
        return NOT_DONE_YET


@pytest.mark.parametrize(
    "call",
    [lambda api: api.sessions(), lambda api: api.export("s1"), lambda api: anext(api.events())],
)
def test_an_answer_without_end_is_given_up(call, monkeypatch):
    monkeypatch.setattr(transport, "MAX_ANSWER", 1 << 20)
    stub = StubTreq(Endless())
    running = Deferred.fromCoroutine(call(ApiClient(Clock(), HubAccess(HUB, TOKEN), stub)))
    for _ in range(6):
        stub.flush()
    with pytest.raises(UnexpectedReply, match="its answer is over 1 MiB"):
        result_of(running)
