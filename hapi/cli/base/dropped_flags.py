"""What a runner before ran with and the one to come does not: limits that were meant to last go with a word."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from hapi.cli.base.flags import RunnerFlags, read_words
from hapi.redaction import escape_control
from hapi.settings import ConfigurationError


def lost_flags(argv: Sequence[str], options: Any) -> str:
    """The flags in `argv` (from `runner` on) whose value `options` do not have, as one text; "" when there are none."""
    flags = read_words(list(argv)[1:], "start-sync") if argv else None
    if flags is None:
        return ""
    ours = read_words(options.argv[1:], "start-sync") or RunnerFlags()
    roots = tuple(root for root in flags.workspace_roots if root not in options.workspace_roots)
    command = flags.session_command if flags.session_command != ours.session_command else None
    more = {name: value for name, value in flags.more.items() if not _has(options, name, value)}
    return escape_control(
        shlex.join(evolve(flags, workspace_roots=roots, session_command=command, more=more).words())
    )


def _has(options: Any, name: str, value: str) -> bool:
    """Whether `options` came to the same, be it by a flag, a variable or the settings."""
    from hapi.runner.config.limits import AdmissionLimits
    from hapi.runner.config.options import read_session_limits

    limits: AdmissionLimits = options.limits
    try:
        match name:
            case "max_sessions":
                return limits.sessions == AdmissionLimits.read({name: value}, {}, {}).sessions
            case "min_free_memory":
                return limits.free_memory == AdmissionLimits.read({name: value}, {}, {}).free_memory
            case "queue":
                return limits.queue == AdmissionLimits.read({name: value}, {}, {}).queue
            case "session_memory":
                return bool(
                    options.session_limits.memory == read_session_limits({}, {}, value).memory
                )
            case _:
                return bool(options.revive == value)
    except ConfigurationError:
        return True  # it cannot have run with that
