"""What a session offers to the hub: the table of its RPC methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hapi.net.common.rpc import RpcTable
from hapi.session.rpc.file_search import FileSearch
from hapi.session.rpc.files import Files
from hapi.session.rpc.git import GitMethods
from hapi.session.rpc.paths import AllowedPaths

if TYPE_CHECKING:
    from hapi.session.session import Session


def register_file_methods(
    rpc: RpcTable, reactor: Any, paths: AllowedPaths, files: Files, environ: Mapping[str, str]
) -> None:
    """Files, git and search, confined to the session's directory."""
    git, search = GitMethods(reactor, paths, environ), FileSearch(reactor, paths, environ)
    methods: Mapping[str, Callable[[Any], Any]] = {
        "readFile": files.read,
        "listDirectory": files.list_directory,
        "statFiles": files.stat,
        "uploadFile": files.upload,
        "deleteUpload": files.delete_upload,
        "ripgrep": search.ripgrep,
        "git-status": git.status,
        "git-diff-numstat": git.numstat,
        "git-diff-file": git.diff_file,
    }
    for name, handler in methods.items():
        rpc.add(name, handler)


def register_session_methods(rpc: RpcTable, session: Session) -> None:
    """The agent's methods."""

    def abort(_: Any) -> None:
        session.turns.abort()

    def commands(_: Any) -> Any:
        listed = [
            {
                "name": name,
                **({"description": description} if description else {}),
                "source": "user",
            }
            for name, description in session.turns.commands
        ]
        return {"success": True, "commands": listed}

    def switch(_: Any) -> None:
        """A session of ours is always open to the page, and to its terminal if it has one."""

    methods: Mapping[str, Callable[[Any], Any]] = {
        "killSession": session.kill,
        "abort": abort,
        "permission": session.permissions.answer,
        "set-session-config": session.settings.configure,
        "switch": switch,
        "listSlashCommands": commands,
        "listSkills": lambda _: {"success": True, "skills": []},
    }
    for name, handler in methods.items():
        rpc.add(name, handler)
    if session.agent.lists_models:
        rpc.add(session.agent.model_list_method, session.models)
