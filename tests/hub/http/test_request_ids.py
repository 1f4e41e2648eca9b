"""The id of a request in the hub's answers and in its log, up to the store's failures."""

from __future__ import annotations

import json

import pytest
from twisted.logger import globalLogPublisher

from hapi.hub.http.site import HostPolicy
from hapi.hub.store.interface import StoreFull
from hapi.log import json_line
from hapi.redaction import Secrets
from tests.support.hub_wire import HubWire


@pytest.fixture
def lines():
    found = []

    def observe(event):
        found.append(json.loads(json_line(event, Secrets())))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/sessions/none", 404),
        ("GET", "/cli/sessions/none", 404),
        ("POST", "/api/auth", 400),
        ("GET", "/cli/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/events?sessionId=none", 404),
    ],
)
def test_an_error_has_the_id_in_header_and_json(method, path, status):
    answer = HubWire().ask(method, path, headers={"X-Request-Id": "proxy-1"})
    assert (answer.status, answer.headers["x-request-id"]) == (status, "proxy-1")
    assert answer.body["requestId"] == "proxy-1"


def test_a_success_of_any_kind_has_the_id_in_its_header():
    wire = HubWire()
    for path in ("/health", "/api/sessions", "/", "/api/events?all=1"):
        assert wire.ask("GET", path, headers={"X-Request-Id": "p"}).headers["x-request-id"] == "p"


def test_a_wrong_host_name_has_an_id():
    answer = HubWire(host_policy=HostPolicy(frozenset({"hub.example"}))).ask(
        "GET", "/health", headers={"Host": "evil.example"}
    )
    assert answer.status == 421
    assert answer.body["requestId"] == answer.headers["x-request-id"]


def test_an_unexpected_error_is_logged_with_the_id_that_its_client_got(lines, logged_failures):
    wire = HubWire()
    wire.stage.registry.sessions = None  # type: ignore[assignment]
    answer = wire.ask("GET", "/api/sessions")
    assert answer.status == 500
    logged_failures.take(AttributeError)
    line = next(line for line in lines if "failure" in line)
    assert line["request_id"] == answer.headers["x-request-id"]


def test_a_failure_that_the_hub_expects_is_logged_with_the_id(lines, monkeypatch):
    wire = HubWire()

    async def full(*_, **_named):
        raise StoreFull("no space left for the database")

    monkeypatch.setattr(wire.stage.registry.store, "create_session", full)
    body = {"tag": "t", "metadata": {"path": "/w", "host": "h"}}
    answer = wire.ask("POST", "/cli/sessions", body)
    assert answer.status == 507
    line = next(line for line in lines if line.get("status") == 507)
    assert line["request_id"] == answer.body["requestId"]


def test_other_pages_may_read_the_id():
    answer = HubWire(host_policy=HostPolicy(origins=frozenset({"https://page.example"}))).ask(
        "GET", "/health", headers={"Origin": "https://page.example"}
    )
    assert answer.headers["access-control-expose-headers"] == "X-Request-Id"


def test_the_runner_that_is_asked_is_given_the_id():
    wire = HubWire()
    machine, peer = wire.stage.machine()
    peer.serve(machine, "path-exists")
    path = f"/api/machines/{machine}/paths/exists"
    wire.begin("POST", path, {"paths": ["/w"]}, headers={"X-Request-Id": "proxy-1"})
    (asked,) = peer.events("rpc-request")
    assert asked == {
        "method": f"{machine}:path-exists",
        "params": '{"paths":["/w"]}',
        "requestId": "proxy-1",
    }
