"""What HAPI knows of an agent's own program, the one that people use in a terminal."""

from __future__ import annotations

from attrs import frozen


@frozen
class OwnCommand:
    """How the program is found; `hapi.session.local` knows the rest."""

    programs: tuple[str, ...]  # names it may have, the preferred one first
    variable: str | None = None  # environment variable that holds its path
    package: str = ""  # as `Agent.package`; "": the same one
