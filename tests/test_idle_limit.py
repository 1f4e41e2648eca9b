"""The time after which an idle agent rests: flag before environment before settings, else off."""

import pytest

from hapi.idle_limit import read_idle_limit
from hapi.runner.config.options import RunnerOptions
from hapi.settings import ConfigurationError, InvalidFlag


@pytest.mark.parametrize(
    ("flag", "variable", "setting", "expected"),
    [
        (None, None, None, None),
        (None, "", "30m", 1800.0),
        (None, "2h", "30m", 7200.0),
        ("90s", "2h", "30m", 90.0),
        ("off", "2h", "30m", None),
        (None, "OFF", "30m", None),
        ("1 D", None, None, 86_400.0),
    ],
)
def test_the_nearest_value_counts(flag, variable, setting, expected):
    environ = {} if variable is None else {"HAPI_IDLE_AGENT": variable}
    assert read_idle_limit(environ, {"idleAgent": setting}, flag) == expected


@pytest.mark.parametrize("value", ["30", "m", "0m", "-5m", "30 minutes", "1" * 30 + "m", "½h"])
def test_what_is_no_time_is_refused_with_its_name(value):
    with pytest.raises(InvalidFlag, match="--idle-agent is '"):
        read_idle_limit({}, {}, value)
    with pytest.raises(ConfigurationError, match="HAPI_IDLE_AGENT is '"):
        read_idle_limit({"HAPI_IDLE_AGENT": value}, {})


@pytest.mark.parametrize(
    ("flag", "setting", "expected"),
    [("30m", None, "1800s"), (None, "2h", "7200s"), ("off", "2h", "off"), (None, None, None)],
)
def test_the_runner_hands_it_to_its_sessions(home, flag, setting, expected):
    if setting:
        home.settings.write_text(f'{{"idleAgent": "{setting}"}}')
    options = RunnerOptions.from_environment(
        {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": "t" * 20}, idle_agent=flag
    )
    assert options.session_environment().get("HAPI_IDLE_AGENT") == expected
