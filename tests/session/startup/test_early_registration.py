"""The first words, over real sockets to a small server of the test."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import define, field

from hapi.home import Home
from hapi.net.common.errors import HubBusy, HubRefused, HubUnreachable
from hapi.session.startup.early_registration import (
    EarlyRegistration,
    RegistrationPlan,
    announce,
    control_port,
    register,
)
from hapi.settings import HubAccess

ROW = {"id": "sid", "metadata": None}


@define(eq=False)
class Server:
    """Answers what the test put under a path; keeps what was asked."""

    answers: dict[str, tuple[int, str, bytes]] = field(factory=dict)
    asked: list[tuple[str, str, dict, object]] = field(factory=list)
    chunked: bool = False
    http: ThreadingHTTPServer = None

    def start(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or b"null")
                server.asked.append((self.command, self.path, dict(self.headers), body))
                status, kind, content = server.answers.get(
                    self.path, (404, "application/json", b'{"error":"Session not found"}')
                )
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if server.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for index in range(0, len(content), 7):
                        piece = content[index : index + 7]
                        self.wfile.write(f"{len(piece):x};x=1\r\n".encode() + piece + b"\r\n")
                    self.wfile.write(b"0\r\nTrailer: 1\r\n\r\n")
                else:
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    def has(self, path, value, status=200, kind="application/json"):
        self.answers[path] = (
            status,
            kind,
            value if isinstance(value, bytes) else json.dumps(value).encode(),
        )


@pytest.fixture
def server():
    started = Server().start()
    started.has("/cli/machines", {"machine": {}})
    started.has("/cli/sessions", {"session": ROW})
    started.has("/session-started", {"status": "ok"})
    yield started
    started.http.shutdown()
    started.http.server_close()


def plan(server, existing=None, port=None, headers=None):
    access = HubAccess(
        server.url if isinstance(server, Server) else server, "secret", headers or {}
    )
    body = None if existing else {"tag": "t", "metadata": {"path": "/w"}, "agentState": None}
    return RegistrationPlan(
        access,
        {"id": "m"},
        body,
        existing,
        lambda row: {"sessionId": row["id"], "metadata": {"hostPid": 7}},
        port,
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_machine_then_session_then_announcement(server, chunked):
    server.chunked = chunked
    outcome = register(plan(server, port=server.http.server_port))
    assert (outcome.row, outcome.problem, outcome.announced) == (ROW, None, True)
    assert [(method, path) for method, path, *_ in server.asked] == [
        ("POST", "/cli/machines"),
        ("POST", "/cli/sessions"),
        ("POST", "/session-started"),
    ]
    assert server.asked[0][2]["Authorization"] == "Bearer secret"
    assert "Authorization" not in server.asked[2][2]
    assert server.asked[2][3] == {"sessionId": "sid", "metadata": {"hostPid": 7}}
    assert server.asked[2][2]["Host"] == f"127.0.0.1:{server.http.server_port}"


def test_an_existing_session_is_loaded_and_not_made(server):
    server.has("/cli/sessions/a%2Fb", {"session": {**ROW, "id": "a/b"}})
    assert register(plan(server, existing="a/b")).row["id"] == "a/b"
    assert [method for method, *_ in server.asked] == ["POST", "GET"]


def test_extra_headers_go_along_and_replace_none_of_ours(server):
    register(
        plan(
            server,
            headers={
                "X-Gate": "open",
                "authorization": "Basic x",
                "Bad\r\nName": "x",
                "Host": "evil",
            },
        )
    )
    headers = server.asked[0][2]
    assert (headers["X-Gate"], headers["Authorization"]) == ("open", "Bearer secret")
    assert headers["Host"].startswith("127.0.0.1")


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected", "words"),
    [
        (401, "application/json", {"error": "Invalid token"}, HubRefused, "Invalid token"),
        (404, "application/json", {"error": "Session not found"}, HubRefused, "Session not found"),
        (302, "text/html", b"", HubRefused, "redirects elsewhere"),
        (200, "text/html", b"<html>", HubRefused, "is this a hub?"),
        (200, "application/json", b"{", HubRefused, "not JSON"),
        (200, "application/json", {"machine": 3}, HubRefused, "without a machine"),
        (503, "application/json", {"error": "Not ready"}, HubUnreachable, "HTTP 503: Not ready"),
        (500, "text/plain", b"oh", HubUnreachable, "HTTP 500"),
        (429, "application/json", {"error": "Wait"}, HubBusy, "try again later: Wait (HTTP 429)"),
    ],
)
def test_other_answers_are_refusals_or_worth_another_try__N15(
    server, status, kind, body, expected, words
):
    server.has("/cli/machines", body, status, kind)
    problem = register(plan(server, port=server.http.server_port)).problem
    assert isinstance(problem, expected)
    assert words in str(problem)
    assert len(server.asked) == 1


def test_a_hub_that_is_not_there_is_worth_another_try(server):
    server.http.shutdown()
    server.http.server_close()
    problem = register(plan(server.url)).problem
    assert isinstance(problem, HubUnreachable)
    assert "connection refused" in str(problem)
    unknown = register(plan("http://no.such.host.invalid")).problem
    assert "cannot be resolved" in str(unknown)


def test_a_runner_that_refuses_or_is_gone_is_not_told(server):
    server.has("/session-started", {"error": "no"}, 403)
    assert not register(plan(server, port=server.http.server_port)).announced
    assert announce(server.http.server_port, {}) == 403
    server.http.shutdown()
    server.http.server_close()
    assert announce(server.http.server_port, {}) is None


def test_whoever_asks_late_hears_the_outcome_too(server):
    first, heard = EarlyRegistration(plan(server)).begin(), threading.Event()
    outcomes = []
    first.when_done(lambda outcome: (outcomes.append(outcome), heard.set()))
    assert heard.wait(10)
    first.when_done(outcomes.append)
    assert [outcome.row for outcome in outcomes] == [ROW, ROW]


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (None, False),
        ({}, False),
        ([], False),
        ({"pid": os.getpid(), "httpPort": 80}, True),
        ({"pid": os.getpid(), "httpPort": "80"}, False),
        ({"pid": 2**31 + 5, "httpPort": 80}, False),
        ({"pid": -1, "httpPort": 80}, False),
        ({"pid": 2**22 + 1, "httpPort": 80}, False),
    ],
)
def test_only_a_living_runner_is_announced_to(home: Home, state, found):
    if state is not None:
        home.runner_state.write_text(json.dumps(state))
    assert control_port(home) == (80 if found else None)


def test_a_broken_state_file_names_no_runner(home: Home):
    home.runner_state.write_text("{")
    assert control_port(home) is None
