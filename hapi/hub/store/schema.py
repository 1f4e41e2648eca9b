"""The tables, and how a database of an older version becomes one of today.

`user_version` counts the migrations that were applied; `application_id` marks the file as ours, so
that a database of another program (npm's `hapi.db` among them) is never opened for writing.
"""

from __future__ import annotations

APPLICATION = 0x48415049  # "HAPI"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE sessions (
            id TEXT PRIMARY KEY, namespace TEXT NOT NULL DEFAULT 'default', tag TEXT NOT NULL,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
            metadata TEXT, metadata_version INTEGER NOT NULL DEFAULT 1,
            agent_state TEXT, agent_state_version INTEGER NOT NULL DEFAULT 1,
            model TEXT, model_reasoning_effort TEXT, effort TEXT, service_tier TEXT,
            permission_mode TEXT, collaboration_mode TEXT, copilot_agent_mode TEXT,
            todos TEXT, todos_updated_at INTEGER NOT NULL DEFAULT 0,
            team_state TEXT, team_state_updated_at INTEGER NOT NULL DEFAULT 0,
            pinned INTEGER NOT NULL DEFAULT 0, global_pinned INTEGER NOT NULL DEFAULT 0,
            active_at INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0,
            epoch INTEGER NOT NULL DEFAULT 0, has_content INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE UNIQUE INDEX sessions_by_tag ON sessions (namespace, tag)",
        """
        CREATE TABLE machines (
            id TEXT PRIMARY KEY, namespace TEXT NOT NULL DEFAULT 'default',
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
            metadata TEXT, metadata_version INTEGER NOT NULL DEFAULT 1,
            runner_state TEXT, runner_state_version INTEGER NOT NULL DEFAULT 1,
            active_at INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        """
        CREATE TABLE messages (
            id TEXT PRIMARY KEY,
            session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
            seq INTEGER NOT NULL, content TEXT NOT NULL, created_at INTEGER NOT NULL,
            local_id TEXT, invoked_at INTEGER, scheduled_at INTEGER, delivery TEXT, stream TEXT,
            moved INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE UNIQUE INDEX messages_by_seq ON messages (session_id, seq)",
        (
            "CREATE INDEX messages_by_position"
            " ON messages (session_id, coalesce(invoked_at, created_at), seq)"
        ),
        (
            "CREATE UNIQUE INDEX messages_by_local_id"
            " ON messages (session_id, local_id) WHERE local_id IS NOT NULL"
        ),
        "CREATE INDEX messages_waiting ON messages (session_id, seq) WHERE invoked_at IS NULL",
        (
            "CREATE INDEX messages_scheduled ON messages (scheduled_at)"
            " WHERE invoked_at IS NULL AND scheduled_at IS NOT NULL"
        ),
        "CREATE INDEX messages_live ON messages (session_id, stream) WHERE stream IS NOT NULL",
    ),
    (
        "ALTER TABLE sessions ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE sessions ADD COLUMN last_time INTEGER NOT NULL DEFAULT 0",
        """
        UPDATE sessions SET
            last_seq = coalesce(
                (SELECT max(seq) FROM messages WHERE session_id = sessions.id), 0
            ),
            last_time = coalesce(
                (
                    SELECT max(coalesce(invoked_at, created_at))
                    FROM messages WHERE session_id = sessions.id
                ),
                0
            )
        """,
    ),
    (
        """
        CREATE TABLE access_tokens (
            id TEXT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,
            digest TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, machine_id TEXT,
            created_at INTEGER NOT NULL, expires_at INTEGER, last_used_at INTEGER
        ) STRICT
        """,
        "CREATE UNIQUE INDEX access_tokens_by_name ON access_tokens (namespace, name)",
    ),
    (
        # What message_index.py keeps; the full-text index itself is made there.
        "ALTER TABLE messages ADD COLUMN search_id INTEGER",
        "CREATE INDEX messages_by_search_id ON messages (search_id) WHERE search_id IS NOT NULL",
        """
        CREATE TABLE message_index (
            generation INTEGER NOT NULL, format INTEGER NOT NULL, is_complete INTEGER NOT NULL
        ) STRICT
        """,
        "INSERT INTO message_index SELECT 0, 0, NOT EXISTS (SELECT 1 FROM messages)",
        # It outlasts its messages: tokens stay spent when a session is deleted.
        """
        CREATE TABLE token_use (
            id TEXT PRIMARY KEY, at INTEGER NOT NULL,
            namespace TEXT NOT NULL, session_id TEXT NOT NULL,
            agent TEXT NOT NULL, model TEXT NOT NULL,
            input INTEGER NOT NULL, output INTEGER NOT NULL,
            cache_read INTEGER NOT NULL, cache_written INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX token_use_by_time ON token_use (namespace, at)",
        """
        CREATE TABLE share_links (
            id TEXT PRIMARY KEY,
            session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
            digest TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
            until_seq INTEGER, has_files INTEGER NOT NULL, has_thoughts INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX share_links_by_session ON share_links (session_id)",
    ),
    (
        """
        CREATE TABLE notification_recipients (
            id TEXT PRIMARY KEY, namespace TEXT NOT NULL, kind TEXT NOT NULL,
            address TEXT NOT NULL, keys TEXT, label TEXT NOT NULL, token_id TEXT NOT NULL,
            settings TEXT, created_at INTEGER NOT NULL
        ) STRICT
        """,
        (
            "CREATE UNIQUE INDEX notification_recipients_by_address"
            " ON notification_recipients (kind, address)"
        ),
    ),
    (
        """
        CREATE TABLE scratch_entries (
            session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
            id TEXT NOT NULL, text TEXT NOT NULL, attachments TEXT NOT NULL,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
            PRIMARY KEY (session_id, id)
        ) STRICT
        """,
        """
        CREATE TABLE scratch_files (
            session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
            id TEXT NOT NULL, filename TEXT NOT NULL, mime_type TEXT NOT NULL,
            size INTEGER NOT NULL, created_at INTEGER NOT NULL, content BLOB NOT NULL,
            PRIMARY KEY (session_id, id)
        ) STRICT
        """,
        """
        CREATE TABLE saved_prompts (
            id TEXT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX saved_prompts_by_namespace ON saved_prompts (namespace, created_at)",
    ),
)

VERSION = len(MIGRATIONS)
