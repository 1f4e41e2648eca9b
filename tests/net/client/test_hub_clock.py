"""Times on the wire follow the hub's clock, whatever is set on this machine."""

from email.utils import formatdate, parsedate_to_datetime

import pytest

from hapi.net.client.hub_clock import MAX_DIFFERENCE, HubClock, read_date

START = 1_800_000_000.0  # epoch seconds


class Clocks:
    """This machine's two clocks."""

    def __init__(self):
        self.wall, self.elapsed = START, 50.0
        self.hub = HubClock(lambda: self.wall, lambda: self.elapsed)


@pytest.fixture
def clocks():
    return Clocks()


def test_until_the_hub_has_answered_our_own_clock_counts(clocks):
    assert clocks.hub.milliseconds() == START * 1000
    clocks.wall += 10
    assert clocks.hub.seconds() == START + 10


@pytest.mark.parametrize("skew", [-5400.0, -900.0, -MAX_DIFFERENCE - 1, 900.0, 1e6])
def test_a_clock_that_is_wrong_is_corrected_by_the_hubs(clocks, skew):
    clocks.wall += skew
    clocks.hub.observe(formatdate(START, usegmt=True))
    clocks.elapsed += 7
    assert clocks.hub.seconds() == pytest.approx(START + 7, abs=1)


def test_two_clocks_that_agree_but_for_the_way_of_an_answer_are_left_alone(clocks):
    clocks.wall += 1.25
    clocks.hub.observe(formatdate(START, usegmt=True))
    assert clocks.hub.seconds() == START + 1.25


def test_setting_this_machines_clock_changes_nothing_once_the_hub_has_answered(clocks):
    clocks.hub.observe(formatdate(START, usegmt=True))
    clocks.wall, clocks.elapsed = START - 7200, clocks.elapsed + 3
    assert clocks.hub.seconds() == START + 3


def test_each_new_connection_takes_the_hubs_time_anew(clocks):
    clocks.hub.observe(formatdate(START, usegmt=True))
    clocks.hub.observe(formatdate(START + 3600, usegmt=True))  # the hub's clock was wrong before
    assert clocks.hub.seconds() == pytest.approx(START + 3600, abs=1)


@pytest.mark.parametrize("date", [None, "", "soon", "Thu, 99 Foo 2026 10:00:00 GMT", "\ud800"])
def test_a_header_that_is_no_date_is_ignored(clocks, date):
    clocks.hub.observe(date)
    assert clocks.hub.seconds() == START


@pytest.mark.parametrize(
    "written",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",  # the two old forms of RFC 9110 5.6.7
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
)
def test_each_form_of_a_date_is_read(written):
    assert read_date(written) == parsedate_to_datetime(written).timestamp()


def test_a_leap_second_is_read():
    assert read_date("Sat, 31 Dec 2016 23:59:60 GMT") == read_date("Sun, 01 Jan 2017 00:00:00 GMT")


def test_the_usual_form_of_a_date_is_read_as_email_utils_does():
    for at in range(0, 4_000_000_000, 86_400 * 13 + 3_671):
        assert read_date(formatdate(at, usegmt=True)) == at
