"""Options of hubs that share a database in PostgreSQL: from flags, the environment, `settings.json`
and defaults, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hapi.hub.address import read_advertised_url
from hapi.settings import ConfigurationError, InvalidFlag, configuration_error

DRAIN_SECONDS, MAX_DRAIN_SECONDS = 10.0, 600
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def sharing_options(
    flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """`name`, `advertise`, `drain_seconds`, `drain_setting` and `sharing_settings`. Raises
    ConfigurationError.
    """

    def named(flag: str, variable: str, key: str) -> dict[str, Any]:
        return {
            f"--{flag}": flags.get(flag.replace("-", "_")),
            variable: environ.get(variable),
            f"{key} in settings.json": settings.get(key),
        }

    name_by, name = first_given(named("name", "HAPI_HUB_NAME", "hubName"))
    address_by, address = first_given(named("advertise", "HAPI_ADVERTISE", "advertise"))
    seconds_by, seconds = first_given(
        named("drain-seconds", "HAPI_DRAIN_SECONDS", "drainSeconds"), may_be_zero=True
    )
    return {
        "name": read_hub_name(name, name_by) if name else "",
        "advertise": read_advertised_url(address, address_by) if address else None,
        "drain_seconds": read_drain_seconds(seconds, seconds_by) if seconds_by else DRAIN_SECONDS,
        "drain_setting": seconds_by,
        "sharing_settings": tuple(filter(None, (address_by, name_by))),
    }


def first_given(named: Mapping[str, Any], may_be_zero: bool = False) -> tuple[str, Any]:
    """The name and the value of the first setting that was given; ("", None) if none was."""
    for name, value in named.items():
        if value or (may_be_zero and value not in (None, "")):
            return name, value
    return "", None


@contextmanager
def as_flag(is_flag: bool) -> Iterator[None]:
    """A ConfigurationError is one of the command line if the value came from there."""
    try:
        yield
    except ConfigurationError as error:
        if is_flag and not isinstance(error, InvalidFlag):
            raise InvalidFlag(str(error)) from error
        raise


def read_drain_seconds(value: object, name: str) -> float:
    """Seconds from the setting `name`. Raises ConfigurationError."""
    try:
        seconds = float(value) if isinstance(value, str | int | float) else -1.0
    except ValueError:
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= MAX_DRAIN_SECONDS:
        raise configuration_error(
            name, f"{name} must be a number of seconds from 0 to {MAX_DRAIN_SECONDS}"
        )
    return seconds


def read_hub_name(value: object, name: str) -> str:
    """The hub's name from the setting `name`. Raises ConfigurationError."""
    if isinstance(value, str) and HUB_NAME.fullmatch(value):
        return value
    raise configuration_error(
        name, f"{name} must be a name of letters, digits, dots, hyphens and underscores, up to 64"
    )
