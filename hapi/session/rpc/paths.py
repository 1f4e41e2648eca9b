"""The paths that the page may see: the session's directory and the files uploaded to it."""

from __future__ import annotations

from pathlib import Path

from attrs import define


class PathNotAllowed(Exception):
    """A path that leads out of the working directory."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Access denied: Path '{path}' is outside the working directory")


@define
class AllowedPaths:
    """`root`: the working directory; `uploads`: where uploaded files are, allowed as well."""

    root: Path
    uploads: Path | None = None

    def resolve(self, path: str) -> Path:
        """`path`, relative to the root or absolute, with links resolved. Raises PathNotAllowed."""
        if "\0" in path:
            raise PathNotAllowed(path.replace("\0", "?"))
        try:
            found = (self.root / path).resolve()
        except (OSError, RuntimeError) as error:
            raise PathNotAllowed(path) from error
        allowed = [self.root.resolve()] + (
            [self.uploads.resolve()] if self.uploads is not None else []
        )
        if not any(found == place or place in found.parents for place in allowed):
            raise PathNotAllowed(path)
        return found
