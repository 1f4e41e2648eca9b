"""`cursor-chat-store-status`: whether Cursor still has the chat that a session is to be resumed from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")


def chat_store_status(environ: Mapping[str, str], params: object) -> dict[str, Any]:
    """Which of Cursor's two stores holds the chat: `acp`, `legacy` (one directory per workspace), or None."""
    given = params if isinstance(params, Mapping) else {}
    chat, workspace = given.get("cursorSessionId"), given.get("workspacePath")
    if not isinstance(chat, str) or _ID.fullmatch(chat) is None or not isinstance(workspace, str):
        return {"onDisk": False, "store": None}
    home = given.get("homeDir")
    base = os.path.join(home if isinstance(home, str) and os.path.isabs(home) else os.path.expanduser("~"), ".cursor")
    digest = hashlib.md5(workspace.encode(errors="replace"), usedforsecurity=False).hexdigest()
    for store, path in (("acp", ("acp-sessions", chat)), ("legacy", ("chats", digest, chat))):
        if os.path.exists(os.path.join(base, *path, "store.db")):
            return {"onDisk": True, "store": store}
    return {"onDisk": False, "store": None}
