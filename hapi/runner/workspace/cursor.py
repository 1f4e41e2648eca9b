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

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
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
    is_own = not is_allowed or os.path.normpath(str(home)) == own
    place = _everywhere() if is_own else roots.confined
    base = os.path.join(own if is_own else str(home), ".cursor")
    if _exists(place, os.path.join(base, "acp-sessions", chat, "store.db")):
        return {"onDisk": True, "store": "acp"}
    chats = os.path.join(base, "chats")
    digest = hashlib.md5(workspace.encode(errors="replace"), usedforsecurity=False).hexdigest()
    for workspace_name in (digest, *_workspace_directories(place, chats)):
        if _exists(place, os.path.join(chats, workspace_name, chat, "store.db")):
            return {"onDisk": True, "store": "legacy"}
    return {"onDisk": False, "store": None}


def _everywhere() -> ConfinedDirectory:
    return WorkspaceRoots().confined


def _exists(place: ConfinedDirectory, path: str) -> bool:
    try:
        place.stat(path)
    except (OSError, PathNotAllowed):
        return False
    return True


def _workspace_directories(place: ConfinedDirectory, chats: str) -> list[str]:
    """The directories of all workspaces: a chat is found even if its workspace was moved."""
    try:
        descriptor = place.open(chats, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, PathNotAllowed):
        return []
    try:
        return os.listdir(descriptor)[:MAX_WORKSPACES]
    finally:
        os.close(descriptor)
