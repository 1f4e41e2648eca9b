"""An agent that wants a login: made without a person where possible, else asked for."""

import pytest
from twisted.internet.defer import Deferred

from hapi.session.agent.jsonrpc_peer import AgentError
from tests.support.session_stage import MemoryAgent

REQUIRED = AgentError(-32000, "Authentication required")
KEY = {"id": "key", "name": "Use the key in the environment"}
BROWSER = {"id": "browser", "name": "Browser", "description": "Opens a browser"}
COMMAND = {"id": "cli", "name": "CLI", "type": "terminal", "args": ["login"]}


@pytest.fixture
def begun(staged):
    """Makes a session that has been started and whose agent may want a login."""

    def make(*methods, stays_logged_out=1, **agent):
        def make_agent():
            problem = REQUIRED if stage.host.starts <= stays_logged_out else None
            return MemoryAgent(stage.clock, problem=problem, auth_methods=list(methods), **agent)

        stage = staged(make_agent=make_agent)
        stage.link.connect()
        Deferred.fromCoroutine(stage.session.run())
        stage.clock.advance(1)
        return stage

    return make


def login(stage):
    """Id and arguments of the question that asks for the login."""
    ((request_id, entry),) = (stage.link.state.get("requests") or {}).items()
    return request_id, entry["arguments"]


def choose(stage, label):
    request_id, _ = login(stage)
    answers = {"login": {"answers": [label]}}
    stage.link.rpc_call("permission", {"id": request_id, "approved": True, "answers": answers})


def status_lines(stage):
    return [record["message"] for record in stage.link.records if record.get("type") == "message"]


def is_ended(stage):
    return stage.link.metadata.get("lifecycleState") == "archived"


def test_a_login_that_needs_no_person_is_made_and_the_session_opened(begun):
    stage = begun(BROWSER, KEY)
    assert stage.agent.logins == ["key"]
    assert stage.session.is_accepting_prompts
    assert stage.link.metadata["opencodeSessionId"] == "agent-1"


def test_the_method_of_the_settings_is_tried_first(begun):
    stage = begun(KEY, BROWSER, auth_method="browser")
    assert stage.agent.logins == ["browser"]
    assert stage.session.is_accepting_prompts


def test_no_login_is_made_before_the_agent_demands_it(begun):
    stage = begun(KEY, stays_logged_out=0)
    assert stage.agent.logins == []


def test_without_such_a_method_the_session_stays_and_asks_for_the_login(begun):
    stage = begun(COMMAND, BROWSER)
    assert not is_ended(stage)
    _, arguments = login(stage)
    assert [option["label"] for option in arguments["questions"][0]["options"]] == [
        "Try again",
        "Log in: Browser",
    ]
    assert arguments["login"]["methods"] == [
        {"id": "cli", "name": "CLI", "command": "/bin/agent acp login"},
        {"id": "browser", "name": "Browser", "description": "Opens a browser"},
    ]
    assert "Run `/bin/agent acp login` in a terminal." in status_lines(stage)[-1]
    assert "Run `/bin/agent acp login` in a terminal." in arguments["questions"][0]["question"]


def test_a_method_that_fails_is_followed_by_the_question(begun):
    stage = begun(KEY, is_login_broken=True)
    assert stage.agent.logins == ["key"]
    assert login(stage)


def test_try_again_starts_the_agent_anew(begun):
    stage = begun(COMMAND)
    choose(stage, "Try again")
    stage.clock.advance(1)
    assert stage.host.starts == 2
    assert stage.session.is_accepting_prompts
    assert not stage.link.state["requests"]


def test_a_method_that_a_person_chose_is_called(begun):
    stage = begun(BROWSER, stays_logged_out=9)
    choose(stage, "Log in: Browser")
    stage.clock.advance(1)
    assert stage.agent.logins == ["browser"]
    assert stage.session.is_accepting_prompts


def test_a_prompt_sent_meanwhile_waits_and_tries_again(begun):
    stage = begun(COMMAND, stays_logged_out=2)
    stage.link.message("first", 1)
    stage.clock.advance(1)
    assert stage.host.starts == 2
    assert login(stage)
    stage.link.message("second", 2)
    stage.clock.advance(1)
    assert stage.host.starts == 3
    assert "first" in stage.agent.prompts[0]


def test_declining_keeps_the_session_and_the_next_prompt_asks_again(begun):
    stage = begun(COMMAND, stays_logged_out=9)
    request_id, _ = login(stage)
    stage.link.rpc_call("permission", {"id": request_id, "approved": False})
    stage.clock.advance(1)
    assert not is_ended(stage)
    assert "The next prompt tries again" in status_lines(stage)[-1]
    stage.link.message("hello")
    stage.clock.advance(1)
    assert login(stage)


def test_a_session_that_waits_for_a_login_can_be_ended(begun):
    stage = begun(COMMAND)
    stage.link.rpc_call("killSession")
    stage.clock.advance(1)
    assert is_ended(stage)
    assert stage.link.metadata["archiveReason"] == "User terminated"


def test_a_login_that_is_lost_in_a_turn_is_asked_for_and_the_prompt_sent_again(staged):
    stage = staged(make_agent=lambda: MemoryAgent(stage.clock, auth_methods=[COMMAND]))
    stage.up()
    stage.link.message("hello")
    first = stage.agent
    answer, first.answer = first.answer, None
    answer.errback(REQUIRED)
    choose(stage, "Try again")
    stage.clock.advance(1)
    assert stage.agent is not first
    assert stage.agent.prompts == ["hello"]
