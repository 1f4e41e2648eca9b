"""Every path below HAPI_HOME, and the one way files there are written: whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

PRIVATE_FILE_MODE, PRIVATE_DIRECTORY_MODE = 0o600, 0o700
MADE_PRIVATE = (  # a message for the log
    "{path} was readable by other users and is private now. If somebody may have read it, replace "
    "the access token"
)


def make_private(path: Path) -> bool:
    """Deny other users access to a file of ours, e.g. one that was restored from a backup; whether
    they had it. A file that is missing, or not ours, stays as it is.
    """
    with suppress(OSError):
        found = path.lstat()
        shared = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077
        if shared and found.st_uid == os.geteuid():
            path.chmod(PRIVATE_FILE_MODE)
            return True
    return False


class HomeUnusable(Exception):
    """HAPI_HOME cannot be used; the text names the path and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"HAPI home {str(path)!r} cannot be used: {reason}")
        self.path, self.reason = path, reason


@frozen
class Home:
    """The directory of one runner and the hub beside it: absolute, without symbolic links."""

    path: Path

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """The home that HAPI_HOME names (`~` is expanded), else `~/.hapi`. Creates nothing."""
        named = environ.get("HAPI_HOME") or "~/.hapi"
        if "\0" in named:
            raise HomeUnusable(named, "its name contains a NUL byte")
        try:
            return cls(Path(named).expanduser().resolve())
        except (OSError, RuntimeError) as error:
            raise HomeUnusable(named, str(error)) from error

    def check(self) -> Home:
        """Check that this can be a home of this user, and return it. Changes nothing.

        Raises HomeUnusable.
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            parent = next(path for path in self.path.parents if os.path.lexists(path))
            if not parent.is_dir():
                raise HomeUnusable(self.path, f"{parent} is not a directory") from None
            return self
        except OSError as error:
            raise HomeUnusable(self.path, error.strerror or str(error)) from error
        if not stat.S_ISDIR(found.st_mode):
            raise HomeUnusable(self.path, "it is not a directory")
        if found.st_uid != os.geteuid():
            raise HomeUnusable(
                self.path, f"it is owned by uid {found.st_uid}, not by the current user"
            )
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise HomeUnusable(self.path, "it is not readable")
        return self

    def prepare(self) -> Home:
        """Create a missing directory, and deny other users access. Raises HomeUnusable."""
        try:
            self.path.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
            found = self.path.stat()
            if not stat.S_ISDIR(found.st_mode):
                raise HomeUnusable(self.path, "it is not a directory")
            if found.st_uid != os.geteuid():
                raise HomeUnusable(
                    self.path, f"it is owned by uid {found.st_uid}, not by the current user"
                )
            if os.statvfs(self.path).f_flag & os.ST_RDONLY:
                raise HomeUnusable(self.path, "it is on a read-only file system")
            if stat.S_IMODE(found.st_mode) & 0o077:
                self.path.chmod(PRIVATE_DIRECTORY_MODE)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                raise HomeUnusable(self.path, "it is not readable and writable")
        except (FileExistsError, NotADirectoryError) as error:
            raise HomeUnusable(self.path, "it is not a directory") from error
        except OSError as error:
            raise HomeUnusable(self.path, error.strerror or str(error)) from error
        return self

    def make_files_private(self) -> list[Path]:
        """Deny other users access to the files that hold secrets; those to which they had it."""
        return [
            path for path in (self.settings, self.jwt_secret, self.vapid_key) if make_private(path)
        ]

    def directory(self, name: str) -> Path:
        """The sub-directory `name`, private to us, made if missing."""
        path = self.path / name
        path.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        return path

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    @property
    def settings_lock(self) -> Path:
        """A directory: the npm CLI locks settings.json by mkdir."""
        return self.path / "settings.json.hapi.lock"

    @property
    def runner_state(self) -> Path:
        return self.path / "runner.state.json"

    @property
    def npm_lock(self) -> Path:
        return self.path / "runner.state.json.lock"

    @property
    def runner_lock(self) -> Path:
        return self.path / "runner.lock"

    @property
    def runner_drained(self) -> Path:
        """Exists while the runner starts no sessions."""
        return self.path / "runner.drained.json"

    @property
    def runner_socket(self) -> Path:
        return self.path / "runner.sock"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def refusals(self) -> Path:
        return self.path / "runner.refusals.json"

    @property
    def attempts(self) -> Path:
        return self.path / "sessions"

    @property
    def uploads(self) -> Path:
        """One directory for each session to which files were uploaded."""
        return self.path / "uploads"

    @property
    def pictures(self) -> Path:
        """One directory for each session whose agent showed pictures (`hapi.pictures`)."""
        return self.path / "pictures"

    @property
    def spool(self) -> Path:
        """Events of sessions that their hub has not confirmed (`hapi.spool`)."""
        return self.path / "spool"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def database(self) -> Path:
        return self.path / "hapi.db"

    @property
    def hub_backup(self) -> Path:
        """Where and when the hub's database was backed up last."""
        return self.path / "hub.backup.json"

    @property
    def jwt_secret(self) -> Path:
        return self.path / "jwt-secret.json"

    @property
    def vapid_key(self) -> Path:
        return self.path / "vapid-key.pem"


def write_atomically(
    path: Path, content: bytes, mode: int = PRIVATE_FILE_MODE, durable: bool = True
) -> None:
    """Replace the content of `path` in one step, and sync it to the disk. Raises OSError.

    A reader sees the old or the new content. Without `durable` a power cut may lose it.
    """
    sibling = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(sibling, flags, mode)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sibling.rename(path)
    except BaseException:
        with suppress(OSError):
            sibling.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def remove_partial_writes(*paths: Path) -> None:
    """Remove what `write_atomically` left beside `paths` when its process was killed.

    Only the sole writer of these files may call it: the runner of a home, whose parent may still
    write them during a hand-off.
    """
    writers = {str(os.getpid()), str(os.getppid())}
    for path in paths:
        for sibling in path.parent.glob(f".{path.name}.*.*"):
            pid = sibling.name[len(path.name) + 2 :].partition(".")[0]
            if (
                pid.isdecimal() and pid not in writers
            ):  # whoever else has that pid now did not write it
                with suppress(OSError):
                    sibling.unlink()


def remove_tree(path: Path) -> None:
    """Remove the directory `path` as far as that is possible. Raises the first OSError.

    Files that another process removes meanwhile are no error.
    """
    import shutil  # it is not needed at the start of a program

    errors: list[OSError] = []

    def failed(_call: object, _path: str, found: Any) -> None:
        if not isinstance(found[1], FileNotFoundError):
            errors.append(found[1])

    shutil.rmtree(path, onerror=failed)
    if errors:
        raise errors[0]


def sync_directory(path: Path) -> None:
    """Sync a rename in the directory `path` to the disk. A failure is only logged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        from twisted.logger import Logger

        Logger("hapi.home").warn(
            "{path} could not be synced to the disk: {reason}",
            path=str(path),
            reason=error.strerror or str(error),
        )


def read_capped(path: Path, limit: int = 1 << 20) -> bytes | None:
    """The content of a regular file, None if it is missing.

    Raises OSError, and ValueError if it is larger than `limit` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes")
    return content
