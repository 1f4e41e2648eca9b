"""Browsing the disk for the new-session form: `path-exists` and `list-directory` (runner.md
§5.1)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from hapi.confined_directory import PathNotAllowed
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
        try:
            exists[path] = stat.S_ISDIR(roots.confined.stat(_absolute(path)).st_mode)
        except PathNotAllowed:
            exists[path] = False
            if roots.given:  # otherwise it is no path at all
                outside.append(path)
        except OSError:
            exists[path] = False
    return {"exists": exists} | ({"outsideWorkspaceRoots": outside} if outside else {})


def list_directory(roots: WorkspaceRoots, params: object) -> dict[str, Any]:
    """The entries of one directory, directories first. Symlinks out of the roots are left out."""
    path = params.get("path") if isinstance(params, Mapping) else None
    if not isinstance(path, str) or not path.strip():
        return _failure("Path is required")
    path = path.strip()
    hidden = isinstance(params, Mapping) and params.get("includeHidden") is True
    try:
        if not stat.S_ISDIR(roots.confined.stat(_absolute(path)).st_mode):
            return _failure("Path is not a directory")
        descriptor = roots.confined.open(_absolute(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as scanned:
                entries = list(islice(_entries(roots, path, scanned, hidden), MAX_ENTRIES))
        finally:
            os.close(descriptor)
    except PathNotAllowed:
        return _failure("Path is outside workspace roots")
    except (OSError, ValueError) as error:
        return _failure(describe_error(error))
    entries.sort(
        key=lambda entry: (entry["type"] != "directory", entry["name"].casefold(), entry["name"])
    )
    return {"success": True, "entries": entries}


def _failure(error: str) -> dict[str, Any]:
    return {"success": False, "error": error}


def _absolute(path: str) -> str:
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _entries(
    roots: WorkspaceRoots, path: str, scanned: Iterator[os.DirEntry[str]], hidden: bool
) -> Iterator[dict[str, Any]]:
    for entry in scanned:
        if entry.name.startswith(".") and not hidden:
            continue
        # A name that is not UTF-8 could not be sent.
        name = os.fsencode(entry.name).decode(errors="replace")
        place = os.path.join(_absolute(path), entry.name)
        try:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                found = roots.confined.stat(place)
        except PathNotAllowed:
            continue
        except OSError as error:
            if error.errno != errno.ELOOP:  # where a loop leads is nowhere
                yield {"name": name, "type": "other", "isGitRepo": False}
            continue
        kind = _kind(found.st_mode)
        facts = {
            "name": name,
            "type": kind,
            "size": found.st_size,
            "modified": int(found.st_mtime * 1000),
        }
        yield facts | {"isGitRepo": kind == "directory" and _is_repository(roots, place)}


def _is_repository(roots: WorkspaceRoots, directory: str) -> bool:
    try:
        roots.confined.act(
            os.path.join(directory, ".git"),
            lambda name, parent: os.stat(name, dir_fd=parent, follow_symlinks=False),
        )
    except (OSError, PathNotAllowed):
        return False
    return True


def _kind(mode: int) -> str:
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
