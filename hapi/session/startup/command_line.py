"""The arguments of `hapi AGENT …`, as runners and people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen


class WrongUsage(Exception):
    """The arguments are invalid; the text is for whoever wrote them."""


@frozen
class Arguments:
    """The arguments of a session. Empty strings count as absent."""

    agent: str
    resume: str | None = None  # the agent's own session id
    existing_session_id: str | None = None  # the row at the hub to go on with
    started_by: str = "terminal"
    starting_mode: str | None = None  # None: as variable and settings say
    model: str | None = None
    effort: str | None = None
    model_reasoning_effort: str | None = None
    service_tier: str | None = None
    collaboration_mode: str | None = None
    copilot_agent_mode: str | None = None
    permission_mode: str | None = None
    yolo: bool = False
    fork: bool = False
    cursor_worktree: str | None = None
    idle_agent: str | None = None
    help: bool = False
    words: tuple[str, ...] = ()  # after `--`, for the agent's program

    @property
    def by_runner(self) -> bool:
        return self.started_by == "runner"

    @property
    def continues(self) -> bool:
        """Whether it goes on with an earlier session, whose settings come with it."""
        return self.resume is not None or self.existing_session_id is not None

    @property
    def agent_settings(self) -> dict[str, str]:
        """The settings besides mode, model and effort, by their wire names."""
        asked = {
            "serviceTier": self.service_tier,
            "collaborationMode": self.collaboration_mode,
            "copilotAgentMode": self.copilot_agent_mode,
        }
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def beyond_acp(self) -> dict[str, str]:
        """The settings that no agent can be given over ACP, by their wire names."""
        asked = {"cursorWorktree": self.cursor_worktree}
        return {name: value for name, value in asked.items() if value is not None}


_VALUES = {
    "--resume": "resume",
    "-r": "resume",
    "--session-id": "resume",  # Pi's word for it
    "--existing-session-id": "existing_session_id",
    "--started-by": "started_by",
    "--hapi-starting-mode": "starting_mode",
    "--model": "model",
    "-m": "model",
    "--effort": "effort",
    "--model-reasoning-effort": "model_reasoning_effort",
    "--service-tier": "service_tier",
    "--collaboration-mode": "collaboration_mode",
    "--copilot-agent-mode": "copilot_agent_mode",
    "--permission-mode": "permission_mode",
    "--idle-agent": "idle_agent",
}
_SWITCHES = {"--yolo": "yolo", "--fork-session": "fork", "--help": "help", "-h": "help"}
_STARTING_MODES = {"--local": "local", "--remote": "remote"}
# What the help names, for completion in a shell.
DOCUMENTED_VALUES = (
    "--resume",
    "--model",
    "--effort",
    "--permission-mode",
    "--idle-agent",
    "--existing-session-id",
)
DOCUMENTED_SWITCHES = ("--local", "--remote", "--yolo", "--help")
_ALLOWED = {
    "started_by": ("runner", "terminal"),
    "starting_mode": ("remote", "local"),
}  # pty: we serve no terminals

USAGE = """\
Usage: hapi [AGENT] [OPTIONS] [-- ARGUMENTS]

Start a session with a coding agent, in this terminal and on the hub's page at
the same time. Without AGENT: `defaultAgent` of settings.json, else claude if it
is installed, else demo. Piped standard input is one prompt; its answer goes to
standard output. ARGUMENTS go to the agent's program.

Agents:
{agents}

Options:
  --local, --remote         begin with the agent's own program in this terminal,
                            or with HAPI's; Ctrl+O and a message from the page
                            change it [env: HAPI_STARTING_MODE; default: remote]
  --resume ID               resume the agent's own session ID
                            (codex: hapi codex resume ID)
  --model NAME              the model to use
  --effort LEVEL            the reasoning effort (also --model-reasoning-effort)
  --permission-mode MODE    the initial permission mode:
{modes}
  --yolo                    allow everything without asking for permission
  --idle-agent TIME         end the agent's processes while it has been idle for
                            TIME, e.g. 30m, and resume it with the next prompt;
                            off: never. Only in sessions that a runner starts
                            [env: HAPI_IDLE_AGENT; default: off]
  --existing-session-id ID  continue this session of the hub
  -h, --help                show this help

Exit codes: 0 the session ended, 1 it could not start or crashed, 2 usage error,
6 the hub cannot be reached, 7 the hub refused the access token.
"""


def usage_text(agents: Iterable[str], modes: Iterable[str]) -> str:
    """The help of `hapi AGENT`, for 80 columns."""
    from textwrap import fill  # here: only a person who asks for help waits for it

    def listed(words: Iterable[str], indent: int) -> str:
        margin = " " * indent
        return fill(", ".join(words), 79, initial_indent=margin, subsequent_indent=margin)

    modes = listed(modes, 28) or f"{'':28}(managed by the agent)"
    return USAGE.format(agents=listed(agents, 2), modes=modes)


def read_arguments(words: Sequence[str], known: Mapping[str, Any], default: str) -> Arguments:
    """Read the words after `hapi`. Raises WrongUsage.

    `known`: the agents by name; `default`: the agent that plain `hapi` starts.
    """
    rest = list(words)
    agent = default
    if rest and not rest[0].startswith("-"):
        agent = rest.pop(0)
        if agent not in known:
            raise WrongUsage(
                f"there is no command or agent named {agent!r}"
                f" (agents: {', '.join(known)}; see hapi --help)"
            )
    found: dict[str, Any] = {"agent": agent}
    if agent == "codex" and rest[:1] == ["resume"]:
        if len(rest) < 2 or rest[1].startswith("-"):
            raise WrongUsage("hapi codex resume needs the id of a Codex session")
        found["resume"] = rest[1]
        del rest[:2]
    while rest:
        word = rest.pop(0)
        if word == "--":
            found["words"] = tuple(rest)
            break
        name, equals, value = word.partition("=")
        if word in _SWITCHES:
            found[_SWITCHES[word]] = True
        elif word in _STARTING_MODES:
            found["starting_mode"] = _STARTING_MODES[word]
        elif name in _VALUES:
            if not equals:
                if not rest:
                    raise WrongUsage(f"{name} needs a value")
                value = rest.pop(0)
            if value:
                found[_VALUES[name]] = value
        elif word == "--cursor-worktree":
            found["cursor_worktree"] = rest.pop(0) if rest and not rest[0].startswith("-") else ""
        else:
            kind = "option" if word.startswith("-") else "argument"
            help_command = f"hapi {agent}" if words and words[0] == agent else "hapi"
            raise WrongUsage(f"unknown {kind} {word!r} (see {help_command} --help)")
    for field, allowed in _ALLOWED.items():
        if found.get(field, allowed[0]) not in allowed:
            raise WrongUsage(f"{found[field]!r} is not one of {', '.join(allowed)}")
    return Arguments(**found)


def initial_mode(arguments: Arguments, yolo_mode: str | None) -> str | None:
    """The permission mode that was asked for; None leaves the agent in the one it begins in.

    `yolo_mode` is the one that `--yolo` means. Raises WrongUsage.
    """
    wanted = arguments.permission_mode
    if wanted is None and arguments.yolo:
        if yolo_mode is None:
            raise WrongUsage(f"{arguments.agent} has no mode that allows everything")
        return yolo_mode
    return wanted
