"""What the agent has said of each tool call so far, for permissions that are asked afterwards."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, evolve, field

from hapi.protocol.acp.updates import ToolCall, Update
from hapi.protocol.transcript import FINISHED

MAX_CALLS = 256  # open calls; the newest are kept


@define(eq=False, repr=False)
class ToolCalls:
    """An observer of the agent's updates: Codex and others describe a call once, in its
    `tool_call`, and ask for permission with its id alone."""

    _calls: OrderedDict[str, ToolCall] = field(factory=OrderedDict)

    def observe(self, update: Update) -> None:
        if not isinstance(update, ToolCall):
            return
        known = self._calls.pop(update.call_id, ToolCall(update.call_id))
        if update.status in FINISHED:
            return  # nothing is asked any more, and changes may be large
        self._calls[update.call_id] = evolve(
            known,
            title=update.title or known.title,
            kind=update.kind or known.kind,
            input=update.input or known.input,
            changes=update.changes or known.changes,
            locations=update.locations or known.locations,
        )
        while len(self._calls) > MAX_CALLS:
            self._calls.popitem(last=False)

    def get(self, call_id: str) -> ToolCall | None:
        return self._calls.get(call_id)
