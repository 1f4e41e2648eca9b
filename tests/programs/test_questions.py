"""An agent that needs a login and asks questions, behind a real hub, runner and session."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.paths import SUPPORT
from tests.support.peers import OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program


def test_a_prompt_waits_for_the_login_and_its_question_is_answered(on_stage, tmp_path):
    cast: Cast = on_stage(Cast(tmp_path / "stage", token=CANARY))
    agent = cast.directory("bin") / "asking-agent"
    agent.write_text(f'#!/bin/sh\nexec {sys.executable} {SUPPORT / "login_agent.py"} "$@"\n')
    agent.chmod(0o755)
    login = cast.directory("login") / "done"
    _, user = cast.hub(OURS)
    runner = cast.runner(OURS, user, HAPI_DSH_ACP_COMMAND=str(agent), LOGIN=str(login))
    session = user.spawn(runner.machine_id, cast.directory("project"), "dsh")["sessionId"]

    def asked(is_login: bool, other_than: str = "") -> tuple[str, Any] | None:
        for request_id, entry in user.requests(session).items():
            if request_id != other_than and ("login" in entry["arguments"]) == is_login:
                return request_id, entry["arguments"]
        return None

    def answer(request_id: str, answers: dict[str, list[str]]) -> None:
        path = f"/api/sessions/{session}/permissions/{request_id}/approve"
        assert user.post(path, {"answers": answers}) == {"ok": True}

    first, arguments = until(lambda: asked(is_login=True))
    (method,) = arguments["login"]["methods"]
    assert method["command"] == f"{agent} login"
    user.say(session, "hello")  # tries again, in vain
    second, _ = until(lambda: asked(is_login=True, other_than=first))
    login.touch()
    answer(second, {"login": ["Try again"]})
    question, arguments = until(lambda: asked(is_login=False))
    assert arguments["questions"][0]["question"] == "Which colour?"
    answer(question, {"Which colour?": ["Blue"]})
    said = until(lambda: [text for text in user.texts(session) if text.startswith("got ")])
    assert said == ['got {"action": "accept", "content": {"colour": "Blue"}}']
