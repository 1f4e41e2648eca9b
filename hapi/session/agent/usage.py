"""What a session has used so far: its context, tokens and cost, and the time of its last turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.logger import Logger

from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.updates import Context, Update
from hapi.protocol.records import token_count, turn_duration_record

MIN_TOLD_DURATION = 10.0  # seconds of a turn whose time is told in the conversation
KEY = "usage"  # in the metadata


@define(eq=False, repr=False)
class UsageMeter:
    """Keeps `metadata.usage`, written at the end of each turn: what is not known is left out.

    `contextTokens`, `contextWindow`: of the model now. `inputTokens`, `outputTokens`, `turns`: of
    the session. `cost`: `{amount, currency}` of the session, as the agent tells it. `turnMs`: of
    the last turn.
    """

    _metadata: VersionedDocument
    _context: Context | None = None
    _told: Context | None = None  # with the last `token_count`
    log = Logger()

    def observe(self, update: Update) -> None:
        if isinstance(update, Context):
            self._context = update

    def turn_ended(
        self, used: Usage | None, model: str | None, seconds: float
    ) -> list[dict[str, Any]]:
        """Store what the turn used; returns the records about it."""
        context = self._context
        cost = self._cost_since(context)
        self._store(used, context, seconds)
        if used is None and (context is None or context == self._told):
            return []
        self._told = context
        size = (context.used, context.size) if context is not None else None
        return [token_count(used or Usage(0, 0), model, size, cost)]

    def _cost_since(self, context: Context | None) -> tuple[float, str] | None:
        """What was paid since the usage was stored last; None if the agent tells no cost. An agent
        that was started again may count from zero."""
        if context is None or context.cost is None:
            return None
        amount, currency = context.cost
        stored = (self._metadata.value or {}).get(KEY)
        before = stored.get("cost") if isinstance(stored, Mapping) else None
        if not isinstance(before, Mapping) or before.get("currency") != currency:
            return amount, currency
        known = before.get("amount")
        if not isinstance(known, int | float) or known > amount:
            return amount, currency
        return amount - known, currency

    def duration_record(self, seconds: float) -> dict[str, Any] | None:
        """The record that tells the time of a long turn."""
        if seconds < MIN_TOLD_DURATION:
            return None
        return turn_duration_record(int(seconds * 1000))

    def _store(self, used: Usage | None, context: Context | None, seconds: float) -> None:
        def rebuild(stored: Any) -> Any:
            metadata = stored if isinstance(stored, Mapping) else {}
            before = metadata.get(KEY)
            usage = dict(before) if isinstance(before, Mapping) else {}
            usage["turns"] = _count(usage, "turns") + 1
            usage["turnMs"] = int(seconds * 1000)
            if context is not None:
                usage |= {"contextTokens": context.used, "contextWindow": context.size}
                if context.cost is not None:
                    amount, currency = context.cost
                    usage["cost"] = {"amount": amount, "currency": currency}
            if used is not None:
                usage["inputTokens"] = _count(usage, "inputTokens") + used.input
                usage["outputTokens"] = _count(usage, "outputTokens") + used.output
            return {**metadata, KEY: usage}

        self._metadata.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "The usage was not stored at the hub: {reason}", reason=failure.getErrorMessage()
            )
        )


def _count(usage: Mapping[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if isinstance(found, int) else 0
