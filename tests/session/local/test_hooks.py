"""Hook calls of an agent's own program, through the forwarder that the program starts."""

from __future__ import annotations

import json
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from hapi.session.local.hooks import SOCKET_NAME, HookConnection, HookServer


@pytest.fixture
def calls():
    return []


@pytest.fixture
def server(tmp_path, calls):
    server = HookServer(reactor, tmp_path, calls.append)
    server.listen()
    yield server
    server.close()


def forward(server, told):
    """What the program's hook prints, and its exit code."""

    def run():
        text = told if isinstance(told, str) else json.dumps(told)
        done = subprocess.run(
            server.command("claude"),
            shell=True,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return deferToThread(run)


@pytest_twisted.ensureDeferred
async def test_a_call_is_told_and_its_answer_printed(server, calls):
    server.handle = lambda call: (calls.append(call.told), call.reply({"is": "so"}))
    assert await forward(server, {"hook_event_name": "Stop", "text": "grüße " * 50_000}) == (
        0,
        '{"is": "so"}',
        "",
    )
    assert calls[0]["hook_event_name"] == "Stop"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("told", ["not json", "", "[]"])
async def test_rubbish_is_answered_with_nothing(server, calls, told):
    assert await forward(server, told) == (0, "", "")
    assert calls == []


@pytest_twisted.ensureDeferred
async def test_a_call_that_cannot_be_handled_holds_nothing_up(server, logged_failures):
    def broken(call):
        raise RuntimeError("a bug")

    server.handle = broken
    assert await forward(server, {}) == (0, "", "")
    logged_failures.take(RuntimeError)


@pytest_twisted.ensureDeferred
async def test_the_program_goes_on_when_the_session_is_gone(server):
    server.close()
    assert await forward(server, {"hook_event_name": "Stop"}) == (0, "", "")


@pytest_twisted.ensureDeferred
async def test_calls_that_wait_go_on_when_the_session_ends(server):
    asked = Deferred()
    server.handle = asked.callback
    answer = forward(server, {"hook_event_name": "PermissionRequest"})
    await asked
    server.close()
    assert await answer == (0, "", "")


@pytest_twisted.ensureDeferred
async def test_a_program_that_no_longer_waits_is_noticed(server):
    asked, gone = Deferred(), Deferred()

    def handle(call):
        call.on_gone = lambda: gone.callback(None)
        asked.callback(call)

    server.handle = handle
    process = subprocess.Popen(
        server.command("claude"), shell=True, stdin=subprocess.PIPE, start_new_session=True
    )
    process.stdin.write(b"{}")
    process.stdin.close()
    call = await asked
    subprocess.run(["kill", "--", f"-{process.pid}"], check=True)
    process.wait()
    await gone
    call.reply({"too": "late"})


def test_the_socket_is_the_users_alone(server, tmp_path):
    assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("head", [b"9" * 5000, b"9" * 19, b"-1", b"", b"\xd9\xa1"])
def test_a_call_of_no_length_is_answered_with_nothing(server, calls, head):
    connection, transport = HookConnection(server), StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(head + b"\n{}")
    assert transport.disconnecting
    assert (transport.value(), calls) == (b"", [])
