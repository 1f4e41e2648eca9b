"""One hub, runner and session for each real agent, shared by the tests of this directory."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.agents.results import Results
from tests.support.model_endpoint import Model
from tests.support.peers import OURS, Cast, Json, Refused, Running, User
from tests.support.programs import CANARY, until
from tests.support.real_agents import AGENTS, RealAgent

WANTED = os.environ.get("HAPI_REAL_AGENTS", "")  # names, or `all`; empty: those that CI runs


def chosen() -> list[RealAgent]:
    if not WANTED:
        return [agent for agent in AGENTS if agent.in_ci]
    return [agent for agent in AGENTS if WANTED == "all" or agent.name in WANTED.split(",")]


@define(eq=False)
class Life:
    """A session with a real agent, and the person who uses it."""

    agent: RealAgent
    cast: Cast
    user: User
    runner: Running
    model: Model
    directory: Path
    session_id: str = ""

    def start(self, **more: Any) -> None:
        mode = self.agent.asking_mode
        options = {**self.agent.spawn, **({"permissionMode": mode} if mode else {}), **more}
        self.session_id = self.user.started(
            self.runner.machine_id, self.directory, self.agent.name, **options
        )

    @property
    def session(self) -> Json:
        return self.user.session(self.session_id)

    def say(self, text: str, attachments: list[Json] | None = None) -> None:
        body: Json = {"text": text, "localId": str(uuid.uuid4())}
        if attachments is not None:
            body["attachments"] = attachments
        self.user.post(f"/api/sessions/{self.session_id}/messages", body)

    def wait_for_text(self, text: str) -> str:
        """Wait until the agent has said something that contains `text`."""
        return until(
            lambda: next((said for said in self.user.texts(self.session_id) if text in said), None),
            what=f"an answer with {text!r} among {self.user.texts(self.session_id)[-3:]}",
        )

    def wait_for_request(self) -> tuple[str, Json]:
        return self.user.asked(self.session_id)

    def decide(self, request_id: str, verdict: str, **body: Any) -> None:
        self.user.decide(self.session_id, request_id, verdict, **body)

    def finish_turn(self) -> None:
        """Wait for the end of the turn; whatever is asked meanwhile is approved."""

        def ended() -> bool:
            for request_id in self.user.requests(self.session_id):
                with suppress(Refused):  # it was answered a moment ago
                    self.decide(request_id, "approve", decision="approved")
            records = self.user.records(self.session_id)
            return bool(records) and records[-1].get("event") == {"type": "ready"}

        until(ended, what="the end of the turn")


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    found = Results()
    yield found
    if os.environ.get("HAPI_WRITE_TABLES"):
        found.write()


@pytest.fixture(scope="module", params=chosen(), ids=lambda agent: agent.name)
def life(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Life]:
    agent: RealAgent = request.param
    if not agent.path.exists():
        reason = f"{agent.package} is not installed (`make agents` installs it)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    path = tmp_path_factory.mktemp(agent.name)
    with Model() as model:
        cast = Cast(path / "stage", token=CANARY)
        try:
            home = cast.directory("user")
            cast.environment.update(agent.prepare(home, model.url))
            cast.environment["PATH"] = os.pathsep.join([*agent.search_path, cast.base["PATH"]])
            _, user = cast.hub(OURS)
            running = cast.runner(OURS, user)
            directory = cast.directory("project")
            (directory / "a.txt").write_text("one\ntwo\nthree\n")
            yield (living := Life(agent, cast, user, running, model, directory))
            if request.session.testsfailed:
                keep_logs(living, path)
        finally:
            cast.end()


def keep_logs(living: Life, path: Path) -> None:
    """Leave what the session did where a person looks after a failure."""
    if living.session_id:
        records = living.user.records(living.session_id)
        (path / "records.json").write_text(json.dumps(records, indent=1))
    shutil.copytree(living.runner.home / "logs", path / "logs", dirs_exist_ok=True)
