"""Notifications of an agent's own kind: what they tell of retries."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapi.protocol.acp.notices import Notice, read_notice

GROK = {
    "sessionId": "s",
    "update": {
        "sessionUpdate": "retry_state",
        "type": "retrying",
        "attempt": 7,
        "max_retries": 15,
        "reason": "dns error: failed to lookup address",
    },
}


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        (
            "_x.ai/session_notification",
            GROK,
            "is retrying (attempt 7 of 15): dns error: failed to lookup address",
        ),
        (
            "_claude/sdkMessage",
            {
                "message": {
                    "type": "system",
                    "subtype": "api_retry",
                    "attempt": 2,
                    "max_retries": 10,
                }
            },
            "is retrying (attempt 2 of 10)",
        ),
        (
            "_other/retrying",
            {"data": {"attemptNumber": 1, "error": {"code": 429, "message": "Too many\nrequests"}}},
            "is retrying (attempt 1): Too many requests",
        ),
        (
            "session/update",
            {"update": {"sessionUpdate": "failure", "title": "Reconnecting, attempt 3 of 10."}},
            "says: Reconnecting, attempt 3 of 10.",
        ),
        (
            "_x.ai/session_notification",
            {"update": {"sessionUpdate": "retry_state", "type": "succeeded", "attempt": 7}},
            None,
        ),
        ("_x.ai/session_notification", {"update": {"sessionUpdate": "workflow_updated"}}, None),
        ("_other/progress", {"attempt": 1, "of": 3}, None),
        ("_other/empty", {}, None),
    ],
)
def test_a_retry_is_told_in_words(method, params, text):
    assert read_notice(method, params) == Notice(text)


@settings(max_examples=50)
@given(
    st.text(),
    st.dictionaries(
        st.sampled_from(["retry", "attempt", "message", "type", "of"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    ),
)
def test_no_notification_of_any_shape_raises(method, params):
    read_notice(method, params)
