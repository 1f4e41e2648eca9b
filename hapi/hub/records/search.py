"""Full-text search over the conversations of a namespace."""

from __future__ import annotations

from typing import Any

from attrs import define

from hapi.hub.domain.errors import Unavailable
from hapi.hub.domain.notifications import session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.records.query import parse_query
from hapi.hub.records.snippets import snippet_of
from hapi.hub.store.rows import MessageRow, SearchTerm

DEFAULT_LIMIT, MAX_LIMIT = 20, 50


@define(eq=False, repr=False)
class ConversationSearch:
    registry: HubRegistry

    async def search(
        self,
        namespace: str,
        text: str,
        limit: int = DEFAULT_LIMIT,
        before: int | None = None,
        session_id: str | None = None,
    ) -> dict[str, Any]:
        """One page of what was found for a query, the newest first. Raises Unavailable if the
        store has no search.
        """
        store = self.registry.store
        progress = store.index_progress()
        if progress.problem:
            raise Unavailable(f"This hub cannot search: {progress.problem}", "no_search")
        terms = parse_query(text)
        page = await store.search(namespace, terms, limit, before, session_id)
        results = (self._result(namespace, row, terms) for row in page.messages)
        return {
            "results": [result for result in results if result is not None],
            "nextCursor": page.next,
            "isPartial": page.is_cut,
            "terms": [" ".join(term.words) + "*" * term.is_prefix for term in terms],
            "indexing": None
            if progress.is_complete
            else {"done": progress.done, "total": progress.total},
        }

    def _result(
        self, namespace: str, row: MessageRow, terms: list[SearchTerm]
    ) -> dict[str, Any] | None:
        session = self.registry.sessions.get(row.session_id)
        if session is None or session.namespace != namespace:
            return None  # deleted meanwhile
        snippet = snippet_of(row.content, terms)
        return {
            "sessionId": row.session_id,
            "sessionTitle": session_label(session),
            "messageId": row.id,
            "seq": row.seq,
            "time": row.position[0],
            "kind": snippet.kind,
            "snippet": {
                "text": snippet.text,
                "marks": [list(mark) for mark in snippet.marks],
                "hasMoreBefore": snippet.has_more_before,
                "hasMoreAfter": snippet.has_more_after,
            },
        }
