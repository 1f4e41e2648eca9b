"""Pictures that agents showed: read from the session's process, or else from its machine."""

from __future__ import annotations

import base64
import binascii
import hashlib

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import NotFound, RpcError
from hapi.hub.domain.rpc import SLOW_RPC_TIMEOUT
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import RequestContext
from hapi.protocol import rpc_methods
from hapi.protocol.media_type import BITMAPS, OTHER, RECORDINGS, essence

MISSING = "Image not found"


async def read_picture(context: RequestContext, session: HubSession, image_id: str) -> Response:
    """The reply with the bytes of a picture, a recording, or a file to save. Raises NotFound.

    A session's process serves what was shown in its session. When it has ended or does not have
    the picture, the runner of its machine is asked.
    """
    answer = await _ask(context, session.id, {"id": image_id})
    if answer is None:
        machine = session.public_metadata.get("machineId")
        if isinstance(machine, str) and context.registry.owns(session.namespace, machine):
            answer = await _ask(context, machine, {"sessionId": session.id, "id": image_id})
            if answer is None and not context.registry.rpc.serves(
                machine, rpc_methods.READ_GENERATED_IMAGE
            ):
                raise NotFound("The machine that keeps this picture is not connected")
    content, kind = _decode(answer or {})
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=86400",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if kind == OTHER:
        headers["Content-Disposition"] = "attachment"
    if context.request.getHeader("if-none-match") == tag:
        return Response(304, b"", headers, kind)
    return Response(200, content, headers, kind)


async def _ask(
    context: RequestContext, owner: str, params: dict[str, str]
) -> dict[str, object] | None:
    """The answer of a session or machine that has the picture; None if it has not."""
    try:
        answer = await context.registry.rpc.call(
            owner, rpc_methods.READ_GENERATED_IMAGE, params, SLOW_RPC_TIMEOUT
        )
    except RpcError:
        return None
    has_picture = isinstance(answer, dict) and answer.get("success") is True
    return answer if has_picture else None


def _decode(answer: dict[str, object]) -> tuple[bytes, str]:
    """The bytes and the media type. Raises NotFound for what a browser could run: SVG and other
    documents can contain scripts.
    """
    content, kind = answer.get("content"), essence(answer.get("mimeType"))
    try:
        if isinstance(content, str) and (kind in BITMAPS or kind in RECORDINGS or kind == OTHER):
            return base64.b64decode(content, validate=True), kind
    except binascii.Error:
        pass
    raise NotFound(MISSING)
