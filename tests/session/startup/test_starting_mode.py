"""Whether a session in a terminal begins in local mode."""

from __future__ import annotations

import pytest

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
