"""The machine's RPC methods as the hub calls them, held to the recordings."""

import json

import pytest
from twisted.internet.defer import Deferred

from hapi.net.common.rpc import RpcTable
from hapi.protocol.agents import AGENTS
from hapi.protocol.control import HandoffBegan, LeavesForSupervisor, RestartRefused
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused
from hapi.remembered_offers import remember_offer
from hapi.runner.config.options import OWN_SESSION_COMMAND, RunnerOptions
from hapi.runner.spawn.agent_availability import AgentAvailability, npm_unavailable_reason
from hapi.runner.uplink.rpc_methods import register_methods
from hapi.runner.workspace.cursor import chat_store_status
from hapi.runner.workspace.roots import WorkspaceRoots
from hapi.settings import ConfigurationError
from tests.support.paths import FIXTURES
from tests.support.runner_stage import options_for, result_of

RECORDED = [json.loads(line) for line in (FIXTURES / "rpc-results.jsonl").read_text().splitlines()]
OURS = [
    line
    for line in RECORDED
    if line["method"]
    in ("spawn-happy-session", "stop-session", "stop-runner", "agent-availability")
]


class Runner:
    restarts = LeavesForSupervisor()

    def __init__(self, home, tmp_path):
        claude = tmp_path / "bin/claude"
        claude.parent.mkdir()
        claude.write_text("")
        claude.chmod(0o755)
        self.options = options_for(home, environ={"PATH": str(claude.parent)})
        self.availability = AgentAvailability.of(self.options)
        self.result, self.asked, self.stopped_by = Spawned("s"), [], []

    async def spawn(self, request, asked_by, within=None):
        self.asked.append((request.directory, asked_by))
        if request.directory == "/etc":
            return SpawnRefused(
                "Directory is outside this machine's workspace roots", "outside_workspace_roots"
            )
        refusal = self.availability.refusal(request.flavor)
        return refusal or self.result

    async def stop_session(self, name, actor):
        return "still_alive"

    def knows_session(self, name):
        return name == "known"

    async def restart(self, actor):
        if not isinstance(self.restarts, RestartRefused):
            self.stopped_by.append(actor)
        return self.restarts

    def handoff_to(self, replacement):
        return {"pid": 1, "underWay": replacement == 7}


@pytest.fixture
def runner(home, tmp_path):
    return Runner(home, tmp_path)


def call(runner, method, params, inquire=None):
    table = RpcTable("m")
    register_methods(table, runner, inquire)
    request = {
        "method": f"m:{method}",
        "params": params if isinstance(params, str) else json.dumps(params),
    }
    return json.loads(result_of(Deferred.fromCoroutine(table.answer(request))))


@pytest.mark.parametrize(
    "line", OURS, ids=[f"{line['method']} {json.dumps(line['params'])}" for line in OURS]
)
def test_answers_are_the_recorded_ones(runner, line):
    assert call(runner, line["method"], line["params"]) == line["result"]


def test_the_methods_a_hub_looks_for_are_there_in_order(runner):
    table = RpcTable("m")
    register_methods(table, runner)
    assert table.methods == (
        *("m:agent-availability", "m:path-exists", "m:cursor-chat-store-status"),
        *("m:list-directory", "m:spawn-happy-session", "m:stop-session", "m:stop-runner"),
        "m:runner-handoff",
        "m:readGeneratedImage",
    )


@pytest.fixture
def own_runner(home, tmp_path):
    """A runner of our own sessions on a machine with Codex and an agent of the settings."""
    runner = Runner(home, tmp_path)
    for name in ("codex-acp", "mine"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    settings = {"agents": {"mine": {"command": ["mine"], "permissionModes": ["default", "plan"]}}}
    runner.options = options_for(
        home,
        environ=runner.options.environ,
        session_command=OWN_SESSION_COMMAND,
        settings=settings,
    )
    runner.availability = AgentAvailability.of(runner.options)
    return runner


CODEX_OFFER = {
    "modes": [{"id": "default", "name": "Auto review"}, {"id": "workspace-write", "name": "W"}],
    "models": [{"id": "m", "name": "M"}],
    "commands": [{"name": "init"}],
}


def test_the_models_of_the_last_session_are_those_of_the_machine(own_runner, home):
    before = call(own_runner, "listCodexModels", {})
    assert before == {
        "success": False,
        "error": "No session of Codex has run on this machine yet, so its models are not known "
        "here",
    }
    remember_offer(home, AGENTS["codex"], own_runner.options.environ, CODEX_OFFER)
    assert call(own_runner, "listCodexModels", {})["models"][0]["id"] == "m"
    assert call(own_runner, "listOpencodeModelsForCwd", {"cwd": "/w"})["success"] is False


def test_an_agent_that_has_not_run_yet_is_asked_for_its_models(own_runner, home):
    asked = []

    async def inquire(agent):
        asked.append(agent)
        remember_offer(home, AGENTS[agent], own_runner.options.environ, CODEX_OFFER)

    assert call(own_runner, "listCodexModels", {}, inquire)["models"][0]["id"] == "m"
    assert call(own_runner, "listCodexModels", {}, inquire)["success"] is True
    assert asked == ["codex"]
    missing = call(own_runner, "listOpencodeModelsForCwd", {"cwd": "/w"}, inquire)
    assert missing == {"success": False, "error": "opencode is not installed or is not on PATH"}


def test_an_agent_that_does_not_tell_its_models_is_quoted(own_runner):
    async def inquire(agent):
        return "Codex did not say what it offers: Authentication required"

    assert call(own_runner, "listCodexModels", {}, inquire) == {
        "success": False,
        "error": "Codex did not say what it offers: Authentication required",
    }


def test_the_form_for_a_new_session_is_told_what_the_machine_knows(own_runner, home):
    remember_offer(home, AGENTS["codex"], own_runner.options.environ, CODEX_OFFER)
    listed = {
        each["agent"]: each for each in own_runner.availability.response({"all": True})["agents"]
    }
    assert listed["codex"]["offer"] == {key: CODEX_OFFER[key] for key in ("modes", "models")}
    assert listed["mine"] == {
        "agent": "mine",
        "available": True,
        "label": "Mine",
        "permissionModes": ["default", "plan"],
    }
    npm = own_runner.availability.response({})["agents"]
    assert all(set(each) <= {"agent", "available", "reason"} for each in npm)


def test_a_mode_that_the_agent_lacks_is_refused_before_the_start(own_runner, home):
    remember_offer(home, AGENTS["codex"], own_runner.options.environ, CODEX_OFFER)
    refusal = own_runner.availability.mode_refusal
    assert refusal("codex", "workspace-write") is None
    assert refusal("codex", "plan").message == (
        "codex has no permission mode 'plan': it is one of default, workspace-write"
    )
    assert refusal("mine", "yolo").code == "unknown_mode"


def test_the_hub_is_named_as_the_one_who_asks(runner):
    call(runner, "spawn-happy-session", {"directory": "/d", "agent": "claude"})
    call(runner, "stop-runner", {})
    assert (runner.asked, runner.stopped_by) == ([("/d", "hub")], ["hub"])


def test_the_hub_is_told_why_a_runner_is_not_restarted(runner):
    runner.restarts = RestartRefused("the installed version does not start: SyntaxError")
    answer = call(runner, "stop-runner", {})
    assert answer == {
        "error": "The runner keeps running, because the installed version does not start: "
        "SyntaxError"
    }
    assert runner.stopped_by == []


def test_the_hub_is_told_which_process_replaces_the_runner_and_how_that_goes(runner):
    runner.restarts = HandoffBegan(7)
    assert call(runner, "stop-runner", {}) == {
        "message": "The runner is being replaced",
        "replacement": 7,
    }
    assert call(runner, "runner-handoff", {"replacement": 7}) == {"pid": 1, "underWay": True}
    assert "error" in call(runner, "runner-handoff", {"replacement": "seven"})


def test_a_directory_is_asked_for(runner):
    runner.result = NeedsDirectory("/d")
    answer = call(runner, "spawn-happy-session", {"directory": "/d", "agent": "claude"})
    assert answer == {"type": "requestToApproveDirectoryCreation", "directory": "/d"}


@pytest.mark.parametrize(
    "params", ["", "nonsense", None, [], {"directory": 5}, {"directory": "/d", "agent": {}}]
)
def test_malformed_params_are_an_error_answer__N20(runner, params):
    assert "error" in call(runner, "spawn-happy-session", params)


def test_our_own_agents_are_named_only_to_who_asks_for_all(home):
    availability = AgentAvailability.of(options_for(home, session_command=OWN_SESSION_COMMAND))
    known = {entry["agent"] for entry in availability.response({})["agents"]}
    assert known <= {name for name, agent in AGENTS.items() if agent.form}
    everything = {
        entry["agent"]: entry["available"]
        for entry in availability.response({"all": True})["agents"]
    }
    assert everything["demo"] is True
    local = {agent.name for agent in availability.local_agents()}
    assert local == {name for name, agent in AGENTS.items() if not agent.form}
    assert {"demo", "qwen"} <= local


@pytest.mark.parametrize(
    ("agent", "environ", "reason"),
    [
        ("gemini", {}, "not_found"),
        ("demo", {}, "not_found"),
        ("claude", {"HAPI_CLAUDE_PATH": "/bin/true"}, None),
        ("claude", {"HAPI_CLAUDE_PATH": "/no/such"}, "not_found"),
        ("dsh", {"HAPI_DSH_ACP_COMMAND": "/bin/true"}, None),
        (
            "dsh",
            {"HAPI_DSH_ACP_COMMAND": "/bin/true", "HAPI_DSH_ACP_ARGS_JSON": "{"},
            "invalid_configuration",
        ),
        ("codex", {"HAPI_CODEX_APP_SERVER_BIN": "/no/such"}, "invalid_configuration"),
        ("cursor", {}, "not_found"),
    ],
)
def test_what_npms_sessions_can_run(agent, environ, reason):
    assert npm_unavailable_reason(agent, {"PATH": "/nowhere", **environ}) == reason


# --- Cursor's chats


@pytest.mark.parametrize(
    ("path", "store"),
    [
        ("acp-sessions/C1/store.db", "acp"),
        ("chats/f1557180a44d9e27d89e05f48c2dbb6a/C1/store.db", "legacy"),
        ("chats/of-a-moved-workspace/C1/store.db", "legacy"),
        ("chats/f1557180a44d9e27d89e05f48c2dbb6a/C2/store.db", None),
    ],
)
def test_a_chat_is_found_where_cursor_keeps_it(tmp_path, path, store):
    chat = tmp_path / ".cursor" / path
    chat.parent.mkdir(parents=True)
    chat.touch()
    params = {"workspacePath": "/tmp/rn/cur/ws", "cursorSessionId": "C1", "homeDir": str(tmp_path)}
    assert chat_store_status(WorkspaceRoots(), params) == {
        "onDisk": store is not None,
        "store": store,
    }


@pytest.mark.parametrize("chat", ["../../etc", "", None, "a/b", "x" * 300, "\0"])
def test_a_chat_id_that_is_none_is_nowhere__D05(tmp_path, chat):
    params = {"workspacePath": "/w", "cursorSessionId": chat, "homeDir": str(tmp_path)}
    assert chat_store_status(WorkspaceRoots(), params) == {"onDisk": False, "store": None}
    assert chat_store_status(WorkspaceRoots(), None) == {"onDisk": False, "store": None}


# --- options


def environment(home, **more):
    return {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": "t", "PATH": "/bin", **more}


def test_options_come_from_the_environment(home, tmp_path):
    found = RunnerOptions.from_environment(
        environment(
            home,
            HAPI_RUNNER_WEBHOOK_TIMEOUT_MS="3000",
            HAPI_RUNNER_HEARTBEAT_INTERVAL="500",
            HAPI_HOSTNAME="box",
            HAPI_DISABLE_VERSION_HANDOFF="1",
            HAPI_RUNNER_SUPERVISED="1",
            HAPI_EXTRA_HEADERS_JSON='{"X-A": "1"}',
        ),
        workspace_roots=[str(tmp_path)],
    )
    assert (found.announce_timeout, found.heartbeat, found.hostname) == (3.0, 0.5, "box")
    assert (found.handoff_disabled, found.supervised, found.uses_own_sessions) == (True, True, True)
    assert found.argv == ("runner", "start-sync", "--workspace-root", str(tmp_path))
    assert found.session_environment()["HAPI_EXTRA_HEADERS_JSON"] == '{"X-A": "1"}'
    assert found.machine_id == RunnerOptions.from_environment(environment(home)).machine_id


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "nan", "inf", "1e300"])
def test_a_timeout_that_is_no_number_above_zero_counts_as_not_there(home, value):
    found = RunnerOptions.from_environment(environment(home, HAPI_RUNNER_WEBHOOK_TIMEOUT_MS=value))
    assert found.announce_timeout == 15.0


def test_the_session_program_is_a_setting(home):
    named = RunnerOptions.from_environment(environment(home, HAPI_CLI_EXECUTABLE="/bin/true"))
    assert (named.session_command, named.uses_own_sessions) == (("/bin/true",), False)
    given = RunnerOptions.from_environment(environment(home), session_command="true --flag 'a b'")
    assert given.session_command == ("/bin/true", "--flag", "a b")
    assert given.argv == ("runner", "start-sync", "--session-command", "true --flag 'a b'")


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({"HAPI_CLI_EXECUTABLE": "true"}, {}),
        ({"HAPI_CLI_EXECUTABLE": "/no/such"}, {}),
        ({"HAPI_CLI_EXECUTABLE": "/etc/passwd"}, {}),
        ({"CLI_API_TOKEN": " "}, {}),
        ({}, {"session_command": "no-such-program"}),
        ({}, {"session_command": "'"}),
        ({}, {"workspace_roots": ["/no/such"]}),
        ({}, {"workspace_roots": [""]}),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence__V10(home, environ, flags):
    with pytest.raises(ConfigurationError):
        RunnerOptions.from_environment(environment(home, **environ), **flags)


def test_a_home_directory_outside_the_workspace_roots_is_not_looked_into__D01_X17(tmp_path):
    inside, outside = tmp_path / "root/home", tmp_path / "elsewhere"
    for place in (inside, outside):
        store = place / ".cursor/acp-sessions/chat-1/store.db"
        store.parent.mkdir(parents=True)
        store.touch()
    roots = WorkspaceRoots.parse([str(tmp_path / "root")])
    found = {
        place: chat_store_status(
            roots, {"cursorSessionId": "chat-1", "workspacePath": "/w", "homeDir": str(place)}
        )["store"]
        for place in (inside, outside, inside / "../../elsewhere")
    }
    assert list(found.values()) == ["acp", None, None]
