"""The hub's end of Socket.IO, on a Clock, with clients in memory."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hapi.net.common.errors import AckTimeout, FrameTooLarge, PeerGone
from hapi.protocol.engineio import MAX_PAYLOAD
from tests.support.memory_client import Place

case = SynchronousTestCase()


@pytest.fixture
def place():
    made = Place()
    yield made
    done = Deferred.fromCoroutine(made.server.stop())
    for client in made.clients:
        client.settle()
    case.successResultOf(done)
    assert not made.clock.getDelayedCalls()


# --- joining


def test_a_client_is_greeted_joined_and_known(place):
    client = place.connect(joined=False)
    (opened,) = client.news()
    assert json.loads(opened[1:])["pingInterval"] == 25000
    (reply,) = client.say('40/cli,{"token":"good","clientType":"machine-scoped"}')
    (peer,) = place.desk.peers
    assert reply == f'40/cli,{{"sid":"{peer.id}"}}'
    assert peer.rooms == {"all"}
    assert place.server.room("all") == {peer}


def test_what_is_emitted_while_joining_arrives_after_the_reply(place):
    place.desk.greeting = ("hello", 1)
    client = place.connect(joined=False)
    client.news()
    reply, hello = client.say('40/cli,{"token":"good"}')
    assert reply.startswith("40/cli,")
    assert hello == '42/cli,["hello",1]'


@pytest.mark.parametrize("connect", ["40/cli,", '40/cli,{"token":"bad"}', "40/cli,{}"])
def test_who_is_refused_may_try_again_and_is_in_no_room(place, connect):
    client = place.connect(joined=False)
    client.news()
    assert client.say(connect) == ['44/cli,{"message":"Invalid token"}']
    assert place.server.room("all") == frozenset()
    client.join()
    assert len(place.desk.peers) == 1


def test_an_unknown_namespace_is_refused_in_words(place):
    client = place.connect(joined=False)
    client.news()
    assert client.say("40/nope,{}") == ['44/nope,{"message":"Invalid namespace"}']
    client.join()
    assert place.desk.peers


def test_a_namespace_that_fails_refuses_and_says_nothing_of_why(place, logged_failures):
    place.desk.greeting = (object(),)
    client = place.connect(joined=False)
    client.news()
    assert client.say('40/cli,{"token":"good"}') == ['44/cli,{"message":"Internal error"}']
    assert place.server.room("all") == frozenset()
    assert logged_failures.take(Exception)


@pytest.mark.parametrize(
    "text",
    [
        '40/cli,{"token":"good"}',
        '42/terminal,["x"]',
        "2",
        "9",
        '42/cli,[{"a":1}]',
        '42/cli,["__proto__"]',
        '451-/cli,["x"]',
    ],
)
def test_protocol_errors_close_with_1000(place, text):
    client = place.connect()
    client.say(text)
    client.settle()
    assert client.ended[0] == 1000
    assert len(place.desk.gone) == 1
    assert place.server.room("all") == frozenset()


def test_an_event_before_joining_closes(place):
    client = place.connect(joined=False)
    client.say('42/cli,["x"]')
    assert client.ended[0] == 1000
    assert place.desk.gone == []


def test_a_binary_message_closes(place):
    client = place.connect()
    client.socket.sendMessage(b"\x00", isBinary=True)
    client.settle()
    assert client.ended[0] == 1000


def test_who_joins_nothing_is_closed_after_45_seconds(place):
    client = place.connect(joined=False)
    place.advance(25)
    assert client.news()[-1] == "2"
    client.say("3")
    place.advance(19.9)
    assert client.ended is None
    place.advance(0.1)
    assert client.ended[0] == 1000


def test_two_namespaces_on_one_connection_are_two_peers(place):
    client = place.connect()
    client.join(namespace="/terminal")
    client.say('42/terminal,["to terminal"]', '42/cli,["to cli"]')
    assert place.terminal.events == [("to terminal", [], False)]
    assert place.desk.events == [("to cli", [], False)]
    client.say("41/terminal,")
    assert len(place.terminal.gone) == 1
    assert place.desk.gone == []


# --- living


def test_pings_go_out_on_time_and_silence_closes_twenty_seconds_later(place):
    client = place.connect()
    place.advance(24.9)
    assert client.news() == []
    place.advance(0.1)
    assert client.news() == ["2"]
    client.say("3")
    place.advance(25)
    assert client.news() == ["2"]
    place.advance(19.9)
    assert client.ended is None
    place.advance(0.1)
    assert client.ended[0] == 1000
    assert place.desk.gone[0][1] == "ping timeout"


def test_a_connection_that_vanished_without_a_word_is_noticed(place):
    client = place.connect()
    client.pump.clientIO.disconnected = True  # its bytes go nowhere
    client.pump.flush = lambda **_: False
    place.clock.advance(25)
    place.clock.advance(20)
    assert place.desk.gone[0][1] == "ping timeout"
    place.clock.advance(1)
    place.server.connections.clear()


# --- events


def test_events_come_with_and_without_an_ack_id(place):
    client = place.connect()
    assert client.say('42/cli,["a",1]', '42/cli,5["echo",1,2]', '42/cli,6["silent"]') == [
        "43/cli,5[1,2]"
    ]
    assert place.desk.events == [("a", [1], False), ("echo", [1, 2], True), ("silent", [], True)]


def test_an_event_that_fails_is_logged_and_the_client_stays(place, logged_failures):
    client = place.connect()
    client.say('42/cli,["raise"]', '42/cli,["fine"]')
    assert place.desk.events == [("fine", [], False)]
    assert client.ended is None
    assert logged_failures.take(ValueError)


def test_rooms_reach_everybody_in_them_but_the_one_left_out(place):
    one, two, three = place.connect(), place.connect(), place.connect()
    place.desk.peers[2].leave("all")
    place.server.emit("all", "update", {"n": 1}, without=place.desk.peers[0])
    assert [client.news() for client in (one, two, three)] == [
        [],
        ['42/cli,["update",{"n":1}]'],
        [],
    ]
    place.server.emit("nobody", "update")
    two.drop()
    assert place.server.room("all") == {place.desk.peers[0]}
    assert place.desk.gone[0][0].rooms == {"all"}


def test_a_client_can_be_put_out_and_its_transport_stays(place):
    client = place.connect()
    place.desk.peers[0].disconnect()
    assert client.news() == ["41/cli,"]
    assert place.desk.gone[0][1] == "disconnected by the hub"
    assert client.ended is None
    place.desk.peers[0].emit("late")
    assert client.news() == []


def test_a_client_that_leaves_is_gone_at_once(place):
    client = place.connect()
    client.say("41/cli,")
    assert place.desk.gone[0][1] == "client left"
    assert client.ended is None


# --- calls


def test_a_call_fires_with_the_answer_and_numbers_run_over_all_clients(place):
    one, two = place.connect(), place.connect()
    first = place.desk.peers[0].call("rpc-request", {"method": "x"}, timeout=30)
    second = place.desk.peers[1].call("rpc-request", {"method": "y"}, timeout=30)
    assert one.news() == ['42/cli,0["rpc-request",{"method":"x"}]']
    assert two.news() == ['42/cli,1["rpc-request",{"method":"y"}]']
    two.say('43/cli,1["{}"]', '43/cli,1["again"]', '43/cli,99["unknown"]')
    assert case.successResultOf(second) == ["{}"]
    one.say("43/cli,0[]")
    assert case.successResultOf(first) == []


def test_one_client_cannot_answer_for_another(place):
    _, two = place.connect(), place.connect()
    answer = place.desk.peers[0].call("ask", timeout=5)
    two.say('43/cli,0["mine"]')
    case.assertNoResult(answer)
    place.clock.advance(5)
    case.failureResultOf(answer, AckTimeout)


def test_a_call_fails_at_once_when_the_socket_drops(place):
    client = place.connect()
    answer = place.desk.peers[0].call("ask", timeout=30)
    client.drop()
    case.failureResultOf(answer, PeerGone)
    case.failureResultOf(place.desk.peers[0].call("ask", timeout=30), PeerGone)


def test_a_call_ends_at_its_deadline_and_a_late_answer_is_ignored(place):
    client = place.connect()
    answer = place.desk.peers[0].call("ask", timeout=10)
    place.advance(10)
    case.failureResultOf(answer, AckTimeout)
    client.say("43/cli,0[1]")
    assert client.ended is None


# --- bounds


def test_a_message_over_the_limit_is_refused_before_it_is_sent__N10(place):
    client = place.connect()
    peer = place.desk.peers[0]
    with pytest.raises(FrameTooLarge):
        peer.emit("big", "x" * MAX_PAYLOAD)
    with pytest.raises(FrameTooLarge):
        place.server.emit("all", "big", "x" * MAX_PAYLOAD)
    case.failureResultOf(peer.call("big", "x" * MAX_PAYLOAD, timeout=1), FrameTooLarge)
    assert client.news() == []


def test_a_client_that_does_not_read_is_kept_within_bounds_and_then_dropped(place):
    client = place.connect()
    (connection,) = place.server.connections
    peer = place.desk.peers[0]
    connection.writable_changed(False)
    peer.emit("a", "x" * 4000)
    peer.emit("b", "x" * 4000)
    assert client.news() == []
    connection.writable_changed(True)
    assert [text[:11] for text in client.news()] == ['42/cli,["a"', '42/cli,["b"']
    connection.writable_changed(False)
    for _ in range(3):
        peer.emit("c", "x" * 4000)
    client.settle()
    assert client.ended is not None
    assert "slow reader" in place.desk.gone[0][1]


def test_stopping_closes_everybody_with_1000(place):
    one, two = place.connect(), place.connect()
    done = Deferred.fromCoroutine(place.server.stop())
    one.settle()
    two.settle()
    case.successResultOf(done)
    assert one.ended[0] == two.ended[0] == 1000
    assert {reason for _, reason in place.desk.gone} == {"the hub stops"}


def test_stopping_waits_a_second_and_a_half_for_those_who_do_not_answer(place):
    client = place.connect()
    client.pump.flush = lambda **_: False
    done = Deferred.fromCoroutine(place.server.stop())
    case.assertNoResult(done)
    place.clock.advance(1.5)
    case.successResultOf(done)
    place.server.connections.clear()
