"""The live text of a session: what its agent is saying before it is a record. Ours; npm has none.

A hub that understands live text sends `session-live {sid, whole: true}` to each session that
connects. The session answers with the whole state and then sends what changes, at most ten times a
second:

    session-live {sid, epoch, number, whole?, blocks: [{id, type, text, append?}], ended?: [id]}

`epoch` names the process, `number` grows by one with each update. `whole`: `blocks` is all there
is. `append`: `text` is to be added at the end, otherwise it replaces what was there; so a long
answer costs what is new. `id` is that of the record that the block becomes: of a `message` or
`reasoning` record, or the call of a `tool-call-result`. The hub sends the same to pages, with
`sessionId` instead of `sid`, first a whole state and then what changes. A receiver that has missed
a number asks for the whole. Nothing of it is ever stored. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.json import Malformed

SESSION_LIVE = "session-live"  # the Socket.IO event, both ways, and the server-sent event
MESSAGE, REASONING, TOOL_OUTPUT = "message", "reasoning", "tool-output"
KINDS = (MESSAGE, REASONING, TOOL_OUTPUT)

MAX_BLOCKS = 64  # open at once in one session; what is beyond is shown when it is a record
MAX_TEXT = 128 * 1024  # characters of one block; the hub keeps 64 KiB of the record in the end
MAX_SESSION_TEXT = 512 * 1024  # characters of all blocks of one session
MAX_ID_LENGTH = 512  # characters
Json = dict[str, Any]


@frozen
class LiveBlock:
    """A block that has begun and is no record yet, with all of its text so far.

    The text of a message or a thought only grows; that of a tool may become another one.
    """

    id: str
    kind: str  # one of KINDS
    text: str


@frozen
class BlockChange:
    """`append`: `text` comes after what is there; otherwise it replaces it."""

    id: str
    kind: str
    text: str
    append: bool = False

    def wire(self) -> Json:
        found = {"id": self.id, "type": self.kind, "text": self.text}
        return {**found, "append": True} if self.append else found


@frozen
class LiveUpdate:
    """One step of the live state, or all of it (`whole`)."""

    epoch: str
    number: int
    blocks: tuple[BlockChange, ...]
    ended: tuple[str, ...] = ()
    whole: bool = False

    def wire(self, **owner: str) -> Json:
        """The body of the event; `owner` is `sid=…` or `sessionId=…`."""
        blocks = [block.wire() for block in self.blocks]
        found: Json = {**owner, "epoch": self.epoch, "number": self.number, "blocks": blocks}
        return (
            found
            | ({"whole": True} if self.whole else {})
            | ({"ended": list(self.ended)} if self.ended else {})
        )


# --- the sender ---------------------------------------------------------------------------------


@define
class _SentBlock:
    kind: str
    text: str = ""  # the text of which the hub has been sent the part from `start`
    start: int = 0

    def change(self, block: LiveBlock) -> BlockChange | None:
        """What is new in `block`; None if nothing that can be shown is."""
        text, before = _whole_characters(block.text), self.text
        if text == before or not (before or text.strip()):  # no record comes of mere spaces
            return None
        grows = bool(before) and (self.kind != TOOL_OUTPUT or text.startswith(before))
        start = self.start if grows else 0
        if len(text) - start > MAX_TEXT:
            if self.kind == TOOL_OUTPUT:  # the end is shown: half of what there is room for
                grows, start = False, len(text) - MAX_TEXT // 2
            elif (text := text[:MAX_TEXT]) == before:
                return None
        self.text, self.start = text, start
        new = text[len(before) :] if grows else text[start:]
        return BlockChange(block.id, self.kind, new, append=grows)


def _whole_characters(text: str) -> str:
    """`text` without half a surrogate pair at its end, whose other half has not come."""
    return text[:-1] if text and "\ud800" <= text[-1] <= "\udbff" else text


@define
class LiveSender:
    """What the hub has been sent, and what it is to be sent next. `epoch`: another one for each
    process."""

    epoch: str
    _number: int = 0
    _sent: dict[str, _SentBlock] = field(factory=dict)

    def forget(self) -> None:
        """The hub has nothing: the next update is a whole one."""
        self._sent.clear()

    def whole(self, blocks: Iterable[LiveBlock]) -> LiveUpdate:
        """All of `blocks`."""
        self.forget()
        return self._next(self._changes(blocks), (), whole=True)

    def update(self, blocks: Sequence[LiveBlock]) -> LiveUpdate | None:
        """What has changed since the last update; None if nothing has. After a time without blocks
        it is whole, so that whoever comes at this moment understands it."""
        was_empty = not any(sent.text for sent in self._sent.values())
        open_ids = {block.id for block in blocks}
        gone = [name for name in self._sent if name not in open_ids]
        ended = tuple(name for name in gone if self._sent[name].text)
        for name in gone:
            del self._sent[name]
        changes = self._changes(blocks)
        if not changes and not ended:
            return None
        return self._next(changes, ended, whole=was_empty)

    def _changes(self, blocks: Iterable[LiveBlock]) -> tuple[BlockChange, ...]:
        changes = []
        for block in blocks:
            sent = self._sent.get(block.id)
            if sent is None:
                if len(self._sent) >= MAX_BLOCKS:
                    continue
                sent = self._sent[block.id] = _SentBlock(block.kind)
            if (change := sent.change(block)) is not None:
                changes.append(change)
        return tuple(changes)

    def _next(
        self, changes: tuple[BlockChange, ...], ended: tuple[str, ...], whole: bool
    ) -> LiveUpdate:
        self._number += 1
        return LiveUpdate(self.epoch, self._number, changes, ended, whole)


# --- the receiver -------------------------------------------------------------------------------


def read_live_update(given: Mapping[str, Any]) -> LiveUpdate:
    """The update in a `session-live` of a session. Raises Malformed."""
    epoch, number = given.get("epoch"), given.get("number")
    blocks, ended = given.get("blocks"), given.get("ended", [])
    if not isinstance(epoch, str) or not 0 < len(epoch) <= 64:
        raise Malformed("the epoch must be a short string")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 53:
        raise Malformed("the number must be an integer")
    if not isinstance(blocks, list) or not isinstance(ended, list):
        raise Malformed("the blocks must be a list")
    if len(blocks) > MAX_BLOCKS or len(ended) > MAX_BLOCKS:
        raise Malformed(f"there are more than {MAX_BLOCKS} blocks")
    return LiveUpdate(
        epoch,
        number,
        tuple(_read_change(block) for block in blocks),
        tuple(_read_id(name) for name in ended),
        given.get("whole") is True,
    )


def _read_change(block: Any) -> BlockChange:
    if not isinstance(block, dict) or block.get("type") not in KINDS:
        raise Malformed("a block has no type that is known")
    text = block.get("text")
    if not isinstance(text, str):
        raise Malformed("a block has no text")
    return BlockChange(_read_id(block.get("id")), block["type"], text, block.get("append") is True)


def _read_id(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_LENGTH:
        raise Malformed("a block has no id")
    return name


class Missed(Exception):
    """An update cannot be applied, because one before it is missing."""


class TooLarge(Exception):
    """The live text of a session is larger than a hub keeps."""


@define
class LiveState:
    """The live blocks of one session, in the order in which they are shown.

    Blocks leave when their records have come (`drop`), or when the sender says that they ended.
    """

    epoch: str = ""
    number: int = 0
    size: int = 0  # characters
    _texts: dict[str, tuple[str, str]] = field(factory=dict)  # by id: kind and text

    @property
    def is_empty(self) -> bool:
        return not self._texts

    def apply(self, update: LiveUpdate, keeps_ended: bool = False) -> None:
        """`keeps_ended`: records of blocks that have ended are late, so the blocks stay until then.

        Raises Missed and TooLarge; the state is empty then, until a whole update comes.
        """
        follows = update.epoch == self.epoch and update.number == self.number + 1
        if not update.whole and not follows:
            self.clear()
            raise Missed
        self.epoch, self.number = update.epoch, update.number
        if not keeps_ended:
            for name in tuple(self._texts) if update.whole else update.ended:
                self.drop(name)
        for change in update.blocks:
            self._change(change)

    def _change(self, change: BlockChange) -> None:
        _, before = self._texts.get(change.id, ("", ""))
        if change.append and change.id not in self._texts:
            return  # its record has come already
        text = before + change.text if change.append else change.text
        self.size += len(text) - len(before)
        self._texts[change.id] = change.kind, text
        if (
            len(text) > MAX_TEXT
            or self.size > MAX_SESSION_TEXT
            or len(self._texts) > 2 * MAX_BLOCKS  # of which half may have ended
        ):
            self.clear()
            raise TooLarge

    def drop(self, name: str) -> None:
        """The block is a record now."""
        _, text = self._texts.pop(name, ("", ""))
        self.size -= len(text)

    def clear(self) -> None:
        """Forget everything; the next update must be a whole one."""
        self.epoch, self.number, self.size = "", 0, 0
        self._texts.clear()

    def whole(self) -> LiveUpdate:
        """All of it, for a reader that comes now."""
        blocks = tuple(BlockChange(name, *found) for name, found in self._texts.items())
        return LiveUpdate(self.epoch, self.number, blocks, whole=True)


def block_of_record(content: Any) -> str | None:
    """The id of the live block that a record replaces; None if it replaces none."""
    inner = content.get("content") if isinstance(content, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    if not isinstance(data, dict) or (inner or {}).get("type") != "codex":
        return None
    match data.get("type"):
        case "tool-call-result":
            name = data.get("callId")
        case "message":
            name = data.get("id")
        case "reasoning" if data.get("live") is not True:
            name = data.get("id")
        case _:
            name = None
    return name if isinstance(name, str) else None
