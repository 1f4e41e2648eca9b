"""The old side of a hand-off on a Clock: whatever the replacement does, one of both serves, and it
is the right one (G6).
"""

from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, race

from hapi.runner.handoff.channel import ChannelClosed, HandoffChannel
from hapi.runner.handoff.outcome import Failed, HandedOver, Stopped
from hapi.runner.handoff.outgoing import HANDOFF_TIMEOUT
from hapi.runner.handoff.program import ProgramNotStarted
from hapi.runner.handoff.verification import (
    ExpectedStatus,
    Mismatch,
    NotReady,
    Verified,
    verify_replacement,
)
from tests.support.outgoing_stage import EXPECTED, GOOD, Fake, Try
from tests.support.runner_stage import assert_waiting, result_of


def test_a_replacement_that_is_as_expected_gets_the_home():
    one = Try()
    assert one.new.channel.said == []
    one.send("ready")
    assert one.new.channel.said == [{"word": "go", "token": "t", "ages": [0.0]}, {"word": "yours"}]
    assert_waiting(one.running)  # it may die just now: we stay until it says so
    one.send("mine")
    assert result_of(one.running) == HandedOver(7)
    assert (one.new.killed, one.old.log) == (0, ["quiet", "ask"])
    assert not one.clock.getDelayedCalls()


def test_it_may_take_its_time_to_register():
    one = Try({**GOOD, "registered": False})
    one.send("ready")
    one.wait(20)
    assert_waiting(one.running)
    one.old.answer = GOOD
    one.wait(1)
    one.send("mine")
    assert result_of(one.running) == HandedOver(7)


def test_what_is_begun_is_finished_before_it_may_begin__H10():
    one = Try(quiet=Deferred())
    one.send("ready")
    one.wait(10)
    assert one.new.channel.said == []
    one.old.quiet.callback(None)
    assert one.new.channel.said[0]["word"] == "go"
    one.send("mine")
    assert result_of(one.running) == HandedOver(7)


# --- G6: kinds of failing replacements


def test_it_cannot_be_started__H01():
    def missing():
        raise ProgramNotStarted("no such file: /usr/bin/python9")

    one = Try(start=missing)
    assert result_of(one.running) == Failed("no such file: /usr/bin/python9")
    assert one.old.log == []  # nothing had been changed


@pytest.mark.parametrize(
    "how",
    [
        "the replacement exited with code 1",
        "the replacement exited with code 0",
        "the replacement was ended by SIGSEGV",
    ],
)
def test_it_ends_before_it_is_ready__H01(how):
    one = Try()
    one.new.dies(how)
    assert one.failed() == how


def test_it_says_why_it_cannot_start__H01():
    one = Try()
    one.send("failed", reason="runner.lock: it cannot be created")
    assert one.failed() == "the replacement could not start: runner.lock: it cannot be created"


@pytest.mark.parametrize(
    "how", ["the replacement exited with code 1", "the replacement was ended by SIGKILL"]
)
def test_it_dies_after_writing_its_pid__H02(how):
    one = Try(ConnectionError("nobody accepts"))
    one.send("ready")
    one.wait(1)
    one.new.dies(how)
    assert one.failed() == how


def test_it_dies_just_when_it_is_given_the_home__H02():
    one = Try()
    one.send("ready")
    assert one.new.channel.said[-1] == {"word": "yours"}
    one.new.dies("the replacement was ended by SIGKILL")
    assert one.failed() == "the replacement was ended by SIGKILL"


def test_it_never_gets_ready__H03():
    one = Try()
    one.wait(HANDOFF_TIMEOUT - 0.5)
    assert_waiting(one.running)
    assert one.failed() == "the replacement did not come up within 30 s"


def test_it_takes_over_and_never_answers__H03():
    one = Try(Deferred())
    one.send("ready")
    one.wait()
    assert one.failed() == "the replacement did not answer on the control socket within 30 s"


def test_an_answer_that_cannot_be_cancelled_holds_nobody_up__H03():
    waiting: Deferred[Any] = Deferred(lambda asked: asked.errback(ConnectionError("lost")))
    one = Try(waiting)
    one.send("ready")
    one.wait()
    assert one.failed() == "the replacement did not answer on the control socket within 30 s"
    assert one.old.log.count("ask") == 1


def test_nobody_answers_on_the_control_socket__H03():
    one = Try(ConnectionRefusedError("refused"))
    one.send("ready")
    one.wait()
    assert (
        one.failed() == "the replacement did not answer on the control socket: refused within 30 s"
    )


def test_it_never_registers__H03():
    one = Try({**GOOD, "registered": False})
    one.send("ready")
    one.wait()
    assert (
        one.failed() == "the replacement was not ready: it is not registered at the hub within 30 s"
    )


def test_it_takes_the_home_and_says_nothing__H03():
    one = Try()
    one.send("ready")
    one.wait()
    assert one.failed() == "the replacement did not take over within 30 s"


def test_what_is_begun_does_not_end__H10():
    one = Try(quiet=Deferred())
    one.send("ready")
    one.wait()
    assert one.failed() == (
        "the replacement could not take over, since this runner was still busy within 30 s"
    )
    assert one.new.channel.said == []


DIFFERENT = {
    "process id": {"pid": 8},
    "version": {"version": "1"},
    "build": {"build": {"version": "2", "digest": "a"}},
    "arguments": {"argv": ["runner", "start-sync"]},
    "workspace roots": {"workspaceRoots": []},
    "session command": {"sessionCommand": ["other"]},
    "hub": {"hub": {"url": "http://other", "phase": "connected"}},
    "machine id": {"machineId": "n"},
    "identity at the hub": {"identity": "j"},
    "control port": {"httpPort": 1},
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_it_came_up_as_another_runner__H04(what):
    one = Try({**GOOD, **DIFFERENT[what]})
    one.send("ready")
    assert one.failed() == f"the replacement came up with another {what}"
    assert one.clock.seconds() < 1  # waiting would not have helped


@pytest.mark.parametrize("text", [b"hello", b"[]", b'{"word": 7}', b"\xff", b"[" * 60000])
def test_it_says_what_makes_no_sense__H04(text):
    one = Try()
    one.new.channel.hears(text)
    assert "invalid message" in one.failed()


def test_it_says_words_out_of_turn__H04():
    one = Try()
    one.send("mine")
    assert one.failed() == "the replacement sent 'mine' at the wrong time"


def test_it_answers_garbage__H04():
    one = Try({"pid": None, "hub": [], "build": 7, "argv": "runner"})
    one.send("ready")
    assert "another process id and version and build" in one.failed()


# --- somebody asks for an end in the middle


@pytest.mark.parametrize("step", ["started", "ready", "answering"])
def test_the_old_one_is_stopped_in_the_middle__H13(step):
    one = Try(GOOD if step == "started" else Deferred())
    if step != "started":
        one.send("ready")
    if step == "answering":
        one.wait(1)
    result_of(one.handoff.abandon())
    assert one.new.killed == 1
    assert one.old.log[-1] == "again after 7"  # so that files are ours when we remove them
    one.wait()
    assert one.old.log.count("again after 7") == 1
    assert isinstance(result_of(one.running), Failed)


@pytest.mark.parametrize("waits_for", [Deferred, lambda: race([Deferred(), Deferred()])])
def test_who_leaves_waits_a_bounded_time_for_the_end_of_the_new_one__H13_P01(
    monkeypatch, waits_for
):
    """A machine so busy that the killed one is not gone in time: our files are ours again all the
    same, and nothing broke.
    """
    one = Try(Deferred())
    one.send("ready")
    monkeypatch.setattr(Fake, "end", lambda _: waits_for())
    leaving = one.handoff.abandon()
    leaving.cancel()
    result_of(leaving)
    assert one.old.log[-1] == "again after 7"


def test_the_new_one_is_stopped_in_the_middle__H13():
    one = Try({**GOOD, "registered": False})
    one.send("ready")
    one.send("leaving", reason="hapi-cli")
    one.new.dies("the replacement exited with code 0")
    one.wait(1)
    assert result_of(one.running) == Stopped("hapi-cli")
    assert one.old.log[-1] == "again after 7"


def test_after_the_hand_over_nothing_is_taken_back__H13():
    one = Try()
    one.send("ready")
    one.send("mine")
    assert result_of(one.running) == HandedOver(7)
    result_of(one.handoff.abandon())
    assert one.new.killed == 0


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ({}, Verified()),
        ({"registered": None}, NotReady("it is not registered at the hub")),
        (
            {"hub": {"url": "http://hub", "phase": "connecting"}},
            NotReady("it is not connected to the hub"),
        ),
        (
            {"pid": 8, "argv": None},
            Mismatch("the replacement came up with another process id and arguments"),
        ),
    ],
)
def test_judging_an_answer__H04(seen, verdict):
    assert verify_replacement(EXPECTED, {**GOOD, **seen}) == verdict


ASKED = ExpectedStatus(pid=7, argv=("runner", "start-sync"), port=4711, online_as="i")
ANSWER = {**GOOD, "argv": ["runner", "start-sync"], "version": "3", "workspaceRoots": ["/x"]}
TRYING = {"url": "http://hub", "phase": "retrying", "reason": "refused"}


@pytest.mark.parametrize(
    ("expected", "seen", "verdict"),
    [
        (ASKED, {}, Verified()),
        (ASKED, {"hub": TRYING}, NotReady("it is not connected to the hub (refused)")),
        (ASKED, {"registered": False}, NotReady("it is not registered at the hub")),
        (ASKED, {"identity": "other", "registered": False, "hub": TRYING}, Verified()),
        (evolve(ASKED, online_as=None), {"registered": False, "hub": TRYING}, Verified()),
        (
            evolve(ASKED, online_as=None),
            {"registered": False, "hub": {**TRYING, "reason": None}},
            NotReady("it has not tried to reach the hub"),
        ),
        (ASKED, {"argv": []}, Mismatch("the replacement came up with another arguments")),
    ],
)
def test_a_replacement_that_a_command_asked_for_is_online_wherever_its_predecessor_was__H04(
    expected, seen, verdict
):
    assert verify_replacement(expected, {**ANSWER, **seen}) == verdict


def test_words_wait_for_whoever_listens_and_the_last_one_is_followed_by_the_end():
    channel = HandoffChannel()
    channel.lineReceived(b'{"word": "a"}')
    channel.lineReceived(b'{"word": "b"}')
    channel.connectionLost()
    assert result_of(channel.receive()) == {"word": "a"}
    assert result_of(channel.receive()) == {"word": "b"}
    assert isinstance(
        result_of(channel.receive().addErrback(lambda reason: reason.value)), ChannelClosed
    )
