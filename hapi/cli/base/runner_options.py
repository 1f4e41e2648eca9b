"""The options that configure a runner, as click options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hapi.cli.base.completion import complete_choice, complete_directory, complete_file
from hapi.cli.base.flags import RunnerFlags

git_actions_option = click.option(
    "--git-actions",
    metavar="yes|no",
    shell_complete=complete_choice(("yes", "no")),
    help="Let people stage, discard, commit and push changes from the page; hub and runner must "
    "both allow it. [env: HAPI_GIT_ACTIONS; default: no]",
)

_OPTIONS = (
    git_actions_option,
    click.option(
        "--terminal",
        metavar="yes|no",
        shell_complete=complete_choice(("yes", "no")),
        help="Let people open a shell in a session's directory from the page. "
        "[env: HAPI_TERMINAL; default: yes, but no with workspace roots, which a shell can leave]",
    ),
    click.option(
        "--workspace-root",
        "roots",
        multiple=True,
        metavar="DIR",
        shell_complete=complete_directory,
        help="Allow sessions only in DIR and below; repeatable. [default: any directory]",
    ),
    click.option(
        "--session-command",
        metavar="COMMAND",
        shell_complete=complete_file,
        help="Program to run for each session. [env: HAPI_CLI_EXECUTABLE; default: this hapi]",
    ),
    click.option(
        "--session-memory",
        metavar="SIZE",
        help="Memory limit per session, e.g. 4G (requires systemd). "
        "[env: HAPI_RUNNER_SESSION_MEMORY; default: no limit]",
    ),
    click.option(
        "--max-sessions",
        metavar="N",
        help="Maximum number of sessions at a time; further ones wait (see --queue) or are "
        "refused. "
        "[env: HAPI_RUNNER_MAX_SESSIONS; default: no limit]",
    ),
    click.option(
        "--min-free-memory",
        metavar="SIZE",
        help="Free memory required to start a session, e.g. 2G. "
        "[env: HAPI_RUNNER_MIN_FREE_MEMORY; default: no limit]",
    ),
    click.option(
        "--queue",
        metavar="N",
        help="Number of session starts that may wait for a free place. "
        "[env: HAPI_RUNNER_QUEUE; default: 0]",
    ),
    click.option(
        "--idle-agent",
        metavar="TIME",
        help="End the processes of an agent that has been idle for so long, e.g. 30m; the next "
        "prompt resumes it. `off`: never. "
        "[env: HAPI_IDLE_AGENT; default: off]",
    ),
    click.option(
        "--revive",
        metavar="auto|offer",
        shell_complete=complete_choice(("auto", "offer")),
        help="Sessions interrupted by a reboot or a crash: `auto` resumes them, `offer` lists "
        "them. "
        "[env: HAPI_RUNNER_REVIVE; default: offer]",
    ),
)


def runner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a runner; `hapi runner` takes them before its verb and after it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def runner_flags(
    roots: tuple[str, ...],
    session_command: str | None,
    more: dict[str, str | None],
    before: RunnerFlags | None = None,
) -> RunnerFlags:
    """The options of one command line as a value; `before` holds those that precede the verb."""
    before = before or RunnerFlags()
    given = {name: value for name, value in more.items() if value is not None}
    return RunnerFlags(
        (*before.workspace_roots, *roots),
        session_command or before.session_command,
        {**before.more, **given},
    )
