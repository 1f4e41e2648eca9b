"""How many connections and requests may be open at once: in all, of a namespace, and of a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field, frozen

from hapi.hub.access.auth import Principal
from hapi.hub.access.rate_limits import Cost, RequestRateLimits
from hapi.hub.domain.errors import HubFull, NoPlace
from hapi.protocol.token import DEFAULT_NAMESPACE

RETRY_AFTER = 5  # seconds that a client without a place is asked to wait


@frozen
class Capacity:
    """How many may be open at once.

    The owner of the hub is the namespace `default`: the limit of a namespace does not apply to it,
    and `owner_reserve` of the places in all are kept for it.
    """

    in_all: int
    per_namespace: int
    per_token: int  # of one web token
    owner_reserve: int


EVENT_STREAMS = Capacity(in_all=512, per_namespace=192, per_token=128, owner_reserve=192)
SOCKETS = Capacity(in_all=8192, per_namespace=2048, per_token=8192, owner_reserve=4096)
EXPENSIVE_REQUESTS = Capacity(in_all=512, per_namespace=64, per_token=256, owner_reserve=256)


@define(eq=False, repr=False)
class Places:
    """The open connections or requests of one kind. `what` names them, in the plural."""

    what: str
    capacity: Capacity
    taken: int = field(default=0, init=False)
    _namespaces: Counter[str] = field(factory=Counter)
    _tokens: Counter[str] = field(factory=Counter)

    def take(self, principal: Principal) -> None:
        """Take a place, which must be given back by `leave`. Raises NoPlace, HubFull."""
        namespace, token_id = principal.namespace, principal.token_id
        capacity = self.capacity
        if token_id and self._tokens[token_id] >= capacity.per_token:
            raise NoPlace(self.what, "this login", RETRY_AFTER)
        if namespace != DEFAULT_NAMESPACE:
            if self._namespaces[namespace] >= capacity.per_namespace:
                raise NoPlace(self.what, "this namespace", RETRY_AFTER)
            of_others = self.taken - self._namespaces[DEFAULT_NAMESPACE]
            if of_others >= capacity.in_all - capacity.owner_reserve:
                raise HubFull(self.what, RETRY_AFTER)
        if self.taken >= capacity.in_all:
            raise HubFull(self.what, RETRY_AFTER)
        self.taken += 1
        self._namespaces[namespace] += 1
        if token_id:
            self._tokens[token_id] += 1

    def leave(self, principal: Principal) -> None:
        """Give a place back."""
        self.taken -= 1
        _decrement(self._namespaces, principal.namespace)
        if principal.token_id:
            _decrement(self._tokens, principal.token_id)


def _decrement(counter: Counter[str], key: str) -> None:
    """Subtract 1, and forget a key that has reached 0."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


@define(eq=False, repr=False)
class RequestLimits:
    """The limits of expensive requests: how often, and how many at once."""

    _rates: RequestRateLimits = field(factory=RequestRateLimits)
    _places: Places = field(factory=lambda: Places("requests of this kind", EXPENSIVE_REQUESTS))

    def count(self, cost: Cost, principal: Principal, now: float) -> None:
        """Count a request that is answered at once. Raises RequestRateLimited."""
        self._rates.admit(cost, principal.namespace, now)

    @contextmanager
    def admitted(self, cost: Cost, principal: Principal, now: float) -> Iterator[None]:
        """Count a request, and keep a place for it until the end of the block. Raises
        RequestRateLimited, NoPlace, HubFull.
        """
        self._places.take(principal)
        try:
            self._rates.admit(cost, principal.namespace, now)
            yield
        finally:
            self._places.leave(principal)
