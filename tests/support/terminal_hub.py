"""The hub as a session's terminals see it."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater

TIMEOUT = 60.0  # seconds; the machine may be busy


@define(eq=False)
class HubSide:
    """The hub of a session; `heard` is what it was sent."""

    connected: bool = True
    writable: bool = True
    heard: list[tuple[str, Any]] = field(factory=list)
    handlers: dict[str, Any] = field(factory=dict)
    connects: list[Any] = field(factory=list)
    statuses: list[Any] = field(factory=list)

    def on_connect(self, call: Any) -> None:
        self.connects.append(call)

    def on_status(self, call: Any) -> None:
        self.statuses.append(call)

    def on_event(self, name: str, handle: Any) -> None:
        self.handlers[name] = handle

    def send(self, event: str, payload: Any) -> None:
        if self.connected:
            self.heard.append((event, payload))

    # --- what a test does with it
    def ask(self, name: str, terminal: str = "t", **more: Any) -> None:
        self.handlers[f"terminal:{name}"]({"sessionId": "s", "terminalId": terminal, **more})

    def open(self, terminal: str = "t", cols: int = 80, rows: int = 24) -> None:
        self.ask("open", terminal, cols=cols, rows=rows)

    def type(self, text: str, terminal: str = "t") -> None:
        self.ask("write", terminal, data=text)

    def connect(self, is_connected: bool) -> None:
        self.connected = is_connected
        for call in self.statuses:
            call(None)
        for call in self.connects if is_connected else ():
            call()

    def of(self, name: str, terminal: str = "t") -> list[Any]:
        return [
            given
            for event, given in self.heard
            if event == f"terminal:{name}" and given.get("terminalId") == terminal
        ]

    def text(self, terminal: str = "t") -> str:
        return "".join(given["data"] for given in self.of("output", terminal))

    async def until(self, condition: Any) -> None:
        deadline = reactor.seconds() + TIMEOUT
        while not condition():
            assert reactor.seconds() < deadline, self.heard[-5:]
            await deferLater(reactor, 0.02)

    async def says(self, text: str, terminal: str = "t") -> None:
        await self.until(lambda: text in self.text(terminal))
