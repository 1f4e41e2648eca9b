"""What `hapi runner list` says of sessions whose records do not reach the hub."""

from hapi.cli.commands.runner.list import notes


def test_sessions_that_are_well_need_no_note():
    assert notes([{"happySessionId": "s", "activity": {"doing": "idle"}}, {}]) == []


def test_a_session_without_its_hub_and_one_that_is_not_stored_are_named_with_the_reason():
    sessions = [
        {"happySessionId": "a", "activity": {"hub": "not connected to http://hub: \x1b[31mno"}},
        {"happySessionId": "b", "activity": {"problem": "The hub does not store: full"}},
    ]
    first, second = notes(sessions)
    assert first.startswith("Session a is not connected to http://hub: ")
    assert "hapi runner status" in first
    assert "\x1b" not in first
    assert second == "Session b: The hub does not store: full."
