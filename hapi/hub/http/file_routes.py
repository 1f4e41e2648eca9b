"""REST for people: files, git and composer helpers of a session, answered by its process."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.rpc import SLOW_RPC_TIMEOUT, CallFailed, TargetMissing, error_text
from hapi.hub.http.paging import InvalidQuery, read_integer
from hapi.hub.http.routing import MAX_UPLOAD_BODY, RequestContext, Response, Routes
from hapi.protocol.hub import DeleteUpload, Upload

route = Routes()
MAX_UPLOAD = 50 << 20  # bytes of a file


async def forward_rpc(
    context: RequestContext, session: Session, method: str, params: Any, timeout: float = 30.0
) -> dict[str, Any]:
    """What the session process answers; a failure is an answer too."""
    try:
        answer = await context.registry.rpc.call(session.id, method, params, timeout)
    except (TargetMissing, CallFailed) as error:
        return {"success": False, "error": str(error)}
    if not isinstance(answer, dict):
        return {"success": False, "error": "Unexpected answer of the session"}
    problem = error_text(answer)
    return (
        {"success": False, "error": problem}
        if problem is not None and "success" not in answer
        else answer
    )


def _directory(session: Session) -> str:
    return str(session.public_metadata.get("path") or "")


@route("GET", "/api/sessions/<session_id>/git-status")
async def git_status(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    return await forward_rpc(context, session, "git-status", {"cwd": _directory(session)})


@route("GET", "/api/sessions/<session_id>/git-diff-numstat")
async def git_diff_numstat(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    staged = context.query.get("staged") in ("true", "1")
    return await forward_rpc(
        context, session, "git-diff-numstat", {"cwd": _directory(session), "staged": staged}
    )


@route("GET", "/api/sessions/<session_id>/git-diff-file")
async def git_diff_file(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    path = context.query.get("path")
    if not path:
        raise Refusal(400, "Invalid file path")
    staged = context.query.get("staged") in ("true", "1")
    params = {"cwd": _directory(session), "filePath": path, "staged": staged}
    return await forward_rpc(context, session, "git-diff-file", params)


@route("GET", "/api/sessions/<session_id>/file")
async def read_file(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    path = context.query.get("path")
    if not path:
        raise Refusal(400, "Invalid file path")
    return await forward_rpc(context, session, "readFile", {"path": path})


@route("GET", "/api/sessions/<session_id>/directory")
async def list_directory(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    return await forward_rpc(
        context, session, "listDirectory", {"path": context.query.get("path", "")}
    )


@route("GET", "/api/sessions/<session_id>/files")
async def find_files(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    try:
        limit = read_integer(context.query, "limit", 1, 500) or 200
    except InvalidQuery:
        raise Refusal(400, "Invalid query") from None
    query = context.query.get("query", "").strip()
    params = {
        "args": ["--files"],
        "cwd": _directory(session),
        "fileSearch": {"query": query, "limit": limit},
    }
    answer = await forward_rpc(context, session, "ripgrep", params)
    if answer.get("success") is not True:
        return {"success": False, "error": answer.get("error") or "Failed to list files"}
    out = answer.get("stdout")
    paths = [line for line in (out if isinstance(out, str) else "").splitlines() if line]
    wanted = [path for path in paths if query.lower() in path.lower()][:limit]
    return {"success": True, "files": [_file(path, _directory(session)) for path in wanted]}


def _file(path: str, directory: str) -> dict[str, Any]:
    folder, _, name = path.rpartition("/")
    return {"fileName": name, "filePath": folder, "fullPath": path, "fileType": "file"}


@route("GET", "/api/sessions/<session_id>/slash-commands")
async def slash_commands(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    return await forward_rpc(context, session, "listSlashCommands", {"agent": session.flavor})


@route("GET", "/api/sessions/<session_id>/skills")
async def skills(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id)
    return await forward_rpc(context, session, "listSkills", {"flavor": session.flavor})


@route("POST", "/api/sessions/<session_id>/upload")
async def upload(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id, active=True)
    body = context.body(Upload, limit=MAX_UPLOAD_BODY)
    if len(body.content) * 3 // 4 > MAX_UPLOAD:
        raise Refusal(413, "File is larger than 50 MB")
    params = {
        "sessionId": session.id,
        "filename": body.filename,
        "content": body.content,
        "mimeType": body.mime_type,
    }
    return await forward_rpc(context, session, "uploadFile", params, SLOW_RPC_TIMEOUT)


@route("POST", "/api/sessions/<session_id>/upload/delete")
async def delete_upload(context: RequestContext, session_id: str) -> Any:
    session = context.session(session_id, active=True)
    path = context.body(DeleteUpload).path
    return await forward_rpc(
        context, session, "deleteUpload", {"sessionId": session.id, "path": path}
    )


@route("GET", "/api/sessions/<session_id>/generated-images/<image_id>")
async def generated_image(context: RequestContext, session_id: str, image_id: str) -> Response:
    session = context.session(session_id)
    answer = await forward_rpc(context, session, "readGeneratedImage", {"id": image_id})
    content, kind = answer.get("content"), answer.get("mimeType")
    if (
        not isinstance(content, str)
        or not isinstance(kind, str)
        or not kind.startswith("image/")
        or "svg" in kind
    ):
        raise Refusal(404, "Image not found")
    try:
        image = base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Refusal(404, "Image not found") from None
    tag = f'"{hashlib.sha256(image).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=86400"}
    if context.request.getHeader("if-none-match") == tag:
        return Response(304, b"", headers, kind)
    return Response(200, image, headers, kind)


def _session_models(path: str, method: str) -> None:
    async def handle(context: RequestContext, session_id: str) -> Any:
        session = context.session(session_id)
        return await forward_rpc(context, session, method, {}, SLOW_RPC_TIMEOUT)

    route("GET", f"/api/sessions/<session_id>/{path}")(handle)


_session_models("codex-models", "listCodexModels")
_session_models("cursor-models", "listCursorModels")
_session_models("opencode-models", "listOpencodeModels")
_session_models("opencode-reasoning-effort-options", "listOpencodeReasoningEffortOptions")
_session_models("grok-models", "listGrokModels")
_session_models("copilot-models", "listCopilotModels")
_session_models("pi-models", "listPiModels")
_session_models("agy-models", "listAgyModels")
