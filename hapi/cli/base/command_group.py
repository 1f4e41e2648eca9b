"""A group of commands whose modules are loaded when a command is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from hapi.cli.base.common_options import home_option, takes_home


class CommandGroup(click.Group):
    """A group of the commands named in `modules`: each name maps to a module with a `command`."""

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        command: click.Command = import_module(self.modules[name]).command
        if takes_home(self) or takes_home(command):
            _add_home(command)
        return command


def _add_home(command: click.Command) -> None:
    """Let `--home` also follow the verbs of `command` and of the groups below it."""
    if not takes_home(command):
        home_option(command)
    if isinstance(command, click.Group):
        for each in command.commands.values():  # those of a CommandGroup are loaded later
            _add_home(each)
