"""Whether a session in a terminal begins in local mode."""

from __future__ import annotations

import pytest

from hapi.session.main import run
from hapi.session.startup.starting_mode import read_starting_mode
from hapi.settings import ConfigurationError


@pytest.mark.parametrize(
    ("environ", "settings", "mode"),
    [
        ({}, {}, None),
        ({}, {"startingMode": "local"}, "local"),
        ({"HAPI_STARTING_MODE": "remote"}, {"startingMode": "local"}, "remote"),
        ({"HAPI_STARTING_MODE": ""}, {"startingMode": "local"}, "local"),
        ({}, {"startingMode": None}, None),
    ],
)
def test_the_variable_comes_before_the_settings(environ, settings, mode):
    assert read_starting_mode(environ, settings) == mode


@pytest.mark.parametrize("value", ["pty", True, 1, ["local"]])
def test_other_values_are_refused(value):
    with pytest.raises(ConfigurationError, match="it must be local or remote"):
        read_starting_mode({}, {"startingMode": value})


def test_an_agent_without_a_program_of_its_own_cannot_begin_in_it(tmp_path, capsys):
    assert run(["demo", "--local"], {"HAPI_HOME": str(tmp_path / "home")}) == 2
    assert capsys.readouterr().err == (
        "hapi: Demo has no program of its own for the terminal; leave out --local\n"
    )
