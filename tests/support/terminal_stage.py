"""Pages of the namespace `/terminal` on a hub in memory."""

from __future__ import annotations

import json
from typing import Any, cast

from attrs import define, field

from hapi.net.common.errors import ConnectRefused
from hapi.protocol.json import to_json
from tests.support.hub_stage import Stage

ATTACHES = {"capabilities": {"terminal": True, "terminalAttach": True}}  # our session's


@define(eq=False)
class MemoryPage:
    """A page; `heard` is what it was sent."""

    stage: Stage
    address: str = "127.0.0.1"
    principal: Any = None
    is_reading: bool = True
    hung_up: str = ""
    on_readable: Any = None
    heard: list[tuple[str, Any]] = field(factory=list)

    def emit(self, event: str, payload: Any) -> None:
        self.heard.append((event, json.loads(to_json(payload))))

    def hang_up(self, reason: str) -> None:
        self.hung_up = reason

    # --- what a test does with it
    def send(self, name: str, payload: Any = None) -> None:
        self.stage.hub.terminals.event(cast(Any, self), f"terminal:{name}", [payload], None)

    def create(self, session: str, terminal: str = "t1", cols: Any = 80, rows: Any = 24) -> None:
        asked = {"sessionId": session, "terminalId": terminal, "cols": cols, "rows": rows}
        self.send("create", asked)

    def listed(self, session: str) -> Any:
        answers: list[Any] = []
        self.stage.hub.terminals.event(
            cast(Any, self), "terminal:list", [{"sessionId": session}], answers.append
        )
        return answers[0]["terminals"]

    def leave(self) -> None:
        self.stage.hub.terminals.disconnected(cast(Any, self), "gone")

    def of(self, name: str) -> list[Any]:
        return [given for event, given in self.heard if event == f"terminal:{name}"]

    @property
    def errors(self) -> list[str]:
        return [given["message"] for given in self.of("error")]


def page(stage: Stage, namespace: str = "default") -> MemoryPage:
    made = MemoryPage(stage)
    stage.hub.terminals.connect(cast(Any, made), {"token": stage.jwt(namespace)})
    return made


def refusal(stage: Stage, auth: Any) -> str:
    """Why a page with that `auth` is not let in."""
    try:
        stage.hub.terminals.connect(cast(Any, MemoryPage(stage)), auth)
    except ConnectRefused as problem:
        return str(problem)
    raise AssertionError("was let in")


def asked(process: Any, name: str) -> list[Any]:
    """What the hub asked of a session's process by that event."""
    found: list[Any] = process.events(f"terminal:{name}")
    return found


def says(process: Any, name: str, session: str, terminal: str = "t1", **more: Any) -> None:
    process.send(f"terminal:{name}", {"sessionId": session, "terminalId": terminal, **more})
