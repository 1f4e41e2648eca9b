"""The title of a session in its metadata: the first prompt's sense, then the agent's own title."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.protocol.acp.titles import is_telling, shortened, title_of_prompt
from hapi.protocol.records import summary_record
from hapi.session.hub.uplink import SessionUplink

MAX_PROMPTS = 50  # the last ones, with which an agent's titles are compared
MAX_COMPARED = 2_000  # characters of each


@define(eq=False, repr=False)
class Titles:
    """Keeps the title steady: a name that a person gave counts for good, then the first title of
    the agent's own that says something, then the first prompt.

    `continues`: the session has a conversation of an earlier process. A title that it has stays:
    the prompts are not known with which the agent's could be compared.
    """

    _hub: SessionUplink
    _continues: bool = False
    _prompts: deque[str] = field(factory=lambda: deque(maxlen=MAX_PROMPTS))
    log = Logger()

    def prompted(self, text: str) -> None:
        """A person's prompt goes to the agent."""
        self._prompts.append(text[:MAX_COMPARED])
        title = title_of_prompt(text[:MAX_COMPARED])
        if title is not None and not self._is_named and not self._summary:
            self._store(title, "prompt")

    def titled(self, title: str) -> None:
        """The agent tells its title."""
        if (
            self._is_named
            or self._summary.get("source") == "agent"
            or (self._continues and self._summary)
            or not is_telling(title, self._prompts)
        ):
            return
        self.change(title)

    def change(self, title: str) -> bool:
        """Change the title as the agent wants it, whatever it was; a title that it tells later does
        not replace it. Returns whether it is seen: a person's name for the session hides it."""
        title = shortened(title)
        if title and self._summary.get("text") != title:
            self._hub.publish(summary_record(title))
            self._store(title, "agent")
        return not self._is_named

    @property
    def _summary(self) -> Mapping[str, Any]:
        """The title that is stored; `source` tells whose it is, where this program stored it."""
        found = (self._hub.metadata.value or {}).get("summary")
        return found if isinstance(found, Mapping) else {}

    @property
    def _is_named(self) -> bool:
        return bool((self._hub.metadata.value or {}).get("name"))

    def _store(self, text: str, source: str) -> None:
        summary = {"text": text, "updatedAt": self._hub.now_ms(), "source": source}

        def rebuild(stored: Any) -> Any:
            if source == "prompt" and (stored or {}).get("summary"):
                return stored
            return {**(stored or {}), "summary": summary}

        self._hub.metadata.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "The title was not stored at the hub: {reason}", reason=failure.getErrorMessage()
            )
        )
