"""What an agent shows besides text: pictures, recordings and files, kept beside the session."""

from __future__ import annotations

import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.one_shot import OneShotObserver
from hapi.pictures import (
    MAX_PICTURE_SIZE,
    PIECE_SIZE,
    SessionPictures,
    decode_base64,
    extension_of,
    picture_answer,
)
from hapi.protocol.acp.pictures import Picture
from hapi.protocol.acp.updates import Shown, ToolCall, Update
from hapi.protocol.media_type import BITMAPS, OTHER, RECORDINGS, essence, sniff
from hapi.protocol.records import generated_image, new_id
from hapi.session.hub.uplink import SessionUplink
from hapi.units import format_size
from hapi.uploads import file_name

MAX_INLINE_LENGTH = 256 * 1024  # characters of base64 that are decoded without a thread
MAX_KNOWN = 1000  # pictures of tool calls; agents repeat a call's content with each update of it


class PictureRefused(Exception):
    """A picture that cannot be shown; the text is a sentence for people."""


@frozen
class DecodedPicture:
    content: bytes = field(repr=False)
    media_type: str
    file_name: str


def decode(picture: Picture) -> DecodedPicture:
    """The bytes of `picture`, and what they are by their own beginning. Raises PictureRefused.

    What is neither a bitmap nor a recording, an SVG for example, becomes a file to save. Blocks for
    tenths of a second if the picture is large.
    """
    declared = essence(picture.mime_type)
    called = f"of type {declared}" if declared else "without a type"
    if len(picture.data_base64) > MAX_PICTURE_SIZE * 4 // 3 + 4:
        size = format_size(len(picture.data_base64) * 3 // 4)
        raise PictureRefused(
            f"A picture {called} was not kept: it has {size}B, and the limit is "
            f"{format_size(MAX_PICTURE_SIZE)}B"
        )
    try:
        content = decode_base64(picture.data_base64)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise PictureRefused(f"A picture {called} cannot be shown: its data is not valid base64")
    media_type = sniff(content, declared)
    if media_type == OTHER and (declared in BITMAPS or declared in RECORDINGS):
        raise PictureRefused(f"A picture {called} cannot be shown: its data is of another type")
    return DecodedPicture(content, media_type, _name(picture, media_type))


def _name(picture: Picture, media_type: str) -> str:
    if picture.name:
        return file_name(picture.name)
    kind = media_type.partition("/")[0]
    stem = {"image": "picture", "audio": "sound", "video": "video"}.get(kind, "file")
    if picture.mime_type == "image/svg+xml":
        return "picture.svg"
    return f"{stem}.{extension_of(media_type)}"


def _digest(data: str) -> bytes:
    """SHA-256, in pieces for the sake of other threads."""
    digest = hashlib.sha256()
    for start in range(0, len(data), PIECE_SIZE):
        digest.update(data[start : start + PIECE_SIZE].encode(errors="replace"))
    return digest.digest()


@define(eq=False, repr=False)
class Pictures:
    """Publishes and keeps what the agent shows. `in_thread` runs a blocking call."""

    _hub: SessionUplink
    _store: SessionPictures
    _in_thread: Callable[..., Deferred[Any]]
    _known: OrderedDict[tuple[str, bytes], None] = field(factory=OrderedDict)
    _unwritten: dict[str, OneShotObserver[None]] = field(factory=dict)
    log = Logger()

    def observe(self, update: Update) -> Deferred[Any] | None:
        """An update of the agent, after its own records were published. While large pictures are
        decoded, the next update has to wait, so that they are shown in their place.
        """
        match update:
            case ToolCall(call_id=call_id, pictures=pictures) if pictures:
                shown = self._show_of_call(call_id, pictures)
                return run_in_background(shown, self.log, "A picture could not be shown")
            case Shown(picture):
                shown = self._show(picture, {"ingress": "acp"})
                return run_in_background(shown, self.log, "A picture could not be shown")
            case _:
                return None

    async def _show_of_call(self, call_id: str, pictures: tuple[Picture, ...]) -> None:
        source = {"ingress": "acp", "toolCallId": call_id}
        for picture in pictures:
            if await self._is_new(call_id, picture):
                await self._show(picture, source)

    def publish(self, picture: DecodedPicture, source: Mapping[str, str]) -> str:
        """Publish the record and keep the picture; returns its id."""
        picture_id = new_id()
        self._hub.publish_agent_record(
            generated_image(
                picture_id, picture.file_name, picture.media_type, len(picture.content), source
            )
        )
        self._unwritten[picture_id] = OneShotObserver()
        run_in_background(self._write(picture_id, picture), self.log, "A picture could not be kept")
        return picture_id

    async def read(self, params: Any = None) -> dict[str, Any]:
        """The `readGeneratedImage` RPC: `{id}` gives `{success, content, mimeType}`."""
        name = params.get("id") if isinstance(params, Mapping) else None
        if isinstance(name, str) and (unwritten := self._unwritten.get(name)) is not None:
            await unwritten.when_fired()
        answer: dict[str, Any] = await self._in_thread(picture_answer, self._store, params)
        return answer

    async def _show(self, picture: Picture, source: Mapping[str, str]) -> None:
        try:
            self.publish(await self._run(picture, decode, picture), source)
        except PictureRefused as refusal:
            self._hub.publish_status(str(refusal))

    async def _run(self, picture: Picture, call: Callable[..., Any], *given: Any) -> Any:
        """The result of `call`, which runs in a thread if the picture is large."""
        is_large = len(picture.data_base64) > MAX_INLINE_LENGTH
        return await self._in_thread(call, *given) if is_large else call(*given)

    async def _is_new(self, call_id: str, picture: Picture) -> bool:
        digest = await self._run(picture, _digest, picture.data_base64)
        if (call_id, digest) in self._known:
            return False
        self._known[call_id, digest] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True

    async def _write(self, picture_id: str, picture: DecodedPicture) -> None:
        try:
            await self._in_thread(
                self._store.store, picture_id, picture.content, picture.media_type
            )
        except OSError as error:
            self._hub.publish_status(
                f"{picture.file_name} could not be kept: {error.strerror or error}"
            )
        finally:
            self._unwritten.pop(picture_id).fire(None)
