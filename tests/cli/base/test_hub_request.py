"""What a command says when its request to the hub fails."""

from __future__ import annotations

from ssl import SSLCertVerificationError
from typing import Any
from urllib.error import URLError

import pytest

from hapi.cli.base import hub_request
from hapi.cli.base.errors import UNREACHABLE, CommandError
from hapi.settings import HubAccess


def test_a_certificate_that_is_not_trusted_is_told_in_words(monkeypatch):
    problem = SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    problem.verify_code, problem.verify_message = 79, "invalid CA certificate"

    def refuse(*_: Any, **__: Any) -> Any:
        raise URLError(problem)

    monkeypatch.setattr(hub_request, "_ask", refuse)
    with pytest.raises(CommandError) as refused:
        hub_request.get_json(HubAccess("https://hub.example", "base"), "/api/hub-status", 1)
    assert str(refused.value) == (
        "the hub at https://hub.example cannot be used: its certificate is not accepted here "
        "(invalid CA certificate)"
    )
    assert refused.value.exit_code == UNREACHABLE
