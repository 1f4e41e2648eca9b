"""The recipients of notifications: devices with a push subscription, and people at Telegram."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.access.auth import Principal
from hapi.hub.access.tokens import DeviceToken, DeviceTokens
from hapi.hub.domain.errors import Conflict, NotFound
from hapi.hub.notify.settings import NotificationSettings, SettingsChange, stored_settings
from hapi.hub.store.interface import IStore, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import RecipientRow
from hapi.hub.store.shared import RECIPIENTS_CHANGED
from hapi.protocol.token import ALL_SCOPES, Scope

MAX_RECIPIENTS = 50  # of one namespace
MAX_LABEL_LENGTH = 64  # characters


@define(eq=False, repr=False)
class Recipient:
    row: RecipientRow
    settings: NotificationSettings

    @classmethod
    def of(cls, row: RecipientRow) -> Recipient:
        return cls(row, stored_settings(row.settings))

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def namespace(self) -> str:
        return self.row.namespace

    def view(self) -> dict[str, Any]:
        """The recipient as the REST API shows it, without its address and keys."""
        row = self.row
        return {
            "id": row.id,
            "kind": row.kind,
            "label": row.label,
            "createdAt": row.created_at,
            "settings": msgspec.to_builtins(self.settings),
        }


@define(eq=False, repr=False)
class Recipients:
    """All recipients, in memory and in the store. `now` is wall time in ms.

    `on_removed` is called with the id of one that has gone.
    """

    _store: IStore
    _devices: DeviceTokens
    _now: Callable[[], int]
    # Stands for the hub's own access token; another one makes its recipients worthless.
    _hub_token_id: str = ""
    on_removed: list[Callable[[str], None]] = field(factory=list)
    _by_id: dict[str, Recipient] = field(factory=dict)
    # Serializes the changes: each begins from what the one before has stored.
    _lock: DeferredLock = field(factory=DeferredLock)

    log = Logger()

    async def load(self) -> None:
        for row in await self._store.recipients():
            self._by_id[row.id] = Recipient.of(row)

    async def reload(self) -> None:
        """Another hub has changed recipients."""
        await self._lock.acquire()
        try:
            rows = {row.id: row for row in await self._store.recipients()}
            for recipient_id in self._by_id.keys() - rows.keys():
                self._forget(recipient_id)
            for row in rows.values():
                found = self._by_id.get(row.id)
                if found is None:
                    self._by_id[row.id] = Recipient.of(row)
                elif found.row != row:
                    found.row, found.settings = row, stored_settings(row.settings)
        finally:
            self._lock.release()

    def of(self, namespace: str) -> list[Recipient]:
        return [each for each in self._by_id.values() if each.namespace == namespace]

    def get(self, recipient_id: str) -> Recipient | None:
        return self._by_id.get(recipient_id)

    def find(self, recipient_id: str, namespace: str) -> Recipient:
        """Raises NotFound."""
        found = self._by_id.get(recipient_id)
        if found is None or found.namespace != namespace:
            raise NotFound("Device not found")
        return found

    def at(self, kind: str, address: str) -> Recipient | None:
        """The recipient with this address."""
        rows = self._by_id.values()
        return next(
            (each for each in rows if (each.row.kind, each.row.address) == (kind, address)), None
        )

    def device(self, recipient: Recipient) -> DeviceToken | None:
        """The access token with which the recipient was made, if it is that of a device and still
        in force.
        """
        return self._devices.get(recipient.row.token_id)

    def token_id_of(self, principal: Principal) -> str:
        """Stands for the access token of a request, with which a recipient ends."""
        return self._hub_token_id if principal.device is None else principal.device.id

    def scopes(self, recipient: Recipient) -> frozenset[Scope]:
        """What a recipient may do; nothing once the access token it was made with has ended."""
        if recipient.row.token_id == self._hub_token_id:
            return ALL_SCOPES
        device = self.device(recipient)
        return frozenset() if device is None else device.scopes

    async def add(
        self,
        namespace: str,
        kind: str,
        address: str,
        keys: Any,
        label: str,
        token_id: str,
        settings: NotificationSettings | None = None,
    ) -> Recipient:
        """Store a recipient. One with the same address keeps its id, and its settings if none are
        given. Raises Conflict.
        """
        await self._lock.acquire()
        try:
            return await self._add(namespace, kind, address, keys, label, token_id, settings)
        finally:
            self._lock.release()

    async def _add(
        self,
        namespace: str,
        kind: str,
        address: str,
        keys: Any,
        label: str,
        token_id: str,
        settings: NotificationSettings | None,
    ) -> Recipient:
        before = self.at(kind, address)
        kept = before if before is not None and before.namespace == namespace else None
        if kept is None and len(self.of(namespace)) >= MAX_RECIPIENTS:
            raise Conflict(
                "Too many devices get notifications: remove some first", "too_many_devices"
            )
        chosen = settings or (kept.settings if kept else NotificationSettings())
        row = RecipientRow(
            kept.id if kept else str(uuid.uuid4()),
            namespace,
            kind,
            address,
            keys,
            label[:MAX_LABEL_LENGTH] or (kept.row.label if kept else ""),
            token_id,
            msgspec.to_builtins(chosen),
            kept.row.created_at if kept else self._now(),
        )
        if kept is None or kept.row != row:
            await self._write(row)
        if before is not None and before.id != row.id:
            self._forget(before.id)
        made = self._by_id[row.id] = Recipient(row, chosen)
        return made

    async def change(self, recipient_id: str, namespace: str, change: SettingsChange) -> Recipient:
        """Change the settings of a recipient once earlier changes are stored. Raises NotFound."""
        await self._lock.acquire()
        try:
            recipient = self.find(recipient_id, namespace)
            settings = change.applied_to(recipient.settings)
            row = evolve(recipient.row, settings=msgspec.to_builtins(settings))
            await self._write(row)
            recipient.row, recipient.settings = row, settings
            return recipient
        finally:
            self._lock.release()

    async def remove(self, recipient: Recipient) -> None:
        def delete(turn: Any) -> None:
            if turn.delete_recipient(recipient.id):
                turn.publish("", RECIPIENTS_CHANGED)

        self._forget(recipient.id)
        await self._lock.acquire()
        try:
            await self._store.turn(recipient.id, delete)
        finally:
            self._lock.release()

    async def _write(self, row: RecipientRow) -> None:
        def write(turn: Any) -> None:
            turn.write_recipient(row)
            turn.publish("", RECIPIENTS_CHANGED)

        await self._store.turn(row.id, write)

    def _forget(self, recipient_id: str) -> None:
        if self._by_id.pop(recipient_id, None) is not None:
            for call in self.on_removed:
                call(recipient_id)

    def gone(self, recipient_id: str) -> None:
        """A push service does not know the subscription any more."""
        found = self._by_id.get(recipient_id)
        if found is not None:
            self._remove_in_background(found)

    def end_device(self, device: DeviceToken) -> None:
        """An access token has ended, and with it the notifications of its devices."""
        for recipient in list(self._by_id.values()):
            if recipient.row.token_id == device.id:
                self._remove_in_background(recipient)

    def _remove_in_background(self, recipient: Recipient) -> None:
        run_in_background(self._remove(recipient), self.log, "A device could not be removed")

    async def _remove(self, recipient: Recipient) -> None:
        try:
            await self.remove(recipient)
        except (StoreBusy, StoreFull, StoreFailed) as error:
            self.log.warn("A device was not removed for good: {reason}", reason=str(error))
