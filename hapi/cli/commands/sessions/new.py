"""`hapi sessions new`: start a session through the runner of a machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import complete_agent, complete_directory, complete_machine
from hapi.cli.base.errors import USAGE, CommandError
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.commands.sessions.ask import ask_hub
from hapi.cli.commands.sessions.waiting import (
    WAIT_EPILOG,
    WaitOptions,
    read_prompt,
    report_turn,
    wait_for_turn,
    wait_options,
)
from hapi.configured_agents import default_agent
from hapi.home import Home
from hapi.protocol.agents import agent_named
from hapi.redaction import escape_control
from hapi.settings import machine_id, read_settings

if TYPE_CHECKING:
    from hapi.client import ApiClient, Machine
    from hapi.client.turn import Outcome

ACTIVE_TIMEOUT, ACTIVE_POLL_INTERVAL = 60.0, 0.25  # seconds for a new session to be active
SPAWN_TIMEOUT = 300.0  # seconds: a start may wait in the runner's queue


@frozen
class Place:
    """Where a session is to start. `machine` None: on this machine."""

    machine: str | None
    own_machine: str
    directory: str


@click.command("new", epilog=WAIT_EPILOG, short_help="Start a session.")
@click.argument("directory", required=False, default=".", shell_complete=complete_directory)
@click.argument("prompt", required=False)
@click.option(
    "--machine",
    metavar="MACHINE",
    shell_complete=complete_machine,
    help="The machine, by its name, its id or the beginning of it. [default: this one]",
)
@click.option(
    "--agent",
    metavar="AGENT",
    shell_complete=complete_agent,
    help="The agent. [default: the default agent of this home]",
)
@click.option("--model", metavar="NAME", help="The model to use.")
@click.option("--effort", metavar="LEVEL", help="The reasoning effort.")
@click.option("--permission-mode", metavar="MODE", help="The initial permission mode.")
@click.option("--worktree", is_flag=True, help="Work in a new git worktree of the directory.")
@click.option("--worktree-name", metavar="NAME", help="The name of the worktree; implies it.")
@click.option("--wait", is_flag=True, help="Wait for the end of the turn and print the answer.")
@click.option("--archive", is_flag=True, help="With --wait: end the session after its turn.")
@wait_options
@json_flag
@click.pass_context
def command(
    context: click.Context,
    /,
    directory: str,
    prompt: str | None,
    machine: str | None,
    agent: str | None,
    wait: bool,
    archive: bool,
    timeout: float,
    on_request: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Start a session in DIRECTORY and send it PROMPT; `-` reads the prompt from standard input.

    DIRECTORY is the current one if it is omitted, and absolute if the session is to run on another
    machine. The ID of the session is printed, or with --wait the answer alone. A session that asks
    a person, or whose time ran out, is not ended by --archive.
    """
    if (wait and prompt is None) or (archive and not wait):
        needed = "--wait needs a prompt" if wait else "--archive needs --wait"
        raise CommandError(needed, USAGE)
    text = None if prompt is None else read_prompt(prompt)
    options = WaitOptions(timeout, on_request == "wait")
    home = Home.find()
    chosen = agent or default_agent(read_settings(home), os.environ)
    place = Place(machine, machine_id(home), directory)
    if settings["worktree_name"] is not None:
        settings["worktree"] = True
    settings["session_type"] = "worktree" if settings.pop("worktree") else None
    asked = {name: value for name, value in settings.items() if value is not None}
    asked |= effort_settings(chosen, asked.pop("effort", None))

    async def start(client: ApiClient) -> tuple[str, str | None, Outcome | None]:
        where, path = await find_place(client, place)
        spawned = await client.spawn(where.id, path, chosen, **asked)
        if spawned.session_id is None:
            raise CommandError(f"the session was not started: {spawned.message}")
        session_id = spawned.session_id
        if text is None:
            return session_id, None, None
        await _until_active(client, session_id)
        local_id = await client.send(session_id, text)
        if not wait:
            return session_id, local_id, None
        warn(f"session {session_id}")
        outcome = await wait_for_turn(client, session_id, local_id, options)
        await _archive(client, session_id, outcome, archive)
        return session_id, local_id, outcome

    session_id, local_id, outcome = ask_hub(start, SPAWN_TIMEOUT + (timeout if wait else 0))
    if wait:
        context.exit(report_turn(session_id, outcome, as_json, localId=str(local_id)))
    if as_json:
        print_json({"sessionId": session_id} | ({"localId": local_id} if local_id else {}))
    else:
        echo(escape_control(session_id))


def effort_settings(agent: str, effort: str | None) -> dict[str, str]:
    """The reasoning effort under the names that a spawn of the agent passes on."""
    fields = {"effort": "effort", "modelReasoningEffort": "model_reasoning_effort"}
    passes = agent_named(agent).passes
    return {} if effort is None else {fields[name]: effort for name in fields if passes(name)}


async def find_place(client: ApiClient, place: Place) -> tuple[Machine, str]:
    """The machine and the directory there. Raises CommandError."""
    machines = await client.machines()
    if place.machine is None:
        for machine in machines:
            if machine.id == place.own_machine:
                return machine, os.path.abspath(os.path.expanduser(place.directory))
        raise CommandError(
            "this machine is not connected to the hub; start its runner with `hapi runner start`, "
            f"or choose one with --machine{_listed(machines)}"
        )
    wanted = place.machine
    found = [each for each in machines if wanted in (each.id, each.name)]
    found = found or [each for each in machines if each.id.startswith(wanted)]
    if len(found) != 1:
        problem = "names several machines" if found else "is not connected"
        raise CommandError(f"the machine {wanted} {problem}{_listed(machines)}")
    machine = found[0]
    if machine.id == place.own_machine:
        return machine, os.path.abspath(os.path.expanduser(place.directory))
    if not place.directory.startswith(("/", "~")):
        raise CommandError(
            f"on {machine.name}, the directory must be absolute, not {place.directory}", USAGE
        )
    return machine, place.directory


def _listed(machines: list[Machine]) -> str:
    names = ", ".join(f"{each.name} ({each.id[:8]})" for each in machines)
    return f"; connected: {names}" if names else ""


async def _until_active(client: ApiClient, session_id: str) -> None:
    from twisted.internet.task import deferLater

    deadline = client.clock.seconds() + ACTIVE_TIMEOUT
    while not (await client.session(session_id)).active:
        if client.clock.seconds() >= deadline:
            raise CommandError(f"the session {session_id} did not become active")
        await deferLater(client.clock, ACTIVE_POLL_INTERVAL)


async def _archive(
    client: ApiClient, session_id: str, outcome: Outcome | None, is_wanted: bool
) -> None:
    from hapi.client import HubError, HubUnreachable, TurnEnded

    if not is_wanted or not isinstance(outcome, TurnEnded):
        return
    try:
        await client.archive(session_id)
    except (HubError, HubUnreachable) as error:
        warn(f"the session {session_id} could not be archived: {error}")
