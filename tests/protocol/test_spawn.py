"""The command line and environment of a session, held to the recordings of the reference build."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.protocol.spawn import (
    MalformedSpawn,
    NeedsDirectory,
    Spawned,
    SpawnRefused,
    Worktree,
    environment_for,
    parse_spawn,
    rpc_spawn_answer,
    session_arguments,
)
from tests.support.paths import FIXTURES

RECORDED = [json.loads(line) for line in (FIXTURES / "spawn-argv.jsonl").read_text().splitlines()]
STARTED = [line for line in RECORDED if line["argv"] is not None]


@pytest.mark.parametrize("line", STARTED, ids=[json.dumps(line["params"])[:80] for line in STARTED])
def test_argv_is_the_recorded_one(line):
    assert session_arguments(parse_spawn(line["params"])) == line["argv"]


@pytest.mark.parametrize("line", STARTED, ids=[json.dumps(line["params"])[:80] for line in STARTED])
def test_environment_adds_what_was_recorded(line):
    request, recorded = parse_spawn(line["params"]), line["env"]
    worktree = None
    if "HAPI_WORKTREE_NAME" in recorded:
        made = {
            name: recorded[f"HAPI_WORKTREE_{name.upper()}"]
            for name in ("base_path", "branch", "name", "path")
        }
        worktree = Worktree(**made, created_at=int(recorded["HAPI_WORKTREE_CREATED_AT"]))
    environment = environment_for(
        request, {}, identity={}, worktree=worktree, codex_home=recorded.get("CODEX_HOME")
    )
    ours = {
        name: value
        for name, value in environment.items()
        if name not in ("NO_PROXY", "no_proxy", "DEV")
    }
    assert ours == recorded


def test_a_cursor_session_in_a_linked_worktree_asks_for_no_other():
    request = parse_spawn({"directory": "/d", "agent": "cursor", "sessionType": "worktree"})
    assert session_arguments(request)[-1] == "--cursor-worktree"
    assert "--cursor-worktree" not in session_arguments(request, linked_worktree=True)


ARGUMENTS = """
agent model effort modelReasoningEffort permissionMode worktreeName resumeSessionId sessionId
"""


@pytest.mark.parametrize("name", ARGUMENTS.split())
@pytest.mark.parametrize("value", ["--yolo", " --yolo", "-m", "\t-"])
def test_no_value_can_be_read_as_an_option(name, value):
    """A worktree that is named `--yolo` made a session that asks for nothing."""
    given = {"directory": "/d", "agent": "cursor", "sessionType": "worktree", name: value}
    with pytest.raises(MalformedSpawn, match=f"{name} must not begin with a hyphen"):
        parse_spawn(given)


def test_a_directory_may_begin_with_a_hyphen():
    assert parse_spawn({"directory": "-d"}).directory == "-d"


def test_an_agent_of_our_own_gets_the_general_options():
    request = parse_spawn(
        {
            "directory": "/d",
            "agent": "demo",
            "existingSessionId": "X",
            "model": "m",
            "permissionMode": "plan",
        }
    )
    expected = (
        "--hapi-starting-mode remote --started-by runner --existing-session-id X "
        "--model m --permission-mode plan"
    )
    assert session_arguments(request) == ["demo", *expected.split()]


@pytest.mark.parametrize("params", [None, {}, [], "x", {"directory": ""}, {"directory": None}])
def test_a_spawn_without_directory_is_refused(params):
    with pytest.raises(MalformedSpawn, match="Directory is required"):
        parse_spawn(params)


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"directory": 5}, "directory"),
        ({"directory": "/d", "model": 5}, "model"),
        ({"directory": "/d", "sessionType": "other"}, "sessionType"),
        ({"directory": "/d\0"}, "directory"),
        ({"directory": "/d", "model": "\ud800"}, "model"),
        ({"directory": "/" + "d" * 20000}, "directory"),
    ],
)
def test_a_malformed_spawn_names_the_place__D05(params, where):
    with pytest.raises(MalformedSpawn, match=where):
        parse_spawn(params)


def test_only_the_literal_true_counts():
    request = parse_spawn(
        {"directory": "/d", "yolo": "true", "forkSession": 1, "approvedNewDirectoryCreation": 0}
    )
    assert (request.yolo, request.fork_session, request.create_directory) == (False, False, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_or_refused(params):
    try:
        argv = session_arguments(parse_spawn(params))
    except MalformedSpawn:
        return
    assert all(isinstance(part, str) for part in argv)


def test_an_idle_time_is_passed_to_sessions_of_ours_alone():
    request = parse_spawn({"directory": "/d", "agent": "opencode", "idleAgent": "30m"})
    assert session_arguments(request, own_session=True)[-2:] == ["--idle-agent", "30m"]
    assert "--idle-agent" not in session_arguments(request)
    assert parse_spawn({"directory": "/d", "idleAgent": ""}).idle_agent is None


@pytest.mark.parametrize("idle_time", ["soon", "0m", "--yolo"])
def test_an_idle_time_that_is_none_is_refused_in_words(idle_time):
    with pytest.raises(MalformedSpawn, match=f"idleAgent is '{idle_time}': it must be off, or"):
        parse_spawn({"directory": "/d", "idleAgent": idle_time})


def test_nothing_meant_for_the_runner_reaches_the_child__C18():
    own = dict.fromkeys(
        (
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "WATCHDOG_USEC",
            "HAPI_RUNNER_HANDOFF_FROM_PID",
            "MAINPID",
        ),
        "1",
    )
    environment = environment_for(
        parse_spawn({"directory": "/d"}), own | {"PATH": "/bin"}, identity={"HAPI_ATTEMPT": "a1"}
    )
    assert not own.keys() & environment.keys()
    assert environment["PATH"] == "/bin"
    assert environment["HAPI_ATTEMPT"] == "a1"


def test_loopback_is_never_asked_of_a_proxy():
    environment = environment_for(
        parse_spawn({"directory": "/d"}), {"NO_PROXY": "corp, localhost"}, identity={}
    )
    assert environment["NO_PROXY"] == "corp,localhost,127.0.0.1,::1"
    assert environment["no_proxy"] == "localhost,127.0.0.1,::1"


def test_results_on_the_wire():
    assert rpc_spawn_answer(Spawned("s")) == {"type": "success", "sessionId": "s"}
    assert rpc_spawn_answer(NeedsDirectory("/d")) == {
        "type": "requestToApproveDirectoryCreation",
        "directory": "/d",
    }
    assert rpc_spawn_answer(SpawnRefused("no", "agent_unavailable", "pi")) == {
        "type": "error",
        "errorMessage": "no",
        "code": "agent_unavailable",
        "agent": "pi",
    }
    assert rpc_spawn_answer(SpawnRefused("no")) == {"type": "error", "errorMessage": "no"}


@pytest.mark.parametrize("agent", ["claude", "copilot", "opencode", "demo"])
def test_a_session_of_ours_goes_on_with_its_row_whatever_its_agent(agent):
    request = parse_spawn({"directory": "/w", "agent": agent, "existingSessionId": "row-1"})
    argv = session_arguments(request, own_session=True)
    assert argv[argv.index("--existing-session-id") + 1] == "row-1"
