"""HubLink against a hub in memory, on a Clock."""

import json
import time
from random import Random

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.net.client.hub_clock import HubClock
from hapi.net.client.link import AckTimeout, FrameTooLarge, HubLink, LinkLost
from hapi.net.common.errors import HubUnreachable
from hapi.net.common.rpc import RpcTable
from hapi.protocol.engineio import MAX_PAYLOAD, Handshake
from hapi.settings import HubAccess
from tests.support.memory_hub import MemoryHub, until

case = SynchronousTestCase()
AUTH = {"clientType": "machine-scoped", "machineId": "m1"}


@pytest.fixture
def hub():
    return MemoryHub(Clock())


@pytest.fixture
def rpc():
    return RpcTable("m1")


@pytest.fixture
def link(hub, rpc):
    made = HubLink(
        hub.clock,
        HubAccess("http://127.0.0.1:3006", "canary-token"),
        AUTH,
        rpc,
        random=Random(7),
        endpoint=hub,
    )
    made.startService()
    yield made
    if made.running:
        made.stopService()
        hub.settle()
    assert not hub.clock.getDelayedCalls()


def phases(link):
    seen = []
    link.on_status(lambda status: seen.append(status.phase))
    return seen


# --- joining


def test_the_answer_to_the_upgrade_sets_the_hubs_clock(hub, rpc):
    behind = HubClock(lambda: time.time() - 900)
    access = HubAccess("http://127.0.0.1:3006", "t")
    link = HubLink(hub.clock, access, AUTH, rpc, endpoint=hub, hub_clock=behind)
    link.startService()
    hub.settle()
    assert link.hub_clock.seconds() == pytest.approx(time.time(), abs=2)
    link.stopService()
    hub.settle()


def test_connect_carries_token_and_auth_and_then_all_methods_in_order(hub, link, rpc):
    rpc.add("path-exists", lambda _: {})
    rpc.add("stop-session", lambda _: {})
    hub.open()
    connect, *registered = hub.heard()
    assert json.loads(connect.removeprefix("40/cli,")) == {"token": "canary-token", **AUTH}
    assert registered == [
        '42/cli,["rpc-register",{"method":"m1:path-exists"}]',
        '42/cli,["rpc-register",{"method":"m1:stop-session"}]',
    ]
    assert link.connected
    assert link.status.phase == "connected"


def test_methods_register_first_then_callbacks_run_then_the_outbox_goes(hub, link, rpc):
    rpc.add("a", lambda _: None)
    link.emit("kept", 1)
    link.on_connect(lambda: link.emit("state", keep=False))
    hub.open()
    assert [json.loads(text[7:])[0] for text in hub.heard("42/cli,")] == [
        "rpc-register",
        "state",
        "kept",
    ]


def test_a_method_added_later_is_registered_at_once(hub, link, rpc):
    hub.open()
    rpc.add("late", lambda _: None)
    assert hub.heard("42") == ['42/cli,["rpc-register",{"method":"m1:late"}]']


def test_an_on_connect_that_fails_is_logged_and_the_others_run(hub, link, logged_failures):
    link.on_connect(lambda: 1 / 0)
    link.on_connect(lambda: link.emit("state"))
    hub.open()
    assert hub.heard("42") == ['42/cli,["state"]']
    assert logged_failures.take(ZeroDivisionError)


def test_the_link_says_how_it_is(hub, link):
    seen = phases(link)
    hub.open()
    hub.drop()
    link.stopService()
    hub.settle()
    assert seen == ["connected", "connecting", "stopped"]


def test_the_token_is_in_no_repr__K02(hub, link):
    hub.open()
    assert "canary-token" not in repr([link, link.status, link._joined, hub.visit.socket])


# --- coming back


def test_delays_grow_with_the_outage_and_vary(hub, link):
    hub.down = True
    hub.open()
    hub.drop()
    delays = []
    for _ in range(200):
        before = hub.attempts
        delays.append(until(hub, lambda before=before: hub.attempts > before))
    assert max(delays[:5]) <= 0.5
    assert max(delays) <= 5.2
    assert min(delays[-50:]) >= 2.5
    assert len({round(delay, 1) for delay in delays[-50:]}) > 3  # jittered


def test_a_hub_that_accepts_and_drops_is_called_less_and_less_often(hub, link):
    for _ in range(100):
        hub.settle()
        hub.drop()
        until(hub, lambda before=hub.attempts: hub.attempts > before)
    hub.settle()
    hub.drop()
    assert until(hub, lambda before=hub.attempts: hub.attempts > before) > 2.0


def test_the_delays_begin_anew_after_each_connect(hub, link):
    hub.down = True
    hub.settle()
    hub.drop()
    hub.advance(60)
    hub.down = False
    until(hub, lambda: len(hub.visits) > 1)
    hub.open()
    hub.drop()
    assert until(hub, lambda before=hub.attempts: hub.attempts > before) <= 0.5


def test_five_hundred_drops_leave_one_link_with_everything_registered__N02(hub, link, rpc):
    rpc.add("a", lambda _: None)
    for _ in range(500):
        hub.open()
        assert hub.heard("42") == ['42/cli,["rpc-register",{"method":"m1:a"}]']
        hub.drop()
        until(hub, lambda before=len(hub.visits): len(hub.visits) > before, step=0.5)
    assert sum(visit.ended is None for visit in hub.visits) == 1


def test_a_hub_that_is_down_at_the_start_is_called_until_it_is_there__N01(hub, rpc):
    hub.down = True
    link = HubLink(hub.clock, HubAccess("http://127.0.0.1:3006", "t"), AUTH, rpc, endpoint=hub)
    link.startService()
    assert link.status.phase == "connecting"
    assert "connection refused" in link.status.reason
    assert link.status.failures == 1
    hub.down = False
    until(hub, lambda: bool(hub.visits))
    hub.open()
    assert link.connected
    link.stopService()
    hub.settle()


def test_a_hub_that_accepts_and_never_answers_is_left_after_twenty_seconds__N03(hub, rpc):
    hub.deaf = True
    link = HubLink(hub.clock, HubAccess("http://127.0.0.1:3006", "t"), AUTH, rpc, endpoint=hub)
    link.startService()
    hub.advance(19.9)
    assert link.status.failures == 0
    hub.advance(0.1)
    assert link.status.failures == 1
    assert "handshake within 20 s" in link.status.reason
    link.stopService()
    hub.settle()


def test_a_hub_that_upgrades_and_never_replies_to_connect_is_left_too__N03(hub, link):
    hub.settle()
    hub.say(Handshake("t").packet())
    hub.advance(20)
    assert hub.visit.ended is not None
    assert link.status.failures == 1


def test_a_silent_hub_is_left_after_interval_and_timeout__N04(hub, link):
    hub.open()
    hub.advance(25)
    hub.say("2")
    hub.advance(44.9)
    assert link.connected
    hub.advance(0.1)
    assert not link.connected
    assert "silent for 45 s" in link.status.reason
    until(hub, lambda: len(hub.visits) == 2, most=2)


def test_eight_hours_of_sleep_cost_one_connection__N18(hub, link):
    hub.open()
    hub.advance(8 * 3600)
    until(hub, lambda: len(hub.visits) == 2, most=2)
    hub.open()
    assert link.connected
    assert link.status.failures == 0


def test_pings_are_answered(hub, link):
    hub.open()
    for _ in range(100):
        hub.advance(25)
        hub.say("2")
    assert hub.heard("3") == ["3"] * 100
    assert link.connected


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "9",
        '42/cli,[{"toString":"x"}]',
        '42/cli,["__proto__"]',
        '451-/cli,["b"]',
        "0{}",
        "4",
    ],
)
def test_malformed_text_closes_and_the_link_comes_back__N11(hub, link, text):
    hub.open()
    hub.say(text)
    assert not link.connected
    hub.advance(2)
    assert len(hub.visits) == 2
    hub.open()
    assert link.connected


def test_a_binary_message_closes_and_the_link_comes_back__N12(hub, link):
    hub.open()
    hub.visit.socket.sendMessage(b"\x04\x05", isBinary=True)
    hub.advance(2)
    assert len(hub.visits) == 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please log in</html>", "200"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n", "302"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ""),
        (b"\xff\xfe\x00 garbage\r\n\r\n", ""),
        (b"x" * 100_000, "too long"),
        (
            (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n"
            ),
            "",
        ),
    ],
)
def test_what_is_no_hub_is_a_failed_attempt__N15(hub, rpc, raw, words):
    hub.raw = raw
    link = HubLink(hub.clock, HubAccess("http://127.0.0.1:3006", "t"), AUTH, rpc, endpoint=hub)
    link.startService()
    hub.settle()
    hub.advance(2)
    assert hub.attempts >= 2
    assert link.status.phase == "connecting"
    assert words in link.status.reason
    link.stopService()
    hub.settle()


# --- refused


def test_a_refused_token_is_said_and_tried_again_slower_and_slower__N06(hub, link):
    delays = []
    for _ in range(12):
        hub.settle()
        hub.say(Handshake("t").packet(), '44/cli,{"message":"Invalid token"}')
        assert link.status.phase == "refused"
        assert "Invalid token" in link.status.reason
        assert not link.connected
        delays.append(until(hub, lambda before=len(hub.visits): len(hub.visits) > before, step=0.5))
    assert delays[0] >= 5.0
    assert max(delays) <= 300.5
    assert min(delays[7:]) > 140.0
    hub.open()
    assert link.status.phase == "connected"


def test_being_put_out_is_a_refusal_and_not_the_end__N06(hub, link):
    hub.open()
    hub.say("41/cli,")
    assert link.status.phase == "refused"
    assert until(hub, lambda: len(hub.visits) == 2, step=0.5) >= 5.0
    hub.open()
    assert link.connected


def test_a_link_that_is_given_another_token_uses_it_at_once_and_keeps_what_it_has__N06(hub, link):
    hub.open()
    link.emit("message", 1)
    hub.settle()
    hub.say("41/cli,")
    assert link.status.phase == "refused"
    before = len(hub.visits)
    link.use(HubAccess("http://127.0.0.1:3006", "canary-second"))
    hub.settle()
    assert len(hub.visits) == before + 1
    hub.open()
    connect, sent = hub.heard()
    assert json.loads(connect.removeprefix("40/cli,"))["token"] == "canary-second"
    assert sent == '42/cli,["message",1]'
    assert link.status.phase == "connected"
    hub.advance(20)
    assert len(hub.visits) == before + 1


def test_a_connected_link_leaves_the_old_hub_for_the_new_one(hub, link):
    hub.open()
    old = hub.visit
    link.use(HubAccess("http://127.0.0.1:4000", "canary-second"))
    hub.settle()
    assert old.ended is not None
    hub.open()
    assert link.connected
    assert link.access.url == "http://127.0.0.1:4000"
    hub.advance(20)
    assert len(hub.visits) == 2


def test_a_link_that_is_not_started_yet_starts_at_the_new_hub(hub, rpc):
    link = HubLink(hub.clock, HubAccess("http://127.0.0.1:3006", "t"), AUTH, rpc, endpoint=hub)
    link.use(HubAccess("http://127.0.0.1:4000", "u"))
    assert hub.attempts == 0
    link.startService()
    hub.open()
    assert link.connected
    link.stopService()
    hub.settle()


# --- events


def test_events_reach_their_handlers_and_unknown_ones_are_ignored(hub, link):
    seen = []
    link.on_event("update", seen.append)
    hub.open()
    hub.say('42/cli,["update",{"id":1}]', '42/cli,["whatever",1]', '42/cli,9["whatever",1]')
    assert seen == [{"id": 1}]
    assert hub.heard("43") == []


def test_a_handlers_result_answers_a_hub_that_asks(hub, link):
    later: Deferred[dict] = Deferred()

    async def slowly(_):
        return await later

    link.on_event("now", lambda value: {"got": value})
    link.on_event("slow", slowly)
    link.on_event("nothing", lambda: None)
    hub.open()
    hub.say('42/cli,1["slow",0]', '42/cli,2["now",5]', '42/cli,3["nothing"]', '42/cli,["now",6]')
    assert hub.heard("43") == ['43/cli,2[{"got":5}]', "43/cli,3[]"]
    later.callback({"done": True})
    assert hub.heard("43")[-1] == '43/cli,1[{"done":true}]'


def test_a_handler_that_fails_is_logged_and_the_link_stays__N20(hub, link, logged_failures):
    link.on_event("update", lambda _: 1 / 0)
    hub.open()
    hub.say('42/cli,1["update",{}]')
    assert link.connected
    assert logged_failures.take(ZeroDivisionError)


def test_what_is_kept_waits_in_order_and_what_is_not_is_dropped(hub, link):
    link.emit("first", 1)
    link.emit("alive", keep=False)
    link.emit("second", 2)
    hub.open()
    assert hub.heard("42") == ['42/cli,["first",1]', '42/cli,["second",2]']
    link.emit("alive", keep=False)
    assert hub.heard("42")[-1] == '42/cli,["alive"]'


def test_the_link_has_a_backlog_while_something_waits_that_a_message_would_overtake(hub, link):
    assert link.has_backlog
    hub.open()
    assert not link.has_backlog
    link.emit("sent")
    assert not link.has_backlog
    link._delivery.outbox.max_unconfirmed = 1
    link.emit("waits")
    assert link.has_backlog
    hub.answer_probes()
    assert not link.has_backlog
    link._joined.writable_changed(False)
    assert link.has_backlog


def test_the_outbox_is_bounded_and_keeps_the_oldest__N13(hub, link, logged_failures):
    link._delivery.outbox.max_entries = 3
    changes = []
    link.on_delivery(lambda: changes.append(link.delivery_status.dropped), lambda: None)
    for number in range(5):
        link.emit("n", number)
    assert changes == [1, 2]
    hub.open()
    assert hub.heard("42") == [f'42/cli,["n",{number}]' for number in range(3)]
    hub.answer_probes()
    link.emit("n", 5)
    assert hub.heard("42")[-1] == '42/cli,["n",5]'


def test_ten_thousand_events_of_a_long_absence_arrive_in_order__N13(hub, link):
    for number in range(10_500):
        link.emit("n", number)
    hub.open()
    for _ in range(11):
        hub.answer_probes()
    assert hub.heard("42") == [f'42/cli,["n",{number}]' for number in range(10_500)]
    assert link._delivery.outbox.is_empty


def test_a_hub_that_reads_slowly_fills_the_outbox_and_no_more__N13(hub, link):
    hub.open()
    connection = link._joined
    connection.writable_changed(False)
    link.emit("kept")
    link.emit("alive", keep=False)
    answer = link.call("ask", timeout=30)
    assert hub.heard("42") == []
    connection.writable_changed(True)
    assert hub.heard("42") == ['42/cli,["kept"]', '42/cli,0["ask"]']
    hub.say("43/cli,0[1]")
    assert case.successResultOf(answer) == 1


def test_a_message_over_the_limit_is_refused_before_it_is_sent__N10(hub, link):
    hub.open()
    text = "x" * MAX_PAYLOAD
    with pytest.raises(FrameTooLarge, match=str(MAX_PAYLOAD)):
        link.emit("message", text)
    case.failureResultOf(link.call("message", text), FrameTooLarge)
    assert link.connected
    assert hub.heard("42") == []


def test_what_has_no_json_form_is_refused_at_once(hub, link):
    with pytest.raises(TypeError):
        link.emit("message", object())
    case.failureResultOf(link.call("message", object()), TypeError)


# --- what was sent just before the connection was lost


def back(hub):
    until(hub, lambda before=len(hub.visits): len(hub.visits) > before)
    hub.open()


def test_a_kept_event_that_may_not_have_arrived_is_sent_again_before_newer_ones__N05(hub, link):
    hub.open()
    link.emit("message", 1)
    link.emit("message", 2)
    link.emit("alive", keep=False)
    hub.settle()
    hub.drop()
    link.emit("message", 3)
    back(hub)
    assert hub.heard("42") == [f'42/cli,["message",{number}]' for number in (1, 2, 3)]


def test_what_the_hub_has_shown_to_have_is_not_sent_again__N05(hub, link):
    hub.open()
    link.emit("message", 1)
    hub.answer_probes()
    link.emit("message", 2)
    hub.drop()
    back(hub)
    assert hub.heard("42") == ['42/cli,["message",2]']
    hub.answer_probes()
    assert link._delivery.outbox.unconfirmed == ()
    hub.drop()
    back(hub)
    assert hub.heard("42") == []


def test_one_probe_is_under_way_at_a_time_and_the_last_one_covers_all(hub, link):
    hub.open()
    for number in range(100):
        link.emit("message", number)
    hub.settle()
    assert sum(text.endswith('["ping"]') for text in hub.visit.texts) == 1
    hub.answer_probes()
    assert link._delivery.outbox.unconfirmed == ()


def test_the_program_may_say_which_ones_the_hub_lacks__N05(hub, link):
    asked = []

    async def review(sent):
        asked.extend((one.event, one.args) for one in sent)
        return [one for one in sent if one.args == (2,)]

    link.reconcile_with(review)
    hub.open()
    link.emit("message", 1)
    link.emit("message", 2)
    hub.drop()
    back(hub)
    assert asked == [("message", (1,)), ("message", (2,))]
    assert hub.heard("42") == ['42/cli,["message",2]']


def test_newer_events_wait_for_the_review_and_a_loss_meanwhile_reviews_again__N05(hub, link):
    verdicts = []

    async def review(sent):
        verdict = Deferred()
        verdicts.append(verdict)
        await verdict
        return sent

    link.reconcile_with(review)
    hub.open()
    link.emit("message", 1)
    hub.drop()
    back(hub)
    link.emit("message", 2)
    link.emit("alive", keep=False)  # does not wait
    assert hub.heard("42") == ['42/cli,["alive"]']
    hub.drop()
    verdicts[0].callback(None)
    back(hub)
    verdicts[1].callback(None)
    assert hub.heard("42") == ['42/cli,["message",1]', '42/cli,["message",2]']


def test_a_review_that_fails_sends_all_again(hub, link, logged_failures):
    async def review(sent):
        raise ValueError("the hub cannot be asked")

    link.reconcile_with(review)
    hub.open()
    link.emit("message", 1)
    hub.drop()
    back(hub)
    assert hub.heard("42") == ['42/cli,["message",1]']
    assert logged_failures.take(ValueError)


def test_a_message_that_costs_the_connection_each_time_is_given_up_and_counted__N10(hub, link):
    hub.open()
    link.emit("poison")
    link.emit("fine")
    for _ in range(12):
        hub.settle()
        hub.drop()
        back(hub)
    sent = [
        sum(f'42/cli,["{name}"]' in visit.texts for visit in hub.visits) for name in ("poison",)
    ]
    assert sent == [10]
    assert link.delivery_status.dropped == 1
    assert hub.heard("42") == ['42/cli,["fine"]']


def test_a_suspected_message_is_sent_alone_and_costs_no_other__N10(hub, link):
    hub.open()
    link.emit("poison")
    link.emit("fine")
    for _ in range(5):
        hub.settle()
        hub.drop()
        back(hub)
    assert hub.heard("42") == ['42/cli,["poison"]']
    hub.answer_probes()
    assert hub.heard("42") == ['42/cli,["poison"]', '42/cli,["fine"]']
    assert link.delivery_status.dropped == 0


def test_a_hub_that_is_restarted_again_and_again_costs_no_message(hub, link):
    hub.open()
    link.emit("message", 1)
    for _ in range(40):
        hub.settle()
        hub.advance(6)  # up for a while each time, and gone before it confirmed anything
        hub.drop()
        back(hub)
    assert hub.heard("42") == ['42/cli,["message",1]']
    hub.answer_probes()
    assert link.delivery_status.dropped == 0
    assert link._delivery.outbox.is_empty


def test_a_hub_that_confirms_nothing_for_a_minute_is_asked_again_until_it_does(hub, link):
    hub.open()
    stalls = []
    link.on_delivery(lambda: stalls.append(link.delivery_status.stalled_since), lambda: None)
    confirmed = link.when_confirmed()
    assert confirmed.called  # nothing has been sent
    for number in range(6):
        link.emit("message", number)
        hub.advance(10)
        hub.say("2")
    confirmed = link.when_confirmed()
    assert link.connected
    assert stalls == [0.0]
    assert sum(text.endswith('["ping"]') for text in hub.visit.texts) == 7
    case.assertNoResult(confirmed)
    hub.answer_probes()
    assert stalls == [0.0, None]
    assert case.successResultOf(confirmed) is None
    assert hub.heard("42") == [f'42/cli,["message",{number}]' for number in range(6)]


def test_all_is_confirmed_when_a_call_was_the_last_that_waited_behind_a_reconciliation(hub, link):
    reviewing = Deferred()

    async def review(unconfirmed):
        await reviewing
        return []  # the hub has them all

    link.reconcile_with(review)
    hub.open()
    link.emit("message", 1)
    hub.settle()
    hub.drop()
    confirmed = link.when_confirmed()
    back(hub)
    link.call("update-state", {"sid": "s"}).addErrback(lambda _: None)
    case.assertNoResult(confirmed)
    reviewing.callback(None)
    assert case.successResultOf(confirmed) is None


def test_newer_events_wait_when_a_thousand_are_not_confirmed(hub, link):
    hub.open()
    for number in range(1500):
        link.emit("message", number)
    answer = link.call("ask")  # a call does not wait for confirmations
    assert len(hub.heard("42/cli,[")) == 1000
    hub.say("43/cli,1[7]")
    assert case.successResultOf(answer) == 7
    hub.answer_probes()
    assert len(hub.heard("42/cli,[")) == 1500


def test_a_hub_whose_rows_cannot_be_read_yet_is_asked_again_before_anything_is_sent(hub, link):
    problems = [HubUnreachable("HTTP 503"), HubUnreachable("HTTP 503")]

    async def review(sent):
        if problems:
            raise problems.pop()
        return []

    link.reconcile_with(review)
    hub.open()
    link.emit("message", 1)
    hub.drop()
    back(hub)
    link.emit("message", 2)
    assert hub.heard("42") == []
    hub.advance(0.5)
    hub.advance(1.0)
    assert hub.heard("42") == ['42/cli,["message",2]']


# --- acknowledgements


def test_a_call_fires_with_the_first_argument_of_the_answer(hub, link):
    hub.open()
    first, second = link.call("a"), link.call("b", {"x": 1})
    assert hub.heard("42") == ['42/cli,0["a"]', '42/cli,1["b",{"x":1}]']
    hub.say('43/cli,1[{"ok":true},2]', "43/cli,0[]")
    assert case.successResultOf(second) == {"ok": True}
    assert case.successResultOf(first) is None


def test_both_directions_use_the_same_number_at_once(hub, link, rpc):
    rpc.add("x", lambda _: "ours")
    hub.open()
    ours = link.call("a")
    hub.say('42/cli,0["rpc-request",{"method":"m1:x","params":"{}"}]')
    assert hub.heard("43") == ['43/cli,0["\\"ours\\""]']
    case.assertNoResult(ours)
    hub.say('43/cli,0["theirs"]')
    assert case.successResultOf(ours) == "theirs"


def test_a_call_without_an_answer_ends_at_its_deadline__N08(hub, link):
    hub.open()
    answer = link.call("a", timeout=10)
    hub.advance(9.9)
    case.assertNoResult(answer)
    hub.advance(0.1)
    case.failureResultOf(answer, AckTimeout)


def test_an_answer_twice_or_unknown_or_late_is_ignored__N09(hub, link):
    hub.open()
    answer, late = link.call("a"), link.call("b", timeout=1)
    hub.say("43/cli,0[1]", "43/cli,0[2]", "43/cli,77[3]")
    assert case.successResultOf(answer) == 1
    hub.advance(1)
    case.failureResultOf(late, AckTimeout)
    hub.say("43/cli,1[4]")
    assert link.connected


def test_calls_under_way_fail_when_the_connection_is_lost(hub, link):
    hub.open()
    answer = link.call("a")
    hub.settle()
    hub.drop()
    case.failureResultOf(answer, LinkLost)


def test_a_call_made_offline_waits_for_the_connection_with_its_time_running(hub, link):
    answer, impatient = link.call("a", timeout=30), link.call("b", timeout=5)
    hub.advance(5)
    case.failureResultOf(impatient, AckTimeout)
    hub.open()
    assert hub.heard("42") == ['42/cli,0["a"]']
    hub.say("43/cli,0[1]")
    assert case.successResultOf(answer) == 1


def test_numbers_go_on_across_connections(hub, link):
    hub.open()
    lost = link.call("a")
    hub.drop()
    case.failureResultOf(lost, LinkLost)
    until(hub, lambda: len(hub.visits) == 2)
    hub.open()
    link.call("b").addErrback(lambda _: None)
    assert hub.heard("42") == ['42/cli,1["b"]']


def test_a_cancelled_call_is_forgotten(hub, link):
    waiting = link.call("a")
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    hub.open()
    assert hub.heard("42") == []


# --- RPC


def call(hub, number, method, params="{}"):
    hub.say(f'42/cli,{number}["rpc-request",{json.dumps({"method": method, "params": params})}]')


def answers(hub):
    return {
        int(text[7 : text.index("[")]): json.loads(json.loads(text[text.index("[") :])[0])
        for text in hub.heard("43")
    }


def test_rpc_errors_are_answers_and_the_link_stays__N20(hub, link, rpc, logged_failures):
    def fail(_):
        raise ValueError("no such thing")

    rpc.add("fail", fail)
    rpc.add("echo", lambda params: {"params": params})
    hub.open()
    call(hub, 1, "m1:unknown")
    call(hub, 2, "m1:fail")
    call(hub, 3, "m1:echo", "not json")
    call(hub, 4, "m1:echo", '{"a":1}')
    call(hub, 4, "m1:echo", '{"a":1}')  # doubled
    hub.say(
        '42/cli,5["rpc-request"]',
        '42/cli,6["rpc-request",7]',
        '42/cli,["rpc-request",{"method":"m1:echo"}]',
    )
    assert answers(hub) == {
        1: {"error": "Method not found"},
        2: {"error": "no such thing"},
        3: {"params": None},
        4: {"params": {"a": 1}},
        5: {"error": "Method not found"},
        6: {"error": "Method not found"},
    }
    assert link.connected
    assert logged_failures.take(ValueError)


def test_rpc_answers_come_in_any_order_and_not_on_another_connection__N20(hub, link, rpc):
    waiting = {name: Deferred() for name in ("slow", "gone")}

    async def wait(params):
        return await waiting[params]

    rpc.add("wait", wait)
    hub.open()
    call(hub, 1, "m1:wait", '"slow"')
    call(hub, 2, "m1:unknown")
    call(hub, 3, "m1:wait", '"gone"')
    waiting["slow"].callback("done")
    hub.settle()
    assert answers(hub) == {1: "done", 2: {"error": "Method not found"}}
    hub.drop()
    until(hub, lambda: len(hub.visits) == 2)
    hub.open()
    waiting["gone"].callback("late")
    assert hub.heard("43") == []


def test_an_answer_over_the_limit_becomes_an_error__N10(hub, link, rpc):
    rpc.add("big", lambda _: "x" * MAX_PAYLOAD)
    hub.open()
    call(hub, 1, "m1:big")
    assert "limit" in answers(hub)[1]["error"]
    assert link.connected


# --- leaving


def test_farewell_sends_what_waits_says_so_and_closes_with_1000(hub, link):
    hub.open()
    link.emit("last")
    done = Deferred.fromCoroutine(link.leave())
    hub.settle()
    case.successResultOf(done)
    assert hub.heard()[-2:] == ['42/cli,["last"]', "41/cli,"]
    assert hub.visit.ended[0] == 1000
    assert link.status.phase == "stopped"
    hub.advance(60)
    assert len(hub.visits) == 1


def test_farewell_to_a_hub_that_does_not_answer_takes_a_second(hub, link):
    hub.open()
    hub.settle()
    done = Deferred.fromCoroutine(link.leave())
    hub.clock.advance(0.99)  # nothing is pumped: the hub hears nothing
    case.assertNoResult(done)
    hub.clock.advance(0.01)
    hub.settle()
    case.successResultOf(done)


def test_stopping_fails_what_is_under_way_and_what_waits(hub, link):
    hub.open()
    sent = link.call("a")
    link._joined.writable_changed(False)
    waits = link.call("b")
    link.stopService()
    hub.settle()
    case.failureResultOf(sent, LinkLost)
    case.failureResultOf(waits, LinkLost)


def test_a_link_can_be_stopped_while_it_connects_and_while_it_waits(hub, rpc):
    for state in ("hung", "down"):
        setattr(hub, state, True)
        link = HubLink(hub.clock, HubAccess("http://127.0.0.1:3006", "t"), AUTH, rpc, endpoint=hub)
        link.startService()
        stopped = link.stopService()
        if isinstance(stopped, Deferred):
            stopped.addErrback(lambda failure: Failure())
        setattr(hub, state, False)
        assert not hub.clock.getDelayedCalls()
        assert link.status.phase == "stopped"


def test_a_stopped_link_can_be_started_again(hub, link):
    hub.open()
    link.stopService()
    hub.settle()
    link.startService()
    hub.open()
    assert link.connected
