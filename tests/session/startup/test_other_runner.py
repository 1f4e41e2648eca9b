"""A runner for another hub: the session says so and leaves it alone."""

import json
import os

import pytest

from hapi.home import Home
from hapi.session.startup.other_runner import other_hub_notice
from hapi.settings import HubAccess


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path).prepare()


def written(home, **state):
    home.runner_state.write_text(json.dumps({"pid": os.getpid(), "httpPort": 4444, **state}))


def notice(home, url="http://hub.example:3006"):
    return other_hub_notice(home, HubAccess(url, "token"))


def test_a_runner_for_another_hub_is_named_with_its_hub(home):
    written(home, startedWithApiUrl="https://team.example.com")
    told = notice(home)
    assert "works for another hub, https://team.example.com. It keeps running." in told
    assert "http://hub.example:3006" in told


@pytest.mark.parametrize(
    ("runner", "session"),
    [
        ("http://hub.example:3006", "http://hub.example:3006"),
        ("http://hub.example:3006/", "http://HUB.example:3006"),
        ("http://localhost:3006", "http://127.0.0.1:3006"),
        ("http://[::1]:3006", "http://localhost:3006"),
    ],
)
def test_the_same_hub_under_another_spelling_is_not_another(home, runner, session):
    written(home, startedWithApiUrl=runner)
    assert notice(home, session) is None


def test_another_port_of_this_machine_is_another_hub(home):
    written(home, startedWithApiUrl="http://localhost:3006")
    assert "http://localhost:3006" in notice(home, "http://127.0.0.1:3007")


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"startedWithApiUrl": 5},
        {"startedWithApiUrl": "\x1b]0;title\x07"},
        {"startedWithApiUrl": "http://other:1", "pid": 0},
    ],
)
def test_a_state_that_names_no_hub_or_no_process_says_nothing(home, state):
    written(home, **state)
    assert notice(home) is None


def test_without_a_runner_there_is_nothing_to_say(home):
    assert notice(home) is None
