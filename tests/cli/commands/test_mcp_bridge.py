"""`hapi mcp --url`: messages of an agent for a session's HTTP MCP server."""

from __future__ import annotations

import io
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.commands.mcp_bridge import Bridge

TOOLS = [{"name": name} for name in ("change_title", "ping_peer", "list_peers")]


class Server(BaseHTTPRequestHandler):
    """A session's server; `seen` is what it was asked, with the session header."""

    seen: ClassVar[list[tuple[Any, str | None]]] = []

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((message, self.headers["Mcp-Session-Id"]))
        method = message.get("method")
        if "id" not in message:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        results = {
            "initialize": {"protocolVersion": "2025-03-26", "serverInfo": {"name": "HAPI MCP"}},
            "tools/list": {"tools": TOOLS},
        }
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": results.get(method, {})}
        text = json.dumps(answer)
        if method == "tools/call":
            content, kind = f"event: message\ndata: {text}\n\n".encode(), "text/event-stream"
        else:
            content, kind = text.encode(), "application/json"
        self.send_response(500 if method == "broken" else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Mcp-Session-Id", "s1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def url():
    Server.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, *messages: Any, tools: frozenset[str] | None = None) -> dict[Any, Any]:
    """The answers by their ids."""
    out = io.BytesIO()
    lines = [
        each if isinstance(each, bytes) else json.dumps({"jsonrpc": "2.0", **each}).encode()
        for each in messages
    ]
    Bridge(url, tools, out).run(lines)
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    return {each.get("id"): each for each in answers}


def call(number: int, tool: str) -> dict[str, Any]:
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


def test_messages_are_passed_on_within_the_servers_session(url):
    answers = ask(
        url,
        {"id": 1, "method": "initialize"},
        {"method": "notifications/initialized"},
        b"\n",
        call(2, "ping_peer"),
    )
    assert answers[1]["result"]["serverInfo"] == {"name": "HAPI MCP"}
    assert answers[2]["result"] == {}
    assert len(answers) == 2
    assert [session for _, session in Server.seen] == [None, "s1", "s1"]


def test_only_the_chosen_tools_are_offered_and_called(url):
    chosen = frozenset({"ping_peer", "skill_lookup"})
    answers = ask(
        url,
        {"id": 1, "method": "tools/list"},
        call(2, "change_title"),
        call(3, "ping_peer"),
        tools=chosen,
    )
    assert answers[1]["result"]["tools"] == [{"name": "ping_peer"}]
    assert answers[2]["error"]["message"] == "Unknown tool: change_title"
    assert "result" in answers[3]
    assert ask(url, {"id": 1, "method": "tools/list"})[1]["result"]["tools"] == TOOLS


def test_what_the_server_refuses_is_an_error_of_the_call(url):
    answers = ask(url, {"id": 1, "method": "broken"}, {"id": 2, "method": "ping"})
    assert "answered with HTTP 500" in answers[1]["error"]["message"]
    assert "result" in answers[2]


def test_a_server_that_is_gone_is_told_to_the_client():
    answers = ask("http://127.0.0.1:1/", {"id": 1, "method": "initialize"}, b"no JSON")
    assert "does not answer at http://127.0.0.1:1/" in answers[1]["error"]["message"]
    assert answers[None]["error"]["message"] == "Parse error"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 1, "HAPI_HTTP_MCP_URL"),
        (("--url", "ftp://x"), 2, "is no address of an MCP server"),
        (("--url", "http://"), 2, "is no address of an MCP server"),
    ],
)
def test_without_a_server_the_command_says_so(words, code, said, monkeypatch, capfd):
    monkeypatch.delenv("HAPI_MCP_SOCKET", raising=False)
    monkeypatch.delenv("HAPI_HTTP_MCP_URL", raising=False)
    done = CliRunner().invoke(hapi, ["mcp", *words])
    assert done.exit_code == code
    assert said in done.stderr + capfd.readouterr().err


@pytest.mark.parametrize(("socket", "code"), [("", 2), ("/nowhere/x.sock", 1)])
def test_the_session_that_started_the_agent_comes_before_the_variable(socket, code, monkeypatch):
    monkeypatch.setenv("HAPI_HTTP_MCP_URL", "ftp://x")
    monkeypatch.setenv("HAPI_MCP_SOCKET", socket)
    assert CliRunner().invoke(hapi, ["mcp"]).exit_code == code
