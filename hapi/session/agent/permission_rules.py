"""The rules of a session: what a person has allowed for its rest. They are part of its metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.permission_rules import (
    Action,
    PermissionRule,
    read_rules,
    rules_of,
    with_rules,
)
from hapi.protocol.records import new_id
from hapi.protocol.rpc import rpc_error
from hapi.session.hub.uplink import Json

KEY = "permissionRules"  # in the metadata


@define(eq=False, repr=False)
class PermissionRules:
    """`metadata` survives the process, so that a session that is resumed keeps its rules.

    What was added or removed in this process counts at once, before the hub has stored it, and also
    at a hub that does not give it back: npm's hub drops what it does not know of the metadata.
    """

    _metadata: VersionedDocument
    _new_id: Callable[[], str] = new_id
    _now: Callable[[], int] = field(kw_only=True)  # milliseconds since the epoch, for the wire
    _added: tuple[PermissionRule, ...] = ()
    _removed: frozenset[str] = frozenset()
    log = Logger()

    @property
    def rules(self) -> tuple[PermissionRule, ...]:
        stored = read_rules((self._metadata.value or {}).get(KEY))
        return self._changed(stored)

    def _changed(self, stored: tuple[PermissionRule, ...]) -> tuple[PermissionRule, ...]:
        kept = tuple(rule for rule in stored if rule.id not in self._removed)
        return with_rules(kept, self._added)

    def matching(self, action: Action) -> PermissionRule | None:
        return next((rule for rule in self.rules if rule.allows(action)), None)

    def allow(self, action: Action, allow_tools: tuple[str, ...] | None) -> bool:
        """Allow `action` from now on, or what `allow_tools` says; False if no rule can say it."""
        made = rules_of(action, allow_tools, self._new_id(), self._now())
        if made:
            self._added += made
            self._store()
        return bool(made)

    def list(self, _: Any = None) -> Json:
        """The `list-permission-rules` RPC."""
        return {"success": True, "rules": [rule.as_json() for rule in self.rules]}

    def remove(self, params: Any) -> Json:
        """The `remove-permission-rule` RPC: `{id}`. A rule that is gone already is no error."""
        rule_id = params.get("id") if isinstance(params, dict) else None
        if not isinstance(rule_id, str) or not rule_id:
            return rpc_error("remove-permission-rule needs the id of the rule")
        self._added = tuple(rule for rule in self._added if rule.id != rule_id)
        self._removed |= {rule_id}
        self._store()
        return self.list()

    def _store(self) -> None:
        def rebuild(metadata: Any) -> Any:
            stored = read_rules((metadata or {}).get(KEY))
            return {**(metadata or {}), KEY: [rule.as_json() for rule in self._changed(stored)]}

        self._metadata.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "The rules of this session are not stored: {reason}",
                reason=failure.getErrorMessage(),
            )
        )
