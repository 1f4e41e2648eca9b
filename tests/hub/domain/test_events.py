"""Events as JSON, from their fields and from what the journal of several hubs keeps of them."""

from __future__ import annotations

from typing import Any

import pytest

from hapi.hub.domain.events import encoded_event, hub_event
from hapi.hub.store.columns import as_json


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sessionId": "s1", "message": {"content": 'a "quoted" line\n', "seq": 1}},
        {"machineId": "m1", "data": None},
        {"sessionId": "s1", "data": {"text": "cut inside an emoji \ud83d", "é": "ü"}},
    ],
)
def test_an_event_of_the_journal_is_the_same_text_without_being_decoded(
    fields: dict[str, Any],
) -> None:
    direct = hub_event(7, 'a "team"', "message-received", fields)
    ids = fields.get("sessionId"), fields.get("machineId")
    assert encoded_event(7, 'a "team"', "message-received", *ids, as_json(fields)) == direct
