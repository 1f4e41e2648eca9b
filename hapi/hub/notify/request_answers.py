"""Answers to permission requests that come from a notification or from Telegram."""

from __future__ import annotations

from typing import Any

from attrs import define

from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.auth import Principal, actor_of
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import Conflict, NotFound
from hapi.hub.notify.recipients import Recipient, Recipients


@define(eq=False, repr=False)
class RequestAnswers:
    """Passes them on to the session, and records them."""

    _documents: Documents
    _recipients: Recipients
    _audit: AuditLog

    async def give(
        self,
        recipient: Recipient,
        session: HubSession,
        request_id: str,
        request: Any,
        is_allowed: bool,
        address: str = "",
        trace_id: str = "",
    ) -> None:
        """Answer `request`. Raises NotFound, Conflict and RpcError.

        `address` is that of the client, `trace_id` the id of the HTTP request.
        """
        status = 500
        try:
            if not session.active:
                raise Conflict("Session is inactive", "session_inactive")
            if session.answered.get(request_id) == request:
                raise NotFound("This request has been answered already", "answered")
            answer = {"id": request_id, "approved": is_allowed}
            await self._documents.answer_request(session, answer, request)
            status = 200
        except NotFound:
            status = 404
            raise
        except Conflict:
            status = 409
            raise
        finally:
            device = self._recipients.device(recipient)
            self._audit.record(
                "permission-approve" if is_allowed else "permission-deny",
                status,
                actor_of(Principal(recipient.namespace, device=device)),
                address,
                {"session": session.id, "request": request_id},
                {"notification": recipient.row.label or recipient.id},
                trace_id,
            )
