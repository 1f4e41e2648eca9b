"""`hapi completion`: the script that teaches a shell to complete our verbs, options and agents."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hapi.cli.base.errors import epilog
from hapi.cli.base.output import say

_INSTALL = {
    "bash": 'eval "$(hapi completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(hapi completion zsh)"    in ~/.zshrc, after compinit',
    "fish": "hapi completion fish > ~/.config/fish/completions/hapi.fish",
}


@click.command(
    "completion",
    epilog="\b\nTo install:\n"
    + "\n".join(f"  {how}" for how in _INSTALL.values())
    + "\n\n"
    + epilog(),
)
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    # Not .source(): for bash that starts a bash to ask its version, and complains where there is none.
    variables = kind(root, {}, "hapi", "_HAPI_COMPLETE").source_vars()
    say((kind.source_template % variables).rstrip())
