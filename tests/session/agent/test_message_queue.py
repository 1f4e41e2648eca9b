"""What an agent says is handled in order, and leaves the session time for everything else."""

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from hapi.protocol.jsonrpc import notification, result
from hapi.session.agent.jsonrpc_peer import MAX_INLINE_SIZE, AgentExited, JsonRpcPeer
from hapi.session.agent.message_queue import HIGH_WATER, MAX_SLICE, MessageQueue
from hapi.session.agent.noise import AgentNoise


def test_a_message_that_must_be_prepared_holds_up_those_behind_it_and_no_call_of_ours():
    sent, seen, prepared = [], [], Deferred()
    peer = JsonRpcPeer(Clock(), sent.append)
    peer.on_notification = lambda method, params: seen.append(method)
    peer.prepare = lambda params: prepared if params.get("large") else None
    answers, failures = [], []
    peer.call("session/prompt", {}).addCallback(answers.append)
    peer.received(
        notification("first", {})
        + notification("second", {"large": True})
        + notification("third", {})
        + result(0, "done")
    )
    assert (seen, answers) == (["first"], [])
    peer.call("session/cancel", {}).addErrback(failures.append)
    assert b"session/cancel" in sent[-1]
    peer.closed("The agent exited with code 0")
    assert failures == []
    prepared.callback(None)
    assert (seen, answers) == (["first", "second", "third"], ["done"])
    assert failures[0].check(AgentExited)


def test_a_long_line_is_read_in_a_thread_and_what_follows_keeps_its_place():
    calls, seen = [], []
    peer = JsonRpcPeer(Clock(), lambda data: None)
    peer.in_thread = lambda call, *given: calls.append((Deferred(), call, given)) or calls[-1][0]
    peer.on_notification = lambda method, params: seen.append(method)
    peer.on_noise = lambda line: seen.append(line[:4])
    long = "x" * MAX_INLINE_SIZE
    peer.received(notification("first", {"data": long}) + notification("second", {}))
    peer.received(f"no message {long}\n".encode() + notification("third", {}))
    for wanted in ([], ["first", "second"]):
        assert seen == wanted
        reading, call, given = calls.pop()
        maybeDeferred(call, *given).chainDeferred(reading)
    assert seen == ["first", "second", "no m", "third"]


def test_a_notification_that_takes_time_holds_up_those_behind_it():
    seen, shown = [], Deferred()
    peer = JsonRpcPeer(Clock(), lambda data: None)
    peer.on_notification = lambda method, params: (
        seen.append(method) or (shown if method == "first" else None)
    )
    peer.received(notification("first", {}) + notification("second", {}))
    assert seen == ["first"]
    shown.callback(None)
    assert seen == ["first", "second"]


def test_a_preparation_that_fails_loses_no_message():
    seen = []
    peer = JsonRpcPeer(Clock(), lambda data: None)
    peer.on_notification = lambda method, params: seen.append(method)
    peer.prepare = lambda params: (prepared := Deferred()).errback(ValueError()) or prepared
    peer.received(notification("first", {}) + notification("second", {}))
    assert seen == ["first", "second"]


def test_many_lines_are_handled_in_slices_between_which_the_reactor_has_its_turn():
    clock, handled = Clock(), []

    def handle(line):
        handled.append(line)
        clock.rightNow += MAX_SLICE * 0.6  # each takes 30 ms

    queue = MessageQueue(clock, handle)
    queue.put(b"0")
    for number in range(1, 5):
        queue._lines.append(b"%d" % number)
    queue.put(b"5")
    assert handled == [b"0", b"1", b"2"]
    clock.advance(0)
    assert handled == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_an_agent_that_says_more_than_can_be_handled_is_not_read_until_there_is_room():
    changes, pending = [], Deferred()
    queue = MessageQueue(Clock(), lambda line: pending if line == b"slow" else None, changes.append)
    queue.put(b"slow")
    queue.put(b"x" * (HIGH_WATER + 1))
    assert changes == [True]
    pending.callback(None)
    assert changes == [True, False]


def test_noise_is_kept_to_its_end_and_its_first_line_is_told_once():
    told = []
    noise = AgentNoise(told.append)
    for line in ("\x1b]0;title\x07\x1b[2K", "\x1b[31mLoading\x1b[0m plugins…", "x" * 5000, "last"):
        noise.add(line)
    assert told == ["Loading plugins…"]
    assert noise.text.endswith("x\nlast")
    assert len(noise.text) <= 4096
