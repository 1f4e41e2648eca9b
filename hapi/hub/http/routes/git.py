"""REST for people: the git history of a session's directory and changes of its repository, answered
by its process."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein
from msgspec import to_builtins

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.errors import AccessDenied, Conflict, InvalidRequest
from hapi.hub.domain.rpc import SLOW_RPC_TIMEOUT
from hapi.hub.http.openapi.operation import Integer, Parameter, operation
from hapi.hub.http.routes.files import PATH, forward_rpc
from hapi.hub.http.routing import RequestContext, Routes, api, limited
from hapi.protocol import rpc_methods
from hapi.protocol.rest.files import RpcReply
from hapi.protocol.work.git import (
    MAX_COMMITS,
    CommitChanges,
    DiscardChanges,
    Nothing,
    StageChanges,
)

COMMITS_LIMIT = Integer("limit", "50 if missing.", lowest=1, highest=MAX_COMMITS)
SKIPPED = Integer("skip", "How many commits to leave out.")
FILE = Parameter("path", "Only commits that changed this file.")
COMMIT = Parameter("commit", "The id of the commit, or its beginning.", True)
ORIGIN = Parameter("from", "The path of the file before the commit, if it was renamed.")

OFF = "Git actions are turned off at this hub. Start it with --git-actions yes to allow them."


@define(eq=False, repr=False)
class GitRoutes(Routes):
    """`allows_actions`: whether people may change repositories through this hub."""

    app: ClassVar[Klein] = Klein()
    _allows_actions: bool = False

    @app.route("/api/sessions/<session_id>/git-log", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(COMMITS_LIMIT, SKIPPED, FILE), errors=(InvalidRequest,))
    async def git_log(self, context: RequestContext, session_id: str) -> Any:
        """List the commits of the branch, the latest first."""
        session = context.session(session_id)
        params = {
            "limit": COMMITS_LIMIT.read(context.query) or 50,
            "skip": SKIPPED.read(context.query) or 0,
            "path": context.query.get(FILE.name) or None,
        }
        return await forward_rpc(context, session, rpc_methods.GIT_LOG, params)

    @app.route("/api/sessions/<session_id>/git-commit-files", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(COMMIT,), errors=(InvalidRequest,))
    async def git_commit_files(self, context: RequestContext, session_id: str) -> Any:
        """Show the message of a commit and the files that it changed."""
        session = context.session(session_id)
        params = {"commit": _required(context, COMMIT)}
        return await forward_rpc(context, session, rpc_methods.GIT_COMMIT_FILES, params)

    @app.route("/api/sessions/<session_id>/git-commit-diff", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(COMMIT, PATH, ORIGIN), errors=(InvalidRequest,))
    async def git_commit_diff(self, context: RequestContext, session_id: str) -> Any:
        """Show what a commit changed in a file."""
        session = context.session(session_id)
        params = {
            "commit": _required(context, COMMIT),
            "path": _required(context, PATH),
            "from": context.query.get(ORIGIN.name) or None,
        }
        return await forward_rpc(context, session, rpc_methods.GIT_COMMIT_DIFF, params)

    @app.route("/api/sessions/<session_id>/git-actions", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply)
    async def git_actions(self, context: RequestContext, session_id: str) -> Any:
        """Tell whether the repository can be changed, and where a push would go."""
        session = context.session(session_id)
        if not self._allows_actions:
            return {"success": True, "enabled": False, "reason": OFF}
        return await forward_rpc(context, session, rpc_methods.GIT_ACTIONS, {})

    @app.route("/api/sessions/<session_id>/git-stage", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, body=StageChanges, errors=(AccessDenied, Conflict))
    async def git_stage(self, context: RequestContext, session_id: str) -> Any:
        """Stage changes, or take them back out of the index."""
        return await self._act(context, session_id, rpc_methods.GIT_STAGE, StageChanges)

    @app.route("/api/sessions/<session_id>/git-discard", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, body=DiscardChanges, errors=(AccessDenied, Conflict))
    async def git_discard(self, context: RequestContext, session_id: str) -> Any:
        """Discard changes; untracked files are deleted."""
        return await self._act(context, session_id, rpc_methods.GIT_DISCARD, DiscardChanges)

    @app.route("/api/sessions/<session_id>/git-commit", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, body=CommitChanges, errors=(AccessDenied, Conflict))
    async def git_commit(self, context: RequestContext, session_id: str) -> Any:
        """Commit what is staged."""
        return await self._act(context, session_id, rpc_methods.GIT_COMMIT, CommitChanges)

    @app.route("/api/sessions/<session_id>/git-push", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, body=Nothing, errors=(AccessDenied, Conflict))
    async def git_push(self, context: RequestContext, session_id: str) -> Any:
        """Push the branch to its remote repository."""
        return await self._act(context, session_id, rpc_methods.GIT_PUSH, Nothing)

    async def _act(
        self, context: RequestContext, session_id: str, method: str, kind: type[Any]
    ) -> dict[str, Any]:
        session = await context.active_session(session_id)
        params = to_builtins(context.body(kind))
        if not self._allows_actions:
            raise AccessDenied(OFF, "git_actions_off")
        return await forward_rpc(context, session, method, params, SLOW_RPC_TIMEOUT)


def _required(context: RequestContext, parameter: Parameter) -> str:
    value = context.query.get(parameter.name)
    if not value:
        raise InvalidRequest(f"Invalid {parameter.name}")
    return value
