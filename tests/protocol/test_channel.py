"""Both ends of a connection as values: what each message and each moment asks for."""

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from hapi.protocol.channel import (
    AckReceived,
    ClientChannel,
    Close,
    EventReceived,
    Joined,
    JoinRefused,
    JoinRequested,
    PeerLeft,
    Send,
    ServerChannel,
    ack_text,
    event_text,
)
from hapi.protocol.engineio import Handshake

OPEN = Handshake("t1").packet()
AUTH = {"token": "secret", "machineId": "m"}


def client(now=0.0):
    return ClientChannel.start("/cli", AUTH, now)


def joined_client(now=0.0):
    channel = client(now)
    channel.receive(OPEN, now)
    channel.receive('40/cli,{"sid":"s1"}', now)
    return channel


def server(now=0.0, *, joined=True):
    channel, steps = ServerChannel.start(Handshake("t1"), {"/cli", "/terminal"}, now)
    assert steps == [Send(OPEN)]
    if joined:
        channel.receive('40/cli,{"token":"secret"}', now)
        channel.accept("/cli", "s1")
    return channel


def closes(steps):
    return len(steps) == 1 and isinstance(steps[0], Close)


# --- client


def test_the_client_joins_when_the_hub_has_opened():
    channel = client()
    assert channel.receive(OPEN, 0.1) == [Send('40/cli,{"token":"secret","machineId":"m"}')]
    assert channel.receive('40/cli,{"sid":"s1"}', 0.2) == [Joined("s1")]
    assert channel.joined


def test_the_client_answers_each_ping():
    assert joined_client().receive("2", 25.0) == [Send("3")]


def test_events_and_answers_come_out_as_values():
    channel = joined_client()
    assert channel.receive('42/cli,8["rpc-request",{"method":"m:x"}]', 1.0) == [
        EventReceived("/cli", "rpc-request", [{"method": "m:x"}], 8)
    ]
    assert channel.receive('42/cli,["update"]', 1.0) == [EventReceived("/cli", "update", [], None)]
    assert channel.receive('43/cli,8[{"ok":true}]', 1.0) == [AckReceived("/cli", 8, [{"ok": True}])]


def test_a_refused_client_hears_the_hubs_words__N06():
    channel = client()
    channel.receive(OPEN, 0.0)
    assert channel.receive('44/cli,{"message":"Invalid token"}', 0.0) == [
        JoinRefused("Invalid token")
    ]
    assert channel.receive('44/cli,"plain"', 0.0) == [JoinRefused("plain")]
    assert channel.receive("44/cli,{}", 0.0) == [JoinRefused("no reason given")]


def test_a_client_put_out_of_the_namespace_is_told():
    channel = joined_client()
    assert channel.receive("41/cli,", 1.0) == [PeerLeft("/cli")]
    assert not channel.joined


def test_the_handshake_has_twenty_seconds_in_all__N03():
    channel = client(now=100.0)
    channel.receive(OPEN, 119.0)
    assert channel.deadline == 120.0
    assert channel.check_deadline(119.9) == []
    assert channel.check_deadline(120.0) == [
        Close("the hub did not finish the handshake within 20 s")
    ]


def test_a_silent_hub_is_given_up_after_interval_and_timeout__N04():
    channel = joined_client()
    channel.receive("2", 25.0)
    assert channel.deadline == 70.0
    assert channel.check_deadline(69.9) == []
    assert channel.check_deadline(70.0) == [Close("the hub has been silent for 45 s")]


def test_any_message_shows_that_the_hub_lives__N04():
    channel = joined_client()
    channel.receive('42/cli,["update"]', 40.0)
    assert channel.check_deadline(84.9) == []


def test_eight_hours_of_sleep_end_in_one_close__N18():
    channel = joined_client()
    assert closes(channel.check_deadline(8 * 3600.0))
    assert channel.check_deadline(8 * 3600.0 + 1) == []


def test_leaving_says_so_once():
    channel = joined_client()
    assert channel.leave() == [Send("41/cli,")]
    assert channel.leave() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "9",
        "x",
        "22",
        "2probe",
        "3",
        OPEN,
        "4",
        "42",
        "47",
        '42["other namespace"]',
        '40/cli,{"sid":"again"}',
        '42/cli,["__proto__"]',
        '451-/cli,["binary",{"_placeholder":true,"num":0}]',
        "bAQIDBA==",
    ],
)
def test_a_hub_that_talks_nonsense_is_left__N11(text):
    channel = joined_client()
    assert closes(channel.receive(text, 1.0))
    assert channel.receive('42/cli,["late"]', 1.0) == []


@pytest.mark.parametrize(
    "text", ["2", '40/cli,{"sid":"s"}', "<html>", "0", "0{}", '44/cli,{"message":"no"}']
)
def test_nothing_may_come_before_the_open_packet__N15(text):
    assert closes(client().receive(text, 0.0))


def test_events_before_the_connect_reply_are_malformed():
    channel = client()
    channel.receive(OPEN, 0.0)
    assert closes(channel.receive('42/cli,["early"]', 0.0))


@seed(20260731)
@given(
    st.lists(
        st.text(max_size=12)
        | st.sampled_from([OPEN, '40/cli,{"sid":"s"}', "2", "1", '42/cli,["e"]', "41/cli,"]),
        max_size=6,
    )
)
@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_no_order_of_messages_makes_a_channel_raise__N11(messages):
    ours, theirs = client(), server(joined=False)
    for message in messages:
        ours.receive(message, 1.0)
        theirs.receive(message, 1.0)
    assert ours.check_deadline(1e9) == [] or ours.closed
    theirs.check_deadline(1e9)


# --- server


def test_a_client_asks_to_join_and_is_let_in():
    channel = server(joined=False)
    assert channel.receive('40/cli,{"token":"x"}', 0.0) == [JoinRequested("/cli", {"token": "x"})]
    assert channel.accept("/cli", "s1") == [Send('40/cli,{"sid":"s1"}')]
    assert channel.joined == {"/cli"}


def test_a_refused_client_may_try_again_on_the_same_transport():
    channel = server(joined=False)
    channel.receive("40/cli,", 0.0)
    assert channel.refuse("/cli", "Invalid token") == [Send('44/cli,{"message":"Invalid token"}')]
    assert channel.receive('40/cli,{"token":"good"}', 1.0) == [
        JoinRequested("/cli", {"token": "good"})
    ]


def test_an_unknown_namespace_is_refused_in_words():
    channel = server(joined=False)
    assert channel.receive("40/nope,", 0.0) == [Send('44/nope,{"message":"Invalid namespace"}')]
    assert channel.receive("40", 0.0) == [Send('44{"message":"Invalid namespace"}')]


def test_a_second_connect_closes():
    assert closes(server().receive('40/cli,{"token":"x"}', 1.0))


def test_an_event_before_joining_closes():
    assert closes(server(joined=False).receive('42/cli,["e"]', 1.0))


def test_a_refused_client_that_goes_on_talking_is_closed():
    channel = server(joined=False)
    channel.receive("40/cli,", 0.0)
    channel.refuse("/cli", "Invalid token")
    assert closes(channel.receive('42/cli,["e"]', 1.0))


def test_who_joins_nothing_is_closed_after_forty_five_seconds_and_pinged_meanwhile():
    channel = server(joined=False)
    assert channel.check_deadline(25.0) == [Send("2")]
    channel.receive("3", 25.1)
    assert channel.check_deadline(44.9) == []
    assert closes(channel.check_deadline(45.0))


def test_a_ping_every_interval_after_the_last_pong():
    channel = server()
    assert channel.deadline == 25.0
    assert channel.check_deadline(25.0) == [Send("2")]
    channel.receive("3", 26.0)
    assert channel.deadline == 51.0
    assert channel.check_deadline(51.0) == [Send("2")]


def test_a_client_that_does_not_answer_a_ping_is_closed_twenty_seconds_later():
    channel = server()
    channel.check_deadline(25.0)
    assert channel.check_deadline(44.9) == []
    assert channel.check_deadline(45.0) == [Close("ping timeout")]


def test_other_traffic_is_a_sign_of_life_too():
    channel = server()
    channel.check_deadline(25.0)
    channel.receive('42/cli,["e"]', 30.0)
    assert channel.check_deadline(45.0) == []


@pytest.mark.parametrize(
    "text", ["2", "9", "0{}", "5", "", "x", "4", "4x", "44/cli,{}", '451-/cli,["a"]', "bAAAA"]
)
def test_what_no_client_may_send_closes__N11(text):
    assert closes(server().receive(text, 1.0))


def test_a_client_can_close_and_can_leave():
    assert closes(server().receive("1", 1.0))
    channel = server()
    assert channel.receive("41/cli,", 1.0) == [PeerLeft("/cli")]
    assert channel.receive('40/cli,{"token":"x"}', 2.0) == [JoinRequested("/cli", {"token": "x"})]


def test_two_namespaces_share_a_transport():
    channel = server()
    assert channel.receive('40/terminal,{"token":"jwt"}', 1.0) == [
        JoinRequested("/terminal", {"token": "jwt"})
    ]
    channel.accept("/terminal", "s2")
    assert channel.receive('42/terminal,["x"]', 1.0) == [EventReceived("/terminal", "x", [], None)]
    assert channel.receive('42/cli,3["y",1]', 1.0) == [EventReceived("/cli", "y", [1], 3)]


def test_a_client_can_be_put_out():
    channel = server()
    assert channel.leave("/cli") == [Send("41/cli,")]
    assert channel.leave("/cli") == []


def test_texts_of_events_and_answers():
    assert (
        event_text("/cli", "machine-alive", [{"time": 1}]) == '42/cli,["machine-alive",{"time":1}]'
    )
    assert event_text("/cli", "ping", [], 7) == '42/cli,7["ping"]'
    assert ack_text("/cli", 0, ["{}"]) == '43/cli,0["{}"]'


def test_once_a_namespace_is_joined_the_next_date_is_the_ping__N03():
    channel = server(joined=False)
    channel.handshake = Handshake("t1", ping_interval=60.0)
    channel._ping_at = 60.0
    channel._settle()
    assert channel.deadline == 45.0  # to join by
    channel.receive('40/cli,{"token":"secret"}', 1.0)
    channel.accept("/cli", "s1")
    assert channel.deadline == 60.0
