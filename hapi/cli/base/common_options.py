"""Options that several commands share, such as `--home` and `--json`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from hapi.cli.base.completion import complete_directory

FORMATS = ("text", "json")  # as hapi.log, which a command line without a log need not load

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def record_options(things: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--follow` (`following`), `--lines` and `--json` of a command that prints the `things` of
    a file, such as "events", and goes on with new ones."""
    options = (
        click.option(
            "-f", "--follow", "following", is_flag=True, help=f"Print new {things} until Ctrl+C."
        ),
        click.option(
            "-n",
            "--lines",
            type=click.IntRange(0),
            default=100,
            show_default=True,
            metavar="N",
            help=f"Number of past {things} to show.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_HOME_GIVEN = "hapi.home_given"  # key in the `meta` of a command's context


def _use_home(context: click.Context, _parameter: click.Parameter, path: str | None) -> None:
    if path is not None:
        os.environ["HAPI_HOME"] = os.path.abspath(os.path.expanduser(path))
        context.meta[_HOME_GIVEN] = True


def is_home_given(context: click.Context) -> bool:
    """Whether the command line names the home, and not the variable HAPI_HOME alone."""
    return bool(context.meta.get(_HOME_GIVEN))


def takes_home(command: click.Command) -> bool:
    return any("--home" in parameter.opts for parameter in command.params)


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--home`: it sets HAPI_HOME for this command and every process it starts."""
    return click.option(
        "--home",
        metavar="DIR",
        shell_complete=complete_directory,
        expose_value=False,
        is_eager=True,
        callback=_use_home,
        help="Directory for settings, logs and data. [env: HAPI_HOME; default: ~/.hapi]",
    )(command)


def _use_log_format(_context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    if name is not None:
        os.environ["HAPI_LOG_FORMAT"] = name


def log_format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--log-format`: it sets HAPI_LOG_FORMAT for this program and every one it starts."""
    return click.option(
        "--log-format",
        type=click.Choice(FORMATS),
        expose_value=False,
        callback=_use_log_format,
        help="Log to standard error as text for people (warnings and errors), or as JSON lines for "
        "a collector (all that the log file gets). [env: HAPI_LOG_FORMAT; default: text]",
    )(command)
