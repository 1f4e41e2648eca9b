"""The RPC envelope between hub and machine or session: JSON texts inside Socket.IO events."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.json import Malformed, from_json, to_json

REGISTER, UNREGISTER, REQUEST = "rpc-register", "rpc-unregister", "rpc-request"


@frozen
class RpcRequest:
    """One call. `params` is the decoded JSON, None if it was not JSON; `request_id` is that of the
    HTTP request that caused it, as far as the hub tells.
    """

    method: str
    params: Any = None
    request_id: str | None = None


def read_request(argument: Any) -> RpcRequest:
    """The call in an `rpc-request` event. Raises Malformed if it names no method."""
    method = argument.get("method") if isinstance(argument, dict) else None
    if not isinstance(method, str):
        raise Malformed("rpc-request without a method")
    params = argument.get("params")
    if isinstance(params, str):
        try:
            params = from_json(params)
        except Malformed:
            params = None
    request_id = argument.get("requestId")
    return RpcRequest(method, params, request_id if isinstance(request_id, str) else None)


def rpc_request(method: str, params: Any, request_id: str | None = None) -> dict[str, str]:
    """The argument of an `rpc-request` event, as the hub sends it. `requestId` is our own; npm's
    programs ignore it.
    """
    request = {"method": method, "params": to_json(params)}
    return request if request_id is None else {**request, "requestId": request_id}


def read_answer(argument: Any) -> Any:
    """The answer to an `rpc-request`: a JSON text, or another value as it is. Raises Malformed."""
    return from_json(argument) if isinstance(argument, str) else argument


def rpc_error(message: str) -> dict[str, str]:
    return {"error": message}


METHOD_NOT_FOUND = rpc_error("Method not found")
