"""A runner of this home that serves another hub than the session in the terminal."""

from __future__ import annotations

import json
from contextlib import suppress

from attrs import evolve

from hapi.home import Home, read_capped
from hapi.protocol.authority import Origin, is_loopback
from hapi.session.startup.early_registration import control_port
from hapi.settings import HubAccess


def other_hub_notice(home: Home, access: HubAccess) -> str | None:
    """A sentence, if the runner of `home` runs for another hub than `access`; else None.

    Such a runner is neither stopped nor replaced: it may have sessions of its own hub.
    """
    url = _hub_of_runner(home)
    if url is None or _hub_at(url) in (None, _hub_at(access.url)):
        return None
    return (
        f"Note: the runner of this machine works for another hub, {url}. It keeps running. "
        f"This session is at {access.url}, whose page cannot start sessions on this machine."
    )


def _hub_of_runner(home: Home) -> str | None:
    """`startedWithApiUrl` in the state file of a running runner, npm's or ours."""
    if control_port(home) is None:
        return None
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_capped(home.runner_state) or b"null")
        url = found.get("startedWithApiUrl") if isinstance(found, dict) else None
        return url.rstrip("/") if isinstance(url, str) else None
    return None


def _hub_at(url: str) -> Origin | None:
    """The hub at `url`, None if that is no origin. All names of the loopback interface are one."""
    hub = Origin.parse(url)
    return evolve(hub, host="localhost") if hub and is_loopback(hub.host) else hub
