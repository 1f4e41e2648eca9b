"""Signatures between hubs: for one request, to one hub, once, by who has the key."""

import pytest

from hapi.hub.cluster.signatures import (
    ANY_HUB,
    HOP,
    IDENTITY,
    MAX_AGE,
    PEER,
    Signed,
    Signer,
    WrongSignature,
    WrongTime,
)

NOW = 1_795_000_000_000


class Time:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def a(time):
    return Signer(b"key", "a", time)


@pytest.fixture
def b(time):
    return Signer(b"key", "b", time)


def signed(signer, purpose=PEER, to="b", method=b"POST", target=b"/hub/rpc", value="digest"):
    return signer.sign(purpose, to, method, target, value)


def test_a_request_of_a_hub_with_the_key_is_accepted_with_its_sender_and_value(a, b):
    assert b.verify(PEER, signed(a), b"POST", b"/hub/rpc") == Signed("a", "digest")


def test_a_signature_is_accepted_once(a, b):
    header = signed(a)
    b.verify(PEER, header, b"POST", b"/hub/rpc")
    with pytest.raises(WrongSignature):
        b.verify(PEER, header, b"POST", b"/hub/rpc")


def test_a_signature_is_accepted_once_however_long_its_time_is_right(a, b, time):
    time.now = NOW + MAX_AGE  # the clock of the sender is ahead by as much as is allowed
    header = signed(a)
    time.now = NOW
    b.verify(PEER, header, b"POST", b"/hub/rpc")
    for later in range(0, 2 * MAX_AGE, 5000):
        time.now = NOW + later
        b.verify(PEER, signed(a), b"POST", b"/hub/rpc")
        with pytest.raises(WrongSignature):
            b.verify(PEER, header, b"POST", b"/hub/rpc")


@pytest.mark.parametrize("minutes", [-2, 2])
def test_a_signature_of_another_time_is_refused(a, b, time, minutes):
    header = signed(a)
    time.now += minutes * 60_000
    with pytest.raises(WrongTime, match=r"differs by -?120 s"):
        b.verify(PEER, header, b"POST", b"/hub/rpc")


@pytest.mark.parametrize(
    "given",
    [
        {"to": "c"},
        {"method": b"GET"},
        {"target": b"/hub/rpc?x"},
        {"purpose": HOP},
    ],
)
def test_a_signature_of_another_request_is_refused(a, b, given):
    with pytest.raises(WrongSignature):
        b.verify(PEER, signed(a, **given), b"POST", b"/hub/rpc")


def test_a_signature_with_another_value_or_sender_is_refused(a, b):
    header = signed(a)
    for changed in (header.replace(";digest;", ";digesT;"), header.replace(";a;", ";x;")):
        with pytest.raises(WrongSignature):
            b.verify(PEER, changed, b"POST", b"/hub/rpc")


def test_a_signature_with_another_key_is_refused(b, time):
    with pytest.raises(WrongSignature):
        b.verify(PEER, signed(Signer(b"other", "a", time)), b"POST", b"/hub/rpc")


@pytest.mark.parametrize("header", ["", "v1", "v1;1;2;3;4;5", "é" * 100, ";" * 10_000])
def test_what_is_no_signature_is_refused(b, header):
    with pytest.raises(WrongSignature):
        b.verify(PEER, header, b"POST", b"/hub/rpc")


@pytest.mark.parametrize("value", ["a;b", "a b", "é", "a\nb", "x" * 201])
def test_what_does_not_fit_in_a_header_is_not_signed(a, value):
    with pytest.raises(ValueError):
        signed(a, value=value)


def test_a_question_to_whatever_hub_is_for_each_hub_and_for_no_other_purpose(a, b):
    header = a.sign(IDENTITY, ANY_HUB, b"GET", b"/hub/identity/x", "0")
    for purpose, receiver in ((IDENTITY, None), (PEER, None), (PEER, ANY_HUB)):
        with pytest.raises(WrongSignature):
            b.verify(purpose, header, b"GET", b"/hub/identity/x", receiver)
    for hub in (a, b):
        assert hub.verify(IDENTITY, header, b"GET", b"/hub/identity/x", ANY_HUB) == Signed("a", "0")
