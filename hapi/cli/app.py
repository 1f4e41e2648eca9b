"""The root of the command line: verbs are loaded when they are asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from hapi import __version__
from hapi.cli.base.errors import DONE, ERROR, MEANINGS, USAGE, epilog, known
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings

_WHERE = {
    "up": ("hapi.cli.commands.up", "up"),
    "hub": ("hapi.cli.commands.hub", "hub"),
    "runner": ("hapi.cli.commands.runner", "runner"),
    "auth": ("hapi.cli.commands.auth", "auth"),
    "doctor": ("hapi.cli.commands.doctor", "doctor"),
    "completion": ("hapi.cli.commands.completion", "completion"),
}


class Commands(click.Group):
    """A group whose failures are one sentence on standard error."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        extra["standalone_mode"] = False
        sys.exit(_guarded(lambda: super(Commands, self).main(args, prog_name, **extra)))


def _guarded(command: Any) -> int:
    try:
        code = command()
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as asked:
        print(asked.format_message())
        return DONE
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx is not None else "hapi"
        message = escape_control(" ".join(error.format_message().split()))
        print(f"hapi: {message} (see `{name} --help`)", file=sys.stderr)
        return USAGE
    except click.ClickException as error:
        print(f"hapi: {escape_control(error.format_message())}", file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        failure = known(error)
        if failure is None:
            raise
        print(f"hapi: {failure.sentence}", file=sys.stderr)
        return failure.exit_code


class Root(Commands):
    """The verbs, plus the agents: `hapi <agent>` opens a session."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_WHERE, "help"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "help":
            return _help
        if name in _WHERE:
            module, attribute = _WHERE[name]
            command = getattr(import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        with suppress(Exception):  # a shell that completes shows no errors
            from hapi.cli.base.agents import found_agents

            agents, _ = found_agents(read_settings(Home.find()), os.environ)
            found += [
                CompletionItem(name, help="agent") for name in agents if name.startswith(incomplete)
            ]
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        with formatter.section("Agents"):
            formatter.write_text(
                "hapi <agent> [OPTIONS] opens a session here; hapi alone opens one with the default agent. "
                "`hapi doctor` lists the agents; `demo` is always there."
            )


@click.command("help", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("verb", required=False)
@click.pass_context
def _help(context: click.Context, verb: str | None) -> None:
    root = context.find_root()
    command = (
        root.command.get_command(root, verb)
        if verb and isinstance(root.command, click.Group)
        else root.command
    )
    if command is None:
        raise click.UsageError(f"no such command: {verb}", root)
    with click.Context(
        command, info_name=verb or root.info_name, parent=root if verb else None
    ) as inner:
        click.echo(command.get_help(inner))


@click.group(
    cls=Root, context_settings={"help_option_names": ["-h", "--help"]}, epilog=epilog(*MEANINGS)
)
@click.version_option(
    __version__, "-V", "--version", prog_name="hapi", message="%(prog)s %(version)s"
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
