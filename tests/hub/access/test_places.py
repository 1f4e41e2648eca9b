"""How many connections may be open at once, and how often expensive requests may come."""

from __future__ import annotations

import pytest

from hapi.hub.access.auth import Principal
from hapi.hub.access.places import (
    EVENT_STREAMS,
    EXPENSIVE_REQUESTS,
    SOCKETS,
    Capacity,
    Places,
    RequestLimits,
)
from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.errors import HubFull, NoPlace, RequestRateLimited
from tests.support.hub_stage import TOKEN, MemoryPeer, Stage

CAPACITY = Capacity(in_all=10, per_namespace=4, per_token=3, owner_reserve=3)
OWNER = Principal("default")


def places() -> Places:
    return Places("event streams", CAPACITY)


def take(found: Places, principal: Principal, count: int) -> int:
    """How many of `count` places were given."""
    taken = 0
    for _ in range(count):
        try:
            found.take(principal)
        except NoPlace:
            continue
        taken += 1
    return taken


def test_a_namespace_has_a_limit_and_the_owner_has_a_reserve() -> None:
    found = places()
    assert take(found, Principal("a"), 9) == CAPACITY.per_namespace
    assert take(found, Principal("b"), 9) == 3  # with a: all but the owner's reserve
    assert take(found, Principal("c"), 9) == 0
    assert take(found, OWNER, 9) == CAPACITY.owner_reserve


def test_the_owner_may_take_all_places() -> None:
    found = places()
    assert take(found, OWNER, 20) == CAPACITY.in_all
    assert take(found, Principal("a"), 1) == 0


def test_one_login_has_a_limit() -> None:
    found = places()
    login = Principal("default", token_id="one")
    assert take(found, login, 9) == CAPACITY.per_token
    assert take(found, Principal("default", token_id="two"), 9) == CAPACITY.per_token


def test_a_refusal_says_of_what_and_whose_there_are_too_many() -> None:
    found = places()
    take(found, Principal("a"), 9)
    with pytest.raises(NoPlace) as raised:
        found.take(Principal("a"))
    words = "Too many event streams of this namespace are open at once: try again in 5 s"
    assert (str(raised.value), raised.value.retry_after) == (words, 5)
    take(found, OWNER, 9)
    with pytest.raises(HubFull, match="Too many event streams of this hub are open at once"):
        found.take(OWNER)


def test_places_that_are_given_back_leave_nothing_behind() -> None:
    found = places()
    for number in range(100):
        principal = Principal(f"namespace {number}", token_id=f"token {number}")
        found.take(principal)
        found.leave(principal)
    assert (found.taken, len(found._namespaces), len(found._tokens)) == (0, 0, 0)


@pytest.mark.parametrize("capacity", [EVENT_STREAMS, SOCKETS, EXPENSIVE_REQUESTS])
def test_no_namespace_can_take_all_that_is_not_reserved(capacity: Capacity) -> None:
    others = capacity.in_all - capacity.owner_reserve
    assert capacity.per_namespace < others < capacity.in_all


# --- expensive requests ---------------------------------------------------------------------------


def test_a_kind_of_request_is_limited_by_namespace_and_comes_back_with_time() -> None:
    limits, stranger = RequestLimits(), Principal("a")
    rate = Cost.SPAWN.value
    for _ in range(rate.burst):
        with limits.admitted(Cost.SPAWN, stranger, 1.0):
            pass
    with pytest.raises(RequestRateLimited), limits.admitted(Cost.SPAWN, stranger, 1.0):
        pass
    with limits.admitted(Cost.SPAWN, OWNER, 1.0), limits.admitted(Cost.RPC, stranger, 1.0):
        pass
    with limits.admitted(Cost.SPAWN, stranger, 1.0 + 1 / rate.per_second):
        pass


def test_requests_that_are_under_way_have_places_and_give_them_back() -> None:
    stage = Stage()
    session_id, peer = stage.live("a")
    peer.serve(session_id, "git-status")
    path = f"/api/sessions/{session_id}/git-status"
    waiting = [stage.begin("GET", path, namespace="a") for _ in range(64)]
    refused = stage.rest("GET", path, namespace="a")
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert refused.body == {
        "error": "Too many requests of this kind of this namespace are open at once: "
        "try again in 5 s",
        "code": "too_many_at_once",
    }
    for _ in waiting:
        peer.answer({"success": True, "stdout": ""})
    assert {stage.finish(pending).status for pending in waiting} == {200}
    again = stage.begin("GET", path, namespace="a")
    peer.answer({"success": True, "stdout": ""})
    assert stage.finish(again).status == 200


EXPENSIVE = [
    ("GET", "/api/sessions/{session}/git-status", Cost.RPC),
    ("GET", "/api/sessions/{session}/git-diff-numstat", Cost.RPC),
    ("GET", "/api/sessions/{session}/git-diff-file?path=x", Cost.RPC),
    ("GET", "/api/sessions/{session}/file?path=x", Cost.RPC),
    ("GET", "/api/sessions/{session}/directory", Cost.RPC),
    ("GET", "/api/sessions/{session}/generated-images/x", Cost.RPC),
    ("GET", "/api/sessions/{session}/slash-commands", Cost.RPC),
    ("GET", "/api/sessions/{session}/skills", Cost.RPC),
    ("GET", "/api/sessions/{session}/codex-models", Cost.RPC),
    ("GET", "/api/machines/{machine}/agent-availability", Cost.RPC),
    ("GET", "/api/machines/{machine}/opencode-models", Cost.RPC),
    ("GET", "/api/sessions/{session}/files", Cost.SEARCH),
    ("POST", "/api/sessions/{session}/upload", Cost.UPLOAD),
    ("POST", "/api/sessions/{session}/reopen", Cost.SPAWN),
    ("POST", "/api/sessions/{session}/resume", Cost.SPAWN),
    ("POST", "/api/machines/{machine}/spawn", Cost.SPAWN),
    ("POST", "/api/machines/{machine}/list-directory", Cost.RPC),
    ("POST", "/api/machines/{machine}/paths/exists", Cost.RPC),
]


@pytest.mark.parametrize(("method", "path", "cost"), EXPENSIVE)
def test_every_expensive_route_refuses_with_a_sentence_and_a_time(
    method: str, path: str, cost: Cost
) -> None:
    stage = Stage()
    path = path.format(session=stage.session(), machine="m1")
    for _ in range(cost.value.burst):
        stage.limits.count(cost, OWNER, stage.clock.seconds())
    refused = stage.rest(method, path, {} if method == "POST" else None)
    assert (refused.status, refused.body["code"]) == (429, "too_many_requests")
    assert refused.body["error"] == "Too many requests of this kind: try again in 1 s"
    assert refused.headers["retry-after"] == "1"
    assert stage.rest("GET", "/api/sessions").status == 200


def test_logging_in_is_limited_by_namespace() -> None:
    stage = Stage()
    for _ in range(Cost.LOGIN.value.burst):
        stage.limits.count(Cost.LOGIN, Principal("a"), stage.clock.seconds())
    body = {"accessToken": f"{TOKEN}:a"}
    assert stage.rest("POST", "/api/auth", body, namespace=None).status == 429
    assert stage.rest("POST", "/api/auth", {"accessToken": TOKEN}, namespace=None).status == 200


# --- sockets --------------------------------------------------------------------------------------


def test_a_socket_without_a_place_is_closed_so_that_its_client_tries_again() -> None:
    stage = Stage()
    stage.hub.cli.places = Places("sockets", CAPACITY)
    peers = [stage.connect("a") for _ in range(CAPACITY.per_namespace)]
    assert stage.refused(token=f"{TOKEN}:a") == "hung up"
    assert isinstance(stage.connect(), MemoryPeer)
    peers[0].drop()
    stage.connect("a")
    for peer in list(stage.sockets.peers):
        peer.drop()
    assert stage.hub.cli.places.taken == 0
