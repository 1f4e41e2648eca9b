"""The runner as a service: up in order, leaving in time, beats, exit codes.

Hub and processes are in memory, files are real.
"""

import hashlib
import json
import os
import stat
import time

import pytest
from twisted.internet.defer import Deferred

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home
from hapi.protocol.attempt import AttemptRequest
from hapi.protocol.spawn import parse_spawn
from hapi.runner.attempts.retention import Retention
from hapi.runner.config.options import OWN_SESSION_COMMAND
from hapi.runner.heartbeat import Heartbeat
from hapi.runner.lock.home_lock import HomeHeld, RunnerLock, Superseded
from hapi.runner.service import HELD, STOPPED, SUPERSEDED
from hapi.runner.storage.state_file import StateFile, hub_identity, npm_timestamp, own_runner_state
from hapi.runner.storage.write_retries import RETRY_INTERVAL
from hapi.settings import HubAccess
from hapi.uploads import SessionUploads
from tests.support.runner_service import Reactor, Run
from tests.support.runner_stage import assert_waiting, result_of


@pytest.fixture
def run(home):
    made = Run(home)
    yield made
    if made.service.running:
        made.stop()


def test_it_comes_up_in_order(run):
    run.up()
    assert run.steps == [
        "locking",
        "lock held",
        "control open",
        "state written",
        "adopted",
        "serving",
    ]
    assert run.machine.said == ["start"]
    result_of(run.service.when_up())
    assert_waiting(run.service.when_registered())
    run.machine.on_registered()
    result_of(run.service.when_registered())


def test_the_state_file_says_what_npm_looks_for(run, home):
    run.up()
    state = run.state
    assert (state["pid"], state["httpPort"], state["sharedCodexRuntime"]) == (
        os.getpid(),
        4711,
        True,
    )
    assert state["startedWithVersionHandoffDisabled"] is True
    assert state["startedWithMachineId"] == "machine-1"
    assert state["startedWithArgv"] == ["runner", "start-sync"]
    assert "secret-token" not in home.runner_state.read_text()
    assert os.stat(home.runner_state).st_mode & 0o777 == 0o600
    assert home.npm_lock.read_text() == str(os.getpid())


def test_leaving_takes_our_files_and_tells_the_hub__P01(run, home):
    run.up().stop()
    assert run.machine.said == ["start", "os-signal", "closed"]
    assert not home.runner_state.exists()
    assert not home.npm_lock.exists()
    assert not home.runner_socket.exists()
    assert run.retired == []
    assert run.reactor.getDelayedCalls() == []


def test_a_dead_hub_delays_leaving_by_less_than_a_second_and_a_half__L18_G14(home):
    run = Run(home, dead_hub=True).up()
    run.service.api.stop_soon("control: pid 1")
    run.reactor.advance(0.05)
    leaving = run.service.stopService()
    for _ in range(144):
        run.reactor.advance(0.01)
    result_of(leaving)
    assert run.retired == [STOPPED]
    assert not home.runner_state.exists()
    assert not run.machine.link.connected


@pytest.mark.parametrize(("actor", "source"), [("hub", "hapi-app"), ("control: pid 5", "hapi-cli")])
def test_who_asked_is_the_source(run, actor, source):
    run.up().service.api.stop_soon(actor)
    run.reactor.advance(0.2)
    run.reactor.advance(0.5)
    assert source in run.machine.said
    assert run.retired == [STOPPED]


def test_stop_and_signal_together_are_one_leaving__P09_P02(run):
    run.up()
    for actor in ("hub", "control", "hub"):
        run.service.api.stop_soon(actor)
    leaving = [run.service.stopService() for _ in range(3)]
    run.reactor.advance(0.2)
    run.reactor.advance(0.5)
    for each in leaving:
        result_of(each)
    assert run.machine.said.count("closed") == 1


@pytest.mark.parametrize("moments", [0, 1, 5, 12, 14])
def test_a_stop_while_coming_up_leaves_nothing_behind__P01(home, moments):
    run = Run(home)
    run.service.startService()
    for _ in range(moments):
        run.reactor.advance(0.02)
    run.stop()
    assert not home.runner_state.exists()
    assert not home.npm_lock.exists()
    assert run.reactor.getDelayedCalls() == []


def test_sessions_stay_when_the_runner_leaves(run):
    run.up()
    run.service.sessions.availability._reason = lambda agent: None
    asked = run.service.spawn(
        parse_spawn({"directory": str(run.home.path), "agent": "claude"}), "hub"
    )
    answer = Deferred.fromCoroutine(asked)
    run.reactor.advance(0.1)
    run.stop()
    assert "stopping" in result_of(answer).message
    (attempt,) = attempts(run.home)
    assert run.processes.is_running(attempt.process.child)
    assert run.machine.said[1] == "os-signal"  # no failed start is told: it may still come up


def test_a_home_that_is_held_ends_with_its_own_code__L01(home):
    first = Run(home).up()
    second = Run(home)
    second.processes.add("runner", "start-sync", pid=first.state["pid"])
    second.up()
    for _ in range(100):
        second.reactor.advance(0.02)
    assert second.retired == [HELD]
    failure = second.service.when_up()
    failure.addErrback(lambda reason: reason.trap(HomeHeld) and "held")
    assert result_of(failure) == "held"
    assert first.state["pid"] == os.getpid()
    first.stop()


def test_the_beat_writes_the_state_again__S08(run, home):
    run.up()
    home.runner_state.unlink()
    run.reactor.advance(60.0)
    assert run.state["lastHeartbeat"]
    assert run.state["pid"] == os.getpid()


def test_a_rival_in_the_lock_makes_us_leave_and_touch_nothing__L11(run, home):
    run.up()
    rival = run.processes.add("hapi", "runner", "start-sync")
    home.npm_lock.write_text(str(rival.pid))
    taken = {"pid": rival.pid, "httpPort": 9}
    home.runner_state.write_text(json.dumps(taken))
    run.reactor.advance(60.0)
    run.reactor.advance(1.0)
    assert run.retired == [SUPERSEDED]
    assert run.state == taken
    assert home.npm_lock.read_text() == str(rival.pid)


def test_a_failing_beat_does_not_end_the_beating__P07(run, logged_failures, monkeypatch):
    run.up()
    monkeypatch.setattr(StateFile, "save", lambda *_: 1 / 0)
    run.reactor.advance(60.0)
    run.reactor.advance(60.0)
    assert len(logged_failures.take(ZeroDivisionError)) == 2
    assert run.service.status()["failedBeats"] == 2


def test_a_broken_state_file_is_set_aside__S05(run, home):
    for content in (b"{", b"[]", b"\xff\xfe", b'{"pid": "x", "httpPort": 1}', b"[" * 100_000):
        home.runner_state.write_bytes(content)
        assert StateFile(home).read() is None
    run.up()
    assert run.state["pid"] == os.getpid()
    assert [path.name for path in home.path.glob("*.corrupt-*")]


def test_a_full_disk_is_told_once_and_the_runner_serves_on__S02(run, monkeypatch):
    run.up()
    written = []

    def full(path, content, mode=0o600):
        written.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hapi.runner.storage.state_file.write_atomically", full)
    for _ in range(3):
        run.reactor.advance(60.0)
    assert len(written) >= 3
    assert "No space left" in run.service.status()["trouble"]
    assert run.service.running
    monkeypatch.undo()
    run.reactor.advance(RETRY_INTERVAL)
    assert run.service.status()["trouble"] is None


def test_a_state_file_that_a_full_disk_refused_at_the_start_is_written_as_soon_as_it_can__S02(
    run, monkeypatch, home
):
    with monkeypatch.context() as full:
        full.setattr("hapi.runner.storage.state_file.write_atomically", refuse)
        run.up()
        run.reactor.advance(RETRY_INTERVAL)
        assert StateFile(home).read() is None
    run.reactor.advance(RETRY_INTERVAL)
    assert StateFile(home).read().pid == os.getpid()


def test_an_order_to_drain_is_written_at_the_latest_when_the_runner_leaves__S02(
    run, monkeypatch, home
):
    run.up()
    with monkeypatch.context() as full:
        full.setattr("hapi.runner.spawn.drain.write_atomically", refuse)
        assert "No space left" in run.service.api.drain("control: pid 1")["notSaved"]
    assert not home.runner_drained.exists()
    run.stop()
    assert home.runner_drained.exists()


def test_a_runner_that_lost_its_home_writes_nothing_over_the_new_owner__S02(run, monkeypatch, home):
    with monkeypatch.context() as full:
        full.setattr("hapi.runner.storage.state_file.write_atomically", refuse)
        run.up()
    monkeypatch.setattr(RunnerLock, "verify_ownership", lambda self: Superseded(7))
    run.reactor.advance(RETRY_INTERVAL)
    assert StateFile(home).read() is None


def refuse(path, content, mode=0o600, durable=True):
    raise OSError(28, "No space left on device")


def test_a_state_file_of_a_newer_version_is_read__S06(home):
    home.runner_state.write_text('{"pid": 5, "httpPort": 6, "tomorrow": {"x": 1}}')
    assert (StateFile(home).read().pid, StateFile(home).read().http_port) == (5, 6)


def test_the_status_tells_what_people_ask_first(run):
    status = run.up().service.status()
    assert json.dumps(status)
    assert set(status) >= {
        "pid",
        "version",
        "machineId",
        "hub",
        "registered",
        "workspaceRoots",
        "startedAt",
        "argv",
        "children",
    }
    assert status["phase"] == "serving"
    assert "secret-token" not in json.dumps(status)


def test_a_reload_tries_the_hub_at_once__P03(run):
    run.service.reload()
    run.up().service.reload()
    assert run.machine.said[-1] == "try now"


def test_a_reload_with_another_token_makes_a_new_link__N06_P03(run, home):
    run.up()
    first, secret = run.machine, "another-token"
    home.settings.write_text(json.dumps({"cliApiToken": secret, "apiUrl": "http://127.0.0.1:2"}))
    run.service.reload()
    for _ in range(20):
        run.reactor.advance(0.1)
    assert first.said == ["start", "os-signal", "closed"]
    assert run.machine is not first
    assert run.machine.said == ["start"]
    assert run.machine.options.access == HubAccess("http://127.0.0.1:2", secret)
    assert run.state["startedWithApiUrl"] == "http://127.0.0.1:2"
    assert run.state["startedWithCliApiTokenHash"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (
        run.service.sessions.spawner.checks.options.session_environment()["CLI_API_TOKEN"] == secret
    )


@pytest.mark.parametrize("token", ["secret-token", "another-token"])
def test_a_runner_that_cannot_register_finds_the_hub_that_the_settings_name_meanwhile__P03(
    home, token
):
    settings = {"cliApiToken": "secret-token"}
    run = Run(home, options={"settings": settings}).up()
    first = run.machine
    home.settings.write_text(json.dumps(settings))
    first.on_not_registered()
    run.reactor.advance(1)
    assert run.machine is first
    home.settings.write_text("{")
    first.on_not_registered()
    run.reactor.advance(1)
    assert run.machine is first
    home.settings.write_text(json.dumps({"cliApiToken": token, "apiUrl": "http://127.0.0.1:2"}))
    first.on_not_registered()
    for _ in range(20):
        run.reactor.advance(0.1)
    assert first.said == ["start", "os-signal", "closed"]
    assert run.machine.said == ["start"]
    assert run.machine.options.access == HubAccess("http://127.0.0.1:2", token)
    run.machine.on_not_registered()
    run.reactor.advance(1)
    assert run.machine.said == ["start"]
    run.stop()


def test_a_reload_of_broken_settings_changes_nothing__S16_P03(run, home):
    run.up()
    home.settings.write_text("{")
    run.service.reload()
    assert run.machine.said == ["start", "try now"]
    assert run.service.options.access == HubAccess("http://127.0.0.1:1", "secret-token")


def agents(run):
    """Whether the page gets the agent `mine`, and whether the hub is told of it."""
    asked = Deferred.fromCoroutine(
        run.machine.rpc.answer({"method": "machine-1:agent-availability", "params": '{"all":true}'})
    )
    answered = json.loads(result_of(asked))["agents"]
    forms = run.machine.facts.capabilities["agentConfigs"]
    return (
        "mine" in [entry["agent"] for entry in answered],
        "mine" in [form["flavor"] for form in forms],
    )


def add_agent(home, name="mine"):
    settings = {"cliApiToken": "secret-token", "apiUrl": "http://127.0.0.1:1"}
    settings["agents"] = {name: {"command": ["true"]}}
    home.settings.write_text(json.dumps(settings))


@pytest.mark.parametrize("how", ["asked", "spawned", "waited", "reload"])
def test_a_new_agent_in_the_settings_is_used_without_a_restart(home, how):
    run = Run(home, options={"session_command": OWN_SESSION_COMMAND}).up()
    assert run.service.sessions.availability.refusal("mine") is not None
    add_agent(home)
    match how:
        case "asked":
            agents(run)
        case "spawned":
            assert run.service.sessions.availability.refusal("mine") is None
        case "waited":
            run.reactor.advance(31)
        case "reload":
            run.service.reload()
    assert agents(run) == (True, True)
    home.settings.write_text("{")
    assert agents(run) == (True, True)
    add_agent(home, "another")
    assert agents(run) == (False, False)
    assert run.machine.said.count("other capabilities") == 2
    run.stop()


def test_a_stop_while_the_link_is_made_anew_makes_none__P03_P01(home):
    run = Run(home, dead_hub=True).up()
    first = run.machine
    home.settings.write_text(json.dumps({"cliApiToken": "another-token"}))
    run.service.reload()
    run.stop()
    assert run.machine is first


def test_a_host_without_a_callback_is_left_alone(home):
    run = Run(home)
    run.service._on_retired = None
    run.up().service.retire("hapi-cli", 0)
    run.reactor.advance(1.0)
    assert not run.service.running


def test_two_runners_live_in_one_process(tmp_path, home):
    one, two = Run(home).up(), Run(Home(tmp_path / "other").prepare()).up()
    assert one.service.status()["home"] != two.service.status()["home"]
    one.stop()
    assert two.service.running
    assert two.state["pid"] == os.getpid()
    two.stop()


def test_old_attempts_go_with_the_beat__S14(home):
    run = Run(home, more={"retention": Retention(count=0)}).up()
    AttemptFolder.create(home, AttemptRequest(argv=("x",), cwd="/", at=1.0))
    run.service.sessions.recover()
    run.reactor.advance(60.0)
    assert attempts(home) == []
    run.stop()


def test_uploads_of_sessions_that_ended_while_no_runner_was_there_are_removed(home):
    killed, living = SessionUploads(home, "killed"), SessionUploads(home, "living")
    left, kept = killed.store("picture.png", b"png"), living.store("picture.png", b"png")
    os.close(killed._lock)
    run = Run(home).up()
    assert not left.parent.exists()
    assert kept.exists()
    run.stop()


def test_identity_hashes_are_those_npm_computes():
    access = HubAccess("http://h", " token ", {"b": "2", "a": "1"})
    found = hub_identity(access, "m")
    assert (
        found["started_with_cli_api_token_hash"]
        == "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0"
    )
    assert len(found["started_with_extra_headers_hash"]) == 64
    assert "started_with_extra_headers_hash" not in hub_identity(HubAccess("http://h", "t"), "m")


def test_times_are_written_as_npm_does(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert npm_timestamp(1795173720.0) == "11/20/2026, 11:22:00 AM"
    assert npm_timestamp(1795132800.0) == "11/20/2026, 12:00:00 AM"


def test_somebody_elses_state_file_is_not_removed(home):
    states = StateFile(home)
    access = HubAccess("http://h", "t")
    states.write(
        own_runner_state(
            access=access, machine_id="m", port=5, argv=(), now=1.0, version="1", pid=77
        )
    )
    states.remove_if(78)
    assert home.runner_state.exists()
    states.remove_if(77)
    assert not home.runner_state.exists()


def test_a_beat_never_overlaps_and_survives_failures__P07(logged_failures):
    reactor, running, calls = Reactor(), [], []

    async def beat():
        calls.append(1)
        if len(calls) == 1:
            running.append(Deferred())
            await running[0]
        raise ValueError("beat")

    heart = Heartbeat(reactor, 10.0, beat)
    heart.startService()
    for _ in range(5):
        reactor.advance(10.0)
    assert len(calls) == 1
    running[0].callback(None)
    reactor.advance(10.0)
    reactor.advance(10.0)
    assert len(calls) == 3
    assert heart.failures == 3
    assert len(logged_failures.take(ValueError)) == 3
    heart.stopService()


def test_the_state_file_is_private_and_has_the_hubs_token_as_a_hash_alone__K08(run, home):
    before = os.umask(0)
    try:
        run.up()
        run.reactor.advance(60.0)
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.runner_state.stat().st_mode) == 0o600
    assert "secret-token" not in home.runner_state.read_text()
    assert run.state["startedWithCliApiTokenHash"] == hashlib.sha256(b"secret-token").hexdigest()


def test_ten_minutes_of_being_stopped_cost_one_beat__P05():
    reactor, calls = Reactor(), []

    async def beat():
        calls.append(reactor.seconds())

    heart = Heartbeat(reactor, 10.0, beat)
    heart.startService()
    reactor.advance(10.0)
    reactor.advance(600.0)
    assert calls == [10.0, 610.0]
    reactor.advance(10.0)
    assert calls == [10.0, 610.0, 620.0]
    heart.stopService()
