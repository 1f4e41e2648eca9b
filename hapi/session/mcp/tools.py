"""What the tools of the session's MCP server do."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.pictures import MAX_PICTURE_SIZE
from hapi.protocol.mcp.tools import (
    DEFAULT_LIST_LIMIT,
    DEFAULT_MESSAGE_LIMIT,
    MAX_LIST_LIMIT,
    MAX_MESSAGE_LIMIT,
    text_result,
)
from hapi.protocol.media_type import sniff
from hapi.session.agent.pictures import DecodedPicture, Pictures
from hapi.session.mcp.peers import PeerProblem, PeerSessions
from hapi.units import format_size
from hapi.uploads import file_name

MAX_TITLE_LENGTH = 200  # characters
READ_TIMEOUT = 20.0  # seconds for a file; a network file system may hang
KINDS = {"display_image": "image", "display_video": "video"}  # tool -> what the file must be


class ToolFailed(Exception):
    """A call that cannot be done; the text is for the model that made it."""


@define(eq=False, repr=False)
class AgentTools:
    """The tools of one session.

    `change_title` sets its title, and returns whether it is seen; `in_thread` runs a blocking call;
    `directory` is where relative paths begin; files below `private` are not shown.
    """

    _reactor: Any
    _directory: Path
    _pictures: Pictures
    _change_title: Callable[[str], bool]
    _in_thread: Callable[..., Deferred[Any]]
    _peers: PeerSessions
    _before_display: Callable[[], object] = field(default=lambda: None)
    _private: Path | None = None
    log = Logger()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The result of the tool `name`, one of `hapi.protocol.mcp.TOOLS`, in MCP's shape."""
        try:
            return text_result(await self._run(name, arguments))
        except (ToolFailed, PeerProblem) as failure:
            return text_result(str(failure), is_error=True)
        except HubRefused as refusal:
            return text_result(f"The hub refused: {refusal}", is_error=True)
        except HubUnreachable as problem:
            return text_result(f"The hub cannot be reached: {problem}", is_error=True)

    async def _run(self, name: str, arguments: Mapping[str, Any]) -> str:
        match name:
            case "change_title":
                title = " ".join(_text(arguments, "title").split())
                if not title:
                    raise ToolFailed("The title is empty")
                title = title[:MAX_TITLE_LENGTH]
                if not self._change_title(title):
                    return "The title is set, but the person sees the name they gave the session"
                return f"The title of the session is now: {title}"
            case "list_peers":
                limit = _number(arguments, "limit", DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT)
                return await self._peers.list_lines(limit)
            case "inspect_peer":
                limit = _number(arguments, "messageLimit", DEFAULT_MESSAGE_LIMIT, MAX_MESSAGE_LIMIT)
                return await self._peers.inspect(_text(arguments, "sessionIdPrefix"), limit)
            case "ping_peer":
                prefix = _text(arguments, "sessionIdPrefix")
                return await self._peers.ping(prefix, _text(arguments, "message"))
        return await self._display(name, arguments)

    async def _display(self, tool: str, arguments: Mapping[str, Any]) -> str:
        try:
            path = self._directory / Path(_text(arguments, "path")).expanduser()
        except RuntimeError as error:  # there is no user of that name
            raise ToolFailed(str(error)) from error
        reading = self._in_thread(read_file, path, self._directory, self._private)
        try:
            content = await reading.addTimeout(READ_TIMEOUT, self._reactor)
        except (TimeoutError, CancelledError):
            raise ToolFailed(f"{path} could not be read within {READ_TIMEOUT:g} s") from None
        except OSError as error:
            raise ToolFailed(f"{path} cannot be read: {error.strerror or error}") from error
        media_type = sniff(content)
        wanted = KINDS.get(tool)
        if wanted is not None and media_type.partition("/")[0] != wanted:
            raise ToolFailed(
                f"{path} is not {'an image' if wanted == 'image' else 'a video'} of a type that "
                "can be shown; display_media lets the person save any file"
            )
        title = arguments.get("title")
        name = path.name
        if isinstance(title, str) and title.strip():
            name = title.strip()[:MAX_TITLE_LENGTH]
        self._before_display()
        picture = DecodedPicture(content, media_type, name if title else file_name(name))
        self._pictures.publish(picture, {"ingress": "mcp", "toolName": tool})
        return f"{path} is shown in the conversation"


# What the system tells of processes and devices as files; the environment of the session is there.
SYSTEM_DIRECTORIES = (Path("/proc"), Path("/sys"), Path("/dev"))


def read_file(path: Path, directory: Path, private: Path | None = None) -> bytes:
    """The content of a regular file. Raises ToolFailed and OSError.

    A device, a pipe or a socket is not read, nor a file below SYSTEM_DIRECTORIES or below `private`
    and not in `directory`, whatever the path names by the time it is opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ToolFailed(f"{path} is not a regular file")
        place = Path(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        hidden = SYSTEM_DIRECTORIES if private is None else (*SYSTEM_DIRECTORIES, private)
        is_own = place.is_relative_to(directory.resolve())
        if not is_own and any(place.is_relative_to(each) for each in hidden):
            raise ToolFailed(f"{path} cannot be shown: {place.parent} is private")
        content = file.read(MAX_PICTURE_SIZE + 1) or b""  # None: it would block
    if len(content) > MAX_PICTURE_SIZE:
        raise ToolFailed(f"{path} is larger than {format_size(MAX_PICTURE_SIZE)}B")
    if not content:
        raise ToolFailed(f"{path} is empty")
    return content


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ToolFailed(f"{name} is required and must be a text")
    return value


def _number(arguments: Mapping[str, Any], name: str, default: int, maximum: int) -> int:
    value = arguments.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= maximum:
        raise ToolFailed(f"{name} must be a number from 1 to {maximum}")
    return int(value)
