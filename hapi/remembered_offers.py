"""What each agent of this machine offered in its last session: modes, models, efforts.

One file for each agent below `HAPI_HOME/offers`, replaced by each session of it, so that the form
for a new session, the model lists of the machine and the check of a permission mode know of an
agent before it runs. An offer counts only for the program that made it: another program, or another
version of it, may offer something else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hapi.configured_agents import resolve_command
from hapi.home import Home, read_capped, write_atomically
from hapi.protocol.agents import GENERIC_MODES, Agent
from hapi.protocol.offer.metadata import offered_ids
from hapi.protocol.offer.modes import is_offered

Offer = Mapping[str, Any]

# Of the offer in the metadata; the current values and the commands belong to one session.
REMEMBERED = (
    "modes",
    "models",
    "efforts",
    "effortSetting",
    "collaborationModes",
    "serviceTiers",
    "agentModes",
)


def _path(home: Home, agent: Agent) -> Path:
    return home.path / "offers" / f"{agent.name}.json"


def remember_offer(home: Home, agent: Agent, environ: Mapping[str, str], offer: Offer) -> None:
    """Keep what a session of `agent` offers. Writes nothing if that is known. Raises OSError."""
    program = _program(agent, environ)
    kept = {name: offer[name] for name in REMEMBERED if name in offer}
    if program is None or not kept or remembered_offer(home, agent, environ) == kept:
        return
    home.directory("offers")
    content = {"program": program, "at": int(time.time() * 1000), "offer": kept}
    write_atomically(_path(home, agent), json.dumps(content).encode(), durable=False)


def remembered_offer(home: Home, agent: Agent, environ: Mapping[str, str]) -> Offer | None:
    """The last offer of `agent`, None if none is known of the program as it is now."""
    try:
        content = read_capped(_path(home, agent))
        found = json.loads(content) if content is not None else None
    except (OSError, ValueError):
        return None  # as if it had never been written: the next session writes it again
    if not isinstance(found, dict) or found.get("program") != _program(agent, environ):
        return None
    offer = found.get("offer")
    return offer if isinstance(offer, dict) else None


def _program(agent: Agent, environ: Mapping[str, str]) -> list[Any] | None:
    """The command of `agent` with size and modification time of its program."""
    command = resolve_command(agent, environ)
    if command is None:
        return None
    try:
        status = os.stat(command[0])
    except OSError:
        return None
    return [*command, status.st_size, status.st_mtime_ns]


def mode_refusal(agent: Agent, mode: str, offer: Offer | None) -> str | None:
    """Why no session of `agent` can be started in the permission mode `mode`: it is neither in its
    last offer nor, without one, in the table or in `settings.json`. None if it can, or if nobody
    knows the agent's modes before it runs.
    """
    known = offered_ids(offer, "modes")
    if known is None:
        if agent.permission_modes == GENERIC_MODES and not agent.has_fixed_modes:
            return None
        known = list(agent.permission_modes)
    if is_offered(mode, known):
        return None
    choice = f"one of {', '.join(known)}" if known else "managed by the agent"
    return f"{agent.name} has no permission mode {mode!r}: it is {choice}"
