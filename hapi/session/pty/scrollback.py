"""The last output of a terminal, for whoever attaches to it later."""

from __future__ import annotations

from collections import deque

from attrs import define, field


@define(eq=False, repr=False)
class Scrollback:
    """Keeps about the last `limit` characters."""

    limit: int
    _pieces: deque[str] = field(factory=deque)
    size: int = 0  # characters

    def add(self, text: str) -> None:
        text = text[-self.limit :]
        self._pieces.append(text)
        self.size += len(text)
        while self.size - len(self._pieces[0]) >= self.limit:
            self.size -= len(self._pieces.popleft())

    @property
    def text(self) -> str:
        """What is kept. The first line may be cut, and is left out then."""
        found = "".join(self._pieces)
        if len(found) <= self.limit:
            return found
        tail = found[-self.limit :]
        _, newline, rest = tail.partition("\n")
        return rest if newline else tail
