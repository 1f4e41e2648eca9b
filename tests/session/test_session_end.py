"""The end of a session: its reason, and the archive at the hub."""

import pytest

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import AttemptRequest, StopOrder
from hapi.protocol.session import BY_INTERRUPT, BY_SIGNAL, COMPLETED


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (BY_SIGNAL, ("terminated", "Hub restart", "cli")),
        (BY_INTERRUPT, ("terminated", "User terminated", "cli")),
        (COMPLETED, ("completed", "Session completed", "cli")),
    ],
)
def test_the_archive_is_written_before_the_link_is_left__R08(up, ending, expected):
    done = up.end(ending)
    assert done == [ending]
    assert up.end_reasons == expected
    assert [name for name, _ in up.link.sent][-3:] == ["session-end", "update-metadata", "ping"]
    assert up.link.left
    assert up.host.ended == 1


def test_a_stop_order_in_the_sessions_folder_tells_the_reason__R08(staged, home):
    folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/w", at=1.0))
    folder.stop = StopOrder("Stopped by runner", "hub", "stop-session", 2.0)
    stage = staged(attempt=folder).up()
    stage.end(BY_SIGNAL)
    assert stage.end_reasons == ("terminated", "Stopped by runner", "cli")


def test_a_session_that_ends_says_so_in_its_folder_first(staged, home):
    folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/w", at=1.0))
    stage = staged(attempt=folder).up()
    stage.link.rpc_call("killSession", {})
    stage.clock.advance(0)
    assert (folder.stop.reason, folder.stop.actor) == ("User terminated", "session")


def test_kill_session_is_answered_first_and_means_the_user(up):
    assert up.link.rpc_call("killSession", {}) == {
        "success": True,
        "message": "Killing hapi CLI process",
    }
    assert up.link.of("session-end") == []
    up.clock.advance(0)
    assert up.end_reasons == ("terminated", "User terminated", "cli")


def test_nothing_is_said_after_the_end(up):
    up.link.message("hello")
    up.agent.say("half an ans")
    up.end(BY_SIGNAL)
    last = [name for name, _ in up.link.sent]
    up.clock.pump([1.0] * 10)
    assert [name for name, _ in up.link.sent] == last
    assert up.link.records[-1]["message"] == "half an ans"


def test_requests_that_wait_are_canceled_at_the_end(up):
    up.link.message("hello")
    answers = up.agent.ask()
    up.end(BY_SIGNAL)
    assert answers == [{"outcome": {"outcome": "cancelled"}}]
    assert up.link.state["completedRequests"]["c1"]["status"] == "canceled"
    assert not up.link.state["requests"]


@pytest.mark.parametrize(
    "silent", [True, False], ids=["a hub that is silent", "a hub that is away"]
)
def test_the_end_after_a_signal_waits_less_than_two_seconds_for_the_hub(up, silent):
    if silent:
        up.link.silent = True
    else:
        up.link.drop()
    done = up.end(BY_SIGNAL)
    up.clock.pump([0.1] * 18)
    assert done == [BY_SIGNAL]


def test_an_end_that_nobody_waits_for_gives_the_hub_more_time(up):
    up.link.silent = True
    done = up.end(COMPLETED)
    up.clock.pump([0.1] * 40)
    assert done == []
    up.clock.pump([0.1] * 15)
    assert done == [COMPLETED]


def test_only_the_first_reason_counts(up):
    up.link.silent = True
    done = up.end(BY_INTERRUPT)
    up.session.begin_end(BY_SIGNAL)
    up.clock.pump([0.1] * 18)
    assert done == [BY_INTERRUPT]
    assert up.host.ended == 1


def test_the_archive_is_rebuilt_on_what_the_hub_has(up):
    up.link.versions["update-metadata"] += 1  # somebody renamed it
    up.link.metadata = {**up.link.metadata, "name": "Renamed"}
    done = up.end(BY_SIGNAL)
    up.clock.pump([0.1] * 12)
    assert done
    assert (up.link.metadata["name"], up.link.metadata["archiveReason"]) == (
        "Renamed",
        "Hub restart",
    )
