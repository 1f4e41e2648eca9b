"""The inbox: the user's prompts, each once, cancellable until the agent has it. Pure."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from hapi.net.client.reconciliation import sequence
from hapi.protocol.acp.prompts import Attachment, PromptPart

MAX_KNOWN_IDS = 2048  # ids of messages seen; the hub sends what it holds as queued again and again


@frozen
class UserMessage:
    """One prompt. Without a `local_id` nobody waits for an acknowledgement.

    Prompts from the terminal have no `id` either.
    """

    text: str
    id: str | None = None
    local_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    seq: int = field(default=0, eq=False)  # of its row; 0: not known

    @property
    def is_command(self) -> bool:
        """Whether agents may take it for a command (`/compact`), which has to be a prompt of its
        own."""
        return self.text.lstrip().startswith("/")

    @property
    def parts(self) -> tuple[PromptPart, ...]:
        """What the agent gets: files come before the text, but after a command."""
        texts = (self.text,) if self.text.strip() else ()
        return (*texts, *self.attachments) if self.is_command else (*self.attachments, *texts)

    @property
    def summary(self) -> str:
        """The prompt on a terminal: its text, and the names of its attachments."""
        names = ", ".join(attachment.name for attachment in self.attachments)
        return "\n".join(filter(None, (self.text, f"(attached: {names})" if names else "")))

    def is_called(self, name: Any) -> bool:
        """Whether this message has that id; hubs use the id or the local id."""
        return isinstance(name, str) and name in (self.id, self.local_id)


@frozen
class Batch:
    """What goes to the agent as one prompt. Between two texts there is an empty line."""

    parts: tuple[PromptPart, ...]
    local_ids: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Its texts; without any, the names of its attachments."""
        texts = [part for part in self.parts if isinstance(part, str)]
        names = [part.name for part in self.parts if isinstance(part, Attachment)]
        return "\n\n".join(texts) or ", ".join(names)


def read_message(row: Any) -> UserMessage | None:
    """The prompt in a message row or a `new-message` update.

    None if it is not a user's, or if it is our own from the terminal.
    """
    if not isinstance(row, Mapping):
        return None
    content, row_id, local_id = row.get("content"), row.get("id"), row.get("localId")
    if not isinstance(content, Mapping) or content.get("role") != "user":
        return None
    meta, inner = content.get("meta"), content.get("content")
    if isinstance(meta, Mapping) and meta.get("sentFrom") == "cli":
        return None
    if isinstance(inner, str):
        inner = {"text": inner}
    if not isinstance(inner, Mapping) or not isinstance(inner.get("text"), str):
        return None
    attached = inner.get("attachments")
    files = tuple(
        _read_attachment(item, item["path"])
        for item in (attached if isinstance(attached, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get("path"), str)
    )
    if not inner["text"].strip() and not files:
        return None
    return UserMessage(
        inner["text"],
        row_id if isinstance(row_id, str) else None,
        local_id if isinstance(local_id, str) else None,
        files,
        sequence(row),
    )


def _read_attachment(item: Mapping[str, Any], path: str) -> Attachment:
    name, kind = item.get("filename"), item.get("mimeType")
    return Attachment(
        path,
        name if isinstance(name, str) and name else os.path.basename(path) or path,
        kind if isinstance(kind, str) and kind else None,
    )


@define
class Inbox:
    """The prompts that wait, and the ids of known ones."""

    highest: int = 0  # sequence number of the last row seen
    _waiting: list[UserMessage] = field(factory=list)
    _known: OrderedDict[str, None] = field(factory=OrderedDict)
    _consumed: OrderedDict[str, None] = field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, row: Any) -> UserMessage | None:
        """Queue the prompt of a row, unless it is known; what was queued.

        It goes before those of later rows: while a session starts, the newest one may come first,
        and the others with the rows that were missed.
        """
        self.highest = max(self.highest, sequence(row))
        message = read_message(row)
        if message is None or (message.id is not None and message.id in self._known):
            return None
        _remember(self._known, message.id)
        later = (place for place, other in enumerate(self._waiting) if other.seq > message.seq > 0)
        self._waiting.insert(next(later, len(self._waiting)), message)
        return message

    def put(self, message: UserMessage) -> None:
        _remember(self._known, message.id)
        self._waiting.append(message)

    def take(self) -> Batch | None:
        """What goes to the agent next, as one prompt; None if nothing waits.

        This is the oldest command, or everything that waits before the first one.
        """
        if not self._waiting:
            return None
        count = next(
            (place for place, message in enumerate(self._waiting) if message.is_command),
            len(self._waiting),
        )
        taken, self._waiting = self._waiting[: count or 1], self._waiting[count or 1 :]
        for message in taken:
            _remember(self._consumed, message.id)
            _remember(self._consumed, message.local_id)
        return Batch(
            tuple(part for message in taken for part in message.parts),
            tuple(m.local_id for m in taken if m.local_id is not None),
        )

    def cancel(self, question: Mapping[str, Any]) -> dict[str, bool]:
        """The answer to `cancel-queued-message`; all false: the message is unknown here."""
        names = [question.get("messageId"), question.get("localId")]
        found = [
            message for message in self._waiting if any(message.is_called(name) for name in names)
        ]
        self._waiting = [message for message in self._waiting if message not in found]
        consumed = not found and any(
            name in self._consumed for name in names if isinstance(name, str)
        )
        return {
            "removed": bool(found),
            "inFlight": False,
            "indeterminate": False,
            "consumed": consumed,
        }

    def retry(self, question: Mapping[str, Any]) -> dict[str, bool]:
        """The answer to `retry-queued-message`: queued again unless the agent has the message."""
        row = question.get("message")
        message = read_message(row)
        if message is None and isinstance(row, Mapping) and "role" in row:  # the content alone
            message = read_message(
                {
                    "id": question.get("messageId"),
                    "localId": question.get("localId"),
                    "content": row,
                }
            )
        if message is None:
            return {"removed": False, "accepted": False}
        if not any(
            waiting.is_called(message.id) or waiting.is_called(message.local_id)
            for waiting in self._waiting
        ):
            self.put(message)
        return {"removed": False, "accepted": True}


def _remember(names: OrderedDict[str, None], name: str | None) -> None:
    if name is None:
        return
    names[name] = None
    names.move_to_end(name)
    while len(names) > MAX_KNOWN_IDS:
        names.popitem(last=False)
