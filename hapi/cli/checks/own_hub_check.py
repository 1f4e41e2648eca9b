"""What the hub of this home says of itself, when it does not serve."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from hapi.cli.base.errors import REFUSED, CommandError
from hapi.cli.base.hub_request import active_hub_of, get_json
from hapi.cli.checks.check import Check
from hapi.home import Home
from hapi.hub.lock import running_hub
from hapi.redaction import escape_control
from hapi.settings import HubAccess

TIMEOUT = 5.0  # seconds for each request


def own_hub_problem(home: Home, access: HubAccess) -> Check | None:
    """Why the hub of `access` does not serve, if it is the one that runs in `home`. None if it
    serves, if another one is meant, or if nothing answers, which another check tells.
    """
    owner = running_hub(home, None)
    if owner is None or owner.facts.get("url") != access.url:
        return None
    if (reason := _unready_reason(access)) is None:
        return None
    if owner.facts.get("role") == "standby":
        try:
            reported = get_json(access, "/api/hub-status", TIMEOUT, logs_in=False)
        except CommandError as error:
            if error.exit_code == REFUSED:
                return Check("hub", "broken", str(error))
        else:
            if (active := active_hub_of(reported)) is not None:
                name, url = (escape_control(active[key]) for key in ("name", "url"))
                return Check(
                    "hub", "note", f"{access.url} is a standby; hub {name} at {url} serves"
                )
    return Check("hub", "broken", f"{access.url} is not ready: {escape_control(reason)}")


def _unready_reason(access: HubAccess) -> str | None:
    """What `/ready` tells, None if the hub is ready or no hub answers."""
    try:
        with urlopen(Request(f"{access.url}/ready", headers=dict(access.headers)), timeout=TIMEOUT):
            return None
    except HTTPError as error:
        try:
            answer: Any = json.load(error)
            return str(answer["error"]) if answer["status"] == "not ready" else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
    except Exception:  # the check of the hub reports what is wrong with it
        return None
