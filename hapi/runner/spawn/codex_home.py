"""A private CODEX_HOME for one session, made when the hub sends a token along and removed with
the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hapi.runner.config.options import RunnerOptions


def create_codex_home(options: RunnerOptions, token: str) -> str:
    """Make a directory that holds `token` and a copy of the user's configuration. Raises
    OSError."""
    created = Path(tempfile.mkdtemp(prefix="hapi-codex-", dir=options.home.directory("tmp")))
    descriptor = os.open(created / "auth.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    users_own = Path(options.environ.get("CODEX_HOME") or Path.home() / ".codex")
    with suppress(OSError):
        shutil.copyfile(users_own / "config.toml", created / "config.toml")
    return str(created)
