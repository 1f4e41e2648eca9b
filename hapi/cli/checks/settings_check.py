"""What in `settings.json` and among the variables makes no sense, also where a program passes over it: a sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

from hapi.agents import agents
from hapi.hub.options import read_list, read_port
from hapi.log import LEVELS
from hapi.runner.config.limits import AdmissionLimits
from hapi.runner.config.options import read_revival, read_roots, read_session_limits
from hapi.settings import ConfigurationError, json_type

TEXTS = (
    "apiUrl",
    "serverUrl",
    "cliApiToken",
    "machineId",
    "defaultAgent",
    "listenHost",
    "publicUrl",
)
MILLISECONDS = (
    "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS",
    "HAPI_RUNNER_START_CAP_MS",
    "HAPI_RUNNER_HEARTBEAT_INTERVAL",
    "HAPI_RUNNER_HTTP_TIMEOUT",
)
SWITCHES = ("HAPI_DISABLE_VERSION_HANDOFF", "HAPI_RUNNER_SUPERVISED")


def settings_troubles(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values of `settings.json`, in its order. A key that is null counts as missing."""
    found = []
    for key, value in settings.items():
        if value is None:
            continue
        if key in TEXTS and not isinstance(value, str):
            found.append(f"{key} is {_words(value)}, it must be a text")
        elif key in _OTHERS:
            found += _OTHERS[key](value)
    named = settings.get("defaultAgent")
    if isinstance(named, str) and named and named not in agents(settings):
        found.append(f"defaultAgent is {named!r}, and there is no such agent")
    found += _raised(lambda: read_roots((), settings)) + _raised(lambda: read_revival({}, settings))
    for key in ("maxSessions", "minFreeMemory", "spawnQueue"):
        found += _raised(lambda key=key: AdmissionLimits.read({}, {}, {key: settings.get(key)}))  # type: ignore[misc]
    return found + _session_limits(settings)


def _session_limits(settings: Mapping[str, Any]) -> list[str]:
    """Each by itself, and then what they are together."""
    given = settings.get("sessionLimits")
    parts: list[dict[str, Any]] = [
        {key: settings.get(key)} for key in ("sessionMemory", "sessionScopes")
    ]
    each = given.items() if isinstance(given, Mapping) else ()
    parts += [{"sessionLimits": {name: value}} for name, value in each] or [
        {"sessionLimits": given}
    ]
    found: list[str] = []
    for part in parts:
        found += _raised(lambda part=part: read_session_limits({}, part))  # type: ignore[misc]
    return found or _raised(lambda: read_session_limits({}, settings))


def environment_troubles(environ: Mapping[str, str]) -> list[str]:
    """Variables of ours whose value is passed over."""
    found = []
    if (level := environ.get("HAPI_LOG_LEVEL", "")) and level.lower() not in LEVELS:
        found.append(
            f"HAPI_LOG_LEVEL is {level!r}: it must be one of {', '.join(LEVELS)}; info is used"
        )
    for name in MILLISECONDS:
        if name in environ and not _is_positive(environ[name]):
            found.append(
                f"{name} is {environ[name]!r}: it must be a number of milliseconds above 0; the default is used"
            )
    for name in SWITCHES:
        if environ.get(name, "") not in ("", "0", "1"):
            found.append(f"{name} is {environ[name]!r}: only 1 turns it on")
    found += _raised(lambda: AdmissionLimits.read({}, environ, {})) + _raised(
        lambda: read_session_limits(environ, {})
    )
    return found


def warn_of_troubles(environ: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """For programs that are up: what they pass over gets into their log, and on the terminal that watches them."""
    log = Logger()
    for sentence in settings_troubles(settings):
        log.warn("settings.json: {sentence}", sentence=sentence)
    for sentence in environment_troubles(environ):
        log.warn("{sentence}", sentence=sentence)


def _words(value: object) -> str:
    return f"a JSON {json_type(value)}"


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < 1e12
    except ValueError:
        return False


def _raised(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except ConfigurationError as error:
        return [str(error).removeprefix("settings.json: ").replace(" in settings.json", "")]
    return []


def _agents(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"agents is {_words(value)}, it must be an object"]
    known = agents({"agents": value})
    unnamed = [f"agents.{name}: no agent can be called that" for name in value if name not in known]
    return unnamed + [
        agent.problem.replace(" in settings.json", "")
        for agent in known.values()
        if agent.problem is not None
    ]


def _headers(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"extraHeaders is {_words(value)}, it must be an object"]
    wrong = {name: each for name, each in value.items() if not isinstance(each, str)}
    return [
        f"extraHeaders.{name} is {_words(each)}, it must be a text" for name, each in wrong.items()
    ]


def _numbers(key: str, *names: str) -> Callable[[object], list[str]]:
    """An object of numbers above 0 under some of `names`."""

    def judge(value: object) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{key} is {_words(value)}, it must be an object"]
        unknown = [
            f"{key}.{name} is none of {', '.join(names)}" for name in value if name not in names
        ]
        none = {
            name
            for name, each in value.items()
            if name == "count" and each == 0 and each is not False
        }
        wrong = [
            name
            for name, each in value.items()
            if name in names and not _is_number(each) and name not in none
        ]
        return unknown + [f"{key}.{name} must be a number above 0" for name in wrong]

    return judge


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _start_cap(value: object) -> list[str]:
    return [] if _is_number(value) else ["startCapSeconds must be a number of seconds above 0"]


def _switch(key: str) -> Callable[[object], list[str]]:
    return lambda value: (
        [] if isinstance(value, bool) else [f"{key} is {_words(value)}, it must be true or false"]
    )


def _listed(key: str) -> Callable[[object], list[str]]:
    return lambda value: _raised(lambda: read_list(value, key))


def _port(value: object) -> list[str]:
    return _raised(lambda: read_port(value))


_OTHERS: Mapping[str, Callable[[Any], list[str]]] = {
    "agents": _agents,
    "extraHeaders": _headers,
    "stuckAfter": _numbers("stuckAfter", "silent", "approval", "queued"),
    "keepAttempts": _numbers("keepAttempts", "count", "days"),
    "startCapSeconds": _start_cap,
    "startRunner": _switch("startRunner"),
    "sessionsMayControl": _switch("sessionsMayControl"),
    "listenPort": _port,
    "corsOrigins": _listed("corsOrigins"),
    "allowedHosts": _listed("allowedHosts"),
}
