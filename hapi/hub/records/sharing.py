"""Links under which anybody may read one conversation, until they expire or are revoked.

The link's secret is in its address and, as a digest, in the store. It opens nothing else: the page
behind it has no token, and the hub answers it with what `shared_content` lets through.
"""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from attrs import define, field

from hapi.hub.access.rate_limits import Rate, TokenBuckets, address_group
from hapi.hub.access.tokens import digest
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound, RequestRateLimited
from hapi.hub.domain.notifications import session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.records.shared_content import shared_content
from hapi.hub.store.rows import MessageRow, ShareLinkRow
from hapi.net.server.http import encode_json

SECRET_SIZE = 24  # bytes of randomness: a plain SHA-256 of it cannot be searched
DEFAULT_LIFETIME = 7 * 86_400_000  # ms
MAX_LIFETIME = 90 * 86_400_000  # ms
MAX_LINKS = 20  # of one session, without those that have expired
READS = Rate(120, 3.0)  # pages of shared conversations, from one address
PAGE_MESSAGES = 100
PAGE_SIZE = 512 << 10  # bytes; the message that exceeds it is the last one of its page
PIECE = 10  # messages that are read at once
GONE = "This link does not exist, has expired or was revoked"


def link_view(row: ShareLinkRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "createdAt": row.created_at,
        "expiresAt": row.expires_at,
        "includesLater": row.until_seq is None,
        "includesTools": row.has_files,
        "includesThoughts": row.has_thoughts,
    }


@define(eq=False, repr=False)
class Sharing:
    registry: HubRegistry
    _reads: TokenBuckets = field(factory=lambda: TokenBuckets(READS))

    # --- for who shares ---------------------------------------------------------------------------

    async def links(self, session: HubSession) -> list[ShareLinkRow]:
        """The links that are in force. Those that have expired are deleted."""
        found = []
        for row in await self.registry.store.share_links(session.id):
            if row.expires_at > self.registry.now():
                found.append(row)
            else:
                await self.registry.store.delete_share_link(session.id, row.id)
        return found

    async def create(
        self,
        session: HubSession,
        lifetime: int | None,
        includes_later: bool,
        includes_tools: bool,
        includes_thoughts: bool,
    ) -> tuple[ShareLinkRow, str]:
        """A new link and its secret, which is not kept anywhere. `lifetime` in ms. Raises
        InvalidRequest, Conflict.
        """
        lifetime = DEFAULT_LIFETIME if lifetime is None else lifetime
        if not 0 < lifetime <= MAX_LIFETIME:
            raise InvalidRequest("A share link expires within 90 days")
        await self.links(session)  # which deletes those that have expired
        secret, now = secrets.token_urlsafe(SECRET_SIZE), self.registry.now()
        newest = await self.registry.store.latest(session.id, 1)
        until = None if includes_later else newest[0].seq if newest else 0
        row = ShareLinkRow(
            str(uuid.uuid4()),
            session.id,
            digest(secret),
            now,
            now + lifetime,
            until,
            includes_tools,
            includes_thoughts,
        )

        def create(turn: Any) -> None:
            in_force = [each for each in turn.share_links(session.id) if each.expires_at > now]
            if len(in_force) >= MAX_LINKS:
                message = "This conversation has too many share links: revoke some first"
                raise Conflict(message, "too_many_links")
            turn.create_share_link(row)

        await self.registry.turn(session, create)
        return row, secret

    async def revoke(self, session: HubSession, link_id: str) -> None:
        """Raises NotFound."""
        if not await self.registry.store.delete_share_link(session.id, link_id):
            raise NotFound("Share link not found")

    # --- for who reads ----------------------------------------------------------------------------

    async def opened(self, secret: str, address: str) -> tuple[ShareLinkRow, HubSession]:
        """The link of a secret, and its session. Raises NotFound, RequestRateLimited."""
        group, seconds = address_group(address), self.registry.clock.seconds()
        wait = self._reads.retry_after(group, seconds)
        if wait > 0:
            raise RequestRateLimited(int(wait) + 1)
        self._reads.add(group, seconds)
        row = await self.registry.store.share_link(digest(secret))
        if row is not None and (cluster := self.registry.cluster) is not None:
            await cluster.know(row.session_id)  # another hub may have just created it
        session = None if row is None else self.registry.sessions.get(row.session_id)
        if row is None or session is None or row.expires_at <= self.registry.now():
            raise NotFound(GONE)
        return row, session

    def about(self, row: ShareLinkRow, session: HubSession) -> dict[str, Any]:
        """What readers are told of the conversation: no path, no machine, no account."""
        return {
            "title": session_label(session),
            "agent": session.flavor,
            "sharedAt": row.created_at,
            "expiresAt": row.expires_at,
            "isGrowing": row.until_seq is None,
        }

    async def page(self, row: ShareLinkRow, after: tuple[int, int] | None) -> dict[str, Any]:
        """One page of the conversation, oldest first; `cursor`: where the next one begins, None if
        there is none.
        """
        position = (-1, -1) if after is None else after
        shown: list[dict[str, Any]] = []
        size = count = 0
        while count < PAGE_MESSAGES and size < PAGE_SIZE:
            rows = await self.registry.store.after(row.session_id, position, None, PIECE)
            for message in rows:
                position = message.position
                view = self._view(row, message)
                if view is not None:
                    shown.append(view)
                    size += len(encode_json(view))
            count += len(rows)
            if len(rows) < PIECE:
                return {"messages": shown, "cursor": None}
        return {"messages": shown, "cursor": f"{position[0]}-{position[1]}"}

    def _view(self, row: ShareLinkRow, message: MessageRow) -> dict[str, Any] | None:
        is_waiting = message.invoked_at is None  # the agent does not have it yet
        if is_waiting or (row.until_seq is not None and message.seq > row.until_seq):
            return None
        content = shared_content(message.content, row.has_files, row.has_thoughts)
        if content is None:
            return None
        return {
            "id": message.id,
            "seq": message.seq,
            "content": content,
            "createdAt": message.created_at,
            "invokedAt": message.invoked_at,
        }


def read_cursor(text: str | None) -> tuple[int, int] | None:
    """The position that a cursor stands for. Raises InvalidRequest."""
    if not text:
        return None
    time, _, seq = text.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) <= 16 for part in (time, seq)):
        raise InvalidRequest("Invalid cursor")
    return int(time), int(seq)
