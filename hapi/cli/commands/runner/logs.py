"""`hapi runner logs`: the output of a session or the log of the runner, read from the files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from hapi.attempts import AttemptFolder, attempts
from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import session_completer
from hapi.cli.base.errors import CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.base.tail import follow, last_lines
from hapi.cli.runner.session_ids import id_named
from hapi.home import Home
from hapi.redaction import escape_control


@click.command(
    "logs", epilog=exit_codes_epilog(), short_help="Show the output of a session, or find the log."
)
@click.argument("session_id", required=False, shell_complete=session_completer("all"))
@click.option(
    "-f",
    "--follow",
    "following",
    is_flag=True,
    help="Print new output until the session ends or Ctrl+C.",
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    help="Show only the last N lines. [default: all]",
)
@json_flag
def command(session_id: str | None, following: bool, lines: int | None, as_json: bool) -> None:
    """Show the output of the session SESSION_ID.

    SESSION_ID is a session id, which may be shortened as long as it names one session, PID-<n> for
    the session with the process id n, or the id of an attempt. The output of ended sessions is kept
    for a while. With --json only the path of the file is printed.

    Without SESSION_ID the path of the runner's newest log file is printed, or its lines with
    --lines or --follow. No runner needs to be running.
    """
    home = Home.find().check()
    if session_id:
        folder = find_attempt(home, session_id)
        if as_json:
            print_json({"path": str(folder.output), "attempt": folder.id})
            return
        show_output(folder, lines, following)
        if lines != 0 and (reason := reason_for_no_output(folder)):
            warn(reason)
        return
    path = find_newest_log(home)
    if as_json:
        print_json({"path": None if path is None else str(path)})
    elif path is None:
        raise CommandError("no runner has written a log in this HAPI home")
    elif following or lines is not None:
        show_log(path, lines, following)
    else:
        echo(escape_control(path))


def find_newest_log(home: Home) -> Path | None:
    """The log file that the state file names, else the newest one of a runner."""
    from hapi.runner.storage.state_file import StateFile

    state = StateFile(home).read()
    if state is not None and state.runner_log_path and Path(state.runner_log_path).exists():
        return Path(state.runner_log_path)
    found = [path for name in ("runner", "up") for path in home.logs.glob(f"*-{name}.log")]
    return max(found, key=lambda path: path.name, default=None)


def find_attempt(home: Home, name: str) -> AttemptFolder:
    """The newest attempt called `name`: its own id, the session's id or its beginning, or PID-<n>.

    Raises CommandError when there is none, and when several sessions' ids begin with `name`.
    """
    found = attempts(home)
    whole = next((folder for folder in reversed(found) if _is_called(folder, name)), None)
    if whole is not None:
        return whole
    session_id = id_named(name, (each for folder in found for each in _session_ids(folder)))
    if session_id is not None:
        return next(folder for folder in reversed(found) if session_id in _session_ids(folder))
    raise CommandError(
        f"no session {escape_control(name)} found in {home.attempts}; "
        "`hapi runner list` shows the live sessions"
    )


def _is_called(folder: AttemptFolder, name: str) -> bool:
    """Whether `name` is the attempt's id, its session's whole id, or PID-<n>."""
    if name in (folder.id, *_session_ids(folder)):
        return True
    pid = int(name[4:]) if re.fullmatch(r"PID-\d{1,10}", name, re.ASCII) else None
    session, process = folder.session, folder.process
    return pid is not None and (
        (session is not None and session.host_pid == pid)
        or (process is not None and process.child.pid == pid)
    )


def _session_ids(folder: AttemptFolder) -> list[str]:
    """The id of the attempt's session, and that of the session that it was to resume."""
    session, request = folder.session, folder.request
    found = (
        session.session_id if session is not None else None,
        request.existing_session_id if request is not None else None,
    )
    return [each for each in found if each]


def show_output(folder: AttemptFolder, lines: int | None, following: bool) -> None:
    """Print the output of a session and, if `following`, new output until the session ends."""
    for line in last_lines([folder.earlier_output, folder.output], lines):
        _print_raw(line)
    if following:
        for piece in follow(
            folder.output, lambda: folder.end is not None or not folder.path.is_dir()
        ):
            _print_raw(piece)


def reason_for_no_output(folder: AttemptFolder) -> str | None:
    """Why a session has no output, as a sentence; None when it has some."""
    outputs = (folder.earlier_output, folder.output)
    if any(path.exists() and path.stat().st_size for path in outputs):
        return None
    request, session = folder.request, folder.session
    name = session.session_id if session is not None else folder.id
    # A session started in a terminal has no holder that collects its output.
    if request is not None and (request.asked_by == "terminal" or not request.argv):
        return (
            f"the session {name} writes its output to the terminal it was started in; "
            "the conversation is on the web page"
        )
    return f"the session {name} has written no output; the conversation is on the web page"


def show_log(path: Path, lines: int | None, following: bool) -> None:
    for line in last_lines([path], lines):
        _print_raw(line)
    if following:
        for piece in follow(path):
            _print_raw(piece)


def _print_raw(data: bytes) -> None:
    """Print bytes as they are; on a terminal without control sequences."""
    if sys.stdout.isatty():
        lines = data.decode(errors="replace").split("\n")
        sys.stdout.write(
            "\n".join(escape_control(line.rstrip("\r")).replace("\\t", "\t") for line in lines)
        )
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
