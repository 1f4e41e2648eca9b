"""The tools of our MCP server, their results, and how it introduces itself.

Names and arguments of the tools are those of npm's session.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

Json = dict[str, Any]
SERVER_NAME = "hapi"  # agents make the names of tools of it: mcp__hapi__change_title
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # for tools they are the same
DEFAULT_VERSION = "2025-06-18"
DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT = 30, 100  # sessions
DEFAULT_MESSAGE_LIMIT, MAX_MESSAGE_LIMIT = 30, 200  # messages
INSTRUCTIONS = (
    "HAPI shows this conversation to a person on a web page. Call change_title once it is clear "
    "what the conversation is about, and again when that changes; keep titles short. Call "
    "display_image, display_video or display_media to show the person a file that words cannot "
    "replace, such as a screenshot or a chart. list_peers, inspect_peer and ping_peer are for the "
    "person's other sessions; use them only when you are asked to."
)


@frozen
class Tool:
    """A tool of the server. `reads_only`: a call changes nothing."""

    name: str
    title: str
    description: str
    properties: Json
    required: tuple[str, ...]
    reads_only: bool

    def offer(self) -> Json:
        """The tool as `tools/list` names it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": self.properties,
                "required": list(self.required),
            },
            "annotations": {
                "readOnlyHint": self.reads_only,
                "destructiveHint": False,
                "openWorldHint": False,
            },
        }


def _display(kind: str, title: str, description: str) -> Tool:
    return Tool(
        f"display_{kind}",
        title,
        description,
        {
            "path": {
                "type": "string",
                "description": "The file: an absolute path, or one in the session's directory",
            },
            "title": {"type": "string", "description": "A name to show with it"},
        },
        ("path",),
        reads_only=True,
    )


_PREFIX = {
    "type": "string",
    "description": "The id of a session, or the beginning of it",
}
TOOLS = (
    Tool(
        "change_title",
        "Set the session's title",
        "Set the title under which the person sees this conversation in the list of sessions.",
        {"title": {"type": "string", "description": "The title, a few words"}},
        ("title",),
        reads_only=False,
    ),
    _display(
        "image",
        "Show an image",
        "Show an image file (PNG, JPEG, WebP, ...) in the conversation.",
    ),
    _display("video", "Show a video", "Show a video file (MP4, WebM) in the conversation."),
    _display(
        "media",
        "Show a file",
        "Show a file in the conversation: images are drawn, sound and video can be played, all "
        "other files can be saved by the person.",
    ),
    Tool(
        "list_peers",
        "List the person's sessions",
        "List the person's other sessions: id, whether they are active, agent and title.",
        {"limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIST_LIMIT}},
        (),
        reads_only=True,
    ),
    Tool(
        "inspect_peer",
        "Read another session",
        "Read what another session is about and its latest messages.",
        {
            "sessionIdPrefix": _PREFIX,
            "messageLimit": {"type": "integer", "minimum": 1, "maximum": MAX_MESSAGE_LIMIT},
        },
        ("sessionIdPrefix",),
        reads_only=True,
    ),
    Tool(
        "ping_peer",
        "Message another session",
        "Send a message to another session, as if the person had written it there. A session that "
        "has ended is resumed first. Its answer does not come back here; use inspect_peer later.",
        {"sessionIdPrefix": _PREFIX, "message": {"type": "string"}},
        ("sessionIdPrefix", "message"),
        reads_only=False,
    ),
)

# Tools that nobody needs to be asked about: they change nothing but what the person sees.
_HARMLESS = "change_title|display_image|display_video|display_media|list_peers"
# How agents name a tool of a server: Claude and Qwen Code, OpenCode, Codex, Gemini.
_HARMLESS_NAMES = re.compile(
    rf"(?:mcp__hapi__|hapi_|(?:mcp\.)?hapi[./])(?:{_HARMLESS})|(?:{_HARMLESS}) \(hapi MCP Server\)"
)


def is_harmless_tool(title: str) -> bool:
    """Whether an agent's title of a tool call names a tool of ours that only shows something."""
    return _HARMLESS_NAMES.fullmatch(title) is not None


def initialize_result(params: Any, version: str) -> Json:
    """The answer to `initialize`. `version`: of this program."""
    asked = params.get("protocolVersion") if isinstance(params, dict) else None
    return {
        "protocolVersion": asked if asked in VERSIONS else DEFAULT_VERSION,
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": SERVER_NAME, "title": "HAPI", "version": version},
        "instructions": INSTRUCTIONS,
    }


def text_result(text: str, is_error: bool = False) -> Json:
    """The result of a tool call. An error is for the model to read."""
    return {"content": [{"type": "text", "text": text}], "isError": is_error}
