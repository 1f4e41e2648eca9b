"""Our driver with an agent on the public ACP package, and our demo agent with its client."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from hapi.configured_agents import BUILT_IN
from hapi.protocol.acp.prompts import text_block
from hapi.protocol.acp.updates import Plan, Text, Thought, ToolCall
from hapi.protocol.agents import DEMO
from hapi.session.agent import process as agentprocess
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.driver import AgentExited, AgentSessionError, Driver
from hapi.session.agent.process import AgentProcess, environment_of_agent
from tests.support.paths import SUPPORT

PARTNER = (sys.executable, str(SUPPORT / "acp_partner_agent.py"))


class Heard:
    """What the driver tells; `choose` answers permission requests."""

    def __init__(self, choose="yes"):
        self.updates, self.asked, self.choose, self.spoke = [], [], choose, Deferred()

    def updated(self, update):
        self.updates.append(update)
        if isinstance(update, Text) and not self.spoke.called:
            self.spoke.callback(update)

    async def ask(self, request):
        self.asked.append(request)
        if self.choose is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": self.choose}}


@pytest.fixture
def started(reactor, tmp_path, home):
    """Starts an agent; its process is ended with the test."""
    processes = []

    def start(argv=PARTNER, choose="yes", own_group=False):
        heard = Heard(choose)
        process = AgentProcess(reactor, "Partner")
        processes.append(process)
        driver = Driver(process.peer, heard.updated, heard.ask)
        environ = {**os.environ, "CLI_API_TOKEN": "secret", "HAPI_HOME": str(home.path)}
        process.start(
            argv,
            str(tmp_path),
            environment_of_agent(environ, "sid", {"PWD": str(tmp_path)}),
            own_group,
        )
        return process, driver, heard

    yield start
    for process in processes:
        if process.running:
            os.kill(process.pid, signal.SIGKILL)
            pytest_twisted.blockon(process.exited.when_fired())
        pytest_twisted.blockon(Deferred.fromCoroutine(process.end()))
        pytest_twisted.blockon(deferLater(reactor, 0))  # whoever else waits for that end


@pytest_twisted.ensureDeferred
async def test_a_turn_with_an_agent_of_the_public_package(started, tmp_path):
    process, driver, heard = started()
    await driver.open(str(tmp_path), None)
    assert driver.session_id == "partner:sid"
    assert driver.introduction.name == "partner"
    assert [choice.value for choice in driver.select("mode").choices] == ["ask", "plan"]
    end = await driver.prompt([text_block("hello")])
    assert end.stop == "end_turn"
    kinds = [type(update) for update in heard.updates]
    assert kinds == [Thought, Plan, ToolCall, ToolCall, Text]
    assert heard.updates[3].output == "chosen: yes"
    assert heard.asked[0].call.title == "Touch"
    await driver.set("mode", "plan")
    assert driver.select("mode").current == "plan"
    await process.end()
    assert not process.running


@pytest_twisted.ensureDeferred
async def test_a_turn_is_cancelled_and_a_question_too(started, tmp_path):
    _, driver, heard = started(choose=None)
    await driver.open(str(tmp_path), None)
    turn = Deferred.fromCoroutine(driver.prompt([text_block("wait")]))
    await heard.spoke
    driver.cancel()
    assert (await turn).stop == "cancelled"
    await driver.prompt([text_block("hello")])
    assert heard.updates[-2].output == "chosen: cancelled"


@pytest_twisted.ensureDeferred
async def test_a_session_is_resumed_and_what_is_replayed_is_passed_over(started, tmp_path):
    _, driver, heard = started()
    await driver.open(str(tmp_path), "old-session")
    assert (driver.resumed, driver.session_id, heard.updates) == (True, "old-session", [])


COPIES_WHAT_IT_HAS_LOADED = """
import json, sys
loaded = set()
abilities = {"loadSession": True, "sessionCapabilities": {"fork": {}}}
for line in sys.stdin:
    call = json.loads(line)
    name = call.get("params", {}).get("sessionId")
    answer = {"result": {}}
    if call["method"] == "initialize":
        answer = {"result": {"protocolVersion": 1, "agentCapabilities": abilities}}
    elif call["method"] == "session/load" and name == "original":
        said = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "old"}}
        update = {"sessionId": name, "update": said}
        print(json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": update}))
        loaded.add(name)
    elif call["method"] == "session/fork" and name in loaded:
        answer = {"result": {"sessionId": "copy"}}
    else:
        answer = {"error": {"code": -32602, "message": f"Session not found: {name}"}}
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], **answer}), flush=True)
"""


@pytest_twisted.ensureDeferred
async def test_an_agent_that_copies_only_what_it_has_loaded_loads_it_first(started, tmp_path):
    _, driver, heard = started((sys.executable, "-c", COPIES_WHAT_IT_HAS_LOADED))
    await driver.open(str(tmp_path), "original", fork=True)
    assert (driver.session_id, driver.resumed, heard.updates) == ("copy", False, [])


@pytest_twisted.ensureDeferred
async def test_a_session_that_the_agent_does_not_know_is_not_copied(started, tmp_path):
    _, driver, _ = started((sys.executable, "-c", COPIES_WHAT_IT_HAS_LOADED))
    with pytest.raises(AgentSessionError, match="Session not found: unknown"):
        await driver.open(str(tmp_path), "unknown", fork=True)


@pytest_twisted.ensureDeferred
async def test_an_agent_that_dies_says_how(started, tmp_path):
    process, driver, _ = started()
    await driver.open(str(tmp_path), None)
    with pytest.raises(AgentExited, match="Partner exited with code 7"):
        await driver.prompt([text_block("die")])
    assert process.exit_code == 7
    with pytest.raises(AgentExited):
        await driver.prompt([text_block("hello")])


@pytest_twisted.ensureDeferred
async def test_an_agent_that_is_none_is_told_by_its_last_words(started, tmp_path):
    _, driver, _ = started(
        (
            sys.executable,
            "-c",
            "import sys; print('no ACP here'); sys.exit('Error: no such command: acp')",
        )
    )
    with pytest.raises(AgentExited, match="exited with code 1: Error: no such command: acp"):
        await driver.open(str(tmp_path), None)


@pytest_twisted.ensureDeferred
async def test_an_agent_that_says_why_on_stdout_and_ends_with_0_is_told_by_that(started, tmp_path):
    script = "print('kimi-cli is no longer maintained. Please use Kimi Code.')"
    _, driver, _ = started((sys.executable, "-c", script))
    with pytest.raises(AgentExited, match=r"code 0: kimi-cli is no longer maintained\."):
        await driver.open(str(tmp_path), None)


@pytest_twisted.ensureDeferred
async def test_an_agent_that_closes_its_output_and_stays_is_ended(started, tmp_path, monkeypatch):
    monkeypatch.setattr(agentprocess, "CLOSED_OUTPUT_TIMEOUT", 0.1)
    process, driver, _ = started(
        (sys.executable, "-c", "import os, time; os.close(1); time.sleep(600)")
    )
    with pytest.raises(AgentExited, match="Partner closed its output and was ended"):
        await driver.open(str(tmp_path), None)
    assert not process.running


@pytest_twisted.ensureDeferred
async def test_an_agent_that_is_ended_for_a_message_without_end_is_told_by_that(started, tmp_path):
    script = "import sys, time; sys.stdout.write('x' * 4096); sys.stdout.flush(); time.sleep(600)"
    process, driver, _ = started((sys.executable, "-c", script))
    process.peer._buffer.limit = 1024
    with pytest.raises(AgentExited, match="Partner sent a message of more than 1KB and was ended"):
        await driver.open(str(tmp_path), None)
    assert not process.running


@pytest_twisted.ensureDeferred
async def test_an_agent_is_ended_with_everything_it_has_started(reactor, started, tmp_path):
    script = """
import subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
time.sleep(600)
"""
    process, _, _ = started((sys.executable, "-c", script))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text().split():
        await deferLater(reactor, 0.02)
    child = int(children.read_text().split()[0])
    await process.end(1.0)
    assert not process.running
    while (
        Path(f"/proc/{child}").exists()
        and Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    ):
        await deferLater(reactor, 0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


LEAVES_PROCESSES = """
import os, subprocess, sys, time
def start(*argv, **more):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more).pid
pids = [
    start("sleep", "600"),
    start("sleep", "601", start_new_session=True),
    start("sh", "-c", "trap '' TERM; sleep 602 & wait", start_new_session=True),
    start("env", "-i", "/bin/sleep", "603", start_new_session=True),  # hides its origin
]
open("pids", "w").write(" ".join(map(str, pids)))
print("{}", flush=True)
time.sleep(600)
"""


@pytest_twisted.ensureDeferred
async def test_an_agent_that_is_killed_takes_what_it_has_started_with_it(
    reactor, started, tmp_path, monkeypatch
):
    monkeypatch.setattr(agentprocess, "RECORD_INTERVAL", 0.0)
    bystander, _, _ = started((sys.executable, "-c", "import time; time.sleep(600)"))
    process, _, _ = started((sys.executable, "-c", LEAVES_PROCESSES))
    while not process._descendants:
        await deferLater(reactor, 0.02)
    left = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(map(is_running, left))
    os.kill(process.pid, signal.SIGKILL)
    await process.exited.when_fired()
    await process.end()  # as before the next start
    assert not any(map(is_running, left))
    assert bystander.running


@pytest_twisted.ensureDeferred
async def test_what_an_agent_wrote_before_somebody_killed_it_is_not_told_as_the_reason(started):
    speaks = "import sys, time; print('login failed', file=sys.stderr, flush=True); print(1)"
    process, _, _ = started((sys.executable, "-uc", f"{speaks}; time.sleep(600)"))
    while b"login failed" not in process._tail:
        await deferLater(process._reactor, 0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.exited.when_fired() == "was ended by signal 9"


@pytest_twisted.ensureDeferred
async def test_an_agent_starts_again_only_when_what_the_dead_one_left_is_gone(
    reactor, home, tmp_path
):
    from hapi.protocol.agents import Agent
    from hapi.session.agent.host import AgentHost

    leaves = f"setsid sleep 605 & echo $! > pid; exec {' '.join(PARTNER)}"
    agent = Agent("x", "X", ("sh", "-c", leaves), ("sh",))
    host = AgentHost(reactor, agent, str(tmp_path), dict(os.environ))
    turns, ends = Heard(), []
    turns.request_permission, turns.questions = turns.ask, None

    async def open_agent():
        await host.open("sid", None, False, turns, lambda words, code: ends.append(words))
        return int((tmp_path / "pid").read_text())

    left = await open_agent()
    os.kill(host._process.pid, signal.SIGKILL)
    await host._process.exited.when_fired()
    try:
        again = await open_agent()
        assert not is_running(left)
        assert is_running(again)
        assert ends == ["was ended by signal 9"]
    finally:
        await host.end()
    assert not is_running(again)


@pytest_twisted.ensureDeferred
async def test_an_agent_that_ends_by_itself_leaves_no_daemon_running(reactor, started, tmp_path):
    script = """
import subprocess
pid = subprocess.Popen(["sleep", "604"], start_new_session=True).pid
open("pids", "w").write(str(pid))
"""
    process, _, _ = started((sys.executable, "-c", script))
    await process.exited.when_fired()
    await process.end()
    assert not is_running(int((tmp_path / "pids").read_text()))


@pytest_twisted.ensureDeferred
async def test_the_terminals_interrupt_does_not_reach_an_agent_in_a_group_of_its_own(
    started, tmp_path
):
    process, driver, _ = started(own_group=True)
    await driver.open(str(tmp_path), None)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_the_agent_gets_the_session_and_not_the_access_token__K02():
    environ = environment_of_agent(
        {"CLI_API_TOKEN": "secret", "HAPI_EXTRA_HEADERS_JSON": "{}", "PATH": "/bin"},
        "sid",
        {"PWD": "/w"},
    )
    assert environ == {"PATH": "/bin", "PWD": "/w", "HAPI_SESSION_ID": "sid"}


# --- our demo agent


@pytest_twisted.ensureDeferred
async def test_the_demo_agent_shows_everything_on_a_bare_machine(started, tmp_path):
    (tmp_path / "a-file").write_text("")
    _, driver, heard = started(BUILT_IN[DEMO].command, choose="once")
    await driver.open(str(tmp_path), None)
    assert driver.select("model").has("thorough")
    assert (await driver.prompt([text_block("hello")])).usage.output > 0
    kinds = {type(update).__name__ for update in heard.updates}
    assert {"Thought", "Text", "Plan", "ToolCall", "Context", "Commands"} <= kinds
    assert [request.call.input for request in heard.asked] == [{"command": "ls -a"}]
    assert any(
        isinstance(update, ToolCall) and "a-file" in str(update.output) for update in heard.updates
    )
    said = "".join(update.text for update in heard.updates if isinstance(update, Text))
    assert "I have no model behind me" in said


def said_in(heard):
    return "".join(update.text for update in heard.updates if isinstance(update, Text))


@pytest_twisted.ensureDeferred
async def test_the_demo_agent_remembers_after_a_restart(started, tmp_path):
    process, driver, _ = started(BUILT_IN[DEMO].command, choose="no")
    await driver.open(str(tmp_path), None)
    await driver.prompt([text_block("the word is rhubarb")])
    await process.end()
    _, again, heard = started(BUILT_IN[DEMO].command)
    await again.open(str(tmp_path), driver.session_id)
    assert again.resumed
    await again.prompt([text_block("what did I say?")])
    assert "rhubarb" in said_in(heard)


@pytest_twisted.ensureDeferred
async def test_the_demo_agent_is_stopped_changes_modes_and_fails_on_demand(started, tmp_path):
    _, driver, heard = started(BUILT_IN[DEMO].command)
    await driver.open(str(tmp_path), None)
    turn = Deferred.fromCoroutine(driver.prompt([text_block("count to 999")]))
    await heard.spoke
    driver.cancel()
    assert (await turn).stop == "cancelled"
    await driver.set("mode", "plan")
    await driver.prompt([text_block("run: ls")])
    assert "In plan mode I run nothing" in said_in(heard)
    assert heard.asked == []
    await driver.set("mode", "bypassPermissions")
    await driver.prompt([text_block("run: pwd")])
    assert heard.asked == []
    assert any(
        isinstance(update, ToolCall) and update.output == str(tmp_path) for update in heard.updates
    )
    from hapi.session.agent.jsonrpc_peer import AgentError

    with pytest.raises(AgentError, match="asked to fail"):
        await driver.prompt([text_block("fail")])


@pytest_twisted.ensureDeferred
async def test_the_demo_agent_names_the_mode_that_the_session_was_put_in(started, tmp_path):
    _, driver, heard = started(BUILT_IN[DEMO].command)
    await driver.open(str(tmp_path), None)
    settings = SessionSettings(
        BUILT_IN[DEMO], lambda: succeed(driver), mode=BUILT_IN[DEMO].unrestricted_mode
    )
    assert await settings.begin(driver) == []
    await driver.prompt([text_block("mode")])
    await driver.prompt([text_block("run: pwd")])
    assert "I am in the mode `yolo`" in said_in(heard)
    assert heard.asked == []


@pytest_twisted.ensureDeferred
async def test_the_demo_agent_does_not_tick_off_the_step_that_was_denied(started, tmp_path):
    _, driver, heard = started(BUILT_IN[DEMO].command, choose="no")
    await driver.open(str(tmp_path), None)
    await driver.prompt([text_block("run: pwd")])
    last = [update for update in heard.updates if isinstance(update, Plan)][-1]
    assert [entry["status"] for entry in last.entries] == ["completed", "completed", "pending"]
    assert "I leave `pwd` alone" in said_in(heard)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf x",
        "cat /etc/passwd",
        "ls; touch made",
        "date -s 2020-01-01",
        "sh -c ls",
        "echo `touch made`",
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_demo_agent_runs_nothing_harmful(started, tmp_path, command):
    _, driver, heard = started(BUILT_IN[DEMO].command, choose="once")
    await driver.open(str(tmp_path), None)
    await driver.prompt(f"run: {command}")
    assert not (tmp_path / "made").exists()
    outputs = [
        update.output for update in heard.updates if isinstance(update, ToolCall) and update.output
    ]
    assert not any("root:" in str(output) for output in outputs)


@pytest_twisted.ensureDeferred
async def test_a_conversation_that_is_not_there_cannot_be_loaded(started, tmp_path):
    _, driver, _ = started(BUILT_IN[DEMO].command)
    await driver.open(str(tmp_path), "demo-../../../etc/passwd")
    assert not driver.resumed


@pytest_twisted.ensureDeferred
async def test_a_missing_program_is_told(reactor, home, tmp_path):
    from hapi.protocol.agents import Agent
    from hapi.session.agent.host import AgentHost

    host = AgentHost(
        reactor,
        Agent("x", "X", ("no-such-agent",), ("no-such-agent",)),
        str(tmp_path),
        {"PATH": "/bin"},
    )
    with pytest.raises(AgentSessionError, match="no-such-agent is not installed"):
        await host.open("sid", None, False, None, lambda words, code: None)


def test_the_demo_agent_satisfies_the_client_of_the_public_package(home, tmp_path):
    import acp
    from acp import schema
    from acp.stdio import spawn_agent_process

    class Client(acp.Client):
        def __init__(self):
            self.updates = []

        async def request_permission(self, options, session_id, tool_call, **more):
            outcome = schema.AllowedOutcome(option_id=options[0].option_id, outcome="selected")
            return schema.RequestPermissionResponse(outcome=outcome)

        async def session_update(self, session_id, update, **more):
            self.updates.append(update)

    async def talk():
        client = Client()
        async with spawn_agent_process(client, *BUILT_IN[DEMO].command, env={**os.environ}) as (
            connection,
            _,
        ):
            await connection.initialize(protocol_version=1)
            opened = await connection.new_session(cwd=str(tmp_path), mcp_servers=[])
            assert [option.id for option in opened.config_options] == ["mode", "model"]
            answer = await connection.prompt(
                session_id=opened.session_id, prompt=[acp.text_block("hello")]
            )
            assert answer.stop_reason == "end_turn"
            await connection.set_session_mode(session_id=opened.session_id, mode_id="plan")
            await connection.set_config_option(
                session_id=opened.session_id, config_id="model", value="thorough"
            )
            loaded = await connection.load_session(
                cwd=str(tmp_path), session_id=opened.session_id, mcp_servers=[]
            )
            assert loaded.modes is not None
        return {update.session_update for update in client.updates}

    kinds = asyncio.run(talk())
    assert {
        "agent_message_chunk",
        "agent_thought_chunk",
        "plan",
        "tool_call",
        "tool_call_update",
        "usage_update",
    } <= kinds
