"""`hapi mcp` as an agent uses it, with a hub, a runner and a session around them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import OUR_HAPI, Cast
from tests.support.pictures import png
from tests.support.programs import CANARY, until
from tests.support.tool_sessions import ToolSessions

pytestmark = pytest.mark.program
RED = png(3, 2, b"\xff\0\0")
TOOLS = [
    *("change_title", "display_image", "display_video", "display_media"),
    *("list_peers", "inspect_peer", "ping_peer"),
]


@pytest.fixture
def place(on_stage, tmp_path):
    return ToolSessions(on_stage(Cast(tmp_path / "stage", token=CANARY)))


def test_an_agent_uses_each_tool_of_its_session(place):
    session = place.session()
    introduction = json.loads(place.ask(session, method="initialize"))
    assert introduction["protocolVersion"] == "2025-03-26"
    assert introduction["serverInfo"]["name"] == "hapi"
    listed = json.loads(place.ask(session, method="tools/list"))["tools"]
    assert [tool["name"] for tool in listed] == TOOLS

    place.call(session, "change_title", title="Red squares")
    summary = until(lambda: place.user.session(session)["metadata"].get("summary"))
    assert summary["text"] == "Red squares"

    (place.project / "red.png").write_bytes(RED)
    (place.project / "notes.txt").write_text("words")
    os.mkfifo(place.project / "pipe")
    assert "is shown" in place.call(session, "display_image", path="red.png")
    record = place.image(session)
    assert (record["fileName"], record["mimeType"], record["source"]) == (
        "red.png",
        "image/png",
        {"ingress": "mcp", "toolName": "display_image"},
    )
    assert place.bytes_of(session, record["imageId"]) == RED
    assert "failed: " in place.call(session, "display_image", path="notes.txt")
    assert "not a regular file" in place.call(session, "display_media", path="pipe")
    assert "No such file" in place.call(session, "display_media", path="none")
    assert "is shown" in place.call(session, "display_media", path="notes.txt", title="My notes")
    assert place.image(session)["fileName"] == "My notes"

    assert place.call(session, "list_peers") == "There are no other sessions"
    peer = place.session()
    assert f"{peer}  active=true  flavor=dsh" in place.call(session, "list_peers")
    place.call(session, "ping_peer", sessionIdPrefix=peer[:8], message="hello")
    place.user.heard(peer, "You said hello")
    inspected = place.call(session, "inspect_peer", sessionIdPrefix=peer[:8])
    assert "[user] hello" in inspected
    assert "[agent] You said hello" in inspected
    assert place.call(session, "inspect_peer", sessionIdPrefix="zzzz").startswith(
        "failed: no session matching"
    )


def test_a_picture_outlives_its_session_and_no_socket_does(place):
    session = place.session()
    (place.project / "red.png").write_bytes(RED)
    place.call(session, "display_image", path="red.png")
    image = place.image(session)["imageId"]
    assert len(list((place.home / "mcp").iterdir())) == 1
    place.user.post(f"/api/sessions/{session}/archive")
    place.user.archived(session)
    until(lambda: not list((place.home / "mcp").iterdir()), what="the removal of the socket")
    until(lambda: not place.user.session(session)["active"])
    assert place.bytes_of(session, image) == RED


def test_the_server_gets_no_access_token(place):
    session = place.session()
    place.call(session, "list_peers")
    found = [
        environment
        for path in Path("/proc").glob("[0-9]*/environ")
        if b"HAPI_MCP_SOCKET=" in (environment := quietly_read(path))
        and str(place.home).encode() in environment
    ]
    assert found
    assert not any(CANARY.encode() in environment for environment in found)
    socket = next((place.home / "mcp").iterdir())
    assert socket.stat().st_mode & 0o777 == 0o600


def quietly_read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "settings", [{"mcp": False}, {"agents": {"dsh": {"mcp": False}}}], ids=["all", "one agent"]
)
def test_a_setting_keeps_the_server_from_agents(place, settings):
    if "agents" in settings:
        settings["agents"]["dsh"]["command"] = [str(place.agent)]
    place.configure(settings)
    session = place.session()
    place.user.say(session, "hello")
    place.user.heard(session, "You said hello")
    assert list((place.home / "mcp").glob("*")) == []


def test_an_agent_that_refuses_servers_starts_without_them(on_stage, tmp_path):
    cast = on_stage(Cast(tmp_path / "stage", token=CANARY))
    cast.environment["REFUSES_SERVERS"] = "1"
    place = ToolSessions(cast)
    session = place.session()
    place.user.say(session, "hello")
    place.user.heard(session, "You said hello")


def test_pictures_in_updates_of_an_agent_are_served(place):
    session = place.session()
    block = {"type": "image", "mimeType": "image/png", "data": base64.b64encode(RED).decode()}
    update = {"sessionUpdate": "agent_message_chunk", "content": block}
    place.user.say(session, json.dumps({"updates": [update]}))
    place.user.idle(session)
    assert place.bytes_of(session, place.image(session)["imageId"]) == RED


def run_relay(**environment):
    clean = {name: value for name, value in os.environ.items() if "HAPI_MCP" not in name}
    return subprocess.run(
        [*OUR_HAPI, "mcp"],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, **environment},
    )


def test_a_person_who_starts_it_reads_what_it_is_for():
    run = run_relay()
    assert run.returncode == 1
    assert "`hapi mcp` is not for people" in run.stderr


def test_a_session_that_is_gone_is_told_in_one_sentence():
    run = run_relay(HAPI_MCP_SOCKET="/nowhere/s.sock")
    assert (run.returncode, run.stdout) == (1, "")
    assert "the session does not answer at /nowhere/s.sock" in run.stderr
