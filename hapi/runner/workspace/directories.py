"""The directory of a session: looked at, made when allowed, refused in words (runner.md §17.2)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from hapi.protocol.spawn import NeedsDirectory, SpawnRefused

Made = str  # the directory is there; its path as the caller gave it


def prepare_directory(
    path: str, may_create: bool, makedirs: Callable[[str], None] = os.makedirs
) -> Made | NeedsDirectory | SpawnRefused:
    """See to it that `path` is a directory. What is in the way is left there and named."""
    found = _look(path)
    if not isinstance(found, _Missing):
        return found
    if not may_create:
        return NeedsDirectory(path)
    try:
        makedirs(path)
    except FileExistsError:
        again = _look(path)
        return (
            SpawnRefused(f"{_unable(path)} A file appeared there meanwhile.")
            if isinstance(again, _Missing)
            else again
        )
    except OSError as error:
        return SpawnRefused(f"{_unable(path)} {_why(error)}")
    return path


class _Missing: ...


def _look(path: str) -> Made | SpawnRefused | _Missing:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _Missing()
    except NotADirectoryError as error:
        return SpawnRefused(f"{_unable(path)} {_why(error)}")
    except (OSError, ValueError) as error:
        return SpawnRefused(f"Unable to inspect '{path}': {in_words(error)}")
    if stat.S_ISDIR(found.st_mode):
        return path
    if not stat.S_ISLNK(found.st_mode):
        return SpawnRefused(
            f"A non-directory file already exists at '{path}'. Cannot use it as a workspace. "
            "Please move or remove the file, or pick a different workspace path."
        )
    return _look_behind(path)


def _look_behind(link: str) -> Made | SpawnRefused:
    target = ""
    try:
        target = os.readlink(link)
        if stat.S_ISDIR(os.stat(link).st_mode):
            return link
    except FileNotFoundError:
        return SpawnRefused(
            f"'{link}' is a symbolic link to '{target}', which does not exist. "
            "Create the target, or remove or repair the link, and try again."
        )
    except OSError as error:
        return SpawnRefused(
            f"The symbolic link '{link}' to '{target}' cannot be followed: {in_words(error)}"
        )
    return SpawnRefused(
        f"'{link}' is a symbolic link to '{target}', which is not a directory. Please pick a different workspace path."
    )


def _unable(path: str) -> str:
    return f"Unable to create directory at '{path}'."


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EACCES:
            return "There is no permission to write there. Please choose a different location or change its permissions."
        case errno.ENOTDIR:
            return (
                "A file already exists at this path or in the parent path. Cannot create a directory here. "
                "Please choose a different location."
            )
        case errno.ENOSPC | errno.EDQUOT:
            return "The disk is full. Please free some space and try again."
        case errno.EROFS:
            return "The file system is read-only. Please choose a different location."
        case _:
            return f"{in_words(error)}. Please check the path and its permissions."


def in_words(error: Exception) -> str:
    """The system's own words with the name of the error number."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
