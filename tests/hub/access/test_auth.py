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
from twisted.logger import formatEvent, globalLogPublisher

from hapi.hub.access.auth import Principal, TokenIssuer, equal_in_constant_time
from hapi.hub.access.rate_limits import (
    MAX_KEYS,
    WRONG_TOKENS,
    WRONG_TOKENS_IN_ALL,
    LoginRateLimit,
    TokenBuckets,
    address_group,
)
from hapi.hub.options import HubOptions
from hapi.hub.secrets import base_token, signing_secret
from hapi.settings import ConfigurationError, read_settings
from tests.support.hub_stage import EPOCH, TOKEN, Stage

NOW = EPOCH / 1000
SECRET = b"s" * 32
GATE = TokenIssuer(TOKEN, SECRET)
KEY = hmac.digest(SECRET, b"HAPI web tokens\0" + TOKEN.encode(), "sha256")


def packed(value: Any) -> str:
    content = (
        value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    )
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def made(
    header: Any = None,
    claims: Any = None,
    secret: bytes = KEY,
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
        made(secret=SECRET),
        made(exp=int(NOW)),
        made(exp=int(NOW) - 1),
        made(exp=...),
        made(iat=...),
        made(ns=...),
        made(uid=...),
        made(ns=""),
        made(ns="a\n"),
        made(ns=" a"),
        made(ns="a\x07"),
        made(ns="a:b"),
        made(ns="x" * 129),
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
    [
        (TOKEN, "default"),
        (f" {TOKEN}\n", "default"),
        (f"{TOKEN}:default", "default"),
        (f"{TOKEN}:a", "a"),
        (f"{TOKEN}:x y", "x y"),
    ],
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
        f" {TOKEN}:a",
        f"{TOKEN}x:a\n",
        "x" * 1_000_000,
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


def log_in(stage: Stage, token: object, **headers: str) -> Any:
    return stage.rest("POST", "/api/auth", {"accessToken": token}, namespace=None, **headers)


def test_a_right_token_is_let_in_however_many_wrong_ones_came_from_its_address__U07() -> None:
    stage = Stage()
    for _ in range(WRONG_TOKENS.burst):
        assert log_in(stage, "wrong").status == 401
    refused = log_in(stage, "wrong")
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.body["error"].startswith("Too many wrong access tokens: try again in")
    guess = stage.rest("GET", "/cli/sessions/x", namespace=None, Authorization="Bearer wrong")
    assert guess.status == 429
    assert stage.refused(token="wrong") == "hung up"

    assert log_in(stage, TOKEN).status == 200
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert stage.rest("GET", "/cli/sessions/x", namespace=None, **right).status == 404
    assert stage.connect().principal.namespace == "default"
    assert stage.rest("GET", "/api/sessions").status == 200


def test_a_wrong_token_is_called_wrong_again_when_the_time_is_over__U07() -> None:
    stage = Stage()
    for _ in range(WRONG_TOKENS.burst):
        log_in(stage, "wrong")
    retry_after = int(log_in(stage, "wrong").headers["retry-after"])
    stage.tick(retry_after)
    assert log_in(stage, "wrong").status == 401
    assert log_in(stage, "wrong").status == 429


def test_a_missing_token_is_no_guess__U07() -> None:
    stage = Stage()
    for _ in range(3 * WRONG_TOKENS.burst):
        assert stage.rest("GET", "/cli/sessions/x", namespace=None).status == 401
    assert log_in(stage, "wrong").status == 401


def test_a_web_token_that_has_ended_is_always_called_invalid_so_that_the_page_renews_it() -> None:
    stage = Stage()
    old = TokenIssuer("another", b"s" * 32).issue_web_token(Principal("default"), NOW)
    for _ in range(3 * WRONG_TOKENS.burst):
        answer = stage.rest("GET", "/api/sessions", namespace=None, Authorization=f"Bearer {old}")
        assert answer.status == 401
        assert stage.rest("GET", f"/api/events?token={old}", namespace=None).status == 401


def test_all_addresses_together_are_limited__U07() -> None:
    limit = LoginRateLimit()
    answers = [limit.record_failure(f"10.0.{n // 200}.{n % 200}", now=1.0) for n in range(2000)]
    assert answers.count(0) == WRONG_TOKENS_IN_ALL.burst
    assert limit.record_failure("192.168.0.1", 1.0) > 0
    assert limit.record_failure("192.168.0.1", 61.0) == 0


def test_a_limit_that_is_reached_is_not_extended_by_further_guesses__U07() -> None:
    limit = LoginRateLimit()
    waits = [limit.record_failure("10.0.0.1", 1.0) for _ in range(1000)]
    assert waits[WRONG_TOKENS.burst :] == [6] * (1000 - WRONG_TOKENS.burst)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("/run/hub.sock", "/run/hub.sock"),
    ],
)
def test_addresses_that_one_guesser_has_count_as_one__U07(address: str, group: str) -> None:
    assert address_group(address) == group


def test_an_address_that_guesses_is_named_in_the_log_once_a_minute__U07() -> None:
    limit, lines = LoginRateLimit(), []
    observer = lambda event: lines.append(formatEvent(event))  # noqa: E731
    globalLogPublisher.addObserver(observer)
    try:
        for second in range(61):
            for _ in range(20):
                limit.record_failure("192.0.2.1", float(second))
    finally:
        globalLogPublisher.removeObserver(observer)
    assert lines == ["192.0.2.1 sends too many wrong access tokens"] * 2


def test_a_guesser_who_changes_the_address_within_a_network_is_still_limited__U07() -> None:
    limit = LoginRateLimit()
    answers = [limit.record_failure(f"2001:db8::{n:x}", 1.0) for n in range(100)]
    assert answers.count(0) == WRONG_TOKENS.burst


def test_a_limit_remembers_a_bounded_number_of_addresses() -> None:
    buckets = TokenBuckets(WRONG_TOKENS)
    for number in range(MAX_KEYS + 100):
        buckets.add(f"address {number}", 1.0)
    assert len(buckets) == MAX_KEYS


# --- namespaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["a\n", "a ", "a\x00", "\u200ba", "x" * 5000])
def test_an_odd_namespace_is_refused_in_words_at_every_door__U01(namespace: str) -> None:
    stage = Stage()
    stage.session("a")
    token = f"{TOKEN}:{namespace}"
    answer = log_in(stage, token)
    assert answer.status == 401
    assert answer.body["error"].startswith("Invalid access token: the namespace of the access")
    assert stage.refused(token=token).startswith("Invalid token: the namespace of the access")
    if namespace.isascii() and namespace.isprintable() and namespace == namespace.strip():
        answer = stage.rest("GET", "/cli/sessions/x", None, None, Authorization=f"Bearer {token}")
        assert answer.body["error"].startswith("Invalid token: the namespace of the access token")
    assert log_in(stage, f"wrong:{namespace}").body["error"] == "Invalid access token"


def test_half_a_character_in_a_namespace_is_refused_at_every_door__U01() -> None:
    stage = Stage()
    assert log_in(stage, f"{TOKEN}:\ud800").status == 401
    assert "cannot be printed" in stage.refused(token=f"{TOKEN}:\ud800")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_namespace_in_a_header_is_the_same_in_either_encoding(encoding: str) -> None:
    stage = Stage()
    session = stage.session("zoë")
    header = b"Bearer " + f"{TOKEN}:zoë".encode(encoding)
    pending = stage.stub.request(
        "GET",
        f"http://127.0.0.1:3006/cli/sessions/{session}",
        headers={b"Authorization": [header]},
    )
    assert stage.finish(pending).status == 200


# --- changing the access token --------------------------------------------------------------------


def test_another_access_token_or_secret_ends_every_web_token() -> None:
    token = GATE.issue_web_token(Principal("default"), NOW)
    assert TokenIssuer(TOKEN, SECRET).read_web_token(token, NOW) == Principal("default")
    assert TokenIssuer(TOKEN + "t", SECRET).read_web_token(token, NOW) is None
    assert TokenIssuer(TOKEN, b"x" * 32).read_web_token(token, NOW) is None


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
