"""A session in memory: a hub that keeps what it is sent, an agent that does what the test says, a
clock."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from hapi.configured_agents import BUILT_IN
from hapi.home import Home
from hapi.net.client.delivery import DeliveryStatus
from hapi.net.client.hub_clock import HubClock
from hapi.net.client.link import LinkStatus
from hapi.net.common.errors import AckTimeout, FrameTooLarge, LinkLost
from hapi.net.common.rpc import RpcTable
from hapi.protocol.session_metadata import SessionFacts
from hapi.session.agent.authentication import Credentials
from hapi.session.agent.driver import Driver
from hapi.session.agent.jsonrpc_peer import AgentError, AgentExited, JsonRpcPeer
from hapi.session.agent.noise import AgentNoise
from hapi.session.session import Session, SessionStart
from hapi.session.startup.command_line import Arguments
from hapi.settings import HubAccess

SID = "5b0cf2a6-27e5-4f6e-9a39-58a3d9c1c111"


@define(eq=False)
class MemoryLink:
    """The hub's end of a session's socket, with the two documents the hub keeps."""

    clock: Clock
    rpc: RpcTable
    metadata: Any
    state: Any
    connected: bool = False
    backlog: bool = False  # kept events wait to be sent
    max_size: int | None = None  # characters of an event that can be sent
    silent: bool = False  # the hub takes events and answers nothing
    left: bool = False
    sent: list[tuple[str, Any]] = field(factory=list)
    versions: dict[str, int] = field(factory=lambda: {"update-metadata": 1, "update-state": 1})
    _on_connect: list[Any] = field(factory=list)
    _on_event: dict[str, Any] = field(factory=dict)
    _waiting: list[tuple[str, tuple[Any, ...], Deferred[Any]]] = field(factory=list)
    running: bool = False
    review: Any = None

    # --- as HubLink
    hub_clock: HubClock = field(factory=HubClock)
    delivery_status: DeliveryStatus = field(factory=DeliveryStatus)
    delivery_changed: Any = None
    delivery_confirmed: Any = None

    access: HubAccess = field(factory=lambda: HubAccess("http://127.0.0.1:3006", "t"))
    on_status_calls: list[Any] = field(factory=list)

    @property
    def status(self):
        return LinkStatus("connected" if self.connected else "connecting", None, 0.0)

    def on_status(self, call):
        self.on_status_calls.append(call)

    def on_delivery(self, changed, confirmed):
        self.delivery_changed, self.delivery_confirmed = changed, confirmed

    def when_confirmed(self):
        return self.call("ping")

    def on_connect(self, call):
        self._on_connect.append(call)

    def on_event(self, name, handle):
        self._on_event[name] = handle

    def reconcile_with(self, review):
        self.review = review

    @property
    def has_backlog(self):
        return self.backlog or not self.connected

    def emit(self, event, *args, keep=True):
        if self.max_size is not None and len(str(args)) > self.max_size:
            raise FrameTooLarge(f"{event} is too long; the limit is {self.max_size}")
        if self.connected or keep:
            self.sent.append((event, args[0] if args else None))

    def call(self, event, *args, timeout=10.0):
        if not self.connected or self.silent:
            answer: Deferred[Any] = Deferred()
            self._waiting.append((event, args, answer))
            late = self.clock.callLater(
                timeout, lambda: answer.called or answer.errback(AckTimeout(event))
            )
            answer.addBoth(lambda value: (late.active() and late.cancel(), value)[1])
            return answer
        self.sent.append((event, args[0] if args else None))
        return succeed(self._answer(event, *args))

    def startService(self):
        self.running = True

    def stopService(self):
        self.running = self.connected = False
        return succeed(None)

    async def leave(self):
        self.left = True
        await self.stopService()

    # --- for the test
    def connect(self):
        self.connected = True
        for call in self._on_connect:
            call()
        if not self.silent:
            self.answer_all()

    def answer_all(self):
        """Answer every call that waits."""
        waiting, self._waiting = self._waiting, []
        for event, args, answer in waiting:
            self.sent.append((event, args[0] if args else None))
            if not answer.called:
                answer.callback(self._answer(event, *args))

    def drop(self):
        self.connected = False
        for _, _, answer in self._waiting:
            if not answer.called:
                answer.errback(LinkLost("dropped"))
        self._waiting = []

    def deliver(self, event, *args):
        return self._on_event[event](*args)

    def update(self, **body):
        return self.deliver("update", {"id": "u", "seq": 0, "body": {"sid": SID, **body}})

    def message(self, text, number=1, local_id="", sent_from="webapp"):
        content = {
            "role": "user",
            "content": {"type": "text", "text": text},
            "meta": {"sentFrom": sent_from},
        }
        row = {
            "id": f"m{number}",
            "seq": number,
            "localId": local_id or f"l{number}",
            "content": content,
        }
        self.update(t="new-message", message=row)

    def rpc_call(self, name, params=None):
        from hapi.protocol.rpc import read_answer, rpc_request

        answers = []
        Deferred.fromCoroutine(self.rpc.answer(rpc_request(f"{SID}:{name}", params))).addCallback(
            answers.append
        )
        return read_answer(answers[0]) if answers else None

    def of(self, event):
        return [payload for name, payload in self.sent if name == event]

    @property
    def contents(self):
        return [payload["message"] for payload in self.of("message")]

    @property
    def records(self):
        """The data of records and events of the conversation."""
        return [content["content"].get("data", content["content"]) for content in self.contents]

    def _answer(self, event, payload=None):
        key = {"update-metadata": "metadata", "update-state": "agentState"}.get(event)
        if key is None:
            return None
        held = "metadata" if key == "metadata" else "state"
        if payload["expectedVersion"] != self.versions[event]:
            return {
                "result": "version-mismatch",
                "version": self.versions[event],
                key: getattr(self, held),
            }
        self.versions[event] += 1
        setattr(self, held, payload[key])
        return {"result": "success", "version": self.versions[event], key: payload[key]}


@define(eq=False)
class MemoryAgent:
    """The agent's side of the conversation.

    `turn(prompt)` returns, or fires with, the answer to session/prompt.
    """

    clock: Clock
    modes: Any = None
    loads: bool = True
    forgets: bool = False  # session/load fails
    replays_late: bool = False  # only after it has answered session/load, when the test says so
    problem: AgentError | None = None  # session/new fails with it
    auth_methods: list[dict[str, Any]] = field(factory=list)
    environ: dict[str, str] = field(factory=dict)
    auth_method: str | None = None  # as the settings name it
    is_login_broken: bool = False
    logins: list[str] = field(factory=list)  # the ids of `authenticate`
    prompts: list[str] = field(factory=list)  # the text of each
    blocks: list[list[dict[str, Any]]] = field(factory=list)  # of each prompt
    prompt_capabilities: dict[str, bool] = field(factory=dict)
    calls: list[tuple[str, Any]] = field(factory=list)
    ends: int = 0
    answer: Deferred[Any] | None = None
    peer: JsonRpcPeer = field(init=False)
    ours: JsonRpcPeer = field(init=False)

    def __attrs_post_init__(self):
        self.ours = JsonRpcPeer(self.clock, self._to_agent)
        self.peer = JsonRpcPeer(self.clock, self.ours.received)
        self.ours.in_thread = self.peer.in_thread = maybeDeferred
        self.peer.handlers |= {
            "initialize": lambda params: {
                "protocolVersion": 1,
                "agentCapabilities": {
                    "loadSession": self.loads,
                    "promptCapabilities": self.prompt_capabilities,
                },
                "authMethods": self.auth_methods,
            },
            "authenticate": self._authenticate,
            "session/new": self._new,
            "session/load": self._load,
            "session/prompt": self._prompt,
            "session/set_mode": lambda params: self._called("session/set_mode", params, {}),
            "session/set_config_option": self._option,
        }
        self.peer.on_notification = lambda method, params: self.calls.append((method, params))

    def _to_agent(self, data):
        self.peer.received(data)

    def _called(self, method, params, result):
        self.calls.append((method, params))
        return result

    def _authenticate(self, params):
        self.logins.append(params["methodId"])
        if self.is_login_broken:
            raise AgentError(-32603, "no key")
        self.problem = None
        return {}

    def _new(self, params):
        if self.problem is not None:
            raise self.problem
        return self._called("session/new", params, {"sessionId": "agent-1", **(self.modes or {})})

    def _load(self, params):
        if self.forgets:
            raise AgentError(-32603, "No previous sessions found")
        if not self.replays_late:
            self.replay()
        return self._called("session/load", params, self.modes or {})

    def _option(self, params):
        if params["value"] == "broken":
            raise AgentError(-32602, "model not found: broken")
        return self._called("session/set_config_option", params, {"configOptions": []})

    def _prompt(self, params):
        self.blocks.append(params["prompt"])
        self.prompts.append(
            "".join(block["text"] for block in params["prompt"] if block["type"] == "text")
        )
        self.answer = Deferred()
        return self.answer

    # --- for the test
    def update(self, kind, /, **fields):
        self.peer.notify(
            "session/update", {"sessionId": "agent-1", "update": {"sessionUpdate": kind, **fields}}
        )

    def replay(self):
        self.update("user_message_chunk", content={"type": "text", "text": "earlier"})
        self.update("agent_message_chunk", content={"type": "text", "text": "said before"})

    def say(self, text):
        self.update("agent_message_chunk", content={"type": "text", "text": text})

    def finish(self, stop="end_turn", **more):
        answer, self.answer = self.answer, None
        answer.callback({"stopReason": stop, **more})

    def fail(self, message):
        answer, self.answer = self.answer, None
        answer.errback(AgentError(-32603, message))

    def elicit(self, schema=None, message="Which colour?", **more):
        """Ask for a form, or with `mode="url"` for a visit; returns the list that gets the
        answer."""
        params = {"sessionId": "agent-1", "mode": "form", "message": message, **more}
        if schema is not None:
            params["requestedSchema"] = {"type": "object", **schema}
        return self.call("elicitation/create", params)

    def call(self, method, params):
        """Call a method of the client; returns the list that gets the result or the failure."""
        answers: list[Any] = []
        self.peer.call(method, params).addBoth(answers.append)
        return answers

    def ask(self, call_id="c1", title="Shell: ls", kind="execute", command="ls"):
        options = [
            {"optionId": "once", "kind": "allow_once", "name": "Yes"},
            {"optionId": "always", "kind": "allow_always", "name": "Always"},
            {"optionId": "no", "kind": "reject_once", "name": "No"},
        ]
        call = {
            "toolCallId": call_id,
            "title": title,
            "kind": kind,
            "rawInput": {"command": command},
        }
        answers: list[Any] = []
        params = {"sessionId": "agent-1", "toolCall": call, "options": options}
        self.peer.call("session/request_permission", params).addCallback(answers.append)
        return answers


@define(eq=False)
class MemoryHost:
    """Starts one MemoryAgent after another."""

    make: Any
    starts: int = 0
    ended: int = 0
    words: str | None = None  # what the agent wrote besides messages
    noise: AgentNoise = field(factory=AgentNoise)
    agent: MemoryAgent | None = None
    commands: bool = False  # whether a command of the agent runs in the background
    _held_end: Any = None
    _gone: Any = None
    environ: Any = None
    chosen_login: str | None = None
    command: tuple[str, ...] = ("/bin/agent", "acp")
    mcp_servers: Any = list

    async def open(self, session_id, resume, fork, turns, gone):
        self.starts += 1
        self.agent = self.make()
        self.agent.ours.on_noise = self.noise.add
        self._gone = gone
        chosen, self.chosen_login = self.chosen_login, None
        driver = Driver(
            self.agent.ours,
            turns.updated,
            turns.request_permission,
            turns.questions,
            Credentials(self.agent.environ, self.agent.auth_method, chosen),
        )
        await driver.open("/w", resume, fork)
        return driver

    def die(self, words="exited with code 3", exit_code: int | None = 3):
        self._gone(words, exit_code)
        self.agent.ours.closed(f"The agent {words}")

    def last_words(self):
        return self.words

    def end_soon(self):
        self.ended += 1
        self.die("was ended by signal 9", None)

    async def end(self):
        self.ended += 1
        if self._held_end is not None:
            await self._held_end
        if self.agent is not None:
            self.agent.ours.closed("The agent was ended")

    async def has_background_commands(self, since):
        return self.commands

    def hold_end(self):
        """The end of an agent takes until `release_end`."""
        self._held_end = Deferred()

    def release_end(self):
        held, self._held_end = self._held_end, None
        held.callback(None)


@define(eq=False)
class SessionStage:
    """A session with everything around it. `up()` brings it to where prompts are taken."""

    home: Home
    agent_name: str = "opencode"
    arguments: Arguments = field(default=Arguments("opencode", started_by="runner"))
    mode: str | None = "default"
    stored: dict[str, Any] = field(factory=dict)  # metadata of the row, if it existed before
    state: Any = field(factory=lambda: {"controlledByUser": False})  # agent state of the row
    attempt: Any = None
    make_agent: Any = None
    rows: list[Any] = field(factory=list)  # what the hub's REST has of the conversation
    asked_rows: list[int] = field(factory=list)
    clock: Clock = field(factory=Clock)
    link: MemoryLink = field(init=False)
    host: MemoryHost = field(init=False)
    session: Session = field(init=False)
    terminal: Any = None
    said: Any = None  # what the terminal printed
    err: Any = None

    def __attrs_post_init__(self):
        facts = SessionFacts(
            "/w", "box", "linux", "m", "/h", "/h/.hapi", "/lib", 7, "runner", self.agent_name, 1000
        )
        metadata = self.stored or facts.metadata()
        self.link = MemoryLink(self.clock, RpcTable(SID), metadata, self.state)
        self.host = MemoryHost(self.make_agent or (lambda: MemoryAgent(self.clock)))
        row = {
            "id": SID,
            "metadata": metadata,
            "metadataVersion": 1,
            "agentState": self.link.state,
            "agentStateVersion": 1,
        }
        arguments = evolve(self.arguments, agent=self.agent_name)
        start = SessionStart(
            BUILT_IN[self.agent_name], arguments, facts, self.mode, self.home, {}, self.attempt
        )
        self.session = Session(self.clock, start, row, self.link, self.host, self._rows)

    async def _rows(self, after):
        self.asked_rows.append(after)
        return [row for row in self.rows if row["seq"] > after][:200]

    @property
    def agent(self) -> MemoryAgent:
        return self.host.agent

    def run(self):
        running = Deferred.fromCoroutine(self.session.run())
        self.link.connect()
        return running

    def up(self) -> SessionStage:
        running = self.run()
        assert running.called
        return self

    def settle(self):
        """Answer whatever is still open, so that no coroutine is left half-way."""
        self.session.permissions.cancel_all()
        while self.host.agent is not None and self.agent.answer is not None:
            self.agent.finish("cancelled")

    @property
    def end_reasons(self) -> tuple[str, str, str]:
        """Of the end as the hub has it: the reason, that of the archive, and who archived it."""
        metadata = self.link.metadata
        reason = self.link.of("session-end")[-1]["reason"]
        return reason, metadata["archiveReason"], metadata["archivedBy"]

    def end(self, ending):
        done = []
        self.session.ended.when_fired().addCallback(done.append)
        self.session.begin_end(ending)
        return done


__all__ = ["SID", "AgentExited", "MemoryAgent", "MemoryHost", "MemoryLink", "SessionStage"]
