"""The directory of a session: inspected, created when allowed, refused with a reason (runner.md
§17.2)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from enum import Enum, auto

from hapi.protocol.spawn import NeedsDirectory, SpawnRefused


class _Finding(Enum):
    USABLE = auto()
    MISSING = auto()


def prepare_directory(
    path: str, may_create: bool, makedirs: Callable[[str], None] = os.makedirs
) -> NeedsDirectory | SpawnRefused | None:
    """Make sure that `path` is a directory; None when it is. Nothing that is in the way is
    removed."""
    found = _inspect(path)
    if found is not _Finding.MISSING:
        return found if isinstance(found, SpawnRefused) else None
    if not may_create:
        return NeedsDirectory(path)
    try:
        makedirs(path)
    except FileExistsError:
        return _refuse_appeared(path)
    except OSError as error:
        return SpawnRefused(f"{_unable_to_create(path)} {_reason(error)}")
    return None


def _refuse_appeared(path: str) -> SpawnRefused | None:
    """The answer when something has appeared at `path` since it was found missing."""
    found = _inspect(path)
    if found is _Finding.MISSING:
        return SpawnRefused(f"{_unable_to_create(path)} A file appeared there meanwhile.")
    return found if isinstance(found, SpawnRefused) else None


def _inspect(path: str) -> SpawnRefused | _Finding:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _Finding.MISSING
    except NotADirectoryError as error:
        return SpawnRefused(f"{_unable_to_create(path)} {_reason(error)}")
    except (OSError, ValueError) as error:
        return SpawnRefused(f"Unable to inspect '{path}': {describe_error(error)}")
    if stat.S_ISDIR(found.st_mode):
        return _Finding.USABLE
    if not stat.S_ISLNK(found.st_mode):
        return SpawnRefused(
            f"A non-directory file already exists at '{path}'. Cannot use it as a workspace. "
            "Please move or remove the file, or pick a different workspace path."
        )
    return _inspect_link(path)


def _inspect_link(link: str) -> SpawnRefused | _Finding:
    target = ""
    try:
        target = os.readlink(link)
        if stat.S_ISDIR(os.stat(link).st_mode):
            return _Finding.USABLE
    except FileNotFoundError:
        return SpawnRefused(
            f"'{link}' is a symbolic link to '{target}', which does not exist. "
            "Create the target, or remove or repair the link, and try again."
        )
    except OSError as error:
        return SpawnRefused(
            f"The symbolic link '{link}' to '{target}' cannot be followed: {describe_error(error)}"
        )
    return SpawnRefused(
        f"'{link}' is a symbolic link to '{target}', which is not a directory. "
        "Please pick a different workspace path."
    )


def _unable_to_create(path: str) -> str:
    return f"Unable to create directory at '{path}'."


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EACCES:
            return (
                "Permission denied. Please choose a different location or change its permissions."
            )
        case errno.ENOTDIR:
            return (
                "A file already exists at this path or in the parent path. "
                "Cannot create a directory here. Please choose a different location."
            )
        case errno.ENOSPC | errno.EDQUOT:
            return "The disk is full. Please free some space and try again."
        case errno.EROFS:
            return "The file system is read-only. Please choose a different location."
        case _:
            return f"{describe_error(error)}. Please check the path and its permissions."


def describe_error(error: Exception) -> str:
    """The system's own message with the name of the error number: `EIO: Input/output error`."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
