"""Push messages are encrypted and signed as the standards say."""

import base64
import json
import stat

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hapi.hub.notify.encryption import MAX_PLAINTEXT, InvalidKeys, check_keys, encrypted
from hapi.hub.notify.vapid import LIFETIME, VapidKey, from_base64url
from hapi.settings import ConfigurationError
from tests.support.notify_devices import Device


def test_the_example_of_rfc_8291_comes_out_byte_for_byte() -> None:
    private = int.from_bytes(from_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    point, secret = check_keys(
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
    )
    body = encrypted(
        b"When I grow up, I want to be a watermelon",
        point,
        secret,
        ec.derive_private_key(private, ec.SECP256R1()),
        from_base64url("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert body == from_base64url(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


@pytest.mark.parametrize("size", [0, 1, 100, MAX_PLAINTEXT])
def test_the_device_and_nobody_else_can_read_it(size: int) -> None:
    device, other = Device(), Device()
    body = encrypted(b"x" * size, device.point, device.secret)
    assert len(body) <= 4096
    assert device.decrypt(body) == b"x" * size
    with pytest.raises(InvalidTag):
        other.decrypt(body)


def test_what_is_too_long_for_push_services_is_refused() -> None:
    device = Device()
    with pytest.raises(ValueError, match="3993"):
        encrypted(b"x" * (MAX_PLAINTEXT + 1), device.point, device.secret)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [("", ""), ("AAAA", "BTBZMqHH6r4Tts7J_aSIgg"), ("B" + "A" * 86, "BTBZMqHH6r4Tts7J_aSIgg")],
)
def test_keys_that_are_no_keys_are_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(InvalidKeys):
        check_keys(p256dh, auth)


def test_the_authentication_secret_has_16_bytes() -> None:
    keys = Device().subscription["keys"]
    with pytest.raises(InvalidKeys):
        check_keys(keys["p256dh"], "BTBZ")


def test_the_hub_signs_for_one_service_and_half_a_day() -> None:
    key = VapidKey(None, "mailto:me@example.com")
    header = key.authorization("https://push.example.com", 1000.0)
    token, public = header.removeprefix("vapid t=").split(", k=")
    assert public == key.public_key
    head, claims, signature = token.split(".")
    assert json.loads(from_base64url(head)) == {"typ": "JWT", "alg": "ES256"}
    assert json.loads(from_base64url(claims)) == {
        "aud": "https://push.example.com",
        "exp": 1000 + LIFETIME,
        "sub": "mailto:me@example.com",
    }
    raw = from_base64url(signature)
    assert len(raw) == 64
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from_base64url(public))
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    point.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
    assert key.authorization("https://push.example.com", 1001.0) == header
    assert key.authorization("https://push.example.com", 1000.0 + LIFETIME) != header
    assert key.authorization("https://other.example.com", 1001.0) != header


def test_the_key_is_made_at_first_use_for_its_owner_only_and_stays(tmp_path) -> None:
    path = tmp_path / "vapid-key.pem"
    first = VapidKey(path, "mailto:me@example.com")
    assert not path.exists()
    public = first.public_key
    assert len(from_base64url(public)) == 65
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert VapidKey(path, "mailto:me@example.com").public_key == public


@pytest.mark.parametrize("content", [b"", b"nonsense", base64.b64encode(b"x" * 100)])
def test_a_damaged_key_is_named_and_not_replaced(tmp_path, content) -> None:
    path = tmp_path / "vapid-key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"vapid-key\.pem"):
        _ = VapidKey(path, "mailto:me@example.com").public_key
    assert path.read_bytes() == content
