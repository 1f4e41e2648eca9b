"""When a link writes its events to the disk, on a Clock, with the real file."""

from random import Random

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from hapi.home import Home
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.settings import HubAccess
from hapi.spool import SpoolFile, SpoolHeader, claim_spools, spooled_sessions
from tests.support.memory_hub import MemoryHub, until


class Stage:
    def __init__(self, home):
        self.home, self.hub = home, MemoryHub(Clock())
        self.syncs = []
        self.link = self.make_link()
        self.spool = SpoolFile(home, "s", lambda: SpoolHeader("s", 1, "http://hub"))
        self.link.spool_to(self.spool, self.in_thread)

    def in_thread(self, work):
        self.syncs.append(work)
        return execute(work)

    def make_link(self):
        access = HubAccess("http://127.0.0.1:3006", "t")
        auth = {"clientType": "session-scoped"}
        return HubLink(
            self.hub.clock, access, auth, RpcTable("s"), random=Random(7), endpoint=self.hub
        )

    def start(self):
        self.link.startService()
        self.hub.open()
        return self

    def emit(self, *numbers):
        for number in numbers:
            self.link.emit("message", number)

    def back(self):
        until(self.hub, lambda before=len(self.hub.visits): len(self.hub.visits) > before)
        self.hub.open()

    @property
    def on_disk(self):
        return [
            int(line.rpartition(b",")[2].rstrip(b"]"))
            for path in spooled_sessions(self.home)
            for line in path.read_bytes().splitlines()[1:]
        ]

    def stop(self):
        if self.link.running:
            self.link.stopService()
            self.hub.settle()


@pytest.fixture
def stage(tmp_path):
    made = Stage(Home(tmp_path / "home").prepare())
    yield made
    made.stop()


def test_a_hub_that_confirms_at_once_costs_no_write(stage):
    stage.start()
    for number in range(100):
        stage.emit(number)
        stage.hub.answer_probes()
        stage.hub.advance(0.05)
    assert stage.syncs == []
    assert not (stage.home.path / "spool").exists()


def test_what_is_not_confirmed_within_a_second_is_on_the_disk_until_it_is(stage):
    stage.start()
    stage.emit(1, 2)
    stage.hub.advance(0.9)
    assert stage.on_disk == []
    stage.hub.advance(0.1)
    assert stage.on_disk == [1, 2]
    stage.emit(3)  # from now on at once
    assert stage.on_disk == [1, 2, 3]
    stage.hub.answer_probes()
    assert spooled_sessions(stage.home) == []
    stage.emit(4)
    assert stage.on_disk == []


def test_a_lost_connection_writes_everything_at_once_and_syncs_in_batches(stage):
    stage.start()
    stage.emit(1)
    stage.hub.drop()
    stage.emit(*range(2, 50))
    assert stage.on_disk == list(range(1, 50))
    assert stage.syncs == []
    stage.hub.clock.advance(0.2)
    assert len(stage.syncs) == 1
    stage.back()
    stage.hub.answer_probes()
    assert spooled_sessions(stage.home) == []
    assert len(stage.hub.heard("42")) == 49


def test_the_file_of_a_link_that_stops_holds_what_was_not_confirmed_in_order(stage):
    stage.start()
    stage.emit(1)
    stage.hub.answer_probes()
    stage.emit(2, 3)
    stage.stop()
    (claimed,) = claim_spools(stage.home)
    assert [event.args for event in claimed.events] == [(2,), (3,)]
    claimed.release()


def test_the_next_link_delivers_what_the_hub_lacks_of_it_before_anything_newer(stage):
    stage.link.startService()
    stage.emit(1, 2, 3)
    stage.stop()  # it was never connected
    (path,) = spooled_sessions(stage.home)
    link, compared = stage.make_link(), []

    async def lacking(events):
        compared.extend(event.args[0] for event in events)
        return [event for event in events if event.args != (2,)]

    link.reconcile_with(lacking)
    (claimed,) = claim_spools(stage.home)
    link.adopt([event.text for event in claimed.events], claimed.remove)
    link.emit("message", 4)
    stage.link = link
    link.startService()
    stage.hub.open()
    assert compared == [1, 2, 3]
    assert stage.hub.heard("42") == [f'42/cli,["message",{number}]' for number in (1, 3, 4)]
    assert path.exists()
    stage.hub.answer_probes()
    assert not path.exists()


def test_a_disk_that_refuses_is_reported_once_and_tried_again(stage, monkeypatch):
    problems = []
    stage.start()
    stage.link.on_delivery(
        lambda: problems.append(stage.link.delivery_status.spool_problem), lambda: None
    )
    refused = []

    def refuse(spool, text):
        refused.append(text)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpoolFile, "append", refuse)
    stage.hub.drop()
    stage.emit(1)
    stage.emit(2)
    stage.hub.clock.advance(1.0)
    assert problems == ["No space left on device"]
    assert len(refused) >= 2
    monkeypatch.undo()
    stage.hub.clock.advance(1.0)
    assert stage.on_disk == [1, 2]
    assert problems == ["No space left on device", None]


def test_a_sync_that_takes_long_is_not_doubled(stage):
    waiting = []

    def in_thread(work):
        waiting.append(Deferred())
        return waiting[-1].addCallback(lambda _: work())

    stage.link._delivery.spooling._in_thread = in_thread
    stage.start()
    stage.hub.drop()
    for number in range(5):
        stage.emit(number)
        stage.hub.clock.advance(0.2)
    assert len(waiting) == 1
    waiting[0].callback(None)
    stage.hub.clock.advance(0.2)
    assert len(waiting) == 2
    waiting[1].callback(None)
