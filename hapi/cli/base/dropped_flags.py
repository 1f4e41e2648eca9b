"""Flags of the previous runner that the next one lacks; the user is warned of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from hapi.cli.base.flags import RunnerFlags, parse_flags
from hapi.redaction import escape_control
from hapi.settings import ConfigurationError


def dropped_flags(argv: Sequence[str], options: Any) -> str:
    """The flags in `argv` (from `runner` on) whose values `options` lack, as text; "" if none."""
    flags = parse_flags(list(argv)[1:], "start-sync") if argv else None
    if flags is None:
        return ""
    ours = parse_flags(options.argv[1:], "start-sync") or RunnerFlags()
    roots = tuple(root for root in flags.workspace_roots if root not in options.workspace_roots)
    command = flags.session_command if flags.session_command != ours.session_command else None
    more = {
        name: value for name, value in flags.more.items() if not has_value(options, name, value)
    }
    dropped = evolve(flags, workspace_roots=roots, session_command=command, more=more)
    return escape_control(shlex.join(dropped.words()))


def has_value(options: Any, name: str, value: str) -> bool:
    """Whether `options` have the `value` of a VALUE_FLAGS keyword, wherever they got it from."""
    from hapi.idle_limit import read_idle_limit
    from hapi.runner.config.admission_limits import AdmissionLimits
    from hapi.runner.config.options import read_session_limits
    from hapi.switches import read_git_actions, read_terminal

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
                wanted = read_session_limits({}, {}, value).memory
                return bool(options.session_limits.memory == wanted)
            case "git_actions":
                return bool(options.git_actions == read_git_actions({}, {}, value))
            case "terminal":
                return bool(options.terminal == read_terminal({}, {}, value))
            case "idle_agent":
                return bool(options.idle_limit == read_idle_limit({}, {}, value))
            case _:
                return bool(options.revive == value)
    except ConfigurationError:
        return True  # no runner can have run with an invalid value
