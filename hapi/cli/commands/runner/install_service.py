"""`hapi runner install-service`: the file that makes a supervisor run this runner."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from hapi.cli.base.common_options import is_home_given
from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import warn
from hapi.cli.base.runner_options import runner_flags, runner_options
from hapi.cli.base.service_account import Account
from hapi.cli.base.service_installation import (
    Target,
    install,
    installation,
    installation_options,
    service_environment,
)
from hapi.cli.base.unit_files import RUNNER
from hapi.redaction import escape_control

INHERITED_VARIABLES = ("HAPI_HOSTNAME", "HAPI_CLI_EXECUTABLE", "HAPI_API_URL")
OWN_VARIABLES = ("XDG_CONFIG_HOME",)  # of the current user, of no use to another one


@click.command(
    "install-service",
    epilog=exit_codes_epilog(),
    short_help="Create a systemd, supervisord or launchd service.",
)
@runner_options
@installation_options
@click.pass_context
def command(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    kind: Any,
    write: bool,
    path: Path | None,
    force: bool,
    user: str | None,
    **more: str | None,
) -> None:
    """Print or write the file that makes a supervisor run this runner.

    The file contains the home directory, the PATH and the options given here, never a token.
    With --user they are those of that user, who must be able to run this program. Stopping or
    restarting the service leaves the sessions running.
    """
    target = Target.chosen(kind, write, path, force, user)
    flags = absolute(runner_flags(roots, session_command, more, context.obj), user)
    words = ("runner", "start-sync", *flags.words())
    is_own = Account.find(user).is_current
    for root in flags.workspace_roots if is_own or os.geteuid() == 0 else ():
        if not os.path.isdir(root):
            warn(
                f"the workspace root {escape_control(root)} is not an existing directory, and the "
                "runner does not start without it: make it first"
            )
    variables = INHERITED_VARIABLES + (OWN_VARIABLES if is_own else ())
    environ = service_environment(os.environ, user, is_home_given(context))
    install(target, installation(RUNNER, words, environ, target, variables))


def absolute(flags: RunnerFlags, user: str | None = None) -> RunnerFlags:
    """The flags with absolute paths: a service starts in another directory. `~` is the home of
    `user`. Raises CommandError.
    """
    command = flags.session_command
    if command and not os.path.isabs(command.split()[0]):
        program, *rest = command.split(" ", 1)
        command = " ".join((shutil.which(program) or os.path.abspath(program), *rest))
    account = Account.find(user)
    roots = tuple(
        os.path.abspath(
            os.path.expanduser(root)
            if account.is_current or root[:2] not in ("~", "~/")
            else account.directory + root[1:]
        )
        for root in flags.workspace_roots
    )
    return evolve(flags, workspace_roots=roots, session_command=command)
