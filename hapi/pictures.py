"""Pictures and other files that agents showed in their conversations: `$HAPI_HOME/pictures/`.

Each session has a directory, each picture a file `ID.EXTENSION`. They outlive the session's
process, because people come back to what was shown; the oldest are removed when there are too many.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, frozen

from hapi.home import PRIVATE_DIRECTORY_MODE, Home, write_atomically
from hapi.protocol.media_type import OTHER
from hapi.uploads import session_directory_name

MAX_PICTURE_SIZE = 32 << 20  # bytes; as base64 it must fit into one message to the hub
PIECE_SIZE = 512 * 1024  # bytes that are handled at once, in some milliseconds
MAX_AGE = 30 * 86400.0  # seconds since the newest picture of a session was kept
_EXTENSIONS = {
    OTHER: "bin",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/tiff": "tif",
    "image/webp": "webp",
    "image/x-icon": "ico",
    "video/mp4": "mp4",
    "video/ogg": "ogv",
    "video/webm": "webm",
}
_MEDIA_TYPES = {extension: media_type for media_type, extension in _EXTENSIONS.items()}
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def extension_of(media_type: str) -> str:
    """The extension of a file of `media_type`: `png`; `bin` where there is no other."""
    return _EXTENSIONS.get(media_type, "bin")


@frozen
class PictureQuota:
    """How much is kept, in bytes and files, for one session and for all sessions of a home."""

    session_size: int = 256 << 20
    session_files: int = 500
    home_size: int = 1 << 30
    home_files: int = 5000


@frozen
class KeptPicture:
    content: bytes
    media_type: str


@frozen
class PicturePiece:
    """Bytes from the middle of a picture that has `size` bytes."""

    content: bytes
    media_type: str
    size: int


@frozen
class _File:
    path: Path
    size: int  # bytes
    kept_at: float  # seconds since the epoch


def pictures_directory(home: Home, session_id: str) -> Path:
    """Where the pictures of a session are."""
    return home.pictures / session_directory_name(session_id)


@define
class SessionPictures:
    """The pictures of one session. Its methods block, and may be called in any thread."""

    home: Home
    session_id: str
    quota: PictureQuota = PictureQuota()

    @property
    def path(self) -> Path:
        return pictures_directory(self.home, self.session_id)

    def store(self, picture_id: str, content: bytes, media_type: str) -> None:
        """Keep a picture, and remove the oldest ones beyond the quota. Raises OSError."""
        name = f"{picture_id}.{extension_of(media_type)}"
        self.path.mkdir(PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        try:
            write_atomically(self.path / name, content, durable=False)
        except FileNotFoundError:  # the directory was removed as expired meanwhile
            self.path.mkdir(PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
            write_atomically(self.path / name, content, durable=False)
        own = _remove_oldest(_files(self.path), self.quota.session_size, self.quota.session_files)
        others = [
            file
            for directory in _directories(self.home)
            if directory != self.path
            for file in _files(directory)
        ]
        _remove_oldest([*own, *others], self.quota.home_size, self.quota.home_files)

    def read(self, picture_id: str) -> KeptPicture | None:
        """The picture; None if there is none (any more). Raises OSError."""
        found = self.read_piece(picture_id, 0, -1)
        return None if found is None else KeptPicture(found.content, found.media_type)

    def read_piece(self, picture_id: str, offset: int, limit: int) -> PicturePiece | None:
        """At most `limit` bytes from `offset` on, or with -1 all. Otherwise as `read`."""
        if _ID.fullmatch(picture_id) is None:
            return None
        for path in self.path.glob(f"{picture_id}.*"):
            media_type = _MEDIA_TYPES.get(path.suffix[1:])
            if media_type is not None:
                with suppress(FileNotFoundError), path.open("rb") as file:
                    file.seek(offset)
                    size = os.fstat(file.fileno()).st_size
                    return PicturePiece(file.read(limit), media_type, size)
        return None


def picture_answer(pictures: SessionPictures, params: Any) -> dict[str, Any]:
    """The answer to `readGeneratedImage {id}`: `{success, content, mimeType}` with the content in
    base64, or `{success: false, error}`. Blocks.

    With `{id, offset, limit}`, which only our hub sends, the content is a piece of `limit` bytes at
    most, and `size` tells the bytes of the whole.
    """
    given = params if isinstance(params, Mapping) else {}
    name, offset, limit = given.get("id"), given.get("offset"), given.get("limit")
    in_pieces = _is_count(offset) and _is_count(limit)
    try:
        found = (
            pictures.read_piece(name, *((offset, limit) if in_pieces else (0, -1)))
            if isinstance(name, str)
            else None
        )
    except OSError as error:
        return {"success": False, "error": error.strerror or str(error)}
    if found is None:
        return {"success": False, "error": "Generated image not found"}
    content = base64.b64encode(found.content).decode()
    answer = {"success": True, "content": content, "mimeType": found.media_type}
    return answer | ({"size": found.size} if in_pieces else {})


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def decode_base64(data: str) -> bytes:
    """The bytes of `data`, decoded in pieces: in a thread, it leaves time for others between them.

    Raises binascii.Error, ValueError.
    """
    length = PIECE_SIZE // 8 * 4  # characters; each call takes a few milliseconds
    decoded = bytearray()
    for start in range(0, len(data), length):
        piece = base64.b64decode(data[start : start + length], validate=True)
        if len(piece) < length // 4 * 3 and start + length < len(data):
            raise binascii.Error("padding before the end")
        decoded += piece
    return bytes(decoded)


def expired_pictures(home: Home, now: float | None = None) -> list[Path]:
    """The directories of sessions that kept nothing for `MAX_AGE` seconds."""
    return list(_expired(home, now))


def _expired(home: Home, now: float | None) -> Iterator[Path]:
    oldest = (time.time() if now is None else now) - MAX_AGE
    for directory in _directories(home):
        with suppress(OSError):
            newest = max(
                (file.kept_at for file in _files(directory)), default=directory.stat().st_mtime
            )
            if newest < oldest:
                yield directory


def remove_expired_pictures(home: Home, now: float | None = None) -> None:
    """Remove what `expired_pictures` names. What cannot be removed stays for the next time."""
    for directory in _expired(home, now):  # each is checked right before it is removed
        shutil.rmtree(directory, ignore_errors=True)


def _directories(home: Home) -> list[Path]:
    try:
        return [path for path in home.pictures.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _files(directory: Path) -> list[_File]:
    found = []
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                found.append(_File(Path(entry.path), facts.st_size, facts.st_mtime))
    return found


def _remove_oldest(files: list[_File], max_size: int, max_files: int) -> list[_File]:
    """Remove the oldest of `files` until the rest is within the limits; returns the rest."""
    kept = sorted(files, key=lambda file: file.kept_at)
    size = sum(file.size for file in kept)
    while len(kept) > 1 and (size > max_size or len(kept) > max_files):
        oldest = kept.pop(0)
        size -= oldest.size
        with suppress(OSError):
            oldest.path.unlink()
    return kept
