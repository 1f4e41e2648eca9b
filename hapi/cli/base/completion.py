"""What a shell offers for the values of arguments and options.

Everything but machines is read from files, so that it needs no runner and no hub. In a shell no
error is shown: what cannot be found out is not offered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import click
from click.shell_completion import CompletionItem

from hapi.home import Home
from hapi.settings import hub_access, read_settings

if TYPE_CHECKING:
    from hapi.attempts import AttemptFolder

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Sessions = Literal["live", "interrupted", "all"]
HUB_TIMEOUT = 2.0  # seconds that a person waits at a Tab
MAX_SESSIONS = 200  # the newest ones are offered


def complete_directory(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Have the shell offer directories."""
    return [CompletionItem(incomplete, type="dir")]


def complete_file(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Have the shell offer files."""
    return [CompletionItem(incomplete, type="file")]


def complete_choice(words: Iterable[str]) -> Completer:
    """One of `words`; other values are allowed as well."""
    return lambda _context, _parameter, incomplete: _matching(
        ((word, "") for word in words), incomplete
    )


def complete_agent(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The agents of this machine."""
    from hapi.cli.base.agent_summary import detect_agents

    with suppress(Exception):
        agents, _ = detect_agents(read_settings(Home.find()), os.environ)
        return _matching(((name, "agent") for name in agents), incomplete)
    return []


def session_completer(which: Sessions) -> Completer:
    """The sessions of this home: those whose process has not ended, those that a crash or a reboot
    interrupted, or all of them.
    """

    def complete(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
        with suppress(Exception):
            return _matching(_local_sessions(which), incomplete)
        return []

    return complete


def complete_machine(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The machines that the hub knows."""
    with suppress(Exception):
        found = _ask("/api/machines")["machines"]
        return _matching(((each["id"], _machine_name(each)) for each in found), incomplete)
    return []


def complete_token(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The names of the access tokens that were made at the hub, with what they allow."""
    with suppress(Exception):
        found = _ask("/api/tokens")["tokens"]
        return _matching(((each["name"], ", ".join(each["scopes"])) for each in found), incomplete)
    return []


def complete_scopes(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The scopes of an access token behind those that are typed already, with commas between."""
    from hapi.protocol.token import Scope

    typed, comma, _ = incomplete.rpartition(",")
    rest = [scope.value for scope in Scope if scope.value not in typed.split(",")]
    return _matching(((f"{typed}{comma}{scope}", "") for scope in rest), incomplete)


def complete_hub_session(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The sessions that the hub knows, on all machines."""
    return _hub_sessions(incomplete, only_active=False)


def complete_active_session(
    _context: Any, _parameter: Any, incomplete: str
) -> list[CompletionItem]:
    """The sessions whose process runs, on all machines."""
    return _hub_sessions(incomplete, only_active=True)


def agent_command(name: str) -> click.Command | None:
    """The options of `hapi AGENT`, for completion alone; None if there is no such agent."""
    from hapi.configured_agents import configured_agents
    from hapi.session.startup.command_line import DOCUMENTED_SWITCHES, DOCUMENTED_VALUES

    agent = configured_agents(read_settings(Home.find())).get(name)
    if agent is None:
        return None
    offered: dict[str, Completer] = {
        "--permission-mode": complete_choice(agent.permission_modes),
        "--model": complete_choice(agent.models),
        "--existing-session-id": session_completer("all"),
    }
    switches = [click.Option([word], is_flag=True) for word in DOCUMENTED_SWITCHES]
    values = [click.Option([word], shell_complete=offered.get(word)) for word in DOCUMENTED_VALUES]
    return click.Command(name, params=[*values, *switches], add_help_option=False)


def _matching(found: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Items for the values that begin with `incomplete`, each once, with their descriptions."""
    described: dict[str, str] = {}
    for value, text in found:
        if value.startswith(incomplete) and value.isprintable():
            described.setdefault(value, " ".join(text.split()) if text.isprintable() else "")
    return [CompletionItem(value, help=text or None) for value, text in described.items()]


def _local_sessions(which: Sessions) -> Iterator[tuple[str, str]]:
    """Id and directory of the sessions of this home, the newest first."""
    from hapi.attempts import attempts

    for folder in reversed(attempts(Home.find())[-MAX_SESSIONS:]):
        session, request = folder.session, folder.request
        if session is None or not _is_wanted(folder, which):
            continue
        yield session.session_id, f"{request.agent} in {request.cwd}" if request else ""


def _is_wanted(folder: AttemptFolder, which: Sessions) -> bool:
    has_ended = folder.end is not None
    if which == "live":
        return not has_ended
    return which == "all" or (has_ended and folder.stop is None)


def _hub_sessions(incomplete: str, only_active: bool) -> list[CompletionItem]:
    with suppress(Exception):
        found = [
            (each["id"], _session_name(each))
            for each in _ask("/api/sessions")["sessions"]
            if each.get("active") or not only_active
        ]
        return _matching(found, incomplete)
    return []


def _ask(path: str) -> Any:
    from hapi.cli.base.hub_request import get_json

    return get_json(hub_access(os.environ, read_settings(Home.find())), path, HUB_TIMEOUT)


def _machine_name(machine: dict[str, Any]) -> str:
    metadata = machine.get("metadata") or {}
    return str(metadata.get("displayName") or metadata.get("host") or "")


def _session_name(session: dict[str, Any]) -> str:
    metadata = session.get("metadata") or {}
    summary = metadata.get("summary") or {}
    return str(metadata.get("name") or summary.get("text") or metadata.get("path") or "")
