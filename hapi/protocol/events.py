"""Names of events: those of the Socket.IO namespace `/cli`, and those that the hub publishes to web
pages.
"""

from __future__ import annotations

# Socket.IO, from session processes
SESSION_ALIVE = "session-alive"
SESSION_READY = "session-ready"
SESSION_END = "session-end"
MESSAGE = "message"
MESSAGES_CONSUMED = "messages-consumed"
MESSAGES_INDETERMINATE = "messages-indeterminate"
MESSAGES_STEER_STATE = "messages-steer-state"
UPDATE_METADATA = "update-metadata"
UPDATE_STATE = "update-state"

# Socket.IO, from runners
MACHINE_ALIVE = "machine-alive"
MACHINE_UPDATE_METADATA = "machine-update-metadata"
MACHINE_UPDATE_STATE = "machine-update-state"

# Socket.IO, from both
PING = "ping"

# Socket.IO, from the hub; the kinds of an `update` are its `body.t`
UPDATE = "update"
ERROR = "error"
UPDATE_NEW_MESSAGE = "new-message"
UPDATE_SESSION = "update-session"
UPDATE_MACHINE = "update-machine"
UPDATE_CANCEL_QUEUED_MESSAGE = "cancel-queued-message"
UPDATE_RETRY_QUEUED_MESSAGE = "retry-queued-message"

# Server-sent events (`type`)
SESSION_ADDED = "session-added"
SESSION_UPDATED = "session-updated"
SESSION_ENDED = "session-ended"
SESSION_REMOVED = "session-removed"
MACHINE_UPDATED = "machine-updated"
MESSAGE_RECEIVED = "message-received"
MESSAGE_CANCELLED = "message-cancelled"
MESSAGES_INVALIDATED = "messages-invalidated"
MESSAGES_REQUEUED = "messages-requeued"
SCHEDULED_MATURED = "scheduled-matured"
CONNECTION_CHANGED = "connection-changed"
HEARTBEAT = "heartbeat"
TOAST = "toast"
