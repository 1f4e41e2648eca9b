"""The title of a session stays once it says something; what the session used is kept in its row."""

import pytest

from hapi.session.startup.command_line import Arguments
from tests.support.session_stage import SID


def records(stage, kind):
    return [record for record in stage.link.records if record["type"] == kind]


def test_an_agent_that_makes_each_prompt_its_title_changes_nothing(up):
    for number, prompt in enumerate(("mend the login form", "now the logout", "fail: 400"), 1):
        up.link.message(prompt, number)
        up.agent.update("session_info_update", title=prompt)
        up.agent.finish()
    assert up.link.metadata["summary"]["text"] == "mend the login form"
    assert records(up, "summary") == []


def test_an_agents_own_title_is_taken_once_and_then_stays(up):
    up.link.message("mend the login form")
    up.agent.update("session_info_update", title="API Error: 400")
    up.agent.update("session_info_update", title="Login repair")
    up.agent.update("session_info_update", title="Login repair")
    up.agent.update("session_info_update", title="Something else")
    assert up.link.metadata["summary"]["text"] == "Login repair"
    assert [record["summary"] for record in records(up, "summary")] == ["Login repair"]


def test_a_name_that_a_person_gave_stands_above_every_title(up):
    up.session.hub.metadata.change(lambda stored: {**stored, "name": "Mine"})
    up.link.message("mend the login form")
    up.agent.update("session_info_update", title="Login repair")
    assert up.link.metadata["name"] == "Mine"
    assert "summary" not in up.link.metadata
    assert records(up, "summary") == []


def test_a_resumed_conversation_keeps_its_title(staged):
    stored = {"summary": {"text": "mend the login form", "updatedAt": 1}}
    given = Arguments("opencode", resume="old", existing_session_id=SID)
    up = staged(stored=stored, arguments=given).up()
    up.link.message("now the logout", 2)
    up.agent.update("session_info_update", title="are you back")
    assert up.link.metadata["summary"]["text"] == "mend the login form"
    assert records(up, "summary") == []


def test_a_slash_command_gives_no_title_and_the_next_prompt_does(up):
    up.link.message("/clear")
    up.agent.finish()
    assert "summary" not in up.link.metadata
    up.link.message("mend it", 2)
    assert up.link.metadata["summary"]["text"] == "mend it"


def test_the_fill_of_the_context_is_told_by_agents_that_tell_nothing_else(up):
    up.link.message("hello")
    for used in (100, 2000):
        up.agent.update(
            "usage_update", used=used, size=8000, cost={"amount": 0.25, "currency": "USD"}
        )
    up.clock.advance(4.0)
    up.agent.finish()
    [told] = records(up, "token_count")
    assert (told["info"]["contextTokens"], told["info"]["modelContextWindow"]) == (2000, 8000)
    assert up.link.metadata["usage"] == {
        "turns": 1,
        "turnMs": 4000,
        "contextTokens": 2000,
        "contextWindow": 8000,
        "cost": {"amount": 0.25, "currency": "USD"},
    }
    up.link.message("nothing new", 2)
    up.agent.finish()
    assert len(records(up, "token_count")) == 1


def test_the_cost_of_each_turn_is_told_though_the_agent_tells_that_of_the_session(up):
    for number, amount in enumerate((0.25, 0.75, 0.125)):  # at last it was started anew
        up.link.message("hello", number)
        cost = {"amount": amount, "currency": "USD"}
        up.agent.update("usage_update", used=2000 + number, size=8000, cost=cost)
        up.agent.finish()
    told = [record["cost"]["amount"] for record in records(up, "token_count")]
    assert told == [0.25, 0.5, 0.125]


def test_tokens_are_added_up_over_the_turns_of_the_session(up):
    counted = {"input_tokens": 100, "output_tokens": 20}  # as Gemini says it
    for number in (1, 2):
        up.link.message("hello", number)
        up.agent.finish(_meta={"quota": {"token_count": counted}})
    usage = up.link.metadata["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["turns"]) == (200, 40, 2)
    assert len(records(up, "token_count")) == 2


@pytest.mark.parametrize(("seconds", "told"), [(9.0, []), (75.0, [75000])])
def test_the_time_of_a_long_turn_is_told_in_the_conversation(up, seconds, told):
    up.link.message("hello")
    up.clock.advance(seconds)
    up.agent.finish()
    assert [record["durationMs"] for record in records(up, "system")] == told


def test_a_title_that_the_agent_sets_by_a_tool_replaces_all_but_a_persons_name(up):
    up.agent.update("session_info_update", title="A title of its own")
    assert up.session.titles.change("Set on purpose")
    up.agent.update("session_info_update", title="Told later")
    assert up.link.metadata["summary"]["text"] == "Set on purpose"
    assert up.link.contents[-1]["content"]["data"]["summary"] == "Set on purpose"
    up.session.hub.metadata.change(lambda stored: {**stored, "name": "Mine"})
    assert not up.session.titles.change("Again")


def test_what_a_tool_prints_is_cut_before_it_is_sent_as_the_hub_would_cut_it(up):
    up.link.message("print it")
    up.agent.update(
        "tool_call", toolCallId="c", title="cat", status="completed", rawOutput="x" * 1_000_000
    )
    [result] = records(up, "tool-call-result")
    assert len(result["output"]) < 64 * 1024
    assert "truncated" in result["output"]
