"""Logging in to an agent: by what needs no person, else a person is asked and the start waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.protocol.acp.authentication import (
    AUTH_REQUIRED,
    AuthMethod,
    login_command,
    methods_without_a_person,
)
from hapi.protocol.acp.questions import Question, QuestionChoice
from hapi.protocol.permissions import PermissionAnswer
from hapi.session.agent.jsonrpc_peer import AgentError, AgentTimeout, JsonRpcPeer
from hapi.session.agent.questions import PendingQuestion, Questions

KEY_TIMEOUT = 30.0  # seconds for a method that needs no person
PERSON_TIMEOUT = 600.0  # seconds for a login in a browser
TRY_AGAIN = "Try again"
LOGIN_QUESTION = "login"  # id of the question


class AgentSessionError(Exception):
    """The agent runs, but no session could be opened; the text says why."""


class LoginRequired(AgentSessionError):
    """The agent wants a login that a person has to make. `methods`: the ways the agent names."""

    def __init__(self, message: str, methods: tuple[AuthMethod, ...] = ()) -> None:
        super().__init__(message)
        self.methods = methods


@frozen
class Credentials:
    """What the session knows for logging in.

    `environ` is the agent's environment, `named` the method that the settings name, `chosen` the
    method that a person has chosen for this start. `is_automatic`: log in by what needs no person.
    """

    environ: Mapping[str, str] = field(factory=dict, repr=False)
    named: str | None = None
    chosen: str | None = None
    is_automatic: bool = True


log = Logger()


async def authenticated(
    peer: JsonRpcPeer,
    methods: Sequence[AuthMethod],
    credentials: Credentials,
    call: Callable[[], Awaitable[Any]],
) -> Any:
    """What `call` returns, after a login where the agent demands one.

    Nothing is done before the agent has answered `auth_required`. Raises LoginRequired if no method
    helps, and what `call` raises otherwise.
    """
    try:
        return await call()
    except AgentError as problem:
        if problem.code != AUTH_REQUIRED:
            raise
        last = problem
    chosen = [method for method in methods if method.id == credentials.chosen]
    automatic: Sequence[AuthMethod] = ()
    if credentials.is_automatic:
        automatic = methods_without_a_person(methods, credentials.environ, credentials.named)
    for method in dict.fromkeys((*chosen, *automatic)):
        timeout = PERSON_TIMEOUT if method in chosen else KEY_TIMEOUT
        try:
            await peer.call("authenticate", {"methodId": method.id}, timeout)
            return await call()
        except AgentTimeout as problem:
            log.warn("Login by {method}: {reason}", method=method.id, reason=str(problem))
        except AgentError as problem:
            log.warn("Login by {method}: {reason}", method=method.id, reason=str(problem))
            if method in chosen or problem.code == AUTH_REQUIRED:
                last = problem
    raise LoginRequired(str(last), tuple(methods))


@define(eq=False, repr=False)
class Login:
    """Asks a person to log in to the agent.

    `argv` returns the agent's command; `command` is a command line that logs in to it, for agents
    that name none.
    """

    _label: str
    _host: str
    _questions: Questions
    _publish_status: Callable[[str], object]
    _argv: Callable[[], Sequence[str]]
    _command: str | None = None
    log = Logger()

    async def ask(self, problem: LoginRequired) -> str | None:
        """Wait until a person has logged in or chosen a method; returns the id of the method.

        None means: try again. Raises `problem` if the person declines or stops.
        """
        methods = self._described(problem.methods)
        title = f"{self._label} needs a login on {self._host}"
        sentence = f"{title}: {problem}. {_instructions(methods)}"
        self._publish_status(f"{sentence} Then choose “{TRY_AGAIN}” or send a prompt to try again.")
        by_agent = {
            f"Log in: {method.name}": method.id
            for method in problem.methods
            if method.kind == "agent"
        }
        choices = tuple(QuestionChoice(label, label) for label in (TRY_AGAIN, *by_agent))
        question = Question(LOGIN_QUESTION, sentence, "choice", "Login", choices, True)
        more = {"login": {"title": f"{title}: {problem}", "methods": methods}}

        def accept(answers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
            label = next(iter(answers.get(LOGIN_QUESTION, ())), TRY_AGAIN)
            return {"tried": True, "method": by_agent.get(label)}

        answer = await self._questions.ask((question,), accept, more)
        if not answer:
            raise problem
        method: str | None = answer["method"]
        return method

    @property
    def waiting(self) -> PendingQuestion | None:
        """The question that waits for the login."""
        found = (asked for asked in self._questions.waiting if "login" in asked.arguments)
        return next(found, None)

    def try_again(self) -> None:
        """A prompt has arrived: the person may have logged in. Nothing without a question."""
        if (pending := self.waiting) is not None:
            answers = {LOGIN_QUESTION: [TRY_AGAIN]}
            self._questions.decide(
                PermissionAnswer(pending.request_id, True, "approved", answers=answers)
            )

    def _described(self, methods: Sequence[AuthMethod]) -> list[dict[str, Any]]:
        argv = self._argv()
        found = [_description(method, login_command(method, argv)) for method in methods]
        if self._command is not None and not any("command" in item for item in found):
            name = f"Log in to {self._label}"
            found.insert(0, {"id": "", "name": name, "command": self._command})
        return found


def _description(method: AuthMethod, command: str | None) -> dict[str, Any]:
    """A method for the page: `{id, name, description?, command?}`."""
    described = {"id": method.id, "name": method.name}
    text = method.description or ""
    if method.kind == "env_var":
        names = ", ".join(variable.name for variable in method.variables)
        text = f"Set {names} in the environment of the session and start it again. {text}".strip()
    if method.link is not None:
        text = f"{text} {method.link}".strip()
    if text:
        described["description"] = text
    if command is not None:
        described["command"] = command
    return described


def _instructions(methods: Sequence[Mapping[str, Any]]) -> str:
    """How to log in, in one sentence for pages that show only text."""
    commands = [item["command"] for item in methods if "command" in item]
    if commands:
        return "Run " + " or ".join(f"`{command}`" for command in commands) + " in a terminal."
    texts = [item.get("description") or item["name"] for item in methods]
    return (
        f"Ways to log in: {'; '.join(texts)}." if texts else "Log in with the agent's own program."
    )
