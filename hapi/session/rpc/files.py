"""Files for the page: read, list, stat and uploads, all confined to the session's directory."""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.uploads import SessionUploads

MAX_READ_SIZE = MAX_UPLOAD_SIZE = (
    32 * 1024 * 1024
)  # bytes; as base64 it must fit into one message to the hub
MAX_ENTRIES = 20_000  # entries of a listing
MAX_STATS = 5000  # paths of one `statFiles` call
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
    """The file RPC methods, within `directory`."""

    directory: ConfinedDirectory
    _uploads: SessionUploads

    @answering
    def read(self, params: Any) -> Json:
        descriptor = self.directory.open(_text(params, "path"))
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError("Not a file")
            if facts.st_size > MAX_READ_SIZE:
                size = facts.st_size
                raise ValueError(f"File is too large ({size} bytes; the limit is {MAX_READ_SIZE})")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_READ_SIZE)
        finally:
            os.close(descriptor)
        return {
            "success": True,
            "content": base64.b64encode(content).decode(),
            "size": len(content),
            "modified": _ms(facts),
        }

    @answering
    def list_directory(self, params: Any) -> Json:
        path = _text(params, "path", needed=False)
        descriptor = self.directory.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as found:
                entries = [
                    self._listed(path, entry) for entry in itertools.islice(found, MAX_ENTRIES)
                ]
        finally:
            os.close(descriptor)
        entries.sort(key=lambda entry: (entry["type"] != "directory", entry["name"]))
        return {"success": True, "entries": entries}

    def _listed(self, path: str, entry: os.DirEntry[str]) -> Json:
        """The facts of one entry; those of a link's target only if it is inside."""
        # A name that is not UTF-8 could not be sent.
        name = os.fsencode(entry.name).decode(errors="replace")
        try:
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(facts.st_mode):
                facts = self.directory.stat(os.path.join(path, entry.name))
        except (OSError, PathNotAllowed):
            return {"name": name, "type": "other"}
        return {
            "name": name,
            "type": _kind(facts.st_mode),
            "size": facts.st_size,
            "modified": _ms(facts),
        }

    @answering
    def stat(self, params: Any) -> Json:
        entries = []
        paths = params.get("paths")
        for name in paths[:MAX_STATS] if isinstance(paths, list) else ():
            if isinstance(name, str):
                try:
                    facts = self.directory.stat(name)
                except (OSError, PathNotAllowed):
                    continue
                entries.append({"path": name, "size": facts.st_size, "modified": _ms(facts)})
        return {"success": True, "entries": entries}

    @answering
    def upload(self, params: Any) -> Json:
        name, encoded = _text(params, "filename"), _text(params, "content", needed=False)
        if len(encoded) > MAX_UPLOAD_SIZE * 4 // 3 + 4:
            raise ValueError(
                f"The file is too large: an upload may have {MAX_UPLOAD_SIZE >> 20} MB at most"
            )
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("content must be base64") from error
        return {"success": True, "path": str(self._uploads.store(name, content))}

    @answering
    def delete_upload(self, params: Any) -> Json:
        self._uploads.delete(Path(_text(params, "path")))
        return {"success": True}


def _kind(mode: int) -> str:
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _ms(facts: os.stat_result) -> int:
    return int(facts.st_mtime * 1000)


def _text(params: Mapping[str, Any], name: str, needed: bool = True) -> str:
    value = params.get(name)
    if isinstance(value, str) and (value or not needed):
        return value
    if value is None and not needed:
        return ""
    if value is None or value == "":
        raise ValueError(f"{name} is required")
    raise ValueError(f"{name} must be a string")
