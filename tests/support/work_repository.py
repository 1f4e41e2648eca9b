"""Git repositories with changes of every kind, for tests of what a person reads of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from attrs import define

IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


@define
class WorkRepository:
    """A repository at `root`, whose branch is `main`."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> WorkRepository:
        root.mkdir(parents=True, exist_ok=True)
        made = cls(root)
        made.git("init", "--quiet", "--initial-branch", "main")
        return made

    def git(self, *words: str | bytes) -> str:
        command = ["git", *IDENTITY, *words]
        done = subprocess.run(command, cwd=self.root, capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    def write(self, path: str | bytes, content: str | bytes) -> None:
        place = self.root / path if isinstance(path, str) else Path(str(self.root))
        if isinstance(path, bytes):
            name = bytes(self.root) + b"/" + path
            with open(name, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
