"""OpenCode's own program with a stand-in for its server, on a real port."""

import json
import stat
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from hapi.protocol.permissions import PermissionAnswer
from hapi.session.local import opencode
from hapi.session.local.interface import LocalStart
from tests.support.recording_mirror import RecordingMirror

SAMPLE = Path(__file__).parent / "samples/opencode-1.18.33.jsonl"
EVENTS = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
SESSION = "ses_de2cb0037ffegRr7NLychrCNBz"
BEGIN = EVENTS[0]["properties"]["info"]["time"]["created"]
TIMEOUT = 60.0  # seconds; the machine may be busy


def messages_after(events):
    found = {}
    for event in events:
        properties = event["properties"]
        if event["type"] == "message.updated":
            found.setdefault(properties["info"]["id"], {})["info"] = properties["info"]
        elif event["type"] == "message.part.updated":
            part = properties["part"]
            found[part["messageID"]].setdefault("parts", {})[part["id"]] = part
    return [{**each, "parts": list(each.get("parts", {}).values())} for each in found.values()]


class Server(Resource):
    """OpenCode's server: `events` go to the stream, `answers` has what paths answer."""

    isLeaf = True

    def __init__(self, port, password):
        super().__init__()
        self.stream, self.posted, self.password, self.answers = None, [], password, {}
        self.port = reactor.listenTCP(port, Site(self), interface="127.0.0.1")

    def render(self, request):
        assert request.getUser() == b"opencode"
        assert request.getPassword() == self.password.encode()
        path = request.path.decode()
        if request.method == b"POST":
            self.posted.append((path, json.loads(request.content.read())))
            return b"true"
        if path == "/event":
            self.stream = request
            request.write(b'data: {"type": "server.connected", "properties": {}}\n\n')
            return NOT_DONE_YET
        return json.dumps(self.answers.get(path, [])).encode()

    def send(self, *events):
        for event in events:
            self.stream.write(b"data: " + json.dumps(event).encode() + b"\n\n")

    def lose(self):
        self.stream.transport.loseConnection()
        self.stream = None


async def until(fact):
    end = reactor.seconds() + TIMEOUT
    while not fact():
        assert reactor.seconds() < end, "it did not happen"
        await deferLater(reactor, 0.01)


class Stage:
    def __init__(self, path, **given):
        self.mirror = RecordingMirror()
        given = {"checkpoint": {"session": given.get("agent_session"), "since": BEGIN}, **given}
        start = LocalStart(str(path / "opencode"), "row", str(path), {}, path, **given)
        self.program = opencode.own_program(reactor, start, self.mirror)

    def serve(self):
        launch = self.program.prepare()
        self.server = Server(int(launch.argv[2]), launch.environ["OPENCODE_SERVER_PASSWORD"])
        self.program.started(0)
        return self.server

    async def end(self):
        self.server.port.stopListening()
        self.server.lose()
        await self.program.stop()


@pytest_twisted.ensureDeferred
async def test_events_are_reported_and_the_page_answers_through_the_server(tmp_path):
    stage = Stage(tmp_path)
    server = stage.serve()
    await until(lambda: server.stream is not None)
    server.send(*EVENTS[:23])
    await until(lambda: stage.mirror.answers)
    [(request, reply)] = stage.mirror.answers.items()
    reply(PermissionAnswer(request, True, "approved"))
    await until(lambda: server.posted)
    assert server.posted == [(f"/permission/{request}/reply", {"reply": "once"})]
    stage.program.interrupt()
    await until(lambda: len(server.posted) == 2)
    assert server.posted[1] == (f"/session/{SESSION}/abort", {})
    await stage.end()
    assert stage.mirror.story()[-2:] == ["failed", "ends"]


@pytest_twisted.ensureDeferred
async def test_what_happens_while_the_stream_is_lost_is_read_when_it_is_there_again(tmp_path):
    stage = Stage(tmp_path, agent_session=SESSION)
    server = stage.serve()
    await until(lambda: server.stream is not None)
    server.send(*EVENTS[:12])
    await until(lambda: stage.mirror.of("prompt"))
    server.answers[f"/session/{SESSION}/message"] = messages_after(EVENTS[:49])
    server.answers["/session/status"] = {}
    server.lose()
    await until(lambda: stage.mirror.of("thinking")[-1:] == [False])
    assert [line for line in stage.mirror.story() if line.startswith("message")] == [
        "message: I will run it.",
        "message: Output: hello",
    ]
    await until(lambda: server.stream is not None)
    server.send(*EVENTS[49:])
    await until(lambda: "- Session aborted" in stage.mirror.story())
    assert len(stage.mirror.of("prompt")) == 4
    await stage.end()


@pytest_twisted.ensureDeferred
async def test_rubbish_from_the_server_does_not_end_the_session(tmp_path):
    stage = Stage(tmp_path, agent_session=SESSION)
    server = stage.serve()
    for path in ("/session", f"/session/{SESSION}/message", "/permission", "/config/providers"):
        server.answers[path] = "rubbish"
    await until(lambda: server.stream is not None)
    server.stream.write(b"data: {\n\ndata: []\n\n\xff\xfe\ndata: 7\n")
    server.send({"type": "message.updated"}, *EVENTS[:12])
    await until(lambda: stage.mirror.of("prompt"))
    await stage.end()


@pytest.mark.parametrize("printed", ["whole", "rubbish", "nothing"])
@pytest_twisted.ensureDeferred
async def test_after_a_kill_the_conversation_is_read_from_the_storage(tmp_path, printed):
    content = {"whole": json.dumps({"messages": messages_after(EVENTS)}), "rubbish": "{"}
    (tmp_path / "exported").write_text(content.get(printed, ""))
    program = tmp_path / "opencode"
    program.write_text(f'#!/bin/sh\n[ "$2" = {SESSION} ] && exec /bin/cat exported\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    stage = Stage(tmp_path, agent_session=SESSION)
    await stage.program.stop()
    assert len(stage.mirror.of("prompt")) == (4 if printed == "whole" else 0)
