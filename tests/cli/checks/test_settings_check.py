"""Invalid settings and variables are reported, also those that the programs ignore."""

import json
import stat
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hapi.cli.checks.check import Check
from hapi.cli.checks.settings_check import environment_problems, log_problems, settings_problems
from hapi.cli.checks.startup_check import CHECK_DELAY, check_settings_later
from hapi.cli.commands.doctor import examine
from hapi.configured_agents import BUILT_IN
from hapi.settings import ConfigurationError, machine_id

SOUND = {
    "apiUrl": "https://hub.example.com",
    "cliApiToken": "t" * 20,
    "machineId": "m",
    "defaultAgent": "qwen",
    "agents": {"qwen": {"command": ["qwen", "--acp"]}, "opencode": {"label": "Open"}},
    "listenPort": 3006,
    "corsOrigins": ["https://a"],
    "allowedHosts": "a, b",
    "trustedProxies": ["10.0.0.1", "fd00::/8"],
    "extraHeaders": {"X-A": "b"},
    "startRunner": True,
    "startCapSeconds": 90,
    "keepAttempts": {"count": 0, "days": 2},
    "sessionsMayControl": False,
    "stuckAfter": {"silent": 5},
    "sessionLimits": {"openFiles": 100, "tasks": 50},
    "sessionMemory": "2G",
    "sessionScopes": "always",
    "idleAgent": "30m",
    "maxSessions": 5,
    "minFreeMemory": "1G",
    "workspaceRoots": ["/"],
    "somebody-elses": [1],
}


def test_settings_that_make_sense_pass():
    assert settings_problems(SOUND) == []
    assert settings_problems(dict.fromkeys(SOUND)) == []  # null is as good as missing


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("agents", [1], "agents is an array but must be an object"),
        ("agents", {"x": 5}, "agents.x must be an object"),
        ("agents", {"x": {"command": 5}}, "agents.x.command must be"),
        ("agents", {"No Name": {}}, "agents.No Name: 'No Name' is not a valid agent name"),
        ("defaultAgent", 5, "defaultAgent is a number but must be a string"),
        ("defaultAgent", "nix", "defaultAgent is 'nix', but there is no such agent"),
        ("machineId", 5, "machineId is a number but must be a string"),
        ("cliApiToken", ["t"], "cliApiToken is an array but must be a string"),
        ("trustedProxies", "10.0.0", "trustedProxies: '10.0.0' must be an IP address"),
        ("notedApiUrl", 7, "notedApiUrl is a number but must be a string"),
        ("publicUrl", "nonsense", "publicUrl: hub URL 'nonsense' must look like http"),
        ("apiUrl", "https://hub/path", "apiUrl: hub URL 'https://hub/path' must be an origin"),
        ("listenPort", "x", "port 'x'"),
        ("listenPort", "9" * 5000, "port '9"),
        ("corsOrigins", 5, "corsOrigins must be a list of strings"),
        ("extraHeaders", {"X": 5}, "extraHeaders.X is a number but must be a string"),
        ("extraHeaders", "X: y", "extraHeaders is a string but must be an object"),
        ("startRunner", "yes", "startRunner is a string but must be true or false"),
        (
            "sessionsMayControl",
            "false",
            "sessionsMayControl is a string but must be true or false",
        ),
        ("keepAttempts", {"weeks": 5}, "keepAttempts.weeks is unknown (known: count, days)"),
        ("keepAttempts", {"days": "5"}, "keepAttempts.days must be a number"),
        ("startCapSeconds", "90", "startCapSeconds must be a number"),
        ("stuckAfter", {"loud": 5}, "stuckAfter.loud is unknown"),
        ("stuckAfter", {"silent": "5"}, "stuckAfter.silent must be a number"),
        ("sessionLimits", {"openFiles": "many"}, "sessionLimits.openFiles must be a whole number"),
        ("idleAgent", "soon", "idleAgent is 'soon': it must be off, or"),
        ("idleAgent", "0m", "idleAgent is '0m': it must be off, or"),
        ("sessionMemory", "lots", "sessionMemory 'lots'"),
        ("sessionScopes", "sometimes", "sessionScopes is 'sometimes'"),
        (
            "sessionLimits",
            {"processes": -1},
            "sessionLimits.processes must be a whole number, 0 or more",
        ),
        ("maxSessions", "few", "maxSessions 'few'"),
        ("minFreeMemory", "zwei", "minFreeMemory 'zwei'"),
        ("revive", 3, "revive is 3: it must be offer or auto"),
        ("workspaceRoots", "/a", "workspaceRoots must be a list of absolute paths"),
        ("workspaceRoots", ["a"], "workspaceRoots must be a list of absolute paths"),
        (
            "workspaceRoots",
            ["/no/such/place"],
            "workspaceRoots: workspace root '/no/such/place' is not an existing directory",
        ),
    ],
)
def test_a_value_that_makes_no_sense_is_named(key, value, says):
    assert any(says in sentence for sentence in settings_problems({key: value})), settings_problems(
        {key: value}
    )
    assert len(settings_problems({key: value})) == 1


def test_each_value_that_makes_no_sense_is_named_beside_the_others():
    wrong = {
        "maxSessions": "x",
        "minFreeMemory": "zwei",
        "sessionMemory": "lots",
        "sessionLimits": {"processes": -1, "tasks": 0},
    }
    assert len(settings_problems(wrong)) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HAPI_LOG_LEVEL", "loud"),
        ("HAPI_LOG_FORMAT", "xml"),
        ("HAPI_RUNNER_WEBHOOK_TIMEOUT_MS", "soon"),
        ("HAPI_RUNNER_HEARTBEAT_INTERVAL", "-5"),
        ("HAPI_RUNNER_HTTP_TIMEOUT", ""),
        ("HAPI_DISABLE_VERSION_HANDOFF", "true"),
        ("HAPI_RUNNER_MAX_SESSIONS", "few"),
        ("HAPI_RUNNER_SESSION_MEMORY", "lots"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(name, value):
    (sentence,) = environment_problems({name: value})
    assert name in sentence


def test_variables_that_make_sense_pass():
    sound = {
        "HAPI_LOG_LEVEL": "Debug",
        "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS": "2.5e4",
        "HAPI_DISABLE_VERSION_HANDOFF": "0",
    }
    assert environment_problems({**sound, "HAPI_HOME": "?", "PATH": "?"}) == []


def test_what_is_passed_over_gets_into_the_log(capsys):
    seen = []
    globalLogPublisher.addObserver(seen.append)
    try:
        log_problems({"HAPI_LOG_LEVEL": "loud"}, {"startRunner": 1})
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert [event["sentence"].split()[0] for event in seen] == ["startRunner", "HAPI_LOG_LEVEL"]


def test_a_machine_id_that_is_no_text_is_not_made_one(home):
    home.settings.write_text('{"machineId": 5}')
    with pytest.raises(
        ConfigurationError, match=r"machineId in .* is a JSON number but must be a string"
    ):
        machine_id(home)
    assert json.loads(home.settings.read_text()) == {"machineId": 5}


@pytest.fixture
def checks(home, monkeypatch):
    """Runs the checks on what stands in the files, without a reactor; (finding, text) by name."""

    def run(**environ):
        from hapi.cli.checks import live_checks

        for name, content in environ.pop("files", {}).items():
            (home.path / name).write_bytes(content)
            (home.path / name).chmod(0o600)
        monkeypatch.setattr(live_checks, "run_once", lambda check, _: [Check("child", "good", "")])
        found = examine({"HAPI_HOME": str(home.path), "PATH": "/usr/bin:/bin", **environ})
        return {check.name: (check.finding, check.text) for check in found}

    return run


@pytest.mark.parametrize("content", [b"{oops", b"null", b"[]", b"\xff"])
def test_broken_settings_are_told_once__S16(checks, content):
    found = checks(files={"settings.json": content}, CLI_API_TOKEN="t" * 20)
    assert [name for name, (finding, _) in found.items() if finding == "broken"] == ["settings"]
    assert sum("settings.json: " in text for _, text in found.values()) == 1


@pytest.mark.parametrize("value", [{"cliApiToken": 5}, {"apiUrl": "https://h/p"}])
def test_an_invalid_hub_or_token_in_the_settings_is_told_once(home, monkeypatch, value):
    from hapi.cli.checks import live_checks

    home.settings.write_text(json.dumps(value))
    home.settings.chmod(0o600)
    monkeypatch.setattr(live_checks, "run_once", lambda check, _: run_coroutine(check(Clock())))
    monkeypatch.setattr(live_checks, "check_runner", no_check)
    monkeypatch.setattr(live_checks, "check_child", no_check)
    found = examine({"HAPI_HOME": str(home.path), "PATH": "/usr/bin:/bin"})
    findings = {check.name: check.finding for check in found}
    assert (findings["settings"], findings["hub"]) == ("broken", "note")


def test_what_the_hub_of_this_home_says_of_itself_is_the_finding(home, monkeypatch):
    from hapi.cli.checks import live_checks

    own = Check("hub", "note", "is a standby")
    monkeypatch.setattr(live_checks, "own_hub_problem", lambda *_: own)
    monkeypatch.setattr(live_checks, "run_once", lambda check, _: run_coroutine(check(Clock())))
    monkeypatch.setattr(live_checks, "check_runner", no_check)
    monkeypatch.setattr(live_checks, "check_child", no_check)
    found = examine(
        {"HAPI_HOME": str(home.path), "PATH": "/usr/bin:/bin", "CLI_API_TOKEN": "t" * 20}
    )
    assert [check for check in found if check.name == "hub"] == [own]


async def no_check(*_):
    return Check("none", "good", "")


def run_coroutine(coroutine):
    return SynchronousTestCase().successResultOf(Deferred.fromCoroutine(coroutine))


def test_a_home_that_is_a_file_is_told_once(tmp_path, monkeypatch):
    from hapi.cli.checks import live_checks

    monkeypatch.setattr(live_checks, "run_once", lambda check, _: [])
    (tmp_path / "file").write_text("")
    found = examine({"HAPI_HOME": str(tmp_path / "file"), "PATH": "/usr/bin:/bin"})
    assert [check.name for check in found if check.finding == "broken"] == ["home"]


def test_null_is_called_null(checks):
    assert "holds a JSON null" in checks(files={"settings.json": b"null"})["settings"][1]


def test_wrong_types_fail_the_settings_and_variables_are_noted(checks):
    found = checks(
        files={"settings.json": b'{"agents": [1], "defaultAgent": 5}'}, HAPI_LOG_LEVEL="loud"
    )
    assert found["settings"][0] == "broken"
    assert "agents is" in found["settings"][1]
    assert "defaultAgent is" in found["settings"][1]
    assert found["environment"] == (
        "note",
        "HAPI_LOG_LEVEL is 'loud' but must be one of debug, info, warn, error; `info` is used",
    )


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"pid": "x"}', b"\0"])
def test_a_state_file_that_cannot_be_made_out_is_a_note__S05(checks, content):
    finding, text = checks(files={"runner.state.json": content})["state"]
    assert finding == "note"
    assert "moves it aside" in text


def test_a_state_file_that_is_set_aside_is_closed_to_others__S05_K04(home):
    from hapi.runner.storage.state_file import StateFile

    home.runner_state.write_text("{")
    home.runner_state.chmod(0o644)
    aside = StateFile(home).set_aside_if_broken(5.0)
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


def test_a_home_on_a_read_only_file_system_is_named_so__S03(home, monkeypatch):
    from hapi.home import HomeUnusable, os

    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(HomeUnusable, match="it is on a read-only file system"):
        home.prepare()


@pytest_twisted.ensureDeferred
async def test_a_home_that_is_none_fails_once__S10(reactor, tmp_path):
    from hapi.cli.checks.live_checks import check_child
    from hapi.home import Home

    (tmp_path / "file").write_text("")
    check = await check_child(reactor, Home(tmp_path / "file"), {"PATH": "/bin"}, {})
    assert (check.finding, check.text) == (
        "note",
        "not checked, because there is no usable home directory",
    )


def test_the_built_in_agents_are_no_trouble():
    assert [
        agent.name for agent in BUILT_IN.values() if settings_problems({"defaultAgent": agent.name})
    ] == []


def test_a_program_that_starts_checks_its_settings_a_second_later():
    """Whoever waits for the program shall not wait for that."""
    clock, seen = Clock(), []
    globalLogPublisher.addObserver(seen.append)
    try:
        check_settings_later(clock, {"startRunner": 1})
        clock.advance(CHECK_DELAY / 2)
        assert seen == []
        clock.advance(CHECK_DELAY / 2)
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert any(event.get("sentence", "").startswith("startRunner") for event in seen)
