"""What the commands share that wait for a turn: their options, exit codes and output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from hapi.cli.base.errors import (
    REFUSED,
    SESSION_OVER,
    TIMED_OUT,
    TURN_FAILED,
    UNREACHABLE,
    WAITING,
    CommandError,
    exit_codes_epilog,
)
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.commands.sessions.notes import sentence
from hapi.redaction import escape_control
from hapi.units import parse_idle_time

if TYPE_CHECKING:
    from hapi.client import ApiClient, PermissionRequest
    from hapi.client.turn import Outcome

FOREVER = 10 * 365 * 86400.0  # seconds
WAIT_EPILOG = exit_codes_epilog(UNREACHABLE, REFUSED, WAITING, TURN_FAILED, TIMED_OUT, SESSION_OVER)


@frozen
class WaitOptions:
    """`seconds`: how long at most. `through_requests`: also while a person is asked."""

    seconds: float
    through_requests: bool


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float:
    if text is None:
        return FOREVER
    try:
        seconds = parse_idle_time(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return FOREVER if seconds is None else seconds


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--timeout` and `--on-request`."""
    command = click.option(
        "--on-request",
        type=click.Choice(["exit", "wait"]),
        default="exit",
        show_default=True,
        help="When the agent asks a person: exit with 8, or wait until somebody has answered.",
    )(command)
    return click.option(
        "--timeout",
        metavar="DURATION",
        callback=_seconds,
        help="Wait no longer than this, e.g. 90s or 10m; the turn goes on. [default: no limit]",
    )(command)


async def wait_for_turn(
    client: ApiClient, session_id: str, local_id: str | None, options: WaitOptions
) -> Outcome | None:
    """What has come of the turn that takes a prompt (None: the newest), None if the time ran
    out.
    """
    from twisted.internet.defer import Deferred, TimeoutError

    from hapi.client import TurnWait

    wait = TurnWait(client, session_id, local_id, options.through_requests)
    running = Deferred.fromCoroutine(wait.run())
    try:
        return await running.addTimeout(options.seconds, client.clock)
    except TimeoutError:
        return None


def report_turn(session_id: str, outcome: Outcome | None, as_json: bool, **facts: str) -> int:
    """Print the answer on standard output, and what else there is to say on standard error; the
    exit code. `facts`: what `--json` tells besides.
    """
    from hapi.client import PromptGone, SessionOver, TurnAsks, TurnEnded

    told: dict[str, Any] = {"sessionId": session_id, **facts}
    match outcome:
        case TurnEnded(texts, answer, None):
            told |= {"state": "done", "answer": answer, "texts": list(texts)}
            code, problem = 0, None
        case TurnEnded(texts, answer, problem):
            told |= {"state": "failed", "answer": answer, "texts": list(texts)}
            code = TURN_FAILED
        case TurnAsks(requests):
            told |= {"state": "waiting", "requests": [as_request(each) for each in requests]}
            code, problem = WAITING, _asked(session_id, requests)
        case SessionOver(texts):
            told |= {"state": "ended", "texts": list(texts)}
            code, problem = SESSION_OVER, "the session ended before the turn did"
        case PromptGone():
            told |= {"state": "failed", "texts": []}
            code, problem = (
                TURN_FAILED,
                "the session has no such prompt; it may have been cancelled",
            )
        case _:
            told |= {"state": "timeout"}
            code, problem = TIMED_OUT, "the time ran out; the turn goes on"
    if as_json:
        print_json(told | ({"problem": problem} if problem else {}))
    elif told.get("answer"):
        sys.stdout.flush()
        _print_answer(told["answer"])
    if problem is not None:
        warn(sentence(problem))
    return code


def as_request(request: PermissionRequest) -> dict[str, Any]:
    """A request or question for scripts."""
    return {
        "id": request.id,
        "tool": request.tool,
        "arguments": request.arguments,
        "options": request.options,
    }


def _asked(session_id: str, requests: tuple[PermissionRequest, ...]) -> str:
    ids = ", ".join(f"{request.id} ({request.tool})" for request in requests)
    return (
        f"the agent waits for an answer to {ids}; see `hapi sessions show {session_id[:8]}`, then "
        "approve, deny or answer it"
    )


def _print_answer(answer: str) -> None:
    """As it is into a file or a pipe; without control characters to a terminal."""
    if sys.stdout.isatty():
        for line in answer.splitlines():
            echo(escape_control(line))
    else:
        echo(answer.encode("utf-8", "backslashreplace").decode())


def read_prompt(text: str) -> str:
    """The prompt that an argument names; `-` is standard input. Raises CommandError."""
    from hapi.cli.base.errors import USAGE

    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace").strip("\n")
    if not text.strip():
        raise CommandError("the prompt is empty", USAGE)
    return text
