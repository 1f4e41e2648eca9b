"""Pictures that agents showed: read from the session's process, or else from its machine.

They are read in pieces, one after the other, so that the hub has time for everything else. An older
session, or npm's, answers with the whole picture, which is decoded in a thread. A namespace reads
few of them at once, because each is in memory until it is whole.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field, frozen
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThread

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import NotFound, RpcError
from hapi.hub.domain.rpc import RPC_TIMEOUT
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import RequestContext
from hapi.pictures import MAX_PICTURE_SIZE, PIECE_SIZE, decode_base64
from hapi.protocol import rpc_methods
from hapi.protocol.media_type import BITMAPS, OTHER, RECORDINGS, essence

MISSING = "Image not found"
MAX_READS = 2  # pictures of one namespace that are read at the same time; more wait
MAX_INLINE_LENGTH = PIECE_SIZE * 4 // 3 + 4  # characters of base64 that are decoded at once


@frozen
class _Picture:
    content: bytes = field(repr=False)
    kind: str
    digest: str  # SHA-256, in hexadecimal


@define(eq=False, repr=False)
class PictureReads:
    """How many pictures are being read, for each namespace."""

    _namespaces: dict[str, DeferredSemaphore] = field(factory=dict)

    @asynccontextmanager
    async def place(self, namespace: str) -> AsyncIterator[None]:
        """Wait until another picture of `namespace` may be read."""
        semaphore = self._namespaces.setdefault(namespace, DeferredSemaphore(MAX_READS))
        await semaphore.acquire()
        try:
            yield
        finally:
            semaphore.release()
            if semaphore.tokens == MAX_READS:
                del self._namespaces[namespace]


async def read_picture(
    context: RequestContext, session: HubSession, image_id: str, reads: PictureReads
) -> Response:
    """The reply with the bytes of a picture, a recording, or a file to save. Raises NotFound.

    A session's process serves what was shown in its session. When it has ended or does not have
    the picture, the runner of its machine is asked.
    """
    async with reads.place(session.namespace):
        picture = await _read(context, session, image_id)
    tag = f'"{picture.digest[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=86400",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if picture.kind == OTHER:
        headers["Content-Disposition"] = "attachment"
    if context.request.getHeader("if-none-match") == tag:
        return Response(304, b"", headers, picture.kind)
    return Response(200, picture.content, headers, picture.kind)


async def _read(context: RequestContext, session: HubSession, image_id: str) -> _Picture:
    picture = await _read_from(context, session.id, {"id": image_id})
    if picture is None:
        machine = session.public_metadata.get("machineId")
        if isinstance(machine, str) and context.registry.owns(session.namespace, machine):
            params = {"sessionId": session.id, "id": image_id}
            picture = await _read_from(context, machine, params)
            if picture is None and not context.registry.rpc.serves(
                machine, rpc_methods.READ_GENERATED_IMAGE
            ):
                raise NotFound("The machine that keeps this picture is not connected")
    if picture is None:
        raise NotFound(MISSING)
    return picture


async def _read_from(
    context: RequestContext, owner: str, params: dict[str, str]
) -> _Picture | None:
    """The picture of a session or machine; None if it has not got it. Raises NotFound for what a
    browser could run: SVG and other documents can contain scripts.
    """
    pieces: list[bytes] = []
    length, digest = 0, hashlib.sha256()
    while True:
        answer = await _ask(context, owner, {**params, "offset": length, "limit": PIECE_SIZE})
        if answer is None:
            return None
        content, kind, size = (
            answer.get("content"),
            essence(answer.get("mimeType")),
            answer.get("size"),
        )
        if not isinstance(content, str) or not (
            kind in BITMAPS or kind in RECORDINGS or kind == OTHER
        ):
            raise NotFound(MISSING)

        def decode(content: str = content) -> bytes:
            decoded = decode_base64(content)
            digest.update(decoded)
            return decoded

        try:
            piece = decode() if len(content) <= MAX_INLINE_LENGTH else await deferToThread(decode)
        except (binascii.Error, ValueError):
            raise NotFound(MISSING) from None
        pieces.append(piece)
        length += len(piece)
        if not isinstance(size, int) or length >= size:
            return _Picture(b"".join(pieces), kind, digest.hexdigest())
        if not piece or length > MAX_PICTURE_SIZE:
            raise NotFound(MISSING)


async def _ask(
    context: RequestContext, owner: str, params: dict[str, str | int]
) -> dict[str, object] | None:
    """The answer of a session or machine that has the picture; None if it has not."""
    try:
        answer = await context.registry.rpc.call(
            owner, rpc_methods.READ_GENERATED_IMAGE, params, RPC_TIMEOUT
        )
    except RpcError:
        return None
    has_picture = isinstance(answer, dict) and answer.get("success") is True
    return answer if has_picture else None
