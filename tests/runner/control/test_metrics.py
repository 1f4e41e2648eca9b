"""What monitors read: alive, ready, and figures; each runner has its own."""

from __future__ import annotations

import os

from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hapi.net.client.link import LinkStatus
from hapi.protocol.control import ListedSession
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused
from hapi.runner.control.api import control_resource
from hapi.runner.control.guard import PeerInfo
from hapi.runner.control.metrics import Metrics
from hapi.runner.control.peer_credentials import Caller, PeerLookup
from hapi.runner.control.site import ControlSite, Guarded
from hapi.runner.storage.counters import Counters


@define(eq=False)
class Runner:
    clock: Clock
    counters: Counters = field(init=False)
    found: dict = field(factory=dict)
    sessions: list = field(factory=list)

    def __attrs_post_init__(self):
        self.counters = Counters(self.clock)

    def status(self):
        return self.found

    def list(self):
        return self.sessions

    def after(self, seconds, call):
        self.clock.callLater(seconds, call)


class Link:
    def on_status(self, call):
        self.tell = call


CONNECTED = {
    "registered": True,
    "hub": {"url": "http://hub:1", "phase": "connected", "reason": None},
}


def lines(runner: Runner) -> dict[str, float]:
    text = Metrics(runner).text().decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_the_figures_tell_sessions_spawns_link_beats_and_process():
    runner = Runner(
        Clock(),
        CONNECTED | {"failedBeats": 1, "beats": 7, "lastBeatSeconds": 0.25, "uptimeSeconds": 60.5},
    )
    runner.sessions = [
        ListedSession("runner", "s1", 1, state="ready"),
        ListedSession("runner", "s2", 2, state="ready"),
    ]
    for result in (
        Spawned("s1"),
        Spawned("s2"),
        NeedsDirectory("/x"),
        SpawnRefused("no"),
        SpawnRefused("no", "agent_unavailable"),
    ):
        assert runner.counters.spawned(result) is result
    link = Link()
    runner.counters.follow(link)
    for phase in ("connecting", "connected", "connecting", "connected"):
        link.tell(LinkStatus(phase, None, 0.0))
    found = lines(runner)
    assert found['hapi_runner_sessions{state="ready"}'] == 2
    assert found['hapi_runner_sessions{state="launched"}'] == 0
    assert found['hapi_runner_spawns_total{outcome="spawned"}'] == 2
    assert found['hapi_runner_spawns_total{outcome="needs_directory"}'] == 1
    assert found['hapi_runner_spawns_total{outcome="failed"}'] == 1
    assert found['hapi_runner_spawns_total{outcome="agent_unavailable"}'] == 1
    assert found['hapi_runner_link{phase="connected"}'] == 1
    assert found['hapi_runner_link{phase="refused"}'] == 0
    assert found["hapi_runner_registered"] == 1
    assert found["hapi_runner_link_reconnects_total"] == 1
    assert found["hapi_runner_beats_total"] == 7
    assert found["hapi_runner_beat_failures_total"] == 1
    assert found["hapi_runner_beat_seconds"] == 0.25
    assert found["hapi_runner_uptime_seconds"] == 60.5
    assert found["process_open_fds"] > 2
    assert found["process_resident_memory_bytes"] > 1e6


def test_a_build_that_does_not_start_is_told_with_reason_and_file__H01():
    runner = Runner(Clock(), CONNECTED | {"current": True, "handoff": {"failures": 0}})
    assert lines(runner)["hapi_runner_build_current"] == 1
    assert not [name for name in lines(runner) if "upgrade_failure_timestamp" in name]
    failure = {"reason": 'no "hub"\nSyntaxError', "at": 5000, "output": "/logs/1-trial.out"}
    runner.found |= {"current": False, "handoff": {"failures": 2, "lastFailure": failure}}
    found = lines(runner)
    assert found["hapi_runner_build_current"] == 0
    assert found["hapi_runner_upgrade_failures_total"] == 2
    name = (
        'hapi_runner_upgrade_failure_timestamp_seconds{output="/logs/1-trial.out",'
        'reason="no \\"hub\\"\\nSyntaxError"}'
    )
    assert found[name] == 5


def test_two_runners_in_one_process_have_figures_of_their_own():
    first, second = Runner(Clock(), CONNECTED), Runner(Clock(), {})
    assert lines(first)["hapi_runner_registered"] == 1
    assert lines(second)["hapi_runner_registered"] == 0


def test_a_timer_that_comes_late_is_the_reactors_lag__V03():
    runner = Runner(clock := Clock())
    Metrics(runner)
    clock.advance(5.0)
    assert runner.counters.lag == 0.0
    clock.advance(8.0)
    assert (runner.counters.lag, runner.counters.worst_lag) == (3.0, 3.0)
    clock.pump([1.0] * 10)
    assert (runner.counters.lag, runner.counters.worst_lag) == (0.0, 3.0)


class Bytes(StringTransport):
    def getHost(self):
        return type("Address", (), {"host": "127.0.0.1", "port": 4321})()

    getPeer = getHost


def get(path: str, runner: Runner) -> bytes:
    caller = Caller(os.geteuid(), 7)
    resource = control_resource(runner)
    lookup = PeerLookup((("test", lambda *_: caller),))
    site = ControlSite(
        runner.clock, Guarded(os.geteuid(), lambda: 4321, "token", lambda: resource), lookup
    )
    channel, transport = site.buildProtocol(None), Bytes()
    channel.makeConnection(transport)
    assert isinstance(channel.peer, PeerInfo)
    channel.dataReceived(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:4321\r\nConnection: close\r\n\r\n".encode()
    )
    return transport.value()


def test_alive_is_not_ready__N01():
    runner = Runner(
        Clock(), {"registered": False, "hub": {"phase": "connecting", "reason": "refused"}}
    )
    assert get("/healthz", runner).startswith(b"HTTP/1.1 200 ")
    answer = get("/readyz", runner)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"reason":"not registered: refused"' in answer
    runner.found = {
        "registered": True,
        "hub": {"phase": "connecting", "reason": "nothing listens there"},
    }
    assert b'"reason":"registered, connection lost: nothing listens there"' in get(
        "/readyz", runner
    )
    runner.found = CONNECTED
    assert get("/readyz", runner).startswith(b"HTTP/1.1 200 ")


def test_figures_are_answered_in_prometheus_text_form():
    answer = get("/metrics", Runner(Clock(), CONNECTED))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"text/plain; version=" in answer
    assert b"hapi_runner_registered 1.0" in answer
