"""A hand-off that a command asks for: to a program with other arguments or another environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hapi.protocol.control import MalformedRequest, ReplaceRunner
from hapi.runner.handoff.descriptors import StartCommand
from hapi.runner.handoff.verification import ExpectedStatus
from hapi.runner.storage.state_file import identity_digest

if TYPE_CHECKING:
    from hapi.runner.handoff.interfaces import HandoffRunner


def start_command(asked: ReplaceRunner) -> StartCommand:
    """How the program that was asked for is started. Raises MalformedRequest."""
    try:
        return StartCommand(
            tuple(_decoded(word) for word in asked.argv),
            _decoded(asked.directory),
            {_decoded(name): _decoded(value) for name, value in asked.environment.items()},
        )
    except UnicodeEncodeError as error:
        raise MalformedRequest("argv, directory and environment must be Latin-1") from error


def _decoded(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def expected_status(runner: HandoffRunner, words: Sequence[str], pid: int) -> ExpectedStatus:
    """What the replacement of `runner`, the process `pid` of `hapi WORDS`, must answer.

    It must be connected to the hub if it uses the same hub and token as `runner`, and that is
    connected.
    """
    options, hub = runner.options, runner.hub
    is_online = hub.registered and hub.status(options)["phase"] == "connected"
    return ExpectedStatus(
        pid=pid,
        argv=tuple(words),
        port=runner.endpoints.port or 0,
        online_as=identity_digest(options.access, options.machine_id) if is_online else None,
    )
