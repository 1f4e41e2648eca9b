"""What clients are told of errors of the store."""

from __future__ import annotations

import pytest

from hapi.hub.http.responses import error_response
from hapi.hub.store.interface import StoreAway, StoreBusy


@pytest.mark.parametrize("error", [StoreBusy("lock"), StoreAway("port 5432 failed", unknown=True)])
def test_a_database_that_is_away_for_a_moment_is_to_be_asked_again(error):
    response = error_response(error, "GET /api/sessions")
    assert response.status == 503
    assert response.headers == {"Retry-After": "1"}
    assert str(error) not in response.body["error"]
