"""Long-polling and its upgrade, on a Clock, with clients in memory."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hapi.net.common.websocket import UNAUTHENTICATED_SIZE
from hapi.net.server.polling import MAX_WAITING, UPGRADE_TIMEOUT
from hapi.protocol.engineio import MAX_PACKETS, MAX_PAYLOAD
from tests.support.memory_client import Place
from tests.support.polling_client import POLL, PollingClient, lose, polling_site
from tests.support.raw_http import request
from tests.support.request_wire import RequestWire, parse_answer

case = SynchronousTestCase()


@pytest.fixture
def place():
    made = Place()
    yield made
    done = Deferred.fromCoroutine(made.server.stop())
    made.advance(0)
    case.successResultOf(done)
    assert not made.server._polling
    assert not made.server._transports
    assert not made.server.connections


@pytest.fixture
def site(place):
    return polling_site(place.server)


@pytest.fixture
def client(site):
    return PollingClient.of(site)


@pytest.fixture
def joined(client):
    client.join()
    return client


def peer_of(place):
    return place.terminal.peers[-1]


def test_a_client_is_told_that_it_may_change_to_a_websocket(client):
    assert client.opened == {
        "sid": client.sid,
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": MAX_PAYLOAD,
    }


@pytest.mark.parametrize("namespace", ["/cli", "/terminal"])
def test_packets_go_by_post_and_come_by_get(place, client, namespace):
    (reply,) = client.join(namespace=namespace)
    assert reply.startswith(f'40{namespace},{{"sid":')
    answer = client.post(f'42{namespace},["one","é"]', f'42{namespace},7["echo",2]')
    assert (answer.status, answer.body) == (200, "ok")
    desk = place.desk if namespace == "/cli" else place.terminal
    assert desk.events == [("one", ["é"], False), ("echo", [2], True)]
    assert client.news() == [f"43{namespace},7[2]"]


def test_what_is_sent_in_one_turn_answers_the_get_that_hangs_as_one_payload(place, joined):
    wire = joined.begin("GET")
    assert not wire.transport.value()
    peer_of(place).emit("a", 1)
    peer_of(place).emit("b", "ö")
    place.advance(0)
    answer = parse_answer(wire.transport.value())
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.body == '42/terminal,["a",1]\x1e42/terminal,["b","ö"]'


def test_a_refused_client_gets_to_know_it_and_may_try_again(place, client):
    assert client.join("bad") == ['44/terminal,{"message":"Invalid token"}']
    assert client.join()[0].startswith("40/terminal,")


def test_the_heartbeat_goes_by_the_get_that_hangs(place, joined):
    wire = joined.begin("GET")
    place.advance(25)
    place.advance(0)
    assert parse_answer(wire.transport.value()).body == "2"
    joined.post("3")
    place.advance(24)
    assert not place.terminal.gone
    place.advance(1)
    place.advance(20)
    assert [reason for _, reason in place.terminal.gone] == ["ping timeout"]
    assert joined.ask("GET").body == {"code": 1, "message": "Session ID unknown"}


def test_a_second_get_ends_the_session(place, joined):
    first = joined.begin("GET")
    assert joined.ask("GET").status == 400
    assert parse_answer(first.transport.value()).body == "1"
    assert len(place.terminal.gone) == 1
    assert joined.ask("GET").status == 400


def test_a_page_that_goes_away_during_its_get_leaves_nothing(place, joined):
    lose(joined.begin("GET"))
    assert len(place.terminal.gone) == 1
    assert not place.server.connections


def test_a_client_that_says_goodbye_gets_its_get_answered(place, joined):
    wire = joined.begin("GET")
    assert joined.post("41/terminal,", "1").body == "ok"
    assert parse_answer(wire.transport.value()).body == "6"
    assert len(place.terminal.gone) == 1
    assert not place.server.connections


@pytest.mark.parametrize(
    "body",
    [b"abc", b"4", b"\xff", b"", b"3\x1e", b"bAAAA", b"3" + b"\x1e3" * MAX_PACKETS, b"5", b"2"],
)
def test_a_malformed_payload_ends_the_session(place, joined, body):
    assert joined.ask("POST", body).status == 400
    assert len(place.terminal.gone) == 1
    assert not place.server.connections


@pytest.mark.parametrize(
    ("method", "query", "headers", "status", "code"),
    [
        ("GET", "&sid=stranger", {}, 400, 1),
        ("POST", "&sid=stranger", {}, 400, 1),
        ("POST", "", {}, 400, 2),
        ("DELETE", "&sid={sid}", {}, 400, 2),
        ("GET", "", {"Origin": "http://other.example"}, 403, 4),
        ("POST", "&sid={sid}", {"Origin": "http://other.example"}, 403, 4),
        ("GET", "&sid={sid}", {"Origin": "http://other.example"}, 403, 4),
    ],
)
def test_other_requests_are_refused_with_the_recorded_codes(
    site, joined, method, query, headers, status, code
):
    path = POLL + query.format(sid=joined.sid)
    answer = RequestWire(site=site).ask(request(method, path, b"3", **headers))
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers.get("access-control-allow-origin") in (None, "false")
    assert joined.post('42/terminal,7["echo"]').body == "ok"


def test_a_page_of_the_hubs_own_address_may_poll_whatever_its_name(site):
    own = PollingClient(site)
    answer = own.ask("GET", Origin="http://127.0.0.1")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1"


def test_a_client_of_another_protocol_version_is_refused(site):
    path = "/socket.io/?EIO=3&transport=polling"
    assert RequestWire(site=site).ask(request("GET", path)).body["code"] == 5


def test_a_hub_below_a_path_serves_polling_there(place):
    site = polling_site(place.server)
    site.base_path = b"/hapi"
    answer = RequestWire(site=site).ask(request("GET", "/hapi" + POLL))
    assert answer.body.startswith('0{"sid":')


# --- strangers


def test_a_stranger_may_send_little_before_it_shows_a_token(place, client):
    piece = b"6" + b"\x1e6" * 4000
    for _ in range(UNAUTHENTICATED_SIZE // len(piece)):
        assert client.ask("POST", piece).status == 200
    assert client.ask("POST", piece).status == 400
    assert not place.server.connections


def test_a_strangers_large_body_is_refused_by_its_head(client):
    wire = client.begin("POST", Content_Length=str(1 << 20))
    assert parse_answer(wire.transport.value()).status == 413


def test_a_client_with_a_token_may_send_a_large_body(place, joined):
    text = "x" * (3 << 20)
    assert joined.post(f'42/terminal,["paste","{text}"]').body == "ok"
    assert place.terminal.events == [("paste", [text], False)]
    wire = joined.begin("POST", Content_Length=str(MAX_PAYLOAD + 1))
    assert parse_answer(wire.transport.value()).status == 413


def test_a_stranger_that_joins_nothing_is_ended(place, site, client):
    place.advance(45)
    assert not place.server.connections
    assert len(site.unauthenticated) == 1  # the HTTP connection of its GET


def test_strangers_cannot_collect_sessions_and_leave_those_who_have_shown_a_token(
    place, site, joined
):
    site.unauthenticated.max_connections = 20
    strangers = [PollingClient.of(site) for _ in range(60)]
    assert len(place.server.connections) <= 20
    assert strangers[0].ask("GET").status == 400
    assert joined.post('42/terminal,7["echo",1]').body == "ok"
    assert joined.news() == ["43/terminal,7[1]"]


def test_a_client_that_never_polls_is_cut_and_nothing_of_it_is_kept(place, joined):
    peer = peer_of(place)
    assert peer.is_reading
    peer.emit("x", "y" * MAX_WAITING)
    assert not peer.is_reading
    for _ in range(11):
        peer.emit("x", "y" * 1000)
    assert peer.gone
    assert not place.server.unread.size


def test_a_client_that_reads_again_gets_all_in_order(place, joined):
    peer, read = peer_of(place), []
    peer.on_readable = lambda: read.append(1)
    peer.emit("x", "y" * MAX_WAITING)
    peer.emit("a")
    peer.emit("b")
    assert len(joined.news()) == 1
    assert joined.news() == ['42/terminal,["a"]', '42/terminal,["b"]']
    assert read
    assert peer.is_reading


# --- the change to a WebSocket


def test_a_client_changes_to_a_websocket_and_loses_nothing(place, joined):
    socket, wire = joined.socket(), joined.begin("GET")
    assert socket.status == 101
    assert socket.say("2probe") == ["3probe"]
    place.advance(0.1)
    assert parse_answer(wire.transport.value()).body == "6"
    peer_of(place).emit("between", 1)
    assert socket.say("5") == ['42/terminal,["between",1]']
    assert socket.say('42/terminal,7["echo",1]') == ["43/terminal,7[1]"]
    assert joined.ask("GET").body["code"] == 3  # as npm's server: another transport
    assert not place.server._polling
    assert not place.terminal.gone
    lose(socket.wire)


def test_packets_go_on_by_polling_until_the_client_has_changed(place, joined):
    socket = joined.socket()
    socket.say("2probe")
    wire = joined.begin("GET")
    peer_of(place).emit("a")
    place.advance(0)
    assert parse_answer(wire.transport.value()).body == '42/terminal,["a"]'
    assert joined.post('42/terminal,7["echo",1]').body == "ok"
    assert joined.news() == ["43/terminal,7[1]"]


def test_a_get_during_the_change_is_answered_but_not_without_a_pause(place, joined):
    joined.socket().say("2probe")
    wire = joined.begin("GET")
    assert not wire.transport.value()
    place.advance(0.1)
    assert parse_answer(wire.transport.value()).body == "6"


@pytest.mark.parametrize("text", ["5", "3", '40/cli,{"token":"good"}', "2"])
def test_a_websocket_that_begins_otherwise_is_closed_and_polling_goes_on(place, joined, text):
    socket = joined.socket()
    assert socket.say(text) == ["closed"]
    assert joined.post('42/terminal,7["echo",1]').body == "ok"
    assert joined.news() == ["43/terminal,7[1]"]


def test_a_change_that_is_not_finished_is_given_up(place, joined):
    socket = joined.socket()
    socket.say("2probe")
    assert joined.socket().status == 400
    place.advance(UPGRADE_TIMEOUT)
    lose(socket.wire)
    assert joined.socket().status == 101


def test_a_websocket_cannot_be_changed_again(place, joined):
    socket = joined.socket()
    socket.say("2probe", "5")
    assert joined.socket().status == 400
    lose(socket.wire)
    assert joined.socket().status == 400
    assert len(place.terminal.gone) == 1


def test_a_client_may_change_before_it_joins(place, client):
    socket = client.socket()
    assert socket.say("2probe", "5", '40/terminal,{"token":"good"}')[-1].startswith("40/terminal,")
    assert socket.say(json.dumps(["x" * 65000]).join(("42/terminal,", ""))) == []
    lose(socket.wire)
    assert len(place.terminal.gone) == 1


def test_a_hub_that_stops_says_so_and_takes_no_more(place, site, joined):
    wire = joined.begin("GET")
    done = Deferred.fromCoroutine(place.server.stop())
    case.successResultOf(done)
    assert parse_answer(wire.transport.value()).body == "1"
    assert RequestWire(site=site).ask(request("GET", POLL)).status == 503
