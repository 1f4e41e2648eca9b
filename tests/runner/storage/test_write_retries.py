"""What the disk refused is written as soon as it takes it, and nothing is tried otherwise."""

import errno
import os

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from hapi.runner.storage.disk import SynchronousDisk
from hapi.runner.storage.state_file import OwnState, RunnerState, StateFile
from hapi.runner.storage.write_retries import RETRY_INTERVAL, WriteRetries


@define
class Refused:
    """A writer whose disk is full."""

    write_error: str | None = "no space"
    tries: int = 0
    _is_full: bool = field(default=True)

    async def retry_writes(self):
        self.tries += 1
        if not self._is_full:
            self.write_error = None

    def empty(self):
        self._is_full = False


def retries(*writers, may_write=lambda: True):
    clock = Clock()
    made = WriteRetries(clock.callLater, may_write)
    for writer in writers:
        made.add(writer)
    return clock, made


def test_a_write_is_tried_every_two_seconds_until_it_succeeds():
    clock, made = retries(writer := Refused())
    made.begin()
    clock.pump([RETRY_INTERVAL] * 3)
    assert (writer.tries, made.write_error) == (3, "no space")
    writer.empty()
    clock.advance(RETRY_INTERVAL)
    assert (writer.tries, made.write_error) == (4, None)
    assert not clock.getDelayedCalls()


def test_failures_that_come_together_are_tried_again_together():
    clock, made = retries(first := Refused(), second := Refused(write_error=None))
    made.begin()
    made.begin()
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(RETRY_INTERVAL)
    assert (first.tries, second.tries) == (1, 0)


def test_nothing_is_written_while_the_files_are_another_runners():
    owns = []
    clock, made = retries(writer := Refused(), may_write=lambda: bool(owns))
    made.begin()
    clock.advance(RETRY_INTERVAL)
    assert writer.tries == 0
    owns.append(True)
    clock.advance(RETRY_INTERVAL)
    assert writer.tries == 1


def test_work_that_the_disk_refuses_is_reported():
    failures = []
    disk = SynchronousDisk(lambda: failures.append(1))
    disk.do(lambda: os.stat("/nowhere")).addErrback(lambda reason: reason.trap(OSError))
    disk.do(lambda: {}["x"]).addErrback(lambda reason: reason.trap(KeyError))
    assert failures == [1]


# --- the state file, by which sessions find the runner


def run_to_end(coroutine):
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


OURS, OTHERS = RunnerState(pid=os.getpid(), http_port=7), RunnerState(pid=1, http_port=8)


@pytest.fixture
def state(home):
    state = OwnState(StateFile(home))
    state.create(OURS, 1.0)
    return state


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_missing_state_file_is_written_before_a_session_looks_for_it(state):
    state.file.path.unlink()
    assert run_to_end(state.ensure_saved()) is None
    assert state.file.read() == OURS


def test_a_state_file_that_cannot_be_written_is_the_reason_that_is_told(state, monkeypatch):
    state.file.path.unlink()
    monkeypatch.setattr("hapi.runner.storage.state_file.write_atomically", refuse)
    assert "No space left on device" in run_to_end(state.ensure_saved())


def test_the_file_of_a_runner_that_has_ended_is_replaced(state, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr("hapi.runner.storage.state_file.write_atomically", refuse)
        run_to_end(state.record_heartbeat(1.0))
    StateFile(state.file._home).write(OTHERS)
    assert run_to_end(state.ensure_saved()) is None
    assert state.file.read().pid == OURS.pid


def test_the_file_of_another_runner_is_left_to_the_heartbeat_that_judges_it(state):
    StateFile(state.file._home).write(OTHERS)
    assert run_to_end(state.ensure_saved()) is None
    assert state.file.read() == OTHERS
