"""The MCP server of a session, through the relay that an agent starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hapi import mcp_relay
from hapi.home import Home
from hapi.net.server.unix_port import reachable
from hapi.protocol.mcp.tools import VERSIONS, text_result
from hapi.session.mcp.server import McpServer, remove_unused_sockets


class Tools:
    async def call(self, name: str, arguments: Any) -> Any:
        if name == "change_title" and arguments.get("title") == "broken":
            raise RuntimeError("a bug")
        return text_result(f"{name} {json.dumps(arguments)}")


@pytest.fixture
def server(reactor, home):
    server = McpServer(reactor, home, Tools())  # type: ignore[arg-type]
    server.listen()
    yield server
    server.close()


def run_relay(server: McpServer, *messages: Any) -> Any:
    """The answers that a relay, as an agent starts it, writes to these messages or lines."""
    (offered,) = server.offer()
    lines = [one if isinstance(one, str) else json.dumps(one) for one in messages]

    def run() -> Any:
        done = subprocess.run(
            [offered["command"], *offered["args"]],
            input="".join(f"{line}\n" for line in lines),
            env={item["name"]: item["value"] for item in offered["env"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return deferToThread(run)


def request(number: Any, method: str, **params: Any) -> Any:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("asked", "spoken"), [*((one, one) for one in VERSIONS), ("1999-01-01", "2025-06-18")]
)
async def test_the_version_that_the_client_knows_is_spoken(server, asked, spoken):
    (answer,) = await run_relay(server, request(1, "initialize", protocolVersion=asked))
    assert answer["result"]["protocolVersion"] == spoken
    assert answer["result"]["capabilities"] == {"tools": {"listChanged": False}}
    assert "change_title" in answer["result"]["instructions"]


@pytest.mark.leaves_failures("a tool has a bug")
@pytest_twisted.ensureDeferred
async def test_every_request_is_answered_and_no_notification(server):
    answers = await run_relay(
        server,
        request(1, "initialize", protocolVersion="2025-03-26"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        "this is no message",
        request("two", "ping"),
        request(3, "tools/call", name="list_peers", arguments={"limit": 3}),
        request(4, "tools/call", name="rm", arguments={}),
        request(5, "tools/call"),
        request(6, "resources/list"),
        request(7, "tools/call", name="change_title", arguments={"title": "broken"}),
        request(8, "tools/call", name="list_peers", arguments=[1]),
    )
    by_id = {answer["id"]: answer for answer in answers}
    assert set(by_id) == {1, "two", 3, 4, 5, 6, 7, 8}
    assert by_id["two"]["result"] == {}
    assert by_id[3]["result"] == text_result('list_peers {"limit": 3}')
    assert [by_id[number]["error"]["code"] for number in (4, 5, 6, 7)] == [
        -32602,
        -32602,
        -32601,
        -32603,
    ]
    assert by_id[8]["result"] == text_result("list_peers {}")


@pytest_twisted.ensureDeferred
async def test_each_tool_names_its_arguments(server):
    (answer,) = await run_relay(server, request(1, "tools/list"))
    offered = {
        tool["name"]: (list(tool["inputSchema"]["properties"]), tool["inputSchema"]["required"])
        for tool in answer["result"]["tools"]
    }
    assert offered == {
        "change_title": (["title"], ["title"]),
        "display_image": (["path", "title"], ["path"]),
        "display_video": (["path", "title"], ["path"]),
        "display_media": (["path", "title"], ["path"]),
        "list_peers": (["limit"], []),
        "inspect_peer": (["sessionIdPrefix", "messageLimit"], ["sessionIdPrefix"]),
        "ping_peer": (["sessionIdPrefix", "message"], ["sessionIdPrefix", "message"]),
    }


@pytest_twisted.ensureDeferred
async def test_a_home_with_a_long_path_has_a_server_too(reactor, tmp_path):
    home = Home(tmp_path.resolve() / ("h" * 120)).prepare()
    server = McpServer(reactor, home, Tools())  # type: ignore[arg-type]
    server.listen()
    try:
        assert len(await run_relay(server, request(1, "ping"))) == 1
    finally:
        server.close()


def test_a_socket_that_a_killed_session_left_is_removed(home):
    directory = home.directory("mcp")
    left, used = directory / "1.a.sock", directory / "2.b.sock"
    with socket.socket(socket.AF_UNIX) as dead, reachable(left) as path:
        dead.bind(path)
    with socket.socket(socket.AF_UNIX) as live, reachable(used) as path:
        live.bind(path)
        live.listen()
        remove_unused_sockets(directory)
        assert list(directory.iterdir()) == [used]


def test_the_end_leaves_no_socket(server):
    (offered,) = server.offer()
    server.close()
    assert server.offer() == []
    assert "HAPI_MCP_SOCKET" in str(offered)
    assert list(server._home.directory("mcp").iterdir()) == []


def test_the_relay_loads_the_standard_library_only():
    code = f"exec(open({mcp_relay.__file__!r}).read(), {{}}); import sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in loaded if name.split(".")[0] in ("twisted", "attrs", "hapi")}


@pytest_twisted.ensureDeferred
async def test_a_client_that_reads_no_answers_is_not_read_any_further(server, reactor):
    (offered,) = server.offer()
    path = Path(offered["env"][0]["value"])
    line = (json.dumps(request(1, "tools/list")) + "\n").encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        with reachable(path) as connectable:  # it may be longer than a socket's path may be
            client.connect(connectable)
        client.setblocking(False)
        sent = refusals = 0
        while sent < 20_000_000 and refusals < 50:  # the kernel takes no more if nobody reads
            try:
                sent += client.send(line * 100)
                refusals = 0
            except BlockingIOError:
                refusals += 1
                await deferLater(reactor, 0.02)
        assert sent < 20_000_000
