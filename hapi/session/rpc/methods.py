"""The RPC methods of a session: the table by which the hub and the page reach its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory
from hapi.net.common.rpc import RpcTable
from hapi.protocol import rpc_methods as names
from hapi.protocol.agents import Agent
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.permissions import Permissions
from hapi.session.agent.pictures import Pictures
from hapi.session.agent.turns import Turns
from hapi.session.rpc.content_search import ContentSearch
from hapi.session.rpc.file_search import FileSearch
from hapi.session.rpc.files import Files
from hapi.session.rpc.git import GitMethods
from hapi.session.rpc.git_actions import GitActions
from hapi.session.rpc.git_history import GitHistory


class SessionParts(Protocol):
    """The parts of a session that its methods use."""

    settings: SessionSettings
    permissions: Permissions
    turns: Turns
    pictures: Pictures

    @property
    def agent(self) -> Agent: ...
    async def answer_request(self, params: Any, /) -> dict[str, str] | None: ...
    def kill(self, params: Any = None, /) -> dict[str, Any]: ...
    def hand_off(self, params: Any = None, /) -> dict[str, Any]: ...
    def abort(self, params: Any = None, /) -> None: ...
    def switch(self, params: Any = None, /) -> None: ...
    async def models(self, params: Any = None, /) -> dict[str, Any]: ...
    async def efforts(self, params: Any = None, /) -> dict[str, Any]: ...


def register_file_methods(
    rpc: RpcTable,
    reactor: Any,
    directory: ConfinedDirectory,
    files: Files,
    environ: Mapping[str, str],
    git_actions: bool = False,
) -> None:
    """Register the methods for files, git and search, confined to the session's directory.

    `git_actions`: whether people may change the repository.
    """
    git, search = GitMethods(reactor, directory, environ), FileSearch(reactor, directory, environ)
    history = GitHistory(git)
    actions = GitActions(reactor, directory, environ, git, git_actions)
    _register(
        rpc,
        {
            names.READ_FILE: _in_a_thread(files.read),
            names.LIST_DIRECTORY: _in_a_thread(files.list_directory),
            names.STAT_FILES: _in_a_thread(files.stat),
            names.UPLOAD_FILE: _in_a_thread(files.upload),
            names.DELETE_UPLOAD: _in_a_thread(files.delete_upload),
            names.RIPGREP: search.ripgrep,
            names.SEARCH_CONTENT: ContentSearch(directory).search,
            names.GIT_STATUS: git.status,
            names.GIT_DIFF_NUMSTAT: git.numstat,
            names.GIT_DIFF_FILE: git.diff_file,
            names.GIT_LOG: history.log,
            names.GIT_COMMIT_FILES: history.files,
            names.GIT_COMMIT_DIFF: history.diff,
            names.GIT_ACTIONS: actions.info,
            names.GIT_STAGE: actions.stage,
            names.GIT_DISCARD: actions.discard,
            names.GIT_COMMIT: actions.commit,
            names.GIT_PUSH: actions.push,
        },
    )


def _in_a_thread(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`method` without delaying the session: a disk may be slow, and a file large."""

    def start(params: Any) -> Any:
        return deferToThread(method, params)

    return start


def register_session_methods(rpc: RpcTable, session: SessionParts) -> None:
    """Register the methods of the agent's session."""

    def slash_commands(_: Any) -> Any:
        listed = [
            {
                "name": name,
                **({"description": description} if description else {}),
                "source": "user",
            }
            for name, description in session.turns.commands
        ]
        return {"success": True, "commands": listed}

    _register(
        rpc,
        {
            names.KILL_SESSION: session.kill,
            names.HANDOFF_LOCAL: session.hand_off,
            names.ABORT: session.abort,
            names.PERMISSION: session.answer_request,
            names.LIST_PERMISSION_RULES: session.permissions.rules.list,
            names.REMOVE_PERMISSION_RULE: session.permissions.rules.remove,
            names.SET_SESSION_CONFIG: session.settings.configure,
            names.SWITCH: session.switch,
            names.READ_GENERATED_IMAGE: session.pictures.read,
            names.LIST_SLASH_COMMANDS: slash_commands,
            names.LIST_SKILLS: lambda _: {"success": True, "skills": []},
        },
    )
    agent = session.agent
    if agent.lists_models:
        rpc.add(agent.model_list_method, session.models)
    if agent.lists_efforts:
        rpc.add(agent.effort_list_method, session.efforts)


def _register(rpc: RpcTable, methods: Mapping[str, Callable[[Any], Any]]) -> None:
    for name, handler in methods.items():
        rpc.add(name, handler)
