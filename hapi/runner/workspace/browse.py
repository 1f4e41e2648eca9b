"""Browsing the disk for the new-session form: `path-exists` and `list-directory` (runner.md
§5.1)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from hapi.runner.workspace.directories import describe_error
from hapi.runner.workspace.roots import WorkspaceRoots

MAX_PATHS, MAX_ENTRIES = 1000, 5000


def path_exists(roots: WorkspaceRoots, params: object) -> dict[str, Any]:
    """Which of `paths` are directories. Paths outside the roots count as missing and are listed
    separately."""
    asked = params.get("paths") if isinstance(params, Mapping) else None
    exists: dict[str, bool] = {}
    outside: list[str] = []
    for entry in islice(asked if isinstance(asked, list) else [], MAX_PATHS):
        path = entry.strip() if isinstance(entry, str) else ""
        if not path or path in exists:
            continue
        inside = roots.contains(path)
        if not inside:
            outside.append(path)
        exists[path] = inside and _is_directory(path)
    return {"exists": exists} | ({"outsideWorkspaceRoots": outside} if outside else {})


def list_directory(roots: WorkspaceRoots, params: object) -> dict[str, Any]:
    """The entries of one directory, directories first. Symlinks out of the roots are left out."""
    path = params.get("path") if isinstance(params, Mapping) else None
    if not isinstance(path, str) or not path.strip():
        return _failure("Path is required")
    path = path.strip()
    hidden = isinstance(params, Mapping) and params.get("includeHidden") is True
    if not roots.contains(path):
        return _failure("Path is outside workspace roots")
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return _failure("Path is not a directory")
        with os.scandir(path) as scanned:
            entries = list(islice(_entries(roots, path, scanned, hidden), MAX_ENTRIES))
    except (OSError, ValueError) as error:
        return _failure(describe_error(error))
    entries.sort(
        key=lambda entry: (entry["type"] != "directory", entry["name"].casefold(), entry["name"])
    )
    return {"success": True, "entries": entries}


def _failure(error: str) -> dict[str, Any]:
    return {"success": False, "error": error}


def _is_directory(path: str) -> bool:
    try:
        return os.path.isdir(path)
    except ValueError:  # a NUL in the path
        return False


def _entries(
    roots: WorkspaceRoots, path: str, scanned: Iterator[os.DirEntry[str]], hidden: bool
) -> Iterator[dict[str, Any]]:
    for entry in scanned:
        if entry.name.startswith(".") and not hidden:
            continue
        if entry.is_symlink() and not roots.contains(entry.path):
            continue
        # A name that is not UTF-8 could not be sent.
        name = os.fsencode(entry.name).decode(errors="replace")
        try:
            found = entry.stat()
        except OSError:
            yield {"name": name, "type": "other", "isGitRepo": False}
            continue
        kind = _kind(found.st_mode)
        facts = {
            "name": name,
            "type": kind,
            "size": found.st_size,
            "modified": int(found.st_mtime * 1000),
        }
        yield facts | {
            "isGitRepo": kind == "directory" and os.path.lexists(os.path.join(entry.path, ".git"))
        }


def _kind(mode: int) -> str:
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
