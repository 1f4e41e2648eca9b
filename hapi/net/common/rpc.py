"""The RPC methods that a machine or a session offers to the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from hapi.protocol.json import Malformed, to_json
from hapi.protocol.rpc import METHOD_NOT_FOUND, read_request, rpc_error
from hapi.request_id import serving_request, well_formed_id


class RpcTable:
    """Handlers by wire name: `<prefix>:<name>` with the machine's or session's id as prefix."""

    log = Logger()

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._handlers: dict[str, Callable[[Any], Any]] = {}
        self.on_added: Callable[[str], None] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The wire names, in the order in which they were added."""
        return tuple(self._handlers)

    def add(self, name: str, handler: Callable[[Any], Any]) -> None:
        """Offer the method `name`.

        The handler is called with the decoded parameters (None if they were not JSON) and returns,
        or awaits, a value with a JSON form or None. An exception becomes `{"error": its text}` for
        the caller.
        """
        method = f"{self.prefix}:{name}"
        new = method not in self._handlers
        self._handlers[method] = handler
        if new and self.on_added is not None:
            self.on_added(method)

    async def answer(self, request: Any) -> str:
        """The JSON text that answers one `rpc-request`. Raises nothing but a cancellation."""
        try:
            call = read_request(request)
        except Malformed:
            return to_json(METHOD_NOT_FOUND)
        handler = self._handlers.get(call.method)
        if handler is None:
            return to_json(METHOD_NOT_FOUND)
        with serving_request(well_formed_id(call.request_id)):
            try:
                return to_json(await maybeDeferred(handler, call.params))
            except Exception as problem:
                self.log.failure("RPC {method} failed", method=call.method)
                return to_json(rpc_error(str(problem) or type(problem).__name__))
