"""A CODEX_HOME for one session, when the hub sends a token along: it is nobody else's, and goes with the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hapi.runner.config.options import RunnerOptions


def private_codex_home(options: RunnerOptions, token: str) -> str:
    """A new directory that holds `token` and the user's own configuration. Raises OSError."""
    made = Path(tempfile.mkdtemp(prefix="hapi-codex-", dir=options.home.directory("tmp")))
    descriptor = os.open(made / "auth.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    own = Path(options.environ.get("CODEX_HOME") or Path.home() / ".codex")
    with suppress(OSError):
        shutil.copyfile(own / "config.toml", made / "config.toml")
    return str(made)
