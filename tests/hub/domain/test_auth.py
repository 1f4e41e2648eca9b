"""Tokens: who is let in, who is not, and what guessing costs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.hub.domain.auth import (
    FREE_ATTEMPTS,
    LoginRateLimit,
    Principal,
    TokenIssuer,
    equal_in_constant_time,
)
from hapi.hub.options import HubOptions, base_token, signing_secret
from hapi.settings import ConfigurationError, read_settings
from tests.support.hub_stage import EPOCH, TOKEN, Stage

NOW = EPOCH / 1000
SECRET = b"s" * 32
GATE = TokenIssuer(TOKEN, SECRET)


def packed(value: Any) -> str:
    content = (
        value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    )
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def made(
    header: Any = None,
    claims: Any = None,
    secret: bytes = SECRET,
    digest: str = "sha256",
    **changes: Any,
) -> str:
    """A JWT with these parts, signed properly."""
    whole = {"uid": 1, "ns": "default", "iat": int(NOW), "exp": int(NOW) + 3600}
    whole = {key: value for key, value in {**whole, **changes}.items() if value is not ...}
    first = packed({"alg": "HS256"} if header is None else header)
    body = f"{first}.{packed(whole if claims is None else claims)}"
    return f"{body}.{packed(hmac.new(secret, body.encode(), digest).digest())}"


def test_a_token_of_ours_says_whose_it_is() -> None:
    assert GATE.read_web_token(GATE.issue_web_token(Principal("team-a"), NOW), NOW) == Principal(
        "team-a"
    )
    assert GATE.read_web_token(made(), NOW) == Principal("default")


@pytest.mark.parametrize(
    "token",
    [
        made({"alg": "none"}),
        made({"alg": "none"}).rpartition(".")[0] + ".",
        made({"alg": "RS256"}),
        made({"alg": "HS384"}, digest="sha384"),
        made({"alg": "HS256", "typ": "JWT", "kid": "../../dev/null"}),
        made({"alg": "HS256", "jwk": {"kty": "oct", "k": packed(b"x")}}),
        made(secret=b"x" * 32),
        made(secret=b""),
        made(exp=int(NOW)),
        made(exp=int(NOW) - 1),
        made(exp=...),
        made(iat=...),
        made(ns=...),
        made(uid=...),
        made(ns=""),
        made(ns=7),
        made(ns=None),
        made(uid="1"),
        made(uid=True),
        made(exp=str(int(NOW) + 60)),
        made(exp=NOW + 60.5),
        made(exp=True),
        made(exp=10**30),
        made(iat=int(NOW) + 3600, exp=int(NOW) + 7200),
        made(claims=[1, 2]),
        made(claims=b"not json"),
        made(claims=b"[" * 3000),
        made() + "A",
        made()[:-1],
        made() + "=",
        made().replace(".", ".."),
        made() + "\n",
        "a.b",
        "...",
        "",
        "é.é.é",
        "x" * 1_000_000,
    ],
)
def test_a_forged_or_broken_web_token_is_refused__U03(token: str) -> None:
    assert GATE.read_web_token(token, NOW) is None
    stage = Stage()
    answer = stage.rest(
        "GET",
        "/api/sessions",
        namespace=None,
        Authorization=f"Bearer {token[:4000]}".replace("\n", "x"),
    )
    assert answer.status == 401


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=40))
def test_no_made_up_web_token_is_ever_accepted__U03(
    first: bytes, second: bytes, third: bytes
) -> None:
    assert GATE.read_web_token(f"{packed(first)}.{packed(second)}.{packed(third)}", NOW) is None


def test_a_web_token_lasts_four_hours() -> None:
    token = GATE.issue_web_token(Principal("default"), NOW)
    assert GATE.read_web_token(token, NOW + 4 * 3600 - 1) == Principal("default")
    assert GATE.read_web_token(token, NOW + 4 * 3600) is None


@pytest.mark.parametrize(
    ("text", "namespace"),
    [(TOKEN, "default"), (f" {TOKEN}\n", "default"), (f"{TOKEN}:a", "a"), (f"{TOKEN}:x y", "x y")],
)
def test_an_access_token_names_a_namespace(text: str, namespace: str) -> None:
    assert GATE.check_access_token(text) == Principal(namespace)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TOKEN[:-1],
        TOKEN + "t",
        f"{TOKEN}:",
        f":{TOKEN}",
        f"{TOKEN}:a:b",
        None,
        7,
        [TOKEN],
        "\ud800",
    ],
)
def test_anything_else_is_no_access_token(text: object) -> None:
    assert GATE.check_access_token(text) is None


def test_tokens_of_any_length_are_compared_by_their_digest__U07() -> None:
    assert equal_in_constant_time("a", "a")
    assert not equal_in_constant_time("a", "ab")
    assert not equal_in_constant_time("", "a" * 10_000)


# --- guessing -------------------------------------------------------------------------------------


def test_guessing_costs_waiting_and_the_right_token_works_again_later__U07() -> None:
    stage = Stage()
    for _ in range(FREE_ATTEMPTS):
        assert stage.rest("POST", "/api/auth", {"accessToken": "wrong"}).status == 401
    refused = stage.rest("POST", "/api/auth", {"accessToken": TOKEN})
    assert refused.status == 429
    retry_after = int(refused.headers["retry-after"])
    assert 0 < retry_after <= 60
    assert (
        stage.rest("GET", "/cli/sessions/x", namespace=None, Authorization=f"Bearer {TOKEN}").status
        == 429
    )
    assert stage.rest("GET", "/api/sessions").status == 200  # whoever is in stays in
    stage.tick(retry_after)
    assert stage.rest("POST", "/api/auth", {"accessToken": TOKEN}).status == 200


def test_a_missing_token_is_no_guess__U07() -> None:
    stage = Stage()
    for _ in range(3 * FREE_ATTEMPTS):
        assert stage.rest("GET", "/cli/sessions/x", namespace=None).status == 401
    assert stage.rest("POST", "/api/auth", {"accessToken": TOKEN}).status == 200


def test_many_addresses_together_are_slowed_and_a_stranger_to_them_is_not__U07() -> None:
    limit = LoginRateLimit()
    for number in range(400):
        limit.record_failure(f"10.0.{number // 200}.{number % 200}", now=1.0)
    assert limit.retry_after("10.0.0.1", 1.0) > 0
    assert limit.retry_after("192.168.0.1", 1.0) == 0
    assert limit.retry_after("10.0.0.1", 120.0) == 0


def test_a_socket_that_guesses_is_hung_up_on_rather_than_refused__U07() -> None:
    stage = Stage()
    for _ in range(FREE_ATTEMPTS):
        assert stage.refused(token="wrong") == "Invalid token"
    assert stage.refused(token=TOKEN) == "hung up"


# --- where tokens come from -----------------------------------------------------------------------


def test_a_generated_token_has_256_bits_and_is_kept_private__U14(home: Any) -> None:
    token = base_token(HubOptions(home))
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert read_settings(home)["cliApiToken"] == token == base_token(HubOptions(home))
    assert stat.S_IMODE(home.settings.stat().st_mode) == 0o600
    secret = signing_secret(home)
    assert len(secret) == 32
    assert secret == signing_secret(home)
    assert stat.S_IMODE(home.jwt_secret.stat().st_mode) == 0o600


def test_a_token_with_a_colon_stops_the_hub(home: Any) -> None:
    with pytest.raises(ConfigurationError, match="colon"):
        base_token(HubOptions(home, token="a:b"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"secretBase64":"!"}',
        b'{"secretBase64":"AAAA"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_broken_secret_is_named_and_left_alone(home: Any, content: bytes) -> None:
    home.jwt_secret.write_bytes(content)
    with pytest.raises(ConfigurationError, match="jwt-secret"):
        signing_secret(home)
    assert home.jwt_secret.read_bytes() == content


def test_a_secret_that_is_a_directory_is_named_in_a_sentence(home: Any) -> None:
    home.jwt_secret.mkdir()
    with pytest.raises(ConfigurationError) as raised:
        signing_secret(home)
    assert str(raised.value) == f"{home.jwt_secret} cannot be read: Is a directory"


def test_the_secrets_are_in_no_repr() -> None:
    assert TOKEN not in repr(GATE)
    assert hashlib.sha256(SECRET).hexdigest() not in repr(GATE)
    assert "ssss" not in repr(GATE)
