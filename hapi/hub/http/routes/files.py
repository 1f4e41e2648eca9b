"""REST for people: files, git, models and commands of a session, answered by its process."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define, field
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import (
    Conflict,
    InvalidQuery,
    InvalidRequest,
    NoPlace,
    RpcError,
    TooLarge,
)
from hapi.hub.domain.rpc import RPC_TIMEOUT, SLOW_RPC_TIMEOUT, error_text
from hapi.hub.http.openapi.operation import Flag, Integer, Parameter, operation
from hapi.hub.http.pictures import PictureReads, read_picture
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import MAX_UPLOAD_SIZE, RequestContext, Routes, api, limited
from hapi.protocol import rpc_methods
from hapi.protocol.rest.bodies import DeleteUpload, Upload
from hapi.protocol.rest.files import FilesReply, RpcReply
from hapi.protocol.work.files import MAX_QUERY

MAX_FILE_SIZE = 50 << 20  # bytes of an uploaded file
DEFAULT_FILES, MAX_FILES = 200, 500  # in one list
STAGED = Flag("staged", "The changes that are staged.")
PATH = Parameter("path", "The path of the file, from the directory of the session.", True)
DIRECTORY = Parameter("path", "The path of the directory, from that of the session.")
SEARCHED = Parameter("query", "What the names contain.")
FILES_LIMIT = Integer("limit", f"{DEFAULT_FILES} if missing.", lowest=1, highest=MAX_FILES)
SEARCHED_TEXT = Parameter("query", "The text to find, whatever the case of its letters.", True)
_MODEL_PATHS = ",".join(f'"{path}"' for path in rpc_methods.SESSION_MODELS)


async def forward_rpc(
    context: RequestContext,
    session: HubSession,
    method: str,
    params: Any,
    timeout: float = RPC_TIMEOUT,
) -> dict[str, Any]:
    """The answer of the session process; a failed call is returned as an answer as well."""
    try:
        answer = await context.registry.call_session(session, method, params, timeout)
    except RpcError as error:
        return {"success": False, "error": str(error)}
    if not isinstance(answer, dict):
        return {"success": False, "error": "Unexpected answer of the session"}
    problem = error_text(answer)
    if problem is not None and "success" not in answer:
        return {"success": False, "error": problem}
    return answer


def _directory(session: HubSession) -> str:
    return str(session.public_metadata.get("path") or "")


def _file_path(context: RequestContext) -> str:
    path = context.query.get(PATH.name)
    if not path:
        raise InvalidRequest("Invalid file path")
    return path


@define(eq=False, repr=False)
class FileRoutes(Routes):
    app: ClassVar[Klein] = Klein()
    _picture_reads: PictureReads = field(factory=PictureReads)

    @app.route("/api/sessions/<session_id>/git-status", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply)
    async def git_status(self, context: RequestContext, session_id: str) -> Any:
        """Show the changed files, as `git status` does."""
        session = context.session(session_id)
        params = {"cwd": _directory(session)}
        return await forward_rpc(context, session, rpc_methods.GIT_STATUS, params)

    @app.route("/api/sessions/<session_id>/git-diff-numstat", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(STAGED,))
    async def git_diff_numstat(self, context: RequestContext, session_id: str) -> Any:
        """Show the numbers of changed lines, as `git diff --numstat` does."""
        session = context.session(session_id)
        params = {"cwd": _directory(session), "staged": STAGED.read(context.query)}
        return await forward_rpc(context, session, rpc_methods.GIT_DIFF_NUMSTAT, params)

    @app.route("/api/sessions/<session_id>/git-diff-file", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(PATH, STAGED), errors=(InvalidRequest,))
    async def git_diff_file(self, context: RequestContext, session_id: str) -> Any:
        """Show the changes of a file, as `git diff` does."""
        session = context.session(session_id)
        params = {
            "cwd": _directory(session),
            "filePath": _file_path(context),
            "staged": STAGED.read(context.query),
        }
        return await forward_rpc(context, session, rpc_methods.GIT_DIFF_FILE, params)

    @app.route("/api/sessions/<session_id>/file", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(PATH,), errors=(InvalidRequest,))
    async def read_file(self, context: RequestContext, session_id: str) -> Any:
        """Read a file."""
        session = context.session(session_id)
        params = {"path": _file_path(context)}
        return await forward_rpc(context, session, rpc_methods.READ_FILE, params)

    @app.route("/api/sessions/<session_id>/directory", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, query=(DIRECTORY,))
    async def list_directory(self, context: RequestContext, session_id: str) -> Any:
        """List a directory."""
        session = context.session(session_id)
        params = {"path": context.query.get(DIRECTORY.name, "")}
        return await forward_rpc(context, session, rpc_methods.LIST_DIRECTORY, params)

    @app.route("/api/sessions/<session_id>/files", methods=["GET"])
    @api
    @limited(Cost.SEARCH)
    @operation(FilesReply, query=(SEARCHED, FILES_LIMIT), errors=(InvalidRequest,))
    async def find_files(self, context: RequestContext, session_id: str) -> Any:
        """Find files by their names."""
        session = context.session(session_id)
        try:
            limit = FILES_LIMIT.read(context.query) or DEFAULT_FILES
        except InvalidQuery:
            raise InvalidRequest("Invalid query") from None
        query = context.query.get(SEARCHED.name, "").strip()
        params = {
            "args": ["--files"],
            "cwd": _directory(session),
            "fileSearch": {"query": query, "limit": limit},
        }
        answer = await forward_rpc(context, session, rpc_methods.RIPGREP, params)
        if answer.get("success") is not True:
            return {"success": False, "error": answer.get("error") or "Failed to list files"}
        output = answer.get("stdout")
        paths = [line for line in (output if isinstance(output, str) else "").splitlines() if line]
        found = [path for path in paths if query.lower() in path.lower()][:limit]
        return {"success": True, "files": [_file_entry(path) for path in found]}

    @app.route("/api/sessions/<session_id>/search-content", methods=["GET"])
    @api
    @limited(Cost.SEARCH)
    @operation(RpcReply, query=(SEARCHED_TEXT,), errors=(InvalidRequest,))
    async def search_content(self, context: RequestContext, session_id: str) -> Any:
        """Find lines of files by their text."""
        session = context.session(session_id)
        query = context.query.get(SEARCHED_TEXT.name, "").strip()
        if not query or len(query) > MAX_QUERY:
            raise InvalidRequest("Invalid query")
        params = {"query": query}
        return await forward_rpc(context, session, rpc_methods.SEARCH_CONTENT, params)

    @app.route("/api/sessions/<session_id>/slash-commands", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply)
    async def list_slash_commands(self, context: RequestContext, session_id: str) -> Any:
        """List the slash commands of the agent."""
        session = context.session(session_id)
        params = {"agent": session.flavor}
        return await forward_rpc(context, session, rpc_methods.LIST_SLASH_COMMANDS, params)

    @app.route("/api/sessions/<session_id>/skills", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply)
    async def list_skills(self, context: RequestContext, session_id: str) -> Any:
        """List the skills of the agent."""
        session = context.session(session_id)
        params = {"flavor": session.flavor}
        return await forward_rpc(context, session, rpc_methods.LIST_SKILLS, params)

    @app.route("/api/sessions/<session_id>/upload", methods=["POST"])
    @api
    @limited(Cost.UPLOAD)
    @operation(RpcReply, body=Upload, errors=(Conflict, TooLarge))
    async def upload(self, context: RequestContext, session_id: str) -> Any:
        """Upload a file for the agent."""
        session = await context.active_session(session_id)
        body = context.body(Upload, limit=MAX_UPLOAD_SIZE)
        if len(body.content) * 3 // 4 > MAX_FILE_SIZE:
            raise TooLarge("File is larger than 50 MB")
        params = {
            "sessionId": session.id,
            "filename": body.filename,
            "content": body.content,
            "mimeType": body.mime_type,
        }
        method = rpc_methods.UPLOAD_FILE
        return await forward_rpc(context, session, method, params, SLOW_RPC_TIMEOUT)

    @app.route("/api/sessions/<session_id>/upload/delete", methods=["POST"])
    @api
    @operation(RpcReply, body=DeleteUpload, errors=(Conflict,))
    async def delete_upload(self, context: RequestContext, session_id: str) -> Any:
        """Delete an uploaded file."""
        session = await context.active_session(session_id)
        params = {"sessionId": session.id, "path": context.body(DeleteUpload).path}
        return await forward_rpc(context, session, rpc_methods.DELETE_UPLOAD, params)

    @app.route("/api/sessions/<session_id>/generated-images/<image_id>", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(None, media_type="*/*", replies={304: None}, errors=(NoPlace,))
    async def read_generated_image(
        self, context: RequestContext, session_id: str, image_id: str
    ) -> Response:
        """Read a picture of the conversation."""
        session = context.session(session_id)
        return await read_picture(context, session, image_id, self._picture_reads)

    @app.route(f"/api/sessions/<session_id>/<any({_MODEL_PATHS}):path>", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply)
    async def list_models(self, context: RequestContext, session_id: str, path: str) -> Any:
        """List the models of the agent, or its reasoning efforts."""
        session = context.session(session_id)
        method = rpc_methods.SESSION_MODELS[path]
        return await forward_rpc(context, session, method, {}, SLOW_RPC_TIMEOUT)


def _file_entry(path: str) -> dict[str, Any]:
    folder, _, name = path.rpartition("/")
    return {"fileName": name, "filePath": folder, "fullPath": path, "fileType": "file"}
