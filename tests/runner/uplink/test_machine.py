"""This machine at its hub: registration, published state and link, on a clock."""

import errno
import json
import os
import time
from collections import namedtuple
from random import Random
from types import SimpleNamespace

import msgspec
import psutil
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.net.common.errors import HubBusy, HubRefused, HubUnreachable
from hapi.net.common.rpc import RpcTable
from hapi.protocol.agents import Agent
from hapi.protocol.machine import (
    MachineHealth,
    RunnerFacts,
    runner_capabilities,
    spawn_error,
    with_roots,
)
from hapi.runner.uplink.health import HealthGauge
from hapi.runner.uplink.machine import Machine, describe, retry_delay
from hapi.runner.uplink.refusals import RegistrationRefusals
from hapi.runner.workspace.roots import WorkspaceRoots
from hapi.settings import HubAccess
from tests.support.hub_stand_ins import Hub, Link
from tests.support.paths import FIXTURES
from tests.support.runner_stage import assert_waiting, options_for, result_of

RECORDED = [
    json.loads(line) for line in (FIXTURES / "machine-connect.jsonl").read_text().splitlines()
]
FACTS = RunnerFacts(19506, 38465, 1795175850041, runner_capabilities())


def build(home, hub=None, roots=None, clock=None, **more):
    clock = clock or Clock()
    link, hub = Link(clock), hub or Hub()
    options = options_for(home, roots=roots, **more)
    machine = Machine(
        clock,
        options,
        FACTS,
        RpcTable("machine-1"),
        client=hub,
        link=link,
        random=Random(1),
        now=lambda: 1000.0 + clock.seconds(),
    )
    return clock, hub, link, machine


@pytest.fixture
def built(home):
    return build(home)


def test_the_registration_has_the_recorded_keys(home, tmp_path):
    _, hub, link, machine = build(home, roots=WorkspaceRoots.parse([str(tmp_path)]))
    machine.start()
    (body,) = hub.bodies
    recorded = RECORDED[0]["http"]["body"]
    ours = set(body["metadata"]) | {"startedCliMtimeMs", "installedCliMtimeMs"}
    assert ours == set(recorded["metadata"])
    capabilities = [*recorded["metadata"]["capabilities"], "runner-handoff"]
    assert body["metadata"]["capabilities"] == capabilities
    assert body["metadata"]["happyCliVersion"] == recorded["metadata"]["happyCliVersion"]
    assert body["runnerState"] == recorded["runnerState"]
    assert link.started


def test_a_runner_that_is_started_again_and_again_does_not_pester_a_hub_that_refuses_it__V08_N06(
    home,
):
    hub, clock = Hub(), Clock()
    for _ in range(100):
        hub.refusals = [HubRefused(401, "Invalid token")] * 9
        _, _, _, machine = build(home, hub, clock=clock)
        machine.start()
        clock.advance(1.0)
        result_of(Deferred.fromCoroutine(machine.leave("exception", 0.1)))
    assert len(hub.bodies) < 20  # without memory: 100


def test_a_start_after_refusals_comes_through_within_seconds_of_the_mending__V08(home):
    hub, clock = Hub(), Clock()
    hub.refusals = [HubRefused(401, "Invalid token")] * 6
    _, _, _, machine = build(home, hub, clock=clock)
    machine.start()
    clock.pump([1.0] * 250)
    result_of(Deferred.fromCoroutine(machine.leave("exception", 0.1)))
    assert hub.refusals == []
    _, _, _, machine = build(home, hub, clock=clock)
    machine.start()
    assert machine.status()["phase"] == "refused"
    clock.advance(15.0)
    assert machine.registered
    assert not home.refusals.exists()


def test_with_another_token_nobody_waits__V08_N06(home):
    RegistrationRefusals(home, HubAccess("http://127.0.0.1:1", "other"), lambda: 1000.0).save(9)
    _, hub, _, machine = build(home)
    machine.start()
    assert len(hub.bodies) == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"access": 1}', '{"count": "9"}', "\\0", "9" * 5000]
)
def test_a_broken_memory_of_refusals_is_none__V08(home, content):
    home.refusals.write_text(content)
    assert RegistrationRefusals(
        home, HubAccess("http://127.0.0.1:1", "token"), lambda: 1000.0
    ).load() == (
        0,
        0.0,
    )


def test_without_roots_the_key_is_left_out(home):
    assert "workspaceRoots" not in msgspec.to_builtins(describe(options_for(home)))


def test_the_state_after_a_connect_is_the_recorded_one(built):
    _, _, link, machine = built
    machine.start()
    link.connect()
    recorded = next(
        json.loads(line["frame"][8:])[1]
        for line in RECORDED
        if "machine-update-state" in line.get("frame", "")
    )
    (state,) = link.states()
    assert state | {"startedAt": 0} == recorded["runnerState"] | {
        "startedAt": 0,
        "lastSpawnError": None,
    }


def test_registration_is_tried_for_ever_and_the_status_tells_why__N01(built):
    clock, hub, link, machine = built
    hub.refusals = [HubUnreachable("nothing listens")] * 30
    machine.start()
    assert machine.status()["phase"] == "connecting"
    assert "nothing listens" in machine.status()["reason"]
    for _ in range(200):
        clock.advance(1.0)
    assert machine.registered
    assert len(hub.bodies) == 31
    assert link.started


def test_a_hub_that_asks_to_wait_is_asked_again_and_is_not_called_unreachable__N01(built):
    clock, hub, _, machine = built
    hub.refusals = [HubBusy(429, "Too many wrong access tokens: try again in 6 s")] * 3
    machine.start()
    reason = "the hub asks to try again later: Too many wrong access tokens: try again in 6 s"
    assert machine.status()["reason"] == f"{reason} (HTTP 429)"
    for _ in range(20):
        clock.advance(1.0)
    assert machine.registered


def test_a_hub_that_is_back_sees_us_within_five_seconds__N02():
    assert (
        max(
            retry_delay(HubUnreachable("x"), attempt, Random(seed))
            for attempt in range(1, 90)
            for seed in range(50)
        )
        < 5.0
    )
    first = retry_delay(HubUnreachable("x"), 1, Random(1))
    assert 1.0 <= first <= 1.3


def test_a_refused_token_is_no_tight_loop_and_no_end__N06(built):
    clock, hub, _, machine = built
    hub.refusals = [HubRefused(401, "Invalid token")] * 100
    machine.start()
    reason = str(HubRefused(401, "Invalid token"))
    assert machine.status() == {
        "url": "http://127.0.0.1:1",
        "phase": "refused",
        "reason": reason,
        "refusedWith": 401,
    }
    failed = []
    machine.on_not_registered = lambda: failed.append(machine.status()["reason"])
    for _ in range(3600):
        clock.advance(1.0)
    assert len(hub.bodies) <= 20
    assert failed == [reason] * (len(hub.bodies) - 1)
    hub.refusals = []
    machine.retry_now()
    assert machine.registered


def test_nothing_of_an_earlier_shutdown_is_left_and_the_port_is_ours(home):
    stored = {
        "status": "shutting-down",
        "httpPort": 1,
        "pid": 2,
        "shutdownRequestedAt": 3,
        "shutdownSource": "os-signal",
        "kept": 4,
    }
    _, _, link, machine = build(home, Hub(runnerState=stored, runnerStateVersion=9))
    machine.start()
    link.connect()
    (state,) = link.states()
    assert (state["status"], state["httpPort"], state["pid"], state["kept"]) == (
        "running",
        38465,
        19506,
        4,
    )
    assert not {"shutdownRequestedAt", "shutdownSource"} & set(state)
    assert link.said[0][1]["expectedVersion"] == 9


def test_another_writer_is_adopted_and_the_state_built_anew__N07(built):
    clock, _, link, machine = built
    machine.start()
    accept, mismatches = link.answer, [{"by": "rival", "n": number} for number in range(3)]

    def answer(event, message):
        if event == "machine-update-state" and mismatches:
            return {
                "result": "version-mismatch",
                "version": message["expectedVersion"] + 5,
                "runnerState": mismatches.pop(0),
            }
        return accept(event, message)

    link.answer = answer
    link.connect()
    for _ in range(20):
        clock.advance(1.0)
    final = link.states()[-1]
    assert (final["by"], final["n"], final["status"]) == ("rival", 2, "running")
    assert link.said[-1][1]["expectedVersion"] == 16


def test_the_state_is_said_again_on_the_next_connect_when_no_answer_came__N08(built):
    clock, _, link, machine = built
    machine.start()
    accept = link.answer
    link.answer = lambda event, message: None
    link.connect()
    assert len(link.states()) == 1
    clock.advance(11.0)
    link.answer = accept
    link.connect()
    assert link.states()[-1]["status"] == "running"
    machine._alive.stop()


def test_changed_roots_are_written_and_unchanged_ones_not(home, tmp_path):
    roots = WorkspaceRoots.parse([str(tmp_path)])
    for stored, written in ((["/old"], True), ([str(tmp_path)], False)):
        _, _, link, machine = build(
            home, Hub(metadata={"host": "h", "displayName": "d", "workspaceRoots": stored}), roots
        )
        machine.start()
        link.connect()
        wrote = [
            message["metadata"]
            for event, message in link.said
            if event == "machine-update-metadata"
        ]
        assert bool(wrote) is written
        if written:
            assert wrote == [{"host": "h", "displayName": "d", "workspaceRoots": [str(tmp_path)]}]
    assert with_roots({"workspaceRoots": ["/x"], "a": 1}, None) == {"a": 1}


def test_the_hub_is_told_of_a_failed_start_and_of_the_next_good_one(built):
    _, _, link, machine = built
    machine.start()
    link.connect()
    machine.publish_spawn_error(spawn_error("no", 5, pid=7, exit_code=1))
    assert link.states()[-1]["lastSpawnError"] == {
        "message": "no",
        "pid": 7,
        "exitCode": 1,
        "signal": None,
        "at": 5,
    }
    machine.publish_spawn_error(None)
    assert link.states()[-1]["lastSpawnError"] is None
    said = len(link.said)
    machine.publish_spawn_error(None)
    assert len(link.said) == said


def test_the_hub_is_told_of_a_new_agent_once(built):
    _, _, link, machine = built
    machine.start()
    link.connect()
    told = len(link.said)
    capabilities = runner_capabilities([Agent("mine", "Mine", ("mine",))])
    for _ in range(2):
        machine.publish_capabilities(capabilities)
    assert len(link.said) == told + 1
    assert link.states()[-1]["capabilities"] == capabilities


def test_the_keep_alive_comes_at_once_and_every_twenty_seconds__N18(built):
    clock, _, link, machine = built
    machine.start()
    link.connect()
    clock.advance(0.05)
    assert len(link.alive) == 1
    for _ in range(3):
        clock.advance(20.0)
    assert len(link.alive) == 4
    clock.advance(8 * 3600.0)  # asleep
    assert len(link.alive) == 5
    event, message = link.alive[-1]
    assert (event, message["machineId"]) == ("machine-alive", "machine-1")
    msgspec.convert(message["health"], MachineHealth)
    link.connect()
    clock.advance(0.05)
    assert len(link.alive) == 6


def test_a_hub_that_forgot_us_gets_us_again(built):
    clock, hub, link, machine = built
    machine.start()
    link.connect()
    accept = link.answer
    link.answer = lambda event, message: {"result": "error", "reason": "not-found"}
    clock.advance(6.0)
    hub.machine |= {"runnerStateVersion": 1, "metadataVersion": 1}
    machine.publish_spawn_error(spawn_error("x", 1))
    assert len(hub.bodies) == 2
    link.answer = accept
    for _ in range(30):
        clock.advance(1.0)
    assert link.states()[-1]["status"] == "running"
    assert link.said[-1][1]["expectedVersion"] <= 2
    assert len(hub.bodies) <= 3


def test_an_error_event_makes_us_register_again(built):
    clock, hub, link, machine = built
    machine.start()
    clock.advance(6.0)
    link.events["error"](
        {"message": "machine not found", "code": "not-found", "scope": "machine", "id": "machine-1"}
    )
    assert len(hub.bodies) == 2
    (
        link.events["error"]({"code": "not-found", "scope": "session"}),
        link.events["error"](None),
        link.events["error"]("x"),
    )
    assert len(hub.bodies) == 2


def test_what_other_sockets_wrote_is_adopted(built):
    _, _, link, machine = built
    machine.start()
    link.connect()
    body = {
        "t": "update-machine",
        "machineId": "machine-1",
        "metadata": None,
        "runnerState": {"version": 40, "value": {"by": "x"}},
    }
    link.events["update"]({"id": "i", "body": body})
    machine.publish_spawn_error(spawn_error("no", 5))
    assert link.said[-1][1]["expectedVersion"] == 40
    assert link.states()[-1]["by"] == "x"
    for strange in (
        None,
        {},
        {"body": 5},
        {"body": {"t": "new-message"}},
        {"body": body | {"machineId": "other"}},
    ):
        link.events["update"](strange)


def test_the_farewell_tells_the_source_and_waits_no_longer_than_it_may__P08(built):
    clock, _, link, machine = built
    machine.start()
    link.connect()
    link.answer = lambda event, message: None
    leaving = Deferred.fromCoroutine(machine.leave("hapi-cli", 0.45))
    assert_waiting(leaving)
    clock.advance(0.45)
    result_of(leaving)
    state = link.states()[-1]
    assert (state["status"], state["shutdownSource"], state["shutdownRequestedAt"]) == (
        "shutting-down",
        "hapi-cli",
        1_000_000,
    )
    result_of(Deferred.fromCoroutine(machine.close()))
    clock.advance(10.0)
    assert clock.getDelayedCalls() == []


def test_a_farewell_without_a_link_is_silent_and_ends_the_registration(built):
    clock, hub, _, machine = built
    hub.refusals = [HubUnreachable("down")] * 9
    machine.start()
    result_of(Deferred.fromCoroutine(machine.leave("os-signal", 0.45)))
    result_of(Deferred.fromCoroutine(machine.close()))
    assert clock.getDelayedCalls() == []


def test_a_hub_that_answers_strangely_does_not_end_the_trying(built):
    _, hub, _, machine = built
    hub.machine = {"runnerStateVersion": "x", "metadataVersion": None}
    machine.start()
    assert machine.registered


def test_health_is_what_the_system_says_and_what_it_does_not_say_is_left_out(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    times = {"user": 10.0, "system": 10.0, "idle": 70.0, "iowait": 10.0, "guest": 5.0}
    cpu_times = namedtuple("cpu_times", times)
    monkeypatch.setattr(psutil, "boot_time", lambda: 100.0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(percent=75.2))
    monkeypatch.setattr(psutil, "cpu_times", lambda: cpu_times(**times))
    gauge = HealthGauge(lambda: 112.5)
    first = msgspec.to_builtins(gauge.read())
    assert first["collectedAt"] == 112500
    assert (first["uptimeSeconds"], first["memoryPercent"]) == (12, 75)
    assert "cpuPercent" not in first
    times |= {"user": 40.0, "idle": 130.0, "iowait": 20.0, "guest": 30.0}
    assert gauge.read().cpu_percent == 30
    for name in ("boot_time", "virtual_memory", "cpu_times"):
        monkeypatch.setattr(psutil, name, refuse)
    assert set(msgspec.to_builtins(gauge.read())) <= {"collectedAt", "cpuCount", "load1m"}


def test_the_health_of_this_machine_can_be_read():
    health = HealthGauge(time.time).read()
    assert health.cpu_count >= 1
    assert 0 <= health.memory_percent <= 100
    assert health.uptime_seconds > 0


def test_a_failing_gauge_stops_no_keep_alive__P07(built, monkeypatch, logged_failures):
    clock, _, link, machine = built
    machine.start()
    monkeypatch.setattr(HealthGauge, "read", lambda self: 1 / 0)
    link.connect()
    clock.advance(0.05)
    clock.advance(20.0)
    assert [set(message) for _, message in link.alive] == [{"machineId", "time"}] * 2
    assert len(logged_failures.take(ZeroDivisionError)) == 2


def test_a_failure_nobody_foresaw_is_logged_and_tried_again__P07(built, logged_failures):
    clock, hub, _, machine = built
    hub.refusals = [RuntimeError("bug")]
    machine.start()
    assert not machine.registered
    assert logged_failures.take(RuntimeError)
    clock.advance(1.5)
    assert machine.registered


def pushed(link, version, **state):
    body = {
        "t": "update-machine",
        "machineId": "machine-1",
        "runnerState": {"version": version, "value": state},
    }
    link.events["update"]({"id": "u", "seq": 1, "createdAt": 1, "body": body})


def noted(machine):
    told = []
    machine.duplicates.record_event = lambda event, ids=None, **facts: told.append(
        (event, facts["pid"])
    )
    return told


def test_another_runner_of_this_machine_is_told_of_and_answered_once__N19(built):
    _, _, link, machine = built
    told = noted(machine)
    machine.start()
    link.connect()
    said = len(link.states())
    for version in range(10, 20):  # it writes again and again
        pushed(link, version, status="running", pid=77, startedAt=5)
    assert told == [("duplicate-runner", 77)]
    assert len(link.states()) == said + 1  # so that it hears of us; and no storm comes of it
    assert link.states()[-1]["pid"] == FACTS.pid
    (warning,) = machine.duplicates.warnings()
    assert "process 77 is a runner with the same machine id (machine-1)" in warning
    pushed(link, 30, status="shutting-down", pid=77, startedAt=5)
    assert (told[1:], machine.duplicates.warnings()) == ([("duplicate-runner-left", 77)], [])


@pytest.mark.parametrize(
    "state",
    [
        {"status": "running", "pid": FACTS.pid, "startedAt": FACTS.started_at},
        {"status": "shutting-down", "pid": 77, "startedAt": 5},
        {"status": "running", "pid": "77", "startedAt": 5},
        {"status": "running"},
    ],
)
def test_ourselves_a_runner_that_leaves_and_garbage_are_no_duplicates__N19(built, state):
    _, _, link, machine = built
    told = noted(machine)
    machine.start()
    link.connect()
    pushed(link, 10, **state)
    assert (told, machine.duplicates.warnings()) == ([], [])


def test_the_other_side_of_a_hand_off_is_no_duplicate__N19_H11(built):
    _, _, link, machine = built
    told = noted(machine)
    machine.duplicates.is_ours = lambda pid: pid == 77
    machine.start()
    link.connect()
    pushed(link, 10, status="running", pid=77, startedAt=5)
    pushed(link, 11, status="running", pid=78, startedAt=5)
    assert told == [("duplicate-runner", 78)]


def test_a_crowd_of_duplicates_is_remembered_up_to_a_bound__N19(built):
    _, _, link, machine = built
    told = noted(machine)
    machine.start()
    link.connect()
    for pid in range(1000, 1100):
        pushed(link, pid, status="running", pid=pid, startedAt=5)
    assert len(told) == len(machine.duplicates.warnings()) == 16
