"""A page, a session and a machine, each at another one of three hubs of one database."""

import base64
import json

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.hub.domain import notifications, termination
from hapi.hub.domain.errors import Conflict, NotFound
from hapi.hub.records import fork
from hapi.protocol.rest.bodies import PostMessage
from tests.support.hub_group import S1, S2, hubs_with_clusters, until

OPENCODE = {"opencodeSessionId": "oc-1", "machineId": "m1"}
FORKS = {"capabilities": {"conversationHistory": {"forkCurrent": True}}}
PATH = f"/api/sessions/{S1}"


@pytest.fixture(autouse=True)
def quick_ends(monkeypatch):
    monkeypatch.setattr(termination, "EXIT_TIMEOUT", 0.2)
    monkeypatch.setattr(notifications, "END_DELAY", 0.0)


@pytest.fixture
def group(shared):
    with hubs_with_clusters("page", "session", "machine", shared=shared) as group:
        yield group


@pytest.fixture
def page(group):
    return group.hubs["page"]


@pytest.fixture
def session(group):
    return group.hubs["session"]


@pytest.fixture
def machine(group):
    return group.hubs["machine"]


class Runner:
    """A runner at a hub. It starts the processes of sessions, each at the hub of `places`."""

    def __init__(self, hub, place):
        self.hub, self.place, self.spawned, self.stopped = hub, place, [], []
        self.name = S1  # of the next session that is started
        self.processes = {}

    async def connect(self, **methods):
        await self.hub.machine("m1")
        self.link = await self.hub.link(
            "machine",
            "m1",
            **{
                "spawn-happy-session": self.spawn,
                "stop-session": self.stop,
                "stop-runner": lambda params: {"message": "stopping"},
                "path-exists": lambda params: {"exists": dict.fromkeys(params["paths"], True)},
                **methods,
            },
        )
        self.link.emit("machine-alive", {"machineId": "m1", "time": self.hub.now()}, keep=False)
        await until(lambda: self.hub.registry.machines["m1"].active)
        return self

    def spawn(self, params):
        self.spawned.append(params)
        return Deferred.fromCoroutine(self._spawn(params))

    async def _spawn(self, params):
        name = params.get("existingSessionId") or self.name
        await self.start(name)
        return {"type": "success", "sessionId": name}

    async def start(self, name, **methods):
        """A process of the session, connected where sessions connect."""
        place = self.place
        if name not in place.registry.sessions and not await place.cluster.know(name):
            await place.session(name, **OPENCODE)
        link = self.processes[name] = await place.link(
            "session", name, **{"killSession": lambda params: self.end(name), **methods}
        )
        alive = {"sid": name, "time": place.now(), "mode": "remote", "thinking": False}
        link.emit("session-alive", alive, keep=False)
        await until(lambda: place.registry.sessions[name].active, "active")
        return link

    def end(self, name):
        reactor.callLater(0, lambda: Deferred.fromCoroutine(self.processes[name].leave()))
        return {"success": True}

    def stop(self, params):
        self.stopped.append(params["sessionId"])
        return {"status": "stopped"}


@pytest.fixture
def runner(session, machine):
    return Runner(machine, session)


async def all_know(group, name=S1, is_active=True):
    hubs = group.hubs.values()
    await until(lambda: all(name in hub.registry.sessions for hub in hubs), "known")
    await until(
        lambda: all(hub.registry.sessions[name].active == is_active for hub in hubs), "active"
    )
    await until(lambda: all("m1" in hub.registry.machines for hub in hubs), "machine")


def home(shared, owner):
    found = shared.homes.get(owner)
    return None if found is None else found.hub


@pytest_twisted.ensureDeferred
async def test_a_session_is_started_and_is_shown_wherever_the_page_is(group, shared, page, runner):
    await runner.connect()
    body = {"directory": "/home/dev", "agent": "opencode"}
    status, found = await page.rest("POST", "/api/machines/m1/spawn", body)
    assert (status, found) == (200, {"type": "success", "sessionId": S1})
    assert len(runner.spawned) == 1
    assert (home(shared, "m1"), home(shared, S1)) == ("machine", "session")
    status, found = await page.rest("GET", PATH)
    assert (status, found["session"]["active"]) == (200, True)
    status, found = await page.rest("POST", f"{PATH}/messages", {"text": "hello", "localId": "l"})
    assert (status, found) == (200, {"ok": True})


@pytest_twisted.ensureDeferred
async def test_a_session_is_resumed_by_a_machine_of_another_hub(group, shared, page, runner):
    await runner.connect()
    await page.session(**OPENCODE)
    await until(lambda: S1 in group.hubs["machine"].registry.sessions)
    status, found = await page.rest("POST", f"{PATH}/resume", {})
    assert (status, found["sessionId"]) == (200, S1)
    assert runner.spawned[0]["existingSessionId"] == S1
    assert home(shared, S1) == "session"


@pytest_twisted.ensureDeferred
async def test_what_a_resumed_session_said_before_moves_to_the_row_that_npms_runner_makes(
    group, shared, page, session, runner
):
    await runner.connect()
    await page.session(**OPENCODE)
    earlier = {"text": "before", "localId": "l"}
    assert (await page.rest("POST", f"{PATH}/messages", earlier))[0] in (200, 409)

    async def as_npm(params):
        await runner.start(S2)
        return {"type": "success", "sessionId": S2}

    runner._spawn = as_npm
    status, found = await page.rest("POST", f"{PATH}/reopen")
    assert (status, found["sessionId"]) == (200, S2)
    assert home(shared, S2) == "session"
    for hub in group.hubs.values():
        await until(lambda hub=hub: S1 not in hub.registry.sessions, "merged")
        status, found = await hub.rest("GET", f"/api/sessions/{S2}/messages")
        assert status == 200
    assert len(runner.spawned) == 1


@pytest_twisted.ensureDeferred
async def test_a_fork_starts_at_a_third_hub(group, shared, page, session, machine, runner):
    await runner.connect()
    runner.place = session
    await page.session(**OPENCODE, **FORKS)
    parent = await page.link("session", S1)
    parent.emit("session-alive", {"sid": S1, "time": page.now(), "mode": "remote"}, keep=False)
    await all_know(group)
    pending = Deferred.fromCoroutine(machine.rest("POST", f"{PATH}/fork", {}))
    await until(lambda: runner.processes, "started")
    (child, link), *_ = runner.processes.items()
    row = await session.store.session_row(child)
    answer = await link.call(
        "update-metadata",
        {
            "sid": child,
            "expectedVersion": row.metadata_version,
            "metadata": {**row.metadata, "opencodeSessionId": "oc-2"},
        },
    )
    assert answer["result"] == "success"
    assert await pending == (200, {"sessionId": child})
    assert (home(shared, S1), home(shared, child)) == ("page", "session")


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_fork_that_fails_at_a_third_hub(
    group, shared, monkeypatch, page, session, machine, runner
):
    monkeypatch.setattr(fork, "ID_TIMEOUT", 0.5)
    await runner.connect()
    await page.session(**OPENCODE, **FORKS)
    parent = await page.link("session", S1)
    parent.emit("session-alive", {"sid": S1, "time": page.now(), "mode": "remote"}, keep=False)
    await all_know(group)
    status, found = await machine.rest("POST", f"{PATH}/fork", {})
    assert status == 409
    assert found["error"] == "Fork failed: the agent did not tell the id of its copy"
    for hub in group.hubs.values():
        await until(lambda hub=hub: set(hub.registry.sessions) == {S1}, "gone")


@pytest_twisted.ensureDeferred
async def test_a_session_whose_process_hangs_is_ended_by_its_machine(
    group, page, session, runner, monkeypatch
):
    monkeypatch.setattr(termination, "KILL_TIMEOUT", 0.2)
    await runner.connect()
    await session.session(**OPENCODE)
    await runner.start(S1, killSession=lambda params: group.never())
    await all_know(group)
    status, found = await page.rest("POST", f"{PATH}/archive")
    assert (status, found) == (200, {"ok": True, "endedBy": "runner"})
    assert runner.stopped == [S1]


@pytest_twisted.ensureDeferred
async def test_a_picture_of_a_session_that_has_ended_is_read_at_its_machine(group, page, runner):
    picture = b"\x89PNG\r\n\x1a\n" + b"x" * 100
    answer = {
        "success": True,
        "content": base64.b64encode(picture).decode(),
        "mimeType": "image/png",
        "size": len(picture),
    }
    await runner.connect(readGeneratedImage=lambda params: answer)
    await page.session(**OPENCODE)
    await until(lambda: "m1" in page.registry.machines)
    status, found = await page.rest("GET", f"{PATH}/generated-images/i1")
    assert (status, found) == (200, picture)


@pytest_twisted.ensureDeferred
async def test_a_file_of_the_scratchlist_goes_with_a_prompt_to_the_session(
    group, page, session, runner
):
    got = []

    def upload(params):
        got.append(base64.b64decode(params["content"]))
        return {"success": True, "path": "/tmp/upload"}

    await runner.connect()
    await session.session(**OPENCODE)
    link = await runner.start(S1, uploadFile=upload)
    heard = []
    link.on_event("update", heard.append)
    await all_know(group)
    file = {
        "filename": "a.txt",
        "content": base64.b64encode(b"kept").decode(),
        "mimeType": "text/plain",
    }
    status, found = await page.rest("POST", f"{PATH}/scratchlist/upload", file)
    assert status == 200, found
    attachment = found["attachment"]
    body = {"text": "look", "localId": "l", "attachments": [attachment]}
    status, found = await page.rest("POST", f"{PATH}/messages", body)
    assert (status, found) == (200, {"ok": True})
    assert got == [b"kept"]
    await until(lambda: heard)
    assert "/tmp/upload" in json.dumps(heard)


@pytest_twisted.ensureDeferred
async def test_a_terminal_takes_a_session_over_from_another_hub(group, page, session, runner):
    await runner.connect()
    await session.session(**OPENCODE)

    def hand_off(params):
        link = runner.processes[S1]
        end = {"sid": S1, "time": session.now(), "reason": "handoff"}
        link.emit("session-end", end)
        reactor.callLater(0.1, lambda: Deferred.fromCoroutine(link.leave()))
        return {"ok": True}

    await runner.start(S1, **{"handoff-local": hand_off, "handoffLocal": hand_off})
    await all_know(group)
    status, found = await page.rest("POST", f"/cli/sessions/{S1}/handoff-local", {})
    assert status == 200, found
    link = await page.link("session", S1)
    assert link.connected


@pytest_twisted.ensureDeferred
async def test_a_question_is_answered_once_whatever_hub_the_answers_come_to(
    group, page, session, machine, runner
):
    """As they come from a notification and from Telegram."""
    await runner.connect()
    await session.session(**OPENCODE)
    got = []
    link = await runner.start(S1, permission=lambda params: got.append(params) or {"ok": True})
    state = {"requests": {"r1": {"tool": "Bash", "arguments": {}}}}
    await link.call("update-state", {"sid": S1, "expectedVersion": 1, "agentState": state})
    await all_know(group)
    await until(lambda: "r1" in page.registry.sessions[S1].requests)
    known = page.registry.sessions[S1]
    request = known.requests["r1"]
    answer = {"id": "r1", "approved": True}
    await page.hub.documents.answer_request(known, answer, request)
    status, _ = await machine.rest("POST", f"{PATH}/permissions/r1/approve", {})
    assert status == 404  # an answer is on its way
    assert got == [answer]


@pytest_twisted.ensureDeferred
async def test_a_prompt_from_telegram_reaches_a_session_at_another_hub(
    group, page, session, runner
):
    await runner.connect()
    await session.session(**OPENCODE)
    link = await runner.start(S1)
    heard = []
    link.on_event("update", heard.append)
    await all_know(group)
    known = page.registry.sessions[S1]
    await page.hub.messages.post(known, PostMessage(text="from afar", local_id="telegram-1"))
    await until(lambda: "from afar" in json.dumps(heard))
    await page.hub.messages.post(known, PostMessage(text="from afar", local_id="telegram-1"))
    _status, found = await page.rest("GET", f"{PATH}/messages")
    assert len(found["messages"]) == 1


@pytest_twisted.ensureDeferred
async def test_what_a_home_refuses_is_raised_as_the_same_at_the_hub_that_asked(
    group, page, session, runner
):
    await runner.connect()
    await session.session(**OPENCODE)
    await runner.start(S1, permission=lambda params: {"error": "too late"})
    await all_know(group)
    known = page.registry.sessions[S1]
    with pytest.raises(Conflict, match="too late"):
        await page.hub.documents.answer_request(known, {"id": "r1", "approved": True}, {})
    with pytest.raises(NotFound):
        await page.registry.peers.work(S1, "archive", {"session": S2}, None)


@pytest_twisted.ensureDeferred
async def test_a_session_is_listed_renamed_archived_and_deleted_from_any_hub(
    group, page, session, machine, runner
):
    await runner.connect()
    await session.session(**OPENCODE)
    await runner.start(S1)
    await all_know(group)
    assert (await machine.rest("PATCH", PATH, {"name": "x"}))[0] == 200
    _status, found = await page.rest("GET", "/api/sessions")
    assert [each["metadata"]["name"] for each in found["sessions"]] == ["x"]
    assert (await page.rest("POST", f"{PATH}/archive"))[0] == 200
    await all_know(group, is_active=False)
    await until(lambda: not session.registry.rooms.room(f"session:{S1}"))
    assert await machine.rest("DELETE", PATH) == (200, {"ok": True})
    await until(lambda: not any(hub.registry.sessions for hub in group.hubs.values()))
    assert (await page.rest("GET", PATH))[0] == 404


@pytest_twisted.ensureDeferred
async def test_a_session_that_was_just_created_elsewhere_is_found_at_once(
    group, shared, page, session
):
    shared.delay = None  # nobody hears of anything before it asks
    await session.session(**OPENCODE)
    status, found = await page.rest("GET", PATH)
    assert (status, found["session"]["id"]) == (200, S1)
    assert (await page.rest("PATCH", PATH, {"name": "x"}))[0] == 200
    await deferLater(reactor, 0)
