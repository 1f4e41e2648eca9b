"""Draining that outlives the runner: what stands on the disk, who reads it, and what ends it."""

import json

import pytest
from twisted.internet.task import Clock

from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.admission import Admission
from hapi.runner.spawn.drain import DRAINED, Drain


def runner(home, on_write_error=lambda: None):
    clock = Clock()
    admission = Admission(clock, AdmissionLimits(), lambda: 0, clock.callLater)
    drained = Drain(home, admission, lambda: 7.0, on_write_error)
    drained.restore()
    return admission, drained


def test_a_drained_runner_stays_drained_over_a_restart_until_it_is_resumed(home):
    _, first = runner(home)
    assert first.begin("control: pid 1", keep=True)
    assert not first.begin("control: pid 2", keep=True)  # no news
    assert json.loads(home.runner_drained.read_text()) == {"actor": "control: pid 1", "at": 7.0}
    admission, second = runner(home)
    assert (admission.draining, second.reason_to_stay) == (DRAINED, None)
    assert second.resume()
    assert (admission.draining, home.runner_drained.exists()) == (None, False)
    assert runner(home)[0].draining is None


def test_draining_for_a_restart_ends_with_the_runner(home):
    admission, drained = runner(home)
    drained.begin("control: pid 1", keep=False)
    assert admission.draining == DRAINED
    assert "drained for a restart" in drained.reason_to_stay
    assert runner(home)[0].draining is None


def test_a_restart_of_a_drained_runner_leaves_it_drained(home):
    _, drained = runner(home)
    drained.begin("control: pid 1", keep=True)
    drained.begin("control: pid 2", keep=False)
    assert runner(home)[0].draining == DRAINED


def test_draining_first_for_a_moment_and_then_for_good_is_for_good(home):
    _, drained = runner(home)
    drained.begin("control: pid 1", keep=False)
    drained.begin("control: pid 2", keep=True)
    assert runner(home)[0].draining == DRAINED


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"actor": 7}', b"\xff"])
def test_an_order_that_cannot_be_read_counts__S05(home, content):
    home.runner_drained.write_bytes(content)
    admission, drained = runner(home)
    assert admission.draining == DRAINED
    assert drained.resume()
    assert not home.runner_drained.exists()


def test_a_disk_that_refuses_drains_this_runner_all_the_same__S02(home, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hapi.runner.spawn.drain.write_atomically", full)
    admission, drained = runner(home)
    assert drained.begin("control: pid 1", keep=True)
    assert admission.draining == DRAINED


def test_an_order_that_was_not_saved_is_told_and_saved_later__S02(home):
    home.runner_drained.mkdir()
    failures = []
    _, drained = runner(home, lambda: failures.append(1))
    drained.resume()
    failures.clear()
    drained.begin("control: pid 1", keep=True)
    assert "The next runner will not be drained" in drained.write_error
    assert drained.reason_to_stay == drained.write_error  # or the next one would not be drained
    assert failures == [1]
    home.runner_drained.rmdir()
    drained.begin("control: pid 2", keep=True)  # asked again: tried again
    assert (drained.write_error, drained.reason_to_stay) == (None, None)
    assert json.loads(home.runner_drained.read_text())["actor"] == "control: pid 1"


def test_an_order_that_cannot_be_removed_is_told_and_removed_later__S02(home, monkeypatch):
    admission, drained = runner(home)
    drained.begin("control: pid 1", keep=True)
    with monkeypatch.context() as broken:
        broken.setattr(type(home.runner_drained), "unlink", refuse)
        assert drained.resume()
    assert admission.draining is None
    assert "The next runner will be drained again" in drained.write_error
    with pytest.raises(StopIteration):
        drained.retry_writes().send(None)
    assert (drained.write_error, home.runner_drained.exists()) == (None, False)


def refuse(path, missing_ok=False):
    raise OSError(30, "Read-only file system")
