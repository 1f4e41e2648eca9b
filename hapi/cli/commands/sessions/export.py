"""`hapi sessions export`: a whole conversation as Markdown or JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hapi.cli.base.errors import CommandError
from hapi.cli.base.output import warn
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session, session_argument

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("export", epilog=EPILOG, short_help="Export a conversation.")
@session_argument
@click.option(
    "--format",
    "kind",
    type=click.Choice(["markdown", "json"]),
    default="markdown",
    show_default=True,
    help="Markdown to be read, or JSON with everything that the hub keeps of the session.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The file to write, which must not exist yet. [default: standard output]",
)
def command(session_id: str, kind: str, output: Path | None) -> None:
    """Write the whole conversation of the session ID to a file or to standard output."""

    async def export(client: ApiClient) -> bytes:
        return await client.export(await find_session(client, session_id), kind == "markdown")

    content = ask_hub(export)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise CommandError(f"{output} already exists: choose another name") from None
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror or error}") from error
    warn(f"wrote {output}")
