"""Claude Code's hooks and transcript, without Claude Code."""

from __future__ import annotations

import json
import os

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.protocol.permissions import read_permission_answer
from hapi.session.local.claude import IDLE_DELAY, IDLE_TITLE, POLL_INTERVAL, STOP_DELAY, own_program
from hapi.session.local.claude_permissions import REFUSAL_TIMEOUT
from hapi.session.local.hooks import HookServer
from hapi.session.local.interface import LocalStart

MCP = {
    "name": "hapi",
    "command": "/usr/bin/python3",
    "args": ["relay.py"],
    "env": [{"name": "HAPI_MCP_SOCKET", "value": "/s"}],
}


@define(eq=False)
class Mirror:
    told: list = field(factory=list)
    answers: dict = field(factory=dict)

    def agent_session(self, session_id):
        self.told.append(f"session {session_id}")

    def thinking(self, is_thinking):
        self.told.append("begin" if is_thinking else "end")

    def prompt(self, text, at, key):
        self.told.append(f"prompt {text}")

    def record(self, data, at, key):
        self.told.append(f"record {data['message']}")

    def output(self, line, at, key):
        self.told.append(f"output {line['uuid']}")

    def permission_mode(self, mode):
        self.told.append(f"mode {mode}")

    def model_chosen(self):
        self.told.append("model chosen")

    def status(self, text, at=None):
        self.told.append(f"status {text}")

    def title(self, title):
        self.told.append(f"title {title}")

    def usage(self, used, model, context):
        self.told.append(f"used {used.input}+{used.output}" if used else "used nothing")

    def request(self, request, answer):
        self.told.append(f"request {request.tool} {request.call_id}")
        self.answers[request.id] = answer

    def settled(self, request_id, approved):
        self.told.append(f"settled {approved}")

    def checkpoint(self, place):
        self.told.append(place["offset"])


@define(eq=False)
class Call:
    told: dict
    replies: list = field(factory=list)
    is_over: bool = False
    on_gone: object = None

    def reply(self, answer=None):
        if not self.is_over:
            self.is_over = True
            self.replies.append(answer)

    def leave(self):
        self.is_over = True
        self.on_gone()


@define(eq=False)
class Stage:
    program: object
    mirror: Mirror
    clock: Clock
    path: object

    def hook(self, name, /, **more):
        call = Call({"hook_event_name": name, "session_id": "s1", **more})
        self.program._called(call)
        return call

    def begin(self, source="startup", session="s1"):
        path = str(self.path.with_name(f"{session}.jsonl"))
        self.hook("SessionStart", source=source, session_id=session, transcript_path=path)
        self.told()

    def write(self, *lines, session="s1"):
        with self.path.with_name(f"{session}.jsonl").open("a") as file:
            for line in lines:
                file.write(json.dumps(line) + "\n")

    def told(self):
        """What was told since, without checkpoints."""
        told, self.mirror.told = self.mirror.told, []
        return [one for one in told if isinstance(one, str)]

    def poll(self):
        self.clock.advance(POLL_INTERVAL)
        return self.told()


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(HookServer, "listen", lambda self: None)
    made = []

    def make(**more):
        files = tmp_path / f"files{len(made)}"
        files.mkdir()
        clock, mirror = Clock(), Mirror()
        environ = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
        start = LocalStart("/bin/claude", "row", "/w", environ, files, **more)
        program = own_program(clock, start, mirror)
        launch = program.prepare()
        program.started(1)
        stage = Stage(program, mirror, clock, tmp_path / "projects/shop/s1.jsonl")
        stage.path.parent.mkdir(parents=True, exist_ok=True)
        made.append(stage)
        return stage, launch

    yield make
    for stage in made:
        Deferred.fromCoroutine(stage.program.stop())


@pytest.fixture
def stage(make):
    stage, _ = make()
    stage.begin()
    return stage


def line(kind, content, uuid, **more):
    return {
        "type": kind,
        "uuid": uuid,
        "timestamp": "2026-11-27T13:34:01.203Z",
        "message": {"role": kind, "content": content, **more},
    }


def test_the_command_has_what_the_session_is_set_to(make, tmp_path):
    _, launch = make(
        agent_session="s0",
        permission_mode="plan",
        model="opus",
        words=("--add-dir", "/x"),
        mcp_servers=(MCP,),
    )
    argv = list(launch.argv)
    assert argv[0] == "/bin/claude"
    assert argv[-2:] == ["--add-dir", "/x"]
    for pair in (["--resume", "s0"], ["--permission-mode", "plan"], ["--model", "opus"]):
        assert argv[argv.index(pair[0]) :][:2] == pair
    servers = json.loads(argv[argv.index("--mcp-config") + 1])["mcpServers"]
    assert servers["hapi"]["env"] == {"HAPI_MCP_SOCKET": "/s"}
    allowed = argv[argv.index("--allowedTools") + 1].split(",")
    assert "mcp__hapi__change_title" in allowed
    assert "mcp__hapi__ping_peer" not in allowed
    assert launch.environ == {"CLAUDE_CONFIG_DIR": str(tmp_path)}


def test_the_hooks_are_in_a_file_that_others_cannot_read(make, tmp_path):
    make()
    settings = tmp_path / "files0/settings.json"
    assert settings.stat().st_mode & 0o777 == 0o600
    hooks = json.loads(settings.read_text())["hooks"]
    (command,) = hooks["PermissionRequest"][0]["hooks"]
    assert "hook_forwarder.py" in command["command"]
    assert command["timeout"] >= 3600


def test_a_turn_is_told_in_order(stage):
    assert stage.hook("UserPromptSubmit").replies == [None]
    usage = {"input_tokens": 10, "output_tokens": 5}
    stage.write(
        line("user", "why?", "u1"),
        line("assistant", [{"type": "thinking"}], "u2", id="m1", usage=usage),
        line("assistant", [{"type": "text"}], "u3", id="m1", usage=usage),
    )
    assert stage.poll() == ["begin", "prompt why?", "output u2", "output u3"]
    stage.hook("Stop")
    assert stage.told() == []
    stage.write({**line("system", "", "u4"), "subtype": "turn_duration", "durationMs": 5})
    assert stage.poll() == ["used 10+5", "end"]


def test_a_turn_ends_even_if_its_end_is_not_written(stage):
    stage.hook("UserPromptSubmit")
    stage.hook("Stop")
    stage.clock.pump([STOP_DELAY / 2] * 3)
    assert stage.told() == ["begin", "used nothing", "end"]


def test_a_turn_goes_on_that_a_hook_of_the_persons_has_kept_from_stopping(stage):
    stage.hook("UserPromptSubmit")
    stage.hook("Stop")
    stage.hook("PreToolUse", tool_name="Bash", tool_input={}, tool_use_id="t1")
    stage.clock.pump([STOP_DELAY / 2] * 4)
    assert stage.told() == ["begin"]


def test_a_model_that_the_person_chooses_is_told(stage):
    printed = "Set model to \x1b[1mOpus 4.8\x1b[22m"
    stage.write(
        line("user", f"<local-command-stdout>{printed}</local-command-stdout>", "u1"),
    )
    assert stage.poll() == ["model chosen", "record Set model to Opus 4.8"]


def test_a_stopped_turn_is_over(stage):
    stage.hook("UserPromptSubmit")
    stage.write(line("user", [{"type": "text", "text": "[Request interrupted by user]"}], "u1"))
    assert stage.poll() == ["begin", "used nothing", "end", "status Stopped in the terminal"]


def test_a_prompt_that_follows_a_stopped_turn_begins_the_next_one(stage):
    stage.hook("UserPromptSubmit")
    stage.told()
    stage.write(line("user", [{"type": "text", "text": "[Request interrupted by user]"}], "u1"))
    stage.hook("UserPromptSubmit")
    assert stage.told() == ["used nothing", "end", "status Stopped in the terminal", "begin"]
    assert stage.poll() == []


def test_a_turn_that_was_stopped_without_a_trace_is_over(stage):
    stage.hook("UserPromptSubmit")
    stage.program.terminal_titled("\N{BRAILLE PATTERN DOTS-5} Claude")
    stage.program.terminal_titled(f"{IDLE_TITLE} Claude")
    stage.clock.advance(IDLE_DELAY + 0.1)
    assert stage.told() == ["begin", "used nothing", "end", "status Stopped in the terminal"]


def test_a_turn_that_waits_for_a_permission_is_not_over(stage):
    stage.hook("UserPromptSubmit")
    stage.hook("PermissionRequest", tool_name="Bash", tool_input={})
    stage.program.terminal_titled(f"{IDLE_TITLE} Claude")
    stage.clock.advance(IDLE_DELAY + 0.1)
    assert "end" not in stage.told()


def test_the_permission_mode_is_told_when_it_changes(stage):
    for mode in ("default", "default", "plan"):
        stage.hook("PreToolUse", permission_mode=mode)
    assert [text for text in stage.told() if "mode" in text] == ["mode default", "mode plan"]


def test_another_session_is_followed_after_clear(stage):
    stage.write(line("user", "/clear is next", "u1"))
    stage.begin("clear", "s2")
    stage.write(line("user", "new", "u2"), session="s2")
    stage.write(line("user", "not any more", "u3"))
    assert stage.poll() == ["prompt new"]


def test_what_a_resumed_session_has_said_before_is_not_said_again(make):
    stage, _ = make(agent_session="s0")
    stage.write(line("user", "old", "u0"), session="s0")
    stage.begin("resume", "s0")
    stage.write(line("user", "new", "u1"), session="s0")
    assert stage.poll() == ["prompt new"]


def test_what_comes_after_the_checkpoint_of_a_killed_process_is_read(make, tmp_path):
    path = tmp_path / "projects/shop/s1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(line("user", "known", "u0")) + "\n")
    place = {"session": "s1", "path": str(path), "offset": path.stat().st_size}
    stage, _ = make(agent_session="s1", checkpoint=place)
    stage.write(line("user", "unknown", "u1"))
    stage.begin("resume")
    stage.write(line("user", "new", "u2"))
    assert stage.poll() == ["prompt unknown", "prompt new"]
    again, _ = make(agent_session="s1", checkpoint=place)
    Deferred.fromCoroutine(again.program.stop())
    assert again.told() == ["prompt unknown", "prompt new"]


def test_there_is_a_checkpoint_before_the_first_line(make):
    stage, _ = make()
    path = str(stage.path)
    stage.hook("SessionStart", source="startup", session_id="s1", transcript_path=path)
    assert stage.mirror.told == ["session s1", 0]


@pytest.mark.parametrize("source", ["startup", "resume"])
def test_no_transcript_outside_of_the_agents_directory_is_followed(stage, tmp_path, source):
    """Every program of the user can call the hook."""
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(line("user", "secret", "u1")) + "\n")
    (stage.path.with_name("link.jsonl")).symlink_to(other)
    for path in (other, stage.path.with_name("link.jsonl"), "/dev/zero", "no\0path"):
        stage.hook("SessionStart", source=source, session_id="s9", transcript_path=str(path))
    stage.write(line("user", "of the session", "u2"))
    assert stage.poll() == ["prompt of the session"]


@pytest.mark.parametrize("source", ["startup", "resume"])
def test_a_fifo_as_transcript_holds_nothing_up(stage, source):
    os.mkfifo(stage.path.with_name("s2.jsonl"))
    stage.begin(source, "s2")
    assert stage.poll() == []


def test_a_damaged_checkpoint_is_no_reason_to_fail(make, tmp_path):
    for offset in ("9" * 5000, [], 2**70, -1, None):
        place = {"session": "s1", "path": str(tmp_path / "projects/shop/s1.jsonl")}
        stage, _ = make(agent_session="s1", checkpoint={**place, "offset": offset})
        assert stage.poll() == []


def test_rubbish_and_lines_that_were_read_are_left_out(stage):
    with stage.path.open("wb") as file:
        file.write(b"\xff\xfe{\n[]\n\n")
    stage.write(line("user", "one", "u1"), line("user", "one", "u1"))
    assert stage.poll() == ["prompt one"]
    stage.path.write_text("")
    stage.write(line("user", "one", "u1"))
    stage.poll()
    stage.write(line("user", "two", "u2"))
    assert "prompt two" in stage.poll()


# --- permissions
def ask(stage, **more):
    told = {"tool_name": "Bash", "tool_input": {"command": "ls"}}
    stage.hook("PreToolUse", tool_use_id="t1", **told)
    call = stage.hook("PermissionRequest", **told, **more)
    stage.told()
    return call


def answer(stage, **params):
    (give,) = stage.mirror.answers.values()
    give(read_permission_answer({"id": "x", **params}))


def decision(call):
    (reply,) = call.replies
    assert reply["hookSpecificOutput"]["hookEventName"] == "PermissionRequest"
    return reply["hookSpecificOutput"]["decision"]


def test_a_request_names_its_call(stage):
    stage.hook("PreToolUse", tool_use_id="t1", tool_name="Bash", tool_input={"command": "ls"})
    stage.hook("PreToolUse", tool_use_id="t2", tool_name="Bash", tool_input={"command": "rm"})
    stage.told()
    stage.hook("PermissionRequest", tool_name="Bash", tool_input={"command": "rm"})
    assert stage.told() == ["request Bash t2"]


def test_the_page_allows(stage):
    call = ask(stage)
    answer(stage, approved=True)
    assert decision(call) == {"behavior": "allow"}
    stage.hook("PostToolUse", tool_use_id="t1")
    assert stage.told() == []


def test_the_page_allows_for_the_session(stage):
    for_session = {"type": "setMode", "mode": "acceptEdits", "destination": "session"}
    for_good = {"type": "addRules", "destination": "localSettings"}
    call = ask(stage, permission_suggestions=[for_good, for_session])
    answer(stage, approved=True, decision="approved_for_session")
    assert decision(call) == {"behavior": "allow", "updatedPermissions": [for_session]}


def test_the_page_denies_with_a_reason(stage):
    call = ask(stage)
    answer(stage, approved=False, reason="use another name")
    assert decision(call) == {"behavior": "deny", "message": "use another name"}


def test_the_page_answers_a_question(stage):
    question = {"question": "colour?", "options": [{"label": "Red"}, {"label": "Blue"}]}
    given = {"tool_name": "AskUserQuestion", "tool_input": {"questions": [question]}}
    call = stage.hook("PermissionRequest", **given)
    answer(stage, approved=True, answers={"0": ["Blue"]})
    assert decision(call)["updatedInput"] == {
        "questions": [question],
        "answers": {"colour?": "Blue"},
    }


def test_the_terminal_allows(stage):
    call = ask(stage)
    call.leave()
    assert stage.told() == []
    stage.clock.advance(REFUSAL_TIMEOUT)
    assert "settled True" in stage.told()


def test_the_terminal_refuses(stage):
    call = ask(stage)
    call.leave()
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "rejected"}
    stage.write(line("user", [result], "u1"))
    assert stage.poll() == ["settled False", "output u1"]


def test_a_request_that_is_still_open_at_the_end_is_over(stage):
    call = ask(stage)
    Deferred.fromCoroutine(stage.program.stop())
    assert "settled None" in stage.told()
    assert call.is_over


@pytest.mark.parametrize("name", ["PostToolUse", "PostToolUseFailure"])
def test_a_call_that_ends_while_it_is_asked_for_was_approved_by_nobody(stage, name):
    """Every program of the user can call the hook."""
    call = ask(stage)
    stage.hook(name, tool_use_id="t1")
    assert stage.told() == ["settled None"]
    assert call.is_over


def test_a_result_that_is_written_while_it_is_asked_for_was_approved_by_nobody(stage):
    ask(stage)
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "done"}
    stage.write(line("user", [result], "u1"))
    assert "settled None" in stage.poll()


def test_a_call_that_ends_after_the_terminal_has_answered_was_approved_there(stage):
    call = ask(stage)
    call.leave()
    stage.hook("PostToolUse", tool_use_id="t1")
    assert stage.told() == ["settled True"]
