"""Invalid values in `settings.json` and in variables, also those that programs ignore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

from hapi.configured_agents import configured_agents
from hapi.hub.address import read_advertised_url
from hapi.hub.domain.retention_limits import RetentionLimits
from hapi.hub.notify.options import NotifyOptions
from hapi.hub.options import (
    read_base_path,
    read_database,
    read_list,
    read_port,
    read_proxies,
)
from hapi.hub.sharing_options import read_drain_seconds, read_hub_name
from hapi.idle_limit import read_idle_limit
from hapi.log import FORMATS, LEVELS
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.config.options import read_revive_mode, read_roots, read_session_limits
from hapi.session.startup.starting_mode import read_starting_mode
from hapi.settings import ConfigurationError, json_type, origin
from hapi.switches import read_git_actions, read_terminal

STRING_KEYS = (
    "apiUrl",
    "serverUrl",
    "notedApiUrl",
    "cliApiToken",
    "machineId",
    "defaultAgent",
    "listenHost",
    "webRoot",
    "publicUrl",
    "tlsCert",
    "tlsKey",
)
NOTIFY_KEYS = (
    "vapidSubject",
    "pushPrivateAddresses",
    "notifyProxy",
    "telegramBotToken",
    "telegramApi",
    "telegramNotification",
)
MILLISECOND_VARIABLES = (
    "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS",
    "HAPI_RUNNER_START_CAP_MS",
    "HAPI_RUNNER_HEARTBEAT_INTERVAL",
    "HAPI_RUNNER_HTTP_TIMEOUT",
)
SWITCH_VARIABLES = ("HAPI_DISABLE_VERSION_HANDOFF", "HAPI_RUNNER_SUPERVISED")


def settings_problems(settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each invalid value of `settings.json`. A null counts as missing."""
    found = []
    for key, value in settings.items():
        if value is None:
            continue
        if key in STRING_KEYS and not isinstance(value, str):
            found.append(f"{key} is {_type(value)} but must be a string")
        elif key in _KEY_CHECKS:
            found += _KEY_CHECKS[key](value)
    named = settings.get("defaultAgent")
    if isinstance(named, str) and named and named not in configured_agents(settings):
        found.append(f"defaultAgent is {named!r}, but there is no such agent")
    found += _raised(lambda: read_roots((), settings)) + _raised(
        lambda: read_revive_mode({}, settings)
    )
    found += _raised(lambda: read_idle_limit({}, settings))
    found += _raised(lambda: read_git_actions({}, settings))
    found += _raised(lambda: read_terminal({}, settings))
    found += _raised(lambda: read_starting_mode({}, settings))
    for key in ("maxSessions", "minFreeMemory", "spawnQueue"):
        found += _raised(lambda key=key: AdmissionLimits.read({}, {}, {key: settings.get(key)}))  # type: ignore[misc]
    for key in ("keepSessions", "maxDatabaseSize"):
        found += _raised(lambda key=key: RetentionLimits.read({}, {}, {key: settings.get(key)}))  # type: ignore[misc]
    for key in NOTIFY_KEYS:
        found += _raised(lambda key=key: NotifyOptions.read({}, {}, {key: settings.get(key)}))  # type: ignore[misc]
    return found + _session_limits(settings)


def _session_limits(settings: Mapping[str, Any]) -> list[str]:
    """The problems of each limit by itself; if there are none, those of all together."""
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


def environment_problems(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each HAPI variable with an invalid value."""
    found = []
    if (level := environ.get("HAPI_LOG_LEVEL", "")) and level.lower() not in LEVELS:
        found.append(
            f"HAPI_LOG_LEVEL is {level!r} but must be one of {', '.join(LEVELS)}; `info` is used"
        )
    if (given := environ.get("HAPI_LOG_FORMAT", "")) and given not in FORMATS:
        found.append(
            f"HAPI_LOG_FORMAT is {given!r} but must be one of {', '.join(FORMATS)}; `text` is used"
        )
    for name in MILLISECOND_VARIABLES:
        if name in environ and not _is_positive(environ[name]):
            found.append(
                f"{name} is {environ[name]!r} but must be a number of milliseconds greater than 0; "
                "the default is used"
            )
    for name in SWITCH_VARIABLES:
        if environ.get(name, "") not in ("", "0", "1"):
            found.append(f"{name} is {environ[name]!r}; only 1 turns it on")
    found += _raised(lambda: AdmissionLimits.read({}, environ, {})) + _raised(
        lambda: read_session_limits(environ, {})
    )
    return found + _raised(lambda: RetentionLimits.read({}, environ, {}))


def log_problems(environ: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Log each invalid value that the running program ignores."""
    log = Logger()
    for sentence in settings_problems(settings):
        log.warn("settings.json: {sentence}", sentence=sentence)
    for sentence in environment_problems(environ):
        log.warn("{sentence}", sentence=sentence)


def _type(value: object) -> str:
    found = json_type(value)
    return f"{'an' if found[0] in 'ao' else 'a'} {found}"


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
        return [f"agents is {_type(value)} but must be an object"]
    known = configured_agents({"agents": value})
    unnamed = [
        f"agents.{name}: {name!r} is not a valid agent name" for name in value if name not in known
    ]
    return unnamed + [
        agent.configuration_error.replace(" in settings.json", "")
        for agent in known.values()
        if agent.configuration_error is not None
    ]


def _headers(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"extraHeaders is {_type(value)} but must be an object"]
    wrong = {name: each for name, each in value.items() if not isinstance(each, str)}
    return [
        f"extraHeaders.{name} is {_type(each)} but must be a string" for name, each in wrong.items()
    ]


def _numbers(key: str, *names: str) -> Callable[[object], list[str]]:
    """A check for an object of numbers greater than 0 under some of `names`; `count` may be 0."""

    def check(value: object) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{key} is {_type(value)} but must be an object"]
        unknown = [
            f"{key}.{name} is unknown (known: {', '.join(names)})"
            for name in value
            if name not in names
        ]
        wrong = [
            name
            for name, each in value.items()
            if name in names and not _is_number(each) and not (name == "count" and _is_zero(each))
        ]
        return unknown + [f"{key}.{name} must be a number greater than 0" for name in wrong]

    return check


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _is_zero(value: object) -> bool:
    return value == 0 and value is not False


def _start_cap(value: object) -> list[str]:
    return (
        [] if _is_number(value) else ["startCapSeconds must be a number of seconds greater than 0"]
    )


def _switch(key: str) -> Callable[[object], list[str]]:
    return lambda value: (
        [] if isinstance(value, bool) else [f"{key} is {_type(value)} but must be true or false"]
    )


def _listed(key: str) -> Callable[[object], list[str]]:
    return lambda value: _raised(lambda: read_list(value, key))


def _proxies(value: object) -> list[str]:
    return _raised(lambda: read_proxies(value, "trustedProxies"))


def _log_format(value: object) -> list[str]:
    return [] if value in FORMATS else [f"logFormat must be one of {', '.join(FORMATS)}"]


def _port(value: object) -> list[str]:
    return _raised(lambda: read_port(value))


def _base_path(value: object) -> list[str]:
    return _raised(lambda: read_base_path(value))


def _hub_name(value: object) -> list[str]:
    return _raised(lambda: read_hub_name(value, "hubName")) if value else []


def _database(value: object) -> list[str]:
    return _raised(lambda: read_database(value, "database"))


def _tunnel(value: object) -> list[str]:
    from hapi.cli.base.tunnel import Tunnel

    return _raised(lambda: Tunnel.parse(value)) if value else []


def _address(key: str) -> Callable[[object], list[str]]:
    return lambda value: _raised(lambda: origin(value, key)) if value else []


def _advertise(value: object) -> list[str]:
    return _raised(lambda: read_advertised_url(value, "advertise")) if value else []


_KEY_CHECKS: Mapping[str, Callable[[Any], list[str]]] = {
    "apiUrl": _address("apiUrl"),
    "serverUrl": _address("serverUrl"),
    "publicUrl": _address("publicUrl"),
    "agents": _agents,
    "extraHeaders": _headers,
    "stuckAfter": _numbers("stuckAfter", "silent", "approval", "queued"),
    "keepAttempts": _numbers("keepAttempts", "count", "days"),
    "startCapSeconds": _start_cap,
    "startRunner": _switch("startRunner"),
    "mcp": _switch("mcp"),
    "sessionsMayControl": _switch("sessionsMayControl"),
    "listenPort": _port,
    "basePath": _base_path,
    "database": _database,
    "hubName": _hub_name,
    "advertise": _advertise,
    "drainSeconds": lambda value: _raised(lambda: read_drain_seconds(value, "drainSeconds")),
    "tunnel": _tunnel,
    "corsOrigins": _listed("corsOrigins"),
    "allowedHosts": _listed("allowedHosts"),
    "trustedProxies": _proxies,
    "logFormat": _log_format,
}
