"""REST: health, logging in, and the settings of the hub itself."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from attrs import define, field
from klein import Klein

from hapi.hub.access.auth import Principal, TokenIssuer, device_principal
from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.entities import HubSettings
from hapi.hub.domain.errors import (
    AccessDenied,
    Conflict,
    InvalidRequest,
    LoginRateLimited,
    NotFound,
    RequestRateLimited,
    Unauthenticated,
    Unavailable,
    field_issues,
)
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.responses import health
from hapi.hub.http.routes.tokens import access_view
from hapi.hub.http.routing import INVALID_BODY, OK, RequestContext, Routes, api, public
from hapi.hub.notify.init_data import InvalidInitData, TelegramUser, read_init_data
from hapi.hub.notify.recipients import Recipients
from hapi.hub.store.rows import TELEGRAM
from hapi.protocol.rest.access import LoginReply
from hapi.protocol.rest.bodies import Bind, HubSettingsChange, Login, ReadLive, Visibility
from hapi.protocol.rest.hub import Health, HubSettingsReply, HubStatusReply
from hapi.protocol.rest.outcome import Done
from hapi.protocol.token import Scope


class StatusReport(Protocol):
    """Where the hub's status comes from."""

    async def report(self) -> dict[str, Any]: ...


@define(eq=False, repr=False)
class AuthRoutes(Routes):
    token_issuer: TokenIssuer
    settings: HubSettings
    status: StatusReport
    recipients: Recipients
    telegram_token: str = field(default="", repr=False)  # of the bot, "" without one

    app: ClassVar[Klein] = Klein()

    @app.route("/health", methods=["GET"])
    @public
    @operation(Health)
    async def check_health(self, context: RequestContext) -> Health:
        """Show that the hub answers."""
        return health()

    @app.route("/api/auth", methods=["POST"])
    @public
    @operation(
        LoginReply,
        body=Login,
        errors=(Unauthenticated, LoginRateLimited, RequestRateLimited, Unavailable),
    )
    async def log_in(self, context: RequestContext) -> dict[str, Any]:
        """Exchange an access token for a web token."""
        body = context.body(Login)
        if body.access_token is None:
            if body.init_data is not None:
                user = self._telegram_user(context, body.init_data)
                return self._log_in_by_telegram(context, user)
            reason = "Invalid input: expected string, received undefined"
            raise InvalidRequest(INVALID_BODY, issues=field_issues("accessToken", reason))
        principal = self._check_access_token(context, body.access_token)
        return self._logged_in(context, principal, "Web User")

    @app.route("/api/bind", methods=["POST"])
    @public
    @operation(
        LoginReply,
        body=Bind,
        errors=(Unauthenticated, LoginRateLimited, RequestRateLimited, Unavailable, Conflict),
    )
    async def bind(self, context: RequestContext) -> dict[str, Any]:
        """Let a Telegram user log in from now on, and notify them, by an access token."""
        body = context.body(Bind)
        user = self._telegram_user(context, body.init_data)
        principal = self._check_access_token(context, body.access_token)
        if Scope.READ not in principal.scopes:
            raise Unauthenticated("This access token is not one for people")
        known = self.recipients.at(TELEGRAM, str(user.id))
        is_elsewhere = known is not None and known.namespace != principal.namespace
        if known is not None and is_elsewhere and self.recipients.scopes(known):
            message = "This Telegram account is bound to another namespace"
            raise Conflict(message, "already_bound")
        await self.recipients.add(
            principal.namespace,
            TELEGRAM,
            str(user.id),
            None,
            f"@{user.name}" if user.username else user.name,
            self.recipients.token_id_of(principal),
        )
        context.request.identified = principal  # type: ignore[attr-defined]  # for the audit
        return self._logged_in(context, principal, user.first_name)

    def _check_access_token(self, context: RequestContext, token: str) -> Principal:
        principal = self.dispatcher.authenticator.check_access_token(
            context.request, token, "Invalid access token"
        )
        self.dispatcher.limits.count(Cost.LOGIN, principal, context.registry.clock.seconds())
        return principal

    def _telegram_user(self, context: RequestContext, init_data: str) -> TelegramUser:
        """Raises Unavailable, Unauthenticated."""
        if not self.telegram_token:
            raise Unavailable("Telegram authentication is disabled. Configure TELEGRAM_BOT_TOKEN.")
        try:
            now = context.registry.now() / 1000
            return read_init_data(init_data, self.telegram_token, now)
        except InvalidInitData as error:
            raise Unauthenticated(str(error)) from error

    def _log_in_by_telegram(self, context: RequestContext, user: TelegramUser) -> dict[str, Any]:
        """Raises Unauthenticated with `not_bound`, also when the access token has ended."""
        found = self.recipients.at(TELEGRAM, str(user.id))
        if found is None or Scope.READ not in self.recipients.scopes(found):
            raise Unauthenticated("not_bound")
        device = self.recipients.device(found)
        principal = Principal(found.namespace) if device is None else device_principal(device)
        self.dispatcher.limits.count(Cost.LOGIN, principal, context.registry.clock.seconds())
        context.request.identified = principal  # type: ignore[attr-defined]  # for the audit
        return self._logged_in(context, principal, user.first_name)

    def _logged_in(
        self, context: RequestContext, principal: Principal, name: str
    ) -> dict[str, Any]:
        token = self.token_issuer.issue_web_token(principal, context.registry.now() / 1000)
        return {"token": token, "user": {"id": 1, "firstName": name}, **access_view(principal)}

    @app.route("/api/visibility", methods=["POST"])
    @api
    @operation(Done, body=Visibility, errors=(NotFound,))
    async def set_visibility(self, context: RequestContext) -> dict[str, Any]:
        """Tell whether the page of an event stream is visible.

        One that becomes visible gets a heartbeat at once, so that it knows whether its stream is
        alive.
        """
        body = context.body(Visibility)
        listener = context.registry.events.listener(body.subscription_id)
        if listener is None or listener.subscription.namespace != context.namespace:
            raise NotFound("Subscription not found")
        listener.visible = body.visibility == "visible"
        if listener.visible:
            context.registry.events.send_heartbeat(listener, context.registry.now())
        return OK

    @app.route("/api/live", methods=["POST"])
    @api
    @operation(Done, body=ReadLive, errors=(NotFound,))
    async def read_live(self, context: RequestContext) -> dict[str, Any]:
        """Send the live text of a session to an event stream, or that of none any more."""
        body = context.body(ReadLive)
        listener = context.registry.events.listener(body.subscription_id)
        if listener is None or listener.subscription.namespace != context.namespace:
            raise NotFound("Subscription not found")
        listener.read_live(None if body.session_id is None else context.session(body.session_id))
        return OK

    @app.route("/api/hub-status", methods=["GET"])
    @api
    @operation(HubStatusReply, errors=(AccessDenied,))
    async def read_status(self, context: RequestContext) -> dict[str, Any]:
        """Show the state of the hub and of all namespaces, to its owner."""
        if not context.principal.owns_hub:
            raise AccessDenied("Only the owner of the hub may see its status")
        return await self.status.report()

    @app.route("/api/hub-settings", methods=["GET"])
    @api
    @operation(HubSettingsReply)
    async def read_settings(self, context: RequestContext) -> dict[str, Any]:
        """Show the settings of the hub."""
        return self.settings.view()

    @app.route("/api/hub-settings", methods=["PUT"])
    @api
    @operation(HubSettingsReply, body=HubSettingsChange, errors=(AccessDenied,))
    async def change_settings(self, context: RequestContext) -> dict[str, Any]:
        """Change settings of the hub, as its owner."""
        if not context.principal.owns_hub:
            raise AccessDenied("Only the owner of the hub may change its settings")
        body = context.body(HubSettingsChange)
        if body.session_summary_contract is not None:
            self.settings.session_summary_contract = body.session_summary_contract
        if body.session_summary_in_chat is not None:
            self.settings.session_summary_in_chat = body.session_summary_in_chat
        return self.settings.view()
