"""`hapi resume`: go on with a session of the hub in this terminal."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click
from attrs import frozen

from hapi.cli.base.common_options import home_option
from hapi.cli.base.completion import complete_hub_session
from hapi.cli.base.errors import REFUSED, UNREACHABLE, USAGE, CommandError, exit_codes_epilog
from hapi.cli.base.output import warn
from hapi.cli.commands.resume_states import read_states
from hapi.cli.commands.sessions.ask import ask_hub, find_session
from hapi.cli.commands.sessions.waiting import FOREVER
from hapi.configured_agents import configured_agents, unavailable_reason
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import machine_id, read_settings

if TYPE_CHECKING:
    from hapi.client import ApiClient, ResumableSession, ResumeTarget

SETTLE_TIME, SETTLE_POLL_INTERVAL = 3.0, 0.25  # seconds for an ended turn to be known at the hub
PROGRAM_WORDS = 5  # words of a command line among which its program is: `python -P -m hapi …`
PLAIN_TERMS = ("", "dumb", "unknown")


@frozen
class Here:
    """This machine and this place."""

    machine_id: str
    directory: str


@click.command(
    "resume",
    epilog=exit_codes_epilog(UNREACHABLE, REFUSED),
    short_help="Go on with a session in this terminal.",
)
@home_option
@click.argument("session_id", metavar="[ID]", required=False, shell_complete=complete_hub_session)
@click.argument("words", nargs=-1, metavar="[-- WORDS]", type=click.UNPROCESSED)
@click.option("--local", is_flag=True, help="Begin in the agent's own program.")
@click.option("--remote", is_flag=True, help="Begin in the terminal of HAPI.")
@click.option("--force", is_flag=True, help="Stop a turn that runs, without asking.")
def command(
    session_id: str | None, words: tuple[str, ...], local: bool, remote: bool, force: bool
) -> None:
    """Go on with the session ID of the hub in this terminal, on the machine that it belongs to.

    A session that runs is handed off: its process leaves, and this one takes its place, with the
    conversation. Without ID, the sessions of this machine are listed, those of this directory
    first: type to search, choose with the arrows and Enter. WORDS after `--` go to the agent.
    """
    if local and remote:
        raise CommandError("--local and --remote exclude each other", USAGE)
    if session_id is not None and session_id.startswith("-"):
        words = (session_id, *words)
        session_id = None
    here = Here(machine_id(Home.find()), _current_directory())
    mode = ["--local"] if local else ["--remote"] if remote else []
    rest = [*mode, *(("--", *words) if words else ())]
    if session_id is None:
        # Twisted's reactor runs once in a process: the choice needs it, and what follows as well.
        chosen = _chosen(here)
        _become(["resume", chosen, *(["--force"] if force else []), *rest], here.directory)
    if not may_bring_prompts(sys.stdin):
        raise CommandError(
            "outside of a terminal, `hapi resume` reads prompts from standard input, and there are "
            "none; `hapi sessions send` sends one and leaves the session where it is",
            USAGE,
        )
    target = _freed(str(session_id), here, force)
    if target.agent_session_id is None:
        warn("the agent keeps no conversation of this session, so that it begins anew")
    _become([*session_words(target), *rest], target.directory)


def _current_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def may_bring_prompts(stdin: IO[Any] | None) -> bool:
    """Whether `stdin` is a terminal, or holds something, or may do so later. Reads nothing
    of it: what it holds is for the session.
    """
    try:
        fd = stdin.fileno() if stdin is not None else -1
    except io.UnsupportedOperation:
        return True  # a stand-in of a program that embeds the command
    try:
        status = os.fstat(fd)
    except OSError:
        return False  # it is closed
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev != os.stat(os.devnull).st_rdev
    if stat.S_ISREG(status.st_mode):
        return status.st_size > os.lseek(fd, 0, os.SEEK_CUR)
    if stat.S_ISFIFO(status.st_mode):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        # Hung up without anything to read: whoever could write has left.
        return all(events & select.POLLIN for _, events in poll.poll(0))
    return True


def _chosen(here: Here) -> str:
    """The ID of the session that a person chooses. Raises CommandError, KeyboardInterrupt."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError(
            "outside of a terminal, `hapi resume` needs the ID of a session; "
            "`hapi sessions list` shows them",
            USAGE,
        )

    async def read(client: ApiClient) -> tuple[list[ResumableSession], dict[str, str]]:
        found = await client.resumable(here.machine_id)
        return found, await read_states(client, found)

    listed, states = ask_hub(read)
    if not listed:
        raise CommandError(
            "there is no session on this machine to go on with; `hapi AGENT` starts one"
        )
    from hapi.cli.commands.resume_picker import choose, choose_by_number

    entries = in_order(listed, here.directory)
    is_plain = os.environ.get("TERM", "") in PLAIN_TERMS
    chosen = (choose_by_number if is_plain else choose)(entries, here.directory, states)
    if chosen is None:
        raise KeyboardInterrupt
    return chosen.session_id


def in_order(listed: list[ResumableSession], directory: str) -> list[ResumableSession]:
    """The sessions of `directory` first, then the newest first."""
    return sorted(listed, key=lambda each: (each.directory != directory, -each.updated_at))


def _freed(name: str, here: Here, is_forced: bool) -> ResumeTarget:
    """The session once no process has it any more. Raises CommandError."""

    async def free(client: ApiClient) -> ResumeTarget:
        target = await _target(client, await find_session(client, name))
        check_place(target, here)
        if target.active and not is_forced and await _works(client, target):
            _confirm(target)
        if not target.active and not is_forced:
            await _check_process(client, target)
        if target.active:
            await client.hand_off(target.session_id)
        return target

    return ask_hub(free, FOREVER)  # a person may take time to confirm


async def _target(client: ApiClient, session_id: str) -> ResumeTarget:
    """The target, also of a session whose agent has no conversation yet."""
    from hapi.client import Conflict, NotFound, ResumeTarget

    try:
        return await client.resume_target(session_id)
    except Conflict as error:
        if error.code != "resume_unavailable":
            raise
    except NotFound as error:
        if error.code == "session_not_found":
            raise
        raise CommandError("this hub is too old for `hapi resume`") from error
    session = await client.session(session_id)
    if session.directory is None:
        raise CommandError(f"the session {session_id} cannot be gone on with: it has no directory")
    host = (session.metadata or {}).get("host")
    return ResumeTarget(
        session_id=session.id,
        flavor=session.agent,
        directory=session.directory,
        machine_id=session.machine_id,
        host=host if isinstance(host, str) else None,
        active=session.active,
        thinking=session.thinking,
        model=session.model,
        permission_mode=session.permission_mode,
    )


def check_place(target: ResumeTarget, here: Here) -> None:
    """Raises CommandError if the session cannot go on here."""
    if target.machine_id not in (None, here.machine_id):
        raise CommandError(
            f"the session belongs to the machine {target.host or target.machine_id}; run "
            f"`hapi resume {target.session_id}` there, or use the page"
        )
    agent = configured_agents(read_settings(Home.find())).get(target.flavor)
    if agent is None:
        raise CommandError(
            f"there is no agent named {target.flavor} here; `hapi doctor` lists them"
        )
    if unavailable_reason(agent, os.environ) is not None:
        raise CommandError(f"{agent.label} is not installed, or not configured; see `hapi doctor`")
    if not os.path.isdir(target.directory):
        raise CommandError(f"the directory {target.directory} of the session no longer exists")


async def _works(client: ApiClient, target: ResumeTarget) -> bool:
    """Whether a turn runs; the hub may learn a moment late that one has ended."""
    from twisted.internet.task import deferLater

    deadline = client.clock.seconds() + SETTLE_TIME
    works = target.thinking
    while works and client.clock.seconds() < deadline:
        await deferLater(client.clock, SETTLE_POLL_INTERVAL)
        works = (await client.session(target.session_id)).thinking
    return works


async def _check_process(client: ApiClient, target: ResumeTarget) -> None:
    """Raises CommandError if the process of the session runs without a connection to the hub, as
    after a restart of the hub: it cannot be handed off then, and would go on beside this one.
    """
    metadata = (await client.session(target.session_id)).metadata or {}
    pid = metadata.get("hostPid")
    if metadata.get("lifecycleState") == "running" and isinstance(pid, int) and is_hapi(pid):
        raise CommandError(
            f"the process {pid} of the session runs, but has no connection to the hub; try again "
            "in a moment, or end it first"
        )


def is_hapi(pid: int) -> bool:
    """Whether `pid` is a process of HAPI, of either make."""
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
        return any(os.path.basename(word) == "hapi" for word in words[:PROGRAM_WORDS])
    except (psutil.Error, ValueError):
        return False


def _confirm(target: ResumeTarget) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            "a turn is running in the session, and would be stopped; wait with "
            f"`hapi sessions wait {target.session_id}`, or use --force"
        )
    click.confirm("A turn is running in the session. Stop it and go on here?", abort=True, err=True)


def session_words(target: ResumeTarget) -> list[str]:
    """The command line of the session, without `hapi`."""
    words = [target.flavor, "--existing-session-id", target.session_id]
    given = {
        "--resume": target.agent_session_id,
        "--model": target.model,
        "--effort": target.effort,
        "--model-reasoning-effort": target.model_reasoning_effort,
        "--permission-mode": target.permission_mode,
    }
    for option, value in given.items():
        if isinstance(value, str) and value:
            words.append(f"{option}={value}")  # one word: a value may begin with a dash
    return words


def _become(words: list[str], directory: str) -> NoReturn:
    """Go on as `hapi WORDS` in `directory`, in the same process. Raises CommandError."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise CommandError(f"{escape_control(directory)}: {error.strerror}") from error
    os.environ["PWD"] = directory
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "hapi", *words])
