"""What the commands of `hapi sessions` share: the client, and how a session is named."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hapi.cli.base.completion import complete_active_session, complete_hub_session
from hapi.cli.base.errors import REFUSED, UNREACHABLE, USAGE, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json
from hapi.cli.base.run import run_once
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import ConfigurationError, hub_access, read_settings

if TYPE_CHECKING:
    from hapi.client import ApiClient, Session, SessionSummary

T = TypeVar("T")
FOREIGN = "Session access denied"  # what a hub says of a session of another namespace
WHOLE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INACTIVE = "session_inactive"  # the hub's code
GATEWAY_STATUSES = (502, 503, 504)
TIMEOUT = 120.0  # seconds for all requests of a command
EPILOG = exit_codes_epilog(UNREACHABLE, REFUSED)

session_argument = click.argument("session_id", metavar="ID", shell_complete=complete_hub_session)
active_session_argument = click.argument(
    "session_id", metavar="ID", shell_complete=complete_active_session
)


def ask_hub(ask: Callable[[ApiClient], Awaitable[T]], seconds: float = TIMEOUT) -> T:
    """What `ask` returns of the hub. Raises CommandError with what the hub said."""
    access = hub_access(os.environ, read_settings(Home.find().check()))
    if not access.token:
        raise ConfigurationError("there is no access token; run `hapi auth login`")

    context = click.get_current_context(silent=True)
    named = str((context.params.get("session_id") if context is not None else None) or "ID")

    async def run(reactor: Any) -> T:
        from hapi.client import AccessDenied, ApiClient, HubError, TokenRefused

        try:
            return await ask(ApiClient(reactor, access))
        except TokenRefused as error:
            raise CommandError(
                f"the hub refused the access token ({error}); run `hapi auth login`", REFUSED
            ) from error
        except AccessDenied as error:
            raise CommandError(f"the hub at {access.url}: {error}", REFUSED) from error
        except HubError as error:
            if error.code == INACTIVE:
                raise CommandError(inactive(named)) from error
            if error.status in GATEWAY_STATUSES and not error.body:  # a hub's has a body of JSON
                sentence = (
                    f"the hub at {access.url} cannot be reached: a proxy in front of it answered "
                    f"with HTTP {error.status}"
                )
                raise CommandError(sentence, UNREACHABLE) from error
            raise CommandError(f"the hub at {access.url}: {error}") from error

    return run_once(run, seconds)


def inactive(name: str) -> str:
    """That the process of the session `name` does not run, and what starts it."""
    return f"session {name} is inactive; `hapi sessions reopen {name}` starts it again"


async def find_session(client: ApiClient, name: str) -> str:
    """The id of the session that `name`, an id or the beginning of one, names. Raises
    CommandError.
    """
    if not name:
        raise CommandError("the ID of the session is empty", USAGE)
    shown = escape_control(name)
    unknown = f"the hub has no session {shown}; `hapi sessions list` shows them"
    if WHOLE_ID.fullmatch(name):
        return await _whole_id(client, name, unknown)
    found = [each.id for each in await client.sessions() if each.id.startswith(name)]
    if name in found:
        return name
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(unknown)
    raise CommandError(f"{len(found)} sessions have an id that begins with {shown}")


async def _whole_id(client: ApiClient, session_id: str, unknown: str) -> str:
    from hapi.client import AccessDenied, NotFound

    try:
        return (await client.session(session_id)).id
    except NotFound as error:
        raise CommandError(unknown) from error
    except AccessDenied as error:
        if str(error) != FOREIGN:
            raise
        raise CommandError(unknown) from error


def state(session: Session | SessionSummary, is_waiting: bool) -> str:
    """What a session does, in a word. `is_waiting`: for an answer of a person."""
    if not session.active:
        return "archived" if session.is_archived else "inactive"
    if is_waiting:
        return "waiting"
    return "working" if session.thinking else "idle"


def as_entry(session: Session | SessionSummary, open_requests: int) -> dict[str, Any]:
    """A session for scripts; times are milliseconds since the epoch."""
    return {
        "id": session.id,
        "state": state(session, open_requests > 0),
        "agent": session.agent,
        "title": session.title,
        "directory": session.directory,
        "machineId": session.machine_id,
        "active": session.active,
        "thinking": session.thinking,
        "archived": session.is_archived,
        "activeAt": session.active_at,
        "updatedAt": session.updated_at,
        "openRequests": open_requests,
    }


async def find_request(client: ApiClient, session_id: str, request_id: str | None) -> str:
    """The id of the permission request to answer: the one named, or the only one. Raises
    CommandError.
    """
    if request_id is not None:
        return request_id
    requests = (await client.session(session_id)).requests
    if len(requests) == 1:
        return requests[0].id
    if not requests:
        raise CommandError("no permission request is open in this session")
    ids = ", ".join(escape_control(request.id) for request in requests)
    raise CommandError(f"several permission requests are open; name one of {ids}")


async def find_option(client: ApiClient, session_id: str, request_id: str, name: str) -> str:
    """The id of the option that `name`, its id or its name, names. A request that tells no options
    is left to the session. Raises CommandError.
    """
    requests = (await client.session(session_id)).requests
    options = next((each.options for each in requests if each.id == request_id), [])
    names = [(str(option.get("id")), str(option.get("name"))) for option in options]
    if not names or name in dict(names):
        return name
    named = [each for each, title in names if title.casefold() == name.casefold()]
    if len(named) == 1:
        return named[0]
    offered = escape_control(", ".join(f"{each} ({title})" for each, title in names))
    raise CommandError(f"the request offers no option {escape_control(name)}; it offers {offered}")


def answer_request(
    session_id: str,
    request_id: str | None,
    answer: Callable[[ApiClient, str, str], Awaitable[object]],
    approved: bool,
    as_json: bool,
) -> None:
    """Answer a permission request and print that. `session_id` may be shortened; `request_id` may
    be None if only one request is open; `answer` gets the whole ids of both."""

    async def find_and_answer(client: ApiClient) -> tuple[str, str]:
        found = await find_session(client, session_id)
        request = await find_request(client, found, request_id)
        await answer(client, found, request)
        return found, request

    found, request = ask_hub(find_and_answer)
    if as_json:
        print_json({"sessionId": found, "requestId": request, "approved": approved})
    else:
        echo("Request approved" if approved else "Request denied")
