"""REST for people: the git history of a session's directory, answered by its process."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.domain.errors import InvalidRequest
from hapi.hub.domain.rate_limits import Cost
from hapi.hub.http.openapi.operation import Integer, Parameter, operation
from hapi.hub.http.routes.files import PATH, forward_rpc
from hapi.hub.http.routing import RequestContext, Routes, api, limited
from hapi.protocol import rpc_methods
from hapi.protocol.rest import replies
from hapi.protocol.work.git import MAX_COMMITS

COMMITS_LIMIT = Integer("limit", "50 if missing.", lowest=1, highest=MAX_COMMITS, is_clamped=True)
SKIPPED = Integer("skip", "How many commits to leave out.", is_clamped=True)
FILE = Parameter("path", "Only commits that changed this file.")
COMMIT = Parameter("commit", "The id of the commit, or its beginning.", True)
ORIGIN = Parameter("from", "The path of the file before the commit, if it was renamed.")


@define(eq=False)
class GitRoutes(Routes):
    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions/<session_id>/git-log", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(replies.RpcReply, query=(COMMITS_LIMIT, SKIPPED, FILE), errors=(InvalidRequest,))
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
    @operation(replies.RpcReply, query=(COMMIT,), errors=(InvalidRequest,))
    async def git_commit_files(self, context: RequestContext, session_id: str) -> Any:
        """Show the message of a commit and the files that it changed."""
        session = context.session(session_id)
        params = {"commit": _required(context, COMMIT)}
        return await forward_rpc(context, session, rpc_methods.GIT_COMMIT_FILES, params)

    @app.route("/api/sessions/<session_id>/git-commit-diff", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(replies.RpcReply, query=(COMMIT, PATH, ORIGIN), errors=(InvalidRequest,))
    async def git_commit_diff(self, context: RequestContext, session_id: str) -> Any:
        """Show what a commit changed in a file."""
        session = context.session(session_id)
        params = {
            "commit": _required(context, COMMIT),
            "path": _required(context, PATH),
            "from": context.query.get(ORIGIN.name) or None,
        }
        return await forward_rpc(context, session, rpc_methods.GIT_COMMIT_DIFF, params)


def _required(context: RequestContext, parameter: Parameter) -> str:
    value = context.query.get(parameter.name)
    if not value:
        raise InvalidRequest(f"Invalid {parameter.name}")
    return value
