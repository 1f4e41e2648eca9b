"""`hapi attach`: a shell of a session's machine in this terminal."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import home_option
from hapi.cli.base.errors import REFUSED, UNREACHABLE, USAGE, CommandError, exit_codes_epilog
from hapi.cli.base.output import table
from hapi.cli.commands.sessions.ask import (
    active_session_argument,
    ask_hub,
    find_session,
    inactive,
)
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import hub_access, read_settings

if TYPE_CHECKING:
    from hapi.cli.attach.attachment import Ended
    from hapi.cli.attach.choice import Listed
    from hapi.cli.attach.person_terminal import PersonTerminal
    from hapi.client import ApiClient, Session

FOREVER = 10 * 365 * 86400.0  # seconds


@click.command(
    "attach",
    epilog=exit_codes_epilog(UNREACHABLE, REFUSED),
    short_help="Open a shell of a session in this terminal.",
)
@home_option
@active_session_argument
@click.option("--new", is_flag=True, help="Open another shell, whatever others there are.")
@click.option(
    "--terminal",
    "named",
    metavar="ID",
    help="The shell to show: its ID, or the end of it, as --list shows it.",
)
@click.option("--list", "lists", is_flag=True, help="List the shells of the session and exit.")
@click.option(
    "--detach-key",
    metavar="KEY",
    default="ctrl-]",
    show_default=True,
    help="The key that leaves the shell, which then goes on.",
)
def command(session_id: str, new: bool, named: str | None, lists: bool, detach_key: str) -> None:
    """Show a shell of the session's machine, in the session's directory, in this terminal.

    It is one of those that the page's Terminal shows. If the session has one that nothing shows, it
    is shown here; if it has several, you are asked which. A shell goes on when you leave it.
    Once it has ended, its exit code is that of this command.
    """
    from hapi.cli.attach.detach_key import DetachKey, key_code

    if (code := key_code(detach_key)) is None:
        raise click.BadParameter("a key is named as ctrl-a or ctrl-]", param_hint="--detach-key")
    if new and (named or lists):
        raise click.UsageError("--new cannot be combined with --terminal or --list")
    ended = _run(session_id, new, named, lists, DetachKey(code))
    if ended.sentence:
        print(escape_control(ended.sentence), file=sys.stderr)
    raise SystemExit(ended.exit_code)


def _run(session_id: str, new: bool, named: str | None, lists: bool, detach_key: Any) -> Ended:
    opened: list[PersonTerminal] = []

    async def attach(client: ApiClient) -> Ended:
        from twisted.internet import reactor

        from hapi.cli.attach.attachment import Attachment
        from hapi.cli.attach.choice import SHOWN, choose, find_named, short_names
        from hapi.cli.attach.person_terminal import NoTerminal, PersonTerminal
        from hapi.client.transport import Transport
        from hapi.net.client.terminal_link import TerminalLink

        session = await client.session(await find_session(client, session_id))
        _check(session)
        access = hub_access(os.environ, read_settings(Home.find()))
        transport = Transport(reactor, access)

        async def web_token(refused: str | None) -> str:
            if refused is not None:
                transport.forget_token(refused)
            return await transport.web_token()

        terminal = PersonTerminal(reactor)
        if not lists:
            try:
                terminal.open()
            except NoTerminal as error:
                hint = "`hapi attach` shows a shell in a terminal"
                raise CommandError(f"{error}; {hint}", USAGE) from error
            opened.append(terminal)

        async def choose_shell(listed: list[Listed]) -> str | None:
            if lists:
                names = short_names([each.id for each in listed])
                rows = [(names[each.id], _yes(each.is_shown)) for each in listed]
                table(("SHELL", "SHOWN"), rows)
                attachment.finish()
                return None
            if named is not None:
                found: str | None = find_named(listed, named)
            else:
                found = None if new else await choose(terminal, listed)
            where = escape_control(session.directory or "an unknown directory")
            leaves = f"{detach_key.name} leaves it, and it goes on."
            print(f"A shell of session {session.id[:SHOWN]} in {where}. {leaves}", file=sys.stderr)
            return found

        attachment = Attachment(reactor, session.id, terminal, detach_key, choose_shell)
        attachment.link = TerminalLink(reactor, access, web_token, attachment)
        return await attachment.run()

    # A terminal that is closed ends this as Ctrl+C would, with the terminal restored.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        return ask_hub(attach, FOREVER)
    finally:
        for terminal in opened:
            terminal.restore()


def _check(session: Session) -> None:
    """Raises CommandError if the session can have no shell."""
    if not session.active:
        raise CommandError(inactive(session.id[:8]))
    name = f"session {session.id[:8]}"
    capabilities = (session.metadata or {}).get("capabilities")
    if not isinstance(capabilities, dict) or capabilities.get("terminal") is not True:
        raise CommandError(
            f"terminals are turned off on the machine of {name}; its runner allows them with "
            "--terminal yes"
        )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
