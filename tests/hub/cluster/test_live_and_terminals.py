"""Live text and terminals of sessions that are at home at another hub."""

import json

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor

from hapi.hub.cluster.cluster import Cluster
from hapi.net.client.connection import Connection
from hapi.net.client.endpoint import hub_endpoint, websocket_url
from hapi.net.common.websocket import ClientSocketFactory
from hapi.protocol.channel import event_text
from tests.support.hub_group import S1, S2, hubs_with_clusters, until


@pytest.fixture
def group():
    with hubs_with_clusters("a", "b", "c") as group:
        yield group


async def session_at(group, home, session_id=S1, **metadata):
    """The link of a session that is active at `home`, which all hubs know."""
    await home.session(session_id, **metadata)
    link = await home.link("session", session_id)
    alive = {"sid": session_id, "time": home.now(), "mode": "remote"}
    link.emit("session-alive", alive, keep=False)
    hubs = group.hubs.values()
    await until(lambda: all(session_id in hub.registry.sessions for hub in hubs))
    await until(lambda: all(hub.registry.sessions[session_id].active for hub in hubs))
    await until(lambda: all(hub is home or hub.cluster.elsewhere(session_id) for hub in hubs))
    return link


# --- live text --------------------------------------------------------------------------------


class Page:
    """An event stream that shows a session."""

    def __init__(self, hub):
        self.hub, self.data, self.response = hub, b"", None

    async def open(self, session_id=S1):
        self.response = await self.hub.begin("GET", f"/api/events?all=true&live={session_id}")
        self.reading = treq.collect(self.response, self.got).addErrback(lambda _: None)
        await until(lambda: self.of("connection-changed"))
        return self

    def got(self, data):
        self.data += data

    def of(self, kind):
        events = [
            json.loads(line.removeprefix(b"data: "))
            for line in self.data.split(b"\n")
            if line.startswith(b"data: ") and line.endswith(b"}")
        ]
        return [event for event in events if event["type"] == kind]

    @property
    def text(self):
        """What the page shows at the moment."""
        blocks = {}
        for event in self.of("session-live"):
            if event.get("whole"):
                blocks = {}
            for block in event["blocks"]:
                before = blocks.get(block["id"], "") if block.get("append") else ""
                blocks[block["id"]] = before + block["text"]
            for name in event.get("ended", ()):
                blocks.pop(name, None)
        return "".join(blocks.values())


class Speaker:
    """A session that says something."""

    def __init__(self, link):
        self.link, self.number, self.text, self.asked = link, 0, "", []
        link.on_event("session-live", self.asked.append)

    def say(self, text, whole=False):
        self.number += 1
        self.text += text
        block = {"id": "m1", "type": "message", "text": self.text if whole else text}
        update = {"sid": S1, "epoch": "e", "number": self.number, "blocks": [block]}
        if whole:
            update["whole"] = True
        else:
            block["append"] = True
        self.link.emit("session-live", update, keep=False)

    @property
    def is_watched(self):
        told = [each["watched"] for each in self.asked if "watched" in each]
        return bool(told) and told[-1]


@pytest_twisted.ensureDeferred
async def test_pages_at_all_hubs_read_what_a_session_says_as_it_says_it(group, a, b):
    speaker = Speaker(await session_at(group, a))
    pages = [await Page(hub).open() for hub in group.hubs.values()]
    second = await Page(b).open()
    await until(lambda: speaker.is_watched)
    speaker.say("Hello", whole=True)
    pages.append(second)
    await until(lambda: all(page.text == "Hello" for page in pages))
    for word in (", ", "wor", "ld"):
        speaker.say(word)
    await until(lambda: all(page.text == "Hello, world" for page in pages))
    late = await Page(b).open()
    await until(lambda: late.text == "Hello, world")
    # One stream for each hub, whatever the number of pages.
    assert a.registry.events.live_readers == 3


@pytest_twisted.ensureDeferred
async def test_a_session_is_told_when_the_last_page_at_another_hub_has_gone(group, a, b):
    speaker = Speaker(await session_at(group, a))
    page = await Page(b).open()
    await until(lambda: speaker.is_watched)
    b.hub.streams.stop()
    await page.reading
    await until(lambda: not speaker.is_watched)
    assert not b.connections._live._readings


@pytest_twisted.ensureDeferred
async def test_a_block_whose_record_is_stored_is_not_shown_to_who_comes_later(group, a, b):
    link = await session_at(group, a)
    speaker = Speaker(link)
    page = await Page(b).open()
    await until(lambda: speaker.is_watched)
    speaker.say("Hello", whole=True)
    await until(lambda: page.text == "Hello")
    record = {
        "role": "agent",
        "content": {
            "type": "codex",
            "data": {"type": "message", "message": "Hello", "id": "m1"},
        },
    }
    link.emit("message", {"sid": S1, "message": record, "localId": "l1"})
    await until(lambda: page.of("message-received"))
    late = await Page(b).open()
    await until(lambda: late.of("session-live"))
    assert late.text == ""


@pytest_twisted.ensureDeferred
async def test_live_text_goes_on_when_the_session_moves_to_another_hub(group, a, b):
    speaker = Speaker(await session_at(group, a))
    page = await Page(b).open()
    await until(lambda: speaker.is_watched)
    speaker.say("Hello", whole=True)
    await until(lambda: page.text == "Hello")
    await a.die()
    for link in a.links:
        await link.stopService()
    again = await group.hubs["c"].link("session", S1)
    moved = Speaker(again)
    await until(lambda: moved.is_watched)
    moved.say("Here again", whole=True)
    await until(lambda: page.text == "Here again")


# --- terminals --------------------------------------------------------------------------------


class Shell:
    """A page's socket of the namespace /terminal: a ConnectionListener."""

    def __init__(self, hub):
        self.hub, self.heard, self.ended, self.joined = hub, [], None, False
        self.acks, self.refused = [], None

    async def open(self):
        factory = ClientSocketFactory(reactor, websocket_url(self.hub.url), {}, self.begin)
        await hub_endpoint(reactor, self.hub.url).connect(factory)
        await until(lambda: self.joined)
        return self

    def begin(self, socket):
        auth = {"token": self.hub.web_token}
        self.connection = Connection.begin(reactor, socket, self, "/terminal", auth)
        return self.connection

    def send(self, name, ack=None, **payload):
        self.connection.send(event_text("/terminal", f"terminal:{name}", (payload,), ack))

    def of(self, name):
        return [payload for kind, payload in self.heard if kind == f"terminal:{name}"]

    async def close(self):
        self.connection.leave()
        await until(lambda: self.ended)

    def connection_opened(self, connection, date): ...
    def connection_joined(self, connection):
        self.joined = True

    def connection_refused(self, connection, message):
        self.refused = message

    def connection_event(self, connection, event):
        self.heard.append((event.name, event.args[0]))

    def connection_acked(self, connection, acked):
        self.acks.append(acked)

    def connection_writable_changed(self, connection, writable): ...
    def connection_ended(self, connection, reason, cause):
        self.ended = reason or "lost"


class Terminal:
    """The session's side: answers what a page types."""

    def __init__(self, link, session_id=S1):
        self.link, self.session_id, self.asked = link, session_id, []
        for name in ("open", "write", "resize", "close", "attach"):
            link.on_event(f"terminal:{name}", lambda given, name=name: self.got(name, given))

    def got(self, name, given):
        self.asked.append((name, given))
        facts = {"sessionId": self.session_id, "terminalId": given["terminalId"]}
        if name == "open":
            self.link.send("terminal:ready", facts)
        if name == "write":
            self.link.send("terminal:output", {**facts, "data": f"<{given['data']}>"})

    def of(self, name):
        return [given for kind, given in self.asked if kind == name]


@pytest_twisted.ensureDeferred
async def test_a_page_at_another_hub_has_a_terminal(group, a, b):
    terminal = Terminal(await session_at(group, a))
    page = await Shell(b).open()
    page.send("create", sessionId=S1, terminalId="t1", cols=80, rows=24)
    page.send("write", terminalId="t1", data="ls")  # before the relay is open
    await until(lambda: page.of("ready"))
    await until(lambda: [each["data"] for each in page.of("output")] == ["<ls>"])
    page.send("resize", terminalId="t1", cols=100, rows=30)
    await until(lambda: terminal.of("resize"))
    page.send("list", ack=7, sessionId=S1)
    await until(lambda: page.acks)
    assert page.acks[0].ack == 7
    assert page.acks[0].args[0]["terminals"][0]["terminalId"] == "t1"
    page.send("close", terminalId="t1")
    await until(lambda: terminal.of("close"))
    await page.close()
    await until(lambda: not a.hub.terminals._expiries)


@pytest_twisted.ensureDeferred
async def test_a_page_has_terminals_at_several_hubs_at_once(group, a, b):
    here, there = Terminal(await session_at(group, b)), Terminal(await session_at(group, a, S2), S2)
    page = await Shell(b).open()
    page.send("create", sessionId=S1, terminalId="t1", cols=80, rows=24)
    page.send("create", sessionId=S2, terminalId="t2", cols=80, rows=24)
    await until(lambda: len(page.of("ready")) == 2)
    page.send("write", terminalId="t1", data="one")
    page.send("write", terminalId="t2", data="two")
    await until(lambda: len(page.of("output")) == 2)
    assert [each["data"] for each in here.of("write")] == ["one"]
    assert [each["data"] for each in there.of("write")] == ["two"]
    await page.close()


@pytest_twisted.ensureDeferred
async def test_a_page_connects_again_when_the_home_of_its_terminal_dies(group, a, b):
    Terminal(await session_at(group, a))
    page = await Shell(b).open()
    page.send("create", sessionId=S1, terminalId="t1", cols=80, rows=24)
    await until(lambda: page.of("ready"))
    await a.die()
    await until(lambda: page.ended)
    assert page.refused is None


@pytest_twisted.ensureDeferred
async def test_a_page_connects_again_when_the_session_of_its_terminal_moves(group, a, b):
    Terminal(await session_at(group, b))
    page = await Shell(b).open()
    page.send("create", sessionId=S1, terminalId="t1", cols=80, rows=24)
    await until(lambda: page.of("ready"))
    assert isinstance(a.cluster, Cluster)
    assert await a.cluster.claim(S1)
    await until(lambda: page.ended)
    assert len(b.hub.terminals.terminals) == 0


@pytest_twisted.ensureDeferred
async def test_a_terminal_of_a_hub_that_is_not_there_is_refused(group, a, b):
    await session_at(group, a)
    page = await Shell(b).open()
    await a.die()
    page.send("create", sessionId=S1, terminalId="t1", cols=80, rows=24)
    await until(lambda: page.of("error"))
    assert page.of("error")[0]["message"] == "Session is inactive or unavailable."
    await page.close()
