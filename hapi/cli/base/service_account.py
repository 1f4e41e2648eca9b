"""The account that a service runs under: its home directory, its PATH, and what it may run."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from hapi.cli.base.errors import CommandError
from hapi.home import Home, HomeUnusable

# What Debian's login(1) gives to an account without a profile of its own.
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOGIN_TIMEOUT = 10.0  # seconds for the login shell and for the trial start
_PATH_MARK = "HAPI_PATH="


@frozen
class Account:
    """A user of this machine. `is_current`: the one who runs this command."""

    name: str
    uid: int
    gid: int
    directory: str  # its home directory
    shell: str
    is_current: bool

    @classmethod
    def find(cls, name: str | None) -> Account:
        """The account of that name or number; None is the current user. Raises CommandError."""
        try:
            if name is None:
                found = pwd.getpwuid(os.geteuid())
            else:
                found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, OverflowError, ValueError):
            if name is None:  # a container whose user has no entry
                directory = os.environ.get("HOME") or "/"
                uid = os.geteuid()
                return cls(str(uid), uid, os.getegid(), directory, "/bin/sh", is_current=True)
            raise CommandError(
                f"there is no user {name} on this machine, so nothing is known of its home "
                "directory and PATH; create the user first"
            ) from None
        return cls(
            found.pw_name,
            found.pw_uid,
            found.pw_gid,
            found.pw_dir,
            found.pw_shell or "/bin/sh",
            found.pw_uid == os.geteuid(),
        )

    @property
    def login_environment(self) -> dict[str, str]:
        """What supervisord does not set for a program that runs as another user."""
        return {"HOME": self.directory, "USER": self.name, "LOGNAME": self.name}

    def home(self, environ: Mapping[str, str]) -> Home:
        """The HAPI home of this account: the one that HAPI_HOME names, else `.hapi` in its home.

        Raises HomeUnusable, and CommandError if the account cannot use or create it.
        """
        if self.is_current:
            return Home.find(environ).check()
        home = Home.find(
            {"HAPI_HOME": environ.get("HAPI_HOME") or os.path.join(self.directory, ".hapi")}
        )
        try:
            found = home.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._check_can_create(home.path)
            return home
        except OSError as error:
            if os.geteuid() == 0:
                raise HomeUnusable(home.path, error.strerror or str(error)) from error
            return home  # only root can look
        if found.st_uid != self.uid:
            raise CommandError(
                f"{home.path} belongs to uid {found.st_uid}, so that {self.name} cannot use it as "
                f"HAPI home; run `chown -R {self.name} {home.path}` or name another one with --home"
            )
        return home

    def _check_can_create(self, path: Path) -> None:
        parent = next(parent for parent in path.parents if os.path.lexists(parent))
        if not parent.is_dir():
            raise HomeUnusable(path, f"{parent} is not a directory")
        if os.geteuid() == 0 and not self._may("-w", parent):
            raise CommandError(
                f"{path} does not exist, and {self.name} cannot create it in {parent}; run "
                f"`install -d -m 700 -o {self.name} {path}` first"
            )

    def search_path(self, environ: Mapping[str, str]) -> str:
        """The PATH that this account has after a login; agents are looked up there.

        Root asks the account's login shell. For others, and where the shell does not answer, it is
        the standard one, with `~/.local/bin` if that exists.
        """
        if self.is_current:
            return environ.get("PATH", "")
        if os.geteuid() == 0:
            words = [self.shell, "-l", "-c", f'printf "\\n{_PATH_MARK}%s\\n" "$PATH"']
            with suppress(OSError, subprocess.SubprocessError):
                lines = self._run(words, {"PATH": STANDARD_PATH}).stdout.splitlines()
                found = [line for line in lines if line.startswith(_PATH_MARK)]
                if found and (path := found[-1].removeprefix(_PATH_MARK)):
                    return path
        own = Path(self.directory) / ".local/bin"
        return f"{own}:{STANDARD_PATH}" if own.is_dir() else STANDARD_PATH

    def check_can_run(self, argv: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Try whether this account can start our program; False if only root could find out.

        Raises CommandError with the reason if it cannot.
        """
        if self.is_current:
            return True
        if os.geteuid() != 0:
            return False
        try:
            done = self._run([*argv, "--version"], environment)
            lines = done.stderr.strip().splitlines()
            reason = lines[-1] if lines else f"exit status {done.returncode}"
            if done.returncode == 0:
                return True
        except subprocess.TimeoutExpired:
            reason = f"no answer within {LOGIN_TIMEOUT:.0f} s"
        except OSError as error:
            reason = error.strerror or str(error)
        python = _interpreter(argv[0])
        if python is not None and self._may("-x", argv[0]) and not self._may("-x", python):
            raise CommandError(
                f"{self.name} cannot run {argv[0]}, because it needs {python}, which that user "
                "cannot run; make the virtual environment with a Python that every user can run, "
                "e.g. with `/usr/bin/python3 -m venv`"
            )
        raise CommandError(
            f"{self.name} cannot run {argv[0]} ({reason}); install HAPI where that user can read "
            "it, e.g. in a virtual environment in /opt/hapi, and run this command from there"
        )

    def check_can_read(self, path: Path) -> None:
        """Try whether this account can read a file that the service needs; only root can try.

        Raises CommandError.
        """
        if self.is_current or os.geteuid() != 0:
            return
        if not self._may("-r", path):
            raise CommandError(
                f"{self.name} cannot read {path}; copy it to a place where that user can, e.g. "
                f"with `install -m 600 -o {self.name}`"
            )

    def _may(self, access: str, path: Path | str) -> bool:
        """Whether this account has the `access` (`-r`, `-w` or `-x`, as in test(1)) to a file."""
        return self._run(["test", access, str(path)], {}).returncode == 0

    def _run(
        self, argv: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` as this account; only root can do that."""
        return subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=LOGIN_TIMEOUT,
            env={**self.login_environment, "SHELL": self.shell, **environment},
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=os.getgrouplist(self.name, self.gid),
            start_new_session=True,  # without our terminal
        )


def _interpreter(program: str) -> Path | None:
    """The file that the first line of a script names (execve(2)), with its links resolved."""
    try:
        with open(program, "rb") as script:
            first = script.readline(256)
    except OSError:
        return None
    words = first[2:].decode(errors="surrogateescape").split()
    return Path(words[0]).resolve() if first.startswith(b"#!") and words else None
