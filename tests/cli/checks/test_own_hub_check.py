"""What `hapi doctor` says of the hub of its home, when that does not serve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from hapi.cli.checks.own_hub_check import own_hub_problem
from hapi.home import Home
from hapi.hub.lock import MEMORY, HubLock
from hapi.settings import HubAccess

AWAY = "The hub cannot reach its database"
STANDBY = "This hub is a standby: another hub of the same database serves"
ACTIVE = {"name": "a", "url": "http://10.0.0.5:3006", "role": "active", "isUp": True}


@pytest.fixture
def hub() -> Iterator[Any]:
    """A server that answers with `answers`: status and body by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = server.answers[self.path]  # type: ignore[attr-defined]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def find(home: Home, hub: Any, role: str, answers: dict[str, Any], asked: str = "") -> Any:
    """Finding and text for the hub at `asked`, by default that of `home`, which is called URL."""
    hub.answers = answers
    url = f"http://127.0.0.1:{hub.server_port}"
    lock = HubLock(home, MEMORY)
    lock.acquire()
    try:
        lock.announce(url, role=role)
        check = own_hub_problem(home, HubAccess(asked or url, "t" * 20))
    finally:
        lock.release()
    return check and (check.finding, check.text.replace(url, "URL"))


def unready(reason: str) -> tuple[int, Any]:
    return 503, {"status": "not ready", "error": reason}


def test_a_hub_whose_database_is_away_is_broken_with_what_it_says_itself(home, hub):
    found = find(home, hub, "active", {"/ready": unready(AWAY)})
    assert found == ("broken", f"URL is not ready: {AWAY}")


def test_a_standby_is_a_note_that_names_the_hub_that_serves(home, hub):
    status = 200, {"role": "standby", "hubs": [ACTIVE]}
    found = find(home, hub, "standby", {"/ready": unready(STANDBY), "/api/hub-status": status})
    assert found == ("note", "URL is a standby; hub a at http://10.0.0.5:3006 serves")


def test_a_standby_without_a_hub_that_serves_is_broken(home, hub):
    status = 200, {"role": "standby", "hubs": [{**ACTIVE, "isUp": False}]}
    found = find(home, hub, "standby", {"/ready": unready(AWAY), "/api/hub-status": status})
    assert found == ("broken", f"URL is not ready: {AWAY}")


def test_a_standby_that_refuses_the_access_token_is_broken(home, hub):
    answers = {"/ready": unready(STANDBY), "/api/hub-status": (401, {"error": "wrong"})}
    finding, text = find(home, hub, "standby", answers)
    assert (finding, "refused the access token" in text) == ("broken", True)


def test_a_hub_that_is_ready_or_another_one_is_left_to_the_other_checks(home, hub):
    assert find(home, hub, "active", {"/ready": (200, {"status": "ready"})}) is None
    answers = {"/ready": unready(AWAY)}
    assert find(home, hub, "active", answers, asked="http://127.0.0.1:1") is None
