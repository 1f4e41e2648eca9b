"""`cursor-chat-store-status`: whether Cursor still has the chat from which a session is to resume.

Cursor keeps chats as `~/.cursor/acp-sessions/<chat>/store.db` or
`~/.cursor/chats/<md5 of the workspace>/<chat>/store.db`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from hapi.runner.workspace.roots import WorkspaceRoots

MAX_WORKSPACES = 10_000
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")


def chat_store_status(roots: WorkspaceRoots, params: object) -> dict[str, Any]:
    """Which of Cursor's two stores holds the chat: `acp`, `legacy`, or None.

    A home directory that the hub names is used only if it is the user's own or lies inside the
    workspace roots.
    """
    given = params if isinstance(params, Mapping) else {}
    chat, workspace = given.get("cursorSessionId"), given.get("workspacePath")
    if not isinstance(chat, str) or _ID.fullmatch(chat) is None or not isinstance(workspace, str):
        return {"onDisk": False, "store": None}
    home, own = given.get("homeDir"), os.path.expanduser("~")
    is_allowed = (
        isinstance(home, str)
        and os.path.isabs(home)
        and (os.path.normpath(home) == own or roots.contains(home))
    )
    base = os.path.join(str(home) if is_allowed else own, ".cursor")
    if os.path.exists(os.path.join(base, "acp-sessions", chat, "store.db")):
        return {"onDisk": True, "store": "acp"}
    chats = os.path.join(base, "chats")
    digest = hashlib.md5(workspace.encode(errors="replace"), usedforsecurity=False).hexdigest()
    for place in (digest, *_workspace_directories(chats)):
        if os.path.exists(os.path.join(chats, place, chat, "store.db")):
            return {"onDisk": True, "store": "legacy"}
    return {"onDisk": False, "store": None}


def _workspace_directories(chats: str) -> list[str]:
    """The directories of all workspaces: a chat is found even if its workspace was moved."""
    try:
        return os.listdir(chats)[:MAX_WORKSPACES]
    except OSError:
        return []
