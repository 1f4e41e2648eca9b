"""What `hapi ping-peer` and `hapi inspect-peer` share. Agents and scripts read what they print, so
the lines and the exit codes are those of npm's commands of the same names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from hapi.cli.base.errors import ERROR, USAGE, exit_codes_epilog, known_failure
from hapi.cli.commands.sessions.ask import ask_hub
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Session, SessionSummary

T = TypeVar("T")
FAILED = USAGE  # npm's commands have one code for whatever keeps them from their work
OWN_SESSION_VARIABLE = "HAPI_SESSION_ID"  # set in npm's sessions


def epilog(failure: str, error: str) -> str:
    """The exit codes; `failure` and `error`: what FAILED and ERROR mean."""
    return exit_codes_epilog(meanings={ERROR: error, FAILED: failure})


class NoPeer(Exception):
    """The prefix names no session, or several."""


def run(command: str, ask: Callable[[ApiClient], Awaitable[T]], seconds: float = 120.0) -> T:
    """What `ask` returns. A failure ends the program with FAILED and a line that begins with
    `hapi COMMAND:`.
    """
    try:
        return ask_hub(ask, seconds)
    except NoPeer as error:
        fail(command, str(error))
    except Exception as error:
        failure = known_failure(error)
        if failure is None:
            raise
        fail(command, failure.sentence)


def fail(command: str, sentence: str, code: int = FAILED) -> NoReturn:
    """End the program with a line on standard error."""
    print(f"hapi {command}: {escape_control(sentence)}", file=sys.stderr)
    raise SystemExit(code)


async def find_peer(client: ApiClient, prefix: str) -> SessionSummary:
    """The session whose id begins with `prefix`. Raises NoPeer."""
    found = [each for each in await client.sessions() if each.id.startswith(prefix)]
    whole = [each for each in found if each.id == prefix]
    if len(found) > 1 and not whole:
        ids = ", ".join(each.id[:8] for each in found)
        raise NoPeer(
            f"prefix '{prefix}' matches {len(found)} sessions ({ids}); use a longer prefix"
        )
    if not found:
        raise NoPeer(f"no session matching prefix '{prefix}'")
    return (whole or found)[0]


async def list_peers(client: ApiClient, limit: int) -> Sequence[SessionSummary]:
    """The sessions that changed last, without that of the agent that asks."""
    own = os.environ.get(OWN_SESSION_VARIABLE)
    found = await client.sessions(limit + 1, "updatedAt")
    return [each for each in found if each.id != own][:limit]


def title(session: Session | SessionSummary) -> str:
    return escape_control(" ".join((session.title or session.directory or "").split()))


def flag(value: bool) -> str:
    return "true" if value else "false"


def json_peer(session: Session | SessionSummary) -> dict[str, Any]:
    return {
        "sessionId": session.id,
        "name": session.title,
        "flavor": session.agent,
        "active": session.active,
        "thinking": session.thinking,
        "directory": session.directory,
        "updatedAt": session.updated_at,
    }
