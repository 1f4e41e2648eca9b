"""`hapi completion`: the script that teaches a shell to complete verbs, options and agents."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.output import echo

_INSTALL = {
    "bash": 'eval "$(hapi completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(hapi completion zsh)"    in ~/.zshrc, after compinit',
    "fish": "hapi completion fish > ~/.config/fish/completions/hapi.fish",
}
_INSTALL_LINES = "\n".join(f"  {line}" for line in _INSTALL.values())


@click.command(
    "completion",
    epilog=f"\b\nTo install:\n{_INSTALL_LINES}\n\n{exit_codes_epilog()}",
    short_help="Print a shell completion script.",
)
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for the given shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    # Not .source(): for bash that runs a bash to ask its version, and warns where there is none.
    variables = kind(root, {}, "hapi", "_HAPI_COMPLETE").source_vars()
    echo((kind.source_template % variables).rstrip())
