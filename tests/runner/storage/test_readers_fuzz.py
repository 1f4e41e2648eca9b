"""20,000 changed files for each reader at every change, a million at release (G11).

Whatever lies in the home, a reader gives what it read or the one answer it has for files that make
no sense, and a runner that comes up over it signals nobody who is not its own.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter

import msgspec
import pytest

from hapi.attempts import AttemptFolder
from hapi.configured_agents import configured_agents
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptProcess,
    AttemptReport,
    AttemptRequest,
    AttemptSession,
    ProcessIdentity,
    StopOrder,
)
from hapi.runner.attempts.stall import StallThresholds
from hapi.runner.lock.owner import OwnerInspector
from hapi.runner.lock.stale import Held, Stale, Unfinished, pid_in
from hapi.runner.storage.state_file import RunnerState, StateFile
from hapi.runner.uplink.refusals import RegistrationRefusals
from hapi.settings import ConfigurationError, HubAccess, InvalidSettings, hub_access, read_settings
from tests.support.garbage import Garbage, inputs
from tests.support.runner_stage import Stage

IDENTITY = ProcessIdentity(1000, 5000, "00000000-0000-4000-8000-000000000000", 1_005_000)
RECORDS = {
    "request": AttemptRequest(
        ("hapi", "claude"),
        "/tmp",
        1.0,
        "hub",
        "claude",
        "row",
        "agent-id",
        {"made_by_us": True, "path": "/w"},
    ),
    "process": AttemptProcess(IDENTITY, ProcessIdentity(1001, 5007, IDENTITY.boot_id, 1_005_007)),
    "session": AttemptSession("s1", "agent-id", 1000, 2.0, {"path": "/tmp", "flavor": "claude"}),
    "report": AttemptReport(3.0, True, 4.0, 5.0, 1, 6.0, "agent-id"),
    "stop": StopOrder("Stopped by runner", "hub", "hub", 7.0),
    "end": AttemptEnd(0, None, 8.0),
}
STATE = {
    "pid": 5,
    "httpPort": 4711,
    "startTime": "11/20/2026, 11:22:00 AM",
    "startedWithCliMtimeMs": 1.5,
    "startedWithArgv": ["runner", "start-sync"],
    "lastHeartbeat": "11/20/2026, 11:22:00 AM",
    "handoffDisabled": False,
    "controlToken": "x",
}
SETTINGS = {
    "machineId": "m1",
    "cliApiToken": "token",
    "apiUrl": "http://127.0.0.1:3006",
    "extraHeaders": {"x": "y"},
    "defaultAgent": "claude",
    "agents": {"mine": {"command": ["mine", "acp"], "label": "Mine"}},
    "stuck": {"silentSeconds": 5},
}


@pytest.fixture
def disk(home, monkeypatch):
    """Readers find what the test puts in `disk[0]`: files that are written and read 100,000 times
    would be most of the time.
    """
    content = [b""]

    def read(path: object, limit: int = 1 << 20) -> bytes:
        if len(content[0]) > limit:
            raise ValueError("too large")
        return content[0]

    for module in (
        "attempts",
        "settings",
        "runner.storage.state_file",
        "runner.lock.owner",
        "runner.uplink.refusals",
    ):
        monkeypatch.setattr(f"hapi.{module}.read_capped", read)
    return content


@pytest.mark.parametrize("name", RECORDS)
def test_a_changed_record_of_an_attempt_reads_as_itself_or_as_missing__S05_S11(home, disk, name):
    garbage, seen = Garbage(name), Counter()
    folder = AttemptFolder.create(home, RECORDS["request"])
    sample = msgspec.to_builtins(RECORDS[name])
    for _ in inputs():
        disk[0] = garbage.json_bytes(sample, kept=0.1)
        record = getattr(folder, name)
        assert record is None or type(record) is type(RECORDS[name])
        seen["missing" if record is None else "read"] += 1
        if record is not None:
            msgspec.json.encode(record)
    assert min(seen.values()) > 500, seen


def test_a_changed_state_file_reads_as_a_state_or_as_none__S05(home, disk):
    garbage, seen, states = Garbage("state"), Counter(), StateFile(home)
    for _ in inputs():
        disk[0] = garbage.json_bytes(STATE, kept=0.1)
        state = states.read()
        assert state is None or isinstance(state, RunnerState)
        seen["none" if state is None else "read"] += 1
    assert min(seen.values()) > 500, seen


def test_a_changed_lock_is_somebodys_or_nobodys__L07(home, disk):
    garbage, seen = Garbage("lock"), Counter()
    stage = Stage(home)
    home.runner_state.touch()
    runner = stage.processes.add("hapi", "runner", "start-sync", pid=4321)
    inspector = OwnerInspector(home, stage.processes, lambda: 1000.0, lambda identity: 0.0)
    for number in inputs():
        content = garbage.mangled_bytes(
            garbage.pick([b"4321", b"4321\n", b"00004321", b"99", b"", b"-4321", b"4321 4321"])
        )
        verdict = inspector.judge_lock(content, mtime=number % 2 * 1000.0)
        assert isinstance(verdict, Stale | Held | Unfinished)
        assert not isinstance(verdict, Held) or (verdict.pid == runner.pid == pid_in(content))
        seen[type(verdict).__name__] += 1
        disk[0] = garbage.json_bytes(STATE)
        assert (
            inspector.other_runner_in_state() is None
            or inspector.other_runner_in_state() == Held(4321)
        )
    assert set(seen) == {"Stale", "Held", "Unfinished"}, seen


def test_changed_settings_are_used_or_refused_in_words__S16(home, disk):
    garbage, seen = Garbage("settings"), Counter()
    for _ in inputs():
        disk[0] = garbage.json_bytes(SETTINGS, kept=0.1)
        try:
            settings = read_settings(home)
            seen["read"] += 1
            assert isinstance(settings, dict)
            access = hub_access({}, settings)
            assert access.url.startswith(("http://", "https://"))
            assert access.token
            seen["used"] += 1
        except (InvalidSettings, ConfigurationError) as refused:
            words = str(refused)
            seen[type(refused).__name__] += 1
            assert words
            assert "\n" not in words
        else:
            for read in (StallThresholds.read, configured_agents):
                try:
                    read(settings)
                except (InvalidSettings, ConfigurationError):
                    seen["refused later"] += 1
    assert {"read", "used", "InvalidSettings", "ConfigurationError"} <= set(seen), seen


def test_a_changed_memory_of_refusals_is_a_count_or_none__V08(home, disk):
    garbage, seen = Garbage("refusals"), Counter()
    refusals = RegistrationRefusals(home, HubAccess("http://h", "t"), lambda: 100.0)
    refusals.save(3)
    sample = json.loads(home.refusals.read_bytes())
    for _ in inputs():
        disk[0] = garbage.json_bytes(sample, kept=0.2)
        count, ago = refusals.load()
        assert type(count) is int
        assert count >= 0
        assert 0 <= ago < 601
        seen[count > 0] += 1
    assert min(seen.values()) > 500, seen


def test_a_runner_comes_up_over_any_folders_and_signals_no_stranger__S11_P04(home):
    """Folders whose records are changed, exchanged or missing, beside processes some of which are
    theirs.
    """
    garbage, seen = Garbage("adoption"), Counter()
    samples = {name: msgspec.to_builtins(record) for name, record in RECORDS.items()}
    for _ in inputs(50_000, 300):
        shutil.rmtree(home.attempts, ignore_errors=True)
        stage = Stage(home)
        own = stage.processes.add("session", pid=1000, parent=1001)
        stage.processes.add("hapi-holder", pid=1001)
        strangers = [stage.processes.add("stranger", pid=pid) for pid in (1, 2, 1002)]
        for number in range(3):
            folder = home.attempts / f"20261120-00000{number}"
            folder.mkdir(parents=True)
            for name, sample in samples.items():
                if garbage.random.random() < 0.7:
                    (folder / f"{name}.json").write_bytes(
                        garbage.json_bytes(sample, list(samples.values()), kept=0.4)
                    )
        live = stage.adopt()
        stage.clock.advance(0.0)
        stage.children.listed()
        for _ in range(20):
            stage.clock.advance(1.0)
        for child in stage.children:
            stage.stop(child.session_id or child.attempt)
        stage.clock.advance(10.0)
        assert all(not stage.processes.table[one.pid].signals for one in strangers)
        seen[live] += 1
        seen["ended"] += stage.processes.entry(own) is None
        stage.children.detach()
    assert seen["ended"] > 10, seen


@pytest.mark.parametrize("at", [1e308, -1e300, 253402300800.0])
def test_a_time_out_of_range_costs_the_record_and_not_the_list_of_sessions__S11(home, at):
    stage = Stage(home)
    for number, at_of_one in enumerate((at, 1.0)):
        child = stage.processes.add("session", pid=1000 + number)
        folder = home.attempts / f"20261120-00000{number}"
        folder.mkdir(parents=True)
        request = {"argv": ["hapi"], "cwd": "/tmp", "at": at_of_one, "agent": "claude"}
        (folder / "request.json").write_text(json.dumps(request))
        (folder / "process.json").write_bytes(msgspec.json.encode(AttemptProcess(child)))
        (folder / "session.json").write_text(json.dumps({"sessionId": f"s{number}"}))
    stage.adopt()
    listed = [(one.happy_session_id, one.agent) for one in stage.children.listed()]
    assert sorted(listed) == [("s0", ""), ("s1", "claude")]


def test_numbers_out_of_range_are_not_taken_from_records():
    for content in (
        b'{"pid":1,"startTicks":100000000000000000000,"bootId":"b"}',
        b'{"pid":1,"startTicks":-1,"bootId":"b"}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(content, type=ProcessIdentity)
    for field in (b'"queued":1e30', b'"turnSince":1e300', b'"queued":-1'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(b'{"at":1,' + field + b"}", type=AttemptReport)
