"""The program of docs/client.md against a hub that is slow to forget answered requests."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

import hapi.client
from hapi.client import HubError, Machine, Message, NotFound, Session, Spawned
from tests.support.hub_stage import result_of
from tests.support.paths import ROOT

REQUEST = {"tool": "Bash", "arguments": {"command": "echo done"}}


@define
class SlowHub:
    """An `ApiClient` whose permission request stays in the session for one event after its
    answer."""

    failure: HubError | None = None  # of the first approval
    events_left: int = 4
    approvals: list[str] = field(factory=list)
    archived: list[str] = field(factory=list)

    async def machines(self) -> list[Machine]:
        return [Machine("m1", active=True)]

    async def spawn(self, machine_id: str, directory: str, agent: str) -> Spawned:
        return Spawned("s1")

    async def send(self, session_id: str, text: str) -> str:
        return "l1"

    async def session(self, session_id: str) -> Session:
        requests = {"r1": REQUEST} if self.events_left > 1 else {}
        return Session(session_id, active=True, agent_state={"requests": requests})

    async def approve(self, session_id: str, request_id: str) -> None:
        self.approvals.append(request_id)
        if self.failure is not None:
            raise self.failure
        if len(self.approvals) > 1:
            raise NotFound(404, "Request not found")

    async def messages(self, session_id: str) -> list[Message]:
        said = "`echo done` ended with 0" if self.events_left == 0 else "wait"
        data = {"type": "codex", "data": {"type": "message", "message": said}}
        return [Message("a", 1, {"role": "agent", "content": data})]

    async def archive(self, session_id: str) -> None:
        self.archived.append(session_id)

    def events(self, session_id: str) -> SlowHub:
        return self

    def close(self) -> None:
        self.events_left = 0

    def __aiter__(self) -> SlowHub:
        return self

    async def __anext__(self) -> None:
        if not self.events_left:
            raise StopAsyncIteration
        self.events_left -= 1


def run(monkeypatch: Any, hub: SlowHub) -> None:
    """Run the example as a program, with `hub` for its client."""
    mains: list[Any] = []
    monkeypatch.setattr("twisted.internet.task.react", mains.append)
    monkeypatch.setattr(hapi.client, "ApiClient", lambda reactor, access: hub)
    monkeypatch.setattr("sys.argv", ["client.py", "http://127.0.0.1:3006", "/project"])
    monkeypatch.setenv("CLI_API_TOKEN", "t" * 40)
    runpy.run_path(str(ROOT / "docs/examples/client.py"), run_name="__main__")
    running: Deferred[None] = mains[0](None)
    result_of(running)


def test_the_example_answers_a_request_once_that_stays_open_after_its_answer(monkeypatch, capsys):
    hub = SlowHub()
    run(monkeypatch, hub)
    assert (hub.approvals, hub.archived) == (["r1"], ["s1"])
    assert capsys.readouterr().out == "`echo done` ended with 0\n"


def test_the_example_goes_on_if_somebody_else_answered_the_request(monkeypatch, capsys):
    hub = SlowHub(NotFound(404, "Request not found"))
    run(monkeypatch, hub)
    assert capsys.readouterr().out == "`echo done` ended with 0\n"


def test_the_example_leaves_no_session_behind_when_it_fails(monkeypatch):
    hub = SlowHub(HubError(500, "broken"))
    with pytest.raises(HubError, match="broken"):
        run(monkeypatch, hub)
    assert hub.archived == ["s1"]
