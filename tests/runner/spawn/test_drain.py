"""Draining that outlives the runner: what stands on the disk, who reads it, and what ends it."""

import json

import pytest
from twisted.internet.task import Clock

from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.admission import Admission
from hapi.runner.spawn.drain import DRAINED, Drain


def runner(home):
    clock = Clock()
    admission = Admission(clock, AdmissionLimits(), lambda: 0, clock.callLater)
    drained = Drain(home, admission, lambda: 7.0)
    drained.restore()
    return admission, drained


def test_a_drained_runner_stays_drained_over_a_restart_until_it_is_resumed(home):
    _, first = runner(home)
    assert first.begin("control: pid 1", keep=True)
    assert not first.begin("control: pid 2", keep=True)  # no news
    assert json.loads(home.runner_drained.read_text()) == {"actor": "control: pid 1", "at": 7.0}
    admission, second = runner(home)
    assert (admission.draining, second.is_temporary) == (DRAINED, False)
    assert second.resume()
    assert (admission.draining, home.runner_drained.exists()) == (None, False)
    assert runner(home)[0].draining is None


def test_draining_for_a_restart_ends_with_the_runner(home):
    admission, drained = runner(home)
    drained.begin("control: pid 1", keep=False)
    assert (admission.draining, drained.is_temporary) == (DRAINED, True)
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
