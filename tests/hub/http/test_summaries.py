"""The list of sessions from kept JSON: whatever happens, it is what would be made anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hapi.hub.domain.views import summary_view
from hapi.hub.http import summaries
from tests.support.hub_stage import Stage, result_of, waits

TEXT = st.text(max_size=8)
INDEX = st.integers(0, 3)
TODO = {"content": "a", "status": "completed"}


def fresh(stage: Stage, namespace: str = "default") -> list[dict[str, Any]]:
    """The list made from nothing that is kept, in the order of its documentation."""
    from twisted.internet.defer import Deferred

    registry = stage.registry
    scheduled = result_of(
        Deferred.fromCoroutine(registry.store.scheduled(namespace, registry.now()))
    )
    shown = registry.sessions_of(namespace)
    shown.sort(
        key=lambda session: (
            not session.row.global_pinned,
            not session.row.pinned,
            not session.active,
            -(len(session.requests) if session.active else 0),
            -session.row.updated_at,
        )
    )
    views = [summary_view(session, scheduled.get(session.id)) for session in shown]
    return list(json.loads(json.dumps(views)))


class Lists(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.stage = Stage()
        self.sessions: list[Any] = []

    def pick(self, index: int) -> Any:
        return self.sessions[index % len(self.sessions)] if self.sessions else None

    @rule(name=TEXT)
    def create(self, name: str) -> None:
        if len(self.sessions) < 4:
            tag = f"tag-{len(self.stage.registry.sessions)}-{name.encode().hex()}"
            session_id = self.stage.session(tag=tag, name=name)
            self.sessions.append((session_id, self.stage.connect(sessionId=session_id)))

    @rule(index=INDEX, thinking=st.booleans(), model=st.none() | st.just("m"))
    def alive(self, index: int, thinking: bool, model: str | None) -> None:
        if picked := self.pick(index):
            self.stage.alive(picked[1], picked[0], thinking=thinking, model=model)

    @rule(index=INDEX, text=TEXT, by_person=st.booleans())
    def message(self, index: int, text: str, by_person: bool) -> None:
        if picked := self.pick(index):
            role = "user" if by_person else "agent"
            content = {"role": role, "content": {"type": "text", "text": text}}
            picked[1].send("message", {"sid": picked[0], "message": content})

    @rule(index=INDEX, ahead=st.integers(1, 100))
    def schedule(self, index: int, ahead: int) -> None:
        if picked := self.pick(index):
            at = self.stage.now() + ahead * 1000
            body = {"text": "x", "localId": f"local-{at}", "scheduledAt": at}
            self.stage.rest("POST", f"/api/sessions/{picked[0]}/messages", body)

    @rule(index=INDEX, open_requests=st.integers(0, 3), odd=st.booleans())
    def state(self, index: int, open_requests: int, odd: bool) -> None:
        if picked := self.pick(index):
            row = self.stage.registry.sessions[picked[0]].row
            requests: dict[str, Any] = {
                f"r{number}": {"tool": "Bash", "createdAt": number}
                for number in range(open_requests)
            }
            if odd:
                requests["odd"] = None
            body = {"sid": picked[0], "expectedVersion": row.agent_state_version}
            picked[1].ask("update-state", {**body, "agentState": {"requests": requests}})

    @rule(index=INDEX, name=TEXT, todos=st.booleans())
    def metadata(self, index: int, name: str, todos: bool) -> None:
        if picked := self.pick(index):
            row = self.stage.registry.sessions[picked[0]].row
            value = {**row.metadata, "name": name, "summary": {"text": name, "updatedAt": 1}}
            body = {"sid": picked[0], "expectedVersion": row.metadata_version}
            picked[1].ask("update-metadata", {**body, "metadata": value})
            if todos:
                data = {"type": "plan", "entries": [TODO]}
                content = {"role": "agent", "content": {"type": "codex", "data": data}}
                picked[1].send("message", {"sid": picked[0], "message": content})

    @rule(index=INDEX, mode=st.sampled_from(["none", "project", "global"]))
    def pin(self, index: int, mode: str) -> None:
        if picked := self.pick(index):
            self.stage.rest("PUT", f"/api/sessions/{picked[0]}/pin", {"mode": mode})

    @rule(index=INDEX)
    def end(self, index: int) -> None:
        if picked := self.pick(index):
            picked[1].send("session-end", {"sid": picked[0], "time": self.stage.now()})

    @rule(index=INDEX)
    def delete(self, index: int) -> None:
        picked = self.pick(index)
        if picked and self.stage.rest("DELETE", f"/api/sessions/{picked[0]}").status == 200:
            self.sessions.remove(picked)

    @rule(seconds=st.sampled_from([1.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.stage.tick(seconds)

    @invariant()
    def kept_is_fresh(self) -> None:
        if hasattr(self, "stage"):
            assert self.stage.get("/api/sessions")["sessions"] == fresh(self.stage)


TestLists = Lists.TestCase
TestLists.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_an_entry_is_made_once_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(session: Any, scheduled: Any) -> dict[str, Any]:
        made.append(session.id)
        return summary_view(session, scheduled)

    monkeypatch.setattr(summaries, "summary_view", counted)
    stage = Stage()
    ids = [stage.session(tag=f"tag-{number}") for number in range(5)]
    stage.get("/api/sessions")
    peer = stage.connect(sessionId=ids[0])
    stage.alive(peer, ids[0])
    listed = stage.get("/api/sessions")["sessions"]
    assert [session["id"] for session in listed if session["active"]] == [ids[0]]
    assert sorted(made) == sorted(ids)
    stage.rest("PATCH", f"/api/sessions/{ids[1]}", {"name": "new"})
    stage.get("/api/sessions")
    assert made[5:] == [ids[1]]


def test_many_entries_are_made_in_pieces_between_which_others_are_served__M01(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(summaries, "MADE_AT_ONCE", 4)
    stage = Stage()
    for number in range(10):
        stage.session(tag=f"tag-{number}")
    pending = stage.begin("GET", "/api/sessions")
    assert waits(pending)
    assert stage.get("/health")["status"] == "ok"
    stage.clock.advance(0)
    stage.clock.advance(0)
    assert len(stage.finish(pending).body["sessions"]) == 10
    assert len(stage.get("/api/sessions")["sessions"]) == 10  # nothing is missing any more
