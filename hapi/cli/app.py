"""The root of the command line; commands are loaded when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from hapi import __version__
from hapi.cli.base.command_group import CommandGroup
from hapi.cli.base.completion import agent_command, complete_agent
from hapi.cli.base.errors import (
    DONE,
    ERROR,
    EXIT_CODE_MEANINGS,
    INTERRUPTED,
    USAGE,
    exit_codes_epilog,
    known_failure,
)
from hapi.redaction import escape_control

COMMAND_MODULES = {
    "up": "hapi.cli.commands.up",
    "hub": "hapi.cli.commands.hub.group",
    "runner": "hapi.cli.commands.runner.group",
    "sessions": "hapi.cli.commands.sessions.group",
    "resume": "hapi.cli.commands.resume",
    "attach": "hapi.cli.commands.attach",
    "auth": "hapi.cli.commands.auth",
    "doctor": "hapi.cli.commands.doctor",
    "mcp": "hapi.cli.commands.mcp",
    "ping-peer": "hapi.cli.commands.ping_peer",
    "inspect-peer": "hapi.cli.commands.inspect_peer",
    "completion": "hapi.cli.commands.completion",
}


def _exit_code(run: Callable[[], Any]) -> int:
    """The exit code of `run`; a failure is printed as one sentence on standard error."""
    try:
        code = run()
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return DONE
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx is not None else "hapi"
        message = escape_control(" ".join(error.format_message().split())).rstrip(".?")
        print(f"hapi: {message}. Try `{name} --help`.", file=sys.stderr)
        return USAGE
    except click.ClickException as error:
        print(f"hapi: {escape_control(error.format_message())}", file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        failure = known_failure(error)
        if failure is None:
            raise
        print(f"hapi: {failure.sentence}", file=sys.stderr)
        return failure.exit_code


class Root(CommandGroup):
    """The verbs, plus the agents: `hapi AGENT` starts a session."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        extra["standalone_mode"] = False
        sys.exit(_exit_code(lambda: super(Root, self).main(args, prog_name, **extra)))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.modules, "help"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "help":
            return _help
        found = super().get_command(ctx, name)
        if found is None and ctx.resilient_parsing:  # a shell completes `hapi AGENT …`
            with suppress(Exception):
                return agent_command(name)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        return [*found, *complete_agent(ctx, None, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        with formatter.section("Agents"):
            formatter.write_text(
                "`hapi AGENT [OPTIONS]` starts a session in the current directory; `hapi` alone "
                "uses the default agent. `hapi AGENT --help` shows the options of a session, "
                "`hapi doctor` lists the agents on this machine. `demo` is always available."
            )


def _complete_verbs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The verbs below those that precede."""
    group: click.Command | None = context.find_root().command
    for verb in context.params.get("verbs") or ():
        group = group.get_command(context, verb) if isinstance(group, click.Group) else None
    names = group.list_commands(context) if isinstance(group, click.Group) else ()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("help", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("verbs", nargs=-1, shell_complete=_complete_verbs)
@click.pass_context
def _help(context: click.Context, verbs: tuple[str, ...]) -> None:
    """Show the help of a command."""
    inner = context.find_root()
    for verb in verbs:
        group = inner.command
        found = group.get_command(inner, verb) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"No such command '{' '.join(verbs)}'.", context.find_root())
        inner = click.Context(found, info_name=verb, parent=inner)
    click.echo(inner.get_help())


@click.group(
    cls=Root,
    modules=COMMAND_MODULES,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=exit_codes_epilog(*EXIT_CODE_MEANINGS),
)
@click.version_option(
    __version__,
    "-V",
    "--version",
    prog_name="hapi",
    message="%(prog)s %(version)s",
    help="Show the version and exit.",
)
def hapi() -> None:
    """Run AI coding agents on your machines and steer them from a browser or a phone."""


def run_click(words: Sequence[str]) -> int:
    """Run the command line `words` through click; the exit code."""
    try:
        hapi.main(list(words), "hapi")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ERROR if end.code else DONE
    return DONE
