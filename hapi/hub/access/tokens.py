"""Access tokens of devices and machines: made, looked up, revoked, and what each may do."""

from __future__ import annotations

import hashlib
import secrets
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import AccessDenied, Conflict, InvalidRequest, NotFound
from hapi.hub.store.interface import IStore, NameTaken, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import TokenRow
from hapi.hub.store.shared import TOKENS_CHANGED
from hapi.protocol.token import DEVICE_TOKEN_PREFIX, Scope

SECRET_SIZE = 32  # bytes of randomness: a plain SHA-256 of it cannot be searched
MAX_TOKENS = 1000  # of all namespaces
MAX_NAME_LENGTH = 64  # characters
MAX_LIFETIME = 10 * 365 * 86_400_000  # ms
MAX_EXPIRY_WAIT = 60.0  # seconds; the wall clock may jump meanwhile
USE_INTERVAL = 5 * 60_000  # ms between two writes of the time of the last use


@define(eq=False, repr=False)
class DeviceToken:
    """One access token of a device or machine that is in force until `is_revoked`."""

    row: TokenRow
    scopes: frozenset[Scope]
    is_revoked: bool = False

    @classmethod
    def of(cls, row: TokenRow) -> DeviceToken:
        known = {scope.value: scope for scope in Scope}
        granted = [known[word] for word in row.scopes.split() if word in known]
        return cls(row, frozenset().union(*(scope.includes for scope in granted)))

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def namespace(self) -> str:
        return self.row.namespace

    def is_current(self, now: int) -> bool:
        """Whether it is in force at `now` (ms since the epoch)."""
        return not self.is_revoked and (self.row.expires_at is None or now < self.row.expires_at)

    def view(self) -> dict[str, Any]:
        """The token as the REST API shows it, without the secret."""
        row = self.row
        return {
            "id": row.id,
            "name": row.name,
            "namespace": row.namespace,
            "scopes": row.scopes.split(),
            "machineId": row.machine_id,
            "createdAt": row.created_at,
            "expiresAt": row.expires_at,
            "lastUsedAt": row.last_used_at,
        }


def may_access(device: DeviceToken | None, entity: HubSession | HubMachine) -> bool:
    """Whether a program with the token `device` may serve this session or machine of its
    namespace: those of its own machine. None, the access token of the hub, may serve all.
    """
    if device is None:
        return True
    machine = entity.metadata.get("machineId") if isinstance(entity, HubSession) else entity.id
    return machine is not None and machine == device.row.machine_id


def require_access(device: DeviceToken | None, entity: HubSession | HubMachine) -> None:
    """Raises AccessDenied."""
    if not may_access(device, entity):
        what = "Session" if isinstance(entity, HubSession) else "Machine"
        raise AccessDenied(f"{what} access denied")


def digest(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@define(eq=False, repr=False)
class DeviceTokens:
    """The tokens in force, in memory. `now` is wall time in ms."""

    now: Callable[[], int] = lambda: int(time.time() * 1000)
    on_used: Callable[[DeviceToken], object] = lambda token: None  # a client has shown the token
    _by_digest: dict[str, DeviceToken] = field(factory=dict)
    _by_id: dict[str, DeviceToken] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Any:
        return iter(list(self._by_id.values()))

    def add(self, token: DeviceToken) -> None:
        self._by_digest[token.row.digest] = self._by_id[token.id] = token

    def remove(self, token: DeviceToken) -> None:
        self._by_id.pop(token.id, None)
        self._by_digest.pop(token.row.digest, None)

    def stored(self, token_id: str) -> DeviceToken | None:
        """The token with this id, also if it is not in force any more and could not be deleted."""
        return self._by_id.get(token_id)

    def has_machine(self, machine_id: object) -> bool:
        """Whether a token in force belongs to this machine alone."""
        return machine_id is not None and any(
            token.row.machine_id == machine_id for token in self._by_id.values()
        )

    def find(self, text: str) -> DeviceToken | None:
        """The token that a client has sent: `hapi_…`, which may be followed by a colon and the
        namespace of the token. None if it is not in force.

        The dictionary is asked for a digest, so that the time it takes tells nothing of the tokens
        in it.
        """
        secret, colon, namespace = text.strip().partition(":")
        found = self._by_digest.get(digest(secret))
        if found is None or not found.is_current(self.now()):
            return None
        if colon and namespace != found.namespace:
            return None
        self.on_used(found)
        return found

    def get(self, token_id: str) -> DeviceToken | None:
        """The token with this id, None if it is not in force."""
        found = self._by_id.get(token_id)
        return found if found is not None and found.is_current(self.now()) else None


def checked_name(name: str) -> str:
    """Raises InvalidRequest. A name appears in logs and in lists of several programs."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise InvalidRequest(f"The name of a token has 1 to {MAX_NAME_LENGTH} characters")
    if not name.isprintable() or not unicodedata.is_normalized("NFC", name):
        raise InvalidRequest("The name of a token must be printable text in the normal form NFC")
    return name


@define(eq=False, repr=False)
class TokenKeeper:
    """Makes and revokes the tokens of a hub, and keeps them in its store."""

    devices: DeviceTokens
    _store: IStore
    _clock: IReactorTime
    on_ended: list[Callable[[DeviceToken], None]] = field(factory=list)  # revoked or expired
    _expiry_call: IDelayedCall | None = None

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.devices.on_used = self.used

    async def load(self) -> None:
        """Read all tokens. Those that have expired stay in the list until they are revoked."""
        for row in await self._store.tokens():
            self.devices.add(DeviceToken.of(row))
        self._watch_expiry()

    async def reload(self) -> None:
        """Another hub has changed tokens: end what is gone, and know what is new."""
        rows = {row.id: row for row in await self._store.tokens()}
        for token in self.devices:
            row = rows.pop(token.id, None)
            if row is None:
                self._end(token)
                self.devices.remove(token)
            else:
                token.row = row
        for row in rows.values():
            self.devices.add(DeviceToken.of(row))
        self._watch_expiry()

    async def _changed(self, token_id: str, change: Callable[[Any], object]) -> None:
        """Commit a change of a token, of which the other hubs hear."""

        def changed(turn: Any) -> None:
            change(turn)
            turn.publish("", TOKENS_CHANGED)

        await self._store.turn(token_id, changed)

    def stop(self) -> None:
        if self._expiry_call is not None and self._expiry_call.active():
            self._expiry_call.cancel()

    def listed(self, namespace: str | None) -> list[DeviceToken]:
        """The tokens of a namespace, or of all."""
        return [token for token in self.devices if namespace in (None, token.namespace)]

    async def create(
        self,
        namespace: str,
        name: str,
        scopes: Iterable[Scope],
        lifetime: int | None = None,
        machine_id: str | None = None,
    ) -> tuple[DeviceToken, str]:
        """A new token and its text, which is not kept anywhere. `lifetime` in ms, None: for good.

        Raises InvalidRequest, Conflict.
        """
        name, granted = checked_name(name), sorted(set(scopes), key=list(Scope).index)
        if not granted:
            raise InvalidRequest("A token needs at least one scope")
        if lifetime is not None and not 0 < lifetime <= MAX_LIFETIME:
            raise InvalidRequest("A token expires within ten years, or never")
        if machine_id is not None and Scope.MACHINE not in granted:
            raise InvalidRequest("Only a token with the scope machine can be bound to a machine")
        if len(self.devices) >= MAX_TOKENS:
            raise Conflict("There are too many tokens: revoke some first", "too_many_tokens")
        text = DEVICE_TOKEN_PREFIX + secrets.token_urlsafe(SECRET_SIZE)
        now = self.devices.now()
        row = TokenRow(
            str(uuid.uuid4()),
            namespace,
            name,
            digest(text),
            " ".join(granted),
            machine_id,
            now,
            None if lifetime is None else now + lifetime,
        )
        try:
            await self._changed(row.id, lambda turn: turn.create_token(row))
        except NameTaken:
            message = "Another token has this name: revoke it first, or choose another name"
            raise Conflict(message, "name_taken") from None
        token = DeviceToken.of(row)
        self.devices.add(token)
        self._watch_expiry()
        return token, text

    def find(self, token_id: str, namespace: str | None) -> DeviceToken:
        """The token with this id. Raises NotFound, also if it is one of another namespace."""
        found = self.devices.stored(token_id)
        if found is None or namespace not in (None, found.namespace):
            raise NotFound("Token not found")
        return found

    async def revoke(self, token: DeviceToken) -> None:
        """End `token` and everything that was opened with it, at once and for good.

        When the store fails, the token is out of force until the hub starts again, and can be
        revoked once more.
        """
        self._end(token)
        await self._changed(token.id, lambda turn: turn.delete_token(token.id))
        self.devices.remove(token)

    def _end(self, token: DeviceToken) -> None:
        token.is_revoked = True
        for call in self.on_ended:
            try:
                call(token)
            except Exception:
                self.log.failure("A connection of a token that has ended could not be closed")

    # --- machines ---------------------------------------------------------------------------------

    async def bind(self, token: DeviceToken, machine_id: str, is_new: bool) -> None:
        """Bind `token` to the machine that it registers, which is the only one from then on.

        A token that is not bound yet may only bring a new machine: otherwise it would open the
        machines of others. Raises AccessDenied.
        """
        if token.row.machine_id == machine_id:
            return
        if token.row.machine_id is not None:
            raise AccessDenied("This token belongs to another machine")
        if not is_new:
            raise AccessDenied(
                "This machine is registered already: make the token with "
                f"`hapi auth token create --machine {machine_id[:64]}`"
            )
        before, token.row = token.row, evolve(token.row, machine_id=machine_id)
        try:
            changes = {"machine_id": machine_id}
            await self._changed(token.id, lambda turn: turn.change_token(token.id, changes))
        except BaseException:
            token.row = before
            raise

    def used(self, token: DeviceToken) -> None:
        """Keep the time of the use, from time to time."""
        now, before = self.devices.now(), token.row.last_used_at
        if before is None or now - before >= USE_INTERVAL:
            token.row = evolve(token.row, last_used_at=now)
            run_in_background(self._write_use(token, now), self.log, "Recording the use of a token")

    async def _write_use(self, token: DeviceToken, now: int) -> None:
        try:
            await self._store.change_token(token.id, {"last_used_at": now})
        except (KeyError, StoreBusy, StoreFull, StoreFailed) as error:
            self.log.debug("The use of a token was not recorded: {reason}", reason=str(error))

    # --- expiry -----------------------------------------------------------------------------------

    def _watch_expiry(self) -> None:
        self.stop()
        now = self.devices.now()
        for token in self.devices:
            if not token.is_current(now) and not token.is_revoked:
                self._end(token)
        times = [
            token.row.expires_at
            for token in self.devices
            if token.row.expires_at is not None and not token.is_revoked
        ]
        if times:
            wait = min((min(times) - now) / 1000, MAX_EXPIRY_WAIT)
            self._expiry_call = self._clock.callLater(wait, self._watch_expiry)
