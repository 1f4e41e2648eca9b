"""What a session asks of its local mode, where it has one."""

from __future__ import annotations

from typing import Any, Protocol

from hapi.protocol.permissions import PermissionAnswer


class LocalControl(Protocol):
    """The agent's own program in the terminal of a session (`hapi.session.local`)."""

    @property
    def is_local(self) -> bool:
        """Whether the own program has the terminal; the ACP agent does not run then."""
        ...

    def prompt_queued(self) -> None:
        """A prompt of the page waits, or none any more."""
        ...

    def abort(self) -> None:
        """A person on the page stops the turn in the terminal."""
        ...

    def switch(self, to: Any) -> None:
        """The page asks for the mode `local` or `remote`."""
        ...

    def answer(self, answer: PermissionAnswer) -> bool:
        """The page answers a request of the program; False if it is none of them. Raises ValueError
        with a sentence if the request cannot be answered on the page."""
        ...

    async def end(self) -> None:
        """The session ends: end the program, and give the terminal back."""
        ...
