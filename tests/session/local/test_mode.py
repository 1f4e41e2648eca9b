"""Local and remote mode, and the way from one to the other."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.home import Home
from hapi.protocol.permissions import PermissionAnswer
from hapi.protocol.session import BY_SIGNAL
from hapi.session.local.interface import LocalRequest
from hapi.session.local.mode import INTERRUPT_TIMEOUT, READ_TIME, TYPING_TIMEOUT
from hapi.session.startup.command_line import Arguments
from tests.support.local_stage import LocalStage
from tests.support.session_stage import SID, MemoryAgent, SessionStage


@pytest.fixture
def make(tmp_path):
    made = []

    def make(**more):
        stage = SessionStage(Home(tmp_path), "claude", Arguments("claude"), None, **more)
        made.append(stage)
        return LocalStage(stage)

    yield make
    for stage in made:
        stage.settle()


@pytest.fixture
def local(make):
    return make().begin()


def ended(local):
    found = []
    local.session.ended.when_fired().addCallback(found.append)
    local.stage.clock.pump([0.01] * 20)
    return found


# --- local mode
def test_local_mode_is_told_to_the_hub_and_no_other_agent_runs(local):
    assert local.modes == ("local", "local", "local")
    assert local.terminal.events == ["started"]
    assert local.program.events == ["prepared", "started"]
    assert local.stage.host.starts == 0
    assert local.link.of("session-ready")


def test_a_program_is_given_a_directory_of_its_own_that_is_removed(local):
    files = local.program.start.files
    assert files.stat().st_mode & 0o777 == 0o700
    local.terminal.exit(0)
    ended(local)
    assert not files.exists()


def test_directories_of_killed_processes_are_removed(make):
    local = make()
    left = local.stage.home.directory("tmp") / "local-999999999.abc"
    left.mkdir()
    other = local.stage.home.directory("tmp") / "uploads"
    other.mkdir()
    local.begin()
    assert not left.exists()
    assert other.exists()


def test_the_program_gets_the_words_and_no_access_token(local):
    start = local.program.start
    assert start.words == ("--more",)
    assert start.environ["HAPI_SESSION_ID"] == SID
    assert "CLI_API_TOKEN" not in start.environ


def test_what_happens_in_the_terminal_reaches_the_hub_in_order_and_with_its_time(local):
    now = local.session.hub.now_ms()
    local.mirror.agent_session("s1")
    local.prompt("why?", "k1", now - 2_000)
    local.mirror.output({"type": "assistant", "uuid": "k2"}, now - 3_000, "k2")
    local.mirror.record({"type": "message", "message": "because"}, now - 1_000, "k3")
    sent = local.link.of("message")
    assert [one["message"]["meta"]["key"] for one in sent] == ["k1", "k2", "k3"]
    times = [one["createdAt"] for one in sent]
    assert times == sorted(times)  # the answer is not above its question
    assert abs(times[0] - (now - 2_000)) < 1_000
    assert local.link.of("session-alive")[-1]["thinking"]
    local.mirror.thinking(False)
    assert not local.link.of("session-alive")[-1]["thinking"]
    assert local.link.metadata["claudeSessionId"] == "s1"
    assert local.link.metadata["summary"]["text"] == "why?"


def test_metadata_is_written_only_when_it_changes(local):
    local.mirror.agent_session("s1")
    before = len(local.link.of("update-metadata"))
    local.mirror.agent_session("s1")
    local.mirror.thinking(True)
    assert len(local.link.of("update-metadata")) == before
    local.mirror.agent_session("s2")
    assert len(local.link.of("update-metadata")) == before + 1


def test_a_program_that_ends_ends_the_session(local):
    local.stage.clock.advance(10)
    local.terminal.exit(0)
    assert [each.archive_reason for each in ended(local)] == ["Session completed"]
    assert local.program.events[-1] == "stopped"
    assert "released" in local.terminal.events


def test_lines_that_were_written_at_the_end_are_not_lost(make):
    local = make()
    local.on_stop = lambda mirror: mirror.record({"type": "message", "message": "bye"}, 5, "k9")
    local.begin()
    local.session.begin_end(BY_SIGNAL)
    assert ended(local)
    sent = [name for name, _ in local.link.sent]
    assert local.said[-1] == "bye"
    assert sent.index("message") < sent.index("session-end")


def test_a_program_that_cannot_start_is_told(make):
    local = make()
    local.problem = "no room for its files"
    local.begin()
    assert [each.archive_reason for each in ended(local)] == [
        "Local launch failed: no room for its files"
    ]


def test_a_program_that_fails_at_once_is_told(local):
    local.terminal.exit(2)
    assert [each.exit_code for each in ended(local)] == [1]


def test_the_session_ends_when_its_terminal_is_closed(local):
    local.terminal.on_hangup()
    assert ended(local)
    assert "ended" in local.terminal.events


def test_kill_ends_the_program(local):
    local.link.rpc_call("killSession")
    assert [each.archive_reason for each in ended(local)] == ["User terminated"]
    assert local.terminal.events == ["started", "ended", "ended", "released"]


def test_a_session_is_handed_off(local):
    assert local.link.rpc_call("handoff-local", {}) == {"ok": True}
    (ending,) = ended(local)
    assert local.link.of("session-end")[-1]["reason"] == "handoff"
    assert local.link.metadata["archiveReason"] == "Handed off to local terminal"
    assert ending.exit_code == 0


# --- from the page
def test_a_message_takes_over_with_the_agents_session(local):
    local.mirror.agent_session("s1")
    local.prompt()
    local.mirror.thinking(False)
    local.link.message("go on", local_id="l1")
    assert local.modes == ("remote", "remote", "remote")
    assert local.terminal.events[:2] == ["started", "left"]
    assert ("session/load", "s1") in [
        (method, params.get("sessionId")) for method, params in local.stage.agent.calls
    ]
    assert local.stage.agent.prompts == ["go on"]
    assert local.link.of("messages-consumed") == [{"sid": SID, "localIds": ["l1"]}]
    assert local.said == ["hi", "switch remote"]
    assert local.console.events == ["resumed"]


def test_without_a_prompt_there_is_no_session_to_go_on_with(local):
    local.mirror.agent_session("s1")
    local.link.message("go on")
    assert [method for method, _ in local.stage.agent.calls] == ["session/new"]


def test_a_running_turn_is_not_killed_by_a_message(local):
    local.prompt()
    local.link.message("from the page")
    assert local.modes[0] == "local"
    assert local.terminal.keys == b""
    assert local.said == ["hi", "Waiting for the turn in the terminal to end"]
    local.link.message("and another one", number=2)
    assert len(local.said) == 2  # told once
    local.mirror.thinking(False)
    assert local.modes[0] == "remote"
    assert local.stage.agent.prompts == ["from the page\n\nand another one"]


def test_a_message_that_was_taken_back_takes_nothing_over(local):
    local.prompt()
    local.link.message("from the page", local_id="l1")
    local.link.update(t="cancel-queued-message", localId="l1", messageId="m1")
    local.mirror.thinking(False)
    assert local.modes[0] == "local"


def test_what_somebody_is_typing_keeps_a_message_waiting_and_is_not_lost(local):
    local.terminal.person_types(b"half a tho")
    local.link.message("from the page")
    assert local.said == ["Waiting until nobody types in the terminal"]
    local.stage.clock.advance(TYPING_TIMEOUT - 1)
    local.terminal.person_types(b"ught")
    local.stage.clock.advance(2)
    assert local.modes[0] == "local"
    local.stage.clock.advance(TYPING_TIMEOUT)
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed half a thought"]


def test_a_prompt_that_was_sent_is_no_longer_typed(local):
    local.terminal.person_types(b"why")
    local.prompt()  # by a key that HAPI did not take for Enter
    local.mirror.thinking(False)
    local.link.message("from the page")
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed"]


def test_what_was_entered_while_the_program_starts_goes_back_to_the_line(local):
    local.terminal.person_types(b"local 3\rand")
    local.link.message("from the page")
    assert local.modes[0] == "local"  # the program may still get it
    local.stage.clock.advance(TYPING_TIMEOUT)
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed local 3\nand"]


def test_what_the_program_has_begun_with_was_sent(local):
    local.terminal.person_types(b"local 3\r")
    local.link.message("from the page")
    local.prompt("local 3")
    local.mirror.thinking(False)
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed"]


def test_a_program_that_has_started_gets_what_is_entered(local):
    local.mirror.agent_session("s1")
    local.stage.clock.advance(READ_TIME)
    local.terminal.person_types(b"/help\r")
    local.link.message("from the page")
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed"]


def test_what_is_entered_while_the_program_ends_goes_back_to_the_line(local):
    local.mirror.agent_session("s1")
    local.stage.clock.advance(READ_TIME)
    local.terminal.is_stubborn = True
    local.link.message("from the page")
    local.terminal.person_types(b"too late\r")
    local.terminal.exit(0)
    assert local.console.events == ["resumed too late"]


def test_keys_that_answer_the_program_are_no_text(local):
    local.prompt()
    local.terminal.person_types(b"next")
    local.link.message("from the page")
    ask(local, [])
    local.terminal.person_types(b"1")
    local.terminal.person_types(b"!")  # the menu is gone
    local.mirror.settled("r1", True)
    assert local.terminal.typed.text == "next!"


def test_a_key_that_answered_the_program_keeps_no_message_waiting(local):
    local.prompt()
    local.link.message("from the page")
    ask(local, [])
    local.terminal.person_types(b"\x1b[B1")
    local.mirror.settled("r1", True)
    local.mirror.thinking(False)
    assert local.modes[0] == "remote"
    assert local.console.events == ["resumed"]


def test_all_keys_answer_a_form(local):
    local.prompt()
    local.mirror.request(LocalRequest("r1", "AskUserQuestion", {}), None)
    local.terminal.person_types(b"12other\r1")
    local.mirror.settled("r1", True)
    local.terminal.person_types(b"next")
    assert local.terminal.typed.text == "next"


def test_the_button_of_the_page_insists(local):
    local.prompt()
    local.link.rpc_call("switch", {"to": "remote"})
    assert local.terminal.keys == b"\x1b"  # the turn is stopped first
    local.mirror.thinking(False)
    local.stage.clock.pump([0.05] * 3)
    assert local.modes[0] == "remote"
    assert local.stage.host.starts == 1


def test_the_button_takes_over_from_a_turn_that_does_not_stop(local):
    local.prompt()
    local.link.rpc_call("switch", {"to": "remote"})
    local.stage.clock.pump([0.1] * int(INTERRUPT_TIMEOUT * 10 + 5))
    assert local.modes[0] == "remote"
    assert not local.link.of("session-alive")[-1]["thinking"]


def test_abort_stops_the_turn_and_does_not_end_the_program(local):
    local.prompt()
    local.link.rpc_call("abort")
    assert local.terminal.keys == b"\x1b"
    assert local.modes[0] == "local"


def test_the_conversation_tells_who_stopped_a_turn(local):
    local.prompt()
    local.link.rpc_call("abort")
    local.mirror.thinking(False)
    local.mirror.status("Stopped in the terminal")
    local.prompt("again", "k2")
    local.mirror.thinking(False)
    local.mirror.status("Stopped in the terminal")
    assert [text for text in local.said if "Stopped" in text] == [
        "Stopped on the page",
        "Stopped in the terminal",
    ]


def test_without_the_adapter_the_program_keeps_the_terminal(local):
    (local.stage.home.path / "bin/claude-agent-acp").unlink()
    local.link.message("from the page")
    local.link.rpc_call("switch", {"to": "remote"})
    assert local.modes[0] == "local"
    assert all("claude-agent-acp" in text for text in local.said)
    assert local.terminal.events == ["started"]


def test_settings_of_the_page_wait_for_the_remote_mode(local):
    answer = local.link.rpc_call("set-session-config", {"permissionMode": "plan", "model": "opus"})
    assert answer == {"applied": {"permissionMode": "plan", "model": "opus"}}
    assert local.link.of("session-alive")[-1]["permissionMode"] == "plan"
    assert local.stage.host.starts == 0
    assert "error" in local.link.rpc_call("set-session-config", {"permissionMode": "reckless"})
    assert "keeps its settings" in local.said[-1]


def test_remote_mode_begins_in_the_permission_mode_of_the_terminal(local):
    local.mirror.permission_mode("default")
    assert "permissionMode" not in local.link.of("session-alive")[-1]
    local.mirror.permission_mode("acceptEdits")
    local.mirror.permission_mode("unheard-of")
    assert local.link.of("session-alive")[-1]["permissionMode"] == "acceptEdits"
    assert local.session.settings.granting_mode == "acceptEdits"


# --- permissions
def ask(local, answers=None, request_id="r1"):
    request = LocalRequest(request_id, "Bash", {"command": "ls"}, "call-1")
    local.mirror.request(request, answers.append if answers is not None else None)


def test_a_request_is_answered_on_the_page(local):
    answers: list[PermissionAnswer] = []
    ask(local, answers)
    shown = local.link.state["requests"]["r1"]
    assert (shown["tool"], shown["toolCallId"]) == ("Bash", "call-1")
    assert local.link.state["controlledByUser"]
    assert local.link.rpc_call("permission", {"id": "r1", "approved": True}) is None
    assert [answer.approved for answer in answers] == [True]
    assert local.link.state["requests"] == {}
    assert local.link.state["completedRequests"]["r1"]["status"] == "approved"
    local.mirror.settled("r1", True)  # told once more
    assert list(local.link.state["completedRequests"]) == ["r1"]


@pytest.mark.parametrize(
    ("approved", "status"), [(True, "approved"), (False, "denied"), (None, "canceled")]
)
def test_a_request_is_answered_in_the_terminal(local, approved, status):
    answers: list[PermissionAnswer] = []
    ask(local, answers)
    local.mirror.settled("r1", approved)
    assert local.link.state["completedRequests"]["r1"]["status"] == status
    local.link.rpc_call("permission", {"id": "r1", "approved": True})
    assert answers == []


def test_a_request_that_only_the_terminal_can_answer_says_so(local):
    ask(local)
    assert local.link.state["requests"]["r1"]["terminalOnly"]
    answer = local.link.rpc_call("permission", {"id": "r1", "approved": True})
    assert "answered in the terminal" in answer["error"]
    assert "r1" in local.link.state["requests"]


def test_a_request_outlives_a_hub_that_is_away(local):
    local.link.drop()
    ask(local, [])
    local.link.connect()
    local.stage.clock.pump([0.5] * 20)
    assert "r1" in local.link.state["requests"]


def test_no_request_is_left_when_the_program_ends(local):
    ask(local, [])
    local.terminal.exit(0)
    ended(local)
    assert local.link.state["requests"] == {}


# --- back to the terminal
def test_the_program_goes_on_with_the_session_of_the_remote_mode(make):
    local = make().up()
    local.session.submit_prompt("first")
    local.stage.agent.finish()
    local.mode.wanted()
    assert local.console.events == ["released"]
    assert local.modes == ("local", "local", "local")
    assert local.program.start.agent_session == "agent-1"
    assert local.stage.host.ended == 1
    local.link.message("and back")
    assert local.modes[0] == "remote"
    assert ("session/load", "agent-1") in [
        (method, params.get("sessionId")) for method, params in local.stage.agent.calls
    ]


def models(local):
    option = {"id": "model", "category": "model", "type": "select"}
    names = [{"value": name, "name": name} for name in ("default", "opus")]
    made = []

    def make_agent():
        current = "opus" if made else "default"  # that of its last answer, once it has one
        offer = {"configOptions": [{**option, "currentValue": current, "options": names}]}
        made.append(MemoryAgent(local.stage.clock, modes=offer))
        return made[-1]

    local.stage.host.make = make_agent
    local.up()
    local.session.submit_prompt("first")
    local.stage.agent.finish()
    return local


def models_set(local):
    calls = local.stage.agent.calls
    return [params["value"] for name, params in calls if name == "session/set_config_option"]


def test_the_default_model_is_kept_over_the_time_in_the_terminal(make):
    local = models(make())
    local.mode.wanted()
    assert local.program.start.model is None
    local.link.message("back")
    assert models_set(local) == ["default"]
    assert local.link.of("session-alive")[-1]["model"] is None


def test_a_model_that_was_chosen_in_the_terminal_is_kept(make):
    local = models(make())
    local.mode.wanted()
    local.mirror.model_chosen()
    local.link.message("back")
    assert models_set(local) == []


def test_a_running_turn_is_waited_for(make):
    local = make().up()
    local.session.submit_prompt("first")
    local.mode.wanted()
    assert "when the turn has ended" in local.console.events[-1]
    assert local.modes[0] == "remote"
    local.stage.agent.finish()
    assert local.modes[0] == "local"


def starting(make):
    """Remote mode whose agent has not answered yet."""
    agent = SlowAgent()
    local = make(make_agent=lambda: agent.made(local.stage.clock))
    running = local.stage.run()
    assert not local.session.is_accepting_prompts
    return local, agent, running


@define
class SlowAgent:
    agents: list[Any] = field(factory=list)
    waiting: list[Any] = field(factory=list)

    def made(self, clock):
        made = MemoryAgent(clock)
        begin = made.peer.handlers["initialize"]
        answer: Deferred[Any] = Deferred()
        answer.addCallback(lambda _: begin({}))
        made.peer.handlers["initialize"] = lambda params: answer
        self.agents.append(made)
        self.waiting.append(answer)
        return made

    def answers(self):
        self.waiting.pop(0).callback(None)


def test_a_prompt_from_before_the_agent_was_ready_is_answered_first(make):
    local, agent, _ = starting(make)
    local.console.typed.append("FRESHQ")
    local.mode.wanted()
    local.mode.wanted()  # there is no turn to stop yet
    assert local.said == []
    agent.answers()
    local.mode.opened()
    assert local.stage.agent.prompts == ["FRESHQ"]
    assert local.modes[0] == "remote"
    local.stage.agent.finish()
    assert local.modes[0] == "local"
    assert local.said[0] == "FRESHQ"
    assert not [text for text in local.said if "failed" in text or "started again" in text]


def test_an_agent_that_starts_is_waited_for(make):
    local, agent, _ = starting(make)
    local.mode.wanted()
    assert "is ready" in local.console.events[-1]
    agent.answers()
    local.mode.opened()
    assert local.modes[0] == "local"


def test_what_is_entered_on_the_way_back_is_answered(make):
    local = make().begin()
    agent = SlowAgent()
    local.stage.host.make = lambda: agent.made(local.stage.clock)
    local.link.message("from the page")
    local.console.typed.append("LOSTQ")
    local.mode.wanted()
    agent.answers()
    assert local.stage.agent.prompts == ["from the page"]
    local.stage.agent.finish()
    assert local.stage.agent.prompts == ["from the page", "LOSTQ"]
    local.stage.agent.finish()
    assert local.modes[0] == "local"


def test_a_message_on_the_way_to_the_program_waits(make):
    local = make().up()
    released: Deferred[None] = Deferred()
    local.console.releasing = released
    local.mode.wanted()
    local.link.message("from the page")
    assert local.stage.agent.prompts == []
    released.callback(None)
    assert local.stage.agent.prompts == ["from the page"]
    assert local.stage.host.starts == 2


def test_a_second_key_stops_the_turn(make):
    local = make().up()
    local.session.submit_prompt("first")
    local.mode.wanted()
    local.mode.wanted()
    assert ("session/cancel", {"sessionId": "agent-1"}) in local.stage.agent.calls
    local.stage.agent.finish("cancelled")
    assert local.modes[0] == "local"


def test_the_page_can_ask_for_the_program(make):
    local = make().up()
    local.link.rpc_call("switch", {"to": "local"})
    assert local.modes[0] == "local"
    assert local.program.start.agent_session is None  # nothing was said yet


def test_words_for_the_program_are_given_once(local):
    local.link.message("over")
    local.stage.agent.finish()
    local.mode.wanted()
    assert [program.start.words for program in local.programs] == [("--more",), ()]


# --- after a kill
def row(seq, key):
    return {"seq": seq, "content": {"role": "user", "content": {}, "meta": {"key": key}}}


def test_what_a_killed_process_left_is_brought_to_the_hub_once(make, tmp_path):
    local = make()
    local.begin()
    local.mirror.checkpoint({"offset": 7})
    assert local.mode._checkpoints.path.exists()

    again = make(rows=[row(1, "k1"), row(2, "k2")])
    again.begin()
    assert again.program.start.checkpoint == {"offset": 7}
    for number in (1, 2, 3):
        again.mirror.prompt(f"line {number}", number, f"k{number}")
    assert again.said == ["line 3"]


def test_remote_mode_brings_it_as_well(make):
    make().begin().mirror.checkpoint({"offset": 7})
    again = make(rows=[row(1, "k1")])
    again.on_stop = lambda mirror: [mirror.prompt(f"line {key}", 1, key) for key in ("k1", "k2")]
    Deferred.fromCoroutine(again.mode.recover())
    assert again.said == ["line k2"]
    assert again.program.events == ["stopped"]
    assert not again.mode._checkpoints.path.exists()


def test_nothing_is_left_after_an_orderly_end(local):
    local.mirror.checkpoint({"offset": 7})
    local.link.message("over")
    assert not local.mode._checkpoints.path.exists()


def test_what_could_not_be_read_at_the_end_is_left_for_the_next_start(make, logged_failures):
    local = make().begin()
    local.mirror.checkpoint({"offset": 7})

    def fails(mirror):
        raise OSError("the disk")

    local.program.on_stop = fails
    local.terminal.exited.fire(0)
    assert local.mode._checkpoints.path.exists()
    assert "released" in local.terminal.events
    assert len(logged_failures.take(OSError)) == 1
