"""REST: push subscriptions, what each device wants to be notified of, and answers that come from a
notification.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from attrs import define
from klein import Klein

from hapi.hub.domain.errors import (
    AccessDenied,
    Conflict,
    InvalidRequest,
    NotFound,
    RpcError,
    Unavailable,
    field_issues,
)
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.routing import INVALID_BODY, OK, RequestContext, Routes, api, public
from hapi.hub.notify.notifier import Notifier
from hapi.hub.notify.recipients import Recipient
from hapi.hub.notify.request_answers import RequestAnswers
from hapi.hub.notify.settings import SettingsChange, zone_named
from hapi.protocol.rest.bodies import AnswerByToken, Subscribe, Unsubscribe
from hapi.protocol.rest.notifications import (
    NotifiedDevice,
    NotifiedDevices,
    Subscribed,
    VapidPublicKey,
)
from hapi.protocol.rest.outcome import Done
from hapi.protocol.token import Scope
from hapi.settings import ConfigurationError

OF_ANOTHER = "This subscription was registered with another access token"
UNKNOWN_ZONE = "The time zone of the quiet hours is unknown"


@define(eq=False, repr=False)
class NotificationRoutes(Routes):
    notifier: Notifier
    answers: RequestAnswers

    app: ClassVar[Klein] = Klein()

    # --- subscriptions ----------------------------------------------------------------------------

    @app.route("/api/push/vapid-public-key", methods=["GET"])
    @api
    @operation(VapidPublicKey, errors=(Unavailable,))
    async def read_public_key(self, context: RequestContext) -> dict[str, Any]:
        """Show the key with which a browser makes a push subscription."""
        try:
            return {"publicKey": self.notifier.public_key}
        except ConfigurationError as error:
            raise Unavailable(str(error)) from error

    @app.route("/api/push/subscribe", methods=["POST"])
    @api
    @operation(Subscribed, body=Subscribe, errors=(AccessDenied, Conflict))
    async def subscribe(self, context: RequestContext) -> dict[str, Any]:
        """Notify a browser through its push subscription.

        The endpoint must be an https URL at a public address. A subscription that is known keeps
        its settings; one that was made with another token is taken over by the browser itself,
        which has its keys, or with the scope `admin`.
        """
        body, principal = context.body(Subscribe), context.principal
        keys = msgspec.to_builtins(body.keys)
        known = self.notifier.subscribed(body.endpoint)
        if known is not None and known.row.keys != keys:
            self._require_own(context, known)
        label, token_id = body.label or "", self.notifier.recipients.token_id_of(principal)
        made = await self.notifier.subscribe(
            principal.namespace, body.endpoint, keys, label.strip(), token_id, None
        )
        return {**OK, "id": made.id}

    @app.route("/api/push/subscribe", methods=["DELETE"])
    @api
    @operation(Done, body=Unsubscribe)
    async def unsubscribe(self, context: RequestContext) -> dict[str, Any]:
        """Send nothing more to a push subscription."""
        found = self.notifier.subscribed(context.body(Unsubscribe).endpoint)
        if found is not None and found.namespace == context.namespace:
            self._require_own(context, found)
            await self.notifier.recipients.remove(found)
        return OK

    # --- devices ----------------------------------------------------------------------------------

    @app.route("/api/notifications/devices", methods=["GET"])
    @api
    @operation(NotifiedDevices)
    async def list_devices(self, context: RequestContext) -> dict[str, Any]:
        """List the devices of the namespace that get notifications."""
        found = self.notifier.recipients.of(context.namespace)
        return {"devices": [recipient.view() for recipient in found]}

    @app.route("/api/notifications/devices/<device_id>", methods=["PATCH"])
    @api
    @operation(NotifiedDevice, body=SettingsChange)
    async def change_device(self, context: RequestContext, device_id: str) -> dict[str, Any]:
        """Change what a device is notified of."""
        change = context.body(SettingsChange)
        quiet = change.quiet_hours
        if quiet is not None and quiet is not msgspec.UNSET and not zone_named(quiet.time_zone):
            raise InvalidRequest(INVALID_BODY, issues=field_issues("quietHours", UNKNOWN_ZONE))
        recipient = self._administered(context, device_id)
        changed = await self.notifier.recipients.change(recipient.id, context.namespace, change)
        return changed.view()

    @app.route("/api/notifications/devices/<device_id>", methods=["DELETE"])
    @api
    @operation(Done)
    async def remove_device(self, context: RequestContext, device_id: str) -> dict[str, Any]:
        """Send nothing more to a device."""
        recipient = self._administered(context, device_id)
        await self.notifier.recipients.remove(recipient)
        return OK

    @app.route("/api/notifications/devices/<device_id>/test", methods=["POST"])
    @api
    @operation(Done)
    async def test_device(self, context: RequestContext, device_id: str) -> dict[str, Any]:
        """Send a notification to a device that only says that it has arrived."""
        self.notifier.test(self._administered(context, device_id))
        return OK

    def _administered(self, context: RequestContext, device_id: str) -> Recipient:
        """The device, if the token of the request may change it. Raises NotFound, AccessDenied."""
        recipient = self.notifier.recipients.find(device_id, context.namespace)
        self._require_own(context, recipient)
        return recipient

    def _require_own(self, context: RequestContext, recipient: Recipient) -> None:
        """Raises AccessDenied unless the token of the request may change the device: one that was
        registered with it; with the scope `admin`, each of the namespace.
        """
        if recipient.row.token_id == self.notifier.recipients.token_id_of(context.principal):
            return
        if recipient.namespace != context.namespace:
            raise AccessDenied(OF_ANOTHER)
        context.require(Scope.ADMIN)

    # --- answers ----------------------------------------------------------------------------------

    @app.route("/api/notifications/answer", methods=["POST"])
    @public
    @operation(Done, body=AnswerByToken, errors=(NotFound, Conflict, RpcError))
    async def answer(self, context: RequestContext) -> dict[str, Any]:
        """Answer the permission request of a notification.

        The token is the one in the encrypted notification. It answers this one request, and is
        worth nothing once that has been answered.
        """
        body = context.body(AnswerByToken)
        found = self.notifier.read_answer(body.token)
        await self.answers.give(
            found.recipient,
            found.session,
            found.request_id,
            found.request,
            body.decision == "allow",
            self.dispatcher.authenticator.address(context.request),
            getattr(context.request, "request_id", None) or "",
        )
        return OK
