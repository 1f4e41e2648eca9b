"""Files for the page: read, list, stat and uploads, all confined to the session's directory."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define

from hapi.session.rpc.paths import AllowedPaths, PathNotAllowed

MAX_READ_SIZE = MAX_UPLOAD_SIZE = (
    32 * 1024 * 1024
)  # bytes; as base64 it must fit into one message to the hub
MAX_ENTRIES = 20_000  # entries of a listing
Json = dict[str, Any]


def answering(method: Callable[[Any, Any], Json]) -> Callable[[Any, Any], Json]:
    """Errors of the file system become `{success: false, error}`."""

    def answer(self: Any, params: Any) -> Json:
        try:
            return method(self, params if isinstance(params, Mapping) else {})
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        except OSError as error:
            return {"success": False, "error": error.strerror or str(error)}
        except ValueError as error:
            return {"success": False, "error": str(error)}

    return answer


@define
class Files:
    """The file RPC methods. `uploads`: where uploaded files go; made when the first one comes."""

    paths: AllowedPaths
    _uploads: Path

    @answering
    def read(self, params: Any) -> Json:
        path = self.paths.resolve(_text(params, "path"))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_READ_SIZE:
            os.close(descriptor)
            large = f"File is too large ({facts.st_size} bytes; the limit is {MAX_READ_SIZE})"
            raise ValueError(large if stat.S_ISREG(facts.st_mode) else "Not a file")
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_READ_SIZE)
        return {
            "success": True,
            "content": base64.b64encode(content).decode(),
            "size": len(content),
            "modified": _ms(facts),
        }

    @answering
    def list_directory(self, params: Any) -> Json:
        path = self.paths.resolve(_text(params, "path", needed=False))
        entries = []
        with os.scandir(path) as found:
            for entry in found:
                entries.append(_listed(entry))
                if len(entries) >= MAX_ENTRIES:
                    break
        entries.sort(key=lambda entry: (entry["type"] != "directory", entry["name"]))
        return {"success": True, "entries": entries}

    @answering
    def stat(self, params: Any) -> Json:
        entries = []
        paths = params.get("paths")
        for name in paths if isinstance(paths, list) else ():
            if isinstance(name, str):
                try:
                    facts = self.paths.resolve(name).stat()
                except (OSError, PathNotAllowed):
                    continue
                entries.append({"path": name, "size": facts.st_size, "modified": _ms(facts)})
        return {"success": True, "entries": entries}

    @answering
    def upload(self, params: Any) -> Json:
        name = (
            re.sub(r"[^\w.-]+", "_", os.path.basename(_text(params, "filename")))[-100:].lstrip(".")
            or "file"
        )
        encoded = _text(params, "content", needed=False)
        if len(encoded) > MAX_UPLOAD_SIZE * 4 // 3 + 4:
            raise ValueError(f"File is too large (the limit is {MAX_UPLOAD_SIZE} bytes)")
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError("content must be base64") from error
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._uploads / f"{secrets.token_hex(4)}-{name}"
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return {"success": True, "path": str(path)}

    @answering
    def delete_upload(self, params: Any) -> Json:
        path = Path(_text(params, "path"))
        if path.parent != self._uploads or not path.name:
            raise ValueError("Not an uploaded file of this session")
        path.unlink(missing_ok=True)
        return {"success": True}

    def delete_uploads(self) -> None:
        """Remove them all; the session is over."""
        shutil.rmtree(self._uploads, ignore_errors=True)


def _listed(entry: os.DirEntry[str]) -> Json:
    found: Json = {"name": entry.name, "type": "other"}
    try:
        facts = entry.stat()
    except OSError:
        return found
    kind = (
        "directory"
        if stat.S_ISDIR(facts.st_mode)
        else "file"
        if stat.S_ISREG(facts.st_mode)
        else "other"
    )
    return {**found, "type": kind, "size": facts.st_size, "modified": _ms(facts)}


def _ms(facts: os.stat_result) -> int:
    return int(facts.st_mtime * 1000)


def _text(params: Mapping[str, Any], name: str, needed: bool = True) -> str:
    value = params.get(name)
    if isinstance(value, str) and (value or not needed):
        return value
    if needed or value is not None:
        raise ValueError(f"{name} is required")
    return ""
